//! What a PostgreSQL must be like before the server starts on it.

use anyhow::{bail, ensure};
use sqlx::{PgConnection, Row as _};
use tracing::warn;

use super::migrate;

/// Refuses a server that cannot keep the promises: too old or too new, not durable, without pgvector.
///
/// # Errors
/// One line that names what is missing.
pub async fn server(url: &str) -> anyhow::Result<()> {
    let mut conn = migrate::connect(url).await?;
    let version: i32 =
        sqlx::query_scalar("select current_setting('server_version_num')::int").fetch_one(&mut conn).await?;
    ensure!((150_000..180_000).contains(&version), "PostgreSQL {}: versions 15 to 17 are supported", version / 10_000);
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let value: String = sqlx::query_scalar("select current_setting($1)").bind(setting).fetch_one(&mut conn).await?;
        ensure!(
            value != "off",
            "PostgreSQL runs with {setting} = off: an acknowledged change could be lost; switch it on"
        );
    }
    let has_vector: bool =
        sqlx::query_scalar("select exists (select 1 from pg_available_extensions where name = 'vector')")
            .fetch_one(&mut conn)
            .await?;
    ensure!(has_vector, "the extension vector is not available: install pgvector on the PostgreSQL server");
    Ok(())
}

/// Refuses a login that could see past row-level security, or that lacks the server's roles, and a schema that is
/// not up to date.
///
/// # Errors
/// One line that names what is wrong.
pub async fn login(url: &str) -> anyhow::Result<()> {
    let mut conn = migrate::connect(url).await?;
    let is_privileged: bool =
        sqlx::query_scalar("select rolsuper or rolbypassrls from pg_roles where rolname = session_user")
            .fetch_one(&mut conn)
            .await?;
    if is_privileged {
        // Every connection takes the server's own roles, but whoever has this password need not.
        warn!("the login of DATABASE_URL bypasses row-level security: give the server a login of its own");
    }
    for role in ["glassbox_app", "glassbox_reader"] {
        let exists: bool = sqlx::query_scalar("select exists (select 1 from pg_roles where rolname = $1)")
            .bind(role)
            .fetch_one(&mut conn)
            .await?;
        ensure!(exists, "the role {role} is missing: run `glassbox migrate` with the owner's GLASSBOX_MIGRATION_URL");
        if let Err(e) = sqlx::query(sqlx::AssertSqlSafe(format!("set role {role}"))).execute(&mut conn).await {
            bail!("DATABASE_URL: its login may not act as {role} ({e}); run `grant {role} to <login>` as the owner");
        }
        bypasses_nothing(&mut conn, role).await?;
        if role == "glassbox_app" {
            ensure!(
                migrate::is_current(&mut conn).await,
                "the database's schema is not up to date: run `glassbox migrate` with the owner's GLASSBOX_MIGRATION_URL"
            );
        }
        sqlx::query("reset role").execute(&mut conn).await?;
    }
    Ok(())
}

async fn bypasses_nothing(conn: &mut PgConnection, role: &str) -> anyhow::Result<()> {
    let row = sqlx::query(
        "select
            r.rolsuper or r.rolbypassrls as bypasses,
            exists (
                select 1
                from pg_class c
                where c.relowner = r.oid
                    and c.relkind in ('r', 'p')
            ) as owns
        from pg_roles r
        where r.rolname = current_user",
    )
    .fetch_one(conn)
    .await?;
    ensure!(!row.try_get::<bool, _>("bypasses")?, "the role {role} is a superuser or bypasses row-level security");
    ensure!(!row.try_get::<bool, _>("owns")?, "the role {role} owns tables and so could change their policies");
    Ok(())
}
