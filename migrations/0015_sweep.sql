-- The end of leases is looked for every second, so it must not cost more as nodes become more.

set role glassbox_log;

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

    -- Hardly anybody waits, and then the look at who waits would read all nodes, every second.
    if not exists (select 1 from realtime.lock_waits) then
        return;
    end if;

    for waited in
        select n.id, n.project_id
        from nodes n
        where n.id = any (array(select w.node_id from realtime.lock_waits w))
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

reset role;
