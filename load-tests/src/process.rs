//! What processes use: CPU time and memory, read from `/proc`.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal};

/// Processes whose use is measured over a stretch of time.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The server's instances.
    pub servers: Vec<u32>,
    /// PostgreSQL's first process; its children count with it.
    pub postmaster: Option<u32>,
}

/// CPU time that was used up to one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// The server, all instances together.
    pub server: Duration,
    /// PostgreSQL, all processes together.
    pub postgres: Duration,
    /// This program.
    pub generator: Duration,
    /// The whole machine.
    pub machine: Duration,
}

impl Watched {
    /// Reads what was used until now.
    pub fn used(&self) -> Used {
        Used {
            server: self.servers.iter().map(|pid| cpu_time(*pid, Children::Alone)).sum(),
            postgres: self.postmaster.map_or(Duration::ZERO, postgres_cpu_time),
            generator: cpu_time(std::process::id(), Children::Alone),
            machine: machine_cpu_time(),
        }
    }

    /// Resident memory of the server, all instances together, KiB.
    pub fn server_rss_kib(&self) -> u64 {
        self.servers.iter().map(|pid| rss_kib(*pid)).sum()
    }
}

impl Used {
    /// What was used since an earlier moment.
    pub fn since(self, earlier: Used) -> Used {
        Used {
            server: self.server.saturating_sub(earlier.server),
            postgres: self.postgres.saturating_sub(earlier.postgres),
            generator: self.generator.saturating_sub(earlier.generator),
            machine: self.machine.saturating_sub(earlier.machine),
        }
    }

    /// What everybody else used.
    pub fn others(self) -> Duration {
        self.machine.saturating_sub(self.server + self.postgres + self.generator)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Children {
    /// Only the process itself.
    Alone,
    /// With its children that have ended.
    WithEnded,
}

/// Source: proc_pid_stat(5): after the name in parentheses, fields 14 to 17 are utime, stime, cutime and cstime.
fn cpu_time(pid: u32, children: Children) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<u64> = stat_fields(&stat).skip(11).take(4).filter_map(|f| f.parse().ok()).collect();
    let count = if children == Children::WithEnded { 4 } else { 2 };
    ticks(fields.iter().take(count).sum())
}

/// The fields from the third one on.
fn stat_fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split_ascii_whitespace()
}

/// Whether a process of ours is gone, or only waits for us to take note.
pub fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat_fields(&stat).next().is_none_or(|state| state == "Z")
}

fn postgres_cpu_time(postmaster: u32) -> Duration {
    let own = cpu_time(postmaster, Children::WithEnded);
    let parent = postmaster.to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = processes.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        (stat_fields(&stat).nth(1) == Some(parent.as_str())).then(|| cpu_time(pid, Children::WithEnded))
    });
    own + children.sum::<Duration>()
}

/// Source: proc_stat(5): user, nice, system, idle, iowait, irq, softirq.
fn machine_cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> =
        stat.lines().next().unwrap_or_default().split_ascii_whitespace().filter_map(|f| f.parse().ok()).collect();
    let busy = fields.iter().enumerate().take(7).filter(|(i, _)| *i != 3 && *i != 4).map(|(_, ticks)| ticks).sum();
    ticks(busy)
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Lets this process and its children open as many sockets as the machine allows.
pub fn allow_many_files() {
    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
    // A failure shows when a socket cannot be opened.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Asks a process to end in good order.
pub fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended already.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}
