//! The tree that parents make of a project's nodes: cycles, subtrees, and what goes and comes back together.

use glassbox_protocol::{NodeId, ProjectId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Tx;

/// Where a parent would lead: the path from the node up to itself, if the parent lies below it.
///
/// # Errors
/// The database is away.
pub async fn parent_cycle(tx: &mut Tx, node: NodeId, parent: NodeId) -> sqlx::Result<Option<Vec<NodeId>>> {
    let path: Option<Vec<Uuid>> = sqlx::query_scalar(
        "with recursive up (id, path) as (
            select $2::uuid, array[$2::uuid]
            union all
            select n.parent_id, up.path || n.parent_id
            from up
            join nodes n on n.id = up.id
            where n.parent_id is not null
                and up.id <> $1
                and not n.parent_id = any(up.path)
        )
        select path
        from up
        where id = $1",
    )
    .bind(node.0)
    .bind(parent.0)
    .fetch_optional(tx.conn())
    .await?;
    Ok(path.map(|path| path.into_iter().map(NodeId).collect()))
}

/// Whether a node is there and not deleted.
///
/// # Errors
/// The database is away.
pub async fn is_undeleted(tx: &mut Tx, node: NodeId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from nodes n where n.id = $1 and n.deleted_at is null)")
        .bind(node.0)
        .fetch_one(tx.conn())
        .await
}

/// One node of a subtree.
#[derive(Clone, Copy, Debug)]
pub struct Branch {
    /// The node.
    pub node: NodeId,
    /// What contains it.
    pub parent: Option<NodeId>,
    /// 0 for the root.
    pub depth: i32,
}

/// Locks a node and what lies below it and is not deleted, in id order.
///
/// # Errors
/// The database is away, or somebody else holds a row for too long.
pub async fn lock_subtree(tx: &mut Tx, project: ProjectId, root: NodeId) -> sqlx::Result<Vec<Branch>> {
    lock_branches(
        tx,
        project,
        root,
        "with recursive down (id, depth) as (
            select n.id, 0
            from nodes n
            where n.id = $2
                and n.project_id = $1
            union all
            select n.id, down.depth + 1
            from down
            join nodes n on n.parent_id = down.id
            where n.deleted_at is null
                and n.project_id = $1
        )
        select n.id, n.parent_id, down.depth
        from down
        join nodes n on n.id = down.id
        order by n.id
        for update of n",
    )
    .await
}

/// Locks a deleted node and what the same delete took with it, in id order.
///
/// # Errors
/// The database is away, or somebody else holds a row for too long.
pub async fn lock_deleted_subtree(tx: &mut Tx, project: ProjectId, root: NodeId) -> sqlx::Result<Vec<Branch>> {
    lock_branches(
        tx,
        project,
        root,
        "with recursive down (id, depth, deleted_at) as (
            select n.id, 0, n.deleted_at
            from nodes n
            where n.id = $2
                and n.project_id = $1
                and n.deleted_at is not null
            union all
            select n.id, down.depth + 1, n.deleted_at
            from down
            join nodes n on n.parent_id = down.id
            where n.deleted_at = down.deleted_at
                and n.project_id = $1
        )
        select n.id, n.parent_id, down.depth
        from down
        join nodes n on n.id = down.id
        order by n.id
        for update of n",
    )
    .await
}

/// Runs a query that locks the branches of a project (`$1`) from a root (`$2`) on.
async fn lock_branches(
    tx: &mut Tx,
    project: ProjectId,
    root: NodeId,
    query: &'static str,
) -> sqlx::Result<Vec<Branch>> {
    let rows: Vec<(Uuid, Option<Uuid>, i32)> =
        sqlx::query_as(query).bind(project.0).bind(root.0).fetch_all(tx.conn()).await?;
    let branches =
        rows.into_iter().map(|(id, parent, depth)| Branch { node: NodeId(id), parent: parent.map(NodeId), depth });
    Ok(branches.collect())
}

/// Deletes nodes softly, ends their locks and cancels their executions. One moment for all of them, so that a restore
/// finds what went together: now, or the moment of an earlier delete that is done again. Returns the moment.
///
/// # Errors
/// The database is away.
pub async fn delete(tx: &mut Tx, nodes: &[NodeId], at: Option<OffsetDateTime>) -> sqlx::Result<Option<OffsetDateTime>> {
    let ids: Vec<Uuid> = nodes.iter().map(|n| n.0).collect();
    sqlx::query(
        "update agent_executions
        set status = 'cancelled', completed_at = clock_timestamp()
        where node_id = any($1)
            and status in ('pending', 'running', 'paused', 'awaiting_input')",
    )
    .bind(&ids)
    .execute(tx.conn())
    .await?;
    sqlx::query_scalar(
        "with t as materialized (
            select coalesce($2, clock_timestamp()) as moment
        ),
        gone as (
            update nodes n
            set deleted_at = t.moment, locked_by = null, locked_at = null, lock_expires_at = null
            from t
            where n.id = any($1)
            returning n.deleted_at
        )
        select max(deleted_at)
        from gone",
    )
    .bind(&ids)
    .bind(at)
    .fetch_one(tx.conn())
    .await
}

/// Where what is brought back goes.
#[derive(Clone, Copy, Debug)]
pub enum ReturnTo<'a> {
    /// Where it was, or to the canvas itself if its parent is still deleted.
    ItsPlace,
    /// All of it as it hung together, wherever it hangs now.
    Branches(&'a [Branch]),
}

/// Brings deleted nodes back into what contains them, the root to the canvas itself if its parent is still deleted.
///
/// # Errors
/// The database is away.
pub async fn restore(tx: &mut Tx, root: NodeId, nodes: &[NodeId]) -> sqlx::Result<()> {
    sqlx::query(
        "update nodes n
        set deleted_at = null,
            parent_id = case
                when n.id = $1 and exists (
                    select 1
                    from nodes p
                    where p.id = n.parent_id
                        and p.deleted_at is not null
                ) then null
                else n.parent_id
            end
        where n.id = any($2)",
    )
    .bind(root.0)
    .bind(nodes.iter().map(|n| n.0).collect::<Vec<_>>())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Brings deleted nodes back, each into its parent.
///
/// # Errors
/// The database is away; a parent that is gone or lies below its node.
pub async fn bring_back(tx: &mut Tx, branches: &[Branch]) -> sqlx::Result<()> {
    sqlx::query(
        "update nodes n
        set deleted_at = null, parent_id = v.parent_id
        from unnest($1::uuid[], $2::uuid[]) v (id, parent_id)
        where n.id = v.id",
    )
    .bind(branches.iter().map(|b| b.node.0).collect::<Vec<_>>())
    .bind(branches.iter().map(|b| b.parent.map(Uuid::from)).collect::<Vec<_>>())
    .execute(tx.conn())
    .await?;
    Ok(())
}
