//! Organizations.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use glassbox_protocol::OrgId;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, Person, Query, object, required};
use super::page::{List, Page, PageQuery, ROWS_MAX};
use super::scope;
use crate::app::SharedApp;
use crate::store::Tenant;
use crate::store::orgs::{self, HIDDEN, Org};

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
    extensions(("x-right" = json!("signed in"))),
)]
pub async fn create(
    State(app): State<SharedApp>,
    Person(caller): Person,
    Body(new): Body<New>,
) -> ApiResult<(StatusCode, Json<Org>)> {
    let name = required("name", new.name.as_deref(), 255)?;
    let slug = slug(new.slug.as_deref())?;
    let mut settings = object("settings", new.settings)?;
    forget_hidden(&mut settings);

    let org = OrgId::random();
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    if let Err(e) = orgs::create(&mut tx, org, caller.user, name, &slug, &settings).await {
        return Err(match e.as_database_error().and_then(|e| e.constraint()) {
            _ if orgs::is_taken_slug(&e) => ApiError::conflict("the slug is taken").with("field", "slug"),
            // The token is good and its user is gone.
            Some("org_members_user_id_fkey") => ApiError::invalid_token("the token is not valid"),
            _ => e.into(),
        });
    }
    let created = orgs::seen_by(&mut tx, org, caller.user).await?.ok_or_else(ApiError::internal)?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(created)))
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

/// The mask that stands for a secret means "as it is stored"; a new organization has none stored.
fn forget_hidden(settings: &mut Value) {
    let is_mask = |object: &Value, key: &str| object.get(key).and_then(Value::as_str) == Some(HIDDEN);
    if is_mask(settings, "selfHostedKey")
        && let Some(fields) = settings.as_object_mut()
    {
        fields.remove("selfHostedKey");
    }
    let models = settings.get_mut("models").and_then(Value::as_array_mut);
    for model in models.into_iter().flatten().filter(|model| is_mask(model, "apiKey")) {
        if let Some(fields) = model.as_object_mut() {
            fields.remove("apiKey");
        }
    }
}
