//! The seats of a room: which session has which of its channels open, and how far it was told.

use std::collections::HashMap;
use std::sync::Arc;

use glassbox_protocol::server::ServerFrame;
use glassbox_protocol::{Channel, ExecutionId, NodeId, ProjectId, Seq, ServerMessage, SessionId};
use tokio::time::Instant;

use crate::room::frame::Frame;
use crate::session::outbound::{Lane, Outbound};
use crate::session::peer::{News, Notice, Peer};

/// A session's side of a subscription.
#[derive(Clone)]
pub struct Member {
    /// The session.
    pub peer: Arc<Peer>,
    /// What it has subscribed to.
    pub channel: Channel,
    /// Stands in every frame of the subscription.
    pub generation: u32,
    /// Whether `synced` is still to be said; not by one that only read on by itself.
    pub is_new: bool,
}

pub(super) struct Seated {
    pub(super) member: Member,
    /// The last event that it was sent; ahead of the room's for a moment when its snapshot was newer, and behind on a
    /// channel whose events skip numbers.
    pub(super) position: Seq,
    pub(super) dropped_latest: u64,
}

impl Seated {
    pub(super) fn outbound(&self) -> &Outbound {
        &self.member.peer.outbound
    }

    /// Queues a message of the subscription.
    pub(super) fn push(&self, message: ServerMessage) {
        self.outbound().push(&[Frame::json(&ServerFrame::from(message))], Lane::Durable, self.member.channel);
    }

    /// Tells the session what became of the subscription.
    pub(super) fn tell(&self, news: News) {
        let Member { peer, channel, generation, .. } = &self.member;
        peer.notice(Notice { channel: *channel, generation: *generation, news });
    }

    pub(super) fn is_trace(&self) -> bool {
        matches!(self.member.channel, Channel::Execution(_))
    }

    pub(super) fn session(&self) -> SessionId {
        self.member.peer.session
    }
}

/// Who has one channel open.
pub(super) struct Seats {
    pub(super) by_session: HashMap<SessionId, Seated>,
    /// When everybody here was last told where the log stands.
    pub(super) sent_at: Instant,
}

impl Seats {
    fn new() -> Self {
        Self { by_session: HashMap::new(), sent_at: Instant::now() }
    }
}

/// A session that has left a channel.
pub(super) struct Gone {
    pub(super) seated: Seated,
    /// Whether no other of its channels shows that it is here.
    pub(super) is_out: bool,
}

/// Everybody who is in the room.
pub(super) struct Members {
    project_id: ProjectId,
    pub(super) project: Seats,
    pub(super) nodes: HashMap<NodeId, Seats>,
    pub(super) executions: HashMap<ExecutionId, Seats>,
    /// How many channels each session has open that show that it is here.
    shown: HashMap<SessionId, usize>,
}

/// Whether those who have the channel open are shown as present. A trace is looked at unseen.
fn shows(channel: Channel) -> bool {
    matches!(channel, Channel::Project(_) | Channel::Node(_))
}

impl Members {
    pub(super) fn new(project_id: ProjectId) -> Self {
        let (nodes, executions, shown) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { project_id, project: Seats::new(), nodes, executions, shown }
    }

    /// Gives a session its seat; whether it has come into the room by that, for all to see.
    pub(super) fn enter(&mut self, seated: Seated) -> bool {
        let (channel, session) = (seated.member.channel, seated.session());
        let seats = match channel {
            Channel::Node(node) => self.nodes.entry(node).or_insert_with(Seats::new),
            Channel::Execution(execution) => self.executions.entry(execution).or_insert_with(Seats::new),
            Channel::Project(_) | Channel::User => &mut self.project,
        };
        if seats.by_session.insert(session, seated).is_some() || !shows(channel) {
            return false;
        }
        let count = self.shown.entry(session).or_default();
        *count += 1;
        *count == 1
    }

    /// A session's seat on a channel.
    pub(super) fn get(&self, channel: Channel, session: SessionId) -> Option<&Seated> {
        let seats = match channel {
            Channel::Node(node) => self.nodes.get(&node)?,
            Channel::Execution(execution) => self.executions.get(&execution)?,
            Channel::Project(_) | Channel::User => &self.project,
        };
        seats.by_session.get(&session)
    }

    /// Takes a session's seat.
    pub(super) fn leave(&mut self, channel: Channel, session: SessionId) -> Option<Gone> {
        let seats = match channel {
            Channel::Node(node) => self.nodes.get_mut(&node)?,
            Channel::Execution(execution) => self.executions.get_mut(&execution)?,
            Channel::Project(_) | Channel::User => &mut self.project,
        };
        let seated = seats.by_session.remove(&session)?;
        if seats.by_session.is_empty() {
            match channel {
                Channel::Node(node) => drop(self.nodes.remove(&node)),
                Channel::Execution(execution) => drop(self.executions.remove(&execution)),
                Channel::Project(_) | Channel::User => {}
            }
        }
        let is_out = shows(channel) && self.is_last_seat(session);
        Some(Gone { seated, is_out })
    }

    fn is_last_seat(&mut self, session: SessionId) -> bool {
        let Some(count) = self.shown.get_mut(&session) else { return false };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.shown.remove(&session);
        true
    }

    /// Every seat.
    pub(super) fn all(&self) -> impl Iterator<Item = &Seated> {
        self.shown_seats().chain(self.executions.values()).flat_map(|seats| seats.by_session.values())
    }

    /// Every seat that some condition is true of, by channel and session.
    pub(super) fn which(&self, mut is: impl FnMut(&Seated) -> bool) -> Vec<(Channel, SessionId)> {
        self.all().filter(|seated| is(seated)).map(|seated| (seated.member.channel, seated.session())).collect()
    }

    /// The seats on the project's channel and its nodes'.
    pub(super) fn shown_seats(&self) -> impl Iterator<Item = &Seats> {
        std::iter::once(&self.project).chain(self.nodes.values())
    }

    /// As [`Self::shown_seats`], with their channels.
    pub(super) fn shown_seats_mut(&mut self) -> impl Iterator<Item = (Channel, &mut Seats)> {
        let nodes = self.nodes.iter_mut().map(|(node, seats)| (Channel::Node(*node), seats));
        std::iter::once((Channel::Project(self.project_id), &mut self.project)).chain(nodes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.project.by_session.is_empty() && self.nodes.is_empty() && self.executions.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.all().count()
    }
}
