//! Worker keys of an organization: made, listed, revoked.

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use glassbox_protocol::OrgId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, Query, id, required};
use super::once::{Begun, Once};
use super::page::{List, Page, PageQuery, ROWS_MAX};
use super::scope;
use crate::app::{App, SharedApp};
use crate::auth::rights::OrgRight;
use crate::auth::{Bearer, worker_key};
use crate::store::worker_keys::{self, WorkerKey};
use crate::store::{Tenant, Tx, members};

/// `GET /api/v1/orgs/{orgId}/worker-keys`
#[utoipa::path(
    get,
    path = "/api/v1/orgs/{orgId}/worker-keys",
    tag = "organizations",
    params(PageQuery),
    responses((status = 200, body = List<WorkerKey>)),
    extensions(("x-right" = json!("org.workers"))),
)]
pub async fn list(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(org): PathId<OrgId>,
    query: Query,
) -> ApiResult<Json<List<WorkerKey>>> {
    let page = Page::from_query(&query)?;
    let mut tx = open(&app, caller, org).await?;
    Ok(Json(page.of(worker_keys::of_org(&mut tx, org, ROWS_MAX + 1).await?)))
}

/// A new key.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewWorkerKey)]
pub struct New {
    /// What people call it.
    #[schema(required, nullable = false, min_length = 1, max_length = 255, example = "nightly import")]
    name: Option<String>,
}

/// A key on the day that it was made.
#[derive(Serialize, ToSchema)]
pub struct MadeWorkerKey {
    #[serde(flatten)]
    #[schema(inline)]
    worker_key: WorkerKey,
    /// The key itself. The repeat of a request with an `Idempotency-Key` is answered without it.
    #[schema(
        required = false,
        example = "gbw_8f14e45fceea467a9c35d4f8a1e2b3c4_nR0bXk5c1Yt7ZKq2Jm3Vw8Hs4Gd6Fa9LpQeUiOyTrEw"
    )]
    key: String,
}

/// `POST /api/v1/orgs/{orgId}/worker-keys`. The answer is the one place in which the key itself ever stands.
#[utoipa::path(
    post,
    path = "/api/v1/orgs/{orgId}/worker-keys",
    tag = "organizations",
    request_body = New,
    responses((status = 201, body = MadeWorkerKey)),
    extensions(("x-right" = json!("org.workers"))),
)]
pub async fn create(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(org): PathId<OrgId>,
    once: Once,
    Body(new): Body<New>,
) -> ApiResult<Response> {
    let mut tx = open(&app, caller, org).await?;
    let name = required("name", new.name.as_deref(), 255)?;
    let pending = match once.begin(&mut tx, caller.user).await? {
        Begun::New(pending) => pending,
        Begun::Repeated(answer) => return Ok(answer),
    };
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    let key = worker_key::generate();
    let worker_key = worker_keys::create(&mut tx, org, caller.user, name, &key).await?;
    let made = MadeWorkerKey { worker_key: worker_key.clone(), key: key.text };
    // A secret is not kept, so a repeat cannot get it again.
    pending.finish_keeping(tx, StatusCode::CREATED, &made, &worker_key).await
}

/// The two ids in the path of a key.
pub struct KeyPath {
    org: OrgId,
    key: Uuid,
}

impl FromRequestParts<SharedApp> for KeyPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, app)
            .await
            .map_err(|_| ApiError::bad_request("the path is not UTF-8"))?;
        let mut params = params.iter();
        let (org, key) = params.next().zip(params.next()).ok_or_else(ApiError::not_found)?;
        Ok(Self { org: id(org.0, org.1)?, key: id(key.0, key.1)? })
    }
}

/// `DELETE /api/v1/orgs/{orgId}/worker-keys/{keyId}`
#[utoipa::path(
    delete,
    path = "/api/v1/orgs/{orgId}/worker-keys/{keyId}",
    tag = "organizations",
    responses((status = 204, description = "It opens nothing any more.")),
    extensions(("x-right" = json!("org.workers"))),
)]
pub async fn revoke(State(app): State<SharedApp>, Caller(caller): Caller, path: KeyPath) -> ApiResult<StatusCode> {
    let mut tx = open(&app, caller, path.org).await?;
    if !worker_keys::revoke(&mut tx, path.org, path.key, &scope::origin(caller.user)).await? {
        return Err(ApiError::not_found());
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Opens a transaction on an organization for somebody who manages its keys.
async fn open(app: &App, caller: Bearer, org: OrgId) -> ApiResult<Tx> {
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    let role = members::org_role(&mut tx, org, caller.user).await?.ok_or_else(ApiError::not_found)?;
    if !role.may(OrgRight::ManageWorkers) {
        return Err(ApiError::forbidden());
    }
    Ok(tx)
}
