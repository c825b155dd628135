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
mod login;
mod place;
mod postmaster;
mod settings;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use cluster::Cluster;
use login::{Passwords, prepare_database};
use place::Place;

/// Another process may be making the cluster or waiting for a crash recovery.
const START_LOCK_DEADLINE: Duration = Duration::from_secs(300);
/// A server that leaves must not wait for another one's long start.
const STOP_LOCK_DEADLINE: Duration = Duration::from_secs(10);

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
        let or_default = |given: Option<PathBuf>, kind: &Place| {
            given.unwrap_or_else(|| kind.default_dir(is_root, |name| std::env::var_os(name), std::env::home_dir()))
        };
        Self {
            cache_dir: or_default(cache, &place::CACHE),
            data_dir: or_default(data, &place::DATA),
            extra_settings: Vec::new(),
        }
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
        let cache_dir = std::path::absolute(&config.cache_dir).context("find the cache directory")?;
        let programs = install::programs(&cache_dir).await?;
        let data_dir = std::path::absolute(&config.data_dir).context("find the data directory")?;
        account::create_dirs(&data_dir)?;
        let data_dir = data_dir.canonicalize().context("find the data directory")?;

        let starting = lock::exclusive(&data_dir.join("start.lock"), START_LOCK_DEADLINE).await?;
        let users = lock::try_shared(&users_lock(&data_dir))?
            .ok_or_else(|| anyhow!("another program holds {} exclusively", users_lock(&data_dir).display()))?;
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
        let port = cluster.ensure_running(&programs, &config.extra_settings).await?;
        prepare_database(port, &passwords).await.context("prepare the database")?;
        drop(starting);

        Ok(Self {
            admin_url: passwords.admin_url(port)?,
            server_url: passwords.server_url(port)?,
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
        if let Some(_alone) = lock::exclusive_within(&users_lock(&self.data_dir), Duration::ZERO).await? {
            self.cluster.stop(&self.programs).await?;
        }
        Ok(())
    }
}

/// Returns the superuser's URL of the running embedded PostgreSQL.
///
/// Errors: one line that says that it is not running, or that its passwords are not ours to read.
pub fn running_url(config: &EmbeddedConfig) -> Result<String> {
    let not_running =
        || anyhow!("the embedded PostgreSQL in {} is not running: `make run` starts it", config.data_dir.display());
    let data_dir = config.data_dir.canonicalize().map_err(|_| not_running())?;
    let port = Cluster::at(&data_dir)?.running_port()?.ok_or_else(not_running)?;
    Passwords::read(&data_dir)?.admin_url(port)
}

fn users_lock(data_dir: &Path) -> PathBuf {
    data_dir.join("users.lock")
}

/// Lets the account of PostgreSQL through a data directory of ours that was closed, as temporary ones are.
fn open_to_others(data_dir: &Path) -> Result<()> {
    let metadata = fs::metadata(data_dir).context("look at the data directory")?;
    if metadata.uid() == 0 && metadata.mode() & 0o001 == 0 {
        let mode = metadata.mode() & 0o7777 | 0o011;
        fs::set_permissions(data_dir, fs::Permissions::from_mode(mode)).context("open the data directory")?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
