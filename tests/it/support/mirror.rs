//! What a client knows of a project, and the same folded from the log and read from the tables: three ways to one
//! state that have to agree.
//!
//! Left out of the comparison is what events do not carry: `updatedAt`, and the lock fields of nodes, since locks
//! are a map of their own. An edge counts while both of its ends are on the canvas.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};

use glassbox_protocol::client::NodeChanges;
use glassbox_protocol::entity::{Actor, Dependency, Node};
use glassbox_protocol::server::{Head, Reset, Snapshot, Subscribed, Synced};
use glassbox_protocol::{
    Channel, ClientId, DependencyId, Epoch, Event, EventFrame, Fence, NodeId, ProjectId, RequestId, Seq, UserId,
};
use serde::Deserialize;
use serde_json::Value;
use sqlx::{PgPool, Row as _};

/// A project's content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Nodes on the canvas.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Edges, those of deleted nodes too.
    pub dependencies: BTreeMap<DependencyId, Dependency>,
    /// Who holds which node's lock.
    pub locks: BTreeMap<NodeId, UserId>,
}

impl State {
    /// Applies one event.
    ///
    /// # Errors
    /// The event speaks of a node that is not there, in words for the failing test.
    pub fn apply(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::NodeCreated { node_id, node } | Event::NodeRestored { node_id, node } => {
                if self.nodes.contains_key(node_id) {
                    return Err(format!("node {node_id} appears a second time"));
                }
                self.nodes.insert(*node_id, comparable((**node).clone()));
            }
            Event::NodeUpdated { node_id, changes, version, .. } => {
                // A foreign writer may change a node that is deleted; `node_restored` brings it whole.
                if let Some(node) = self.nodes.get_mut(node_id) {
                    change(node, changes);
                    node.version = *version;
                }
            }
            Event::NodesMoved { moves } => {
                for m in moves {
                    if let Some(node) = self.nodes.get_mut(&m.node_id) {
                        node.position = m.position;
                    }
                }
            }
            Event::NodeDeleted { node_id } => {
                self.nodes.remove(node_id).ok_or_else(|| format!("no node {node_id} to delete"))?;
            }
            Event::NodeInputAdded { node_id, input } => {
                self.nodes.entry(*node_id).and_modify(|node| add(&mut node.inputs, input));
            }
            Event::NodeInputRemoved { node_id, input_id } => {
                self.nodes.entry(*node_id).and_modify(|node| remove(&mut node.inputs, *input_id));
            }
            Event::NodeOutputAdded { node_id, output } => {
                self.nodes.entry(*node_id).and_modify(|node| add(&mut node.outputs, output));
            }
            Event::NodeOutputRemoved { node_id, output_id } => {
                self.nodes.entry(*node_id).and_modify(|node| remove(&mut node.outputs, *output_id));
            }
            Event::DependencyAdded { dependency } => {
                self.dependencies.insert(dependency.id, dependency.clone());
            }
            Event::DependencyRemoved { dependency_id, .. } => {
                self.dependencies.remove(dependency_id);
            }
            Event::LockAcquired { node_id, locked_by, .. } => {
                self.locks.insert(*node_id, *locked_by);
            }
            Event::LockReleased { node_id, .. } => {
                self.locks.remove(node_id);
            }
            Event::LockRenewed { .. }
            | Event::ExecutionUpdate { .. }
            | Event::MemberAdded { .. }
            | Event::MemberUpdated { .. }
            | Event::MemberRemoved { .. }
            | Event::ProjectUpdated { .. }
            | Event::FileUpdate { .. } => {}
            Event::ProjectDeleted {} => *self = Self::default(),
            Event::Notification { .. } | Event::NotificationsRead { .. } => {
                return Err("a user's event in a project's log".to_owned());
            }
            Event::TraceEvent(_) | Event::ExecutionClosed { .. } => {
                return Err("an execution's event in a project's log".to_owned());
            }
        }
        Ok(())
    }

    /// A number that is equal for equal visible states.
    pub fn fingerprint(&self) -> u64 {
        hash(&self.visible())
    }

    /// What differs, one line for each item; empty when nothing does.
    pub fn difference(&self, other: &State) -> String {
        let (ours, theirs) = (self.visible(), other.visible());
        let mut text = String::new();
        for (key, value) in &ours {
            match theirs.get(key) {
                None => writeln!(text, "{key}: {value} against nothing"),
                Some(other) if other != value => writeln!(text, "{key}: {value} against {other}"),
                Some(_) => continue,
            }
            .expect("writing to a string");
        }
        for (key, value) in theirs.iter().filter(|(key, _)| !ours.contains_key(*key)) {
            writeln!(text, "{key}: nothing against {value}").expect("writing to a string");
        }
        text
    }

    fn visible(&self) -> BTreeMap<String, String> {
        let on_canvas = |id| self.nodes.contains_key(id);
        let nodes = self.nodes.iter().map(|(id, node)| (format!("node {id}"), json(node)));
        let dependencies = self
            .dependencies
            .values()
            .filter(|d| on_canvas(&d.source_node_id) && on_canvas(&d.target_node_id))
            .map(|d| (format!("dependency {}", d.id), json(d)));
        let locks = self.locks.iter().map(|(id, user)| (format!("lock {id}"), user.to_string()));
        nodes.chain(dependencies).chain(locks).collect()
    }
}

/// Where a subscription starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// Now.
    Live,
    /// With the whole state.
    Snapshot,
    /// Where another mirror ends.
    Resume(Box<Mirror>),
}

/// A subscription's view of a project; refuses what breaks the order of the log.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// The project.
    pub project: ProjectId,
    /// The life of the log, once it is known.
    pub epoch: Option<Epoch>,
    /// The newest event of the newest whole transaction: what a resume names.
    pub seq: Seq,
    /// The subscription, once it is known.
    pub generation: Option<u32>,
    /// Whether `synced` came.
    pub is_synced: bool,
    /// How many snapshots were taken.
    pub snapshots: u32,
    /// How many times the server said `reset`.
    pub resets: u32,
    /// Commands of this client whose events came, with the seq of the last one.
    pub own: BTreeMap<RequestId, Seq>,
    /// What each event was, for comparison with the log.
    pub seen: BTreeMap<Seq, u64>,
    state: State,
    /// Whether the state is known: not with a live subscription.
    is_complete: bool,
    parts: Vec<Snapshot>,
    open: Vec<EventFrame>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Asked,
    AwaitsSnapshot,
    Running,
}

impl Mirror {
    /// Starts over from `start`.
    pub fn new(project: ProjectId, start: Start) -> Self {
        let fresh = Self {
            project,
            epoch: None,
            seq: Seq::ZERO,
            generation: None,
            is_synced: false,
            snapshots: 0,
            resets: 0,
            own: BTreeMap::new(),
            seen: BTreeMap::new(),
            state: State::default(),
            is_complete: matches!(start, Start::Snapshot),
            parts: Vec::new(),
            open: Vec::new(),
            phase: Phase::Asked,
        };
        match start {
            Start::Live | Start::Snapshot => fresh,
            // What a cut left of a transaction comes again.
            Start::Resume(mirror) => Self {
                generation: None,
                is_synced: false,
                parts: Vec::new(),
                open: Vec::new(),
                phase: Phase::Asked,
                ..*mirror
            },
        }
    }

    /// The state after the newest whole transaction; `None` for a live subscription.
    pub fn state(&self) -> Option<&State> {
        self.is_complete.then_some(&self.state)
    }

    /// The node as this client knows it.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.state.nodes.get(&id)
    }

    /// A number that is equal for equal visible states.
    pub fn fingerprint(&self) -> u64 {
        self.state.fingerprint()
    }

    /// Whether frames of this subscription carry `generation`. Those of an earlier subscription may still come.
    pub fn is_of(&self, generation: Option<u32>) -> bool {
        self.generation.is_some() && self.generation == generation
    }

    /// Whether state and position belong together, so that a resume can go on from here.
    pub fn can_resume(&self) -> bool {
        self.phase == Phase::Running
    }

    pub(super) fn subscribed(&mut self, frame: &Subscribed, start: &StartKind) -> Result<(), String> {
        if self.phase != Phase::Asked {
            return Err("a second subscribed".to_owned());
        }
        self.generation = Some(frame.generation);
        match start {
            StartKind::Snapshot => self.phase = Phase::AwaitsSnapshot,
            StartKind::Live => {
                self.seq = frame.head;
                self.phase = Phase::Running;
            }
            StartKind::Resume => self.phase = Phase::Running,
        }
        if *start != StartKind::Resume {
            self.epoch = Some(frame.epoch);
        }
        Ok(())
    }

    pub(super) fn reset(&mut self, frame: &Reset) -> Result<(), String> {
        if self.is_synced && self.phase != Phase::Running {
            return Err("reset while a snapshot is under way".to_owned());
        }
        self.resets += 1;
        self.epoch = Some(frame.epoch);
        self.is_synced = false;
        self.open.clear();
        self.parts.clear();
        self.seen.clear();
        self.phase = Phase::AwaitsSnapshot;
        Ok(())
    }

    pub(super) fn snapshot(&mut self, frame: Snapshot) -> Result<(), String> {
        if self.phase != Phase::AwaitsSnapshot {
            return Err("a snapshot that nobody asked for".to_owned());
        }
        let expected = u32::try_from(self.parts.len() + 1).unwrap_or(u32::MAX);
        if frame.part != expected || frame.part > frame.parts {
            return Err(format!("snapshot part {} of {} where {expected} is due", frame.part, frame.parts));
        }
        if self.parts.first().is_some_and(|first| first.seq != frame.seq || first.parts != frame.parts) {
            return Err("the parts of a snapshot are of different moments".to_owned());
        }
        let is_last = frame.part == frame.parts;
        self.parts.push(frame);
        if is_last {
            self.state = State::default();
            for part in self.parts.drain(..) {
                self.seq = part.seq;
                self.state.nodes.extend(part.nodes.into_iter().map(|n| (n.id, comparable(n))));
                self.state.dependencies.extend(part.dependencies.into_iter().map(|d| (d.id, d)));
                self.state.locks.extend(part.locks.into_iter().map(|l| (l.node_id, l.locked_by)));
            }
            self.is_complete = true;
            self.snapshots += 1;
            self.phase = Phase::Running;
        }
        Ok(())
    }

    pub(super) fn synced(&mut self, frame: &Synced) -> Result<(), String> {
        if self.phase != Phase::Running || self.is_synced {
            return Err("synced out of turn".to_owned());
        }
        if !self.is_complete && self.seen.is_empty() {
            // Live from here: what lay before is not ours to know.
            self.seq = frame.seq;
        }
        if frame.seq != self.received() {
            return Err(format!("synced at {} after {}", frame.seq, self.received()));
        }
        self.is_synced = true;
        Ok(())
    }

    pub(super) fn head(&mut self, frame: &Head) -> Result<(), String> {
        if self.is_synced && frame.seq != self.received() {
            return Err(format!("head says {} after {}", frame.seq, self.received()));
        }
        if self.is_synced && self.epoch != Some(frame.epoch) {
            return Err("head of another epoch without a reset".to_owned());
        }
        Ok(())
    }

    pub(super) fn event(&mut self, frame: EventFrame) -> Result<(), String> {
        if self.phase != Phase::Running {
            return Err(format!("event {} before the state", frame.seq));
        }
        let expected = self.received().next();
        if frame.seq != expected {
            return Err(format!("event {} where {expected} is due", frame.seq));
        }
        self.seen.insert(frame.seq, event_hash(&frame.event, frame.by.as_ref()));
        if let Some(request) = frame.request_id {
            self.own.insert(request, frame.seq);
        }
        let is_end = frame.tx_end;
        self.open.push(frame);
        if is_end {
            for frame in std::mem::take(&mut self.open) {
                self.seq = frame.seq;
                if self.is_complete {
                    self.state.apply(&frame.event).map_err(|e| format!("event {}: {e}", frame.seq))?;
                }
            }
        }
        Ok(())
    }

    fn received(&self) -> Seq {
        self.open.last().map_or(self.seq, |frame| frame.seq)
    }
}

/// [`Start`] without what it carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum StartKind {
    Live,
    Snapshot,
    Resume,
}

/// One event as the log holds it.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its number.
    pub seq: Seq,
    /// What happened.
    pub event: Event,
    /// Who did it.
    pub by: Option<Actor>,
    /// What only the author sees.
    pub private: Private,
    /// Whether its transaction ends with it.
    pub is_tx_end: bool,
}

/// The second half of a line of the log.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Private {
    /// The command.
    pub request: Option<RequestId>,
    /// The client that sent it.
    pub client: Option<ClientId>,
    /// Its user.
    pub user: Option<UserId>,
    /// The lock's token.
    pub fence: Option<Fence>,
}

/// Reads a project's whole log. Panics where it is not 1, 2, 3, ... up to the head.
pub async fn read_log(superuser: &PgPool, project: ProjectId) -> Vec<LogEntry> {
    #[derive(Deserialize)]
    struct Public {
        #[serde(flatten)]
        event: Event,
        by: Option<Actor>,
    }
    let mut tx = superuser.begin_with("begin isolation level repeatable read read only").await.expect("begin");
    let head: Option<(i64, i64)> = sqlx::query_as("select seq, floor from realtime.heads where stream_id = $1")
        .bind(project.0)
        .fetch_optional(&mut *tx)
        .await
        .expect("read a head");
    let rows = sqlx::query("select seq, n, body from realtime.events where stream_id = $1 order by seq")
        .bind(project.0)
        .fetch_all(&mut *tx)
        .await
        .expect("read a log");
    let mut entries: Vec<LogEntry> = Vec::new();
    for row in rows {
        let (last, count, body): (i64, i32, String) = (row.get("seq"), row.get("n"), row.get("body"));
        let lines: Vec<&str> = body.split('\n').collect();
        assert_eq!(lines.len(), usize::try_from(count).expect("a count"), "{project}: lines of the row {last}");
        for (line, seq) in lines.into_iter().zip(last - i64::from(count) + 1..) {
            let (public, private) = line.split_once('\t').unwrap_or((line, "{}"));
            let public: Public =
                serde_json::from_str(public).unwrap_or_else(|e| panic!("{project} {seq}: {e}: {line}"));
            let private = serde_json::from_str(private).unwrap_or_else(|e| panic!("{project} {seq}: {e}: {line}"));
            entries.push(LogEntry {
                seq: Seq(seq),
                event: public.event,
                by: public.by,
                private,
                is_tx_end: seq == last,
            });
        }
    }
    let numbers: Vec<i64> = entries.iter().map(|e| e.seq.0).collect();
    let (head, floor) = head.unwrap_or_default();
    assert_eq!(floor, 0, "{project}: the log has lost its beginning");
    assert_eq!(numbers, (1..=head).collect::<Vec<i64>>(), "{project}: the log has gaps or doubles");
    entries
}

/// Folds a log into the state that it tells of.
pub fn fold(log: &[LogEntry]) -> State {
    let mut state = State::default();
    for entry in log {
        state.apply(&entry.event).unwrap_or_else(|e| panic!("event {} of the log: {e}", entry.seq));
    }
    state
}

/// Reads the state from the tables, past the log.
pub async fn read_tables(superuser: &PgPool, project: ProjectId) -> State {
    let mut tx = superuser.begin_with("begin isolation level repeatable read read only").await.expect("begin");
    let nodes: Vec<Value> = sqlx::query_scalar(
        "select realtime.node_json(n) || realtime.node_lists(n.id)
         from nodes n
         where n.project_id = $1
           and n.deleted_at is null",
    )
    .bind(project.0)
    .fetch_all(&mut *tx)
    .await
    .expect("read nodes");
    let dependencies: Vec<Value> = sqlx::query_scalar(
        "select realtime.dependency_json(d)
         from node_dependencies d
         join nodes n on n.id = d.target_node_id
         where n.project_id = $1",
    )
    .bind(project.0)
    .fetch_all(&mut *tx)
    .await
    .expect("read dependencies");
    let locks: Vec<(uuid::Uuid, uuid::Uuid)> = sqlx::query_as(
        "select id, locked_by
         from nodes
         where project_id = $1
           and locked_by is not null",
    )
    .bind(project.0)
    .fetch_all(&mut *tx)
    .await
    .expect("read locks");
    let nodes = nodes.into_iter().map(|v| serde_json::from_value::<Node>(v).expect("the wire's shape of a node"));
    let dependencies =
        dependencies.into_iter().map(|v| serde_json::from_value::<Dependency>(v).expect("the wire's shape of an edge"));
    State {
        nodes: nodes.map(|n| (n.id, comparable(n))).collect(),
        dependencies: dependencies.map(|d| (d.id, d)).collect(),
        locks: locks.into_iter().map(|(node, user)| (NodeId(node), UserId(user))).collect(),
    }
}

/// A number that is equal for equal events; the fence does not count, since only the holder is told.
pub fn event_hash(event: &Event, by: Option<&Actor>) -> u64 {
    let mut event = event.clone();
    if let Event::LockAcquired { fence, .. } = &mut event {
        *fence = None;
    }
    hash(&(json(&event), json(&by)))
}

/// The project of a channel.
pub fn project_of(channel: Channel) -> ProjectId {
    match channel {
        Channel::Project(project) => project,
        other => panic!("a project's frame is on {other}"),
    }
}

fn change(node: &mut Node, changes: &NodeChanges) {
    let NodeChanges { title, description, status, parent_id, supervisor_user_id, metadata, position } = changes.clone();
    if let Some(title) = title {
        node.title = title;
    }
    if let Some(description) = description {
        node.description = description;
    }
    if let Some(status) = status {
        node.status = status;
    }
    if let Some(parent_id) = parent_id {
        node.parent_id = parent_id;
    }
    if let Some(supervisor) = supervisor_user_id {
        node.supervisor_user_id = supervisor;
    }
    if let Some(metadata) = metadata {
        node.metadata = metadata;
    }
    if let Some(position) = position {
        node.position = position;
    }
}

fn comparable(mut node: Node) -> Node {
    node.updated_at = String::new();
    node.deleted_at = None;
    (node.locked_by, node.locked_at, node.lock_expires_at) = (None, None, None);
    for part in node.inputs.iter_mut().chain(&mut node.outputs) {
        without_views(part);
    }
    node.inputs.sort_by_key(part_id);
    node.outputs.sort_by_key(part_id);
    node
}

/// Snapshots may show what an input or output refers to; events do not.
fn without_views(part: &mut Value) {
    if let Some(fields) = part.as_object_mut() {
        fields.remove("file");
        fields.remove("sourceNode");
    }
}

fn part_id(part: &Value) -> String {
    part["id"].as_str().unwrap_or_default().to_owned()
}

fn add(parts: &mut Vec<Value>, part: &Value) {
    let mut part = part.clone();
    without_views(&mut part);
    parts.push(part);
    parts.sort_by_key(part_id);
}

fn remove(parts: &mut Vec<Value>, id: uuid::Uuid) {
    let id = id.to_string();
    parts.retain(|part| part_id(part) != id);
}

fn json<T: serde::Serialize>(value: &T) -> String {
    // By way of a value, whose keys have one order.
    serde_json::to_value(value).expect("wire types are JSON").to_string()
}

fn hash<T: std::hash::Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn a_mirror_refuses_what_breaks_the_order_of_the_log() {
    let project = ProjectId::random();
    let channel = Channel::Project(project);
    let epoch = Epoch::random();
    let subscribed = Subscribed { channel, role: "member".to_owned(), epoch, head: Seq(7), generation: 1 };
    let event = |seq, tx_end| EventFrame {
        event: Event::MemberRemoved { user_id: UserId::random() },
        channel,
        seq: Seq(seq),
        at: String::new(),
        by: None,
        request_id: None,
        tx_end,
        generation: Some(1),
    };
    let live = || {
        let mut mirror = Mirror::new(project, Start::Live);
        mirror.subscribed(&subscribed, &StartKind::Live).expect("the first answer");
        mirror.synced(&Synced { channel, generation: 1, seq: Seq(7) }).expect("live from the head");
        mirror
    };

    let mut mirror = live();
    mirror.event(event(8, false)).expect("the next one");
    assert_eq!(mirror.seq, Seq(7), "a transaction counts as a whole");
    mirror.event(event(9, true)).expect("the next one");
    assert_eq!(mirror.seq, Seq(9));
    assert!(mirror.head(&Head { channel, generation: 1, epoch, seq: Seq(9) }).is_ok());
    assert!(mirror.head(&Head { channel, generation: 1, epoch, seq: Seq(10) }).is_err(), "something was missed");
    for wrong in [9, 11, 7] {
        assert!(live().event(event(wrong, true)).is_err(), "{wrong} after 7");
    }
    assert!(live().subscribed(&subscribed, &StartKind::Live).is_err(), "subscribed twice");
    assert!(live().synced(&Synced { channel, generation: 1, seq: Seq(7) }).is_err(), "synced twice");
}
