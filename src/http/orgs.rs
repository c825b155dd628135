//! Organizations.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use glassbox_protocol::{OrgId, UserId};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, Person, Query, not_null, object, present, required};
use super::once::{Begun, Once};
use super::page::{List, Page, PageQuery, ROWS_MAX};
use super::scope;
use crate::app::SharedApp;
use crate::auth::rights::{OrgRight, OrgRole};
use crate::org_settings::{self, keep_secrets};
use crate::store::members;
use crate::store::orgs::{self, Org, OrgChanges};
use crate::store::{Tenant, Tx};

/// What somebody with a right is in an organization. Strangers get the same answer as for one that does not exist.
pub(super) async fn permit(tx: &mut Tx, org: OrgId, user: UserId, right: OrgRight) -> ApiResult<OrgRole> {
    let role = members::org_role(tx, org, user).await?.ok_or_else(ApiError::not_found)?;
    if role.may(right) { Ok(role) } else { Err(ApiError::forbidden()) }
}

/// `GET /api/v1/orgs`
#[utoipa::path(
    get,
    path = "/api/v1/orgs",
    tag = "organizations",
    params(PageQuery),
    responses((status = 200, body = List<Org>)),
    extensions(("x-right" = json!("signed in"))),
)]
pub async fn list(State(app): State<SharedApp>, Caller(caller): Caller, query: Query) -> ApiResult<Json<List<Org>>> {
    let page = Page::from_query(&query)?;
    let mut tx = app.database.begin(&Tenant::user(caller.user)).await?;
    Ok(Json(page.of(orgs::of_user(&mut tx, caller.user, ROWS_MAX + 1).await?)))
}

/// `GET /api/v1/orgs/{orgId}`
#[utoipa::path(
    get,
    path = "/api/v1/orgs/{orgId}",
    tag = "organizations",
    responses((status = 200, body = Org)),
    extensions(("x-right" = json!("org.read"))),
)]
pub async fn get(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(org): PathId<OrgId>,
) -> ApiResult<Json<Org>> {
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    let found = orgs::seen_by(&mut tx, org, caller.user).await?;
    found.map(Json).ok_or_else(ApiError::not_found)
}

/// A new organization.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewOrg)]
pub struct New {
    #[schema(required, nullable = false, min_length = 1, max_length = 255, example = "Acme")]
    name: Option<String>,
    /// Compared and kept in lower case.
    #[schema(
        required,
        nullable = false,
        min_length = 1,
        max_length = 100,
        pattern = "^[A-Za-z0-9-]+$",
        example = "acme"
    )]
    slug: Option<String>,
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
}

/// `POST /api/v1/orgs`
#[utoipa::path(
    post,
    path = "/api/v1/orgs",
    tag = "organizations",
    request_body = New,
    responses((status = 201, body = Org)),
    extensions(("x-right" = json!("signed in")), ("x-idempotent" = json!(true))),
)]
pub async fn create(
    State(app): State<SharedApp>,
    Person(caller): Person,
    once: Once,
    Body(new): Body<New>,
) -> ApiResult<Response> {
    let name = required("name", new.name.as_deref(), 255)?;
    let slug = slug(new.slug.as_deref())?;
    let mut settings = org_settings(new.settings)?;
    // Nothing is stored yet that a mask could stand for.
    keep_secrets(&mut settings, &Value::Null);

    let org = OrgId::random();
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    let pending = match once.begin(&mut tx, caller.user).await? {
        Begun::New(pending) => pending,
        Begun::Repeated(answer) => return Ok(answer),
    };
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    if let Err(e) = orgs::create(&mut tx, org, caller.user, name, &slug, &settings).await {
        return Err(match e.as_database_error().and_then(|e| e.constraint()) {
            _ if orgs::is_taken_slug(&e) => taken_slug(),
            // The token is good and its user is gone.
            Some("org_members_user_id_fkey") => ApiError::invalid_token("the token is not valid"),
            _ => e.into(),
        });
    }
    let created = orgs::seen_by(&mut tx, org, caller.user).await?.ok_or_else(ApiError::internal)?;
    pending.finish(tx, StatusCode::CREATED, &created).await
}

/// Slugs are compared in lower case, so that is how they are kept.
fn slug(text: Option<&str>) -> ApiResult<String> {
    let slug = required("slug", text, 100)?.to_ascii_lowercase();
    if slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        Ok(slug)
    } else {
        Err(ApiError::field("slug", "may have letters a-z, digits and hyphens only"))
    }
}

fn org_settings(settings: Option<Value>) -> ApiResult<Value> {
    let settings = object("settings", settings)?;
    org_settings::check(&settings).map_err(|(field, reason)| ApiError::field(&field, reason))?;
    Ok(settings)
}

fn taken_slug() -> ApiError {
    ApiError::conflict("the slug is taken").with("field", "slug")
}

/// What is to change; absent fields stay.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OrgChange)]
pub struct Change {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 255, example = "Acme")]
    name: Option<Option<String>>,
    /// Compared and kept in lower case.
    #[serde(default, deserialize_with = "present")]
    #[schema(
        value_type = Option<String>,
        nullable = false,
        min_length = 1,
        max_length = 100,
        pattern = "^[A-Za-z0-9-]+$",
        example = "acme"
    )]
    slug: Option<Option<String>>,
    /// Replaces the object. `********` in the place of a secret keeps what is stored; so does a model of the same name
    /// without its key.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>, nullable = false, example = json!({ "defaultModel": "fast" }))]
    settings: Option<Option<Value>>,
    /// How long the log is kept: `full` for ever, `snapshot` for three days, `audit` for 24 hours, and always its newest
    /// 10 000 events.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, nullable = false, pattern = "^(full|snapshot|audit)$", example = "snapshot")]
    event_sourcing_level: Option<Option<String>>,
}

/// `PATCH /api/v1/orgs/{orgId}`
#[utoipa::path(
    patch,
    path = "/api/v1/orgs/{orgId}",
    tag = "organizations",
    request_body = Change,
    responses((status = 200, body = Org)),
    extensions(("x-right" = json!("org.update"))),
)]
pub async fn update(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(org): PathId<OrgId>,
    Body(change): Body<Change>,
) -> ApiResult<Json<Org>> {
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    permit(&mut tx, org, caller.user, OrgRight::Update).await?;
    let name = not_null("name", change.name)?;
    let slug = not_null("slug", change.slug)?.map(|text| slug(Some(&text))).transpose()?;
    let level_given = not_null("eventSourcingLevel", change.event_sourcing_level)?;
    let mut changes = OrgChanges {
        name: name.as_deref().map(|name| required("name", Some(name), 255)).transpose()?,
        slug: slug.as_deref(),
        settings: not_null("settings", change.settings)?.map(|settings| org_settings(Some(settings))).transpose()?,
        event_sourcing_level: level_given.as_deref().map(level).transpose()?,
    };
    if let Some(settings) = &mut changes.settings {
        // Of two that write at once, the second one finds the secrets of the first.
        orgs::lock(&mut tx, org).await?;
        keep_secrets(settings, &orgs::settings(&mut tx, org).await?);
    }
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    if let Err(e) = orgs::update(&mut tx, org, &changes).await {
        return Err(if orgs::is_taken_slug(&e) { taken_slug() } else { e.into() });
    }
    let changed = orgs::seen_by(&mut tx, org, caller.user).await?.ok_or_else(ApiError::not_found)?;
    tx.commit().await?;
    Ok(Json(changed))
}

fn level(text: &str) -> ApiResult<&str> {
    if ["full", "snapshot", "audit"].contains(&text) {
        Ok(text)
    } else {
        Err(ApiError::field("eventSourcingLevel", "expected full, snapshot or audit"))
    }
}

/// `DELETE /api/v1/orgs/{orgId}`
#[utoipa::path(
    delete,
    path = "/api/v1/orgs/{orgId}",
    tag = "organizations",
    responses((status = 204, description = "Deleted with all that belongs to it.")),
    extensions(("x-right" = json!("org.delete"))),
)]
pub async fn delete(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(org): PathId<OrgId>,
) -> ApiResult<StatusCode> {
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    permit(&mut tx, org, caller.user, OrgRight::Delete).await?;
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    orgs::delete(&mut tx, org).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
