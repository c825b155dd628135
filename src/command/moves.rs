//! `node_move`: places of nodes. Locks do not stop a move; the newest one in the log wins. Moves are not audited, so
//! their origins do not say where they came from. Over a WebSocket a node that is missing or deleted refuses the
//! command; over REST, whose callers do not follow the log, it is passed over and named in the answer.

use glassbox_protocol::client::Move;
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{Command, Error, NodeId};
use serde_json::json;
use uuid::Uuid;

use super::inverse::{Inverse, PlaceBack};
use super::validate::clamp;
use super::{AnswerWith, Applied, Done, Job, Place, gone, not_found};
use crate::store::{Origin, Tx, nodes};

/// Applies moves of nodes that all differ, as one statement.
pub(super) async fn apply(tx: &mut Tx, place: Place, jobs: &[Job<'_>]) -> sqlx::Result<Vec<Applied>> {
    let moves_of = |job: &Job<'_>| match job.command {
        Command::NodeMove(moves) => moves.moves.clone(),
        _ => Vec::new(),
    };
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let touched: Vec<NodeId> = jobs.iter().flat_map(moves_of).map(|m| m.node_id).collect();
    let rows = nodes::lock(tx, place.project, &touched).await?;

    let mut applied = Vec::with_capacity(jobs.len());
    let mut places = Vec::new();
    let mut origins: Vec<(Uuid, Origin)> = Vec::new();
    for (n, job) in jobs.iter().enumerate() {
        let moves = moves_of(job);
        let refusal = |m: &Move| match rows.get(&m.node_id) {
            None => Some(not_found().with_details(json!({ "nodeId": m.node_id }))),
            Some(row) if row.deleted_at.is_some() => Some(gone(m.node_id)),
            Some(_) => None,
        };
        let skipped: Vec<(NodeId, Error)> = moves.iter().filter_map(|m| Some((m.node_id, refusal(m)?))).collect();
        if job.answer == AnswerWith::News
            && let Some((_, error)) = skipped.first()
        {
            applied.push(Err(error.clone()));
            continue;
        }
        let moves: Vec<Move> = moves.into_iter().filter(|m| skipped.iter().all(|(id, _)| *id != m.node_id)).collect();
        let mut is_adjusted = false;
        let mut is_moved = false;
        let mut stored = Vec::with_capacity(moves.len());
        let mut back = Vec::new();
        for m in &moves {
            let target = clamp(m.position);
            is_adjusted |= target != m.position;
            stored.push(json!({ "nodeId": m.node_id, "position": target }));
            if let Some(row) = rows.get(&m.node_id).filter(|row| row.content.position != target) {
                is_moved = true;
                back.push(PlaceBack { node_id: m.node_id, set: row.content.position, expected: target });
                places.push((m.node_id, target));
                origins.push((m.node_id.0, Origin { n: Some(n), via: None, ..job.origin() }));
            }
        }
        let mut done = Done::new(match (is_adjusted, is_moved) {
            (true, _) => Outcome::Adjusted,
            (false, true) => Outcome::Applied,
            (false, false) => Outcome::Unchanged,
        });
        if is_moved && job.is_undoable() {
            done = done.with_inverse(Inverse::Places { moves: back });
        }
        applied.push(Ok(match job.answer {
            AnswerWith::Entity => done.with_result(json!({
                "data": stored,
                "skipped": skipped
                    .iter()
                    .map(|(id, error)| json!({ "nodeId": id, "code": error.code }))
                    .collect::<Vec<_>>(),
            })),
            AnswerWith::News if is_adjusted => done.with_result(json!({ "moves": stored })),
            AnswerWith::News => done,
        }));
    }
    if !places.is_empty() {
        tx.set_origin(&Origin::default(), &origins).await?;
        nodes::place(tx, &places).await?;
    }
    Ok(applied)
}
