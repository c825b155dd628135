//! Locks in the older dialect: the user's, for five minutes, told to everybody once.

use glassbox_protocol::Command;
use glassbox_protocol::client::{LockAcquire, LockRenew};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::mirror::Start;
use crate::support::v1_client::V1Client;
use crate::v1::{code, page};

#[tokio::test]
async fn a_lock_is_the_users_and_everybody_hears_of_it_once() {
    let (scene, page) = page().await;
    let node = scene.node("A").await;
    let bob = scene.person("bob", "member").await;
    let other = V1Client::page(&scene.world, 0, &bob).await;
    other.subscribe(&format!("node:{node}")).await;
    let since = page.position();
    let taken = page.answer("lock_acquire", json!({ "nodeId": node })).await;
    assert_eq!(taken["type"], "lock_acquired");
    let lock = &taken["payload"];
    assert_eq!((&lock["nodeId"], &lock["lockedBy"]), (&json!(node), &json!(scene.ada.id)));
    assert_eq!((&lock["lockedByEmail"], &lock["userEmail"]), (&json!("ada@example.org"), &json!("ada@example.org")));
    assert!(lock["fence"].is_number() && lock["userName"] == "ada" && lock["projectId"] == json!(scene.project));
    let told = other.wait_type(0, "lock_acquired").await;
    assert_eq!((told.get("fence"), &told["lockedBy"]), (None, &json!(scene.ada.id)));
    assert_eq!((&told["lockedAt"], &told["expiresAt"]), (&lock["lockedAt"], &lock["expiresAt"]));

    // The same user again renews it, here and over REST; nobody else hears.
    let again = page.answer("lock_acquire", json!({ "nodeId": node })).await;
    assert_eq!(again["payload"]["fence"], lock["fence"]);
    assert_eq!(again["payload"]["lockedAt"], lock["lockedAt"]);
    let rest = scene.ok(Method::POST, &format!("/nodes/{node}/lock"), Value::Null).await;
    assert_eq!((&rest["fence"], &rest["renewed"]), (&lock["fence"], &json!(true)));
    let held = other.answer("lock_acquire", json!({ "nodeId": node })).await;
    assert_eq!(code(&held), "LOCK_HELD");
    let held = &held["payload"];
    assert_eq!((&held["lockedBy"], &held["lockedByEmail"]), (&json!(scene.ada.id), &json!("ada@example.org")));
    assert!(held["lockedByName"] == "ada" && held["expiresAt"].is_string() && held["message"].is_string());
    assert_eq!(code(&other.answer("lock_release", json!({ "nodeId": node })).await), "LOCK_HELD");

    let released = page.answer("lock_release", json!({ "nodeId": node })).await;
    assert_eq!((&released["type"], &released["payload"]["reason"]), (&json!("lock_released"), &json!("released")));
    let told = other.wait_type(0, "lock_released").await;
    assert_eq!((&told["lockedBy"], &told["releasedBy"]), (&json!(scene.ada.id), &json!(scene.ada.id)));
    // Also if it was not locked.
    assert_eq!(page.answer("lock_release", json!({ "nodeId": node })).await["type"], "lock_released");
    scene.node("after it").await;
    page.wait_since(since, "the next event", |f| (f["payload"]["node"]["title"] == "after it").then_some(())).await;
    let own: Vec<Value> = page
        .frames_since(since)
        .into_iter()
        .filter(|f| f["type"].as_str().is_some_and(|t| t.starts_with("lock_")))
        .collect();
    assert_eq!(own.len(), 4, "the answers and no second copies: {own:#?}");
    assert_eq!(other.payloads(0, "lock_acquired").len(), 1, "renewals are nobody's news");
}

#[tokio::test]
async fn lock_requests_say_why_they_are_refused() {
    let (scene, page) = page().await;
    let node = scene.node("A").await;
    let gone = scene.node("B").await;
    scene.ok(Method::DELETE, &format!("/nodes/{gone}"), Value::Null).await;
    let ask = async |page: &V1Client, node: &str| {
        let answer = page.answer("lock_acquire", json!({ "nodeId": node })).await;
        code(&answer).to_owned()
    };
    assert_eq!(ask(&page, &uuid::Uuid::new_v4().to_string()).await, "NOT_FOUND");
    assert_eq!(ask(&page, &gone).await, "NOT_FOUND");
    assert_eq!(ask(&page, "node-1").await, "BAD_MESSAGE");
    let eve = scene.world.user("eve").await;
    assert_eq!(ask(&V1Client::page(&scene.world, 0, &eve).await, &node).await, "NOT_FOUND");
    let guest = scene.person("gus", "guest").await;
    let body = json!({ "userId": guest.id, "role": "viewer" });
    scene.ok(Method::POST, &format!("/projects/{}/members", scene.project), body).await;
    assert_eq!(ask(&V1Client::page(&scene.world, 0, &guest).await, &node).await, "FORBIDDEN");
    // A lock of a session of glassbox.v2 is that session's.
    let newer: Client = scene.world.client(0, &scene.ada).await;
    newer.subscribe(scene.project, Start::Live).await.expect("subscribe");
    let id = node.parse().expect("an id");
    let ack = newer.command(Command::LockAcquire(LockAcquire { node_id: id, ttl_ms: None, wait: None })).await;
    assert_eq!(page.wait_type(0, "lock_acquired").await["lockedBy"], json!(scene.ada.id));
    assert_eq!(ask(&page, &node).await, "LOCK_HELD");
    let fence = serde_json::from_value(ack.expect("taken").result.expect("a grant")["fence"].clone()).expect("a fence");
    let since = page.position();
    newer
        .command(Command::LockRenew(LockRenew { node_id: id, fence: Some(fence), ttl_ms: None }))
        .await
        .expect("renewed");
    scene.world.sql(&format!("update nodes set lock_expires_at = now() - interval '1 s' where id = '{node}'")).await;
    let ended = page.wait_type(since, "lock_released").await;
    assert_eq!((&ended["reason"], ended.get("releasedBy")), (&json!("expired"), None));
    assert_eq!(page.payloads(since, "lock_acquired"), Vec::<Value>::new(), "renewals are no news");
}

#[tokio::test]
async fn the_present_locks_are_told_at_the_first_subscribe_and_outlive_their_connection() {
    let (scene, page) = page().await;
    let node = scene.node("A").await;
    page.answer("lock_acquire", json!({ "nodeId": node })).await;
    page.close_with(1000);
    assert_eq!(page.closed().await, Some(1001), "never 1000, whatever the client says");
    let later = V1Client::page(&scene.world, 0, &scene.ada).await;
    for (n, channel) in [format!("project:{}", scene.project), format!("node:{node}")].iter().enumerate() {
        for _ in 0..3 {
            later.subscribe(channel).await;
            later.send("unsubscribe", json!({ "channel": channel }));
        }
        later.settled().await;
        let locks = later.payloads(0, "lock_acquired");
        assert_eq!(locks.len(), n + 1, "once for each channel");
        assert_eq!((&locks[n]["nodeId"], &locks[n]["lockedByEmail"]), (&json!(node), &json!("ada@example.org")));
    }
}

#[tokio::test]
async fn a_lock_that_ends_otherwise_says_how() {
    let (scene, page) = page().await;
    let bob = scene.person("bob", "member").await;
    let other = V1Client::page(&scene.world, 0, &bob).await;
    let (broken, deleted, left) = (scene.node("A").await, scene.node("B").await, scene.node("C").await);
    for node in [&broken, &deleted, &left] {
        assert_eq!(other.answer("lock_acquire", json!({ "nodeId": node })).await["type"], "lock_acquired");
    }
    let ended = async |since: usize, node: &str| {
        page.wait_since(since, "the end of the lock", |f| {
            (f["type"] == "lock_released" && f["payload"]["nodeId"] == node).then(|| f["payload"]["reason"].clone())
        })
        .await
    };
    let since = page.position();
    scene.ok(Method::POST, &format!("/nodes/{broken}/lock/break"), Value::Null).await;
    assert_eq!(ended(since, &broken).await, "broken");
    scene.world.sql(&format!("update nodes set deleted_at = now(), locked_by = null where id = '{deleted}'")).await;
    assert_eq!(ended(since, &deleted).await, "deleted");
    scene.world.sql(&format!("delete from org_members where user_id = '{}'", bob.id)).await;
    assert_eq!(ended(since, &left).await, "holder_removed");
}

#[tokio::test]
async fn whoever_takes_a_lock_that_was_just_given_back_hears_last_that_it_is_theirs() {
    let (scene, page) = page().await;
    let bob = scene.person("bob", "member").await;
    let other = V1Client::page(&scene.world, 0, &bob).await;
    let node = scene.node("A").await;
    for n in 0..10 {
        assert_eq!(other.answer("lock_acquire", json!({ "nodeId": node })).await["type"], "lock_acquired");
        let since = page.position();
        other.send("lock_release", json!({ "nodeId": node }));
        while page.answer("lock_acquire", json!({ "nodeId": node })).await["type"] == "error" {}
        let title = format!("after it {n}");
        scene.node(&title).await;
        page.wait_since(since, "the next event", |f| (f["payload"]["node"]["title"] == title.as_str()).then_some(()))
            .await;
        let locks: Vec<Value> =
            page.frames_since(since).into_iter().filter(|f| f["payload"]["lockedBy"].is_string()).collect();
        let last = locks.iter().rfind(|f| f["type"] != "error").expect("a lock frame");
        assert_eq!((&last["type"], &last["payload"]["lockedBy"]), (&json!("lock_acquired"), &json!(scene.ada.id)));
        page.answer("lock_release", json!({ "nodeId": node })).await;
    }
}
