//! `undo` and `redo`: a user's own last command in a project, taken back or done again.
//!
//! Each command of a session leaves its inverse on its user's stack ([`super::inverse`]). An undo takes the newest, checks
//! that what it expects is there, and applies it through the same functions as any command, so that rights, locks,
//! validation, versions, events and the audit trail hold. What that gives is the way back. A conflict is reported and its
//! step dropped, so that the next undo reaches the one before; a refusal that passes keeps the step.

use glassbox_protocol::client::{DependencyRemove, DependencyUpdate, Move, NodeMove, NodeUpdate};
use glassbox_protocol::{Channel, Command, Error, ErrorCode, NodeId};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tracing::warn;

use super::inverse::{self, Deleted, Expected, FieldsBack, Inverse, PlaceBack, Seen};
use super::{Applied, Done, Job, Place, delete, dependency, gone, lock, moves, not_found, parts, update};
use crate::store::tree::{self, Branch, ReturnTo};
use crate::store::undo::{self, NewStep, Which};
use crate::store::{Failure, Tx, dependencies, nodes};

/// Turns what commands left behind into steps, in the order of the commands.
pub fn steps<'a>(jobs: &[Job<'_>], applied: impl Iterator<Item = Option<&'a mut Applied>>) -> Vec<NewStep> {
    let mut steps = Vec::new();
    for (job, applied) in jobs.iter().zip(applied) {
        let Some(Ok(done)) = applied else { continue };
        let Some(inverse) = done.inverse.take() else { continue };
        match serde_json::to_value(&inverse) {
            Ok(inverse) => steps.push(NewStep { user: job.user, command: super::command_type(job.command), inverse }),
            Err(error) => warn!(%error, "a command cannot be taken back"),
        }
    }
    steps
}

/// Takes back the caller's newest command, or does again what was taken back last.
pub(super) async fn apply(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    channel: Channel,
    which: Which,
) -> sqlx::Result<Applied> {
    if channel != Channel::Project(place.project) {
        return Ok(Err(wrong_channel()));
    }
    let Some(step) = undo::take(tx, place.project, job.user, which).await? else {
        return Ok(Ok(Done::unchanged()));
    };
    let Ok(inverse) = serde_json::from_value::<Inverse>(step.inverse.clone()) else {
        undo::drop_step(tx, place.project, job.user, &step).await?;
        return Ok(Err(conflict(&[]).with_details(json!({ "command": step.command }))));
    };
    tx.set_origin(&job.origin(), &[]).await?;
    undo::begin_attempt(tx).await?;
    let applied = match apply_inverse(tx, place, job, &inverse).await {
        Ok(applied) => {
            undo::end_attempt(tx).await?;
            applied
        }
        // What the inverse refers to is gone in a way that no rule of ours has caught: it will not come back.
        Err(error) if Failure::of(&error) == Failure::Refused => {
            undo::give_up_attempt(tx).await?;
            Err(conflict(&[json!({ "nodeId": inverse.nodes().first() })]))
        }
        Err(error) => return Err(error),
    };
    match applied {
        Ok(mut done) => {
            match done.inverse.take().map(|back| serde_json::to_value(&back)) {
                Some(Ok(back)) => undo::put_back(tx, place.project, job.user, &step, which, &back).await?,
                // It is all as it was already; there is nothing to lead back to.
                _ => undo::drop_step(tx, place.project, job.user, &step).await?,
            }
            let mut result = match done.result.take() {
                Some(Value::Object(result)) => result,
                _ => Map::new(),
            };
            let what = if which == Which::Done { "undone" } else { "redone" };
            result.insert(what.to_owned(), step.command.into());
            result.insert("nodeIds".to_owned(), json!(inverse.nodes()));
            Ok(Ok(done.with_result(Value::Object(result))))
        }
        Err(error) => {
            // A lock that ends between two looks at it is as passing as one that is held.
            let is_passing = error.temporary || error.code == ErrorCode::LockLost;
            if !is_passing {
                undo::drop_step(tx, place.project, job.user, &step).await?;
            }
            let mut details = error.details.clone().unwrap_or_else(|| json!({}));
            if let Some(details) = details.as_object_mut() {
                details.insert("command".to_owned(), step.command.into());
            }
            Ok(Err(error.with_details(details)))
        }
    }
}

/// The refusal of a channel that has no commands to take back.
pub fn wrong_channel() -> Error {
    Error::new(ErrorCode::InvalidChannel, "commands are taken back in a project: project:<uuid>")
}

async fn apply_inverse(tx: &mut Tx, place: Place, job: &Job<'_>, inverse: &Inverse) -> sqlx::Result<Applied> {
    match inverse {
        Inverse::Fields(back) => set_fields(tx, place, job, back).await,
        Inverse::Places { moves } => move_back(tx, place, job, moves).await,
        Inverse::Delete { node_id, nodes, deleted_at_us } => {
            let at = deleted_at_us.and_then(inverse::moment);
            delete_again(tx, place, job, *node_id, nodes, at).await
        }
        Inverse::Restore(deleted) => restore(tx, place, job, deleted).await,
        Inverse::RemovePart(part) => {
            let fence = lock::own_fence(tx, job, part.node_id).await?;
            parts::take_away(tx, place, job, part, fence).await
        }
        Inverse::AddPart(part) => {
            let fence = lock::own_fence(tx, job, part.node_id).await?;
            parts::bring_back(tx, place, job, part, fence).await
        }
        Inverse::RemoveEdge { dependency_id, edge } => {
            let now = dependencies::lock(tx, place.project, *dependency_id).await?;
            if now.as_ref() != Some(edge) {
                let found = json!({ "dependencyId": dependency_id, "expected": edge, "current": now });
                return Ok(Err(conflict(&[found])));
            }
            dependency::remove(tx, place, job, &DependencyRemove::ById { dependency_id: *dependency_id }).await
        }
        Inverse::AddEdge { edge, row } => dependency::bring_back(tx, place, edge, row).await,
        Inverse::Edge { dependency_id, set, expected } => {
            let now = dependencies::lock(tx, place.project, *dependency_id).await?;
            if now.as_ref() != Some(expected) {
                let found = json!({ "dependencyId": dependency_id, "expected": expected, "current": now });
                return Ok(Err(conflict(&[found])));
            }
            let back = DependencyUpdate {
                dependency_id: *dependency_id,
                source_output_id: Some(set.source_output_id),
                target_input_id: Some(set.target_input_id),
            };
            dependency::update(tx, place, job, &back).await
        }
    }
}

async fn set_fields(tx: &mut Tx, place: Place, job: &Job<'_>, back: &FieldsBack) -> sqlx::Result<Applied> {
    let FieldsBack { node_id, version, set, expected } = back;
    let rows = nodes::lock(tx, place.project, &[*node_id]).await?;
    let row = match rows.get(node_id) {
        None => return Ok(Err(not_found())),
        Some(row) if row.deleted_at.is_some() => return Ok(Err(gone(*node_id))),
        Some(row) => row,
    };
    let now = expected.present(&row.content);
    let found = Expected::from(now.clone());
    if found != *expected {
        let (values, now, small) = (json!(expected.values), json!(now), json!(found.values));
        let is_other = |field: &String| {
            values.get(field) != small.get(field) || expected.hashes.get(field) != found.hashes.get(field)
        };
        let fields: Vec<String> = names(&now).filter(is_other).collect();
        return Ok(Err(conflict(&[of_fields(*node_id, &fields, &values, &now)])));
    }
    let command = Command::NodeUpdate(NodeUpdate {
        node_id: *node_id,
        changes: set.clone(),
        base_version: Some(*version),
        fence: lock::own_fence(tx, job, *node_id).await?,
    });
    let applied = update::apply(tx, place, &[Job { command: &command, ..*job }]).await?.pop();
    let applied = applied.unwrap_or_else(|| Ok(Done::unchanged()));
    Ok(applied.map_err(|error| match (error.code, &error.details) {
        // Changed to and fro since: the values are the same, but somebody else has set them.
        (ErrorCode::VersionConflict, Some(details)) => {
            let fields: Vec<String> = serde_json::from_value(details["fields"].clone()).unwrap_or_default();
            conflict(&[of_fields(*node_id, &fields, &json!(expected.values), &json!(now))])
        }
        _ => error,
    }))
}

async fn move_back(tx: &mut Tx, place: Place, job: &Job<'_>, back: &[PlaceBack]) -> sqlx::Result<Applied> {
    let ids: Vec<NodeId> = back.iter().map(|b| b.node_id).collect();
    let rows = nodes::lock(tx, place.project, &ids).await?;
    let mut conflicts = Vec::new();
    for one in back {
        match rows.get(&one.node_id) {
            None => return Ok(Err(not_found().with_details(json!({ "nodeId": one.node_id })))),
            Some(row) if row.deleted_at.is_some() => return Ok(Err(gone(one.node_id))),
            Some(row) if row.content.position != one.expected => conflicts.push(of_fields(
                one.node_id,
                &["position".to_owned()],
                &json!({ "position": one.expected }),
                &json!({ "position": row.content.position }),
            )),
            Some(_) => {}
        }
    }
    if !conflicts.is_empty() {
        return Ok(Err(conflict(&conflicts)));
    }
    let moves = back.iter().map(|b| Move { node_id: b.node_id, position: b.set }).collect();
    let command = Command::NodeMove(NodeMove { moves });
    let applied = moves::apply(tx, place, &[Job { command: &command, ..*job }]).await?.pop();
    Ok(applied.unwrap_or_else(|| Ok(Done::unchanged())))
}

/// Deletes nodes, if they and what hangs on them are as they were left.
async fn delete_again(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    node: NodeId,
    seen: &[Seen],
    at: Option<OffsetDateTime>,
) -> sqlx::Result<Applied> {
    let rows = nodes::lock(tx, place.project, &[node]).await?;
    match rows.get(&node) {
        None => return Ok(Err(not_found())),
        Some(row) if row.deleted_at.is_some() => return Ok(Err(gone(node))),
        Some(_) => {}
    }
    let branches = tree::lock_subtree(tx, place.project, node).await?;
    let below: Vec<NodeId> = branches.iter().map(|b| b.node).collect();
    let mut conflicts: Vec<Value> = below
        .iter()
        .filter(|id| seen.iter().all(|s| s.node_id != **id))
        .map(|id| json!({ "nodeId": id, "fields": ["parentId"], "reason": "lies below it now" }))
        .collect();
    let states = undo::states(tx, &below).await?;
    for one in seen {
        let Some(state) = states.get(&one.node_id) else {
            conflicts.push(json!({ "nodeId": one.node_id, "fields": ["parentId"], "reason": "lies below it no more" }));
            continue;
        };
        let differing =
            undo::STATE_FIELDS.iter().zip(state.iter().zip(&one.state)).filter(|(_, (now, then))| now != then);
        let fields: Vec<&str> = differing.map(|(field, _)| *field).collect();
        if !fields.is_empty() {
            conflicts.push(json!({ "nodeId": one.node_id, "fields": fields }));
        }
    }
    if !conflicts.is_empty() {
        return Ok(Err(conflict(&conflicts)));
    }
    let fence = lock::own_fence(tx, job, node).await?;
    delete::apply(tx, place, job, node, fence, at).await
}

/// Brings nodes back, if it is still the same delete that they are gone with.
async fn restore(tx: &mut Tx, place: Place, job: &Job<'_>, deleted: &Deleted) -> sqlx::Result<Applied> {
    let Deleted { node_id, nodes, deleted_at_us } = deleted;
    let node = *node_id;
    let parent = nodes.iter().find(|lost| lost.node_id == node).and_then(|lost| lost.parent_id);
    let touched: Vec<NodeId> = nodes.iter().map(|lost| lost.node_id).chain(parent).collect();
    let rows = nodes::lock(tx, place.project, &touched).await?;
    if !rows.contains_key(&node) {
        return Ok(Err(not_found()));
    }
    let mut missing = Vec::new();
    for lost in nodes {
        let deleted_at = rows.get(&lost.node_id).map(|row| row.deleted_at.map(inverse::microseconds));
        let reason = match deleted_at {
            Some(Some(at)) if at == *deleted_at_us => continue,
            Some(Some(_)) => "deleted anew",
            Some(None) => "restored already",
            None => "gone for good",
        };
        missing.push(json!({ "nodeId": lost.node_id, "fields": ["deletedAt"], "reason": reason }));
    }
    if !missing.is_empty() {
        return Ok(Err(conflict(&missing)));
    }
    if let Some(parent) = parent
        && rows.get(&parent).is_none_or(|row| row.deleted_at.is_some())
    {
        // It would come back elsewhere, as a root.
        let (expected, now) = (json!({ "parentId": parent }), json!({ "parentId": null }));
        return Ok(Err(conflict(&[of_fields(node, &["parentId".to_owned()], &expected, &now)])));
    }
    // By the list, not by what hangs below the root: a node that was restored alone meanwhile has lost its parent.
    let branches: Vec<Branch> =
        nodes.iter().map(|lost| Branch { node: lost.node_id, parent: lost.parent_id, depth: lost.depth }).collect();
    delete::restore(tx, place, job, node, ReturnTo::Branches(&branches)).await
}

/// `VERSION_CONFLICT` that names what is not as it was left.
pub(super) fn conflict(conflicts: &[Value]) -> Error {
    Error::new(ErrorCode::VersionConflict, "changed since by somebody else: it cannot be taken back or done again")
        .with_details(json!({ "conflicts": conflicts }))
}

fn of_fields(node: NodeId, fields: &[String], expected: &Value, current: &Value) -> Value {
    // Of what is large, the value that was expected is not known any more.
    let of = |values: &Value| -> Map<String, Value> {
        fields.iter().filter_map(|field| Some((field.clone(), values.get(field)?.clone()))).collect()
    };
    json!({ "nodeId": node, "fields": fields, "expected": of(expected), "current": of(current) })
}

fn names(values: &Value) -> impl Iterator<Item = String> {
    values.as_object().into_iter().flatten().map(|(name, _)| name.clone())
}
