//! One PostgreSQL cluster on disk and the postmaster that serves it.
//!
//! Invariant: whoever changes anything here holds `start.lock` of the data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::account::{self, Account};
use super::postmaster::{self, Postmaster, StartFailure};
use super::settings;

const MAJOR_VERSION: &str = "16";
const INITDB_DEADLINE: Duration = Duration::from_secs(120);
/// From first look to a postmaster that says it is ready, crash recovery included.
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// What pg_ctl itself waits for; after it, we keep looking at the state until [`READY_DEADLINE`].
const PG_CTL_WAIT_S: u64 = 60;
const PG_CTL_DEADLINE: Duration = Duration::from_secs(PG_CTL_WAIT_S + 10);
const _: () = assert!(PG_CTL_DEADLINE.as_secs() < READY_DEADLINE.as_secs());
const POLL: Duration = Duration::from_millis(100);
/// The log is moved aside at a start when it has grown past this.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Below the range that Linux gives to outgoing connections (from 32768), so that the port stays free between runs.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
const PORT_ATTEMPTS: usize = 50;
/// A cluster, initialised or not.
#[derive(Debug)]
pub(super) struct Cluster {
    data_dir: PathBuf,
    directory: PathBuf,
    account: Option<Account>,
}

impl Cluster {
    /// Looks at the cluster of an existing data directory, whose path must be canonical.
    pub(super) fn at(data_dir: &Path) -> Result<Self> {
        let directory = data_dir.join("postgres");
        let account = account::server_account(&directory)?;
        Ok(Self { data_dir: data_dir.to_owned(), directory, account })
    }

    pub(super) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    pub(super) fn exists(&self) -> bool {
        self.directory.join("PG_VERSION").exists()
    }

    /// Errors: the cluster was made by another major version.
    pub(super) fn check_version(&self) -> Result<()> {
        let version = fs::read_to_string(self.directory.join("PG_VERSION"))
            .with_context(|| format!("read the version of {}", self.directory.display()))?;
        ensure!(
            version.trim() == MAJOR_VERSION,
            "the data in {} belongs to PostgreSQL {}, this is {MAJOR_VERSION}: dump it with the old version, or start over with `make clean-data`",
            self.directory.display(),
            version.trim()
        );
        Ok(())
    }

    /// Makes the cluster beside its place and renames it there, so a half-made one is never seen.
    pub(super) async fn initialise(&self, programs: &Path, superuser_password: &str) -> Result<()> {
        let account = self.account();
        account::ensure_reachable(&self.data_dir, account, "GLASSBOX_DATA_DIR")?;
        let making = self.data_dir.join("postgres.new");
        let password_file = self.data_dir.join("postgres.new.password");
        account::write_private(&password_file, superuser_password)?;
        account::give(&password_file, account)?;

        let mut made = Ok(());
        // C.UTF-8 sorts by code point on every machine; a libc without it has plain C.
        for locale in ["C.UTF-8", "C"] {
            if making.exists() {
                fs::remove_dir_all(&making).with_context(|| format!("remove {}", making.display()))?;
            }
            account::private_dir(&making)?;
            account::give(&making, account)?;
            let mut initdb = account::program(&programs.join("bin/initdb"), account);
            initdb
                .arg("--pgdata")
                .arg(&making)
                .arg("--pwfile")
                .arg(&password_file)
                .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums"])
                .args(["--no-instructions", &format!("--locale={locale}")]);
            made = match account::finish(initdb, INITDB_DEADLINE).await {
                Ok(output) if output.status.success() => Ok(()),
                Ok(output) => Err(anyhow::anyhow!("initdb failed: {}", account::complaint(&output))),
                Err(error) => Err(error),
            };
            if made.is_ok() {
                break;
            }
        }
        fs::remove_file(&password_file).context("remove the password file of initdb")?;
        made?;

        let conf = making.join("postgresql.conf");
        let mut conf = OpenOptions::new().append(true).open(&conf).context("open postgresql.conf")?;
        conf.write_all(b"\n# Written at every start.\ninclude = 'glassbox.conf'\n")
            .and_then(|()| conf.sync_all())
            .context("write postgresql.conf")?;
        fs::rename(&making, &self.directory).context("move the new cluster into place")?;
        info!(directory = %self.directory.display(), "made a new PostgreSQL cluster");
        Ok(())
    }

    /// Returns the port of the postmaster: of the running one, or of one that it starts.
    pub(super) async fn ensure_running(&self, programs: &Path, extra: &[(String, String)]) -> Result<u16> {
        let give_up = Instant::now() + READY_DEADLINE;
        loop {
            match postmaster::state(&self.directory)? {
                Postmaster::Ready { port } => return Ok(port),
                Postmaster::Starting | Postmaster::Stopping => {}
                state @ (Postmaster::Absent | Postmaster::Stale) => {
                    if state == Postmaster::Stale {
                        self.remove_stale_pid_file()?;
                    }
                    match self.launch(programs, extra).await? {
                        Ok(()) => continue,
                        Err(StartFailure::PortTaken) => {
                            info!("the port of PostgreSQL was taken, choosing another")
                        }
                        Err(StartFailure::Orphans) => self.end_orphans()?,
                        Err(StartFailure::Other(why)) => bail!("PostgreSQL does not start: {why}"),
                    }
                }
            }
            if Instant::now() >= give_up {
                bail!("PostgreSQL was not ready within {READY_DEADLINE:?}: see {}", self.log_path().display());
            }
            sleep(POLL).await;
        }
    }

    /// Returns the port of the running postmaster, if it accepts connections.
    pub(super) fn running_port(&self) -> Result<Option<u16>> {
        Ok(match postmaster::state(&self.directory)? {
            Postmaster::Ready { port } => Some(port),
            _ => None,
        })
    }

    /// Stops the postmaster: sessions are ended, everything committed is on disk.
    pub(super) async fn stop(&self, programs: &Path) -> Result<()> {
        if matches!(postmaster::state(&self.directory)?, Postmaster::Absent | Postmaster::Stale) {
            return Ok(());
        }
        let mut pg_ctl = account::program(&programs.join("bin/pg_ctl"), self.account());
        pg_ctl
            .args(["stop", "--silent", "--wait", "--mode=fast", &format!("--timeout={PG_CTL_WAIT_S}")])
            .arg("--pgdata")
            .arg(&self.directory);
        let output = account::finish(pg_ctl, PG_CTL_DEADLINE).await.context("stop PostgreSQL")?;
        // It may have ended between our look and the signal: then pg_ctl complains about nothing.
        ensure!(
            output.status.success() || postmaster::state(&self.directory)? == Postmaster::Absent,
            "PostgreSQL does not stop: {}",
            account::complaint(&output)
        );
        info!("stopped PostgreSQL");
        Ok(())
    }

    /// Removes a pid file that would keep PostgreSQL from starting.
    ///
    /// PostgreSQL itself overwrites the file of a process that is gone, after looking for its shared memory; only
    /// where the number now belongs to someone else, or to a zombie, does it refuse.
    fn remove_stale_pid_file(&self) -> Result<()> {
        let path = self.directory.join("postmaster.pid");
        let text = fs::read_to_string(&path).context("read postmaster.pid")?;
        let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            return Ok(());
        }
        warn!(?pid, "removing the pid file of a PostgreSQL that is gone");
        fs::remove_file(&path).context("remove the stale postmaster.pid")
    }

    async fn launch(&self, programs: &Path, extra: &[(String, String)]) -> Result<Result<(), StartFailure>> {
        account::ensure_reachable(&self.directory, self.account(), "GLASSBOX_DATA_DIR")?;
        let port = self.choose_port()?;
        self.write_settings(port, extra)?;
        let log_start = self.prepare_log()?;

        let mut pg_ctl = account::program(&programs.join("bin/pg_ctl"), self.account());
        pg_ctl
            .args(["start", "--silent", "--wait", &format!("--timeout={PG_CTL_WAIT_S}")])
            .arg("--pgdata")
            .arg(&self.directory)
            .arg("--log")
            .arg(self.log_path());
        let output = account::finish(pg_ctl, PG_CTL_DEADLINE).await.context("start PostgreSQL")?;
        if output.status.success() {
            info!(port, log = %self.log_path().display(), "started PostgreSQL");
            return Ok(Ok(()));
        }
        // A long recovery, or the pg_ctl of a process that was killed in the middle of this: the caller looks again.
        if matches!(postmaster::state(&self.directory)?, Postmaster::Starting | Postmaster::Ready { .. }) {
            return Ok(Ok(()));
        }
        let log = self.log_since(log_start)?;
        Ok(Err(StartFailure::from_log(&log).unwrap_or_else(|| StartFailure::Other(account::complaint(&output)))))
    }

    /// Keeps the port of the last run when nobody else took it since.
    fn choose_port(&self) -> Result<u16> {
        let path = self.data_dir.join("port");
        let kept = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        if let Some(port) = kept
            && is_free(port)
        {
            return Ok(port);
        }
        let port = (0..PORT_ATTEMPTS)
            .map(|_| rand::rng().random_range(PORTS))
            .find(|port| is_free(*port))
            .with_context(|| format!("no free port found in {PORTS:?}"))?;
        fs::write(&path, format!("{port}\n")).with_context(|| format!("write {}", path.display()))?;
        Ok(port)
    }

    fn write_settings(&self, port: u16, extra: &[(String, String)]) -> Result<()> {
        let socket_dir = settings::socket_dir(&self.data_dir);
        self.prepare_socket_dir(&socket_dir)?;
        let text = settings::settings_file(port, &socket_dir, extra)?;
        let path = self.directory.join("glassbox.conf");
        account::write_private(&path, &text)?;
        account::give(&path, self.account())
    }

    fn prepare_socket_dir(&self, socket_dir: &Path) -> Result<()> {
        if !socket_dir.exists() {
            account::private_dir(socket_dir)?;
            account::give(socket_dir, self.account())?;
        }
        // Below /tmp anyone can be first: a link or another's directory is not ours to use.
        let found = fs::symlink_metadata(socket_dir).context("look at the socket directory")?;
        let cluster = fs::metadata(&self.directory).context("look at the cluster")?;
        ensure!(
            found.is_dir() && found.uid() == cluster.uid(),
            "the socket directory {} belongs to someone else: remove it",
            socket_dir.display()
        );
        // The directory is this cluster's alone and no postmaster runs: what lies here was left by a killed one, and
        // its lock file stops the next one when the number now belongs to someone else, or to a zombie.
        for entry in fs::read_dir(socket_dir).context("list the socket directory")? {
            let path = entry.context("list the socket directory")?.path();
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        Ok(())
    }

    /// Makes sure that PostgreSQL can append to its log, and returns how long it is now.
    fn prepare_log(&self) -> Result<u64> {
        let path = self.log_path();
        if fs::metadata(&path).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
            fs::rename(&path, path.with_added_extension("1")).context("move the old PostgreSQL log aside")?;
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        account::give(&path, self.account())?;
        Ok(log.metadata().context("measure the PostgreSQL log")?.len())
    }

    fn log_path(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    fn log_since(&self, start: u64) -> Result<String> {
        let mut log = File::open(self.log_path()).context("open the PostgreSQL log")?;
        log.seek(SeekFrom::Start(start)).context("seek in the PostgreSQL log")?;
        let mut bytes = Vec::new();
        log.take(64 * 1024).read_to_end(&mut bytes).context("read the PostgreSQL log")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ends backends that outlived their postmaster: most notice by themselves, one in a long query does not.
    fn end_orphans(&self) -> Result<()> {
        for entry in fs::read_dir("/proc").context("list processes")? {
            let name = entry.context("list processes")?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            if postmaster::serves(pid, &self.directory)
                && let Some(target) = Pid::from_raw(pid)
            {
                warn!(pid, "ending a PostgreSQL backend that outlived its postmaster");
                let _ = kill_process(target, Signal::QUIT);
            }
        }
        Ok(())
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
