//! The document of the API says what is served.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::support::world::World;

async fn document(world: &World) -> Value {
    world.http.get(world.url(0, "/openapi.json")).send().await.expect("an answer").json().await.expect("JSON")
}

#[tokio::test]
async fn every_documented_route_is_served_and_says_which_right_it_needs() {
    let world = World::start().await;
    let document = document(&world).await;
    assert_eq!(document["openapi"].as_str().map(|v| &v[..3]), Some("3.1"));
    let mut ids = std::collections::HashSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let at = format!("{method} {path}");
            assert!(operation["x-right"].is_string(), "{at}: no x-right");
            assert!(operation["summary"].is_string(), "{at}: no summary");
            assert!(ids.insert(operation["operationId"].to_string()), "{at}: its operationId is not its own");
            let mut url = path.clone();
            while let Some((before, rest)) = url.split_once('{') {
                let (name, after) = rest.split_once('}').expect("a parameter");
                let value = if name == "version" { "1".to_owned() } else { Uuid::new_v4().to_string() };
                url = format!("{before}{value}{after}");
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let answer = world.http.request(method, world.url(0, &url)).send().await.expect("an answer");
            assert_ne!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{at}");
            if operation["x-right"] != "none" {
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{at}: a stranger is told to sign in");
            }
            let status = answer.status().as_u16().to_string();
            assert!(operation["responses"].get(&status).is_some(), "{at}: {status} is not documented");
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_stands_on_the_posts_that_take_one() {
    let world = World::start().await;
    let document = document(&world).await;
    let (mut without, mut others) = (Vec::new(), Vec::new());
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let parameters = operation["parameters"].as_array().expect("a list");
            match (method.as_str(), parameters.iter().any(|p| p["name"] == "Idempotency-Key")) {
                ("post", false) => without.push(path.trim_start_matches("/api/v1").to_owned()),
                ("post", true) | (_, false) => {}
                (_, true) => others.push(path.clone()),
            }
        }
    }
    without.sort_unstable();
    let expected = [
        "/auth/dev-token",
        "/auth/session",
        "/auth/ws-token",
        "/nodes/{nodeId}/lock",
        "/nodes/{nodeId}/lock/break",
        "/nodes/{nodeId}/lock/renew",
        "/users/me/notifications/read-all",
        "/users/me/notifications/{notificationId}/read",
    ];
    assert_eq!(without, expected);
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test]
async fn the_page_shows_the_document_without_anything_from_elsewhere() {
    let world = World::start().await;
    let page = world.http.get(world.url(0, "/docs")).send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::OK);
    let base = page.url().clone();
    let html = page.text().await.expect("a page");
    let sources: Vec<&str> =
        html.split(['"', '\'']).filter(|text| text.ends_with(".js") || text.ends_with(".css")).collect();
    assert!(sources.len() >= 2, "{html}");
    for source in sources {
        let url = base.join(source).expect("a URL");
        assert_eq!(url.origin(), base.origin(), "{source}");
        assert_eq!(world.http.get(url).send().await.expect("an answer").status(), StatusCode::OK, "{source}");
    }
}

#[tokio::test]
async fn the_socket_is_described_beside_the_routes() {
    let world = World::start().await;
    let answer = world.http.get(world.url(0, "/asyncapi.json")).send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "application/json");
    let document: Value = answer.json().await.expect("JSON");
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(document["operations"]["node_move"]["reply"]["messages"].as_array().map(Vec::len), Some(2));
}
