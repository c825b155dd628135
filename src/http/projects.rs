//! Projects.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use glassbox_protocol::{Epoch, OrgId, ProjectId, Seq};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, Query, not_null, object, optional, present, required};
use super::once::{Begun, Once};
use super::orgs::permit;
use super::page::{List, Page, PageQuery, ROWS_MAX};
use super::schema;
use super::scope;
use crate::app::{App, SharedApp};
use crate::auth::rights::{OrgRight, ProjectRight, ProjectRole};
use crate::auth::{self, Bearer};
use crate::command::validate::STATUS_MAX;
use crate::store::projects::{self, NewProject, Project, ProjectChanges};
use crate::store::snapshot::{self, ProjectSnapshot};
use crate::store::{Tenant, Tx, members};

/// Longest description, characters: what fits into a body anyway.
const DESCRIPTION_CHARS_MAX: usize = 1024 * 1024;

/// What a handler does with a project, and so what kind of transaction it needs.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// Read and perhaps write what is there now.
    Current,
    /// Read several things as of one moment.
    Snapshot,
}

/// A project that the caller may use.
pub struct Opened {
    /// A transaction in the context of caller and organization.
    pub tx: Tx,
    /// The project's organization.
    pub org: OrgId,
    /// The caller's effective role.
    pub role: ProjectRole,
}

/// Opens a transaction on a project for somebody who has a right there. A project that the caller may not see and
/// one that does not exist get the same answer.
pub async fn open(
    app: &App,
    caller: Bearer,
    project: ProjectId,
    right: ProjectRight,
    access: Access,
) -> ApiResult<Opened> {
    let org = members::locate_project(&app.database, project).await?.ok_or_else(ApiError::not_found)?;
    let tenant = Tenant::member(org, caller.user);
    let mut tx = match access {
        Access::Current => app.database.begin(&tenant).await?,
        Access::Snapshot => app.database.begin_snapshot(&tenant).await?,
    };
    let role = auth::project_role(&mut tx, project, caller.user).await?.ok_or_else(ApiError::not_found)?;
    if !role.may(right) {
        return Err(ApiError::forbidden());
    }
    Ok(Opened { tx, org, role })
}

/// `GET /api/v1/orgs/{orgId}/projects`
#[utoipa::path(
    get,
    path = "/api/v1/orgs/{orgId}/projects",
    tag = "projects",
    params(PageQuery),
    responses((status = 200, body = List<Project>)),
    extensions(("x-right" = json!("org.read"))),
)]
pub async fn list(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(org): PathId<OrgId>,
    query: Query,
) -> ApiResult<Json<List<Project>>> {
    let page = Page::from_query(&query)?;
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    permit(&mut tx, org, caller.user, OrgRight::Read).await?;
    Ok(Json(page.of(projects::readable(&mut tx, org, caller.user, ROWS_MAX + 1).await?)))
}

/// A new project.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewProject)]
pub struct New {
    #[schema(required, nullable = false, min_length = 1, max_length = 255, example = "Launch")]
    name: Option<String>,
    #[schema(example = "What has to be done before the launch.")]
    description: Option<String>,
    #[schema(value_type = Option<ProjectSettings>)]
    settings: Option<Value>,
    #[schema(min_items = 1, example = json!(["draft", "in_progress", "review", "complete"]))]
    workflow_states: Option<Vec<String>>,
}

/// What a project is set to; unknown keys are kept.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "describes an object of free form")]
pub struct ProjectSettings {
    /// The status of new nodes.
    #[schema(nullable = false)]
    default_node_status: Option<String>,
    /// Whether a status must be one of the workflow states.
    #[schema(nullable = false)]
    enforce_workflow: Option<bool>,
    /// Who sees the project without being added: `org`, every member, or `private`, nobody.
    #[schema(nullable = false, pattern = "^(org|private)$")]
    visibility: Option<String>,
}

/// `POST /api/v1/orgs/{orgId}/projects`
#[utoipa::path(
    post,
    path = "/api/v1/orgs/{orgId}/projects",
    tag = "projects",
    request_body = New,
    responses((status = 201, body = Project)),
    extensions(("x-right" = json!("project.create")), ("x-idempotent" = json!(true))),
)]
pub async fn create(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(org): PathId<OrgId>,
    once: Once,
    Body(new): Body<New>,
) -> ApiResult<Response> {
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    permit(&mut tx, org, caller.user, OrgRight::CreateProject).await?;
    let new = NewProject {
        name: required("name", new.name.as_deref(), 255)?,
        description: optional("description", new.description.as_deref(), DESCRIPTION_CHARS_MAX)?,
        settings: project_settings(new.settings)?,
        workflow_states: match &new.workflow_states {
            Some(states) => workflow_states(states)?,
            None => json!(["draft", "in_progress", "complete"]),
        },
    };
    let pending = match once.begin(&mut tx, caller.user).await? {
        Begun::New(pending) => pending,
        Begun::Repeated(answer) => return Ok(answer),
    };
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    let project = projects::create(&mut tx, org, caller.user, &new).await?;
    pending.finish(tx, StatusCode::CREATED, &project).await
}

fn project_settings(settings: Option<Value>) -> ApiResult<Value> {
    let settings = object("settings", settings)?;
    match settings.get("visibility") {
        None => {}
        Some(Value::String(text)) if text == "org" || text == "private" => {}
        Some(_) => return Err(ApiError::field("settings.visibility", "expected org or private")),
    }
    match settings.get("defaultNodeStatus") {
        None | Some(Value::Null) => {}
        Some(Value::String(status)) => {
            required("settings.defaultNodeStatus", Some(status), STATUS_MAX)?;
        }
        Some(_) => return Err(ApiError::field("settings.defaultNodeStatus", "expected a text")),
    }
    match settings.get("enforceWorkflow") {
        None | Some(Value::Null | Value::Bool(_)) => Ok(settings),
        Some(_) => Err(ApiError::field("settings.enforceWorkflow", "expected true or false")),
    }
}

fn workflow_states(states: &[String]) -> ApiResult<Value> {
    if states.is_empty() {
        return Err(ApiError::field("workflowStates", "must not be empty"));
    }
    let mut seen = HashSet::new();
    for (i, state) in states.iter().enumerate() {
        let field = format!("workflowStates[{i}]");
        if !seen.insert(required(&field, Some(state), STATUS_MAX)?) {
            return Err(ApiError::field(&field, "stands there twice"));
        }
    }
    Ok(json!(states))
}

/// What is to change; absent fields stay.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProjectChange)]
pub struct Change {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 255, example = "Launch")]
    name: Option<Option<String>>,
    /// `null` removes it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "What has to be done before the launch.")]
    description: Option<Option<String>>,
    /// Replaces the object.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ProjectSettings>, nullable = false)]
    settings: Option<Option<Value>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(
        value_type = Option<Vec<String>>,
        nullable = false,
        min_items = 1,
        example = json!(["draft", "in_progress", "review", "complete"])
    )]
    workflow_states: Option<Option<Vec<String>>>,
}

/// `PATCH /api/v1/projects/{projectId}`
#[utoipa::path(
    patch,
    path = "/api/v1/projects/{projectId}",
    tag = "projects",
    request_body = Change,
    responses((status = 200, body = Project)),
    extensions(("x-right" = json!("project.update"))),
)]
pub async fn update(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
    Body(change): Body<Change>,
) -> ApiResult<Json<Project>> {
    let mut opened = open(&app, caller, project, ProjectRight::Update, Access::Current).await?;
    let description = match &change.description {
        None => None,
        Some(text) => Some(optional("description", text.as_deref(), DESCRIPTION_CHARS_MAX)?),
    };
    let name = not_null("name", change.name)?;
    let states = not_null("workflowStates", change.workflow_states)?;
    let changes = ProjectChanges {
        name: name.as_deref().map(|name| required("name", Some(name), 255)).transpose()?,
        description,
        settings: not_null("settings", change.settings)?
            .map(|settings| project_settings(Some(settings)))
            .transpose()?,
        workflow_states: states.as_deref().map(workflow_states).transpose()?,
    };
    opened.tx.set_origin(&scope::origin(caller.user), &[]).await?;
    let changed = projects::update(&mut opened.tx, project, &changes).await?.ok_or_else(ApiError::not_found)?;
    opened.tx.commit().await?;
    Ok(Json(changed.seen_by(opened.role)))
}

/// `DELETE /api/v1/projects/{projectId}`
#[utoipa::path(
    delete,
    path = "/api/v1/projects/{projectId}",
    tag = "projects",
    responses((status = 204, description = "Deleted with all that belongs to it.")),
    extensions(("x-right" = json!("project.delete"))),
)]
pub async fn delete(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
) -> ApiResult<StatusCode> {
    let mut opened = open(&app, caller, project, ProjectRight::Delete, Access::Current).await?;
    opened.tx.set_origin(&scope::origin(caller.user), &[]).await?;
    projects::delete(&mut opened.tx, project).await?;
    opened.tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/projects/{projectId}`
#[utoipa::path(
    get,
    path = "/api/v1/projects/{projectId}",
    tag = "projects",
    responses((status = 200, body = Project)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn get(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
) -> ApiResult<Json<Project>> {
    let mut opened = open(&app, caller, project, ProjectRight::Read, Access::Current).await?;
    let found = projects::by_id(&mut opened.tx, project).await?.ok_or_else(ApiError::not_found)?;
    Ok(Json(found.seen_by(opened.role)))
}

/// A project at one moment; continue with its events after `seq`.
#[derive(Serialize, ToSchema)]
pub struct SnapshotAnswer {
    #[schema(value_type = uuid::Uuid)]
    epoch: Epoch,
    #[schema(value_type = i64)]
    seq: Seq,
    project: Project,
    #[schema(value_type = Vec<schema::Node>)]
    nodes: Vec<Box<RawValue>>,
    #[schema(value_type = Vec<schema::NodeDependency>)]
    dependencies: Vec<Box<RawValue>>,
    /// Agents' runs that have not ended.
    #[schema(value_type = Vec<Object>)]
    executions: Vec<Box<RawValue>>,
    /// Locks whose lease runs.
    #[schema(value_type = Vec<Object>)]
    locks: Vec<Box<RawValue>>,
}

/// `GET /api/v1/projects/{projectId}/snapshot`
#[utoipa::path(
    get,
    path = "/api/v1/projects/{projectId}/snapshot",
    tag = "projects",
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer.")),
    responses((status = 200, body = SnapshotAnswer), (status = 304, description = "Nothing has changed.")),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn snapshot(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let mut opened = open(&app, caller, project, ProjectRight::Read, Access::Snapshot).await?;
    let (epoch, head) = snapshot::position(&mut opened.tx, project).await?;
    let etag = format!("\"{epoch}:{head}\"");
    if is_match(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let ProjectSnapshot { project, nodes, dependencies, locks, executions, .. } =
        snapshot::read(&mut opened.tx, project).await?;
    let project = project.seen_by(opened.role);
    let answer = SnapshotAnswer { epoch, seq: head, project, nodes, dependencies, executions, locks };
    Ok(([(header::ETAG, etag)], Json(answer)).into_response())
}

/// Whether `If-None-Match` names this ETag. Source: RFC 9110, 13.1.2 (weak comparison).
fn is_match(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == etag)
}
