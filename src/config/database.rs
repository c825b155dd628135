//! Where the database is.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use url::Url;

use super::given;
use crate::postgres::EmbeddedConfig;

/// Where the database is.
#[derive(Args, Clone, Debug, Default)]
pub struct DatabaseConfig {
    /// PostgreSQL 15 to 17 with pgvector, for the server's own login. Without it the server runs an embedded PostgreSQL
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// The database's host, where no DATABASE_URL is set
    #[arg(long, env = "DB_HOST")]
    pub db_host: Option<String>,
    /// The database's port; 5432 where it is not set
    #[arg(long, env = "DB_PORT")]
    pub db_port: Option<String>,
    /// The server's own login
    #[arg(long, env = "DB_USERNAME")]
    pub db_username: Option<String>,
    /// Its password
    #[arg(long, env = "DB_PASSWORD", hide_env_values = true)]
    pub db_password: Option<String>,
    /// The database's name
    #[arg(long, env = "DB_NAME")]
    pub db_name: Option<String>,
    /// How far TLS goes: disable, allow, prefer, require, verify-ca or verify-full; require where it is not set
    #[arg(long, env = "DB_SSLMODE")]
    pub db_sslmode: Option<String>,
    /// The owner's login, for migrations; the server's own login where it is not set
    #[arg(long, env = "GLASSBOX_MIGRATION_URL", hide_env_values = true)]
    pub migration_url: Option<String>,
    /// Where the embedded PostgreSQL's programs are kept
    #[arg(long, env = "GLASSBOX_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Where the embedded PostgreSQL's data is kept
    #[arg(long, env = "GLASSBOX_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

impl DatabaseConfig {
    /// The directories of the embedded PostgreSQL.
    pub fn embedded(&self) -> EmbeddedConfig {
        EmbeddedConfig::from_dirs(self.cache_dir.clone(), self.data_dir.clone())
    }

    /// Whether a database is given, so that no embedded one is started.
    pub fn is_given(&self) -> bool {
        let parts = [&self.database_url, &self.db_host, &self.db_username, &self.db_password, &self.db_name];
        parts.into_iter().any(|part| given(part).is_some())
    }

    /// The URL of the given database: `DATABASE_URL`, else one made of the `DB_*` settings.
    ///
    /// # Errors
    /// A `DB_*` setting that is missing or wrong.
    pub fn url(&self) -> anyhow::Result<Option<String>> {
        if let Some(url) = given(&self.database_url) {
            return Ok(Some(url.to_owned()));
        }
        if !self.is_given() {
            return Ok(None);
        }
        let required = |name: &str, value| given(value).with_context(|| format!("{name}: must be set"));
        let host = required("DB_HOST", &self.db_host)?;
        let username = required("DB_USERNAME", &self.db_username)?;
        let name = required("DB_NAME", &self.db_name)?;
        let port: u16 = given(&self.db_port).unwrap_or("5432").parse().context("DB_PORT: expected a port")?;
        let mode = given(&self.db_sslmode).unwrap_or("require");
        anyhow::ensure!(
            ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"].contains(&mode),
            "DB_SSLMODE: expected disable, allow, prefer, require, verify-ca or verify-full"
        );
        let mut url = Url::parse("postgres://localhost").context("DB_HOST: cannot be made a URL")?;
        // A bare IPv6 address needs its brackets.
        let is_bare_ipv6 = host.parse::<std::net::Ipv6Addr>().is_ok();
        let host = if is_bare_ipv6 { format!("[{host}]") } else { host.to_owned() };
        url.set_host(Some(&host)).context("DB_HOST: expected a host name or an address")?;
        url.set_username(&escaped(username))
            .and_then(|()| url.set_password(self.db_password.as_deref().map(escaped).as_deref()))
            .and_then(|()| url.set_port(Some(port)))
            .map_err(|()| anyhow::anyhow!("DB_HOST: expected a host name or an address"))?;
        url.path_segments_mut().map_err(|()| anyhow::anyhow!("DB_NAME: cannot be made a URL"))?.push(name);
        url.query_pairs_mut().append_pair("sslmode", mode);
        Ok(Some(url.into()))
    }
}

/// Escapes the one character that `Url` takes for an escape already.
fn escaped(text: &str) -> String {
    text.replace('%', "%25")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn the_parts_of_a_database_url_are_put_together_and_a_whole_one_wins() {
        let parts = DatabaseConfig {
            db_host: some("db.example"),
            db_username: some("gl@ss"),
            db_password: some("p/w:#?%41"),
            db_name: some("a b/c%41"),
            ..DatabaseConfig::default()
        };
        let url = parts.url().expect("a URL").expect("a database");
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("PostgreSQL takes it");
        assert_eq!((options.get_host(), options.get_port()), ("db.example", 5432));
        assert_eq!((options.get_username(), options.get_database()), ("gl@ss", Some("a b/c%41")));
        assert!(url.contains("p%2Fw%3A%23%3F%2541"), "{url}");
        assert!(matches!(options.get_ssl_mode(), sqlx::postgres::PgSslMode::Require));

        let whole = DatabaseConfig { database_url: some("postgres://x/y"), ..parts.clone() };
        assert_eq!(whole.url().expect("a URL"), some("postgres://x/y"));
        let nothing = DatabaseConfig { database_url: some(""), db_host: some(" "), ..DatabaseConfig::default() };
        assert_eq!(nothing.url().expect("none"), None);

        let message = |config: DatabaseConfig| config.url().err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(message(DatabaseConfig { db_host: None, ..parts.clone() }), "DB_HOST: must be set");
        assert!(message(DatabaseConfig { db_port: some("x"), ..parts.clone() }).starts_with("DB_PORT"));
        assert!(message(DatabaseConfig { db_sslmode: some("on"), ..parts }).starts_with("DB_SSLMODE"));
    }
}
