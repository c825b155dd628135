//! A session of the older dialect: reads what the client asks, hears what its rooms tell, and watches the clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use glassbox_protocol::server::CloseCode;
use glassbox_protocol::v1::client::Doing;
use glassbox_protocol::v1::server::{Error, ErrorCode};
use glassbox_protocol::v1::{ClientMessage, ServerMessage};
use glassbox_protocol::{Channel, NodeId, NotificationId, OrgId, ProjectId, RequestId, UserId};
use governor::DefaultDirectRateLimiter;
use time::OffsetDateTime;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::channels::{Asked, Own, Seat, Subscription};
use super::inlet::{self, Incoming};
use super::locks::Wish;
use super::pace::Pace;
use super::render::{About, Audience};
use super::renderings::Ready;
use super::runs::Runs;
use super::{decode, stamped};
use crate::app::App;
use crate::auth::Page;
use crate::room::Room;
use crate::room::frame::Frame;
use crate::session::conversation::rate;
use crate::session::hello::Farewell;
use crate::session::outbound::{Lane, Outbound};
use crate::session::peer::Peer;
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
    /// What waits for a room to be live.
    pub(super) pending: Option<(ProjectId, Asked)>,
    /// What was asked after it.
    pub(super) deferred: VecDeque<Asked>,
    pub(super) joins: JoinSet<(ProjectId, u32, Result<Arc<Room>, glassbox_protocol::Error>)>,
    pub(super) generation: u32,
    /// Where the user is by this connection.
    pub(super) own: HashMap<NodeId, Own>,
    /// Who people are.
    pub(super) people: HashMap<UserId, Arc<Person>>,
    /// What was last told of who is on a node.
    pub(super) lists: HashMap<NodeId, Vec<(UserId, Doing)>>,
    /// A list may differ from what was told.
    pub(super) is_list_due: bool,
    pub(super) answers: JoinSet<()>,
    pub(super) own_requests: VecDeque<RequestId>,
    /// The runs whose steps come.
    pub(super) runs: Runs,
    pub(super) pace: Pace<(ProjectId, Ready)>,
    pub(super) heard_at: Option<OffsetDateTime>,
    pub(super) has_backlog: bool,
    pub(super) told: HashSet<NotificationId>,
    pub(super) opened_at: Instant,
    pub(super) seen_at: Instant,
    /// The client's last sign of life.
    pub(super) alive_at: Instant,
    frames: DefaultDirectRateLimiter,
    channel_frames: DefaultDirectRateLimiter,
    malformed: DefaultDirectRateLimiter,
    rate_refusals: u32,
    pub(super) pinged_at: Instant,
    pub(super) is_pong_missing: bool,
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
            answers: JoinSet::new(),
            own_requests: VecDeque::new(),
            runs: Runs::default(),
            pace: Pace::default(),
            has_backlog: false,
            told: HashSet::new(),
            opened_at: now,
            seen_at: now,
            alive_at: now,
            frames: rate(FRAMES_PER_SECOND, FRAMES_BURST),
            channel_frames: rate(CHANNELS_PER_SECOND, CHANNELS_BURST),
            malformed: rate(MALFORMED_PER_SECOND, MALFORMED_BURST),
            rate_refusals: 0,
            pinged_at: now,
            is_pong_missing: false,
        }
    }

    /// Runs to the end of the session; the close frame is the caller's.
    pub(super) async fn run(mut self, reader: Reader, write: &mut OwnedWriteHalf) -> Farewell {
        let (app, peer, out) = (Arc::clone(&self.app), Arc::clone(&self.peer), Arc::clone(&self.out));
        let (incoming, heard) = mpsc::channel(INCOMING_MAX);
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
            tokio::select! {
                inbound = reader.next() => {
                    // Anything the client sends is a sign of life.
                    self.is_pong_missing = false;
                    // Not so the end of a stream that nobody closed: it may have been dead for long.
                    if matches!(inbound, Inbound::Text(_) | Inbound::Pong | Inbound::Ping(_) | Inbound::Closed) {
                        self.alive_at = Instant::now();
                    }
                    match inbound {
                        Inbound::Text(text) => {
                            if let Some(ended) = Box::pin(self.frame(&text)).await {
                                return ended;
                            }
                        }
                        Inbound::Pong => {}
                        Inbound::Ping(payload) => self.out.send(Frame::pong(&payload)),
                        Inbound::Closed => return Ended::Client,
                        Inbound::Lost => return Ended::Lost,
                        Inbound::Violation(code, reason) => return Ended::Violation(code, reason),
                    }
                }
                incoming = heard.recv(), if is_hearing => match incoming {
                    Some(incoming) => self.hear(incoming),
                    None => {
                        is_hearing = false;
                        if let Some(closing) = self.peer.outbound.closing() {
                            self.out.close(closing.code, closing.reason);
                        }
                    }
                },
                Some(joined) = self.joins.join_next() => {
                    if let Ok((project, generation, outcome)) = joined {
                        self.joined(project, generation, outcome);
                    }
                }
                Some(_) = self.answers.join_next() => {}
                Some(followed) = self.runs.joins.join_next() => self.followed(followed),
                notices = peer.notices() => {
                    for notice in notices {
                        self.notice(notice);
                    }
                }
                () = sleep_until(wake_at) => {
                    if let Some(ended) = Box::pin(self.clock()).await {
                        return ended;
                    }
                }
            }
            Box::pin(self.settle()).await;
        }
    }

    // What the client asks --------------------------------------------------------------------------------------

    async fn frame(&mut self, text: &str) -> Option<Ended> {
        let (message, request_id) = match decode::frame(text) {
            Ok(decoded) => decoded,
            Err(malformed) => {
                let is_counted = malformed.error.code == ErrorCode::BadMessage;
                self.fail(malformed.error, malformed.request_id);
                return (is_counted && self.malformed.check().is_err())
                    .then_some(Ended::Violation(CloseCode::MalformedFrames, "too many malformed frames"));
            }
        };
        let is_within = match message {
            ClientMessage::Ping => true,
            ClientMessage::Subscribe(_) | ClientMessage::Unsubscribe(_) => self.channel_frames.check().is_ok(),
            ClientMessage::Presence(_) | ClientMessage::LockAcquire(_) | ClientMessage::LockRelease(_) => {
                self.frames.check().is_ok()
            }
        };
        if !is_within {
            self.fail(Error::new(ErrorCode::RateLimited, "too many frames: this one had no effect"), request_id);
            self.rate_refusals += 1;
            return (self.rate_refusals >= RATE_REFUSALS_MAX)
                .then_some(Ended::Violation(CloseCode::RateExceeded, "rates exceeded again and again"));
        }
        if self.deferred.len() >= DEFERRED_MAX {
            self.fail(Error::new(ErrorCode::RateLimited, "too much waits to be done"), request_id);
            return None;
        }
        match message {
            ClientMessage::Ping => self.answer(ServerMessage::Pong {}, request_id),
            ClientMessage::LockAcquire(lock) => self.lock(Wish::Acquire, lock.node_id, request_id).await,
            ClientMessage::LockRelease(lock) => self.lock(Wish::Release, lock.node_id, request_id).await,
            ClientMessage::Subscribe(named) => self.deferred.push_back(Asked::Subscribe(named.channel, request_id)),
            ClientMessage::Unsubscribe(named) => self.deferred.push_back(Asked::Unsubscribe(named.channel, request_id)),
            ClientMessage::Presence(presence) => self.deferred.push_back(Asked::Presence(presence, request_id)),
        }
        None
    }

    pub(super) fn answer(&self, message: ServerMessage, request_id: Option<String>) {
        self.out.send(stamped(message, request_id));
    }

    pub(super) fn fail(&self, error: Error, request_id: Option<String>) {
        self.answer(ServerMessage::Error(error), request_id);
    }

    // What its rooms tell ---------------------------------------------------------------------------------------

    fn hear(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Notification(notification) => self.notify(*notification),
            Incoming::Synced { project, generation } => {
                if let Some(seat) = self.seat(project, generation) {
                    seat.is_synced = true;
                }
            }
            Incoming::Present { project, generation, change, people } => {
                let Some(seat) = self.seat(project, generation) else { return };
                seat.is_present = true;
                seat.view.apply(change, now_ms());
                self.people.extend(people);
                self.is_list_due = true;
            }
            Incoming::Event { project, generation, request, ready } => {
                if self.seat(project, generation).is_some() {
                    for ready in ready.iter() {
                        self.tell(project, ready, request);
                    }
                }
            }
        }
    }

    /// The room of a subscription, if it is still the same one.
    fn seat(&mut self, project: ProjectId, generation: u32) -> Option<&mut Seat> {
        self.rooms.get_mut(&project).filter(|seat| seat.generation == generation)
    }

    fn tell(&mut self, project: ProjectId, ready: &Ready, request: Option<RequestId>) {
        if !self.is_for_us(project, ready) {
            return;
        }
        match &ready.about {
            // Whoever asked has the answer.
            About::Lock if request.is_some_and(|request| self.own_requests.contains(&request)) => {}
            About::Execution { id, status, has_trace: false } => {
                self.runs.note(project, *id, status);
                let now = Instant::now();
                if let Some((project, ready)) = self.pace.take(*id, status, (project, ready.clone()), now) {
                    self.out.push(&[ready.frame], Lane::Durable, Channel::Project(project));
                }
            }
            About::Lock | About::Node | About::Execution { .. } => {
                self.out.push(std::slice::from_ref(&ready.frame), Lane::Durable, Channel::Project(project));
            }
        }
    }

    pub(super) fn is_for_us(&self, project: ProjectId, ready: &Ready) -> bool {
        self.channels.contains_key(&Channel::Project(project))
            || (ready.audience == Audience::ProjectAndNode && self.channels.contains_key(&Channel::Node(ready.node)))
    }
}

/// Our clock, unix ms; shown, and nothing is decided by it.
pub(super) fn now_ms() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}
