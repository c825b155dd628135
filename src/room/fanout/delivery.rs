//! What the log reader brings, on its way to the members, and who of them may still see it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use glassbox_protocol::server::{Unsubscribed, UnsubscribedReason};
use glassbox_protocol::{Channel, NodeId, ServerMessage, SessionId, UserId};
use tokio::time::Instant;
use tracing::{debug, error};

use super::State;
use super::members::{Member, Seats};
use crate::room::event::{Event, Kind, Shown, about_node};
use crate::room::frame::Frame;
use crate::room::presence::Departure;
use crate::room::rights::who_may_read;
use crate::session::outbound::Lane;
use crate::session::peer::News;
use crate::store::events::LogRow;
use crate::store::members;

/// Most bytes of events that are queued for everybody at once; well under what may wait for one client.
pub(super) const QUEUED_AT_ONCE_MAX: usize = 256 * 1024;

/// How long members of a project that is gone wait for the event that says so.
const END_DEADLINE: Duration = Duration::from_secs(1);

impl State {
    pub(super) async fn events(&mut self, rows: &[LogRow], noticed_at: Instant) {
        let mut events = Vec::new();
        for row in rows {
            match Event::split(row) {
                Ok(split) => events.extend(split.into_iter().map(Arc::new)),
                Err(error) => {
                    error!(project.id = %self.seat.project, seq = %row.seq, %error, "a row of the log cannot be read");
                    return self.restart(self.epoch, row.seq).await;
                }
            }
        }
        // What changes rights is sent to nobody before the rights were looked at: the event commits the loss.
        let is_over = events.iter().any(|e| e.kind == Kind::ProjectDeleted);
        let has_rights = events.iter().any(|e| e.kind == Kind::Rights);
        if has_rights && !is_over {
            self.look_at_rights().await;
        }
        // Nobody's rights in a project that is gone can be looked at any more. That it is gone they all may know.
        let is_end_alone = is_over && events.len() == 1;
        if (has_rights && is_over) || (self.going_since.is_some() && !is_end_alone) {
            self.dismiss_all(Purge::Queued);
        }
        let bytes: usize = events.iter().map(|e| e.size()).sum();
        if bytes > QUEUED_AT_ONCE_MAX {
            self.let_read_on();
        }
        self.send_events(&events);
        crate::metrics::commit_to_send(noticed_at.elapsed());
        for event in events {
            self.is_deleted |= event.kind == Kind::ProjectDeleted;
            self.are_agents_known &= event.kind != Kind::Lock;
            self.position = event.seq;
            self.tail.push(event);
        }
        self.publish_tail_start();
        if self.is_deleted {
            // Whoever could read until now is told how it ended.
            self.dismiss_all(Purge::Nothing);
        }
    }

    /// A large transaction would overflow the queues: the members read it from the log, each at its own pace.
    fn let_read_on(&mut self) {
        for (channel, session) in self.members.which(|seated| !seated.is_trace()) {
            if let Some(seated) = self.part(channel, session, Departure::Lost) {
                seated.tell(News::Continue(seated.position.max(self.position)));
            }
        }
        self.note_emptiness();
    }

    fn send_events(&mut self, events: &[Arc<Event>]) {
        let whole: Vec<Shown<'_>> = events.iter().map(|e| e.whole()).collect();
        let mut sent = send(&mut self.members.project, Channel::Project(self.seat.project), &whole);
        if !self.members.nodes.is_empty() {
            for node in self.nodes_of(events) {
                let Some(seats) = self.members.nodes.get_mut(&node) else { continue };
                let shown = about_node(events.iter().map(AsRef::as_ref), node);
                sent += send(seats, Channel::Node(node), &shown);
            }
        }
        crate::metrics::events_sent(sent);
    }

    /// The nodes with members of their own that events concern.
    fn nodes_of(&self, events: &[Arc<Event>]) -> HashSet<NodeId> {
        if events.iter().any(|e| e.kind == Kind::ProjectDeleted) {
            return self.members.nodes.keys().copied().collect();
        }
        let concerned = events.iter().flat_map(|e| e.nodes());
        concerned.filter(|node| self.members.nodes.contains_key(node)).copied().collect()
    }

    // Rights ----------------------------------------------------------------------------------------------------

    pub(super) fn rights_looks(&self) -> u64 {
        self.room.upgrade().map_or(0, |room| room.rights_looks())
    }

    pub(super) async fn look_at_rights(&mut self) {
        if let Some(room) = self.room.upgrade() {
            room.rights_looks.fetch_add(1, Ordering::AcqRel);
        }
        let users: HashSet<UserId> = self.members.all().map(|s| s.member.peer.user.id).collect();
        if users.is_empty() {
            return;
        }
        let Some(allowed) = who_may_read(&self.surroundings.database, &self.seat, users).await else {
            return self.start_over().await;
        };
        let lost = self.members.which(|s| !allowed.contains(&s.member.peer.user.id));
        if !lost.is_empty() {
            debug!(project.id = %self.seat.project, subscriptions = lost.len(), "access ended");
            match members::locate_project(&self.surroundings.database, self.seat.project).await {
                // Nobody may see a project that is gone.
                Ok(None) => self.await_the_end(),
                Ok(Some(_)) | Err(_) => self.dismiss(lost, UnsubscribedReason::Revoked, Purge::Queued),
            }
        }
    }

    /// The project is gone, and the event that says so is on its way: it is all that the members get now. Whoever had more
    /// waiting gets not even that, since numbers would be missing before it.
    fn await_the_end(&mut self) {
        self.going_since.get_or_insert_with(Instant::now);
        let mut cut = Vec::new();
        for seated in self.members.all() {
            let channel = seated.member.channel;
            if seated.outbound().purge(channel) {
                cut.push((channel, seated.session()));
            }
        }
        self.dismiss(cut, UnsubscribedReason::Deleted, Purge::Nothing);
    }

    /// Whoever waits in vain for the last event goes without it.
    pub(super) fn end_the_wait(&mut self, now: Instant) {
        if self.going_since.is_some_and(|since| now.duration_since(since) > END_DEADLINE) {
            self.dismiss_all(Purge::Queued);
        }
    }

    /// Ends some subscriptions.
    fn dismiss(&mut self, seats: Vec<(Channel, SessionId)>, reason: UnsubscribedReason, purge: Purge) {
        for (channel, session) in seats {
            let Some(seated) = self.part(channel, session, Departure::Clean) else { continue };
            for (place, _) in self.places.extract_if(|_, peer| peer.session == session) {
                self.presence.leave(place, Departure::Clean, Instant::now());
            }
            if purge == Purge::Queued {
                seated.outbound().purge(channel);
            }
            let message = Unsubscribed { channel, reason: Some(reason) };
            seated.outbound().message(ServerMessage::Unsubscribed(message), None);
            seated.tell(News::Lost(reason));
        }
        self.presence_changed();
        self.note_emptiness();
    }

    fn dismiss_all(&mut self, purge: Purge) {
        let everybody = self.members.which(|_| true);
        self.dismiss(everybody, UnsubscribedReason::Deleted, purge);
    }
}

/// What of a subscription that ends is discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purge {
    /// What is queued: its user may no longer see it.
    Queued,
    /// Nothing: it was the user's to see.
    Nothing,
}

/// Queues events for everybody who has a channel open, each rendered once for all who may see the same of it; returns
/// how many frames that made.
pub(super) fn send(seats: &mut Seats, channel: Channel, events: &[Shown<'_>]) -> usize {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return 0 };
    let mut shared: HashMap<u32, Vec<Frame>> = HashMap::new();
    let mut sent = 0;
    for seated in seats.by_session.values_mut() {
        let Member { peer, generation, .. } = &seated.member;
        let after = seated.position;
        let public = shared
            .entry(*generation)
            .or_insert_with(|| events.iter().map(|e| e.render_public(channel, *generation)).collect());
        let is_special = after >= first.seq() || events.iter().any(|e| e.concerns(peer.user.id));
        if is_special {
            let own: Vec<Frame> = events
                .iter()
                .zip(public.iter())
                .filter(|(e, _)| e.seq() > after)
                .map(|(e, frame)| match e.concerns(peer.user.id) {
                    true => e.render(channel, *generation, peer.user.id, peer.client),
                    false => frame.clone(),
                })
                .collect();
            sent += own.len();
            peer.outbound.push(&own, Lane::Durable, channel);
        } else {
            sent += public.len();
            peer.outbound.push(public, Lane::Durable, channel);
        }
        seated.position = after.max(last.seq());
    }
    seats.sent_at = Instant::now();
    sent
}
