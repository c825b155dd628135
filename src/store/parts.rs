//! Inputs and outputs of nodes: what commands write.

use glassbox_protocol::NodeId;
use glassbox_protocol::client::{NodeInputAdd, NodeOutputAdd};
use sqlx::types::Json;
use uuid::Uuid;

use super::Tx;

/// Adds an input behind the others of its node; `None` when the id is in use. Returns its place among them.
///
/// # Errors
/// The database is away; a file or node that does not exist in the organization.
pub async fn insert_input(
    tx: &mut Tx,
    id: Uuid,
    input: &NodeInputAdd,
    input_type: &'static str,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar(
        "insert into node_inputs (
            id, node_id, input_type, file_id, source_node_id, source_node_version, external_url, text_content,
            label, metadata, sort_order
        )
        select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (
            select least(coalesce(max(i.sort_order)::bigint, -1) + 1, 2147483647)::integer
            from node_inputs i
            where i.node_id = $2
        )
        on conflict (id) do nothing
        returning sort_order",
    )
    .bind(id)
    .bind(input.node_id.0)
    .bind(input_type)
    .bind(input.file_id)
    .bind(input.source_node_id.map(Uuid::from))
    .bind(input.source_node_version)
    .bind(input.external_url.as_deref())
    .bind(input.text_content.as_deref())
    .bind(input.label.as_deref())
    .bind(Json(input.metadata.clone().unwrap_or_default()))
    .fetch_optional(tx.conn())
    .await
}

/// Adds an output behind the others of its node; `None` when the id is in use. Returns its place among them.
///
/// # Errors
/// The database is away; a file that does not exist in the organization.
pub async fn insert_output(
    tx: &mut Tx,
    id: Uuid,
    output: &NodeOutputAdd,
    output_type: &'static str,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar(
        "insert into node_outputs (
            id, node_id, output_type, file_id, structured_data, external_url, text_content, label, metadata, sort_order
        )
        select $1, $2, $3, $4, $5, $6, $7, $8, $9, (
            select least(coalesce(max(o.sort_order)::bigint, -1) + 1, 2147483647)::integer
            from node_outputs o
            where o.node_id = $2
        )
        on conflict (id) do nothing
        returning sort_order",
    )
    .bind(id)
    .bind(output.node_id.0)
    .bind(output_type)
    .bind(output.file_id)
    .bind(output.structured_data.as_ref().map(Json))
    .bind(output.external_url.as_deref())
    .bind(output.text_content.as_deref())
    .bind(output.label.as_deref())
    .bind(Json(output.metadata.clone().unwrap_or_default()))
    .fetch_optional(tx.conn())
    .await
}

/// Removes an input; false if it is not one of the node's.
///
/// # Errors
/// The database is away.
pub async fn delete_input(tx: &mut Tx, node: NodeId, input: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query("delete from node_inputs where id = $1 and node_id = $2")
        .bind(input)
        .bind(node.0)
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Removes an output; false if it is not one of the node's.
///
/// # Errors
/// The database is away.
pub async fn delete_output(tx: &mut Tx, node: NodeId, output: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query("delete from node_outputs where id = $1 and node_id = $2")
        .bind(output)
        .bind(node.0)
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Whether an input is one of the node's.
///
/// # Errors
/// The database is away.
pub async fn has_input(tx: &mut Tx, node: NodeId, input: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from node_inputs i where i.id = $1 and i.node_id = $2)")
        .bind(input)
        .bind(node.0)
        .fetch_one(tx.conn())
        .await
}

/// Whether an output is one of the node's.
///
/// # Errors
/// The database is away.
pub async fn has_output(tx: &mut Tx, node: NodeId, output: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from node_outputs o where o.id = $1 and o.node_id = $2)")
        .bind(output)
        .bind(node.0)
        .fetch_one(tx.conn())
        .await
}
