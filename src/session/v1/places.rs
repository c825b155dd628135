//! Where the user of a session of the older dialect is, and what it is told of who else is there.
//!
//! Each node that a connection is on is a place of its own in the room's presence, so that a page that moves from one
//! node to the next is on both for a moment. A list is told only where it differs from what this connection was told.

use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::client::PresenceFields;
use glassbox_protocol::entity::Position;
use glassbox_protocol::v1::ServerMessage;
use glassbox_protocol::v1::client::{Doing, Presence};
use glassbox_protocol::v1::server::{PresenceUpdate, PresenceUser};
use glassbox_protocol::{Channel, NodeId, ProjectId, SessionId, UserId};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::conversation::{Session, now_ms};
use super::presence::{Seen, difference, new_place, word_of};
use super::render::{email_of, person};
use super::stamped;
use crate::config::PRESENCE_GRACE;
use crate::room::Message;
use crate::room::presence::Departure;
use crate::session::outbound::Lane;

/// How long others see somebody after an `unsubscribe`; longer than a page takes to come back.
const GRACE: Duration = Duration::from_secs(3);
/// Lists that a connection remembers.
const LISTS_MAX: usize = 10_000;

/// A node that the user is on by this connection.
pub struct Own {
    /// Names the place in the room.
    pub(super) place: SessionId,
    pub(super) project: ProjectId,
    doing: Doing,
    cursor: Option<Position>,
    /// When it ends, after an `unsubscribe`.
    pub(super) leaves_at: Option<Instant>,
}

impl Session {
    /// The user is on a node because its channel is open; what they do there already stays.
    pub(super) async fn stay(&mut self, project: ProjectId, node: NodeId) {
        match self.own.get_mut(&node) {
            Some(own) => own.leaves_at = None,
            None => self.come(project, node, Doing::Viewing, None).await,
        }
    }

    /// The user says what they do on a node.
    pub(super) async fn show(&mut self, project: ProjectId, presence: Presence) {
        let Presence { node_id: node, action, cursor_position, .. } = presence;
        if action == Doing::Left {
            return self.go(node).await;
        }
        self.come(project, node, action, cursor_position).await;
        // Whoever is elsewhere now is no longer where nothing but a word of theirs put them.
        let elsewhere: Vec<NodeId> = self
            .own
            .iter()
            .filter(|(id, own)| {
                **id != node && own.leaves_at.is_none() && !self.channels.contains_key(&Channel::Node(**id))
            })
            .map(|(id, _)| *id)
            .collect();
        for node in elsewhere {
            self.go(node).await;
        }
    }

    async fn come(&mut self, project: ProjectId, node: NodeId, doing: Doing, cursor: Option<Position>) {
        let own = self.own.entry(node).or_insert_with(|| Own {
            place: new_place(),
            project,
            doing: Doing::Left,
            cursor: None,
            leaves_at: None,
        });
        own.leaves_at = None;
        if own.doing == doing && own.cursor == cursor {
            return;
        }
        (own.doing, own.cursor) = (doing, cursor);
        let place = own.place;
        let Some(seat) = self.rooms.get_mut(&project) else { return };
        seat.view.put(place, self.peer.user.id, node, doing, cursor, now_ms());
        self.is_list_due = true;
        let shown = PresenceFields {
            node_id: Some(Some(node)),
            action: Some(Some(word_of(doing).to_owned())),
            cursor: Some(cursor),
            ..PresenceFields::default()
        };
        let appear = Message::Appear { entry: place, peer: Arc::clone(&self.peer), shown };
        // A room that has closed is joined anew.
        let _ = seat.room.tell(appear).await;
    }

    /// The channel of a node was left: the user is not there any more in a moment.
    pub(super) fn leave_soon(&mut self, node: NodeId, now: Instant) {
        if let Some(own) = self.own.get_mut(&node) {
            own.leaves_at = Some(now + GRACE);
        }
    }

    /// The user is not on a node any more.
    pub(super) async fn go(&mut self, node: NodeId) {
        let Some(own) = self.own.remove(&node) else { return };
        let Some(seat) = self.rooms.get_mut(&own.project) else { return };
        seat.view.take(own.place, now_ms());
        self.is_list_due = true;
        let _ = seat.room.tell(Message::Disappear { entry: own.place, grace: Duration::ZERO }).await;
    }

    /// The connection ends.
    pub(super) async fn go_all(&mut self, departure: Departure) {
        let grace = match departure {
            Departure::Clean => Duration::ZERO,
            Departure::Lost => PRESENCE_GRACE,
        };
        for (_, own) in self.own.drain() {
            if let Some(seat) = self.rooms.get(&own.project) {
                let _ = seat.room.tell(Message::Disappear { entry: own.place, grace }).await;
            }
        }
    }

    // What is told ----------------------------------------------------------------------------------------------

    /// Tells the lists that differ from what was told. A client that does not read gets the newest when it does.
    pub(super) fn tell_lists(&mut self) {
        if !self.is_list_due || !self.out.is_relaxed() {
            return;
        }
        self.is_list_due = false;
        let nodes: Vec<(NodeId, ProjectId)> = self
            .channels
            .iter()
            .filter_map(|(channel, subscription)| match channel {
                Channel::Node(node) => Some((*node, subscription.project)),
                Channel::Project(_) | Channel::Execution(_) | Channel::User => None,
            })
            .collect();
        for (node, project) in nodes {
            let Some((users, (user, action, cursor_position))) = self.news_of(project, node) else { continue };
            let who = self.people.get(&user).map(Arc::as_ref);
            let message = PresenceUpdate {
                node_id: node,
                users,
                user: person(who, user),
                user_id: user,
                user_email: email_of(who, user),
                action,
                cursor_position,
            };
            // Durable, since there is room: a list that was dropped would count as told.
            let frame = stamped(ServerMessage::PresenceUpdate(message), None);
            self.out.push(&[frame], Lane::Durable, Channel::Project(project));
        }
    }

    /// The list of a node and who is different, if it differs from what this connection was told; it counts as told.
    #[allow(clippy::type_complexity, reason = "taken apart at once")]
    pub(super) fn news_of(
        &mut self,
        project: ProjectId,
        node: NodeId,
    ) -> Option<(Vec<PresenceUser>, (UserId, Doing, Option<Position>))> {
        let seat = self.rooms.get(&project).filter(|seat| seat.is_present)?;
        let now = seat.view.list(node, self.peer.user.id);
        let former = self.lists.get(&node).map_or(&[][..], Vec::as_slice);
        let (user, doing) = difference(former, &now)?;
        if self.lists.len() >= LISTS_MAX {
            self.lists.clear();
        }
        self.lists.insert(node, now.iter().map(|seen| (seen.user, seen.doing)).collect());
        let cursor = now.iter().find(|seen| seen.user == user).and_then(|seen| seen.cursor);
        let users = now.iter().map(|seen| self.shown(seen)).collect();
        Some((users, (user, doing, cursor)))
    }

    fn shown(&self, seen: &Seen) -> PresenceUser {
        let who = self.people.get(&seen.user).map(Arc::as_ref);
        let email = email_of(who, seen.user);
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(seen.last_seen_ms) * 1_000_000);
        PresenceUser {
            user_id: seen.user,
            name: who.and_then(|who| who.name.clone()).unwrap_or_else(|| email.clone()),
            email,
            avatar_url: who.and_then(|who| who.avatar_url.clone()),
            action: seen.doing,
            last_seen: at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default(),
        }
    }
}
