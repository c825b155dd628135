//! What can be known about a postmaster from outside: its pid file, the process table and its log.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

/// What `postmaster.pid` and the process table say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Postmaster {
    Absent,
    /// The file names a process that is not a postmaster of this cluster.
    Stale,
    Starting,
    Ready {
        port: u16,
    },
    Stopping,
}

/// Why a start failed, as far as the caller can do something about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StartFailure {
    PortTaken,
    /// Backends of a killed postmaster still hold the shared memory.
    Orphans,
    Other(String),
}

/// Looks at the postmaster of the cluster in `directory`.
pub(super) fn state(directory: &Path) -> Result<Postmaster> {
    let path = directory.join("postmaster.pid");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Postmaster::Absent),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let Some(file) = PidFile::parse(&text) else {
        // Half written by a postmaster that is just starting, or empty after a crash of the machine.
        return Ok(match text.lines().next().and_then(|line| line.trim().parse().ok()) {
            Some(pid) if serves(pid, directory) => Postmaster::Starting,
            _ => Postmaster::Stale,
        });
    };
    if !serves(file.pid, directory) {
        return Ok(Postmaster::Stale);
    }
    Ok(match file.status {
        "ready" => Postmaster::Ready { port: file.port },
        "stopping" => Postmaster::Stopping,
        _ => Postmaster::Starting,
    })
}

impl StartFailure {
    pub(super) fn from_log(log: &str) -> Option<Self> {
        if log.contains("Address already in use") {
            return Some(Self::PortTaken);
        }
        if log.contains("pre-existing shared memory block") {
            return Some(Self::Orphans);
        }
        let said = log.lines().rev().find_map(|line| line.split_once("FATAL:"))?.1;
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
        Some(Self { pid: lines.first()?.parse().ok()?, port: lines.get(3)?.parse().ok()?, status: lines.get(7)? })
    }
}

/// Returns whether `pid` is a live process of PostgreSQL that works in `directory`.
///
/// A zombie has no working directory any more, and a process that hides it belongs to someone who could not use ours.
pub(super) fn serves(pid: i32, directory: &Path) -> bool {
    let is_postgres = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "postgres");
    is_postgres && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|found| found == directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_tells_process_port_and_status() {
        let text = "4242\n/var/lib/glassbox/postgres\n1790000000\n21234\n/tmp/s\n127.0.0.1\n 5432001 7\nready   \n";
        let expected = PidFile { pid: 4242, port: 21234, status: "ready" };
        assert_eq!(PidFile::parse(text), Some(expected));
        for half in ["", "4242\n", "4242\n/d\n1\n21234\n", "x\n/d\n1\n2\n3\n4\n5\nready\n"] {
            assert_eq!(PidFile::parse(half), None, "{half:?}");
        }
    }

    #[test]
    fn a_failed_start_is_understood_from_the_log() {
        let check = |log: &str, expected| assert_eq!(StartFailure::from_log(log), expected, "{log}");
        check(
            "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use\n",
            Some(StartFailure::PortTaken),
        );
        check("FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use\n", Some(StartFailure::Orphans));
        let why = "unrecognized configuration parameter \"nonsense\"".to_owned();
        check(&format!("LOG:  x\n2026 [1] @ FATAL:  {why}\nLOG:  y\n"), Some(StartFailure::Other(why)));
        check("LOG:  nothing to see\n", None);
    }

    #[test]
    fn this_process_is_no_postgres() {
        let pid = i32::try_from(std::process::id()).expect("a pid fits");
        let here = std::env::current_dir().expect("a working directory");
        assert!(!serves(pid, &here));
    }
}
