//! What the older dialect tells of an agent's run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{ExecutionId, NodeId, ProjectId};

/// An agent's run goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExecutionUpdate {
    /// The run.
    pub execution_id: ExecutionId,
    /// The project.
    pub project_id: ProjectId,
    /// Its node.
    pub node_id: NodeId,
    /// Its state.
    pub status: String,
    /// How far it is.
    pub progress: Progress,
    /// The step that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_event: Option<TraceEvent>,
    /// Tokens read so far.
    pub total_tokens_in: i64,
    /// Tokens written so far.
    pub total_tokens_out: i64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// What it asks a person, while it waits for the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human_input_request: Option<Value>,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What it does at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_step: Option<String>,
    /// Steps done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_completed: Option<i64>,
    /// Steps there will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<i64>,
    /// Tokens read and written so far.
    pub tokens_used: i64,
    /// What it has cost, US dollars.
    pub estimated_cost: f64,
}

/// A step of a run, without its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TraceEvent {
    /// Its id.
    pub id: uuid::Uuid,
    /// 1, 2, 3, ... within the run.
    pub n: i64,
    /// What kind of step; an open list.
    #[serde(rename = "type")]
    pub kind: String,
    /// The model that was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<i64>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<i64>,
    /// How long it took, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// When it happened, RFC 3339.
    pub timestamp: String,
}
