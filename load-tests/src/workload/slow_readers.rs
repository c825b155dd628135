//! Members who never read: what they cost the others, and the server.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, interval, sleep, timeout};

use super::Progress;
use super::writers::{Edit, Writers};
use crate::report::{Bound, Report};
use crate::socket::Socket;
use crate::target::Target;

/// Users; several sockets belong to one of them.
const PEOPLE: usize = 50;
/// The receive buffer of a socket that is not read, bytes; the kernel makes it a little larger.
const NARROW_BYTES: u32 = 4096;
/// How long the server may take to let go of memory.
const SETTLE: Duration = Duration::from_secs(5);

/// Edits while some members never read.
///
/// First only those who read are there, then the others come. At the end those who never read look at what came: the
/// server must have closed them.
#[derive(Args, Debug)]
pub struct SlowReaders {
    /// Members who read and edit
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    readers: u16,
    /// Members who never read
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    stuck: u16,
    /// Edits per second of all of them together
    #[arg(long, default_value_t = 200.0)]
    edits: f64,
    /// Size of an edit, bytes
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    bytes: u32,
    /// Length of each of the two stretches, s
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
}

impl SlowReaders {
    /// Runs it.
    ///
    /// # Errors
    /// The run could not be made; broken promises are in the report.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut report = Report::new("slow-readers");
        let progress = Progress::start("without slow readers");
        let world = target.world(1, PEOPLE).await?;
        let project = world.projects[0];
        let edit = Edit::Describe(self.bytes as usize);
        let mut writers = Writers::open(target, 0, &world, project, usize::from(self.readers), edit).await?;
        let length = Duration::from_secs(self.seconds);
        let alone = writers.edit(self.edits, length).await?;

        progress.step("with slow readers");
        let mut stuck = Vec::new();
        for n in 0..usize::from(self.stuck) {
            let mut socket = Socket::connect_narrow(target.addresses[0], world.token(n), NARROW_BYTES).await?;
            socket.subscribe(project).await?;
            stuck.push(socket);
        }
        let before_kib = target.watched.server_rss_kib();
        let mut most_kib = before_kib;
        let mut look = interval(Duration::from_millis(100));
        let beside = {
            let mut editing = std::pin::pin!(writers.edit(self.edits, length));
            loop {
                tokio::select! {
                    beside = &mut editing => break beside?,
                    _ = look.tick() => most_kib = most_kib.max(target.watched.server_rss_kib()),
                }
            }
        };
        report.violations.extend(writers.verdict().await?);
        let count = stuck.len();
        let looks = futures::future::join_all(stuck.into_iter().map(|socket| timeout(SETTLE, ended(socket)))).await;
        let closed = looks.into_iter().filter(|look| matches!(look, Ok(true))).count();
        sleep(SETTLE).await;
        let after_kib = target.watched.server_rss_kib();

        report.figure("members who read and edit", f64::from(self.readers), "sockets");
        report.figure("members who never read", count as f64, "sockets");
        report.figure("edits", self.edits, "per s");
        report.figure("size of an edit", f64::from(self.bytes), "bytes");
        report.latency("edit to its author, without slow readers", &alone);
        report.latency("edit to its author, with slow readers", &beside);
        report.figure("RSS of the server before they came", before_kib as f64, "KiB");
        report.figure("RSS of the server, most", most_kib as f64, "KiB");
        report.figure("RSS of the server at the end", after_kib as f64, "KiB");
        report.target("slow readers that were closed", closed as f64, Bound::AtLeast(count as f64), "");
        let each = most_kib.saturating_sub(before_kib) as f64 / count as f64;
        report.target("memory per slow reader", each, Bound::AtMost(1040.0), "KiB");
        let p99 = |echo: &hdrhistogram::Histogram<u64>| echo.value_at_quantile(0.99) as f64;
        report.target("p99 with slow readers", p99(&beside) / p99(&alone).max(1.0), Bound::AtMost(2.0), "of without");
        Ok(report)
    }
}

/// Reads what had come until the server's close, or until the connection has ended.
async fn ended(mut socket: Socket) -> bool {
    let started = Instant::now();
    while started.elapsed() < SETTLE {
        if socket.next().await.is_err() {
            return true;
        }
    }
    false
}
