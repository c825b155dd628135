//! What projects are made of, in the shape that frames and REST answers share.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{DependencyId, ExecutionId, Fence, NodeId, NotificationId, OrgId, ProjectId, UserId};

/// A place on the canvas, in canvas units; both numbers are finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Position {
    /// To the right.
    pub x: f64,
    /// Downwards.
    pub y: f64,
}

/// Who made a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AuthorType {
    /// A person.
    #[default]
    Human,
    /// An agent.
    Agent,
}

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum InputType {
    /// A file; needs `fileId`.
    File,
    /// Another node; needs `sourceNodeId`.
    NodeReference,
    /// An address; needs `externalUrl`.
    ExternalLink,
    /// A text; needs `textContent`.
    Text,
}

/// What an output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OutputType {
    /// A file; needs `fileId`.
    File,
    /// Data; needs `structuredData`.
    StructuredData,
    /// A text; needs `textContent`.
    Text,
    /// An address; needs `externalUrl`.
    ExternalLink,
}

/// A unit of work on the canvas. Absent fields are empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The node's id.
    pub id: NodeId,
    /// The organization that owns the project.
    pub org_id: OrgId,
    /// The project.
    pub project_id: ProjectId,
    /// The node that contains this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<NodeId>,
    /// 1 to 500 characters.
    pub title: String,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A workflow state, 1 to 50 characters.
    pub status: String,
    /// `human` or `agent`; passed on as stored.
    pub author_type: String,
    /// Who created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_user_id: Option<UserId>,
    /// Who answers for an agent's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor_user_id: Option<UserId>,
    /// Grows by one with every change of title, description, status or metadata.
    pub version: i32,
    /// Free-form, at most 64 KiB.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Where it is.
    pub position: Position,
    /// Who holds its lock, while the lease runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_by: Option<UserId>,
    /// When the lock was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_at: Option<String>,
    /// When the lock's lease ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_expires_at: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC; moves with every write of the row and so orders nothing.
    pub updated_at: String,
    /// When it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// What it needs; items as in the REST contract.
    #[serde(default)]
    pub inputs: Vec<Value>,
    /// What it made; items as in the REST contract.
    #[serde(default)]
    pub outputs: Vec<Value>,
}

/// An edge: the target needs what the source makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// The edge's id.
    pub id: DependencyId,
    /// The node that provides.
    pub source_node_id: NodeId,
    /// The node that consumes.
    pub target_node_id: NodeId,
    /// The output that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_output_id: Option<uuid::Uuid>,
    /// The input that is fed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_input_id: Option<uuid::Uuid>,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// A lock whose lease runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// The locked node.
    pub node_id: NodeId,
    /// Who holds it.
    pub locked_by: UserId,
    /// When it was taken.
    pub locked_at: String,
    /// When it ends by itself.
    pub expires_at: String,
    /// How long that is from now, by the database's clock.
    pub expires_in_ms: i64,
}

/// What `lock_acquire` and `lock_renew` give the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LockGrant {
    /// The token that writes to the node must carry.
    pub fence: Fence,
    /// How long the lease runs, by the database's clock.
    pub expires_in_ms: i64,
    /// Whether the caller held it already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renewed: bool,
}

/// Somebody with access to a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Who.
    pub user_id: UserId,
    /// How to call them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The effective project role.
    pub role: String,
}

/// An agent's run that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// The run's id.
    pub id: ExecutionId,
    /// The node it works on.
    pub node_id: NodeId,
    /// `pending`, `running`, `paused` or `awaiting_input`.
    pub status: String,
    /// Tokens read so far.
    pub total_tokens_in: i64,
    /// Tokens written so far.
    pub total_tokens_out: i64,
    /// The model, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
}

/// One step of an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TraceEvent {
    /// Its id.
    pub id: uuid::Uuid,
    /// The run.
    pub execution_id: ExecutionId,
    /// 1, 2, 3, ... within the run.
    pub n: i64,
    /// What kind of step: `llm_call`, `tool_call`, ...; an open list.
    pub event_type: String,
    /// What is known of it.
    pub event_data: Map<String, Value>,
    /// When it happened by its writer's clock, RFC 3339; orders nothing.
    pub timestamp: String,
    /// How long it took, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// The model that was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<i64>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<i64>,
    /// The table's column; no order.
    pub sequence_number: i64,
    /// It came after the run had ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

/// Something that a person reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// Who reads it.
    pub user_id: UserId,
    /// The organization that it is about.
    pub org_id: OrgId,
    /// `execution_complete`, `execution_failed`, `human_input_needed`, `mention`, `node_assigned` or `lock_released`;
    /// an open list.
    #[serde(rename = "type")]
    pub kind: String,
    /// At most 255 characters.
    pub title: String,
    /// More about it: a question, an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What kind of thing it is about: `node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// Which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<uuid::Uuid>,
    /// The project of what it is about, while that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// The node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// When it was first read; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// Who did it; `null` in its place means a foreign SQL writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// A person, or an agent with a user of its own.
    User {
        /// Their id.
        id: UserId,
    },
    /// An agent's run.
    Execution {
        /// Its id.
        id: ExecutionId,
    },
}
