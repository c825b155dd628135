//! One client at work: it edits what it sees, loses its socket, comes back somewhere else and sends again whatever
//! got no answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::client::{
    DependencyAdd, DependencyRemove, LockAcquire, LockRelease, LockRenew, Move, NodeChanges, NodeCreate, NodeMove,
    NodeRef, NodeUpdate,
};
use glassbox_protocol::entity::{LockGrant, Position};
use glassbox_protocol::{ClientId, Command, Fence, NodeId, ProjectId, RequestId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Cuts;
use super::ledger::Ledger;
use crate::support::client::{Answer, Client, Lost};
use crate::support::mirror::{Mirror, Start};

/// The pause between two commands of one client.
const PAUSE_MS: std::ops::Range<u64> = 20..140;
/// The share of commands that is sent twice.
const TWICE: f64 = 0.2;
/// The chance that a client drops its socket before a command: 2.5 % per second at 12 commands per second.
const DROP: f64 = 0.002;
/// Short leases, so that some end by themselves within the run.
const TTL_MS: i64 = 2_000;
/// How long a client tries to come back.
const RETURN_DEADLINE: Duration = Duration::from_secs(30);

/// A client with its memory.
pub struct Actor {
    id: ClientId,
    token: String,
    projects: Vec<ProjectId>,
    addresses: [SocketAddr; 2],
    cuts: Cuts,
    ledger: Arc<Ledger>,
    rng: StdRng,
    client: Option<Client>,
    /// What the client knew when it lost its socket.
    mirrors: BTreeMap<ProjectId, Mirror>,
    deleted: Vec<(ProjectId, NodeId)>,
    fences: Vec<(ProjectId, NodeId, Fence)>,
    reconnects: usize,
    is_at: usize,
}

/// What is left of an actor.
pub struct Ending {
    /// Its last socket, still open.
    pub client: Client,
    /// What it follows.
    pub projects: Vec<ProjectId>,
    /// How often it came back.
    pub reconnects: usize,
}

impl Actor {
    /// Makes a client that makes the choices of `seed`.
    pub fn new(
        seed: u64,
        token: String,
        projects: Vec<ProjectId>,
        addresses: [SocketAddr; 2],
        cuts: Cuts,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self {
            id: ClientId::random(),
            token,
            projects,
            addresses,
            cuts,
            ledger,
            rng: StdRng::seed_from_u64(seed),
            client: None,
            mirrors: BTreeMap::new(),
            deleted: Vec::new(),
            fences: Vec::new(),
            reconnects: 0,
            is_at: usize::try_from(seed % 2).expect("0 or 1"),
        }
    }

    /// Works until it is told to stop, and comes back once more if it was away then.
    pub async fn work(mut self, stop: watch::Receiver<bool>) -> Ending {
        while !*stop.borrow() {
            self.come_back().await;
            if self.cuts == Cuts::Yes && self.rng.random_bool(DROP) {
                self.leave();
                continue;
            }
            let project = self.projects[self.rng.random_range(0..self.projects.len())];
            let command = self.choose(project);
            let request = RequestId::random();
            self.ledger.asked(request, self.id, project, &command);
            let is_twice = self.rng.random_bool(TWICE);
            let answer =
                if is_twice { self.twice(request, &command).await } else { self.once(request, &command).await };
            self.learn(project, &command, &answer);
            let pause = self.rng.random_range(PAUSE_MS);
            sleep(Duration::from_millis(pause)).await;
        }
        loop {
            self.come_back().await;
            let client = self.client.take().expect("it came back");
            if !client.is_closed() {
                return Ending { client, projects: self.projects, reconnects: self.reconnects };
            }
            self.remember(client);
        }
    }

    /// Sends until there is an answer: a lost socket leaves the outcome unknown, and the same id asks again.
    async fn once(&mut self, request: RequestId, command: &Command) -> Answer {
        loop {
            self.come_back().await;
            let client = self.client.as_ref().expect("it came back");
            if let Ok(answer) = client.command_as(request, command.clone()).await {
                self.ledger.answered(request, &answer);
                return answer;
            }
            self.leave();
        }
    }

    /// Sends twice: on one socket, again after coming back, or to the other instance at the same time.
    async fn twice(&mut self, request: RequestId, command: &Command) -> Answer {
        match self.rng.random_range(0..3) {
            0 => {
                let client = self.client.as_ref().expect("it came back");
                if let Ok((first, second)) = client.send_twice(request, command.clone()).await {
                    self.ledger.answered(request, &first);
                    self.ledger.answered(request, &second);
                    return first;
                }
                for answer in self.client.as_ref().expect("it came back").answers(request) {
                    self.ledger.answered(request, &answer);
                }
                self.leave();
                self.once(request, command).await
            }
            1 => {
                let first = self.once(request, command).await;
                self.leave();
                self.is_at = 1 - self.is_at;
                // The ledger compares the two.
                let _repeat = self.once(request, command).await;
                first
            }
            _ => {
                // The old socket's command may be anywhere on its way when the new socket sends it as well.
                let here = self.client.take().expect("it came back");
                let other = self.addresses[1 - self.is_at];
                let there = Client::try_connect(other, &self.token, self.id).await;
                let at_both = async |there: &Client| {
                    tokio::join!(here.command_as(request, command.clone()), there.command_as(request, command.clone()))
                };
                let answers: Vec<Result<Answer, Lost>> = match &there {
                    Ok(there) => {
                        let (a, b) = at_both(there).await;
                        vec![a, b]
                    }
                    Err(_) => vec![here.command_as(request, command.clone()).await],
                };
                self.remember(here);
                let answers: Vec<Answer> = answers.into_iter().flatten().collect();
                for answer in &answers {
                    self.ledger.answered(request, answer);
                }
                match answers.into_iter().next() {
                    Some(answer) => answer,
                    None => self.once(request, command).await,
                }
            }
        }
    }

    /// Makes sure that there is a socket with all subscriptions.
    async fn come_back(&mut self) {
        if let Some(client) = self.client.take() {
            client.assert_sound();
            if !client.is_closed() {
                self.client = Some(client);
                return;
            }
            self.remember(client);
        }
        let deadline = Instant::now() + RETURN_DEADLINE;
        let mut last = String::new();
        while Instant::now() < deadline {
            match self.try_come_back().await {
                Ok(client) => {
                    self.client = Some(client);
                    return;
                }
                Err(reason) => last = reason,
            }
            self.is_at = 1 - self.is_at;
            let pause = self.rng.random_range(20..200);
            sleep(Duration::from_millis(pause)).await;
        }
        panic!("client {} is not let in for {RETURN_DEADLINE:?}: {last}", self.id);
    }

    async fn try_come_back(&mut self) -> Result<Client, String> {
        let client = Client::try_connect(self.addresses[self.is_at], &self.token, self.id)
            .await
            .map_err(|lost| lost.to_string())?;
        for project in self.projects.clone() {
            let start = match self.mirrors.get(&project) {
                Some(mirror) => Start::Resume(Box::new(mirror.clone())),
                None => Start::Snapshot,
            };
            match client.try_subscribe(project, start).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    assert!(error.temporary, "client {}: subscribe was refused: {error:?}", self.id);
                    return Err(error.message);
                }
                Err(lost) => {
                    self.remember(client);
                    return Err(lost.to_string());
                }
            }
        }
        Ok(client)
    }

    fn leave(&mut self) {
        if let Some(client) = self.client.take() {
            client.cut();
            self.remember(client);
        }
    }

    /// Keeps what a socket had told before it ended.
    fn remember(&mut self, client: Client) {
        client.assert_sound();
        self.reconnects += 1;
        for project in client.followed() {
            let mirror = client.mirror(project);
            // A subscription that did not get far enough to be continued leaves what was known before.
            if mirror.epoch.is_some() && mirror.state().is_some() && mirror.can_resume() {
                self.mirrors.insert(project, mirror);
            }
        }
    }

    fn learn(&mut self, project: ProjectId, command: &Command, answer: &Answer) {
        let Ok(ack) = answer else { return };
        match command {
            Command::LockAcquire(c) => {
                let grant: LockGrant = serde_json::from_value(ack.result.clone().unwrap_or_default())
                    .unwrap_or_else(|e| panic!("lock_acquire was acknowledged without a grant ({e}): {ack:?}"));
                self.fences.push((project, c.node_id, grant.fence));
            }
            Command::LockRelease(c) => self.fences.retain(|(_, node, _)| *node != c.node_id),
            Command::NodeDelete(c) => self.deleted.push((project, c.node_id)),
            _ => {}
        }
    }

    fn choose(&mut self, project: ProjectId) -> Command {
        let client = self.client.as_ref().expect("it came back");
        let (nodes, edges) = client.with_mirror(project, |mirror| {
            let state = mirror.state().expect("it started with a snapshot");
            let nodes: Vec<(NodeId, i32)> = state.nodes.values().map(|n| (n.id, n.version)).collect();
            let edges: Vec<_> = state.dependencies.keys().copied().collect();
            (nodes, edges)
        });
        let rng = &mut self.rng;
        if nodes.len() < 5 {
            return create(rng, project, None);
        }
        let (node_id, version) = nodes[rng.random_range(0..nodes.len())];
        let (other, _) = nodes[rng.random_range(0..nodes.len())];
        let fence = self.fences.iter().rfind(|(_, node, _)| *node == node_id).map(|(_, _, fence)| *fence);
        let held = self.fences.iter().rfind(|(of, _, _)| *of == project).map(|(_, node, fence)| (*node, *fence));
        let gone = self.deleted.iter().rposition(|(of, _)| *of == project);
        match rng.random_range(0..100) {
            0..20 => {
                let parent = rng.random_bool(0.2).then_some(other);
                create(rng, project, parent)
            }
            20..48 => {
                let changes = changes(rng);
                // Sometimes the version before: a conflict, if the last change touched the same field.
                let base = if rng.random_bool(0.3) { (version - 1).max(1) } else { version };
                let base_version = rng.random_bool(0.5).then_some(base);
                Command::NodeUpdate(NodeUpdate { node_id, changes, base_version, fence })
            }
            48..68 => {
                let mut moves = vec![Move { node_id, position: position(rng) }];
                if other != node_id {
                    moves.push(Move { node_id: other, position: position(rng) });
                }
                Command::NodeMove(NodeMove { moves })
            }
            68..74 => Command::NodeDelete(NodeRef { node_id, fence }),
            74..79 => match gone {
                Some(index) => {
                    let (_, node_id) = self.deleted.remove(index);
                    Command::NodeRestore(NodeRef { node_id, fence: None })
                }
                None => create(rng, project, None),
            },
            79..85 if other != node_id => Command::DependencyAdd(ends(node_id, other)),
            85..89 if !edges.is_empty() => Command::DependencyRemove(DependencyRemove::ById {
                dependency_id: edges[rng.random_range(0..edges.len())],
            }),
            89..91 if other != node_id => Command::DependencyRemove(DependencyRemove::ByEnds(ends(node_id, other))),
            91..96 => Command::LockAcquire(LockAcquire { node_id, ttl_ms: Some(TTL_MS), wait: None }),
            _ => match held {
                Some((node_id, fence)) if rng.random_bool(0.4) => {
                    Command::LockRenew(LockRenew { node_id, fence: Some(fence), ttl_ms: Some(TTL_MS) })
                }
                Some((node_id, fence)) if rng.random_bool(0.5) => {
                    let changes = changes(rng);
                    Command::NodeUpdate(NodeUpdate { node_id, changes, base_version: None, fence: Some(fence) })
                }
                Some((node_id, fence)) => Command::LockRelease(LockRelease { node_id, fence: Some(fence) }),
                None => Command::LockAcquire(LockAcquire { node_id, ttl_ms: Some(TTL_MS), wait: None }),
            },
        }
    }
}

fn create(rng: &mut StdRng, project: ProjectId, parent_id: Option<NodeId>) -> Command {
    Command::NodeCreate(NodeCreate {
        project_id: Some(project),
        id: rng.random_bool(0.5).then(NodeId::random),
        title: format!("Node {}", rng.random_range(0..1_000_000)),
        description: rng.random_bool(0.3).then(|| "Made in a storm".to_owned()),
        status: None,
        parent_id,
        position: Some(position(rng)),
        metadata: None,
        author_type: None,
        supervisor_user_id: None,
    })
}

fn changes(rng: &mut StdRng) -> NodeChanges {
    let mut changes = NodeChanges::default();
    match rng.random_range(0..5) {
        0 => changes.title = Some(format!("Title {}", rng.random_range(0..1_000_000))),
        1 => changes.description = Some(rng.random_bool(0.7).then(|| format!("Text {}", rng.random_range(0..9)))),
        2 => changes.status = Some(["draft", "in_progress", "complete"][rng.random_range(0..3)].to_owned()),
        3 => {
            let number = rng.random_range(0..100).into();
            changes.metadata = Some([("number".to_owned(), number)].into_iter().collect());
        }
        _ => {
            changes.title = Some(format!("Title {}", rng.random_range(0..3)));
            changes.position = Some(position(rng));
        }
    }
    changes
}

fn position(rng: &mut StdRng) -> Position {
    Position {
        x: f64::from(rng.random_range(-5_000..5_000)) / 4.0,
        y: f64::from(rng.random_range(-5_000..5_000)) / 4.0,
    }
}

fn ends(source_node_id: NodeId, target_node_id: NodeId) -> DependencyAdd {
    DependencyAdd { source_node_id, target_node_id, source_output_id: None, target_input_id: None }
}
