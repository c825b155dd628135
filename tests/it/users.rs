//! One's own account.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::world::{Person, World};

const ME: &str = "/api/v1/users/me";

async fn call(world: &World, method: Method, caller: &Person, body: &str) -> (StatusCode, Value) {
    let request = world.http.request(method, world.url(0, ME)).bearer_auth(&caller.token).body(body.to_owned());
    let response = request.send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

async fn patch(world: &World, caller: &Person, body: &Value) -> (StatusCode, Value) {
    call(world, Method::PATCH, caller, &body.to_string()).await
}

#[tokio::test]
async fn a_person_reads_and_changes_their_own_account_and_nobody_elses() {
    let world = World::start().await;
    let (ada, ben) = (world.user("ada").await, world.user("ben").await);
    let (status, user) = call(&world, Method::GET, &ada, "").await;
    assert_eq!(status, StatusCode::OK);
    let mut fields: Vec<&str> = user.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["cognitoSub", "createdAt", "email", "id", "name", "settings", "updatedAt"]);
    assert_eq!(
        (&user["id"], &user["cognitoSub"], &user["email"]),
        (&json!(ada.id), &json!("ada"), &json!("ada@example.org"))
    );
    assert_eq!((&user["name"], &user["settings"]), (&json!("ada"), &json!({})));

    let settings = json!({"theme": "dark", "notifications": {"email": true, "slack": false}, "own": [1, null]});
    let change = json!({"name": "Ada L.", "avatarUrl": "https://example.org/a.png", "settings": settings, "email": "x", "id": 7});
    let (status, changed) = patch(&world, &ada, &change).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!((&changed["name"], &changed["settings"]), (&json!("Ada L."), &settings));
    assert_eq!((&changed["avatarUrl"], &changed["email"]), (&json!("https://example.org/a.png"), &user["email"]));
    assert_eq!(call(&world, Method::GET, &ada, "").await.1, changed);

    // What is absent stays; what is the same changes nothing, not even the time.
    for same in [json!({}), json!({"name": "Ada L."}), json!({"settings": settings})] {
        assert_eq!(patch(&world, &ada, &same).await, (StatusCode::OK, changed.clone()));
    }
    assert_eq!(call(&world, Method::PATCH, &ada, "").await, (StatusCode::OK, changed.clone()));
    let (_, cleared) = patch(&world, &ada, &json!({"avatarUrl": null, "settings": {"notifications": true}})).await;
    assert!(cleared.get("avatarUrl").is_none());
    assert_eq!(cleared["settings"], json!({"notifications": true}));
    assert_ne!(cleared["updatedAt"], changed["updatedAt"]);
    let (_, ben) = call(&world, Method::GET, &ben, "").await;
    assert_eq!((&ben["name"], &ben["settings"]), (&json!("ben"), &json!({})));
}

#[tokio::test]
async fn an_account_is_not_changed_to_what_breaks_a_rule() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let (_, before) = call(&world, Method::GET, &ada, "").await;
    for (field, body) in [
        ("name", json!({"name": ""})),
        ("name", json!({"name": null})),
        ("name", json!({"name": "x".repeat(256)})),
        ("name", json!({"name": "a\u{0}b"})),
        ("name", json!({"name": 7})),
        ("avatarUrl", json!({"avatarUrl": "javascript:alert(1)"})),
        ("avatarUrl", json!({"avatarUrl": "a.png"})),
        ("avatarUrl", json!({"avatarUrl": "https://example.org/\u{0}"})),
        ("avatarUrl", json!({"avatarUrl": format!("https://example.org/{}", "x".repeat(2048))})),
        ("avatarUrl", json!({"avatarUrl": {}})),
        ("settings", json!({"settings": null})),
        ("settings", json!({"settings": []})),
        ("settings", json!({"settings": "dark"})),
        ("settings", json!({"settings": {"a": "\u{0}"}})),
        ("settings", json!({"settings": {"\u{0}": 1}})),
        ("settings", json!({"settings": {"a": "x".repeat(64 * 1024)}})),
        ("settings.theme", json!({"settings": {"theme": 1}})),
        ("settings.theme", json!({"settings": {"theme": ""}})),
        ("settings.notifications", json!({"settings": {"notifications": "yes"}})),
        ("settings.notifications", json!({"settings": {"notifications": null}})),
        ("settings.notifications.inApp", json!({"settings": {"notifications": {"inApp": 1}}})),
    ] {
        let (status, answer) = patch(&world, &ada, &body).await;
        let short: String = body.to_string().chars().take(80).collect();
        assert_eq!(
            (status, &answer["details"]["field"]),
            (StatusCode::BAD_REQUEST, &json!(field)),
            "{short}: {answer}"
        );
        assert!(answer["details"]["reason"].is_string(), "{short}");
    }
    let deep = format!(r#"{{"settings": {}1{}}}"#, r#"{"a":"#.repeat(500), "}".repeat(500));
    for body in [r#"{"name": "\ud800"}"#, "{", "[]", r#""x""#, r#"{"settings": {"a": 1e999}}"#, deep.as_str()] {
        let (status, answer) = call(&world, Method::PATCH, &ada, body).await;
        assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("BAD_REQUEST")), "{answer}");
    }
    assert_eq!(call(&world, Method::GET, &ada, "").await.1, before);
}

#[tokio::test]
async fn stored_settings_of_any_writer_are_served_as_an_object() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    for (stored, served) in [("'[1]'", json!({})), ("null", json!({})), ("'{\"a\": 1}'", json!({"a": 1}))] {
        world.sql(&format!("update users set settings = {stored}, created_at = null")).await;
        let (status, user) = call(&world, Method::GET, &ada, "").await;
        assert_eq!((status, &user["settings"]), (StatusCode::OK, &served));
        assert!(user["createdAt"].as_str().is_some_and(|at| at.starts_with("1970-01-01T00:00:00")));
    }
}
