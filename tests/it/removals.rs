//! What those lose who are removed or made less: rooms, locks and projects, on every instance and for every writer.

use glassbox_protocol::client::LockAcquire;
use glassbox_protocol::{Command, ErrorCode, NodeId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::members::one;
use crate::orgs::{Team, call, delete, get, patch, post, value};
use crate::rooms::{create, retitle};
use crate::support::mirror::Start;
use crate::support::world::World;

fn lock(node_id: NodeId) -> Command {
    Command::LockAcquire(LockAcquire { node_id, ttl_ms: Some(600_000), wait: None })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_from_an_organization_loses_rooms_locks_and_projects_everywhere() {
    let world = World::with_instances(2).await;
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let org = world.org(&ann).await;
    let projects = [world.project(&ann).await, world.project(&ann).await];
    world.join(org, &bob, "member").await;
    let elsewhere = world.project(&bob).await;
    post(
        &world,
        &format!("/api/v1/projects/{}/members", projects[0]),
        &ann,
        &json!({"userId": bob.id, "role": "admin"}),
    )
    .await;

    let anns = world.client(0, &ann).await;
    let bobs = [world.client(0, &bob).await, world.client(1, &bob).await];
    let mut nodes = Vec::new();
    for (project, client) in projects.iter().zip(&bobs) {
        anns.subscribe(*project, Start::Snapshot).await.expect("subscribe");
        client.subscribe(*project, Start::Snapshot).await.expect("subscribe");
        let node = NodeId::random();
        client.command(create(node, "node")).await.expect("create");
        client.command(lock(node)).await.expect("a lock");
        nodes.push(node);
    }
    let at_home = world.client(1, &bob).await;
    at_home.subscribe(elsewhere, Start::Snapshot).await.expect("subscribe");
    let own = NodeId::random();
    at_home.command(create(own, "node")).await.expect("create");
    at_home.command(lock(own)).await.expect("a lock");

    assert_eq!(delete(&world, &one(org, &bob), &ann).await.0, 204);
    for client in &bobs {
        assert_eq!(client.closed().await.code, Some(4503));
    }
    for node in &nodes {
        let released = anns
            .wait("the end of the lock", |f| {
                (f["type"] == "lock_released" && f["payload"]["nodeId"] == json!(node)).then(|| f.clone())
            })
            .await;
        assert_eq!((&released["payload"]["reason"], &released["by"]["id"]), (&json!("holder_removed"), &json!(ann.id)));
    }
    let removed = anns.wait("the removal", |f| (f["type"] == "member_removed").then(|| f.clone())).await;
    assert_eq!(removed["payload"], json!({"userId": bob.id}));
    assert!(!at_home.is_closed());
    let other_tab = world.client(0, &bob).await;
    other_tab.subscribe(elsewhere, Start::Live).await.expect("subscribe");
    let refused = other_tab.command(retitle(own, "mine")).await.expect_err("the lock of the first tab");
    assert_eq!(refused.code, ErrorCode::LockHeld, "locks elsewhere stay");
    let rows: i64 = value(
        &world,
        &format!("select count(*) from project_members where user_id = '{}' and project_id <> '{elsewhere}'", bob.id),
    )
    .await;
    assert_eq!(rows, 0);
    let told: Vec<String> = {
        let sql = "select action from audit_log where action like '%removed' order by action";
        sqlx::query_scalar(sql).fetch_all(&world.database.superuser()).await.expect("entries")
    };
    assert_eq!(told, ["org_member.removed"], "one change, one entry");
    // Back again, they are what everybody is.
    world.join(org, &bob, "member").await;
    assert_eq!(get(&world, &format!("/api/v1/projects/{}", projects[0]), &bob).await.1["role"], "member");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_becomes_a_viewer_or_guest_loses_locks_and_keeps_what_they_may_see() {
    let world = World::with_instances(2).await;
    let team = Team::gather(&world).await;
    let project = world.project(&team.owner).await;
    let path = format!("/api/v1/projects/{project}/members");
    let bobs = world.client(1, &team.member).await;
    bobs.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let node = NodeId::random();
    bobs.command(create(node, "node")).await.expect("create");
    let lose_lock = async |change: (Method, String, Value)| {
        bobs.command(lock(node)).await.expect("a lock");
        let since = bobs.position();
        let (method, path, body) = change;
        let (status, answer) = call(&world, method, &path, &team.owner, &body).await;
        assert!(status < 300, "{path} {body}: {answer}");
        let reason = bobs
            .wait_since(since, "the end of the lock", |f| {
                (f["type"] == "lock_released").then(|| f["payload"]["reason"].clone())
            })
            .await;
        assert_eq!(reason, "holder_removed", "{path} {body}");
        assert_eq!(bobs.command(retitle(node, "x")).await.expect_err("a viewer").code, ErrorCode::Forbidden);
    };
    let mine = format!("{path}/{}", team.member.id);
    lose_lock((Method::POST, path.clone(), json!({"userId": team.member.id, "role": "viewer"}))).await;
    assert_eq!(patch(&world, &mine, &team.owner, &json!({"role": "admin"})).await.0, 200);
    lose_lock((Method::PATCH, mine.clone(), json!({"role": "viewer"}))).await;
    assert_eq!(patch(&world, &mine, &team.owner, &json!({"role": "member"})).await.0, 200);
    lose_lock((Method::PATCH, one(team.org, &team.member), json!({"role": "guest"}))).await;
    assert_eq!(patch(&world, &one(team.org, &team.member), &team.owner, &json!({"role": "member"})).await.0, 200);

    // A lowered role that still writes leaves the lock alone.
    patch(&world, &mine, &team.owner, &json!({"role": "admin"})).await;
    bobs.command(lock(node)).await.expect("a lock");
    assert_eq!(patch(&world, &mine, &team.owner, &json!({"role": "member"})).await.0, 200);
    assert_eq!(delete(&world, &mine, &team.owner).await.0, 204, "a member of the organization still writes");
    let locked: i64 = value(&world, "select count(*) from nodes where locked_by is not null").await;
    assert_eq!(locked, 1);
    assert!(!bobs.is_closed());
    bobs.assert_sound();
}

#[tokio::test]
async fn a_foreign_writer_who_takes_the_right_to_write_ends_the_lock_as_well() {
    let world = World::start().await;
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let (org, project) = (world.org(&ann).await, world.project(&ann).await);
    world.join(org, &bob, "member").await;
    let (anns, bobs) = (world.client(0, &ann).await, world.client(0, &bob).await);
    anns.subscribe(project, Start::Snapshot).await.expect("subscribe");
    bobs.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let node = NodeId::random();
    anns.command(create(node, "node")).await.expect("create");
    bobs.command(lock(node)).await.expect("a lock");
    world.sql(&format!("delete from org_members where user_id = '{}'", bob.id)).await;
    let released = anns.wait("the end of the lock", |f| (f["type"] == "lock_released").then(|| f.clone())).await;
    assert_eq!((&released["payload"]["reason"], &released["by"]), (&json!("holder_removed"), &Value::Null));
}
