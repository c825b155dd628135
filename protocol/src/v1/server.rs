//! What the server sends in the older dialect.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::client::Doing;
use crate::channel::Channel;
use crate::entity::{Node, Position};
use crate::event::ReleaseReason;
use crate::id::{ExecutionId, Fence, NodeId, NotificationId, OrgId, ProjectId, UserId};
use crate::server::UnsubscribedReason;

mod run;

pub use run::{ExecutionUpdate, Progress, TraceEvent};

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
    pub request_id: Option<String>,
    /// When it was made, RFC 3339; orders nothing.
    pub timestamp: String,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
pub enum ServerMessage {
    /// Answers `subscribe`.
    Subscribed(Subscribed),
    /// Answers `unsubscribe`, or tells that the server ended it.
    Unsubscribed(Unsubscribed),
    /// A node is there, new or restored.
    NodeCreated(Box<NodeCreated>),
    /// A node changed: its fields, its place, its inputs or its outputs.
    NodeUpdated(Box<NodeUpdated>),
    /// A node is gone from the canvas.
    NodeDeleted(NodeDeleted),
    /// Who is on a node.
    PresenceUpdate(PresenceUpdate),
    /// Somebody holds a node's lock; with a `requestId`, the caller.
    LockAcquired(LockAcquired),
    /// Nobody holds a node's lock.
    LockReleased(LockReleased),
    /// An agent's run goes on.
    ExecutionUpdate(Box<ExecutionUpdate>),
    /// Something new to read.
    Notification(Box<Notification>),
    /// A frame had no effect.
    Error(Error),
    /// Answers `ping`.
    Pong {},
}

/// A channel is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Subscribed {
    /// Which.
    pub channel: Channel,
    /// Who is on the node, where that differs from what this connection was last told; never for a project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<PresenceUser>>,
}

/// A channel is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unsubscribed {
    /// Which.
    pub channel: Channel,
    /// Why, when the server ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<UnsubscribedReason>,
}

/// Who did something: a person, or an agent's run, which has no id and no email.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// A person's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<UserId>,
    /// Where to write to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// How to call them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The run of an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
}

/// Somebody on a node. `email` and `name` are always there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PresenceUser {
    /// Who.
    pub user_id: UserId,
    /// Where to write to them.
    pub email: String,
    /// How to call them; their email where they have no name.
    pub name: String,
    /// Their picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// The most active of what they do there.
    pub action: Doing,
    /// When they last changed something about their presence there, RFC 3339.
    pub last_seen: String,
}

/// A node is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeCreated {
    /// The project.
    pub project_id: ProjectId,
    /// The node.
    pub node_id: NodeId,
    /// The whole node.
    pub node: Node,
    /// Who made it; absent for a foreign SQL writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Actor>,
    /// Its version.
    pub version: i32,
}

/// A node changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeUpdated {
    /// The project.
    pub project_id: ProjectId,
    /// The node.
    pub node_id: NodeId,
    /// The new value of each changed field; `null` means cleared. Inputs and outputs are whole lists.
    pub changes: Map<String, Value>,
    /// The version afterwards.
    pub version: i32,
    /// The title, as it is now; absent only for a node whose row is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The status, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Who changed it; absent for a foreign SQL writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<Actor>,
    /// When, RFC 3339.
    pub updated_at: String,
    /// The whole node as it is now; left out if only its place changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
}

/// A node is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeDeleted {
    /// The project.
    pub project_id: ProjectId,
    /// The node.
    pub node_id: NodeId,
    /// Who deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<Actor>,
    /// The same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<Actor>,
}

/// Who is on a node, and what changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PresenceUpdate {
    /// The node.
    pub node_id: NodeId,
    /// Everybody there, by arrival.
    pub users: Vec<PresenceUser>,
    /// The one that changed.
    pub user: Actor,
    /// Their id.
    pub user_id: UserId,
    /// Their email.
    pub user_email: String,
    /// What they do now; `left` if they are gone.
    pub action: Doing,
    /// Their pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_position: Option<Position>,
}

/// Somebody holds a node's lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LockAcquired {
    /// The project.
    pub project_id: ProjectId,
    /// The node.
    pub node_id: NodeId,
    /// Who holds it.
    pub locked_by: UserId,
    /// Their email.
    pub locked_by_email: String,
    /// The same.
    pub user_email: String,
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// When it was taken.
    pub locked_at: String,
    /// When it ends by itself.
    pub expires_at: String,
    /// Its token; in the answer to whoever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// A node's lock ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LockReleased {
    /// The project.
    pub project_id: ProjectId,
    /// The node.
    pub node_id: NodeId,
    /// Who held it; absent where a resumed connection learns late that it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_by: Option<UserId>,
    /// Their email.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_by_email: Option<String>,
    /// The same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_email: Option<String>,
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// Who ended it, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_by: Option<UserId>,
    /// Why.
    pub reason: ReleaseReason,
}

/// Something new to read: the fields of two generations of clients side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// What it is about, in this dialect's words.
    pub notification_type: String,
    /// Its title.
    pub title: String,
    /// More about it; empty where there is nothing.
    pub message: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Whether it was read.
    pub read: bool,
    /// The project of what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// The node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Who reads it.
    pub user_id: UserId,
    /// The organization.
    pub org_id: OrgId,
    /// What it is about, as it is stored.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same as `message`.
    pub body: String,
    /// What kind of thing it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// Which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<uuid::Uuid>,
    /// When it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<String>,
}

/// Why a frame had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// Not `project:<uuid>` or `node:<uuid>`.
    InvalidChannel,
    /// A channel or node that is unknown or not readable; one text for both.
    Unauthorized,
    /// Readable, but the role does not allow it.
    Forbidden,
    /// Another user holds the lock.
    LockHeld,
    /// The node of a lock request does not exist, is deleted or not readable.
    NotFound,
    /// Not JSON, an unknown type, a missing or wrong field.
    BadMessage,
    /// More frames than are allowed; this one was dropped.
    RateLimited,
    /// A defect, or the database did not answer in time.
    InternalError,
}

/// A frame had no effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Error {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Who holds the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_by: Option<UserId>,
    /// Their email.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_by_email: Option<String>,
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_by_name: Option<String>,
    /// When the lock ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

impl Error {
    /// An error without a lock's holder.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            locked_by: None,
            locked_by_email: None,
            locked_by_name: None,
            expires_at: None,
        }
    }
}
