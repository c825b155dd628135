//! What belongs to the request under way: its id and where it came from. Set by [`super::frame`] for the whole of it,
//! so that every answer, log line and audit row can name it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, header};
use glassbox_protocol::UserId;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::X_REQUEST_ID;
use super::rate_limit::Allowance;
use crate::store::{Origin, Via};

/// Longest `User-Agent` that is kept, characters.
const USER_AGENT_CHARS_MAX: usize = 256;

tokio::task_local! {
    static SCOPE: Scope;
}

/// What belongs to a request.
#[derive(Clone)]
pub struct Scope {
    /// Names the request in the log.
    pub id: String,
    /// Where it came from.
    pub via: Arc<Via>,
    /// What is found out on the way.
    found: Arc<Found>,
}

/// What is found out about a request while it is answered.
#[derive(Default)]
struct Found {
    body_hash: OnceLock<[u8; 32]>,
    user: OnceLock<UserId>,
    allowance: OnceLock<Allowance>,
}

impl Scope {
    /// Reads it from a request; the connection's address stands in its extensions.
    pub fn of(request: &Request, trusted_proxies: usize) -> Self {
        let headers = request.headers();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let user_agent = headers
            .get(header::USER_AGENT)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).chars().take(USER_AGENT_CHARS_MAX).collect());
        let ip = client_ip(headers, peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), trusted_proxies);
        Self { id: request_id(headers), via: Arc::new(Via { ip, user_agent }), found: Arc::default() }
    }

    /// Does something within it.
    pub async fn run<T>(self, work: impl Future<Output = T>) -> T {
        SCOPE.scope(self, work).await
    }

    /// Who asked, once that is known.
    pub fn user(&self) -> Option<UserId> {
        self.found.user.get().copied()
    }

    /// What the caller has left, once it was counted.
    pub fn allowance(&self) -> Option<Allowance> {
        self.found.allowance.get().copied()
    }
}

/// The id of the request under way.
pub fn id() -> String {
    SCOPE.try_with(|scope| scope.id.clone()).unwrap_or_default()
}

/// Where the request under way came from.
pub fn via() -> Arc<Via> {
    SCOPE
        .try_with(|scope| Arc::clone(&scope.via))
        .unwrap_or_else(|_| Arc::new(Via { ip: Ipv4Addr::UNSPECIFIED.into(), user_agent: None }))
}

/// Notes the body of a request that must take effect once.
pub fn note_body(body: &[u8]) {
    let _ = SCOPE.try_with(|scope| scope.found.body_hash.set(Sha256::digest(body).into()));
}

/// SHA-256 of the body of the request under way; of nothing, if it has none.
pub fn body_hash() -> [u8; 32] {
    let noted = SCOPE.try_with(|scope| scope.found.body_hash.get().copied()).ok().flatten();
    noted.unwrap_or_else(|| Sha256::digest([]).into())
}

/// Notes who asks.
pub fn note_user(user: UserId) {
    let _ = SCOPE.try_with(|scope| scope.found.user.set(user));
}

/// Notes what the caller has left.
pub fn note_allowance(allowance: Allowance) {
    let _ = SCOPE.try_with(|scope| scope.found.allowance.set(allowance));
}

/// Who stands behind what the request under way changes.
pub fn origin(user: UserId) -> Origin {
    Origin { via: Some(via()), ..Origin::user(user) }
}

/// Takes the caller's request id if it can stand in a log line, else makes one.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(X_REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=128).contains(&id.len()))
        .filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)))
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// Behind `trusted_proxies` proxies of our own, each of which has added the address that it saw, the client's address
/// is the one that the first of them saw. What stands before it was made up by the client, or may have been.
fn client_ip(headers: &HeaderMap, peer: IpAddr, trusted_proxies: usize) -> IpAddr {
    let Some(nth) = trusted_proxies.checked_sub(1) else { return peer };
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    forwarded.iter().rev().nth(nth).and_then(|text| text.parse().ok()).unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: &str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            HeaderValue::from_str(value).expect("a value"),
        );
        headers
    }

    #[test]
    fn a_request_id_is_taken_only_if_it_is_harmless() {
        assert_eq!(request_id(&headers("x-request-id", "a.B_9-")), "a.B_9-");
        let long = "a".repeat(129);
        for odd in ["", "a b", "a\"b", long.as_str()] {
            assert_ne!(request_id(&headers("x-request-id", odd)), odd);
        }
    }

    #[test]
    fn only_what_our_own_proxies_say_about_the_address_counts() {
        let peer: IpAddr = "10.0.0.1".parse().expect("an address");
        let headers = headers("x-forwarded-for", "203.0.113.9, 198.51.100.2, 10.0.0.2");
        let seen = |proxies| client_ip(&headers, peer, proxies).to_string();
        assert_eq!([seen(0), seen(1), seen(2)], ["10.0.0.1", "10.0.0.2", "198.51.100.2"]);
        assert_eq!(seen(9), "10.0.0.1", "fewer proxies than configured: nobody is believed");
    }
}
