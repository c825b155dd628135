//! Who is here and what they show: newest value per session, never stored, coalesced.
//!
//! Pure state: the fan-out task owns it, feeds it what happens here and on other instances, and asks at its tick what
//! changed since the last one, once for the members here and once for the other instances.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use glassbox_protocol::client::PresenceFields;
use glassbox_protocol::server::{PresenceUpdate, PresentMember, User};
use glassbox_protocol::{ClientId, NodeId, SessionId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use self::fields::{difference, merge, visible};
use self::nodes::node_of;
use super::fanout::DATABASE;
use crate::config::PRESENCE_GRACE;

mod fields;
mod nodes;

/// How long a session of another instance stays without a word from there; three rosters.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(30);

/// What changed about who is here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// Sessions that came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<PresentMember>,
    /// Sessions that went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaves: Vec<SessionId>,
    /// Sessions that show something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<PresenceUpdate>,
}

impl Diff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty() && self.updates.is_empty()
    }
}

/// How a member went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It said so.
    Clean,
    /// The connection was lost; it may be back in a moment.
    Lost,
}

struct Entry {
    user: User,
    state: PresenceFields,
    /// Where the socket is; `None` is here.
    instance: Option<Uuid>,
    client: Option<ClientId>,
    leaves_at: Option<Instant>,
    /// When its instance last confirmed it; here it is confirmed by its socket.
    heard_at: Option<Instant>,
}

#[derive(Default)]
struct Changes {
    joins: BTreeSet<SessionId>,
    leaves: BTreeSet<SessionId>,
    updates: BTreeMap<SessionId, PresenceFields>,
}

/// Who is in a room, on all instances.
#[derive(Default)]
pub struct Presence {
    entries: HashMap<SessionId, Entry>,
    for_members: Changes,
    for_instances: Changes,
    /// Who has come to look at which node since the members were told,
    came_to: BTreeSet<(NodeId, SessionId)>,
    /// and who looks at it no longer; told even if the coming was not.
    went_from: BTreeSet<(NodeId, SessionId)>,
}

impl Presence {
    /// A session of this instance has come. A former one of the same client, whose grace runs, goes at once.
    pub fn join(&mut self, session: SessionId, user: User, client: ClientId) {
        let former: Vec<SessionId> = self
            .entries
            .iter()
            .filter(|(_, e)| e.client == Some(client) && e.user.id == user.id && e.leaves_at.is_some())
            .map(|(id, _)| *id)
            .collect();
        let mut state = PresenceFields::default();
        for id in former {
            if let Some(entry) = self.remove(id) {
                state = entry.state;
            }
            self.note_leave(id, true);
        }
        self.insert(
            session,
            Entry { user, state, instance: None, client: Some(client), leaves_at: None, heard_at: None },
        );
    }

    /// A session of this instance has gone.
    pub fn leave(&mut self, session: SessionId, departure: Departure, now: Instant) {
        match departure {
            Departure::Clean => {
                if self.remove(session).is_some() {
                    self.note_leave(session, true);
                }
            }
            Departure::Lost => {
                if let Some(entry) = self.entries.get_mut(&session) {
                    entry.leaves_at = Some(now + PRESENCE_GRACE);
                }
            }
        }
    }

    /// Somebody is here in one more place than their session's own entry can say: with an entry of its own. Comes back
    /// if its grace runs.
    pub fn appear(&mut self, entry: SessionId, user: User, shown: PresenceFields) {
        if let Some(known) = self.entries.get_mut(&entry) {
            known.leaves_at = None;
            return self.show(entry, shown);
        }
        // Without a client: no session of the same client takes it over.
        self.insert(entry, Entry { user, state: shown, instance: None, client: None, leaves_at: None, heard_at: None });
    }

    /// Such an entry goes, after a grace.
    pub fn disappear(&mut self, entry: SessionId, grace: Duration, now: Instant) {
        match self.entries.get_mut(&entry) {
            Some(known) if !grace.is_zero() => known.leaves_at = Some(now + grace),
            Some(_) => self.leave(entry, Departure::Clean, now),
            None => {}
        }
    }

    /// A session of this instance shows something else.
    pub fn show(&mut self, session: SessionId, shown: PresenceFields) {
        if self.update(session, &shown) {
            merge(self.for_instances.updates.entry(session).or_default(), &shown);
        }
    }

    /// Another instance tells what changed there.
    pub fn hear(&mut self, instance: Uuid, diff: Diff, now: Instant) {
        for session in diff.leaves {
            if self.entries.get(&session).is_some_and(|e| e.instance == Some(instance)) {
                self.remove(session);
                self.note_leave(session, false);
            }
        }
        for joined in diff.joins {
            match self.entries.get(&joined.session_id) {
                Some(_) => {
                    self.update(joined.session_id, &joined.state);
                }
                None => self.insert(
                    joined.session_id,
                    Entry {
                        user: joined.user,
                        state: joined.state,
                        instance: Some(instance),
                        client: None,
                        leaves_at: None,
                        heard_at: Some(now),
                    },
                ),
            }
        }
        for update in diff.updates {
            self.update(update.session_id, &update.state);
        }
    }

    /// Another instance tells who sits there: whoever is not among them has gone. False if somebody is not known here.
    pub fn confirm(&mut self, instance: Uuid, sessions: &[SessionId], now: Instant) -> bool {
        let mut gone = Vec::new();
        for (id, entry) in self.entries.iter_mut().filter(|(_, e)| e.instance == Some(instance)) {
            match sessions.contains(id) {
                true => entry.heard_at = Some(now),
                false => gone.push(*id),
            }
        }
        for session in gone {
            self.remove(session);
            self.note_leave(session, false);
        }
        sessions.iter().all(|id| self.entries.contains_key(id))
    }

    /// The sessions that have a socket of this instance.
    pub fn sessions_here(&self) -> Vec<SessionId> {
        self.entries.iter().filter(|(_, e)| e.instance.is_none()).map(|(id, _)| *id).collect()
    }

    /// Lets go of those whose grace is over, whom no instance has confirmed for long, and of those whose instance is dead.
    pub fn expire(&mut self, now: Instant, living: Option<&[Uuid]>) {
        let gone: Vec<(SessionId, bool)> = self
            .entries
            .iter()
            .filter(|(_, e)| {
                e.leaves_at.is_some_and(|at| at <= now)
                    || e.heard_at.is_some_and(|at| at + UNCONFIRMED_MAX <= now)
                    || living.is_some_and(|living| e.instance.is_some_and(|i| i != DATABASE && !living.contains(&i)))
            })
            .map(|(id, e)| (*id, e.instance.is_none()))
            .collect();
        for (session, is_local) in gone {
            self.remove(session);
            self.note_leave(session, is_local);
        }
    }

    /// Everybody who is here.
    pub fn everybody(&self) -> Vec<PresentMember> {
        let mut members: Vec<PresentMember> = self.entries.iter().map(|(id, e)| shown(*id, e)).collect();
        members.sort_by_key(|m| m.session_id);
        members
    }

    /// Whether an agent is here because it holds a lock.
    pub fn has_agents(&self) -> bool {
        self.entries.values().any(|e| e.instance == Some(DATABASE))
    }

    /// Whether this user is here under this name.
    pub fn is_shown_as(&self, member: &PresentMember) -> bool {
        self.entries.get(&member.session_id).is_some_and(|e| e.user.id == member.user.id)
    }

    /// Everybody who is here by a socket of this instance, for another instance that asks.
    pub fn everybody_here(&self) -> Diff {
        let joins = self.entries.iter().filter(|(_, e)| e.instance.is_none()).map(|(id, e)| shown(*id, e)).collect();
        Diff { joins, ..Diff::default() }
    }

    /// Whether the members have something to hear.
    pub fn is_dirty(&self) -> bool {
        !self.for_members.is_empty() || !self.for_instances.is_empty()
    }

    /// What changed for the members since this was last asked.
    pub fn take_for_members(&mut self) -> Diff {
        let changes = std::mem::take(&mut self.for_members);
        self.diff(changes)
    }

    /// What changed here for the other instances since this was last asked.
    pub fn take_for_instances(&mut self) -> Diff {
        let changes = std::mem::take(&mut self.for_instances);
        self.diff(changes)
    }

    /// Whether somebody's grace runs or somebody sits on another instance.
    pub fn needs_expiry(&self) -> bool {
        self.entries.values().any(|e| e.leaves_at.is_some() || e.instance.is_some())
    }

    fn insert(&mut self, session: SessionId, entry: Entry) {
        let is_local = entry.instance.is_none();
        let node = node_of(&entry.state);
        self.remove(session);
        self.entries.insert(session, entry);
        self.note_node(session, None, node);
        self.for_members.join(session);
        if is_local {
            self.for_instances.join(session);
        }
    }

    fn update(&mut self, session: SessionId, new: &PresenceFields) -> bool {
        let Some(entry) = self.entries.get_mut(&session) else { return false };
        let changed = difference(&entry.state, new);
        if changed == PresenceFields::default() {
            return false;
        }
        let before = node_of(&entry.state);
        merge(&mut entry.state, &changed);
        let after = node_of(&entry.state);
        self.note_node(session, before, after);
        merge(self.for_members.updates.entry(session).or_default(), &changed);
        true
    }

    fn remove(&mut self, session: SessionId) -> Option<Entry> {
        let entry = self.entries.remove(&session)?;
        self.note_node(session, node_of(&entry.state), None);
        Some(entry)
    }

    fn note_leave(&mut self, session: SessionId, is_local: bool) {
        self.for_members.leave(session);
        if is_local {
            self.for_instances.leave(session);
        }
    }

    fn diff(&self, changes: Changes) -> Diff {
        let joins = changes.joins.iter().filter_map(|id| self.entries.get(id).map(|e| shown(*id, e))).collect();
        let updates = changes
            .updates
            .into_iter()
            .filter(|(id, _)| !changes.joins.contains(id) && self.entries.contains_key(id))
            .map(|(session_id, state)| PresenceUpdate { session_id, state })
            .collect();
        Diff { joins, leaves: changes.leaves.into_iter().collect(), updates }
    }
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty() && self.updates.is_empty()
    }

    fn join(&mut self, session: SessionId) {
        self.joins.insert(session);
        self.leaves.remove(&session);
    }

    fn leave(&mut self, session: SessionId) {
        self.updates.remove(&session);
        // Told even if the join was not: who asked in between was told that it is here.
        self.joins.remove(&session);
        self.leaves.insert(session);
    }
}

fn shown(session_id: SessionId, entry: &Entry) -> PresentMember {
    PresentMember { session_id, user: entry.user.clone(), state: visible(&entry.state) }
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::UserId;
    use glassbox_protocol::entity::Position;

    use super::*;

    fn user() -> User {
        User { id: UserId::random(), name: None, email: None }
    }

    fn cursor(x: f64) -> PresenceFields {
        PresenceFields { cursor: Some(Some(Position { x, y: 0.0 })), ..PresenceFields::default() }
    }

    #[test]
    fn only_the_newest_value_of_a_tick_is_told() {
        let mut presence = Presence::default();
        let session = SessionId::random();
        presence.join(session, user(), ClientId::random());
        assert_eq!(presence.take_for_members().joins.len(), 1);
        presence.show(session, cursor(1.0));
        presence.show(session, cursor(2.0));
        let diff = presence.take_for_members();
        assert_eq!(diff.updates, [PresenceUpdate { session_id: session, state: cursor(2.0) }]);
        presence.show(session, cursor(2.0));
        assert!(presence.take_for_members().is_empty(), "the same value is no news");
    }

    #[test]
    fn a_blip_is_one_diff_and_keeps_what_was_shown() {
        let mut presence = Presence::default();
        let (who, client, now) = (user(), ClientId::random(), Instant::now());
        let (before, after) = (SessionId::random(), SessionId::random());
        presence.join(before, who.clone(), client);
        presence.show(before, cursor(1.0));
        presence.take_for_members();
        presence.leave(before, Departure::Lost, now);
        presence.expire(now + PRESENCE_GRACE / 2, None);
        assert!(presence.take_for_members().is_empty());
        presence.join(after, who, client);
        let diff = presence.take_for_members();
        assert_eq!((diff.leaves, diff.joins.len()), (vec![before], 1));
        assert_eq!(diff.joins[0].state, cursor(1.0));
    }

    #[test]
    fn a_node_s_members_are_told_who_comes_to_it_who_goes_and_what_those_there_show() {
        let mut presence = Presence::default();
        let (mover, stays) = (SessionId::random(), SessionId::random());
        let (node, other) = (NodeId::random(), NodeId::random());
        let looks = |node| PresenceFields { node_id: Some(Some(node)), ..PresenceFields::default() };
        presence.join(mover, user(), ClientId::random());
        presence.join(stays, user(), ClientId::random());
        presence.show(stays, looks(node));
        assert_eq!(presence.on_node(node).len(), 1);
        assert_eq!(presence.take_for_nodes()[&node].joins.len(), 1);
        presence.take_for_members();

        // It came and went within one tick: whoever asked in between was told of it.
        presence.show(mover, looks(node));
        presence.show(mover, looks(other));
        presence.show(stays, cursor(3.0));
        let by_node = presence.take_for_nodes();
        assert_eq!((by_node[&node].leaves.clone(), by_node[&node].joins.len()), (vec![mover], 0));
        assert_eq!(by_node[&node].updates, [PresenceUpdate { session_id: stays, state: cursor(3.0) }]);
        assert_eq!(by_node[&other].joins.len(), 1);
        presence.take_for_members();

        presence.leave(stays, Departure::Clean, Instant::now());
        assert_eq!(presence.take_for_nodes()[&node].leaves, [stays]);
    }

    #[test]
    fn a_lost_member_leaves_after_its_grace_and_a_dead_instances_members_with_it() {
        let mut presence = Presence::default();
        let (lost, remote, instance, now) = (SessionId::random(), SessionId::random(), Uuid::new_v4(), Instant::now());
        presence.join(lost, user(), ClientId::random());
        let there = PresentMember { session_id: remote, user: user(), state: PresenceFields::default() };
        presence.hear(instance, Diff { joins: vec![there], ..Diff::default() }, now);
        presence.take_for_members();
        presence.leave(lost, Departure::Lost, now);
        presence.expire(now + PRESENCE_GRACE, Some(&[instance]));
        assert_eq!(presence.take_for_members().leaves, [lost]);
        presence.expire(now, Some(&[]));
        assert_eq!(presence.take_for_members().leaves, [remote]);
        assert_eq!(presence.take_for_instances().joins.len(), 0, "what others told is not told back");
    }
}
