//! What a client sends.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub use parts::{
    DependencyAdd, DependencyRemove, DependencyUpdate, NodeInputAdd, NodeInputRemove, NodeOutputAdd, NodeOutputRemove,
    NodeRollback,
};

use crate::channel::Channel;
use crate::entity::{AuthorType, Position};
use crate::id::{ClientId, Epoch, Fence, NodeId, NotificationId, ProjectId, RequestId, Seq, UserId};

mod parts;

/// A frame from a client. `requestId` stands beside `type` and `payload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
pub enum ClientMessage {
    /// The first frame: who is calling.
    Hello(Hello),
    /// Opens a channel.
    Subscribe(Subscribe),
    /// Closes a channel.
    Unsubscribe(Unsubscribe),
    /// Where the caller is; latest value, never answered.
    Presence(Presence),
    /// Asks for a `pong`.
    Ping,
    /// Goes on with a new token, on the same socket.
    TokenRefresh(TokenRefresh),
    /// Marks notifications of the caller as read.
    NotificationsRead(NotificationsRead),
    /// A message that changes a project.
    #[serde(untagged)]
    Command(Command),
}

/// A frame from a client, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ClientFrame {
    /// What is asked.
    #[serde(flatten)]
    pub message: ClientMessage,
    /// Echoed in the answer; required for commands, where it makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

/// A message that changes a project; answered by exactly one `ack` or `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
pub enum Command {
    /// Makes a node.
    NodeCreate(NodeCreate),
    /// Changes fields of a node.
    NodeUpdate(NodeUpdate),
    /// Moves nodes; one durable event.
    NodeMove(NodeMove),
    /// Deletes a node and what lies below it; can be undone by `node_restore`.
    NodeDelete(NodeRef),
    /// Brings a deleted node back, with what the same delete took.
    NodeRestore(NodeRef),
    /// Makes a new version of what a node was.
    NodeRollback(NodeRollback),
    /// Says what a node needs.
    NodeInputAdd(NodeInputAdd),
    /// Takes back what a node needs.
    NodeInputRemove(NodeInputRemove),
    /// Says what a node made.
    NodeOutputAdd(NodeOutputAdd),
    /// Takes back what a node made.
    NodeOutputRemove(NodeOutputRemove),
    /// Adds an edge.
    DependencyAdd(DependencyAdd),
    /// Changes which output and input an edge means.
    DependencyUpdate(DependencyUpdate),
    /// Removes an edge.
    DependencyRemove(DependencyRemove),
    /// Takes a node's lock.
    LockAcquire(LockAcquire),
    /// Extends a lease.
    LockRenew(LockRenew),
    /// Gives a lock back.
    LockRelease(LockRelease),
    /// Ends somebody else's lock; audited, and its holder is told.
    LockBreak(LockBreak),
    /// Takes back the caller's own last command in a project.
    Undo(Undo),
    /// Does again what the caller took back last.
    Redo(Redo),
}

/// Opens the conversation; due within the hello deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// A JWT or a ticket.
    pub token: String,
    /// Kept by the client over reconnects, one per tab.
    pub client_id: ClientId,
    /// The protocol versions that the client speaks.
    pub protocol: ProtocolRange,
}

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProtocolRange {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

/// Goes on with a new token of the same user; answered by `token_refreshed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TokenRefresh {
    /// A JWT or a ticket.
    pub token: String,
}

/// Marks notifications of the caller as read; answered by `ack` with the unread count in `result`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum NotificationsRead {
    /// These.
    Some {
        /// At most 500; what is not the caller's is passed over.
        ids: Vec<NotificationId>,
    },
    /// One and all that are older.
    #[serde(rename_all = "camelCase")]
    UpTo {
        /// The newest that was seen.
        up_to: NotificationId,
    },
}

/// Takes back the caller's own last command that is not taken back yet, as a command of its own that expects what the
/// caller left: what somebody else changed since is a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Undo {
    /// The project.
    pub channel: Channel,
}

/// Does again what the caller took back last; a new command of the caller ends the chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Redo {
    /// The project.
    pub channel: Channel,
}

/// Opens a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Subscribe {
    /// Which.
    pub channel: Channel,
    /// Where to start; absent: live from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
}

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum From {
    /// With the whole state.
    Snapshot(SnapshotWord),
    /// After the position that the client has reached.
    Resume {
        /// The log's life that the position belongs to.
        epoch: Epoch,
        /// The last event that the client has applied.
        seq: Seq,
    },
}

/// The word `"snapshot"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SnapshotWord {
    /// The only value.
    Snapshot,
}

/// Closes a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Unsubscribe {
    /// Which.
    pub channel: Channel,
}

/// What a member shows of itself. Every field is a latest value: absent leaves it, `null` clears it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Where.
    pub channel: Channel,
    /// What is shown.
    #[serde(flatten)]
    pub state: PresenceFields,
}

/// The fields of a presence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PresenceFields {
    /// The pointer.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Option<Position>>,
    /// The selected nodes.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub selection: Option<Option<Vec<NodeId>>>,
    /// The visible part of the canvas.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub viewport: Option<Option<Viewport>>,
    /// The node that is looked at or edited.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub node_id: Option<Option<NodeId>>,
    /// What is done there: `viewing`, `editing`, `idle`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub action: Option<Option<String>>,
    /// Nodes under way; the durable move follows at the drop.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub drag: Option<Option<Vec<Move>>>,
}

/// The visible part of the canvas.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Viewport {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Magnification; 1 is natural size.
    pub zoom: f64,
}

/// Makes a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeCreate {
    /// The project; absent: the only one that the session is subscribed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// A client-made id; absent: the server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<NodeId>,
    /// 1 to 500 characters.
    pub title: String,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// 1 to 50 characters; absent: the project's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The node that contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<NodeId>,
    /// Where; absent: 0, 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Free-form, at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Absent: a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_type: Option<AuthorType>,
    /// Who answers for an agent's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor_user_id: Option<UserId>,
}

/// Changes fields of a node, each on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeUpdate {
    /// The node.
    pub node_id: NodeId,
    /// The new values.
    pub changes: NodeChanges,
    /// The version that the changes were made on; a field that somebody else changed since is a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_version: Option<i32>,
    /// Proves the node's lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// New values of a node's fields: absent leaves a field, `null` clears it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeChanges {
    /// 1 to 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Markdown.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<String>>,
    /// 1 to 50 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The node that contains it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Option<NodeId>>,
    /// Who answers for an agent's node.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub supervisor_user_id: Option<Option<UserId>>,
    /// Replaces all metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// Moves nodes of one project together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeMove {
    /// 1 to 500 moves, each node once.
    pub moves: Vec<Move>,
}

/// One node's new place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// The node.
    pub node_id: NodeId,
    /// Its new place.
    pub position: Position,
}

/// Names one node, with the proof of its lock where it is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeRef {
    /// The node.
    pub node_id: NodeId,
    /// Proves the node's lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// Takes a node's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LockAcquire {
    /// The node.
    pub node_id: NodeId,
    /// How long the lease lasts: 2 000 to 600 000 ms; absent: 30 000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<i64>,
    /// Queue up if somebody else holds it; `lock_acquired` tells when it is the caller's turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<bool>,
}

/// Extends a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LockRenew {
    /// The node.
    pub node_id: NodeId,
    /// The token of the lock; may be absent where the lock belongs to the user and not to one client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// How long from now; absent: as long as at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<i64>,
}

/// Gives a lock back, or leaves its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LockRelease {
    /// The node.
    pub node_id: NodeId,
    /// The token of the lock; absent: the caller leaves the queue, and gives back a lock that belongs to the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// Ends somebody else's lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LockBreak {
    /// The node.
    pub node_id: NodeId,
    /// Why, for the audit trail; at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Tells a field that is `null` from one that is absent.
fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}
