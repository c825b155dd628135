//! What somebody, or an agent, has to know to work on a node.

use axum::Json;
use axum::extract::State;
use glassbox_protocol::NodeId;

use super::error::{ApiError, ApiResult};
use super::extract::{Caller, PathId};
use super::nodes::open_undeleted;
use crate::app::SharedApp;
use crate::store::context::{self, Context};

/// A node with the texts of its inputs and outputs, what it lies in, and what lies beside it.
#[utoipa::path(
    get,
    path = "/api/v1/nodes/{nodeId}/context",
    tag = "nodes",
    responses((status = 200, body = Context)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn get(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
) -> ApiResult<Json<Context>> {
    let mut tx = open_undeleted(&app, caller, node).await?;
    Ok(Json(context::read(&mut tx, node).await?.ok_or_else(ApiError::not_found)?))
}
