//! Locks over REST: leases that belong to the user, through the same writer as a WebSocket's.
//!
//! No request here takes an `Idempotency-Key`: the first answer would tell of a lease that may be over by now.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use glassbox_protocol::client::{LockAcquire, LockBreak, LockRelease, LockRenew};
use glassbox_protocol::server::Ack;
use glassbox_protocol::{Command, Fence, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, Query};
use super::nodes::write::{Proof, checked_fence};
use super::nodes::{submit_checked, writable};
use super::once::Once;
use super::submit::submit;
use crate::app::SharedApp;

/// How long a lock lasts unless its taker says otherwise, ms.
const TTL_MS_DEFAULT: i64 = 300_000;
/// Shortest and longest lease, ms.
const TTL_MS_RANGE: std::ops::RangeInclusive<i64> = 5_000..=3_600_000;

/// How long to lock.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockRequest {
    /// Absent: 300 000.
    #[schema(minimum = 5000, maximum = 3600000, example = 60000)]
    ttl_ms: Option<i64>,
}

/// Which lock to extend, and for how long.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenewRequest {
    /// Its token; needed for a lock that was taken over `glassbox.v2`.
    #[schema(value_type = Option<i64>, minimum = 0)]
    fence: Option<Fence>,
    /// From now; absent: as long as at the start.
    #[schema(minimum = 5000, maximum = 3600000)]
    ttl_ms: Option<i64>,
}

/// Which lock to give back.
#[derive(Deserialize, ToSchema)]
pub struct ReleaseRequest {
    /// Its token; needed for a lock that was taken over `glassbox.v2`.
    #[schema(value_type = Option<i64>, minimum = 0)]
    fence: Option<Fence>,
}

/// Why a lock is ended.
#[derive(Deserialize, ToSchema)]
pub struct BreakRequest {
    /// Stands in the audit trail.
    #[schema(max_length = 500, example = "Its holder is on holiday.")]
    reason: Option<String>,
}

/// A lock that the caller holds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockAnswer {
    /// Always true.
    success: bool,
    message: &'static str,
    #[schema(value_type = Uuid)]
    node_id: NodeId,
    #[serde(flatten)]
    #[schema(inline)]
    lease: Lease,
    /// The same as `lockExpiresAt`.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// What the writer tells of a lease.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    locked_by: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    locked_by_email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    locked_by_name: Option<String>,
    #[schema(format = DateTime)]
    locked_at: String,
    #[schema(format = DateTime)]
    lock_expires_at: String,
    expires_in_ms: i64,
    /// The token that proves the lock.
    fence: i64,
    /// Whether the caller held it already.
    #[serde(default)]
    renewed: bool,
}

/// A lock that was ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakAnswer {
    /// Always true.
    success: bool,
    #[schema(value_type = Uuid)]
    node_id: NodeId,
    /// Who held it; absent when nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>, nullable = false)]
    broken_from: Option<Value>,
}

/// Takes a node's lock, or extends the caller's own.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{nodeId}/lock",
    tag = "locks",
    request_body = Option<LockRequest>,
    responses((status = 200, body = LockAnswer)),
    extensions(("x-right" = json!("node.write"))),
)]
pub async fn acquire(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    body: ApiResult<Body<LockRequest>>,
) -> ApiResult<Json<LockAnswer>> {
    let place = writable(&app, caller, node).await?;
    let Body(asked) = body?;
    check_ttl(asked.ttl_ms)?;
    let ttl_ms = Some(asked.ttl_ms.unwrap_or(TTL_MS_DEFAULT));
    let command = Command::LockAcquire(LockAcquire { node_id: node, ttl_ms, wait: None });
    let ack = submit(&app, caller, place, Once::random(), command).await?;
    lease(node, ack)
}

/// Extends the caller's lease.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{nodeId}/lock/renew",
    tag = "locks",
    request_body = Option<RenewRequest>,
    responses((status = 200, body = LockAnswer)),
    extensions(("x-right" = json!("node.write"))),
)]
pub async fn renew(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    body: ApiResult<Body<RenewRequest>>,
) -> ApiResult<Json<LockAnswer>> {
    let place = writable(&app, caller, node).await?;
    let Body(asked) = body?;
    check_ttl(asked.ttl_ms)?;
    let fence = checked_fence(asked.fence)?;
    let command = Command::LockRenew(LockRenew { node_id: node, fence, ttl_ms: asked.ttl_ms });
    let ack = submit(&app, caller, place, Once::random(), command).await?;
    lease(node, ack)
}

/// Gives the caller's lock back.
#[utoipa::path(
    delete,
    path = "/api/v1/nodes/{nodeId}/lock",
    tag = "locks",
    params(("fence" = Option<i64>, Query, minimum = 0, maximum = 9007199254740991i64, description = "As in the body.")),
    request_body = Option<ReleaseRequest>,
    responses((status = 204, description = "The caller does not hold it any more.")),
    extensions(("x-right" = json!("node.write"))),
)]
pub async fn release(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    query: Query,
    body: ApiResult<Body<ReleaseRequest>>,
) -> ApiResult<StatusCode> {
    let place = writable(&app, caller, node).await?;
    let fence = Proof { fence: body?.0.fence }.or_query(&query)?;
    let command = Command::LockRelease(LockRelease { node_id: node, fence });
    submit(&app, caller, place, Once::random(), command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends somebody else's lock: an agent's for whoever may write, a person's for project admins.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{nodeId}/lock/break",
    tag = "locks",
    request_body = Option<BreakRequest>,
    responses((status = 200, body = BreakAnswer)),
    extensions(("x-right" = json!("lock.break.agent"))),
)]
pub async fn break_lock(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(node): PathId<NodeId>,
    body: ApiResult<Body<BreakRequest>>,
) -> ApiResult<Json<BreakAnswer>> {
    let place = writable(&app, caller, node).await?;
    let command = Command::LockBreak(LockBreak { node_id: node, reason: body?.0.reason });
    let ack = submit_checked(&app, caller, place, Once::random(), command).await?;
    let broken_from = ack.result.and_then(|mut result| result.get_mut("brokenFrom").map(Value::take));
    Ok(Json(BreakAnswer { success: true, node_id: node, broken_from }))
}

fn check_ttl(ttl_ms: Option<i64>) -> ApiResult<()> {
    match ttl_ms {
        Some(ttl) if !TTL_MS_RANGE.contains(&ttl) => {
            Err(ApiError::field("ttlMs", format!("must be {} to {}", TTL_MS_RANGE.start(), TTL_MS_RANGE.end())))
        }
        _ => Ok(()),
    }
}

fn lease(node: NodeId, ack: Ack) -> ApiResult<Json<LockAnswer>> {
    let lease: Lease = serde_json::from_value(ack.result.unwrap_or_default()).map_err(|_| ApiError::internal())?;
    let message = if lease.renewed { "Lock renewed" } else { "Lock acquired" };
    let expires_at = lease.lock_expires_at.clone();
    Ok(Json(LockAnswer { success: true, message, node_id: node, lease, expires_at }))
}
