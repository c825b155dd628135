//! The queries that read nodes for the wire, one for each table.

use glassbox_protocol::{NodeId, ProjectId};
use uuid::Uuid;

use super::rows::{File, InputRow, NodeRow, OutputRow, PersonRow};
use super::{Filter, Parent};
use crate::store::Tx;

/// Selects nodes as the wire shows them; what follows is the `where` of the query.
macro_rules! select_nodes {
    ($($rest:tt)+) => {
        concat!(
            "select
                n.id,
                n.org_id,
                n.project_id,
                n.parent_id,
                n.title,
                n.description,
                coalesce(n.status, 'draft') as status,
                n.author_type,
                n.author_user_id,
                n.supervisor_user_id,
                coalesce(n.version, 1) as version,
                realtime.object_or_empty(n.metadata) as metadata,
                case
                    when jsonb_typeof(n.position -> 'x') = 'number' and jsonb_typeof(n.position -> 'y') = 'number'
                        then concat('{\"x\":', n.position -> 'x', ',\"y\":', n.position -> 'y', '}')
                    else '{\"x\":0,\"y\":0}'
                end::json as position,
                case when l.is_locked then n.locked_by end as locked_by,
                case when l.is_locked then coalesce(n.locked_at, 'epoch') end as locked_at,
                case when l.is_locked and isfinite(n.lock_expires_at) then n.lock_expires_at end as lock_expires_at,
                coalesce(n.created_at, 'epoch') as created_at,
                coalesce(n.updated_at, 'epoch') as updated_at,
                n.deleted_at
            from nodes n
            cross join lateral (
                select n.locked_by is not null and n.lock_expires_at > clock_timestamp() as is_locked
            ) l ",
            $($rest)+
        )
    };
}

/// Which nodes a [`Filter`] lets pass; its six parameters come first.
macro_rules! passing {
    () => {
        "where n.project_id = $1
            and (n.deleted_at is not null) = $2
            and ($3::text is null or coalesce(n.status, 'draft') = $3)
            and ($4::text is null or n.author_type = $4)
            and (not $5 or n.parent_id is not distinct from $6)"
    };
}

/// The parameters of [`passing!`] for a parent: whether it matters, and which.
fn parent_of(filter: &Filter<'_>) -> (bool, Option<Uuid>) {
    match filter.parent {
        Parent::Any => (false, None),
        Parent::Root => (true, None),
        Parent::Is(parent) => (true, Some(parent.0)),
    }
}

pub(super) async fn filtered(tx: &mut Tx, filter: &Filter<'_>, limit: i64, offset: i64) -> sqlx::Result<Vec<NodeRow>> {
    let (has_parent, parent) = parent_of(filter);
    sqlx::query_as(select_nodes!(
        passing!(),
        " order by n.created_at desc nulls last, n.id desc
        limit $7
        offset $8"
    ))
    .bind(filter.project.0)
    .bind(filter.is_deleted)
    .bind(filter.status)
    .bind(filter.author_type)
    .bind(has_parent)
    .bind(parent)
    .bind(limit)
    .bind(offset)
    .fetch_all(tx.conn())
    .await
}

pub(super) async fn count(tx: &mut Tx, filter: &Filter<'_>) -> sqlx::Result<i64> {
    let (has_parent, parent) = parent_of(filter);
    sqlx::query_scalar(concat!("select count(*) from nodes n ", passing!()))
        .bind(filter.project.0)
        .bind(filter.is_deleted)
        .bind(filter.status)
        .bind(filter.author_type)
        .bind(has_parent)
        .bind(parent)
        .fetch_one(tx.conn())
        .await
}

pub(super) async fn of_project(tx: &mut Tx, project: ProjectId) -> sqlx::Result<Vec<NodeRow>> {
    sqlx::query_as(select_nodes!(
        "where n.project_id = $1
            and n.deleted_at is null
        order by n.created_at, n.id"
    ))
    .bind(project.0)
    .fetch_all(tx.conn())
    .await
}

pub(super) async fn by_ids(tx: &mut Tx, ids: &[Uuid]) -> sqlx::Result<Vec<NodeRow>> {
    sqlx::query_as(select_nodes!("where n.id = any($1)")).bind(ids).fetch_all(tx.conn()).await
}

pub(super) async fn children(tx: &mut Tx, parent: NodeId) -> sqlx::Result<Vec<NodeRow>> {
    sqlx::query_as(select_nodes!(
        "where n.parent_id = $1
            and n.deleted_at is null
        order by n.created_at nulls first, n.id
        limit 10001"
    ))
    .bind(parent.0)
    .fetch_all(tx.conn())
    .await
}

/// Whose inputs and outputs are read. Thousands of ids take the planner longer than the query; where they are most of a
/// project's nodes, the project stands for them.
#[derive(Clone, Copy)]
pub(super) enum Owners<'a> {
    /// These nodes.
    Nodes(&'a [Uuid]),
    /// A project's nodes: the deleted ones, or the others.
    Project { project: ProjectId, is_deleted: bool },
}

macro_rules! select_inputs {
    ($($rest:tt)+) => {
        concat!(
            "select
                i.id,
                i.node_id,
                i.input_type,
                i.file_id,
                i.source_node_id,
                i.source_node_version,
                i.external_url,
                i.text_content,
                i.label,
                realtime.object_or_empty(i.metadata) as metadata,
                coalesce(i.sort_order, 0) as sort_order,
                coalesce(i.created_at, 'epoch') as created_at
            from node_inputs i ",
            $($rest)+
        )
    };
}

/// The inputs of nodes, in their order.
pub(super) async fn inputs(tx: &mut Tx, owners: Owners<'_>) -> sqlx::Result<Vec<InputRow>> {
    let query = match owners {
        Owners::Nodes(nodes) => {
            sqlx::query_as(select_inputs!("where i.node_id = any($1) order by i.sort_order, i.id")).bind(nodes)
        }
        Owners::Project { project, is_deleted } => sqlx::query_as(select_inputs!(
            "join nodes n on n.id = i.node_id
            where n.project_id = $1
                and (n.deleted_at is not null) = $2
            order by i.sort_order, i.id"
        ))
        .bind(project.0)
        .bind(is_deleted),
    };
    query.fetch_all(tx.conn()).await
}

/// One input of a node.
pub(super) async fn input(tx: &mut Tx, node: NodeId, input: Uuid) -> sqlx::Result<Option<InputRow>> {
    sqlx::query_as(select_inputs!("where i.node_id = $1 and i.id = $2"))
        .bind(node.0)
        .bind(input)
        .fetch_optional(tx.conn())
        .await
}

macro_rules! select_outputs {
    ($($rest:tt)+) => {
        concat!(
            "select
                o.id,
                o.node_id,
                o.output_type,
                o.file_id,
                o.structured_data,
                o.text_content,
                o.external_url,
                o.label,
                realtime.object_or_empty(o.metadata) as metadata,
                coalesce(o.sort_order, 0) as sort_order,
                coalesce(o.created_at, 'epoch') as created_at
            from node_outputs o ",
            $($rest)+
        )
    };
}

/// The outputs of nodes, in their order.
pub(super) async fn outputs(tx: &mut Tx, owners: Owners<'_>) -> sqlx::Result<Vec<OutputRow>> {
    let query = match owners {
        Owners::Nodes(nodes) => {
            sqlx::query_as(select_outputs!("where o.node_id = any($1) order by o.sort_order, o.id")).bind(nodes)
        }
        Owners::Project { project, is_deleted } => sqlx::query_as(select_outputs!(
            "join nodes n on n.id = o.node_id
            where n.project_id = $1
                and (n.deleted_at is not null) = $2
            order by o.sort_order, o.id"
        ))
        .bind(project.0)
        .bind(is_deleted),
    };
    query.fetch_all(tx.conn()).await
}

/// One output of a node.
pub(super) async fn output(tx: &mut Tx, node: NodeId, output: Uuid) -> sqlx::Result<Option<OutputRow>> {
    sqlx::query_as(select_outputs!("where o.node_id = $1 and o.id = $2"))
        .bind(node.0)
        .bind(output)
        .fetch_optional(tx.conn())
        .await
}

pub(super) async fn files(tx: &mut Tx, ids: &[Uuid]) -> sqlx::Result<Vec<File>> {
    sqlx::query_as(
        "select
            f.id,
            f.org_id,
            f.storage_key,
            f.storage_bucket,
            f.filename,
            f.content_type,
            f.size_bytes,
            case coalesce(f.processing_status, 'pending')
                when 'uploaded' then 'pending'
                when 'processed' then 'complete'
                else coalesce(f.processing_status, 'pending')
            end as processing_status,
            f.processing_error,
            realtime.object_or_empty(f.metadata) as metadata,
            coalesce(f.created_at, 'epoch') as created_at,
            f.uploaded_by
        from files f
        where f.id = any($1)",
    )
    .bind(ids)
    .fetch_all(tx.conn())
    .await
}

pub(super) async fn people(tx: &mut Tx, ids: &[Uuid]) -> sqlx::Result<Vec<PersonRow>> {
    sqlx::query_as("select u.id, u.email, u.name, u.avatar_url from users u where u.id = any($1)")
        .bind(ids)
        .fetch_all(tx.conn())
        .await
}
