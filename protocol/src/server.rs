//! What the server sends, apart from events of the log.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::channel::Channel;
use crate::client::{PresenceFields, ProtocolRange};
use crate::entity::{Dependency, Execution, Lock, Member, Node, TraceEvent};
use crate::error::Error;
use crate::id::{Epoch, RequestId, Seq, SessionId, UserId};

/// A frame from the server that is not an event. Events are [`crate::EventFrame`]s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
pub enum ServerMessage {
    /// Answers `hello`.
    Welcome(Welcome),
    /// A channel is open; nothing of it came before.
    Subscribed(Subscribed),
    /// One part of the whole state.
    Snapshot(Snapshot),
    /// The position cannot be resumed; a snapshot follows.
    Reset(Reset),
    /// State and missed events are complete; what follows is live.
    Synced(Synced),
    /// A channel is closed.
    Unsubscribed(Unsubscribed),
    /// The newest committed position, on a channel that was silent.
    Head(Head),
    /// A command was committed.
    Ack(Ack),
    /// A frame was not applied.
    Error(Error),
    /// Answers `ping`.
    Pong(Pong),
    /// Everybody who is here, once after a subscribe.
    PresenceState(PresenceState),
    /// What changed about who is here.
    PresenceDiff(PresenceDiff),
    /// This instance drains: reconnect after the delay.
    Moving(Moving),
    /// The token ends soon.
    TokenExpiring(TokenExpiring),
    /// Answers `token_refresh`.
    TokenRefreshed(TokenRefreshed),
    /// What an execution has done so far, for a late viewer.
    TraceState(TraceState),
}

/// A frame from the server, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServerFrame {
    /// What is said.
    #[serde(flatten)]
    pub message: ServerMessage,
    /// The frame that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

impl From<ServerMessage> for ServerFrame {
    fn from(message: ServerMessage) -> Self {
        Self { message, request_id: None }
    }
}

/// Answers `hello`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// Names this socket until it closes.
    pub session_id: SessionId,
    /// Who the token says is calling.
    pub user: User,
    /// The protocol versions that this server speaks.
    pub protocol: ProtocolRange,
    /// What the session may do.
    pub limits: Limits,
    /// How often the server pings, ms.
    pub heartbeat_ms: u64,
    /// The server's clock, RFC 3339.
    pub server_time: String,
}

/// A person or agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// How to call them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where to write to them; left out where others look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Largest inbound frame, bytes.
    pub frame_bytes: usize,
    /// Most open channels.
    pub channels: usize,
    /// Commands per second, sustained.
    pub commands_per_second: u32,
    /// Commands in a burst.
    pub commands_burst: u32,
    /// Presence frames per second.
    pub presence_per_second: u32,
    /// Bytes that may wait for this client.
    pub outbound_bytes: usize,
    /// How far back a resume reaches.
    pub resume_window: ResumeWindow,
}

/// How far back a resume reaches: at least both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ResumeWindow {
    /// Time, hours.
    pub hours: u32,
    /// Events.
    pub events: u32,
}

/// A channel is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Subscribed {
    /// Which.
    pub channel: Channel,
    /// The caller's effective role: `admin`, `member` or `viewer`.
    pub role: String,
    /// The log's present life.
    pub epoch: Epoch,
    /// The newest committed event.
    pub head: Seq,
    /// Stands in every later frame of this subscription.
    pub generation: u32,
}

/// One part of the whole state at `seq`. All parts together are one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Which channel.
    pub channel: Channel,
    /// The subscription.
    pub generation: u32,
    /// 1, 2, 3, ...
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// The position that the state includes.
    pub seq: Seq,
    /// Nodes that are not deleted.
    pub nodes: Vec<Node>,
    /// Edges.
    pub dependencies: Vec<Dependency>,
    /// Locks whose lease runs.
    pub locks: Vec<Lock>,
    /// Executions that have not ended.
    pub executions: Vec<Execution>,
    /// Who may see the project.
    pub members: Vec<Member>,
}

/// Why a position cannot be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// Events after the position are no longer kept.
    BelowFloor,
    /// The position is newer than the log.
    AheadOfHead,
    /// The position belongs to another life of the log.
    EpochChanged,
}

/// The position cannot be resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Reset {
    /// Which channel.
    pub channel: Channel,
    /// The subscription.
    pub generation: u32,
    /// Why.
    pub reason: ResetReason,
    /// The log's present life.
    pub epoch: Epoch,
    /// The newest committed event.
    pub head: Seq,
}

/// What follows is live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    /// Which channel.
    pub channel: Channel,
    /// The subscription.
    pub generation: u32,
    /// The position reached.
    pub seq: Seq,
}

/// A channel is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Unsubscribed {
    /// Which.
    pub channel: Channel,
    /// Why, when the server ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<UnsubscribedReason>,
}

/// Why the server ended a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnsubscribedReason {
    /// The caller may no longer see the project.
    Revoked,
    /// The project is gone.
    Deleted,
}

/// The newest committed position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Which channel.
    pub channel: Channel,
    /// The subscription.
    pub generation: u32,
    /// The log's present life.
    pub epoch: Epoch,
    /// The newest event that was sent on this channel.
    pub seq: Seq,
}

/// What a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As asked.
    Applied,
    /// Everything was so already; no event.
    Unchanged,
    /// Something else was stored; `result` says what.
    Adjusted,
}

/// A command was committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Ack {
    /// What it did.
    pub outcome: Outcome,
    /// The command's last event; for `unchanged`, a position at which it was so.
    pub seq: Seq,
    /// The node's version afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// What was made or stored, by command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Warnings, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// This is the answer to an earlier sending of the same command.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// Answers `ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Pong {
    /// The server's clock, RFC 3339.
    pub server_time: String,
}

/// A session as its room shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PresentMember {
    /// The session; two tabs of one user are two.
    pub session_id: SessionId,
    /// Who.
    pub user: User,
    /// What it shows.
    #[serde(flatten)]
    pub state: PresenceFields,
}

/// What one session changed about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PresenceUpdate {
    /// The session.
    pub session_id: SessionId,
    /// Only what changed.
    #[serde(flatten)]
    pub state: PresenceFields,
}

/// Everybody who is here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PresenceState {
    /// Which channel.
    pub channel: Channel,
    /// The subscription.
    pub generation: u32,
    /// All sessions on all instances, the caller's own included.
    pub members: Vec<PresentMember>,
}

/// What changed since the last frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PresenceDiff {
    /// Which channel.
    pub channel: Channel,
    /// The subscription.
    pub generation: u32,
    /// Sessions that came.
    #[serde(default)]
    pub joins: Vec<PresentMember>,
    /// Sessions that went.
    #[serde(default)]
    pub leaves: Vec<SessionId>,
    /// Sessions that changed.
    #[serde(default)]
    pub updates: Vec<PresenceUpdate>,
}

/// This instance drains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Moving {
    /// When to reconnect, from now.
    pub retry_after_ms: u64,
}

/// The token ends soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TokenExpiring {
    /// How long it lasts from now.
    pub in_ms: u64,
}

/// Why a socket was closed. 1001, 1011, 1012 and 4000 to 4499: reconnect with backoff and resume; 4500 to 4999: do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The client went away.
    GoingAway = 1001,
    /// Not a WebSocket frame, as RFC 6455 has it.
    ProtocolError = 1002,
    /// A binary frame.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    InvalidText = 1007,
    /// A frame over the limit.
    TooLarge = 1009,
    /// A defect of the server.
    InternalError = 1011,
    /// The instance drains or restarts.
    ServiceRestart = 1012,
    /// No `hello` in time.
    HelloTimeout = 4000,
    /// The token is over.
    TokenExpired = 4001,
    /// No sign of life.
    PongMissing = 4003,
    /// Too much waits for this client.
    SlowReader = 4008,
    /// Rates exceeded again and again.
    RateExceeded = 4029,
    /// The instance takes no more.
    Overloaded = 4030,
    /// The token does not verify.
    TokenInvalid = 4500,
    /// The caller may no longer be here.
    AccessRevoked = 4503,
    /// The project or organization is gone.
    Gone = 4504,
    /// No common protocol version.
    VersionUnsupported = 4505,
    /// Too many frames that are not frames.
    MalformedFrames = 4506,
    /// A newer session of the same client took over.
    Replaced = 4507,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// The session lives as long as the new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TokenRefreshed {
    /// How long that is, ms.
    pub expires_in_ms: u64,
}

/// An execution as of one position of its trace: the summary and the newest events. What follows is live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TraceState {
    /// Which channel.
    pub channel: Channel,
    /// The subscription.
    pub generation: u32,
    /// The position that the state includes.
    pub seq: Seq,
    /// The execution.
    pub execution: Execution,
    /// How many trace events there are.
    pub total: i64,
    /// The newest of them, in the order of `n`; the older ones are in the REST list.
    pub events: Vec<TraceEvent>,
}
