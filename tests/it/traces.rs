//! Traces: what an agent does, written by a program that knows nothing of the server, numbered and live.

use glassbox_protocol::client::From;
use glassbox_protocol::entity::{Actor, TraceEvent};
use glassbox_protocol::{Channel, ErrorCode, Event, EventFrame, ExecutionId, NodeId, ProjectId, Seq};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::channels::snapshot;
use crate::rooms::create;
use crate::support::client::Client;
use crate::support::mirror::{Start, read_log};
use crate::support::world::{Person, World};

/// A node with an execution that runs.
pub struct Run {
    pub ann: Person,
    pub project: ProjectId,
    pub node: NodeId,
    pub execution: ExecutionId,
    pub writer: Client,
}

impl Run {
    pub async fn new(world: &World) -> Self {
        let ann = world.user("ann").await;
        let project = world.project(&ann).await;
        let writer = world.client(0, &ann).await;
        writer.subscribe(project, Start::Snapshot).await.expect("subscribe");
        let (node, execution) = (NodeId::random(), ExecutionId::random());
        writer.command(create(node, "node")).await.expect("create");
        world
            .sql(&format!(
                "insert into agent_executions (id, node_id, status) values ('{execution}', '{node}', 'running')"
            ))
            .await;
        Self { ann, project, node, execution, writer }
    }

    pub fn channel(&self) -> Channel {
        Channel::Execution(self.execution)
    }
}

/// Writes a trace event as a worker does: one statement, no context, no transaction of its own.
pub async fn trace(worker: &PgPool, execution: ExecutionId, kind: &str, data: &Value) {
    sqlx::query("insert into agent_trace_events (id, execution_id, event_type, event_data) values ($1, $2, $3, $4)")
        .bind(Uuid::new_v4())
        .bind(execution.0)
        .bind(kind)
        .bind(data)
        .execute(worker)
        .await
        .expect("a trace event");
}

pub async fn set_status(worker: &PgPool, execution: ExecutionId, status: &str) {
    sqlx::query("update agent_executions set status = $2 where id = $1")
        .bind(execution.0)
        .bind(status)
        .execute(worker)
        .await
        .expect("a status");
}

/// The trace events among frames, by n.
pub fn steps(events: &[EventFrame]) -> Vec<&TraceEvent> {
    events
        .iter()
        .filter_map(|frame| match &frame.event {
            Event::TraceEvent(step) => Some(&**step),
            _ => None,
        })
        .collect()
}

async fn wait_steps(client: &Client, channel: Channel, count: usize) -> Vec<EventFrame> {
    client
        .wait_strand(&format!("{count} steps"), channel, |s| {
            (steps(&s.events).len() >= count).then(|| s.events.clone())
        })
        .await
}

/// The newest `trace_state` of a channel.
fn state_of(client: &Client, channel: Channel) -> Value {
    let states = client.frames_since(0).into_iter().rev();
    let mut states = states.filter(|f| f["type"] == "trace_state" && f["payload"]["channel"] == channel.to_string());
    states.next().expect("a trace_state")["payload"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_of_two_writers_are_numbered_without_holes_and_live_on_both_instances() {
    let world = World::with_instances(2).await;
    let run = Run::new(&world).await;
    let channel = run.channel();
    let viewers = [world.client(0, &run.ann).await, world.client(1, &run.ann).await];
    for viewer in &viewers {
        viewer.open(channel, None).await.expect("open");
    }
    let before = read_log(&world.database.superuser(), run.project).await.len();
    let worker = world.database.worker();
    let write = async |name: &str| {
        for n in 0..40 {
            trace(&worker, run.execution, "llm_call", &json!({ "writer": name, "n": n })).await;
            // What is rolled back leaves no hole.
            let mut tx = worker.begin().await.expect("begin");
            sqlx::query("insert into agent_trace_events (execution_id, event_type, event_data) values ($1, 'x', '{}')")
                .bind(run.execution.0)
                .execute(&mut *tx)
                .await
                .expect("a trace event");
            tx.rollback().await.expect("rollback");
        }
    };
    tokio::join!(write("a"), write("b"));
    for viewer in &viewers {
        let events = wait_steps(viewer, channel, 80).await;
        let numbers: Vec<i64> = steps(&events).iter().map(|step| step.n).collect();
        assert_eq!(numbers, (1..=80).collect::<Vec<i64>>());
        for name in ["a", "b"] {
            let own: Vec<i64> = steps(&events)
                .iter()
                .filter(|step| step.event_data["writer"] == name)
                .filter_map(|step| step.event_data["n"].as_i64())
                .collect();
            assert_eq!(own, (0..40).collect::<Vec<i64>>(), "in the order of its writer");
        }
        assert!(events.iter().all(|frame| frame.by == Some(Actor::Execution { id: run.execution })));
        viewer.assert_sound();
    }
    let after = read_log(&world.database.superuser(), run.project).await.len();
    assert_eq!(after, before, "the project's log has none of it");
    run.writer.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_viewer_gets_the_summary_the_tail_and_what_follows_from_one_position() {
    let world = World::with_instances(2).await;
    let run = Run::new(&world).await;
    let channel = run.channel();
    let worker = world.database.worker();
    // One statement, more than a tail, for two executions at once.
    let other = ExecutionId::random();
    let node = NodeId::random();
    run.writer.command(create(node, "other")).await.expect("create");
    world
        .sql(&format!("insert into agent_executions (id, node_id, status) values ('{other}', '{node}', 'running')"))
        .await;
    sqlx::query(
        "insert into agent_trace_events (execution_id, event_type, event_data)
         select x, 'tool_call', jsonb_build_object('i', g) from generate_series(1, 250) g, unnest($1::uuid[]) x",
    )
    .bind(vec![run.execution.0, other.0])
    .execute(&worker)
    .await
    .expect("trace events");
    let viewer = world.client(1, &run.ann).await;
    viewer.open(channel, snapshot()).await.expect("open");
    let state = state_of(&viewer, channel);
    assert_eq!(state["execution"]["id"], run.execution.to_string());
    assert_eq!(state["execution"]["status"], "running");
    assert_eq!(state["total"], 250);
    let tail: Vec<i64> = state["events"].as_array().expect("events").iter().filter_map(|e| e["n"].as_i64()).collect();
    assert_eq!(tail, (51..=250).collect::<Vec<i64>>());
    let in_order = state["events"].as_array().expect("events").iter().all(|e| e["n"] == e["eventData"]["i"]);
    assert!(in_order, "within a statement they are numbered as they were given");

    trace(&worker, run.execution, "llm_call", &json!({})).await;
    let events = wait_steps(&viewer, channel, 1).await;
    assert_eq!(steps(&events)[0].n, 251);
    viewer.assert_sound();

    // What was missed comes, exactly, and what cannot be is refused.
    let strand = viewer.strand(channel);
    viewer.cut();
    for n in 0..30 {
        trace(&worker, run.execution, "llm_call", &json!({ "missed": n })).await;
    }
    let epoch = strand.epoch.expect("subscribed");
    for index in [0, 1] {
        let back = world.client(index, &run.ann).await;
        back.open(channel, Some(From::Resume { epoch, seq: strand.seq })).await.expect("resume");
        let events = back.strand(channel).events;
        assert_eq!(steps(&events).iter().map(|s| s.n).collect::<Vec<_>>(), (252..=281).collect::<Vec<i64>>());
        back.assert_sound();
    }
    let ahead = world.client(0, &run.ann).await;
    let from = From::Resume { epoch, seq: Seq(1_000_000) };
    ahead.open(channel, Some(from)).await.expect("reset");
    assert_eq!((ahead.strand(channel).resets, &state_of(&ahead, channel)["total"]), (1, &json!(281)));
    ahead.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_come_while_an_agent_works_miss_nothing_and_get_nothing_twice() {
    const STEPS: i64 = 300;
    let world = World::with_instances(2).await;
    let run = Run::new(&world).await;
    let channel = run.channel();
    let worker = world.database.worker();
    let working = async {
        for n in 0..STEPS {
            trace(&worker, run.execution, "llm_call", &json!({ "n": n })).await;
        }
    };
    let coming = async {
        let mut clients = Vec::new();
        for n in 0..10 {
            let client = world.client(n % 2, &run.ann).await;
            client.open(channel, if n % 3 == 0 { None } else { snapshot() }).await.expect("open");
            clients.push(client);
        }
        clients
    };
    let ((), clients) = tokio::join!(working, coming);
    trace(&worker, run.execution, "execution_complete", &json!({})).await;
    for (n, client) in clients.iter().enumerate() {
        let is_end = |frame: &EventFrame| matches!(&frame.event, Event::TraceEvent(step) if step.n == STEPS + 1);
        let events = client
            .wait_strand("the last step", channel, |s| s.events.last().is_some_and(is_end).then(|| s.events.clone()))
            .await;
        let numbers: Vec<i64> = steps(&events).iter().map(|step| step.n).collect();
        let first = match n % 3 {
            0 => numbers[0],
            _ => state_of(client, channel)["total"].as_i64().expect("a number") + 1,
        };
        assert_eq!(numbers, (first..=STEPS + 1).collect::<Vec<i64>>());
        client.assert_sound();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_step_is_cut_and_a_flood_closes_nobody() {
    let world = World::builder().limits(|limits| limits.outbound_bytes = 300_000).start().await;
    let run = Run::new(&world).await;
    let channel = run.channel();
    let worker = world.database.worker();
    let viewer = world.client(0, &run.ann).await;
    viewer.open(channel, None).await.expect("open");
    let data = json!({ "content": "x".repeat(200_000), "output_id": "o1", "tokens": 5 });
    trace(&worker, run.execution, "output_added", &data).await;
    let events = wait_steps(&viewer, channel, 1).await;
    let cut = &steps(&events)[0].event_data;
    assert_eq!((&cut["truncated"], &cut["output_id"], &cut["tokens"]), (&json!(true), &json!("o1"), &json!(5)));
    assert!(cut["content"].as_str().is_some_and(|text| !text.is_empty() && text.len() < 65_536));

    // Several times what may wait for one client, in one commit.
    sqlx::query(
        "insert into agent_trace_events (execution_id, event_type, event_data)
         select $1, 'llm_call', jsonb_build_object('text', repeat('y', 10000)) from generate_series(1, 150)",
    )
    .bind(run.execution.0)
    .execute(&worker)
    .await
    .expect("trace events");
    let events = wait_steps(&viewer, channel, 151).await;
    assert_eq!(steps(&events).iter().map(|s| s.n).collect::<Vec<_>>(), (1..=151).collect::<Vec<i64>>());
    assert!(!viewer.is_closed());
    viewer.assert_sound();
    let late = world.client(0, &run.ann).await;
    late.open(channel, snapshot()).await.expect("open");
    let tail = state_of(&late, channel)["events"].to_string().len();
    assert!((100_000..262_144 + 2_000).contains(&tail), "{tail} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_read_the_project_finds_no_trace_and_who_is_removed_sees_none_of_what_follows() {
    let world = World::with_instances(2).await;
    let run = Run::new(&world).await;
    let channel = run.channel();
    let (stranger, bob) = (world.user("stranger").await, world.user("bob").await);
    world.join(world.org(&run.ann).await, &bob, "member").await;
    let outsider = world.client(0, &stranger).await;
    let refused = outsider.open(channel, None).await.expect_err("a stranger");
    assert_eq!(refused.code, ErrorCode::NotFound);
    let unknown = Channel::Execution(ExecutionId::random());
    assert_eq!(outsider.open(unknown, None).await.expect_err("unknown"), refused);

    for index in [0, 1] {
        let bobs = world.client(index, &bob).await;
        bobs.open(channel, snapshot()).await.expect("open");
        world
            .sql(&format!(
                "begin;
                 insert into agent_trace_events (execution_id, event_type, event_data)
                 values ('{}', 'llm_call', '{{\"text\": \"secret\"}}');
                 delete from org_members where user_id = '{}';
                 commit",
                run.execution, bob.id
            ))
            .await;
        assert_eq!(bobs.closed().await.code, Some(4503));
        assert!(!bobs.frames_since(0).iter().any(|f| f.to_string().contains("secret")), "seen after the removal");
        world.sql("delete from agent_trace_events").await;
        world.join(world.org(&run.ann).await, &bob, "member").await;
    }

    let anns = world.client(1, &run.ann).await;
    anns.open(channel, None).await.expect("open");
    world.sql(&format!("delete from projects where id = '{}'", run.project)).await;
    assert_eq!(anns.closed().await.code, Some(4504));
    let reasons: Vec<Value> = anns
        .frames_since(0)
        .into_iter()
        .filter(|f| f["type"] == "unsubscribed")
        .map(|f| f["payload"].clone())
        .collect();
    assert_eq!(reasons, [json!({ "channel": channel.to_string(), "reason": "deleted" })]);
}
