//! The embedded PostgreSQL: a real PostgreSQL 16 with pgvector for development and tests, without Docker.
//!
//! Owns the program files in the cache directory and one cluster in the data directory. Any number of processes
//! may use a cluster at once: each holds a shared lock on `users.lock` for as long as it lives, starting and
//! stopping are serialised by `start.lock`, and the last one out stops PostgreSQL. Locks die with their process, so
//! a killed process leaves at most a running PostgreSQL behind, which the next one adopts.
//!
//! Programs run through `tokio::process` with deadlines; the file operations between them are few and short.

mod account;
mod cluster;
mod install;
mod lock;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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

use cluster::Cluster;

const DATABASE: &str = "glassbox";
const ADMIN_ROLE: &str = "postgres";
const SERVER_ROLE: &str = "glassbox_server";

/// Another process may be making the cluster or waiting for a crash recovery.
const START_LOCK_DEADLINE: Duration = Duration::from_secs(300);
/// A server that leaves must not wait for another one's long start.
const STOP_LOCK_DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const STATEMENT_DEADLINE: Duration = Duration::from_secs(60);
/// How long a postmaster that calls itself ready may still refuse us.
const LOGIN_DEADLINE: Duration = Duration::from_secs(30);
const LOGIN_PAUSE: Duration = Duration::from_millis(100);
/// 62^32 possibilities: about 190 bits.
const PASSWORD_CHARS: usize = 32;

/// Where the embedded PostgreSQL keeps its program files and data.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Program files, shared by all clusters; can be fetched again at any time.
    pub cache_dir: PathBuf,
    /// The cluster, its passwords, its log and the locks of its users.
    pub data_dir: PathBuf,
    /// PostgreSQL settings over our own; they take effect when this process is the one that starts PostgreSQL.
    pub extra_settings: Vec<(String, String)>,
}

impl EmbeddedConfig {
    /// Fills in the default places: `$GLASSBOX_CACHE_DIR` and `$GLASSBOX_DATA_DIR`, else `/var/cache/glassbox` and
    /// `/var/lib/glassbox` for root, else the XDG directories of the user.
    pub fn from_dirs(cache: Option<PathBuf>, data: Option<PathBuf>) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let place = |given: Option<PathBuf>, kind: &Place| {
            given.unwrap_or_else(|| {
                kind.default_dir(is_root, |name| std::env::var_os(name), std::env::home_dir())
            })
        };
        Self {
            cache_dir: place(cache, &CACHE),
            data_dir: place(data, &DATA),
            extra_settings: Vec::new(),
        }
    }
}

/// The rules for one default directory.
struct Place {
    variable: &'static str,
    for_root: &'static str,
    xdg_variable: &'static str,
    below_home: &'static str,
}

const CACHE: Place = Place {
    variable: "GLASSBOX_CACHE_DIR",
    for_root: "/var/cache/glassbox",
    xdg_variable: "XDG_CACHE_HOME",
    below_home: ".cache",
};

const DATA: Place = Place {
    variable: "GLASSBOX_DATA_DIR",
    for_root: "/var/lib/glassbox",
    xdg_variable: "XDG_DATA_HOME",
    below_home: ".local/share",
};

impl Place {
    fn default_dir(
        &self,
        is_root: bool,
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> PathBuf {
        let set = |name| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(dir) = set(self.variable) {
            return dir;
        }
        if is_root {
            return self.for_root.into();
        }
        // Relative XDG paths are to be ignored. Source: XDG Base Directory Specification.
        set(self.xdg_variable)
            .filter(|dir| dir.is_absolute())
            .or_else(|| home.map(|home| home.join(self.below_home)))
            .unwrap_or_else(std::env::temp_dir)
            .join("glassbox")
    }
}

/// A running PostgreSQL that this process uses; others may use it too.
///
/// Dropping it without [`EmbeddedPostgres::stop`] leaves PostgreSQL running for the next process.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    cluster: Cluster,
    programs: PathBuf,
    data_dir: PathBuf,
    users: File,
    admin_url: String,
    server_url: String,
}

impl EmbeddedPostgres {
    /// Fetches the programs and makes the cluster where they are missing, then starts PostgreSQL or adopts the
    /// running one. Its roles and its database exist when this returns.
    ///
    /// Errors: one line about what the machine lacks, or about data that this version cannot use.
    pub async fn start(config: &EmbeddedConfig) -> Result<Self> {
        let cache_dir =
            std::path::absolute(&config.cache_dir).context("find the cache directory")?;
        let programs = install::programs(&cache_dir).await?;
        let data_dir = std::path::absolute(&config.data_dir).context("find the data directory")?;
        account::create_dirs(&data_dir)?;
        let data_dir = data_dir.canonicalize().context("find the data directory")?;

        let starting = lock::exclusive(&data_dir.join("start.lock"), START_LOCK_DEADLINE).await?;
        let users = lock::try_shared(&users_lock(&data_dir))?.ok_or_else(|| {
            anyhow!(
                "another program holds {} exclusively",
                users_lock(&data_dir).display()
            )
        })?;
        let cluster = Cluster::at(&data_dir)?;
        if cluster.account().is_some() {
            open_to_others(&data_dir)?;
        }
        install::check(&programs, cluster.account()).await?;
        let passwords = if cluster.exists() {
            cluster.check_version()?;
            Passwords::read(&data_dir)?
        } else {
            // Kept before they are used: a crash in between costs nothing.
            let passwords = Passwords::random();
            passwords.write(&data_dir)?;
            cluster.initialise(&programs, &passwords.postgres).await?;
            passwords
        };
        let port = cluster
            .ensure_running(&programs, &config.extra_settings)
            .await?;
        prepare_database(port, &passwords)
            .await
            .context("prepare the database")?;
        drop(starting);

        Ok(Self {
            admin_url: url(ADMIN_ROLE, &passwords.postgres, port, DATABASE)?,
            server_url: url(SERVER_ROLE, &passwords.glassbox_server, port, DATABASE)?,
            cluster,
            programs,
            data_dir,
            users,
        })
    }

    /// Returns the URL of the superuser, with password: for migrations, tests and people.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// Returns the URL of the server's own login, which is no superuser and owns nothing.
    pub fn server_url(&self) -> &str {
        &self.server_url
    }

    /// Returns the directory of `psql`, `pgbench`, `pg_dump` and the other programs.
    pub fn programs_dir(&self) -> PathBuf {
        self.programs.join("bin")
    }

    /// Gives PostgreSQL up, and stops it when no other process uses it.
    pub async fn stop(self) -> Result<()> {
        // First, so that of two that leave at once the second one finds nobody.
        drop(self.users);
        let start_lock = self.data_dir.join("start.lock");
        let Some(_starting) = lock::exclusive_within(&start_lock, STOP_LOCK_DEADLINE).await? else {
            // Someone has been starting or stopping it all this time: it is theirs now.
            return Ok(());
        };
        if let Some(_alone) =
            lock::exclusive_within(&users_lock(&self.data_dir), Duration::ZERO).await?
        {
            self.cluster.stop(&self.programs).await?;
        }
        Ok(())
    }
}

/// Returns the superuser's URL of the running embedded PostgreSQL.
///
/// Errors: one line that says that it is not running, or that its passwords are not ours to read.
pub fn running_url(config: &EmbeddedConfig) -> Result<String> {
    let not_running = || {
        anyhow!(
            "the embedded PostgreSQL in {} is not running: `make run` starts it",
            config.data_dir.display()
        )
    };
    let data_dir = config.data_dir.canonicalize().map_err(|_| not_running())?;
    let port = Cluster::at(&data_dir)?
        .running_port()?
        .ok_or_else(not_running)?;
    url(
        ADMIN_ROLE,
        &Passwords::read(&data_dir)?.postgres,
        port,
        DATABASE,
    )
}

fn users_lock(data_dir: &Path) -> PathBuf {
    data_dir.join("users.lock")
}

/// Lets the account of PostgreSQL through a data directory of ours that was closed, as temporary ones are.
fn open_to_others(data_dir: &Path) -> Result<()> {
    let metadata = fs::metadata(data_dir).context("look at the data directory")?;
    if metadata.uid() == 0 && metadata.mode() & 0o001 == 0 {
        let mode = metadata.mode() & 0o7777 | 0o011;
        fs::set_permissions(data_dir, fs::Permissions::from_mode(mode))
            .context("open the data directory")?;
    }
    Ok(())
}

/// The random passwords of a cluster, in a file that only the invoking user reads.
#[derive(Serialize, Deserialize)]
struct Passwords {
    postgres: String,
    glassbox_server: String,
}

impl Passwords {
    fn random() -> Self {
        Self {
            postgres: random_password(),
            glassbox_server: random_password(),
        }
    }

    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("passwords.json")
    }

    fn read(data_dir: &Path) -> Result<Self> {
        let path = Self::path(data_dir);
        match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "the passwords of the database are missing ({}): put them back, or start over with `make clean-data`",
                path.display()
            ),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn write(&self, data_dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("render the passwords")?;
        cluster::write_private(&Self::path(data_dir), &text)
    }
}

fn random_password() -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(PASSWORD_CHARS)
        .map(char::from)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
async fn prepare_database(port: u16, passwords: &Passwords) -> Result<()> {
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
        execute(&format!("create database {DATABASE}"))
            .await
            .context("create the database")?;
    }
    // The password is letters and digits: it needs no quoting.
    let login = format!(
        "login nosuperuser nocreatedb nocreaterole nobypassrls password '{}'",
        passwords.glassbox_server
    );
    if !exists("select 1 from pg_roles where rolname = $1", SERVER_ROLE).await? {
        execute(&format!("create role {SERVER_ROLE} {login}"))
            .await
            .context("create the server's role")?;
    } else if log_in(&url(
        SERVER_ROLE,
        &passwords.glassbox_server,
        port,
        DATABASE,
    )?)
    .await
    .is_err()
    {
        // Only when it does not work: altering a role at every start would collide with migrations that run now.
        execute(&format!("alter role {SERVER_ROLE} {login}"))
            .await
            .context("repair the server's role")?;
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
    error.code().is_some_and(|code| {
        *code != SqlState::CANNOT_CONNECT_NOW && *code != SqlState::TOO_MANY_CONNECTIONS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_directories_follow_variable_then_account() {
        let check = |is_root: bool, variables: &[(&str, &str)], expected: &str| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name)?;
                Some(OsString::from(found.1))
            };
            let dir = DATA.default_dir(is_root, variable, Some("/home/ada".into()));
            assert_eq!(dir, Path::new(expected), "{variables:?}");
        };
        check(true, &[], "/var/lib/glassbox");
        check(true, &[("XDG_DATA_HOME", "/x")], "/var/lib/glassbox");
        check(true, &[("GLASSBOX_DATA_DIR", "/d")], "/d");
        check(false, &[], "/home/ada/.local/share/glassbox");
        check(false, &[("XDG_DATA_HOME", "/x")], "/x/glassbox");
        check(
            false,
            &[("XDG_DATA_HOME", "relative")],
            "/home/ada/.local/share/glassbox",
        );
        check(
            false,
            &[("GLASSBOX_DATA_DIR", ""), ("XDG_DATA_HOME", "/x")],
            "/x/glassbox",
        );
    }

    #[test]
    fn a_url_names_role_password_port_and_database() {
        let url = url("postgres", "s3cret", 21_000, "glassbox").expect("plain parts");
        assert_eq!(url, "postgres://postgres:s3cret@127.0.0.1:21000/glassbox");
    }

    #[test]
    fn passwords_are_long_and_need_no_quoting() {
        let password = random_password();
        assert_eq!(password.len(), PASSWORD_CHARS);
        assert!(
            password.chars().all(|c| c.is_ascii_alphanumeric()),
            "{password}"
        );
        assert_ne!(password, random_password());
    }
}
