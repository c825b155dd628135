//! The program, as people type it.

use std::process::{Output, Stdio};
use std::time::Duration;

use glassbox_protocol::ProjectId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::DEADLINE;
use crate::support::database::TestDatabase;

fn command(database: &TestDatabase, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glassbox"));
    command
        .args(args)
        .env_clear()
        .env("DATABASE_URL", database.server_url())
        .env("GLASSBOX_MIGRATION_URL", database.owner_url())
        .env("GLASSBOX_DEVELOPMENT", "true")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(database: &TestDatabase, args: &[&str]) -> Output {
    let output = command(database, args).output();
    tokio::time::timeout(DEADLINE, output).await.expect("an end in time").expect("a program that starts")
}

async fn printed(database: &TestDatabase, args: &[&str]) -> String {
    let output = run(database, args).await;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
}

#[tokio::test]
async fn the_demo_is_made_once_and_goes_out_and_in_as_a_document() {
    let database = TestDatabase::create().await;
    let project = printed(&database, &["demo"]).await;
    assert!(project.parse::<ProjectId>().is_ok(), "{project}");
    assert_eq!(printed(&database, &["demo"]).await, project);

    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("demo.canvas");
    let path = file.to_str().expect("a path");
    printed(&database, &["export", &project, path]).await;
    let document: Value = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    assert!(document["nodes"].as_array().is_some_and(|nodes| nodes.len() > 50));

    let args = ["import", path, "--org", "demo", "--name", "Copy", "--as", "dev-user-3@example.org"];
    let copy = printed(&database, &args).await;
    let again: Value = serde_json::from_str(&printed(&database, &["export", &copy]).await).expect("JSON");
    assert_eq!(again, document);
    let guest = run(&database, &["import", path, "--project", &project, "--as", "dev-user-4@example.org"]).await;
    assert_eq!(guest.status.code(), Some(1));
}

#[tokio::test]
async fn a_failure_is_one_line_and_exit_code_1() {
    let database = TestDatabase::create().await;
    let nowhere = ProjectId::random().to_string();
    for args in [
        vec!["export", &nowhere],
        vec!["import", "/does/not/exist.canvas", "--project", &nowhere],
        vec!["migrate", "--database-url", "postgresql://nobody@127.0.0.1:1/none"],
        vec!["migrate", "--database-url", "nonsense"],
        vec!["serve", "--development=false"],
        vec!["token", "ada", "--development=false", "--jwt-secret", "0123456789abcdef0123456789abcdef"],
    ] {
        let output = run(&database, &args).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        assert!(stderr.starts_with("glassbox: ") && output.stdout.is_empty(), "{args:?}: {stderr}");
    }
}

#[tokio::test]
async fn serve_says_where_it_is_and_ends_on_a_signal() {
    let database = TestDatabase::create().await;
    let args = ["serve", "--port", "0", "--metrics-port", "0", "--drain-s", "1", "--demo"];
    let mut server = command(&database, &args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a server");
    let mut lines = BufReader::new(server.stdout.take().expect("its stdout")).lines();
    let first = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("a line in time");
    let first = first.expect("a line").expect("a line");
    let url = first.strip_prefix("GlassBox is at ").unwrap_or_else(|| panic!("{first}"));

    let token = printed(&database, &["token", "dev-user-1"]).await;
    let orgs = reqwest::Client::new().get(format!("{url}/api/v1/orgs")).bearer_auth(&token).send().await.expect("orgs");
    let orgs: Value = orgs.json().await.expect("JSON");
    assert_eq!(orgs["data"][0]["slug"], "demo");

    let pid = server.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("a process");
    kill_process(pid, Signal::TERM).expect("a signal");
    tokio::time::sleep(Duration::from_millis(20)).await;
    // A second one changes nothing; the process may be gone by now.
    let _ = kill_process(pid, Signal::INT);
    let status = tokio::time::timeout(DEADLINE, server.wait()).await.expect("an end in time").expect("a status");
    assert_eq!(status.code(), Some(0));
}
