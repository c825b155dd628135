-- What becomes an event: the triggers on the documented tables, for every writer, and the functions that give rows
-- the shape of the wire. The server's own commands and a person's psql come this way alike.
--
-- Who did it stands in the setting `app.origin`, a JSON object that the server sets for its transaction. Its key '*'
-- holds for all rows, a row's id for that row, so that one statement can carry the commands of many people:
--   {"*": {"user": uuid, "execution": uuid, "request": uuid, "client": uuid}, "<row id>": {...}}
-- Further keys: "n" orders the events of one statement, "reason" says why a lock ended, "change" and "summary"
-- describe a version. A writer that sets nothing is a foreign one.

set role glassbox_log;

create or replace function realtime.origins()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(nullif(current_setting('app.origin', true), '')::jsonb, '{}'::jsonb)
$$;
comment on function realtime.origins() is 'Who stands behind the transaction under way, by row.';

create or replace function realtime.origin_of(origins jsonb, row_id uuid)
returns jsonb
language sql
immutable
as $$
    select coalesce(origins -> row_id::text, origins -> '*', '{}'::jsonb)
$$;
comment on function realtime.origin_of(jsonb, uuid) is 'Who stands behind a change of one row.';

-- The functions below say how volatile they are exactly as their bodies are: PostgreSQL then expands them in place,
-- which makes rendering a node five times faster.

-- RFC 3339 in UTC; a NULL column is served as the beginning of time.
create or replace function realtime.time_text(t timestamptz)
returns text
language sql
stable
as $$
    select to_char(coalesce(t, 'epoch'::timestamptz) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;
comment on function realtime.time_text(timestamptz) is 'A time as the wire writes it.';

create or replace function realtime.object_or_empty(j jsonb)
returns jsonb
language sql
immutable
as $$
    select case when jsonb_typeof(j) = 'object' then j else '{}'::jsonb end
$$;
comment on function realtime.object_or_empty(jsonb) is 'Any SQL writer may store any JSON; the wire promises an object.';

create or replace function realtime.position_json(p jsonb)
returns jsonb
language sql
stable
as $$
    select case
        when jsonb_typeof(p -> 'x') = 'number' and jsonb_typeof(p -> 'y') = 'number'
            then jsonb_build_object('x', p -> 'x', 'y', p -> 'y')
        else '{"x": 0, "y": 0}'::jsonb
    end
$$;
comment on function realtime.position_json(jsonb) is 'A place as the wire promises it: two numbers.';

create or replace function realtime.actor_json(origin jsonb)
returns jsonb
language sql
stable
as $$
    select case
        when origin ? 'execution' then jsonb_build_object('kind', 'execution', 'id', origin -> 'execution')
        when origin ? 'user' then jsonb_build_object('kind', 'user', 'id', origin -> 'user')
        else 'null'::jsonb
    end
$$;
comment on function realtime.actor_json(jsonb) is 'The "by" of an event; null for a foreign writer.';

-- One line of the log. `private` holds what the fan-out sends to the author alone: the command's id, the fence.
create or replace function realtime.line(event_type text, origin jsonb, payload jsonb, fence bigint default null)
returns text
language sql
stable
as $$
    select jsonb_build_object('type', event_type, 'by', realtime.actor_json(origin), 'payload', payload)::text
        || case
            when origin ? 'request' or fence is not null then
                E'\t' || jsonb_strip_nulls(jsonb_build_object(
                    'request', origin -> 'request',
                    'client', origin -> 'client',
                    'user', origin -> 'user',
                    'fence', fence
                ))::text
            else ''
        end
$$;
comment on function realtime.line(text, jsonb, jsonb, bigint) is 'One event as a line of the log: the public object, then, behind a tab, what only the author may see.';

create or replace function realtime.node_json(n nodes)
returns jsonb
language sql
volatile
as $$
    select jsonb_strip_nulls(jsonb_build_object(
            'id', n.id,
            'orgId', n.org_id,
            'projectId', n.project_id,
            'parentId', n.parent_id,
            'title', n.title,
            'description', n.description,
            'status', coalesce(n.status, 'draft'),
            'authorType', n.author_type,
            'authorUserId', n.author_user_id,
            'supervisorUserId', n.supervisor_user_id,
            'version', coalesce(n.version, 1),
            'lockedBy', case when n.lock_expires_at > clock_timestamp() then n.locked_by end,
            'lockedAt', case
                when n.locked_by is not null and n.lock_expires_at > clock_timestamp()
                    then realtime.time_text(n.locked_at)
            end,
            'lockExpiresAt', case
                when n.locked_by is not null and n.lock_expires_at > clock_timestamp()
                    then realtime.time_text(n.lock_expires_at)
            end,
            'createdAt', realtime.time_text(n.created_at),
            'updatedAt', realtime.time_text(n.updated_at),
            'deletedAt', case when n.deleted_at is not null then realtime.time_text(n.deleted_at) end
        ))
        || jsonb_build_object(
            'metadata', realtime.object_or_empty(n.metadata),
            'position', realtime.position_json(n.position)
        )
$$;
comment on function realtime.node_json(nodes) is 'A node as the wire shows it, without inputs and outputs. An expired lock is no lock.';

create or replace function realtime.input_json(i node_inputs)
returns jsonb
language sql
stable
as $$
    select jsonb_strip_nulls(jsonb_build_object(
            'id', i.id,
            'nodeId', i.node_id,
            'inputType', i.input_type,
            'fileId', i.file_id,
            'sourceNodeId', i.source_node_id,
            'sourceNodeVersion', i.source_node_version,
            'externalUrl', i.external_url,
            'textContent', i.text_content,
            'label', i.label,
            'sortOrder', coalesce(i.sort_order, 0),
            'createdAt', realtime.time_text(i.created_at)
        ))
        || jsonb_build_object('metadata', realtime.object_or_empty(i.metadata))
$$;
comment on function realtime.input_json(node_inputs) is 'An input as the wire shows it.';

create or replace function realtime.output_json(o node_outputs)
returns jsonb
language sql
stable
as $$
    select jsonb_strip_nulls(jsonb_build_object(
            'id', o.id,
            'nodeId', o.node_id,
            'outputType', o.output_type,
            'fileId', o.file_id,
            'textContent', o.text_content,
            'externalUrl', o.external_url,
            'label', o.label,
            'sortOrder', coalesce(o.sort_order, 0),
            'createdAt', realtime.time_text(o.created_at)
        ))
        || case when o.structured_data is null then '{}'::jsonb else jsonb_build_object('structuredData', o.structured_data) end
        || jsonb_build_object('metadata', realtime.object_or_empty(o.metadata))
$$;
comment on function realtime.output_json(node_outputs) is 'An output as the wire shows it.';

create or replace function realtime.dependency_json(d node_dependencies)
returns jsonb
language sql
stable
as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'id', d.id,
        'sourceNodeId', d.source_node_id,
        'targetNodeId', d.target_node_id,
        'sourceOutputId', d.source_output_id,
        'targetInputId', d.target_input_id,
        'createdAt', realtime.time_text(d.created_at)
    ))
$$;
comment on function realtime.dependency_json(node_dependencies) is 'An edge as the wire shows it.';

create or replace function realtime.node_lists(the_node uuid)
returns jsonb
language sql
stable
as $$
    select jsonb_build_object(
        'inputs', (
            select coalesce(jsonb_agg(realtime.input_json(i) order by i.sort_order, i.id), '[]'::jsonb)
            from node_inputs i where i.node_id = the_node
        ),
        'outputs', (
            select coalesce(jsonb_agg(realtime.output_json(o) order by o.sort_order, o.id), '[]'::jsonb)
            from node_outputs o where o.node_id = the_node
        )
    )
$$;
comment on function realtime.node_lists(uuid) is 'A node''s inputs and outputs as the wire shows them.';

-- The fields of a node that are content or place and differ; locks and deletion have events of their own.
create or replace function realtime.node_changes(o nodes, n nodes)
returns jsonb
language sql
stable
as $$
    select case when o.title is distinct from n.title then jsonb_build_object('title', n.title) else '{}'::jsonb end
        || case when o.description is distinct from n.description then jsonb_build_object('description', n.description) else '{}'::jsonb end
        || case when o.status is distinct from n.status then jsonb_build_object('status', coalesce(n.status, 'draft')) else '{}'::jsonb end
        || case when o.parent_id is distinct from n.parent_id then jsonb_build_object('parentId', n.parent_id) else '{}'::jsonb end
        || case when o.supervisor_user_id is distinct from n.supervisor_user_id then jsonb_build_object('supervisorUserId', n.supervisor_user_id) else '{}'::jsonb end
        || case when o.metadata is distinct from n.metadata then jsonb_build_object('metadata', realtime.object_or_empty(n.metadata)) else '{}'::jsonb end
        || case when o.position is distinct from n.position then jsonb_build_object('position', realtime.position_json(n.position)) else '{}'::jsonb end
$$;
comment on function realtime.node_changes(nodes, nodes) is 'The new values of the fields that an update changed.';

-- Version history -----------------------------------------------------------------------------------------------

create or replace function realtime.version_snapshot(n nodes)
returns jsonb
language sql
volatile
as $$
    select realtime.node_json(n) - array['lockedBy', 'lockedAt', 'lockExpiresAt', 'deletedAt']
$$;
comment on function realtime.version_snapshot(nodes) is 'A node as its version history keeps it.';

create or replace function realtime.change_summary(o nodes, n nodes)
returns text
language sql
immutable
as $$
    select case
        when o.status is distinct from n.status then 'Status changed to ' || coalesce(n.status, 'draft')
        else (
            select upper(left(t, 1)) || substr(t, 2) || ' updated'
            from (
                select regexp_replace(string_agg(f, ', ' order by i), ', ([^,]*)$', ' and \1') as t
                from (values
                    (1, case when o.title is distinct from n.title then 'title' end),
                    (2, case when o.description is distinct from n.description then 'description' end),
                    (3, case when o.metadata is distinct from n.metadata then 'metadata' end)
                ) fields (i, f)
                where f is not null
            ) list
        )
    end
$$;
comment on function realtime.change_summary(nodes, nodes) is 'What a version changed, in words.';

-- Nodes ---------------------------------------------------------------------------------------------------------

create or replace function realtime.nodes_inserted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    insert into node_versions (node_id, version, snapshot, change_type, change_summary, changed_by)
    select
        n.id,
        coalesce(n.version, 1),
        realtime.version_snapshot(n),
        'created',
        'Created',
        (realtime.origin_of(origins, n.id) ->> 'user')::uuid
    from inserted n
    on conflict (node_id, version) do nothing;

    insert into realtime.staging (stream_id, request_id, body, is_first)
    select e.project_id, (e.origin ->> 'request')::uuid, e.body, realtime.arm()
    from (
        select
            n.project_id,
            o.origin,
            realtime.line('node_created', o.origin, jsonb_build_object(
                'nodeId', n.id,
                'node', realtime.node_json(n) || '{"inputs": [], "outputs": []}'::jsonb
            )) as body
        from inserted n
        cross join lateral (
            select case
                -- A worker that writes straight to SQL says nothing about itself: its sub-node was made by the
                -- execution that runs on the parent.
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
        ) o
        order by (o.origin ->> 'n')::integer
    ) e;
    return null;
end
$$;
comment on function realtime.nodes_inserted() is 'Writes the first version and node_created for new nodes.';

-- The two images of the rows are joined by hash: a plan that was made for one row and kept would compare each row of a
-- large batch with each other.
create or replace function realtime.nodes_updated()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    origins constant jsonb := realtime.origins();
    right_now constant timestamptz := clock_timestamp();
begin
    insert into node_versions (node_id, version, snapshot, change_type, change_summary, changed_by)
    select
        n.id,
        n.version,
        realtime.version_snapshot(n),
        coalesce(
            w.origin ->> 'change',
            case when o.status is distinct from n.status then 'status_change' else 'updated' end
        ),
        coalesce(w.origin ->> 'summary', realtime.change_summary(o, n)),
        (w.origin ->> 'user')::uuid
    from after_rows n
    join before_rows o on o.id = n.id
    cross join lateral (select realtime.origin_of(origins, n.id) as origin) w
    where o.version is distinct from n.version
        and n.version is not null
    on conflict (node_id, version) do nothing;

    -- Every acquisition raises the fence, whoever makes it.
    insert into realtime.locks as l (node_id, org_id, fence, client_id, ttl_ms)
    select
        n.id,
        n.org_id,
        1,
        (w.origin ->> 'client')::uuid,
        (extract(epoch from n.lock_expires_at - n.locked_at) * 1000)::integer
    from after_rows n
    join before_rows o on o.id = n.id
    cross join lateral (select realtime.origin_of(origins, n.id) as origin) w
    where n.locked_by is not null
        and (o.locked_by is distinct from n.locked_by or o.locked_at is distinct from n.locked_at)
    on conflict (node_id) do update
        set fence = l.fence + 1,
            client_id = excluded.client_id,
            ttl_ms = excluded.ttl_ms;

    insert into realtime.staging (stream_id, request_id, body, is_first)
    select e.stream_id, (e.origin ->> 'request')::uuid, e.body, realtime.arm()
    from (
        select f.stream_id, c.origin, realtime.line(f.type, c.origin, f.payload, f.fence) as body
        from after_rows n
        join before_rows o on o.id = n.id
        cross join lateral (
            select
                realtime.origin_of(origins, n.id) as origin,
                realtime.node_changes(o, n) as changes,
                o.locked_at is distinct from n.locked_at or o.locked_by is distinct from n.locked_by as is_other_lock
        ) c
        cross join lateral (
            select 1 as step, n.project_id as stream_id, 'lock_released' as type,
                jsonb_build_object(
                    'nodeId', n.id,
                    'lockedBy', o.locked_by,
                    'reason', coalesce(
                        c.origin ->> 'reason',
                        case
                            when o.deleted_at is null and n.deleted_at is not null then 'deleted'
                            when o.lock_expires_at <= right_now then 'expired'
                            when n.locked_by is not null then 'broken'
                            else 'released'
                        end
                    )
                ) as payload, null::bigint as fence
            where o.locked_by is not null and c.is_other_lock

            union all
            select 2, n.project_id, 'node_deleted', jsonb_build_object('nodeId', n.id), null
            where o.deleted_at is null and n.deleted_at is not null
            union all
            select 3, n.project_id, 'node_restored',
                jsonb_build_object('nodeId', n.id, 'node', realtime.node_json(n) || realtime.node_lists(n.id)), null
            where o.deleted_at is not null and n.deleted_at is null

            union all
            select 4, n.project_id, 'node_updated',
                jsonb_build_object('nodeId', n.id, 'changes', c.changes, 'version', coalesce(n.version, 1))
                || case
                    when c.origin = '{}'::jsonb and o.locked_by is not null and o.lock_expires_at > right_now
                        then '{"lockOverridden": true}'::jsonb
                    else '{}'::jsonb
                end, null
            where c.changes - 'position' <> '{}'::jsonb

            union all
            select 5, n.project_id, 'lock_acquired',
                jsonb_build_object(
                    'nodeId', n.id,
                    'lockedBy', n.locked_by,
                    'lockedAt', realtime.time_text(n.locked_at),
                    'expiresAt', realtime.time_text(n.lock_expires_at),
                    'expiresInMs', (extract(epoch from n.lock_expires_at - right_now) * 1000)::bigint
                ),
                (select l.fence from realtime.locks l where l.node_id = n.id)
            where n.locked_by is not null and c.is_other_lock
            union all
            select 6, n.project_id, 'lock_renewed',
                jsonb_build_object(
                    'nodeId', n.id,
                    'lockedBy', n.locked_by,
                    'expiresAt', realtime.time_text(n.lock_expires_at),
                    'expiresInMs', (extract(epoch from n.lock_expires_at - right_now) * 1000)::bigint
                ), null
            where n.locked_by is not null and not c.is_other_lock
                and o.lock_expires_at is distinct from n.lock_expires_at
        ) f
        order by (c.origin ->> 'n')::integer, f.step
    ) e;

    -- Moves alone: one event for all nodes of one command.
    insert into realtime.staging (stream_id, request_id, body, is_first)
    select m.project_id, (m.origin ->> 'request')::uuid, realtime.line('nodes_moved', m.origin, m.payload), realtime.arm()
    from (
        select
            n.project_id,
            w.origin,
            jsonb_build_object('moves', jsonb_agg(
                jsonb_build_object('nodeId', n.id, 'position', realtime.position_json(n.position)) order by n.id
            )) as payload
        from after_rows n
        join before_rows o on o.id = n.id
        cross join lateral (select realtime.origin_of(origins, n.id) as origin) w
        where o.position is distinct from n.position
            and (o.title, o.description, o.status, o.parent_id, o.supervisor_user_id, o.metadata)
                is not distinct from (n.title, n.description, n.status, n.parent_id, n.supervisor_user_id, n.metadata)
        group by n.project_id, w.origin
        order by (w.origin ->> 'n')::integer
    ) m;
    return null;
end
$$;
comment on function realtime.nodes_updated() is 'Writes versions, fences and events for changed nodes.';

create or replace function realtime.nodes_deleted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    -- Nodes that go with their project are told by project_deleted.
    insert into realtime.staging (stream_id, request_id, body, is_first)
    select
        o.project_id,
        (w.origin ->> 'request')::uuid,
        realtime.line('node_deleted', w.origin, jsonb_build_object('nodeId', o.id)),
        realtime.arm()
    from removed o
    join projects p on p.id = o.project_id
    cross join lateral (select realtime.origin_of(origins, o.id) as origin) w
    where o.deleted_at is null;
    return null;
end
$$;
comment on function realtime.nodes_deleted() is 'Writes node_deleted for rows that are gone.';

-- TRUNCATE leaves no rows to tell of: every client takes a fresh snapshot.
create or replace function realtime.truncated()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
begin
    perform realtime.renew_epoch();
    perform pg_notify('glassbox_log', '*');
    return null;
end
$$;
comment on function realtime.truncated() is 'Starts a new life of the logs after a TRUNCATE.';

-- Inputs, outputs, dependencies: an update is a removal and an addition ------------------------------------------

create or replace function realtime.part_changed()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    if tg_op in ('UPDATE', 'DELETE') then
        if tg_table_name = 'node_inputs' then
            insert into realtime.staging (stream_id, request_id, body, is_first)
            select n.project_id, (w.origin ->> 'request')::uuid, realtime.line('node_input_removed', w.origin,
                jsonb_build_object('nodeId', o.node_id, 'inputId', o.id)), realtime.arm()
            from before_rows o
            join nodes n on n.id = o.node_id
            cross join lateral (select realtime.origin_of(origins, o.id) as origin) w
            order by o.id;
        elsif tg_table_name = 'node_outputs' then
            insert into realtime.staging (stream_id, request_id, body, is_first)
            select n.project_id, (w.origin ->> 'request')::uuid, realtime.line('node_output_removed', w.origin,
                jsonb_build_object('nodeId', o.node_id, 'outputId', o.id)), realtime.arm()
            from before_rows o
            join nodes n on n.id = o.node_id
            cross join lateral (select realtime.origin_of(origins, o.id) as origin) w
            order by o.id;
        else
            insert into realtime.staging (stream_id, request_id, body, is_first)
            select n.project_id, (w.origin ->> 'request')::uuid, realtime.line('dependency_removed', w.origin,
                jsonb_build_object('dependencyId', o.id, 'sourceNodeId', o.source_node_id, 'targetNodeId', o.target_node_id)),
                realtime.arm()
            from before_rows o
            -- When one end is deleted for good, the edge goes with it; the other end still knows the project.
            join nodes n on n.id = coalesce(
                (select t.id from nodes t where t.id = o.target_node_id),
                o.source_node_id
            )
            cross join lateral (select realtime.origin_of(origins, o.id) as origin) w
            order by o.id;
        end if;
    end if;
    if tg_op in ('UPDATE', 'INSERT') then
        if tg_table_name = 'node_inputs' then
            insert into realtime.staging (stream_id, request_id, body, is_first)
            select n.project_id, (w.origin ->> 'request')::uuid, realtime.line('node_input_added', w.origin,
                jsonb_build_object('nodeId', a.node_id, 'input', realtime.input_json(a))), realtime.arm()
            from after_rows a
            join nodes n on n.id = a.node_id
            cross join lateral (select realtime.origin_of(origins, a.id) as origin) w
            order by a.sort_order, a.id;
        elsif tg_table_name = 'node_outputs' then
            insert into realtime.staging (stream_id, request_id, body, is_first)
            select n.project_id, (w.origin ->> 'request')::uuid, realtime.line('node_output_added', w.origin,
                jsonb_build_object('nodeId', a.node_id, 'output', realtime.output_json(a))), realtime.arm()
            from after_rows a
            join nodes n on n.id = a.node_id
            cross join lateral (select realtime.origin_of(origins, a.id) as origin) w
            order by a.sort_order, a.id;
        else
            insert into realtime.staging (stream_id, request_id, body, is_first)
            select n.project_id, (w.origin ->> 'request')::uuid, realtime.line('dependency_added', w.origin,
                jsonb_build_object('dependency', realtime.dependency_json(a))), realtime.arm()
            from after_rows a
            join nodes n on n.id = a.target_node_id
            cross join lateral (select realtime.origin_of(origins, a.id) as origin) w
            order by a.id;
        end if;
    end if;
    return null;
end
$$;
comment on function realtime.part_changed() is 'Writes the events of inputs, outputs and dependencies.';

-- Executions ----------------------------------------------------------------------------------------------------

create or replace function realtime.execution_line(x agent_executions, origins jsonb)
returns text
language sql
stable
as $$
    select realtime.line(
        'execution_update',
        realtime.origin_of(origins, x.id),
        jsonb_strip_nulls(jsonb_build_object(
            'executionId', x.id,
            'nodeId', x.node_id,
            'status', coalesce(x.status, 'pending'),
            'totalTokensIn', coalesce(x.total_tokens_in, 0),
            'totalTokensOut', coalesce(x.total_tokens_out, 0),
            'errorMessage', x.error_message
        ))
    )
$$;
comment on function realtime.execution_line(agent_executions, jsonb) is 'The event that tells an execution''s state.';

create or replace function realtime.executions_inserted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    insert into realtime.staging (stream_id, request_id, body, is_first)
    select n.project_id, (realtime.origin_of(origins, x.id) ->> 'request')::uuid, realtime.execution_line(x, origins), realtime.arm()
    from after_rows x
    join nodes n on n.id = x.node_id
    order by x.created_at, x.id;
    return null;
end
$$;
comment on function realtime.executions_inserted() is 'Writes execution_update for new executions.';

create or replace function realtime.executions_updated()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    -- A checkpoint alone is no event.
    insert into realtime.staging (stream_id, request_id, body, is_first)
    select n.project_id, (realtime.origin_of(origins, x.id) ->> 'request')::uuid, realtime.execution_line(x, origins), realtime.arm()
    from after_rows x
    join before_rows o on o.id = x.id
    join nodes n on n.id = x.node_id
    where (o.status, o.total_tokens_in, o.total_tokens_out, o.error_message, o.trace_summary)
        is distinct from (x.status, x.total_tokens_in, x.total_tokens_out, x.error_message, x.trace_summary)
    order by x.created_at, x.id;
    return null;
end
$$;
comment on function realtime.executions_updated() is 'Writes execution_update when status, totals or summary changed.';

-- Members and projects ------------------------------------------------------------------------------------------

create or replace function realtime.members_changed()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    -- project_members go to the project's stream, org_members to the organization's.
    stream_column constant text := case tg_table_name when 'project_members' then 'project_id' else 'org_id' end;
    origins constant jsonb := realtime.origins();
begin
    if tg_op = 'INSERT' then
        insert into realtime.staging (stream_id, request_id, body, is_first)
        select (to_jsonb(a) ->> stream_column)::uuid, (w.origin ->> 'request')::uuid, realtime.line('member_added', w.origin,
            jsonb_build_object('userId', a.user_id, 'role', coalesce(a.role, 'member'))), realtime.arm()
        from after_rows a
        cross join lateral (select realtime.origin_of(origins, a.id) as origin) w;
    elsif tg_op = 'UPDATE' then
        insert into realtime.staging (stream_id, request_id, body, is_first)
        select (to_jsonb(a) ->> stream_column)::uuid, (w.origin ->> 'request')::uuid, realtime.line('member_updated', w.origin,
            jsonb_build_object('userId', a.user_id, 'role', coalesce(a.role, 'member'))), realtime.arm()
        from after_rows a
        join before_rows b on b.id = a.id
        cross join lateral (select realtime.origin_of(origins, a.id) as origin) w
        where a.role is distinct from b.role;
    else
        insert into realtime.staging (stream_id, request_id, body, is_first)
        select (to_jsonb(b) ->> stream_column)::uuid, (w.origin ->> 'request')::uuid, realtime.line('member_removed', w.origin,
            jsonb_build_object('userId', b.user_id)), realtime.arm()
        from before_rows b
        cross join lateral (select realtime.origin_of(origins, b.id) as origin) w;
    end if;
    return null;
end
$$;
comment on function realtime.members_changed() is 'Writes member_added, member_updated and member_removed.';

create or replace function realtime.projects_updated()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    insert into realtime.staging (stream_id, request_id, body, is_first)
    select c.id, (c.origin ->> 'request')::uuid, realtime.line('project_updated', c.origin,
        jsonb_build_object('changes', c.changes)), realtime.arm()
    from (
        select
            a.id,
            realtime.origin_of(origins, a.id) as origin,
            case when a.name is distinct from b.name then jsonb_build_object('name', a.name) else '{}'::jsonb end
            || case when a.description is distinct from b.description then jsonb_build_object('description', a.description) else '{}'::jsonb end
            || case when a.settings is distinct from b.settings then jsonb_build_object('settings', realtime.object_or_empty(a.settings)) else '{}'::jsonb end
            || case when a.workflow_states is distinct from b.workflow_states then jsonb_build_object('workflowStates', a.workflow_states) else '{}'::jsonb end
                as changes
        from after_rows a
        join before_rows b on b.id = a.id
    ) c
    where c.changes <> '{}'::jsonb;
    return null;
end
$$;
comment on function realtime.projects_updated() is 'Writes project_updated.';

create or replace function realtime.projects_deleted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    insert into realtime.staging (stream_id, request_id, body, is_first)
    select b.id, (w.origin ->> 'request')::uuid, realtime.line('project_deleted', w.origin, '{}'::jsonb), realtime.arm()
    from before_rows b
    cross join lateral (select realtime.origin_of(origins, b.id) as origin) w;
    return null;
end
$$;
comment on function realtime.projects_deleted() is 'Writes project_deleted, the last event of a log.';

-- Gives a node's lock to the first who waits for it, if it is free. Waits of instances that are dead are passed over.
create or replace function realtime.grant_lock(the_node uuid)
returns boolean
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    next_wait record;
begin
    if not exists (select 1 from realtime.lock_waits w where w.node_id = the_node) then
        return false;
    end if;
    perform 1
    from nodes n
    where n.id = the_node
        and n.deleted_at is null
        and (n.locked_by is null or n.lock_expires_at <= clock_timestamp())
    for update;
    if not found then
        return false;
    end if;

    delete from realtime.lock_waits w
    where w.id = (
        select c.id
        from realtime.lock_waits c
        join realtime.instances i on i.id = c.instance_id
        where c.node_id = the_node
            and i.seen_at > clock_timestamp() - interval '15 seconds'
        order by c.id
        limit 1
    )
    returning * into next_wait;
    if not found then
        return false;
    end if;

    perform set_config('app.origin', jsonb_build_object('*', jsonb_build_object(
        'user', next_wait.user_id,
        'client', next_wait.client_id,
        'request', next_wait.request_id
    ))::text, true);
    update nodes n
    set locked_by = next_wait.user_id,
        locked_at = t.moment,
        lock_expires_at = t.moment + make_interval(secs => next_wait.ttl_ms::double precision / 1000)
    from (select clock_timestamp() as moment) t
    where n.id = the_node;
    return true;
end
$$;
comment on function realtime.grant_lock(uuid) is 'Gives a free lock to the first who waits for it.';
revoke execute on function realtime.grant_lock(uuid) from public;
grant execute on function realtime.grant_lock(uuid) to glassbox_app;

-- Ends leases that are over, since time passing makes no event by itself, and gives free locks to those who wait.
-- Any instance calls it about once a second.
create or replace function realtime.sweep_locks(most integer default 500)
returns table (project_id uuid)
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    waited record;
begin
    perform set_config('app.origin', '', true);
    return query
    update nodes n
    set locked_by = null, locked_at = null, lock_expires_at = null
    where n.id in (
        select e.id
        from nodes e
        where e.locked_by is not null
            and e.lock_expires_at <= clock_timestamp()
        order by e.id
        limit most
        for update skip locked
    )
    returning n.project_id;

    for waited in
        select n.id, n.project_id
        from nodes n
        where n.id in (select w.node_id from realtime.lock_waits w)
            and n.deleted_at is null
            and (n.locked_by is null or n.lock_expires_at <= clock_timestamp())
        order by n.id
        limit most
        for update skip locked
    loop
        if realtime.grant_lock(waited.id) then
            project_id := waited.project_id;
            return next;
        end if;
    end loop;
end
$$;
comment on function realtime.sweep_locks(integer) is 'Ends leases that are over, gives free locks to those who wait, and tells in which projects.';
revoke execute on function realtime.sweep_locks(integer) from public;
grant execute on function realtime.sweep_locks(integer) to glassbox_app;

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

create or replace trigger log_inserted after insert on nodes
    referencing new table as inserted
    for each statement execute function realtime.nodes_inserted();
create or replace trigger log_updated after update on nodes
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.nodes_updated();
create or replace trigger log_deleted after delete on nodes
    referencing old table as removed
    for each statement execute function realtime.nodes_deleted();
create or replace trigger log_truncated after truncate on nodes
    for each statement execute function realtime.truncated();

do $$
declare
    t text;
begin
    foreach t in array array['node_inputs', 'node_outputs', 'node_dependencies'] loop
        execute format(
            'create or replace trigger log_inserted after insert on %I
                 referencing new table as after_rows
                 for each statement execute function realtime.part_changed()', t);
        execute format(
            'create or replace trigger log_updated after update on %I
                 referencing old table as before_rows new table as after_rows
                 for each statement execute function realtime.part_changed()', t);
        execute format(
            'create or replace trigger log_deleted after delete on %I
                 referencing old table as before_rows
                 for each statement execute function realtime.part_changed()', t);
        execute format(
            'create or replace trigger log_truncated after truncate on %I
                 for each statement execute function realtime.truncated()', t);
    end loop;
    foreach t in array array['project_members', 'org_members'] loop
        execute format(
            'create or replace trigger log_inserted after insert on %I
                 referencing new table as after_rows
                 for each statement execute function realtime.members_changed()', t);
        execute format(
            'create or replace trigger log_updated after update on %I
                 referencing old table as before_rows new table as after_rows
                 for each statement execute function realtime.members_changed()', t);
        execute format(
            'create or replace trigger log_deleted after delete on %I
                 referencing old table as before_rows
                 for each statement execute function realtime.members_changed()', t);
    end loop;
end
$$;

create or replace trigger log_inserted after insert on agent_executions
    referencing new table as after_rows
    for each statement execute function realtime.executions_inserted();
create or replace trigger log_updated after update on agent_executions
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.executions_updated();

create or replace trigger log_updated after update on projects
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.projects_updated();
create or replace trigger log_deleted after delete on projects
    referencing old table as before_rows
    for each statement execute function realtime.projects_deleted();

reset role;
