//! The shapes of answers that are finished JSON when they reach a handler, for the OpenAPI document alone. Run against
//! a server, the document shows where a shape and the answers differ.
#![allow(dead_code, reason = "only the document reads the fields")]

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// A place on the canvas.
#[derive(ToSchema)]
pub struct Position {
    x: f64,
    y: f64,
}

/// A unit of work.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Node {
    id: Uuid,
    org_id: Uuid,
    project_id: Uuid,
    #[schema(nullable = false)]
    parent_id: Option<Uuid>,
    #[schema(max_length = 500)]
    title: String,
    #[schema(nullable = false)]
    description: Option<String>,
    status: String,
    /// `human` or `agent`.
    author_type: String,
    #[schema(nullable = false)]
    author_user_id: Option<Uuid>,
    #[schema(nullable = false)]
    supervisor_user_id: Option<Uuid>,
    version: i32,
    #[schema(value_type = Object)]
    metadata: Value,
    position: Position,
    /// Only while the lease runs.
    #[schema(nullable = false)]
    locked_by: Option<Uuid>,
    #[schema(nullable = false, format = DateTime)]
    locked_at: Option<String>,
    #[schema(nullable = false, format = DateTime)]
    lock_expires_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(nullable = false, format = DateTime)]
    deleted_at: Option<String>,
    inputs: Vec<NodeInput>,
    outputs: Vec<NodeOutput>,
}

/// What a node needs.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NodeInput {
    id: Uuid,
    node_id: Uuid,
    /// `file`, `node_reference`, `external_link` or `text`.
    input_type: String,
    #[schema(nullable = false)]
    file_id: Option<Uuid>,
    #[schema(nullable = false)]
    source_node_id: Option<Uuid>,
    #[schema(nullable = false)]
    source_node_version: Option<i32>,
    #[schema(nullable = false)]
    external_url: Option<String>,
    #[schema(nullable = false)]
    text_content: Option<String>,
    #[schema(nullable = false)]
    label: Option<String>,
    #[schema(value_type = Object)]
    metadata: Value,
    sort_order: i32,
    #[schema(format = DateTime)]
    created_at: String,
}

/// What a node made.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NodeOutput {
    id: Uuid,
    node_id: Uuid,
    /// `file`, `structured_data`, `text` or `external_link`.
    output_type: String,
    #[schema(nullable = false)]
    file_id: Option<Uuid>,
    structured_data: Option<Value>,
    #[schema(nullable = false)]
    text_content: Option<String>,
    #[schema(nullable = false)]
    external_url: Option<String>,
    #[schema(nullable = false)]
    label: Option<String>,
    #[schema(value_type = Object)]
    metadata: Value,
    sort_order: i32,
    #[schema(format = DateTime)]
    created_at: String,
}

/// An edge: the target needs what the source makes.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NodeDependency {
    id: Uuid,
    source_node_id: Uuid,
    target_node_id: Uuid,
    #[schema(nullable = false)]
    source_output_id: Option<Uuid>,
    #[schema(nullable = false)]
    target_input_id: Option<Uuid>,
    #[schema(format = DateTime)]
    created_at: String,
}
