//! People who edit at an even pace while something else goes on, and how soon they see their own events.

use std::time::Duration;

use anyhow::Context as _;
use glassbox_protocol::client::{Move, NodeChanges, NodeMove, NodeUpdate};
use glassbox_protocol::entity::Position;
use glassbox_protocol::{Command, NodeId, ProjectId};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::LISTEN_ON;
use crate::ledger::Ledger;
use crate::report::{microseconds, note};
use crate::socket::{Inbound, Socket, open_many};
use crate::target::{Target, World};

/// How long the last commands of a phase may take.
const DRAIN_DEADLINE: Duration = Duration::from_secs(15);

/// What the writers send.
#[derive(Clone, Copy, Debug)]
pub enum Edit {
    /// A node is moved.
    Move,
    /// A node gets a new description of so many bytes.
    Describe(usize),
}

/// People with a node each in one project.
pub struct Writers {
    writers: Vec<Writer>,
}

struct Writer {
    number: usize,
    socket: Socket,
    ledger: Ledger,
    node: NodeId,
    edit: Edit,
}

impl Writers {
    /// Opens sockets on one instance and makes a node for each of them.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn open(
        target: &Target,
        instance: usize,
        world: &World,
        project: ProjectId,
        count: usize,
        edit: Edit,
    ) -> anyhow::Result<Self> {
        let nodes: Vec<NodeId> = (0..count).map(|_| NodeId::random()).collect();
        target.make_nodes(world, project, &nodes).await.context("make the writers' nodes")?;
        let address = target.addresses[instance];
        let sockets = open_many(count, |_| address, |n| world.token(n).to_owned(), |_| Some(project)).await?;
        let writers = sockets
            .into_iter()
            .zip(nodes)
            .enumerate()
            .map(|(number, (socket, node))| Writer {
                number,
                socket,
                ledger: Ledger::new(u32::try_from(number).unwrap_or(u32::MAX)),
                node,
                edit,
            })
            .collect();
        Ok(Self { writers })
    }

    /// Edits for a while, all together `per_second`; returns how long it took from when each command was due to when its
    /// author saw its event.
    ///
    /// # Errors
    /// A socket ended.
    pub async fn edit(&mut self, per_second: f64, length: Duration) -> anyhow::Result<Histogram<u64>> {
        let count = self.writers.len();
        let interval = Duration::from_secs_f64(count as f64 / per_second);
        let starts = Instant::now() + Duration::from_millis(50);
        let mut running = JoinSet::new();
        for writer in self.writers.drain(..) {
            // Spread over the interval, so that they do not come together.
            let first = starts + interval.mul_f64(writer.number as f64 / count as f64);
            running.spawn(writer.run(first, interval, starts + length));
        }
        let mut echo = microseconds();
        while let Some(done) = running.join_next().await {
            let (writer, own) = done.context("a writer failed")??;
            echo.add(&own).context("add up the writers")?;
            self.writers.push(writer);
        }
        Ok(echo)
    }

    /// The promises that were broken.
    ///
    /// # Errors
    /// A socket ended.
    pub async fn verdict(self) -> anyhow::Result<Vec<String>> {
        let mut violations = Vec::new();
        let end = Instant::now() + LISTEN_ON;
        for mut writer in self.writers {
            let ledger = &mut writer.ledger;
            writer.socket.read_until(end, |inbound| take(ledger, inbound)).await?;
            violations.extend(writer.ledger.verdict());
            violations.extend(writer.socket.into_violations());
        }
        Ok(violations)
    }
}

impl Writer {
    async fn run(
        mut self,
        first: Instant,
        interval: Duration,
        ends: Instant,
    ) -> anyhow::Result<(Self, Histogram<u64>)> {
        let mark = self.ledger.len();
        let mut due = first;
        loop {
            let inbound = tokio::select! {
                biased;
                () = sleep_until(due.min(ends)) => None,
                inbound = self.socket.next() => Some(inbound?),
            };
            if let Some(inbound) = inbound {
                take(&mut self.ledger, &inbound);
            }
            let now = Instant::now();
            if now >= ends {
                break;
            }
            while due <= now {
                self.send(due).await?;
                due += interval;
            }
            self.socket.flush().await?;
        }
        let drained = async {
            while self.ledger.unfinished() > 0 {
                let inbound = self.socket.next().await?;
                take(&mut self.ledger, &inbound);
            }
            anyhow::Ok(())
        };
        // What is missing after that is counted at the end of the run.
        if let Ok(drained) = timeout(DRAIN_DEADLINE, drained).await {
            drained?;
        }
        let mut echo = microseconds();
        for sent in self.ledger.since(mark) {
            if let Some((at, _)) = sent.event {
                note(&mut echo, at - sent.due);
            }
        }
        Ok((self, echo))
    }

    async fn send(&mut self, due: Instant) -> anyhow::Result<()> {
        let number = self.ledger.len();
        let command = match self.edit {
            Edit::Move => {
                let position = Position { x: (number % 1_000_000 + 1) as f64, y: self.number as f64 };
                Command::NodeMove(NodeMove { moves: vec![Move { node_id: self.node, position }] })
            }
            Edit::Describe(bytes) => {
                let description = Some(Some(format!("{number:0>bytes$}")));
                let changes = NodeChanges { description, ..NodeChanges::default() };
                Command::NodeUpdate(NodeUpdate { node_id: self.node, changes, base_version: None, fence: None })
            }
        };
        let request = self.ledger.send(due);
        self.socket.feed_command(&command, request).await
    }
}

fn take(ledger: &mut Ledger, inbound: &Inbound) {
    match inbound {
        Inbound::Ack { request, verdict, seq } => ledger.answered(*request, *verdict, *seq),
        Inbound::Refused { request: Some(request), .. } => ledger.refused(*request),
        Inbound::Event { seq, request: Some(request), .. } => ledger.happened(*request, *seq),
        Inbound::Event { request: None, .. } | Inbound::Refused { request: None, .. } | Inbound::Other { .. } => {}
    }
}
