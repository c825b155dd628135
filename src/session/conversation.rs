//! A session after its `hello`: one task that reads frames, writes queued ones, and watches the clock.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::client::Presence;
use glassbox_protocol::server::{CloseCode, Pong, TokenExpiring, Unsubscribed};
use glassbox_protocol::{Channel, ClientMessage, Error, ErrorCode, RequestId, ServerMessage};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::TOKEN_GRACE_S;
use super::heart::Heart;
use super::hello::{Farewell, server_time};
use super::peer::Peer;
use super::socket::{self, Inbound, Reader};
use super::{decode, subscription};
use crate::app::App;
use crate::auth::{self, Identity};
use crate::command::validate;
use crate::room::frame::Frame;
use crate::room::presence::Departure;
use crate::room::{Message, Room};

/// Frames that are not frames before the session is closed.
const MALFORMED_MAX: u32 = 20;
/// Refusals for exceeding a rate before the session is closed.
const RATE_REFUSALS_MAX: u32 = 500;
/// How long before its end a token's end is announced, s.
const TOKEN_WARNING_S: i64 = 60;

/// From this close code on a client is told not to come back.
const STAY_AWAY: u16 = 4500;

/// An open channel.
pub(super) struct Open {
    /// The `subscribe` that opened it.
    pub(super) request: Option<RequestId>,
    pub(super) generation: u32,
    pub(super) room: Arc<Room>,
    pub(super) is_live: bool,
    /// Whether it has been live, and may have to join again.
    pub(super) was_live: bool,
}

/// A session after its `hello`.
pub(super) struct Session {
    pub(super) app: Arc<App>,
    pub(super) peer: Arc<Peer>,
    /// When the token ends, unix s.
    pub(super) token_ends_at: i64,
    pub(super) is_token_end_told: bool,
    pub(super) open: HashMap<Channel, Open>,
    pub(super) joins: JoinSet<(Channel, u32, Result<Arc<Room>, Error>)>,
    pub(super) join_handles: HashMap<Channel, AbortHandle>,
    /// Grows when a channel is left, so that a later subscription's frames can be told apart.
    pub(super) generation: u32,
    pub(super) commands: DefaultDirectRateLimiter,
    pub(super) presences: DefaultDirectRateLimiter,
    /// Whether it may stand in the queue for a lock.
    pub(super) has_waited: bool,
    pub(super) malformed: u32,
    pub(super) rate_refusals: u32,
    pub(super) heart: Heart,
}

impl Session {
    pub(super) fn new(app: Arc<App>, peer: Arc<Peer>, identity: Identity) -> Self {
        let limits = &app.limits;
        let commands = rate(limits.commands_per_second, limits.commands_burst);
        let presences = rate(limits.presence_per_second, limits.presence_per_second);
        Self {
            peer,
            token_ends_at: identity.expires_at,
            is_token_end_told: false,
            open: HashMap::new(),
            joins: JoinSet::new(),
            join_handles: HashMap::new(),
            generation: 1,
            commands,
            presences,
            has_waited: false,
            malformed: 0,
            rate_refusals: 0,
            heart: Heart::new(Instant::now()),
            app,
        }
    }

    /// Runs to the end of the session; the close frame is the caller's.
    pub(super) async fn run(mut self, reader: Reader, write: &mut OwnedWriteHalf) -> Farewell {
        let peer = Arc::clone(&self.peer);
        let mut departure = Departure::Clean;
        let ended = tokio::select! {
            ended = self.read_all(reader) => ended,
            written = socket::write_all(write, &peer.outbound) => match written {
                Ok(()) => Ended::Closing,
                Err(_) => Ended::Lost,
            },
            // Its frames cannot be written: it does not read.
            () = peer.outbound.is_over() => Ended::Closing,
        };
        let farewell = match ended {
            Ended::Client => Farewell { code: 1000, reason: String::new(), frame: None },
            Ended::Lost => {
                departure = Departure::Lost;
                Farewell::new(CloseCode::GoingAway, "lost")
            }
            Ended::Violation(code, reason) => {
                if code.code() < STAY_AWAY {
                    departure = Departure::Lost;
                }
                Farewell::new(code, reason)
            }
            Ended::Closing => match peer.outbound.closing() {
                Some(closing) => {
                    // Whoever is told to come back is expected back.
                    if closing.code.code() < STAY_AWAY {
                        departure = Departure::Lost;
                    }
                    Farewell::new(closing.code, closing.reason)
                }
                None => Farewell::new(CloseCode::InternalError, "ended"),
            },
        };
        // A client that another session of it replaces keeps its places in the queues.
        let is_farewell = farewell.code == 1000;
        Box::pin(self.leave_all(departure, is_farewell)).await;
        farewell
    }

    async fn read_all(&mut self, mut reader: Reader) -> Ended {
        loop {
            let peer = Arc::clone(&self.peer);
            let wake_at = self.wake_at();
            tokio::select! {
                inbound = reader.next() => {
                    self.heart.heard();
                    match inbound {
                        Inbound::Text(text) => {
                            if let Some(ended) = Box::pin(self.frame(&text)).await {
                                return ended;
                            }
                        }
                        Inbound::Pong => {}
                        Inbound::Ping(payload) => self.peer.outbound.send(Frame::pong(&payload)),
                        Inbound::Closed => return Ended::Client,
                        Inbound::Lost => return Ended::Lost,
                        Inbound::Violation(code, reason) => return Ended::Violation(code, reason),
                    }
                }
                Some(joined) = self.joins.join_next() => {
                    if let Ok((channel, generation, outcome)) = joined {
                        self.joined(channel, generation, outcome);
                    }
                }
                notices = peer.notices() => {
                    for notice in notices {
                        self.notice(notice);
                    }
                }
                () = sleep_until(wake_at) => {
                    if let Some(ended) = self.clock() {
                        return ended;
                    }
                }
            }
        }
    }

    // The clock -------------------------------------------------------------------------------------------------

    fn wake_at(&self) -> Instant {
        let token_event = match self.is_token_end_told {
            true => self.token_ends_at + TOKEN_GRACE_S,
            false => self.token_ends_at - TOKEN_WARNING_S,
        };
        let token_in = u64::try_from(token_event - auth::now()).unwrap_or(0);
        self.heart.next().min(Instant::now() + Duration::from_secs(token_in.min(86_400)))
    }

    fn clock(&mut self) -> Option<Ended> {
        let now = Instant::now();
        if !self.heart.beat(now, &self.peer.outbound) {
            return Some(Ended::Violation(CloseCode::PongMissing, "no sign of life"));
        }
        let left_s = self.token_ends_at - auth::now();
        if !self.is_token_end_told && left_s <= TOKEN_WARNING_S {
            self.is_token_end_told = true;
            let in_ms = u64::try_from(left_s.max(0)).unwrap_or(0) * 1000;
            self.send(ServerMessage::TokenExpiring(TokenExpiring { in_ms }), None);
        }
        (left_s <= -TOKEN_GRACE_S).then_some(Ended::Violation(CloseCode::TokenExpired, "the token has expired"))
    }

    // Frames ----------------------------------------------------------------------------------------------------

    async fn frame(&mut self, text: &str) -> Option<Ended> {
        let (message, request_id) = match decode::frame(text) {
            Ok(decoded) => decoded,
            Err(malformed) => {
                self.fail(malformed.error, malformed.request_id);
                self.malformed += 1;
                return (self.malformed >= MALFORMED_MAX)
                    .then_some(Ended::Violation(CloseCode::MalformedFrames, "too many malformed frames"));
            }
        };
        if let ClientMessage::Presence(presence) = message {
            self.presence(presence);
            return None;
        }
        if self.commands.check().is_err() {
            self.fail(Error::new(ErrorCode::RateLimited, "more commands than the limits allow"), request_id);
            self.rate_refusals += 1;
            return (self.rate_refusals >= RATE_REFUSALS_MAX)
                .then_some(Ended::Violation(CloseCode::RateExceeded, "rates exceeded again and again"));
        }
        match message {
            ClientMessage::Hello(_) => self.fail(Error::new(ErrorCode::BadMessage, "hello was said"), request_id),
            ClientMessage::Ping => {
                self.send(ServerMessage::Pong(Pong { server_time: server_time() }), request_id);
            }
            ClientMessage::Subscribe(subscribe) => {
                if let Err(error) = self.subscribe(subscribe, request_id).await {
                    self.fail(error, request_id);
                }
            }
            ClientMessage::Unsubscribe(unsubscribe) => {
                let channel = unsubscribe.channel;
                if channel == Channel::User {
                    self.fail(subscription::needs_none(), request_id);
                    return None;
                }
                self.unsubscribe(channel).await;
                self.send(ServerMessage::Unsubscribed(Unsubscribed { channel, reason: None }), request_id);
            }
            ClientMessage::Command(command) => self.command(command, request_id).await,
            ClientMessage::TokenRefresh(refresh) => return self.refresh_token(refresh, request_id).await,
            ClientMessage::NotificationsRead(read) => self.read_notifications(read, request_id),
            ClientMessage::Presence(_) => {}
        }
        None
    }

    fn presence(&mut self, presence: Presence) {
        // A trace is looked at unseen.
        if !matches!(presence.channel, Channel::Project(_) | Channel::Node(_)) {
            return;
        }
        // Latest-value traffic is never answered; what exceeds the rate or cannot be shown is let go.
        if self.presences.check().is_err() || validate::presence(&presence.state).is_err() {
            return;
        }
        if let Some(open) = self.open.get(&presence.channel).filter(|o| o.is_live) {
            open.room.hint(Message::Presence { session: self.peer.session, shown: presence.state });
        }
    }

    pub(super) fn fail(&self, error: Error, request_id: Option<RequestId>) {
        self.send(ServerMessage::Error(error), request_id);
    }

    pub(super) fn send(&self, message: ServerMessage, request_id: Option<RequestId>) {
        self.peer.outbound.message(message, request_id);
    }
}

pub(super) enum Ended {
    /// The client closed.
    Client,
    /// The connection broke.
    Lost,
    /// The client broke a rule.
    Violation(CloseCode, &'static str),
    /// The queue says why.
    Closing,
}

pub(super) fn rate(per_second: u32, burst: u32) -> DefaultDirectRateLimiter {
    let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    RateLimiter::direct(Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst)))
}
