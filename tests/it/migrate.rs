//! Migrations at the start: by any number of instances at once, on any state of the database, or refused in one line.

use std::time::Duration;

use glassbox::store::{check, migrate};
use sqlx::AssertSqlSafe;
use url::Url;
use uuid::Uuid;

use crate::support::database::TestDatabase;

/// An empty database beside a test's own; the URL of its owner.
async fn empty_database(database: &TestDatabase) -> String {
    let name = format!("empty_{}", Uuid::new_v4().simple());
    sqlx::query(AssertSqlSafe(format!("create database {name}")))
        .execute(&database.superuser())
        .await
        .expect("make a database");
    let mut url: Url = database.owner_url().parse().expect("a URL");
    url.set_path(&name);
    url.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_instances_migrate_an_empty_database_at_once() {
    let database = TestDatabase::create().await;
    let url = empty_database(&database).await;
    let starts = (0..5).map(|_| migrate::run(&url, None));
    for start in futures::future::join_all(starts).await {
        start.expect("migrated, or found migrated");
    }
    migrate::run(&url, None).await.expect("again");
    check::login(&url).await.expect("up to date");
}

#[tokio::test]
async fn a_database_that_is_not_migrated_and_one_that_does_not_answer_are_refused_in_one_line() {
    let database = TestDatabase::create().await;
    let url = empty_database(&database).await;
    let refusal = check::login(&url).await.expect_err("not migrated").to_string();
    assert!(refusal.contains("glassbox migrate") && !refusal.contains('\n'), "{refusal}");
    let nowhere = "postgresql://nobody@127.0.0.1:1/nothing";
    let refusal = check::server(nowhere).await.expect_err("nobody there").to_string();
    assert!(refusal.starts_with("cannot connect to PostgreSQL") && !refusal.contains('\n'), "{refusal}");
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_acknowledged_is_refused() {
    let database = TestDatabase::create().await;
    let mut url: Url = database.owner_url().parse().expect("a URL");
    url.query_pairs_mut().append_pair("options", "-c synchronous_commit=off");
    let refusal = check::server(url.as_str()).await.expect_err("not durable").to_string();
    assert!(refusal.contains("synchronous_commit = off"), "{refusal}");
}

/// A migration that hangs must not make the others hang with it for ever; here it lets go in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_another_instances_migration() {
    let database = TestDatabase::create().await;
    let url = empty_database(&database).await;
    let pool = sqlx::PgPool::connect(&url).await.expect("connect");
    let mut other = pool.acquire().await.expect("a connection");
    sqlx::query("select pg_advisory_lock($1)").bind(migrate::LOCK_KEY).execute(&mut *other).await.expect("the lock");
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(other.detach());
        check::login(&url).await.expect_err("nothing is migrated behind the other's back")
    };
    let (start, _) = tokio::join!(migrate::run(&url, None), release);
    start.expect("migrated");
}
