//! Worker keys of an organization: made, listed, revoked.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use glassbox_protocol::OrgId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, PathIds, Query, required};
use super::once::{Begun, Once};
use super::orgs::permit;
use super::page::{List, Page, PageQuery, ROWS_MAX};
use super::scope;
use crate::app::{App, SharedApp};
use crate::auth::rights::OrgRight;
use crate::auth::{Bearer, worker_key};
use crate::store::worker_keys::{self, WorkerKey};
use crate::store::{Tenant, Tx};

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
    extensions(("x-right" = json!("org.workers")), ("x-idempotent" = json!(true))),
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

/// `DELETE /api/v1/orgs/{orgId}/worker-keys/{keyId}`
#[utoipa::path(
    delete,
    path = "/api/v1/orgs/{orgId}/worker-keys/{keyId}",
    tag = "organizations",
    responses((status = 204, description = "It opens nothing any more.")),
    extensions(("x-right" = json!("org.workers"))),
)]
pub async fn revoke(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathIds(org, key): PathIds<OrgId, Uuid>,
) -> ApiResult<StatusCode> {
    let mut tx = open(&app, caller, org).await?;
    if !worker_keys::revoke(&mut tx, org, key, &scope::origin(caller.user)).await? {
        return Err(ApiError::not_found());
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Opens a transaction on an organization for somebody who manages its keys.
async fn open(app: &App, caller: Bearer, org: OrgId) -> ApiResult<Tx> {
    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    permit(&mut tx, org, caller.user, OrgRight::ManageWorkers).await?;
    Ok(tx)
}
