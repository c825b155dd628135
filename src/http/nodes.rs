//! Nodes: reading them, and the way of a request to one. What changes them is in [`write`].

pub mod write;

use axum::Json;
use axum::extract::State;
use glassbox_protocol::server::Ack;
use glassbox_protocol::{Command, DependencyId, NodeId, ProjectId};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ApiResult};
use super::extract::{Caller, PathId, Query};
use super::once::Once;
use super::page::{List, Page, PageQuery, ROWS_MAX};
use super::projects::Access;
use super::schema;
use super::submit::{Place, submit};
use crate::app::{App, SharedApp};
use crate::auth::rights::ProjectRight;
use crate::auth::{self, Bearer};
use crate::command::validate;
use crate::store::view::{self, Filter, Parent};
use crate::store::{self, Tenant, Tx, dependencies, tree};

/// Opens a transaction where something lives, for somebody who has a right there. What the caller may not see and what
/// is nowhere get the same answer.
async fn open(app: &App, caller: Bearer, place: Place, right: ProjectRight, access: Access) -> ApiResult<Tx> {
    let tenant = Tenant::member(place.org, caller.user);
    let mut tx = match access {
        Access::Current => app.database.begin(&tenant).await?,
        Access::Snapshot => app.database.begin_snapshot(&tenant).await?,
    };
    let role = auth::project_role(&mut tx, place.project, caller.user).await?.ok_or_else(ApiError::not_found)?;
    if !role.may(right) {
        return Err(ApiError::forbidden());
    }
    Ok(tx)
}

/// A transaction on the project of a node, deleted or not, for somebody who may read it.
pub async fn open_any(app: &App, caller: Bearer, node: NodeId) -> ApiResult<Tx> {
    let place = Place::of_node(app, node).await?;
    open(app, caller, place, ProjectRight::Read, Access::Snapshot).await
}

/// A transaction on the project of a node that is not deleted, for somebody who may read it.
pub async fn open_undeleted(app: &App, caller: Bearer, node: NodeId) -> ApiResult<Tx> {
    let mut tx = open_any(app, caller, node).await?;
    match tree::is_undeleted(&mut tx, node).await? {
        true => Ok(tx),
        false => Err(ApiError::not_found()),
    }
}

/// Where a node lives, for somebody who may write there. Asked before the body is looked at: who may not write learns
/// nothing about what they sent.
pub async fn writable(app: &App, caller: Bearer, node: NodeId) -> ApiResult<Place> {
    let place = Place::of_node(app, node).await?;
    writable_place(app, caller, place).await
}

/// Where a dependency lives, for somebody who may write there.
pub async fn writable_dependency(app: &App, caller: Bearer, edge: DependencyId) -> ApiResult<Place> {
    let place = place_of_dependency(app, edge).await?;
    writable_place(app, caller, place).await
}

/// A transaction on the project of a dependency, for somebody who may read it.
pub async fn open_dependency(app: &App, caller: Bearer, edge: DependencyId) -> ApiResult<(Tx, Place)> {
    let place = place_of_dependency(app, edge).await?;
    Ok((open(app, caller, place, ProjectRight::Read, Access::Snapshot).await?, place))
}

async fn place_of_dependency(app: &App, edge: DependencyId) -> ApiResult<Place> {
    let (org, project) = dependencies::locate(&app.database, edge).await?.ok_or_else(ApiError::not_found)?;
    Ok(Place { org, project })
}

async fn writable_place(app: &App, caller: Bearer, place: Place) -> ApiResult<Place> {
    open(app, caller, place, ProjectRight::NodeWrite, Access::Current).await?;
    Ok(place)
}

/// Locks the node that is to contain new ones, so that nobody deletes it before they are there.
pub async fn hold_parent(tx: &mut Tx, project: ProjectId, parent: NodeId) -> ApiResult<()> {
    let found = store::nodes::lock(tx, project, &[parent]).await?;
    match found.get(&parent) {
        Some(row) if row.deleted_at.is_none() => Ok(()),
        _ => Err(ApiError::field("parentId", "refers to something that does not exist")),
    }
}

/// Checks a command's fields and hands it to the writer of its project.
pub async fn submit_checked(app: &App, caller: Bearer, place: Place, once: Once, command: Command) -> ApiResult<Ack> {
    validate::command(&command)?;
    submit(app, caller, place, once, command).await
}

/// Which nodes of a project.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[allow(dead_code, reason = "only the document reads the fields")]
pub struct NodesQuery {
    /// With this status.
    status: Option<String>,
    /// Made by a person or an agent.
    #[param(pattern = "^(human|agent)$")]
    author_type: Option<String>,
    /// Below this node; `null`: those without a parent.
    parent_id: Option<String>,
    /// The deleted ones instead of the others.
    deleted: Option<bool>,
    /// Most items; absent: all.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<i64>,
    /// Items to pass over.
    #[param(minimum = 0, maximum = 2147483647)]
    offset: Option<i64>,
}

/// Nodes of a project.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeList {
    #[schema(value_type = Vec<schema::Node>)]
    data: Vec<view::Node>,
    /// How many there are in all.
    total: i64,
    /// The limit that was asked for, else how many there are in the answer.
    limit: i64,
    offset: i64,
    has_more: bool,
}

/// The nodes of a project, newest first, with inputs and outputs.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{projectId}/nodes",
    tag = "nodes",
    params(NodesQuery),
    responses((status = 200, body = NodeList)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn list(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
    query: Query,
) -> ApiResult<Json<NodeList>> {
    let place = Place::of_project(&app, project).await?;
    let mut tx = open(&app, caller, place, ProjectRight::Read, Access::Snapshot).await?;
    let author_type = query.text("authorType", 20)?;
    if author_type.is_some_and(|kind| !matches!(kind, "human" | "agent")) {
        return Err(ApiError::field("authorType", "expected human or agent"));
    }
    let filter = Filter {
        project,
        is_deleted: query.flag("deleted")?,
        status: query.text("status", 50)?,
        author_type,
        parent: match query.text("parentId", 36) {
            Ok(Some("null")) => Parent::Root,
            _ => query.id("parentId")?.map_or(Parent::Any, Parent::Is),
        },
    };
    let limit = query.integer("limit", 1..=ROWS_MAX)?;
    let offset = query.integer("offset", 0..=i64::from(i32::MAX))?.unwrap_or(0);
    let data = view::list(&mut tx, &filter, caller.user, limit.unwrap_or(ROWS_MAX), offset).await?;
    let returned = i64::try_from(data.len()).unwrap_or(i64::MAX);
    let total = view::count(&mut tx, &filter).await?;
    Ok(Json(NodeList {
        data,
        total,
        limit: limit.unwrap_or(returned),
        offset,
        has_more: offset.saturating_add(returned) < total,
    }))
}

/// A node with inputs, outputs, children and the people that it names.
#[utoipa::path(
    get,
    path = "/api/v1/nodes/{nodeId}",
    tag = "nodes",
    responses((status = 200, body = schema::NodeDetail)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn get(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
) -> ApiResult<Json<view::Detail>> {
    let mut tx = open_undeleted(&app, caller, node).await?;
    Ok(Json(view::detail(&mut tx, node, caller.user).await?.ok_or_else(ApiError::not_found)?))
}

/// The children of a node, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/nodes/{nodeId}/children",
    tag = "nodes",
    params(PageQuery),
    responses((status = 200, body = List<schema::Node>)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn children(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    query: Query,
) -> ApiResult<Json<List<view::Node>>> {
    let mut tx = open_undeleted(&app, caller, node).await?;
    let page = Page::from_query(&query)?;
    Ok(Json(page.of(view::children(&mut tx, node, caller.user).await?)))
}
