//! A client as a browser is one: a WebSocket, the frames that came, and a mirror of each subscribed project.
//!
//! A task of its own reads the socket all the time and checks what it reads; a broken promise is kept and fails the
//! test at the next wait, or at [`Client::assert_sound`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use glassbox_protocol::client::{
    ClientFrame, From, Hello, Presence, ProtocolRange, SnapshotWord, Subscribe, Unsubscribe,
};
use glassbox_protocol::server::{Ack, ServerFrame, Welcome};
use glassbox_protocol::{
    Channel, ClientId, ClientMessage, Command, Error, EventFrame, PROTOCOL_VERSION, ProjectId, RequestId, SUBPROTOCOL,
    Seq, ServerMessage,
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::DEADLINE;
use super::mirror::{Mirror, Start, StartKind, project_of};
use super::strand::Strand;

/// Frames that are kept for waits and for the report of a failure.
const HISTORY_MAX: usize = 20_000;
/// Frames of the history that a report shows.
const REPORT_FRAMES: usize = 30;

/// An open WebSocket that has said hello.
pub struct Client {
    /// Kept over reconnects by whoever makes the next one.
    pub id: ClientId,
    /// What the server said at the start.
    pub welcome: Welcome,
    shared: Arc<Shared>,
    outbound: mpsc::UnboundedSender<Message>,
    task: AbortHandle,
}

/// The socket ended before an answer came: what was asked may have happened or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The close code, if there was a close frame.
    pub code: Option<u16>,
    /// The close frame's reason, or what the network said.
    pub reason: String,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket lost ({:?}: {})", self.code, self.reason)
    }
}

/// An answer to a command.
pub type Answer = Result<Ack, Error>;

struct Shared {
    state: Mutex<State>,
    /// Counts changes of `state`, for waiting.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    history: VecDeque<Value>,
    /// How many frames went before the oldest of `history`.
    forgotten: usize,
    answers: HashMap<RequestId, Vec<Answer>>,
    mirrors: BTreeMap<ProjectId, Followed>,
    /// Nodes and executions.
    strands: HashMap<Channel, Strand>,
    /// The newest event on the user's channel.
    own_seq: Option<Seq>,
    closed: Option<Lost>,
    violation: Option<String>,
}

struct Followed {
    mirror: Mirror,
    start: StartKind,
    refused: Option<Error>,
    request: RequestId,
}

impl Client {
    /// Connects and says hello; panics when the server does not welcome us.
    pub async fn connect(address: SocketAddr, token: &str, client: ClientId) -> Self {
        Self::try_connect(address, token, client).await.unwrap_or_else(|lost| panic!("not welcome: {lost}"))
    }

    /// Connects and says hello.
    ///
    /// # Errors
    /// The connection failed or was closed instead of a welcome.
    pub async fn try_connect(address: SocketAddr, token: &str, client: ClientId) -> Result<Self, Lost> {
        let hello = Hello {
            token: token.to_owned(),
            client_id: client,
            protocol: ProtocolRange { min: PROTOCOL_VERSION, max: PROTOCOL_VERSION },
        };
        let opening = async {
            let socket = open(address).await?;
            let mut client = Self::of(socket, client);
            client.send(ClientMessage::Hello(hello), None);
            let welcome = client
                .try_wait("welcome", |state| {
                    state.history.iter().find(|frame| frame["type"] == "welcome").map(|f| f["payload"].clone())
                })
                .await?;
            client.welcome = serde_json::from_value(welcome).expect("a welcome as the protocol has it");
            Ok(client)
        };
        tokio::time::timeout(DEADLINE, opening)
            .await
            .unwrap_or_else(|_| Err(Lost { code: None, reason: format!("no welcome within {DEADLINE:?}") }))
    }

    /// Opens a socket and says nothing; for tests of what may happen before the hello.
    pub async fn silent(address: SocketAddr) -> Self {
        let socket = open(address).await.unwrap_or_else(|lost| panic!("no socket: {lost}"));
        Self::of(socket, ClientId::random())
    }

    fn of(socket: WebSocketStream<TcpStream>, id: ClientId) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), changes: watch::Sender::new(0) });
        let (outbound, messages) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(socket, messages, Arc::clone(&shared))).abort_handle();
        Self { id, welcome: no_welcome(), shared, outbound, task }
    }

    /// Sends a message and waits for nothing.
    pub fn send(&self, message: ClientMessage, request: Option<RequestId>) {
        let frame = ClientFrame { message, request_id: request };
        self.send_text(serde_json::to_string(&frame).expect("frames are JSON"));
    }

    /// Sends any text.
    pub fn send_text(&self, text: String) {
        self.send_raw(Message::text(text));
    }

    /// Sends any message of a WebSocket.
    pub fn send_raw(&self, message: Message) {
        // A socket that is gone is noticed by whoever waits for an answer.
        let _ = self.outbound.send(message);
    }

    /// Shows presence.
    pub fn present(&self, presence: Presence) {
        self.send(ClientMessage::Presence(presence), None);
    }

    /// Sends a command and waits for its answer; panics when the socket ends before it.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn command(&self, command: Command) -> Answer {
        self.command_as(RequestId::random(), command).await.unwrap_or_else(|lost| panic!("{}", self.report(&lost)))
    }

    /// Sends a command under a given id and waits for its answer.
    ///
    /// # Errors
    /// The socket ended; whether the command took effect is unknown.
    pub async fn command_as(&self, request: RequestId, command: Command) -> Result<Answer, Lost> {
        let earlier = self.answers(request).len();
        self.send(ClientMessage::Command(command), Some(request));
        self.answer_after(request, earlier).await
    }

    /// Sends a command twice in a row and waits for both answers.
    ///
    /// # Errors
    /// The socket ended; whether the command took effect is unknown.
    pub async fn send_twice(&self, request: RequestId, command: Command) -> Result<(Answer, Answer), Lost> {
        let earlier = self.answers(request).len();
        self.send(ClientMessage::Command(command.clone()), Some(request));
        self.send(ClientMessage::Command(command), Some(request));
        let first = self.answer_after(request, earlier).await?;
        let second = self.answer_after(request, earlier + 1).await?;
        Ok((first, second))
    }

    /// The answers that a request id got so far.
    pub fn answers(&self, request: RequestId) -> Vec<Answer> {
        self.state().answers.get(&request).cloned().unwrap_or_default()
    }

    async fn answer_after(&self, request: RequestId, earlier: usize) -> Result<Answer, Lost> {
        self.try_wait("the answer to a command", |state| state.answers.get(&request)?.get(earlier).cloned()).await
    }

    /// Subscribes to a project and waits until it is synced; panics when the socket ends before it.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn subscribe(&self, project: ProjectId, start: Start) -> Result<(), Error> {
        self.try_subscribe(project, start).await.unwrap_or_else(|lost| panic!("{}", self.report(&lost)))
    }

    /// Subscribes to a project and waits until it is synced.
    ///
    /// # Errors
    /// The socket ended.
    pub async fn try_subscribe(&self, project: ProjectId, start: Start) -> Result<Result<(), Error>, Lost> {
        let (from, kind) = match &start {
            Start::Live => (None, StartKind::Live),
            Start::Snapshot => (Some(From::Snapshot(SnapshotWord::Snapshot)), StartKind::Snapshot),
            Start::Resume(mirror) => {
                let epoch = mirror.epoch.expect("a mirror that was subscribed knows its epoch");
                (Some(From::Resume { epoch, seq: mirror.seq }), StartKind::Resume)
            }
        };
        let request = RequestId::random();
        let followed = Followed { mirror: Mirror::new(project, start), start: kind, refused: None, request };
        self.state().mirrors.insert(project, followed);
        self.send(ClientMessage::Subscribe(Subscribe { channel: Channel::Project(project), from }), Some(request));
        self.try_wait("synced", |state| {
            let followed = state.mirrors.get(&project)?;
            match &followed.refused {
                Some(error) => Some(Err(error.clone())),
                None => followed.mirror.is_synced.then_some(Ok(())),
            }
        })
        .await
    }

    /// Leaves a project and waits for the confirmation.
    pub async fn unsubscribe(&self, project: ProjectId) {
        let request = RequestId::random();
        self.send(ClientMessage::Unsubscribe(Unsubscribe { channel: Channel::Project(project) }), Some(request));
        let text = request.to_string();
        self.wait("unsubscribed", |frame| (frame["requestId"] == text.as_str()).then_some(())).await;
    }

    /// Subscribes to a node or an execution and waits until it is synced.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn open(&self, channel: Channel, from: Option<From>) -> Result<(), Error> {
        let request = RequestId::random();
        let at = match &from {
            Some(From::Resume { seq, .. }) => Some(*seq),
            Some(From::Snapshot(_)) | None => None,
        };
        self.state().strands.insert(channel, Strand::new(request, at));
        self.send(ClientMessage::Subscribe(Subscribe { channel, from }), Some(request));
        self.try_wait("synced", |state| {
            let strand = state.strands.get(&channel)?;
            match &strand.refused {
                Some(error) => Some(Err(error.clone())),
                None => strand.is_synced.then_some(Ok(())),
            }
        })
        .await
        .unwrap_or_else(|lost| panic!("{}", self.report(&lost)))
    }

    /// What this client knows of a node's or an execution's channel.
    pub fn strand(&self, channel: Channel) -> Strand {
        self.state().strands.get(&channel).expect("a channel that the client subscribed to").clone()
    }

    /// Waits until the strand of a channel satisfies a condition; panics after the usual deadline.
    pub async fn wait_strand<T>(&self, what: &str, channel: Channel, mut look: impl FnMut(&Strand) -> Option<T>) -> T {
        self.try_wait(what, |state| look(state.strands.get(&channel)?))
            .await
            .unwrap_or_else(|lost| panic!("{}", self.report(&lost)))
    }

    /// The projects that this client subscribed to.
    pub fn followed(&self) -> Vec<ProjectId> {
        self.state().mirrors.keys().copied().collect()
    }

    /// What this client knows of a project.
    pub fn mirror(&self, project: ProjectId) -> Mirror {
        self.with_mirror(project, Mirror::clone)
    }

    /// Looks at what this client knows of a project.
    pub fn with_mirror<T>(&self, project: ProjectId, look: impl FnOnce(&Mirror) -> T) -> T {
        let state = self.state();
        look(&state.mirrors.get(&project).expect("a project that the client subscribed to").mirror)
    }

    /// Waits until the mirror of a project satisfies a condition; panics after the usual deadline.
    pub async fn wait_mirror<T>(
        &self,
        what: &str,
        project: ProjectId,
        mut look: impl FnMut(&Mirror) -> Option<T>,
    ) -> T {
        self.try_wait(what, |state| look(&state.mirrors.get(&project)?.mirror))
            .await
            .unwrap_or_else(|lost| panic!("{}", self.report(&lost)))
    }

    /// Waits for a frame among all that came, the oldest first; panics after the usual deadline.
    pub async fn wait<T>(&self, what: &str, look: impl FnMut(&Value) -> Option<T>) -> T {
        self.wait_since(0, what, look).await
    }

    /// As [`Client::wait`], among the frames that came after [`Client::position`] was `since`.
    pub async fn wait_since<T>(&self, since: usize, what: &str, mut look: impl FnMut(&Value) -> Option<T>) -> T {
        self.try_wait(what, |state| {
            let skip = since.saturating_sub(state.forgotten);
            state.history.iter().skip(skip).find_map(&mut look)
        })
        .await
        .unwrap_or_else(|lost| panic!("{}", self.report(&lost)))
    }

    /// How many frames came.
    pub fn position(&self) -> usize {
        let state = self.state();
        state.forgotten + state.history.len()
    }

    /// The frames that came since [`Client::position`] was `since`.
    pub fn frames_since(&self, since: usize) -> Vec<Value> {
        let state = self.state();
        state.history.iter().skip(since.saturating_sub(state.forgotten)).cloned().collect()
    }

    /// Waits until the socket has ended and tells how.
    pub async fn closed(&self) -> Lost {
        self.try_wait("the end of the socket", |_| None::<()>).await.expect_err("it waits for nothing else")
    }

    /// Whether the socket has ended.
    pub fn is_closed(&self) -> bool {
        self.state().closed.is_some()
    }

    /// Says goodbye with a close frame and waits for the end.
    pub async fn close(&self) {
        self.send_raw(Message::Close(None));
        self.closed().await;
    }

    /// Drops the socket without a word.
    pub fn cut(&self) {
        self.task.abort();
        let lost = Lost { code: None, reason: "cut by the test".to_owned() };
        self.shared.change(|state| {
            state.closed.get_or_insert(lost);
        });
    }

    /// Panics if the server broke a promise of the protocol on this socket.
    pub fn assert_sound(&self) {
        let violation = self.state().violation.clone();
        if let Some(violation) = violation {
            panic!("{}", self.report(&violation));
        }
    }

    /// Waits for something in the state. A violation panics here, whatever is waited for.
    async fn try_wait<T>(&self, what: &str, mut look: impl FnMut(&State) -> Option<T>) -> Result<T, Lost> {
        let mut changes = self.shared.changes.subscribe();
        let waiting = async {
            loop {
                changes.mark_unchanged();
                self.assert_sound();
                {
                    let state = self.state();
                    if let Some(found) = look(&state) {
                        return Ok(found);
                    }
                    if let Some(lost) = &state.closed {
                        return Err(lost.clone());
                    }
                }
                changes.changed().await.expect("the sender lives in self");
            }
        };
        tokio::time::timeout(DEADLINE, waiting)
            .await
            .unwrap_or_else(|_| panic!("{}", self.report(&format!("{what}: not within {DEADLINE:?}"))))
    }

    fn report(&self, what: &dyn fmt::Display) -> String {
        let state = self.state();
        let frames: Vec<String> = state.history.iter().rev().take(REPORT_FRAMES).map(shortened).collect();
        format!("client {}: {what}; the newest frames first:\n{}", self.id, frames.join("\n"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changes.send_modify(|count| *count += 1);
    }
}

async fn open(address: SocketAddr) -> Result<WebSocketStream<TcpStream>, Lost> {
    let lost = |e: &dyn fmt::Display| Lost { code: None, reason: e.to_string() };
    let stream = TcpStream::connect(address).await.map_err(|e| lost(&e))?;
    stream.set_nodelay(true).map_err(|e| lost(&e))?;
    let mut request = format!("ws://{address}/ws").into_client_request().map_err(|e| lost(&e))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    let (socket, _) = tokio::time::timeout(DEADLINE, client_async(request, stream))
        .await
        .map_err(|e| lost(&e))?
        .map_err(|e| lost(&e))?;
    Ok(socket)
}

async fn run(
    mut socket: WebSocketStream<TcpStream>,
    mut outbound: mpsc::UnboundedReceiver<Message>,
    shared: Arc<Shared>,
) {
    let lost = loop {
        tokio::select! {
            message = outbound.recv() => match message {
                Some(message) => {
                    if let Err(e) = socket.send(message).await {
                        // A close frame may lie behind it.
                        if !matches!(e, tungstenite::Error::Protocol(_) | tungstenite::Error::AlreadyClosed) {
                            drain(&mut socket, &shared).await;
                        }
                        break Lost { code: None, reason: e.to_string() };
                    }
                }
                None => break Lost { code: None, reason: "dropped by the test".to_owned() },
            },
            message = socket.next() => match message {
                Some(Ok(message)) => {
                    if let Some(lost) = take(message, &shared) {
                        break lost;
                    }
                }
                Some(Err(e)) => break Lost { code: None, reason: e.to_string() },
                None => break Lost { code: None, reason: "end of stream".to_owned() },
            },
        }
    };
    shared.change(|state| {
        state.closed.get_or_insert(lost);
    });
}

/// Reads what came before a broken connection broke.
async fn drain(socket: &mut WebSocketStream<TcpStream>, shared: &Shared) {
    while let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_millis(200), socket.next()).await {
        if let Some(lost) = take(message, shared) {
            shared.change(|state| {
                state.closed.get_or_insert(lost);
            });
        }
    }
}

fn take(message: Message, shared: &Shared) -> Option<Lost> {
    match message {
        Message::Text(text) => {
            let value: Value = match serde_json::from_str(&text) {
                Ok(value) => value,
                Err(e) => {
                    shared.change(|state| state.violate(format!("not JSON ({e}): {text}")));
                    return None;
                }
            };
            shared.change(|state| state.read(value));
            None
        }
        Message::Close(frame) => Some(Lost {
            code: frame.as_ref().map(|f| f.code.into()),
            reason: frame.map(|f| f.reason.to_string()).unwrap_or_default(),
        }),
        Message::Binary(_) => {
            shared.change(|state| state.violate("a binary frame".to_owned()));
            None
        }
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => None,
    }
}

impl State {
    fn read(&mut self, value: Value) {
        let outcome = self.understand(&value);
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
            self.forgotten += 1;
        }
        let text = outcome.err().map(|e| format!("{e} in {value}"));
        self.history.push_back(value);
        if let Some(text) = text {
            self.violate(text);
        }
    }

    fn violate(&mut self, what: String) {
        // The first one is the cause of others.
        self.violation.get_or_insert(what);
    }

    fn understand(&mut self, value: &Value) -> Result<(), String> {
        if value.get("seq").is_some() && value.get("at").is_some() {
            let frame = EventFrame::deserialize_from(value)?;
            if frame.channel == Channel::User {
                return self.own(&frame);
            }
            if matches!(frame.channel, Channel::Node(_) | Channel::Execution(_)) {
                let strand =
                    self.strands.get_mut(&frame.channel).ok_or("an event of a channel that was not asked for")?;
                return strand.event(frame);
            }
            let Some(followed) = self.mirrors.get_mut(&project_of(frame.channel)) else {
                return Err("an event of a channel that was not asked for".to_owned());
            };
            if !followed.mirror.is_of(frame.generation) {
                return Ok(());
            }
            return followed.mirror.event(frame);
        }
        let frame = ServerFrame::deserialize_from(value)?;
        let channel = value["payload"]["channel"].as_str().and_then(|channel| channel.parse::<Channel>().ok());
        if let Some(strand) = channel.and_then(|channel| self.strands.get_mut(&channel)) {
            return strand.message(&frame.message);
        }
        match frame.message {
            ServerMessage::Ack(ack) => {
                let request = frame.request_id.ok_or("an ack without requestId")?;
                self.answers.entry(request).or_default().push(Ok(ack));
            }
            ServerMessage::Error(error) => {
                let Some(request) = frame.request_id else { return Ok(()) };
                if let Some(strand) = self.strands.values_mut().find(|s| s.request == request) {
                    strand.refused = Some(error);
                    return Ok(());
                }
                match self.mirrors.values_mut().find(|f| f.request == request) {
                    Some(followed) => followed.refused = Some(error),
                    None => self.answers.entry(request).or_default().push(Err(error)),
                }
            }
            ServerMessage::Subscribed(payload) => {
                let followed = self.followed(payload.channel)?;
                let start = followed.start;
                return followed.mirror.subscribed(&payload, &start);
            }
            ServerMessage::Snapshot(payload) => {
                let followed = self.followed(payload.channel)?;
                if followed.mirror.is_of(Some(payload.generation)) {
                    return followed.mirror.snapshot(payload);
                }
            }
            ServerMessage::Reset(payload) => {
                let followed = self.followed(payload.channel)?;
                if followed.mirror.is_of(Some(payload.generation)) {
                    return followed.mirror.reset(&payload);
                }
            }
            ServerMessage::Synced(payload) => {
                let followed = self.followed(payload.channel)?;
                if followed.mirror.is_of(Some(payload.generation)) {
                    return followed.mirror.synced(&payload);
                }
            }
            ServerMessage::Head(payload) => {
                let followed = self.followed(payload.channel)?;
                if followed.mirror.is_of(Some(payload.generation)) {
                    return followed.mirror.head(&payload);
                }
            }
            ServerMessage::Welcome(_)
            | ServerMessage::Unsubscribed(_)
            | ServerMessage::Pong(_)
            | ServerMessage::PresenceState(_)
            | ServerMessage::PresenceDiff(_)
            | ServerMessage::Moving(_)
            | ServerMessage::TokenExpiring(_)
            | ServerMessage::TokenRefreshed(_)
            | ServerMessage::TraceState(_) => {}
        }
        Ok(())
    }

    /// The user's own stream only grows. It has gaps: some of its events are for the server alone.
    fn own(&mut self, frame: &EventFrame) -> Result<(), String> {
        let last = self.own_seq.replace(frame.seq);
        match last {
            Some(last) if frame.seq <= last => Err(format!("the user's stream goes from {last} to {}", frame.seq)),
            _ => Ok(()),
        }
    }

    fn followed(&mut self, channel: Channel) -> Result<&mut Followed, String> {
        self.mirrors.get_mut(&project_of(channel)).ok_or_else(|| "a channel that was not asked for".to_owned())
    }
}

/// Reads a frame and says what it was where it is none.
trait FromFrame: serde::de::DeserializeOwned {
    fn deserialize_from(value: &Value) -> Result<Self, String> {
        serde_json::from_value(value.clone()).map_err(|e| format!("not a frame of the protocol ({e})"))
    }
}

impl FromFrame for EventFrame {}
impl FromFrame for ServerFrame {}

fn shortened(frame: &Value) -> String {
    const CHARS_MAX: usize = 400;
    let text = frame.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}

/// Stands in until the server has spoken.
fn no_welcome() -> Welcome {
    use glassbox_protocol::server::{Limits, ResumeWindow, User};
    Welcome {
        session_id: glassbox_protocol::SessionId::random(),
        user: User { id: glassbox_protocol::UserId::random(), name: None, email: None },
        protocol: ProtocolRange { min: 0, max: 0 },
        limits: Limits {
            frame_bytes: 0,
            channels: 0,
            commands_per_second: 0,
            commands_burst: 0,
            presence_per_second: 0,
            outbound_bytes: 0,
            resume_window: ResumeWindow { hours: 0, events: 0 },
        },
        heartbeat_ms: 0,
        server_time: String::new(),
    }
}
