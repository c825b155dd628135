//! Inputs and outputs of nodes: what commands write.

use glassbox_protocol::NodeId;
use glassbox_protocol::client::{NodeInputAdd, NodeOutputAdd};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::Tx;

/// An input or output that was added.
#[derive(Clone, Debug, FromRow)]
pub struct Added {
    /// Its place among the others of its node.
    pub sort_order: i32,
    /// A hash of all that it is, but for when it was made.
    pub state: String,
}

/// An input or output that was removed.
#[derive(Clone, Debug, FromRow)]
pub struct Removed {
    /// The row.
    pub part: Json<Value>,
    /// The rows of the edges that went with it.
    pub edges: Json<Vec<Value>>,
}

/// Inputs or outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// What a node needs.
    Input,
    /// What a node made.
    Output,
}

/// Adds an input behind the others of its node; `None` when the id is in use.
///
/// # Errors
/// The database is away; a file or node that does not exist in the organization.
pub async fn insert_input(
    tx: &mut Tx,
    id: Uuid,
    input: &NodeInputAdd,
    input_type: &'static str,
) -> sqlx::Result<Option<Added>> {
    sqlx::query_as(
        "insert into node_inputs as p (
            id, node_id, input_type, file_id, source_node_id, source_node_version, external_url, text_content,
            label, metadata, sort_order
        )
        select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (
            select least(coalesce(max(i.sort_order)::bigint, -1) + 1, 2147483647)::integer
            from node_inputs i
            where i.node_id = $2
        )
        on conflict (id) do nothing
        returning p.sort_order, md5((to_jsonb(p) - 'created_at')::text) as state",
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

/// Adds an output behind the others of its node; `None` when the id is in use.
///
/// # Errors
/// The database is away; a file that does not exist in the organization.
pub async fn insert_output(
    tx: &mut Tx,
    id: Uuid,
    output: &NodeOutputAdd,
    output_type: &'static str,
) -> sqlx::Result<Option<Added>> {
    sqlx::query_as(
        "insert into node_outputs as p (
            id, node_id, output_type, file_id, structured_data, external_url, text_content, label, metadata, sort_order
        )
        select $1, $2, $3, $4, $5, $6, $7, $8, $9, (
            select least(coalesce(max(o.sort_order)::bigint, -1) + 1, 2147483647)::integer
            from node_outputs o
            where o.node_id = $2
        )
        on conflict (id) do nothing
        returning p.sort_order, md5((to_jsonb(p) - 'created_at')::text) as state",
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

/// Removes an input with the edges that mean it; `None` if it is not one of the node's.
///
/// # Errors
/// The database is away.
pub async fn delete_input(tx: &mut Tx, node: NodeId, input: Uuid) -> sqlx::Result<Option<Removed>> {
    sqlx::query_as(
        "delete from node_inputs p
        where p.id = $1
            and p.node_id = $2
        returning to_jsonb(p) as part, coalesce(
            (select jsonb_agg(to_jsonb(d) order by d.id) from node_dependencies d where d.target_input_id = p.id),
            '[]'::jsonb
        ) as edges",
    )
    .bind(input)
    .bind(node.0)
    .fetch_optional(tx.conn())
    .await
}

/// Removes an output with the edges that mean it; `None` if it is not one of the node's.
///
/// # Errors
/// The database is away.
pub async fn delete_output(tx: &mut Tx, node: NodeId, output: Uuid) -> sqlx::Result<Option<Removed>> {
    sqlx::query_as(
        "delete from node_outputs p
        where p.id = $1
            and p.node_id = $2
        returning to_jsonb(p) as part, coalesce(
            (select jsonb_agg(to_jsonb(d) order by d.id) from node_dependencies d where d.source_output_id = p.id),
            '[]'::jsonb
        ) as edges",
    )
    .bind(output)
    .bind(node.0)
    .fetch_optional(tx.conn())
    .await
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

/// An input or output as it is now: its state as in [`Added`] and the edges that mean it, in the order of their ids. Its
/// row is locked.
///
/// # Errors
/// The database is away.
pub async fn lock(tx: &mut Tx, kind: PartKind, node: NodeId, id: Uuid) -> sqlx::Result<Option<(String, Vec<Uuid>)>> {
    let query = match kind {
        PartKind::Input => {
            "select md5((to_jsonb(p) - 'created_at')::text), array(
                select d.id from node_dependencies d where d.target_input_id = p.id order by d.id
            )
            from node_inputs p
            where p.id = $1
                and p.node_id = $2
            for update of p"
        }
        PartKind::Output => {
            "select md5((to_jsonb(p) - 'created_at')::text), array(
                select d.id from node_dependencies d where d.source_output_id = p.id order by d.id
            )
            from node_outputs p
            where p.id = $1
                and p.node_id = $2
            for update of p"
        }
    };
    sqlx::query_as(query).bind(id).bind(node.0).fetch_optional(tx.conn()).await
}

/// Brings back an input or output exactly as it was; `None` when its id is in use. Returns its state as in [`Added`].
///
/// # Errors
/// The database is away; what it refers to is not there any more.
pub async fn bring_back(tx: &mut Tx, kind: PartKind, row: &Value) -> sqlx::Result<Option<String>> {
    let query = match kind {
        PartKind::Input => {
            "insert into node_inputs as p
            select r.*
            from jsonb_populate_record(null::node_inputs, $1) r
            on conflict (id) do nothing
            returning md5((to_jsonb(p) - 'created_at')::text)"
        }
        PartKind::Output => {
            "insert into node_outputs as p
            select r.*
            from jsonb_populate_record(null::node_outputs, $1) r
            on conflict (id) do nothing
            returning md5((to_jsonb(p) - 'created_at')::text)"
        }
    };
    sqlx::query_scalar(query).bind(Json(row)).fetch_optional(tx.conn()).await
}
