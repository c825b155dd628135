//! Templates, and nodes made from them.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use glassbox_protocol::entity::Position;
use glassbox_protocol::{NodeId, OrgId, ProjectId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::{Body, Caller, PathId, Query, not_null, object, optional, present, required};
use super::nodes::hold_parent;
use super::once::{Begun, Once};
use super::orgs::permit;
use super::page::{Page, PageQuery, ROWS_MAX};
use super::projects::{Access, Opened, open};
use super::{schema, scope, template_schema};
use crate::app::{App, SharedApp};
use crate::auth::Bearer;
use crate::auth::rights::{OrgRight, OrgRole, ProjectRight};
use crate::store::audit::{self, Action, NewEntry};
use crate::store::templates::{self, Template, TemplateFields};
use crate::store::{Audit, Origin, Tenant, Tx, members};
use crate::template::plan::{Application, Source};
use crate::template::{DEPTH_MAX, Refusal, check, format, plan};

/// Longest description and longest value, characters: what fits into a body anyway.
const TEXT_CHARS_MAX: usize = 1024 * 1024;

/// A list of templates, under two names.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Templates {
    data: Vec<Template>,
    /// The same list.
    templates: Vec<Template>,
    /// Only said when it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_more: bool,
}

/// Whose templates are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[allow(dead_code, reason = "only the document reads the fields")]
pub struct TemplatesQuery {
    /// Leaves out what belongs to other organizations of the caller.
    org_id: Option<Uuid>,
}

/// `GET /api/v1/templates`
///
/// Everybody sees those of the server and public ones, and those of their organizations. The right is asked for in the
/// organization that `orgId` names.
#[utoipa::path(
    get,
    path = "/api/v1/templates",
    tag = "templates",
    params(TemplatesQuery, PageQuery),
    responses(
        (status = 200, body = Templates),
        (status = 404, description = "The caller does not belong to this organization.", body = ErrorBody),
    ),
    extensions(("x-right" = json!("template.read"))),
)]
pub async fn list(State(app): State<SharedApp>, Caller(caller): Caller, query: Query) -> ApiResult<Json<Templates>> {
    let page = Page::from_query(&query)?;
    let mut tx = match query.id::<OrgId>("orgId")? {
        None => app.database.begin(&Tenant::user(caller.user)).await?,
        Some(org) => {
            let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
            permit(&mut tx, org, caller.user, OrgRight::ReadTemplates).await?;
            tx
        }
    };
    let (data, has_more) = page.of(templates::readable(&mut tx, ROWS_MAX + 1).await?).into_parts();
    Ok(Json(Templates { templates: data.clone(), data, has_more }))
}

/// `GET /api/v1/templates/{templateId}`
#[utoipa::path(
    get,
    path = "/api/v1/templates/{templateId}",
    tag = "templates",
    responses((status = 200, body = Template)),
    extensions(("x-right" = json!("template.read"))),
)]
pub async fn get(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(template): PathId<Uuid>,
) -> ApiResult<Json<Template>> {
    Ok(Json(find(&app, caller, template).await?))
}

/// A template that the caller may read: one of the server, a public one, or one of their organizations.
async fn find(app: &App, caller: Bearer, template: Uuid) -> ApiResult<Template> {
    let mut tx = app.database.begin(&Tenant::user(caller.user)).await?;
    templates::by_ids(&mut tx, &[template]).await?.pop().ok_or_else(ApiError::not_found)
}

/// A new template.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewTemplate)]
pub struct New {
    #[schema(required, nullable = false)]
    org_id: Option<Uuid>,
    #[schema(required, nullable = false, min_length = 1, max_length = 255, example = "Interview")]
    name: Option<String>,
    #[schema(example = "From the questions to the transcript.")]
    description: Option<String>,
    #[schema(required, nullable = false, value_type = template_schema::TemplateStructure)]
    structure: Option<Value>,
    #[schema(value_type = Option<template_schema::AgentConfig>)]
    agent_config: Option<Value>,
    /// Whether every organization may read it; only owners and admins say so.
    is_public: Option<bool>,
}

/// `POST /api/v1/templates`
#[utoipa::path(
    post,
    path = "/api/v1/templates",
    tag = "templates",
    request_body = New,
    responses(
        (status = 201, body = Template),
        (status = 404, description = "The caller does not belong to this organization.", body = ErrorBody),
    ),
    extensions(("x-right" = json!("template.create")), ("x-idempotent" = json!(true))),
)]
pub async fn create(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    once: Once,
    Body(new): Body<New>,
) -> ApiResult<Response> {
    let org = OrgId(new.org_id.ok_or_else(|| ApiError::field("orgId", "is required"))?);
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    let role = permit(&mut tx, org, caller.user, OrgRight::CreateTemplate).await?;
    if new.is_public == Some(true) && !may_publish(role) {
        return Err(ApiError::forbidden());
    }
    let pending = match once.begin(&mut tx, caller.user).await? {
        Begun::New(pending) => pending,
        Begun::Repeated(answer) => return Ok(answer),
    };
    let structure = new.structure.ok_or_else(|| ApiError::field("structure", "is required"))?;
    let fields = TemplateFields {
        name: Some(required("name", new.name.as_deref(), 255)?),
        description: Some(optional("description", new.description.as_deref(), TEXT_CHARS_MAX)?),
        structure: Some(checked_structure(&mut tx, structure).await?),
        agent_config: Some(checked_agent_config(new.agent_config)?),
        is_public: new.is_public,
    };
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    let made = templates::create(&mut tx, org, caller.user, &fields).await?.ok_or_else(ApiError::internal)?;
    pending.finish(tx, StatusCode::CREATED, &made).await
}

/// What is to change; absent fields stay.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TemplateChange)]
pub struct Change {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 255, example = "Interview")]
    name: Option<Option<String>>,
    /// `null` removes it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "From the questions to the transcript.")]
    description: Option<Option<String>>,
    /// Replaces the structure.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<template_schema::TemplateStructure>, nullable = false)]
    structure: Option<Option<Value>>,
    /// Replaces the configuration.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<template_schema::AgentConfig>, nullable = false)]
    agent_config: Option<Option<Value>>,
    /// Whether every organization may read it; only owners and admins say so.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<bool>, nullable = false)]
    is_public: Option<Option<bool>>,
}

/// `PATCH /api/v1/templates/{templateId}`
///
/// For its maker, owners and admins of its organization.
#[utoipa::path(
    patch,
    path = "/api/v1/templates/{templateId}",
    tag = "templates",
    request_body = Change,
    responses((status = 200, body = Template)),
    extensions(("x-right" = json!("own"))),
)]
pub async fn update(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(template): PathId<Uuid>,
    Body(change): Body<Change>,
) -> ApiResult<Json<Template>> {
    let found = find(&app, caller, template).await?;
    let (mut tx, role) = open_own(&app, caller, &found).await?;
    let is_public = not_null("isPublic", change.is_public)?;
    if is_public.is_some_and(|is_public| is_public != found.is_public) && !may_publish(role) {
        return Err(ApiError::forbidden());
    }
    let description = match &change.description {
        None => None,
        Some(text) => Some(optional("description", text.as_deref(), TEXT_CHARS_MAX)?),
    };
    let name = not_null("name", change.name)?;
    let structure = match not_null("structure", change.structure)? {
        None => None,
        Some(structure) => Some(checked_structure(&mut tx, structure).await?),
    };
    let fields = TemplateFields {
        name: name.as_deref().map(|name| required("name", Some(name), 255)).transpose()?,
        description,
        structure,
        agent_config: not_null("agentConfig", change.agent_config)?
            .map(|config| checked_agent_config(Some(config)))
            .transpose()?,
        is_public,
    };
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    let changed = templates::update(&mut tx, template, &fields).await?.ok_or_else(ApiError::not_found)?;
    tx.commit().await?;
    Ok(Json(changed))
}

/// `DELETE /api/v1/templates/{templateId}`
///
/// For its maker, owners and admins of its organization. What was made from it stays.
#[utoipa::path(
    delete,
    path = "/api/v1/templates/{templateId}",
    tag = "templates",
    responses((status = 204, description = "Deleted.")),
    extensions(("x-right" = json!("own"))),
)]
pub async fn delete(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(template): PathId<Uuid>,
) -> ApiResult<StatusCode> {
    let found = find(&app, caller, template).await?;
    let (mut tx, _) = open_own(&app, caller, &found).await?;
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    templates::delete(&mut tx, template).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Opens a transaction in a template's organization for somebody who may change it. Those who get here may read it.
async fn open_own(app: &App, caller: Bearer, template: &Template) -> ApiResult<(Tx, OrgRole)> {
    let org = template.org().ok_or_else(ApiError::forbidden)?;
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    let role = members::org_role(&mut tx, org, caller.user).await?.ok_or_else(ApiError::forbidden)?;
    let is_own = template.maker() == Some(caller.user) && role.may(OrgRight::CreateTemplate);
    if is_own || may_publish(role) { Ok((tx, role)) } else { Err(ApiError::forbidden()) }
}

fn may_publish(role: OrgRole) -> bool {
    matches!(role, OrgRole::Owner | OrgRole::Admin)
}

async fn checked_structure(tx: &mut Tx, structure: Value) -> ApiResult<Value> {
    let structure = format::structure(object("structure", Some(structure))?);
    check::structure(&structure).map_err(refused)?;
    let references = check::references(&structure);
    let ids: Vec<Uuid> = references.iter().map(|(id, _)| *id).collect();
    let known = templates::by_ids(tx, &ids).await?;
    match references.iter().find(|(id, _)| !known.iter().any(|template| template.id() == *id)) {
        Some((_, field)) => Err(ApiError::field(field, "refers to something that does not exist")),
        None => Ok(structure),
    }
}

fn checked_agent_config(config: Option<Value>) -> ApiResult<Value> {
    let config = format::agent_config(object("agentConfig", config)?);
    check::agent_config(&config).map_err(refused)?;
    Ok(config)
}

fn refused(refusal: Refusal) -> ApiError {
    ApiError::field(&refusal.field, refusal.reason)
}

/// Where and how to apply a template.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TemplateApplication)]
pub struct Apply {
    #[schema(required, nullable = false)]
    project_id: Option<Uuid>,
    /// The node that contains the root.
    parent_id: Option<Uuid>,
    /// The root's title; else the template's name.
    #[schema(min_length = 1, max_length = 500, example = "Interview with the landowners")]
    title: Option<String>,
    /// Where the root lies; what is below it lies 150 apart.
    #[schema(value_type = Option<schema::Position>)]
    position: Option<Position>,
    /// The texts, or addresses, of the root's inputs, by label.
    values: Option<BTreeMap<String, String>>,
}

/// What an application made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The root first, parents before children.
    #[schema(value_type = Vec<schema::Node>)]
    nodes: Vec<Value>,
    #[schema(value_type = Uuid)]
    root_id: NodeId,
}

/// `POST /api/v1/templates/{templateId}/apply`
#[utoipa::path(
    post,
    path = "/api/v1/templates/{templateId}/apply",
    tag = "templates",
    request_body = Apply,
    responses((status = 201, body = Applied)),
    extensions(("x-right" = json!("node.write")), ("x-idempotent" = json!(true))),
)]
pub async fn apply(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(template): PathId<Uuid>,
    once: Once,
    Body(body): Body<Apply>,
) -> ApiResult<Response> {
    let project = ProjectId(body.project_id.ok_or_else(|| ApiError::field("projectId", "is required"))?);
    // Who may read templates reads them across their organizations; who writes does so in one.
    let sources = sources(&app, caller, template).await?;
    let Opened { mut tx, org, .. } = open(&app, caller, project, ProjectRight::NodeWrite, Access::Current).await?;
    let pending = match once.begin(&mut tx, caller.user).await? {
        Begun::New(pending) => pending,
        Begun::Repeated(answer) => return Ok(answer),
    };
    let parent = body.parent_id.map(NodeId);
    if let Some(parent) = parent {
        hold_parent(&mut tx, project, parent).await?;
    }
    let values = body.values.unwrap_or_default();
    for (label, text) in &values {
        optional(&format!("values.{label}"), Some(text), TEXT_CHARS_MAX)?;
    }
    let application = Application {
        parent,
        title: body.title.as_deref().map(|title| required("title", Some(title), 500)).transpose()?.map(str::to_owned),
        position: body.position.unwrap_or_default(),
        values,
    };
    let plan = plan::plan(template, &sources, &application).map_err(refused)?;
    let origin = Origin { audit: Some(Audit::None), ..scope::origin(caller.user) };
    tx.set_origin(&origin, &[]).await?;
    let nodes = templates::make(&mut tx, org, project, caller.user, &plan).await?;
    let root_id = plan.nodes.first().map(|root| root.id).ok_or_else(ApiError::internal)?;
    let entry = NewEntry {
        org,
        action: Action::TemplateApplied(template),
        origin: &origin,
        details: json!({ "projectId": project, "rootId": root_id, "nodes": plan.nodes.len() }),
    };
    audit::write(&mut tx, &entry).await?;
    pending.finish(tx, StatusCode::CREATED, &Applied { nodes, root_id }).await
}

/// `POST /api/v1/templates/{templateId}/instantiate`
///
/// The same as `apply`.
#[utoipa::path(
    post,
    path = "/api/v1/templates/{templateId}/instantiate",
    tag = "templates",
    request_body = Apply,
    responses((status = 201, body = Applied)),
    extensions(("x-right" = json!("node.write")), ("x-idempotent" = json!(true))),
)]
pub async fn instantiate(
    state: State<SharedApp>,
    caller: Caller,
    template: PathId<Uuid>,
    once: Once,
    body: Body<Apply>,
) -> ApiResult<Response> {
    apply(state, caller, template, once, body).await
}

/// A template with all that it leads to; what the caller may not read is left out.
async fn sources(app: &App, caller: Bearer, template: Uuid) -> ApiResult<HashMap<Uuid, Source>> {
    let mut tx = app.database.begin(&Tenant::user(caller.user)).await?;
    let mut sources: HashMap<Uuid, Source> = HashMap::new();
    let mut wanted = vec![template];
    // Deeper ones are refused by the plan.
    for _ in 0..=DEPTH_MAX {
        let found = templates::by_ids(&mut tx, &wanted).await?;
        let mut next = Vec::new();
        for source in found.into_iter().map(Source::from) {
            next.extend(check::references(&source.structure).into_iter().map(|(id, _)| id));
            sources.insert(source.id, source);
        }
        next.retain(|id| !sources.contains_key(id));
        if next.is_empty() {
            break;
        }
        wanted = next;
    }
    if sources.contains_key(&template) { Ok(sources) } else { Err(ApiError::not_found()) }
}
