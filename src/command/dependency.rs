//! `dependency_add` and `dependency_remove`.

use std::collections::{HashMap, VecDeque};

use glassbox_protocol::client::{DependencyAdd, DependencyRemove};
use glassbox_protocol::{Error, ErrorCode, NodeId};
use serde_json::json;

use super::{Applied, Done, Place, gone, not_found};
use crate::store::{Tx, dependencies, nodes};

/// Adds an edge. A ring is allowed, with a warning that names its nodes.
pub(super) async fn add(tx: &mut Tx, place: Place, edge: &DependencyAdd) -> sqlx::Result<Applied> {
    let ends = [edge.source_node_id, edge.target_node_id];
    let rows = nodes::lock(tx, place.project, &ends).await?;
    for end in ends {
        match rows.get(&end) {
            None => return Ok(Err(not_found().with_details(json!({ "nodeId": end })))),
            Some(row) if row.deleted_at.is_some() => return Ok(Err(gone(end))),
            Some(_) => {}
        }
    }
    if let Some((_, dependency)) = dependencies::find(tx, edge).await? {
        return Ok(Ok(Done::unchanged().with_result(json!({ "dependency": dependency }))));
    }
    let reachable = dependencies::reachable_from(tx, edge.target_node_id).await?;
    let Some(dependency) = dependencies::insert(tx, edge).await? else {
        // An equal edge came in from elsewhere since we looked.
        return Ok(Ok(Done::unchanged()));
    };
    let mut done = Done::applied().with_result(json!({ "dependency": dependency }));
    done.details = ring(edge.source_node_id, edge.target_node_id, &reachable).map(|path| json!({ "cycle": path }));
    Ok(Ok(done))
}

/// Removes an edge.
pub(super) async fn remove(tx: &mut Tx, place: Place, edge: &DependencyRemove) -> sqlx::Result<Applied> {
    let id = match edge {
        DependencyRemove::ById { dependency_id } => Some(*dependency_id),
        DependencyRemove::ByEnds(ends) => dependencies::find(tx, ends).await?.map(|(id, _)| id),
    };
    let is_removed = match id {
        Some(id) => dependencies::delete(tx, place.project, id).await?,
        None => false,
    };
    Ok(match is_removed {
        true => Ok(Done::applied()),
        false => Err(Error::new(ErrorCode::NotFound, "no such dependency in this project")),
    })
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
