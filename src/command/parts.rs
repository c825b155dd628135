//! `node_input_add`, `node_input_remove`, `node_output_add` and `node_output_remove`. A lock stops them as it stops
//! changes of content; they make no version.

use glassbox_protocol::client::{NodeInputAdd, NodeInputRemove, NodeOutputAdd, NodeOutputRemove};
use glassbox_protocol::entity::{InputType, OutputType};
use glassbox_protocol::{Error, ErrorCode, Fence, NodeId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::inverse::{AddedPart, Inverse, RemovedPart};
use super::undo::conflict;
use super::{Applied, Done, Job, Place, gone, lock, not_found};
use crate::store::parts::{PartKind, Removed};
use crate::store::{Tx, dependencies, nodes, parts, readable};

/// What a reference to something that the caller cannot see is told, whether it exists or not.
const MISSING: &str = "refers to something that does not exist";

pub(super) async fn add_input(tx: &mut Tx, place: Place, job: &Job<'_>, add: &NodeInputAdd) -> sqlx::Result<Applied> {
    if let Some(refusal) = refusal(tx, place, job, add.node_id, add.fence).await? {
        return Ok(Err(refusal));
    }
    let refers = References { file: add.file_id, source: add.source_node_id, source_version: add.source_node_version };
    if let Some(error) = refers.missing(tx, place, job).await? {
        return Ok(Err(error));
    }
    let id = add.id.unwrap_or_else(Uuid::new_v4);
    Ok(match parts::insert_input(tx, id, add, input_type(add.input_type)).await? {
        Some(added) => {
            let done = Done::applied().with_result(json!({ "inputId": id, "sortOrder": added.sort_order }));
            let added =
                AddedPart { part: PartKind::Input, node_id: add.node_id, id, state: added.state, edges: Vec::new() };
            Ok(undone_by_removal(done, job, added))
        }
        None => Err(Error::validation("id", "is in use")),
    })
}

pub(super) async fn add_output(tx: &mut Tx, place: Place, job: &Job<'_>, add: &NodeOutputAdd) -> sqlx::Result<Applied> {
    if let Some(refusal) = refusal(tx, place, job, add.node_id, add.fence).await? {
        return Ok(Err(refusal));
    }
    let refers = References { file: add.file_id, ..References::default() };
    if let Some(error) = refers.missing(tx, place, job).await? {
        return Ok(Err(error));
    }
    let id = add.id.unwrap_or_else(Uuid::new_v4);
    Ok(match parts::insert_output(tx, id, add, output_type(add.output_type)).await? {
        Some(added) => {
            let done = Done::applied().with_result(json!({ "outputId": id, "sortOrder": added.sort_order }));
            let added =
                AddedPart { part: PartKind::Output, node_id: add.node_id, id, state: added.state, edges: Vec::new() };
            Ok(undone_by_removal(done, job, added))
        }
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
        Some(removed) => Ok(undone_by_return(job, PartKind::Input, remove.node_id, removed)),
        None => Err(Error::new(ErrorCode::NotFound, "no such input of this node")),
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
        Some(removed) => Ok(undone_by_return(job, PartKind::Output, remove.node_id, removed)),
        None => Err(Error::new(ErrorCode::NotFound, "no such output of this node")),
    })
}

/// What an input or output refers to.
#[derive(Default)]
struct References {
    file: Option<Uuid>,
    source: Option<NodeId>,
    source_version: Option<i32>,
}

impl References {
    /// The refusal if something is not there, or not for the caller's eyes.
    async fn missing(&self, tx: &mut Tx, place: Place, job: &Job<'_>) -> sqlx::Result<Option<Error>> {
        if let Some(file) = self.file
            && !readable::has_file(tx, place.org, job.user, file).await?
        {
            return Ok(Some(Error::validation("fileId", MISSING)));
        }
        if let Some(source) = self.source {
            let Some(newest) = readable::node_version(tx, job.user, source).await? else {
                return Ok(Some(Error::validation("sourceNodeId", MISSING)));
            };
            if self.source_version.is_some_and(|version| version > newest) {
                return Ok(Some(Error::validation("sourceNodeVersion", MISSING)));
            }
        }
        Ok(None)
    }
}

fn undone_by_removal(done: Done, job: &Job<'_>, added: AddedPart) -> Done {
    match job.is_undoable() {
        true => done.with_inverse(Inverse::RemovePart(added)),
        false => done,
    }
}

fn undone_by_return(job: &Job<'_>, part: PartKind, node_id: NodeId, removed: Removed) -> Done {
    let (row, edges) = (removed.part.0, removed.edges.0);
    match job.is_undoable() {
        true => Done::applied().with_inverse(Inverse::AddPart(RemovedPart { part, node_id, row, edges })),
        false => Done::applied(),
    }
}

/// Removes an input or output that is as it was left.
pub(super) async fn take_away(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    added: &AddedPart,
    fence: Option<Fence>,
) -> sqlx::Result<Applied> {
    let AddedPart { part, node_id, id, state, edges } = added;
    if let Some(refusal) = refusal(tx, place, job, *node_id, fence).await? {
        return Ok(Err(refusal));
    }
    let (name, what) = match part {
        PartKind::Input => ("inputId", "inputs"),
        PartKind::Output => ("outputId", "outputs"),
    };
    match parts::lock(tx, *part, *node_id, *id).await? {
        Some((now, means)) if now == *state && means == *edges => {}
        Some((now, _)) => {
            let fields = if now == *state { ["dependencies"] } else { [what] };
            return Ok(Err(conflict(&[json!({ "nodeId": node_id, "fields": fields, name: id })])));
        }
        None => {
            let found = json!({ "nodeId": node_id, "fields": [what], name: id, "reason": "removed already" });
            return Ok(Err(conflict(&[found])));
        }
    }
    match part {
        PartKind::Input => {
            remove_input(tx, place, job, &NodeInputRemove { node_id: *node_id, input_id: *id, fence }).await
        }
        PartKind::Output => {
            remove_output(tx, place, job, &NodeOutputRemove { node_id: *node_id, output_id: *id, fence }).await
        }
    }
}

/// Brings back an input or output that was removed, in its place and under the same id, with the edges that went with
/// it.
pub(super) async fn bring_back(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    removed: &RemovedPart,
    fence: Option<Fence>,
) -> sqlx::Result<Applied> {
    let RemovedPart { part, node_id, row, edges } = removed;
    if let Some(refusal) = refusal(tx, place, job, *node_id, fence).await? {
        return Ok(Err(refusal));
    }
    let uuid = |row: &Value, name: &str| row[name].as_str().and_then(|id| id.parse::<Uuid>().ok());
    let refers = References {
        file: uuid(row, "file_id"),
        source: uuid(row, "source_node_id").map(NodeId),
        source_version: None,
    };
    if let Some(error) = refers.missing(tx, place, job).await? {
        return Ok(Err(error));
    }
    let id = uuid(row, "id").unwrap_or_default();
    let Some(state) = parts::bring_back(tx, *part, row).await? else {
        return Ok(Err(conflict(&[json!({ "nodeId": node_id, "reason": "the id is in use" })])));
    };
    dependencies::bring_back(tx, edges).await?;
    let edges = edges.iter().filter_map(|edge| uuid(edge, "id")).collect();
    let name = if *part == PartKind::Input { "inputId" } else { "outputId" };
    let done = Done::applied().with_result(json!({ name: id, "sortOrder": row["sort_order"] }));
    Ok(Ok(undone_by_removal(done, job, AddedPart { part: *part, node_id: *node_id, id, state, edges })))
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
