//! Sessions and the tokens that they live by: announced ends, refreshes, and what a session asks for its user.

use glassbox::auth::now;
use glassbox::auth::sid::Sid;
use glassbox::auth::token::{DevClaims, TicketClaims};
use glassbox_protocol::client::{NotificationsRead, TokenRefresh};
use glassbox_protocol::{ClientId, ClientMessage, RequestId};
use reqwest::StatusCode;
use serde_json::Value;

use crate::support::client::Client;
use crate::support::mirror::Start;
use crate::support::world::{Person, World};

/// A development token of somebody that ends in so many seconds.
fn short_token(person: &Person, life_s: i64) -> String {
    let mut claims = DevClaims::new(person.id, &person.name, "x@example.org", now());
    claims.exp = now() + life_s;
    claims.sign(&World::secrets())
}

/// Sends a `token_refresh` and waits for its answer, or for the end of the socket.
async fn refresh(client: &Client, token: &str) -> Value {
    let request = RequestId::random();
    client.send(ClientMessage::TokenRefresh(TokenRefresh { token: token.to_owned() }), Some(request));
    client.wait("an answer", |frame| (frame["requestId"] == request.to_string()).then(|| frame.clone())).await
}

#[tokio::test]
async fn a_session_goes_on_with_a_new_token_of_its_own_user_and_with_no_other() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let project = world.project(&ada).await;
    let client = Client::connect(world.address(0), &short_token(&ada, 40), ClientId::random()).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let told = |frame: &Value| frame["payload"]["inMs"].as_u64().filter(|_| frame["type"] == "token_expiring");
    assert!(client.wait("the token's end", told).await <= 40_000);

    let answer = refresh(&client, "nonsense").await;
    assert_eq!((&answer["type"], &answer["payload"]["code"]), (&"error".into(), &"UNAUTHENTICATED".into()));
    let since = client.position();
    let answer = refresh(&client, &short_token(&ada, 50)).await;
    assert_eq!(answer["type"], "token_refreshed");
    let left = answer["payload"]["expiresInMs"].as_u64().expect("a time");
    assert!((1..=50_000).contains(&left), "{left}");
    assert!(client.wait_since(since, "the new token's end", told).await <= 50_000);

    // A ticket serves as well, once.
    let ticket = world.post("/api/v1/auth/ws-token", Some(&ada), &Value::Null).await["token"].clone();
    let ticket = ticket.as_str().expect("a ticket");
    assert_eq!(refresh(&client, ticket).await["type"], "token_refreshed");
    assert_eq!(refresh(&client, ticket).await["payload"]["code"], "UNAUTHENTICATED");
    client.assert_sound();

    client.send(ClientMessage::TokenRefresh(TokenRefresh { token: bob.token }), Some(RequestId::random()));
    assert_eq!(client.closed().await.code, Some(4500));
}

#[tokio::test]
async fn signing_out_ends_the_sockets_that_were_refreshed_with_that_token() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let (first, second) = (short_token(&ada, 600), short_token(&ada, 700));
    let stays = Client::connect(world.address(0), &second, ClientId::random()).await;
    assert_eq!(refresh(&stays, &first).await["type"], "token_refreshed");
    let goes = Client::connect(world.address(0), &first, ClientId::random()).await;
    assert_eq!(refresh(&goes, &second).await["type"], "token_refreshed");
    let request = world.http.delete(world.url(0, "/api/v1/auth/session")).bearer_auth(&second);
    assert_eq!(request.send().await.expect("an answer").status(), StatusCode::NO_CONTENT);
    assert_eq!(goes.closed().await.code, Some(4500));
    assert_eq!(refresh(&stays, &first).await["type"], "token_refreshed", "it belongs to the other sign-in now");
}

#[tokio::test]
async fn a_session_outlives_its_token_by_its_grace_alone() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    // The sign-in behind the ticket ended 23 s ago, of 25 s of grace.
    let sid = Sid::of(&ada.token);
    let claims =
        TicketClaims { exp: now() + 60, session_exp: now() - 23, ..TicketClaims::new(ada.id, sid, now() + 60, now()) };
    world
        .sql(&format!(
            "insert into realtime.tickets (id, user_id, sid, expires_at)
            values ('{}', '{}', '{sid}', now() + interval '1 min')",
            claims.jti, ada.id
        ))
        .await;
    let client = Client::connect(world.address(0), &claims.sign(&World::secrets()), ClientId::random()).await;
    let told = client.wait("the token's end", |f| (f["type"] == "token_expiring").then(|| f["payload"].clone())).await;
    assert_eq!(told["inMs"], 0);
    assert_eq!(client.closed().await.code, Some(4001));
}

#[tokio::test]
async fn what_one_session_has_read_all_sessions_of_the_user_learn() {
    let world = World::with_instances(2).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let org = world.org(&ada).await;
    let (here, there) = (world.client(0, &ada).await, world.client(1, &ada).await);
    let tell = async |who: &Person, title: &str| -> String {
        let id = uuid::Uuid::new_v4().to_string();
        world
            .sql(&format!(
                "insert into notifications (id, user_id, org_id, type, title) values ('{id}', '{}', '{org}', 'mention', '{title}')",
                who.id
            ))
            .await;
        id
    };
    let (first, second, third) = (tell(&ada, "one").await, tell(&ada, "two").await, tell(&ada, "three").await);
    let foreign = tell(&bob, "his").await;
    let id = |text: &str| text.parse().expect("an id");
    let read = async |read: NotificationsRead| {
        let request = RequestId::random();
        here.send(ClientMessage::NotificationsRead(read), Some(request));
        here.wait("an answer", |f| {
            (f["requestId"] == request.to_string() && f.get("seq").is_none()).then(|| f["payload"].clone())
        })
        .await
    };
    let some = NotificationsRead::Some { ids: vec![id(&third), id(&foreign)] };
    let answer = read(some.clone()).await;
    assert_eq!((&answer["outcome"], &answer["result"]["unreadCount"]), (&"applied".into(), &2.into()));
    for client in [&here, &there] {
        let told = |f: &Value| (f["type"] == "notifications_read").then(|| f["payload"].clone());
        let payload = client.wait("notifications_read", told).await;
        assert_eq!(payload["ids"], serde_json::json!([third]));
        assert_eq!(payload["unreadCount"], 2);
    }
    assert_eq!(read(some).await["outcome"], "unchanged");
    let answer = read(NotificationsRead::UpTo { up_to: id(&second) }).await;
    assert_eq!((&answer["outcome"], &answer["result"]["unreadCount"]), (&"applied".into(), &0.into()));
    assert_eq!(read(NotificationsRead::Some { ids: vec![id(&first)] }).await["outcome"], "unchanged");
    let answer = read(NotificationsRead::UpTo { up_to: id(&foreign) }).await;
    assert_eq!(answer["code"], "VALIDATION", "others' are not there");
    let answer = read(NotificationsRead::Some { ids: vec![id(&first); 501] }).await;
    assert_eq!(answer["code"], "VALIDATION");
    here.assert_sound();
    there.assert_sound();
}
