//! A client of the older dialect: a bare one that keeps every frame, and one that behaves as the canvas client does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use glassbox_protocol::v1::ServerFrame;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::DEADLINE;
use super::world::{Person, World};

/// An open WebSocket without a subprotocol.
pub struct V1Client {
    shared: Arc<Shared>,
    outbound: mpsc::UnboundedSender<Message>,
    task: AbortHandle,
}

struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    received: Vec<Value>,
    sent: usize,
    closed: Option<Option<u16>>,
    violation: Option<String>,
}

/// A ticket of a person.
pub async fn ticket(world: &World, person: &Person) -> String {
    let answer = world.post("/api/v1/auth/ws-token", Some(person), &Value::Null).await;
    answer["token"].as_str().expect("a ticket").to_owned()
}

async fn open(address: SocketAddr, ticket: &str) -> Result<WebSocketStream<TcpStream>, u16> {
    let stream = TcpStream::connect(address).await.expect("connect");
    stream.set_nodelay(true).expect("a socket");
    let request = format!("ws://{address}/ws?token={ticket}").into_client_request().expect("a request");
    match client_async(request, stream).await {
        Ok((socket, answer)) => {
            assert!(!answer.headers().contains_key("sec-websocket-protocol"), "nothing was offered");
            Ok(socket)
        }
        Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

impl V1Client {
    /// Opens a page of a person on instance `index`.
    pub async fn page(world: &World, index: usize, person: &Person) -> Self {
        let ticket = ticket(world, person).await;
        Self::connect(world.address(index), &ticket).await
    }

    /// Connects with a ticket; panics when it is refused.
    pub async fn connect(address: SocketAddr, ticket: &str) -> Self {
        Self::try_connect(address, ticket).await.unwrap_or_else(|status| panic!("refused: {status}"))
    }

    /// Connects with a ticket.
    ///
    /// # Errors
    /// The status of the refusal.
    pub async fn try_connect(address: SocketAddr, ticket: &str) -> Result<Self, u16> {
        let socket = open(address, ticket).await?;
        let (outbound, wanted) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { state: Mutex::default(), changes: watch::Sender::new(0) });
        let task = tokio::spawn(run(socket, wanted, Arc::clone(&shared), None)).abort_handle();
        Ok(Self { shared, outbound, task })
    }

    /// Connects as the canvas client does, with a node selected; see [`behave`].
    pub async fn browser(address: SocketAddr, ticket: &str, project: &str, node: &str) -> Self {
        let socket = open(address, ticket).await.expect("let in");
        let (outbound, wanted) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { state: Mutex::default(), changes: watch::Sender::new(0) });
        let (frames, rendered) = mpsc::unbounded_channel();
        let page = behave(project.to_owned(), node.to_owned(), rendered, outbound.clone());
        let page = AbortOnDrop(tokio::spawn(page).abort_handle());
        let task = tokio::spawn(run(socket, wanted, Arc::clone(&shared), Some((frames, page)))).abort_handle();
        Self { shared, outbound, task }
    }

    /// Opens a channel and then reads nothing more; the socket itself.
    pub async fn silent(world: &World, person: &Person, channel: &str) -> WebSocketStream<TcpStream> {
        let ticket = ticket(world, person).await;
        let mut socket = open(world.address(0), &ticket).await.expect("let in");
        let subscribe = json!({ "type": "subscribe", "payload": { "channel": channel } });
        socket.send(Message::text(subscribe.to_string())).await.expect("sent");
        let answer = socket.next().await.expect("an answer").expect("an answer");
        assert!(answer.to_text().expect("text").contains("subscribed"), "{answer}");
        socket
    }

    /// Sends a message.
    pub fn send(&self, kind: &str, payload: Value) {
        self.send_text(&json!({ "type": kind, "payload": payload, "timestamp": "now" }).to_string());
    }

    /// Sends a message that wants an answer.
    pub fn ask(&self, kind: &str, payload: Value, request: &str) {
        self.send_text(&json!({ "type": kind, "payload": payload, "requestId": request }).to_string());
    }

    /// Sends any text.
    pub fn send_text(&self, text: &str) {
        let _ = self.outbound.send(Message::text(text.to_owned()));
    }

    /// Opens a channel and waits for the answer, whose payload it returns.
    pub async fn subscribe(&self, channel: &str) -> Value {
        let since = self.position();
        self.send("subscribe", json!({ "channel": channel }));
        self.wait_since(since, &format!("subscribed to {channel}"), |frame| {
            assert_ne!(frame["type"], "error", "{frame}");
            (frame["type"] == "subscribed" && frame["payload"]["channel"] == channel).then(|| frame["payload"].clone())
        })
        .await
    }

    /// Asks and waits for what carries the request's id.
    pub async fn answer(&self, kind: &str, payload: Value) -> Value {
        let request = uuid::Uuid::new_v4().to_string();
        self.ask(kind, payload, &request);
        self.wait("an answer", |frame| (frame["requestId"] == request.as_str()).then(|| frame.clone())).await
    }

    /// Waits for a frame of a type and returns its payload.
    pub async fn wait_type(&self, since: usize, kind: &str) -> Value {
        self.wait_since(since, kind, |frame| (frame["type"] == kind).then(|| frame["payload"].clone())).await
    }

    /// Waits for a frame among all that came.
    pub async fn wait<T>(&self, what: &str, look: impl FnMut(&Value) -> Option<T>) -> T {
        self.wait_since(0, what, look).await
    }

    /// Waits for a frame among those that came after `since`; panics after the usual deadline.
    pub async fn wait_since<T>(&self, since: usize, what: &str, mut look: impl FnMut(&Value) -> Option<T>) -> T {
        let mut changes = self.shared.changes.subscribe();
        let waiting = async {
            loop {
                changes.mark_unchanged();
                {
                    let state = self.shared.lock();
                    assert_eq!(state.violation, None);
                    if let Some(found) = state.received.iter().skip(since).find_map(&mut look) {
                        return found;
                    }
                    assert!(state.closed.is_none(), "{what}: the socket ended: {:?}", state.closed);
                }
                changes.changed().await.expect("the sender lives in self");
            }
        };
        match tokio::time::timeout(DEADLINE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("{what}: not within {DEADLINE:?}: {:#?}", self.frames_since(since)),
        }
    }

    /// Waits until everything that was sent before is answered: frames are handled in order.
    pub async fn settled(&self) {
        let since = self.position();
        self.send("ping", Value::Null);
        self.wait_type(since, "pong").await;
    }

    /// How many frames came.
    pub fn position(&self) -> usize {
        self.shared.lock().received.len()
    }

    /// How many frames came and went.
    pub fn traffic(&self) -> usize {
        let state = self.shared.lock();
        state.received.len() + state.sent
    }

    /// The frames that came after `since`.
    pub fn frames_since(&self, since: usize) -> Vec<Value> {
        self.shared.lock().received.iter().skip(since).cloned().collect()
    }

    /// The payloads of a type that came after `since`.
    pub fn payloads(&self, since: usize, kind: &str) -> Vec<Value> {
        let frames = self.frames_since(since).into_iter();
        frames.filter(|frame| frame["type"] == kind).map(|frame| frame["payload"].clone()).collect()
    }

    /// Waits for the end of the socket; the close code, if there was one.
    pub async fn closed(&self) -> Option<u16> {
        tokio::time::timeout(DEADLINE, self.ended()).await.expect("the socket ends")
    }

    /// As [`V1Client::closed`], however long it takes.
    pub async fn ended(&self) -> Option<u16> {
        let mut changes = self.shared.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(code) = self.shared.lock().closed {
                return code;
            }
            changes.changed().await.expect("the sender lives in self");
        }
    }

    /// Drops the socket without a word.
    pub fn cut(&self) {
        self.task.abort();
        self.shared.change(|state| state.closed = state.closed.or(Some(None)));
    }

    /// Says goodbye as a page does.
    pub fn close(&self) {
        self.close_with(1001);
    }

    /// Says goodbye with a close code.
    pub fn close_with(&self, code: u16) {
        let _ = self
            .outbound
            .send(Message::Close(Some(tungstenite::protocol::CloseFrame { code: code.into(), reason: "".into() })));
    }
}

impl Drop for V1Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
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

async fn run(
    mut socket: WebSocketStream<TcpStream>,
    mut wanted: mpsc::UnboundedReceiver<Message>,
    shared: Arc<Shared>,
    page: Option<(mpsc::UnboundedSender<Value>, AbortOnDrop)>,
) {
    let code = loop {
        tokio::select! {
            message = wanted.recv() => {
                let Some(message) = message else { break None };
                shared.change(|state| state.sent += 1);
                let _ = socket.send(message).await;
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).expect("JSON");
                    // What the types do not know would show here.
                    let known = serde_json::from_value::<ServerFrame>(frame.clone()).map_err(|e| format!("{e}: {frame}"));
                    if let Some((page, _)) = &page {
                        let _ = page.send(frame.clone());
                    }
                    shared.change(|state| {
                        state.received.push(frame);
                        if let Err(violation) = known {
                            state.violation.get_or_insert(violation);
                        }
                    });
                }
                Some(Ok(Message::Close(frame))) => break frame.map(|frame| frame.code.into()),
                Some(Ok(Message::Binary(_))) => {
                    shared.change(|state| state.violation = Some("a binary frame".to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break None,
            },
        }
    };
    shared.change(|state| state.closed = state.closed.or(Some(code)));
}

/// What the canvas client does with a node selected. Each rendering of the project's page leaves and opens the project's
/// channel, each change of its map of presence renders twice and does the same for the node, each lock frame renders, and
/// while it has no list for the node it renders once a second.
async fn behave(
    project: String,
    node: String,
    mut frames: mpsc::UnboundedReceiver<Value>,
    outbound: mpsc::UnboundedSender<Message>,
) {
    let say = |kind: &str, payload: Value| {
        let _ = outbound.send(Message::text(json!({ "type": kind, "payload": payload }).to_string()));
    };
    let again = |channel: String| {
        say("unsubscribe", json!({ "channel": channel }));
        say("subscribe", json!({ "channel": channel }));
    };
    say("subscribe", json!({ "channel": format!("project:{project}") }));
    say("subscribe", json!({ "channel": format!("node:{node}") }));
    say("presence", json!({ "nodeId": node, "action": "viewing" }));
    let second = Duration::from_secs(1);
    let mut clock = interval_at(Instant::now() + second, second);
    let mut has_list = false;
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { return };
                let payload = &frame["payload"];
                match frame["type"].as_str() {
                    Some("presence_update" | "subscribed") if payload["users"].is_array() => {
                        has_list = true;
                        again(format!("project:{project}"));
                        again(format!("project:{project}"));
                        again(format!("node:{node}"));
                    }
                    Some("lock_acquired" | "lock_released") => again(format!("project:{project}")),
                    _ => {}
                }
            }
            _ = clock.tick() => {
                if !has_list {
                    again(format!("project:{project}"));
                }
            }
        }
    }
}
