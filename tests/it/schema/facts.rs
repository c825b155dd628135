//! What the catalog says, as lines of text that can be compared.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;

use super::fixture::Schema;
use super::tenants::execute;

/// Lists what the fixture has and the catalog has not, and the other way round; empty when they agree.
pub async fn difference(superuser: &PgPool) -> String {
    let schema = Schema::read();
    let known: Vec<String> = schema.added_triggers.iter().map(|trigger| trigger.name.clone()).collect();
    let mut transaction = superuser.begin().await.expect("begin");
    sqlx::raw_sql(AssertSqlSafe(schema.statements()))
        .execute(&mut *transaction)
        .await
        .expect("build what the fixture says");
    execute(&mut transaction, "set local search_path = pg_catalog").await;
    let mut facts = Vec::new();
    for schema in ["expected", "public"] {
        let lines: Vec<String> = sqlx::query_scalar(FACTS)
            .bind(schema)
            .bind(&known)
            .fetch_all(&mut *transaction)
            .await
            .expect("read the catalog");
        facts.push(BTreeSet::from_iter(lines));
    }
    compare(&facts[0], &facts[1])
}

/// Reads all that the migrations make: tables, functions, policies, rights and comments of both schemas.
pub async fn everything(superuser: &PgPool) -> BTreeSet<String> {
    let mut transaction = superuser.begin().await.expect("begin");
    execute(&mut transaction, "set local search_path = pg_catalog").await;
    let every_trigger: Vec<String> = sqlx::query_scalar("select distinct tgname::text from pg_trigger")
        .fetch_all(&mut *transaction)
        .await
        .expect("list triggers");
    let mut facts = BTreeSet::new();
    for schema in ["public", "realtime"] {
        let lines: Vec<String> = sqlx::query_scalar(FACTS)
            .bind(schema)
            .bind(&every_trigger)
            .fetch_all(&mut *transaction)
            .await
            .expect("read the catalog");
        facts.extend(lines);
    }
    let rest: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', c.oid::regclass, pg_get_userbyid(c.relowner), c.relrowsecurity, c.relforcerowsecurity, r.grants,
           obj_description(c.oid, 'pg_class'))
         from pg_class c
         left join lateral (
           select string_agg(g::text, ',' order by g::text) as grants
           from unnest(c.relacl) g
         ) r on true
         where c.relnamespace in ('public'::regnamespace, 'realtime'::regnamespace)
           and c.relkind in ('r', 'p', 'S', 'v')
           and c.relname <> '_sqlx_migrations'
         union all
         select concat_ws(' ', p.schemaname, p.tablename, p.policyname, p.permissive, p.roles, p.cmd, p.qual, p.with_check)
         from pg_policies p
         union all
         select concat_ws(' ', f.oid::regprocedure, pg_get_userbyid(f.proowner), md5(pg_get_functiondef(f.oid)), f.proacl,
           obj_description(f.oid, 'pg_proc'))
         from pg_proc f
         where f.pronamespace in ('public'::regnamespace, 'realtime'::regnamespace)
           and f.prokind = 'f'
           and not exists (select from pg_depend d where d.objid = f.oid and d.deptype = 'e')",
    )
    .fetch_all(&mut *transaction)
    .await
    .expect("read policies and rights");
    facts.extend(rest);
    // The log's partitions are those of the days on which the databases were made, and a day ends while tests run.
    let partitions: Vec<String> =
        sqlx::query_scalar("select relname::text from pg_class where relispartition and relkind = 'r'")
            .fetch_all(&mut *transaction)
            .await
            .expect("list the partitions");
    facts.retain(|fact| !partitions.iter().any(|partition| fact.contains(partition.as_str())));
    facts
}

pub fn assert_same_facts(expected: &BTreeSet<String>, found: &BTreeSet<String>) {
    assert_eq!(compare(expected, found), "");
}

fn compare(expected: &BTreeSet<String>, found: &BTreeSet<String>) -> String {
    let missing = expected.difference(found).map(|fact| format!("missing: {fact}\n"));
    let surplus = found.difference(expected).map(|fact| format!("surplus: {fact}\n"));
    missing.chain(surplus).collect()
}

/// Lists the tables that row-level security does not cover. A partition that nobody but its owner has rights on is
/// reached only through its parent, under the parent's policies.
pub async fn unprotected_tables(superuser: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select n.nspname || '.' || c.relname
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
         where n.nspname in ('public', 'realtime')
           and c.relkind in ('r', 'p')
           and c.relname <> '_sqlx_migrations'
           and not (
             c.relrowsecurity
             and c.relforcerowsecurity
             and exists (select from pg_policy p where p.polrelid = c.oid)
           )
           and not (
             c.relispartition
             and not exists (select from aclexplode(c.relacl) g where g.grantee <> c.relowner)
           )
         order by 1",
    )
    .fetch_all(superuser)
    .await
    .expect("list unprotected tables")
}

/// One line per fact about the tables of schema `$1`, written alike for every schema. Triggers that write the log
/// are left out: they have a function outside of `public` and a name that the fixture (`$2`) does not know.
const FACTS: &str = "
    with tables as (
      select c.oid, c.relname
      from pg_class c
      where c.relnamespace = $1::regnamespace
        and c.relkind in ('r', 'p')
        and c.relname <> '_sqlx_migrations'
    ),
    facts (fact) as (
      select format('%s: columns %s', t.relname, string_agg(a.attname, ', ' order by a.attnum))
      from tables t
      join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
      group by t.relname
      union all
      select concat_ws(' ', t.relname || ': column', a.attname, format_type(a.atttypid, a.atttypmod),
        case when a.attnotnull then 'not null' else 'null' end, 'default ' || pg_get_expr(d.adbin, d.adrelid))
      from tables t
      join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = t.oid and d.adnum = a.attnum
      union all
      select format('%s: %s', t.relname, pg_get_constraintdef(k.oid))
      from tables t
      join pg_constraint k on k.conrelid = t.oid and k.contype in ('p', 'u', 'f', 'c', 'x')
      union all
      select format('%s: %s', t.relname, pg_get_indexdef(i.indexrelid))
      from tables t
      join pg_index i on i.indrelid = t.oid
      where not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
      union all
      select format('%s: trigger %s', t.relname, regexp_replace(pg_get_triggerdef(g.oid), '^CREATE TRIGGER \\S+ ', ''))
      from tables t
      join pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal
      join pg_proc f on f.oid = g.tgfoid
      where f.pronamespace = 'public'::regnamespace or g.tgname = any ($2)
    )
    select replace(replace(fact, 'expected.', ''), 'public.', '')
    from facts";
