-- Who may come in besides people, and how they are shown out: worker keys, the end of a session, users who are gone,
-- invitations that are found later than their guest.

set role glassbox_owner;

create table if not exists realtime.worker_keys (
    id uuid primary key,
    org_id uuid not null references public.organizations (id) on delete cascade,
    user_id uuid not null unique references public.users (id) on delete cascade,
    name varchar(255) not null,
    secret_hash bytea not null check (length(secret_hash) = 32),
    created_by uuid references public.users (id) on delete set null,
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    revoked_at timestamptz
);
create index if not exists worker_keys_org on realtime.worker_keys (org_id);
create index if not exists worker_keys_created_by on realtime.worker_keys (created_by);
comment on table realtime.worker_keys is 'Keys with which programs call the REST API. Rows stay after the revocation: the key''s user is the author of what it did.';
comment on column realtime.worker_keys.id is 'The public part of the key.';
comment on column realtime.worker_keys.org_id is 'The one organization in which it acts.';
comment on column realtime.worker_keys.user_id is 'The user as whom it acts; its cognito_sub is worker:<id>.';
comment on column realtime.worker_keys.name is 'What people call it.';
comment on column realtime.worker_keys.secret_hash is 'SHA-256 of the secret part, which is kept nowhere.';
comment on column realtime.worker_keys.created_by is 'Who made it; NULL when they are gone.';
comment on column realtime.worker_keys.created_at is 'When it was made.';
comment on column realtime.worker_keys.last_used_at is 'When it last let somebody in, to the minute.';
comment on column realtime.worker_keys.revoked_at is 'From when on it opens nothing; NULL while it is good.';

create table if not exists realtime.deleted_users (
    cognito_sub varchar(255) primary key,
    deleted_at timestamptz not null default clock_timestamp()
);
comment on table realtime.deleted_users is 'Users whose rows were deleted: a token from before that must not make them anew. Kept for a year.';
comment on column realtime.deleted_users.cognito_sub is 'Who it was.';
comment on column realtime.deleted_users.deleted_at is 'Sign-ins before this moment are over.';

-- Signing out voids what the session had asked for and not used yet.
alter table realtime.tickets add column if not exists sid text;
comment on column realtime.tickets.sid is 'The session that asked for it: the hash of its token, shortened.';
create index if not exists tickets_user_sid on realtime.tickets (user_id, sid);

do $$
declare
    t text;
begin
    foreach t in array array['worker_keys', 'deleted_users'] loop
        execute format('alter table realtime.%I enable row level security', t);
        execute format('alter table realtime.%I force row level security', t);
        execute format('drop policy if exists owner_maintains on realtime.%I', t);
        execute format('create policy owner_maintains on realtime.%I to glassbox_owner using (true) with check (true)', t);
    end loop;
end
$$;

-- An organization manages its keys, and never sees their hashes again.
drop policy if exists org_isolation on realtime.worker_keys;
create policy org_isolation on realtime.worker_keys to glassbox_app
    using (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid))
    with check (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));
grant select (id, org_id, user_id, name, created_by, created_at, last_used_at, revoked_at) on realtime.worker_keys to glassbox_app;
grant insert (id, org_id, user_id, name, secret_hash, created_by) on realtime.worker_keys to glassbox_app;
grant update (last_used_at, revoked_at) on realtime.worker_keys to glassbox_app;

-- A key says itself which one it is, before any organization is known.
drop policy if exists reader_checks on realtime.worker_keys;
create policy reader_checks on realtime.worker_keys for select to glassbox_reader using (true);
grant select (id, org_id, user_id, secret_hash, last_used_at, revoked_at) on realtime.worker_keys to glassbox_reader;

drop policy if exists log_looks on realtime.worker_keys;
create policy log_looks on realtime.worker_keys for select to glassbox_log using (true);
grant select on realtime.worker_keys to glassbox_log;

drop policy if exists own_sign_in on realtime.deleted_users;
create policy own_sign_in on realtime.deleted_users for select to glassbox_app
    using (cognito_sub = (select nullif(current_setting('app.sign_in', true), '')));
grant select on realtime.deleted_users to glassbox_app;
drop policy if exists log_writes on realtime.deleted_users;
create policy log_writes on realtime.deleted_users to glassbox_log using (true) with check (true);
grant select, insert, update, delete on realtime.deleted_users to glassbox_log;

-- What claim_invitation needs.
drop policy if exists log_insert on public.org_members;
create policy log_insert on public.org_members for insert to glassbox_log with check (true);
drop policy if exists log_insert on public.project_members;
create policy log_insert on public.project_members for insert to glassbox_log with check (true);
drop policy if exists log_delete on public.users;
create policy log_delete on public.users for delete to glassbox_log using (cognito_sub like 'invited:%');
drop policy if exists log_update on public.org_members;
create policy log_update on public.org_members for update to glassbox_log using (true) with check (true);
drop policy if exists log_update on public.project_members;
create policy log_update on public.project_members for update to glassbox_log using (true) with check (true);
drop policy if exists log_update on public.notifications;
create policy log_update on public.notifications for update to glassbox_log using (true) with check (true);
grant insert, update (role) on public.org_members, public.project_members to glassbox_log;
grant update (user_id) on public.notifications to glassbox_log;
grant delete on public.users to glassbox_log;

reset role;
set role glassbox_log;

create or replace function realtime.check_worker_member()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
begin
    if exists (
        select
        from users u
        where u.id = new.user_id
            and u.cognito_sub like 'worker:%'
            and not (
                coalesce(new.role, 'member') = 'member'
                and exists (
                    select
                    from realtime.worker_keys k
                    where k.user_id = u.id
                        and k.org_id = new.org_id
                        and k.revoked_at is null
                )
            )
    ) then
        raise exception 'a worker key is a plain member of its own organization'
            using errcode = 'check_violation', table = tg_table_name, column = 'user_id';
    end if;
    return new;
end
$$;
comment on function realtime.check_worker_member() is 'Keeps a worker key in its one organization, with the role member: SQLSTATE 23514.';

create or replace function realtime.users_deleted()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
begin
    delete from realtime.deleted_users where deleted_at < now() - interval '1 year';
    insert into realtime.deleted_users (cognito_sub)
    select cognito_sub
    from removed
    where cognito_sub not like 'invited:%'
        and cognito_sub not like 'worker:%'
    on conflict (cognito_sub) do update set deleted_at = excluded.deleted_at;
    return null;
end
$$;
comment on function realtime.users_deleted() is 'Remembers who was deleted.';

create or replace function realtime.reassigned(metadata jsonb, former uuid[], the_user uuid)
returns jsonb
language sql
immutable
as $$
    select case
        when jsonb_typeof(metadata -> 'assignees') = 'array' then jsonb_set(metadata, '{assignees}', (
            select coalesce(jsonb_agg(d.assignee order by d.place), '[]'::jsonb)
            from (
                select r.assignee, min(r.place) as place
                from (
                    select
                        case
                            when lower(a.value #>> '{}') = any (former::text[]) then to_jsonb(the_user)
                            else a.value
                        end as assignee,
                        a.place
                    from jsonb_array_elements(metadata -> 'assignees') with ordinality a (value, place)
                ) r
                group by r.assignee
            ) d
        ))
        else metadata
    end
$$;
comment on function realtime.reassigned(jsonb, uuid[], uuid) is 'A node''s metadata with a user among the assignees in the place of others.';

-- Somebody signed in before their email was known, and so got a row of their own beside the invited one. Invitations
-- are kept in lower case; another writer's may stand as they were given. Who was told what is in 0009.
create or replace function realtime.claim_invitation(the_user uuid, the_email text)
returns boolean
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
declare
    invited uuid[];
    touched uuid[];
    -- From the highest down, of organizations and of projects.
    roles constant text[] := '{owner,admin,member,viewer,guest}';
begin
    if the_user is distinct from nullif(current_setting('app.user_id', true), '')::uuid then
        raise exception 'an invitation is claimed by its guest alone' using errcode = 'insufficient_privilege';
    end if;
    invited := array(
        select u.id from users u where u.cognito_sub in ('invited:' || lower(the_email), 'invited:' || the_email)
    );
    if invited = '{}' then
        return false;
    end if;

    -- Rows are locked in id order, as everywhere.
    touched := array(
        select l.id
        from (
            select n.id
            from nodes n
            where n.supervisor_user_id = any (invited)
                or (
                    n.metadata ? 'assignees'
                    and n.org_id in (select m.org_id from org_members m where m.user_id = any (invited))
                    and realtime.assigned(null, n.metadata) && invited
                )
            order by n.id
            for update
        ) l
    );
    update nodes n
    set supervisor_user_id = case
            when n.supervisor_user_id = any (invited) then the_user
            else n.supervisor_user_id
        end,
        metadata = realtime.reassigned(n.metadata, invited, the_user)
    where n.id = any (touched);

    insert into org_members as own (org_id, user_id, role)
    select distinct on (m.org_id) m.org_id, the_user, m.role
    from org_members m
    where m.user_id = any (invited)
    order by m.org_id, array_position(roles, coalesce(m.role, 'member')::text)
    on conflict (org_id, user_id) do update set role = excluded.role
    where array_position(roles, coalesce(excluded.role, 'member')::text)
        < coalesce(array_position(roles, coalesce(own.role, 'member')::text), 6);
    insert into project_members as own (project_id, user_id, role)
    select distinct on (m.project_id) m.project_id, the_user, m.role
    from project_members m
    where m.user_id = any (invited)
    order by m.project_id, array_position(roles, coalesce(m.role, 'member')::text)
    on conflict (project_id, user_id) do update set role = excluded.role
    where array_position(roles, coalesce(excluded.role, 'member')::text)
        < coalesce(array_position(roles, coalesce(own.role, 'member')::text), 6);

    update notifications set user_id = the_user where user_id = any (invited);
    insert into realtime.notification_keys (user_id, key, created_at)
    select the_user, k.key, k.created_at from realtime.notification_keys k where k.user_id = any (invited)
    on conflict do nothing;
    delete from users where id = any (invited) and cognito_sub like 'invited:%';
    return found;
end
$$;
comment on function realtime.claim_invitation(uuid, text) is 'Gives the user in context what an invited user with this email was given; false if there is none.';
revoke execute on function realtime.claim_invitation(uuid, text) from public;
grant execute on function realtime.claim_invitation(uuid, text) to glassbox_app;

create or replace function realtime.end_session(the_user uuid, the_sid text)
returns void
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
begin
    if the_user is distinct from nullif(current_setting('app.user_id', true), '')::uuid then
        raise exception 'a session is ended by its user alone' using errcode = 'insufficient_privilege';
    end if;
    insert into realtime.staging (stream_id, request_id, body, is_first)
    select the_user, null, realtime.line('session_ended', realtime.origin_of(realtime.origins(), the_user),
        jsonb_build_object('sid', the_sid)), realtime.arm();
end
$$;
comment on function realtime.end_session(uuid, text) is 'Tells every instance, through the stream of the user, that a session of theirs was signed out.';
revoke execute on function realtime.end_session(uuid, text) from public;
grant execute on function realtime.end_session(uuid, text) to glassbox_app;

-- Nobody calls these but their triggers, and only the tables' owner makes triggers.
revoke execute on function realtime.check_worker_member(), realtime.users_deleted() from public;
grant execute on function realtime.check_worker_member(), realtime.users_deleted() to glassbox_owner;

reset role;
set role glassbox_owner;

create or replace trigger check_worker before insert or update of org_id, user_id, role on public.org_members
    for each row execute function realtime.check_worker_member();
create or replace trigger note_deleted after delete on public.users
    referencing old table as removed
    for each statement execute function realtime.users_deleted();

reset role;
