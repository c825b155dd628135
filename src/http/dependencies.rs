//! Dependencies: edges between nodes of one project, and what they and inputs link a node to. Locks do not stop them.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use glassbox_protocol::client::{DependencyAdd, DependencyRemove, DependencyUpdate};
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{Command, DependencyId, NodeId, ProjectId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, Query, present};
use super::nodes::{open_dependency, open_undeleted, submit_checked, writable, writable_dependency};
use super::once::Once;
use super::page::{List, Page, PageQuery};
use super::projects::{Access, open};
use super::schema;
use crate::app::SharedApp;
use crate::auth::Bearer;
use crate::auth::rights::ProjectRight;
use crate::store::dependencies::{self, Link};
use crate::store::view::{self, Viewer};
use crate::store::{Tx, readable, snapshot};

/// The dependencies of a project, oldest first; those of deleted nodes as well, for they come back with the node.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{projectId}/dependencies",
    tag = "nodes",
    params(PageQuery),
    responses((status = 200, body = List<schema::NodeDependency>)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn list(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
    query: Query,
) -> ApiResult<Json<List<Box<RawValue>>>> {
    let mut opened = open(&app, caller, project, ProjectRight::Read, Access::Current).await?;
    let page = Page::from_query(&query)?;
    Ok(Json(page.of(snapshot::dependencies(&mut opened.tx, project).await?)))
}

/// A new dependency of the node in the path.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewDependency {
    /// The node that provides, in the same project.
    #[schema(required, nullable = false, value_type = Option<Uuid>)]
    source_node_id: Option<NodeId>,
    /// The output of it that is meant.
    source_output_id: Option<Uuid>,
    /// The input that is fed.
    target_input_id: Option<Uuid>,
}

/// A dependency that was made, or was there.
#[derive(Serialize, ToSchema)]
pub struct Made {
    #[serde(flatten)]
    #[schema(value_type = schema::NodeDependency, inline)]
    dependency: Value,
    /// The nodes of the ring that it closes: a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Uuid>>, nullable = false)]
    cycle: Option<Value>,
}

/// Makes the node depend on another one. A ring is allowed, with a warning.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{nodeId}/dependencies",
    tag = "nodes",
    request_body = NewDependency,
    responses(
        (status = 200, description = "An equal one was there.", body = Made),
        (status = 201, description = "It is there now.", body = Made),
    ),
    extensions(("x-right" = json!("node.write")), ("x-idempotent" = json!(true))),
)]
pub async fn add(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    once: Once,
    body: ApiResult<Body<NewDependency>>,
) -> ApiResult<(StatusCode, Json<Made>)> {
    let place = writable(&app, caller, node).await?;
    let Body(new) = body?;
    let source_node_id = new.source_node_id.ok_or_else(|| ApiError::field("sourceNodeId", "is required"))?;
    if source_node_id == node {
        return Err(ApiError::field("sourceNodeId", "must differ from the node itself"));
    }
    let command = Command::DependencyAdd(DependencyAdd {
        source_node_id,
        target_node_id: node,
        source_output_id: new.source_output_id,
        target_input_id: new.target_input_id,
    });
    let mut ack = submit_checked(&app, caller, place, once, command).await?;
    let status = if ack.outcome == Outcome::Unchanged { StatusCode::OK } else { StatusCode::CREATED };
    let dependency = dependency_of(&mut ack.result)?;
    let cycle = ack.details.and_then(|mut details| details.get_mut("cycle").map(Value::take));
    Ok((status, Json(Made { dependency, cycle })))
}

/// A dependency.
#[utoipa::path(
    get,
    path = "/api/v1/dependencies/{dependencyId}",
    tag = "nodes",
    responses((status = 200, body = schema::NodeDependency)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn get(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(edge): PathId<DependencyId>,
) -> ApiResult<Json<Value>> {
    let (mut tx, place) = open_dependency(&app, caller, edge).await?;
    Ok(Json(dependencies::json(&mut tx, place.project, edge).await?.ok_or_else(ApiError::not_found)?))
}

/// What a dependency shall mean: absent leaves a field as it is, `null` clears it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DependencyPatch {
    /// An output of the source.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Uuid>)]
    source_output_id: Option<Option<Uuid>>,
    /// An input of the target.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Uuid>)]
    target_input_id: Option<Option<Uuid>>,
}

/// Changes which output and input a dependency means.
#[utoipa::path(
    patch,
    path = "/api/v1/dependencies/{dependencyId}",
    tag = "nodes",
    request_body = DependencyPatch,
    responses((status = 200, body = schema::NodeDependency)),
    extensions(("x-right" = json!("node.write"))),
)]
pub async fn update(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(edge): PathId<DependencyId>,
    once: Once,
    body: ApiResult<Body<DependencyPatch>>,
) -> ApiResult<Json<Value>> {
    let place = writable_dependency(&app, caller, edge).await?;
    let Body(patch) = body?;
    let command = Command::DependencyUpdate(DependencyUpdate {
        dependency_id: edge,
        source_output_id: patch.source_output_id,
        target_input_id: patch.target_input_id,
    });
    let mut ack = submit_checked(&app, caller, place, once, command).await?;
    Ok(Json(dependency_of(&mut ack.result)?))
}

fn dependency_of(result: &mut Option<Value>) -> ApiResult<Value> {
    let dependency = result.as_mut().map(|result| result["dependency"].take());
    dependency.filter(Value::is_object).ok_or_else(ApiError::internal)
}

/// Removes a dependency.
#[utoipa::path(
    delete,
    path = "/api/v1/dependencies/{dependencyId}",
    tag = "nodes",
    responses((status = 204, description = "It is gone.")),
    extensions(("x-right" = json!("node.write"))),
)]
pub async fn remove(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(edge): PathId<DependencyId>,
    once: Once,
) -> ApiResult<StatusCode> {
    let place = writable_dependency(&app, caller, edge).await?;
    let command = Command::DependencyRemove(DependencyRemove::ById { dependency_id: edge });
    submit_checked(&app, caller, place, once, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A node at the other end of a link.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Linked {
    #[serde(flatten)]
    node: view::Node,
    node_id: Uuid,
    node_title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dependency_id: Option<Uuid>,
    via: &'static str,
}

/// What a node depends on: through its inputs, then through dependencies.
#[utoipa::path(
    get,
    path = "/api/v1/nodes/{nodeId}/dependencies",
    tag = "nodes",
    params(PageQuery),
    responses((status = 200, body = List<schema::LinkedNode>)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn sources(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    query: Query,
) -> ApiResult<Json<List<Linked>>> {
    let mut tx = open_undeleted(&app, caller, node).await?;
    let page = Page::from_query(&query)?;
    let links = dependencies::sources(&mut tx, node).await?;
    Ok(Json(page.of(linked(&mut tx, caller, links).await?)))
}

/// What depends on a node: through its inputs, then through dependencies.
#[utoipa::path(
    get,
    path = "/api/v1/nodes/{nodeId}/dependents",
    tag = "nodes",
    params(PageQuery),
    responses((status = 200, body = List<schema::LinkedNode>)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn targets(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    query: Query,
) -> ApiResult<Json<List<Linked>>> {
    let mut tx = open_undeleted(&app, caller, node).await?;
    let page = Page::from_query(&query)?;
    let links = dependencies::targets(&mut tx, node).await?;
    Ok(Json(page.of(linked(&mut tx, caller, links).await?)))
}

/// The nodes at the other ends, as far as they are not deleted and the caller may read them.
async fn linked(tx: &mut Tx, caller: Bearer, links: Vec<Link>) -> ApiResult<Vec<Linked>> {
    let ids: HashSet<NodeId> = links.iter().map(|link| NodeId(link.node_id)).collect();
    let ids: Vec<NodeId> = ids.into_iter().collect();
    let mut nodes = view::nodes(tx, &ids, Viewer::User(caller.user)).await?;
    nodes.retain(|_, node| !node.is_deleted());
    let projects = nodes.values().map(view::Node::project).collect();
    let known = readable::projects(tx, caller.user, &projects).await?;
    nodes.retain(|_, node| known.contains(&node.project()));
    let linked = links.into_iter().filter_map(|link| {
        let node = nodes.get(&NodeId(link.node_id))?.clone();
        Some(Linked {
            node_id: link.node_id,
            node_title: node.title().to_owned(),
            input_id: link.input_id,
            input_label: link.input_label,
            via: if link.dependency_id.is_some() { "dependency" } else { "input" },
            dependency_id: link.dependency_id,
            node,
        })
    });
    Ok(linked.collect())
}
