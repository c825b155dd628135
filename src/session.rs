//! One WebSocket: who is calling, which rooms it is in, what it asks.
//!
//! A session is one task. It reads frames and writes queued ones at the same time; commands go to the room's writer,
//! answers and events come back through the session's queue. It ends when the client closes or is lost, when it breaks
//! the rules, when its token ends, when a newer session of the same client takes over, or when the instance drains.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use glassbox_protocol::client::{Hello, Presence, ProtocolRange, Subscribe};
use glassbox_protocol::server::{
    CloseCode, Limits, Moving, Pong, ResumeWindow, TokenExpiring, Unsubscribed, UnsubscribedReason, User, Welcome,
};
use glassbox_protocol::{
    Channel, ClientId, ClientMessage, Command, Error, ErrorCode, NodeId, PROTOCOL_VERSION, ProjectId, RequestId,
    ServerMessage, SessionId, UserId,
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rand::RngExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument as _, debug, info_span};

use crate::app::App;
use crate::auth::{self, AuthError, Identity};
use crate::command::validate;
use crate::config::{HELLO_DEADLINE, LimitsConfig, PING_INTERVAL, PONG_DEADLINE};
use crate::room::frame::Frame;
use crate::room::presence::Departure;
use crate::room::writer::{Reply, Request};
use crate::room::{Message, Room};
use crate::store::commands::CommandKey;
use crate::store::{Tenant, locks, members};

pub mod decode;
pub mod outbound;
pub mod peer;
pub mod socket;
pub mod subscription;

use peer::{Notice, Peer};
use socket::{Inbound, Reader};
use subscription::Start;

/// Frames that are not frames before the session is closed.
const MALFORMED_MAX: u32 = 20;
/// Refusals for exceeding a rate before the session is closed.
const RATE_REFUSALS_MAX: u32 = 500;
/// How long a draining instance waits for the answers to what a client has asked.
const ANSWERS_DEADLINE: Duration = Duration::from_secs(3);
/// How long before its end a token's end is announced, s.
const TOKEN_WARNING_S: i64 = 60;
/// How long a session may outlive its token, s.
const TOKEN_GRACE_S: i64 = 25;

/// The sessions of this instance.
#[derive(Default)]
pub struct Sessions {
    open: DashMap<SessionId, Arc<Peer>>,
    by_client: DashMap<(UserId, ClientId), SessionId>,
}

impl Sessions {
    /// How many sessions are open.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// The open sessions' shared sides.
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        self.open.iter().map(|p| Arc::clone(&p)).collect()
    }

    /// Tells every client to go elsewhere, each after a delay of its own within the drain time, and closes it then.
    pub async fn drain(&self, within: Duration) {
        let mut clients = JoinSet::new();
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        for peer in self.peers() {
            let retry_after_ms = rand::rng().random_range(0..=within_ms);
            peer.outbound.message(ServerMessage::Moving(Moving { retry_after_ms }), None);
            clients.spawn(async move {
                // A client that follows the hint is gone by then.
                tokio::time::sleep(Duration::from_millis(retry_after_ms)).await;
                let _ = timeout(ANSWERS_DEADLINE, peer.is_answered()).await;
                peer.outbound.close(CloseCode::ServiceRestart, "the instance restarts");
            });
        }
        clients.join_all().await;
    }

    fn enter(&self, peer: &Arc<Peer>) {
        self.open.insert(peer.session, Arc::clone(peer));
        let former = self.by_client.insert((peer.user.id, peer.client), peer.session);
        if let Some(former) = former.and_then(|id| self.open.get(&id).map(|p| Arc::clone(&p))) {
            former.outbound.close(CloseCode::Replaced, "a newer session of this client took over");
        }
        crate::metrics::sessions(1);
    }

    fn leave(&self, peer: &Peer) {
        self.open.remove(&peer.session);
        self.by_client.remove_if(&(peer.user.id, peer.client), |_, id| *id == peer.session);
        crate::metrics::sessions(-1);
    }
}

/// Serves one upgraded connection from `hello` to close. `guest` is whoever a ticket in the URL named.
pub async fn serve(app: Arc<App>, stream: TcpStream, leftover: Bytes, guest: Option<Identity>) {
    let (read, mut write) = socket::split(stream);
    let mut reader = Reader::new(read, leftover, app.limits.frame_bytes).await;
    let session = SessionId::random();
    let span = info_span!("session", id = %session);
    async {
        let opened = match timeout(HELLO_DEADLINE, greet(&app, &mut reader, guest)).await {
            Ok(opened) => opened,
            Err(_) => Err(Farewell::new(CloseCode::HelloTimeout, "no hello in time")),
        };
        let ended = match opened {
            Err(farewell) => {
                if let Some(frame) = &farewell.frame {
                    let last = tokio::io::AsyncWriteExt::write_all(&mut write, frame.bytes());
                    let _ = timeout(Duration::from_secs(1), last).await;
                }
                farewell
            }
            Ok((identity, client)) => {
                let user = User { id: identity.user, name: identity.name.clone(), email: Some(identity.email.clone()) };
                let peer = Arc::new(Peer::new(session, client, user, app.limits.outbound_bytes));
                app.sessions.enter(&peer);
                let ended = Session::new(Arc::clone(&app), Arc::clone(&peer), identity).run(reader, &mut write).await;
                app.sessions.leave(&peer);
                ended
            }
        };
        crate::metrics::closed(ended.code);
        debug!(code = ended.code, reason = %ended.reason, "session ended");
        socket::write_close(&mut write, ended.code, &ended.reason).await;
    }
    .instrument(span)
    .await;
}

/// How a session ends.
struct Farewell {
    code: u16,
    reason: String,
    frame: Option<Frame>,
}

impl Farewell {
    fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code: code.code(), reason: reason.into(), frame: None }
    }

    fn with_error(mut self, error: Error) -> Self {
        let frame = glassbox_protocol::server::ServerFrame::from(ServerMessage::Error(error));
        self.frame = Some(Frame::json(&frame));
        self
    }
}

/// Waits for `hello` and checks it.
async fn greet(app: &App, reader: &mut Reader, guest: Option<Identity>) -> Result<(Identity, ClientId), Farewell> {
    let text = loop {
        match reader.next().await {
            Inbound::Text(text) => break text,
            Inbound::Ping(_) | Inbound::Pong => {}
            Inbound::Closed | Inbound::Lost => return Err(Farewell::new(CloseCode::GoingAway, "left before hello")),
            Inbound::Violation(code, reason) => return Err(Farewell::new(code, reason)),
        }
    };
    let hello: Hello = match decode::frame(&text) {
        Ok((ClientMessage::Hello(hello), _)) => hello,
        Ok(_) => {
            let error = Error::new(ErrorCode::Unauthenticated, "the first frame must be hello");
            return Err(Farewell::new(CloseCode::TokenInvalid, "no hello").with_error(error));
        }
        Err(malformed) => {
            return Err(Farewell::new(CloseCode::MalformedFrames, "no hello").with_error(malformed.error));
        }
    };
    if !(hello.protocol.min..=hello.protocol.max).contains(&PROTOCOL_VERSION) {
        let error = Error::validation("protocol", format!("this server speaks version {PROTOCOL_VERSION}"));
        return Err(Farewell::new(CloseCode::VersionUnsupported, "no common version").with_error(error));
    }
    let identity = match guest {
        Some(identity) if hello.token.is_empty() => Ok(identity),
        _ => auth::authenticate_socket(app, &hello.token).await,
    };
    match identity {
        Ok(identity) => Ok((identity, hello.client_id)),
        Err(error) => Err(refuse_token(&error)),
    }
}

fn refuse_token(error: &AuthError) -> Farewell {
    match error {
        AuthError::Unavailable(_) => {
            let error = Error::new(ErrorCode::Unavailable, "the database does not answer; try again");
            Farewell::new(CloseCode::Overloaded, "the database does not answer").with_error(error)
        }
        AuthError::Expired => {
            let error = Error::new(ErrorCode::Unauthenticated, "the token has expired");
            Farewell::new(CloseCode::TokenExpired, "the token has expired").with_error(error)
        }
        _ => {
            let error = Error::new(ErrorCode::Unauthenticated, "the token does not verify");
            Farewell::new(CloseCode::TokenInvalid, "the token does not verify").with_error(error)
        }
    }
}

struct Open {
    /// The `subscribe` that opened it.
    request: Option<RequestId>,
    generation: u32,
    room: Arc<Room>,
    is_live: bool,
}

struct Session {
    app: Arc<App>,
    peer: Arc<Peer>,
    /// When the token ends, unix s.
    token_ends_at: i64,
    is_token_end_told: bool,
    open: HashMap<ProjectId, Open>,
    joins: JoinSet<(ProjectId, u32, Result<Arc<Room>, Error>)>,
    join_handles: HashMap<ProjectId, tokio::task::AbortHandle>,
    /// Grows when a channel is left, so that a later subscription's frames can be told apart.
    generation: u32,
    commands: DefaultDirectRateLimiter,
    presences: DefaultDirectRateLimiter,
    /// Whether it may stand in the queue for a lock.
    has_waited: bool,
    malformed: u32,
    rate_refusals: u32,
    pinged_at: Instant,
    is_pong_missing: bool,
}

impl Session {
    fn new(app: Arc<App>, peer: Arc<Peer>, identity: Identity) -> Self {
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
            pinged_at: Instant::now(),
            is_pong_missing: false,
            app,
        }
    }

    /// Runs to the end of the session; the close frame is the caller's.
    async fn run(mut self, reader: Reader, write: &mut tokio::net::tcp::OwnedWriteHalf) -> Farewell {
        self.welcome();
        let peer = Arc::clone(&self.peer);
        let mut departure = Departure::Clean;
        let ended = tokio::select! {
            ended = self.read_all(reader) => ended,
            written = socket::write_all(write, &peer.outbound) => match written {
                Ok(()) => Ended::Closing,
                Err(_) => Ended::Lost,
            },
            // Its frames cannot be written: it does not read.
            () = peer.outbound.is_slow() => Ended::Closing,
        };
        let farewell = match ended {
            Ended::Client => Farewell { code: 1000, reason: String::new(), frame: None },
            Ended::Lost => {
                departure = Departure::Lost;
                Farewell::new(CloseCode::GoingAway, "lost")
            }
            Ended::Violation(code, reason) => Farewell::new(code, reason),
            Ended::Closing => match peer.outbound.closing() {
                Some(closing) => {
                    // Whoever is told to come back is expected back.
                    if closing.code.code() < 4500 {
                        departure = Departure::Lost;
                    }
                    Farewell::new(closing.code, closing.reason)
                }
                None => Farewell::new(CloseCode::InternalError, "ended"),
            },
        };
        self.leave_all(departure).await;
        farewell
    }

    fn welcome(&self) {
        let limits = &self.app.limits;
        self.send(
            ServerMessage::Welcome(Welcome {
                session_id: self.peer.session,
                user: self.peer.user.clone(),
                protocol: ProtocolRange { min: PROTOCOL_VERSION, max: PROTOCOL_VERSION },
                limits: limits_of(limits),
                heartbeat_ms: u64::try_from(PING_INTERVAL.as_millis()).unwrap_or(20_000),
                server_time: server_time(),
            }),
            None,
        );
    }

    async fn read_all(&mut self, mut reader: Reader) -> Ended {
        loop {
            let peer = Arc::clone(&self.peer);
            let wake_at = self.wake_at();
            tokio::select! {
                inbound = reader.next() => {
                    // Anything the client sends is a sign of life.
                    self.is_pong_missing = false;
                    match inbound {
                        Inbound::Text(text) => {
                            if let Some(ended) = self.frame(&text).await {
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
                    if let Ok((project, generation, outcome)) = joined {
                        self.joined(project, generation, outcome);
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
        let heart = match self.is_pong_missing {
            true => self.pinged_at + PONG_DEADLINE,
            false => self.pinged_at + PING_INTERVAL,
        };
        let token_event = match self.is_token_end_told {
            true => self.token_ends_at + TOKEN_GRACE_S,
            false => self.token_ends_at - TOKEN_WARNING_S,
        };
        let token_in = u64::try_from(token_event - auth::now()).unwrap_or(0);
        heart.min(Instant::now() + Duration::from_secs(token_in.min(86_400)))
    }

    fn clock(&mut self) -> Option<Ended> {
        let now = Instant::now();
        if self.is_pong_missing && now >= self.pinged_at + PONG_DEADLINE {
            return Some(Ended::Violation(CloseCode::PongMissing, "no sign of life"));
        }
        if !self.is_pong_missing && now >= self.pinged_at + PING_INTERVAL {
            self.peer.outbound.send(Frame::ping());
            self.pinged_at = now;
            self.is_pong_missing = true;
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
                let Channel::Project(project) = unsubscribe.channel;
                self.unsubscribe(project).await;
                let channel = unsubscribe.channel;
                self.send(ServerMessage::Unsubscribed(Unsubscribed { channel, reason: None }), request_id);
            }
            ClientMessage::Command(command) => self.command(command, request_id).await,
            ClientMessage::Presence(_) => {}
        }
        None
    }

    fn presence(&mut self, presence: Presence) {
        let Channel::Project(project) = presence.channel;
        // Latest-value traffic is never answered; what exceeds the rate or cannot be shown is let go.
        if self.presences.check().is_err() || validate::presence(&presence.state).is_err() {
            return;
        }
        if let Some(open) = self.open.get(&project).filter(|o| o.is_live) {
            open.room.hint(Message::Presence { session: self.peer.session, shown: presence.state });
        }
    }

    async fn command(&mut self, command: Command, request_id: Option<RequestId>) {
        let Some(request) = request_id else {
            return self.fail(Error::validation("requestId", "is required for commands"), None);
        };
        if let Err(error) = validate::command(&command) {
            return self.fail(error, request_id);
        }
        let room = match self.room_of(&command).await {
            Ok(room) => room,
            Err(error) => return self.fail(error, request_id),
        };
        self.has_waited |= matches!(&command, Command::LockAcquire(lock) if lock.wait == Some(true));
        let key = CommandKey { user: self.peer.user.id, client: self.peer.client, request };
        let request = Request::new(key, command, Reply::Session(Arc::clone(&self.peer)));
        self.peer.asked();
        if let Err(request) = room.submit(request) {
            request.answer(Err(Error::new(ErrorCode::ProjectBusy, "too many commands wait; try again")));
        }
    }

    /// The room that a command is for: the one that is open, or wherever its node lives.
    async fn room_of(&self, command: &Command) -> Result<Arc<Room>, Error> {
        let named = match command {
            Command::NodeCreate(create) => create.project_id,
            _ => None,
        };
        let mut open = self.open.values();
        match (named, open.next(), open.next()) {
            (Some(project), _, _) => {
                if let Some(open) = self.open.get(&project) {
                    return Ok(Arc::clone(&open.room));
                }
                let org = subscription::locate(&self.app, project).await?;
                self.open_room(project, org)
            }
            (None, Some(only), None) => Ok(Arc::clone(&only.room)),
            (None, _, _) => {
                let node = node_of(command).ok_or_else(|| {
                    Error::validation("projectId", "is required unless exactly one project is subscribed")
                })?;
                let located = members::locate_node(&self.app.database, node).await;
                let (org, project) =
                    located.map_err(|e| subscription::unavailable(&e))?.ok_or_else(crate::command::not_found)?;
                self.open_room(project, org)
            }
        }
    }

    fn open_room(&self, project: ProjectId, org: glassbox_protocol::OrgId) -> Result<Arc<Room>, Error> {
        self.app
            .rooms
            .open(project, org)
            .map_err(|_| Error::new(ErrorCode::Unavailable, "the instance is starting; try again"))
    }

    // Subscriptions ---------------------------------------------------------------------------------------------

    async fn subscribe(&mut self, subscribe: Subscribe, request: Option<RequestId>) -> Result<(), Error> {
        let Channel::Project(project) = subscribe.channel;
        if self.open.contains_key(&project) {
            self.unsubscribe(project).await;
        }
        if self.open.len() >= self.app.limits.channels {
            return Err(Error::validation("channel", format!("at most {} channels", self.app.limits.channels)));
        }
        let org = subscription::locate(&self.app, project).await?;
        let room = self.open_room(project, org)?;
        self.open.insert(project, Open { request, generation: self.generation, room, is_live: false });
        self.start_join(project, Start::new(subscribe.from));
        Ok(())
    }

    fn start_join(&mut self, project: ProjectId, start: Start) {
        let Some(open) = self.open.get(&project) else { return };
        let (app, room, peer) = (Arc::clone(&self.app), Arc::clone(&open.room), Arc::clone(&self.peer));
        let generation = open.generation;
        let handle = self.joins.spawn(async move {
            let outcome = subscription::join(&app, room, &peer, generation, start).await;
            (project, generation, outcome)
        });
        self.join_handles.insert(project, handle);
    }

    fn joined(&mut self, project: ProjectId, generation: u32, outcome: Result<Arc<Room>, Error>) {
        // The outcome of a subscription that has been left in the meantime is nobody's.
        let Some(open) = self.open.get_mut(&project).filter(|o| o.generation == generation) else { return };
        self.join_handles.remove(&project);
        match outcome {
            Ok(room) => {
                open.room = room;
                open.is_live = true;
            }
            Err(error) => {
                let request = open.request;
                self.open.remove(&project);
                self.generation += 1;
                self.peer.outbound.purge(project);
                let details = serde_json::json!({ "channel": Channel::Project(project) });
                self.fail(error.with_details(details), request);
            }
        }
    }

    async fn unsubscribe(&mut self, project: ProjectId) {
        let Some(open) = self.open.remove(&project) else { return };
        if let Some(join) = self.join_handles.remove(&project) {
            join.abort();
        }
        self.generation += 1;
        let leave = Message::Leave { session: self.peer.session, departure: Departure::Clean };
        // A room that has closed has let go of its members.
        let _ = open.room.tell(leave).await;
        self.peer.outbound.purge(project);
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Lost(project, reason) => {
                self.open.remove(&project);
                self.generation += 1;
                // Whoever has nothing left to look at is told to stay away.
                if self.open.is_empty() {
                    let (code, text) = match reason {
                        UnsubscribedReason::Revoked => (CloseCode::AccessRevoked, "access revoked"),
                        UnsubscribedReason::Deleted => (CloseCode::Gone, "the project is gone"),
                    };
                    self.peer.outbound.close(code, text);
                }
            }
            Notice::Restart(project) => {
                if let Some(open) = self.open.get_mut(&project) {
                    open.is_live = false;
                    self.start_join(project, Start::Restart);
                }
            }
        }
    }

    async fn leave_all(&mut self, departure: Departure) {
        self.joins.abort_all();
        // Aborted joins have let go of the room before the session says that it leaves.
        while self.joins.join_next().await.is_some() {}
        for (_, open) in self.open.drain() {
            let leave = Message::Leave { session: self.peer.session, departure };
            let _ = open.room.tell(leave).await;
            if self.has_waited && departure == Departure::Clean {
                self.app.leave_queues(open.room.org, self.peer.user.id, self.peer.client).await;
            }
        }
    }

    fn fail(&self, error: Error, request_id: Option<RequestId>) {
        self.send(ServerMessage::Error(error), request_id);
    }

    fn send(&self, message: ServerMessage, request_id: Option<RequestId>) {
        self.peer.outbound.message(message, request_id);
    }
}

enum Ended {
    /// The client closed.
    Client,
    /// The connection broke.
    Lost,
    /// The client broke a rule.
    Violation(CloseCode, &'static str),
    /// The queue says why.
    Closing,
}

fn node_of(command: &Command) -> Option<NodeId> {
    match command {
        Command::NodeCreate(create) => create.parent_id,
        Command::NodeUpdate(update) => Some(update.node_id),
        Command::NodeMove(moves) => moves.moves.first().map(|m| m.node_id),
        Command::NodeDelete(node) | Command::NodeRestore(node) => Some(node.node_id),
        Command::DependencyAdd(edge) => Some(edge.target_node_id),
        Command::DependencyRemove(glassbox_protocol::client::DependencyRemove::ByEnds(edge)) => {
            Some(edge.target_node_id)
        }
        Command::DependencyRemove(_) => None,
        Command::LockAcquire(lock) => Some(lock.node_id),
        Command::LockRenew(lock) => Some(lock.node_id),
        Command::LockRelease(lock) => Some(lock.node_id),
    }
}

fn rate(per_second: u32, burst: u32) -> DefaultDirectRateLimiter {
    let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    RateLimiter::direct(Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst)))
}

fn limits_of(limits: &LimitsConfig) -> Limits {
    Limits {
        frame_bytes: limits.frame_bytes,
        channels: limits.channels,
        commands_per_second: limits.commands_per_second,
        commands_burst: limits.commands_burst,
        presence_per_second: limits.presence_per_second,
        outbound_bytes: limits.outbound_bytes,
        resume_window: ResumeWindow { hours: 24, events: 10_000 },
    }
}

/// The instance's clock, RFC 3339; nothing is decided by it.
pub fn server_time() -> String {
    time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

impl App {
    /// Takes a client that has left out of the queues for locks; best effort, a place of a dead client is passed over.
    async fn leave_queues(&self, org: glassbox_protocol::OrgId, user: UserId, client: ClientId) {
        let leave = async {
            let mut tx = self.database.begin(&Tenant::member(org, user)).await?;
            locks::leave_all_queues(&mut tx, user, client).await?;
            tx.commit().await
        };
        if let Err(error) = leave.await {
            debug!(%error, "leave the queues for locks");
        }
    }
}
