//! Who is on which node, as one connection sees it: a list of users for each node, made of the sessions that its rooms
//! tell of.
//!
//! Pure state. A user's arrival and last change are kept as long as any of their sessions is there, so that a tab that
//! closes or a connection that comes back changes nothing in a list.

use std::collections::{HashMap, HashSet};

use glassbox_protocol::client::PresenceFields;
use glassbox_protocol::entity::Position;
use glassbox_protocol::server::{PresenceUpdate, PresentMember};
use glassbox_protocol::v1::client::Doing;
use glassbox_protocol::{NodeId, SessionId, UserId};
use uuid::{NoContext, Timestamp, Uuid};

/// Longest list.
const USERS_MAX: usize = 50;
/// How long a place that was left is remembered, ms: a room and the instances beside it have heard of it by then.
const OWN_REMEMBERED_MS: i64 = 120_000;

/// Makes the name of a new place, which tells when somebody came there to whoever hears of it.
pub fn new_place() -> SessionId {
    SessionId(Uuid::new_v7(Timestamp::now(NoContext)))
}

/// What a room tells about who is there.
#[derive(Debug)]
pub enum Change {
    /// Everybody.
    All(Vec<PresentMember>),
    /// What is new.
    Some {
        /// Sessions that came.
        joins: Vec<PresentMember>,
        /// Sessions that went.
        leaves: Vec<SessionId>,
        /// Sessions that show something else.
        updates: Vec<PresenceUpdate>,
    },
}

/// Somebody on a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Who.
    pub user: UserId,
    /// The most active of what they do there.
    pub doing: Doing,
    /// Their pointer, if one of their sessions there shows it.
    pub cursor: Option<Position>,
    /// When they last changed what they do there, unix ms.
    pub last_seen_ms: i64,
}

struct Entry {
    user: UserId,
    node: Option<NodeId>,
    doing: Doing,
    cursor: Option<Position>,
    /// When it came, by its own name or by our clock, unix ms.
    came_ms: i64,
}

#[derive(Clone, Copy)]
struct Stay {
    arrived_ms: i64,
    last_seen_ms: i64,
    doing: Doing,
    cursor: Option<Position>,
}

/// Who is on which node of one room.
#[derive(Default)]
pub struct View {
    entries: HashMap<SessionId, Entry>,
    nodes: HashMap<NodeId, HashMap<UserId, Stay>>,
    /// The places of this connection, and when they were left: what it does itself it knows before the room does.
    own: HashMap<SessionId, Option<i64>>,
}

impl View {
    /// Takes over what the room tells; whether a list may differ now.
    pub fn apply(&mut self, change: Change, now_ms: i64) -> bool {
        let mut touched = HashSet::new();
        match change {
            Change::All(members) => {
                let present: HashSet<SessionId> = members.iter().map(|m| m.session_id).collect();
                let own = &self.own;
                for (_, gone) in self.entries.extract_if(|id, _| !present.contains(id) && !own.contains_key(id)) {
                    touched.extend(gone.node);
                }
                for member in members {
                    self.enter(member, now_ms, &mut touched);
                }
            }
            Change::Some { joins, leaves, updates } => {
                for session in leaves.into_iter().filter(|id| !self.own.contains_key(id)) {
                    touched.extend(self.entries.remove(&session).and_then(|gone| gone.node));
                }
                for member in joins {
                    self.enter(member, now_ms, &mut touched);
                }
                for update in updates.into_iter().filter(|u| !self.own.contains_key(&u.session_id)) {
                    let Some(entry) = self.entries.get_mut(&update.session_id) else { continue };
                    let former = entry.node;
                    entry.show(&update.state);
                    if update.state.node_id.is_some() || update.state.action.is_some() {
                        touched.extend([former, entry.node].into_iter().flatten());
                    } else if let Some(node) = entry.node
                        && let Some(stay) = self.nodes.get_mut(&node).and_then(|stays| stays.get_mut(&entry.user))
                    {
                        // Most updates move a pointer, and no list differs for that.
                        stay.cursor = entry.cursor;
                    }
                }
            }
        }
        let is_news = !touched.is_empty();
        for node in touched {
            self.look_at(node, now_ms);
        }
        is_news
    }

    /// This connection is on a node, in a place of its own, or does something else there.
    pub fn put(
        &mut self,
        place: SessionId,
        user: UserId,
        node: NodeId,
        doing: Doing,
        cursor: Option<Position>,
        now_ms: i64,
    ) {
        self.own.retain(|_, left| left.is_none_or(|at| now_ms < at + OWN_REMEMBERED_MS));
        self.own.insert(place, None);
        self.entries.insert(place, Entry { user, node: Some(node), doing, cursor, came_ms: came_ms(place, now_ms) });
        self.look_at(node, now_ms);
    }

    /// This connection has left one of its places; what the room still tells of it is old.
    pub fn take(&mut self, place: SessionId, now_ms: i64) {
        self.own.insert(place, Some(now_ms));
        if let Some(node) = self.entries.remove(&place).and_then(|gone| gone.node) {
            self.look_at(node, now_ms);
        }
    }

    /// Who is on a node, by arrival, then by id; the reader among them, who stands last if the list is too long.
    pub fn list(&self, node: NodeId, reader: UserId) -> Vec<Seen> {
        let Some(stays) = self.nodes.get(&node) else { return Vec::new() };
        let mut stays: Vec<(&UserId, &Stay)> = stays.iter().collect();
        stays.sort_unstable_by_key(|(user, stay)| (stay.arrived_ms, **user));
        if let Some(at) = stays.iter().position(|(user, _)| **user == reader).filter(|at| *at >= USERS_MAX) {
            stays.swap(USERS_MAX - 1, at);
        }
        stays.truncate(USERS_MAX);
        let seen = |(user, stay): (&UserId, &Stay)| Seen {
            user: *user,
            doing: stay.doing,
            cursor: stay.cursor,
            last_seen_ms: stay.last_seen_ms,
        };
        stays.into_iter().map(seen).collect()
    }

    fn enter(&mut self, member: PresentMember, now_ms: i64, touched: &mut HashSet<NodeId>) {
        if self.own.contains_key(&member.session_id) {
            return;
        }
        let came_ms = match self.entries.get(&member.session_id) {
            Some(known) => known.came_ms,
            None => came_ms(member.session_id, now_ms),
        };
        let mut entry = Entry { user: member.user.id, node: None, doing: Doing::Viewing, cursor: None, came_ms };
        entry.show(&member.state);
        touched.extend(entry.node);
        if let Some(former) = self.entries.insert(member.session_id, entry) {
            touched.extend(former.node);
        }
    }

    /// Makes the list of one node anew.
    fn look_at(&mut self, node: NodeId, now_ms: i64) {
        let former = self.nodes.remove(&node).unwrap_or_default();
        let mut stays: HashMap<UserId, Stay> = HashMap::new();
        for entry in self.entries.values().filter(|e| e.node == Some(node)) {
            let stay = stays.entry(entry.user).or_insert(Stay {
                arrived_ms: entry.came_ms,
                last_seen_ms: entry.came_ms,
                doing: entry.doing,
                cursor: None,
            });
            stay.arrived_ms = stay.arrived_ms.min(entry.came_ms);
            stay.last_seen_ms = stay.last_seen_ms.max(entry.came_ms);
            stay.cursor = stay.cursor.or(entry.cursor);
            if activity(entry.doing) > activity(stay.doing) {
                stay.doing = entry.doing;
            }
        }
        for (user, stay) in &mut stays {
            if let Some(before) = former.get(user) {
                stay.arrived_ms = before.arrived_ms;
                stay.last_seen_ms = if before.doing == stay.doing { before.last_seen_ms } else { now_ms };
            }
        }
        if !stays.is_empty() {
            self.nodes.insert(node, stays);
        }
    }
}

impl Entry {
    fn show(&mut self, shown: &PresenceFields) {
        if let Some(node) = shown.node_id {
            self.node = node;
        }
        if let Some(action) = &shown.action {
            self.doing = doing_of(action.as_deref());
        }
        if let Some(cursor) = shown.cursor {
            self.cursor = cursor;
        }
    }
}

/// What a word of `glassbox.v2` means here: whoever is on a node and says nothing that we know looks at it.
fn doing_of(action: Option<&str>) -> Doing {
    match action {
        Some("editing") => Doing::Editing,
        Some("idle") => Doing::Idle,
        Some(_) | None => Doing::Viewing,
    }
}

/// What `glassbox.v2` calls it.
pub fn word_of(doing: Doing) -> &'static str {
    match doing {
        Doing::Editing => "editing",
        Doing::Viewing => "viewing",
        Doing::Idle => "idle",
        Doing::Left => "left",
    }
}

fn activity(doing: Doing) -> u8 {
    match doing {
        Doing::Editing => 3,
        Doing::Viewing => 2,
        Doing::Idle => 1,
        Doing::Left => 0,
    }
}

/// Who is different between two lists, and what they do now.
pub fn difference(former: &[(UserId, Doing)], now: &[Seen]) -> Option<(UserId, Doing)> {
    let differs = |seen: &&Seen| !former.contains(&(seen.user, seen.doing));
    let changed = now.iter().rev().find(differs).map(|seen| (seen.user, seen.doing));
    changed.or_else(|| {
        let gone = former.iter().rev().find(|(user, _)| !now.iter().any(|seen| seen.user == *user));
        gone.map(|(user, _)| (*user, Doing::Left))
    })
}

fn came_ms(place: SessionId, now_ms: i64) -> i64 {
    match place.0.get_timestamp() {
        Some(at) if place.0.get_version_num() == 7 => {
            let (seconds, nanos) = at.to_unix();
            i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000).saturating_add(i64::from(nanos / 1_000_000))
        }
        _ => now_ms,
    }
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::server::User;

    use super::*;

    fn member(session: SessionId, user: UserId, node: NodeId, action: &str) -> PresentMember {
        let state = PresenceFields {
            node_id: Some(Some(node)),
            action: Some(Some(action.to_owned())),
            ..PresenceFields::default()
        };
        PresentMember { session_id: session, user: User { id: user, name: None, email: None }, state }
    }

    fn joins(members: Vec<PresentMember>) -> Change {
        Change::Some { joins: members, leaves: Vec::new(), updates: Vec::new() }
    }

    fn leaves(session: SessionId) -> Change {
        Change::Some { joins: Vec::new(), leaves: vec![session], updates: Vec::new() }
    }

    #[test]
    fn a_user_with_two_tabs_is_one_and_leaves_with_the_last() {
        let (mut view, node, user) = (View::default(), NodeId::random(), UserId::random());
        let (one, two) = (SessionId::random(), SessionId::random());
        view.apply(joins(vec![member(one, user, node, "viewing"), member(two, user, node, "idle")]), 10);
        let seen = view.list(node, UserId::random());
        assert_eq!((seen.len(), seen[0].doing), (1, Doing::Viewing));
        view.apply(leaves(one), 20);
        assert_eq!(view.list(node, UserId::random())[0].doing, Doing::Idle, "what the other tab does");
        view.apply(leaves(two), 30);
        assert!(view.list(node, UserId::random()).is_empty() && view.nodes.is_empty());
    }

    #[test]
    fn a_connection_that_comes_back_changes_no_list() {
        let (mut view, node) = (View::default(), NodeId::random());
        let (ann, bob) = (UserId::random(), UserId::random());
        let (before, after, other) = (SessionId::random(), SessionId::random(), SessionId::random());
        view.apply(joins(vec![member(before, ann, node, "viewing")]), 10);
        view.apply(joins(vec![member(other, bob, node, "viewing")]), 20);
        let list = view.list(node, UserId::random());
        view.apply(joins(vec![member(after, ann, node, "viewing")]), 30);
        view.apply(leaves(before), 40);
        assert_eq!(view.list(node, UserId::random()), list, "arrival and last change are those of the user");
        let all = vec![member(after, ann, node, "viewing"), member(other, bob, node, "viewing")];
        view.apply(Change::All(all), 50);
        assert_eq!(view.list(node, UserId::random()), list);
    }

    #[test]
    fn what_the_room_says_of_ones_own_places_is_old_news() {
        let (mut view, node, user, place) = (View::default(), NodeId::random(), UserId::random(), new_place());
        view.put(place, user, node, Doing::Editing, None, 10);
        view.apply(joins(vec![member(place, user, node, "viewing")]), 20);
        view.apply(Change::All(Vec::new()), 30);
        assert_eq!(view.list(node, UserId::random())[0].doing, Doing::Editing);
        view.take(place, 40);
        view.apply(joins(vec![member(place, user, node, "viewing")]), 50);
        assert!(view.list(node, UserId::random()).is_empty());
    }

    #[test]
    fn a_list_has_a_bound_and_an_order() {
        let (mut view, node) = (View::default(), NodeId::random());
        let users: Vec<UserId> = (0..60).map(|_| UserId::random()).collect();
        for (n, user) in (0..).zip(&users) {
            view.apply(joins(vec![member(SessionId::random(), *user, node, "viewing")]), n);
        }
        let seen: Vec<UserId> = view.list(node, UserId::random()).iter().map(|seen| seen.user).collect();
        assert_eq!(seen, users[..USERS_MAX]);
        let of_last: Vec<UserId> = view.list(node, users[59]).iter().map(|seen| seen.user).collect();
        assert_eq!((&of_last[..USERS_MAX - 1], of_last[USERS_MAX - 1]), (&users[..USERS_MAX - 1], users[59]));
    }

    #[test]
    fn the_difference_names_who_came_changed_or_left() {
        let (ann, bob) = (UserId::random(), UserId::random());
        let seen = |user, doing| Seen { user, doing, cursor: None, last_seen_ms: 0 };
        let now = [seen(ann, Doing::Viewing), seen(bob, Doing::Editing)];
        assert_eq!(difference(&[(ann, Doing::Viewing)], &now), Some((bob, Doing::Editing)));
        assert_eq!(difference(&[(bob, Doing::Editing), (ann, Doing::Viewing)], &now), None, "order alone is no news");
        assert_eq!(difference(&[(ann, Doing::Viewing), (bob, Doing::Idle)], &now), Some((bob, Doing::Editing)));
        assert_eq!(difference(&[(ann, Doing::Viewing)], &[]), Some((ann, Doing::Left)));
    }
}
