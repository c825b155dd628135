//! Every client reconnects at once: how long until all are live, and what it costs those who were not cut.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use glassbox_protocol::ClientId;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Progress;
use super::writers::{Edit, Writers};
use crate::report::{Bound, Report, microseconds, note};
use crate::socket::{Position, Socket, open_many};
use crate::target::Target;

/// Users; several sockets belong to one of them.
const PEOPLE: usize = 200;
/// How long a client waits before it tries again.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long the storm may last before the run is given up.
const STORM_DEADLINE: Duration = Duration::from_secs(60);

/// Sockets are cut at one moment; all come back at once and resume.
#[derive(Args, Debug)]
pub struct Storm {
    /// How many
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    sockets: u32,
    /// Projects that they are spread over
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    projects: u16,
    /// Members who are not cut and edit
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    writers: u16,
    /// Edits per second of all of them together, in one of the projects
    #[arg(long, default_value_t = 50.0)]
    edits: f64,
}

impl Storm {
    /// What the server is started with.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GLASSBOX_SESSIONS", "60000".to_owned()),
            // All clients of the test have one address.
            ("GLASSBOX_UNAUTHENTICATED_PER_ADDRESS", "20000".to_owned()),
        ]
    }

    /// Runs it.
    ///
    /// # Errors
    /// The run could not be made; broken promises are in the report.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut report = Report::new("storm");
        let progress = Progress::start("preparing");
        let count = self.sockets as usize;
        let world = target.world(usize::from(self.projects), PEOPLE).await?;
        let mut writers =
            Writers::open(target, 0, &world, world.projects[0], usize::from(self.writers), Edit::Move).await?;
        let project = |n: usize| world.projects[n % world.projects.len()];
        let sockets =
            open_many(count, |_| target.addresses[0], |n| world.token(n).to_owned(), |n| Some(project(n))).await?;
        let quiet = writers.edit(self.edits, Duration::from_secs(5)).await?;
        let positions: Vec<Position> = sockets
            .iter()
            .map(|s| s.resume_point().context("a socket has no position"))
            .collect::<anyhow::Result<_>>()?;

        progress.step("the storm");
        let address = target.addresses[0];
        let before = target.watched.used();
        let cut_at = Instant::now();
        drop(sockets);
        let mut returning = JoinSet::new();
        for (n, position) in positions.into_iter().enumerate() {
            let (token, project) = (world.token(n).to_owned(), project(n));
            returning.spawn(async move {
                let mut refusals = 0;
                loop {
                    let back = async {
                        let mut socket = Socket::connect(address, &token, ClientId::random()).await?;
                        socket.resume(project, position).await?;
                        anyhow::Ok(socket)
                    };
                    match back.await {
                        Ok(socket) => return Ok((socket, cut_at.elapsed(), refusals)),
                        Err(error) => {
                            refusals += 1;
                            ensure!(cut_at.elapsed() < STORM_DEADLINE, "not back after {STORM_DEADLINE:?}: {error:#}");
                            sleep(RETRY_DELAY).await;
                        }
                    }
                }
            });
        }
        let mut live = microseconds();
        let mut refusals = 0;
        let mut back = Vec::with_capacity(count);
        let all_back = async {
            while let Some(returned) = returning.join_next().await {
                let (socket, after, own_refusals) = returned.context("a client failed")??;
                note(&mut live, after);
                refusals += own_refusals;
                back.push(socket);
            }
            anyhow::Ok(cut_at.elapsed())
        };
        let (all_live, during) = tokio::join!(all_back, writers.edit(self.edits, Duration::from_secs(10)));
        let (all_live, during) = (all_live?, during?);
        let used = target.watched.used().since(before);
        report.cpu("from the cut on, 10 s", used, cut_at.elapsed());
        for socket in back {
            report.violations.extend(socket.into_violations());
        }
        report.violations.extend(writers.verdict().await?);

        report.figure("sockets that were cut", count as f64, "");
        report.figure("projects", f64::from(self.projects), "");
        report.figure("attempts that were refused", f64::from(refusals), "");
        report.latency("cut to live", &live);
        report.latency("edit to its author before", &quiet);
        report.latency("edit to its author during the storm", &during);
        report.target("all live", all_live.as_secs_f64(), Bound::AtMost(15.0), "s");
        let p99 = during.value_at_quantile(0.99) as f64 / 1000.0;
        report.target("edits of those who were not cut, p99", p99, Bound::AtMost(1000.0), "ms");
        Ok(report)
    }
}
