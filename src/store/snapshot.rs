//! The whole state of a project at one moment: what a client starts from before it follows the log.
//!
//! It holds what the events would have built, the same for everybody: inputs and outputs name the files and nodes that
//! they refer to and do not contain them.

use glassbox_protocol::{Epoch, NodeId, ProjectId, Seq};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use super::members::standing_columns;
use super::projects::{self, Project, time_text};
use super::view::Viewer;
use super::{Tx, members, view};

/// Most members that a snapshot names.
const MEMBERS_MAX: i64 = 10_000;

/// A project at one moment. The lists hold finished JSON, in the shapes of `glassbox_protocol::entity`.
#[derive(Debug)]
pub struct ProjectSnapshot {
    /// The log's present life.
    pub epoch: Epoch,
    /// The newest event that the state contains.
    pub head: Seq,
    /// The project, without anybody's role.
    pub project: Project,
    /// Every node that is not deleted, oldest first, with inputs and outputs.
    pub nodes: Vec<Box<RawValue>>,
    /// The dependencies, oldest first; those of deleted nodes as well, for they come back with the node.
    pub dependencies: Vec<Box<RawValue>>,
    /// Locks whose lease runs.
    pub locks: Vec<Box<RawValue>>,
    /// Agents' runs that have not ended.
    pub executions: Vec<Box<RawValue>>,
    /// Who has access, with their effective roles.
    pub members: Vec<Box<RawValue>>,
}

/// Reads a project. The transaction must come from [`super::Database::begin_snapshot`]: its several queries then see
/// one moment.
///
/// # Errors
/// The database is away; [`sqlx::Error::RowNotFound`] if there is no such project in the organization at hand.
pub async fn read(tx: &mut Tx, project: ProjectId) -> sqlx::Result<ProjectSnapshot> {
    let (epoch, head) = position(tx, project).await?;
    Ok(ProjectSnapshot {
        epoch,
        head,
        project: projects::by_id(tx, project).await?.ok_or(sqlx::Error::RowNotFound)?,
        nodes: view::project(tx, project).await?.iter().map(json).collect::<sqlx::Result<_>>()?,
        dependencies: dependencies(tx, project).await?,
        locks: locks(tx, project, None).await?,
        executions: executions(tx, project, None).await?,
        members: project_members(tx, project).await?,
    })
}

/// Reads one node of a project and what hangs on it, as [`read`] reads the whole.
///
/// # Errors
/// As [`read`].
pub async fn read_node(tx: &mut Tx, project: ProjectId, node: NodeId) -> sqlx::Result<ProjectSnapshot> {
    let (epoch, head) = position(tx, project).await?;
    let found = view::node(tx, node, Viewer::Anybody).await?;
    let found = found.filter(|found| found.project() == project && !found.is_deleted());
    Ok(ProjectSnapshot {
        epoch,
        head,
        project: projects::by_id(tx, project).await?.ok_or(sqlx::Error::RowNotFound)?,
        nodes: found.iter().map(json).collect::<sqlx::Result<_>>()?,
        dependencies: edges(tx, project, Some(node)).await?,
        locks: locks(tx, project, Some(node)).await?,
        executions: executions(tx, project, Some(node)).await?,
        members: project_members(tx, project).await?,
    })
}

/// The log's present life and the newest event of a project or an execution.
///
/// # Errors
/// The database is away.
pub async fn position(tx: &mut Tx, stream: impl Into<Uuid>) -> sqlx::Result<(Epoch, Seq)> {
    let row = sqlx::query(
        "select
            realtime.epoch() as epoch,
            coalesce((select h.seq from realtime.heads h where h.stream_id = $1), 0) as head",
    )
    .bind(stream.into())
    .fetch_one(tx.conn())
    .await?;
    Ok((Epoch(row.try_get("epoch")?), Seq(row.try_get("head")?)))
}

#[derive(FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    id: Uuid,
    source_node_id: Uuid,
    target_node_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_output_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_input_id: Option<Uuid>,
    created_at: String,
}

/// The dependencies of a project, oldest first, as finished JSON.
///
/// Both ends are of one project, so one end decides. Edges of deleted nodes are among them: they stay in the table, no
/// event tells when their node goes or comes back, and a client shows those whose ends it has.
///
/// # Errors
/// The database is away.
pub async fn dependencies(tx: &mut Tx, project: ProjectId) -> sqlx::Result<Vec<Box<RawValue>>> {
    edges(tx, project, None).await
}

async fn edges(tx: &mut Tx, project: ProjectId, node: Option<NodeId>) -> sqlx::Result<Vec<Box<RawValue>>> {
    let rows: Vec<Dependency> = sqlx::query_as(concat!(
        "select
            d.id,
            d.source_node_id,
            d.target_node_id,
            d.source_output_id,
            d.target_input_id,",
        time_text!("d.created_at"),
        " as created_at
        from nodes s
        join node_dependencies d on d.source_node_id = s.id
        where s.project_id = $1
            and ($2::uuid is null or $2 in (d.source_node_id, d.target_node_id))
        order by d.created_at, d.id"
    ))
    .bind(project.0)
    .bind(node.map(Uuid::from))
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(json).collect()
}

#[derive(FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lock {
    node_id: Uuid,
    locked_by: Uuid,
    locked_at: String,
    expires_at: String,
    expires_in_ms: i64,
}

async fn locks(tx: &mut Tx, project: ProjectId, node: Option<NodeId>) -> sqlx::Result<Vec<Box<RawValue>>> {
    // An SQL writer may store 'infinity'; a lease of a century is as good.
    let rows: Vec<Lock> = sqlx::query_as(concat!(
        "select
            n.id as node_id,
            n.locked_by,",
        time_text!("n.locked_at"),
        " as locked_at,",
        time_text!("e.ends"),
        " as expires_at,
            (extract(epoch from e.ends - t.moment) * 1000)::bigint as expires_in_ms
        from nodes n
        cross join (select clock_timestamp() as moment) t
        cross join lateral (select least(n.lock_expires_at, t.moment + interval '100 years') as ends) e
        where n.project_id = $1
            and n.deleted_at is null
            and n.locked_by is not null
            and n.lock_expires_at > t.moment
            and ($2::uuid is null or n.id = $2)
        order by n.id"
    ))
    .bind(project.0)
    .bind(node.map(Uuid::from))
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(json).collect()
}

#[derive(FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Execution {
    id: Uuid,
    node_id: Uuid,
    status: String,
    total_tokens_in: i32,
    total_tokens_out: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<String>,
}

async fn executions(tx: &mut Tx, project: ProjectId, node: Option<NodeId>) -> sqlx::Result<Vec<Box<RawValue>>> {
    let rows: Vec<Execution> = sqlx::query_as(
        "select
            x.id,
            x.node_id,
            coalesce(x.status, 'pending') as status,
            coalesce(x.total_tokens_in, 0) as total_tokens_in,
            coalesce(x.total_tokens_out, 0) as total_tokens_out,
            x.model_id
        from nodes n
        join agent_executions x on x.node_id = n.id
        where n.project_id = $1
            and n.deleted_at is null
            and coalesce(x.status, 'pending') in ('pending', 'running', 'paused', 'awaiting_input')
            and ($2::uuid is null or n.id = $2)
        order by x.created_at, x.id",
    )
    .bind(project.0)
    .bind(node.map(Uuid::from))
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(json).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    user_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    role: &'static str,
}

async fn project_members(tx: &mut Tx, project: ProjectId) -> sqlx::Result<Vec<Box<RawValue>>> {
    let rows = sqlx::query(concat!(
        "select
            m.user_id,
            u.name,
            ",
        standing_columns!(),
        "
        from projects p
        join org_members m on m.org_id = p.org_id
        join users u on u.id = m.user_id
        left join project_members pm on pm.project_id = p.id and pm.user_id = m.user_id
        where p.id = $1
        order by u.name, m.user_id
        limit $2"
    ))
    .bind(project.0)
    .bind(MEMBERS_MAX)
    .fetch_all(tx.conn())
    .await?;
    let mut list = Vec::with_capacity(rows.len());
    for row in rows {
        let standing = members::standing(&row)?;
        let role = standing.role();
        if let Some(role) = role {
            let member = Member { user_id: standing.user.0, name: row.try_get("name")?, role: role.as_str() };
            list.push(json(&member)?);
        }
    }
    Ok(list)
}

pub(super) fn json(value: &impl Serialize) -> sqlx::Result<Box<RawValue>> {
    to_raw_value(value).map_err(|e| sqlx::Error::Decode(e.into()))
}
