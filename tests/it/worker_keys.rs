//! Keys of programs: made once, good in one organization, over at once.

use glassbox_protocol::{ClientId, OrgId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Row as _;
use uuid::Uuid;

use crate::support::DEADLINE;
use crate::support::client::Client;
use crate::support::wait_until;
use crate::support::world::{ORIGIN, Person, World};

async fn call(world: &World, method: Method, path: &str, token: &str, body: Value) -> (StatusCode, Value) {
    let mut request = world.http.request(method, world.url(0, path)).bearer_auth(token);
    if !body.is_null() {
        request = request.json(&body);
    }
    let response = request.send().await.expect("an answer");
    (response.status(), serde_json::from_str(&response.text().await.expect("text")).unwrap_or(Value::Null))
}

fn keys_of(org: OrgId) -> String {
    format!("/api/v1/orgs/{org}/worker-keys")
}

async fn make(world: &World, owner: &Person) -> Value {
    let org = world.org(owner).await;
    let (status, made) =
        call(world, Method::POST, &keys_of(org), &owner.token, json!({"name": "nightly import"})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

#[tokio::test]
async fn a_key_is_shown_once_and_acts_as_a_member_with_its_name() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let org = world.org(&ada).await;
    let made = make(&world, &ada).await;
    let (id, key) = (text(&made, "id"), text(&made, "key"));
    assert!(key.starts_with(&format!("gbw_{}_", id.replace('-', ""))), "{key}");
    assert_eq!((text(&made, "name"), made.get("lastUsedAt")), ("nightly import", None));
    let secret = key.rsplit_once('_').map(|(_, secret)| secret.to_owned()).expect("a secret");
    let (_, list) = call(&world, Method::GET, &keys_of(org), &ada.token, Value::Null).await;
    let mut listed = made.clone();
    listed.as_object_mut().expect("an object").remove("key");
    assert_eq!(list, json!({"data": [listed]}));

    let answer = world.http.get(world.url(0, "/api/v1/users/me")).bearer_auth(key).send().await.expect("an answer");
    assert!(!answer.headers().contains_key("set-cookie"));
    let me: Value = answer.json().await.expect("JSON");
    assert_eq!((text(&me, "id"), text(&me, "name")), (text(&made, "userId"), "nightly import"));
    assert_eq!(text(&me, "cognitoSub"), format!("worker:{id}"));
    assert_eq!(text(&me, "email"), format!("worker-{id}@workers.invalid"));
    let (_, orgs) = call(&world, Method::GET, "/api/v1/orgs", key, Value::Null).await;
    assert_eq!((orgs["data"].as_array().map(Vec::len), &orgs["data"][0]["role"]), (Some(1), &json!("member")));
    let (_, list) = call(&world, Method::GET, &keys_of(org), &ada.token, Value::Null).await;
    let used = text(&list["data"][0], "lastUsedAt").to_owned();

    // Written once a minute.
    let read = async || {
        text(&call(&world, Method::GET, &keys_of(org), &ada.token, Value::Null).await.1["data"][0], "lastUsedAt")
            .to_owned()
    };
    call(&world, Method::GET, "/api/v1/orgs", key, Value::Null).await;
    assert_eq!(read().await, used);
    world.sql("update realtime.worker_keys set last_used_at = last_used_at - interval '61 seconds'").await;
    let before = read().await;
    call(&world, Method::GET, "/api/v1/orgs", key, Value::Null).await;
    assert_ne!(read().await, before);

    // Nothing that the server keeps contains the secret.
    let row = sqlx::query("select to_jsonb(k)::text as kept from realtime.worker_keys k")
        .fetch_one(&world.database.superuser())
        .await
        .expect("a row");
    assert!(!row.get::<&str, _>("kept").contains(&secret));
    let refused = sqlx::query("select secret_hash from realtime.worker_keys").fetch_all(&world.database.app()).await;
    assert!(refused.is_err(), "the hash is not for requests");
}

#[tokio::test]
async fn only_owners_and_admins_manage_the_keys_of_their_own_organization() {
    let world = World::start().await;
    let [ada, admin, member, guest, eve] = ["ada", "admin", "member", "guest", "eve"];
    let (ada, eve) = (world.user(ada).await, world.user(eve).await);
    let (org, foreign) = (world.org(&ada).await, world.org(&eve).await);
    let made = make(&world, &ada).await;
    let one = format!("{}/{}", keys_of(org), text(&made, "id"));
    let mut callers =
        vec![(eve.token.clone(), StatusCode::NOT_FOUND), (text(&made, "key").to_owned(), StatusCode::FORBIDDEN)];
    for (role, status) in [(member, StatusCode::FORBIDDEN), (guest, StatusCode::FORBIDDEN)] {
        let person = world.user(role).await;
        world.join(org, &person, role).await;
        callers.push((person.token, status));
    }
    for (token, status) in callers {
        for (method, path, body) in [
            (Method::GET, keys_of(org), Value::Null),
            (Method::POST, keys_of(org), json!({"name": "x"})),
            (Method::DELETE, one.clone(), Value::Null),
        ] {
            assert_eq!(call(&world, method.clone(), &path, &token, body).await.0, status, "{method} {path}");
        }
    }
    // A key is found in its own organization alone.
    let elsewhere = format!("{}/{}", keys_of(foreign), text(&made, "id"));
    let (status, mut answer) = call(&world, Method::DELETE, &elsewhere, &eve.token, Value::Null).await;
    let nowhere = format!("{}/{}", keys_of(foreign), Uuid::new_v4());
    let (_, mut random) = call(&world, Method::DELETE, &nowhere, &eve.token, Value::Null).await;
    answer["details"].take();
    random["details"].take();
    assert_eq!((status, answer), (StatusCode::NOT_FOUND, random));
    for (path, body) in [
        (keys_of(org), json!({})),
        (keys_of(org), json!({"name": ""})),
        (keys_of(org), json!({"name": "x".repeat(256)})),
        (keys_of(org), json!({"name": "a\u{0}"})),
        (keys_of(org), json!({"name": ["x"]})),
        ("/api/v1/orgs/org-demo-123/worker-keys".to_owned(), json!({"name": "x"})),
    ] {
        assert_eq!(
            call(&world, Method::POST, &path, &ada.token, body.clone()).await.0,
            StatusCode::BAD_REQUEST,
            "{body}"
        );
    }
    let no_id = format!("{}/no-id", keys_of(org));
    assert_eq!(call(&world, Method::DELETE, &no_id, &ada.token, Value::Null).await.0, StatusCode::BAD_REQUEST);

    let person = world.user(admin).await;
    world.join(org, &person, admin).await;
    assert_eq!(call(&world, Method::DELETE, &one, &person.token, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(call(&world, Method::DELETE, &one, &person.token, Value::Null).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_not_quite_the_key_opens_nothing() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let (first, second) = (make(&world, &ada).await, make(&world, &ada).await);
    let (key, other) = (text(&first, "key"), text(&second, "key"));
    let (id, secret) = (&key[4..36], &key[37..]);
    let last = if key.ends_with('A') { "B" } else { "A" };
    for forged in [
        format!("gbw_{id}_{}", &other[37..]),
        format!("{}{last}", &key[..key.len() - 1]),
        format!("gbw_{id}_"),
        format!("gbw_{id}"),
        format!("gbw__{secret}"),
        format!("gbw_{}_{secret}", text(&first, "id")),
        format!("gbw_{}_{secret}", Uuid::new_v4().simple()),
        format!("gbw_{}_{secret}", id.to_uppercase()),
        format!("GBW_{id}_{secret}"),
        format!("gbw_{id}_{secret}="),
        format!("gbw_' or true --_{secret}"),
        format!("gbw_{id}_{}", "x".repeat(20_000)),
        secret.to_owned(),
    ] {
        let (status, answer) = call(&world, Method::GET, "/api/v1/orgs", &forged, Value::Null).await;
        assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!("INVALID_TOKEN")), "{forged}");
    }
    assert_eq!(call(&world, Method::GET, "/api/v1/orgs", key, Value::Null).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_key_opens_nothing_but_rest_and_nothing_outside_its_organization() {
    let world = World::start().await;
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    let (org, foreign) = (world.org(&ada).await, world.org(&eve).await);
    let foreign_project = world.project(&eve).await;
    let made = make(&world, &ada).await;
    let (key, user) = (text(&made, "key"), text(&made, "userId"));

    assert_eq!(call(&world, Method::POST, "/api/v1/auth/ws-token", key, Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(call(&world, Method::DELETE, "/api/v1/auth/session", key, Value::Null).await.0, StatusCode::FORBIDDEN);
    let session = world.http.post(world.url(0, "/api/v1/auth/session")).header("origin", ORIGIN);
    let session = session.json(&json!({"token": key})).send().await.expect("an answer");
    assert_eq!(session.status(), StatusCode::UNAUTHORIZED);
    let cookie = world.http.get(world.url(0, "/api/v1/orgs")).header("cookie", format!("auth_token={key}"));
    assert_eq!(cookie.send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    assert!(Client::try_connect(world.address(0), key, ClientId::random()).await.is_err());

    let org_body = json!({"name": "Its own", "slug": "its-own"});
    assert_eq!(call(&world, Method::POST, "/api/v1/orgs", key, org_body).await.0, StatusCode::FORBIDDEN);
    for path in [format!("/api/v1/orgs/{foreign}"), format!("/api/v1/projects/{foreign_project}")] {
        assert_eq!(call(&world, Method::GET, &path, key, Value::Null).await.0, StatusCode::NOT_FOUND);
    }
    // Not even another organization that wants it can have it, and its own cannot raise it.
    for statement in [
        format!("insert into org_members (org_id, user_id, role) values ('{foreign}', '{user}', 'member')"),
        format!("update org_members set role = 'owner' where org_id = '{org}' and user_id = '{user}'"),
        format!("update org_members set org_id = '{foreign}' where org_id = '{org}' and user_id = '{user}'"),
    ] {
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone())).execute(&world.database.superuser()).await;
        let code =
            refused.expect_err(&statement).as_database_error().and_then(|e| e.code()).map(|code| code.into_owned());
        assert_eq!(code.as_deref(), Some("23514"), "{statement}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_over_at_once_and_so_are_its_locks() {
    let world = World::with_instances(2).await;
    let ada = world.user("ada").await;
    let (org, project) = (world.org(&ada).await, world.project(&ada).await);
    let made = make(&world, &ada).await;
    let (key, user) = (text(&made, "key"), text(&made, "userId"));
    let node = Uuid::new_v4();
    world
        .sql(&format!(
            "insert into nodes (id, org_id, project_id, title, author_type)
             values ('{node}', '{org}', '{project}', 'x', 'human');
             insert into project_members (project_id, user_id, role) values ('{project}', '{user}', 'admin')"
        ))
        .await;
    let (status, lock) = call(&world, Method::POST, &format!("/api/v1/nodes/{node}/lock"), key, Value::Null).await;
    assert_eq!((status, text(&lock, "lockedBy")), (StatusCode::OK, user), "{lock}");

    let one = format!("{}/{}", keys_of(org), text(&made, "id"));
    assert_eq!(call(&world, Method::DELETE, &one, &ada.token, Value::Null).await.0, StatusCode::NO_CONTENT);
    for index in [0, 1] {
        let answer = world.http.get(world.url(index, "/api/v1/orgs")).bearer_auth(key).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    let released = format!("/api/v1/projects/{project}/events?since=0");
    wait_until("the end of its lock is told", DEADLINE, async || {
        let (_, feed) = call(&world, Method::GET, &released, &ada.token, Value::Null).await;
        feed["data"].as_array().into_iter().flatten().any(|event| {
            event["type"] == "lock_released"
                && event["payload"]["reason"] == "holder_removed"
                && event["payload"]["lockedBy"] == user
                && event["by"]["id"] == json!(ada.id)
        })
    })
    .await;
    let (_, list) = call(&world, Method::GET, &keys_of(org), &ada.token, Value::Null).await;
    assert_eq!(list, json!({"data": []}));
    let left: i64 = sqlx::query_scalar(
        "select (select count(*) from org_members where user_id = $1::text::uuid)
            + (select count(*) from project_members where user_id = $1::text::uuid)
            + (select count(*) from nodes where locked_by is not null)",
    )
    .bind(user)
    .fetch_one(&world.database.superuser())
    .await
    .expect("a count");
    assert_eq!(left, 0);
    let trail: Vec<String> = sqlx::query_scalar(
        "select action || ' ' || (user_id = $1)::text || ' ' || (details::text ~ 'hash|secret')::text
        from audit_log
        where resource_type = 'worker_key'
        order by created_at",
    )
    .bind(ada.id.0)
    .fetch_all(&world.database.superuser())
    .await
    .expect("the trail");
    assert_eq!(trail, ["worker_key.created true false", "worker_key.revoked true false"]);
    // Who has left is not said to leave each project as well.
    let ends: Vec<String> = sqlx::query_scalar(
        "select action || ' ' || (user_id = $1)::text
        from audit_log
        where action like '%.revoked' or action like '%.removed'
        order by created_at",
    )
    .bind(ada.id.0)
    .fetch_all(&world.database.superuser())
    .await
    .expect("the trail");
    assert_eq!(ends, ["worker_key.revoked true", "org_member.removed true"]);
    // What it did keeps its author, and nobody brings it back.
    let back = format!("insert into org_members (org_id, user_id, role) values ('{org}', '{user}', 'member')");
    assert!(sqlx::raw_sql(sqlx::AssertSqlSafe(back)).execute(&world.database.superuser()).await.is_err());
}

#[tokio::test]
async fn the_repeat_of_a_request_makes_no_second_key_and_does_not_tell_the_first() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let org = world.org(&ada).await;
    let ask = async || -> (StatusCode, Value) {
        let request = world.http.post(world.url(0, &keys_of(org))).bearer_auth(&ada.token);
        let response = request.header("idempotency-key", "once").json(&json!({"name": "x"})).send().await;
        let response = response.expect("an answer");
        (response.status(), response.json().await.expect("JSON"))
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!((first.0, again.0, &first.1["id"]), (StatusCode::CREATED, StatusCode::CREATED, &again.1["id"]));
    assert!(first.1["key"].is_string() && again.1.get("key").is_none());
    let rows: i64 = sqlx::query_scalar("select count(*) from realtime.worker_keys")
        .fetch_one(&world.database.superuser())
        .await
        .expect("a count");
    assert_eq!(rows, 1);
}
