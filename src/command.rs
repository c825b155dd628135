//! What each command does inside the transaction.
//!
//! The room writer hands over commands in the order in which they came. Moves and updates of different nodes run together,
//! as one statement each, in waves; everything else runs one by one. A command that fails by a rule fails alone
//! and leaves no trace; a database error fails the transaction, and the writer tries its commands one by one.

use std::collections::HashSet;
use std::mem::discriminant;
use std::sync::Arc;

use glassbox_protocol::client::NodeRef;
use glassbox_protocol::entity::AuthorType;
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{ClientId, Command, Error, ErrorCode, NodeId, OrgId, ProjectId, RequestId, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use self::inverse::Inverse;
use crate::auth::rights::{ProjectRight, ProjectRole};
use crate::store;
use crate::store::tree::ReturnTo;
use crate::store::undo::{NewStep, Which};
use crate::store::view::{self, Viewer};
use crate::store::{Origin, Tx, Via, nodes};

mod create;
mod delete;
mod dependency;
mod inverse;
mod kind;
mod lock;
mod moves;
mod parts;
mod people;
mod rollback;
mod undo;
mod update;
pub mod validate;

pub use kind::{command_type, nodes_of};
pub use undo::wrong_channel;

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
    /// The client that sent it; absent for a request of the REST API, whose locks belong to the user.
    pub client: Option<ClientId>,
    /// Its id.
    pub request: RequestId,
    /// What is asked.
    pub command: &'a Command,
    /// Where it came from.
    pub via: &'a Arc<Via>,
    /// What the answer tells.
    pub answer: AnswerWith,
}

/// How much of what a command did stands in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerWith {
    /// What the sender cannot know: ids, versions, fences.
    News,
    /// The whole entity as it stands after the command, for callers who do not follow the log.
    Entity,
}

impl Job<'_> {
    /// Whether its user may take it back: what a session sends, not what a request of the REST API asks for.
    fn is_undoable(&self) -> bool {
        self.client.is_some()
    }

    fn origin(&self) -> Origin {
        Origin {
            user: Some(self.user),
            client: self.client,
            request: Some(self.request),
            via: Some(Arc::clone(self.via)),
            ..Origin::default()
        }
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
    /// What takes it back; absent where nothing changed, or nobody may.
    inverse: Option<Box<Inverse>>,
}

impl Done {
    fn new(outcome: Outcome) -> Self {
        Self { outcome, version: None, result: None, details: None, inverse: None }
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

    fn with_inverse(mut self, inverse: Inverse) -> Self {
        self.inverse = Some(Box::new(inverse));
        self
    }
}

/// What became of a command.
pub type Applied = Result<Done, Error>;

/// Applies commands in order. Returns what became of each, and what their users may take back and that is not on their
/// stacks yet.
///
/// # Errors
/// The database is away or refuses something that no rule of ours has caught; the transaction is lost.
pub async fn apply(tx: &mut Tx, place: Place, jobs: &[Job<'_>]) -> sqlx::Result<(Vec<Applied>, Vec<NewStep>)> {
    // All rows in id order before anything else: two instances that write the same nodes wait and do not deadlock. A
    // single wave of one kind does that by itself.
    let everything: Vec<usize> = (0..jobs.len()).collect();
    let is_one_statement = wave(jobs, &everything).len() == jobs.len()
        && jobs.windows(2).all(|pair| discriminant(pair[0].command) == discriminant(pair[1].command));
    if !is_one_statement {
        let touched: Vec<NodeId> = jobs.iter().flat_map(|job| nodes_of(job.command)).collect();
        nodes::lock(tx, place.project, &touched).await?;
    }

    let mut applied: Vec<Option<Applied>> = jobs.iter().map(|job| permit(job).err().map(Err)).collect();
    let mut waiting: Vec<usize> = everything.into_iter().filter(|i| applied[*i].is_none()).collect();
    while let Some(&first) = waiting.first() {
        let together = wave(jobs, &waiting);
        if together.is_empty() {
            let job = &jobs[first];
            if matches!(job.command, Command::Undo(_) | Command::Redo(_)) {
                // All that was sent before it is applied, and may be what is meant.
                let steps = undo::steps(jobs, applied.iter_mut().map(Option::as_mut));
                store::undo::push(tx, place.org, place.project, &steps).await?;
            }
            tx.set_origin(&job.origin(), &[]).await?;
            applied[first] = Some(apply_one(tx, place, job).await?);
        } else {
            let run: Vec<Job<'_>> = together.iter().map(|i| jobs[*i]).collect();
            for (i, answer) in together.iter().zip(apply_run(tx, place, &run).await?) {
                applied[*i] = Some(answer);
            }
        }
        waiting.retain(|i| applied[*i].is_none());
    }
    let mut applied: Vec<Applied> = applied.into_iter().flatten().collect();
    tell_entities(tx, jobs, &mut applied).await?;
    let steps = undo::steps(jobs, applied.iter_mut().map(Some));
    Ok((applied, steps))
}

/// Puts whole nodes, inputs and outputs into the answers of those who asked for them.
async fn tell_entities(tx: &mut Tx, jobs: &[Job<'_>], applied: &mut [Applied]) -> sqlx::Result<()> {
    for (job, answer) in jobs.iter().zip(applied).filter(|(job, _)| job.answer == AnswerWith::Entity) {
        let Ok(done) = answer else { continue };
        let made =
            |key: &str| done.result.as_ref().and_then(|r| r[key].as_str()).and_then(|id| id.parse::<Uuid>().ok());
        let node = match job.command {
            Command::NodeCreate(_) => made("nodeId").map(NodeId),
            Command::NodeUpdate(update) => Some(update.node_id),
            Command::NodeRestore(node) => Some(node.node_id),
            Command::NodeRollback(rollback) => Some(rollback.node_id),
            _ => None,
        };
        if let Some(node) = node {
            done.result = json_of(view::node(tx, node, Viewer::User(job.user)).await?)?;
            continue;
        }
        match (job.command, made("inputId"), made("outputId")) {
            (Command::NodeInputAdd(add), Some(input), _) => {
                done.result = json_of(view::input(tx, add.node_id, input, job.user).await?)?;
            }
            (Command::NodeOutputAdd(add), _, Some(output)) => {
                done.result = json_of(view::output(tx, add.node_id, output, job.user).await?)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn json_of(entity: Option<impl Serialize>) -> sqlx::Result<Option<Value>> {
    entity.map(serde_json::to_value).transpose().map_err(|e| sqlx::Error::Decode(e.into()))
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
        Command::NodeDelete(NodeRef { node_id, fence }) => delete::apply(tx, place, job, *node_id, *fence, None).await,
        Command::NodeRestore(NodeRef { node_id, .. }) => {
            delete::restore(tx, place, job, *node_id, ReturnTo::ItsPlace).await
        }
        Command::NodeRollback(rollback) => rollback::apply(tx, place, job, rollback).await,
        Command::NodeInputAdd(add) => parts::add_input(tx, place, job, add).await,
        Command::NodeInputRemove(remove) => parts::remove_input(tx, place, job, remove).await,
        Command::NodeOutputAdd(add) => parts::add_output(tx, place, job, add).await,
        Command::NodeOutputRemove(remove) => parts::remove_output(tx, place, job, remove).await,
        Command::DependencyAdd(edge) => dependency::add(tx, place, job, edge).await,
        Command::DependencyUpdate(edge) => dependency::update(tx, place, job, edge).await,
        Command::DependencyRemove(edge) => dependency::remove(tx, place, job, edge).await,
        Command::LockAcquire(acquire) => lock::acquire(tx, place, job, acquire).await,
        Command::LockRenew(renew) => lock::renew(tx, place, job, renew).await,
        Command::LockRelease(release) => lock::release(tx, place, job, release).await,
        Command::LockBreak(wanted) => lock::break_lock(tx, place, job, wanted).await,
        Command::Undo(wanted) => undo::apply(tx, place, job, wanted.channel, Which::Done).await,
        Command::Redo(wanted) => undo::apply(tx, place, job, wanted.channel, Which::Undone).await,
        Command::NodeMove(_) | Command::NodeUpdate(_) => {
            let answer = apply_run(tx, place, std::slice::from_ref(job)).await?.pop();
            Ok(answer.unwrap_or_else(|| Err(Error::new(ErrorCode::Internal, "the command got no answer"))))
        }
    }
}

/// Which of the waiting jobs run together next: moves and updates of different nodes, each after all earlier commands
/// for its nodes. Nothing goes past a command of another kind, nor past an update with a new parent, which is checked
/// against the tree as it stands; such a command runs alone, and the wave that begins with it is empty.
fn wave(jobs: &[Job<'_>], waiting: &[usize]) -> Vec<usize> {
    let mut touched = HashSet::new();
    let mut together = Vec::new();
    for &i in waiting {
        let command = jobs[i].command;
        let is_joint = match command {
            Command::NodeMove(_) => true,
            Command::NodeUpdate(update) => update.changes.parent_id.is_none(),
            _ => false,
        };
        if !is_joint {
            break;
        }
        let nodes = nodes_of(command);
        if nodes.iter().all(|node| !touched.contains(node)) {
            together.push(i);
        }
        touched.extend(nodes);
    }
    together
}

fn permit(job: &Job<'_>) -> Result<(), Error> {
    match job.role {
        None => Err(not_found()),
        Some(role) if role.may(ProjectRight::NodeWrite) => Ok(()),
        Some(_) => Err(Error::new(ErrorCode::Forbidden, "viewers cannot change a project")),
    }
}

/// One text for what is not there and for what the caller may not know about.
pub fn not_found() -> Error {
    Error::new(ErrorCode::NotFound, "no such node in this project")
}

/// What a command for a deleted node is told.
pub(crate) fn gone(node: NodeId) -> Error {
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

    /// The order in which commands run: those of one wave together.
    fn waves(commands: &[Command]) -> Vec<Vec<usize>> {
        let via = Arc::new(Via { ip: std::net::Ipv4Addr::LOCALHOST.into(), user_agent: None });
        let jobs: Vec<Job<'_>> = commands
            .iter()
            .map(|command| Job {
                user: UserId::random(),
                role: Some(ProjectRole::Member),
                client: Some(ClientId::random()),
                request: RequestId::random(),
                command,
                via: &via,
                answer: AnswerWith::News,
            })
            .collect();
        let mut waiting: Vec<usize> = (0..jobs.len()).collect();
        let mut waves = Vec::new();
        while let Some(&first) = waiting.first() {
            let mut together = wave(&jobs, &waiting);
            if together.is_empty() {
                together.push(first);
            }
            waiting.retain(|i| !together.contains(i));
            waves.push(together);
        }
        waves
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
        assert_eq!(waves(&[moved(a), moved(b), updated(c, None)]), [[0, 1, 2]]);
        assert_eq!(waves(&[moved(a), updated(a, None), moved(b), moved(a)]), [vec![0, 2], vec![1], vec![3]]);
        assert_eq!(waves(&[updated(a, None), updated(b, Some(c)), updated(c, None)]), [[0], [1], [2]]);
        assert_eq!(waves(&[lock.clone(), moved(b), lock, moved(c)]), [[0], [1], [2], [3]]);
    }
}
