//! Tickets: which tokens for a WebSocket were given and what became of them.

use std::time::Duration;

use glassbox_protocol::{SessionId, UserId};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Tx, users};
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
        set used_at = clock_timestamp(), dialect = 'v2'
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

/// What a ticket of the older dialect opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The first connection of a page.
    First,
    /// A later one.
    Resumed {
        /// Until when the page has certainly heard what was told; at worst its first use.
        since: OffsetDateTime,
    },
}

/// Uses a ticket for a connection of the older dialect: for the first time in its life, or again within `window_s`
/// seconds of when its session lived last. `None` if it opens nothing. The context must be its user's.
///
/// # Errors
/// The database is away.
pub async fn redeem_older(
    tx: &mut Tx,
    id: Uuid,
    user: UserId,
    session: SessionId,
    window_s: i64,
) -> sqlx::Result<Option<Opening>> {
    let former: Option<Option<OffsetDateTime>> = sqlx::query_scalar(
        "with former as (
            select t.id, coalesce(t.told_at, t.used_at) as since
            from realtime.tickets t
            where t.id = $1
                and t.user_id = $2
                and t.voided_at is null
                and (
                    (t.used_at is null and t.expires_at > clock_timestamp())
                    or (t.dialect = 'v1' and t.seen_at > clock_timestamp() - make_interval(secs => $3::double precision))
                )
            for update
        )
        update realtime.tickets t
        set used_at = coalesce(t.used_at, clock_timestamp()), dialect = 'v1', seen_at = clock_timestamp(), session_id = $4
        from former f
        where t.id = f.id
        returning f.since",
    )
    .bind(id)
    .bind(user.0)
    .bind(window_s)
    .bind(session.0)
    .fetch_optional(tx.conn())
    .await?;
    Ok(former.map(|since| since.map_or(Opening::First, |since| Opening::Resumed { since })))
}

/// What is noted of a session of the older dialect.
#[derive(Clone, Copy, Debug)]
pub struct Sign {
    /// The session.
    pub session: SessionId,
    /// When its client was there for certain; what was sent since may not have arrived.
    pub alive_at: Instant,
    /// Whether its client was told until then which locks ended; not by one that has just begun.
    pub has_stated: bool,
    /// Whether its user was told of all notifications until then; not by one that has just begun.
    pub has_told: bool,
}

/// What a session of the older dialect is to its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The newest that it opened.
    Newest,
    /// One that a newer one has replaced.
    Replaced,
    /// One of a user who is gone, or whose sign-in was ended.
    Gone,
}

/// How late a note may reach the database, on whose clock it counts. What ended within that time is told twice, which is
/// harmless; a note that seems newer than it is would lose it.
const LATENESS_MAX: Duration = Duration::from_secs(5);

/// Notes that a session of the older dialect lives, or has just ended. The context must be its user's.
///
/// # Errors
/// The database is away.
pub async fn note_seen(tx: &mut Tx, id: Uuid, user: UserId, sign: Sign) -> sqlx::Result<Standing> {
    let is_void: Option<bool> = sqlx::query_scalar(
        "update realtime.tickets
        set
            seen_at = clock_timestamp() - make_interval(secs => $4),
            told_at = case
                when $5 then greatest(told_at, clock_timestamp() - make_interval(secs => $4 + $6))
                else told_at
            end
        where id = $1
            and user_id = $2
            and session_id = $3
        returning voided_at is not null",
    )
    .bind(id)
    .bind(user.0)
    .bind(sign.session.0)
    .bind(sign.alive_at.elapsed().as_secs_f64())
    .bind(sign.has_stated)
    .bind(LATENESS_MAX.as_secs_f64())
    .fetch_optional(tx.conn())
    .await?;
    match is_void {
        Some(false) => {}
        Some(true) => return Ok(Standing::Gone),
        None => {
            return Ok(match users::by_id(tx, user).await? {
                Some(_) => Standing::Replaced,
                None => Standing::Gone,
            });
        }
    }
    if sign.has_told {
        sqlx::query(
            "insert into realtime.listeners (user_id, heard_at)
            values ($1, clock_timestamp() - make_interval(secs => $2))
            on conflict (user_id) do update set heard_at = greatest(listeners.heard_at, excluded.heard_at)",
        )
        .bind(user.0)
        .bind(sign.alive_at.elapsed().as_secs_f64())
        .execute(tx.conn())
        .await?;
    }
    Ok(Standing::Newest)
}

/// Until when a connection of the older dialect heard the user's notifications; `None` if there never was one. The
/// context must be the user's.
///
/// # Errors
/// The database is away.
pub async fn heard_at(tx: &mut Tx, user: UserId) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar("select heard_at from realtime.listeners where user_id = $1")
        .bind(user.0)
        .fetch_optional(tx.conn())
        .await
}

/// Voids the tickets of a sign-in. The context must be its user's.
///
/// # Errors
/// The database is away.
pub async fn void(tx: &mut Tx, user: UserId, sid: Sid) -> sqlx::Result<()> {
    sqlx::query(
        "update realtime.tickets
        set expires_at = least(expires_at, clock_timestamp()),
            voided_at = coalesce(voided_at, clock_timestamp())
        where user_id = $1
            and sid = $2",
    )
    .bind(user.0)
    .bind(sid.to_string())
    .execute(tx.conn())
    .await?;
    Ok(())
}
