//! One project, many authors: how many commands a second, and how soon their events are seen at half of that.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use glassbox_protocol::client::{Move, NodeChanges, NodeMove, NodeUpdate};
use glassbox_protocol::entity::Position;
use glassbox_protocol::{Command, NodeId};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::{LISTEN_ON, Progress};
use crate::baseline::{Doorbell, Moves, NodePrefix};
use crate::ledger::{Ledger, Verdict};
use crate::report::{Bound, Report, microseconds, note};
use crate::socket::{Inbound, Socket, open_many};
use crate::target::Target;

/// How long the last commands of a phase may take.
const DRAIN_DEADLINE: Duration = Duration::from_secs(15);
/// Authors and phase begin together.
const START_DELAY: Duration = Duration::from_millis(100);
/// Far above what one author sends, so that the room is measured and not the limits.
const RATE_LIMIT: u32 = 1_000_000;

/// Commands per second in one project, and the echo's latency at half of that.
///
/// First PostgreSQL alone: pgbench moves one node per transaction in one project, through the same role, policies and
/// triggers. Then authors keep --in-flight commands under way each, for each of the given numbers; the best rate
/// counts. Then all of them together send half of that rate at even intervals. At last pgbench again.
#[derive(Args, Debug)]
pub struct HotRoom {
    /// Authors, each a user with a socket and nodes of their own
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=2000))]
    clients: u16,
    /// Instances of the server; authors are dealt out to them
    #[arg(long, default_value_t = 1)]
    pub instances: usize,
    /// Commands under way per author, one phase for each number
    #[arg(long, value_delimiter = ',', default_value = "4,16,48")]
    in_flight: Vec<usize>,
    /// How many of a hundred commands change a title; the rest are moves
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    updates: u8,
    /// Nodes of each author
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=200))]
    nodes: u16,
    /// How long each phase counts, s; a quarter of it goes before as warm-up
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// Commands per second of the open loop, instead of half of the best rate
    #[arg(long)]
    rate: Option<f64>,
    /// Leave the closed loop away; needs --rate
    #[arg(long, requires = "rate")]
    no_closed_loop: bool,
    /// Leave pgbench away
    #[arg(long)]
    no_baseline: bool,
}

/// How an author sends.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// The next command when an earlier one has its answer and its event.
    Closed { in_flight: usize },
    /// At even intervals, whatever happens.
    Open { interval: Duration, first: Duration },
}

#[derive(Clone, Copy, Debug)]
struct Phase {
    pace: Pace,
    ends: Instant,
}

struct Author {
    number: usize,
    socket: Socket,
    ledger: Ledger,
    nodes: Vec<NodeId>,
    updates_per_hundred: usize,
    /// When each event came, for latencies at somebody who is not its author.
    seen: Option<HashMap<i64, Instant>>,
}

/// What a phase was like at its authors.
struct Outcome {
    per_second: f64,
    refused: usize,
    answer: Histogram<u64>,
    echo: Histogram<u64>,
    at_same_instance: Histogram<u64>,
    at_other_instance: Histogram<u64>,
}

impl HotRoom {
    /// What the server is started with.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GLASSBOX_COMMANDS_PER_SECOND", RATE_LIMIT.to_string()),
            ("GLASSBOX_COMMANDS_BURST", RATE_LIMIT.to_string()),
        ]
    }

    /// Runs it.
    ///
    /// # Errors
    /// The run could not be made; broken promises are in the report.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut report = Report::new("hot-room");
        let progress = Progress::start("preparing");
        let clients = usize::from(self.clients);
        let world = target.world(2, clients).await?;
        let (room, apart) = (world.projects[0], world.projects[1]);
        let nodes: Vec<NodeId> = (0..clients * usize::from(self.nodes)).map(|_| NodeId::random()).collect();
        target.make_nodes(&world, room, &nodes).await.context("make the authors' nodes")?;
        report.figure("authors", clients as f64, "sockets");
        report.figure("people", world.tokens.len() as f64, "users");
        report.figure("instances", target.addresses.len() as f64, "");
        report.figure("title changes among the commands", f64::from(self.updates), "%");

        let prefix = NodePrefix::random();
        let scratch = std::env::temp_dir();
        let moves = match self.no_baseline {
            true => None,
            false => {
                target.make_nodes(&world, apart, &prefix.ids()?).await.context("make the baseline's nodes")?;
                Some(Moves {
                    database_url: target.database_url()?,
                    postmaster: target.watched.postmaster,
                    org: world.org,
                    nodes: prefix,
                    clients: 32,
                    length: Duration::from_secs(self.seconds),
                    scratch: &scratch,
                })
            }
        };
        let mut baselines = Vec::new();
        if let Some(moves) = &moves {
            progress.step("pgbench: one transaction per move");
            baselines.push(moves.per_second(Doorbell::Off).await?);
        }

        progress.step("opening sockets");
        let addresses = &target.addresses;
        let sockets =
            open_many(clients, |n| addresses[n % addresses.len()], |n| world.token(n).to_owned(), |_| Some(room));
        let mut authors: Vec<Author> = sockets
            .await?
            .into_iter()
            .zip(nodes.chunks(usize::from(self.nodes)))
            .enumerate()
            .map(|(number, (socket, nodes))| Author {
                number,
                socket,
                ledger: Ledger::new(number as u32),
                nodes: nodes.to_vec(),
                updates_per_hundred: usize::from(self.updates),
                // One observer on each instance is enough.
                seen: (number < addresses.len()).then(HashMap::new),
            })
            .collect();

        let mut best: Option<f64> = None;
        if !self.no_closed_loop {
            for in_flight in &self.in_flight {
                let name = format!("closed loop, {in_flight} in flight each");
                progress.step(&name);
                let pace = |_| Pace::Closed { in_flight: *in_flight };
                let outcome = self.phase(&name, target, &mut authors, &mut report, pace).await?;
                report.figure(format!("{name}: commands"), outcome.per_second, "per s");
                report.latency(&format!("{name}: echo at the author"), &outcome.echo);
                best = Some(best.unwrap_or(0.0).max(outcome.per_second));
            }
        }
        if let Some(best) = best {
            report.figure("highest rate", best, "commands per s");
        }
        let rate = self.rate.or(best.map(|best| best / 2.0)).unwrap_or(1.0).max(1.0);
        let name = "open loop";
        progress.step(format!("open loop, {rate:.0} commands per s"));
        let interval = Duration::from_secs_f64(clients as f64 / rate);
        // Authors take turns.
        let pace = |n: usize| Pace::Open { interval, first: interval.mul_f64(n as f64 / clients as f64) };
        let outcome = self.phase(name, target, &mut authors, &mut report, pace).await?;
        report.figure(format!("{name}: rate wanted"), rate, "commands per s");
        report.figure(format!("{name}: commands"), outcome.per_second, "per s");
        report.latency(&format!("{name}: answer"), &outcome.answer);
        report.latency(&format!("{name}: echo at the author"), &outcome.echo);
        report.latency(&format!("{name}: event at another client, same instance"), &outcome.at_same_instance);
        report.latency(&format!("{name}: event at another client, other instance"), &outcome.at_other_instance);
        let echo_p99 = outcome.echo.value_at_quantile(0.99) as f64 / 1000.0;
        report.target(format!("echo p99 at {rate:.0} commands per s"), echo_p99, Bound::AtMost(100.0), "ms");

        progress.step("listening for what should not come");
        let end = Instant::now() + LISTEN_ON;
        for author in &mut authors {
            author.read_until(end).await?;
        }
        for author in authors {
            report.violations.extend(author.ledger.verdict());
            report.violations.extend(author.socket.into_violations());
        }

        if let Some(moves) = &moves {
            progress.step("pgbench: one transaction per move, again");
            baselines.push(moves.per_second(Doorbell::Off).await?);
            progress.step("pgbench: the same with NOTIFY");
            let with_notify = moves.per_second(Doorbell::On).await?;
            let baseline = baselines.iter().sum::<f64>() / baselines.len() as f64;
            for (n, per_second) in baselines.iter().enumerate() {
                report.figure(format!("pgbench, one transaction per move, run {}", n + 1), *per_second, "per s");
            }
            report.figure("pgbench, the same with NOTIFY, as a foreign writer", with_notify, "per s");
            if let Some(best) = best {
                let name = "commands per s, over one transaction per command";
                report.target(name, best / baseline, Bound::AtLeast(5.0), "x");
            }
        }
        Ok(report)
    }

    async fn phase(
        &self,
        name: &str,
        target: &Target,
        authors: &mut Vec<Author>,
        report: &mut Report,
        pace: impl Fn(usize) -> Pace,
    ) -> anyhow::Result<Outcome> {
        let length = Duration::from_secs(self.seconds);
        let starts = Instant::now() + START_DELAY;
        let counts_from = starts + length / 4;
        let ends = counts_from + length;
        let marks: Vec<usize> = authors.iter().map(|a| a.ledger.len()).collect();
        let mut running = JoinSet::new();
        for author in authors.drain(..) {
            let phase = Phase { pace: pace(author.number), ends };
            running.spawn(author.run(starts, phase));
        }
        sleep_until(counts_from).await;
        let before = target.watched.used();
        sleep_until(ends).await;
        let used = target.watched.used().since(before);
        let mut back = Vec::with_capacity(marks.len());
        while let Some(author) = running.join_next().await {
            back.push(author.context("an author failed")??);
        }
        back.sort_by_key(|a| a.number);
        *authors = back;
        report.cpu(name, used, length);
        let outcome = outcome(authors, &marks, target.addresses.len(), counts_from, ends);
        if outcome.refused > 0 {
            report.figure(format!("{name}: refused commands"), outcome.refused as f64, "");
        }
        Ok(outcome)
    }
}

impl Author {
    async fn run(mut self, starts: Instant, phase: Phase) -> anyhow::Result<Author> {
        self.read_until(starts).await?;
        let in_flight = match phase.pace {
            Pace::Closed { in_flight } => {
                for _ in 0..in_flight {
                    self.send(Instant::now()).await?;
                }
                self.socket.flush().await?;
                Some(in_flight)
            }
            Pace::Open { .. } => None,
        };
        let (interval, mut due) = match phase.pace {
            Pace::Open { interval, first } => (interval, starts + first),
            Pace::Closed { .. } => (Duration::ZERO, phase.ends),
        };
        loop {
            let mut inbound = tokio::select! {
                biased;
                () = sleep_until(due.min(phase.ends)) => None,
                inbound = self.socket.next() => Some(inbound?),
            };
            // Whatever has come is taken before anything is written: one write for many commands.
            while let Some(some) = inbound {
                self.take(&some);
                inbound = self.socket.next_ready()?;
            }
            let now = Instant::now();
            if now >= phase.ends {
                break;
            }
            while due <= now {
                self.send(due).await?;
                due += interval;
            }
            if let Some(in_flight) = in_flight {
                while self.ledger.unfinished() < in_flight {
                    self.send(Instant::now()).await?;
                }
            }
            self.socket.flush().await?;
        }
        let drained = async {
            while self.ledger.unfinished() > 0 {
                let inbound = self.socket.next().await?;
                self.take(&inbound);
            }
            anyhow::Ok(())
        };
        // What is missing after that is counted at the end of the run.
        if let Ok(drained) = timeout(DRAIN_DEADLINE, drained).await {
            drained?;
        }
        Ok(self)
    }

    async fn send(&mut self, due: Instant) -> anyhow::Result<()> {
        let number = self.ledger.len();
        let node_id = self.nodes[number % self.nodes.len()];
        // Evenly among the others; a stride of 37 visits every remainder of 100.
        let command = if number * 37 % 100 < self.updates_per_hundred {
            let title = Some(format!("load {number}"));
            Command::NodeUpdate(NodeUpdate {
                node_id,
                changes: NodeChanges { title, ..NodeChanges::default() },
                base_version: None,
                fence: None,
            })
        } else {
            let position = Position { x: (number % 1_000_000 + 1) as f64, y: self.number as f64 };
            Command::NodeMove(NodeMove { moves: vec![Move { node_id, position }] })
        };
        let request = self.ledger.send(due);
        self.socket.feed_command(&command, request).await
    }

    fn take(&mut self, inbound: &Inbound) {
        take(&mut self.ledger, &mut self.seen, inbound);
    }

    async fn read_until(&mut self, end: Instant) -> anyhow::Result<()> {
        let Self { socket, ledger, seen, .. } = self;
        socket.read_until(end, |inbound| take(ledger, seen, inbound)).await
    }
}

fn take(ledger: &mut Ledger, seen: &mut Option<HashMap<i64, Instant>>, inbound: &Inbound) {
    match inbound {
        Inbound::Ack { request, verdict, seq } => ledger.answered(*request, *verdict, *seq),
        Inbound::Refused { request: Some(request), .. } => ledger.refused(*request),
        Inbound::Event { seq, request, .. } => {
            if let Some(request) = request {
                ledger.happened(*request, *seq);
            }
            if let Some(seen) = seen {
                seen.insert(*seq, Instant::now());
            }
        }
        Inbound::Refused { request: None, .. } | Inbound::Other { .. } => {}
    }
}

fn outcome(authors: &[Author], marks: &[usize], instances: usize, from: Instant, to: Instant) -> Outcome {
    let mut outcome = Outcome {
        per_second: 0.0,
        refused: 0,
        answer: microseconds(),
        echo: microseconds(),
        at_same_instance: microseconds(),
        at_other_instance: microseconds(),
    };
    let mut finished = 0;
    for (author, mark) in authors.iter().zip(marks) {
        for sent in author.ledger.since(*mark) {
            let Some((answered, verdict)) = sent.answer else { continue };
            outcome.refused += usize::from(verdict == Verdict::Refused);
            let Some((echoed, seq)) = sent.event else { continue };
            finished += usize::from((from..to).contains(&answered.max(echoed)));
            if !(from..to).contains(&sent.due) {
                continue;
            }
            note(&mut outcome.answer, answered - sent.due);
            note(&mut outcome.echo, echoed - sent.due);
            for observer in authors.iter().filter(|o| o.number != author.number) {
                let Some(at) = observer.seen.as_ref().and_then(|seen| seen.get(&seq)) else { continue };
                let is_same = observer.number % instances == author.number % instances;
                let histogram = if is_same { &mut outcome.at_same_instance } else { &mut outcome.at_other_instance };
                note(histogram, *at - sent.due);
            }
        }
    }
    outcome.per_second = finished as f64 / (to - from).as_secs_f64();
    outcome
}
