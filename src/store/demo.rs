//! What the demo project needs beyond what users can do: rows of an agent's run, all in one go.

use glassbox_protocol::{DependencyId, ExecutionId, NodeId, OrgId, ProjectId, UserId};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::Tx;

/// A node that is to be made.
#[derive(Clone, Debug)]
pub struct DemoNode {
    /// Its id.
    pub id: NodeId,
    /// The node that contains it.
    pub parent: Option<NodeId>,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: Option<String>,
    /// Its status.
    pub status: &'static str,
    /// `human` or `agent`.
    pub author_type: &'static str,
    /// Who made it.
    pub author: UserId,
    /// Who answers for an agent's node.
    pub supervisor: Option<UserId>,
    /// Where it lies.
    pub position: Value,
    /// Tags, priority, assignees.
    pub metadata: Value,
}

/// Makes somebody a member of the organization at hand.
///
/// # Errors
/// The database is away.
pub async fn add_member(tx: &mut Tx, org: OrgId, user: UserId, role: &str) -> sqlx::Result<()> {
    sqlx::query("insert into org_members (org_id, user_id, role) values ($1, $2, $3) on conflict do nothing")
        .bind(org.0)
        .bind(user.0)
        .bind(role)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Gives somebody a role of their own in a project.
///
/// # Errors
/// The database is away.
pub async fn add_project_member(tx: &mut Tx, project: ProjectId, user: UserId, role: &str) -> sqlx::Result<()> {
    sqlx::query("insert into project_members (project_id, user_id, role) values ($1, $2, $3) on conflict do nothing")
        .bind(project.0)
        .bind(user.0)
        .bind(role)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Makes nodes, parents before children.
///
/// # Errors
/// The database is away.
pub async fn insert_nodes(tx: &mut Tx, org: OrgId, project: ProjectId, nodes: &[DemoNode]) -> sqlx::Result<()> {
    let ids = |of: fn(&DemoNode) -> Option<Uuid>| nodes.iter().map(of).collect::<Vec<_>>();
    let texts = |of: fn(&DemoNode) -> Option<&str>| nodes.iter().map(of).collect::<Vec<_>>();
    let values = |of: fn(&DemoNode) -> &Value| nodes.iter().map(|n| Json(of(n))).collect::<Vec<_>>();
    sqlx::query(
        "insert into nodes
            (id, org_id, project_id, parent_id, title, description, status, author_type, author_user_id,
             supervisor_user_id, position, metadata)
        select n.id, $1, $2, n.parent, n.title, n.description, n.status, n.author_type, n.author,
            n.supervisor, n.position, n.metadata
        from unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::uuid[],
                $11::jsonb[], $12::jsonb[])
            with ordinality n (id, parent, title, description, status, author_type, author, supervisor, position, metadata, i)
        order by n.i",
    )
    .bind(org.0)
    .bind(project.0)
    .bind(ids(|n| Some(n.id.0)))
    .bind(ids(|n| n.parent.map(|p| p.0)))
    .bind(texts(|n| Some(&n.title)))
    .bind(texts(|n| n.description.as_deref()))
    .bind(texts(|n| Some(n.status)))
    .bind(texts(|n| Some(n.author_type)))
    .bind(ids(|n| Some(n.author.0)))
    .bind(ids(|n| n.supervisor.map(|s| s.0)))
    .bind(values(|n| &n.position))
    .bind(values(|n| &n.metadata))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Makes dependencies from sources to targets.
///
/// # Errors
/// The database is away.
pub async fn insert_dependencies(tx: &mut Tx, pairs: &[(NodeId, NodeId)]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = pairs.iter().map(|_| DependencyId::random().0).collect();
    let (sources, targets): (Vec<Uuid>, Vec<Uuid>) = pairs.iter().map(|(s, t)| (s.0, t.0)).unzip();
    sqlx::query(
        "insert into node_dependencies (id, source_node_id, target_node_id)
        select d.id, d.source, d.target
        from unnest($1::uuid[], $2::uuid[], $3::uuid[]) with ordinality d (id, source, target, i)
        order by d.i",
    )
    .bind(ids)
    .bind(sources)
    .bind(targets)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Changes a node's status and description: a new version.
///
/// # Errors
/// The database is away.
pub async fn revise(tx: &mut Tx, node: NodeId, status: &str, description: &str) -> sqlx::Result<()> {
    sqlx::query("update nodes set status = $2, description = $3 where id = $1")
        .bind(node.0)
        .bind(status)
        .bind(description)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Adds a text that a node needs.
///
/// # Errors
/// The database is away.
pub async fn add_text_input(tx: &mut Tx, node: NodeId, label: &str, text: &str) -> sqlx::Result<()> {
    sqlx::query("insert into node_inputs (node_id, input_type, label, text_content) values ($1, 'text', $2, $3)")
        .bind(node.0)
        .bind(label)
        .bind(text)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Adds another node's results to what a node needs.
///
/// # Errors
/// The database is away.
pub async fn add_node_input(tx: &mut Tx, node: NodeId, label: &str, source: NodeId) -> sqlx::Result<()> {
    sqlx::query(
        "insert into node_inputs (node_id, input_type, label, source_node_id, sort_order)
        values ($1, 'node_reference', $2, $3, 1)",
    )
    .bind(node.0)
    .bind(label)
    .bind(source.0)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Adds a text that a node has made.
///
/// # Errors
/// The database is away.
pub async fn add_text_output(tx: &mut Tx, node: NodeId, label: &str, text: &str) -> sqlx::Result<()> {
    sqlx::query("insert into node_outputs (node_id, output_type, label, text_content) values ($1, 'text', $2, $3)")
        .bind(node.0)
        .bind(label)
        .bind(text)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Adds an agent's run that goes on.
///
/// # Errors
/// The database is away.
pub async fn add_execution(tx: &mut Tx, node: NodeId, model: &str) -> sqlx::Result<ExecutionId> {
    let id = ExecutionId::random();
    sqlx::query(
        "insert into agent_executions
            (id, node_id, status, model_id, started_at, total_tokens_in, total_tokens_out)
        values ($1, $2, 'running', $3, clock_timestamp(), 5210, 1344)",
    )
    .bind(id.0)
    .bind(node.0)
    .bind(model)
    .execute(tx.conn())
    .await?;
    Ok(id)
}

/// Adds a step of an agent's run.
///
/// # Errors
/// The database is away.
pub async fn add_trace(tx: &mut Tx, execution: ExecutionId, event_type: &str, data: &Value) -> sqlx::Result<()> {
    sqlx::query("insert into agent_trace_events (id, execution_id, event_type, event_data) values ($1, $2, $3, $4)")
        .bind(Uuid::new_v4())
        .bind(execution.0)
        .bind(event_type)
        .bind(data)
        .execute(tx.conn())
        .await?;
    Ok(())
}
