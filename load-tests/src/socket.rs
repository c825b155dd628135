//! A light client: one WebSocket that checks the order of its log and reads of a frame only what is needed.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use glassbox_protocol::client::{ClientFrame, From, Hello, Presence, ProtocolRange, Subscribe};
use glassbox_protocol::server::{Ack, Subscribed, Synced, Welcome};
use glassbox_protocol::{
    Channel, ClientId, ClientMessage, Command, Epoch, PROTOCOL_VERSION, ProjectId, RequestId, SUBPROTOCOL, Seq,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use uuid::Uuid;

use crate::ledger::Verdict;

/// Thousands of sockets open at once on a busy machine.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);
/// Thousands of sockets are open at a time, so each reads in small pieces.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Violations that one socket keeps.
const VIOLATIONS_MAX: usize = 10;

/// A WebSocket that has said hello.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    user: Uuid,
    /// The last event that came, once a project is subscribed,
    position: Option<i64>,
    /// and the life of the log that it belongs to.
    epoch: Option<Epoch>,
    violations: Vec<String>,
}

/// Where a subscription can go on.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    epoch: Epoch,
    seq: i64,
}

/// What came.
pub enum Inbound {
    /// An answer.
    Ack {
        /// To which command.
        request: Uuid,
        /// How.
        verdict: Verdict,
        /// The number of the command's event.
        seq: i64,
    },
    /// A refusal, or a frame that was not understood.
    Refused {
        /// The frame that is refused, where it had an id.
        request: Option<Uuid>,
        /// The whole frame.
        text: Utf8Bytes,
    },
    /// An event of the log.
    Event {
        /// Its number.
        seq: i64,
        /// The command behind it, where it is told.
        request: Option<Uuid>,
        /// The whole frame.
        text: Utf8Bytes,
    },
    /// Any other frame.
    Other {
        /// The whole frame.
        text: Utf8Bytes,
    },
}

/// What is read of every frame. Only events have a `seq` beside the payload.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    seq: Option<i64>,
    request_id: Option<Uuid>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl Socket {
    /// Opens a socket and says hello.
    ///
    /// # Errors
    /// The server does not welcome us in time.
    pub async fn connect(address: SocketAddr, token: &str, client: ClientId) -> anyhow::Result<Self> {
        Self::open(address, token, client, None).await
    }

    /// As [`Socket::connect`], for a client that hardly buffers what it does not read.
    ///
    /// # Errors
    /// As [`Socket::connect`].
    pub async fn connect_narrow(address: SocketAddr, token: &str, buffer_bytes: u32) -> anyhow::Result<Self> {
        Self::open(address, token, ClientId::random(), Some(buffer_bytes)).await
    }

    async fn open(address: SocketAddr, token: &str, client: ClientId, buffer: Option<u32>) -> anyhow::Result<Self> {
        let opening = async {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            };
            let socket = socket.context("make a socket")?;
            if let Some(bytes) = buffer {
                socket.set_recv_buffer_size(bytes).context("set the receive buffer")?;
            }
            let stream = socket.connect(address).await.context("connect")?;
            stream.set_nodelay(true).context("connect")?;
            let mut request = format!("ws://{address}/ws").into_client_request().context("make the request")?;
            request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
            let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
            let (stream, _) = client_async_with_config(request, stream, Some(config)).await.context("upgrade")?;
            let mut socket = Self { stream, user: Uuid::nil(), position: None, epoch: None, violations: Vec::new() };
            let hello = Hello {
                token: token.to_owned(),
                client_id: client,
                protocol: ProtocolRange { min: PROTOCOL_VERSION, max: PROTOCOL_VERSION },
            };
            socket.feed(ClientMessage::Hello(hello), None).await?;
            socket.flush().await?;
            match socket.next().await? {
                Inbound::Other { text } if kind_of(&text) == "welcome" => {
                    let welcome: Welcome = payload_of(&text).context("read the welcome")?;
                    socket.user = welcome.user.id.0;
                    Ok(socket)
                }
                Inbound::Other { text } | Inbound::Refused { text, .. } => bail!("not welcome: {text}"),
                Inbound::Ack { .. } | Inbound::Event { .. } => bail!("something came before the welcome"),
            }
        };
        timeout(OPEN_DEADLINE, opening).await.context("no welcome in time")?
    }

    /// Subscribes to a project from now on.
    ///
    /// # Errors
    /// The server refuses, or is not synced in time.
    pub async fn subscribe(&mut self, project: ProjectId) -> anyhow::Result<()> {
        self.subscribe_from(project, None).await
    }

    /// Subscribes to a project from where another socket stopped.
    ///
    /// # Errors
    /// As [`Socket::subscribe`].
    pub async fn resume(&mut self, project: ProjectId, position: Position) -> anyhow::Result<()> {
        self.position = Some(position.seq);
        self.subscribe_from(project, Some(From::Resume { epoch: position.epoch, seq: Seq(position.seq) })).await
    }

    async fn subscribe_from(&mut self, project: ProjectId, from: Option<From>) -> anyhow::Result<()> {
        let subscribe = Subscribe { channel: Channel::Project(project), from };
        self.feed(ClientMessage::Subscribe(subscribe), Some(Uuid::new_v4())).await?;
        self.flush().await?;
        let syncing = async {
            loop {
                match self.next().await? {
                    Inbound::Refused { text, .. } => bail!("subscribe: {text}"),
                    Inbound::Other { text } => match kind_of(&text).as_str() {
                        "subscribed" => {
                            let subscribed: Subscribed = payload_of(&text).context("read subscribed")?;
                            self.epoch = Some(subscribed.epoch);
                        }
                        "reset" if from.is_some() => bail!("the position cannot be resumed: {text}"),
                        "synced" => {
                            let Synced { seq, .. } = payload_of(&text).context("read synced")?;
                            let expected = self.position.filter(|position| from.is_some() && *position != seq.0);
                            if let Some(position) = expected {
                                self.violations.push(format!("resumed up to {position}, synced at {seq}"));
                            }
                            self.position = Some(seq.0);
                            return Ok(());
                        }
                        _ => {}
                    },
                    Inbound::Ack { .. } | Inbound::Event { .. } => {}
                }
            }
        };
        timeout(OPEN_DEADLINE, syncing).await.context("not synced in time")?
    }

    /// Waits for the next frame. Nothing is lost when the wait is dropped.
    ///
    /// # Errors
    /// The socket ended, or the frame is not JSON.
    pub async fn next(&mut self) -> anyhow::Result<Inbound> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return self.read(text),
                Some(Ok(Message::Close(Some(frame)))) => bail!("closed with {}: {}", frame.code, frame.reason),
                Some(Ok(Message::Close(None))) | None => bail!("closed"),
                // Pings are answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(error).context("read from the socket"),
            }
        }
    }

    /// The next frame, if it is there already.
    ///
    /// # Errors
    /// As [`Socket::next`].
    pub fn next_ready(&mut self) -> anyhow::Result<Option<Inbound>> {
        self.next().now_or_never().transpose()
    }

    fn read(&mut self, text: Utf8Bytes) -> anyhow::Result<Inbound> {
        let envelope: Envelope<'_> = serde_json::from_str(&text).with_context(|| format!("read the frame {text}"))?;
        let request = envelope.request_id;
        if let Some(seq) = envelope.seq {
            self.check(seq);
            return Ok(Inbound::Event { seq, request, text });
        }
        match (envelope.kind.as_ref(), request, envelope.payload) {
            ("ack", Some(request), Some(payload)) => {
                let ack: Ack = serde_json::from_str(payload.get()).context("read an ack")?;
                Ok(Inbound::Ack { request, verdict: ack.outcome.into(), seq: ack.seq.0 })
            }
            ("error", request, _) => Ok(Inbound::Refused { request, text }),
            _ => Ok(Inbound::Other { text }),
        }
    }

    fn check(&mut self, seq: i64) {
        let Some(position) = self.position else { return };
        if seq != position + 1 && self.violations.len() < VIOLATIONS_MAX {
            let what = if seq > position { "a gap" } else { "a repetition" };
            self.violations.push(format!("{what} in the log: event {seq} came after {position}"));
        }
        self.position = Some(seq);
    }

    /// The last event that came.
    pub fn position(&self) -> Option<i64> {
        self.position
    }

    /// Where another socket can go on.
    pub fn resume_point(&self) -> Option<Position> {
        Some(Position { epoch: self.epoch?, seq: self.position? })
    }

    /// Who the server says we are.
    pub fn user(&self) -> Uuid {
        self.user
    }

    /// The promises that were broken on this socket.
    pub fn into_violations(self) -> Vec<String> {
        self.violations
    }

    /// Prepares a command for the next flush.
    ///
    /// # Errors
    /// The socket ended.
    pub async fn feed_command(&mut self, command: &Command, request: Uuid) -> anyhow::Result<()> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Frame<'a> {
            #[serde(flatten)]
            command: &'a Command,
            request_id: Uuid,
        }
        self.feed_json(&Frame { command, request_id: request }).await
    }

    /// Prepares a presence for the next flush.
    ///
    /// # Errors
    /// The socket ended.
    pub async fn feed_presence(&mut self, presence: Presence) -> anyhow::Result<()> {
        self.feed(ClientMessage::Presence(presence), None).await
    }

    async fn feed(&mut self, message: ClientMessage, request: Option<Uuid>) -> anyhow::Result<()> {
        self.feed_json(&ClientFrame { message, request_id: request.map(RequestId) }).await
    }

    async fn feed_json(&mut self, frame: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(frame).context("write a frame")?;
        self.stream.feed(Message::text(text)).await.context("write to the socket")
    }

    /// Sends what was prepared.
    ///
    /// # Errors
    /// The socket ended.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        self.stream.flush().await.context("write to the socket")
    }

    /// Reads whatever comes until a moment.
    ///
    /// # Errors
    /// As [`Socket::next`].
    pub async fn read_until(
        &mut self,
        end: tokio::time::Instant,
        mut each: impl FnMut(&Inbound),
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(end) => return Ok(()),
                inbound = self.next() => each(&inbound?),
            }
        }
    }
}

/// The type of a frame; empty for what is none.
pub fn kind_of(text: &str) -> String {
    serde_json::from_str::<Envelope<'_>>(text).map_or_else(|_| String::new(), |e| e.kind.into_owned())
}

fn payload_of<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    let envelope: Envelope<'_> = serde_json::from_str(text)?;
    serde_json::from_str(envelope.payload.map_or("{}", RawValue::get))
}

/// Opens sockets, some at a time, and subscribes each where a project is given for it.
///
/// # Errors
/// One of them could not be opened.
pub async fn open_many(
    count: usize,
    address: impl Fn(usize) -> SocketAddr,
    token: impl Fn(usize) -> String,
    project: impl Fn(usize) -> Option<ProjectId>,
) -> anyhow::Result<Vec<Socket>> {
    /// Handshakes under way at once: enough to be quick, few enough for every deadline.
    const AT_ONCE: usize = 32;
    let opening = futures::stream::iter((0..count).map(|n| {
        let (address, token, project) = (address(n), token(n), project(n));
        async move {
            let mut socket = Socket::connect(address, &token, ClientId::random()).await?;
            if let Some(project) = project {
                socket.subscribe(project).await?;
            }
            anyhow::Ok(socket)
        }
    }));
    let mut opening = opening.buffered(AT_ONCE);
    let mut sockets = Vec::with_capacity(count);
    while let Some(socket) = opening.next().await {
        sockets.push(socket.with_context(|| format!("open socket {} of {count}", sockets.len() + 1))?);
    }
    ensure!(sockets.len() == count, "only {} sockets of {count} are open", sockets.len());
    Ok(sockets)
}
