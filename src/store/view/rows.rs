//! The rows that make up a node on the wire. Absent values are left out; what any SQL writer may have stored in a
//! column without a check is passed on.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use crate::store::moment::Moment;

/// A row of `nodes`. An expired lock is no lock.
#[derive(Clone, Debug, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    pub id: Uuid,
    org_id: Uuid,
    pub project_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<Uuid>,
    pub title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    status: String,
    author_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author_user_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supervisor_user_id: Option<Uuid>,
    version: i32,
    metadata: Json<Box<RawValue>>,
    position: Json<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_by: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_expires_at: Option<Moment>,
    created_at: Moment,
    updated_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Moment>,
}

/// A row of `node_inputs`.
#[derive(Clone, Debug, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InputRow {
    id: Uuid,
    pub node_id: Uuid,
    input_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_node_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_node_version: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    metadata: Json<Box<RawValue>>,
    sort_order: i32,
    created_at: Moment,
}

/// A row of `node_outputs`.
#[derive(Clone, Debug, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputRow {
    id: Uuid,
    pub node_id: Uuid,
    output_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_data: Option<Json<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    metadata: Json<Box<RawValue>>,
    sort_order: i32,
    created_at: Moment,
}

/// A row of `files`, without its text and embedding.
#[derive(Clone, Debug, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    pub id: Uuid,
    org_id: Uuid,
    storage_key: String,
    storage_bucket: String,
    filename: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<i64>,
    processing_status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing_error: Option<String>,
    metadata: Json<Box<RawValue>>,
    created_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    uploaded_by: Option<Uuid>,
}

/// What a node's page shows of a person.
#[derive(Clone, Debug, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PersonRow {
    pub id: Uuid,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}
