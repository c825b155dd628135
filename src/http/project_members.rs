//! Who has a role of their own in a project.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use glassbox_protocol::{ProjectId, UserId};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, PathIds, Query, required};
use super::once::{Begun, Once};
use super::org_members::Whom;
use super::page::{List, Page, PageQuery, ROWS_MAX};
use super::projects::{Access, open};
use super::scope;
use crate::app::SharedApp;
use crate::auth;
use crate::auth::rights::{ProjectRight, ProjectRole};
use crate::store::project_members::{self, ProjectMember};
use crate::store::{orgs, users};

/// `GET /api/v1/projects/{projectId}/members`
///
/// Owners and admins of the organization stand in it as well, as inherited.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{projectId}/members",
    tag = "members",
    params(PageQuery),
    responses((status = 200, body = List<ProjectMember>)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn list(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
    query: Query,
) -> ApiResult<Json<List<ProjectMember>>> {
    let page = Page::from_query(&query)?;
    let mut opened = open(&app, caller, project, ProjectRight::Read, Access::Current).await?;
    Ok(Json(page.of(project_members::all(&mut opened.tx, project, ROWS_MAX + 1).await?)))
}

/// Whom to add: `email` or `userId`, and not both.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewProjectMember)]
pub struct New {
    #[schema(min_length = 3, max_length = 247, format = Email, example = "ann@example.org")]
    email: Option<String>,
    user_id: Option<Uuid>,
    /// `admin`, `member`, which is the default, or `viewer`.
    #[schema(pattern = "^(admin|member|viewer)$", example = "member")]
    role: Option<String>,
}

/// `POST /api/v1/projects/{projectId}/members`
#[utoipa::path(
    post,
    path = "/api/v1/projects/{projectId}/members",
    tag = "members",
    request_body = New,
    responses((status = 201, body = ProjectMember)),
    extensions(("x-right" = json!("project.members.manage")), ("x-idempotent" = json!(true))),
)]
pub async fn add(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
    once: Once,
    Body(new): Body<New>,
) -> ApiResult<Response> {
    let mut opened = open(&app, caller, project, ProjectRight::ManageMembers, Access::Current).await?;
    let role = new.role.as_deref().map_or(Ok(ProjectRole::Member), role)?;
    let pending = match once.begin(&mut opened.tx, caller.user).await? {
        Begun::New(pending) => pending,
        Begun::Repeated(answer) => return Ok(answer),
    };
    // Changes of members take turns: who is being removed is gone before the look, or is removed with the new row.
    orgs::lock(&mut opened.tx, opened.org).await?;
    let mine = auth::project_role(&mut opened.tx, project, caller.user).await?.ok_or_else(ApiError::not_found)?;
    if !mine.may(ProjectRight::ManageMembers) {
        return Err(ApiError::forbidden());
    }
    // Who is elsewhere and who is nowhere get the same answer.
    let outside = || ApiError::conflict("is not in the organization: invite there first");
    let user = match Whom::of(new.email.as_deref(), new.user_id)? {
        Whom::User(user) => user,
        Whom::Email(email) => {
            let user = users::member_with_email(&mut opened.tx, opened.org, email).await?.ok_or_else(outside)?;
            // An agent's email is nobody's address.
            if users::is_agent(&mut opened.tx, user).await? {
                return Err(outside());
            }
            user
        }
    };
    opened.tx.set_origin(&scope::origin(caller.user), &[]).await?;
    let is_new = match project_members::add(&mut opened.tx, project, user, role.as_str()).await {
        Err(e) if is_outside(&e) => return Err(outside()),
        is_new => is_new?,
    };
    if !is_new {
        return Err(ApiError::conflict("is a member already"));
    }
    let member = project_members::one(&mut opened.tx, project, user).await?.ok_or_else(outside)?;
    refuse_agent_as_admin(&member, role)?;
    pending.finish(opened.tx, StatusCode::CREATED, &member).await
}

/// What is to change.
#[derive(Deserialize, ToSchema)]
#[schema(as = ProjectMemberChange)]
pub struct Change {
    /// `admin`, `member` or `viewer`.
    #[schema(required, nullable = false, pattern = "^(admin|member|viewer)$", example = "viewer")]
    role: Option<String>,
}

/// `PATCH /api/v1/projects/{projectId}/members/{userId}`
#[utoipa::path(
    patch,
    path = "/api/v1/projects/{projectId}/members/{userId}",
    tag = "members",
    request_body = Change,
    responses((status = 200, body = ProjectMember)),
    extensions(("x-right" = json!("project.members.manage"))),
)]
pub async fn update(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathIds(project, user): PathIds<ProjectId, UserId>,
    Body(change): Body<Change>,
) -> ApiResult<Json<ProjectMember>> {
    let mut opened = open(&app, caller, project, ProjectRight::ManageMembers, Access::Current).await?;
    let role = role(required("role", change.role.as_deref(), 50)?)?;
    opened.tx.set_origin(&scope::origin(caller.user), &[]).await?;
    project_members::set_role(&mut opened.tx, project, user, role.as_str()).await?;
    let member = project_members::one(&mut opened.tx, project, user).await?.ok_or_else(ApiError::not_found)?;
    refuse_agent_as_admin(&member, role)?;
    opened.tx.commit().await?;
    Ok(Json(member))
}

/// `DELETE /api/v1/projects/{projectId}/members/{userId}`
///
/// Anybody may remove themselves.
#[utoipa::path(
    delete,
    path = "/api/v1/projects/{projectId}/members/{userId}",
    tag = "members",
    responses((status = 204, description = "Removed.")),
    extensions(("x-right" = json!("project.members.manage"))),
)]
pub async fn remove(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathIds(project, user): PathIds<ProjectId, UserId>,
) -> ApiResult<StatusCode> {
    let right = if caller.user == user { ProjectRight::Read } else { ProjectRight::ManageMembers };
    let mut opened = open(&app, caller, project, right, Access::Current).await?;
    opened.tx.set_origin(&scope::origin(caller.user), &[]).await?;
    if !project_members::remove(&mut opened.tx, project, user).await? {
        return Err(ApiError::not_found());
    }
    opened.tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Agents work in projects, also in private ones, but people decide about them.
fn refuse_agent_as_admin(member: &ProjectMember, role: ProjectRole) -> ApiResult<()> {
    if role == ProjectRole::Admin && member.user.is_agent() {
        return Err(ApiError::conflict("an agent cannot be an admin"));
    }
    Ok(())
}

fn role(text: &str) -> ApiResult<ProjectRole> {
    ProjectRole::from_stored(text).ok_or_else(|| ApiError::field("role", "expected admin, member or viewer"))
}

/// The check of references takes whoever is not in the organization for missing.
fn is_outside(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("23503"))
}
