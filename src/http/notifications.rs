//! What the caller is told: their notifications, over all organizations.
//!
//! Marks go through the table, so that every session of the user learns of them, on every instance.

use axum::Json;
use axum::extract::State;
use glassbox_protocol::NotificationId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, Query};
use super::page::{Counted, Window};
use super::scope;
use crate::app::SharedApp;
use crate::store::notifications::{self, Wanted};
use crate::store::{Tenant, Tx};

/// Notifications in one answer, unless the caller says otherwise, and most of them.
const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 200;

/// Something to read.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "only the document reads the fields: the database writes the JSON")]
pub struct Notification {
    id: Uuid,
    user_id: Uuid,
    org_id: Uuid,
    /// `execution_complete`, `execution_failed`, `human_input_needed`, `mention`, `node_assigned`, `lock_released`, or
    /// another.
    r#type: String,
    #[schema(max_length = 255)]
    title: String,
    #[schema(nullable = false)]
    body: Option<String>,
    #[schema(nullable = false)]
    resource_type: Option<String>,
    #[schema(nullable = false)]
    resource_id: Option<Uuid>,
    /// Where the thing is that it is about, while that exists.
    #[schema(nullable = false)]
    project_id: Option<Uuid>,
    #[schema(nullable = false)]
    node_id: Option<Uuid>,
    /// When it was first read.
    #[schema(nullable = false, format = DateTime)]
    read_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A part of the caller's notifications.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notifications {
    #[serde(flatten)]
    #[schema(inline, value_type = Counted<Notification>)]
    part: Counted<Box<RawValue>>,
    /// How many of all are unread.
    unread_count: i64,
}

/// The caller's notifications, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/users/me/notifications",
    tag = "users",
    params(
        ("unread" = Option<bool>, Query, description = "Those alone that were not read."),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "Most notifications; absent: 50."),
        ("offset" = Option<i64>, Query, minimum = 0, maximum = 2147483647, description = "Notifications to pass over."),
    ),
    responses((status = 200, body = Notifications)),
    extensions(("x-right" = json!("own"))),
)]
pub async fn list(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    query: Query,
) -> ApiResult<Json<Notifications>> {
    let window = Window::from_query(&query, LIMIT_DEFAULT, LIMIT_MAX)?;
    let is_unread = query.flag("unread")?;
    let mut tx = app.database.begin_snapshot(&Tenant::user(caller.user)).await?;
    let wanted = Wanted { is_unread, limit: window.limit, offset: window.offset };
    let data = notifications::list(&mut tx, caller.user, wanted).await?;
    let counts = notifications::counts(&mut tx, caller.user).await?;
    let total = if is_unread { counts.unread } else { counts.all };
    Ok(Json(Notifications { part: window.of(data, total), unread_count: counts.unread }))
}

/// A notification that is read.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Read {
    /// Always true.
    success: bool,
    #[schema(value_type = Uuid)]
    id: NotificationId,
    /// When it was first read.
    #[schema(format = DateTime)]
    read_at: String,
}

/// Marks one notification as read.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/notifications/{notificationId}/read",
    tag = "users",
    responses((status = 200, body = Read)),
    extensions(("x-right" = json!("own"))),
)]
pub async fn read(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(id): PathId<NotificationId>,
) -> ApiResult<Json<Read>> {
    let mut tx = app.database.begin(&Tenant::user(caller.user)).await?;
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    let read_at = notifications::mark_read(&mut tx, caller.user, id).await?.ok_or_else(ApiError::not_found)?;
    tx.commit().await?;
    Ok(Json(Read { success: true, id, read_at }))
}

/// Which notifications to mark; absent fields: all.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadAllRequest {
    /// This one and everything older.
    #[schema(value_type = Option<Uuid>)]
    up_to: Option<NotificationId>,
    /// These; others' ids are passed over.
    #[schema(value_type = Option<Vec<Uuid>>)]
    ids: Option<Vec<NotificationId>>,
}

/// What was marked.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadAll {
    /// Always true.
    success: bool,
    /// How many were unread before.
    updated: u64,
    /// How many are unread now.
    unread_count: i64,
}

/// Marks several notifications as read, or all that exist now.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/notifications/read-all",
    tag = "users",
    request_body = Option<ReadAllRequest>,
    responses((status = 200, body = ReadAll)),
    extensions(("x-right" = json!("own"))),
)]
pub async fn read_all(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    Body(asked): Body<ReadAllRequest>,
) -> ApiResult<Json<ReadAll>> {
    let mut tx = app.database.begin(&Tenant::user(caller.user)).await?;
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    let updated = mark(&mut tx, caller.user, &asked).await?;
    let unread_count = notifications::counts(&mut tx, caller.user).await?.unread;
    tx.commit().await?;
    Ok(Json(ReadAll { success: true, updated, unread_count }))
}

async fn mark(tx: &mut Tx, user: glassbox_protocol::UserId, asked: &ReadAllRequest) -> ApiResult<u64> {
    let mut updated = 0;
    if let Some(newest) = asked.up_to {
        updated += notifications::mark_up_to(tx, user, newest)
            .await?
            .ok_or_else(|| ApiError::field("upTo", "refers to something that does not exist"))?;
    }
    if let Some(ids) = &asked.ids {
        updated += notifications::mark_some(tx, user, ids).await?;
    }
    if asked.up_to.is_none() && asked.ids.is_none() {
        updated = notifications::mark_all(tx, user).await?;
    }
    Ok(updated)
}
