-- How long the log is kept, by the organization's event_sourcing_level:
--   snapshot  three days, the default
--   audit     24 hours, the shortest time that the protocol promises to those who come back
--   full      for ever
-- and in each case at least a stream's newest 10 000 events. What goes moves the stream's floor; what is full moves
-- from the partitions, which are dropped whole, to the archive. The log is read through realtime.log, which has both.
-- Streams that belong to no organization any more, or to a user, are kept for three days and not a single event longer.
--
-- Writers take heads in stream order and then write to the log. So floors are raised in stream order, last of all in a
-- transaction, and what takes the log's tables away takes no head.

set search_path to public, pg_temp;
set role glassbox_owner;

create table if not exists realtime.archive (
    stream_id uuid not null,
    seq bigint not null,
    n integer not null,
    body text not null,
    at timestamptz not null,
    primary key (stream_id, seq)
);
comment on table realtime.archive is 'The log of organizations that keep it for ever, without its newest days.';
comment on column realtime.archive.stream_id is 'The stream.';
comment on column realtime.archive.seq is 'The number of the row''s last event.';
comment on column realtime.archive.n is 'How many events the row holds.';
comment on column realtime.archive.body is 'n JSON objects, one per line.';
comment on column realtime.archive.at is 'When the row was written.';

alter table realtime.archive enable row level security;
alter table realtime.archive force row level security;
drop policy if exists owner_maintains on realtime.archive;
create policy owner_maintains on realtime.archive to glassbox_owner using (true) with check (true);
drop policy if exists reader_reads on realtime.archive;
create policy reader_reads on realtime.archive for select to glassbox_reader using (true);
drop policy if exists app_reads on realtime.archive;
create policy app_reads on realtime.archive for select to glassbox_app
    using (exists (select 1 from public.projects p where p.id = stream_id));
grant select on realtime.archive to glassbox_reader, glassbox_app;

create or replace view realtime.log
with (security_invoker = true)
as
select e.stream_id, e.seq, e.n, e.body, e.at from realtime.events e
union all
select a.stream_id, a.seq, a.n, a.body, a.at from realtime.archive a;
comment on view realtime.log is 'All events that are kept, whatever table they lie in.';
grant select on realtime.log to glassbox_reader, glassbox_app;

reset role;
set role glassbox_log;

create or replace function realtime.retention()
returns table (stream_id uuid, level text)
language sql
stable
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
    select s.id, o.event_sourcing_level
    from organizations o
    cross join lateral (
        select o.id
        union all
        select p.id from projects p where p.org_id = o.id
    ) s (id)
    where o.event_sourcing_level in ('full', 'audit')
    union all
    select h.stream_id, 'none'
    from realtime.heads h
    where not exists (select from projects p where p.id = h.stream_id)
        and not exists (select from organizations o where o.id = h.stream_id)
$$;
comment on function realtime.retention() is 'The streams that are kept otherwise than by default; none: those of no organization, a user''s for one.';
revoke execute on function realtime.retention() from public;
grant execute on function realtime.retention() to glassbox_owner;

reset role;
set role glassbox_owner;

create or replace function realtime.streams_of(wanted text)
returns uuid[]
language sql
stable
set search_path = pg_catalog, realtime, pg_temp
as $$
    select array(select r.stream_id from realtime.retention() r where r.level = wanted)
$$;
comment on function realtime.streams_of(text) is 'The streams that are kept at a level.';
revoke execute on function realtime.streams_of(text) from public;

create or replace function realtime.old_partitions(keep interval)
returns setof name
language sql
stable
set search_path = pg_catalog, realtime, pg_temp
set timezone = 'UTC'
as $$
    select c.relname
    from pg_class c
    where c.relnamespace = 'realtime'::regnamespace
        and c.relname ~ '^events_\d{8}$'
        and to_date(substr(c.relname, 8), 'YYYYMMDD') < (now() - keep)::date
    order by c.relname
$$;
comment on function realtime.old_partitions(interval) is 'The days of the log that are over for longer than `keep`, the oldest first.';
revoke execute on function realtime.old_partitions(interval) from public;

create or replace function realtime.move_floors(streams uuid[], seqs bigint[])
returns void
language plpgsql
set search_path = pg_catalog, realtime, pg_temp
as $$
begin
    perform
    from realtime.heads h
    where h.stream_id = any (streams)
    order by h.stream_id
    for update;
    update realtime.heads h set floor = g.seq
    from (
        select u.stream_id, max(u.seq) as seq
        from unnest(streams, seqs) u (stream_id, seq)
        group by u.stream_id
    ) g
    where g.stream_id = h.stream_id
        and g.seq > h.floor;
end
$$;
comment on function realtime.move_floors(uuid[], bigint[]) is 'Raises the floors of streams to the seqs beside them.';
revoke execute on function realtime.move_floors(uuid[], bigint[]) from public;

create or replace function realtime.make_partitions()
returns void
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
set timezone = 'UTC'
as $$
declare
    day date;
    partition_name text;
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
end
$$;
comment on function realtime.make_partitions() is 'Makes the partitions of the next days.';
revoke execute on function realtime.make_partitions() from public;
grant execute on function realtime.make_partitions() to glassbox_app;

create or replace function realtime.raise_floors(keep interval default '3 days', keep_events bigint default 10000)
returns void
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
declare
    kept constant uuid[] := realtime.streams_of('full');
    loose constant uuid[] := realtime.streams_of('none');
    old name;
    of_day record;
    streams uuid[] := '{}';
    seqs bigint[] := '{}';
begin
    for old in select o from realtime.old_partitions(keep) o loop
        execute format(
            'select array_agg(d.stream_id) as streams, array_agg(d.seq) as seqs
             from (
                 select e.stream_id, max(e.seq) as seq
                 from realtime.%I e
                 join realtime.heads h on h.stream_id = e.stream_id
                 where e.stream_id <> all ($2)
                     and (e.seq <= h.seq - $1 or e.stream_id = any ($3))
                 group by e.stream_id
             ) d', old
        ) into of_day using keep_events, kept, loose;
        streams := streams || of_day.streams;
        seqs := seqs || of_day.seqs;
    end loop;
    perform realtime.move_floors(streams, seqs);
end
$$;
comment on function realtime.raise_floors(interval, bigint) is 'Raises the floors above what goes with the partitions that are older than `keep`.';
revoke execute on function realtime.raise_floors(interval, bigint) from public;
grant execute on function realtime.raise_floors(interval, bigint) to glassbox_app;

-- What lies above its stream's floor stays and moves to the default partition: whatever the floors are, nothing is
-- lost, and where they were not raised, trim_log removes it.
create or replace function realtime.drop_partition(keep interval default '3 days')
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
declare
    kept constant uuid[] := realtime.streams_of('full');
    old constant name := (select o from realtime.old_partitions(keep) o limit 1);
begin
    if old is null then
        return false;
    end if;
    -- Before the lock that the detaching takes: nothing is added any more to a day that is over.
    execute format(
        'insert into realtime.archive (stream_id, seq, n, body, at)
         select e.stream_id, e.seq, e.n, e.body, e.at
         from realtime.%I e
         where e.stream_id = any ($1)', old
    ) using kept;
    execute format('alter table realtime.events detach partition realtime.%I', old);
    execute format(
        'insert into realtime.events (stream_id, seq, n, body, at)
         select e.stream_id, e.seq, e.n, e.body, e.at
         from realtime.%I e
         join realtime.heads h on h.stream_id = e.stream_id and e.seq > h.floor
         where e.stream_id <> all ($1)', old
    ) using kept;
    execute format('drop table realtime.%I', old);
    return true;
end
$$;
comment on function realtime.drop_partition(interval) is 'Drops the oldest partition that is older than `keep`; false if there is none.';
revoke execute on function realtime.drop_partition(interval) from public;
grant execute on function realtime.drop_partition(interval) to glassbox_app;

-- Looks each stream up by key: a scan would read all that is kept for ever.
create or replace function realtime.trim_archive(kept uuid[], loose uuid[], keep interval, keep_events bigint)
returns table (stream_id uuid, seq bigint)
language sql
set search_path = pg_catalog, realtime, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
as $$
    delete from realtime.archive a
    using realtime.heads h
    where h.stream_id <> all (kept)
        and a.stream_id = h.stream_id
        and a.at < now() - keep
        and (a.seq <= h.seq - keep_events or h.stream_id = any (loose))
    returning a.stream_id, a.seq
$$;
comment on function realtime.trim_archive(uuid[], uuid[], interval, bigint) is 'Removes what organizations kept for ever until they chose otherwise, and tells what.';
revoke execute on function realtime.trim_archive(uuid[], uuid[], interval, bigint) from public;

create or replace function realtime.trim_log(
    keep interval default '3 days',
    keep_events bigint default 10000,
    keep_audit interval default '24 hours'
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
declare
    kept constant uuid[] := realtime.streams_of('full');
    brief constant uuid[] := realtime.streams_of('audit');
    loose constant uuid[] := realtime.streams_of('none');
    trimmed record;
    streams uuid[] := '{}';
    seqs bigint[] := '{}';
begin
    with moved as (
        delete from realtime.events_default e
        where e.stream_id = any (kept)
            and e.at < now() - keep
        returning e.stream_id, e.seq, e.n, e.body, e.at
    )
    insert into realtime.archive (stream_id, seq, n, body, at)
    select m.stream_id, m.seq, m.n, m.body, m.at
    from moved m;

    with gone as (
        delete from realtime.events_default e
        using realtime.heads h
        where h.stream_id = e.stream_id
            and e.stream_id <> all (kept)
            and e.at < now() - keep
            and (e.seq <= h.seq - keep_events or e.stream_id = any (loose))
        returning e.stream_id, e.seq
    )
    select array_agg(g.stream_id) as streams, array_agg(g.seq) as seqs into trimmed
    from (select stream_id, max(seq) as seq from gone group by stream_id) g;
    streams := streams || trimmed.streams;
    seqs := seqs || trimmed.seqs;

    if brief <> '{}' then
        with gone as (
            delete from realtime.events e
            using realtime.heads h
            where h.stream_id = any (brief)
                and e.stream_id = h.stream_id
                and e.at < now() - keep_audit
                and e.seq <= h.seq - keep_events
            returning e.stream_id, e.seq
        )
        select array_agg(g.stream_id) as streams, array_agg(g.seq) as seqs into trimmed
        from (select stream_id, max(seq) as seq from gone group by stream_id) g;
        streams := streams || trimmed.streams;
        seqs := seqs || trimmed.seqs;
    end if;

    select array_agg(g.stream_id) as streams, array_agg(g.seq) as seqs into trimmed
    from (
        select t.stream_id, max(t.seq) as seq
        from realtime.trim_archive(kept, loose, keep, keep_events) t
        group by t.stream_id
    ) g;
    perform realtime.move_floors(streams || trimmed.streams, seqs || trimmed.seqs);
end
$$;
comment on function realtime.trim_log(interval, bigint, interval) is 'Removes what is too old outside of old partitions.';
revoke execute on function realtime.trim_log(interval, bigint, interval) from public;
grant execute on function realtime.trim_log(interval, bigint, interval) to glassbox_app;

-- Makes the partitions of the next days and drops those that are older than `keep`. A stream keeps its newest
-- `keep_events` events whatever their age; they move to the default partition. The floor moves with what goes. The
-- whole in one transaction, for those who run it by hand; the server takes the steps one by one.
create or replace function realtime.keep_log(
    keep interval default '3 days',
    keep_events bigint default 10000,
    keep_audit interval default '24 hours'
)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
declare
    dropped integer := 0;
begin
    perform realtime.make_partitions();
    perform realtime.raise_floors(keep, keep_events);
    while realtime.drop_partition(keep) loop
        dropped := dropped + 1;
    end loop;
    perform realtime.trim_log(keep, keep_events, keep_audit);
    return dropped;
end
$$;
comment on function realtime.keep_log(interval, bigint, interval) is 'Makes coming partitions of the log and drops old ones; returns how many it dropped.';
revoke execute on function realtime.keep_log(interval, bigint, interval) from public;
grant execute on function realtime.keep_log(interval, bigint, interval) to glassbox_app;

-- For servers of the release before this one.
create or replace function realtime.rotate(keep interval default '3 days', keep_events bigint default 10000)
returns integer
language sql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
    select realtime.keep_log(keep, keep_events)
$$;

select realtime.keep_log();

reset role;
reset search_path;
