//! Migrations at the start: by any number of instances at once, on any state of the database, or refused in one line.

use std::fs;
use std::path::Path;
use std::time::Duration;

use glassbox::store::{check, migrate};
use sha2::{Digest as _, Sha256};
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

/// The migrations that databases out there have been through, with the beginning of the SHA-256 of each. A file that
/// stands here is never changed: a database that has it would not start. Add a new file, and its line here.
const RELEASED: [(&str, &str); 18] = [
    ("0001_roles_and_extensions.sql", "a5d0e784f270432a"),
    ("0002_tables.sql", "0baa41bd10902135"),
    ("0003_isolation.sql", "c131d54ad7f88a8f"),
    ("0004_log.sql", "74346c5ba0b08e24"),
    ("0005_server_tables.sql", "f376929e9a5be3eb"),
    ("0006_events.sql", "77ff65d285897f16"),
    ("0007_worker_keys.sql", "863e669ec03b0937"),
    ("0008_audit.sql", "a21559d1c53a742c"),
    ("0009_notifications.sql", "6a8365e0ad1a878f"),
    ("0010_node_lookup.sql", "6f5feb2707dd137c"),
    ("0011_members.sql", "28b99a4ceaa57f05"),
    ("0012_request_answers.sql", "044b434fb60b8ff4"),
    ("0013_retention.sql", "876b107bf1b0d08f"),
    ("0014_last_event.sql", "232fef77e1bb07a1"),
    ("0015_sweep.sql", "b825dc0ac4d4bf1e"),
    ("0016_channels.sql", "18b4dba0ac630fa3"),
    ("0017_older_dialect.sql", "fb92c7360b14c701"),
    ("0018_undo.sql", "dc35b313bf21b93e"),
];

#[test]
fn a_released_migration_is_never_changed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<(String, String)> = fs::read_dir(&directory)
        .expect("the migrations")
        .map(|entry| {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let hash = Sha256::digest(fs::read(&path).expect("a migration"));
            (name, hash[..8].iter().map(|byte| format!("{byte:02x}")).collect())
        })
        .collect();
    files.sort();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, hash)| (name.as_str(), hash.as_str())).collect();
    assert_eq!(files, RELEASED);
}
