-- What REST requests with an Idempotency-Key were answered. Commands keep theirs in realtime.command_results.

set role glassbox_owner;

create table if not exists realtime.request_answers (
    user_id uuid not null references public.users (id) on delete cascade,
    request_id uuid not null,
    body_hash bytea not null,
    status integer not null default 200,
    answer jsonb not null default 'null',
    created_at timestamptz not null default now(),
    primary key (user_id, request_id)
);
create index if not exists request_answers_created on realtime.request_answers using brin (created_at);
comment on table realtime.request_answers is 'What requests with an Idempotency-Key were answered, so that a repeat has no second effect.';
comment on column realtime.request_answers.user_id is 'Who asked; another user''s equal key is another request.';
comment on column realtime.request_answers.request_id is 'Made of method, path and key.';
comment on column realtime.request_answers.body_hash is 'SHA-256 of the body; another body under the same key is a conflict.';
comment on column realtime.request_answers.status is 'The status of the answer.';
comment on column realtime.request_answers.answer is 'The body of the answer.';
comment on column realtime.request_answers.created_at is 'When it was committed; void after 24 hours.';

alter table realtime.request_answers enable row level security;
alter table realtime.request_answers force row level security;
drop policy if exists owner_maintains on realtime.request_answers;
create policy owner_maintains on realtime.request_answers to glassbox_owner using (true) with check (true);
drop policy if exists own_answers on realtime.request_answers;
create policy own_answers on realtime.request_answers to glassbox_app
    using (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid))
    with check (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid));
grant select, insert, update, delete on realtime.request_answers to glassbox_app;

-- Removes answers that are void; the server calls it now and then.
create or replace function realtime.sweep_request_answers()
returns void
language sql
security definer
set search_path = pg_catalog, realtime, pg_temp
as $$
    delete from realtime.request_answers where created_at < now() - interval '24 hours'
$$;
comment on function realtime.sweep_request_answers() is 'Removes answers to requests whose key is free again.';
revoke execute on function realtime.sweep_request_answers() from public;
grant execute on function realtime.sweep_request_answers() to glassbox_app;

reset role;
