//! The session cookie: who gets it, where it counts, and what ends with it.

use std::time::Duration;

use glassbox_protocol::ClientId;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::client::Client;
use crate::support::issuer::{Issuer, Key};
use crate::support::world::{ORIGIN, Person, World};

const ME: &str = "/api/v1/users/me";
const SESSION: &str = "/api/v1/auth/session";

async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

fn call(world: &World, method: Method, path: &str) -> RequestBuilder {
    world.http.request(method, world.url(0, path))
}

fn with_cookie(request: RequestBuilder, token: &str) -> RequestBuilder {
    request.header("cookie", format!("theme=dark; auth_token={token}"))
}

/// The cookie of an answer, in its parts.
fn cookie(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut cookies = headers.get_all("set-cookie").iter();
    let cookie = cookies.next()?.to_str().expect("text").to_owned();
    assert!(cookies.next().is_none(), "one cookie");
    Some(cookie.split("; ").map(str::to_owned).collect())
}

fn assert_is_session(cookie: Option<Vec<String>>, token: &str, life_s: i64) {
    let cookie = cookie.expect("a cookie");
    assert_eq!(cookie[0], format!("auth_token={token}"));
    assert_eq!(cookie[1..4], ["HttpOnly", "SameSite=Lax", "Path=/"]);
    let age: i64 = cookie[4].strip_prefix("Max-Age=").and_then(|age| age.parse().ok()).expect("an age");
    assert!((life_s - 60..=life_s).contains(&age), "{age}");
}

#[tokio::test]
async fn every_answer_to_a_persons_token_sets_the_cookie_that_they_do_not_carry_yet() {
    let issuer = Issuer::start().await;
    let world = World::builder().secrets(|secrets| secrets.cognito = Some(issuer.config())).start().await;
    let body = json!({"userId": "ada", "email": "ada@example.org"});
    let answer = send(call(&world, Method::POST, "/api/v1/auth/dev-token").json(&body)).await;
    let set = cookie(answer.headers());
    let token = answer.json::<Value>().await.expect("JSON")["token"].as_str().expect("a token").to_owned();
    assert_is_session(set.clone(), &token, 86_400);
    assert_eq!(set.expect("a cookie").len(), 5, "no Secure over HTTP");

    let pools = Key::nth(0).sign(&Key::nth(0).head(), &issuer.access("ben"));
    let missing = format!("/api/v1/orgs/{}", uuid::Uuid::new_v4());
    for (token, life_s) in [(&token, 86_400), (&pools, 3600)] {
        for path in [ME, missing.as_str(), "/api/v1/orgs/no-id"] {
            let answer = send(call(&world, Method::GET, path).bearer_auth(token)).await;
            assert_is_session(cookie(answer.headers()), token, life_s);
        }
        let carried = with_cookie(call(&world, Method::GET, ME).bearer_auth(token), token);
        assert_eq!(cookie(send(carried).await.headers()), None);
        let another = with_cookie(call(&world, Method::GET, ME).bearer_auth(token), "another");
        assert_is_session(cookie(send(another).await.headers()), token, life_s);
        let alone = send(with_cookie(call(&world, Method::GET, ME), token)).await;
        assert_eq!((alone.status(), cookie(alone.headers())), (StatusCode::OK, None));
    }
    let refused = send(call(&world, Method::GET, ME).bearer_auth("no token")).await;
    assert_eq!((refused.status(), cookie(refused.headers())), (StatusCode::UNAUTHORIZED, None));

    let proxied = call(&world, Method::GET, ME).bearer_auth(&token).header("x-forwarded-proto", "https");
    assert_eq!(cookie(send(proxied).await.headers()).expect("a cookie")[5], "Secure");
    let world = World::builder().secrets(|secrets| secrets.has_secure_cookie = true).start().await;
    let ada = world.user("ada").await;
    let answer = send(call(&world, Method::GET, ME).bearer_auth(&ada.token)).await;
    assert_eq!(cookie(answer.headers()).expect("a cookie")[5], "Secure");
}

#[tokio::test]
async fn the_cookie_counts_where_the_token_does_and_never_against_one() {
    let world = World::start().await;
    let (ada, ben) = (world.user("ada").await, world.user("ben").await);
    let id = async |request: RequestBuilder| -> Value {
        send(request).await.json::<Value>().await.expect("JSON")["id"].clone()
    };
    assert_eq!(id(with_cookie(call(&world, Method::GET, ME), &ada.token)).await, json!(ada.id));
    let both = with_cookie(call(&world, Method::GET, ME), &ada.token).bearer_auth(&ben.token);
    assert_eq!(id(both).await, json!(ben.id));
    for header in ["Bearer x", "Basic YTpi", "Bearer"] {
        let wrong = with_cookie(call(&world, Method::GET, ME), &ada.token).header("authorization", header);
        assert_eq!(send(wrong).await.status(), StatusCode::UNAUTHORIZED, "{header}");
    }
    // The existing canvas client's request for a ticket: a cookie and an Origin, and nothing else.
    let ticket = with_cookie(call(&world, Method::POST, "/api/v1/auth/ws-token"), &ada.token).header("origin", ORIGIN);
    let answer: Value = send(ticket).await.json().await.expect("JSON");
    let ticket = answer["token"].as_str().expect("a ticket");
    let client = Client::connect(world.address(0), ticket, ClientId::random()).await;
    assert_eq!(client.welcome.user.id, ada.id);

    for (what, cookies) in [
        ("a ticket", format!("auth_token={ticket}")),
        ("a worker key", format!("auth_token={}", worker_key(&world, &ada).await)),
        ("two that differ", format!("auth_token={}; auth_token={}", ada.token, ben.token)),
        ("no token", "auth_token=x".to_owned()),
    ] {
        let answer = send(call(&world, Method::GET, ME).header("cookie", cookies)).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
        assert_eq!(answer.json::<Value>().await.expect("JSON")["code"], "INVALID_TOKEN", "{what}");
    }
    let empty = send(call(&world, Method::GET, ME).header("cookie", "auth_token=")).await;
    assert_eq!(empty.json::<Value>().await.expect("JSON")["code"], "UNAUTHORIZED");
    // The cookie opens no socket.
    let upgrade = with_cookie(call(&world, Method::GET, "/ws?token=x"), &ada.token)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "glassbox.v2");
    assert_eq!(send(upgrade).await.status(), StatusCode::UNAUTHORIZED);
}

async fn worker_key(world: &World, owner: &Person) -> String {
    let org = world.org(owner).await;
    let made = world.post(&format!("/api/v1/orgs/{org}/worker-keys"), Some(owner), &json!({"name": "w"})).await;
    made["key"].as_str().expect("a key").to_owned()
}

#[tokio::test]
async fn another_page_changes_nothing_with_somebodys_cookie() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let own = world.url(0, "");
    for (origin, is_let_in) in [
        (Some(ORIGIN), true),
        (Some(own.as_str()), true),
        (None, false),
        (Some("null"), false),
        (Some(""), false),
        (Some("http://evil.example"), false),
        (Some("http://localhost:3000.evil.example"), false),
        (Some("https://localhost:3000"), false),
        (Some("http://localhost:3000/"), false),
        (Some("HTTP://LOCALHOST:3000"), false),
    ] {
        let name = format!("named by {}", origin.unwrap_or("nobody"));
        let mut request = with_cookie(call(&world, Method::PATCH, ME), &ada.token).json(&json!({"name": name}));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let answer = send(request).await;
        let is_named = send(call(&world, Method::GET, ME).bearer_auth(&ada.token)).await;
        let is_named = is_named.json::<Value>().await.expect("JSON")["name"] == name.as_str();
        assert_eq!(is_named, is_let_in, "{origin:?}");
        if is_let_in {
            assert_eq!(answer.status(), StatusCode::OK, "{origin:?}");
        } else {
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin:?}");
            assert_eq!(answer.json::<Value>().await.expect("JSON")["code"], "FORBIDDEN");
        }
        // Reading is for CORS to forbid.
        let mut read = with_cookie(call(&world, Method::GET, ME), &ada.token);
        if let Some(origin) = origin {
            read = read.header("origin", origin);
        }
        assert_eq!(send(read).await.status(), StatusCode::OK);
    }
    for (method, path) in
        [(Method::POST, "/api/v1/orgs"), (Method::POST, "/api/v1/auth/ws-token"), (Method::DELETE, SESSION)]
    {
        let answer =
            send(with_cookie(call(&world, method, path), &ada.token).json(&json!({"name": "x", "slug": "x"}))).await;
        assert_eq!((answer.status(), cookie(answer.headers())), (StatusCode::FORBIDDEN, None), "{path}");
    }
    let twice = with_cookie(call(&world, Method::PATCH, ME), &ada.token)
        .header("origin", ORIGIN)
        .header("origin", "http://evil.example");
    assert_eq!(send(twice).await.status(), StatusCode::FORBIDDEN);
    let orgs: i64 = sqlx::query_scalar("select count(*) from organizations")
        .fetch_one(&world.database.superuser())
        .await
        .expect("a count");
    assert_eq!(orgs, 0);
    // A header is nothing that a browser adds by itself.
    let bearer = call(&world, Method::PATCH, ME).bearer_auth(&ada.token).header("origin", "http://evil.example");
    assert_eq!(send(bearer.json(&json!({"name": "Ada"}))).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_page_turns_its_token_into_a_session() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let ticket = world.post("/api/v1/auth/ws-token", Some(&ada), &Value::Null).await["token"].clone();
    let key = worker_key(&world, &ada).await;
    let sign_in = |origin: Option<&'static str>, body: String| {
        let mut request = call(&world, Method::POST, SESSION).body(body);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request
    };
    let body = |token: &Value| json!({"token": token}).to_string();
    let good = body(&json!(ada.token));
    let answer = send(sign_in(Some(ORIGIN), good.clone())).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_is_session(cookie(answer.headers()), &ada.token, 86_400);
    // Asked for, it is set even if it is there.
    let again = send(with_cookie(sign_in(Some(ORIGIN), good.clone()), &ada.token)).await;
    assert_is_session(cookie(again.headers()), &ada.token, 86_400);
    for (origin, body, status) in [
        (None, good.clone(), StatusCode::FORBIDDEN),
        (Some("http://evil.example"), good, StatusCode::FORBIDDEN),
        (Some(ORIGIN), body(&ticket), StatusCode::UNAUTHORIZED),
        (Some(ORIGIN), body(&json!(key)), StatusCode::UNAUTHORIZED),
        (Some(ORIGIN), body(&json!("x\r\nset-cookie: a=b")), StatusCode::UNAUTHORIZED),
        (Some(ORIGIN), body(&json!("")), StatusCode::BAD_REQUEST),
        (Some(ORIGIN), body(&json!(7)), StatusCode::BAD_REQUEST),
        (Some(ORIGIN), String::new(), StatusCode::BAD_REQUEST),
        (Some(ORIGIN), "{".to_owned(), StatusCode::BAD_REQUEST),
    ] {
        let answer = send(sign_in(origin, body.clone())).await;
        assert_eq!((answer.status(), cookie(answer.headers())), (status, None), "{origin:?} {body}");
    }
}

#[tokio::test]
async fn signing_out_ends_the_sockets_and_tickets_of_that_sign_in_and_no_others() {
    let issuer = Issuer::start().await;
    let world = World::builder().instances(2).secrets(|secrets| secrets.cognito = Some(issuer.config())).start().await;
    let key = Key::nth(0);
    let mut claims = issuer.access("ada");
    let here = key.sign(&key.head(), &claims);
    claims["jti"] = json!("another sign-in");
    let there = key.sign(&key.head(), &claims);
    let ticket = async |token: &str| -> String {
        let request = call(&world, Method::POST, "/api/v1/auth/ws-token").bearer_auth(token);
        let answer: Value = send(request).await.json().await.expect("JSON");
        answer["token"].as_str().expect("a ticket").to_owned()
    };
    let open = async |token: &str| Client::connect(world.address(0), token, ClientId::random()).await;
    let elsewhere = Client::connect(world.address(1), &here, ClientId::random()).await;
    let sockets = [open(&here).await, open(&ticket(&here).await).await, elsewhere];
    let (other, by_ticket) = (open(&there).await, open(&ticket(&there).await).await);
    let unused = ticket(&here).await;

    let answer = send(with_cookie(call(&world, Method::DELETE, SESSION), &here).header("origin", ORIGIN)).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let cleared = cookie(answer.headers()).expect("a cookie");
    assert_eq!(cleared, ["auth_token=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=0"]);
    for socket in &sockets {
        assert_eq!(socket.closed().await.code, Some(4500));
    }
    assert!(Client::try_connect(world.address(0), &unused, ClientId::random()).await.is_err());
    assert!(Client::try_connect(world.address(0), &ticket(&there).await, ClientId::random()).await.is_ok());
    assert!(!other.is_closed() && !by_ticket.is_closed());

    // What tells the other instances.
    let row = sqlx::query(
        "select e.body, u.cognito_sub
        from realtime.events e
        join users u on u.id = e.stream_id",
    )
    .fetch_one(&world.database.superuser())
    .await
    .expect("one event on the stream of a user");
    let line: Value = serde_json::from_str(row.get::<&str, _>("body")).expect("JSON");
    let sid = glassbox::auth::sid::Sid::of(&here).to_string();
    assert_eq!((row.get::<&str, _>("cognito_sub"), &line["type"]), ("ada", &json!("session_ended")));
    assert_eq!(line["payload"], json!({"sid": sid}));
    assert!(!row.get::<&str, _>("body").contains(&here));

    let unknown = send(call(&world, Method::DELETE, SESSION).header("origin", ORIGIN)).await;
    assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED);
    let by_bearer = send(call(&world, Method::DELETE, SESSION).bearer_auth(&there)).await;
    assert_eq!(cookie(by_bearer.headers()).expect("a cookie")[4], "Max-Age=0");
    assert_eq!(other.closed().await.code, Some(4500));
}

#[tokio::test]
async fn a_session_is_ended_by_its_user_alone() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let mut conn = world.database.app().acquire().await.expect("a connection");
    for call in ["realtime.end_session($1, 'x')", "realtime.claim_invitation($1, 'x')"] {
        let sql = sqlx::AssertSqlSafe(format!("select {call}"));
        let refused = sqlx::query(sql).bind(ada.id.0).execute(&mut *conn).await.expect_err("no context");
        let code = refused.as_database_error().and_then(|e| e.code()).map(|code| code.into_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{call}");
    }
}

#[tokio::test]
async fn whoever_has_no_credentials_is_the_development_user_where_there_is_one() {
    let world = World::builder()
        .secrets(|secrets| {
            secrets.dev_user = Some("dev-user-1".to_owned());
            secrets.caller_life = Duration::from_secs(1);
        })
        .start()
        .await;
    let answer = send(call(&world, Method::GET, ME)).await;
    assert_eq!(cookie(answer.headers()), None);
    let me: Value = answer.json().await.expect("JSON");
    assert_eq!((&me["cognitoSub"], &me["email"]), (&json!("dev-user-1"), &json!("dev-user-1@example.org")));
    let org = json!({"name": "Mine", "slug": "mine"});
    for (origin, status) in [
        (None, StatusCode::CREATED),
        (Some(ORIGIN), StatusCode::CONFLICT),
        (Some("http://evil.example"), StatusCode::FORBIDDEN),
    ] {
        let mut request = call(&world, Method::POST, "/api/v1/orgs").json(&org);
        let mut read = call(&world, Method::GET, ME);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
            read = read.header("origin", origin);
        }
        assert_eq!(send(request).await.status(), status, "{origin:?}");
        assert_eq!(send(read).await.status() == StatusCode::FORBIDDEN, status == StatusCode::FORBIDDEN);
    }
    // Wrong credentials are not no credentials.
    assert_eq!(send(call(&world, Method::GET, ME).bearer_auth("x")).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(send(with_cookie(call(&world, Method::GET, ME), "x")).await.status(), StatusCode::UNAUTHORIZED);
    let ticket: Value = send(call(&world, Method::POST, "/api/v1/auth/ws-token")).await.json().await.expect("JSON");
    let ticket = ticket["token"].as_str().expect("a ticket");
    assert_eq!(json!(Client::connect(world.address(0), ticket, ClientId::random()).await.welcome.user.id), me["id"]);

    let production = World::builder()
        .secrets(|secrets| {
            secrets.is_development = false;
            secrets.dev_user = Some("dev-user-1".to_owned());
        })
        .start()
        .await;
    assert_eq!(send(call(&production, Method::GET, ME)).await.status(), StatusCode::UNAUTHORIZED);
}
