//! The channels of a session of the older dialect. Inside the server it is subscribed to whole projects; which of their
//! messages a client gets is decided by the channels that it has.
//!
//! What the client asks about channels and presence is done in order: where a room has to be joined first, the rest waits.

use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::server::{CloseCode, UnsubscribedReason};
use glassbox_protocol::v1::ServerMessage;
use glassbox_protocol::v1::client::Presence;
use glassbox_protocol::v1::server::{Error, ErrorCode, Subscribed, Unsubscribed};
use glassbox_protocol::{self as protocol, Channel, NodeId, OrgId, ProjectId};
use tokio::time::Instant;

use super::conversation::Session;
use super::presence::View;
use super::stamped;
use crate::room::frame::Frame;
use crate::room::presence::Departure;
use crate::room::{Message, Room};
use crate::session::peer::{News, Notice};
use crate::session::subscription::{self, Start};

pub use super::places::Own;

/// How long a channel outlives its `unsubscribe`: a page that renders leaves and comes back at once.
const LINGER: Duration = Duration::from_secs(2);

/// Something that is done in order.
#[derive(Debug)]
pub enum Asked {
    /// To open a channel.
    Subscribe(Channel, Option<String>),
    /// To close one.
    Unsubscribe(Channel, Option<String>),
    /// To be shown on a node.
    Presence(Presence, Option<String>),
}

/// What the next thing that was asked waits for.
#[derive(Debug)]
pub enum Pending {
    /// For where it belongs.
    Looking(Asked),
    /// For a room to be live.
    Joining(ProjectId, Asked),
    /// For the state of a channel that was just opened, which is told after the answer.
    Telling {
        /// Whose.
        project: ProjectId,
        /// The channel.
        channel: Channel,
        /// The subscription.
        generation: u32,
        /// The answer.
        answer: Frame,
    },
}

impl Pending {
    fn is_for(&self, wanted: ProjectId) -> bool {
        match self {
            Pending::Looking(_) => false,
            Pending::Joining(project, _) | Pending::Telling { project, .. } => *project == wanted,
        }
    }
}

/// A channel that the client has.
pub struct Subscription {
    pub(super) project: ProjectId,
    /// When it ends, after an `unsubscribe`.
    pub(super) leaves_at: Option<Instant>,
}

/// A room that the session is in for its channels.
pub struct Seat {
    pub(super) room: Arc<Room>,
    pub(super) org: OrgId,
    pub(super) generation: u32,
    /// How many joins are under way.
    pub(super) joins: u32,
    /// Whether its events come.
    pub(super) is_synced: bool,
    /// Whether it has told who is there.
    pub(super) is_present: bool,
    pub(super) view: View,
}

impl Session {
    /// Does what was asked, in order, as far as the rooms for it are live.
    pub(super) async fn settle(&mut self) {
        loop {
            match self.pending.take() {
                None => match self.deferred.pop_front() {
                    Some(asked) => self.ask(asked),
                    None => break,
                },
                Some(Pending::Joining(project, asked)) if self.is_ready(project, &asked) => {
                    self.fulfil(project, asked).await;
                }
                waiting => {
                    self.pending = waiting;
                    break;
                }
            }
        }
        self.follow_runs().await;
        self.tell_lists();
    }

    fn is_ready(&self, project: ProjectId, asked: &Asked) -> bool {
        let Some(seat) = self.rooms.get(&project) else { return false };
        match asked {
            Asked::Subscribe(Channel::Node(_), _) => seat.is_synced && seat.is_present,
            Asked::Subscribe(..) | Asked::Presence(..) | Asked::Unsubscribe(..) => seat.is_synced,
        }
    }

    fn ask(&mut self, asked: Asked) {
        let channel = match &asked {
            Asked::Unsubscribe(channel, request_id) => {
                self.unsubscribe(*channel);
                let message = ServerMessage::Unsubscribed(Unsubscribed { channel: *channel, reason: None });
                return self.answer(message, request_id.clone());
            }
            Asked::Subscribe(channel, _) => {
                if let Some(known) = self.channels.get(channel) {
                    self.pending = Some(Pending::Joining(known.project, asked));
                    return;
                }
                if self.channels.len() >= self.app.limits.channels {
                    let message = format!("at most {} channels at once", self.app.limits.channels);
                    return self.refuse(Error::new(ErrorCode::RateLimited, message), asked);
                }
                *channel
            }
            Asked::Presence(presence, _) => Channel::Node(presence.node_id),
        };
        match self.known_place(channel) {
            Some((org, project)) => self.enter(org, project, asked),
            None => self.look_for(channel, asked),
        }
    }

    pub(super) fn refuse(&self, error: Error, asked: Asked) {
        match asked {
            Asked::Subscribe(_, request_id) | Asked::Unsubscribe(_, request_id) | Asked::Presence(_, request_id) => {
                self.fail(error, request_id);
            }
        }
    }

    /// Has something wait for its room, which is joined or being joined. Whether the project may be read shows then.
    pub(super) fn enter(&mut self, org: OrgId, project: ProjectId, asked: Asked) {
        if !self.rooms.contains_key(&project) {
            let Ok(room) = self.app.rooms.open(project, org) else { return self.refuse(away(), asked) };
            let generation = self.generation;
            let seat =
                Seat { room, org, generation, joins: 0, is_synced: false, is_present: false, view: View::default() };
            self.rooms.insert(project, seat);
            self.join(project, Start::Live);
        }
        self.pending = Some(Pending::Joining(project, asked));
    }

    fn join(&mut self, project: ProjectId, start: Start) {
        let Some(seat) = self.rooms.get_mut(&project) else { return };
        seat.joins += 1;
        let (app, room, peer) = (Arc::clone(&self.app), Arc::clone(&seat.room), Arc::clone(&self.peer));
        let generation = seat.generation;
        self.joins.spawn(async move {
            let outcome = subscription::join(&app, room, &peer, Channel::Project(project), generation, start).await;
            (project, generation, outcome)
        });
    }

    pub(super) async fn joined(
        &mut self,
        project: ProjectId,
        generation: u32,
        outcome: Result<Arc<Room>, protocol::Error>,
    ) {
        let Some(seat) = self.rooms.get_mut(&project).filter(|seat| seat.generation == generation) else {
            // Lost while it was joined: nobody would leave it. A newer join takes the place of this one.
            if let Ok(room) = outcome
                && !self.rooms.contains_key(&project)
            {
                let channel = Channel::Project(project);
                let leave = Message::Leave { session: self.peer.session, channel, departure: Departure::Clean };
                let _ = room.tell(leave).await;
                self.peer.outbound.purge(channel);
            }
            return;
        };
        seat.joins -= 1;
        match outcome {
            Ok(room) => seat.room = room,
            Err(error) => {
                let is_refused = error.code == protocol::ErrorCode::NotFound;
                if let Some(Pending::Joining(_, asked)) = self.pending.take_if(|pending| pending.is_for(project)) {
                    self.refuse(refusal(error), asked);
                }
                if self.has_channels(project) && !is_refused {
                    // A client that comes again reads its list anew; one that stays would miss events.
                    self.peer.outbound.close(CloseCode::ServiceRestart, "the log could not be read");
                }
                self.lose(project, UnsubscribedReason::Revoked).await;
            }
        }
    }

    fn has_channels(&self, project: ProjectId) -> bool {
        self.channels.values().any(|subscription| subscription.project == project)
    }

    // Opening and closing ---------------------------------------------------------------------------------------

    /// Does what waited for a room; it is live now.
    async fn fulfil(&mut self, project: ProjectId, asked: Asked) {
        match asked {
            Asked::Subscribe(channel, request_id) => {
                self.channels.insert(channel, Subscription { project, leaves_at: None });
                let mut users = None;
                if let Channel::Node(node) = channel {
                    self.stay(project, node).await;
                    users = self.news_of(project, node).map(|(users, _)| users);
                }
                let answer = stamped(ServerMessage::Subscribed(Subscribed { channel, users }), request_id);
                self.tell_state(project, channel, answer);
            }
            Asked::Presence(presence, _) => self.show(project, presence).await,
            Asked::Unsubscribe(..) => {}
        }
    }

    fn unsubscribe(&mut self, channel: Channel) {
        let now = Instant::now();
        let Some(subscription) = self.channels.get_mut(&channel).filter(|s| s.leaves_at.is_none()) else { return };
        subscription.leaves_at = Some(now + LINGER);
        if let Channel::Node(node) = channel {
            self.leave_soon(node, now);
        }
    }

    /// When something that was left ends.
    pub(super) fn next_leave(&self) -> Option<Instant> {
        let channels = self.channels.values().filter_map(|subscription| subscription.leaves_at);
        channels.chain(self.own.values().filter_map(|own| own.leaves_at)).min()
    }

    /// Lets go of what was left long enough ago.
    pub(super) async fn let_go(&mut self, now: Instant) {
        let is_over = |leaves_at: Option<Instant>| leaves_at.is_some_and(|at| at <= now);
        self.channels.retain(|_, subscription| !is_over(subscription.leaves_at));
        let left: Vec<NodeId> =
            self.own.iter().filter(|(_, own)| is_over(own.leaves_at)).map(|(node, _)| *node).collect();
        for node in left {
            self.go(node).await;
        }
        // A room is left when nothing is on its way into it any more.
        let is_empty =
            |(project, seat): (&ProjectId, &Seat)| (seat.joins == 0 && !self.needs(*project)).then_some(*project);
        let empty: Vec<ProjectId> = self.rooms.iter().filter_map(is_empty).collect();
        for project in empty {
            self.leave_runs(project, Departure::Clean).await;
            let Some(seat) = self.rooms.remove(&project) else { continue };
            self.generation += 1;
            // What is deleted there is not heard any more.
            self.places.retain(|_, place| place.1 != project);
            let channel = Channel::Project(project);
            let leave = Message::Leave { session: self.peer.session, channel, departure: Departure::Clean };
            // A room that has closed has let go of its members.
            let _ = seat.room.tell(leave).await;
            self.peer.outbound.purge(Channel::Project(project));
        }
    }

    fn needs(&self, project: ProjectId) -> bool {
        self.has_channels(project)
            || self.own.values().any(|own| own.project == project)
            || self.pending.as_ref().is_some_and(|pending| pending.is_for(project))
    }

    // What rooms do ---------------------------------------------------------------------------------------------

    pub(super) async fn notice(&mut self, notice: Notice) {
        let Notice { channel, generation, news } = notice;
        if let Channel::Project(project) = channel
            && self.rooms.get(&project).is_none_or(|seat| seat.generation != generation)
        {
            // Of a subscription that is over.
            return;
        }
        match (channel, news) {
            (Channel::Project(project), News::Lost(reason)) => {
                self.lose(project, reason).await;
                // It may be the user who is gone.
                self.look_at_ticket();
            }
            (Channel::Execution(run), News::Lost(_) | News::Restart) => self.runs.forget(run),
            (Channel::Execution(run), News::Continue(position)) => self.follow(run, Start::Continue(position)),
            // It would take the whole state anew, which has no words here: a client that comes again reads its list.
            (_, News::Restart) => self.peer.outbound.close(CloseCode::ServiceRestart, "the log starts over"),
            (Channel::Project(project), News::Continue(position)) => self.join(project, Start::Continue(position)),
            // It has no other channels.
            (Channel::Node(_) | Channel::User, News::Lost(_) | News::Continue(_)) => {}
        }
    }

    /// A room is over for this session, with all channels in it and what waits of them.
    async fn lose(&mut self, project: ProjectId, reason: UnsubscribedReason) {
        // The room may have let go of the seat before a place in it was taken: it lets go of all of them now.
        let own: Vec<NodeId> =
            self.own.iter().filter(|(_, own)| own.project == project).map(|(node, _)| *node).collect();
        for node in own {
            self.go(node).await;
        }
        self.rooms.remove(&project);
        self.lose_runs(project);
        self.generation += 1;
        self.peer.outbound.purge(Channel::Project(project));
        self.out.purge(Channel::Project(project));
        self.places.retain(|_, place| place.1 != project);
        if let Some(Pending::Joining(_, asked)) = self.pending.take_if(|pending| pending.is_for(project)) {
            self.refuse(unauthorized(), asked);
        }
        let lost: Vec<Channel> =
            self.channels.iter().filter(|(_, s)| s.project == project).map(|(channel, _)| *channel).collect();
        for channel in lost {
            self.channels.remove(&channel);
            self.stated.remove(&channel);
            let message = Unsubscribed { channel, reason: Some(reason) };
            self.answer(ServerMessage::Unsubscribed(message), None);
        }
    }

    /// Leaves all rooms at the end; whoever is expected back is still seen for a while.
    pub(super) async fn leave_all(&mut self, code: u16) {
        self.joins.abort_all();
        // Aborted joins have let go of the room before the session says that it leaves.
        while self.joins.join_next().await.is_some() {}
        let departure = match code == CloseCode::AccessRevoked.code() {
            true => Departure::Clean,
            false => Departure::Lost,
        };
        self.go_all(departure).await;
        let projects: Vec<ProjectId> = self.rooms.keys().copied().collect();
        self.runs.joins.abort_all();
        while self.runs.joins.join_next().await.is_some() {}
        for project in projects {
            self.leave_runs(project, departure).await;
        }
        for (project, seat) in self.rooms.drain() {
            let channel = Channel::Project(project);
            let _ = seat.room.tell(Message::Leave { session: self.peer.session, channel, departure }).await;
        }
    }
}

pub(super) fn unauthorized() -> Error {
    Error::new(ErrorCode::Unauthorized, "no such channel or node")
}

pub(super) fn away() -> Error {
    Error::new(ErrorCode::InternalError, "the server cannot answer now: try again")
}

/// What a subscription is refused for, in the words of this dialect.
pub(super) fn refusal(error: protocol::Error) -> Error {
    match error.code {
        protocol::ErrorCode::NotFound | protocol::ErrorCode::Forbidden => unauthorized(),
        _ => away(),
    }
}
