//! The database that a command works on: the given one, or the embedded one for the time of the command.

use anyhow::Context as _;
use sqlx::postgres::PgConnectOptions;

use crate::config::DatabaseConfig;
use crate::postgres::{self, EmbeddedPostgres};
use crate::store::{Database, check, migrate as migrations};

/// Connections of a command that is no server.
const POOL: u32 = 4;

/// Where the database is, and the embedded one if that is it.
pub struct Located {
    /// The server's own login.
    pub server_url: String,
    /// A login that may change the schema.
    pub owner_url: String,
    embedded: Option<EmbeddedPostgres>,
}

/// Finds the database; starts the embedded one where no other is given.
pub async fn locate(config: &DatabaseConfig) -> anyhow::Result<Located> {
    if let Some(server_url) = config.url()? {
        let owner_url = config.migration_url.clone().unwrap_or_else(|| server_url.clone());
        return Ok(Located { server_url, owner_url, embedded: None });
    }
    let embedded = EmbeddedPostgres::start(&config.embedded()).await.context("start the embedded PostgreSQL")?;
    Ok(Located {
        server_url: embedded.server_url().to_owned(),
        owner_url: embedded.admin_url().to_owned(),
        embedded: Some(embedded),
    })
}

impl Located {
    /// Checks the server, brings the schema up to date and checks the login.
    pub async fn prepare(&self) -> anyhow::Result<()> {
        let login: PgConnectOptions = self.server_url.parse().context("DATABASE_URL: not a PostgreSQL URL")?;
        check::server(&self.server_url).await?;
        migrations::run(&self.owner_url, Some(login.get_username())).await?;
        check::login(&self.server_url).await
    }

    /// Gives the embedded one up.
    pub async fn close(self) -> anyhow::Result<()> {
        match self.embedded {
            Some(embedded) => embedded.stop().await.context("stop the embedded PostgreSQL"),
            None => Ok(()),
        }
    }
}

/// Runs something on the database, migrated and checked, and gives the database up whatever comes of it. The work
/// gets the owner's URL as well.
pub async fn with<T>(
    config: &DatabaseConfig,
    work: impl AsyncFnOnce(Database, &str) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let located = locate(config).await?;
    let result = async {
        located.prepare().await?;
        let database = Database::connect(&located.server_url, POOL)?;
        let result = work(database.clone(), &located.owner_url).await;
        database.close().await;
        result
    }
    .await;
    let closed = located.close().await;
    let result = result?;
    closed?;
    Ok(result)
}

/// `glassbox migrate`
pub async fn migrate(config: &DatabaseConfig) -> anyhow::Result<()> {
    let located = locate(config).await?;
    let prepared = located.prepare().await;
    let closed = located.close().await;
    prepared?;
    closed?;
    super::serve::say("The schema is up to date.");
    Ok(())
}

/// `glassbox database-url`
pub fn print_url(config: &DatabaseConfig) -> anyhow::Result<()> {
    let url = match config.url()? {
        Some(url) => url,
        None => postgres::running_url(&config.embedded())?,
    };
    super::serve::say(&url);
    Ok(())
}
