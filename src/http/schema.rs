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

/// A node without its inputs and outputs.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct BareNode {
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
}

/// A node with all that its own page shows.
#[derive(ToSchema)]
pub struct NodeDetail {
    #[schema(inline)]
    #[serde(flatten)]
    node: Node,
    /// Oldest first.
    children: Vec<BareNode>,
    /// Who made it, while they belong to the organization.
    #[schema(nullable = false)]
    author: Option<Person>,
    /// Who answers for it, while they belong to the organization.
    #[schema(nullable = false)]
    supervisor: Option<Person>,
}

/// Somebody whom a node names.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Person {
    id: Uuid,
    email: String,
    #[schema(nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    avatar_url: Option<String>,
}

/// What a node was.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NodeVersion {
    id: Uuid,
    node_id: Uuid,
    version: i32,
    /// The node as of that version, without lock, inputs and outputs; stored history may have some of its keys only.
    #[schema(value_type = Object)]
    snapshot: Value,
    /// `created`, `status_change`, `updated` or `rollback`; stored history may have others.
    change_type: String,
    #[schema(nullable = false)]
    change_summary: Option<String>,
    /// Absent for a foreign SQL writer.
    #[schema(nullable = false)]
    changed_by: Option<Uuid>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// Where a node is.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Placed {
    node_id: Uuid,
    position: Position,
}

/// A node that was passed over, and why.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Skipped {
    node_id: Uuid,
    /// `NOT_FOUND`, or `GONE` for one that is deleted.
    code: String,
}

/// A file that a node refers to, without its text.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NestedFile {
    id: Uuid,
    org_id: Uuid,
    storage_key: String,
    storage_bucket: String,
    filename: String,
    #[schema(nullable = false)]
    content_type: Option<String>,
    #[schema(nullable = false)]
    size_bytes: Option<i64>,
    /// `pending`, `processing`, `complete` or `failed`.
    processing_status: String,
    #[schema(nullable = false)]
    processing_error: Option<String>,
    #[schema(value_type = Object)]
    metadata: Value,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(nullable = false)]
    uploaded_by: Option<Uuid>,
}

/// A node as another one is linked to it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct LinkedNode {
    #[schema(inline)]
    #[serde(flatten)]
    node: Node,
    /// The same as `id`.
    node_id: Uuid,
    /// The same as `title`.
    node_title: String,
    /// The input that takes it.
    #[schema(nullable = false)]
    input_id: Option<Uuid>,
    #[schema(nullable = false)]
    input_label: Option<String>,
    /// The edge, where `via` is `dependency`.
    #[schema(nullable = false)]
    dependency_id: Option<Uuid>,
    /// `input` or `dependency`.
    via: String,
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
    #[schema(nullable = false)]
    file: Option<NestedFile>,
    /// Only if it is not deleted and the caller may read it.
    #[schema(nullable = false)]
    source_node: Option<BareNode>,
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
    #[schema(nullable = false)]
    file: Option<NestedFile>,
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
