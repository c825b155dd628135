//! What edits cost while many cursors move in the same room: presence must not delay them.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use glassbox_protocol::Channel;
use glassbox_protocol::client::{Presence, PresenceFields};
use glassbox_protocol::entity::Position;
use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Progress;
use super::writers::{Edit, Writers};
use crate::report::{Bound, Report, microseconds};
use crate::socket::{Inbound, Socket, kind_of, open_many};
use crate::target::Target;

/// Users; several sockets belong to one of them.
const PEOPLE: usize = 50;

/// Edits with and without moving cursors in the same room.
///
/// Quiet stretches and stretches with cursors take turns; those who show cursors are there all the time. Latency is
/// from when a command was due to when its author saw its event.
#[derive(Args, Debug)]
pub struct Cursors {
    /// Members who show a cursor
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2000))]
    members: u16,
    /// Movements per second and member
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=60))]
    per_second: u16,
    /// Members who edit
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    writers: u16,
    /// Edits per second of all of them together
    #[arg(long, default_value_t = 100.0)]
    edits: f64,
    /// Pairs of stretches
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=20))]
    rounds: u16,
    /// Length of a stretch, s
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

impl Cursors {
    /// Runs it.
    ///
    /// # Errors
    /// The run could not be made; broken promises are in the report.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut report = Report::new("cursors");
        let progress = Progress::start("preparing");
        let world = target.world(1, PEOPLE).await?;
        let project = world.projects[0];
        let members = usize::from(self.members);
        let mut writers = Writers::open(target, 0, &world, project, usize::from(self.writers), Edit::Move).await?;
        let sockets =
            open_many(members, |_| target.addresses[0], |n| world.token(n).to_owned(), |_| Some(project)).await?;
        let stage = watch::Sender::new(Stage::Quiet);
        let mut moving = JoinSet::new();
        for (n, socket) in sockets.into_iter().enumerate() {
            let every = Duration::from_secs(1) / u32::from(self.per_second);
            let first = every.mul_f64(n as f64 / members as f64);
            moving.spawn(show(socket, Channel::Project(project), stage.subscribe(), every, first));
        }

        let (mut quiet, mut with_cursors): (Histogram<u64>, Histogram<u64>) = (microseconds(), microseconds());
        let length = Duration::from_secs(self.seconds);
        for round in 0..self.rounds {
            progress.step(format!("round {} of {}", round + 1, self.rounds));
            for (which, echo) in [(Stage::Quiet, &mut quiet), (Stage::Moving, &mut with_cursors)] {
                stage.send_replace(which);
                let before = target.watched.used();
                let started = Instant::now();
                let own = writers.edit(self.edits, length).await?;
                let used = target.watched.used().since(before);
                echo.add(&own).context("add up the rounds")?;
                if round + 1 == self.rounds {
                    report.cpu(which.name(), used, started.elapsed());
                }
            }
        }
        stage.send_replace(Stage::Over);
        let (mut diffs, mut most) = (0, 0.0_f64);
        while let Some(member) = moving.join_next().await {
            let member = member.context("a member failed")??;
            diffs += member.diffs;
            most = most.max(member.diffs as f64 / member.moving_for.as_secs_f64().max(1.0));
            report.violations.extend(member.socket.into_violations());
        }
        report.violations.extend(writers.verdict().await?);

        report.figure("members with a cursor", members as f64, "sockets");
        report.figure("movements", f64::from(self.per_second), "per s and member");
        report.figure("edits", self.edits, "per s");
        report.figure("presence frames that came", diffs as f64, "");
        report.latency("edit to its author, quiet", &quiet);
        report.latency("edit to its author, with cursors", &with_cursors);
        report.target("presence frames", most, Bound::AtMost(30.5), "per s and member");
        let p99 = |echo: &Histogram<u64>| echo.value_at_quantile(0.99) as f64;
        report.target("p99 with cursors", p99(&with_cursors) / p99(&quiet).max(1.0), Bound::AtMost(1.1), "of quiet");
        Ok(report)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Quiet,
    Moving,
    Over,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Quiet | Stage::Over => "quiet",
            Stage::Moving => "with cursors",
        }
    }
}

/// Somebody who shows a cursor.
struct Member {
    socket: Socket,
    /// Presence frames that came,
    diffs: usize,
    /// and for how long there were some to come.
    moving_for: Duration,
}

async fn show(
    mut socket: Socket,
    channel: Channel,
    mut stage: watch::Receiver<Stage>,
    every: Duration,
    first: Duration,
) -> anyhow::Result<Member> {
    let (mut diffs, mut moving_for) = (0, Duration::ZERO);
    let mut tick = interval_at(Instant::now() + first, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut step = 0.0;
    loop {
        let now = *stage.borrow();
        tokio::select! {
            changed = stage.changed() => {
                changed.context("wait for the end")?;
                if *stage.borrow() == Stage::Over {
                    return Ok(Member { socket, diffs, moving_for });
                }
            }
            inbound = socket.next() => {
                if let Inbound::Other { text } = inbound? {
                    diffs += usize::from(now == Stage::Moving && kind_of(&text) == "presence_diff");
                }
            }
            _ = tick.tick(), if now == Stage::Moving => {
                moving_for += every;
                step += 1.0;
                let state = PresenceFields { cursor: Some(Some(Position { x: step, y: step })), ..PresenceFields::default() };
                socket.feed_presence(Presence { channel, state }).await?;
                socket.flush().await?;
            }
        }
    }
}
