//! How often a caller may ask.

use std::num::NonZeroU32;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::world::{Person, World};

async fn me(world: &World, who: &Person) -> Response {
    world.http.get(world.url(0, "/api/v1/orgs")).bearer_auth(&who.token).send().await.expect("an answer")
}

fn number(response: &Response, header: &str) -> u32 {
    let value = response.headers().get(header).unwrap_or_else(|| panic!("no {header}"));
    value.to_str().expect("text").parse().expect("a number")
}

#[tokio::test]
async fn a_caller_over_their_limit_is_told_when_to_come_back_and_others_are_not_touched() {
    let world = World::builder()
        .http(|http| {
            http.rate_limit_per_minute = NonZeroU32::new(40).expect("not 0");
            http.dev_tokens_per_minute = NonZeroU32::new(3).expect("not 0");
            http.tickets_per_minute = NonZeroU32::new(2).expect("not 0");
        })
        .start()
        .await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);

    let first = me(&world, &ada).await;
    assert_eq!((number(&first, "ratelimit-limit"), number(&first, "ratelimit-remaining")), (40, 39));
    for _ in 1..40 {
        assert_eq!(me(&world, &ada).await.status(), StatusCode::OK);
    }
    // The bucket refills while we ask: the refusal comes soon, not at an exact count.
    let mut refusal = me(&world, &ada).await;
    while refusal.status() == StatusCode::OK {
        refusal = me(&world, &ada).await;
    }
    assert_eq!(refusal.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait = number(&refusal, "retry-after");
    assert!((1..=3).contains(&wait), "{wait}");
    assert_eq!(number(&refusal, "ratelimit-remaining"), 0);
    let body: Value = refusal.json().await.expect("JSON");
    assert_eq!((body["code"].as_str(), &body["retry_after"]), (Some("RATE_LIMITED"), &json!(wait)));

    assert_eq!(me(&world, &bob).await.status(), StatusCode::OK);
    // Tickets are counted apart: whoever used up the API can still open a socket.
    let ticket = async || {
        let request = world.http.post(world.url(0, "/api/v1/auth/ws-token")).bearer_auth(&ada.token);
        request.send().await.expect("an answer").status()
    };
    assert_eq!([ticket().await, ticket().await], [StatusCode::OK; 2]);
    assert_eq!(ticket().await, StatusCode::TOO_MANY_REQUESTS);

    // Nobody has signed in yet when a development token is asked for: the address is counted.
    let token = async || {
        let body = json!({ "userId": "eve", "email": "eve@example.org" });
        world.http.post(world.url(0, "/api/v1/auth/dev-token")).json(&body).send().await.expect("an answer").status()
    };
    assert_eq!([token().await, token().await], [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS]);
    // A preflight is never counted.
    let preflight = world.http.request(reqwest::Method::OPTIONS, world.url(0, "/api/v1/orgs")).send().await;
    assert_eq!(preflight.expect("an answer").status(), StatusCode::NO_CONTENT);
}
