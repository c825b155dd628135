//! Notifications: what people are told. Triggers write them, whoever caused them (`migrations/0009_notifications.sql`);
//! here they are read and marked.

use glassbox_protocol::{Fence, NodeId, NotificationId, UserId};
use serde_json::value::RawValue;
use sqlx::Row as _;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Tx;

/// Which notifications of a user are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Those alone that were not read.
    pub is_unread: bool,
    /// Most rows.
    pub limit: i64,
    /// Rows to pass over.
    pub offset: i64,
}

/// How many notifications a user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub all: i64,
    /// Those that were not read.
    pub unread: i64,
}

/// A user's notifications over all organizations, newest first, each as the wire shows it. The context must be the
/// user's, without an organization.
///
/// # Errors
/// The database is away.
pub async fn list(tx: &mut Tx, user: UserId, wanted: Wanted) -> sqlx::Result<Vec<Box<RawValue>>> {
    let rows: Vec<Json<Box<RawValue>>> = sqlx::query_scalar(
        "select realtime.notification_json(n)
        from (
            select *
            from notifications n
            where n.user_id = $1
                and (not $2 or n.read_at is null)
            order by n.created_at desc nulls last, n.id desc
            limit $3
            offset $4
        ) s
        join notifications n on n.id = s.id
        order by n.created_at desc nulls last, n.id desc",
    )
    .bind(user.0)
    .bind(wanted.is_unread)
    .bind(wanted.limit)
    .bind(wanted.offset)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Counts a user's notifications. The context must be the user's.
///
/// # Errors
/// The database is away.
pub async fn counts(tx: &mut Tx, user: UserId) -> sqlx::Result<Counts> {
    let row = sqlx::query(
        "select count(*) as total, count(*) filter (where read_at is null) as unread
        from notifications
        where user_id = $1",
    )
    .bind(user.0)
    .fetch_one(tx.conn())
    .await?;
    Ok(Counts { all: row.try_get("total")?, unread: row.try_get("unread")? })
}

/// Marks one notification as read and tells when it was read first, RFC 3339; `None` if it is not the user's. The
/// context must be the user's.
///
/// # Errors
/// The database is away.
pub async fn mark_read(tx: &mut Tx, user: UserId, id: NotificationId) -> sqlx::Result<Option<String>> {
    mark_some(tx, user, &[id]).await?;
    sqlx::query_scalar("select realtime.time_text(read_at) from notifications where id = $1 and user_id = $2")
        .bind(id.0)
        .bind(user.0)
        .fetch_optional(tx.conn())
        .await
}

/// Marks those of the notifications that are the user's; returns how many were unread. The context must be the user's.
/// Here and below rows are locked in id order, so that two tabs that mark the same ones do not wait for each other.
///
/// # Errors
/// The database is away.
pub async fn mark_some(tx: &mut Tx, user: UserId, ids: &[NotificationId]) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "with unread as (
            select id
            from notifications
            where id = any ($2)
                and user_id = $1
                and read_at is null
            order by id
            for update
        )
        update notifications n
        set read_at = clock_timestamp()
        from unread u
        where n.id = u.id",
    )
    .bind(user.0)
    .bind(ids.iter().map(|id| id.0).collect::<Vec<Uuid>>())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// Marks a notification of the user and everything older; returns how many were unread, and `None` if the notification
/// is not the user's. The context must be the user's.
///
/// # Errors
/// The database is away.
pub async fn mark_up_to(tx: &mut Tx, user: UserId, newest: NotificationId) -> sqlx::Result<Option<u64>> {
    let is_own: Option<i32> = sqlx::query_scalar("select 1 from notifications where id = $1 and user_id = $2")
        .bind(newest.0)
        .bind(user.0)
        .fetch_optional(tx.conn())
        .await?;
    if is_own.is_none() {
        return Ok(None);
    }
    let done = sqlx::query(
        "with unread as (
            select n.id
            from notifications n
            join notifications newest on newest.id = $2
            where n.user_id = $1
                and n.read_at is null
                and (coalesce(n.created_at, 'epoch'), n.id) <= (coalesce(newest.created_at, 'epoch'), newest.id)
            order by n.id
            for update of n
        )
        update notifications n
        set read_at = clock_timestamp()
        from unread u
        where n.id = u.id",
    )
    .bind(user.0)
    .bind(newest.0)
    .execute(tx.conn())
    .await?;
    Ok(Some(done.rows_affected()))
}

/// Marks all that exist now; returns how many were unread. The context must be the user's.
///
/// # Errors
/// The database is away.
pub async fn mark_all(tx: &mut Tx, user: UserId) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "with unread as (
            select id
            from notifications
            where user_id = $1
                and read_at is null
            order by id
            for update
        )
        update notifications n
        set read_at = clock_timestamp()
        from unread u
        where n.id = u.id",
    )
    .bind(user.0)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// Notes that somebody was refused because of a lock, to be told when it ends. Once per lock, however often they try;
/// a lock that is over, or was never there, is passed over. The context must be the node's organization.
///
/// # Errors
/// The database is away.
pub async fn note_refusal(tx: &mut Tx, node: NodeId, fence: Fence, user: UserId) -> sqlx::Result<()> {
    sqlx::query(
        "insert into realtime.lock_refusals (node_id, fence, user_id, org_id)
        select n.id, l.fence, $3, n.org_id
        from nodes n
        join realtime.locks l on l.node_id = n.id
        where n.id = $1
            and l.fence = $2
            and n.locked_by is not null
        on conflict do nothing",
    )
    .bind(node.0)
    .bind(fence.0)
    .bind(user.0)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The newest of a user's unread notifications since a moment, oldest first, each as the wire shows it. The context must be
/// the user's, without an organization.
///
/// # Errors
/// The database is away.
pub async fn unread_since(
    tx: &mut Tx,
    user: UserId,
    since: Option<OffsetDateTime>,
    limit: i64,
) -> sqlx::Result<Vec<Box<RawValue>>> {
    let rows: Vec<Json<Box<RawValue>>> = sqlx::query_scalar(
        "select realtime.notification_json(n)
        from (
            select *
            from notifications n
            where n.user_id = $1
                and n.read_at is null
                and ($2::timestamptz is null or n.created_at >= $2)
            order by n.created_at desc nulls last, n.id desc
            limit $3
        ) s
        join notifications n on n.id = s.id
        order by n.created_at nulls first, n.id",
    )
    .bind(user.0)
    .bind(since)
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}
