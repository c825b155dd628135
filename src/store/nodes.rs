//! Nodes: what commands read and write.

use std::collections::{HashMap, HashSet};

use glassbox_protocol::entity::Position;
use glassbox_protocol::{Fence, NodeId, OrgId, ProjectId, UserId};
use serde_json::{Map, Value};
use sqlx::types::Json;
use sqlx::{FromRow, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Tx;

/// The fields of a node that commands may change.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// 1 to 500 characters.
    pub title: String,
    /// Markdown.
    pub description: Option<String>,
    /// A workflow state.
    pub status: String,
    /// The node that contains it.
    pub parent: Option<NodeId>,
    /// Who answers for an agent's node.
    pub supervisor: Option<UserId>,
    /// Free-form.
    pub metadata: Map<String, Value>,
    /// Where it is.
    pub position: Position,
}

/// A node's row, locked for the rest of the transaction.
#[derive(Clone, Debug)]
pub struct LockedRow {
    /// What commands may change.
    pub content: Content,
    /// Grows with content changes.
    pub version: i32,
    /// When it was deleted.
    pub deleted_at: Option<OffsetDateTime>,
}

#[derive(FromRow)]
struct Columns {
    id: Uuid,
    title: String,
    description: Option<String>,
    status: Option<String>,
    parent_id: Option<Uuid>,
    supervisor_user_id: Option<Uuid>,
    metadata: Option<Json<Value>>,
    position: Option<Json<Value>>,
    version: Option<i32>,
    deleted_at: Option<OffsetDateTime>,
}

impl From<Columns> for (NodeId, LockedRow) {
    fn from(c: Columns) -> Self {
        // Any SQL writer may store any JSON; what is not an object or a place counts as empty.
        let metadata = match c.metadata {
            Some(Json(Value::Object(map))) => map,
            _ => Map::new(),
        };
        let position = c.position.and_then(|Json(p)| serde_json::from_value(p).ok()).unwrap_or_default();
        let row = LockedRow {
            content: Content {
                title: c.title,
                description: c.description,
                status: c.status.unwrap_or_else(|| "draft".to_owned()),
                parent: c.parent_id.map(NodeId),
                supervisor: c.supervisor_user_id.map(UserId),
                metadata,
                position,
            },
            version: c.version.unwrap_or(1),
            deleted_at: c.deleted_at,
        };
        (NodeId(c.id), row)
    }
}

/// Locks nodes of a project in id order and reads them; ids that are not the project's are left out.
///
/// Conditional updates follow in a statement of their own: under READ COMMITTED an update that had to wait for a row
/// sees that row anew but everything it joins, such as fences, as of its start.
///
/// # Errors
/// The database is away, or somebody else holds a row for too long.
pub async fn lock(tx: &mut Tx, project: ProjectId, nodes: &[NodeId]) -> sqlx::Result<HashMap<NodeId, LockedRow>> {
    let ids: Vec<Uuid> = nodes.iter().map(|n| n.0).collect();
    let rows: Vec<Columns> = sqlx::query_as(
        "select
            id, title, description, status, parent_id, supervisor_user_id,
            metadata, position, version, deleted_at
        from nodes
        where project_id = $1
            and id = any($2)
        order by id
        for update",
    )
    .bind(project.0)
    .bind(ids)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// A content change of one node that its writer may only make with the lock or without anybody's.
#[derive(Clone, Debug)]
pub struct Write {
    /// The node.
    pub node: NodeId,
    /// All fields as they shall be.
    pub content: Content,
    /// Who writes.
    pub user: UserId,
    /// The proof of the lock.
    pub fence: Option<Fence>,
}

/// Writes content, each node on condition that its lock allows it. Returns the versions of those that were written;
/// the others were refused by their lock.
///
/// # Errors
/// The database is away; a parent that does not exist or lies below the node.
pub async fn write(tx: &mut Tx, writes: &[Write]) -> sqlx::Result<HashMap<NodeId, i32>> {
    let rows = sqlx::query(
        "update nodes n
        set title = v.title,
            description = v.description,
            status = v.status,
            parent_id = v.parent_id,
            supervisor_user_id = v.supervisor_user_id,
            metadata = v.metadata,
            position = v.position
        from unnest(
            $1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::jsonb[], $8::jsonb[],
            $9::uuid[], $10::bigint[]
        ) v (id, title, description, status, parent_id, supervisor_user_id, metadata, position, user_id, fence)
        where n.id = v.id
            and case
                -- Whoever names a fence must hold the lock that it belongs to, now.
                when v.fence is not null then
                    n.locked_by = v.user_id
                    and n.lock_expires_at > clock_timestamp()
                    and exists (
                        select 1
                        from realtime.locks l
                        where l.node_id = n.id
                            and l.fence = v.fence
                    )
                when n.locked_by is null or n.lock_expires_at <= clock_timestamp() then true
                -- A lock that belongs to a user, not to one of their clients, lets all of them pass.
                else n.locked_by = v.user_id
                    and exists (
                        select 1
                        from realtime.locks l
                        where l.node_id = n.id
                            and l.client_id is null
                    )
            end
        returning n.id, n.version",
    )
    .bind(writes.iter().map(|w| w.node.0).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.content.title.as_str()).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.content.description.as_deref()).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.content.status.as_str()).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.content.parent.map(Uuid::from)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.content.supervisor.map(Uuid::from)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| Json(&w.content.metadata)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| Json(w.content.position)).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.user.0).collect::<Vec<_>>())
    .bind(writes.iter().map(|w| w.fence.map(|f| f.0)).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| Ok((NodeId(row.try_get("id")?), row.try_get::<Option<i32>, _>("version")?.unwrap_or(1))))
        .collect()
}

/// Moves nodes; locks do not matter for that.
///
/// # Errors
/// The database is away.
pub async fn place(tx: &mut Tx, places: &[(NodeId, Position)]) -> sqlx::Result<()> {
    sqlx::query(
        "update nodes n
        set position = v.position
        from unnest($1::uuid[], $2::jsonb[]) v (id, position)
        where n.id = v.id",
    )
    .bind(places.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
    .bind(places.iter().map(|(_, p)| Json(*p)).collect::<Vec<_>>())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A node that is about to be.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// Its id.
    pub id: NodeId,
    /// The tenant.
    pub org: OrgId,
    /// The project.
    pub project: ProjectId,
    /// Its fields.
    pub content: Content,
    /// `human` or `agent`.
    pub author_type: &'static str,
    /// Who makes it.
    pub author: UserId,
}

/// Inserts nodes; returns those whose id was free.
///
/// # Errors
/// The database is away.
pub async fn insert(tx: &mut Tx, nodes: &[NewNode]) -> sqlx::Result<Vec<NodeId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "insert into nodes (
            id, org_id, project_id, parent_id, title, description, status,
            author_type, author_user_id, supervisor_user_id, metadata, position
        )
        select *
        from unnest(
            $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::uuid[], $10::uuid[], $11::jsonb[], $12::jsonb[]
        )
        on conflict (id) do nothing
        returning id",
    )
    .bind(nodes.iter().map(|n| n.id.0).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| n.org.0).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| n.project.0).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| n.content.parent.map(Uuid::from)).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| n.content.title.as_str()).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| n.content.description.as_deref()).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| n.content.status.as_str()).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| n.author_type).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| n.author.0).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| n.content.supervisor.map(Uuid::from)).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| Json(&n.content.metadata)).collect::<Vec<_>>())
    .bind(nodes.iter().map(|n| Json(n.content.position)).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(NodeId).collect())
}

/// The status that a new node of the project gets: the project's default, unless its enforced workflow does not know it.
///
/// # Errors
/// The database is away.
pub async fn default_status(tx: &mut Tx, project: ProjectId) -> sqlx::Result<String> {
    let status: Option<String> = sqlx::query_scalar(
        "select settings ->> 'defaultNodeStatus'
        from projects
        where id = $1",
    )
    .bind(project.0)
    .fetch_optional(tx.conn())
    .await?
    .flatten();
    let usual = status.filter(|s| (1..=50).contains(&s.chars().count())).unwrap_or_else(|| "draft".to_owned());
    Ok(match enforced_states(tx, project).await? {
        Some(states) if !states.contains(&usual) => states.into_iter().next().unwrap_or(usual),
        _ => usual,
    })
}

/// The states that the project's nodes must be in, if it enforces its workflow.
///
/// # Errors
/// The database is away.
pub async fn enforced_states(tx: &mut Tx, project: ProjectId) -> sqlx::Result<Option<Vec<String>>> {
    let states: Option<Json<Vec<Value>>> = sqlx::query_scalar(
        "select workflow_states
        from projects
        where id = $1
            and settings -> 'enforceWorkflow' = 'true'::jsonb
            and jsonb_typeof(workflow_states) = 'array'",
    )
    .bind(project.0)
    .fetch_optional(tx.conn())
    .await?
    .flatten();
    // Any SQL writer may store any list.
    Ok(states.map(|Json(states)| states.into_iter().filter_map(|s| s.as_str().map(str::to_owned)).collect()))
}

/// Which of these users belong to the organization.
///
/// # Errors
/// The database is away.
pub async fn org_members(tx: &mut Tx, org: OrgId, users: &[UserId]) -> sqlx::Result<HashSet<UserId>> {
    let found: Vec<Uuid> = sqlx::query_scalar(
        "select m.user_id
        from org_members m
        where m.org_id = $1
            and m.user_id = any($2)",
    )
    .bind(org.0)
    .bind(users.iter().map(|u| u.0).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await?;
    Ok(found.into_iter().map(UserId).collect())
}

/// Whether a user belongs to the organization.
///
/// # Errors
/// The database is away.
pub async fn is_org_member(tx: &mut Tx, org: OrgId, user: UserId) -> sqlx::Result<bool> {
    Ok(org_members(tx, org, &[user]).await?.contains(&user))
}
