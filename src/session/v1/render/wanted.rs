//! What has to be looked up to render an event.

use glassbox_protocol::entity::Actor;
use glassbox_protocol::{Event, EventFrame, ExecutionId, NodeId, UserId};

/// Of what an event needs [`Facts`](super::Facts).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of these people.
    pub people: Vec<UserId>,
    /// Of these nodes.
    pub nodes: Vec<NodeId>,
    /// Of these nodes no more than an outline.
    pub outlines: Vec<NodeId>,
    /// Of this run.
    pub execution: Option<ExecutionId>,
}

/// What has to be known to render an event.
pub fn wanted(frame: &EventFrame) -> Wanted {
    let mut wanted = Wanted::default();
    if let Some(Actor::User { id }) = frame.by {
        wanted.people.push(id);
    }
    match &frame.event {
        Event::NodeUpdated { node_id, .. }
        | Event::NodeInputAdded { node_id, .. }
        | Event::NodeInputRemoved { node_id, .. }
        | Event::NodeOutputAdded { node_id, .. }
        | Event::NodeOutputRemoved { node_id, .. }
        | Event::NodeCreated { node_id, .. }
        | Event::NodeRestored { node_id, .. } => wanted.nodes.push(*node_id),
        Event::NodesMoved { moves } => wanted.outlines.extend(moves.iter().map(|m| m.node_id)),
        Event::FileUpdate { node_ids, .. } => wanted.nodes.extend(node_ids),
        Event::LockAcquired { locked_by, .. } | Event::LockReleased { locked_by, .. } => wanted.people.push(*locked_by),
        Event::ExecutionUpdate { execution_id, .. } => wanted.execution = Some(*execution_id),
        Event::TraceEvent(trace) => wanted.execution = Some(trace.execution_id),
        Event::NodeDeleted { .. }
        | Event::DependencyAdded { .. }
        | Event::DependencyRemoved { .. }
        | Event::LockRenewed { .. }
        | Event::ExecutionClosed { .. }
        | Event::MemberAdded { .. }
        | Event::MemberUpdated { .. }
        | Event::MemberRemoved { .. }
        | Event::ProjectUpdated { .. }
        | Event::ProjectDeleted {}
        | Event::Notification { .. }
        | Event::NotificationsRead { .. } => {}
    }
    wanted
}
