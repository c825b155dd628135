//! Dependencies: edges between nodes of one project.

use glassbox_protocol::client::DependencyAdd;
use glassbox_protocol::{DependencyId, NodeId, OrgId, ProjectId};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Database, Tx, in_time};

/// Which organization and project an edge belongs to; says nothing about who may know it.
///
/// # Errors
/// The database is away.
pub async fn locate(db: &Database, edge: DependencyId) -> sqlx::Result<Option<(OrgId, ProjectId)>> {
    let query = sqlx::query_as(
        "select n.org_id, n.project_id
        from node_dependencies d
        join nodes n on n.id = d.source_node_id
        where d.id = $1",
    );
    let found: Option<(Uuid, Uuid)> = in_time(query.bind(edge.0).fetch_optional(db.lookup())).await?;
    Ok(found.map(|(org, project)| (OrgId(org), ProjectId(project))))
}

/// An edge of a project as the wire shows it.
///
/// # Errors
/// The database is away.
pub async fn json(tx: &mut Tx, project: ProjectId, edge: DependencyId) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar::<_, Json<Value>>(
        "select realtime.dependency_json(d)
        from node_dependencies d
        join nodes n on n.id = d.source_node_id
        where d.id = $2
            and n.project_id = $1",
    )
    .bind(project.0)
    .bind(edge.0)
    .fetch_optional(tx.conn())
    .await
    .map(|found| found.map(|Json(value)| value))
}

/// Locks an edge of a project and reads it.
///
/// # Errors
/// The database is away.
pub async fn lock(tx: &mut Tx, project: ProjectId, edge: DependencyId) -> sqlx::Result<Option<DependencyAdd>> {
    let row: Option<(Uuid, Uuid, Option<Uuid>, Option<Uuid>)> = sqlx::query_as(
        "select d.source_node_id, d.target_node_id, d.source_output_id, d.target_input_id
        from node_dependencies d
        join nodes n on n.id = d.source_node_id
        where d.id = $2
            and n.project_id = $1
        for update of d",
    )
    .bind(project.0)
    .bind(edge.0)
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|(source, target, output, input)| DependencyAdd {
        source_node_id: NodeId(source),
        target_node_id: NodeId(target),
        source_output_id: output,
        target_input_id: input,
    }))
}

/// Changes which output and input an edge means.
///
/// # Errors
/// The database is away; an equal edge is there.
pub async fn update(tx: &mut Tx, id: DependencyId, edge: &DependencyAdd) -> sqlx::Result<()> {
    sqlx::query("update node_dependencies set source_output_id = $2, target_input_id = $3 where id = $1")
        .bind(id.0)
        .bind(edge.source_output_id)
        .bind(edge.target_input_id)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// How one node depends on another.
#[derive(Clone, Debug, FromRow)]
pub struct Link {
    /// The node at the other end.
    pub node_id: Uuid,
    /// The input that takes it.
    pub input_id: Option<Uuid>,
    /// What that input is called.
    pub input_label: Option<String>,
    /// The edge; absent where the input itself names the node.
    pub dependency_id: Option<Uuid>,
}

/// What a node depends on: through its inputs in their order, then through edges, oldest first.
///
/// # Errors
/// The database is away.
pub async fn sources(tx: &mut Tx, node: NodeId) -> sqlx::Result<Vec<Link>> {
    sqlx::query_as(
        "select l.node_id, l.input_id, l.input_label, l.dependency_id
        from (
            select
                i.source_node_id as node_id, i.id as input_id, i.label as input_label, null::uuid as dependency_id,
                coalesce(i.sort_order, 0) as place, null::timestamptz as moment
            from node_inputs i
            where i.node_id = $1
                and i.source_node_id is not null
                and i.input_type = 'node_reference'
            union all
            select d.source_node_id, d.target_input_id, i.label, d.id, 0, d.created_at
            from node_dependencies d
            left join node_inputs i on i.id = d.target_input_id
            where d.target_node_id = $1
        ) l
        order by l.dependency_id is not null, l.place, l.moment, l.input_id, l.dependency_id
        limit 10001",
    )
    .bind(node.0)
    .fetch_all(tx.conn())
    .await
}

/// What depends on a node: through its inputs, then through edges, oldest first.
///
/// # Errors
/// The database is away.
pub async fn targets(tx: &mut Tx, node: NodeId) -> sqlx::Result<Vec<Link>> {
    sqlx::query_as(
        "select l.node_id, l.input_id, l.input_label, l.dependency_id
        from (
            select
                i.node_id, i.id as input_id, i.label as input_label, null::uuid as dependency_id,
                i.created_at as moment
            from node_inputs i
            where i.source_node_id = $1
                and i.input_type = 'node_reference'
            union all
            select d.target_node_id, d.target_input_id, i.label, d.id, d.created_at
            from node_dependencies d
            left join node_inputs i on i.id = d.target_input_id
            where d.source_node_id = $1
        ) l
        order by l.dependency_id is not null, l.moment, l.input_id, l.dependency_id
        limit 10001",
    )
    .bind(node.0)
    .fetch_all(tx.conn())
    .await
}

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

/// Removes an edge of a project and returns its row; `None` if it is not there.
///
/// # Errors
/// The database is away.
pub async fn delete(tx: &mut Tx, project: ProjectId, edge: DependencyId) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar::<_, Json<Value>>(
        "delete from node_dependencies d
        using nodes n
        where d.id = $2
            and n.id = d.target_node_id
            and n.project_id = $1
        returning to_jsonb(d)",
    )
    .bind(project.0)
    .bind(edge.0)
    .fetch_optional(tx.conn())
    .await
    .map(|row| row.map(|Json(value)| value))
}

/// Brings back edges exactly as they were, rows as [`delete`] returns them. Those whose id is in use, or that have an
/// equal by now, are left out; returns the others as the wire shows them.
///
/// # Errors
/// The database is away; an end, output or input that is not there any more.
pub async fn bring_back(tx: &mut Tx, rows: &[Value]) -> sqlx::Result<Vec<Value>> {
    let back: Vec<Json<Value>> = sqlx::query_scalar(
        "insert into node_dependencies as d
        select r.*
        from unnest($1::jsonb[]) v (edge)
        cross join lateral jsonb_populate_record(null::node_dependencies, v.edge) r
        on conflict do nothing
        returning realtime.dependency_json(d)",
    )
    .bind(rows.iter().map(Json).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await?;
    Ok(back.into_iter().map(|Json(edge)| edge).collect())
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
