//! `dependency_add`, `dependency_update` and `dependency_remove`. Locks do not stop them.

use std::collections::{HashMap, VecDeque};

use glassbox_protocol::client::{DependencyAdd, DependencyRemove, DependencyUpdate};
use glassbox_protocol::{Error, ErrorCode, NodeId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::inverse::Inverse;
use super::undo::conflict;
use super::{AnswerWith, Applied, Done, Job, Place, gone, not_found};
use crate::store::{Tx, dependencies, nodes, parts};

/// Adds an edge. A ring is allowed, with a warning that names its nodes.
pub(super) async fn add(tx: &mut Tx, place: Place, job: &Job<'_>, edge: &DependencyAdd) -> sqlx::Result<Applied> {
    let ends = [edge.target_node_id, edge.source_node_id];
    let rows = nodes::lock(tx, place.project, &ends).await?;
    for end in ends {
        match rows.get(&end) {
            // In REST the target is what the request is about, and the source a reference.
            found
                if job.answer == AnswerWith::Entity
                    && end == edge.source_node_id
                    && found.is_none_or(|row| row.deleted_at.is_some()) =>
            {
                return Ok(Err(Error::validation("sourceNodeId", "must be a node of this project")));
            }
            None => return Ok(Err(not_found().with_details(json!({ "nodeId": end })))),
            Some(row) if row.deleted_at.is_some() => return Ok(Err(gone(end))),
            Some(_) => {}
        }
    }
    if let Some((_, dependency)) = dependencies::find(tx, edge).await? {
        return Ok(Ok(Done::unchanged().with_result(json!({ "dependency": dependency }))));
    }
    if let Some(error) = foreign_part(tx, edge).await? {
        return Ok(Err(error));
    }
    let reachable = dependencies::reachable_from(tx, edge.target_node_id).await?;
    let Some(dependency) = dependencies::insert(tx, edge).await? else {
        // An equal edge came in from elsewhere since we looked.
        let found = dependencies::find(tx, edge).await?.map(|(_, dependency)| dependency);
        return Ok(Ok(Done::unchanged().with_result(json!({ "dependency": found }))));
    };
    let id = dependency["id"].as_str().and_then(|id| id.parse().ok());
    let mut done = Done::applied().with_result(json!({ "dependency": dependency }));
    if let Some(dependency_id) = id.filter(|_| job.is_undoable()) {
        done = done.with_inverse(Inverse::RemoveEdge { dependency_id, edge: *edge });
    }
    done.details = ring(edge.source_node_id, edge.target_node_id, &reachable).map(|path| json!({ "cycle": path }));
    Ok(Ok(done))
}

/// Changes which output and input an edge means.
pub(super) async fn update(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    update: &DependencyUpdate,
) -> sqlx::Result<Applied> {
    let id = update.dependency_id;
    let Some(now) = dependencies::lock(tx, place.project, id).await? else {
        return Ok(Err(unknown()));
    };
    let then = DependencyAdd {
        source_output_id: update.source_output_id.unwrap_or(now.source_output_id),
        target_input_id: update.target_input_id.unwrap_or(now.target_input_id),
        ..now
    };
    let mut outcome = if then == now { Done::unchanged() } else { Done::applied() };
    if then != now {
        if let Some(error) = foreign_part(tx, &then).await? {
            return Ok(Err(error));
        }
        if dependencies::find(tx, &then).await?.is_some() {
            let field = if update.source_output_id.is_some() { "sourceOutputId" } else { "targetInputId" };
            return Ok(Err(Error::validation(field, "makes the dependency equal to another one")));
        }
        dependencies::update(tx, id, &then).await?;
        if job.is_undoable() {
            outcome = outcome.with_inverse(Inverse::Edge { dependency_id: id, set: now, expected: then });
        }
    }
    let dependency = dependencies::json(tx, place.project, id).await?;
    Ok(Ok(outcome.with_result(json!({ "dependency": dependency }))))
}

/// An edge may mean an output of its source and an input of its target, no others.
async fn foreign_part(tx: &mut Tx, edge: &DependencyAdd) -> sqlx::Result<Option<Error>> {
    if let Some(output) = edge.source_output_id
        && !parts::has_output(tx, edge.source_node_id, output).await?
    {
        return Ok(Some(Error::validation("sourceOutputId", "must be an output of the source")));
    }
    if let Some(input) = edge.target_input_id
        && !parts::has_input(tx, edge.target_node_id, input).await?
    {
        return Ok(Some(Error::validation("targetInputId", "must be an input of the target")));
    }
    Ok(None)
}

fn unknown() -> Error {
    Error::new(ErrorCode::NotFound, "no such dependency in this project")
}

/// Removes an edge.
pub(super) async fn remove(tx: &mut Tx, place: Place, job: &Job<'_>, edge: &DependencyRemove) -> sqlx::Result<Applied> {
    let id = match edge {
        DependencyRemove::ById { dependency_id } => Some(*dependency_id),
        DependencyRemove::ByEnds(ends) => dependencies::find(tx, ends).await?.map(|(id, _)| id),
    };
    let Some(id) = id else { return Ok(Err(unknown())) };
    Ok(match dependencies::delete(tx, place.project, id).await? {
        Some(removed) if job.is_undoable() => {
            let edge = edge_of(&removed);
            Ok(Done::applied().with_inverse(Inverse::AddEdge { edge, row: removed }))
        }
        Some(_) => Ok(Done::applied()),
        None => Err(unknown()),
    })
}

/// Brings back an edge that was removed, under the same id.
pub(super) async fn bring_back(tx: &mut Tx, place: Place, edge: &DependencyAdd, row: &Value) -> sqlx::Result<Applied> {
    let ends = [edge.source_node_id, edge.target_node_id];
    let rows = nodes::lock(tx, place.project, &ends).await?;
    for end in ends {
        match rows.get(&end) {
            None => return Ok(Err(not_found().with_details(json!({ "nodeId": end })))),
            Some(row) if row.deleted_at.is_some() => return Ok(Err(gone(end))),
            Some(_) => {}
        }
    }
    if let Some(error) = foreign_part(tx, edge).await? {
        return Ok(Err(error));
    }
    let reachable = dependencies::reachable_from(tx, edge.target_node_id).await?;
    let back = dependencies::bring_back(tx, std::slice::from_ref(row)).await?;
    let Some(dependency) = back.into_iter().next() else {
        let equal = dependencies::find(tx, edge).await?.map(|(_, dependency)| dependency);
        let found = json!({ "dependencyId": row["id"], "expected": null, "current": equal });
        return Ok(Err(conflict(&[found])));
    };
    let id = dependency["id"].as_str().and_then(|id| id.parse().ok());
    let mut done = Done::applied().with_result(json!({ "dependency": dependency }));
    done.details = ring(edge.source_node_id, edge.target_node_id, &reachable).map(|path| json!({ "cycle": path }));
    Ok(Ok(match id {
        Some(dependency_id) => done.with_inverse(Inverse::RemoveEdge { dependency_id, edge: *edge }),
        None => done,
    }))
}

/// What the row of an edge says.
fn edge_of(row: &Value) -> DependencyAdd {
    let id = |name: &str| row[name].as_str().and_then(|id| id.parse::<Uuid>().ok());
    DependencyAdd {
        source_node_id: NodeId(id("source_node_id").unwrap_or_default()),
        target_node_id: NodeId(id("target_node_id").unwrap_or_default()),
        source_output_id: id("source_output_id"),
        target_input_id: id("target_input_id"),
    }
}

/// The shortest ring that an edge closes, from its source back to it.
fn ring(source: NodeId, target: NodeId, edges: &[(NodeId, NodeId)]) -> Option<Vec<NodeId>> {
    let mut next: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for (from, to) in edges {
        next.entry(*from).or_default().push(*to);
    }
    let mut came_from: HashMap<NodeId, NodeId> = HashMap::from([(target, source)]);
    let mut queue = VecDeque::from([target]);
    while let Some(node) = queue.pop_front() {
        if node == source {
            let mut path = vec![source];
            let mut at = source;
            while let Some(before) = came_from.get(&at) {
                path.push(*before);
                at = *before;
                if at == source {
                    break;
                }
            }
            path.reverse();
            return Some(path);
        }
        for to in next.get(&node).into_iter().flatten() {
            if !came_from.contains_key(to) {
                came_from.insert(*to, node);
                queue.push_back(*to);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_names_its_nodes_in_order() {
        let (a, b, c, d) = (NodeId::random(), NodeId::random(), NodeId::random(), NodeId::random());
        assert_eq!(ring(a, b, &[(b, c), (c, a), (c, d)]), Some(vec![a, b, c, a]));
        assert_eq!(ring(a, b, &[(b, a)]), Some(vec![a, b, a]));
        assert_eq!(ring(a, b, &[(b, c), (c, b)]), None);
    }
}
