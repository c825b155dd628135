-- Members: who is behind an email, what ends when somebody may no longer write, and the templates that everybody has.

set search_path to public, pg_temp;
set role glassbox_owner;

-- Templates: those of all of one's organizations, as long as none of them is chosen.
drop policy if exists app_membership on templates;
create policy app_membership on templates
    for select
    to glassbox_app
    using (
        (select nullif(current_setting('app.current_org_id', true), '')::uuid) is null
        and org_id in (
            select m.org_id
            from org_members m
            where m.user_id = (select nullif(current_setting('app.user_id', true), '')::uuid)
        )
    );

-- System templates come with migrations and from nowhere else.
drop policy if exists owner_maintains on templates;
create policy owner_maintains on templates
    to glassbox_owner
    using (org_id is null)
    with check (org_id is null);

create index if not exists users_lower_email_idx on users (lower(email));

reset role;
set role glassbox_log;

-- An organization invites people whom its own policies do not show. The answer is an id and nothing else.
create or replace function realtime.user_by_email(the_email text)
returns uuid
language sql
stable
security definer
set search_path = glassbox, public, realtime, pg_temp
as $$
    select u.id
    from users u
    where lower(u.email) = lower(the_email)
        and u.cognito_sub not like 'worker:%'
    order by u.cognito_sub like 'invited:%', u.created_at, u.id
    limit 1
$$;
comment on function realtime.user_by_email(text) is 'The person with this email in any organization, one who has signed in before one who was only invited.';
revoke execute on function realtime.user_by_email(text) from public;
grant execute on function realtime.user_by_email(text) to glassbox_app;

create or replace function realtime.may_write(the_project uuid, the_user uuid)
returns boolean
language sql
stable
as $$
    select coalesce(realtime.project_role(the_project, the_user) in ('admin', 'member'), false)
$$;
comment on function realtime.may_write(uuid, uuid) is 'Whether a user may change the nodes of a project.';

-- Ends the locks of those who may no longer write, and their waits for locks; whoever waits behind them is next when
-- the sweeper comes.
create or replace function realtime.rights_changed()
returns trigger
language plpgsql
security definer
set search_path = glassbox, public, realtime, pg_temp
set enable_seqscan = off
as $$
declare
    people uuid[] := '{}';
    places uuid[] := '{}';
    lost uuid[];
    origins constant text := coalesce(current_setting('app.origin', true), '');
    origin jsonb;
begin
    if tg_table_name = 'projects' then
        places := array(
            select a.id
            from after_rows a
            join before_rows b on b.id = a.id
            where a.settings ->> 'visibility' is distinct from b.settings ->> 'visibility'
        );
    elsif tg_op = 'INSERT' then
        people := array(select a.user_id from after_rows a);
    else
        people := array(select b.user_id from before_rows b);
    end if;
    if people = '{}' and places = '{}' then
        return null;
    end if;

    delete from realtime.lock_waits w
    using nodes n
    where n.id = w.node_id
        and (w.user_id = any (people) or n.project_id = any (places))
        and not realtime.may_write(n.project_id, w.user_id);

    lost := array(
        select l.id
        from (
            select n.id
            from nodes n
            where n.locked_by is not null
                and (n.locked_by = any (people) or n.project_id = any (places))
                and n.lock_expires_at > clock_timestamp()
                and not realtime.may_write(n.project_id, n.locked_by)
                -- Locks that go with their project are told by project_deleted.
                and exists (select 1 from projects p where p.id = n.project_id)
            order by n.id
            for update
        ) l
    );
    if lost <> '{}' then
        origin := coalesce(nullif(origins, '')::jsonb, '{}');
        origin := jsonb_set(origin, '{*}', coalesce(origin -> '*', '{}') || '{"reason": "holder_removed"}');
        perform set_config('app.origin', origin::text, true);
        update nodes set locked_by = null, locked_at = null, lock_expires_at = null where id = any (lost);
        perform set_config('app.origin', origins, true);
    end if;
    return null;
end
$$;
comment on function realtime.rights_changed() is 'Ends the locks of those who may no longer write, with the reason holder_removed.';
revoke execute on function realtime.rights_changed() from public;
grant execute on function realtime.rights_changed() to glassbox_owner;

reset role;
set role glassbox_owner;

-- They run after those that write the log: "rights" comes after "log" in the alphabet.
create or replace trigger rights_updated after update on org_members
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.rights_changed();
create or replace trigger rights_deleted after delete on org_members
    referencing old table as before_rows
    for each statement execute function realtime.rights_changed();
create or replace trigger rights_inserted after insert on project_members
    referencing new table as after_rows
    for each statement execute function realtime.rights_changed();
create or replace trigger rights_updated after update on project_members
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.rights_changed();
create or replace trigger rights_deleted after delete on project_members
    referencing old table as before_rows
    for each statement execute function realtime.rights_changed();
create or replace trigger rights_updated after update on projects
    referencing old table as before_rows new table as after_rows
    for each statement execute function realtime.rights_changed();

-- What a new organization can start from. An operator's change of one of these rows stays.
insert into templates (id, org_id, name, description, structure, agent_config, is_public)
values
    (
        '00000000-0000-4000-8000-000000000001', null, 'Research question',
        'From a question to an answer with its sources.',
        '{
            "formatVersion": 1,
            "inputs": [
                {"label": "Question", "type": "text", "required": true, "description": "What should be known in the end?"},
                {"label": "Background", "type": "text", "required": false, "description": "What is known already."},
                {"label": "Starting point", "type": "external_link", "required": false}
            ],
            "outputs": [{"label": "Answer", "type": "text", "description": "One page, with the sources."}],
            "subNodes": [
                {"key": "sources", "title": "Collect sources", "authorType": "agent", "outputs": [{"label": "Sources", "type": "structured_data"}]},
                {"key": "findings", "title": "Extract findings", "authorType": "agent", "dependsOn": ["sources"]},
                {"key": "review", "title": "Check findings against sources", "authorType": "human", "dependsOn": ["findings"]},
                {"key": "answer", "title": "Write the answer", "authorType": "human", "dependsOn": ["review"]}
            ],
            "suggestedWorkflowStates": ["draft", "in_progress", "review", "complete"]
        }',
        '{}', false
    ),
    (
        '00000000-0000-4000-8000-000000000002', null, 'Decision',
        'A decision that can still be understood a year later.',
        '{
            "formatVersion": 1,
            "inputs": [
                {"label": "Problem", "type": "text", "required": true, "description": "What has to be decided, and by when?"},
                {"label": "Constraints", "type": "text", "required": false}
            ],
            "outputs": [{"label": "Decision", "type": "text", "description": "What was decided, and why not otherwise."}],
            "subNodes": [
                {"key": "options", "title": "List the options", "authorType": "human"},
                {"key": "criteria", "title": "Agree on criteria", "authorType": "human"},
                {"key": "compare", "title": "Compare the options", "authorType": "agent", "dependsOn": ["options", "criteria"]},
                {"key": "decide", "title": "Decide and write it down", "authorType": "human", "dependsOn": ["compare"]}
            ],
            "suggestedWorkflowStates": ["draft", "in_progress", "review", "complete"]
        }',
        '{}', false
    ),
    (
        '00000000-0000-4000-8000-000000000003', null, 'Summarize documents',
        'An agent reads documents and writes a summary; a person reviews it.',
        '{
            "formatVersion": 1,
            "inputs": [
                {"label": "Documents", "type": "file", "required": true, "description": "What is to be summarized."},
                {"label": "For whom", "type": "text", "required": false, "description": "Who reads the summary, and what for?"}
            ],
            "outputs": [{"label": "Summary", "type": "text"}],
            "subNodes": [{"key": "review", "title": "Review the summary", "authorType": "human"}],
            "suggestedWorkflowStates": ["draft", "in_progress", "review", "complete"]
        }',
        '{"maxIterations": 10, "systemPrompt": "Summarize the documents for the stated reader. Quote numbers exactly and name the document of each statement."}',
        false
    )
on conflict (id) do nothing;

reset role;
reset search_path;
