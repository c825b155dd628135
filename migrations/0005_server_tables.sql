-- What the server needs beside the documented tables and the log.

grant usage on schema public to glassbox_reader;

set role glassbox_owner;

create table if not exists realtime.locks (
    node_id uuid primary key,
    org_id uuid not null,
    fence bigint not null,
    client_id uuid,
    ttl_ms integer
);
comment on table realtime.locks is 'What a lock has beyond its columns in nodes. Rows stay for good: a fence only grows.';
comment on column realtime.locks.node_id is 'The node; no foreign key, so that a node that comes back under its id goes on counting.';
comment on column realtime.locks.org_id is 'The organization, for row-level security.';
comment on column realtime.locks.fence is 'The token of the newest acquisition.';
comment on column realtime.locks.client_id is 'The client that took it; NULL when it belongs to the user.';
comment on column realtime.locks.ttl_ms is 'How long its lease was asked to last, ms.';

create table if not exists realtime.lock_waits (
    id bigint generated always as identity primary key,
    node_id uuid not null references public.nodes (id) on delete cascade,
    org_id uuid not null,
    user_id uuid not null references public.users (id) on delete cascade,
    client_id uuid not null,
    instance_id uuid not null,
    request_id uuid not null,
    ttl_ms integer not null,
    unique (node_id, user_id, client_id)
);
create index if not exists lock_waits_client on realtime.lock_waits (client_id);
comment on table realtime.lock_waits is 'Who waits for a lock, first come first served, over all instances.';
comment on column realtime.lock_waits.id is 'The place in the queue.';
comment on column realtime.lock_waits.node_id is 'The locked node.';
comment on column realtime.lock_waits.org_id is 'The organization, for row-level security.';
comment on column realtime.lock_waits.user_id is 'Who waits.';
comment on column realtime.lock_waits.client_id is 'Which of their clients.';
comment on column realtime.lock_waits.instance_id is 'Where its socket is; the place is void when that instance is dead.';
comment on column realtime.lock_waits.request_id is 'The command that queued it; stands in the lock_acquired that ends the wait.';
comment on column realtime.lock_waits.ttl_ms is 'How long its lease shall last, ms.';

create table if not exists realtime.command_results (
    user_id uuid not null,
    client_id uuid not null,
    request_id uuid not null,
    org_id uuid not null,
    body_hash bytea not null,
    answer jsonb,
    created_at timestamptz not null default now(),
    primary key (user_id, client_id, request_id)
) with (fillfactor = 70);
create index if not exists command_results_created on realtime.command_results using brin (created_at);
comment on table realtime.command_results is 'What each command was answered, so that a repeat has no second effect.';
comment on column realtime.command_results.user_id is 'Who sent it; another user''s equal ids are other commands.';
comment on column realtime.command_results.client_id is 'The client that sent it.';
comment on column realtime.command_results.request_id is 'The command.';
comment on column realtime.command_results.org_id is 'The organization, for row-level security.';
comment on column realtime.command_results.body_hash is 'SHA-256 of the command; another body under the same ids is a conflict.';
comment on column realtime.command_results.answer is 'The answer; NULL only while the transaction is under way.';
comment on column realtime.command_results.created_at is 'When it was committed; rows go after a week.';

create table if not exists realtime.tickets (
    id uuid primary key,
    user_id uuid not null references public.users (id) on delete cascade,
    expires_at timestamptz not null,
    used_at timestamptz
);
create index if not exists tickets_expires on realtime.tickets (expires_at);
comment on table realtime.tickets is 'Short-lived, single-use tokens that open a WebSocket.';
comment on column realtime.tickets.id is 'The id inside the signed token.';
comment on column realtime.tickets.user_id is 'Who asked for it.';
comment on column realtime.tickets.expires_at is 'Unused after this time it is void.';
comment on column realtime.tickets.used_at is 'When it opened a socket.';

create table if not exists realtime.instances (
    id uuid primary key,
    started_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp()
);
comment on table realtime.instances is 'Server processes that are alive.';
comment on column realtime.instances.id is 'Made anew at every start.';
comment on column realtime.instances.started_at is 'When it started.';
comment on column realtime.instances.seen_at is 'Its last heartbeat; it counts as dead 15 s later.';

do $$
declare
    t text;
begin
    foreach t in array array['locks', 'lock_waits', 'command_results', 'tickets', 'instances'] loop
        execute format('alter table realtime.%I enable row level security', t);
        execute format('alter table realtime.%I force row level security', t);
        execute format('drop policy if exists owner_maintains on realtime.%I', t);
        execute format('create policy owner_maintains on realtime.%I to glassbox_owner using (true) with check (true)', t);
    end loop;
    foreach t in array array['locks', 'lock_waits', 'command_results'] loop
        execute format('drop policy if exists org_isolation on realtime.%I', t);
        execute format(
            'create policy org_isolation on realtime.%I to glassbox_app
                 using (org_id = (select nullif(current_setting(''app.current_org_id'', true), '''')::uuid))
                 with check (org_id = (select nullif(current_setting(''app.current_org_id'', true), '''')::uuid))', t
        );
    end loop;
end
$$;

drop policy if exists log_writes on realtime.locks;
create policy log_writes on realtime.locks to glassbox_log using (true) with check (true);
grant select, insert, update on realtime.locks to glassbox_log;
drop policy if exists log_grants on realtime.lock_waits;
create policy log_grants on realtime.lock_waits to glassbox_log using (true) with check (true);
grant select, delete on realtime.lock_waits to glassbox_log;
drop policy if exists log_looks on realtime.instances;
create policy log_looks on realtime.instances for select to glassbox_log using (true);
grant select on realtime.instances to glassbox_log;
grant select on realtime.locks to glassbox_app;
grant select, insert, update, delete on realtime.lock_waits, realtime.command_results to glassbox_app;

drop policy if exists own_tickets on realtime.tickets;
create policy own_tickets on realtime.tickets to glassbox_app
    using (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid))
    with check (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid));
grant select, insert, update on realtime.tickets to glassbox_app;

-- Instances hold nothing of any tenant.
drop policy if exists all_instances on realtime.instances;
create policy all_instances on realtime.instances to glassbox_app using (true) with check (true);
grant select, insert, update, delete on realtime.instances to glassbox_app;

-- Where a node or project lives, for commands and requests that name only its id. The rights are checked after.
grant select (id, org_id, project_id) on public.nodes to glassbox_reader;
grant select (id, org_id) on public.projects to glassbox_reader;
drop policy if exists reader_locates on public.nodes;
create policy reader_locates on public.nodes for select to glassbox_reader using (true);
drop policy if exists reader_locates on public.projects;
create policy reader_locates on public.projects for select to glassbox_reader using (true);

-- Removes what nobody asks for any more; the server calls it now and then.
create or replace function realtime.sweep()
returns void
language sql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
    delete from realtime.command_results where created_at < now() - interval '7 days';
    delete from realtime.tickets where expires_at < now() - interval '1 day';
    delete from realtime.lock_waits w
    where not exists (
        select 1 from realtime.instances i
        where i.id = w.instance_id and i.seen_at > clock_timestamp() - interval '1 minute'
    );
    delete from realtime.instances where seen_at < clock_timestamp() - interval '1 day'
$$;
comment on function realtime.sweep() is 'Removes answers, tickets, waits and instances whose time is over.';
revoke execute on function realtime.sweep() from public;
grant execute on function realtime.sweep() to glassbox_app;

reset role;
