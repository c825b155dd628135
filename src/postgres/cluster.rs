//! One PostgreSQL cluster on disk and the postmaster that serves it.
//!
//! Invariant: whoever changes anything here holds `start.lock` of the data directory.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::RngExt;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::account::{self, Account};

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
/// `sun_path` holds 108 bytes with the closing zero. Source: unix(7).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// What PostgreSQL runs with unless the caller says otherwise. Durable as in production: tests are about that too.
const SETTINGS: &[(&str, &str)] = &[
    ("max_connections", "200"),
    ("shared_buffers", "128MB"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    ("log_line_prefix", "%m [%p] %u@%d "),
];

/// A cluster, initialised or not.
#[derive(Debug)]
pub(super) struct Cluster {
    data_dir: PathBuf,
    directory: PathBuf,
    account: Option<Account>,
}

/// What `postmaster.pid` and the process table say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Postmaster {
    Absent,
    /// The file names a process that is not a postmaster of this cluster.
    Stale,
    Starting,
    Ready {
        port: u16,
    },
    Stopping,
}

#[derive(Debug, PartialEq, Eq)]
enum StartFailure {
    PortTaken,
    /// Backends of a killed postmaster still hold the shared memory.
    Orphans,
    Other(String),
}

impl Cluster {
    /// Looks at the cluster of an existing data directory, whose path must be canonical.
    pub(super) fn at(data_dir: &Path) -> Result<Self> {
        let directory = data_dir.join("postgres");
        let account = account::server_account(&directory)?;
        Ok(Self {
            data_dir: data_dir.to_owned(),
            directory,
            account,
        })
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
        write_private(&password_file, superuser_password)?;
        account::give(&password_file, account)?;

        let mut made = Ok(());
        // C.UTF-8 sorts by code point on every machine; a libc without it has plain C.
        for locale in ["C.UTF-8", "C"] {
            if making.exists() {
                fs::remove_dir_all(&making)
                    .with_context(|| format!("remove {}", making.display()))?;
            }
            private_dir(&making)?;
            account::give(&making, account)?;
            let mut initdb = account::program(&programs.join("bin/initdb"), account);
            initdb
                .arg("--pgdata")
                .arg(&making)
                .arg("--pwfile")
                .arg(&password_file)
                .args([
                    "--username=postgres",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--data-checksums",
                ])
                .args(["--no-instructions", &format!("--locale={locale}")]);
            made = match account::finish(initdb, INITDB_DEADLINE).await {
                Ok(output) if output.status.success() => Ok(()),
                Ok(output) => Err(anyhow::anyhow!(
                    "initdb failed: {}",
                    account::complaint(&output)
                )),
                Err(error) => Err(error),
            };
            if made.is_ok() {
                break;
            }
        }
        fs::remove_file(&password_file).context("remove the password file of initdb")?;
        made?;

        let conf = making.join("postgresql.conf");
        let mut conf = OpenOptions::new()
            .append(true)
            .open(&conf)
            .context("open postgresql.conf")?;
        conf.write_all(b"\n# Written at every start.\ninclude = 'glassbox.conf'\n")
            .and_then(|()| conf.sync_all())
            .context("write postgresql.conf")?;
        fs::rename(&making, &self.directory).context("move the new cluster into place")?;
        info!(directory = %self.directory.display(), "made a new PostgreSQL cluster");
        Ok(())
    }

    /// Returns the port of the postmaster: of the running one, or of one that it starts.
    pub(super) async fn ensure_running(
        &self,
        programs: &Path,
        extra: &[(String, String)],
    ) -> Result<u16> {
        let give_up = Instant::now() + READY_DEADLINE;
        loop {
            match self.postmaster()? {
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
                bail!(
                    "PostgreSQL was not ready within {READY_DEADLINE:?}: see {}",
                    self.log_path().display()
                );
            }
            sleep(POLL).await;
        }
    }

    /// Returns the port of the running postmaster, if it accepts connections.
    pub(super) fn running_port(&self) -> Result<Option<u16>> {
        Ok(match self.postmaster()? {
            Postmaster::Ready { port } => Some(port),
            _ => None,
        })
    }

    /// Stops the postmaster: sessions are ended, everything committed is on disk.
    pub(super) async fn stop(&self, programs: &Path) -> Result<()> {
        if matches!(self.postmaster()?, Postmaster::Absent | Postmaster::Stale) {
            return Ok(());
        }
        let mut pg_ctl = account::program(&programs.join("bin/pg_ctl"), self.account());
        pg_ctl
            .args([
                "stop",
                "--silent",
                "--wait",
                "--mode=fast",
                &format!("--timeout={PG_CTL_WAIT_S}"),
            ])
            .arg("--pgdata")
            .arg(&self.directory);
        let output = account::finish(pg_ctl, PG_CTL_DEADLINE)
            .await
            .context("stop PostgreSQL")?;
        // It may have ended between our look and the signal: then pg_ctl complains about nothing.
        ensure!(
            output.status.success() || self.postmaster()? == Postmaster::Absent,
            "PostgreSQL does not stop: {}",
            account::complaint(&output)
        );
        info!("stopped PostgreSQL");
        Ok(())
    }

    fn postmaster(&self) -> Result<Postmaster> {
        let path = self.directory.join("postmaster.pid");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Postmaster::Absent),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let Some(file) = PidFile::parse(&text) else {
            // Half written by a postmaster that is just starting, or empty after a crash of the machine.
            return Ok(
                match text
                    .lines()
                    .next()
                    .and_then(|line| line.trim().parse().ok())
                {
                    Some(pid) if serves(pid, &self.directory)? => Postmaster::Starting,
                    _ => Postmaster::Stale,
                },
            );
        };
        if !serves(file.pid, &self.directory)? {
            return Ok(Postmaster::Stale);
        }
        Ok(match file.status {
            "ready" => Postmaster::Ready { port: file.port },
            "stopping" => Postmaster::Stopping,
            _ => Postmaster::Starting,
        })
    }

    /// Removes a pid file that would keep PostgreSQL from starting.
    ///
    /// PostgreSQL itself overwrites the file of a process that is gone, after looking for its shared memory; only
    /// where the number now belongs to someone else, or to a zombie, does it refuse.
    fn remove_stale_pid_file(&self) -> Result<()> {
        let path = self.directory.join("postmaster.pid");
        let text = fs::read_to_string(&path).context("read postmaster.pid")?;
        let pid = text
            .lines()
            .next()
            .and_then(|line| line.trim().parse::<i32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            return Ok(());
        }
        warn!(?pid, "removing the pid file of a PostgreSQL that is gone");
        fs::remove_file(&path).context("remove the stale postmaster.pid")
    }

    async fn launch(
        &self,
        programs: &Path,
        extra: &[(String, String)],
    ) -> Result<Result<(), StartFailure>> {
        account::ensure_reachable(&self.directory, self.account(), "GLASSBOX_DATA_DIR")?;
        let port = self.choose_port()?;
        self.write_settings(port, extra)?;
        let log_start = self.prepare_log()?;

        let mut pg_ctl = account::program(&programs.join("bin/pg_ctl"), self.account());
        pg_ctl
            .args([
                "start",
                "--silent",
                "--wait",
                &format!("--timeout={PG_CTL_WAIT_S}"),
            ])
            .arg("--pgdata")
            .arg(&self.directory)
            .arg("--log")
            .arg(self.log_path());
        let output = account::finish(pg_ctl, PG_CTL_DEADLINE)
            .await
            .context("start PostgreSQL")?;
        if output.status.success() {
            info!(port, log = %self.log_path().display(), "started PostgreSQL");
            return Ok(Ok(()));
        }
        // A long recovery, or the pg_ctl of a process that was killed in the middle of this: the caller looks again.
        if matches!(
            self.postmaster()?,
            Postmaster::Starting | Postmaster::Ready { .. }
        ) {
            return Ok(Ok(()));
        }
        let log = self.log_since(log_start)?;
        Ok(Err(StartFailure::from_log(&log).unwrap_or_else(|| {
            StartFailure::Other(account::complaint(&output))
        })))
    }

    /// Keeps the port of the last run when nobody else took it since.
    fn choose_port(&self) -> Result<u16> {
        let path = self.data_dir.join("port");
        let kept = fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(port) = kept
            && is_free(port)
        {
            return Ok(port);
        }
        let port = (0..PORT_ATTEMPTS)
            .map(|_| rand::rng().random_range(PORTS))
            .find(|port| is_free(*port))
            .with_context(|| format!("no free port found in {PORTS:?}"))?;
        fs::write(&path, format!("{port}\n"))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(port)
    }

    fn write_settings(&self, port: u16, extra: &[(String, String)]) -> Result<()> {
        let socket_dir = socket_dir(&self.data_dir);
        self.prepare_socket_dir(&socket_dir)?;
        let text = settings_file(port, &socket_dir, extra)?;
        let path = self.directory.join("glassbox.conf");
        write_private(&path, &text)?;
        account::give(&path, self.account())
    }

    fn prepare_socket_dir(&self, socket_dir: &Path) -> Result<()> {
        if !socket_dir.exists() {
            private_dir(socket_dir)?;
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
            fs::rename(&path, path.with_added_extension("1"))
                .context("move the old PostgreSQL log aside")?;
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
        log.seek(SeekFrom::Start(start))
            .context("seek in the PostgreSQL log")?;
        let mut bytes = Vec::new();
        log.take(64 * 1024)
            .read_to_end(&mut bytes)
            .context("read the PostgreSQL log")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ends backends that outlived their postmaster: most notice by themselves, one in a long query does not.
    fn end_orphans(&self) -> Result<()> {
        for entry in fs::read_dir("/proc").context("list processes")? {
            let name = entry.context("list processes")?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            // Processes of other people cannot be looked at, and are none of ours.
            if serves(pid, &self.directory).unwrap_or(false)
                && let Some(target) = Pid::from_raw(pid)
            {
                warn!(
                    pid,
                    "ending a PostgreSQL backend that outlived its postmaster"
                );
                let _ = kill_process(target, Signal::QUIT);
            }
        }
        Ok(())
    }
}

impl StartFailure {
    fn from_log(log: &str) -> Option<Self> {
        if log.contains("Address already in use") {
            return Some(Self::PortTaken);
        }
        if log.contains("pre-existing shared memory block") {
            return Some(Self::Orphans);
        }
        let said = log
            .lines()
            .rev()
            .find_map(|line| line.split_once("FATAL:"))?
            .1;
        Some(Self::Other(said.trim().to_owned()))
    }
}

/// The lines of `postmaster.pid` that we read. Source: PostgreSQL, src/include/utils/pidfile.h.
#[derive(Debug, PartialEq, Eq)]
struct PidFile<'a> {
    pid: i32,
    port: u16,
    status: &'a str,
}

impl<'a> PidFile<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        Some(Self {
            pid: lines.first()?.parse().ok()?,
            port: lines.get(3)?.parse().ok()?,
            status: lines.get(7)?,
        })
    }
}

/// Returns whether `pid` is a live process of PostgreSQL that works in `directory`.
fn serves(pid: i32, directory: &Path) -> Result<bool> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim_end() != "postgres" {
        return Ok(false);
    }
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(found) => Ok(found == directory),
        Err(error) if error.kind() == ErrorKind::PermissionDenied && !geteuid().is_root() => {
            // Only another account's PostgreSQL hides this from us, and it could not use our directory.
            Ok(false)
        }
        Err(_) => Ok(false), // Gone, or a zombie.
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Returns where the socket lies: in the data directory when its path fits into the kernel's structure.
fn socket_dir(data_dir: &Path) -> PathBuf {
    let beside = data_dir.join("socket");
    let longest = beside.join(".s.PGSQL.65535");
    let text = longest.to_string_lossy();
    // The setting is a list with commas and quotes of its own.
    if text.len() < SOCKET_PATH_BYTES_MAX && !text.contains([',', '"', '\'']) {
        return beside;
    }
    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    Path::new("/tmp").join(format!("glassbox-{}", super::hex(&digest[..8])))
}

/// Returns the text of `glassbox.conf`. The last line about a setting wins: the caller's over ours, and what we
/// rely on over the caller's.
fn settings_file(port: u16, socket_dir: &Path, extra: &[(String, String)]) -> Result<String> {
    let port = port.to_string();
    let socket_dir = socket_dir.to_string_lossy();
    let fixed = [
        ("listen_addresses", "127.0.0.1"),
        ("port", &port),
        ("unix_socket_directories", &socket_dir),
        ("unix_socket_permissions", "0700"),
    ];
    let extra = extra
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = String::new();
    for (name, value) in SETTINGS.iter().copied().chain(extra).chain(fixed) {
        ensure!(
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.'),
            "`{name}` is no name of a PostgreSQL setting"
        );
        ensure!(
            !value.contains(['\n', '\r', '\0']),
            "the value of {name} has more than one line"
        );
        let value = value.replace('\\', r"\\").replace('\'', "''");
        writeln!(text, "{name} = '{value}'").context("write a setting")?;
    }
    Ok(text)
}

/// Writes a file that only its owner reads, in one step.
pub(super) fn write_private(path: &Path, text: &str) -> Result<()> {
    let writing = path.with_added_extension("writing");
    // A leftover could have another owner or mode.
    if let Err(error) = fs::remove_file(&writing)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("remove {}", writing.display()));
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&writing)
        .with_context(|| format!("create {}", writing.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("write {}", writing.display()))?;
    fs::rename(&writing, path).with_context(|| format!("write {}", path.display()))
}

fn private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .with_context(|| format!("create {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_tells_process_port_and_status() {
        let text = "4242\n/var/lib/glassbox/postgres\n1790000000\n21234\n/tmp/s\n127.0.0.1\n 5432001 7\nready   \n";
        let expected = PidFile {
            pid: 4242,
            port: 21234,
            status: "ready",
        };
        assert_eq!(PidFile::parse(text), Some(expected));
        for half in [
            "",
            "4242\n",
            "4242\n/d\n1\n21234\n",
            "x\n/d\n1\n2\n3\n4\n5\nready\n",
        ] {
            assert_eq!(PidFile::parse(half), None, "{half:?}");
        }
    }

    #[test]
    fn a_long_data_directory_gets_a_short_socket_path() {
        let short = Path::new("/var/lib/glassbox");
        assert_eq!(socket_dir(short), short.join("socket"));
        for odd in [format!("/{}", "long/".repeat(30)), "/data/a,b".to_owned()] {
            let socket = socket_dir(Path::new(&odd));
            assert!(socket.starts_with("/tmp"), "{socket:?}");
            assert!(socket.join(".s.PGSQL.65535").as_os_str().len() < SOCKET_PATH_BYTES_MAX);
        }
        assert_ne!(socket_dir(Path::new("/a,b")), socket_dir(Path::new("/b,a")));
    }

    #[test]
    fn settings_are_quoted_and_cannot_replace_what_we_rely_on() {
        let extra = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        let text =
            settings_file(21_000, Path::new("/s"), &extra("port", "1")).expect("a valid setting");
        assert!(
            text.rfind("port = '1'").expect("the caller's")
                < text.rfind("port = '21000'").expect("ours")
        );
        let text = settings_file(1, Path::new("/s"), &extra("application_name", r"it's \n"))
            .expect("a valid setting");
        assert!(text.contains(r"application_name = 'it''s \\n'"), "{text}");
        settings_file(1, Path::new("/s"), &extra("a = 'b'\nfsync", "off"))
            .expect_err("a name with a line break");
        settings_file(1, Path::new("/s"), &extra("fsync", "on'\nport = '1"))
            .expect_err("a value with a line break");
    }

    #[test]
    fn a_failed_start_is_understood_from_the_log() {
        let check =
            |log: &str, expected| assert_eq!(StartFailure::from_log(log), expected, "{log}");
        check(
            "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use\n",
            Some(StartFailure::PortTaken),
        );
        check(
            "FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use\n",
            Some(StartFailure::Orphans),
        );
        let why = "unrecognized configuration parameter \"nonsense\"".to_owned();
        check(
            &format!("LOG:  x\n2026 [1] @ FATAL:  {why}\nLOG:  y\n"),
            Some(StartFailure::Other(why)),
        );
        check("LOG:  nothing to see\n", None);
    }

    #[test]
    fn this_process_is_no_postgres() {
        let pid = i32::try_from(std::process::id()).expect("a pid fits");
        let here = std::env::current_dir().expect("a working directory");
        assert!(!serves(pid, &here).expect("our own process can be looked at"));
    }
}
