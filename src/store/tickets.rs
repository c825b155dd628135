//! Tickets: which single-use tokens were given and which have been used.

use glassbox_protocol::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Tx;

/// Notes a new ticket. The context must be its user's.
///
/// # Errors
/// The database is away, or the user is gone.
pub async fn create(tx: &mut Tx, id: Uuid, user: UserId, expires_at: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query("insert into realtime.tickets (id, user_id, expires_at) values ($1, $2, $3)")
        .bind(id)
        .bind(user.0)
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
