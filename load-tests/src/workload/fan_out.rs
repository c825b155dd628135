//! One room with many members: deliveries per second, what each costs, and how late it is.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use glassbox_protocol::client::{Move, NodeMove, Presence, PresenceFields};
use glassbox_protocol::entity::Position;
use glassbox_protocol::{Channel, ClientId, Command, NodeId, ProjectId};
use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::{LISTEN_ON, Progress};
use crate::ledger::Ledger;
use crate::report::{Report, microseconds, note};
use crate::socket::{Inbound, Socket, open_many};
use crate::target::Target;

/// How long the last commands may take.
const DRAIN_DEADLINE: Duration = Duration::from_secs(15);
/// Far above what a sender sends, so that the room is measured and not the limits.
const RATE_LIMIT: u32 = 1_000_000;
/// Nodes of a sender of moves.
const NODES: usize = 64;
/// After the last handshake the server still tells everybody who has come.
const SETTLE: Duration = Duration::from_secs(2);

/// Deliveries per second in one room with many members.
///
/// A delivery is one frame that one member has received. The server sends a room's presence at most 30 times a
/// second, the newest value of each sender together in one frame, so that presence makes at most 30 deliveries per
/// member and second; with --durable every move is an event of its own.
#[derive(Args, Debug)]
pub struct FanOut {
    /// Members who only listen
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    members: u16,
    /// Members who send presence; moves come from one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500))]
    senders: u16,
    /// Messages per second, all senders together
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
    /// Send moves, which are events of the log, instead of presence
    #[arg(long)]
    durable: bool,
    /// How long it counts, s; a quarter of it goes before as warm-up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
}

/// A cursor's unit of time: the longest run stays within the canvas, whose edge is at 10 000 000.
const CURSOR_TICK: Duration = Duration::from_micros(100);

/// When messages are due and which of them count.
#[derive(Clone, Copy, Debug)]
struct Times {
    starts: Instant,
    interval: Duration,
    counts_from: Instant,
    ends: Instant,
}

/// What one member received.
struct Heard {
    frames: u64,
    values: u64,
    latency: Histogram<u64>,
}

impl FanOut {
    /// What the server is started with.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let limit = RATE_LIMIT.to_string();
        vec![
            ("GLASSBOX_COMMANDS_PER_SECOND", limit.clone()),
            ("GLASSBOX_COMMANDS_BURST", limit.clone()),
            ("GLASSBOX_PRESENCE_PER_SECOND", limit),
        ]
    }

    /// Runs it.
    ///
    /// # Errors
    /// The run could not be made; broken promises are in the report.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut report = Report::new("fan-out");
        let progress = Progress::start("preparing");
        let (members, senders) = (usize::from(self.members), if self.durable { 1 } else { usize::from(self.senders) });
        let world = target.world(1, 100.min(members) + 1).await?;
        let project = world.projects[0];
        let nodes: Vec<NodeId> = (0..NODES).map(|_| NodeId::random()).collect();
        target.make_nodes(&world, project, &nodes).await?;

        progress.step("opening sockets");
        // The listeners are other people than the sender: they all see the same frame.
        let people = world.tokens.len();
        let listener_token = |n: usize| world.tokens[if people > 1 { 1 + n % (people - 1) } else { 0 }].clone();
        let listeners = open_many(members, |_| target.addresses[0], listener_token, |_| Some(project)).await?;
        let mut senders_sockets = Vec::with_capacity(senders);
        for _ in 0..senders {
            let mut socket = Socket::connect(target.addresses[0], world.token(0), ClientId::random()).await?;
            socket.subscribe(project).await?;
            senders_sockets.push(socket);
        }

        let length = Duration::from_secs(self.seconds);
        let starts = Instant::now() + SETTLE;
        let counts_from = starts + length / 4;
        let ends = counts_from + length;
        let times = Times { starts, interval: Duration::from_secs_f64(1.0 / self.rate), counts_from, ends };
        progress.step(format!("{} members, {} messages per s", members, self.rate));
        let until = ends + Duration::from_secs(2);
        let mut listening = JoinSet::new();
        for socket in listeners {
            listening.spawn(listen(socket, self.durable, times, until));
        }
        let mut sending = JoinSet::new();
        for (n, socket) in senders_sockets.into_iter().enumerate() {
            match self.durable {
                true => sending.spawn(send_moves(socket, nodes.clone(), times)),
                false => sending.spawn(send_presence(socket, project, n, senders, times)),
            };
        }
        sleep_until(counts_from).await;
        let before = target.watched.used();
        sleep_until(ends).await;
        let used = target.watched.used().since(before);
        while let Some(sent) = sending.join_next().await {
            report.violations.extend(sent.context("a sender failed")??);
        }
        let mut total = Heard { frames: 0, values: 0, latency: microseconds() };
        while let Some(heard) = listening.join_next().await {
            let (heard, violations) = heard.context("a member failed")??;
            total.frames += heard.frames;
            total.values += heard.values;
            total.latency.add(&heard.latency).context("add histograms")?;
            report.violations.extend(violations);
        }

        report.figure("members", members as f64, "sockets");
        report.figure("senders", senders as f64, if self.durable { "of moves" } else { "of presence" });
        report.figure("rate", self.rate, "messages per s");
        let per_second = total.frames as f64 / length.as_secs_f64();
        report.figure("deliveries", per_second, "frames per s");
        report.figure("values delivered", total.values as f64 / length.as_secs_f64(), "per s");
        report.latency("from when it was due to the member", &total.latency);
        report.cpu("meanwhile", used, length);
        if !target.watched.servers.is_empty() && total.frames > 0 {
            let each = used.server.as_secs_f64() * 1e6 / total.frames as f64;
            report.figure("CPU of the server per delivery", each, "µs");
        }
        Ok(report)
    }
}

/// Reads everything until a moment and counts what came between the two others.
async fn listen(
    mut socket: Socket,
    is_durable: bool,
    times: Times,
    until: Instant,
) -> anyhow::Result<(Heard, Vec<String>)> {
    let mut heard = Heard { frames: 0, values: 0, latency: microseconds() };
    socket.read_until(times.starts, |_| {}).await?;
    // Nobody else writes to the log: the n-th event from here on is the n-th message.
    let base = socket.position().unwrap_or(0);
    let mut last = base;
    socket
        .read_until(until, |inbound| {
            let now = Instant::now();
            let is_counted = (times.counts_from..times.ends).contains(&now);
            match inbound {
                Inbound::Event { seq, .. } => {
                    last = *seq;
                    if is_durable && is_counted {
                        heard.frames += 1;
                        heard.values += 1;
                        let number = (seq - base - 1).max(0) as f64;
                        let due = times.starts + times.interval.mul_f64(number);
                        note(&mut heard.latency, now.saturating_duration_since(due));
                    }
                }
                Inbound::Other { text } if !is_durable && is_counted => {
                    let Some(updates) = presence_updates(text) else { return };
                    heard.frames += 1;
                    for ticks in updates {
                        heard.values += 1;
                        let due = times.starts + CURSOR_TICK * ticks;
                        note(&mut heard.latency, now.saturating_duration_since(due));
                    }
                }
                Inbound::Other { .. } | Inbound::Ack { .. } | Inbound::Refused { .. } => {}
            }
        })
        .await?;
    let mut violations = Vec::new();
    if is_durable {
        let sent = messages(times);
        let came = u64::try_from(last - base).unwrap_or(0);
        if came != sent {
            violations.push(format!("a member has {came} events of {sent}"));
        }
    }
    violations.extend(socket.into_violations());
    Ok((heard, violations))
}

/// How many messages are due before the end.
fn messages(times: Times) -> u64 {
    ((times.ends - times.starts).as_secs_f64() / times.interval.as_secs_f64()).ceil() as u64
}

/// The cursors in a frame of presence: each sender writes into its cursor when it was due, in ticks from the start.
fn presence_updates(text: &str) -> Option<Vec<u32>> {
    #[derive(Deserialize)]
    struct Frame {
        payload: Payload,
    }
    #[derive(Deserialize)]
    struct Payload {
        updates: Vec<Update>,
    }
    #[derive(Deserialize)]
    struct Update {
        cursor: Option<Position>,
    }
    let frame: Frame = serde_json::from_str(text).ok()?;
    Some(frame.payload.updates.iter().filter_map(|u| u.cursor).map(|c| c.x as u32).collect())
}

async fn send_presence(
    mut socket: Socket,
    project: ProjectId,
    number: usize,
    senders: usize,
    times: Times,
) -> anyhow::Result<Vec<String>> {
    let mut n = number as u64;
    loop {
        let due_in = times.interval.mul_f64(n as f64);
        let due = times.starts + due_in;
        if due >= times.ends {
            break;
        }
        socket.read_until(due, |_| {}).await?;
        let cursor = Some(Some(Position { x: due_in.div_duration_f64(CURSOR_TICK).round(), y: number as f64 }));
        let state = PresenceFields { cursor, ..PresenceFields::default() };
        socket.feed_presence(Presence { channel: Channel::Project(project), state }).await?;
        socket.flush().await?;
        n += senders as u64;
    }
    Ok(socket.into_violations())
}

async fn send_moves(mut socket: Socket, nodes: Vec<NodeId>, times: Times) -> anyhow::Result<Vec<String>> {
    let mut ledger = Ledger::new(0);
    let count = messages(times);
    let mut n: u64 = 0;
    while n < count {
        let due = |n: u64| times.starts + times.interval.mul_f64(n as f64);
        socket.read_until(due(n), |inbound| take(&mut ledger, inbound)).await?;
        let now = Instant::now();
        while n < count && due(n) <= now {
            let node_id = nodes[n as usize % nodes.len()];
            let position = Position { x: (n % 1_000_000 + 1) as f64, y: 1.0 };
            let request = ledger.send(due(n));
            let command = Command::NodeMove(NodeMove { moves: vec![Move { node_id, position }] });
            socket.feed_command(&command, request).await?;
            n += 1;
        }
        socket.flush().await?;
    }
    let draining = async {
        while ledger.unfinished() > 0 {
            let inbound = socket.next().await?;
            take(&mut ledger, &inbound);
        }
        anyhow::Ok(())
    };
    // What is missing after that is in the verdict.
    if let Ok(drained) = timeout(DRAIN_DEADLINE, draining).await {
        drained?;
    }
    socket.read_until(Instant::now() + LISTEN_ON, |inbound| take(&mut ledger, inbound)).await?;
    let mut violations = ledger.verdict();
    violations.extend(socket.into_violations());
    Ok(violations)
}

fn take(ledger: &mut Ledger, inbound: &Inbound) {
    match inbound {
        Inbound::Ack { request, verdict, seq } => ledger.answered(*request, *verdict, *seq),
        Inbound::Refused { request: Some(request), .. } => ledger.refused(*request),
        Inbound::Event { seq, request: Some(request), .. } => ledger.happened(*request, *seq),
        Inbound::Refused { request: None, .. } | Inbound::Event { request: None, .. } | Inbound::Other { .. } => {}
    }
}
