//! What the figures were measured on, and with.

use std::fs;
use std::process::Command;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Figures without this are worth nothing.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// When the run began, RFC 3339.
    pub date: String,
    /// The processor.
    pub cpu: String,
    /// How many of them.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The load average over 1, 5 and 15 minutes before the run.
    pub load_average: String,
    /// The commit of the source, with `+` where files differed from it.
    pub commit: String,
    /// What was typed, without the program's own path.
    pub command: String,
}

impl Machine {
    /// Looks around.
    pub fn look() -> Self {
        let now = OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let load_average = line("/proc/loadavg");
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            date: now.format(&Rfc3339).unwrap_or_default(),
            cpu: cpu_model(&line("/proc/cpuinfo")),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: line("/proc/sys/kernel/osrelease"),
            load_average: load_average.split(' ').take(3).collect::<Vec<_>>().join(" "),
            commit: commit().unwrap_or_else(|| "unknown".to_owned()),
            command: format!("glassbox-load {}", arguments.join(" ")),
        }
    }
}

fn cpu_model(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|o| o.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    // What the server is made of; other files change no figure.
    let changed = git(&["status", "--porcelain", "--", "src", "protocol", "migrations", "Cargo.lock"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}+") })
}
