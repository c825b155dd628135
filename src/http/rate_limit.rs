//! How often a caller may ask: a token bucket per caller and class of route, counted on this instance.

use std::num::NonZeroU32;

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::error::ApiError;
use super::scope;
use crate::config::HttpConfig;

/// What rates are counted by.
const MINUTE_S: u64 = 60;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Routes that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// All that are not named below.
    Standard,
    /// Tickets for WebSockets, so that a reconnect storm does not lock people out of the API.
    Ticket,
    /// Development tokens, per address.
    DevToken,
}

impl Class {
    /// The class of a request.
    pub fn of(parts: &Parts) -> Self {
        let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        match (&parts.method, path) {
            (&Method::POST, Some("/api/v1/auth/ws-token")) => Class::Ticket,
            _ => Class::Standard,
        }
    }
}

/// What a caller has left in a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests per minute.
    limit: u32,
    /// Requests that may come at once now.
    remaining: u32,
    /// When the bucket is full again, s.
    reset_s: u64,
}

impl Allowance {
    /// Tells the client.
    pub fn write(self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.reset_s));
    }
}

type Buckets = RateLimiter<String, HashMapStateStore<String>, DefaultClock, StateInformationMiddleware>;

/// The buckets of all callers of this instance.
pub struct RateLimits {
    standard: Limit,
    ticket: Limit,
    dev_token: Limit,
}

/// A class's limit and who has used how much of it.
struct Limit {
    per_minute: NonZeroU32,
    buckets: Buckets,
}

impl RateLimits {
    /// Empty buckets for everybody.
    pub fn new(config: &HttpConfig) -> Self {
        Self {
            standard: Limit::new(config.rate_limit_per_minute),
            ticket: Limit::new(config.tickets_per_minute),
            dev_token: Limit::new(config.dev_tokens_per_minute),
        }
    }

    /// Counts a request of a caller; notes what they have left, for the answer.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub fn check(&self, class: Class, caller: &str) -> Result<(), ApiError> {
        let limit = match class {
            Class::Standard => &self.standard,
            Class::Ticket => &self.ticket,
            Class::DevToken => &self.dev_token,
        };
        let checked = limit.buckets.check_key(&caller.to_owned());
        let remaining = checked.as_ref().map_or(0, StateSnapshot::remaining_burst_capacity);
        let per_minute = limit.per_minute.get();
        let used = u64::from(per_minute - remaining.min(per_minute));
        scope::note_allowance(Allowance {
            limit: per_minute,
            remaining,
            reset_s: (used * MINUTE_S).div_ceil(u64::from(per_minute)),
        });
        checked.map(|_| ()).map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            ApiError::rate_limited(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
        })
    }

    /// Lets go of buckets that are full again.
    pub fn sweep(&self) {
        for limit in [&self.standard, &self.ticket, &self.dev_token] {
            limit.buckets.retain_recent();
        }
    }
}

impl Limit {
    fn new(per_minute: NonZeroU32) -> Self {
        Self { per_minute, buckets: RateLimiter::hashmap(Quota::per_minute(per_minute)).with_middleware() }
    }
}
