//! The history of nodes: rows of `node_versions`, which triggers write for every writer.

use glassbox_protocol::{NodeId, UserId};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use super::Tx;
use super::projects::time_text;

/// A version as the wire shows it.
#[derive(Clone, Debug, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    id: Uuid,
    node_id: Uuid,
    /// The number.
    pub version: i32,
    /// The node as of that version; rows that other writers made may hold some keys only.
    pub snapshot: Json<Box<RawValue>>,
    change_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    change_summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_by: Option<Uuid>,
    created_at: String,
}

/// The versions of a node, and its present state where the row for that is missing: stored data may lack rows. Such a
/// version gets an id that is always the same.
macro_rules! select_versions {
    ($rest:literal) => {
        concat!(
            "select
                v.id,
                v.node_id,
                v.version,
                realtime.object_or_empty(v.snapshot) as snapshot,
                case coalesce(v.change_type, 'update') when 'update' then 'updated' else v.change_type end as change_type,
                v.change_summary,
                v.changed_by,",
            time_text!("v.created_at"),
            " as created_at
            from (
                select h.id, h.node_id, h.version, h.snapshot, h.change_type, h.change_summary, h.changed_by, h.created_at
                from node_versions h
                where h.node_id = $1
                union all
                select
                    md5(n.id::text || ' ' || c.version::text)::uuid,
                    n.id,
                    c.version,
                    realtime.version_snapshot(n),
                    case when c.version = 1 then 'created' else 'updated' end,
                    null,
                    null,
                    n.updated_at
                from nodes n
                cross join lateral (select coalesce(n.version, 1) as version) c
                where n.id = $1
                    and not exists (
                        select
                        from node_versions h
                        where h.node_id = n.id
                            and h.version = c.version
                    )
            ) v ",
            $rest
        )
    };
}

/// The versions of a node, newest first.
///
/// # Errors
/// The database is away.
pub async fn list(tx: &mut Tx, node: NodeId, limit: i64, offset: i64) -> sqlx::Result<Vec<Version>> {
    sqlx::query_as(select_versions!("order by v.version desc limit $2 offset $3"))
        .bind(node.0)
        .bind(limit)
        .bind(offset)
        .fetch_all(tx.conn())
        .await
}

/// One version of a node.
///
/// # Errors
/// The database is away.
pub async fn one(tx: &mut Tx, node: NodeId, version: i32) -> sqlx::Result<Option<Version>> {
    sqlx::query_as(select_versions!("where v.version = $2")).bind(node.0).bind(version).fetch_optional(tx.conn()).await
}

/// What of a node's content a version kept; absent where the stored snapshot lacks the key.
#[derive(Clone, Debug)]
pub struct VersionRow {
    /// The number.
    pub version: i32,
    /// The node as of that version, as the wire shows it.
    pub snapshot: Value,
    /// Who made it.
    pub changed_by: Option<UserId>,
}

/// A node's versions from one on, oldest first.
///
/// # Errors
/// The database is away.
pub async fn from(tx: &mut Tx, node: NodeId, from: i32) -> sqlx::Result<Vec<VersionRow>> {
    let rows = sqlx::query(
        "select version, snapshot, changed_by
        from node_versions
        where node_id = $1
            and version >= $2
        order by version
        limit 1000",
    )
    .bind(node.0)
    .bind(from)
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(VersionRow {
                version: row.try_get("version")?,
                snapshot: row.try_get::<Json<Value>, _>("snapshot")?.0,
                changed_by: row.try_get::<Option<Uuid>, _>("changed_by")?.map(UserId),
            })
        })
        .collect()
}
