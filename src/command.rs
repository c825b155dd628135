//! What each command does inside the transaction.
//!
//! The room writer hands over commands in the order in which they came. Consecutive moves and updates of different nodes
//! run together, as one statement each; everything else runs one by one. A command that fails by a rule fails alone
//! and leaves no trace; a database error fails the transaction, and the writer tries its commands one by one.

use std::collections::HashSet;
use std::mem::discriminant;

use glassbox_protocol::client::{DependencyRemove, NodeRef};
use glassbox_protocol::entity::AuthorType;
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{ClientId, Command, Error, ErrorCode, NodeId, OrgId, ProjectId, RequestId, UserId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::auth::rights::{ProjectRight, ProjectRole};
use crate::store::{Origin, Tx, nodes};

mod create;
mod delete;
mod dependency;
mod lock;
mod moves;
mod update;
pub mod validate;

/// Where commands are applied.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The tenant.
    pub org: OrgId,
    /// The project.
    pub project: ProjectId,
    /// This instance; a wait for a lock is void when it dies.
    pub instance: Uuid,
}

/// A command, who sent it and what they may do.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Who sent it.
    pub user: UserId,
    /// Their effective role, as of this transaction.
    pub role: Option<ProjectRole>,
    /// The client that sent it.
    pub client: ClientId,
    /// Its id.
    pub request: RequestId,
    /// What is asked.
    pub command: &'a Command,
}

impl Job<'_> {
    fn origin(&self) -> Origin {
        Origin { user: Some(self.user), client: Some(self.client), request: Some(self.request), ..Origin::default() }
    }
}

/// What a command did; its seq is known once the transaction is sealed.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// What it did.
    pub outcome: Outcome,
    /// The node's version afterwards.
    pub version: Option<i32>,
    /// What was made or stored.
    pub result: Option<Value>,
    /// Warnings.
    pub details: Option<Value>,
}

impl Done {
    fn new(outcome: Outcome) -> Self {
        Self { outcome, version: None, result: None, details: None }
    }

    fn applied() -> Self {
        Self::new(Outcome::Applied)
    }

    fn unchanged() -> Self {
        Self::new(Outcome::Unchanged)
    }

    fn with_version(mut self, version: i32) -> Self {
        self.version = Some(version);
        self
    }

    fn with_result(mut self, result: Value) -> Self {
        self.result = Some(result);
        self
    }
}

/// What became of a command.
pub type Applied = Result<Done, Error>;

/// Applies commands in order.
///
/// # Errors
/// The database is away or refuses something that no rule of ours has caught; the transaction is lost.
pub async fn apply(tx: &mut Tx, place: Place, jobs: &[Job<'_>]) -> sqlx::Result<Vec<Applied>> {
    // All rows in id order before anything else: two instances that write the same nodes wait and do not deadlock. A
    // batch of one kind does that by itself.
    let is_one_statement = run_length(jobs) == jobs.len()
        && jobs.windows(2).all(|pair| discriminant(pair[0].command) == discriminant(pair[1].command));
    if !is_one_statement {
        let touched: Vec<NodeId> = jobs.iter().flat_map(|job| nodes_of(job.command)).collect();
        nodes::lock(tx, place.project, &touched).await?;
    }
    let mut applied = Vec::with_capacity(jobs.len());
    let mut rest = jobs;
    while let Some(job) = rest.first() {
        if let Err(error) = permit(job) {
            applied.push(Err(error));
            rest = &rest[1..];
            continue;
        }
        let (run, behind) = rest.split_at(run_length(rest));
        rest = behind;
        match job.command {
            Command::NodeMove(_) | Command::NodeUpdate(_) => applied.extend(apply_run(tx, place, run).await?),
            _ => {
                tx.set_origin(&job.origin(), &[]).await?;
                applied.push(apply_one(tx, place, job).await?);
            }
        }
    }
    Ok(applied)
}

/// Applies moves and updates of nodes that all differ: one statement for the moves, one for the updates.
async fn apply_run(tx: &mut Tx, place: Place, run: &[Job<'_>]) -> sqlx::Result<Vec<Applied>> {
    let is_move = |job: &Job<'_>| matches!(job.command, Command::NodeMove(_));
    let (moved, updated): (Vec<Job<'_>>, Vec<Job<'_>>) = run.iter().partition(|job| is_move(job));
    let mut of_moves = moves::apply(tx, place, &moved).await?.into_iter();
    let mut of_updates = update::apply(tx, place, &updated).await?.into_iter();
    let next = |job: &Job<'_>| if is_move(job) { of_moves.next() } else { of_updates.next() };
    Ok(run.iter().filter_map(next).collect())
}

async fn apply_one(tx: &mut Tx, place: Place, job: &Job<'_>) -> sqlx::Result<Applied> {
    match job.command {
        Command::NodeCreate(create) => create::apply(tx, place, job, create).await,
        Command::NodeDelete(NodeRef { node_id, fence }) => delete::apply(tx, place, job, *node_id, *fence).await,
        Command::NodeRestore(NodeRef { node_id, .. }) => delete::restore(tx, place, job, *node_id).await,
        Command::DependencyAdd(edge) => dependency::add(tx, place, edge).await,
        Command::DependencyRemove(edge) => dependency::remove(tx, place, edge).await,
        Command::LockAcquire(acquire) => lock::acquire(tx, place, job, acquire).await,
        Command::LockRenew(renew) => lock::renew(tx, place, job, renew).await,
        Command::LockRelease(release) => lock::release(tx, place, job, release).await,
        Command::NodeMove(_) | Command::NodeUpdate(_) => {
            Ok(Err(Error::new(ErrorCode::Internal, "moves and updates are applied in runs")))
        }
    }
}

/// How many of the first jobs can run together: moves and updates of nodes that differ. Everything else, and an update
/// with a new parent, which is checked against the tree as it stands, runs alone.
fn run_length(jobs: &[Job<'_>]) -> usize {
    let mut touched = HashSet::new();
    let mut length = 0;
    for job in jobs {
        let is_joint = match job.command {
            Command::NodeMove(_) => true,
            Command::NodeUpdate(update) => update.changes.parent_id.is_none(),
            _ => false,
        };
        let is_free = nodes_of(job.command).into_iter().all(|node| touched.insert(node));
        if !is_joint || !is_free || permit(job).is_err() {
            break;
        }
        length += 1;
    }
    length.max(1)
}

fn permit(job: &Job<'_>) -> Result<(), Error> {
    match job.role {
        None => Err(not_found()),
        Some(role) if role.may(ProjectRight::NodeWrite) => Ok(()),
        Some(_) => Err(Error::new(ErrorCode::Forbidden, "viewers cannot change a project")),
    }
}

/// The nodes that a command names.
pub fn nodes_of(command: &Command) -> Vec<NodeId> {
    match command {
        Command::NodeCreate(create) => create.parent_id.into_iter().collect(),
        Command::NodeUpdate(update) => vec![update.node_id],
        Command::NodeMove(moves) => moves.moves.iter().map(|m| m.node_id).collect(),
        Command::NodeDelete(node) | Command::NodeRestore(node) => vec![node.node_id],
        Command::DependencyAdd(edge) | Command::DependencyRemove(DependencyRemove::ByEnds(edge)) => {
            vec![edge.target_node_id, edge.source_node_id]
        }
        Command::DependencyRemove(DependencyRemove::ById { .. }) => Vec::new(),
        Command::LockAcquire(lock) => vec![lock.node_id],
        Command::LockRenew(lock) => vec![lock.node_id],
        Command::LockRelease(lock) => vec![lock.node_id],
    }
}

/// One text for what is not there and for what the caller may not know about.
pub fn not_found() -> Error {
    Error::new(ErrorCode::NotFound, "no such node in this project")
}

fn gone(node: NodeId) -> Error {
    Error::new(ErrorCode::Gone, "the node is deleted").with_details(json!({ "nodeId": node }))
}

fn author_type(kind: AuthorType) -> &'static str {
    match kind {
        AuthorType::Human => "human",
        AuthorType::Agent => "agent",
    }
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::client::{LockAcquire, Move, NodeChanges, NodeMove, NodeUpdate};
    use glassbox_protocol::entity::Position;

    use super::*;

    fn lengths(commands: &[Command]) -> Vec<usize> {
        let jobs: Vec<Job<'_>> = commands
            .iter()
            .map(|command| Job {
                user: UserId::random(),
                role: Some(ProjectRole::Member),
                client: ClientId::random(),
                request: RequestId::random(),
                command,
            })
            .collect();
        let mut rest = jobs.as_slice();
        let mut lengths = Vec::new();
        while !rest.is_empty() {
            let length = run_length(rest);
            lengths.push(length);
            rest = &rest[length..];
        }
        lengths
    }

    fn moved(node_id: NodeId) -> Command {
        Command::NodeMove(NodeMove { moves: vec![Move { node_id, position: Position::default() }] })
    }

    fn updated(node_id: NodeId, parent: Option<NodeId>) -> Command {
        let changes = NodeChanges { parent_id: parent.map(Some), ..NodeChanges::default() };
        Command::NodeUpdate(NodeUpdate { node_id, changes, base_version: None, fence: None })
    }

    #[test]
    fn commands_run_together_only_where_order_does_not_matter() {
        let (a, b, c) = (NodeId::random(), NodeId::random(), NodeId::random());
        let lock = Command::LockAcquire(LockAcquire { node_id: a, ttl_ms: None, wait: None });
        assert_eq!(lengths(&[moved(a), moved(b), moved(c)]), [3]);
        assert_eq!(lengths(&[moved(a), moved(b), moved(a)]), [2, 1]);
        assert_eq!(lengths(&[moved(a), updated(b, None), updated(c, None)]), [3]);
        assert_eq!(lengths(&[moved(a), updated(a, None), moved(b)]), [1, 2]);
        assert_eq!(lengths(&[updated(a, None), updated(b, Some(c)), updated(c, None)]), [1, 1, 1]);
        assert_eq!(lengths(&[lock.clone(), lock, moved(b)]), [1, 1, 1]);
    }
}
