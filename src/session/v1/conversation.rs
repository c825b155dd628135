//! A session of the older dialect: reads what the client asks, hears what its rooms tell, and watches the clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::server::CloseCode;
use glassbox_protocol::v1::client::Doing;
use glassbox_protocol::v1::server::{Error, ErrorCode};
use glassbox_protocol::v1::{ClientMessage, ServerMessage};
use glassbox_protocol::{Channel, ExecutionId, NodeId, NotificationId, OrgId, ProjectId, UserId};
use governor::DefaultDirectRateLimiter;
use time::OffsetDateTime;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::channels::{Asked, Own, Pending, Seat, Subscription};
use super::inlet::{self, Incoming};
use super::locks::{OwnRequest, Wish, Wished};
use super::lookups::Done;
use super::pace::Pace;
use super::renderings::Ready;
use super::runs::Runs;
use super::{decode, stamped};
use crate::app::App;
use crate::auth::Page;
use crate::room::Room;
use crate::room::frame::Frame;
use crate::session::conversation::rate;
use crate::session::heart::Heart;
use crate::session::hello::Farewell;
use crate::session::outbound::Outbound;
use crate::session::peer::{Notice, Peer};
use crate::session::socket::{self, Inbound, Reader};
use crate::store::facts::Person;
use crate::store::tickets::Opening;

/// Presence, locks and other frames per second, and in a burst.
const FRAMES_PER_SECOND: u32 = 20;
const FRAMES_BURST: u32 = 60;
/// Subscribes and unsubscribes, which count apart: a page sends a pair with each rendering.
const CHANNELS_PER_SECOND: u32 = 200;
const CHANNELS_BURST: u32 = 1000;
/// Malformed frames: some at once, and later now and then.
const MALFORMED_PER_SECOND: u32 = 1;
const MALFORMED_BURST: u32 = 20;
/// Refusals for exceeding a rate before the session is closed.
const RATE_REFUSALS_MAX: u32 = 200;
/// What may wait for a room to be live.
const DEFERRED_MAX: usize = 1000;
/// When unread notifications are pushed to a page that subscribes to nothing.
const BACKLOG_AFTER: Duration = Duration::from_secs(1);
/// What was looked up and not told yet.
const INCOMING_MAX: usize = 16;

/// A session of the older dialect.
pub(super) struct Session {
    pub(super) app: Arc<App>,
    /// What rooms know of it; its queue is the way in here.
    pub(super) peer: Arc<Peer>,
    /// What waits for the client.
    pub(super) out: Arc<Outbound>,
    pub(super) page: Page,
    /// When the connections of the page lived last, if this is not the first.
    pub(super) since: Option<OffsetDateTime>,
    pub(super) rooms: HashMap<ProjectId, Seat>,
    pub(super) channels: HashMap<Channel, Subscription>,
    /// Where nodes live that this connection has asked about.
    pub(super) places: HashMap<NodeId, (OrgId, ProjectId)>,
    /// The channels whose locks were told.
    pub(super) stated: HashSet<Channel>,
    /// What was asked and waits, for the database or for a room to be live.
    pub(super) pending: Option<Pending>,
    /// What was asked after it.
    pub(super) deferred: VecDeque<Asked>,
    pub(super) joins: JoinSet<Joined>,
    pub(super) generation: u32,
    /// Where the user is by this connection.
    pub(super) own: HashMap<NodeId, Own>,
    /// Who people are.
    pub(super) people: HashMap<UserId, Arc<Person>>,
    /// What was last told of who is on a node.
    pub(super) lists: HashMap<NodeId, Vec<(UserId, Doing)>>,
    /// A list may differ from what was told.
    pub(super) is_list_due: bool,
    /// What is done beside the conversation, which goes on meanwhile.
    pub(super) tasks: JoinSet<Done>,
    /// What is asked about locks and waits for the place of the first.
    pub(super) wishes: VecDeque<Wished>,
    pub(super) is_locating: bool,
    pub(super) own_requests: VecDeque<OwnRequest>,
    /// The runs whose steps come.
    pub(super) runs: Runs,
    pub(super) pace: Pace<(ProjectId, Ready)>,
    pub(super) heard_at: Option<OffsetDateTime>,
    /// When what was not heard is looked up, unless that is done or under way.
    pub(super) backlog_due: Option<Instant>,
    /// Since when everything unread has been told.
    pub(super) backlog_at: Option<Instant>,
    /// Since when the state of a channel has been told.
    pub(super) stated_at: Option<Instant>,
    pub(super) told: HashSet<NotificationId>,
    pub(super) seen_at: Instant,
    /// The client's last sign of life.
    pub(super) alive_at: Instant,
    frames: DefaultDirectRateLimiter,
    channel_frames: DefaultDirectRateLimiter,
    malformed: DefaultDirectRateLimiter,
    rate_refusals: u32,
    pub(super) heart: Heart,
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

type Joined = (ProjectId, u32, Result<Arc<Room>, glassbox_protocol::Error>);

/// What happens next to a session.
enum Next {
    Inbound(Inbound),
    Incoming(Option<Incoming>),
    Joined(Result<Joined, JoinError>),
    Done(Result<Done, JoinError>),
    Followed(Result<(ExecutionId, Result<(), glassbox_protocol::Error>), JoinError>),
    Notices(Vec<Notice>),
    Clock,
}

impl Session {
    pub(super) fn new(app: Arc<App>, peer: Arc<Peer>, page: Page) -> Self {
        let now = Instant::now();
        let out = Arc::new(Outbound::new(app.limits.outbound_bytes / 2));
        let since = match page.opening {
            Opening::First => None,
            Opening::Resumed { since } => Some(since),
        };
        Self {
            app,
            peer,
            out,
            since,
            heard_at: page.heard_at,
            page,
            rooms: HashMap::new(),
            channels: HashMap::new(),
            places: HashMap::new(),
            stated: HashSet::new(),
            pending: None,
            deferred: VecDeque::new(),
            joins: JoinSet::new(),
            generation: 1,
            own: HashMap::new(),
            people: HashMap::new(),
            lists: HashMap::new(),
            is_list_due: false,
            tasks: JoinSet::new(),
            wishes: VecDeque::new(),
            is_locating: false,
            own_requests: VecDeque::new(),
            runs: Runs::default(),
            pace: Pace::default(),
            backlog_due: Some(now + BACKLOG_AFTER),
            backlog_at: None,
            stated_at: None,
            told: HashSet::new(),
            seen_at: now,
            alive_at: now,
            frames: rate(FRAMES_PER_SECOND, FRAMES_BURST),
            channel_frames: rate(CHANNELS_PER_SECOND, CHANNELS_BURST),
            malformed: rate(MALFORMED_PER_SECOND, MALFORMED_BURST),
            rate_refusals: 0,
            heart: Heart::new(now),
        }
    }

    /// Runs to the end of the session; the close frame is the caller's.
    pub(super) async fn run(mut self, reader: Reader, write: &mut OwnedWriteHalf) -> Farewell {
        let (app, peer, out) = (Arc::clone(&self.app), Arc::clone(&self.peer), Arc::clone(&self.out));
        let (incoming, heard) = mpsc::channel(INCOMING_MAX);
        // A sign-out while the socket was opened found no session to end.
        self.look_at_ticket();
        let inlet = async {
            if let Err(error) = inlet::run(&app, &peer, &out, incoming).await {
                warn!(%error, "a session of the older dialect cannot go on");
                peer.outbound.close(CloseCode::InternalError, "an event could not be rendered");
            }
            // What is left is the conversation's.
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = self.converse(reader, heard) => ended,
            written = socket::write_all(write, &out) => match written {
                Ok(()) => Ended::Closing,
                Err(_) => Ended::Lost,
            },
            () = inlet => Ended::Closing,
            // Its frames cannot be written: it does not read.
            () = peer.outbound.is_over() => Ended::Closing,
            () = out.is_over() => Ended::Closing,
        };
        let farewell = match ended {
            // Whatever the client said: it would stay away for good after 1000.
            Ended::Client => Farewell::new(CloseCode::GoingAway, ""),
            Ended::Lost => Farewell::new(CloseCode::GoingAway, "lost"),
            Ended::Violation(code, reason) => Farewell::new(code, reason),
            Ended::Closing => match peer.outbound.closing().or_else(|| out.closing()) {
                // A sign-in that has ended makes no token invalid here, it takes the access away.
                Some(closing) if closing.code == CloseCode::TokenInvalid => {
                    Farewell::new(CloseCode::AccessRevoked, closing.reason)
                }
                Some(closing) => Farewell::new(closing.code, closing.reason),
                None => Farewell::new(CloseCode::InternalError, "ended"),
            },
        };
        Box::pin(self.leave_all(farewell.code)).await;
        self.note_end().await;
        farewell
    }

    async fn converse(&mut self, mut reader: Reader, mut heard: mpsc::Receiver<Incoming>) -> Ended {
        let mut is_hearing = true;
        loop {
            let peer = Arc::clone(&self.peer);
            let wake_at = self.wake_at();
            // Events that follow a state are told after it.
            let may_hear = is_hearing && !matches!(self.pending, Some(Pending::Telling { .. }));
            let others = async {
                tokio::select! {
                    inbound = reader.next() => Next::Inbound(inbound),
                    incoming = heard.recv(), if may_hear => Next::Incoming(incoming),
                    Some(joined) = self.joins.join_next() => Next::Joined(joined),
                    Some(done) = self.tasks.join_next() => Next::Done(done),
                    Some(followed) = self.runs.joins.join_next() => Next::Followed(followed),
                }
            };
            // Lost rights come before all else, and no stream of frames keeps the clock from ticking.
            let next = tokio::select! {
                biased;
                notices = peer.notices() => Next::Notices(notices),
                () = sleep_until(wake_at) => Next::Clock,
                next = others => next,
            };
            match next {
                Next::Inbound(inbound) => {
                    if let Some(ended) = self.inbound(inbound) {
                        return ended;
                    }
                }
                Next::Incoming(Some(incoming)) => self.hear(incoming),
                Next::Incoming(None) => {
                    is_hearing = false;
                    if let Some(closing) = self.peer.outbound.closing() {
                        self.out.close(closing.code, closing.reason);
                    }
                }
                Next::Joined(Ok((project, generation, outcome))) => {
                    Box::pin(self.joined(project, generation, outcome)).await;
                }
                Next::Done(Ok(done)) => self.done(done),
                Next::Joined(Err(error)) | Next::Done(Err(error)) => {
                    warn!(%error, "something that a session of the older dialect waited for");
                    return Ended::Violation(CloseCode::InternalError, "something went wrong on the server");
                }
                Next::Followed(followed) => self.followed(followed),
                Next::Notices(notices) => {
                    for notice in notices {
                        Box::pin(self.notice(notice)).await;
                    }
                }
                Next::Clock => {
                    if let Some(ended) = Box::pin(self.clock()).await {
                        return ended;
                    }
                }
            }
            Box::pin(self.settle()).await;
        }
    }

    // What the client asks --------------------------------------------------------------------------------------

    fn inbound(&mut self, inbound: Inbound) -> Option<Ended> {
        // Anything the client sends is a sign of life.
        self.heart.heard();
        // Not so the end of a stream that nobody closed: it may have been dead for long.
        if matches!(inbound, Inbound::Text(_) | Inbound::Pong | Inbound::Ping(_) | Inbound::Closed) {
            self.alive_at = Instant::now();
        }
        match inbound {
            Inbound::Text(text) => return self.frame(&text),
            Inbound::Pong => {}
            Inbound::Ping(payload) => self.out.send(Frame::pong(&payload)),
            Inbound::Closed => return Some(Ended::Client),
            Inbound::Lost => return Some(Ended::Lost),
            Inbound::Violation(code, reason) => return Some(Ended::Violation(code, reason)),
        }
        None
    }

    fn frame(&mut self, text: &str) -> Option<Ended> {
        let (message, request_id) = match decode::frame(text) {
            Ok(decoded) => decoded,
            Err(malformed) => {
                // A page in demo mode has channels that do not exist: they count as any.
                let is_channel = malformed.error.code == ErrorCode::InvalidChannel;
                if is_channel && self.channel_frames.check().is_err() {
                    return self.over_rate(malformed.request_id);
                }
                self.fail(malformed.error, malformed.request_id);
                return (!is_channel && self.malformed.check().is_err())
                    .then_some(Ended::Violation(CloseCode::MalformedFrames, "too many malformed frames"));
            }
        };
        let is_within = match message {
            ClientMessage::Subscribe(_) | ClientMessage::Unsubscribe(_) => self.channel_frames.check().is_ok(),
            ClientMessage::Presence(_)
            | ClientMessage::LockAcquire(_)
            | ClientMessage::LockRelease(_)
            | ClientMessage::Ping => self.frames.check().is_ok(),
        };
        if !is_within {
            return self.over_rate(request_id);
        }
        if self.deferred.len() >= DEFERRED_MAX || self.wishes.len() >= DEFERRED_MAX {
            self.fail(Error::new(ErrorCode::RateLimited, "too much waits to be done"), request_id);
            return None;
        }
        match message {
            ClientMessage::Ping => self.answer(ServerMessage::Pong {}, request_id),
            ClientMessage::LockAcquire(lock) => self.lock(Wish::Acquire, lock.node_id, request_id),
            ClientMessage::LockRelease(lock) => self.lock(Wish::Release, lock.node_id, request_id),
            ClientMessage::Subscribe(named) => self.deferred.push_back(Asked::Subscribe(named.channel, request_id)),
            ClientMessage::Unsubscribe(named) => self.deferred.push_back(Asked::Unsubscribe(named.channel, request_id)),
            ClientMessage::Presence(presence) => self.deferred.push_back(Asked::Presence(presence, request_id)),
        }
        None
    }

    fn over_rate(&mut self, request_id: Option<String>) -> Option<Ended> {
        self.fail(Error::new(ErrorCode::RateLimited, "too many frames: this one had no effect"), request_id);
        self.rate_refusals += 1;
        (self.rate_refusals >= RATE_REFUSALS_MAX)
            .then_some(Ended::Violation(CloseCode::RateExceeded, "rates exceeded again and again"))
    }

    pub(super) fn answer(&self, message: ServerMessage, request_id: Option<String>) {
        self.out.send(stamped(message, request_id));
    }

    pub(super) fn fail(&self, error: Error, request_id: Option<String>) {
        self.answer(ServerMessage::Error(error), request_id);
    }
}

/// Our clock, unix ms; shown, and nothing is decided by it.
pub(super) fn now_ms() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}
