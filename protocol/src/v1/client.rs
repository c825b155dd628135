//! What a client of the older dialect sends.

use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::entity::Position;
use crate::id::NodeId;

/// A frame from a client, whole. Further fields are ignored, here and in payloads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ClientFrame {
    /// What is asked.
    #[serde(flatten)]
    pub message: ClientMessage,
    /// Echoed in the direct answer and in every error that the frame causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Opens a channel; again on an open one is answered again.
    Subscribe(ChannelName),
    /// Closes a channel, some time later unless it is opened again by then.
    Unsubscribe(ChannelName),
    /// What the caller does on a node; never answered.
    Presence(Presence),
    /// Takes a node's lock, or renews the caller's own.
    LockAcquire(LockRequest),
    /// Gives a node's lock back.
    LockRelease(LockRequest),
    /// Asks for a `pong`.
    Ping,
}

/// Names a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChannelName {
    /// `project:<uuid>` or `node:<uuid>`.
    pub channel: Channel,
}

/// Names the node of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LockRequest {
    /// The node.
    pub node_id: NodeId,
}

/// What the caller does on a node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// The node.
    pub node_id: NodeId,
    /// What is done there.
    pub action: Doing,
    /// The pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_position: Option<Position>,
    /// The place in a text; taken and not shown to anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<TextPosition>,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TextPosition {
    /// The line.
    pub line: f64,
    /// The column.
    pub column: f64,
}

/// What somebody does on a node, or that they are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Looks at it.
    Viewing,
    /// Changes it.
    Editing,
    /// Has it open and does nothing.
    Idle,
    /// Is not there any more.
    Left,
}
