//! The documented schema: the catalog is what `fixtures/schema.toml` says, every migration file runs again by hand,
//! and (below) no tenant reaches another and no writer breaks the tree.

use std::path::Path;

use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection};
use uuid::Uuid;

use crate::support::database::TestDatabase;

mod facts;
mod fixture;
mod isolation;
mod references;
mod tenants;

use self::facts::{assert_same_facts, difference, everything, unprotected_tables};
use self::tenants::run;

#[tokio::test]
async fn the_catalog_is_what_the_document_says() {
    let database = TestDatabase::create().await;

    assert_eq!(difference(&database.superuser()).await, "");
}

#[tokio::test]
async fn a_catalog_that_differs_is_told_apart_line_by_line() {
    let database = TestDatabase::create().await;
    run(
        &database.superuser(),
        "alter table nodes add column surprise text;
         drop index idx_nodes_status;
         alter table users alter column settings set default '[]';",
    )
    .await;

    let difference = difference(&database.superuser()).await;

    assert!(difference.contains("surplus: nodes: column surprise text null"), "{difference}");
    assert!(difference.contains("missing: nodes: CREATE INDEX idx_nodes_status ON"), "{difference}");
    assert!(difference.contains("missing: users: column settings jsonb null default '{}'"), "{difference}");
    assert!(difference.contains("surplus: users: column settings jsonb null default '[]'"), "{difference}");
}

#[tokio::test]
async fn every_table_and_every_column_is_commented() {
    let database = TestDatabase::create().await;

    let silent: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass || coalesce('.' || a.attname, '')
         from pg_class c
         left join pg_attribute a
           on a.attrelid = c.oid
           and a.attnum > 0
           and not a.attisdropped
         where c.relnamespace in ('public'::regnamespace, 'realtime'::regnamespace)
           and c.relkind in ('r', 'p')
           and not c.relispartition
           and c.relname <> '_sqlx_migrations'
           and (obj_description(c.oid, 'pg_class') is null or col_description(c.oid, a.attnum) is null)
         order by 1",
    )
    .fetch_all(&database.superuser())
    .await
    .expect("list what has no comment");

    assert_eq!(silent, Vec::<String>::new());
}

#[tokio::test]
async fn every_table_is_under_row_level_security_and_a_new_one_without_it_is_found() {
    let database = TestDatabase::create().await;
    assert_eq!(unprotected_tables(&database.superuser()).await, Vec::<String>::new());

    run(
        &database.superuser(),
        "create table public.bare (id uuid);
         create table public.not_forced (id uuid);
         alter table public.not_forced enable row level security;
         create policy anybody on public.not_forced using (true);
         create table realtime.without_policy (id uuid);
         alter table realtime.without_policy enable row level security;
         alter table realtime.without_policy force row level security;",
    )
    .await;

    assert_eq!(
        unprotected_tables(&database.superuser()).await,
        ["public.bare", "public.not_forced", "realtime.without_policy"]
    );
}

#[tokio::test]
async fn every_migration_file_runs_again_by_hand() {
    let database = TestDatabase::create().await;
    let before = everything(&database.superuser()).await;

    for _ in 0..2 {
        run_migration_files(&database.superuser()).await;
    }

    assert_same_facts(&before, &everything(&database.superuser()).await);
}

#[tokio::test]
async fn the_migration_files_by_hand_make_what_the_migrator_makes() {
    let database = TestDatabase::create().await;
    let name = format!("by_hand_{}", Uuid::new_v4().simple());
    run(&database.superuser(), &format!("create database {name}")).await;
    let options = database.superuser().connect_options().as_ref().clone().database(&name);
    let by_hand = PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("connect");

    run_migration_files(&by_hand).await;
    run_migration_files(&by_hand).await;
    let made_by_hand = everything(&by_hand).await;
    sqlx::migrate::Migrator::new(migrations())
        .await
        .expect("read the migrations")
        .run(&by_hand)
        .await
        .expect("migrate what was made by hand");

    let migrated = everything(&database.superuser()).await;
    assert_same_facts(&migrated, &made_by_hand);
    assert_same_facts(&migrated, &everything(&by_hand).await);
    by_hand.close().await;
    run(&database.superuser(), &format!("drop database {name} with (force)")).await;
}

fn migrations() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
}

async fn run_migration_files(superuser: &PgPool) {
    let mut files: Vec<_> = std::fs::read_dir(migrations())
        .expect("list the migrations")
        .map(|entry| entry.expect("list the migrations").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    let options = superuser.connect_options();
    let mut by_hand = PgConnection::connect_with(&options).await.expect("connect");
    for file in files {
        let sql = std::fs::read_to_string(&file).expect("read a migration");
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut by_hand).await {
            panic!("{}: {error}", file.display());
        }
    }
}
