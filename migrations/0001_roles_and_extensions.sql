-- The roles, the schema `realtime` and the extensions that everything after this file stands on.
--
-- Roles belong to the cluster and not to one database: several databases may be migrated at the same
-- moment, so whoever loses the race finds the role made and goes on. None of them can log in; people
-- and programs get a login of their own that is a member of one of them.
--
-- Every migration file may be run again by hand, with psql or through the server, any number of times.

do $$
declare
  wanted text;
begin
  foreach wanted in array array[
    'glassbox_owner',   -- owns the tables
    'glassbox_log',     -- owns the SECURITY DEFINER trigger functions, with the few rights that they need
    'glassbox_app',     -- what the server runs as
    'glassbox_reader',  -- what reads the log for the server
    'glassbox_worker'   -- agent workers that write SQL without a tenant context
  ] loop
    begin
      if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
        execute format('create role %I nologin', wanted);
      end if;
    exception
      -- Another database of this cluster made it between our look and our attempt.
      when duplicate_object or unique_violation then null;
    end;

    -- A role that skips row-level security would make every policy below it a decoration.
    if exists (
      select
      from pg_catalog.pg_roles
      where rolname = wanted
        and (rolsuper or rolbypassrls)
    ) then
      raise exception 'role % must be neither superuser nor bypass row-level security: alter role % nosuperuser nobypassrls', wanted, wanted
        using errcode = 'invalid_role_specification';
    end if;
  end loop;
end
$$;

-- A migrating login that is no superuser acts as the two owning roles, so it has to be a member of them.
-- Since PostgreSQL 16 one can be a member without being allowed to SET ROLE, so that is what is asked for.
do $$
declare
  wanted text;
  right_to_act constant text := case
    when current_setting('server_version_num')::integer >= 160000 then 'SET'
    else 'MEMBER'
  end;
begin
  foreach wanted in array array['glassbox_owner', 'glassbox_log'] loop
    -- A superuser has every role's rights, so nothing is granted to one.
    continue when pg_has_role(current_user, wanted, right_to_act);
    begin
      execute format('grant %I to %I', wanted, current_user);
    exception
      when unique_violation then null;
      when insufficient_privilege then
        raise exception 'the migrating login % may not act as %: let a superuser run: grant % to %', current_user, wanted, wanted, current_user
          using errcode = 'insufficient_privilege';
    end;
  end loop;
end
$$;

-- The vector type is part of the documented schema (`files.embedding`), so there is no going on without it.
do $$
begin
  if exists (select from pg_catalog.pg_extension where extname = 'vector') then
    return;
  end if;
  if not exists (select from pg_catalog.pg_available_extensions where name = 'vector') then
    raise exception 'the extension vector (pgvector) is not installed on this PostgreSQL server: install it and migrate again'
      using errcode = 'feature_not_supported';
  end if;
  begin
    create extension if not exists vector with schema public;
  exception
    when unique_violation or duplicate_object then null;
    when insufficient_privilege then
      raise exception 'the migrating login % may not create the extension vector: let a superuser run: create extension vector', current_user
        using errcode = 'insufficient_privilege';
  end;
end
$$;

-- Nothing depends on these two; they are there because the documented schema names them.
do $$
declare
  wanted text;
begin
  for wanted in
    select name
    from pg_catalog.pg_available_extensions
    where name in ('uuid-ossp', 'pgcrypto')
      and installed_version is null
    order by name
  loop
    begin
      execute format('create extension if not exists %I with schema public', wanted);
    exception
      when unique_violation or duplicate_object then null;
      when insufficient_privilege then
        raise notice 'extension % is left out: login % may not create it', wanted, current_user;
    end;
  end loop;
end
$$;

-- What the server needs beyond the documented tables lives here, out of reach of the workers: their
-- writes come in only through trigger functions, which run as the functions' owner.
create schema if not exists realtime authorization glassbox_owner;

grant create, usage on schema public to glassbox_owner;
grant usage on schema public to glassbox_log, glassbox_app, glassbox_worker;

set role glassbox_owner;

grant create, usage on schema realtime to glassbox_log;
grant usage on schema realtime to glassbox_app;

comment on schema realtime is 'What the server keeps beyond the documented tables: the event log and its relatives, and the functions of the triggers.';

reset role;
