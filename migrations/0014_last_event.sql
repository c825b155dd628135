-- project_deleted is the last event of a project's log: members who go with the project are not told after it.

set role glassbox_log;

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
        cross join lateral (select realtime.origin_of(origins, b.id) as origin) w
        -- Who goes with the project is told by project_deleted, the last event of its log.
        where tg_table_name <> 'project_members'
            or exists (select 1 from projects p where p.id = (to_jsonb(b) ->> 'project_id')::uuid);
    end if;
    return null;
end
$$;
comment on function realtime.members_changed() is 'Writes member_added, member_updated and member_removed.';

reset role;
