//! Who gets a token, and what it opens.

use std::time::Duration;

use glassbox_protocol::{ClientId, UserId};
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::world::World;
use crate::support::{DEADLINE, wait_until};

async fn dev_token(world: &World, user: &str, email: &str) -> (String, Value) {
    let body = json!({"userId": user, "email": email});
    let answer = world.post("/api/v1/auth/dev-token", None, &body).await;
    let token = answer["token"].as_str().expect("a token").to_owned();
    let body = token.split('.').nth(1).expect("three parts");
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, body).expect("base64");
    (token, serde_json::from_slice(&claims).expect("claims"))
}

#[tokio::test]
async fn a_dev_user_is_found_by_id_or_name_and_made_if_missing() {
    let world = World::start().await;
    let [by_name, prefixed, invited, in_lower_case, as_given] = std::array::from_fn(|_| Uuid::new_v4());
    world
        .sql(&format!(
            "insert into users (id, cognito_sub, email) values
                ('{by_name}', 'dev-user-1', 'a@example.org'),
                ('{prefixed}', 'dev-ben', 'b@example.org'),
                ('{invited}', 'invited:c@example.org', 'c@example.org'),
                ('{in_lower_case}', 'invited:f@example.org', 'f@example.org'),
                ('{as_given}', 'invited:G@Example.org', 'G@Example.org')"
        ))
        .await;
    let fresh = Uuid::new_v4();
    for (asked, email, expected) in [
        ("dev-user-1".to_owned(), "x@example.org", Some(by_name)),
        (by_name.to_string(), "x@example.org", Some(by_name)),
        ("ben".to_owned(), "x@example.org", Some(prefixed)),
        ("chiara".to_owned(), "c@example.org", Some(invited)),
        ("chiara".to_owned(), "c@example.org", Some(invited)),
        (fresh.to_string(), "d@example.org", Some(fresh)),
        ("new".to_owned(), "e@example.org", None),
        ("diana".to_owned(), "F@Example.ORG", Some(in_lower_case)),
        ("emil".to_owned(), "G@Example.org", Some(as_given)),
    ] {
        let (_, claims) = dev_token(&world, &asked, email).await;
        let user: Uuid = claims["user_id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        if let Some(expected) = expected {
            assert_eq!(user, expected, "{asked}");
        }
        assert_eq!((&claims["sub"], &claims["email"]), (&json!(format!("dev-{asked}")), &json!(email)));
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("glassbox-dev"), &json!("glassbox-api")));
        let life = claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat);
        assert_eq!(life, Some(86_400));
    }
    let rows: i64 =
        sqlx::query_scalar("select count(*) from users").fetch_one(&world.database.superuser()).await.expect("a count");
    assert_eq!(rows, 7);
}

#[tokio::test]
async fn two_that_sign_in_at_once_are_one_user() {
    let world = World::start().await;
    let calls = (0..8).map(|_| dev_token(&world, "twin", "twin@example.org"));
    let ids: Vec<Value> =
        futures::future::join_all(calls).await.into_iter().map(|(_, c)| c["user_id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn a_ticket_opens_one_socket_and_nothing_else() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let answer = world.post("/api/v1/auth/ws-token", Some(&ada), &Value::Null).await;
    assert_eq!(answer["expiresAt"], answer["expires_at"]);
    let ticket = answer["token"].as_str().expect("a ticket");
    assert!(ticket.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));

    let as_bearer = world.http.get(world.url(0, "/api/v1/orgs")).bearer_auth(ticket).send().await.expect("an answer");
    assert_eq!(as_bearer.status(), StatusCode::UNAUTHORIZED);
    let first = Client::try_connect(world.address(0), ticket, ClientId::random()).await;
    assert!(first.is_ok());
    let second = Client::try_connect(world.address(0), ticket, ClientId::random()).await;
    assert!(second.is_err());
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_refused() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let unsigned = {
        let body = ada.token.split('.').nth(1).expect("three parts");
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.")
    };
    for header in [
        format!("Bearer {unsigned}"),
        format!("Bearer {}x", ada.token),
        format!("Basic {}", ada.token),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        ada.token.clone(),
        format!("Bearer {}", "x".repeat(17 * 1024)),
    ] {
        let request = world.http.get(world.url(0, "/api/v1/orgs")).header("authorization", &header);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{header}");
        let answer: Value = response.json().await.expect("JSON");
        assert_eq!(answer["code"], "INVALID_TOKEN", "{header}");
    }
    let twice = world.http.get(world.url(0, "/api/v1/orgs")).bearer_auth(&ada.token).bearer_auth(&ada.token);
    assert_eq!(twice.send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    let request = world.http.get(world.url(0, "/api/v1/orgs")).header("authorization", format!("bEARER {}", ada.token));
    assert_eq!(request.send().await.expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn the_token_of_somebody_who_is_gone_opens_nothing() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let UserId(id) = ada.id;
    world.sql(&format!("delete from users where id = '{id}'")).await;
    for (path, body) in [("/api/v1/auth/ws-token", ""), ("/api/v1/orgs", r#"{"name": "x", "slug": "x"}"#)] {
        let request = world.http.post(world.url(0, path)).bearer_auth(&ada.token).body(body);
        assert_eq!(request.send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    assert!(Client::try_connect(world.address(0), &ada.token, ClientId::random()).await.is_err());
}

#[tokio::test]
async fn only_a_ticket_opens_a_socket_from_its_address() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let upgrade = async |token: &str| {
        let request = world
            .http
            .get(world.url(0, &format!("/ws?token={token}")))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "glassbox.v2");
        request.send().await.expect("an answer").status()
    };
    let ticket = world.post("/api/v1/auth/ws-token", Some(&ada), &Value::Null).await;
    let ticket = ticket["token"].as_str().expect("a ticket");
    for refused in [ada.token.as_str(), "", "x", "gbw_x_y", &format!("{ticket}{}", "x".repeat(17 * 1024))] {
        assert_eq!(upgrade(refused).await, StatusCode::UNAUTHORIZED, "{refused}");
    }
    assert_eq!(upgrade(ticket).await, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(upgrade(ticket).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn whoever_is_deleted_is_soon_a_stranger_everywhere() {
    let world = World::builder().secrets(|secrets| secrets.caller_life = Duration::from_millis(200)).start().await;
    let ada = world.user("ada").await;
    let status = async || {
        let request = world.http.get(world.url(0, "/api/v1/orgs")).bearer_auth(&ada.token);
        request.send().await.expect("an answer").status()
    };
    assert_eq!(status().await, StatusCode::OK);
    world.sql("delete from users").await;
    wait_until("the token is refused", DEADLINE, async || status().await == StatusCode::UNAUTHORIZED).await;
}
