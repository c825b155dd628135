//! Which instances are alive.

use uuid::Uuid;

use super::{Database, in_time};

/// Says that an instance lives; returns the ids of all that do, it among them.
///
/// # Errors
/// The database is away.
pub async fn heartbeat(db: &Database, instance: Uuid) -> sqlx::Result<Vec<Uuid>> {
    in_time(
        sqlx::query(
            "insert into realtime.instances (id)
        values ($1)
        on conflict (id) do update set seen_at = clock_timestamp()",
        )
        .bind(instance)
        .execute(db.untenanted()),
    )
    .await?;
    in_time(
        sqlx::query_scalar(
            "select id
        from realtime.instances
        where seen_at > clock_timestamp() - interval '15 seconds'
        order by id",
        )
        .fetch_all(db.untenanted()),
    )
    .await
}

/// Says that an instance has ended.
///
/// # Errors
/// The database is away.
pub async fn leave(db: &Database, instance: Uuid) -> sqlx::Result<()> {
    in_time(sqlx::query("delete from realtime.instances where id = $1").bind(instance).execute(db.untenanted()))
        .await?;
    Ok(())
}

/// Whether the database answers.
///
/// # Errors
/// It does not.
pub async fn ping(db: &Database) -> sqlx::Result<()> {
    in_time(sqlx::query("select 1").execute(db.untenanted())).await?;
    Ok(())
}
