//! Who may see what: at the subscribe, with every command, and while a socket is open.

use std::time::Duration;

use glassbox_protocol::{ErrorCode, NodeId, ProjectId};
use serde_json::json;

use crate::rooms::{create, retitle};
use crate::support::mirror::Start;
use crate::support::wait_until;
use crate::support::world::World;

#[tokio::test]
async fn a_foreign_project_and_a_random_one_are_answered_alike() {
    let world = World::start().await;
    let (ann, eve) = (world.user("ann").await, world.user("eve").await);
    let project = world.project(&ann).await;
    let anns = world.client(0, &ann).await;
    anns.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let node = NodeId::random();
    anns.command(create(node, "secret")).await.expect("create");

    let eves = world.client(0, &eve).await;
    let foreign = eves.subscribe(project, Start::Snapshot).await.expect_err("foreign");
    let random = eves.subscribe(ProjectId::random(), Start::Snapshot).await.expect_err("random");
    assert_eq!(json!(foreign), json!(random));
    let foreign = eves.command(retitle(node, "mine")).await.expect_err("foreign");
    let random = eves.command(retitle(NodeId::random(), "mine")).await.expect_err("random");
    assert_eq!(foreign.code, ErrorCode::NotFound);
    assert_eq!(json!(foreign), json!(random));
}

#[tokio::test]
async fn a_viewer_reads_and_does_not_write() {
    let world = World::start().await;
    let (ann, vic) = (world.user("ann").await, world.user("vic").await);
    let project = world.project(&ann).await;
    world.join(world.org(&ann).await, &vic, "guest").await;
    world
        .sql(&format!(
            "insert into project_members (project_id, user_id, role) values ('{project}', '{}', 'viewer')",
            vic.id
        ))
        .await;
    let vics = world.client(0, &vic).await;
    vics.subscribe(project, Start::Snapshot).await.expect("subscribe");
    assert_eq!(vics.command(create(NodeId::random(), "x")).await.expect_err("a viewer").code, ErrorCode::Forbidden);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_hears_nothing_more_on_any_instance_and_is_sent_away() {
    let world = World::with_instances(2).await;
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let project = world.project(&ann).await;
    let org = world.org(&ann).await;
    world.join(org, &bob, "member").await;
    let anns = world.client(0, &ann).await;
    let bobs = [world.client(0, &bob).await, world.client(1, &bob).await];
    anns.subscribe(project, Start::Snapshot).await.expect("subscribe");
    for client in &bobs {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let node = NodeId::random();
    anns.command(create(node, "before")).await.expect("create");
    for client in &bobs {
        client.wait_mirror("the node", project, |m| m.node(node).map(|_| ())).await;
    }
    // The removal and a secret in one transaction: the secret must not slip through.
    world
        .sql(&format!(
            "begin; delete from org_members where user_id = '{}'; \
             delete from project_members where user_id = '{}'; commit; \
             update nodes set title = 'secret' where id = '{node}'",
            bob.id, bob.id
        ))
        .await;
    let removed_at = tokio::time::Instant::now();
    for client in &bobs {
        assert_eq!(client.closed().await.code, Some(4503));
        assert!(client.frames_since(0).iter().any(|f| f["payload"]["reason"] == "revoked"));
    }
    assert!(removed_at.elapsed() < Duration::from_secs(1), "{:?}", removed_at.elapsed());
    anns.wait_mirror("the secret", project, |m| m.node(node).filter(|n| n.title == "secret").map(|_| ())).await;

    let back = world.client(1, &bob).await;
    assert_eq!(back.subscribe(project, Start::Live).await.expect_err("removed").code, ErrorCode::NotFound);
    assert_eq!(back.command(retitle(node, "still mine")).await.expect_err("removed").code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_deleted_project_closes_its_rooms() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    client.command(create(NodeId::random(), "node")).await.expect("create");
    world.sql(&format!("delete from projects where id = '{project}'")).await;
    assert_eq!(client.closed().await.code, Some(4504));
    let gone = world.client(0, &ann).await;
    assert_eq!(gone.subscribe(project, Start::Snapshot).await.expect_err("gone").code, ErrorCode::NotFound);
    wait_until("the room's end", Duration::from_secs(5), async || world.instance(0).app.rooms.find(project).is_none())
        .await;
}
