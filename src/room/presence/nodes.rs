//! Presence as those see it who look at one node.

use std::collections::BTreeMap;

use glassbox_protocol::client::PresenceFields;
use glassbox_protocol::server::{PresenceUpdate, PresentMember};
use glassbox_protocol::{NodeId, SessionId};

use super::{Diff, Entry, Presence, shown};

impl Presence {
    /// Everybody who looks at a node.
    pub fn on_node(&self, node: NodeId) -> Vec<PresentMember> {
        let looks = |e: &Entry| node_of(&e.state) == Some(node);
        let mut members: Vec<PresentMember> =
            self.entries.iter().filter(|(_, e)| looks(e)).map(|(id, e)| shown(*id, e)).collect();
        members.sort_by_key(|m| m.session_id);
        members
    }

    /// What changed for those who look at single nodes since [`Self::take_for_members`]; asked before that is.
    pub fn take_for_nodes(&mut self) -> BTreeMap<NodeId, Diff> {
        let mut by_node: BTreeMap<NodeId, Diff> = BTreeMap::new();
        for (node, session) in std::mem::take(&mut self.went_from) {
            by_node.entry(node).or_default().leaves.push(session);
        }
        let came_to = std::mem::take(&mut self.came_to);
        for (node, session) in &came_to {
            if let Some(entry) = self.entries.get(session) {
                by_node.entry(*node).or_default().joins.push(shown(*session, entry));
            }
        }
        for (session_id, state) in &self.for_members.updates {
            let Some(node) = self.entries.get(session_id).and_then(|e| node_of(&e.state)) else { continue };
            if !came_to.contains(&(node, *session_id)) {
                let update = PresenceUpdate { session_id: *session_id, state: state.clone() };
                by_node.entry(node).or_default().updates.push(update);
            }
        }
        by_node
    }

    pub(super) fn note_node(&mut self, session: SessionId, before: Option<NodeId>, after: Option<NodeId>) {
        if before == after {
            return;
        }
        if let Some(node) = before {
            self.came_to.remove(&(node, session));
            self.went_from.insert((node, session));
        }
        if let Some(node) = after {
            self.went_from.remove(&(node, session));
            self.came_to.insert((node, session));
        }
    }
}

/// The node that somebody looks at.
pub(super) fn node_of(state: &PresenceFields) -> Option<NodeId> {
    state.node_id.flatten()
}
