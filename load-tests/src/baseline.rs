//! What the same PostgreSQL does without a server before it: the figures that ours stand beside.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use glassbox_protocol::{NodeId, OrgId};
use tokio::process::Command;
use tokio::time::timeout;
use uuid::Uuid;

/// Over the time that pgbench was told to run.
const PGBENCH_GRACE: Duration = Duration::from_secs(30);
/// Nodes that the transactions choose from.
pub const NODES: u32 = 100;

/// Whether a transaction rings for the server, as those of foreign writers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// NOTIFY in the transaction.
    On,
    /// None, as in the server's own transactions.
    Off,
}

/// One move of one node as a transaction of its own, through the server's role, policies and triggers.
pub struct Moves<'a> {
    /// The superuser's URL.
    pub database_url: &'a str,
    /// PostgreSQL's first process, if it is ours: pgbench lies beside its program.
    pub postmaster: Option<u32>,
    /// The tenant.
    pub org: OrgId,
    /// What the nodes' ids begin with.
    pub nodes: NodePrefix,
    /// Connections.
    pub clients: usize,
    /// How long each run takes.
    pub length: Duration,
    /// Where the script may lie.
    pub scratch: &'a Path,
}

/// The first 24 characters of nodes' ids; their number in decimal digits is the rest.
#[derive(Clone, Debug)]
pub struct NodePrefix(String);

impl NodePrefix {
    /// A prefix that nobody else has.
    pub fn random() -> Self {
        let text = Uuid::new_v4().to_string();
        Self(text.chars().take(24).collect())
    }

    /// The ids of the nodes, 1 to [`NODES`].
    ///
    /// # Errors
    /// None: digits are hexadecimal digits.
    pub fn ids(&self) -> anyhow::Result<Vec<NodeId>> {
        (1..=NODES).map(|n| format!("{}{n:012}", self.0).parse().context("make a node's id")).collect()
    }
}

impl Moves<'_> {
    /// Runs pgbench and returns its transactions per second.
    ///
    /// # Errors
    /// pgbench is not found, fails, or does not end in time.
    pub async fn per_second(&self, doorbell: Doorbell) -> anyhow::Result<f64> {
        let program = pgbench(self.postmaster)?;
        let script = self.scratch.join(format!("move-{}.sql", std::process::id()));
        std::fs::write(&script, self.script(doorbell)).context("write the script of pgbench")?;
        let running = Command::new(&program)
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={}", self.clients))
            .arg(format!("--time={}", self.length.as_secs()))
            .arg("--file")
            .arg(&script)
            .arg(self.database_url)
            .env("PGOPTIONS", "-c role=glassbox_app")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(self.length + PGBENCH_GRACE, running).await.context("pgbench did not end in time")?;
        let _ = std::fs::remove_file(&script);
        let output = output.with_context(|| format!("start {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.lines().next().unwrap_or_default();
        ensure!(output.status.success(), "pgbench ended with {}: {complaint}", output.status);
        tps(&text).with_context(|| format!("read what pgbench says: {text} {complaint}"))
    }

    /// The settings are those that the server makes in each of its transactions.
    fn script(&self, doorbell: Doorbell) -> String {
        let (org, prefix) = (self.org, &self.nodes.0);
        let doorbell = if doorbell == Doorbell::On { "on" } else { "off" };
        format!(
            "\\set n random(1, {NODES})\n\
             \\set x random(0, 100000)\n\
             begin;\n\
             select set_config('app.current_org_id', '{org}', true), set_config('realtime.doorbell', '{doorbell}', true);\n\
             update nodes set position = jsonb_build_object('x', (:x)::integer, 'y', (:n)::integer) \
             where id = ('{prefix}' || lpad((:n)::integer::text, 12, '0'))::uuid;\n\
             commit;\n"
        )
    }
}

fn tps(output: &str) -> Option<f64> {
    output.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
}

/// Finds pgbench: beside the running PostgreSQL, in the cache of the embedded one, or wherever the shell finds it.
fn pgbench(postmaster: Option<u32>) -> anyhow::Result<PathBuf> {
    let beside = postmaster.and_then(|pid| {
        let postgres = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        Some(postgres.parent()?.join("pgbench"))
    });
    let cache = std::env::var_os("GLASSBOX_CACHE_DIR").map_or_else(|| "/var/cache/glassbox".into(), PathBuf::from);
    let cached = std::fs::read_dir(cache).into_iter().flatten().flatten().map(|e| e.path().join("bin/pgbench"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|dir| dir.join("pgbench"));
    let found = beside.into_iter().chain(cached).chain(installed).find(|program| program.exists());
    found.context("pgbench is not found: it belongs to PostgreSQL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_what_pgbench_says() {
        let text = "latency average = 46.1 ms\ninitial connection time = 80.1 ms\ntps = 693.412817 (without initial connection time)\n";
        assert_eq!(tps(text), Some(693.412817));
        assert_eq!(tps("pgbench: error"), None);
    }

    #[test]
    fn the_nodes_of_a_baseline_have_ids() {
        let ids = NodePrefix::random().ids().expect("digits are hexadecimal digits");
        assert_eq!(ids.len(), NODES as usize);
        assert!(ids[99].to_string().ends_with("000000000100"));
    }
}
