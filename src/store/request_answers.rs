//! What REST requests with an `Idempotency-Key` were answered, so that a repeat has no second effect.

use glassbox_protocol::{RequestId, UserId};
use serde_json::value::RawValue;
use sqlx::types::Json;

use super::Tx;

/// What is known of a request.
#[derive(Clone, Debug)]
pub enum Claim {
    /// Nobody has answered it; it is this transaction's to do.
    New,
    /// It was answered before.
    Answered {
        /// SHA-256 of the body as it was first sent.
        body_hash: Vec<u8>,
        /// The status of the answer.
        status: i32,
        /// The body of the answer.
        answer: Box<RawValue>,
    },
}

/// Claims a request for this transaction. Waits for a transaction that is doing it now. The context must be the user's.
///
/// # Errors
/// The database is away.
pub async fn claim(tx: &mut Tx, user: UserId, request: RequestId, body_hash: &[u8]) -> sqlx::Result<Claim> {
    sqlx::query(
        "delete from realtime.request_answers
        where user_id = $1
            and request_id = $2
            and created_at < now() - interval '24 hours'",
    )
    .bind(user.0)
    .bind(request.0)
    .execute(tx.conn())
    .await?;
    let claimed = sqlx::query(
        "insert into realtime.request_answers (user_id, request_id, body_hash)
        values ($1, $2, $3)
        on conflict do nothing",
    )
    .bind(user.0)
    .bind(request.0)
    .bind(body_hash)
    .execute(tx.conn())
    .await?;
    if claimed.rows_affected() == 1 {
        return Ok(Claim::New);
    }
    let (body_hash, status, answer): (Vec<u8>, i32, Json<Box<RawValue>>) = sqlx::query_as(
        "select body_hash, status, answer
        from realtime.request_answers
        where user_id = $1
            and request_id = $2",
    )
    .bind(user.0)
    .bind(request.0)
    .fetch_one(tx.conn())
    .await?;
    Ok(Claim::Answered { body_hash, status, answer: answer.0 })
}

/// Keeps the answer to a claimed request.
///
/// # Errors
/// The database is away.
pub async fn keep(tx: &mut Tx, user: UserId, request: RequestId, status: i32, answer: &RawValue) -> sqlx::Result<()> {
    sqlx::query(
        "update realtime.request_answers
        set status = $3, answer = $4
        where user_id = $1
            and request_id = $2",
    )
    .bind(user.0)
    .bind(request.0)
    .bind(status)
    .bind(Json(answer))
    .execute(tx.conn())
    .await?;
    Ok(())
}
