-- Traces and files: what happens in an execution is a log of its own, whose stream is named by the execution's id, so that
-- a busy agent does not hold its project's head; and a file that is processed is told to the projects that use it.
--
-- Events of an execution are numbered n = 1, 2, 3, ... by the row in `traces`, which is held to the end of the commit, so
-- that n is commit order and a rollback leaves no hole. The same row says whether the execution is over, so that "late"
-- agrees with the order of the stream. Lock order: the writer's rows, then traces in execution order, then heads.
--
-- The stream is kept for three days, as a user's is: the trace itself stays in its table.

set search_path to public, pg_temp;
set role glassbox_owner;

create table if not exists realtime.traces (
    execution_id uuid primary key references public.agent_executions (id) on delete cascade,
    n bigint not null default 0,
    is_over boolean not null default false
) with (
    -- Each trace event updates its row: leave room on the page so that updates stay there.
    fillfactor = 50
);
comment on table realtime.traces is 'One row per execution that has a trace: how many events it has, and whether it has ended.';
comment on column realtime.traces.execution_id is 'The execution.';
comment on column realtime.traces.n is 'The number of its newest trace event; the row lock on it is what orders them.';
comment on column realtime.traces.is_over is 'Whether the execution has ended: what comes now is late.';

create table if not exists realtime.trace_events (
    execution_id uuid not null,
    n bigint not null,
    trace_event_id uuid not null unique references public.agent_trace_events (id) on delete cascade,
    is_late boolean not null,
    primary key (execution_id, n)
);
comment on table realtime.trace_events is 'The order of trace events, which their own table does not have.';
comment on column realtime.trace_events.execution_id is 'The execution.';
comment on column realtime.trace_events.n is '1, 2, 3, ... within the execution, in commit order.';
comment on column realtime.trace_events.trace_event_id is 'The trace event.';
comment on column realtime.trace_events.is_late is 'Whether it came after the execution had ended.';

do $$
declare
    t text;
begin
    foreach t in array array['traces', 'trace_events'] loop
        execute format('alter table realtime.%I enable row level security', t);
        execute format('alter table realtime.%I force row level security', t);
        execute format('drop policy if exists owner_maintains on realtime.%I', t);
        execute format('create policy owner_maintains on realtime.%I to glassbox_owner using (true) with check (true)', t);
        execute format('drop policy if exists log_writes on realtime.%I', t);
        execute format('create policy log_writes on realtime.%I to glassbox_log using (true) with check (true)', t);
        execute format('grant select, insert, update on realtime.%I to glassbox_log', t);
        execute format('drop policy if exists app_reads on realtime.%I', t);
        execute format(
            'create policy app_reads on realtime.%I for select to glassbox_app
                 using (exists (select from public.agent_executions x where x.id = execution_id))', t);
        execute format('grant select on realtime.%I to glassbox_app', t);
    end loop;
end
$$;

-- Where an execution's log stands, for whoever may see the execution.
drop policy if exists app_reads_executions on realtime.heads;
create policy app_reads_executions on realtime.heads for select to glassbox_app
    using (exists (select from public.agent_executions x where x.id = stream_id));

-- Where an execution lives, for subscriptions that name only its id. The rights are checked after.
grant select (id, node_id) on public.agent_executions to glassbox_reader;
drop policy if exists reader_locates on public.agent_executions;
create policy reader_locates on public.agent_executions for select to glassbox_reader using (true);

grant select on public.agent_trace_events to glassbox_log;
drop policy if exists log_read on public.agent_trace_events;
create policy log_read on public.agent_trace_events for select to glassbox_log using (true);

reset role;
set role glassbox_log;

-- Traces --------------------------------------------------------------------------------------------------------

create or replace function realtime.is_over(status text)
returns boolean
language sql
immutable
as $$
    select coalesce(status in ('complete', 'failed', 'cancelled'), false)
$$;
comment on function realtime.is_over(text) is 'Whether an execution with this status has ended.';

-- What is too large keeps its small parts, and the beginning of its texts.
create or replace function realtime.trace_data(d jsonb)
returns jsonb
language sql
stable
as $$
    select case when octet_length(o.whole::text) <= 65536 then o.whole else (
        select case when octet_length(c.cut::text) <= 65536 then c.cut else '{}'::jsonb end
            || jsonb_build_object('truncated', true, 'bytes', octet_length(o.whole::text))
        from (
            select coalesce(jsonb_object_agg(m.key, case
                when octet_length(m.value::text) <= 4096 then m.value
                else to_jsonb(left(m.value #>> '{}', 2048))
            end), '{}'::jsonb) as cut
            from jsonb_each(o.whole) m
            where octet_length(m.value::text) <= 4096
                or jsonb_typeof(m.value) = 'string'
        ) c
    ) end
    from (
        select case when jsonb_typeof(d) = 'object' then d else jsonb_build_object('value', d) end as whole
    ) o
$$;
comment on function realtime.trace_data(jsonb) is 'What is known of a step as the wire shows it: an object of at most 64 KiB.';

create or replace function realtime.trace_json(e agent_trace_events, n bigint, is_late boolean)
returns jsonb
language sql
stable
as $$
    select jsonb_strip_nulls(jsonb_build_object(
            'id', e.id,
            'executionId', e.execution_id,
            'n', n,
            'eventType', e.event_type,
            'timestamp', realtime.time_text(e.timestamp),
            'durationMs', e.duration_ms,
            'model', e.model,
            'tokensIn', e.tokens_in,
            'tokensOut', e.tokens_out,
            'sequenceNumber', e.sequence_number,
            'late', case when is_late then true end
        ))
        || jsonb_build_object('eventData', realtime.trace_data(e.event_data))
$$;
comment on function realtime.trace_json(agent_trace_events, bigint, boolean) is 'A trace event as the wire shows it.';

create or replace function realtime.traces_inserted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
begin
    with counted as (
        insert into realtime.traces as t (execution_id, n, is_over)
        select r.execution_id, count(*), coalesce(
            (select realtime.is_over(x.status) from agent_executions x where x.id = r.execution_id), false)
        from after_rows r
        group by r.execution_id
        order by r.execution_id
        on conflict (execution_id) do update set n = t.n + excluded.n
        returning t.execution_id, t.n, t.is_over
    ),
    placed as (
        select
            r.id,
            r.execution_id,
            row_number() over (partition by r.execution_id order by r.sequence_number, r.id)
                - count(*) over (partition by r.execution_id) as from_newest
        from after_rows r
    ),
    numbered as (
        insert into realtime.trace_events (execution_id, n, trace_event_id, is_late)
        select p.execution_id, c.n + p.from_newest, p.id, c.is_over
        from placed p
        join counted c on c.execution_id = p.execution_id
        returning execution_id, n, trace_event_id, is_late
    )
    insert into realtime.staging (stream_id, body, is_first)
    select s.execution_id, s.body, realtime.arm()
    from (
        select d.execution_id, realtime.line(
            'trace_event',
            jsonb_build_object('execution', d.execution_id),
            realtime.trace_json(r, d.n, d.is_late)
        ) as body
        from numbered d
        join after_rows r on r.id = d.trace_event_id
        order by d.execution_id, d.n
    ) s;
    return null;
end
$$;
comment on function realtime.traces_inserted() is 'Numbers trace events and writes them to their executions'' streams.';

create or replace function realtime.execution_streams()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    if tg_op = 'INSERT' then
        insert into realtime.staging (stream_id, body, is_first)
        select e.id, e.body, realtime.arm()
        from (
            select x.id, f.body
            from after_rows x
            cross join lateral (
                select 1 as step, realtime.execution_line(x, origins) as body
                union all
                select 2, realtime.closing_line(x.id, x.status, origins) where realtime.is_over(x.status)
            ) f
            order by x.id, f.step
        ) e;
    elsif tg_op = 'UPDATE' then
        insert into realtime.traces as t (execution_id, is_over)
        select x.id, realtime.is_over(x.status)
        from after_rows x
        join before_rows o on o.id = x.id
        where realtime.is_over(x.status) <> realtime.is_over(o.status)
        order by x.id
        on conflict (execution_id) do update set is_over = excluded.is_over;

        insert into realtime.staging (stream_id, body, is_first)
        select e.id, e.body, realtime.arm()
        from (
            select x.id, f.body
            from after_rows x
            join before_rows o on o.id = x.id
            cross join lateral (
                select 1 as step, realtime.execution_line(x, origins) as body
                where (o.status, o.total_tokens_in, o.total_tokens_out, o.error_message, o.trace_summary)
                    is distinct from (x.status, x.total_tokens_in, x.total_tokens_out, x.error_message, x.trace_summary)
                union all
                select 2, realtime.closing_line(x.id, x.status, origins)
                where realtime.is_over(x.status) and o.status is distinct from x.status
            ) f
            order by x.id, f.step
        ) e;
    else
        -- To its worker a row that is gone is a run that was cancelled; one that had ended ended as it did. Of those that go
        -- with their node its own trigger tells.
        insert into realtime.staging (stream_id, body, is_first)
        select o.id, realtime.closing_line(o.id, realtime.last_status(o.status), origins), realtime.arm()
        from before_rows o
        join nodes n on n.id = o.node_id
        order by o.id;
    end if;
    return null;
end
$$;
comment on function realtime.execution_streams() is 'Writes execution_update and execution_closed to the executions'' own streams.';

-- Before the row goes: its executions go right after it, and from them the project can no longer be told. With a project
-- that goes as a whole its viewers go anyway, and its executions need no lines.
create or replace function realtime.close_executions()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
begin
    insert into realtime.staging (stream_id, body, is_first)
    select x.id, realtime.closing_line(x.id, realtime.last_status(x.status), realtime.origins()), realtime.arm()
    from agent_executions x
    where x.node_id = old.id
        and exists (select from projects p where p.id = old.project_id)
    order by x.id;
    return old;
end
$$;
comment on function realtime.close_executions() is 'Writes execution_closed for the executions of a node whose row goes.';

create or replace function realtime.last_status(status text)
returns text
language sql
immutable
as $$
    select case when realtime.is_over(status) then status else 'cancelled' end
$$;
comment on function realtime.last_status(text) is 'How an execution whose row goes has ended.';

create or replace function realtime.closing_line(execution uuid, status text, origins jsonb)
returns text
language sql
stable
as $$
    select realtime.line(
        'execution_closed',
        realtime.origin_of(origins, execution),
        jsonb_build_object('executionId', execution, 'status', status)
    )
$$;
comment on function realtime.closing_line(uuid, text, jsonb) is 'The event that tells an execution''s end.';

-- Traces that were there before they were numbered.
create or replace function realtime.number_traces()
returns void
language sql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
    with new_events as (
        select e.id, e.execution_id, x.status,
            row_number() over (partition by e.execution_id order by e.sequence_number, e.id) as place
        from agent_trace_events e
        join agent_executions x on x.id = e.execution_id
        where not exists (select from realtime.trace_events t where t.trace_event_id = e.id)
    ),
    counted as (
        insert into realtime.traces as t (execution_id, n, is_over)
        select e.execution_id, count(*), realtime.is_over(min(e.status))
        from new_events e
        group by e.execution_id
        order by e.execution_id
        on conflict (execution_id) do update set n = t.n + excluded.n
        returning t.execution_id, t.n
    )
    insert into realtime.trace_events (execution_id, n, trace_event_id, is_late)
    select e.execution_id, c.n - count(*) over (partition by e.execution_id) + e.place, e.id, false
    from new_events e
    join counted c on c.execution_id = e.execution_id
$$;
comment on function realtime.number_traces() is 'Numbers the trace events that have no number; nobody may write any meanwhile.';
revoke execute on function realtime.number_traces() from public;
grant execute on function realtime.number_traces() to glassbox_owner;

-- Files ---------------------------------------------------------------------------------------------------------

create or replace function realtime.processing_status(stored text)
returns text
language sql
immutable
as $$
    select case coalesce(stored, 'pending')
        when 'uploaded' then 'pending'
        when 'processed' then 'complete'
        else coalesce(stored, 'pending')
    end
$$;
comment on function realtime.processing_status(text) is 'How far a file is, as the wire says it.';

create or replace function realtime.files_updated()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    origins constant jsonb := realtime.origins();
begin
    insert into realtime.staging (stream_id, request_id, body, is_first)
    select e.project_id, (e.origin ->> 'request')::uuid, e.body, realtime.arm()
    from (
        select u.project_id, u.origin, realtime.line(
            'file_update',
            u.origin,
            jsonb_strip_nulls(jsonb_build_object(
                'fileId', u.id,
                'filename', u.filename,
                'processingStatus', realtime.processing_status(u.processing_status),
                'processingError', u.processing_error,
                'nodeIds', u.node_ids
            ))
        ) as body
        from (
            select a.id, a.filename, a.processing_status, a.processing_error, n.project_id,
                realtime.origin_of(origins, a.id) as origin,
                jsonb_agg(n.id order by n.id) as node_ids
            from after_rows a
            join before_rows b on b.id = a.id
            cross join lateral (
                select i.node_id from node_inputs i where i.file_id = a.id
                union
                select o.node_id from node_outputs o where o.file_id = a.id
            ) r
            join nodes n on n.id = r.node_id and n.deleted_at is null
            where realtime.processing_status(a.processing_status) <> realtime.processing_status(b.processing_status)
            group by a.id, a.filename, a.processing_status, a.processing_error, n.project_id
        ) u
        order by u.project_id, u.id
    ) e;
    return null;
end
$$;
comment on function realtime.files_updated() is 'Writes file_update to the projects whose nodes use a file.';

-- Waits and streams that are over -------------------------------------------------------------------------------

create or replace function realtime.end_waits(the_instance uuid)
returns table (node_id uuid, user_id uuid, client_id uuid, request_id uuid)
language sql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
    delete from realtime.lock_waits w
    using nodes n
    where w.instance_id = the_instance
        and n.id = w.node_id
        and n.deleted_at is not null
    returning w.node_id, w.user_id, w.client_id, w.request_id
$$;
comment on function realtime.end_waits(uuid) is 'Ends the waits of an instance''s clients for locks on nodes that are deleted, and tells whose they were.';
revoke execute on function realtime.end_waits(uuid) from public;
grant execute on function realtime.end_waits(uuid) to glassbox_app;

create or replace function realtime.forget_streams()
returns void
language sql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
    delete from realtime.heads h
    where h.floor >= h.seq
        and not exists (select from projects p where p.id = h.stream_id)
        and not exists (select from organizations o where o.id = h.stream_id)
        and not exists (select from users u where u.id = h.stream_id)
        and not exists (select from agent_executions x where x.id = h.stream_id)
        and not exists (select from realtime.pending w where w.stream_id = h.stream_id)
$$;
comment on function realtime.forget_streams() is 'Forgets streams of what is gone, once none of their events is kept.';
revoke execute on function realtime.forget_streams() from public;
grant execute on function realtime.forget_streams() to glassbox_app;

do $$
declare
    f text;
begin
    foreach f in array array['traces_inserted', 'execution_streams', 'close_executions', 'files_updated'] loop
        execute format('revoke execute on function realtime.%I() from public', f);
        execute format('grant execute on function realtime.%I() to glassbox_owner', f);
    end loop;
end
$$;

reset role;
set role glassbox_owner;

create or replace trigger log_inserted after insert on public.agent_trace_events
    referencing new table as after_rows
    for each statement execute function realtime.traces_inserted();

create or replace trigger stream_inserted after insert on public.agent_executions
    referencing new table as after_rows
    for each statement execute function realtime.execution_streams();
create or replace trigger stream_updated after update on public.agent_executions
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.execution_streams();
create or replace trigger stream_deleted after delete on public.agent_executions
    referencing old table as before_rows
    for each statement execute function realtime.execution_streams();

create or replace trigger close_executions before delete on public.nodes
    for each row execute function realtime.close_executions();

create or replace trigger log_updated after update on public.files
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.files_updated();

do $$
begin
    lock table public.agent_trace_events in share row exclusive mode;
    perform realtime.number_traces();
end
$$;

reset role;
reset search_path;
