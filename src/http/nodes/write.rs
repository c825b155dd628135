//! What changes nodes: each request is a command for the writer of the project, as a WebSocket's is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use glassbox_protocol::client::{Move, NodeChanges, NodeCreate, NodeMove, NodeRef, NodeUpdate};
use glassbox_protocol::entity::{AuthorType, Position};
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{Command, Fence, NodeId, ProjectId, Seq, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{submit_checked, writable, writable_place};
use crate::app::SharedApp;
use crate::command::validate::{self, TITLE_MAX};
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::{Body, Caller, PathId, Query, not_null, present, required};
use crate::http::once::Once;
use crate::http::schema;
use crate::http::submit::{Place, submit};
use crate::store::Tenant;
use crate::store::view::{self, Viewer};

/// Largest fence: numbers stay below 2^53.
const FENCE_MAX: i64 = (1 << 53) - 1;

/// A new node.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewNode)]
pub struct New {
    #[schema(required, nullable = false, min_length = 1, max_length = 500, example = "Compare suppliers")]
    title: Option<String>,
    /// Markdown.
    #[schema(example = "Price and risk.")]
    description: Option<String>,
    /// Absent: the project's default, else `draft`.
    #[schema(min_length = 1, max_length = 50, example = "draft")]
    status: Option<String>,
    /// Absent: `human`.
    #[schema(pattern = "^(human|agent)$", example = "human")]
    author_type: Option<String>,
    /// A node of the same project.
    #[schema(value_type = Option<Uuid>)]
    parent_id: Option<NodeId>,
    /// A member of the organization.
    #[schema(value_type = Option<Uuid>)]
    supervisor_user_id: Option<UserId>,
    /// At most 64 KiB; `assignees` are members of the organization.
    #[schema(value_type = Option<Object>, example = json!({ "tags": ["purchase"], "priority": 2 }))]
    metadata: Option<Map<String, Value>>,
    /// Absent: 0, 0.
    #[schema(value_type = Option<schema::Position>)]
    position: Option<Position>,
}

impl New {
    fn command(self, project: ProjectId) -> ApiResult<Command> {
        let title = required("title", self.title.as_deref(), TITLE_MAX)?.to_owned();
        let author_type = match self.author_type.as_deref() {
            None => None,
            Some("human") => Some(AuthorType::Human),
            Some("agent") => Some(AuthorType::Agent),
            Some(_) => return Err(ApiError::field("authorType", "expected human or agent")),
        };
        Ok(Command::NodeCreate(NodeCreate {
            project_id: Some(project),
            id: None,
            title,
            description: self.description,
            status: self.status,
            parent_id: self.parent_id,
            position: self.position,
            metadata: self.metadata,
            author_type,
            supervisor_user_id: self.supervisor_user_id,
        }))
    }
}

/// Makes a node.
#[utoipa::path(
    post,
    path = "/api/v1/projects/{projectId}/nodes",
    tag = "nodes",
    request_body = New,
    responses((status = 201, body = schema::Node)),
    extensions(("x-right" = json!("node.write")), ("x-idempotent" = json!(true))),
)]
pub async fn create(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
    once: Once,
    body: ApiResult<Body<New>>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let place = writable_place(&app, caller, Place::of_project(&app, project).await?).await?;
    let Body(new) = body?;
    let ack = submit_checked(&app, caller, place, once, new.command(project)?).await?;
    Ok((StatusCode::CREATED, Json(ack.result.ok_or_else(ApiError::internal)?)))
}

/// New values of a node's fields: absent leaves a field as it is, `null` clears those that may be empty.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NodePatch)]
pub struct Patch {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 500, example = "Compare four suppliers")]
    title: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "Price, risk and delivery.")]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 50, example = "in_progress")]
    status: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Uuid>)]
    parent_id: Option<Option<NodeId>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Uuid>)]
    supervisor_user_id: Option<Option<UserId>>,
    /// Replaces all of it; at most 64 KiB.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>, nullable = false, example = json!({ "tags": ["purchase"] }))]
    metadata: Option<Option<Map<String, Value>>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<schema::Position>, nullable = false)]
    position: Option<Option<Position>>,
    /// The version that the changes were made on: a field that somebody else has changed since is a conflict. Absent:
    /// the last write wins.
    #[schema(minimum = 1, maximum = 2147483647)]
    base_version: Option<i32>,
    /// Proves the caller's lock.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 9007199254740991i64)]
    fence: Option<Fence>,
}

impl Patch {
    fn changes(self) -> ApiResult<NodeChanges> {
        Ok(NodeChanges {
            title: not_null("title", self.title)?,
            description: self.description,
            status: not_null("status", self.status)?,
            parent_id: self.parent_id,
            supervisor_user_id: self.supervisor_user_id,
            metadata: not_null("metadata", self.metadata)?,
            position: not_null("position", self.position)?,
        })
    }
}

/// Changes a node. Another user's lock refuses it, but not a change of the position alone.
#[utoipa::path(
    patch,
    path = "/api/v1/nodes/{nodeId}",
    tag = "nodes",
    request_body = Patch,
    responses((status = 200, body = schema::Node)),
    extensions(("x-right" = json!("node.write"))),
)]
pub async fn update(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    once: Once,
    body: ApiResult<Body<Patch>>,
) -> ApiResult<Json<Value>> {
    let place = writable(&app, caller, node).await?;
    let Body(patch) = body?;
    let (fence, base_version) = (checked_fence(patch.fence)?, patch.base_version);
    if base_version.is_some_and(|version| version < 1) {
        return Err(ApiError::field("baseVersion", "must be 1 or more"));
    }
    let changes = patch.changes()?;
    let place_alone = NodeChanges { position: changes.position, ..NodeChanges::default() };
    if let Some(position) = changes.position
        && changes == place_alone
        && fence.is_none()
    {
        let moves = vec![Move { node_id: node, position }];
        let ack = submit_checked(&app, caller, place, once, Command::NodeMove(NodeMove { moves })).await?;
        let is_skipped = ack.result.is_some_and(|result| result["skipped"].as_array().is_some_and(|s| !s.is_empty()));
        if is_skipped {
            return Err(ApiError::not_found());
        }
        let mut tx = app.database.begin(&Tenant::member(place.org, caller.user)).await?;
        let moved = view::node(&mut tx, node, Viewer::User(caller.user)).await?.ok_or_else(ApiError::not_found)?;
        return Ok(Json(serde_json::to_value(moved).map_err(|_| ApiError::internal())?));
    }
    // A PATCH without any field is no mistake, unlike a command without one.
    validate::changes(&changes)?;
    let command = Command::NodeUpdate(NodeUpdate { node_id: node, changes, base_version, fence });
    let ack = submit(&app, caller, place, once, command).await?;
    Ok(Json(ack.result.ok_or_else(ApiError::internal)?))
}

/// The proof of a lock.
#[derive(Deserialize, ToSchema)]
pub struct Proof {
    /// Proves the caller's lock.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 9007199254740991i64)]
    pub fence: Option<Fence>,
}

impl Proof {
    /// The fence in the body, else in the query.
    pub fn or_query(self, query: &Query) -> ApiResult<Option<Fence>> {
        let in_query = query.integer("fence", 0..=FENCE_MAX)?;
        Ok(checked_fence(self.fence)?.or(in_query.map(Fence)))
    }
}

/// Checks the range of a fence in a body.
pub fn checked_fence(fence: Option<Fence>) -> ApiResult<Option<Fence>> {
    match fence {
        Some(fence) if !(0..=FENCE_MAX).contains(&fence.0) => {
            Err(ApiError::field("fence", format!("must be 0 to {FENCE_MAX}")))
        }
        fence => Ok(fence),
    }
}

/// Deletes a node and what lies below it; `restore` brings it back.
#[utoipa::path(
    delete,
    path = "/api/v1/nodes/{nodeId}",
    tag = "nodes",
    params(("fence" = Option<i64>, Query, minimum = 0, maximum = 9007199254740991i64, description = "As in the body.")),
    request_body = Option<Proof>,
    responses((status = 204, description = "It is deleted.")),
    extensions(("x-right" = json!("node.write"))),
)]
pub async fn delete(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    query: Query,
    once: Once,
    body: ApiResult<Body<Proof>>,
) -> ApiResult<StatusCode> {
    let place = writable(&app, caller, node).await?;
    let fence = body?.0.or_query(&query)?;
    let command = Command::NodeDelete(NodeRef { node_id: node, fence });
    let ack = submit_checked(&app, caller, place, once, command).await?;
    match ack.outcome {
        // It was deleted before.
        Outcome::Unchanged => Err(ApiError::not_found()),
        Outcome::Applied | Outcome::Adjusted => Ok(StatusCode::NO_CONTENT),
    }
}

/// Brings a deleted node back, with what the same delete took; a node that is not deleted stays as it is.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{nodeId}/restore",
    tag = "nodes",
    responses((status = 200, body = schema::Node)),
    extensions(("x-right" = json!("node.write")), ("x-idempotent" = json!(true))),
)]
pub async fn restore(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    once: Once,
) -> ApiResult<Json<Value>> {
    let place = writable(&app, caller, node).await?;
    let command = Command::NodeRestore(NodeRef { node_id: node, fence: None });
    let ack = submit_checked(&app, caller, place, once, command).await?;
    Ok(Json(ack.result.ok_or_else(ApiError::internal)?))
}

/// Where nodes shall be.
#[derive(Deserialize, ToSchema)]
pub struct Moves {
    #[schema(required, nullable = false, min_items = 1, max_items = 500)]
    moves: Option<Vec<MoveTo>>,
}

/// Where a node shall be.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoveTo {
    #[schema(required, nullable = false, value_type = Option<Uuid>)]
    node_id: Option<NodeId>,
    #[schema(required, nullable = false, value_type = Option<schema::Position>)]
    position: Option<Position>,
}

impl Moves {
    fn command(self) -> ApiResult<Command> {
        let missing = |field: &str| ApiError::field(field, "is required");
        let moves = self.moves.ok_or_else(|| missing("moves"))?;
        let moves = moves.into_iter().enumerate().map(|(i, to)| {
            Ok(Move {
                node_id: to.node_id.ok_or_else(|| missing(&format!("moves[{i}].nodeId")))?,
                position: to.position.ok_or_else(|| missing(&format!("moves[{i}].position")))?,
            })
        });
        Ok(Command::NodeMove(NodeMove { moves: moves.collect::<ApiResult<_>>()? }))
    }
}

/// Where nodes are now.
#[derive(Serialize, ToSchema)]
pub struct Moved {
    /// Those that are there, at the place that was stored.
    #[schema(value_type = Vec<schema::Placed>)]
    data: Value,
    /// Those that are missing or deleted.
    #[schema(value_type = Vec<schema::Skipped>)]
    skipped: Value,
    /// The event that moved them, or the newest one where nothing moved.
    #[schema(value_type = i64)]
    seq: Seq,
}

/// Moves nodes together; locks do not refuse it.
#[utoipa::path(
    post,
    path = "/api/v1/projects/{projectId}/nodes/move",
    tag = "nodes",
    request_body = Moves,
    responses((status = 200, body = Moved)),
    extensions(("x-right" = json!("node.write")), ("x-idempotent" = json!(true))),
)]
pub async fn move_all(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
    once: Once,
    body: ApiResult<Body<Moves>>,
) -> ApiResult<Json<Moved>> {
    let place = writable_place(&app, caller, Place::of_project(&app, project).await?).await?;
    let ack = submit_checked(&app, caller, place, once, body?.0.command()?).await?;
    let mut result = ack.result.ok_or_else(ApiError::internal)?;
    Ok(Json(Moved { data: result["data"].take(), skipped: result["skipped"].take(), seq: ack.seq }))
}
