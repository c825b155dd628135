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
use tracing::debug;

use super::conversation::Session;
use super::presence::View;
use super::stamped;
use crate::room::presence::Departure;
use crate::room::{Message, Room};
use crate::session::outbound::Lane;
use crate::session::peer::{News, Notice};
use crate::session::subscription::{self, Start};
use crate::store::{Tenant, members, tree};

pub use super::places::Own;

/// How long a channel outlives its `unsubscribe`: a page that renders leaves and comes back at once.
const LINGER: Duration = Duration::from_secs(2);
/// Nodes and channels that a connection remembers; beyond, what was told may be told again.
const REMEMBERED_MAX: usize = 10_000;

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
            if let Some((project, asked)) = self.pending.take() {
                if !self.is_ready(project, &asked) {
                    self.pending = Some((project, asked));
                    break;
                }
                self.fulfil(project, asked).await;
            } else if let Some(asked) = self.deferred.pop_front() {
                self.ask(asked).await;
            } else {
                break;
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

    async fn ask(&mut self, asked: Asked) {
        let outcome = match &asked {
            Asked::Unsubscribe(channel, _) => {
                self.unsubscribe(*channel);
                Ok(None)
            }
            Asked::Subscribe(channel, _) => match self.channels.get(channel) {
                Some(known) => Ok(Some(known.project)),
                None if self.channels.len() >= self.app.limits.channels => {
                    let message = format!("at most {} channels at once", self.app.limits.channels);
                    Err(Error::new(ErrorCode::RateLimited, message))
                }
                None => self.find(*channel).await.map(Some),
            },
            Asked::Presence(presence, _) => self.find(Channel::Node(presence.node_id)).await.map(Some),
        };
        match (outcome, asked) {
            (Ok(Some(project)), asked) => self.pending = Some((project, asked)),
            (Ok(None), Asked::Unsubscribe(channel, request_id)) => {
                let message = ServerMessage::Unsubscribed(Unsubscribed { channel, reason: None });
                self.answer(message, request_id);
            }
            (Ok(None), Asked::Subscribe(..) | Asked::Presence(..)) => {}
            (Err(error), asked) => self.refuse(error, asked),
        }
    }

    fn refuse(&self, error: Error, asked: Asked) {
        match asked {
            Asked::Subscribe(_, request_id) | Asked::Unsubscribe(_, request_id) | Asked::Presence(_, request_id) => {
                self.fail(error, request_id);
            }
        }
    }

    /// The project of a channel, with its room joined or being joined.
    async fn find(&mut self, channel: Channel) -> Result<ProjectId, Error> {
        let (org, project) = match channel {
            Channel::Project(project) => match self.rooms.get(&project) {
                Some(seat) => (seat.org, project),
                None => subscription::locate(&self.app, channel).await.map_err(refusal)?,
            },
            Channel::Node(node) => self.place_of(node).await?,
            Channel::Execution(_) | Channel::User => return Err(unauthorized()),
        };
        if !self.rooms.contains_key(&project) {
            let room = self.app.rooms.open(project, org).map_err(|_| away())?;
            let generation = self.generation;
            let seat = Seat { room, org, generation, is_synced: false, is_present: false, view: View::default() };
            self.rooms.insert(project, seat);
            self.join(project, Start::Live);
        }
        Ok(project)
    }

    /// Where a node lives that is there. Whether its project may be read shows when its room is joined.
    async fn place_of(&mut self, node: NodeId) -> Result<(OrgId, ProjectId), Error> {
        if let Some(place) = self.places.get(&node) {
            return Ok(*place);
        }
        let user = self.peer.user.id;
        let look = async {
            let Some((org, project)) = members::locate_node(&self.app.database, node).await? else { return Ok(None) };
            let mut tx = self.app.database.begin(&Tenant::member(org, user)).await?;
            Ok(tree::is_undeleted(&mut tx, node).await?.then_some((org, project)))
        };
        let found: sqlx::Result<_> = look.await;
        let place = found.map_err(|error| refusal(subscription::unavailable(&error)))?.ok_or_else(unauthorized)?;
        if self.places.len() >= REMEMBERED_MAX {
            self.places.clear();
        }
        self.places.insert(node, place);
        Ok(place)
    }

    fn join(&mut self, project: ProjectId, start: Start) {
        let Some(seat) = self.rooms.get(&project) else { return };
        let (app, room, peer) = (Arc::clone(&self.app), Arc::clone(&seat.room), Arc::clone(&self.peer));
        let generation = seat.generation;
        self.joins.spawn(async move {
            let outcome = subscription::join(&app, room, &peer, Channel::Project(project), generation, start).await;
            (project, generation, outcome)
        });
    }

    pub(super) fn joined(&mut self, project: ProjectId, generation: u32, outcome: Result<Arc<Room>, protocol::Error>) {
        let Some(seat) = self.rooms.get_mut(&project).filter(|seat| seat.generation == generation) else { return };
        match outcome {
            Ok(room) => seat.room = room,
            Err(error) => {
                let is_refused = error.code == protocol::ErrorCode::NotFound;
                if let Some((_, asked)) = self.pending.take_if(|(wanted, _)| *wanted == project) {
                    self.refuse(refusal(error), asked);
                }
                if self.has_channels(project) && !is_refused {
                    // A client that comes again reads its list anew; one that stays would miss events.
                    self.peer.outbound.close(CloseCode::ServiceRestart, "the log could not be read");
                }
                self.lose(project, UnsubscribedReason::Revoked);
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
                self.answer(ServerMessage::Subscribed(Subscribed { channel, users }), request_id);
                self.tell_state(project, channel).await;
                self.push_backlog().await;
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
        let empty: Vec<ProjectId> = self.rooms.keys().copied().filter(|project| !self.needs(*project)).collect();
        for project in empty {
            self.leave_runs(project, Departure::Clean).await;
            let Some(seat) = self.rooms.remove(&project) else { continue };
            self.generation += 1;
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
            || self.pending.as_ref().is_some_and(|(wanted, _)| *wanted == project)
    }

    // What rooms do ---------------------------------------------------------------------------------------------

    pub(super) fn notice(&mut self, notice: Notice) {
        let Notice { channel, news, .. } = notice;
        match (channel, news) {
            (Channel::Project(project), News::Lost(reason)) => {
                self.lose(project, reason);
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
    fn lose(&mut self, project: ProjectId, reason: UnsubscribedReason) {
        self.rooms.remove(&project);
        self.lose_runs(project);
        self.generation += 1;
        self.peer.outbound.purge(Channel::Project(project));
        self.out.purge(Channel::Project(project));
        // The room has let go of its places as well.
        self.own.retain(|_, own| own.project != project);
        self.places.retain(|_, place| place.1 != project);
        if let Some((_, asked)) = self.pending.take_if(|(wanted, _)| *wanted == project) {
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

    // State -----------------------------------------------------------------------------------------------------

    /// Tells what locks there are, once for each channel; on a resumed ticket also what ended meanwhile. Events follow
    /// from a position that is not later.
    async fn tell_state(&mut self, project: ProjectId, channel: Channel) {
        if self.stated.len() >= REMEMBERED_MAX || !self.stated.insert(channel) {
            return;
        }
        let Some(org) = self.rooms.get(&project).map(|seat| seat.org) else { return };
        let node = match channel {
            Channel::Node(node) => Some(node),
            Channel::Project(_) | Channel::Execution(_) | Channel::User => None,
        };
        match self.state_of(org, project, node).await {
            Ok((messages, runs)) => {
                for run in runs {
                    self.runs.note_running(project, run);
                }
                for message in messages {
                    self.out.push(&[stamped(message, None)], Lane::Durable, Channel::Project(project));
                }
            }
            Err(error) => {
                debug!(%error, "read the locks of a channel");
                self.peer.outbound.close(CloseCode::ServiceRestart, "the locks could not be read");
            }
        }
    }
}

fn unauthorized() -> Error {
    Error::new(ErrorCode::Unauthorized, "no such channel or node")
}

fn away() -> Error {
    Error::new(ErrorCode::InternalError, "the server cannot answer now: try again")
}

/// What a subscription is refused for, in the words of this dialect.
fn refusal(error: protocol::Error) -> Error {
    match error.code {
        protocol::ErrorCode::NotFound | protocol::ErrorCode::Forbidden => unauthorized(),
        _ => away(),
    }
}
