//! The history of nodes, also of deleted ones.

mod changes;

use axum::Json;
use axum::extract::State;
use glassbox_protocol::client::NodeRollback;
use glassbox_protocol::{Command, NodeId};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use self::changes::Change;
use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, PathVersion, Query};
use super::nodes::write::Proof;
use super::nodes::{open_any, submit_checked, writable};
use super::once::Once;
use super::page::{PageQuery, ROWS_MAX};
use super::schema;
use crate::app::SharedApp;
use crate::store::versions::{self, Version};

/// The versions of a node.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    #[schema(value_type = Vec<schema::NodeVersion>)]
    data: Vec<Version>,
    /// The same list.
    #[schema(value_type = Vec<schema::NodeVersion>)]
    versions: Vec<Version>,
    /// Only said when it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_more: bool,
}

/// The versions of a node, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/nodes/{nodeId}/versions",
    tag = "nodes",
    params(PageQuery),
    responses((status = 200, body = Versions)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn list(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    query: Query,
) -> ApiResult<Json<Versions>> {
    let mut tx = open_any(&app, caller, node).await?;
    let limit = query.integer("limit", 1..=ROWS_MAX)?.unwrap_or(ROWS_MAX);
    let offset = query.integer("offset", 0..=i64::from(i32::MAX))?.unwrap_or(0);
    let mut data = versions::list(&mut tx, node, limit + 1, offset).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = data.len() > most;
    data.truncate(most);
    Ok(Json(Versions { versions: data.clone(), data, has_more }))
}

/// A version, and how it differs from another one if that was asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    #[serde(flatten)]
    #[schema(value_type = schema::NodeVersion, inline)]
    version: Version,
    /// The version that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    compared_to: Option<i32>,
    /// The fields that differ, from the other version to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    changes: Option<Vec<Change>>,
}

/// One version of a node. With `compareTo` it also says what has changed since that other version.
#[utoipa::path(
    get,
    path = "/api/v1/nodes/{nodeId}/versions/{version}",
    tag = "nodes",
    params(
        ("version" = i32, Path, minimum = 1),
        ("compareTo" = Option<i32>, Query, minimum = 1, description = "Another version of the node."),
    ),
    responses((status = 200, body = Compared)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn get(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathVersion(node, number): PathVersion<NodeId>,
    query: Query,
) -> ApiResult<Json<Compared>> {
    let mut tx = open_any(&app, caller, node).await?;
    let other = query.integer("compareTo", 1..=i64::from(i32::MAX))?.and_then(|n| i32::try_from(n).ok());
    let version = versions::one(&mut tx, node, number).await?.ok_or_else(ApiError::not_found)?;
    let Some(other) = other else {
        return Ok(Json(Compared { version, compared_to: None, changes: None }));
    };
    let from = versions::one(&mut tx, node, other).await?.ok_or_else(ApiError::not_found)?;
    drop(tx);
    let (from, to) = (keys(&from), keys(&version));
    // Long texts take a while: not on a thread that serves sockets.
    let changes = tokio::task::spawn_blocking(move || changes::between(&from, &to));
    let changes = changes.await.map_err(|_| ApiError::internal())?;
    Ok(Json(Compared { version, compared_to: Some(other), changes: Some(changes) }))
}

fn keys(version: &Version) -> Map<String, Value> {
    serde_json::from_str(version.snapshot.0.get()).unwrap_or_default()
}

/// Makes a new version with the content of an earlier one; the position stays.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{nodeId}/rollback/{version}",
    tag = "nodes",
    params(("version" = i32, Path, minimum = 1)),
    request_body = Option<Proof>,
    responses((status = 200, body = schema::Node)),
    extensions(("x-right" = json!("node.write")), ("x-idempotent" = json!(true))),
)]
pub async fn rollback(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathVersion(node, version): PathVersion<NodeId>,
    query: Query,
    once: Once,
    body: ApiResult<Body<Proof>>,
) -> ApiResult<Json<Value>> {
    let place = writable(&app, caller, node).await?;
    let fence = body?.0.or_query(&query)?;
    let command = Command::NodeRollback(NodeRollback { node_id: node, version, fence });
    let ack = submit_checked(&app, caller, place, once, command).await?;
    Ok(Json(ack.result.ok_or_else(ApiError::internal)?))
}
