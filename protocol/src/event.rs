//! Events: committed facts of a project's log, of an execution's or of a user's, in seq order.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::channel::Channel;
use crate::client::{Move, NodeChanges};
use crate::entity::{Actor, Dependency, Node, Notification, TraceEvent};
use crate::id::{DependencyId, ExecutionId, Fence, FileId, NodeId, NotificationId, RequestId, Seq, UserId};

/// An event as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventFrame {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// The channel.
    pub channel: Channel,
    /// One more than the last; on the channel of a node, more than the last.
    pub seq: Seq,
    /// When it was written, RFC 3339; orders nothing.
    pub at: String,
    /// Who did it; `null` for a foreign SQL writer.
    pub by: Option<Actor>,
    /// The command that did it, for its author's own sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The last event of its transaction; clients apply the frames up to here together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tx_end: bool,
    /// The subscription; absent in the REST feed and on the channel `user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "payload", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event {
    /// A node is there.
    NodeCreated {
        /// The node.
        node_id: NodeId,
        /// The whole node.
        node: Box<Node>,
    },
    /// Fields of a node changed.
    NodeUpdated {
        /// The node.
        node_id: NodeId,
        /// The new values; `null` means cleared.
        changes: NodeChanges,
        /// The version afterwards.
        version: i32,
        /// The writer did not hold the lock that somebody else holds.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lock_overridden: bool,
    },
    /// Nodes are elsewhere.
    NodesMoved {
        /// Their new places.
        moves: Vec<Move>,
    },
    /// A node is gone from the canvas.
    NodeDeleted {
        /// The node.
        node_id: NodeId,
    },
    /// A deleted node is back.
    NodeRestored {
        /// The node.
        node_id: NodeId,
        /// The whole node.
        node: Box<Node>,
    },
    /// A node needs something more.
    NodeInputAdded {
        /// The node.
        node_id: NodeId,
        /// The input, as in the REST contract.
        input: Value,
    },
    /// A node needs something no longer.
    NodeInputRemoved {
        /// The node.
        node_id: NodeId,
        /// The input.
        input_id: uuid::Uuid,
    },
    /// A node made something.
    NodeOutputAdded {
        /// The node.
        node_id: NodeId,
        /// The output, as in the REST contract.
        output: Value,
    },
    /// An output is gone.
    NodeOutputRemoved {
        /// The node.
        node_id: NodeId,
        /// The output.
        output_id: uuid::Uuid,
    },
    /// An edge is there.
    DependencyAdded {
        /// The edge.
        dependency: Dependency,
    },
    /// An edge is gone.
    DependencyRemoved {
        /// The edge.
        dependency_id: DependencyId,
        /// Its source.
        source_node_id: NodeId,
        /// Its target.
        target_node_id: NodeId,
    },
    /// A lock was taken.
    LockAcquired {
        /// The node.
        node_id: NodeId,
        /// Who holds it.
        locked_by: UserId,
        /// When it was taken.
        locked_at: String,
        /// When it ends by itself.
        expires_at: String,
        /// How long that is from when the event was written.
        expires_in_ms: i64,
        /// The token, for the holder only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fence: Option<Fence>,
    },
    /// A lease was extended.
    LockRenewed {
        /// The node.
        node_id: NodeId,
        /// Who holds it.
        locked_by: UserId,
        /// When it ends by itself.
        expires_at: String,
        /// How long that is from when the event was written.
        expires_in_ms: i64,
    },
    /// A lock ended.
    LockReleased {
        /// The node.
        node_id: NodeId,
        /// Who held it.
        locked_by: UserId,
        /// Why.
        reason: ReleaseReason,
    },
    /// An agent's run changed its state or its totals.
    ExecutionUpdate {
        /// The run.
        execution_id: ExecutionId,
        /// Its node.
        node_id: NodeId,
        /// Its state.
        status: String,
        /// Tokens read so far.
        total_tokens_in: i64,
        /// Tokens written so far.
        total_tokens_out: i64,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_message: Option<String>,
    },
    /// A step of an execution; on its channel.
    TraceEvent(Box<TraceEvent>),
    /// An execution has ended; the last event of its channel, unless it is taken up again.
    ExecutionClosed {
        /// The run.
        execution_id: ExecutionId,
        /// How it ended: `complete`, `failed` or `cancelled`.
        status: String,
    },
    /// A file is being processed, or was.
    FileUpdate {
        /// The file.
        file_id: FileId,
        /// Its name.
        filename: String,
        /// `pending`, `processing`, `complete` or `failed`.
        processing_status: String,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        processing_error: Option<String>,
        /// The nodes of this project whose inputs or outputs refer to it.
        node_ids: Vec<NodeId>,
    },
    /// Somebody got access.
    MemberAdded {
        /// Who.
        user_id: UserId,
        /// The project role.
        role: String,
    },
    /// Somebody's role changed.
    MemberUpdated {
        /// Who.
        user_id: UserId,
        /// The new project role.
        role: String,
    },
    /// Somebody lost their row.
    MemberRemoved {
        /// Who.
        user_id: UserId,
    },
    /// The project itself changed.
    ProjectUpdated {
        /// The new values of what changed.
        changes: Value,
    },
    /// The project is gone; the last event of its log.
    ProjectDeleted {},
    /// The user has something new to read; on the channel `user`.
    Notification {
        /// The notification.
        notification: Box<Notification>,
        /// How many of the user's notifications are unread now.
        unread_count: i64,
    },
    /// The user has read something, in this session or another; on the channel `user`.
    NotificationsRead {
        /// Which of the notifications, at most 500; more of them make several events.
        ids: Vec<NotificationId>,
        /// How many of the user's notifications are unread now.
        unread_count: i64,
    },
}

/// Why a lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    /// The holder gave it back.
    Released,
    /// The lease was over.
    Expired,
    /// Somebody broke it.
    Broken,
    /// The holder lost the right to write.
    HolderRemoved,
    /// The node was deleted.
    Deleted,
}
