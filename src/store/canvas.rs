//! A whole project's nodes and edges for a JSON Canvas document, and a document's in one go.

use glassbox_protocol::{DependencyId, NodeId, OrgId, ProjectId, UserId};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::Tx;
use crate::canvas::{Edge, Import, NewEdge, NewNode, Placed};

/// How long one statement of an import may take: the triggers write a version and an event for each row.
const IMPORT_TIMEOUT: &str = "14s";

#[derive(FromRow)]
struct PlacedRow {
    id: Uuid,
    title: String,
    description: Option<String>,
    x: f64,
    y: f64,
    canvas: Json<Value>,
}

/// Every node that is not deleted, in the order in which they are drawn, and the dependencies between them.
///
/// # Errors
/// The database is away.
pub async fn read(tx: &mut Tx, project: ProjectId) -> sqlx::Result<(Vec<Placed>, Vec<Edge>)> {
    let rows: Vec<PlacedRow> = sqlx::query_as(
        "select
            n.id,
            n.title,
            n.description,
            case when p.is_place then least(greatest((n.position ->> 'x')::numeric, -1e15), 1e15) else 0 end::float8 as x,
            case when p.is_place then least(greatest((n.position ->> 'y')::numeric, -1e15), 1e15) else 0 end::float8 as y,
            coalesce(n.metadata -> 'canvas', 'null') as canvas
        from nodes n
        cross join lateral (
            select jsonb_typeof(n.position -> 'x') = 'number' and jsonb_typeof(n.position -> 'y') = 'number' as is_place
        ) p
        where n.project_id = $1
            and n.deleted_at is null
        order by
            case
                when jsonb_typeof(n.metadata #> '{canvas,z}') = 'number' then (n.metadata #>> '{canvas,z}')::numeric
            end nulls last,
            n.created_at,
            n.id",
    )
    .bind(project.0)
    .fetch_all(tx.conn())
    .await?;
    let nodes = rows
        .into_iter()
        .map(|row| Placed {
            id: NodeId(row.id),
            title: row.title,
            description: row.description,
            x: row.x,
            y: row.y,
            canvas: row.canvas.0,
        })
        .collect();

    let rows: Vec<(Uuid, Uuid, Uuid)> = sqlx::query_as(
        "select d.id, d.source_node_id, d.target_node_id
        from nodes s
        join node_dependencies d on d.source_node_id = s.id
        join nodes t on t.id = d.target_node_id
        where s.project_id = $1
            and s.deleted_at is null
            and t.deleted_at is null
        order by d.created_at, d.id",
    )
    .bind(project.0)
    .fetch_all(tx.conn())
    .await?;
    let edges = rows
        .into_iter()
        .map(|(id, source, target)| Edge { id: DependencyId(id), source: NodeId(source), target: NodeId(target) })
        .collect();
    Ok((nodes, edges))
}

/// The place behind the last one in the order of a project's drawing.
///
/// # Errors
/// The database is away.
pub async fn next_z(tx: &mut Tx, project: ProjectId) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select coalesce(least(greatest(max(floor((n.metadata #>> '{canvas,z}')::numeric)) + 1, 0), 1e15), 0)::bigint
        from nodes n
        where n.project_id = $1
            and jsonb_typeof(n.metadata #> '{canvas,z}') = 'number'",
    )
    .bind(project.0)
    .fetch_one(tx.conn())
    .await
}

/// Makes the nodes, inputs and dependencies of a document. The origin must be set.
///
/// # Errors
/// The database is away.
pub async fn insert(tx: &mut Tx, org: OrgId, project: ProjectId, author: UserId, import: &Import) -> sqlx::Result<()> {
    sqlx::query("select set_config('statement_timeout', $1, true)").bind(IMPORT_TIMEOUT).execute(tx.conn()).await?;
    insert_nodes(tx, org, project, author, &import.nodes).await?;
    insert_links(tx, &import.nodes).await?;
    insert_edges(tx, &import.edges).await
}

async fn insert_nodes(
    tx: &mut Tx,
    org: OrgId,
    project: ProjectId,
    author: UserId,
    nodes: &[NewNode],
) -> sqlx::Result<()> {
    let column = |of: fn(&NewNode) -> Option<Uuid>| nodes.iter().map(of).collect::<Vec<_>>();
    let titles: Vec<&str> = nodes.iter().map(|n| n.title.as_str()).collect();
    let descriptions: Vec<Option<&str>> = nodes.iter().map(|n| n.description.as_deref()).collect();
    let positions: Vec<Json<&Value>> = nodes.iter().map(|n| Json(&n.position)).collect();
    let metadata: Vec<Json<&Value>> = nodes.iter().map(|n| Json(&n.metadata)).collect();
    sqlx::query(
        "insert into nodes
            (id, org_id, project_id, parent_id, title, description, status, author_type, author_user_id, position, metadata)
        select
            n.id,
            p.org_id,
            p.id,
            n.parent_id,
            n.title,
            n.description,
            left(coalesce(nullif(p.settings ->> 'defaultNodeStatus', ''), 'draft'), 50),
            'human',
            $3,
            n.position,
            n.metadata
        from projects p
        cross join unnest($4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::jsonb[], $9::jsonb[])
            with ordinality n (id, parent_id, title, description, position, metadata, i)
        where p.org_id = $1
            and p.id = $2
        order by n.i",
    )
    .bind(org.0)
    .bind(project.0)
    .bind(author.0)
    .bind(column(|n| Some(n.id.0)))
    .bind(column(|n| n.parent.map(|parent| parent.0)))
    .bind(titles)
    .bind(descriptions)
    .bind(positions)
    .bind(metadata)
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn insert_links(tx: &mut Tx, nodes: &[NewNode]) -> sqlx::Result<()> {
    let (ids, urls): (Vec<Uuid>, Vec<&str>) = nodes.iter().filter_map(|n| Some((n.id.0, n.link.as_deref()?))).unzip();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into node_inputs (node_id, input_type, external_url)
        select l.node_id, 'external_link', l.url
        from unnest($1::uuid[], $2::text[]) l (node_id, url)",
    )
    .bind(ids)
    .bind(urls)
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn insert_edges(tx: &mut Tx, edges: &[NewEdge]) -> sqlx::Result<()> {
    if edges.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&NewEdge) -> Uuid| edges.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "insert into node_dependencies (id, source_node_id, target_node_id)
        select e.id, e.source, e.target
        from unnest($1::uuid[], $2::uuid[], $3::uuid[]) with ordinality e (id, source, target, i)
        order by e.i",
    )
    .bind(column(|e| e.id.0))
    .bind(column(|e| e.source.0))
    .bind(column(|e| e.target.0))
    .execute(tx.conn())
    .await?;
    Ok(())
}
