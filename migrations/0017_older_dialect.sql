-- What the older dialect of the WebSocket needs: a ticket that opens every connection of a page, and when somebody was
-- last told of their notifications.

set role glassbox_owner;

alter table realtime.tickets add column if not exists dialect text;
alter table realtime.tickets add column if not exists seen_at timestamptz;
alter table realtime.tickets add column if not exists told_at timestamptz;
alter table realtime.tickets add column if not exists session_id uuid;
alter table realtime.tickets add column if not exists voided_at timestamptz;
comment on table realtime.tickets is
    'Short-lived tokens that open a WebSocket: once, but in the older dialect again while its session lives or ended a short time ago.';
comment on column realtime.tickets.dialect is 'What its first use spoke, v1 or v2; it is good for no other.';
comment on column realtime.tickets.seen_at is 'In the older dialect: when its session lived last.';
comment on column realtime.tickets.told_at is
    'In the older dialect: until when its page has certainly heard what it was told; what ended since is told again.';
comment on column realtime.tickets.session_id is 'In the older dialect: the newest session that it opened; an older one ends.';
comment on column realtime.tickets.voided_at is 'When the sign-in that asked for it was ended; from then on it opens nothing.';

create table if not exists realtime.listeners (
    user_id uuid primary key references public.users (id) on delete cascade,
    heard_at timestamptz not null
);
comment on table realtime.listeners is 'Who has used the older dialect: what came while they were away is pushed when they are back.';
comment on column realtime.listeners.user_id is 'Who.';
comment on column realtime.listeners.heard_at is 'Until when a connection of theirs was there to hear.';

alter table realtime.listeners enable row level security;
alter table realtime.listeners force row level security;
drop policy if exists owner_maintains on realtime.listeners;
create policy owner_maintains on realtime.listeners to glassbox_owner using (true) with check (true);
drop policy if exists own_listener on realtime.listeners;
create policy own_listener on realtime.listeners to glassbox_app
    using (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid))
    with check (user_id = (select nullif(current_setting('app.user_id', true), '')::uuid));
grant select, insert, update on realtime.listeners to glassbox_app;

reset role;
