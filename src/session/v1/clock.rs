//! What the clock asks of a session of the older dialect: signs of life, ends, and what waited for its time.

use std::time::Duration;

use glassbox_protocol::Channel;
use glassbox_protocol::server::CloseCode;
use tokio::time::Instant;

use super::conversation::{Ended, Session};
use crate::auth;
use crate::session::TOKEN_GRACE_S;
use crate::session::outbound::Lane;

/// How often a session notes that it lives.
const SEEN_INTERVAL: Duration = Duration::from_secs(120);
/// How soon a list that had no room is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

impl Session {
    /// When something is due.
    pub(super) fn wake_at(&self) -> Instant {
        let token_in = u64::try_from(self.page.identity.expires_at + TOKEN_GRACE_S - auth::now()).unwrap_or(0);
        let token = Instant::now() + Duration::from_secs(token_in.min(86_400));
        let list = self.is_list_due.then(|| Instant::now() + RETRY_INTERVAL);
        let others = [Some(self.seen_at + SEEN_INTERVAL), self.backlog_due, list, self.pace.next(), self.next_leave()];
        others.into_iter().flatten().fold(self.heart.next().min(token), Instant::min)
    }

    /// Does what is due; tells if that ends the session.
    pub(super) async fn clock(&mut self) -> Option<Ended> {
        let now = Instant::now();
        if !self.heart.beat(now, &self.out) {
            return Some(Ended::Violation(CloseCode::PongMissing, "no sign of life"));
        }
        if auth::now() >= self.page.identity.expires_at + TOKEN_GRACE_S {
            return Some(Ended::Violation(CloseCode::TokenExpired, "the session has expired"));
        }
        if now >= self.seen_at + SEEN_INTERVAL {
            self.look_at_ticket();
        }
        if self.backlog_due.is_some_and(|due| now >= due) {
            self.push_backlog();
        }
        for (project, ready) in self.pace.due(now) {
            if self.is_for_us(project, &ready) {
                self.out.push(&[ready.frame], Lane::Durable, Channel::Project(project));
            }
        }
        self.let_go(now).await;
        None
    }
}
