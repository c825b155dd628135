//! A fresh, migrated database for each test, all on one PostgreSQL.
//!
//! The PostgreSQL is an embedded one with a data directory of its own: `GLASSBOX_TEST_DATA_DIR`, by default the
//! directory that `scripts/test.sh` uses. The test process uses it from its first database to its end. At its end,
//! however it comes, a pipe closes; a watchdog waits for that and runs `scripts/database.sh stop`, which stops
//! PostgreSQL unless another test process still uses it.
//!
//! `GLASSBOX_TEST_DATABASE_URL`, the URL of a superuser, makes the tests use a running PostgreSQL instead. They make
//! databases named `test_*` and the logins `glassbox_test_*` there.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use glassbox::postgres::{EmbeddedConfig, EmbeddedPostgres};
use glassbox::store::migrate;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;

/// Makes one process at a time prepare the cluster's logins; any constant.
const LOCK_KEY: i64 = 0x7465_7374;
/// The password of the logins that the tests make; the cluster listens on the loopback address alone.
const PASSWORD: &str = "glassbox";
const WORKER_LOGIN: &str = "glassbox_test_worker";
const SERVER_LOGIN: &str = "glassbox_test_server";
/// Connections of one pool of a test.
const POOL_CONNECTIONS: u32 = 6;

/// One test's database. It is dropped in the background when the test ends, at the latest at the next start.
pub struct TestDatabase {
    cluster: &'static Cluster,
    name: String,
    superuser: OnceLock<PgPool>,
    app: OnceLock<PgPool>,
    worker: OnceLock<PgPool>,
}

impl TestDatabase {
    /// Makes a database from the migrated template.
    pub async fn create() -> Self {
        Self::create_on(cluster().await).await
    }

    async fn create_on(cluster: &'static Cluster) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        cluster
            .execute(format!("create database {name} template {}", cluster.template))
            .await
            .expect("make a test's database");
        Self { cluster, name, superuser: OnceLock::new(), app: OnceLock::new(), worker: OnceLock::new() }
    }

    /// The URL of the superuser, who also migrates.
    pub fn owner_url(&self) -> String {
        with_database(&self.cluster.superuser, &self.name)
    }

    /// The URL of the server's login, as `DATABASE_URL` would have it.
    pub fn server_url(&self) -> String {
        with_database(&self.cluster.server, &self.name)
    }

    /// A pool of the superuser: a foreign writer, and eyes that row-level security does not cover.
    pub fn superuser(&self) -> PgPool {
        self.superuser.get_or_init(|| pool(&self.owner_url(), &[])).clone()
    }

    /// A pool of the server's login with the role `glassbox_app` in effect and no tenant set.
    pub fn app(&self) -> PgPool {
        self.app.get_or_init(|| pool(&self.server_url(), &[("role", "glassbox_app")])).clone()
    }

    /// A pool of an agent worker's login: a member of `glassbox_worker` and of nothing else.
    pub fn worker(&self) -> PgPool {
        self.worker.get_or_init(|| pool(&with_database(&self.cluster.worker, &self.name), &[])).clone()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // The cleaner is gone only when the process is: the next start then drops the database.
        let _ = self.cluster.garbage.send(self.name.clone());
    }
}

/// A PostgreSQL for one test that kills it, with a data directory of its own.
pub struct OwnCluster {
    config: EmbeddedConfig,
    running: Option<EmbeddedPostgres>,
    _directory: TempDir,
}

impl OwnCluster {
    /// Starts it, with one migrated database.
    pub async fn start() -> (Self, TestDatabase) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut config = EmbeddedConfig::from_dirs(None, Some(directory.path().join("cluster")));
        config.extra_settings.push(("shared_buffers".to_owned(), "32MB".to_owned()));
        let embedded = EmbeddedPostgres::start(&config).await.expect("a PostgreSQL of our own");
        let superuser = embedded.admin_url().parse().expect("a URL");
        let server = embedded.server_url().parse().expect("a URL");
        let cluster = prepare(superuser, server, None).await.expect("a prepared PostgreSQL");
        // It lives as long as the process: a test's database refers to it, and there are few of these.
        let database = TestDatabase::create_on(Box::leak(Box::new(cluster))).await;
        (Self { config, running: Some(embedded), _directory: directory }, database)
    }

    /// Kills the postmaster; its children notice and go.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Starts it again on its data and its port.
    pub async fn start_again(&mut self) {
        self.running = Some(EmbeddedPostgres::start(&self.config).await.expect("PostgreSQL after a crash"));
    }

    /// Stops it in order.
    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await.expect("stop a PostgreSQL of our own");
        }
    }

    fn postmaster(&self) -> Option<Pid> {
        let file = self.config.data_dir.join("postgres/postmaster.pid");
        Pid::from_raw(std::fs::read_to_string(file).ok()?.lines().next()?.parse().ok()?)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.postmaster() {
            // Gone already is fine too.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        // After a failure: the data goes with the directory, so PostgreSQL goes at once.
        if self.running.is_some() {
            self.signal(Signal::QUIT);
        }
    }
}

/// The PostgreSQL that all tests of this process share.
struct Cluster {
    superuser: Url,
    server: Url,
    worker: Url,
    template: String,
    garbage: mpsc::Sender<String>,
    /// Holds this process's claim on the embedded PostgreSQL.
    _embedded: Option<EmbeddedPostgres>,
}

async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_init(|| async {
            match start().await {
                Ok(cluster) => cluster,
                Err(error) => panic!("the tests' PostgreSQL does not start: {error:#}"),
            }
        })
        .await
}

async fn start() -> anyhow::Result<Cluster> {
    let (superuser, server, embedded) = match std::env::var("GLASSBOX_TEST_DATABASE_URL") {
        Ok(url) => {
            let superuser: Url = url.parse().context("GLASSBOX_TEST_DATABASE_URL")?;
            let server = with_login(&superuser, SERVER_LOGIN)?;
            (superuser, server, None)
        }
        Err(_) => {
            let config = EmbeddedConfig::from_dirs(None, Some(data_dir()));
            let embedded = EmbeddedPostgres::start(&config).await?;
            stop_at_exit(&config)?;
            (embedded.admin_url().parse()?, embedded.server_url().parse()?, Some(embedded))
        }
    };
    prepare(superuser, server, embedded).await
}

/// Makes the logins and the template.
async fn prepare(superuser: Url, server: Url, embedded: Option<EmbeddedPostgres>) -> anyhow::Result<Cluster> {
    let mut cluster = Cluster {
        worker: with_login(&superuser, WORKER_LOGIN)?,
        superuser,
        template: format!("test_{}_template", std::process::id()),
        garbage: mpsc::channel().0,
        server,
        _embedded: embedded,
    };
    let mut conn = cluster.connect().await?;
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK_KEY).execute(&mut conn).await?;
    drop_leftovers(&mut conn).await?;
    make_login(&mut conn, cluster.server.username()).await?;
    make_login(&mut conn, WORKER_LOGIN).await?;
    for statement in [
        format!("drop database if exists {} with (force)", cluster.template),
        format!("create database {}", cluster.template),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut conn).await?;
    }
    let owner_url = with_database(&cluster.superuser, &cluster.template);
    migrate::run(&owner_url, Some(cluster.server.username())).await?;
    sqlx::query(AssertSqlSafe(format!("grant glassbox_worker to {WORKER_LOGIN}"))).execute(&mut conn).await?;
    conn.close().await?;
    cluster.garbage = start_cleaner(cluster.superuser.clone());
    Ok(cluster)
}

impl Cluster {
    async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect(self.superuser.as_str()).await
    }

    async fn execute(&self, statement: String) -> sqlx::Result<()> {
        let mut conn = self.connect().await?;
        sqlx::query(AssertSqlSafe(statement)).execute(&mut conn).await?;
        conn.close().await
    }
}

/// The default is that of `scripts/test.sh`.
fn data_dir() -> PathBuf {
    if let Some(directory) = std::env::var_os("GLASSBOX_TEST_DATA_DIR") {
        return directory.into();
    }
    if rustix::process::geteuid().is_root() {
        return "/var/lib/glassbox-test".into();
    }
    std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/share")))
        .unwrap_or_else(std::env::temp_dir)
        .join("glassbox-test")
}

/// Starts the watchdog that stops PostgreSQL when this process has ended.
fn stop_at_exit(config: &EmbeddedConfig) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    // The pipe closes a moment before the process's file locks go, so wait for the process itself, with an end: a
    // parent that nobody collects stays listed, without locks.
    const WATCH: &str = "cat >/dev/null
        for _ in $(seq 100); do kill -0 \"$1\" 2>/dev/null || break; sleep 0.05; done
        exec \"$2\" stop";
    let mut watchdog = Command::new("sh")
        .args(["-c", WATCH, "watchdog", &std::process::id().to_string()])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/database.sh"))
        .env("GLASSBOX_DATA_DIR", &config.data_dir)
        // An interrupt at the terminal ends the tests, not what cleans up after them.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start the watchdog of the tests' PostgreSQL")?;
    static PIPE: OnceLock<Option<std::process::ChildStdin>> = OnceLock::new();
    let _ = PIPE.set(watchdog.stdin.take());
    Ok(())
}

/// Drops the databases of test processes that are gone.
async fn drop_leftovers(conn: &mut PgConnection) -> sqlx::Result<()> {
    let names: Vec<String> = sqlx::query_scalar("select datname from pg_database where datname ~ '^test_[0-9]+_'")
        .fetch_all(&mut *conn)
        .await?;
    for name in names {
        let pid = name.split('_').nth(1).and_then(|pid| pid.parse().ok());
        let is_alive = pid.and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid).is_ok());
        if !is_alive {
            let statement = format!("drop database if exists {name} with (force)");
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *conn).await?;
        }
    }
    Ok(())
}

async fn make_login(conn: &mut PgConnection, login: &str) -> sqlx::Result<()> {
    let exists: bool = sqlx::query_scalar("select exists (select 1 from pg_roles where rolname = $1)")
        .bind(login)
        .fetch_one(&mut *conn)
        .await?;
    if !exists {
        let statement = format!("create role {login} login password '{PASSWORD}'");
        sqlx::query(AssertSqlSafe(statement)).execute(conn).await?;
    }
    Ok(())
}

/// A thread, because a test's end cannot wait and its runtime ends with it.
fn start_cleaner(superuser: Url) -> mpsc::Sender<String> {
    let (sender, receiver) = mpsc::channel::<String>();
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime for the cleaner");
        for name in receiver {
            // What cannot be dropped now is dropped at the next start.
            let _ = runtime.block_on(async {
                let mut conn = PgConnection::connect(superuser.as_str()).await?;
                let statement = format!("drop database if exists {name} with (force)");
                sqlx::query(AssertSqlSafe(statement)).execute(&mut conn).await?;
                conn.close().await
            });
        }
    });
    sender
}

fn with_database(url: &Url, database: &str) -> String {
    let mut url = url.clone();
    url.set_path(database);
    url.into()
}

fn with_login(url: &Url, login: &str) -> anyhow::Result<Url> {
    let mut url = url.clone();
    url.set_username(login)
        .and_then(|()| url.set_password(Some(PASSWORD)))
        .map_err(|()| anyhow::anyhow!("not a PostgreSQL URL"))?;
    Ok(url)
}

fn pool(url: &str, settings: &[(&str, &str)]) -> PgPool {
    let options: PgConnectOptions = url.parse().expect("a URL that we made");
    PgPoolOptions::new()
        .max_connections(POOL_CONNECTIONS)
        .acquire_timeout(Duration::from_secs(20))
        .connect_lazy_with(options.options(settings.iter().copied()))
}
