//! `node_input_add`, `node_input_remove`, `node_output_add` and `node_output_remove`. A lock stops them as it stops
//! changes of content; they make no version.

use glassbox_protocol::client::{NodeInputAdd, NodeInputRemove, NodeOutputAdd, NodeOutputRemove};
use glassbox_protocol::entity::{InputType, OutputType};
use glassbox_protocol::{Error, ErrorCode, Fence, NodeId};
use serde_json::json;
use uuid::Uuid;

use super::{Applied, Done, Job, Place, gone, lock, not_found};
use crate::store::{Tx, nodes, parts, readable};

/// What a reference to something that the caller cannot see is told, whether it exists or not.
const MISSING: &str = "refers to something that does not exist";

pub(super) async fn add_input(tx: &mut Tx, place: Place, job: &Job<'_>, add: &NodeInputAdd) -> sqlx::Result<Applied> {
    if let Some(refusal) = refusal(tx, place, job, add.node_id, add.fence).await? {
        return Ok(Err(refusal));
    }
    if let Some(file) = add.file_id
        && !readable::has_file(tx, place.org, job.user, file).await?
    {
        return Ok(Err(Error::validation("fileId", MISSING)));
    }
    if let Some(source) = add.source_node_id {
        let Some(newest) = readable::node_version(tx, job.user, source).await? else {
            return Ok(Err(Error::validation("sourceNodeId", MISSING)));
        };
        if add.source_node_version.is_some_and(|version| version > newest) {
            return Ok(Err(Error::validation("sourceNodeVersion", MISSING)));
        }
    }
    let id = add.id.unwrap_or_else(Uuid::new_v4);
    Ok(match parts::insert_input(tx, id, add, input_type(add.input_type)).await? {
        Some(sort_order) => Ok(Done::applied().with_result(json!({ "inputId": id, "sortOrder": sort_order }))),
        None => Err(Error::validation("id", "is in use")),
    })
}

pub(super) async fn add_output(tx: &mut Tx, place: Place, job: &Job<'_>, add: &NodeOutputAdd) -> sqlx::Result<Applied> {
    if let Some(refusal) = refusal(tx, place, job, add.node_id, add.fence).await? {
        return Ok(Err(refusal));
    }
    if let Some(file) = add.file_id
        && !readable::has_file(tx, place.org, job.user, file).await?
    {
        return Ok(Err(Error::validation("fileId", MISSING)));
    }
    let id = add.id.unwrap_or_else(Uuid::new_v4);
    Ok(match parts::insert_output(tx, id, add, output_type(add.output_type)).await? {
        Some(sort_order) => Ok(Done::applied().with_result(json!({ "outputId": id, "sortOrder": sort_order }))),
        None => Err(Error::validation("id", "is in use")),
    })
}

pub(super) async fn remove_input(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    remove: &NodeInputRemove,
) -> sqlx::Result<Applied> {
    if let Some(refusal) = refusal(tx, place, job, remove.node_id, remove.fence).await? {
        return Ok(Err(refusal));
    }
    Ok(match parts::delete_input(tx, remove.node_id, remove.input_id).await? {
        true => Ok(Done::applied()),
        false => Err(Error::new(ErrorCode::NotFound, "no such input of this node")),
    })
}

pub(super) async fn remove_output(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    remove: &NodeOutputRemove,
) -> sqlx::Result<Applied> {
    if let Some(refusal) = refusal(tx, place, job, remove.node_id, remove.fence).await? {
        return Ok(Err(refusal));
    }
    Ok(match parts::delete_output(tx, remove.node_id, remove.output_id).await? {
        true => Ok(Done::applied()),
        false => Err(Error::new(ErrorCode::NotFound, "no such output of this node")),
    })
}

/// Why nothing may be hung on a node: it is not there, or its lock refuses it. Its row is locked afterwards.
async fn refusal(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    node: NodeId,
    fence: Option<Fence>,
) -> sqlx::Result<Option<Error>> {
    let rows = nodes::lock(tx, place.project, &[node]).await?;
    match rows.get(&node) {
        None => Ok(Some(not_found())),
        Some(row) if row.deleted_at.is_some() => Ok(Some(gone(node))),
        Some(_) => lock::refusal(tx, job, node, fence).await,
    }
}

fn input_type(kind: InputType) -> &'static str {
    match kind {
        InputType::File => "file",
        InputType::NodeReference => "node_reference",
        InputType::ExternalLink => "external_link",
        InputType::Text => "text",
    }
}

fn output_type(kind: OutputType) -> &'static str {
    match kind {
        OutputType::File => "file",
        OutputType::StructuredData => "structured_data",
        OutputType::Text => "text",
        OutputType::ExternalLink => "external_link",
    }
}
