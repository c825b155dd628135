//! The two logins of a cluster: their passwords and URLs, and the database that they share.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rand::RngExt;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;
use url::Url;

use super::account;

const DATABASE: &str = "glassbox";
const ADMIN_ROLE: &str = "postgres";
const SERVER_ROLE: &str = "glassbox_server";

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const STATEMENT_DEADLINE: Duration = Duration::from_secs(60);
/// How long a postmaster that calls itself ready may still refuse us.
const LOGIN_DEADLINE: Duration = Duration::from_secs(30);
const LOGIN_PAUSE: Duration = Duration::from_millis(100);
/// 62^32 possibilities: about 190 bits.
const PASSWORD_CHARS: usize = 32;

/// The random passwords of a cluster, in a file that only the invoking user reads.
#[derive(Serialize, Deserialize)]
pub(super) struct Passwords {
    pub(super) postgres: String,
    glassbox_server: String,
}

impl Passwords {
    pub(super) fn random() -> Self {
        Self { postgres: random_password(), glassbox_server: random_password() }
    }

    /// Returns the superuser's URL of the database.
    pub(super) fn admin_url(&self, port: u16) -> Result<String> {
        url(ADMIN_ROLE, &self.postgres, port, DATABASE)
    }

    /// Returns the server's URL of the database.
    pub(super) fn server_url(&self, port: u16) -> Result<String> {
        url(SERVER_ROLE, &self.glassbox_server, port, DATABASE)
    }

    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("passwords.json")
    }

    pub(super) fn read(data_dir: &Path) -> Result<Self> {
        let path = Self::path(data_dir);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("parse {}", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "the passwords of the database are missing ({}): put them back, or start over with `make clean-data`",
                path.display()
            ),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    pub(super) fn write(&self, data_dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("render the passwords")?;
        account::write_private(&Self::path(data_dir), &text)
    }
}

fn random_password() -> String {
    rand::rng().sample_iter(Alphanumeric).take(PASSWORD_CHARS).map(char::from).collect()
}

fn url(role: &str, password: &str, port: u16, database: &str) -> Result<String> {
    let mut url = Url::parse("postgres://127.0.0.1").context("write the database URL")?;
    url.set_username(role)
        .and_then(|()| url.set_password(Some(password)))
        .and_then(|()| url.set_port(Some(port)))
        .map_err(|()| anyhow!("write the database URL"))?;
    url.set_path(database);
    Ok(url.into())
}

/// Makes the database and the server's login where they are missing. The caller holds `start.lock`.
pub(super) async fn prepare_database(port: u16, passwords: &Passwords) -> Result<()> {
    let admin = log_in(&url(ADMIN_ROLE, &passwords.postgres, port, "postgres")?).await?;
    let exists = async |question: &str, name: &str| -> Result<bool> {
        let row = timeout(STATEMENT_DEADLINE, admin.query_opt(question, &[&name])).await??;
        Ok(row.is_some())
    };
    let execute = async |statement: &str| -> Result<()> {
        timeout(STATEMENT_DEADLINE, admin.batch_execute(statement)).await??;
        Ok(())
    };
    if !exists("select 1 from pg_database where datname = $1", DATABASE).await? {
        execute(&format!("create database {DATABASE}")).await.context("create the database")?;
    }
    // The password is letters and digits: it needs no quoting.
    let login =
        format!("login nosuperuser nocreatedb nocreaterole nobypassrls password '{}'", passwords.glassbox_server);
    if !exists("select 1 from pg_roles where rolname = $1", SERVER_ROLE).await? {
        execute(&format!("create role {SERVER_ROLE} {login}")).await.context("create the server's role")?;
    } else if log_in(&url(SERVER_ROLE, &passwords.glassbox_server, port, DATABASE)?).await.is_err() {
        // Only when it does not work: altering a role at every start would collide with migrations that run now.
        execute(&format!("alter role {SERVER_ROLE} {login}")).await.context("repair the server's role")?;
    }
    Ok(())
}

/// Connects, with patience for a server that is about to accept connections.
async fn log_in(url: &str) -> Result<tokio_postgres::Client> {
    let give_up = Instant::now() + LOGIN_DEADLINE;
    loop {
        let error = match timeout(CONNECT_DEADLINE, tokio_postgres::connect(url, NoTls)).await {
            Ok(Ok((client, connection))) => {
                // Ends when the client is dropped; its errors reach the client's calls.
                tokio::spawn(connection);
                return Ok(client);
            }
            Ok(Err(error)) if is_lasting(&error) => {
                return Err(error).context("log in to PostgreSQL");
            }
            Ok(Err(error)) => anyhow!(error),
            Err(elapsed) => anyhow!(elapsed),
        };
        if Instant::now() >= give_up {
            return Err(error).context("log in to PostgreSQL");
        }
        sleep(LOGIN_PAUSE).await;
    }
}

/// Returns whether waiting cannot help: PostgreSQL answered, and it was not about starting or being full.
fn is_lasting(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| *code != SqlState::CANNOT_CONNECT_NOW && *code != SqlState::TOO_MANY_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_role_password_port_and_database() {
        let url = url("postgres", "s3cret", 21_000, "glassbox").expect("plain parts");
        assert_eq!(url, "postgres://postgres:s3cret@127.0.0.1:21000/glassbox");
    }

    #[test]
    fn passwords_are_long_and_need_no_quoting() {
        let password = random_password();
        assert_eq!(password.len(), PASSWORD_CHARS);
        assert!(password.chars().all(|c| c.is_ascii_alphanumeric()), "{password}");
        assert_ne!(password, random_password());
    }
}
