//! Locks over REST: they belong to the user, and the WebSocket sees the same ones.

use glassbox_protocol::client::{LockAcquire, NodeChanges, NodeCreate, NodeUpdate};
use glassbox_protocol::server::Ack;
use glassbox_protocol::{Command, Error, ErrorCode, Fence, NodeId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::mirror::Start;
use crate::support::world::{Person, World};

async fn call(world: &World, who: &Person, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let request = world.http.request(method, world.url(0, path)).bearer_auth(&who.token);
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.unwrap_or_default())
}

async fn ok(client: &Client, command: Command) -> Ack {
    client.command(command).await.expect("an ack")
}

async fn refused(client: &Client, command: Command) -> Error {
    client.command(command).await.expect_err("a refusal")
}

fn create(title: &str) -> Command {
    Command::NodeCreate(NodeCreate {
        project_id: None,
        id: None,
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

fn retitle(node_id: NodeId, fence: Option<Fence>) -> Command {
    let changes = NodeChanges { title: Some(format!("{:?}", fence)), ..NodeChanges::default() };
    Command::NodeUpdate(NodeUpdate { node_id, changes, base_version: None, fence })
}

/// Ada, who owns the project, and Bob, who works there, each with a socket, and a node.
async fn scene(world: &World) -> (Person, Person, Client, Client, NodeId) {
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let project = world.project(&ada).await;
    world.join(world.org(&ada).await, &bob, "member").await;
    let (a, b) = (world.client(0, &ada).await, world.client(0, &bob).await);
    a.subscribe(project, Start::Snapshot).await.expect("a subscription");
    b.subscribe(project, Start::Snapshot).await.expect("a subscription");
    let made = ok(&a, create("shared")).await;
    let node = serde_json::from_value(made.result.expect("a result")["nodeId"].clone()).expect("an id");
    (ada, bob, a, b, node)
}

#[tokio::test]
async fn a_lock_over_rest_belongs_to_the_user_and_blocks_others_everywhere() {
    let world = World::start().await;
    let (ada, bob, a, b, node) = scene(&world).await;
    let lock = format!("/api/v1/nodes/{node}/lock");

    let (status, taken) = call(&world, &ada, Method::POST, &lock, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{taken}");
    assert_eq!((&taken["success"], &taken["renewed"], &taken["nodeId"]), (&json!(true), &json!(false), &json!(node)));
    assert_eq!((&taken["lockedBy"], &taken["lockedByEmail"]), (&json!(ada.id), &json!("ada@example.org")));
    assert_eq!(taken["expiresAt"], taken["lockExpiresAt"]);
    let fence = Fence(taken["fence"].as_i64().expect("a fence"));

    // Any of Ada's tabs may write and take it again; nobody else may.
    ok(&a, retitle(node, None)).await;
    let (_, again) = call(&world, &ada, Method::POST, &lock, json!({"ttlMs": 5000})).await;
    assert_eq!((&again["renewed"], &again["fence"]), (&json!(true), &json!(fence)));
    assert_eq!(refused(&b, retitle(node, None)).await.code, ErrorCode::LockHeld);
    assert_eq!(refused(&b, retitle(node, Some(fence))).await.code, ErrorCode::LockLost);
    for (method, path) in [(Method::POST, lock.clone()), (Method::DELETE, lock.clone())] {
        let (status, refusal) = call(&world, &bob, method, &path, Value::Null).await;
        assert_eq!((status, refusal["code"].as_str()), (StatusCode::CONFLICT, Some("LOCK_HELD")));
        for place in [&refusal, &refusal["details"]] {
            assert_eq!((&place["lockedBy"], &place["lockedByName"]), (&json!(ada.id), &json!("ada")));
            assert!(place["lockExpiresAt"].is_string());
        }
    }

    let (status, _) = call(&world, &ada, Method::POST, &format!("{lock}/renew"), json!({"fence": fence})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(call(&world, &ada, Method::DELETE, &lock, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(call(&world, &ada, Method::DELETE, &lock, Value::Null).await.0, StatusCode::NO_CONTENT);
    let (status, refusal) = call(&world, &ada, Method::POST, &format!("{lock}/renew"), Value::Null).await;
    assert_eq!((status, refusal["code"].as_str()), (StatusCode::CONFLICT, Some("LOCK_LOST")));
    ok(&b, retitle(node, None)).await;
}

#[tokio::test]
async fn a_lock_of_a_socket_is_somebody_elses_to_the_users_other_requests_without_its_fence() {
    let world = World::start().await;
    let (ada, _, a, _, node) = scene(&world).await;
    let lock = format!("/api/v1/nodes/{node}/lock");
    let ack = ok(&a, Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: None, wait: None })).await;
    let fence = ack.result.expect("a result")["fence"].clone();
    for (method, path) in [(Method::POST, lock.as_str()), (Method::DELETE, &lock)] {
        assert_eq!(call(&world, &ada, method, path, Value::Null).await.1["code"], "LOCK_HELD");
    }
    let renew = format!("{lock}/renew");
    assert_eq!(call(&world, &ada, Method::POST, &renew, Value::Null).await.1["code"], "LOCK_LOST");
    assert_eq!(call(&world, &ada, Method::POST, &renew, json!({"fence": fence})).await.0, StatusCode::OK);
    let release = format!("{lock}?fence={fence}");
    assert_eq!(call(&world, &ada, Method::DELETE, &release, Value::Null).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn only_a_project_admin_breaks_the_lock_of_a_person() {
    let world = World::start().await;
    let (ada, bob, a, b, node) = scene(&world).await;
    let path = format!("/api/v1/nodes/{node}/lock/break");
    let (status, free) = call(&world, &ada, Method::POST, &path, Value::Null).await;
    assert_eq!((status, free), (StatusCode::OK, json!({"success": true, "nodeId": node})));

    ok(&a, Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: None, wait: None })).await;
    assert_eq!(call(&world, &bob, Method::POST, &path, Value::Null).await.0, StatusCode::FORBIDDEN);
    let ack = refused(&b, Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: None, wait: None })).await;
    assert_eq!(ack.code, ErrorCode::LockHeld);
    ok(&a, Command::LockRelease(glassbox_protocol::client::LockRelease { node_id: node, fence: None })).await;

    let taken = call(&world, &bob, Method::POST, &format!("/api/v1/nodes/{node}/lock"), Value::Null).await;
    assert_eq!(taken.1["code"], "LOCK_HELD", "without its fence the socket's lock stays");
    // Ada is the owner, so she breaks even her own socket's lock, and then anybody's.
    assert_eq!(call(&world, &ada, Method::POST, &path, Value::Null).await.1["brokenFrom"], json!(ada.id));
    let held = call(&world, &bob, Method::POST, &format!("/api/v1/nodes/{node}/lock"), Value::Null).await.1;
    let broken = call(&world, &ada, Method::POST, &path, json!({"reason": "holiday"})).await;
    assert_eq!(broken, (StatusCode::OK, json!({"success": true, "nodeId": node, "brokenFrom": bob.id})));
    let dead = Fence(held["fence"].as_i64().expect("a fence"));
    assert_eq!(refused(&b, retitle(node, Some(dead))).await.code, ErrorCode::LockLost);
}

#[tokio::test]
async fn a_key_tells_a_stranger_nothing_and_repeats_no_grant() {
    let world = World::start().await;
    let (ada, _, _, _, node) = scene(&world).await;
    let eve = world.user("eve").await;
    let ask = async |who: &Person, method: &Method, path: String, body: &str| {
        let request = world.http.request(method.clone(), world.url(0, &path)).bearer_auth(&who.token);
        let request = request.header("x-request-id", "same").header("idempotency-key", "k").body(body.to_owned());
        let response = request.send().await.expect("an answer");
        (response.status(), response.text().await.expect("a text"))
    };
    for (method, route) in
        [(Method::POST, ""), (Method::POST, "/renew"), (Method::DELETE, ""), (Method::POST, "/break")]
    {
        let mut answers = Vec::new();
        for id in [node, NodeId::random()] {
            for body in ["{}", r#"{"fence": 1}"#, "not JSON"] {
                answers.push(ask(&eve, &method, format!("/api/v1/nodes/{id}/lock{route}"), body).await);
            }
        }
        assert_eq!(answers[0].0, StatusCode::NOT_FOUND, "{method} {route}");
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{method} {route}: {answers:?}");
    }
    let commands = format!("select count(*) from realtime.command_results where user_id = '{}'", eve.id);
    assert_eq!(crate::orgs::value::<i64>(&world, &commands).await, 0, "nothing is kept of a stranger");

    // A grant is not told again once it is over.
    let lock = format!("/api/v1/nodes/{node}/lock");
    let fence = async || {
        let (status, text) = ask(&ada, &Method::POST, lock.clone(), "").await;
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str::<Value>(&text).expect("JSON")["fence"].clone()
    };
    let first = fence().await;
    assert_eq!(call(&world, &ada, Method::DELETE, &lock, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_ne!(fence().await, first);
}

#[tokio::test]
async fn a_fence_has_the_same_bounds_wherever_it_stands() {
    let world = World::start().await;
    let (ada, _, _, _, node) = scene(&world).await;
    let one = format!("/api/v1/nodes/{node}");
    for (method, path) in [
        (Method::PATCH, one.clone()),
        (Method::DELETE, one.clone()),
        (Method::POST, format!("{one}/lock/renew")),
        (Method::DELETE, format!("{one}/lock")),
    ] {
        for fence in [-1_i64, 1 << 53] {
            let (status, refusal) = call(&world, &ada, method.clone(), &path, json!({"fence": fence})).await;
            let field = &refusal["details"]["field"];
            assert_eq!((status, field), (StatusCode::BAD_REQUEST, &json!("fence")), "{method} {path} {fence}");
        }
    }
}

#[tokio::test]
async fn a_lease_over_rest_has_its_own_bounds() {
    let world = World::start().await;
    let (ada, _, _, _, node) = scene(&world).await;
    let path = format!("/api/v1/nodes/{node}/lock");
    for ttl in [4_999, 3_600_001, -1] {
        let (status, refusal) = call(&world, &ada, Method::POST, &path, json!({"ttlMs": ttl})).await;
        assert_eq!((status, &refusal["details"]["field"]), (StatusCode::BAD_REQUEST, &json!("ttlMs")));
    }
    let (_, taken) = call(&world, &ada, Method::POST, &path, json!({"ttlMs": 3_600_000})).await;
    let left = taken["expiresInMs"].as_i64().expect("a time");
    assert!((3_590_000..=3_600_000).contains(&left), "{left}");
}
