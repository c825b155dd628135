//! Rooms as their members see them: commands of one client reach all others, on all instances, through the log.

use std::time::Duration;

use glassbox_protocol::client::{DependencyAdd, Move, NodeChanges, NodeCreate, NodeMove, NodeRef, NodeUpdate};
use glassbox_protocol::entity::Position;
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{Command, ErrorCode, NodeId, ProjectId, RequestId};

use crate::support::client::Client;
use crate::support::mirror::{Start, fold, read_log, read_tables};
use crate::support::world::World;

pub fn create(id: NodeId, title: &str) -> Command {
    Command::NodeCreate(NodeCreate {
        project_id: None,
        id: Some(id),
        title: title.to_owned(),
        description: None,
        status: None,
        parent_id: None,
        position: None,
        metadata: None,
        author_type: None,
        supervisor_user_id: None,
    })
}

pub fn retitle(node_id: NodeId, title: &str) -> Command {
    update(node_id, NodeChanges { title: Some(title.to_owned()), ..NodeChanges::default() })
}

pub fn update(node_id: NodeId, changes: NodeChanges) -> Command {
    Command::NodeUpdate(NodeUpdate { node_id, changes, base_version: None, fence: None })
}

pub fn place(node_id: NodeId, x: f64) -> Command {
    Command::NodeMove(NodeMove { moves: vec![Move { node_id, position: Position { x, y: 0.0 } }] })
}

fn node_ref(node_id: NodeId) -> NodeRef {
    NodeRef { node_id, fence: None }
}

async fn expect_title(client: &Client, project: ProjectId, node: NodeId, title: &str) {
    client
        .wait_mirror(&format!("the title {title}"), project, |m| m.node(node).filter(|n| n.title == title).map(|_| ()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_reaches_members_on_both_instances_and_psql_reaches_them_too() {
    let world = World::with_instances(2).await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let here = world.client(0, &ann).await;
    let there = world.client(1, &ann).await;
    for client in [&here, &there] {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let node = NodeId::random();
    let ack = here.command(create(node, "first")).await.expect("create");
    assert_eq!(ack.outcome, Outcome::Applied);
    expect_title(&here, project, node, "first").await;
    expect_title(&there, project, node, "first").await;

    there.command(retitle(node, "second")).await.expect("update");
    expect_title(&here, project, node, "second").await;

    // Far above what NOTIFY carries.
    let long = "x".repeat(20_000);
    world.sql(&format!("update nodes set title = 'third', description = '{long}' where id = '{node}'")).await;
    for client in [&here, &there] {
        expect_title(client, project, node, "third").await;
        let description = client.with_mirror(project, |m| m.node(node).and_then(|n| n.description.clone()));
        assert_eq!(description.as_deref(), Some(long.as_str()));
        client.assert_sound();
    }
}

#[tokio::test]
async fn every_command_has_the_effect_that_its_name_says() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let (a, b, c) = (NodeId::random(), NodeId::random(), NodeId::random());
    for (id, title) in [(a, "a"), (b, "b"), (c, "c")] {
        client.command(create(id, title)).await.expect("create");
    }

    let moved = client.command(place(a, 5.0)).await.expect("move");
    assert_eq!(moved.outcome, Outcome::Applied);
    assert_eq!(client.command(place(a, 5.0)).await.expect("move").outcome, Outcome::Unchanged);
    let far = client.command(place(a, 1e12)).await.expect("move far");
    assert_eq!(far.outcome, Outcome::Adjusted);
    assert_eq!(far.result.expect("what was stored")["moves"][0]["position"]["x"], 1e7);

    let under = |parent| update(b, NodeChanges { parent_id: Some(parent), ..NodeChanges::default() });
    client.command(under(Some(a))).await.expect("a parent");
    let cycle = client
        .command(update(a, NodeChanges { parent_id: Some(Some(b)), ..NodeChanges::default() }))
        .await
        .expect_err("a cycle");
    assert_eq!(cycle.code, ErrorCode::Cycle);

    let edge = DependencyAdd { source_node_id: a, target_node_id: c, source_output_id: None, target_input_id: None };
    let back = DependencyAdd { source_node_id: c, target_node_id: a, source_output_id: None, target_input_id: None };
    client.command(Command::DependencyAdd(edge)).await.expect("an edge");
    assert_eq!(client.command(Command::DependencyAdd(edge)).await.expect("again").outcome, Outcome::Unchanged);
    let ring = client.command(Command::DependencyAdd(back)).await.expect("a ring is allowed");
    assert_eq!(ring.details.expect("a warning")["cycle"], serde_json::json!([c, a, c]));

    let deleted = client.command(Command::NodeDelete(node_ref(a))).await.expect("delete");
    assert_eq!(deleted.result.expect("what went")["nodeIds"].as_array().map(Vec::len), Some(2));
    assert_eq!(client.command(retitle(a, "late")).await.expect_err("gone").code, ErrorCode::Gone);
    client.command(Command::NodeRestore(node_ref(a))).await.expect("restore");
    let unknown = client.command(retitle(NodeId::random(), "x")).await.expect_err("unknown");
    assert_eq!(unknown.code, ErrorCode::NotFound);

    let superuser = world.database.superuser();
    let log = read_log(&superuser, project).await;
    client.wait_mirror("the end of the log", project, |m| (m.seq == log.last()?.seq).then_some(())).await;
    let difference = fold(&log).difference(&read_tables(&superuser, project).await);
    assert_eq!(difference, "", "the log tells what the tables hold");
    assert!(client.mirror(project).node(b).is_some(), "what the delete took came back");
    client.assert_sound();
}

#[tokio::test]
async fn a_field_that_somebody_else_changed_is_a_conflict_and_other_fields_merge() {
    let world = World::start().await;
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let project = world.project(&ann).await;
    world.join(world.org(&ann).await, &bob, "member").await;
    let (anns, bobs) = (world.client(0, &ann).await, world.client(0, &bob).await);
    for client in [&anns, &bobs] {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let node = NodeId::random();
    anns.command(create(node, "one")).await.expect("create");
    assert_eq!(bobs.command(retitle(node, "two")).await.expect("update").version, Some(2));

    let on_one =
        |changes| Command::NodeUpdate(NodeUpdate { node_id: node, changes, base_version: Some(1), fence: None });
    let title = NodeChanges { title: Some("mine".into()), ..NodeChanges::default() };
    let conflict = anns.command(on_one(title)).await.expect_err("a conflict");
    assert_eq!(conflict.code, ErrorCode::VersionConflict);
    let details = conflict.details.expect("details");
    assert_eq!((&details["fields"][0], &details["current"]["title"]), (&"title".into(), &"two".into()));

    let status = NodeChanges { status: Some("in_progress".into()), ..NodeChanges::default() };
    assert_eq!(anns.command(on_one(status)).await.expect("another field").version, Some(3));
    let title =
        anns.wait_mirror("the merge", project, |m| m.node(node).filter(|n| n.version == 3).cloned()).await.title;
    assert_eq!(title, "two");
}

#[tokio::test]
async fn a_command_sent_twice_takes_effect_once_and_gets_the_same_answer() {
    let world = World::with_instances(2).await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let node = NodeId::random();
    let request = RequestId::random();
    let (first, second) = client.send_twice(request, create(node, "once")).await.expect("answers");
    let (first, second) = (first.expect("created"), second.expect("a repeat"));
    assert_eq!((first.seq, first.duplicate, second.duplicate), (second.seq, false, true));

    let elsewhere = Client::connect(world.address(1), &ann.token, client.id).await;
    elsewhere.subscribe(project, Start::Live).await.expect("subscribe");
    let third = elsewhere.command_as(request, create(node, "once")).await.expect("an answer").expect("a repeat");
    assert_eq!((third.seq, third.duplicate), (first.seq, true));
    let other_body = elsewhere.command_as(request, create(node, "twice")).await.expect("an answer");
    assert_eq!(other_body.expect_err("another body").code, ErrorCode::IdempotencyConflict);

    let created = read_log(&world.database.superuser(), project).await;
    let count = created.iter().filter(|e| e.private.request == Some(request)).count();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_bad_command_in_a_batch_fails_alone() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let nodes: Vec<NodeId> = (0..20).map(|_| NodeId::random()).collect();
    // While somebody else holds the project's head, commands gather into one batch.
    let mut foreign = world.database.superuser().begin().await.expect("begin");
    sqlx::query("select 1 from realtime.heads where stream_id = $1 for update")
        .bind(project.0)
        .execute(&mut *foreign)
        .await
        .expect("hold the head");
    let requests: Vec<RequestId> = nodes.iter().map(|_| RequestId::random()).collect();
    for (i, (node, request)) in nodes.iter().zip(&requests).enumerate() {
        // A reference that only the database knows to be wrong, and one that our own rules refuse.
        let command = match i {
            7 => Command::DependencyAdd(DependencyAdd {
                source_node_id: nodes[0],
                target_node_id: nodes[1],
                source_output_id: Some(NodeId::random().0),
                target_input_id: None,
            }),
            9 => retitle(NodeId::random(), "nobody"),
            _ => create(*node, "node"),
        };
        client.send(glassbox_protocol::ClientMessage::Command(command), Some(*request));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    foreign.rollback().await.expect("let go");
    for (i, request) in requests.iter().enumerate() {
        crate::support::wait_until("an answer", Duration::from_secs(10), async || !client.answers(*request).is_empty())
            .await;
        let answer = client.answers(*request).remove(0);
        match i {
            7 => assert_eq!(answer.expect_err("a bad reference").code, ErrorCode::Validation),
            9 => assert_eq!(answer.expect_err("no such node").code, ErrorCode::NotFound),
            _ => assert_eq!(answer.expect("created").outcome, Outcome::Applied, "command {i}"),
        }
    }
    client.assert_sound();
}
