//! How executions, waits and streams end, and what is told of files that are processed.

use std::collections::BTreeMap;

use glassbox_protocol::client::{LockAcquire, NodeRef};
use glassbox_protocol::{Channel, Command, ErrorCode, Event, EventFrame, NodeId, RequestId};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::rooms::create;
use crate::support::mirror::Start;
use crate::support::world::World;
use crate::traces::{Run, set_status, steps, trace};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_whose_row_is_deleted_is_over() {
    let world = World::start().await;
    let run = Run::new(&world).await;
    let channel = run.channel();
    let viewer = world.client(0, &run.ann).await;
    viewer.open(channel, None).await.expect("open");
    world.sql(&format!("delete from agent_executions where id = '{}'", run.execution)).await;
    let is_over =
        |frame: &EventFrame| matches!(&frame.event, Event::ExecutionClosed { status, .. } if status == "cancelled");
    viewer.wait_strand("the end", channel, |s| s.events.iter().any(is_over).then_some(())).await;
    let refused = viewer.open(channel, None).await.expect_err("it is gone");
    assert_eq!(refused.code, ErrorCode::NotFound);
    viewer.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_after_its_end_or_with_its_node_is_told_to_be_over() {
    let world = World::start().await;
    for (status, table, closed) in
        [("complete", "agent_executions", "complete"), ("failed", "nodes", "failed"), ("running", "nodes", "cancelled")]
    {
        let run = Run::new(&world).await;
        let channel = run.channel();
        set_status(&world.database.worker(), run.execution, status).await;
        let viewer = world.client(0, &run.ann).await;
        viewer.open(channel, None).await.expect("open");
        let id = if table == "nodes" { run.node.0 } else { run.execution.0 };
        world.sql(&format!("delete from {table} where id = '{id}'")).await;
        let is_over =
            |frame: &EventFrame| matches!(&frame.event, Event::ExecutionClosed { status, .. } if status == closed);
        viewer.wait_strand("the end", channel, |s| s.events.iter().any(is_over).then_some(())).await;
        viewer.assert_sound();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_told_and_what_comes_after_it_is_late() {
    let world = World::start().await;
    let run = Run::new(&world).await;
    let channel = run.channel();
    let worker = world.database.worker();
    let viewer = world.client(0, &run.ann).await;
    viewer.open(channel, None).await.expect("open");
    trace(&worker, run.execution, "llm_call", &json!({ "response": null })).await;
    set_status(&worker, run.execution, "failed").await;
    trace(&worker, run.execution, "error", &json!({})).await;
    set_status(&worker, run.execution, "running").await;
    trace(&worker, run.execution, "llm_call", &json!([1, 2])).await;
    set_status(&worker, run.execution, "complete").await;
    let is_over =
        |frame: &EventFrame| matches!(&frame.event, Event::ExecutionClosed { status, .. } if status == "complete");
    let events =
        viewer.wait_strand("the end", channel, |s| s.events.iter().any(is_over).then(|| s.events.clone())).await;
    let kinds: Vec<String> = events
        .iter()
        .map(|f| match &f.event {
            Event::TraceEvent(step) => {
                format!("{} {}{}", step.n, step.event_type, if step.late { " late" } else { "" })
            }
            Event::ExecutionUpdate { status, .. } => status.clone(),
            Event::ExecutionClosed { status, .. } => format!("closed {status}"),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        "1 llm_call",
        "failed",
        "closed failed",
        "2 error late",
        "running",
        "3 llm_call",
        "complete",
        "closed complete",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(steps(&events)[0].event_data.get("response"), Some(&Value::Null), "nulls are data");
    assert_eq!(steps(&events)[2].event_data["value"], json!([1, 2]), "the wire promises an object");
    // The project's members follow the states as before.
    run.writer
        .wait("the end in the project's log", |f| {
            (f["type"] == "execution_update" && f["payload"]["status"] == "complete").then_some(())
        })
        .await;
    viewer.assert_sound();
}

#[tokio::test]
async fn streams_of_what_is_gone_are_forgotten_once_nothing_of_them_is_kept() {
    let world = World::start().await;
    let run = Run::new(&world).await;
    trace(&world.database.worker(), run.execution, "llm_call", &json!({})).await;
    let superuser = world.database.superuser();
    let streams = async || -> BTreeMap<Uuid, i64> {
        let rows: Vec<(Uuid, i64)> =
            sqlx::query_as("select stream_id, seq from realtime.heads").fetch_all(&superuser).await.expect("heads");
        rows.into_iter().collect()
    };
    // As long as they are, they are remembered, whatever is kept of them.
    world.sql("update realtime.heads set floor = seq; select realtime.forget_streams()").await;
    assert!(streams().await.contains_key(&run.execution.0));
    world.sql(&format!("delete from projects where id = '{}'", run.project)).await;
    world.sql("select realtime.forget_streams()").await;
    assert!(!streams().await.contains_key(&run.execution.0), "the trace's events had been dropped before");
    assert!(streams().await.contains_key(&run.project.0), "its last event is still kept");
    world.sql("update realtime.heads set floor = seq; select realtime.forget_streams()").await;
    let left = streams().await;
    assert!(!left.contains_key(&run.project.0));
    let org = world.org(&run.ann).await;
    assert!(left.contains_key(&org.0), "the organization lives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_s_processing_is_told_to_every_project_that_uses_it_and_to_its_nodes() {
    let world = World::start().await;
    let run = Run::new(&world).await;
    let elsewhere = world.project(&run.ann).await;
    let org = world.org(&run.ann).await;
    let (file, node) = (Uuid::new_v4(), NodeId::random());
    let watcher = world.client(0, &run.ann).await;
    watcher.subscribe(elsewhere, Start::Snapshot).await.expect("subscribe");
    watcher.command(create(node, "there")).await.expect("create");
    let viewer = world.client(0, &run.ann).await;
    viewer.open(Channel::Node(run.node), None).await.expect("open");
    world
        .sql(&format!(
            "insert into files (id, org_id, storage_key, storage_bucket, filename) values ('{file}', '{org}', 'k', 'b', 'a.pdf');
             insert into node_inputs (node_id, input_type, file_id) values ('{}', 'file', '{file}');
             insert into node_outputs (node_id, output_type, file_id) values ('{node}', 'file', '{file}')",
            run.node
        ))
        .await;
    let worker = world.database.worker();
    let process = async |statement: &str| {
        sqlx::query(AssertSqlSafe(format!("update files set {statement} where id = '{file}'")))
            .execute(&worker)
            .await
            .expect("a file's state");
    };
    process("processing_status = 'processing'").await;
    process("extracted_text = 'no news'").await;
    process("processing_status = 'failed', processing_error = 'no such format'").await;
    for (client, project, used_by) in [(&run.writer, run.project, run.node), (&watcher, elsewhere, node)] {
        let is_end = |f: &Value| f["type"] == "file_update" && f["payload"]["processingStatus"] == "failed";
        client.wait("the end of the processing", |f| is_end(f).then_some(())).await;
        let told: Vec<Value> = client
            .frames_since(0)
            .into_iter()
            .filter(|f| f["type"] == "file_update" && f["channel"] == Channel::Project(project).to_string())
            .map(|f| f["payload"].clone())
            .collect();
        let update = |status: &str| json!({ "fileId": file, "filename": "a.pdf", "processingStatus": status, "nodeIds": [used_by] });
        let mut failed = update("failed");
        failed["processingError"] = json!("no such format");
        assert_eq!(told, [update("processing"), failed]);
        client.assert_sound();
    }
    let is_update = |frame: &&EventFrame| matches!(frame.event, Event::FileUpdate { .. });
    viewer
        .wait_strand("both on the node's channel", Channel::Node(run.node), |s| {
            (s.events.iter().filter(is_update).count() == 2).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_lock_of_a_node_that_is_deleted_is_told_that_it_is_gone() {
    let world = World::with_instances(2).await;
    let run = Run::new(&world).await;
    let acquire = |wait| Command::LockAcquire(LockAcquire { node_id: run.node, ttl_ms: Some(600_000), wait });
    run.writer.command(acquire(None)).await.expect("a lock");
    let waiter = world.client(1, &run.ann).await;
    waiter.subscribe(run.project, Start::Snapshot).await.expect("subscribe");
    let request = RequestId::random();
    waiter.command_as(request, acquire(Some(true))).await.expect("an answer").expect("a place in the queue");
    let held = run.writer.wait("the fence", |f| f["payload"]["result"]["fence"].as_i64()).await;
    let node = NodeRef { node_id: run.node, fence: Some(glassbox_protocol::Fence(held)) };
    run.writer.command(Command::NodeDelete(node)).await.expect("delete");
    crate::support::wait_until("the second answer", crate::support::DEADLINE, async || {
        waiter.answers(request).len() == 2
    })
    .await;
    assert_eq!(waiter.answers(request)[1].clone().expect_err("it is gone").code, ErrorCode::Gone);
}
