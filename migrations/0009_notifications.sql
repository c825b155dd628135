-- Notifications: what a person is told beside what they look at. Triggers write them in the transaction of their cause,
-- for every writer, and stage them on the stream of the person, whose id names it; so they reach every open session.
--
-- Nobody is told what they did themselves, what they may not read, or anything when they do not want to be told.

set role glassbox_owner;

create table if not exists realtime.notification_keys (
    user_id uuid not null references public.users (id) on delete cascade,
    key text not null,
    created_at timestamptz not null default now(),
    primary key (user_id, key)
);
create index if not exists notification_keys_created on realtime.notification_keys using brin (created_at);
comment on table realtime.notification_keys is 'What somebody was told already, so that no cause tells them twice. Rows go after 90 days.';
comment on column realtime.notification_keys.user_id is 'Who was told.';
comment on column realtime.notification_keys.key is 'The cause: the type and what it was about.';
comment on column realtime.notification_keys.created_at is 'When.';

create table if not exists realtime.lock_refusals (
    node_id uuid not null references public.nodes (id) on delete cascade,
    fence bigint not null,
    user_id uuid not null references public.users (id) on delete cascade,
    org_id uuid not null,
    primary key (node_id, fence, user_id)
);
comment on table realtime.lock_refusals is 'Who was refused because of a lock, and is told when it ends.';
comment on column realtime.lock_refusals.node_id is 'The locked node.';
comment on column realtime.lock_refusals.fence is 'Which of its locks.';
comment on column realtime.lock_refusals.user_id is 'Who was refused.';
comment on column realtime.lock_refusals.org_id is 'The organization, for row-level security.';

create table if not exists realtime.execution_causes (
    execution_id uuid primary key references public.agent_executions (id) on delete cascade,
    started_by uuid references public.users (id) on delete set null,
    attempt integer not null default 0,
    answers integer not null default 0
);
comment on table realtime.execution_causes is 'What tells one notification about an execution from the next.';
comment on column realtime.execution_causes.execution_id is 'The execution.';
comment on column realtime.execution_causes.started_by is 'Who started it; NULL for a foreign writer.';
comment on column realtime.execution_causes.attempt is 'How often it began to run, after a failure too.';
comment on column realtime.execution_causes.answers is 'How many of its questions were answered.';

do $$
declare
    t text;
begin
    foreach t in array array['notification_keys', 'lock_refusals', 'execution_causes'] loop
        execute format('alter table realtime.%I enable row level security', t);
        execute format('alter table realtime.%I force row level security', t);
        execute format('drop policy if exists owner_maintains on realtime.%I', t);
        execute format('create policy owner_maintains on realtime.%I to glassbox_owner using (true) with check (true)', t);
        execute format('drop policy if exists log_writes on realtime.%I', t);
        execute format('create policy log_writes on realtime.%I to glassbox_log using (true) with check (true)', t);
    end loop;
end
$$;
grant select, insert on realtime.notification_keys to glassbox_log;
grant select, delete on realtime.lock_refusals to glassbox_log;
grant select, insert, update on realtime.execution_causes to glassbox_log;

drop policy if exists org_isolation on realtime.lock_refusals;
create policy org_isolation on realtime.lock_refusals to glassbox_app
    using (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid))
    with check (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));
grant select, insert on realtime.lock_refusals to glassbox_app;

grant select, insert on public.notifications to glassbox_log;
drop policy if exists log_read on public.notifications;
create policy log_read on public.notifications for select to glassbox_log using (true);
drop policy if exists log_insert on public.notifications;
create policy log_insert on public.notifications for insert to glassbox_log with check (true);

-- Removes keys and refusals that nobody asks for any more; the server calls it now and then.
create or replace function realtime.sweep_notifications()
returns void
language sql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
    delete from realtime.notification_keys where created_at < now() - interval '90 days';
    -- A refusal that came in while its lock ended.
    delete from realtime.lock_refusals r
    using realtime.locks l
    where l.node_id = r.node_id
        and r.fence < l.fence
$$;
comment on function realtime.sweep_notifications() is 'Removes keys of notifications whose time is over, and refusals of locks that are.';
revoke execute on function realtime.sweep_notifications() from public;
grant execute on function realtime.sweep_notifications() to glassbox_app;

reset role;
set role glassbox_log;

-- Who is told ---------------------------------------------------------------------------------------------------

-- The same table as src/auth/rights.rs has; a test holds the two together.
create or replace function realtime.project_role(the_project uuid, the_user uuid)
returns text
language sql
stable
as $$
    select case coalesce(m.role, 'member')
        when 'owner' then 'admin'
        when 'admin' then 'admin'
        when 'member' then case
            when pm.id is not null then case
                when coalesce(pm.role, 'member') in ('admin', 'member', 'viewer') then coalesce(pm.role, 'member')
            end
            when coalesce(p.settings ->> 'visibility', 'org') <> 'private' then 'member'
        end
        when 'guest' then case when pm.id is not null then 'viewer' end
    end
    from projects p
    join org_members m on m.org_id = p.org_id and m.user_id = the_user
    left join project_members pm on pm.project_id = p.id and pm.user_id = m.user_id
    where p.id = the_project
$$;
comment on function realtime.project_role(uuid, uuid) is 'The effective role of a user in a project; NULL for none.';

create or replace function realtime.wants_notifications(settings jsonb)
returns boolean
language sql
immutable
as $$
    select coalesce(settings -> 'notifications', 'null'::jsonb) <> 'false'::jsonb
        and coalesce(settings -> 'notifications' -> 'inApp', 'null'::jsonb) <> 'false'::jsonb
$$;
comment on function realtime.wants_notifications(jsonb) is 'Whether somebody with these settings wants to be told in the application.';

-- Tells people something about a node, once per key. It looks rows up by key, also where its caller joins by hash.
create or replace function realtime.add_notifications(
    n nodes, origin jsonb, kind text, heading text, explanation text, cause text, recipients uuid[]
)
returns void
language plpgsql
set search_path = glassbox, public, realtime, pg_temp
set enable_nestloop = on
as $$
begin
    -- The trigger below takes from here who did it: what an origin says goes by the row that changed, and these are others.
    perform set_config('realtime.cause', (origin - 'request' - 'client')::text, true);
    with told as (
        insert into realtime.notification_keys (user_id, key)
        select u.id, kind || ':' || cause
        from users u
        where u.id = any (recipients)
            and u.id is distinct from (origin ->> 'user')::uuid
            and u.cognito_sub not like 'worker:%'
            and realtime.wants_notifications(u.settings)
            and realtime.project_role(n.project_id, u.id) is not null
        order by u.id
        on conflict do nothing
        returning user_id
    )
    insert into notifications (user_id, org_id, type, title, body, resource_type, resource_id, created_at)
    select t.user_id, n.org_id, kind, left(heading, 255), left(explanation, 4000), 'node', n.id, clock_timestamp()
    from told t;
    perform set_config('realtime.cause', '', true);
end
$$;
comment on function realtime.add_notifications(nodes, jsonb, text, text, text, text, uuid[]) is 'Notifies those of the recipients who may read it, want to know and did not do it, unless they were told before.';
revoke execute on function realtime.add_notifications(nodes, jsonb, text, text, text, text, uuid[]) from public;

-- The notification and its frame ----------------------------------------------------------------------------------

-- With the rights of the log: a list of notifications goes over all organizations of its reader, where no tenant is set.
create or replace function realtime.resource_project(the_org uuid, the_type text, the_resource uuid)
returns uuid
language sql
stable
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
    select p.id
    from projects p
    where the_type = 'project'
        and p.id = the_resource
        and p.org_id = the_org
    union all
    select n.project_id
    from nodes n
    where the_type = 'node'
        and n.id = the_resource
        and n.org_id = the_org
$$;
comment on function realtime.resource_project(uuid, text, uuid) is 'The project of what a notification is about.';
revoke execute on function realtime.resource_project(uuid, text, uuid) from public;
grant execute on function realtime.resource_project(uuid, text, uuid) to glassbox_app;

create or replace function realtime.notification_json(n notifications)
returns jsonb
language sql
stable
as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'id', n.id,
        'userId', n.user_id,
        'orgId', n.org_id,
        'type', n.type,
        'title', n.title,
        'body', n.body,
        'resourceType', n.resource_type,
        'resourceId', n.resource_id,
        'projectId', realtime.resource_project(n.org_id, n.resource_type, n.resource_id),
        'nodeId', case when n.resource_type = 'node' then n.resource_id end,
        'readAt', case when n.read_at is not null then realtime.time_text(n.read_at) end,
        'createdAt', realtime.time_text(n.created_at)
    ))
$$;
comment on function realtime.notification_json(notifications) is 'A notification as the wire shows it.';

create or replace function realtime.notifications_inserted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    -- A foreign writer's own notification has no cause but its writer.
    cause constant jsonb := nullif(current_setting('realtime.cause', true), '')::jsonb;
    origins constant jsonb := realtime.origins();
begin
    insert into realtime.staging (stream_id, body, is_first)
    select e.user_id, e.body, realtime.arm()
    from (
        select
            a.user_id,
            realtime.line(
                'notification',
                coalesce(cause, realtime.origin_of(origins, a.id) - 'request' - 'client'),
                jsonb_build_object('notification', realtime.notification_json(a), 'unreadCount', c.unread)
            ) as body
        from after_rows a
        join (
            select u.user_id, (
                select count(*) from notifications n where n.user_id = u.user_id and n.read_at is null
            ) as unread
            from (select distinct r.user_id from after_rows r) u
        ) c on c.user_id = a.user_id
        order by a.created_at, a.id
    ) e;
    return null;
end
$$;
comment on function realtime.notifications_inserted() is 'Writes notification to the streams of its readers.';

create or replace function realtime.notifications_updated()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
    -- Ids in one event: what waits for a client is bounded.
    ids_max constant integer := 500;
begin
    insert into realtime.staging (stream_id, body, is_first)
    select e.user_id, e.body, realtime.arm()
    from (
        select
            r.user_id,
            realtime.line(
                'notifications_read',
                r.origin,
                jsonb_build_object('ids', jsonb_agg(r.id order by r.place), 'unreadCount', (
                    select count(*) from notifications n where n.user_id = r.user_id and n.read_at is null
                ))
            ) as body
        from (
            select
                a.id,
                a.user_id,
                realtime.origin_of(origins, a.id) - 'request' - 'client' as origin,
                row_number() over (partition by a.user_id order by a.created_at, a.id) as place
            from after_rows a
            join before_rows b on b.id = a.id
            where b.read_at is null
                and a.read_at is not null
        ) r
        group by r.user_id, r.origin, (r.place - 1) / ids_max
        order by r.user_id, min(r.place)
    ) e;
    return null;
end
$$;
comment on function realtime.notifications_updated() is 'Writes notifications_read to the streams of those who have read something.';

-- Causes: nodes ---------------------------------------------------------------------------------------------------

-- `@ann@example.org` and `@{<user id>}`. A mail address in the middle of a text names nobody.
create or replace function realtime.mentioned(the_org uuid, written text)
returns uuid[]
language sql
stable
as $$
    select array(
        select m.user_id
        from org_members m
        where m.org_id = the_org
            and m.user_id in (
                select r.match[1]::uuid
                from regexp_matches(
                    written, '@\{([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\}', 'gi'
                ) r (match)
            )
        union
        select u.id
        from (
            select distinct lower(rtrim(r.match[1], '.!?*_`''')) as email
            from regexp_matches(
                written, '(?:^|[^[:alnum:]_.@+-])@([^\s@<>(){}\[\],;:"]+@[^\s@<>(){}\[\],;:"]+)', 'g'
            ) r (match)
        ) w
        join users u on lower(u.email) = w.email
        join org_members m on m.org_id = the_org and m.user_id = u.id
    )
$$;
comment on function realtime.mentioned(uuid, text) is 'Which members of an organization a text names.';

create or replace function realtime.assigned(supervisor uuid, metadata jsonb)
returns uuid[]
language sql
immutable
as $$
    select array(
        select supervisor
        where supervisor is not null
        union
        select a.id::uuid
        from jsonb_array_elements_text(
            case when jsonb_typeof(metadata -> 'assignees') = 'array' then metadata -> 'assignees' else '[]'::jsonb end
        ) a (id)
        where a.id ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
    )
$$;
comment on function realtime.assigned(uuid, jsonb) is 'Who answers for a node: its supervisor and its assignees.';

create or replace function realtime.notify_of_text(n nodes, former text, origin jsonb)
returns void
language plpgsql
set search_path = glassbox, public, realtime, pg_temp
set enable_nestloop = on
as $$
declare
    written constant text := concat_ws(E'\n', n.title, n.description);
    known uuid[] := '{}';
begin
    if position('@' in former) > 0 then
        known := realtime.mentioned(n.org_id, former);
    end if;
    perform realtime.add_notifications(
        n, origin, 'mention', format('You were mentioned in “%s”', left(n.title, 200)), null,
        n.id || ':' || coalesce(n.version, 1),
        array(select unnest(realtime.mentioned(n.org_id, written)) except select unnest(known))
    );
end
$$;
comment on function realtime.notify_of_text(nodes, text, jsonb) is 'Tells those whom a node''s text names and its former text did not.';
revoke execute on function realtime.notify_of_text(nodes, text, jsonb) from public;

create or replace function realtime.notify_of_assignment(n nodes, gained uuid[], cause text, origin jsonb)
returns void
language plpgsql
set search_path = glassbox, public, realtime, pg_temp
as $$
begin
    perform realtime.add_notifications(
        n, origin, 'node_assigned', format('“%s” was assigned to you', left(n.title, 200)), null,
        n.id || ':' || cause, gained
    );
end
$$;
comment on function realtime.notify_of_assignment(nodes, uuid[], text, jsonb) is 'Tells those who answer for a node now.';
revoke execute on function realtime.notify_of_assignment(nodes, uuid[], text, jsonb) from public;

-- Tells the end of a lock to those whom it refused and, when it was broken, to its former holder.
create or replace function realtime.notify_of_unlock(n nodes, holder uuid, reason text, origin jsonb)
returns void
language plpgsql
set search_path = glassbox, public, realtime, pg_temp
set enable_nestloop = on
as $$
declare
    -- The events' trigger runs before and has raised the fence when another lock took the place of this one.
    ended constant bigint := (
        select l.fence - case when n.locked_by is null then 0 else 1 end
        from realtime.locks l
        where l.node_id = n.id
    );
    refused uuid[];
begin
    if ended is null then
        return;
    end if;
    if reason = 'broken' then
        perform realtime.add_notifications(
            n, origin, 'lock_released', format('Your lock on “%s” was broken', left(n.title, 200)), null,
            n.id || ':' || ended, array[holder]
        );
    end if;
    with over as (
        delete from realtime.lock_refusals r
        where r.node_id = n.id
            and r.fence <= ended
        returning r.user_id, r.fence
    )
    select array_agg(o.user_id) into refused
    from over o
    where o.fence = ended
        and o.user_id is distinct from n.locked_by;
    if refused is not null then
        perform realtime.add_notifications(
            n, origin, 'lock_released',
            format(
                case when n.deleted_at is null then '“%s” is no longer locked' else '“%s” was locked and is deleted now' end,
                left(n.title, 200)
            ),
            null, n.id || ':' || ended, refused
        );
    end if;
end
$$;
comment on function realtime.notify_of_unlock(nodes, uuid, text, jsonb) is 'Tells the end of a lock to those who waited for it.';
revoke execute on function realtime.notify_of_unlock(nodes, uuid, text, jsonb) from public;

create or replace function realtime.notify_nodes_inserted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
    c record;
begin
    for c in
        select
            a::nodes as node,
            realtime.origin_of(origins, a.id) as origin,
            position('@' in concat(a.title, a.description)) > 0 as is_text,
            realtime.assigned(a.supervisor_user_id, a.metadata) as gained
        from after_rows a
        where a.deleted_at is null
            and (
                a.supervisor_user_id is not null
                or a.metadata -> 'assignees' is not null
                or position('@' in concat(a.title, a.description)) > 0
            )
        order by a.id
    loop
        if c.is_text then
            perform realtime.notify_of_text(c.node, '', c.origin);
        end if;
        if c.gained <> '{}' then
            perform realtime.notify_of_assignment(c.node, c.gained, 'v' || coalesce((c.node).version, 1), c.origin);
        end if;
    end loop;
    return null;
end
$$;
comment on function realtime.notify_nodes_inserted() is 'Tells of mentions and assignments in new nodes.';

-- Joined by hash for the same reason as in nodes_updated (0006).
create or replace function realtime.notify_nodes_updated()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    origins jsonb;
    c record;
begin
    -- Most updates are moves and leases.
    if not exists (
        select
        from after_rows n
        join before_rows o on o.id = n.id
        where o.version is distinct from n.version
            or n.version is null
            or o.supervisor_user_id is distinct from n.supervisor_user_id
            or (o.locked_by is not null and o.locked_at is distinct from n.locked_at)
            or (o.locked_by is not null and o.locked_by is distinct from n.locked_by)
    ) then
        return null;
    end if;

    origins := realtime.origins();
    for c in
        select
            n::nodes as node,
            o::nodes as former,
            w.origin,
            f.is_text,
            f.is_assignment,
            f.reason
        from after_rows n
        join before_rows o on o.id = n.id
        cross join lateral (select realtime.origin_of(origins, n.id) as origin) w
        cross join lateral (
            select
                n.deleted_at is null
                and (o.title is distinct from n.title or o.description is distinct from n.description)
                and position('@' in concat(n.title, n.description)) > 0 as is_text,
                n.deleted_at is null
                and (
                    n.supervisor_user_id is not null and o.supervisor_user_id is distinct from n.supervisor_user_id
                    or o.metadata -> 'assignees' is distinct from n.metadata -> 'assignees'
                ) as is_assignment,
                case
                    when o.locked_by is null then null
                    when o.locked_by is not distinct from n.locked_by and o.locked_at is not distinct from n.locked_at
                        then null
                    else coalesce(
                        w.origin ->> 'reason',
                        case
                            when o.locked_by <> n.locked_by and o.lock_expires_at > clock_timestamp()
                                and n.deleted_at is null then 'broken'
                            else 'released'
                        end
                    )
                end as reason
        ) f
        where f.is_text
            or f.is_assignment
            or f.reason = 'broken'
            or f.reason is not null and exists (select from realtime.lock_refusals r where r.node_id = n.id)
        order by n.id
    loop
        if c.is_text then
            perform realtime.notify_of_text(c.node, concat_ws(E'\n', (c.former).title, (c.former).description), c.origin);
        end if;
        if c.is_assignment then
            perform realtime.notify_of_assignment(
                c.node,
                array(
                    select unnest(realtime.assigned((c.node).supervisor_user_id, (c.node).metadata))
                    except
                    select unnest(realtime.assigned((c.former).supervisor_user_id, (c.former).metadata))
                ),
                -- A new supervisor alone makes no version.
                case
                    when (c.node).version is distinct from (c.former).version then 'v' || (c.node).version
                    else 'x' || pg_current_xact_id()
                end,
                c.origin
            );
        end if;
        if c.reason is not null then
            perform realtime.notify_of_unlock(c.node, (c.former).locked_by, c.reason, c.origin);
        end if;
    end loop;
    return null;
end
$$;
comment on function realtime.notify_nodes_updated() is 'Tells of mentions, assignments and the end of locks.';

-- Causes: executions ----------------------------------------------------------------------------------------------

create or replace function realtime.notify_of_execution(x agent_executions, was text, origin jsonb)
returns void
language plpgsql
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    n nodes;
    c realtime.execution_causes;
    recipients uuid[];
    question text;
begin
    insert into realtime.execution_causes as k (execution_id, started_by, attempt, answers)
    values (x.id, case when was is null then (origin ->> 'user')::uuid end, (coalesce(x.status, '') = 'running')::integer, 0)
    on conflict (execution_id) do update
        set attempt = k.attempt + (coalesce(x.status, '') = 'running' and was in ('pending', 'failed'))::integer,
            answers = k.answers + (coalesce(x.status, '') = 'running' and was = 'awaiting_input')::integer
    returning * into c;
    if x.status is null or x.status not in ('complete', 'failed', 'awaiting_input') then
        return;
    end if;

    select * into n from nodes where id = x.node_id;
    recipients := array[c.started_by, n.supervisor_user_id, n.author_user_id];
    if x.status = 'complete' then
        perform realtime.add_notifications(
            n, origin, 'execution_complete', format('The agent has finished “%s”', left(n.title, 200)), null,
            x.id::text, recipients
        );
    elsif x.status = 'failed' then
        perform realtime.add_notifications(
            n, origin, 'execution_failed', format('The agent failed on “%s”', left(n.title, 200)), x.error_message,
            x.id || ':' || c.attempt, recipients
        );
    else
        -- A question needs somebody who can answer it.
        if not exists (
            select
            from users u
            where u.id = any (recipients)
                and u.cognito_sub not like 'worker:%'
                and realtime.project_role(n.project_id, u.id) in ('admin', 'member')
        ) then
            recipients := array(
                select m.user_id
                from org_members m
                where m.org_id = n.org_id
                    and realtime.project_role(n.project_id, m.user_id) = 'admin'
            );
        end if;
        question := x.langgraph_checkpoint -> 'humanInputRequest' ->> 'prompt';
        perform realtime.add_notifications(
            n, origin, 'human_input_needed', format('The agent needs your input on “%s”', left(n.title, 200)), question,
            x.id || ':' || c.answers || ':' || md5(coalesce(question, '')), recipients
        );
    end if;
end
$$;
comment on function realtime.notify_of_execution(agent_executions, text, jsonb) is 'Tells what became of an execution to those who wait for it.';
revoke execute on function realtime.notify_of_execution(agent_executions, text, jsonb) from public;

create or replace function realtime.notify_executions_inserted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    perform realtime.notify_of_execution(a, null, realtime.origin_of(origins, a.id))
    from after_rows a;
    return null;
end
$$;
comment on function realtime.notify_executions_inserted() is 'Notes who started an execution.';

create or replace function realtime.notify_executions_updated()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    perform realtime.notify_of_execution(a, coalesce(b.status, 'pending'), realtime.origin_of(origins, a.id))
    from after_rows a
    join before_rows b on b.id = a.id
    where a.status is distinct from b.status;
    return null;
end
$$;
comment on function realtime.notify_executions_updated() is 'Tells of executions that ended or ask for input.';

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

create or replace trigger log_inserted after insert on notifications
    referencing new table as after_rows
    for each statement execute function realtime.notifications_inserted();
create or replace trigger log_updated after update on notifications
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.notifications_updated();

-- By name these fire after the events' triggers, so that a frame about a node goes before what tells of it, and a
-- fence that has been raised is seen.
create or replace trigger notify_inserted after insert on nodes
    referencing new table as after_rows
    for each statement execute function realtime.notify_nodes_inserted();
create or replace trigger notify_updated after update on nodes
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.notify_nodes_updated();
create or replace trigger notify_inserted after insert on agent_executions
    referencing new table as after_rows
    for each statement execute function realtime.notify_executions_inserted();
create or replace trigger notify_updated after update on agent_executions
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.notify_executions_updated();

reset role;
