-- Keeps tenants apart, whoever writes: row-level security with its grants, and for what policies cannot see (a
-- row of one's own that refers to a row of somebody else) triggers that refuse the reference.
--
-- The server names its context per transaction with set_config(..., true):
--   app.current_org_id  the organization that the request is about
--   app.user_id         the user who asks
--   app.sign_in         the cognito_sub that a valid token proved, while its user is looked up or made
-- A setting that is unset or '' is no context, and no context sees nothing. The expressions stand inline in a
-- sub-select, so that they are evaluated once per query and not per row, and never raise on an empty setting.

set search_path to public, pg_temp;
set role glassbox_owner;

-- Forced, because the owner would otherwise skip the policies. Foreign keys and cascades always do.
do $$
declare
  tenant_table text;
begin
  foreach tenant_table in array array[
    'organizations', 'users', 'org_members', 'projects', 'project_members', 'nodes', 'node_versions', 'node_inputs',
    'node_outputs', 'node_dependencies', 'files', 'agent_executions', 'agent_trace_events', 'templates', 'audit_log',
    'notifications'
  ] loop
    execute format('alter table %I enable row level security', tenant_table);
    execute format('alter table %I force row level security', tenant_table);
  end loop;
end
$$;


-- The server: glassbox_app

drop policy if exists app_tenant on organizations;
create policy app_tenant on organizations
  to glassbox_app
  using (id = (select nullif(current_setting('app.current_org_id', true), '')::uuid))
  with check (id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));

-- A user's list of organizations is read before one of them is chosen.
drop policy if exists app_membership on organizations;
create policy app_membership on organizations
  for select
  to glassbox_app
  using (id in (
    select m.org_id
    from org_members m
    where m.user_id = (select nullif(current_setting('app.user_id', true), '')::uuid)
  ));

drop policy if exists app_tenant on org_members;
create policy app_tenant on org_members
  to glassbox_app
  using (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid))
  with check (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));

drop policy if exists app_self on org_members;
create policy app_self on org_members
  for select
  to glassbox_app
  using (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid));

-- A person belongs to no organization, so who sees whom goes by shared membership.
drop policy if exists app_read on users;
create policy app_read on users
  for select
  to glassbox_app
  using (
    id = (select nullif(current_setting('app.user_id', true), '')::uuid)
    or cognito_sub = (select nullif(current_setting('app.sign_in', true), ''))
    or id in (
      select m.user_id
      from org_members m
      where m.org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid)
    )
  );

-- Besides the person who signs in, an organization makes rows for those it invites and for its worker keys.
drop policy if exists app_insert on users;
create policy app_insert on users
  for insert
  to glassbox_app
  with check (
    cognito_sub = (select nullif(current_setting('app.sign_in', true), ''))
    or (
      (cognito_sub like 'invited:%' or cognito_sub like 'worker:%')
      and (select nullif(current_setting('app.current_org_id', true), '')::uuid) is not null
    )
  );

drop policy if exists app_update on users;
create policy app_update on users
  for update
  to glassbox_app
  using (
    id = (select nullif(current_setting('app.user_id', true), '')::uuid)
    or cognito_sub = (select nullif(current_setting('app.sign_in', true), ''))
  )
  with check (
    id = (select nullif(current_setting('app.user_id', true), '')::uuid)
    or cognito_sub = (select nullif(current_setting('app.sign_in', true), ''))
  );

drop policy if exists app_tenant on projects;
create policy app_tenant on projects
  to glassbox_app
  using (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid))
  with check (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));

drop policy if exists app_tenant on nodes;
create policy app_tenant on nodes
  to glassbox_app
  using (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid))
  with check (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));

drop policy if exists app_tenant on files;
create policy app_tenant on files
  to glassbox_app
  using (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid))
  with check (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));

-- The tables below have no org_id. Their policies ask for the parent row, which is seen only through the parent's
-- own policy.

drop policy if exists app_tenant on project_members;
create policy app_tenant on project_members
  to glassbox_app
  using (exists (select from projects p where p.id = project_members.project_id))
  with check (exists (select from projects p where p.id = project_members.project_id));

-- History is written once: there is a policy for reading and one for adding, none for changing.
drop policy if exists app_read on node_versions;
create policy app_read on node_versions
  for select
  to glassbox_app
  using (exists (select from nodes n where n.id = node_versions.node_id));

drop policy if exists app_insert on node_versions;
create policy app_insert on node_versions
  for insert
  to glassbox_app
  with check (exists (select from nodes n where n.id = node_versions.node_id));

drop policy if exists app_tenant on node_inputs;
create policy app_tenant on node_inputs
  to glassbox_app
  using (exists (select from nodes n where n.id = node_inputs.node_id))
  with check (exists (select from nodes n where n.id = node_inputs.node_id));

drop policy if exists app_tenant on node_outputs;
create policy app_tenant on node_outputs
  to glassbox_app
  using (exists (select from nodes n where n.id = node_outputs.node_id))
  with check (exists (select from nodes n where n.id = node_outputs.node_id));

-- Reading asks for one end only: check_dependency_references keeps both in one project.
drop policy if exists app_tenant on node_dependencies;
create policy app_tenant on node_dependencies
  to glassbox_app
  using (exists (select from nodes n where n.id = node_dependencies.source_node_id))
  with check (
    exists (select from nodes n where n.id = node_dependencies.source_node_id)
    and exists (select from nodes n where n.id = node_dependencies.target_node_id)
  );

drop policy if exists app_tenant on agent_executions;
create policy app_tenant on agent_executions
  to glassbox_app
  using (exists (select from nodes n where n.id = agent_executions.node_id))
  with check (exists (select from nodes n where n.id = agent_executions.node_id));

drop policy if exists app_tenant on agent_trace_events;
create policy app_tenant on agent_trace_events
  to glassbox_app
  using (exists (select from agent_executions e where e.id = agent_trace_events.execution_id))
  with check (exists (select from agent_executions e where e.id = agent_trace_events.execution_id));

drop policy if exists app_tenant on templates;
create policy app_tenant on templates
  to glassbox_app
  using (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid))
  with check (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));

-- System templates (no organization) and public ones are for everybody who has signed in.
drop policy if exists app_shared on templates;
create policy app_shared on templates
  for select
  to glassbox_app
  using (
    (org_id is null or is_public)
    and (
      (select nullif(current_setting('app.user_id', true), '')::uuid) is not null
      or (select nullif(current_setting('app.current_org_id', true), '')::uuid) is not null
    )
  );

-- The trail is only ever added to.
drop policy if exists app_read on audit_log;
create policy app_read on audit_log
  for select
  to glassbox_app
  using (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));

drop policy if exists app_insert on audit_log;
create policy app_insert on audit_log
  for insert
  to glassbox_app
  with check (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));

-- A notification is its reader's alone: in the organization at hand, or in all of them when none is chosen.
drop policy if exists app_read on notifications;
create policy app_read on notifications
  for select
  to glassbox_app
  using (
    user_id = (select nullif(current_setting('app.user_id', true), '')::uuid)
    and (
      (select nullif(current_setting('app.current_org_id', true), '')::uuid) is null
      or org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid)
    )
  );

drop policy if exists app_update on notifications;
create policy app_update on notifications
  for update
  to glassbox_app
  using (
    user_id = (select nullif(current_setting('app.user_id', true), '')::uuid)
    and (
      (select nullif(current_setting('app.current_org_id', true), '')::uuid) is null
      or org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid)
    )
  )
  with check (
    user_id = (select nullif(current_setting('app.user_id', true), '')::uuid)
    and (
      (select nullif(current_setting('app.current_org_id', true), '')::uuid) is null
      or org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid)
    )
  );

drop policy if exists app_insert on notifications;
create policy app_insert on notifications
  for insert
  to glassbox_app
  with check (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));

-- Nobody but the owner may truncate: TRUNCATE asks no policy.
grant select, insert, update, delete
  on organizations, org_members, projects, project_members, nodes, node_inputs, node_outputs, node_dependencies,
     files, templates
  to glassbox_app;
grant select, insert, update
  on users, agent_executions, notifications
  to glassbox_app;
grant select, insert
  on node_versions, agent_trace_events, audit_log
  to glassbox_app;
grant usage
  on sequence agent_trace_events_sequence_number_seq
  to glassbox_app;


-- Agent workers: glassbox_worker. They set no context, ever, and serve every tenant; their grants are their limit.
do $$
declare
  table_name text;
begin
  foreach table_name in array array[
    'nodes', 'node_inputs', 'node_outputs', 'node_dependencies', 'agent_executions', 'agent_trace_events', 'files'
  ] loop
    execute format('drop policy if exists worker_all on %I', table_name);
    execute format('create policy worker_all on %I to glassbox_worker using (true) with check (true)', table_name);
  end loop;
  foreach table_name in array array['organizations', 'projects', 'users', 'node_versions'] loop
    execute format('drop policy if exists worker_read on %I', table_name);
    execute format('create policy worker_read on %I for select to glassbox_worker using (true)', table_name);
  end loop;
end
$$;

grant select, insert, update, delete
  on nodes, node_inputs, node_outputs, node_dependencies, agent_executions, agent_trace_events, files
  to glassbox_worker;
grant select
  on organizations, projects, users, node_versions
  to glassbox_worker;
grant usage
  on sequence agent_trace_events_sequence_number_seq
  to glassbox_worker;


-- Trigger functions: glassbox_log. They look across tenants, so each of them compares organizations itself.
do $$
declare
  table_name text;
begin
  foreach table_name in array array[
    'projects', 'nodes', 'node_inputs', 'node_outputs', 'node_dependencies', 'agent_executions', 'files',
    'org_members', 'project_members', 'users', 'node_versions'
  ] loop
    execute format('drop policy if exists log_read on %I', table_name);
    execute format('create policy log_read on %I for select to glassbox_log using (true)', table_name);
  end loop;
  foreach table_name in array array['nodes', 'agent_executions'] loop
    execute format('drop policy if exists log_update on %I', table_name);
    execute format('create policy log_update on %I for update to glassbox_log using (true) with check (true)', table_name);
  end loop;
  drop policy if exists log_insert on node_versions;
  create policy log_insert on node_versions for insert to glassbox_log with check (true);
end
$$;

grant select
  on projects, nodes, node_inputs, node_outputs, node_dependencies, agent_executions, files, org_members,
     project_members, users, node_versions
  to glassbox_log;
grant update
  on nodes, agent_executions
  to glassbox_log;
grant insert
  on node_versions
  to glassbox_log;

reset role;
set role glassbox_log;


-- References. A foreign key finds the rows of every tenant, so on its own it accepts a neighbour's id and refuses
-- a made-up one, which tells the two apart. The checks below run before it and give both the same answer. Where
-- an organization is the context, rows of any other are taken for missing, so that no combination of guessed ids
-- in one row finds out more.
--
-- They look rows up by key, and their plans are kept for the session. A plan made while a table had a handful of
-- rows would go on reading all of it during a large import, so sequential scans are off in them (5,000 nodes in
-- one statement after such a start: 0.5 s instead of 3 s).

create or replace function realtime.check_input_references()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
set enable_seqscan = off
as $$
declare
  context constant uuid := nullif(current_setting('app.current_org_id', true), '')::uuid;
  organization constant uuid := (
    select n.org_id
    from nodes n
    where n.id = new.node_id
      and (context is null or n.org_id = context)
  );
begin
  if new.file_id is not null
    and (tg_op = 'INSERT' or new.file_id is distinct from old.file_id)
    and not exists (select from files f where f.id = new.file_id and f.org_id = organization)
  then
    raise exception 'file_id refers to something that does not exist'
      using errcode = 'foreign_key_violation', table = 'node_inputs', column = 'file_id';
  end if;
  if new.source_node_id is not null
    and (tg_op = 'INSERT' or new.source_node_id is distinct from old.source_node_id)
    and not exists (select from nodes n where n.id = new.source_node_id and n.org_id = organization)
  then
    raise exception 'source_node_id refers to something that does not exist'
      using errcode = 'foreign_key_violation', table = 'node_inputs', column = 'source_node_id';
  end if;
  return new;
end;
$$;

comment on function realtime.check_input_references() is 'Refuses an input whose file or source node is not of its node''s organization, or is nowhere: SQLSTATE 23503 either way.';

create or replace function realtime.check_output_references()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
set enable_seqscan = off
as $$
declare
  context constant uuid := nullif(current_setting('app.current_org_id', true), '')::uuid;
begin
  if new.file_id is not null
    and (tg_op = 'INSERT' or new.file_id is distinct from old.file_id)
    and not exists (
      select
      from nodes n
      join files f on f.org_id = n.org_id
      where n.id = new.node_id
        and f.id = new.file_id
        and (context is null or n.org_id = context)
    )
  then
    raise exception 'file_id refers to something that does not exist'
      using errcode = 'foreign_key_violation', table = 'node_outputs', column = 'file_id';
  end if;
  return new;
end;
$$;

comment on function realtime.check_output_references() is 'Refuses an output whose file is not of its node''s organization, or is nowhere: SQLSTATE 23503 either way.';

create or replace function realtime.check_dependency_references()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
set enable_seqscan = off
as $$
declare
  context constant uuid := nullif(current_setting('app.current_org_id', true), '')::uuid;
  project constant uuid := (
    select n.project_id
    from nodes n
    where n.id = new.source_node_id
      and (context is null or n.org_id = context)
  );
begin
  if project is null then
    raise exception 'source_node_id refers to something that does not exist'
      using errcode = 'foreign_key_violation', table = 'node_dependencies', column = 'source_node_id';
  end if;
  if not exists (select from nodes n where n.id = new.target_node_id and n.project_id = project) then
    raise exception 'target_node_id refers to something that does not exist'
      using errcode = 'foreign_key_violation', table = 'node_dependencies', column = 'target_node_id';
  end if;
  if new.source_output_id is not null
    and not exists (select from node_outputs o where o.id = new.source_output_id and o.node_id = new.source_node_id)
  then
    raise exception 'source_output_id refers to something that does not exist'
      using errcode = 'foreign_key_violation', table = 'node_dependencies', column = 'source_output_id';
  end if;
  if new.target_input_id is not null
    and not exists (select from node_inputs i where i.id = new.target_input_id and i.node_id = new.target_node_id)
  then
    raise exception 'target_input_id refers to something that does not exist'
      using errcode = 'foreign_key_violation', table = 'node_dependencies', column = 'target_input_id';
  end if;
  return new;
end;
$$;

comment on function realtime.check_dependency_references() is 'Keeps both ends of a dependency in one project, its output at the source and its input at the target: SQLSTATE 23503 otherwise.';

create or replace function realtime.check_project_member()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
set enable_seqscan = off
as $$
declare
  context constant uuid := nullif(current_setting('app.current_org_id', true), '')::uuid;
begin
  if not exists (
    select
    from projects p
    join org_members m on m.org_id = p.org_id
    where p.id = new.project_id
      and m.user_id = new.user_id
      and (context is null or p.org_id = context)
  ) then
    raise exception 'user_id refers to something that does not exist'
      using errcode = 'foreign_key_violation', table = 'project_members', column = 'user_id';
  end if;
  return new;
end;
$$;

comment on function realtime.check_project_member() is 'Refuses a project member who is not a member of the project''s organization: SQLSTATE 23503.';

-- Parents. A cycle would make a subtree that no root leads to and that every walk upwards turns in for ever.
create or replace function realtime.refuse_parent_cycle()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
set enable_seqscan = off
as $$
declare
  -- The walk stays in one organization, so it says nothing about others. A row that names somebody else's project
  -- or parent is refused later, by its policy or its foreign key.
  organization constant uuid := coalesce(nullif(current_setting('app.current_org_id', true), '')::uuid, new.org_id);
  ancestor uuid := new.parent_id;
  walked uuid[] := array[new.id];
begin
  if tg_op = 'INSERT' then
    -- Nothing is below a new node yet, unless one statement brings both.
    if new.parent_id <> new.id
      and not exists (select from nodes n where n.project_id = new.project_id and n.parent_id = new.id)
    then
      return new;
    end if;
  else
    if new.parent_id is not distinct from old.parent_id then
      return new;
    end if;
    -- Two transactions that hang two nodes under each other would not see one another's change, so changes of
    -- parents take turns within a project.
    perform pg_advisory_xact_lock(hashtextextended('glassbox parents ' || new.project_id, 0));
  end if;

  -- Step by step, since each step is a look-up by key; a recursive query was planned as a join of whole tables.
  while ancestor is not null loop
    if ancestor = new.id then
      raise exception 'parent cycle'
        using errcode = 'check_violation', table = 'nodes', column = 'parent_id',
              detail = array_to_string(walked || ancestor, ' -> ');
    end if;
    -- A cycle further up, made before this check was there, is not this row's doing.
    exit when ancestor = any (walked);
    walked := walked || ancestor;
    ancestor := (
      select n.parent_id
      from nodes n
      where n.id = ancestor
        and n.project_id = new.project_id
        and n.org_id = organization
    );
  end loop;

  -- A frozen snapshot does not show what others have committed while we waited for our turn. Locking the
  -- ancestors does: it fails with 40001 if one of them has changed since.
  if tg_op = 'UPDATE' and current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform
    from nodes n
    where n.id = any (walked[2:])
    for share;
  end if;
  return new;
end;
$$;

comment on function realtime.refuse_parent_cycle() is 'Refuses a parent that is the node itself or lies below it: SQLSTATE 23514, with the cycle in the detail.';

-- What a row belongs to is checked when it is made. The same row under another tenant, project or node would
-- leave behind references that nobody has checked.
create or replace function realtime.refuse_change()
returns trigger
language plpgsql
set search_path = glassbox, public, realtime, pg_temp
as $$
begin
  raise exception '%.% never changes', tg_table_name, tg_argv[0]
    using errcode = 'check_violation', table = tg_table_name, column = tg_argv[0];
end;
$$;

comment on function realtime.refuse_change() is 'Refuses the change of the column that is its argument: SQLSTATE 23514.';

-- Nobody calls these but their triggers, and only the tables' owner makes triggers.
revoke all
  on function realtime.check_input_references(), realtime.check_output_references(),
     realtime.check_dependency_references(), realtime.check_project_member(), realtime.refuse_parent_cycle(),
     realtime.refuse_change()
  from public;
grant execute
  on function realtime.check_input_references(), realtime.check_output_references(),
     realtime.check_dependency_references(), realtime.check_project_member(), realtime.refuse_parent_cycle(),
     realtime.refuse_change()
  to glassbox_owner;

reset role;
set role glassbox_owner;

create or replace trigger check_references
  before insert or update of file_id, source_node_id on node_inputs
  for each row
  execute function realtime.check_input_references();

create or replace trigger check_references
  before insert or update of file_id on node_outputs
  for each row
  execute function realtime.check_output_references();

create or replace trigger check_references
  before insert or update of source_node_id, target_node_id, source_output_id, target_input_id on node_dependencies
  for each row
  execute function realtime.check_dependency_references();

create or replace trigger check_references
  before insert or update of project_id, user_id on project_members
  for each row
  execute function realtime.check_project_member();

create or replace trigger refuse_parent_cycle
  before insert or update of parent_id on nodes
  for each row
  when (new.parent_id is not null)
  execute function realtime.refuse_parent_cycle();

create or replace trigger keep_org_id
  before update of org_id on projects
  for each row
  when (old.org_id is distinct from new.org_id)
  execute function realtime.refuse_change('org_id');

create or replace trigger keep_org_id
  before update of org_id on nodes
  for each row
  when (old.org_id is distinct from new.org_id)
  execute function realtime.refuse_change('org_id');

create or replace trigger keep_project_id
  before update of project_id on nodes
  for each row
  when (old.project_id is distinct from new.project_id)
  execute function realtime.refuse_change('project_id');

create or replace trigger keep_org_id
  before update of org_id on files
  for each row
  when (old.org_id is distinct from new.org_id)
  execute function realtime.refuse_change('org_id');

create or replace trigger keep_node_id
  before update of node_id on node_inputs
  for each row
  when (old.node_id is distinct from new.node_id)
  execute function realtime.refuse_change('node_id');

create or replace trigger keep_node_id
  before update of node_id on node_outputs
  for each row
  when (old.node_id is distinct from new.node_id)
  execute function realtime.refuse_change('node_id');

reset role;
reset search_path;
