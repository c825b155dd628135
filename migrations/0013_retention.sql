-- How long the log is kept, by the organization's event_sourcing_level:
--   snapshot  three days, the default
--   audit     24 hours, the shortest time that the protocol promises to those who come back
--   full      for ever
-- and in each case at least a stream's newest 10 000 events. What goes moves the stream's floor; what is full moves
-- from the partitions, which are dropped whole, to the archive. The log is read through realtime.log, which has both.
-- Streams that belong to no organization any more, or to a user, count as snapshot.

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

drop policy if exists log_read on public.organizations;
create policy log_read on public.organizations for select to glassbox_log using (true);
grant select on public.organizations to glassbox_log;

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
$$;
comment on function realtime.retention() is 'The streams that are kept for another time than the default.';
revoke execute on function realtime.retention() from public;
grant execute on function realtime.retention() to glassbox_owner;

reset role;
set role glassbox_owner;

-- Looks each stream up by key: a scan would read all that is kept for ever.
create or replace function realtime.trim_archive(kept uuid[], keep interval, keep_events bigint)
returns void
language plpgsql
set search_path = pg_catalog, realtime, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
as $$
begin
    with gone as (
        delete from realtime.archive a
        using realtime.heads h
        where h.stream_id <> all (kept)
            and a.stream_id = h.stream_id
            and a.at < now() - keep
            and a.seq <= h.seq - keep_events
        returning a.stream_id, a.seq
    )
    update realtime.heads h set floor = greatest(h.floor, g.seq)
    from (select stream_id, max(seq) as seq from gone group by stream_id) g
    where g.stream_id = h.stream_id;
end
$$;
comment on function realtime.trim_archive(uuid[], interval, bigint) is 'Removes what organizations kept for ever until they chose otherwise.';
revoke execute on function realtime.trim_archive(uuid[], interval, bigint) from public;

-- Makes the partitions of the next days and drops those that are older than `keep`. A stream keeps its newest
-- `keep_events` events whatever their age; they move to the default partition. The floor moves with what goes. The
-- server calls this one, so that running 0004 again by hand does not bring back its rotate, which knows no levels.
create or replace function realtime.keep_log(
    keep interval default '3 days',
    keep_events bigint default 10000,
    keep_audit interval default '24 hours'
)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, realtime, pg_temp
set timezone = 'UTC'
as $$
declare
    kept constant uuid[] := array(select r.stream_id from realtime.retention() r where r.level = 'full');
    brief constant uuid[] := array(select r.stream_id from realtime.retention() r where r.level = 'audit');
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
        -- Before the lock that the detaching takes: nothing is added any more to a day that is over.
        execute format(
            'insert into realtime.archive (stream_id, seq, n, body, at)
             select e.stream_id, e.seq, e.n, e.body, e.at
             from realtime.%I e
             where e.stream_id = any ($1)', old.relname
        ) using kept;
        execute format('alter table realtime.events detach partition realtime.%I', old.relname);
        execute format(
            'update realtime.heads h set floor = greatest(h.floor, d.seq)
             from (
                 select e.stream_id, max(e.seq) as seq
                 from realtime.%I e
                 join realtime.heads i on i.stream_id = e.stream_id and e.seq <= i.seq - $1
                 where e.stream_id <> all ($2)
                 group by e.stream_id
             ) d
             where d.stream_id = h.stream_id', old.relname
        ) using keep_events, kept;
        execute format(
            'insert into realtime.events (stream_id, seq, n, body, at)
             select e.stream_id, e.seq, e.n, e.body, e.at
             from realtime.%I e
             join realtime.heads h on h.stream_id = e.stream_id and e.seq > h.floor
             where e.stream_id <> all ($1)', old.relname
        ) using kept;
        execute format('drop table realtime.%I', old.relname);
        dropped := dropped + 1;
    end loop;

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
            and e.seq <= h.seq - keep_events
        returning e.stream_id, e.seq
    )
    update realtime.heads h set floor = greatest(h.floor, g.seq)
    from (select stream_id, max(seq) as seq from gone group by stream_id) g
    where g.stream_id = h.stream_id;

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
        update realtime.heads h set floor = greatest(h.floor, g.seq)
        from (select stream_id, max(seq) as seq from gone group by stream_id) g
        where g.stream_id = h.stream_id;
    end if;

    perform realtime.trim_archive(kept, keep, keep_events);
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
