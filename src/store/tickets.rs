//! Tickets: which single-use tokens were given and which have been used.

use glassbox_protocol::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Tx;
use crate::auth::sid::Sid;

/// Notes a new ticket. The context must be its user's.
///
/// # Errors
/// The database is away, or the user is gone.
pub async fn create(tx: &mut Tx, id: Uuid, user: UserId, sid: Sid, expires_at: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query("insert into realtime.tickets (id, user_id, sid, expires_at) values ($1, $2, $3, $4)")
        .bind(id)
        .bind(user.0)
        .bind(sid.to_string())
        .bind(expires_at)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Uses a ticket up; false if it was used before, is void, or never was. The context must be its user's.
///
/// # Errors
/// The database is away.
pub async fn redeem(tx: &mut Tx, id: Uuid, user: UserId) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update realtime.tickets
        set used_at = clock_timestamp()
        where id = $1
            and user_id = $2
            and used_at is null
            and expires_at > clock_timestamp()",
    )
    .bind(id)
    .bind(user.0)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Voids the tickets of a sign-in. The context must be its user's.
///
/// # Errors
/// The database is away.
pub async fn void(tx: &mut Tx, user: UserId, sid: Sid) -> sqlx::Result<()> {
    sqlx::query(
        "update realtime.tickets
        set expires_at = least(expires_at, clock_timestamp())
        where user_id = $1
            and sid = $2",
    )
    .bind(user.0)
    .bind(sid.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}
