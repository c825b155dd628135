//! The way out of a room: what the log reader brings goes to every member, each event rendered once per audience.
//!
//! One task owns the members, the position, a tail of recent events for those who join, and the presence. It never
//! waits for a member: queues are bounded where they belong to the session. It does wait for the database in one case:
//! when an event may have changed somebody's rights, nothing is sent before they were looked at again.
//!
//! A room has several channels: its project's, and one for each of its nodes that somebody looks at, which shows what of
//! the same log concerns that node, and one for each of its executions whose trace somebody looks at, a log of its own.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use glassbox_protocol::server::{Head, Synced, User};
use glassbox_protocol::{Channel, Epoch, ExecutionId, Seq, ServerMessage, SessionId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval, sleep_until};
use tracing::warn;

use super::event::{Shown, about_node};
use super::presence::{Departure, Presence};
use super::reader::{Track, TrackProject};
use super::tail::Tail;
use super::{LINGER, Message, Room, Seat, Surroundings};
use crate::config::HEAD_BEAT;
use crate::room::frame::Frame;
use crate::session::outbound::Lane;
use crate::session::peer::{News, Peer};

mod agents;
mod delivery;
mod members;
mod showing;
mod traces;

pub use agents::DATABASE;
pub use members::Member;
use members::{Members, Seated};
use traces::Stream;

/// How often the other instances hear who sits here, so that nobody stays who has gone unnoticed.
const ROSTER_INTERVAL: Duration = Duration::from_secs(10);

/// What became of a join.
#[derive(Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    /// The member is live; `synced` is queued.
    Live,
    /// The tail does not reach back to the member's position, or rights changed since they were looked at; it looks
    /// again, reads on, and asks again.
    Behind,
    /// The log has another life than the one that the member's state belongs to.
    OtherLife,
    /// The trace is not followed: the reader has to be asked for it.
    Unfollowed,
    /// The project is gone.
    Refused,
}

/// Runs a room until it has been empty for a while.
pub async fn run(room: Weak<Room>, seat: Seat, mut messages: mpsc::Receiver<Message>, surroundings: Arc<Surroundings>) {
    let Some((epoch, position)) = track(&seat, &surroundings).await else { return };
    let mut state = State {
        members: Members::new(seat.project),
        room,
        seat,
        surroundings,
        epoch,
        position,
        tail: Tail::default(),
        traces: HashMap::new(),
        presence: Presence::default(),
        places: HashMap::new(),
        next_presence: None,
        next_relay: None,
        roster_at: Instant::now(),
        are_agents_known: false,
        is_asking_for_agents: false,
        empty_since: Some(Instant::now()),
        is_deleted: false,
        going_since: None,
    };
    state.publish_tail_start();
    // A removal before this moment is below where the room starts: joins that looked at rights before it look again.
    if let Some(room) = state.room.upgrade() {
        room.rights_looks.fetch_add(1, Ordering::AcqRel);
    }
    state.surroundings.relay.ask(state.seat.project);
    let mut beat = interval(Duration::from_secs(1));
    let stop = state.surroundings.stop.clone();
    loop {
        let presence_at = earliest(state.next_presence, state.next_relay);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            message = messages.recv() => match message {
                Some(message) => state.hear(message).await,
                None => return,
            },
            () = sleep_until(presence_at.unwrap_or_else(Instant::now)), if presence_at.is_some() => {
                state.send_presence(Instant::now());
            }
            _ = beat.tick() => {
                state.beat();
                if state.is_over() {
                    // Whoever finds the room from now on, or waits in its mailbox, sees that it has closed and opens a
                    // new one.
                    return;
                }
            }
        }
    }
}

/// Asks the log reader for the project's stretch of the log; tries until the database answers.
async fn track(seat: &Seat, surroundings: &Surroundings) -> Option<(Epoch, Seq)> {
    let mut delay = Duration::from_millis(50);
    loop {
        let (reply, start) = oneshot::channel();
        let track = TrackProject { project: seat.project, org: seat.org, mailbox: seat.mailbox.clone(), reply };
        surroundings.reader.send(Track::Project(track)).await.ok()?;
        if let Ok(start) = start.await {
            return Some(start);
        }
        if surroundings.stop.is_cancelled() {
            return None;
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(Duration::from_secs(1));
    }
}

struct State {
    room: Weak<Room>,
    seat: Seat,
    surroundings: Arc<Surroundings>,
    epoch: Epoch,
    /// The last event that was sent to the members.
    position: Seq,
    members: Members,
    tail: Tail,
    traces: HashMap<ExecutionId, Stream>,
    presence: Presence,
    /// Who is in more places than one, by place.
    places: HashMap<SessionId, Arc<Peer>>,
    next_presence: Option<Instant>,
    next_relay: Option<Instant>,
    roster_at: Instant,
    /// Whether no lock came or went since it was asked which agents hold some.
    are_agents_known: bool,
    /// Whether the answer is under way.
    is_asking_for_agents: bool,
    empty_since: Option<Instant>,
    is_deleted: bool,
    /// Since when the project is known to be gone, while the event that says so is on its way.
    going_since: Option<Instant>,
}

impl State {
    async fn hear(&mut self, message: Message) {
        match message {
            Message::Join { member, position, epoch, rights_looks, reply } => {
                let (channel, session) = (member.channel, member.peer.session);
                let outcome = self.join(member, position, epoch, rights_looks);
                let is_live = outcome == JoinOutcome::Live;
                // Whoever gave up the join in the meantime has left already, and would sit here for ever.
                if reply.send(outcome).is_err() && is_live {
                    self.part(channel, session, Departure::Clean);
                    self.presence_changed();
                    self.note_emptiness();
                }
            }
            Message::Leave { session, channel, departure } => {
                if self.part(channel, session, departure).is_some() {
                    self.presence_changed();
                    self.note_emptiness();
                }
            }
            Message::Events { rows, noticed_at } => self.events(&rows, noticed_at).await,
            Message::TraceFollowed { execution, position, wanted } => self.trace_followed(execution, position, wanted),
            Message::Trace { execution, rows } => self.trace(execution, &rows),
            Message::RightsChanged => self.look_at_rights().await,
            Message::Restart { epoch, head } => self.restart(epoch, head).await,
            Message::Presence { session, shown } => {
                self.presence.show(session, shown);
                self.presence_changed();
            }
            Message::Appear { entry, peer, shown } => {
                self.presence.appear(entry, public_user(&peer.user), shown);
                self.places.insert(entry, peer);
                self.presence_changed();
            }
            Message::Disappear { entry, grace } => {
                self.places.remove(&entry);
                self.presence.disappear(entry, grace, Instant::now());
                self.presence_changed();
            }
            Message::RemotePresence { instance, diff } => {
                self.presence.hear(instance, diff, Instant::now());
                self.presence_changed();
            }
            Message::Roster { instance, sessions } => {
                if !self.presence.confirm(instance, &sessions, Instant::now()) {
                    self.surroundings.relay.ask(self.seat.project);
                }
                self.presence_changed();
            }
            Message::Agents(agents) => self.agents(agents),
            Message::PresenceAsked => self.introduce(),
            Message::Reintroduce => {
                self.introduce();
                self.surroundings.relay.ask(self.seat.project);
            }
            Message::Living(living) => {
                if self.presence.needs_expiry() {
                    self.presence.expire(Instant::now(), Some(&living));
                    self.presence_changed();
                }
            }
        }
    }

    // Joining and leaving ---------------------------------------------------------------------------------------

    fn join(&mut self, member: Member, position: Seq, epoch: Epoch, rights_looks: u64) -> JoinOutcome {
        if self.is_deleted || self.going_since.is_some() {
            return JoinOutcome::Refused;
        }
        if epoch != self.epoch {
            return JoinOutcome::OtherLife;
        }
        // Rights were looked at since the join looked: it looks again.
        if self.rights_looks() != rights_looks {
            return JoinOutcome::Behind;
        }
        // The member may be ahead of this room, whose reader is a moment behind the snapshot; it then skips events.
        let channel = member.channel;
        let (at, tail) = match channel {
            Channel::Execution(execution) => match self.traces.get(&execution) {
                Some(stream) => (stream.position, &stream.tail),
                None => return JoinOutcome::Unfollowed,
            },
            Channel::Project(_) | Channel::Node(_) | Channel::User => (self.position, &self.tail),
        };
        let missed = tail.after(position);
        if position < at && missed.first().is_none_or(|e| e.seq != position.next()) {
            return JoinOutcome::Behind;
        }
        let events: Vec<Shown<'_>> = match channel {
            Channel::Node(node) => about_node(missed.iter().map(AsRef::as_ref), node),
            Channel::Project(_) | Channel::Execution(_) | Channel::User => missed.iter().map(|e| e.whole()).collect(),
        };
        let Member { peer, generation, is_new, .. } = member.clone();
        let frames: Vec<Frame> =
            events.iter().map(|e| e.render(channel, generation, peer.user.id, peer.client)).collect();
        peer.outbound.push(&frames, Lane::Durable, channel);
        let seq = position.max(at);
        let seated = Seated { member, position: seq, dropped_latest: peer.outbound.dropped_latest() };
        if is_new {
            seated.push(ServerMessage::Synced(Synced { channel, generation, seq }));
        }
        self.take_seat(seated);
        JoinOutcome::Live
    }

    fn take_seat(&mut self, seated: Seated) {
        let peer = Arc::clone(&seated.member.peer);
        let (channel, session) = (seated.member.channel, peer.session);
        if self.members.enter(seated) {
            self.presence.join(session, public_user(&peer.user), peer.client);
        }
        if let Some(seated) = self.members.get(channel, session) {
            showing::send_state(&self.presence, seated);
        }
        self.presence_changed();
        self.note_emptiness();
    }

    /// Takes a session's seat on a channel; with its last one it goes out of the others' sight.
    fn part(&mut self, channel: Channel, session: SessionId, departure: Departure) -> Option<Seated> {
        let gone = self.members.leave(channel, session)?;
        if gone.is_out {
            self.presence.leave(session, departure, Instant::now());
        }
        Some(gone.seated)
    }

    fn note_emptiness(&mut self) {
        self.empty_since = match (self.members.is_empty(), self.empty_since) {
            (true, None) => Some(Instant::now()),
            (true, since) => since,
            (false, _) => None,
        };
    }

    fn is_over(&self) -> bool {
        self.is_deleted || self.empty_since.is_some_and(|since| since.elapsed() > LINGER)
    }

    fn publish_tail_start(&self) {
        if let Some(room) = self.room.upgrade() {
            let start = self.tail.start().unwrap_or(self.position);
            room.tail_start.store(start.0, Ordering::Release);
        }
    }

    /// The log has another life, or a stretch of it is lost: everybody takes the whole state anew.
    async fn restart(&mut self, epoch: Epoch, head: Seq) {
        if epoch != self.epoch {
            self.traces.clear();
        }
        warn!(project.id = %self.seat.project, members = self.members.count(), "the room starts over");
        self.epoch = epoch;
        self.position = head;
        self.tail = Tail::default();
        self.publish_tail_start();
        if let Some(room) = self.room.upgrade() {
            room.snapshots.forget().await;
        }
        // Those who look at traces, too: they have to show anew that they may, which a lost event may have changed.
        self.send_back(|_| true);
    }

    /// Members take the whole state anew, and nothing of what is queued for them.
    fn send_back(&mut self, who: impl FnMut(&Seated) -> bool) {
        for (channel, session) in self.members.which(who) {
            // Back in a moment, unless its connection ends just now.
            if let Some(seated) = self.part(channel, session, Departure::Lost) {
                seated.outbound().purge(channel);
                seated.tell(News::Restart);
            }
        }
        self.note_emptiness();
    }

    async fn start_over(&mut self) {
        self.restart(self.epoch, self.position).await;
    }

    // The clock -------------------------------------------------------------------------------------------------

    fn beat(&mut self) {
        let now = Instant::now();
        // A session that was cut off while it wanted to leave.
        for (channel, session) in self.members.which(|s| s.member.peer.has_ended()) {
            self.part(channel, session, Departure::Lost);
            self.note_emptiness();
        }
        for (entry, _) in self.places.extract_if(|_, peer| peer.has_ended()) {
            self.presence.leave(entry, Departure::Lost, now);
        }
        if now.duration_since(self.roster_at) >= ROSTER_INTERVAL {
            self.roster_at = now;
            self.surroundings.relay.roster(self.seat.project, self.presence.sessions_here());
            // Looked at again, or they would count as unconfirmed.
            self.are_agents_known &= !self.presence.has_agents();
        }
        if !self.are_agents_known {
            self.look_at_agents();
        }
        if self.presence.needs_expiry() {
            self.presence.expire(now, None);
            self.presence_changed();
        }
        self.end_the_wait(now);
        self.refresh_presence();
        self.beat_traces(now);
        if let Some(room) = self.room.upgrade() {
            room.snapshots.forget_old();
        }
        let (epoch, at) = (self.epoch, self.position);
        for (channel, seats) in self.members.shown_seats_mut() {
            if now.duration_since(seats.sent_at) < HEAD_BEAT - Duration::from_secs(1) {
                continue;
            }
            seats.sent_at = now;
            for seated in seats.by_session.values() {
                let (generation, seq) = (seated.member.generation, seated.position.max(at));
                seated.push(ServerMessage::Head(Head { channel, generation, epoch, seq }));
            }
        }
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Others see who somebody is, not how to write to them.
fn public_user(user: &User) -> User {
    User { id: user.id, name: user.name.clone(), email: None }
}
