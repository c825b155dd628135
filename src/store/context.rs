//! What somebody has to know to work on a node: it, the texts of its inputs and outputs, and what is around it.

use glassbox_protocol::NodeId;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::FromRow;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Tx;

/// A node with what is around it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    node: Around,
    inputs: Vec<InputText>,
    outputs: Vec<OutputText>,
    /// The nodes that contain it, outermost first, at most the 10 nearest.
    parent_chain: Vec<Around>,
    /// The oldest 10 others with the same parent.
    siblings: Vec<Around>,
}

/// A node in few words.
#[derive(Debug, FromRow, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ContextNode)]
pub struct Around {
    id: Uuid,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<String>,
    status: String,
    /// `human` or `agent`.
    author_type: String,
}

/// An input with its text.
#[derive(Debug, FromRow, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ContextInput)]
pub struct InputText {
    id: Uuid,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    text_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    extracted_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    external_url: Option<String>,
    /// The text, else the file's text, else the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    content: Option<String>,
}

/// An output with its text.
#[derive(Debug, FromRow, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ContextOutput)]
pub struct OutputText {
    id: Uuid,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    text_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    extracted_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    external_url: Option<String>,
    /// The text, else the file's text, else the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    structured_data: Option<Json<Box<RawValue>>>,
}

/// Reads the context of a node.
///
/// # Errors
/// The database is away.
pub async fn read(tx: &mut Tx, node: NodeId) -> sqlx::Result<Option<Context>> {
    let own: Option<Around> = sqlx::query_as(
        "select n.id, n.title, n.description, coalesce(n.status, 'draft') as status, n.author_type
        from nodes n
        where n.id = $1",
    )
    .bind(node.0)
    .fetch_optional(tx.conn())
    .await?;
    let Some(own) = own else { return Ok(None) };
    Ok(Some(Context {
        node: own,
        inputs: inputs(tx, node).await?,
        outputs: outputs(tx, node).await?,
        parent_chain: parents(tx, node).await?,
        siblings: siblings(tx, node).await?,
    }))
}

async fn inputs(tx: &mut Tx, node: NodeId) -> sqlx::Result<Vec<InputText>> {
    sqlx::query_as(
        "select
            i.id,
            i.input_type as kind,
            i.label,
            i.text_content,
            f.filename,
            f.extracted_text,
            i.external_url,
            coalesce(nullif(i.text_content, ''), nullif(f.extracted_text, ''), nullif(i.external_url, '')) as content
        from node_inputs i
        left join files f on f.id = i.file_id
        where i.node_id = $1
        order by i.sort_order, i.id",
    )
    .bind(node.0)
    .fetch_all(tx.conn())
    .await
}

async fn outputs(tx: &mut Tx, node: NodeId) -> sqlx::Result<Vec<OutputText>> {
    sqlx::query_as(
        "select
            o.id,
            o.output_type as kind,
            o.label,
            o.text_content,
            f.filename,
            f.extracted_text,
            o.external_url,
            coalesce(nullif(o.text_content, ''), nullif(f.extracted_text, ''), nullif(o.external_url, '')) as content,
            o.structured_data
        from node_outputs o
        left join files f on f.id = o.file_id
        where o.node_id = $1
        order by o.sort_order, o.id",
    )
    .bind(node.0)
    .fetch_all(tx.conn())
    .await
}

async fn parents(tx: &mut Tx, node: NodeId) -> sqlx::Result<Vec<Around>> {
    sqlx::query_as(
        "with recursive up (id, distance) as (
            select $1::uuid, 0
            union all
            select p.id, up.distance + 1
            from up
            join nodes n on n.id = up.id
            join nodes p on p.id = n.parent_id
            where p.deleted_at is null
                and up.distance < 10
        )
        select n.id, n.title, n.description, coalesce(n.status, 'draft') as status, n.author_type
        from up
        join nodes n on n.id = up.id
        where up.distance > 0
        order by up.distance desc",
    )
    .bind(node.0)
    .fetch_all(tx.conn())
    .await
}

async fn siblings(tx: &mut Tx, node: NodeId) -> sqlx::Result<Vec<Around>> {
    sqlx::query_as(
        "select n.id, n.title, n.description, coalesce(n.status, 'draft') as status, n.author_type
        from nodes own
        join nodes n on n.parent_id = own.parent_id
        where own.id = $1
            and n.id <> own.id
            and n.deleted_at is null
        order by n.created_at, n.id
        limit 10",
    )
    .bind(node.0)
    .fetch_all(tx.conn())
    .await
}
