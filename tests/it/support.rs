//! What the tests stand on: databases, instances, clients that mirror what they are told, and faults.

use std::time::Duration;

pub mod client;
pub mod database;
pub mod issuer;
pub mod mirror;
pub mod proxy;
pub mod rest;
pub mod strand;
pub mod v1_client;
pub mod world;

/// How long anything may take in a test before it counts as not happening.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until a condition holds; panics with its name after `deadline`.
pub async fn wait_until(what: &str, deadline: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let is_met = tokio::time::timeout(deadline, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(is_met.await.is_ok(), "not within {deadline:?}: {what}");
}
