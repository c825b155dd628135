//! The embedded PostgreSQL, as the processes that share it see it. The program files come from the usual cache.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use glassbox::postgres::{EmbeddedConfig, EmbeddedPostgres, running_url};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

const DEADLINE: Duration = Duration::from_secs(30);

/// A directory with a blank in its name below a closed temporary one, as a person might choose it.
fn new_config(temporary: &TempDir) -> EmbeddedConfig {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(temporary.path(), PermissionsExt::from_mode(0o711)).expect("our own directory");
    let mut config = EmbeddedConfig::from_dirs(None, Some(temporary.path().join("glass box")));
    config.extra_settings.push(("shared_buffers".to_owned(), "16MB".to_owned()));
    config
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL accepts us");
    tokio::spawn(connection);
    client
}

async fn text(client: &Client, question: &str) -> String {
    client.query_one(question, &[]).await.expect("an answer").get(0)
}

fn postmaster_pid(config: &EmbeddedConfig) -> Pid {
    let file = config.data_dir.join("postgres/postmaster.pid");
    let text = std::fs::read_to_string(file).expect("a running postmaster has a pid file");
    let number = text.lines().next().and_then(|line| line.parse().ok()).expect("it starts with the pid");
    Pid::from_raw(number).expect("a pid is not zero")
}

fn is_alive(pid: Pid) -> bool {
    // A zombie that its parent has not collected still takes signals: its directory is gone.
    test_kill_process(pid).is_ok() && Path::new(&format!("/proc/{}/cwd", pid.as_raw_nonzero())).read_link().is_ok()
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    tokio::time::timeout(DEADLINE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("within {DEADLINE:?}: {what}"));
}

#[tokio::test]
async fn data_survives_a_stop_and_the_port_is_kept() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let config = new_config(&temporary);
    let refusal = running_url(&config).expect_err("nothing runs yet").to_string();
    assert!(refusal.contains("is not running"), "{refusal}");

    let first = EmbeddedPostgres::start(&config).await.expect("a first start");
    let client = connect(first.admin_url()).await;
    client
        .batch_execute("create extension vector; create extension pgcrypto; create extension \"uuid-ossp\"; create table kept as select 7 as n")
        .await
        .expect("the three extensions are offered");
    assert_eq!(text(&client, "select extversion from pg_extension where extname = 'vector'").await, "0.8.5");
    assert_eq!(text(&client, "select uuid_generate_v4()::text").await.len(), 36);
    for (setting, expected) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("max_connections", "200"),
        ("shared_buffers", "16MB"),
        ("listen_addresses", "127.0.0.1"),
        ("server_encoding", "UTF8"),
        ("password_encryption", "scram-sha-256"),
    ] {
        assert_eq!(text(&client, &format!("show {setting}")).await, expected, "{setting}");
    }
    let admin_url = first.admin_url().to_owned();
    assert_eq!(running_url(&config).expect("it runs"), admin_url);
    let pid = postmaster_pid(&config);
    first.stop().await.expect("a stop");
    assert!(!is_alive(pid), "the last user stops PostgreSQL");
    running_url(&config).expect_err("it was stopped");

    let second = EmbeddedPostgres::start(&config).await.expect("a second start");
    assert_eq!(second.admin_url(), admin_url, "passwords and port are kept");
    assert_eq!(text(&connect(second.admin_url()).await, "select n::text from kept").await, "7");
    second.stop().await.expect("a second stop");
}

#[tokio::test]
async fn the_server_role_is_neither_superuser_nor_owner_and_needs_its_password() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let config = new_config(&temporary);
    let postgres = EmbeddedPostgres::start(&config).await.expect("a start");
    let client = connect(postgres.server_url()).await;
    let role = "select concat_ws(' ', rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb) from pg_roles where rolname = current_user";
    assert_eq!(text(&client, role).await, "glassbox_server f f f f");
    client.batch_execute("create table public.mine ()").await.expect_err("it may create nothing");
    let mut wrong = url::Url::parse(postgres.server_url()).expect("a URL");
    wrong.set_password(Some("guess")).expect("a URL with a host");
    let refused = tokio_postgres::connect(wrong.as_str(), NoTls).await.map(|_| ()).expect_err("a wrong password");
    assert_eq!(refused.code(), Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD));

    use std::os::unix::fs::MetadataExt;
    let passwords = std::fs::metadata(config.data_dir.join("passwords.json")).expect("they are kept");
    assert_eq!(passwords.mode() & 0o777, 0o600);
    drop(client);
    postgres.stop().await.expect("a stop");
}

#[tokio::test]
async fn two_users_share_one_postgres_and_the_last_one_out_stops_it() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let config = new_config(&temporary);
    let (first, second) = tokio::join!(EmbeddedPostgres::start(&config), EmbeddedPostgres::start(&config));
    let (first, second) = (first.expect("one start"), second.expect("the other start"));
    assert_eq!(first.admin_url(), second.admin_url());
    let pid = postmaster_pid(&config);
    first.stop().await.expect("the first leaves");
    assert_eq!(postmaster_pid(&config), pid, "the other still uses it");
    connect(second.server_url()).await;
    second.stop().await.expect("the last leaves");
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_start_recovers_after_kill_9_of_the_postmaster() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let config = new_config(&temporary);
    let killed = EmbeddedPostgres::start(&config).await.expect("a start");
    let admin_url = killed.admin_url().to_owned();
    let client = connect(&admin_url).await;
    client.batch_execute("create table kept as select 7 as n").await.expect("a commit");
    // A backend in the middle of a query does not notice that its postmaster is gone.
    let busy = connect(&admin_url).await;
    let query =
        tokio::spawn(async move { busy.batch_execute("select count(*) from generate_series(1, 1e12::bigint)").await });
    eventually("the query runs", || async {
        text(&client, "select count(*)::text from pg_stat_activity where query like '%1e12%' and state = 'active' and pid <> pg_backend_pid()").await == "1"
    })
    .await;

    let pid = postmaster_pid(&config);
    kill_process(pid, Signal::KILL).expect("the postmaster was alive");
    eventually("the postmaster is gone", || async { !is_alive(pid) }).await;
    let next = EmbeddedPostgres::start(&config).await.expect("a start over a stale pid file");
    assert_eq!(next.admin_url(), admin_url, "the other user's URL works again");
    assert_eq!(text(&connect(&admin_url).await, "select n::text from kept").await, "7");
    query.await.expect("the task ends").expect_err("its backend was ended");
    drop(killed);
    next.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_postgres_that_was_left_running_is_adopted() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let config = new_config(&temporary);
    drop(EmbeddedPostgres::start(&config).await.expect("a start"));
    let pid = postmaster_pid(&config);
    assert!(is_alive(pid), "dropping, as being killed, stops nothing");
    let adopted = EmbeddedPostgres::start(&config).await.expect("a second start");
    assert_eq!(postmaster_pid(&config), pid);
    adopted.stop().await.expect("a stop");
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_pid_file_whose_number_belongs_to_another_process_does_not_block_the_start() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let config = new_config(&temporary);
    let first = EmbeddedPostgres::start(&config).await.expect("a start");
    let file = config.data_dir.join("postgres/postmaster.pid");
    let written = std::fs::read_to_string(&file).expect("a pid file");
    first.stop().await.expect("a stop");
    for stale in [
        written.replacen(&written[..written.find('\n').expect("lines")], &std::process::id().to_string(), 1),
        String::new(),
    ] {
        std::fs::write(&file, stale).expect("a file of before a reboot");
        let next = EmbeddedPostgres::start(&config).await.expect("a start");
        next.stop().await.expect("a stop");
    }
}

#[tokio::test]
async fn a_port_that_someone_took_is_replaced() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let config = new_config(&temporary);
    let first = EmbeddedPostgres::start(&config).await.expect("a start");
    let admin_url = first.admin_url().to_owned();
    first.stop().await.expect("a stop");
    let port = url::Url::parse(&admin_url).expect("a URL").port().expect("a port");
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let second = EmbeddedPostgres::start(&config).await.expect("a start on another port");
    assert_ne!(second.admin_url(), admin_url);
    drop(taken);
    second.stop().await.expect("a stop");
}

#[tokio::test]
async fn data_of_another_major_version_is_refused_in_one_line() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let config = new_config(&temporary);
    EmbeddedPostgres::start(&config).await.expect("a start").stop().await.expect("a stop");
    std::fs::write(config.data_dir.join("postgres/PG_VERSION"), "15\n").expect("our own data");
    let error = EmbeddedPostgres::start(&config).await.expect_err("not our version");
    let line = format!("{error:#}");
    assert!(line.contains("belongs to PostgreSQL 15, this is 16"), "{line}");
    assert!(!line.contains('\n'), "{line}");
}

#[tokio::test]
async fn a_setting_that_postgres_does_not_know_is_named() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut config = new_config(&temporary);
    config.extra_settings.push(("nonsense".to_owned(), "1".to_owned()));
    let error = format!("{:#}", EmbeddedPostgres::start(&config).await.expect_err("no such setting"));
    assert!(error.contains("nonsense") || error.contains("configuration file"), "{error}");
}
