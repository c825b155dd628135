-- Where a dependency lives, for requests that name only its id. The rights are checked after.

set role glassbox_owner;

grant select (id, source_node_id) on public.node_dependencies to glassbox_reader;
drop policy if exists reader_locates on public.node_dependencies;
create policy reader_locates on public.node_dependencies for select to glassbox_reader using (true);

reset role;
