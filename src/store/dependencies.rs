//! Dependencies: edges between nodes of one project.

use glassbox_protocol::client::DependencyAdd;
use glassbox_protocol::{DependencyId, NodeId, ProjectId};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::Tx;

/// Adds an edge; `None` when an equal one is there.
///
/// # Errors
/// The database is away; an output or input that does not belong to its end.
pub async fn insert(tx: &mut Tx, edge: &DependencyAdd) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar::<_, Json<Value>>(
        "insert into node_dependencies as d (source_node_id, target_node_id, source_output_id, target_input_id)
        values ($1, $2, $3, $4)
        on conflict do nothing
        returning realtime.dependency_json(d)",
    )
    .bind(edge.source_node_id.0)
    .bind(edge.target_node_id.0)
    .bind(edge.source_output_id)
    .bind(edge.target_input_id)
    .fetch_optional(tx.conn())
    .await
    .map(|row| row.map(|Json(value)| value))
}

/// The edge that equals this one.
///
/// # Errors
/// The database is away.
pub async fn find(tx: &mut Tx, edge: &DependencyAdd) -> sqlx::Result<Option<(DependencyId, Value)>> {
    let row: Option<(Uuid, Json<Value>)> = sqlx::query_as(
        "select d.id, realtime.dependency_json(d)
        from node_dependencies d
        where d.source_node_id = $1
            and d.target_node_id = $2
            and d.source_output_id is not distinct from $3
            and d.target_input_id is not distinct from $4",
    )
    .bind(edge.source_node_id.0)
    .bind(edge.target_node_id.0)
    .bind(edge.source_output_id)
    .bind(edge.target_input_id)
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|(id, Json(value))| (DependencyId(id), value)))
}

/// Removes an edge of a project; false if it is not there.
///
/// # Errors
/// The database is away.
pub async fn delete(tx: &mut Tx, project: ProjectId, edge: DependencyId) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "delete from node_dependencies d
        using nodes n
        where d.id = $2
            and n.id = d.target_node_id
            and n.project_id = $1",
    )
    .bind(project.0)
    .bind(edge.0)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// All edges that can be reached from a node, as (source, target).
///
/// # Errors
/// The database is away.
pub async fn reachable_from(tx: &mut Tx, node: NodeId) -> sqlx::Result<Vec<(NodeId, NodeId)>> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "with recursive reached (id) as (
            select $1::uuid
            union
            select d.target_node_id
            from reached
            join node_dependencies d on d.source_node_id = reached.id
        )
        select d.source_node_id, d.target_node_id
        from reached
        join node_dependencies d on d.source_node_id = reached.id
        limit 100000",
    )
    .bind(node.0)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|(s, t)| (NodeId(s), NodeId(t))).collect())
}
