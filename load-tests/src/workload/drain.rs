//! An instance is asked to end while people work: everybody goes to the other one and nothing is lost.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use glassbox_protocol::ClientId;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Progress;
use super::writers::{Edit, Writers};
use crate::report::{Bound, Report, microseconds, note};
use crate::socket::{Inbound, Socket, kind_of, open_many};
use crate::target::Target;

/// Users; several sockets belong to one of them.
const PEOPLE: usize = 50;
/// The drain time that the server is started with, s.
const DRAIN_S: u64 = 8;
/// Resumed clients listen on, so that a gap would be seen.
const LISTEN: Duration = Duration::from_secs(3);
/// Stretches of the drain time over which the moves are counted.
const STRETCHES: usize = 8;

/// One of two instances drains.
///
/// Readers sit on the instance that drains, writers on the other one. Each reader follows its `moving` hint and resumes
/// there.
#[derive(Args, Debug)]
pub struct Drain {
    /// Clients of the instance that drains
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=5000))]
    clients: u16,
    /// Edits per second meanwhile
    #[arg(long, default_value_t = 100.0)]
    edits: f64,
}

impl Drain {
    /// What the server is started with.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("GLASSBOX_DRAIN_S", DRAIN_S.to_string())]
    }

    /// Runs it.
    ///
    /// # Errors
    /// The run could not be made; broken promises are in the report.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut report = Report::new("drain");
        let progress = Progress::start("preparing");
        let world = target.world(1, PEOPLE).await?;
        let project = world.projects[0];
        let mut writers = Writers::open(target, 1, &world, project, 20, Edit::Move).await?;
        let count = usize::from(self.clients);
        let sockets =
            open_many(count, |_| target.addresses[0], |n| world.token(n).to_owned(), |_| Some(project)).await?;

        progress.step("draining");
        let there = target.addresses[1];
        let asked_at = Instant::now();
        target.terminate(0)?;
        let mut moving = JoinSet::new();
        for (n, mut socket) in sockets.into_iter().enumerate() {
            let token = world.token(n).to_owned();
            moving.spawn(async move {
                let delay = hint(&mut socket).await.context("wait for the hint")?;
                // What comes until then is still read; the server closes at the same moment.
                if let Err(error) = socket.read_until(Instant::now() + delay, |_| {}).await {
                    ensure!(format!("{error:#}").contains("1012"), "read until the move: {error:#}");
                }
                let left_after = asked_at.elapsed();
                let position = socket.resume_point().context("a socket has no position")?;
                let mut violations = socket.into_violations();
                let left_at = Instant::now();
                let mut socket = Socket::connect(there, &token, ClientId::random()).await?;
                socket.resume(project, position).await?;
                let gap = left_at.elapsed();
                socket.read_until(Instant::now() + LISTEN, |_| {}).await?;
                violations.extend(socket.into_violations());
                anyhow::Ok((left_after, gap, violations))
            });
        }
        let all_moved = async {
            let (mut gaps, mut left) = (microseconds(), Vec::with_capacity(count));
            while let Some(moved) = moving.join_next().await {
                let (left_after, gap, violations) = moved.context("a client failed")??;
                note(&mut gaps, gap);
                left.push(left_after);
                report.violations.extend(violations);
            }
            anyhow::Ok((gaps, left))
        };
        let editing = writers.edit(self.edits, Duration::from_secs(DRAIN_S + 2));
        let ending = timeout(Duration::from_secs(DRAIN_S + 10), target.has_ended(0));
        let (moved, echo, ended) = tokio::join!(all_moved, editing, ending);
        let ((gaps, left), echo) = (moved?, echo?);
        let ended_at = ended.context("the instance did not end in time")??;
        report.violations.extend(writers.verdict().await?);

        let stretch = Duration::from_secs(DRAIN_S) / STRETCHES as u32;
        let mut per_stretch = [0_u32; STRETCHES];
        for after in &left {
            let n = (after.as_secs_f64() / stretch.as_secs_f64()) as usize;
            per_stretch[n.min(STRETCHES - 1)] += 1;
        }
        let even = count as f64 / STRETCHES as f64;
        let most = per_stretch.into_iter().max().unwrap_or(0);
        report.figure("clients that moved", left.len() as f64, "");
        report.figure("drain time", DRAIN_S as f64, "s");
        report.figure("asked to end until it had ended", (ended_at - asked_at).as_secs_f64(), "s");
        report.latency("left until live on the other instance", &gaps);
        report.latency("edit to its author meanwhile, on the other instance", &echo);
        report.target("clients that moved", left.len() as f64, Bound::AtLeast(count as f64), "");
        let p99 = gaps.value_at_quantile(0.99) as f64 / 1e6;
        report.target("left until live, p99", p99, Bound::AtMost(3.0), "s");
        report.target("moves in the busiest eighth", f64::from(most) / even, Bound::AtMost(1.5), "of an even spread");
        ensure!(left.len() == count, "only {} of {count} clients moved", left.len());
        // Late events of the last movers.
        sleep(super::LISTEN_ON).await;
        Ok(report)
    }
}

/// Waits for `moving` and returns its delay.
async fn hint(socket: &mut Socket) -> anyhow::Result<Duration> {
    #[derive(Deserialize)]
    struct Moving {
        payload: Hint,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Hint {
        retry_after_ms: u64,
    }
    loop {
        if let Inbound::Other { text } = socket.next().await?
            && kind_of(&text) == "moving"
        {
            let moving: Moving = serde_json::from_str(&text).context("read moving")?;
            return Ok(Duration::from_millis(moving.payload.retry_after_ms));
        }
    }
}
