//! Agents that hold locks are here, though they have no socket: read from the database when a lock came or went, on each
//! instance for itself.

use std::collections::HashSet;

use glassbox_protocol::client::PresenceFields;
use glassbox_protocol::server::{PresentMember, User};
use glassbox_protocol::{NodeId, SessionId};
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use super::State;
use crate::room::Message;
use crate::room::presence::{Diff, Presence};
use crate::store::{Tenant, locks};

/// Stands for the database among the instances whose sockets presence tells apart.
pub const DATABASE: Uuid = Uuid::nil();

impl State {
    /// Asks which agents hold locks. The answer comes as a message: events do not wait for it.
    pub(super) fn look_at_agents(&mut self) {
        if self.is_asking_for_agents {
            return;
        }
        (self.are_agents_known, self.is_asking_for_agents) = (true, true);
        let (seat, database) = (self.seat.clone(), self.surroundings.database.clone());
        self.surroundings.tasks.spawn(async move {
            let look = async {
                let mut tx = database.begin(&Tenant::org(seat.org)).await?;
                locks::held_by_agents(&mut tx, seat.project).await
            };
            let agents = look
                .await
                .inspect_err(|error| debug!(project.id = %seat.project, %error, "look which agents hold locks"));
            if let Some(mailbox) = seat.mailbox.upgrade() {
                let _ = mailbox.send(Message::Agents(agents.ok())).await;
            }
        });
    }

    /// Takes the answer; without one it is asked again at the next beat.
    pub(super) fn agents(&mut self, agents: Option<Vec<(NodeId, User)>>) {
        self.is_asking_for_agents = false;
        self.are_agents_known &= agents.is_some();
        if let Some(agents) = agents {
            enter(&mut self.presence, agents, Instant::now());
            self.presence_changed();
        }
    }
}

/// The agents that hold locks are these. Each is named by the node that it holds, on every instance alike.
fn enter(presence: &mut Presence, agents: Vec<(NodeId, User)>, now: Instant) {
    let joins: Vec<PresentMember> = agents
        .into_iter()
        .map(|(node, user)| {
            let state = PresenceFields {
                node_id: Some(Some(node)),
                action: Some(Some("editing".to_owned())),
                ..PresenceFields::default()
            };
            PresentMember { session_id: SessionId(node.0), user, state }
        })
        .collect();
    // Another agent may hold the node by now.
    let known: HashSet<SessionId> = joins.iter().filter(|j| presence.is_shown_as(j)).map(|j| j.session_id).collect();
    let leaves = joins.iter().map(|j| j.session_id).filter(|id| !known.contains(id)).collect();
    let here: Vec<SessionId> = joins.iter().map(|j| j.session_id).collect();
    presence.hear(DATABASE, Diff { joins, leaves, ..Diff::default() }, now);
    presence.confirm(DATABASE, &here, now);
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::UserId;

    use super::*;

    #[test]
    fn an_agent_is_here_while_it_holds_a_lock_and_gives_way_to_another() {
        let mut presence = Presence::default();
        let user = || User { id: UserId::random(), name: None, email: None };
        let (node, first, second, now) = (NodeId::random(), user(), user(), Instant::now());
        let who = |presence: &Presence| presence.everybody().into_iter().map(|m| m.user.id).collect::<Vec<_>>();
        enter(&mut presence, vec![(node, first.clone())], now);
        assert_eq!(who(&presence), [first.id]);
        enter(&mut presence, vec![(node, first.clone())], now);
        assert_eq!(presence.take_for_members().joins.len(), 1);
        assert!(presence.take_for_members().is_empty(), "nothing is new");
        presence.expire(now, Some(&[Uuid::new_v4()]));
        assert_eq!(who(&presence), [first.id], "the database is no instance that dies");
        enter(&mut presence, vec![(node, second.clone())], now);
        assert_eq!(who(&presence), [second.id]);
        assert!(presence.take_for_instances().is_empty(), "each instance looks for itself");
        enter(&mut presence, Vec::new(), now);
        assert!(who(&presence).is_empty());
    }
}
