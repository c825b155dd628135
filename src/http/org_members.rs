//! Who belongs to an organization.
//!
//! Changes of members take turns, so that of two owners who remove each other one stays.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use glassbox_protocol::{OrgId, UserId};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, PathIds, Query, optional, required};
use super::once::{Begun, Once};
use super::orgs::permit;
use super::page::{List, Page, PageQuery, ROWS_MAX};
use super::scope;
use crate::app::SharedApp;
use crate::auth::rights::{OrgRight, OrgRole};
use crate::store::org_members::{self, OrgMember};
use crate::store::{Tenant, Tx, orgs};

/// Longest email, characters: with what stands before it in an invitation's `cognito_sub` it fills that column.
pub const EMAIL_CHARS_MAX: usize = 247;

/// `GET /api/v1/orgs/{orgId}/members`
#[utoipa::path(
    get,
    path = "/api/v1/orgs/{orgId}/members",
    tag = "members",
    params(PageQuery),
    responses((status = 200, body = List<OrgMember>)),
    extensions(("x-right" = json!("org.members.read"))),
)]
pub async fn list(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(org): PathId<OrgId>,
    query: Query,
) -> ApiResult<Json<List<OrgMember>>> {
    let page = Page::from_query(&query)?;
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    permit(&mut tx, org, caller.user, OrgRight::ReadMembers).await?;
    Ok(Json(page.of(org_members::all(&mut tx, org, ROWS_MAX + 1).await?)))
}

/// Whom to add: `email` or `userId`, and not both.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewOrgMember)]
pub struct New {
    /// Somebody whom nobody knows yet is invited.
    #[schema(min_length = 3, max_length = 247, format = Email, example = "ann@example.org")]
    email: Option<String>,
    user_id: Option<Uuid>,
    /// `owner`, `admin`, `member`, which is the default, or `guest`.
    #[schema(pattern = "^(owner|admin|member|guest)$", example = "member")]
    role: Option<String>,
    /// How to call somebody who is invited.
    #[schema(max_length = 255, example = "Ann")]
    name: Option<String>,
}

/// `POST /api/v1/orgs/{orgId}/members`
#[utoipa::path(
    post,
    path = "/api/v1/orgs/{orgId}/members",
    tag = "members",
    request_body = New,
    responses((status = 201, body = OrgMember)),
    extensions(("x-right" = json!("org.members.manage")), ("x-idempotent" = json!(true))),
)]
pub async fn add(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(org): PathId<OrgId>,
    once: Once,
    Body(new): Body<New>,
) -> ApiResult<Response> {
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    permit(&mut tx, org, caller.user, OrgRight::ManageMembers).await?;
    let role = new.role.as_deref().map_or(Ok(OrgRole::Member), role)?;
    let name = optional("name", new.name.as_deref(), 255)?.filter(|name| !name.is_empty());
    let whom = Whom::of(new.email.as_deref(), new.user_id)?;

    let pending = match once.begin(&mut tx, caller.user).await? {
        Begun::New(pending) => pending,
        Begun::Repeated(answer) => return Ok(answer),
    };
    orgs::lock(&mut tx, org).await?;
    let mine = permit(&mut tx, org, caller.user, OrgRight::ManageMembers).await?;
    if role == OrgRole::Owner && mine != OrgRole::Owner {
        return Err(ApiError::forbidden());
    }
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    let user = match whom {
        Whom::User(user) => user,
        Whom::Email(email) => org_members::invite(&mut tx, email, name).await?,
    };
    let is_new = match org_members::add(&mut tx, org, user, role.as_str()).await {
        Err(e) if is_unknown_user(&e) => return Err(unknown_user()),
        is_new => is_new?,
    };
    if !is_new {
        return Err(ApiError::conflict("is a member already"));
    }
    let member = org_members::one(&mut tx, org, user).await?.ok_or_else(ApiError::internal)?;
    // An agent belongs to the organization of its key; elsewhere it is nobody.
    if member.user.is_agent() {
        return Err(unknown_user());
    }
    pending.finish(tx, StatusCode::CREATED, &member).await
}

/// What is to change.
#[derive(Deserialize, ToSchema)]
#[schema(as = MemberChange)]
pub struct Change {
    /// `owner`, `admin`, `member` or `guest`.
    #[schema(required, nullable = false, pattern = "^(owner|admin|member|guest)$", example = "admin")]
    role: Option<String>,
}

/// `PATCH /api/v1/orgs/{orgId}/members/{userId}`
#[utoipa::path(
    patch,
    path = "/api/v1/orgs/{orgId}/members/{userId}",
    tag = "members",
    request_body = Change,
    responses((status = 200, body = OrgMember)),
    extensions(("x-right" = json!("org.members.manage"))),
)]
pub async fn update(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathIds(org, user): PathIds<OrgId, UserId>,
    Body(change): Body<Change>,
) -> ApiResult<Json<OrgMember>> {
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    let before = permit(&mut tx, org, caller.user, OrgRight::ManageMembers).await?;
    let role = role(required("role", change.role.as_deref(), 50)?)?;
    change_one(&mut tx, org, (caller.user, before), user, Some(role)).await?;
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    org_members::set_role(&mut tx, org, user, role.as_str()).await?;
    let member = org_members::one(&mut tx, org, user).await?.ok_or_else(ApiError::not_found)?;
    tx.commit().await?;
    Ok(Json(member))
}

/// `DELETE /api/v1/orgs/{orgId}/members/{userId}`
///
/// Anybody may remove themselves.
#[utoipa::path(
    delete,
    path = "/api/v1/orgs/{orgId}/members/{userId}",
    tag = "members",
    responses((status = 204, description = "Removed, also from the projects.")),
    extensions(("x-right" = json!("org.members.manage"))),
)]
pub async fn remove(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathIds(org, user): PathIds<OrgId, UserId>,
) -> ApiResult<StatusCode> {
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    let before = permit(&mut tx, org, caller.user, right_to_remove(caller.user, user)).await?;
    change_one(&mut tx, org, (caller.user, before), user, None).await?;
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    org_members::remove(&mut tx, org, user).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn right_to_remove(caller: UserId, user: UserId) -> OrgRight {
    if caller == user { OrgRight::Read } else { OrgRight::ManageMembers }
}

/// Waits for the turn and checks that a member may become this, or nothing. With the caller comes the role that they had
/// before the wait.
async fn change_one(
    tx: &mut Tx,
    org: OrgId,
    (caller, before): (UserId, OrgRole),
    user: UserId,
    to: Option<OrgRole>,
) -> ApiResult<()> {
    orgs::lock(tx, org).await?;
    let member = org_members::one(tx, org, user).await?;
    let is_owner = member.as_ref().is_some_and(|member| member.role == OrgRole::Owner.as_str());
    if is_owner && caller != user && before != OrgRole::Owner {
        return Err(ApiError::forbidden());
    }
    // Before the caller's right, since it may have come to that, and to their own removal, while we waited for our turn.
    if is_owner && to != Some(OrgRole::Owner) && org_members::other_owners(tx, org, user).await? == 0 {
        return Err(ApiError::conflict("an organization needs an owner"));
    }
    let right = if to.is_none() { right_to_remove(caller, user) } else { OrgRight::ManageMembers };
    let mine = permit(tx, org, caller, right).await?;
    let member = member.ok_or_else(ApiError::not_found)?;
    if (is_owner || to == Some(OrgRole::Owner)) && mine != OrgRole::Owner {
        return Err(ApiError::forbidden());
    }
    if member.user.is_agent() {
        return Err(ApiError::conflict("an agent comes and goes with its worker key"));
    }
    Ok(())
}

/// Somebody who is to become a member.
pub(super) enum Whom<'a> {
    /// By their email.
    Email(&'a str),
    /// By their id.
    User(UserId),
}

impl<'a> Whom<'a> {
    /// Reads it; exactly one of the two is given.
    pub(super) fn of(email: Option<&'a str>, user: Option<Uuid>) -> ApiResult<Self> {
        match (email, user) {
            (Some(_), Some(_)) => Err(ApiError::field("email", "must not stand beside userId")),
            (None, Some(user)) => Ok(Self::User(UserId(user))),
            (email, None) => {
                let email = required("email", email, EMAIL_CHARS_MAX)?;
                let is_address = email
                    .split_once('@')
                    .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
                    && !email.contains(|c: char| c.is_whitespace() || c.is_control());
                if is_address {
                    Ok(Self::Email(email))
                } else {
                    Err(ApiError::field("email", "expected an email address"))
                }
            }
        }
    }
}

fn role(text: &str) -> ApiResult<OrgRole> {
    OrgRole::from_stored(text).ok_or_else(|| ApiError::field("role", "expected owner, admin, member or guest"))
}

/// There is no such user, or a trigger has found that it is another organization's agent.
fn is_unknown_user(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|e| e.constraint() == Some("org_members_user_id_fkey") || e.code().as_deref() == Some("23514"))
}

fn unknown_user() -> ApiError {
    ApiError::field("userId", "refers to somebody who does not exist")
}
