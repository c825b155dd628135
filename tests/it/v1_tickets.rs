//! Tickets in the older dialect: one opens all connections of a page, as long as its sign-in lasts.

use std::time::Duration;

use glassbox::auth::now;
use glassbox::auth::token::DevClaims;
use glassbox::config::{DEVELOPMENT_SECRET, Secrets};
use glassbox_protocol::ClientId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::rest::Scene;
use crate::support::v1_client::{V1Client, ticket};
use crate::support::wait_until;
use crate::support::world::{ORIGIN, Person, World};

/// Asks for an upgrade without a subprotocol; the status and the error's code.
async fn refusal(world: &World, query: &str, origin: Option<&str>) -> (u16, Value) {
    let mut request = world
        .http
        .get(world.url(0, &format!("/ws{query}")))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body = if status == 101 { Value::Null } else { answer.json::<Value>().await.expect("JSON")["code"].clone() };
    (status, body)
}

#[tokio::test]
async fn whatever_is_no_ticket_is_refused_before_the_upgrade() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let good = ticket(&world, &ann).await;
    assert!(good.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "needs no escape");
    let invalid = (401, json!("INVALID_TOKEN"));
    for query in ["", "?token=", "?token=x", &format!("?token={}", ann.token), &format!("?token={good}x")] {
        assert_eq!(refusal(&world, query, None).await, invalid, "{query}");
    }
    let query = format!("?token={good}");
    assert_eq!(refusal(&world, &query, Some("http://evil.example")).await, (403, json!("FORBIDDEN")));
    assert_eq!(refusal(&world, &query, Some(ORIGIN)).await.0, 101, "and the refusal has not used it");

    let late = ticket(&world, &ann).await;
    world.sql("update realtime.tickets set expires_at = now() where used_at is null").await;
    assert_eq!(refusal(&world, &format!("?token={late}"), None).await, invalid, "the first use comes in time");
}

#[tokio::test]
async fn a_ticket_is_good_for_one_dialect() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let (older, newer) = (ticket(&world, &ann).await, ticket(&world, &ann).await);
    let page = V1Client::connect(world.address(0), &older).await;
    page.settled().await;
    assert!(Client::try_connect(world.address(0), &older, ClientId::random()).await.is_err());
    let client = Client::connect(world.address(0), &newer, ClientId::random()).await;
    assert_eq!(V1Client::try_connect(world.address(0), &newer).await.err(), Some(401));
    assert!(Client::try_connect(world.address(0), &newer, ClientId::random()).await.is_err(), "single-use there");
    client.assert_sound();
}

#[tokio::test]
async fn the_newer_of_two_connections_with_one_ticket_wins() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let ticket = ticket(&world, &ann).await;
    let first = V1Client::connect(world.address(0), &ticket).await;
    first.settled().await;
    let second = V1Client::connect(world.address(0), &ticket).await;
    assert_eq!(first.closed().await, Some(4507));
    second.settled().await;
}

#[tokio::test]
async fn a_ticket_opens_connections_again_for_a_while_and_never_in_strict_mode() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let used = ticket(&world, &ann).await;
    for _ in 0..3 {
        let page = V1Client::connect(world.address(0), &used).await;
        page.settled().await;
        page.cut();
    }
    let sessions = || world.instance(0).app.sessions.count();
    wait_until("the end of the session", Duration::from_secs(5), async || sessions() == 0).await;
    world
        .sql("update realtime.tickets set expires_at = now() - interval '11 h', seen_at = now() - interval '11 h'")
        .await;
    let page = V1Client::connect(world.address(0), &used).await;
    page.settled().await;
    page.cut();
    wait_until("the end of the session", Duration::from_secs(5), async || sessions() == 0).await;
    world.sql("update realtime.tickets set seen_at = now() - interval '13 h'").await;
    assert_eq!(V1Client::try_connect(world.address(0), &used).await.err(), Some(401));

    let strict = World::builder().limits(|limits| limits.ticket_resume_s = 0).start().await;
    let ann = strict.user("ann").await;
    let used = ticket(&strict, &ann).await;
    V1Client::connect(strict.address(0), &used).await.settled().await;
    assert_eq!(V1Client::try_connect(strict.address(0), &used).await.err(), Some(401));
}

#[tokio::test]
async fn a_ticket_ends_with_its_sign_in_and_with_its_user() {
    let scene = Scene::start().await;
    let world = &scene.world;
    let ann = world.user("ann").await;
    let used = ticket(world, &ann).await;
    let page = V1Client::connect(world.address(0), &used).await;
    page.settled().await;
    let (status, _) = scene.call(&ann, Method::DELETE, "/auth/session", Value::Null).await;
    assert_eq!(status, 204);
    assert_eq!(page.closed().await, Some(4503));
    assert_eq!(V1Client::try_connect(world.address(0), &used).await.err(), Some(401));

    // A sign-in that lasts two seconds more.
    let bob = world.user("bob").await;
    let secrets = Secrets::new(DEVELOPMENT_SECRET, true);
    let claims = DevClaims { exp: now() + 2, ..DevClaims::new(bob.id, "bob", "bob@example.org", now()) };
    let short = Person { token: claims.sign(&secrets), ..bob };
    let used = ticket(world, &short).await;
    let outliving = V1Client::page(world, 0, &short).await;
    V1Client::connect(world.address(0), &used).await.settled().await;
    let address = world.address(0);
    wait_until("the end of the sign-in", Duration::from_secs(10), async || {
        V1Client::try_connect(address, &used).await.is_err_and(|status| status == 401)
    })
    .await;

    let cat = world.user("cat").await;
    let used = ticket(world, &cat).await;
    let page = V1Client::connect(address, &used).await;
    world.join(scene.org, &cat, "member").await;
    page.subscribe(&format!("project:{}", scene.project)).await;
    world.sql(&format!("delete from users where id = '{}'", cat.id)).await;
    assert_eq!(page.closed().await, Some(4503));
    assert_eq!(V1Client::try_connect(address, &used).await.err(), Some(401));
    // A socket that is open outlives its sign-in for a while.
    let outlived = tokio::time::timeout(Duration::from_secs(40), outliving.ended()).await;
    assert_eq!(outlived.expect("the end of the socket"), Some(4001));
}

#[tokio::test]
async fn what_a_connection_that_told_nothing_has_missed_is_told_to_the_next() {
    let scene = Scene::start().await;
    let (freed, gone) = (scene.node("A").await, scene.node("B").await);
    for node in [&freed, &gone] {
        scene.ok(Method::POST, &format!("/nodes/{node}/lock"), Value::Null).await;
    }
    let used = ticket(&scene.world, &scene.ada).await;
    let channel = format!("project:{}", scene.project);
    let page = V1Client::connect(scene.world.address(0), &used).await;
    page.subscribe(&channel).await;
    page.settled().await;
    page.cut();
    scene.ok(Method::DELETE, &format!("/nodes/{freed}/lock"), Value::Null).await;
    scene.ok(Method::DELETE, &format!("/nodes/{gone}"), Value::Null).await;
    // It lives, and dies before it asks for anything.
    let between = V1Client::connect(scene.world.address(0), &used).await;
    between.settled().await;
    between.cut();

    let back = V1Client::connect(scene.world.address(0), &used).await;
    back.subscribe(&channel).await;
    back.settled().await;
    let mut unlocked: Vec<Value> = back.payloads(0, "lock_released").iter().map(|l| l["nodeId"].clone()).collect();
    let mut expected = vec![json!(freed), json!(gone)];
    unlocked.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(unlocked, expected, "a node that was deleted while it was locked is not locked either");
    assert_eq!(back.payloads(0, "node_deleted").len(), 1);
}

#[tokio::test]
async fn a_page_that_comes_back_hears_what_ended_meanwhile() {
    let scene = Scene::start().await;
    let (held, freed, gone) = (scene.node("A").await, scene.node("B").await, scene.node("C").await);
    for node in [&held, &freed] {
        scene.ok(Method::POST, &format!("/nodes/{node}/lock"), Value::Null).await;
    }
    let used = ticket(&scene.world, &scene.ada).await;
    let channel = format!("project:{}", scene.project);
    let page = V1Client::connect(scene.world.address(0), &used).await;
    page.subscribe(&channel).await;
    page.settled().await;
    assert_eq!(page.payloads(0, "lock_acquired").len(), 2);
    assert_eq!(page.payloads(0, "lock_released").len(), 0, "a first connection keeps no map");
    page.cut();
    scene.ok(Method::DELETE, &format!("/nodes/{freed}/lock"), Value::Null).await;
    scene.ok(Method::DELETE, &format!("/nodes/{gone}"), Value::Null).await;
    scene.node("D").await;

    let back = V1Client::connect(scene.world.address(0), &used).await;
    back.subscribe(&channel).await;
    back.settled().await;
    let told: Vec<(Value, Value)> = back
        .frames_since(0)
        .into_iter()
        .filter(|f| f["type"] != "pong" && f["type"] != "notification")
        .map(|f| (f["type"].clone(), f["payload"]["nodeId"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (json!("subscribed"), Value::Null),
            (json!("lock_released"), json!(freed)),
            (json!("node_deleted"), json!(gone)),
            (json!("lock_acquired"), json!(held)),
        ]
    );
}
