//! The heart of a connection: the server pings, and an answer must come in time.

use tokio::time::Instant;

use super::outbound::Outbound;
use crate::config::{PING_INTERVAL, PONG_DEADLINE};
use crate::room::frame::Frame;

/// When a client was last pinged, and whether it has been heard since.
pub(super) struct Heart {
    pinged_at: Instant,
    is_pong_missing: bool,
}

impl Heart {
    /// Beats for the first time when the interval is over.
    pub(super) fn new(now: Instant) -> Self {
        Self { pinged_at: now, is_pong_missing: false }
    }

    /// Anything that the client sends is a sign of life.
    pub(super) fn heard(&mut self) {
        self.is_pong_missing = false;
    }

    /// When it beats next, or stops.
    pub(super) fn next(&self) -> Instant {
        match self.is_pong_missing {
            true => self.pinged_at + PONG_DEADLINE,
            false => self.pinged_at + PING_INTERVAL,
        }
    }

    /// Pings when that is due; false if the client did not answer the last one in time.
    pub(super) fn beat(&mut self, now: Instant, outbound: &Outbound) -> bool {
        if now < self.next() {
            return true;
        }
        if self.is_pong_missing {
            return false;
        }
        outbound.send(Frame::ping());
        (self.pinged_at, self.is_pong_missing) = (now, true);
        true
    }
}
