-- The audit trail: one row for each committed change that is worth one, written in the writer's own transaction,
-- whoever the writer is. Reading, moving, presence and the ordinary life of locks are not audited.
--
-- Of the setting `app.origin` (0006) the trail takes who did it, and two more things:
--   "via": [{"ip": "192.0.2.1", "agent": "..."}, ...]   beside '*' and the row ids: where requests came from
--   {"via": <index into that list>, "audit": "none"}    in a row's origin: its request; "none" where the server writes
--                                                       one row of its own in place of one for each table row
-- Rows that go because something else goes (a project's nodes, a node's inputs) are not told: its row tells it.

set role glassbox_owner;

grant select on public.organizations to glassbox_log;
drop policy if exists log_read on public.organizations;
create policy log_read on public.organizations for select to glassbox_log using (true);

-- The trail is only ever added to, by the functions below as well.
grant insert on public.audit_log to glassbox_log;
drop policy if exists log_insert on public.audit_log;
create policy log_insert on public.audit_log for insert to glassbox_log with check (true);

reset role;
set role glassbox_log;

-- What an entry takes from the origin of its change. An execution that is gone is still named in the details.
create or replace function realtime.audit_entry(origins jsonb, origin jsonb, facts jsonb)
returns table (user_id uuid, agent_execution_id uuid, details jsonb, ip_address inet, user_agent text)
language sql
stable
as $$
    select
        (origin ->> 'user')::uuid,
        (select x.id from agent_executions x where x.id = (origin ->> 'execution')::uuid),
        case
            when origin ? 'execution' then facts || jsonb_build_object('executionId', origin -> 'execution')
            else facts
        end,
        (v.via ->> 'ip')::inet,
        left(v.via ->> 'agent', 500)
    from (select origins -> 'via' -> (origin ->> 'via')::integer as via) v
$$;
comment on function realtime.audit_entry(jsonb, jsonb, jsonb) is 'Who stands behind an audited change, from where, and its details.';

create or replace function realtime.is_audited(origin jsonb)
returns boolean
language sql
immutable
as $$
    select origin ->> 'audit' is distinct from 'none'
$$;
comment on function realtime.is_audited(jsonb) is 'False where the server writes the entry itself.';

-- Nodes ---------------------------------------------------------------------------------------------------------

create or replace function realtime.audit_nodes_inserted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    insert into audit_log
        (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
    select n.org_id, e.user_id, e.agent_execution_id, 'node.created', 'node', n.id, e.details, clock_timestamp(),
        e.ip_address, e.user_agent
    from after_rows n
    cross join lateral (
        select case
            -- As nodes_inserted (0006) has it: a worker's sub-node was made by what runs on the parent.
            when origins = '{}'::jsonb and n.author_type = 'agent' and n.parent_id is not null then coalesce(
                (
                    select jsonb_build_object('execution', x.id)
                    from agent_executions x
                    where x.node_id = n.parent_id
                        and x.status = 'running'
                    limit 1
                ),
                origins
            )
            else realtime.origin_of(origins, n.id)
        end as origin
    ) w
    cross join lateral realtime.audit_entry(origins, w.origin, jsonb_build_object(
        'title', left(n.title, 200),
        'projectId', n.project_id
    )) e
    where realtime.is_audited(w.origin)
    order by (w.origin ->> 'n')::integer;
    return null;
end
$$;
comment on function realtime.audit_nodes_inserted() is 'Writes node.created.';

-- Without a query in it, so that PostgreSQL expands it in place.
create or replace function realtime.audited_fields(o nodes, n nodes, is_parent_gone boolean, is_supervisor_gone boolean)
returns jsonb
language sql
stable
as $$
    select to_jsonb(array_remove(array[
        case when o.title is distinct from n.title then 'title' end,
        case when o.description is distinct from n.description then 'description' end,
        case when o.status is distinct from n.status then 'status' end,
        case when o.metadata is distinct from n.metadata then 'metadata' end,
        case when o.parent_id is distinct from n.parent_id and not is_parent_gone then 'parentId' end,
        case
            when o.supervisor_user_id is distinct from n.supervisor_user_id and not is_supervisor_gone
                then 'supervisorUserId'
        end
    ], null))
$$;
comment on function realtime.audited_fields(nodes, nodes, boolean, boolean) is 'The names of the fields whose change is audited and that an update changed.';

-- Joined by hash for the same reason as in nodes_updated (0006).
create or replace function realtime.audit_nodes_updated()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    origins jsonb;
begin
    -- Most updates are moves and leases. Content raises the version, so texts need not be compared to know them.
    if not exists (
        select
        from after_rows n
        join before_rows o on o.id = n.id
        where o.version is distinct from n.version
            or n.version is null
            or o.parent_id is distinct from n.parent_id
            or o.supervisor_user_id is distinct from n.supervisor_user_id
            or o.deleted_at is distinct from n.deleted_at
            or (o.locked_by is not null and o.locked_at is distinct from n.locked_at)
            or o.locked_by <> n.locked_by
    ) then
        return null;
    end if;

    origins := realtime.origins();
    insert into audit_log
        (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
    select n.org_id, e.user_id, e.agent_execution_id, c.action, 'node', n.id, e.details, clock_timestamp(),
        e.ip_address, e.user_agent
    from after_rows n
    join before_rows o on o.id = n.id
    cross join lateral (
        select
            realtime.origin_of(origins, n.id) as origin,
            realtime.audited_fields(
                o,
                n,
                -- A parent or supervisor that is gone took itself out of the node.
                n.parent_id is null and o.parent_id is not null
                    and not exists (select from nodes p where p.id = o.parent_id),
                n.supervisor_user_id is null and o.supervisor_user_id is not null
                    and not exists (select from users u where u.id = o.supervisor_user_id)
            ) as fields
        -- Once per row, however often it is used below.
        offset 0
    ) w
    cross join lateral (
        select
            case
                when o.deleted_at is null and n.deleted_at is not null then 'node.deleted'
                when o.deleted_at is not null and n.deleted_at is null then 'node.restored'
                when w.fields = '[]'::jsonb then null
                when w.origin ->> 'change' = 'rollback' then 'node.rolled_back'
                else 'node.updated'
            end as action,
            jsonb_build_object('title', left(n.title, 200), 'projectId', n.project_id, 'version', n.version)
            || case when w.fields <> '[]'::jsonb then jsonb_build_object('fields', w.fields) else '{}'::jsonb end
            || case
                when o.status is distinct from n.status
                    then jsonb_build_object('status', jsonb_build_object('from', o.status, 'to', n.status))
                else '{}'::jsonb
            end as facts
        union all
        -- A lock that somebody else's takes the place of is broken, as nodes_updated (0006) has it.
        select 'lock.broken', jsonb_strip_nulls(jsonb_build_object(
            'title', left(n.title, 200), 'projectId', n.project_id, 'brokenFrom', o.locked_by,
            'reason', left(w.origin ->> 'summary', 500)
        ))
        where o.locked_by is not null
            and (o.locked_by is distinct from n.locked_by or o.locked_at is distinct from n.locked_at)
            and coalesce(
                w.origin ->> 'reason',
                case
                    when o.locked_by <> n.locked_by and o.lock_expires_at > clock_timestamp() and n.deleted_at is null
                        then 'broken'
                end
            ) = 'broken'
    ) c
    cross join lateral realtime.audit_entry(origins, w.origin, c.facts) e
    where c.action is not null
        and realtime.is_audited(w.origin)
    order by (w.origin ->> 'n')::integer;
    return null;
end
$$;
comment on function realtime.audit_nodes_updated() is 'Writes node.updated, .deleted, .restored, .rolled_back and lock.broken.';

create or replace function realtime.audit_nodes_deleted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    insert into audit_log
        (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
    select o.org_id, e.user_id, e.agent_execution_id, 'node.deleted', 'node', o.id, e.details, clock_timestamp(),
        e.ip_address, e.user_agent
    from before_rows o
    join projects p on p.id = o.project_id
    join organizations g on g.id = p.org_id
    cross join lateral (select realtime.origin_of(origins, o.id) as origin) w
    cross join lateral realtime.audit_entry(origins, w.origin, jsonb_build_object(
        'title', left(o.title, 200), 'projectId', o.project_id, 'purged', true
    )) e
    where realtime.is_audited(w.origin);
    return null;
end
$$;
comment on function realtime.audit_nodes_deleted() is 'Writes node.deleted for rows that are gone, but not for those that went with their project.';

-- Inputs, outputs, dependencies ---------------------------------------------------------------------------------

create or replace function realtime.is_worker()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (
            select not r.rolsuper and pg_has_role(r.oid, 'glassbox_worker', 'member')
            from pg_roles r
            where r.rolname = session_user
        ),
        false
    )
$$;
comment on function realtime.is_worker() is 'Whether an agent worker''s login writes.';

-- A part as the trail needs it: its node's organization, and what tells it apart. No row when its node is gone, or,
-- for an edge, anything that it hangs on.
create or replace function realtime.audited_part(table_name text, part jsonb)
returns table (org_id uuid, node_id uuid, facts jsonb)
language sql
stable
as $$
    select n.org_id, n.id, jsonb_strip_nulls(jsonb_build_object(
        'nodeId', n.id,
        'projectId', n.project_id,
        'type', coalesce(part -> 'input_type', part -> 'output_type'),
        'label', left(part ->> 'label', 200),
        'fileId', part -> 'file_id',
        'sourceNodeId', part -> 'source_node_id'
    ))
    from nodes n
    where n.id = coalesce(part ->> 'node_id', part ->> 'target_node_id')::uuid
        and (
            table_name <> 'node_dependencies'
            or exists (select from nodes s where s.id = (part ->> 'source_node_id')::uuid)
                and (
                    part ->> 'source_output_id' is null
                    or exists (select from node_outputs s where s.id = (part ->> 'source_output_id')::uuid)
                )
                and (
                    part ->> 'target_input_id' is null
                    or exists (select from node_inputs s where s.id = (part ->> 'target_input_id')::uuid)
                )
        )
$$;
comment on function realtime.audited_part(text, jsonb) is 'Where an input, output or dependency belongs, and what its entry says.';

-- The trigger's arguments: the resource type, and the columns whose change is no change of content.
create or replace function realtime.audit_part_changed()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
    kind constant text := tg_argv[0];
begin
    if tg_op = 'INSERT' then
        insert into audit_log
            (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
        select p.org_id, e.user_id, e.agent_execution_id, kind || '.added', kind, r.id, e.details, clock_timestamp(),
            e.ip_address, e.user_agent
        from (select a.id, to_jsonb(a) as part from after_rows a) r
        cross join lateral realtime.audited_part(tg_table_name, r.part) p
        cross join lateral (
            select case
                -- A worker says nothing about itself, and what it makes hangs on the node that it runs on.
                when origins = '{}'::jsonb and kind = 'node_output' and realtime.is_worker() then coalesce(
                    (
                        select jsonb_build_object('execution', x.id)
                        from agent_executions x
                        where x.node_id = p.node_id
                            and x.status = 'running'
                        limit 1
                    ),
                    origins
                )
                else realtime.origin_of(origins, r.id)
            end as origin
        ) w
        cross join lateral realtime.audit_entry(origins, w.origin, p.facts) e
        where realtime.is_audited(w.origin)
        order by (w.origin ->> 'n')::integer;
    elsif tg_op = 'UPDATE' then
        -- One change, one entry: it takes the place of what was there. A file or a node that is gone took itself out.
        insert into audit_log
            (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
        select p.org_id, e.user_id, e.agent_execution_id, kind || '.added', kind, r.id, e.details, clock_timestamp(),
            e.ip_address, e.user_agent
        from (
            select a.id, to_jsonb(a) as part, to_jsonb(b) as former, array_remove(array[
                'sort_order',
                case
                    when to_jsonb(a) ->> 'file_id' is null
                        and not exists (select from files f where f.id = (to_jsonb(b) ->> 'file_id')::uuid)
                        then 'file_id'
                end,
                case
                    when to_jsonb(a) ->> 'source_node_id' is null
                        and not exists (select from nodes s where s.id = (to_jsonb(b) ->> 'source_node_id')::uuid)
                        then 'source_node_id'
                end
            ], null) as ignored
            from after_rows a
            join before_rows b on b.id = a.id
        ) r
        cross join lateral realtime.audited_part(tg_table_name, r.part) p
        cross join lateral (select realtime.origin_of(origins, r.id) as origin) w
        cross join lateral realtime.audit_entry(origins, w.origin, p.facts || '{"replaced": true}'::jsonb) e
        where r.part - r.ignored is distinct from r.former - r.ignored
            and realtime.is_audited(w.origin);
    else
        insert into audit_log
            (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
        select p.org_id, e.user_id, e.agent_execution_id, kind || '.removed', kind, r.id, e.details, clock_timestamp(),
            e.ip_address, e.user_agent
        from (select b.id, to_jsonb(b) as part from before_rows b) r
        cross join lateral realtime.audited_part(tg_table_name, r.part) p
        cross join lateral (select realtime.origin_of(origins, r.id) as origin) w
        cross join lateral realtime.audit_entry(origins, w.origin, p.facts) e
        where realtime.is_audited(w.origin);
    end if;
    return null;
end
$$;
comment on function realtime.audit_part_changed() is 'Writes node_input, node_output and dependency entries; its argument is the one of the three.';

-- Executions ----------------------------------------------------------------------------------------------------

create or replace function realtime.execution_action(was text, is_now text)
returns text
language sql
immutable
as $$
    select case
        when is_now = was then null
        when was is null then 'execution.started'
        when is_now = 'paused' then 'execution.paused'
        when is_now = 'cancelled' then 'execution.cancelled'
        when is_now = 'complete' then 'execution.completed'
        when is_now = 'failed' then 'execution.failed'
        when is_now = 'running' and was = 'paused' then 'execution.resumed'
        when is_now = 'running' and was = 'awaiting_input' then 'execution.input_provided'
        -- A job that is delivered again.
        when is_now = 'running' and was = 'failed' then 'execution.started'
    end
$$;
comment on function realtime.execution_action(text, text) is 'What a change of an execution''s status is called in the trail; NULL where it is not audited.';

create or replace function realtime.execution_facts(x agent_executions, was text)
returns jsonb
language sql
stable
as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'nodeId', x.node_id,
        'executionId', x.id,
        'modelId', x.model_id,
        'status', jsonb_build_object('from', was, 'to', coalesce(x.status, 'pending'))
    ))
$$;
comment on function realtime.execution_facts(agent_executions, text) is 'The details of an execution''s entry.';

create or replace function realtime.audit_executions_inserted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    insert into audit_log
        (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
    select n.org_id, e.user_id, x.id, 'execution.started', 'execution', x.id, e.details, clock_timestamp(),
        e.ip_address, e.user_agent
    from after_rows x
    join nodes n on n.id = x.node_id
    cross join lateral (select realtime.origin_of(origins, x.id) as origin) w
    cross join lateral realtime.audit_entry(origins, w.origin - 'execution', realtime.execution_facts(x, null)) e
    where realtime.is_audited(w.origin);
    return null;
end
$$;
comment on function realtime.audit_executions_inserted() is 'Writes execution.started.';

create or replace function realtime.audit_executions_updated()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    insert into audit_log
        (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
    select n.org_id, e.user_id, x.id, realtime.execution_action(o.status, x.status), 'execution', x.id, e.details,
        clock_timestamp(), e.ip_address, e.user_agent
    from after_rows x
    join before_rows o on o.id = x.id
    join nodes n on n.id = x.node_id
    cross join lateral (select realtime.origin_of(origins, x.id) as origin) w
    cross join lateral realtime.audit_entry(origins, w.origin - 'execution', realtime.execution_facts(x, o.status)) e
    where o.status is distinct from x.status
        and realtime.execution_action(o.status, x.status) is not null
        and realtime.is_audited(w.origin);
    return null;
end
$$;
comment on function realtime.audit_executions_updated() is 'Writes what became of an execution.';

-- Organizations, projects, members, templates, worker keys --------------------------------------------------------

-- A row as the trail needs it. No row when what it belonged to is gone: system templates belong to nobody.
create or replace function realtime.audited_subject(table_name text, r jsonb)
returns table (org_id uuid, resource_id uuid, row_id uuid, facts jsonb)
language sql
stable
as $$
    select g.id, coalesce(case when table_name like '%\_members' then r ->> 'user_id' end, r ->> 'id')::uuid,
        (r ->> 'id')::uuid,
        jsonb_strip_nulls(jsonb_build_object(
            'name', left(r ->> 'name', 200),
            'projectId', r -> 'project_id',
            'role', case when table_name like '%\_members' then coalesce(r ->> 'role', 'member') end
        ))
    from organizations g
    where g.id = case table_name
            when 'organizations' then (r ->> 'id')::uuid
            when 'project_members' then (select p.org_id from projects p where p.id = (r ->> 'project_id')::uuid)
            else (r ->> 'org_id')::uuid
        end
        -- Whoever leaves the organization leaves its projects with it.
        and (
            table_name <> 'project_members'
            or exists (select from org_members m where m.org_id = g.id and m.user_id = (r ->> 'user_id')::uuid)
        )
$$;
comment on function realtime.audited_subject(text, jsonb) is 'Where a row belongs, and what its entry says.';

-- The trigger's arguments: the resource type, the action, and for updates the columns whose change is audited.
create or replace function realtime.audit_changed()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    if tg_op = 'INSERT' then
        insert into audit_log
            (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
        select s.org_id, e.user_id, e.agent_execution_id, tg_argv[1], tg_argv[0], s.resource_id, e.details,
            clock_timestamp(), e.ip_address, e.user_agent
        from (select to_jsonb(a) as r from after_rows a) c
        cross join lateral realtime.audited_subject(tg_table_name, c.r) s
        cross join lateral (select realtime.origin_of(origins, s.row_id) as origin) w
        cross join lateral realtime.audit_entry(origins, w.origin, s.facts) e
        where realtime.is_audited(w.origin);
    elsif tg_op = 'UPDATE' then
        insert into audit_log
            (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
        select s.org_id, e.user_id, e.agent_execution_id, tg_argv[1], tg_argv[0], s.resource_id, e.details,
            clock_timestamp(), e.ip_address, e.user_agent
        from (
            select to_jsonb(a) as r, to_jsonb(b) as former
            from after_rows a
            join before_rows b on b.id = a.id
        ) c
        cross join lateral (
            -- Names alone: settings hold secrets.
            select array_agg(f.field order by f.i) as fields
            from unnest(tg_argv[2]::text[]) with ordinality f (field, i)
            where c.r -> f.field is distinct from c.former -> f.field
        ) d
        cross join lateral realtime.audited_subject(tg_table_name, c.r) s
        cross join lateral (select realtime.origin_of(origins, s.row_id) as origin) w
        cross join lateral realtime.audit_entry(
            origins,
            w.origin,
            s.facts || case tg_argv[2]
                when '{role}' then jsonb_build_object('role', jsonb_build_object(
                    'from', coalesce(c.former ->> 'role', 'member'), 'to', coalesce(c.r ->> 'role', 'member')))
                when '{revoked_at}' then '{}'::jsonb
                else jsonb_build_object('fields', to_jsonb(d.fields))
            end
        ) e
        where d.fields is not null
            and (tg_argv[2] <> '{revoked_at}' or c.former ->> 'revoked_at' is null)
            and realtime.is_audited(w.origin);
    else
        insert into audit_log
            (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
        select s.org_id, e.user_id, e.agent_execution_id, tg_argv[1], tg_argv[0], s.resource_id, e.details,
            clock_timestamp(), e.ip_address, e.user_agent
        from (select to_jsonb(b) as r from before_rows b) c
        cross join lateral realtime.audited_subject(tg_table_name, c.r) s
        cross join lateral (select realtime.origin_of(origins, s.row_id) as origin) w
        cross join lateral realtime.audit_entry(origins, w.origin, s.facts) e
        where realtime.is_audited(w.origin);
    end if;
    return null;
end
$$;
comment on function realtime.audit_changed() is 'Writes the entries of organizations, projects, members, templates and worker keys.';

do $$
declare
    f record;
begin
    for f in
        select p.oid::regprocedure as signature
        from pg_proc p
        where p.pronamespace = 'realtime'::regnamespace
            and p.prorettype = 'trigger'::regtype
            and p.proowner = 'glassbox_log'::regrole
    loop
        execute format('revoke execute on function %s from public', f.signature);
        execute format('grant execute on function %s to glassbox_owner', f.signature);
    end loop;
end
$$;

reset role;
set role glassbox_owner;

create or replace trigger audit_inserted after insert on nodes
    referencing new table as after_rows
    for each statement execute function realtime.audit_nodes_inserted();
create or replace trigger audit_updated after update on nodes
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.audit_nodes_updated();
create or replace trigger audit_deleted after delete on nodes
    referencing old table as before_rows
    for each statement execute function realtime.audit_nodes_deleted();

create or replace trigger audit_inserted after insert on agent_executions
    referencing new table as after_rows
    for each statement execute function realtime.audit_executions_inserted();
create or replace trigger audit_updated after update on agent_executions
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.audit_executions_updated();

do $$
declare
    t record;
begin
    for t in
        select *
        from (values
            ('node_inputs', 'node_input'),
            ('node_outputs', 'node_output'),
            ('node_dependencies', 'dependency')
        ) v (name, kind)
    loop
        execute format(
            'create or replace trigger audit_inserted after insert on %I
                 referencing new table as after_rows
                 for each statement execute function realtime.audit_part_changed(%L)', t.name, t.kind);
        execute format(
            'create or replace trigger audit_updated after update on %I
                 referencing old table as before_rows new table as after_rows
                 for each statement execute function realtime.audit_part_changed(%L)', t.name, t.kind);
        execute format(
            'create or replace trigger audit_deleted after delete on %I
                 referencing old table as before_rows
                 for each statement execute function realtime.audit_part_changed(%L)', t.name, t.kind);
    end loop;

    for t in
        select *
        from (values
            ('organizations', 'org', 'org.created', 'org.updated', null, '{name,slug,settings,event_sourcing_level}'),
            ('projects', 'project', 'project.created', 'project.updated', 'project.deleted',
                '{name,description,settings,workflow_states}'),
            ('org_members', 'user', 'org_member.added', 'org_member.role_changed', 'org_member.removed', '{role}'),
            ('project_members', 'user', 'project_member.added', 'project_member.role_changed', 'project_member.removed',
                '{role}'),
            ('templates', 'template', 'template.created', 'template.updated', 'template.deleted',
                '{name,description,structure,agent_config,is_public}'),
            ('realtime.worker_keys', 'worker_key', 'worker_key.created', 'worker_key.revoked', null, '{revoked_at}')
        ) v (name, kind, made, changed, gone, columns)
        where to_regclass(v.name) is not null
    loop
        execute format(
            'create or replace trigger audit_inserted after insert on %s
                 referencing new table as after_rows
                 for each statement execute function realtime.audit_changed(%L, %L)',
            to_regclass(t.name), t.kind, t.made);
        execute format(
            'create or replace trigger audit_updated after update on %s
                 referencing old table as before_rows new table as after_rows
                 for each statement execute function realtime.audit_changed(%L, %L, %L)',
            to_regclass(t.name), t.kind, t.changed, t.columns);
        if t.gone is not null then
            execute format(
                'create or replace trigger audit_deleted after delete on %s
                     referencing old table as before_rows
                     for each statement execute function realtime.audit_changed(%L, %L)',
                to_regclass(t.name), t.kind, t.gone);
        end if;
    end loop;
end
$$;

reset role;
