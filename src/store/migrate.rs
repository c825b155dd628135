//! Brings the schema up to date at every start, on any number of instances at once.

use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Names the advisory lock that lets one instance migrate at a time; any constant that nobody else uses.
pub const LOCK_KEY: i64 = 0x676c_6173_7362_6f78;

/// How long to wait for another instance's migration before giving up.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// Applies the migrations that are missing and lets `server_login` act in the server's roles.
///
/// # Errors
/// The login lacks a right, an extension is missing, or another migration does not finish in time; one line says which.
pub async fn run(owner_url: &str, server_login: Option<&str>) -> anyhow::Result<()> {
    let mut conn = connect(owner_url).await?;
    if is_current(&mut conn).await {
        return grant_login(&mut conn, server_login).await;
    }
    // sqlx would wait for its lock without a deadline, behind a paused migration for ever.
    let deadline = Instant::now() + LOCK_DEADLINE;
    while !sqlx::query_scalar::<_, bool>("select pg_try_advisory_lock($1)").bind(LOCK_KEY).fetch_one(&mut conn).await? {
        if Instant::now() > deadline {
            bail!(
                "another instance has been migrating for {LOCK_DEADLINE:?}; look at pg_stat_activity and start again"
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut migrator = Migrator { migrations: MIGRATOR.migrations.clone(), ..Migrator::DEFAULT };
    migrator.set_locking(false).set_ignore_missing(true);
    sqlx::query("set lock_timeout = '5s'").execute(&mut conn).await?;
    migrator.run(&mut conn).await.map_err(|e| anyhow::anyhow!(one_line(&e))).context("migrate the database")?;
    sqlx::query("grant select on _sqlx_migrations to glassbox_app")
        .execute(&mut conn)
        .await
        .context("grant the server a look at the schema's version")?;
    grant_login(&mut conn, server_login).await?;
    conn.close().await?;
    Ok(())
}

/// Opens a single connection and explains a failure in one line.
pub(crate) async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    match tokio::time::timeout(Duration::from_secs(5), PgConnection::connect(url)).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(e)) => bail!("cannot connect to PostgreSQL: {e}"),
        Err(_) => bail!("cannot connect to PostgreSQL: no answer within 5 s"),
    }
}

/// Whether every migration of this build is applied.
pub(crate) async fn is_current(conn: &mut PgConnection) -> bool {
    let wanted: Vec<i64> = MIGRATOR.iter().map(|m| m.version).collect();
    sqlx::query_scalar::<_, i64>("select count(*) from _sqlx_migrations where success and version = any($1)")
        .bind(&wanted)
        .fetch_one(conn)
        .await
        .is_ok_and(|applied| usize::try_from(applied) == Ok(wanted.len()))
}

async fn grant_login(conn: &mut PgConnection, login: Option<&str>) -> anyhow::Result<()> {
    let Some(login) = login else { return Ok(()) };
    let is_member: bool = sqlx::query_scalar(
        "select bool_and(pg_has_role($1, r, 'member')) from unnest(array['glassbox_app', 'glassbox_reader']) r",
    )
    .bind(login)
    .fetch_one(&mut *conn)
    .await
    .with_context(|| format!("look up the login {login}"))?;
    if !is_member {
        let statement: String = sqlx::query_scalar("select format('grant glassbox_app, glassbox_reader to %I', $1)")
            .bind(login)
            .fetch_one(&mut *conn)
            .await?;
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(conn)
            .await
            .with_context(|| format!("let {login} act as glassbox_app and glassbox_reader"))?;
    }
    Ok(())
}

fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().replace('\n', " ")
}
