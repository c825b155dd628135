//! Sockets that do nothing: what each of them costs.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::Progress;
use crate::report::{Bound, Report};
use crate::socket::{Socket, open_many};
use crate::target::Target;

/// Sockets are opened in pieces, so that the first ones are read while the last ones open.
const OPEN_AT_ONCE: usize = 200;
/// After the last handshake the server still tells everybody who has come.
const SETTLE: Duration = Duration::from_secs(8);
/// Users; several sockets belong to one of them.
const PEOPLE: usize = 100;

/// What sockets cost that do nothing.
///
/// Memory is the growth of the server's resident memory from before the first socket to the end of the quiet time,
/// over all sockets. Before that, one round of sockets was opened and closed, so that what a server needs once does
/// not count.
#[derive(Args, Debug)]
pub struct Idle {
    /// How many
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    sockets: u32,
    /// Projects that they are spread over
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    projects: u16,
    /// Say hello and no more
    #[arg(long)]
    no_subscribe: bool,
    /// How long nothing happens, s
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

impl Idle {
    /// What the server is started with.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("GLASSBOX_SESSIONS", "60000".to_owned())]
    }

    /// Runs it.
    ///
    /// # Errors
    /// The run could not be made; broken promises are in the report.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut report = Report::new("idle");
        let progress = Progress::start("preparing");
        let count = self.sockets as usize;
        let world = target.world(usize::from(self.projects), PEOPLE.min(count)).await?;
        let open = async |first: usize, count: usize| {
            open_many(
                count,
                |_| target.addresses[0],
                |n| world.token(first + n).to_owned(),
                |n| (!self.no_subscribe).then(|| world.projects[(first + n) % world.projects.len()]),
            )
            .await
        };
        drop(open(0, OPEN_AT_ONCE.min(count)).await.context("open the first sockets")?);
        sleep(SETTLE).await;

        let before_kib = target.watched.server_rss_kib();
        let is_over = tokio::sync::watch::Sender::new(false);
        let mut reading = JoinSet::new();
        let started = Instant::now();
        while reading.len() < count {
            progress.step(format!("{} of {count} sockets are open", reading.len()));
            let first = reading.len();
            for socket in open(first, OPEN_AT_ONCE.min(count - first)).await? {
                reading.spawn(read(socket, is_over.subscribe()));
            }
        }
        let opening = started.elapsed();
        progress.step("settling");
        sleep(SETTLE).await;
        let settled_kib = target.watched.server_rss_kib();
        let used_before = target.watched.used();
        let length = Duration::from_secs(self.seconds);
        let quiet = Instant::now();
        progress.step(format!("quiet for {} s", self.seconds));
        sleep_until(quiet + length).await;
        let elapsed = quiet.elapsed();
        let used = target.watched.used().since(used_before);
        let after_kib = target.watched.server_rss_kib();
        is_over.send_replace(true);
        while let Some(socket) = reading.join_next().await {
            report.violations.extend(socket.context("a socket failed")??.into_violations());
        }

        report.figure("sockets", count as f64, if self.no_subscribe { "said hello" } else { "subscribed" });
        report.figure("projects", f64::from(self.projects), "");
        report.figure("opening", count as f64 / opening.as_secs_f64(), "sockets per s");
        report.figure("RSS of the server before", before_kib as f64, "KiB");
        report.figure("RSS of the server when all are open", settled_kib as f64, "KiB");
        report.figure("RSS of the server after the quiet time", after_kib as f64, "KiB");
        report.cpu("quiet", used, elapsed);
        if !target.watched.servers.is_empty() {
            let cpu = used.server.as_secs_f64() * 1e6 / count as f64 / elapsed.as_secs_f64();
            report.target("CPU per socket", cpu, Bound::AtMost(5.0), "µs per s");
            let memory = after_kib.saturating_sub(before_kib) as f64 / count as f64;
            report.target("memory per socket", memory, Bound::AtMost(16.0), "KiB");
        }
        Ok(report)
    }
}

/// Reads until the run is over.
async fn read(mut socket: Socket, mut is_over: tokio::sync::watch::Receiver<bool>) -> anyhow::Result<Socket> {
    loop {
        tokio::select! {
            changed = is_over.wait_for(|is_over| *is_over) => {
                changed.context("wait for the end")?;
                return Ok(socket);
            }
            inbound = socket.next() => drop(inbound?),
        }
    }
}
