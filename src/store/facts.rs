//! What events of the log do not say: who somebody is, how far an agent's run is, which locks run now. For those who
//! render an event for somebody that keeps no copy of the project.

use std::collections::HashMap;

use glassbox_protocol::{ExecutionId, NodeId, ProjectId, UserId};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Tx;

/// Somebody as the people of their organization see them.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub struct Person {
    id: Uuid,
    /// Where to write to them.
    pub email: String,
    /// How to call them.
    pub name: Option<String>,
    /// Their picture.
    pub avatar_url: Option<String>,
}

impl Person {
    /// Their id.
    pub fn id(&self) -> UserId {
        UserId(self.id)
    }
}

/// Who these people are; those that are not of the organization at hand are left out.
///
/// # Errors
/// The database is away.
pub async fn people(tx: &mut Tx, users: &[UserId]) -> sqlx::Result<HashMap<UserId, Person>> {
    let people: Vec<Person> =
        sqlx::query_as("select u.id, u.email, u.name, u.avatar_url from users u where u.id = any($1)")
            .bind(users.iter().map(|user| user.0).collect::<Vec<_>>())
            .fetch_all(tx.conn())
            .await?;
    Ok(people.into_iter().map(|person| (person.id(), person)).collect())
}

/// What is said of a node that is not told whole.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub struct Outline {
    id: Uuid,
    /// Its version.
    pub version: i32,
    /// Its title.
    pub title: String,
    /// Its state.
    pub status: String,
}

/// Outlines of nodes, deleted or not.
///
/// # Errors
/// The database is away.
pub async fn outlines(tx: &mut Tx, nodes: &[NodeId]) -> sqlx::Result<HashMap<NodeId, Outline>> {
    let outlines: Vec<Outline> = sqlx::query_as(
        "select n.id, coalesce(n.version, 1) as version, n.title, coalesce(n.status, 'draft') as status
        from nodes n
        where n.id = any($1)",
    )
    .bind(nodes.iter().map(|node| node.0).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await?;
    Ok(outlines.into_iter().map(|outline| (NodeId(outline.id), outline)).collect())
}

/// How far an agent's run is.
#[derive(Clone, Debug, Default, FromRow, PartialEq)]
pub struct Progress {
    /// What it does, by its checkpoint, else by its newest trace event.
    pub current_step: Option<String>,
    /// Iterations done, by its checkpoint.
    pub steps_completed: Option<i64>,
    /// What it has cost, US dollars.
    pub estimated_cost: f64,
    /// What it asks a person, by its checkpoint.
    pub human_input_request: Option<Json<Value>>,
}

/// How far a run is now; `None` if it is gone.
///
/// # Errors
/// The database is away.
pub async fn progress(tx: &mut Tx, execution: ExecutionId) -> sqlx::Result<Option<Progress>> {
    sqlx::query_as(
        "select
            coalesce(
                case when jsonb_typeof(c.checkpoint -> 'currentStep') = 'string' then c.checkpoint ->> 'currentStep' end,
                (
                    select t.event_type
                    from agent_trace_events t
                    where t.execution_id = x.id
                    order by t.sequence_number desc
                    limit 1
                )
            ) as current_step,
            case
                when jsonb_typeof(c.checkpoint -> 'iteration') = 'number'
                    then greatest(least((c.checkpoint ->> 'iteration')::numeric, 1000000), 0)::bigint
            end as steps_completed,
            coalesce(x.estimated_cost_usd, 0)::double precision as estimated_cost,
            case
                when jsonb_typeof(c.checkpoint -> 'humanInputRequest') = 'object'
                    then c.checkpoint -> 'humanInputRequest'
            end as human_input_request
        from agent_executions x
        cross join lateral (select realtime.object_or_empty(x.langgraph_checkpoint) as checkpoint) c
        where x.id = $1",
    )
    .bind(execution.0)
    .fetch_optional(tx.conn())
    .await
}

/// What a run is about, and its totals.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub struct Run {
    node_id: Uuid,
    /// Its state.
    pub status: String,
    /// Tokens read so far.
    pub total_tokens_in: i64,
    /// Tokens written so far.
    pub total_tokens_out: i64,
}

impl Run {
    /// The node that it works on.
    pub fn node(&self) -> NodeId {
        NodeId(self.node_id)
    }
}

/// A run as it is now; `None` if it is gone.
///
/// # Errors
/// The database is away.
pub async fn run(tx: &mut Tx, execution: ExecutionId) -> sqlx::Result<Option<Run>> {
    sqlx::query_as(
        "select
            x.node_id,
            coalesce(x.status, 'pending') as status,
            coalesce(x.total_tokens_in, 0)::bigint as total_tokens_in,
            coalesce(x.total_tokens_out, 0)::bigint as total_tokens_out
        from agent_executions x
        where x.id = $1",
    )
    .bind(execution.0)
    .fetch_optional(tx.conn())
    .await
}

/// The newest runs of a project that have not ended, or those of one node of it.
///
/// # Errors
/// The database is away.
pub async fn active_runs(
    tx: &mut Tx,
    project: ProjectId,
    node: Option<NodeId>,
    limit: i64,
) -> sqlx::Result<Vec<ExecutionId>> {
    let runs: Vec<Uuid> = sqlx::query_scalar(
        "select x.id
        from agent_executions x
        join nodes n on n.id = x.node_id
        where n.project_id = $1
            and ($2::uuid is null or n.id = $2)
            and x.status in ('pending', 'running', 'paused', 'awaiting_input')
        order by x.created_at desc nulls last, x.id
        limit $3",
    )
    .bind(project.0)
    .bind(node.map(Uuid::from))
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    Ok(runs.into_iter().map(ExecutionId).collect())
}

/// A lock whose lease runs.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub struct Lock {
    node_id: Uuid,
    locked_by: Uuid,
    /// When it was taken, RFC 3339.
    pub locked_at: String,
    /// When it ends by itself, RFC 3339.
    pub expires_at: String,
}

impl Lock {
    /// The locked node.
    pub fn node(&self) -> NodeId {
        NodeId(self.node_id)
    }

    /// Who holds it.
    pub fn holder(&self) -> UserId {
        UserId(self.locked_by)
    }
}

/// The locks of a project that run now, or that of one node of it; oldest first, at most 1 000.
///
/// # Errors
/// The database is away.
pub async fn locks(tx: &mut Tx, project: ProjectId, node: Option<NodeId>) -> sqlx::Result<Vec<Lock>> {
    sqlx::query_as(
        "select
            n.id as node_id,
            n.locked_by,
            realtime.time_text(n.locked_at) as locked_at,
            realtime.time_text(n.lock_expires_at) as expires_at
        from nodes n
        where n.project_id = $1
            and ($2::uuid is null or n.id = $2)
            and n.deleted_at is null
            and n.locked_by is not null
            and n.lock_expires_at > clock_timestamp()
        order by n.locked_at, n.id
        limit 1000",
    )
    .bind(project.0)
    .bind(node.map(Uuid::from))
    .fetch_all(tx.conn())
    .await
}

/// What somebody who was away missed of locks and deletions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Nodes that are not locked, and may have been.
    pub unlocked: Vec<NodeId>,
    /// Nodes that were deleted; those that may have been locked stand in both.
    pub deleted: Vec<NodeId>,
}

/// What may have been missed since a moment in a project, or on one node of it; at most 1 000 nodes, the newest.
///
/// # Errors
/// The database is away.
pub async fn missed(
    tx: &mut Tx,
    project: ProjectId,
    node: Option<NodeId>,
    since: OffsetDateTime,
) -> sqlx::Result<Missed> {
    // Every write of a row moves updated_at; a lease that is over and not swept yet has moved nothing.
    let rows: Vec<(Uuid, bool, bool)> = sqlx::query_as(
        "select
            n.id,
            n.deleted_at is not null,
            exists (select from realtime.locks l where l.node_id = n.id)
        from nodes n
        where n.project_id = $1
            and ($2::uuid is null or n.id = $2)
            and (
                n.deleted_at >= $3
                or (
                    n.deleted_at is null
                    and exists (select from realtime.locks l where l.node_id = n.id)
                    and case
                        when n.locked_by is null then n.updated_at >= $3
                        else n.lock_expires_at <= clock_timestamp()
                    end
                )
            )
        order by n.updated_at desc nulls last, n.id
        limit 1000",
    )
    .bind(project.0)
    .bind(node.map(Uuid::from))
    .bind(since)
    .fetch_all(tx.conn())
    .await?;
    let mut missed = Missed::default();
    for (id, is_deleted, was_locked) in rows {
        if was_locked {
            missed.unlocked.push(NodeId(id));
        }
        if is_deleted {
            missed.deleted.push(NodeId(id));
        }
    }
    Ok(missed)
}
