//! `node_delete` and `node_restore`: soft, with what lies below the node.

use glassbox_protocol::{Fence, NodeId};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::inverse::{Deleted, Inverse, Lost, microseconds};
use super::{Applied, Done, Job, Place, lock, not_found};
use crate::store::tree::{self, Branch, ReturnTo};
use crate::store::{Origin, Tx, locks, nodes};

/// Deletes a node and what lies below it, children before parents: now, or at the moment of a delete that is done again,
/// so that what else happened to these nodes fits. Somebody else's lock anywhere in it refuses it.
pub(super) async fn apply(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    node: NodeId,
    fence: Option<Fence>,
    at: Option<OffsetDateTime>,
) -> sqlx::Result<Applied> {
    let rows = nodes::lock(tx, place.project, &[node]).await?;
    match rows.get(&node) {
        None => return Ok(Err(not_found())),
        Some(row) if row.deleted_at.is_some() => return Ok(Ok(Done::unchanged())),
        Some(_) => {}
    }
    if let Some(error) = lock::refusal(tx, job, node, fence).await? {
        return Ok(Err(error));
    }
    let branches = tree::lock_subtree(tx, place.project, node).await?;
    let below: Vec<NodeId> = branches.iter().map(|b| b.node).filter(|n| *n != node).collect();
    if let Some(locked) = locks::foreign_lock(tx, &below, job.user, job.client).await? {
        return Ok(Err(lock::held_error(tx, job, locked).await?));
    }
    let deepest = branches.iter().map(|b| b.depth).max().unwrap_or(0);
    set_origins(tx, job, &branches, |b| deepest - b.depth).await?;
    let all: Vec<NodeId> = branches.iter().map(|b| b.node).collect();
    let deleted_at = tree::delete(tx, &all, at).await?;
    let done = Done::applied().with_result(json!({ "nodeIds": all }));
    Ok(Ok(match deleted_at {
        Some(deleted_at) if job.is_undoable() => done.with_inverse(Inverse::Restore(Deleted {
            node_id: node,
            nodes: branches.into_iter().map(Lost::from).collect(),
            deleted_at_us: microseconds(deleted_at),
        })),
        _ => done,
    }))
}

/// Brings a node back with what the same delete took, parents before children. Given branches are locked already.
pub(super) async fn restore(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    node: NodeId,
    to: ReturnTo<'_>,
) -> sqlx::Result<Applied> {
    let rows = nodes::lock(tx, place.project, &[node]).await?;
    let deleted_at = match rows.get(&node) {
        None => return Ok(Err(not_found())),
        Some(row) if row.deleted_at.is_none() => return Ok(Ok(Done::unchanged().with_version(row.version))),
        Some(row) => row.deleted_at,
    };
    let branches = match to {
        ReturnTo::ItsPlace => tree::lock_deleted_subtree(tx, place.project, node).await?,
        ReturnTo::Branches(branches) => branches.to_vec(),
    };
    set_origins(tx, job, &branches, |b| b.depth).await?;
    let all: Vec<NodeId> = branches.iter().map(|b| b.node).collect();
    match to {
        ReturnTo::ItsPlace => tree::restore(tx, node, &all).await?,
        ReturnTo::Branches(branches) => tree::bring_back(tx, branches).await?,
    }
    let done = Done::applied().with_result(json!({ "nodeIds": all }));
    Ok(Ok(match job.is_undoable() {
        true => done.with_inverse(Inverse::of_presence(tx, node, &all, deleted_at).await?),
        false => done,
    }))
}

/// One command, many rows: the same origin for each, with its place in the order of events.
async fn set_origins(
    tx: &mut Tx,
    job: &Job<'_>,
    branches: &[Branch],
    order: impl Fn(&Branch) -> i32,
) -> sqlx::Result<()> {
    let rows: Vec<(Uuid, Origin)> =
        branches.iter().map(|b| (b.node.0, Origin { n: usize::try_from(order(b)).ok(), ..job.origin() })).collect();
    tx.set_origin(&job.origin(), &rows).await
}
