//! Inputs and outputs of nodes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use glassbox_protocol::client::{NodeInputAdd, NodeInputRemove, NodeOutputAdd, NodeOutputRemove};
use glassbox_protocol::entity::{InputType, OutputType};
use glassbox_protocol::{Command, Fence, NodeId};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, PathIds, Query};
use super::nodes::write::Proof;
use super::nodes::{submit_checked, writable};
use super::once::Once;
use super::schema;
use crate::app::SharedApp;

/// A new input; its type says which of the fields is required.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewInput {
    /// `file` needs `fileId`, `node_reference` `sourceNodeId`, `external_link` `externalUrl`, `text` `textContent`.
    #[schema(required, nullable = false, pattern = "^(file|node_reference|external_link|text)$", example = "text")]
    input_type: Option<String>,
    /// A file of the organization that the caller may read.
    file_id: Option<Uuid>,
    /// Another node that the caller may read.
    #[schema(value_type = Option<Uuid>)]
    source_node_id: Option<NodeId>,
    /// Which version of it is meant; absent: the newest.
    #[schema(minimum = 1, maximum = 2147483647)]
    source_node_version: Option<i32>,
    /// An `http` or `https` address.
    #[schema(pattern = "^https?://", example = "https://example.org/prices")]
    external_url: Option<String>,
    #[schema(example = "Only suppliers from the region.")]
    text_content: Option<String>,
    #[schema(max_length = 255, example = "Constraint")]
    label: Option<String>,
    /// At most 64 KiB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Proves the caller's lock.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 9007199254740991i64)]
    fence: Option<Fence>,
}

impl NewInput {
    fn command(self, node: NodeId) -> ApiResult<Command> {
        let input_type = match given(self.input_type.as_deref()) {
            None => return Err(ApiError::field("inputType", "is required")),
            Some("file") => InputType::File,
            Some("node_reference") => InputType::NodeReference,
            Some("external_link") => InputType::ExternalLink,
            Some("text") => InputType::Text,
            Some(_) => {
                return Err(ApiError::field("inputType", "expected file, node_reference, external_link or text"));
            }
        };
        Ok(Command::NodeInputAdd(NodeInputAdd {
            node_id: node,
            id: None,
            input_type,
            file_id: self.file_id,
            source_node_id: self.source_node_id,
            source_node_version: self.source_node_version,
            external_url: self.external_url.filter(|text| !text.is_empty()),
            text_content: self.text_content.filter(|text| !text.is_empty()),
            label: self.label.filter(|text| !text.is_empty()),
            metadata: self.metadata,
            fence: self.fence,
        }))
    }
}

/// A new output; its type says which of the fields is required.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewOutput {
    /// `file` needs `fileId`, `structured_data` `structuredData`, `text` `textContent`, `external_link` `externalUrl`.
    #[schema(required, nullable = false, pattern = "^(file|structured_data|text|external_link)$", example = "text")]
    output_type: Option<String>,
    /// A file of the organization that the caller may read.
    file_id: Option<Uuid>,
    #[schema(value_type = Option<Object>, example = json!({ "cheapest": "Nordwind" }))]
    structured_data: Option<Map<String, Value>>,
    #[schema(example = "Nordwind is the cheapest.")]
    text_content: Option<String>,
    /// An `http` or `https` address.
    #[schema(pattern = "^https?://", example = "https://example.org/prices")]
    external_url: Option<String>,
    #[schema(max_length = 255, example = "Choice")]
    label: Option<String>,
    /// At most 64 KiB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Proves the caller's lock.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 9007199254740991i64)]
    fence: Option<Fence>,
}

impl NewOutput {
    fn command(self, node: NodeId) -> ApiResult<Command> {
        let output_type = match given(self.output_type.as_deref()) {
            None => return Err(ApiError::field("outputType", "is required")),
            Some("file") => OutputType::File,
            Some("structured_data") => OutputType::StructuredData,
            Some("text") => OutputType::Text,
            Some("external_link") => OutputType::ExternalLink,
            Some(_) => {
                return Err(ApiError::field("outputType", "expected file, structured_data, text or external_link"));
            }
        };
        Ok(Command::NodeOutputAdd(NodeOutputAdd {
            node_id: node,
            id: None,
            output_type,
            file_id: self.file_id,
            structured_data: self.structured_data,
            text_content: self.text_content.filter(|text| !text.is_empty()),
            external_url: self.external_url.filter(|text| !text.is_empty()),
            label: self.label.filter(|text| !text.is_empty()),
            metadata: self.metadata,
            fence: self.fence,
        }))
    }
}

/// The empty text counts as missing.
fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// Adds an input, behind the others. Another user's lock on the node refuses it.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{nodeId}/inputs",
    tag = "nodes",
    request_body = NewInput,
    responses((status = 201, body = schema::NodeInput)),
    extensions(("x-right" = json!("node.write")), ("x-idempotent" = json!(true))),
)]
pub async fn add_input(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    once: Once,
    body: ApiResult<Body<NewInput>>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let place = writable(&app, caller, node).await?;
    let ack = submit_checked(&app, caller, place, once, body?.0.command(node)?).await?;
    Ok((StatusCode::CREATED, Json(ack.result.ok_or_else(ApiError::internal)?)))
}

/// Removes an input. Another user's lock on the node refuses it.
#[utoipa::path(
    delete,
    path = "/api/v1/nodes/{nodeId}/inputs/{inputId}",
    tag = "nodes",
    params(("fence" = Option<i64>, Query, minimum = 0, maximum = 9007199254740991i64, description = "As in the body.")),
    request_body = Option<Proof>,
    responses((status = 204, description = "It is gone.")),
    extensions(("x-right" = json!("node.write"))),
)]
pub async fn remove_input(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathIds(node, input): PathIds<NodeId, Uuid>,
    query: Query,
    once: Once,
    body: ApiResult<Body<Proof>>,
) -> ApiResult<StatusCode> {
    let place = writable(&app, caller, node).await?;
    let fence = body?.0.or_query(&query)?;
    let command = Command::NodeInputRemove(NodeInputRemove { node_id: node, input_id: input, fence });
    submit_checked(&app, caller, place, once, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Adds an output, behind the others. Another user's lock on the node refuses it.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{nodeId}/outputs",
    tag = "nodes",
    request_body = NewOutput,
    responses((status = 201, body = schema::NodeOutput)),
    extensions(("x-right" = json!("node.write")), ("x-idempotent" = json!(true))),
)]
pub async fn add_output(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    once: Once,
    body: ApiResult<Body<NewOutput>>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let place = writable(&app, caller, node).await?;
    let ack = submit_checked(&app, caller, place, once, body?.0.command(node)?).await?;
    Ok((StatusCode::CREATED, Json(ack.result.ok_or_else(ApiError::internal)?)))
}

/// Removes an output. Another user's lock on the node refuses it.
#[utoipa::path(
    delete,
    path = "/api/v1/nodes/{nodeId}/outputs/{outputId}",
    tag = "nodes",
    params(("fence" = Option<i64>, Query, minimum = 0, maximum = 9007199254740991i64, description = "As in the body.")),
    request_body = Option<Proof>,
    responses((status = 204, description = "It is gone.")),
    extensions(("x-right" = json!("node.write"))),
)]
pub async fn remove_output(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathIds(node, output): PathIds<NodeId, Uuid>,
    query: Query,
    once: Once,
    body: ApiResult<Body<Proof>>,
) -> ApiResult<StatusCode> {
    let place = writable(&app, caller, node).await?;
    let fence = body?.0.or_query(&query)?;
    let command = Command::NodeOutputRemove(NodeOutputRemove { node_id: node, output_id: output, fence });
    submit_checked(&app, caller, place, once, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
