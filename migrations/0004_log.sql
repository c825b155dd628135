-- The log: one gap-free, totally ordered sequence of events per stream.
--
-- A stream is a project, or an organization (whose events only tell instances to look at rights again).
-- Triggers on the documented tables (0005) leave one row per event in `staging`, inside the writer's own
-- transaction. At commit one deferred constraint trigger, the seal, moves them into `events`: it takes the
-- stream's row in `heads`, which gives the numbers and is held to the end of the commit, so that number order is
-- commit order and a rolled-back transaction leaves no hole. Lock order: the writer's rows, then heads in stream order.

set role glassbox_owner;

create table if not exists realtime.heads (
    stream_id uuid primary key,
    seq bigint not null default 0,
    floor bigint not null default 0
) with (
    -- Each commit updates its row: leave room on the page so that updates stay there, and vacuum early.
    fillfactor = 10,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
comment on table realtime.heads is 'One row per stream: the newest committed seq and where the kept events begin.';
comment on column realtime.heads.stream_id is 'A project''s or an organization''s id.';
comment on column realtime.heads.seq is 'The newest event''s number; the row lock on it is what orders commits.';
comment on column realtime.heads.floor is 'Events up to this number are no longer kept; a client below it is reset.';

create table if not exists realtime.events (
    stream_id uuid not null,
    seq bigint not null,
    n integer not null,
    body text not null,
    at timestamptz not null default clock_timestamp()
) partition by range (at);
comment on table realtime.events is 'The log: one row per transaction and stream. Partitioned by day, old partitions are dropped whole.';
comment on column realtime.events.stream_id is 'The stream.';
comment on column realtime.events.seq is 'The number of the row''s last event.';
comment on column realtime.events.n is 'How many events the row holds: seq - n + 1 to seq.';
comment on column realtime.events.body is 'n JSON objects, one per line: type, by, payload and what only the author may see.';
comment on column realtime.events.at is 'When the row was written; orders nothing.';

create index if not exists events_stream_seq on realtime.events (stream_id, seq);

create table if not exists realtime.events_default partition of realtime.events default;
comment on table realtime.events_default is 'Events of days whose partition is gone or not made yet.';
comment on column realtime.events_default.stream_id is 'The stream.';
comment on column realtime.events_default.seq is 'The number of the row''s last event.';
comment on column realtime.events_default.n is 'How many events the row holds.';
comment on column realtime.events_default.body is 'n JSON objects, one per line.';
comment on column realtime.events_default.at is 'When the row was written.';

-- Rows live here only inside their own transaction, so losing the table in a crash loses nothing.
create unlogged table if not exists realtime.staging (
    xid xid8 not null default pg_current_xact_id(),
    id bigint generated always as identity (cache 64),
    stream_id uuid not null,
    request_id uuid,
    body text not null,
    is_first boolean not null
) with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
create index if not exists staging_xid on realtime.staging (xid);
comment on table realtime.staging is 'Events of transactions under way, until the seal moves them into the log.';
comment on column realtime.staging.xid is 'The transaction.';
comment on column realtime.staging.id is 'Orders the transaction''s events.';
comment on column realtime.staging.stream_id is 'The stream.';
comment on column realtime.staging.request_id is 'The command that made the event; tells the writer its seq.';
comment on column realtime.staging.body is 'The event as one line of JSON.';
comment on column realtime.staging.is_first is 'True for one row of the transaction, which carries the seal.';

-- A REPEATABLE READ or SERIALIZABLE writer cannot take a head that moved since its snapshot. Its events wait here
-- for the next seal of the stream, or for the server's drain.
create table if not exists realtime.pending (
    id bigint generated always as identity primary key,
    stream_id uuid not null,
    body text not null
);
create index if not exists pending_stream on realtime.pending (stream_id, id);
comment on table realtime.pending is 'Committed events of writers above READ COMMITTED that have no number yet.';
comment on column realtime.pending.id is 'Orders the events of one transaction.';
comment on column realtime.pending.stream_id is 'The stream.';
comment on column realtime.pending.body is 'The event as one line of JSON.';

create table if not exists realtime.generation (
    is_only boolean primary key default true check (is_only),
    id uuid not null default gen_random_uuid()
);
comment on table realtime.generation is 'One row; a new id starts a new life of every log.';
comment on column realtime.generation.is_only is 'Keeps the table at one row.';
comment on column realtime.generation.id is 'Part of the epoch.';

do $$
declare
    t text;
begin
    foreach t in array array['heads', 'events', 'events_default', 'staging', 'pending', 'generation'] loop
        execute format('alter table realtime.%I enable row level security', t);
        execute format('alter table realtime.%I force row level security', t);
        execute format('drop policy if exists log_writes on realtime.%I', t);
        execute format('create policy log_writes on realtime.%I to glassbox_log using (true) with check (true)', t);
        execute format('drop policy if exists owner_maintains on realtime.%I', t);
        execute format('create policy owner_maintains on realtime.%I to glassbox_owner using (true) with check (true)', t);
        execute format('grant select, insert, update, delete on realtime.%I to glassbox_log', t);
    end loop;
end
$$;

insert into realtime.generation default values
on conflict do nothing;

-- The reader of the log serves all rooms of an instance; rooms check who may see what.
grant usage on schema realtime to glassbox_reader;
grant select on realtime.heads, realtime.events to glassbox_reader;
drop policy if exists reader_reads on realtime.heads;
create policy reader_reads on realtime.heads for select to glassbox_reader using (true);
drop policy if exists reader_reads on realtime.events;
create policy reader_reads on realtime.events for select to glassbox_reader using (true);

-- Requests see the logs of the projects that they may see.
grant select on realtime.heads, realtime.events to glassbox_app;
drop policy if exists app_reads on realtime.heads;
create policy app_reads on realtime.heads for select to glassbox_app
    using (exists (select 1 from public.projects p where p.id = stream_id));
drop policy if exists app_reads on realtime.events;
create policy app_reads on realtime.events for select to glassbox_app
    using (exists (select 1 from public.projects p where p.id = stream_id));

reset role;
set role glassbox_log;

-- The epoch names one unbroken life of the logs. It follows the timeline, which changes at a promotion and at a
-- point-in-time recovery, the system identifier, which changes when a dump is loaded elsewhere, and the
-- generation, which an operator renews after any other restore.
-- (pg_control_checkpoint().timeline_id lags behind a promotion; the name of the WAL file does not.)
create or replace function realtime.epoch()
returns uuid
language sql
stable
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
    select md5(
        g.id::text
        || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
        || c.system_identifier::text
    )::uuid
    from realtime.generation g
    cross join pg_control_system() c
$$;
comment on function realtime.epoch() is 'Names the present life of every log in this database.';

create or replace function realtime.renew_epoch()
returns uuid
language sql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
    update realtime.generation set id = gen_random_uuid();
    select realtime.epoch()
$$;
comment on function realtime.renew_epoch() is 'Starts a new life of every log: all clients take a fresh snapshot. For use after a restore.';
revoke execute on function realtime.renew_epoch() from public;

-- Adds lines to a stream's log and returns the new head. Takes the head's row lock to the end of the transaction.
create or replace function realtime.append(the_stream uuid, line_count integer, lines text)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
declare
    head bigint;
    waiting_count integer;
    waiting_lines text;
begin
    insert into realtime.heads as h (stream_id, seq)
    values (the_stream, line_count)
    on conflict (stream_id) do update set seq = h.seq + excluded.seq
    returning seq into head;

    -- Committed events that have no number yet come first. Looked for after the lock, so that two seals never
    -- move the same ones.
    if exists (select 1 from realtime.pending where stream_id = the_stream) then
        with moved as (
            delete from realtime.pending where stream_id = the_stream returning id, body
        )
        select count(*), string_agg(body, E'\n' order by id)
        into waiting_count, waiting_lines
        from moved;
        update realtime.heads set seq = seq + waiting_count where stream_id = the_stream returning seq into head;
        line_count := line_count + waiting_count;
        lines := concat_ws(E'\n', waiting_lines, lines);
    end if;

    if line_count > 0 then
        insert into realtime.events (stream_id, seq, n, body) values (the_stream, head, line_count, lines);
        -- NOTIFY holds a database-wide lock over the commit. The server's own transactions therefore switch it off
        -- and ring one coalesced doorbell after many commits; foreign writers have nobody else to ring for them.
        if current_setting('realtime.doorbell', true) is distinct from 'off' then
            perform pg_notify('glassbox_log', the_stream || ' ' || head);
        end if;
    end if;
    return head;
end
$$;
comment on function realtime.append(uuid, integer, text) is 'Numbers lines and writes them to a stream''s log; returns the new head.';
revoke execute on function realtime.append(uuid, integer, text) from public;

create or replace function realtime.seal()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
declare
    stream record;
    head bigint;
    report text := '';
begin
    perform set_config('realtime.armed', '', true);

    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        with moved as (
            delete from realtime.staging where xid = new.xid returning id, stream_id, body
        )
        insert into realtime.pending (stream_id, body)
        select stream_id, body from moved order by id;
        perform pg_notify('glassbox_log', '*');
        return null;
    end if;

    -- Heads are taken in stream order: two transactions that touch the same projects cannot deadlock here.
    for stream in
        with moved as (
            delete from realtime.staging where xid = new.xid returning id, stream_id, request_id, body
        )
        select
            m.stream_id,
            count(*)::integer as line_count,
            string_agg(m.body, E'\n' order by m.id) as lines,
            string_agg(coalesce(m.request_id::text, '-'), ',' order by m.id)
                filter (where current_setting('realtime.doorbell', true) = 'off') as requests
        from moved m
        group by m.stream_id
        order by m.stream_id
    loop
        head := realtime.append(stream.stream_id, stream.line_count, stream.lines);
        report := report || stream.stream_id || ' ' || head || ' ' || coalesce(stream.requests, '') || E'\n';
    end loop;
    perform set_config('realtime.sealed', concat(current_setting('realtime.sealed', true), report), true);
    return null;
end
$$;
comment on function realtime.seal() is 'Moves a transaction''s staged events into the log, once, at its commit.';
revoke execute on function realtime.seal() from public;
grant execute on function realtime.seal() to glassbox_owner;

-- Runs the seal now, at the end of the server's own batch, and tells what it wrote: the stream, its new head, and
-- for each of the transaction's events, oldest first, the command that made it ('-' for none).
create or replace function realtime.seal_now()
returns table (stream_id uuid, seq bigint, requests text)
language plpgsql
set search_path = pg_catalog, realtime, pg_temp
as $$
begin
    set constraints realtime.seal immediate;
    return query
    select split_part(l, ' ', 1)::uuid, split_part(l, ' ', 2)::bigint, split_part(l, ' ', 3)
    from string_to_table(current_setting('realtime.sealed', true), E'\n') l
    where l <> '';
end
$$;
comment on function realtime.seal_now() is 'Seals the transaction under way and tells which seq each command got.';
revoke execute on function realtime.seal_now() from public;
grant execute on function realtime.seal_now() to glassbox_app;

create or replace function realtime.drain_pending()
returns integer
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
declare
    waiting uuid;
    drained integer := 0;
begin
    for waiting in select distinct p.stream_id from realtime.pending p order by 1 loop
        perform realtime.append(waiting, 0, null);
        drained := drained + 1;
    end loop;
    return drained;
end
$$;
comment on function realtime.drain_pending() is 'Numbers the events of writers above READ COMMITTED; the server calls it on the signal * and with every poll.';
revoke execute on function realtime.drain_pending() from public;
grant execute on function realtime.drain_pending() to glassbox_app;

-- Every staged row of a transaction but the first is quiet; the first one carries the seal.
create or replace function realtime.arm()
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(current_setting('realtime.armed', true), '') <> '' then
        return false;
    end if;
    perform set_config('realtime.armed', 'yes', true);
    return true;
end
$$;
comment on function realtime.arm() is 'True for the first caller of a transaction: its first staged row carries the seal.';

reset role;
set role glassbox_owner;

do $$
begin
    if not exists (
        select 1 from pg_trigger
        where tgrelid = 'realtime.staging'::regclass and tgname = 'seal'
    ) then
        create constraint trigger seal
            after insert on realtime.staging
            deferrable initially deferred
            for each row
            when (new.is_first)
            execute function realtime.seal();
    end if;
end
$$;

-- Makes the partitions of the next days and drops those that are older than `keep`. A stream keeps its newest
-- `keep_events` events whatever their age; they move to the default partition. The floor moves with what goes.
create or replace function realtime.rotate(keep interval default '3 days', keep_events bigint default 10000)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
set timezone = 'UTC'
as $$
declare
    day date;
    old record;
    partition_name text;
    dropped integer := 0;
begin
    for day in select current_date + g from generate_series(0, 2) g loop
        partition_name := 'events_' || to_char(day, 'YYYYMMDD');
        -- Days on which nobody made a partition in time stay in the default one.
        if to_regclass('realtime.' || partition_name) is null
            and not exists (select 1 from realtime.events_default d where d.at >= day and d.at < day + 1)
        then
            execute format(
                'create table realtime.%I partition of realtime.events for values from (%L) to (%L)',
                partition_name, day::timestamptz, (day + 1)::timestamptz
            );
            execute format('alter table realtime.%I enable row level security', partition_name);
            execute format('alter table realtime.%I force row level security', partition_name);
            execute format('create policy owner_maintains on realtime.%I to glassbox_owner using (true) with check (true)', partition_name);
            execute format('comment on table realtime.%I is %L', partition_name, 'Events of one day.');
            execute format('comment on column realtime.%I.stream_id is %L', partition_name, 'The stream.');
            execute format('comment on column realtime.%I.seq is %L', partition_name, 'The number of the row''s last event.');
            execute format('comment on column realtime.%I.n is %L', partition_name, 'How many events the row holds.');
            execute format('comment on column realtime.%I.body is %L', partition_name, 'n JSON objects, one per line.');
            execute format('comment on column realtime.%I.at is %L', partition_name, 'When the row was written.');
        end if;
    end loop;

    for old in
        select c.relname
        from pg_class c
        where c.relnamespace = 'realtime'::regnamespace
            and c.relname ~ '^events_\d{8}$'
            and to_date(substr(c.relname, 8), 'YYYYMMDD') < (now() - keep)::date
        order by c.relname
    loop
        execute format('alter table realtime.events detach partition realtime.%I', old.relname);
        execute format(
            'update realtime.heads h set floor = greatest(h.floor, d.seq)
             from (
                 select e.stream_id, max(e.seq) as seq
                 from realtime.%I e
                 join realtime.heads i on i.stream_id = e.stream_id and e.seq <= i.seq - $1
                 group by e.stream_id
             ) d
             where d.stream_id = h.stream_id', old.relname
        ) using keep_events;
        execute format(
            'insert into realtime.events (stream_id, seq, n, body, at)
             select e.stream_id, e.seq, e.n, e.body, e.at
             from realtime.%I e
             join realtime.heads h on h.stream_id = e.stream_id and e.seq > h.floor', old.relname
        );
        execute format('drop table realtime.%I', old.relname);
        dropped := dropped + 1;
    end loop;

    with gone as (
        delete from realtime.events_default e
        using realtime.heads h
        where h.stream_id = e.stream_id
            and e.at < now() - keep
            and e.seq <= h.seq - keep_events
        returning e.stream_id, e.seq
    )
    update realtime.heads h set floor = greatest(h.floor, g.seq)
    from (select stream_id, max(seq) as seq from gone group by stream_id) g
    where g.stream_id = h.stream_id;
    return dropped;
end
$$;
comment on function realtime.rotate(interval, bigint) is 'Makes coming partitions of the log and drops old ones; returns how many it dropped.';
revoke execute on function realtime.rotate(interval, bigint) from public;
grant execute on function realtime.rotate(interval, bigint) to glassbox_app;

select realtime.rotate();

reset role;
