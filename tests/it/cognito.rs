//! Tokens of the user pool: whom they let in, as whom, and what they are refused for.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use glassbox_protocol::ClientId;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::issuer::{CLIENT_ID, Issuer, Key, Mood};
use crate::support::world::{Person, World};
use crate::support::{DEADLINE, wait_until};

async fn start(issuer: &Issuer) -> World {
    World::builder()
        .secrets(|secrets| {
            secrets.cognito = Some(issuer.config());
            secrets.caller_life = Duration::ZERO;
        })
        .start()
        .await
}

fn signed(claims: &Value) -> String {
    let key = Key::nth(0);
    key.sign(&key.head(), claims)
}

fn with(mut claims: Value, field: &str, value: Value) -> Value {
    claims[field] = value;
    claims
}

fn without(mut claims: Value, field: &str) -> Value {
    claims.as_object_mut().expect("claims").remove(field);
    claims
}

async fn me(world: &World, token: &str) -> (StatusCode, Value) {
    let request = world.http.get(world.url(0, "/api/v1/users/me")).bearer_auth(token);
    let response = request.send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

async fn signed_in(world: &World, token: &str) -> Value {
    let (status, user) = me(world, token).await;
    assert_eq!(status, StatusCode::OK, "{user}");
    user
}

async fn users(world: &World) -> i64 {
    let count = sqlx::query_scalar("select count(*) from users").fetch_one(&world.database.superuser()).await;
    count.expect("a count")
}

#[tokio::test]
async fn both_tokens_of_a_person_open_rest_and_a_socket_as_the_same_user() {
    let issuer = Issuer::start().await;
    let world = start(&issuer).await;
    let sub = Uuid::new_v4().to_string();
    let access = signed(&issuer.access(&sub));
    let user = signed_in(&world, &access).await;
    assert_eq!(user["cognitoSub"], sub.as_str());
    assert_eq!(user["email"], format!("{sub}@users.invalid"));
    assert!(user.get("name").is_none());

    let id = signed(&with(issuer.id(&sub, "Ada@Example.org"), "name", json!("Ada")));
    let known = signed_in(&world, &id).await;
    assert_eq!(known["id"], user["id"]);
    assert_eq!((&known["email"], &known["name"]), (&json!("Ada@Example.org"), &json!("Ada")));
    assert_eq!(signed_in(&world, &access).await["email"], "Ada@Example.org");

    for token in [&access, &id] {
        let client = Client::connect(world.address(0), token, ClientId::random()).await;
        assert_eq!(json!(client.welcome.user.id), user["id"]);
        let url = world.url(0, &format!("/ws?token={token}"));
        let upgrade = world
            .http
            .get(url)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "glassbox.v2");
        assert_eq!(upgrade.send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!((users(&world).await, issuer.asked()), (1, 1));
}

#[tokio::test]
async fn many_first_requests_at_once_make_one_user_and_fetch_the_keys_once() {
    let issuer = Issuer::start().await;
    let world = start(&issuer).await;
    let token = signed(&with(issuer.id("twin", "twin@example.org"), "name", json!("Twin")));
    let answers = futures::future::join_all((0..16).map(|_| me(&world, &token))).await;
    assert!(answers.iter().all(|(status, user)| *status == StatusCode::OK && user["id"] == answers[0].1["id"]));
    assert_eq!((users(&world).await, issuer.asked()), (1, 1));
}

#[tokio::test]
async fn what_a_person_calls_themselves_outlives_their_next_sign_in() {
    let issuer = Issuer::start().await;
    let world = start(&issuer).await;
    let token = signed(&with(issuer.id("ada", "ada@example.org"), "name", json!("Ada")));
    signed_in(&world, &token).await;
    world.sql("update users set name = 'Countess'").await;
    assert_eq!(signed_in(&world, &token).await["name"], "Countess");
}

async fn invite(world: &World, email: &str) -> (Person, Uuid) {
    let owner = world.user("owner").await;
    let (org, invited) = (world.org(&owner).await, Uuid::new_v4());
    world
        .sql(&format!(
            "insert into users (id, cognito_sub, email) values ('{invited}', 'invited:{email}', '{email}');
             insert into org_members (org_id, user_id, role) values ('{org}', '{invited}', 'admin')"
        ))
        .await;
    (owner, invited)
}

#[tokio::test]
async fn an_invitation_goes_to_whom_the_pool_has_seen_to_have_the_email() {
    let issuer = Issuer::start().await;
    for (verified, is_guest) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(false), false),
        (json!("false"), false),
        (Value::Null, false),
    ] {
        let world = start(&issuer).await;
        let (_, invited) = invite(&world, "guest@example.org").await;
        let claims = with(issuer.id("guest-sub", "Guest@Example.org"), "email_verified", verified.clone());
        let user = signed_in(&world, &signed(&claims)).await;
        assert_eq!(user["id"] == json!(invited), is_guest, "{verified}");
        // An email that the pool denies is nobody's.
        let is_kept = user["email"].as_str().is_some_and(|email| email.eq_ignore_ascii_case("guest@example.org"));
        assert_eq!(is_kept, is_guest || verified.is_null(), "{verified}: {user}");
    }
}

#[tokio::test]
async fn an_invitation_is_found_by_somebody_whose_access_token_came_first() {
    let issuer = Issuer::start().await;
    let world = start(&issuer).await;
    let (owner, invited) = invite(&world, "guest@example.org").await;
    let project = world.project(&owner).await;
    world
        .sql(&format!(
            "insert into project_members (project_id, user_id, role) values ('{project}', '{invited}', 'viewer');
             insert into nodes (org_id, project_id, title, author_type, supervisor_user_id)
             select org_id, id, 'x', 'human', '{invited}' from projects where id = '{project}'"
        ))
        .await;
    let access = signed(&issuer.access("guest-sub"));
    let user = signed_in(&world, &access).await["id"].as_str().expect("an id").to_owned();
    let role = async || -> Option<String> {
        let sql = "select string_agg(role, ',') from org_members where user_id = $1::text::uuid";
        sqlx::query_scalar(sql).bind(&user).fetch_one(&world.database.superuser()).await.expect("a role")
    };
    assert_eq!(role().await, None);

    assert_eq!(signed_in(&world, &signed(&issuer.id("guest-sub", "GUEST@example.org"))).await["id"], user.as_str());
    assert_eq!(role().await.as_deref(), Some("admin"));
    let left: i64 = sqlx::query_scalar("select count(*) from users where cognito_sub like 'invited:%'")
        .fetch_one(&world.database.superuser())
        .await
        .expect("a count");
    let moved: i64 = sqlx::query_scalar(
        "select count(*) from project_members m join nodes n on n.supervisor_user_id = m.user_id
        where m.user_id = $1::text::uuid",
    )
    .bind(&user)
    .fetch_one(&world.database.superuser())
    .await
    .expect("a count");
    assert_eq!((left, moved), (0, 1));
}

#[tokio::test]
async fn all_that_the_invited_had_goes_to_their_guest_with_the_higher_role() {
    let issuer = Issuer::start().await;
    let world = start(&issuer).await;
    let (owner, invited) = invite(&world, "guest@example.org").await;
    let (org, project) = (world.org(&owner).await, world.project(&owner).await);
    let other = world.org(&world.user("other").await).await;
    let as_given = Uuid::new_v4();
    let user = signed_in(&world, &signed(&issuer.access("guest-sub"))).await["id"].as_str().expect("an id").to_owned();
    let assignees = json!({"assignees": [owner.id, user, invited.to_string().to_uppercase(), as_given]});
    world
        .sql(&format!(
            "insert into users (id, cognito_sub, email)
             values ('{as_given}', 'invited:Guest@Example.org', 'Guest@Example.org');
             insert into org_members (org_id, user_id, role)
             values ('{org}', '{user}', 'guest'), ('{other}', '{user}', 'owner'), ('{org}', '{as_given}', 'member'),
                 ('{other}', '{as_given}', 'member');
             insert into project_members (project_id, user_id, role)
             values ('{project}', '{user}', 'viewer'), ('{project}', '{as_given}', 'member');
             insert into notifications (org_id, user_id, type, title)
             values ('{org}', '{invited}', 'mention', 'x'), ('{other}', '{as_given}', 'mention', 'y');
             insert into nodes (org_id, project_id, title, author_type, metadata)
             values ('{org}', '{project}', 'x', 'human', '{assignees}')"
        ))
        .await;
    assert_eq!(signed_in(&world, &signed(&issuer.id("guest-sub", "Guest@Example.org"))).await["id"], user.as_str());

    let of_guest = async |sql: &str| -> String {
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).bind(&user);
        query.fetch_one(&world.database.superuser()).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    };
    let roles = "select string_agg(role, ' ' order by role) from org_members where user_id = $1::text::uuid";
    assert_eq!(of_guest(roles).await, "admin owner");
    let roles = "select string_agg(role, ' ') from project_members where user_id = $1::text::uuid";
    assert_eq!(of_guest(roles).await, "member");
    let told = "select string_agg(title, ' ' order by title) from notifications
        where user_id = $1::text::uuid and type = 'mention'";
    assert_eq!(of_guest(told).await, "x y");
    let assigned = of_guest("select metadata::text from nodes where $1 <> ''").await;
    let assigned: Value = serde_json::from_str(&assigned).expect("JSON");
    assert_eq!(assigned, json!({"assignees": [owner.id, user]}));
    let left = of_guest("select count(*)::text from users where cognito_sub like 'invited:%' and $1 <> ''").await;
    assert_eq!(left, "0");
}

#[tokio::test]
async fn somebody_who_was_deleted_stays_out_until_they_sign_in_anew() {
    let issuer = Issuer::start().await;
    let world = World::builder()
        .secrets(|secrets| {
            secrets.cognito = Some(issuer.config());
            secrets.caller_life = Duration::from_millis(200);
        })
        .start()
        .await;
    let now = glassbox::auth::now();
    let before = with(issuer.access("ada"), "auth_time", json!(now - 10));
    let token = signed(&before);
    signed_in(&world, &token).await;
    world.sql("delete from users where cognito_sub = 'ada'").await;
    wait_until("the token is refused", DEADLINE, async || me(&world, &token).await.0 == StatusCode::UNAUTHORIZED).await;
    // A refreshed token is of the same sign-in.
    let refreshed = signed(&with(before, "iat", json!(now + 30)));
    assert_eq!(me(&world, &refreshed).await.0, StatusCode::UNAUTHORIZED);
    let undated = signed(&without(without(issuer.access("ada"), "auth_time"), "iat"));
    assert_eq!(me(&world, &undated).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(users(&world).await, 0);
    signed_in(&world, &signed(&with(issuer.access("ada"), "auth_time", json!(now + 30)))).await;
}

/// Tokens that must open nothing, each with a name.
fn forgeries(issuer: &Issuer) -> Vec<(String, String)> {
    let (ours, other) = (Key::nth(0), Key::nth(1));
    let (access, id) = (issuer.access("eve"), issuer.id("eve", "eve@example.org"));
    let now = glassbox::auth::now();
    let mut forgeries = Vec::new();
    let mut add = |name: &str, token: String| forgeries.push((name.to_owned(), token));
    let claims = |name: &str, claims: Value| (name.to_owned(), ours.sign(&ours.head(), &claims));

    // Algorithms: none in any spelling, and HMAC with what everybody knows as the key.
    for alg in ["none", "None", "NONE", "nOnE", "", "RS256 ", "rs256", "RS384", "RS512", "PS256", "ES256", "EdDSA"] {
        let head = json!({"alg": alg, "kid": ours.kid});
        add(&format!("alg {alg:?}, signed"), ours.sign(&head, &access));
        let unsigned = ours.sign(&head, &access).rsplit_once('.').expect("parts").0.to_owned();
        add(&format!("alg {alg:?}, unsigned"), format!("{unsigned}."));
    }
    let public = ours.jwk();
    let modulus = URL_SAFE_NO_PAD.decode(public["n"].as_str().expect("n")).expect("base64");
    for (name, secret) in [
        ("its modulus", modulus),
        ("its modulus as text", public["n"].as_str().expect("n").into()),
        ("its key as JSON", public.to_string().into_bytes()),
        ("nothing", Vec::new()),
    ] {
        let mut head = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        head.kid = Some(ours.kid.clone());
        let key = jsonwebtoken::EncodingKey::from_secret(&secret);
        add(&format!("HMAC with {name}"), jsonwebtoken::encode(&head, &access, &key).expect("a token"));
    }
    for alg in [json!(null), json!(7), json!(["RS256"]), json!({"a": 1})] {
        add(&format!("alg {alg}"), ours.sign(&json!({"alg": alg, "kid": ours.kid}), &access));
    }

    // Keys: other ids than the pool's, and keys that the token brings or points to.
    for kid in [
        json!("../../../../dev/null"),
        json!("/dev/null"),
        json!("' or '1'='1"),
        json!("first'; drop table users; --"),
        json!("first\u{0}"),
        json!("FIRST"),
        json!(""),
        json!("k".repeat(257)),
        json!("k".repeat(9000)),
        json!(null),
        json!(1),
        json!(["first"]),
    ] {
        let text: String = kid.to_string().chars().take(40).collect();
        add(&format!("kid {text}"), ours.sign(&json!({"alg": "RS256", "kid": kid}), &access));
    }
    add("no kid", ours.sign(&json!({"alg": "RS256"}), &access));
    add("another key under our kid", other.sign(&ours.head(), &access));
    add("another key that is not shown", other.sign(&other.head(), &access));
    for (field, value) in [
        ("jku", json!("http://evil.example/jwks.json")),
        ("x5u", json!("http://evil.example/cert.pem")),
        ("jwk", other.jwk()),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
    ] {
        add(&format!("{field} with another key"), other.sign(&with(ours.head(), field, value.clone()), &access));
        add(&format!("{field} with our key"), ours.sign(&with(ours.head(), field, value), &access));
    }

    // Claims.
    forgeries.extend([
        claims("another issuer", with(access.clone(), "iss", json!("https://evil.example/pool"))),
        claims("our issuer with a slash", with(access.clone(), "iss", json!(format!("{}/", issuer.config().issuer)))),
        claims("a list of issuers", with(access.clone(), "iss", json!([issuer.config().issuer, "x"]))),
        claims("no issuer", without(access.clone(), "iss")),
        claims("another client", with(access.clone(), "client_id", json!("another"))),
        claims("no client", without(access.clone(), "client_id")),
        claims("an audience instead of a client", with(without(access.clone(), "client_id"), "aud", json!(CLIENT_ID))),
        claims("another audience", with(id.clone(), "aud", json!("another"))),
        claims("a list of audiences", with(id.clone(), "aud", json!([CLIENT_ID]))),
        claims("no audience", without(id.clone(), "aud")),
        claims("a client instead of an audience", with(without(id.clone(), "aud"), "client_id", json!(CLIENT_ID))),
        claims("another use", with(access.clone(), "token_use", json!("refresh"))),
        claims("an id token as an access token", with(id.clone(), "token_use", json!("access"))),
        claims("an access token as an id token", with(access.clone(), "token_use", json!("id"))),
        claims("no use", without(access.clone(), "token_use")),
        claims("a number as use", with(access.clone(), "token_use", json!(1))),
        claims("no end", without(access.clone(), "exp")),
        claims("an end of null", with(access.clone(), "exp", json!(null))),
        claims("an end as text", with(access.clone(), "exp", json!((now + 3600).to_string()))),
        claims("an end as a float", with(access.clone(), "exp", json!(now as f64 + 3600.5))),
        claims("an end at the end of time", with(access.clone(), "exp", json!(i64::MAX))),
        claims("an end behind the end of time", with(access.clone(), "exp", json!(u64::MAX))),
        claims("an end as an object", with(access.clone(), "exp", json!({}))),
        claims("an end before all time", with(access.clone(), "exp", json!(-1))),
        claims("an end two minutes ago", with(access.clone(), "exp", json!(now - 120))),
        claims("a beginning in the future", with(access.clone(), "nbf", json!(now + 300))),
        claims("a beginning as text", with(access.clone(), "nbf", json!("now"))),
        claims("a birth as text", with(access.clone(), "iat", json!("now"))),
        claims("no subject", without(access.clone(), "sub")),
        claims("an empty subject", with(access.clone(), "sub", json!(""))),
        claims("a number as subject", with(access.clone(), "sub", json!(7))),
        claims("a list as subject", with(access.clone(), "sub", json!(["eve"]))),
        claims("null as subject", with(access.clone(), "sub", json!(null))),
        claims("a subject with NUL", with(access.clone(), "sub", json!("e\u{0}ve"))),
        claims("a long subject", with(access.clone(), "sub", json!("e".repeat(300)))),
        claims("an invitation as subject", with(access.clone(), "sub", json!("invited:ada@example.org"))),
        claims("a worker as subject", with(access.clone(), "sub", json!("worker:1"))),
        claims("a number as email", with(id.clone(), "email", json!(7))),
        claims("an email with NUL", with(id.clone(), "email", json!("e\u{0}@example.org"))),
        claims("a long email", with(id.clone(), "email", json!("e".repeat(256)))),
        claims("a list as name", with(id.clone(), "name", json!(["Eve"]))),
        claims("a number as email_verified", with(id.clone(), "email_verified", json!(1))),
        claims("no claims", json!({})),
        claims("a list of claims", json!([access])),
        claims("claims that are no JSON", json!("{\"sub\":")),
        claims("a claim that stands twice", {
            let text = access.to_string();
            json!(format!("{{\"sub\":\"ada\",{}", &text[1..]))
        }),
        claims("more than 16 KiB", with(access.clone(), "scope", json!("x".repeat(16 * 1024)))),
    ]);

    // Texts.
    let good = ours.sign(&ours.head(), &access);
    let parts: Vec<&str> = good.split('.').collect();
    let swapped = with(access.clone(), "sub", json!("ada"));
    let payload = URL_SAFE_NO_PAD.encode(swapped.to_string());
    let mut tampered = URL_SAFE_NO_PAD.decode(parts[2]).expect("base64");
    tampered[0] ^= 1;
    for (name, token) in [
        ("another payload", format!("{}.{payload}.{}", parts[0], parts[2])),
        ("another signature", format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode(tampered))),
        ("an empty signature", format!("{}.{}.", parts[0], parts[1])),
        ("no signature", format!("{}.{}", parts[0], parts[1])),
        ("a short signature", good[..good.len() - 4].to_owned()),
        ("a fourth part", format!("{good}.x")),
        ("padding", format!("{good}==")),
        ("an empty head", format!(".{}.{}", parts[1], parts[2])),
        ("dots", "..".to_owned()),
        ("no token", "x".to_owned()),
        ("the kids' text", URL_SAFE_NO_PAD.encode(good)),
    ] {
        forgeries.push((name.to_owned(), token));
    }
    forgeries
}

#[tokio::test]
async fn what_the_pool_did_not_sign_for_us_opens_nothing() {
    let issuer = Issuer::start().await;
    let world = start(&issuer).await;
    signed_in(&world, &signed(&issuer.access("good"))).await;
    let mut opened = Vec::new();
    for (name, token) in forgeries(&issuer) {
        let (status, answer) = me(&world, &token).await;
        if status != StatusCode::UNAUTHORIZED || answer["code"] != "INVALID_TOKEN" {
            opened.push(format!("REST, {name}: {status} {answer}"));
        }
        let session =
            world.http.post(world.url(0, "/api/v1/auth/session")).header("origin", crate::support::world::ORIGIN);
        let answer = session.json(&json!({"token": token})).send().await.expect("an answer");
        if answer.status() != StatusCode::UNAUTHORIZED || answer.headers().contains_key("set-cookie") {
            opened.push(format!("session, {name}: {}", answer.status()));
        }
        match Client::try_connect(world.address(0), &token, ClientId::random()).await {
            Ok(_) => opened.push(format!("hello, {name}")),
            Err(lost) if matches!(lost.code, Some(4500 | 4001)) => {}
            Err(lost) => opened.push(format!("hello, {name}: {lost}")),
        }
    }
    assert!(opened.is_empty(), "{opened:#?}");
    assert_eq!(users(&world).await, 1);
    // The keys came first; all made-up ids together were worth one more look.
    assert_eq!(issuer.asked(), 2);
    assert_eq!(signed_in(&world, &signed(&issuer.access("good"))).await["cognitoSub"], "good");
}

#[tokio::test]
async fn clocks_may_differ_by_a_minute() {
    let issuer = Issuer::start().await;
    let world = start(&issuer).await;
    let now = glassbox::auth::now();
    for claims in
        [with(issuer.access("ada"), "exp", json!(now - 30)), with(issuer.access("ada"), "nbf", json!(now + 30))]
    {
        let response = world.http.get(world.url(0, "/api/v1/users/me")).bearer_auth(signed(&claims)).send().await;
        assert_eq!(response.expect("an answer").status(), StatusCode::OK, "{claims}");
    }
}

#[tokio::test]
async fn a_new_key_of_the_pool_is_found_at_once_and_made_up_ones_are_not_looked_for_again() {
    let issuer = Issuer::start().await;
    let world = start(&issuer).await;
    let [first, second, third] = [0, 1, 2].map(Key::nth);
    let token = |key: &Key| key.sign(&key.head(), &issuer.access("ada"));
    signed_in(&world, &token(first)).await;
    issuer.shows(&[first, second]);
    signed_in(&world, &token(second)).await;
    signed_in(&world, &token(first)).await;
    assert_eq!(issuer.asked(), 2);
    for _ in 0..20 {
        assert_eq!(me(&world, &token(third)).await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn known_keys_serve_while_the_pool_is_away() {
    let issuer = Issuer::start().await;
    let world = start(&issuer).await;
    signed_in(&world, &signed(&issuer.access("ada"))).await;
    issuer.is(Mood::Fails);
    signed_in(&world, &signed(&issuer.access("ben"))).await;
    // It may be a new key: nobody can say that the token is bad.
    let new = Key::nth(1);
    let (status, answer) = me(&world, &new.sign(&new.head(), &issuer.access("ada"))).await;
    assert_eq!((status, &answer["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("UNAVAILABLE")));
    signed_in(&world, &signed(&issuer.access("ada"))).await;
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn without_any_keys_nobody_is_called_a_forger() {
    let good = || json!({"keys": [Key::nth(0).jwk()]});
    let too_large = json!({"keys": [Key::nth(0).jwk()], "padding": "x".repeat(64 * 1024)});
    let too_many =
        json!({"keys": (0..21).map(|i| with(Key::nth(0).jwk(), "kid", json!(format!("k{i}")))).collect::<Vec<_>>()});
    let moods = [
        Mood::Fails,
        Mood::Hangs,
        Mood::Redirects(good()),
        Mood::Answers(too_large),
        Mood::Answers(too_many),
        Mood::Answers(json!({"keys": []})),
        Mood::Answers(json!("nothing")),
    ];
    futures::future::join_all(moods.map(async |mood| {
        let issuer = Issuer::start().await;
        issuer.is(mood.clone());
        let world = start(&issuer).await;
        let token = signed(&issuer.access("ada"));
        let what: String = format!("{mood:?}").chars().take(60).collect();
        let answers = futures::future::join_all((0..4).map(|_| me(&world, &token))).await;
        for (status, answer) in answers {
            assert_eq!((status, &answer["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("UNAVAILABLE")), "{what}");
        }
        let lost = Client::try_connect(world.address(0), &token, ClientId::random()).await.err().expect("no keys");
        assert_eq!(lost.code, Some(4030), "{what}");
        // It is soon noticed that the pool is back.
        issuer.is(Mood::Answers(good()));
        wait_until("the pool is back", DEADLINE, async || me(&world, &token).await.0 == StatusCode::OK).await;
    }))
    .await;
}

#[tokio::test]
async fn without_a_pool_its_tokens_are_noise() {
    let issuer = Issuer::start().await;
    let world = World::start().await;
    assert_eq!(me(&world, &signed(&issuer.access("ada"))).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test]
async fn a_development_token_and_a_pools_token_stand_beside_each_other_in_development_only() {
    let issuer = Issuer::start().await;
    let world = start(&issuer).await;
    let ada = world.user("ada").await;
    let user = signed_in(&world, &ada.token).await;
    assert_eq!(user["id"], json!(ada.id));
    let production = World::builder()
        .secrets(|secrets| {
            secrets.is_development = false;
            secrets.cognito = Some(issuer.config());
        })
        .start_on(crate::support::database::TestDatabase::create().await)
        .await;
    let id = ada.id;
    production.sql(&format!("insert into users (id, cognito_sub, email) values ('{id}', 'x', 'x@example.org')")).await;
    assert_eq!(me(&production, &ada.token).await.0, StatusCode::UNAUTHORIZED);
    assert!(Client::try_connect(production.address(0), &ada.token, ClientId::random()).await.is_err());
    signed_in(&production, &signed(&issuer.access("ada"))).await;
    let refused = production.http.post(production.url(0, "/api/v1/auth/dev-token")).body("{}").send().await;
    assert_eq!(refused.expect("an answer").status(), StatusCode::NOT_FOUND);
}
