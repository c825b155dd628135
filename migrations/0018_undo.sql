-- What users can take back, and do again: one row for each of their newest commands in a project.

set role glassbox_owner;

-- No references to users and projects: they would be checked for every command of every batch. What is left of either is
-- gone with the sweep, as the events are.
create table if not exists realtime.undo_steps (
    project_id uuid not null,
    user_id uuid not null,
    position bigint not null,
    ends bigint not null,
    id bigint not null generated always as identity,
    org_id uuid not null,
    is_undone boolean not null default false,
    command text not null,
    inverse jsonb not null,
    created_at timestamptz not null default now(),
    primary key (project_id, user_id, position, id)
) with (fillfactor = 90);
create index if not exists undo_steps_created on realtime.undo_steps using brin (created_at);
comment on table realtime.undo_steps is 'The commands that a user can take back in a project, and those that were taken back and can be done again.';
comment on column realtime.undo_steps.project_id is 'The project.';
comment on column realtime.undo_steps.user_id is 'Who sent the command; all clients of a user share one stack.';
comment on column realtime.undo_steps.position is 'The height in the stack: those that were taken back stand on those that were not.';
comment on column realtime.undo_steps.ends is 'Where the step ended when it was made, among the bytes of all steps up to it.';
comment on column realtime.undo_steps.id is 'Tells steps of one height apart, which two instances may make at the same moment.';
comment on column realtime.undo_steps.org_id is 'The organization, for row-level security.';
comment on column realtime.undo_steps.is_undone is 'Whether it was taken back.';
comment on column realtime.undo_steps.command is 'The type of the command.';
comment on column realtime.undo_steps.inverse is 'What takes the command back, or does it again, and what it expects to find.';
comment on column realtime.undo_steps.created_at is 'When the command was committed; rows go after three days.';

alter table realtime.undo_steps enable row level security;
alter table realtime.undo_steps force row level security;
drop policy if exists owner_maintains on realtime.undo_steps;
create policy owner_maintains on realtime.undo_steps to glassbox_owner using (true) with check (true);
drop policy if exists org_isolation on realtime.undo_steps;
create policy org_isolation on realtime.undo_steps to glassbox_app
    using (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid))
    with check (org_id = (select nullif(current_setting('app.current_org_id', true), '')::uuid));
grant select, insert, update, delete on realtime.undo_steps to glassbox_app;

-- Removes steps that are too old; the server calls it now and then.
create or replace function realtime.sweep_undo_steps()
returns void
language sql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
    delete from realtime.undo_steps where created_at < now() - interval '3 days'
$$;
comment on function realtime.sweep_undo_steps() is 'Removes what nobody can take back any more.';
revoke execute on function realtime.sweep_undo_steps() from public;
grant execute on function realtime.sweep_undo_steps() to glassbox_app;

reset role;
