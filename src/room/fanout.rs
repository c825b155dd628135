//! The way out of a room: what the log reader brings goes to every member, each event rendered once per audience.
//!
//! One task owns the members, the position, a tail of recent events for those who join, and the presence. It never
//! waits for a member: queues are bounded where they belong to the session. It does wait for the database in one case:
//! when an event may have changed somebody's rights, nothing is sent before they were looked at again.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use glassbox_protocol::server::{
    Head, PresenceDiff, PresenceState, ServerFrame, Synced, Unsubscribed, UnsubscribedReason, User,
};
use glassbox_protocol::{Channel, Epoch, ProjectId, Seq, ServerMessage, SessionId, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval, sleep_until};
use tracing::{debug, error, warn};

use super::event::{Event, Kind};
use super::frame::Frame;
use super::presence::{Departure, Presence};
use super::reader::Track;
use super::rights::who_may_read;
use super::tail::Tail;
use super::{LINGER, Message, Room, Seat, Surroundings};
use crate::config::{HEAD_BEAT, PRESENCE_RELAY_TICK, PRESENCE_TICK};
use crate::session::outbound::{Lane, Outbound};
use crate::session::peer::Peer;
use crate::store::events::LogRow;
use crate::store::members;

/// Most bytes of events that are queued for everybody at once; well under what may wait for one client.
const QUEUED_AT_ONCE_MAX: usize = 256 * 1024;
/// How often the other instances hear who sits here, so that nobody stays who has gone unnoticed.
const ROSTER_INTERVAL: Duration = Duration::from_secs(10);

/// A session's side of a subscription.
#[derive(Clone)]
pub struct Member {
    /// The session.
    pub peer: Arc<Peer>,
    /// Stands in every frame of the subscription.
    pub generation: u32,
    /// Whether `synced` is still to be said; not by one that only read on by itself.
    pub is_new: bool,
}

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
    /// The project is gone.
    Refused,
}

struct Seated {
    member: Member,
    /// The last event that it was sent; ahead of the room's for a moment when its snapshot was newer.
    position: Seq,
    dropped_latest: u64,
}

impl Seated {
    fn outbound(&self) -> &Outbound {
        &self.member.peer.outbound
    }
}

/// Runs a room until it has been empty for a while.
pub async fn run(room: Weak<Room>, seat: Seat, mut messages: mpsc::Receiver<Message>, surroundings: Arc<Surroundings>) {
    let Some((epoch, position)) = track(&seat, &surroundings).await else { return };
    let mut state = State {
        room,
        seat,
        surroundings,
        epoch,
        position,
        members: HashMap::new(),
        tail: Tail::default(),
        presence: Presence::default(),
        next_presence: None,
        next_relay: None,
        sent_at: Instant::now(),
        roster_at: Instant::now(),
        empty_since: Some(Instant::now()),
        is_deleted: false,
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
        let track = Track { project: seat.project, org: seat.org, mailbox: seat.mailbox.clone(), reply };
        surroundings.reader.send(track).await.ok()?;
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
    members: HashMap<SessionId, Seated>,
    tail: Tail,
    presence: Presence,
    next_presence: Option<Instant>,
    next_relay: Option<Instant>,
    sent_at: Instant,
    roster_at: Instant,
    empty_since: Option<Instant>,
    is_deleted: bool,
}

impl State {
    async fn hear(&mut self, message: Message) {
        match message {
            Message::Join { member, position, epoch, rights_looks, reply } => {
                let outcome = self.join(member, position, epoch, rights_looks);
                let _ = reply.send(outcome);
            }
            Message::Leave { session, departure } => {
                if self.members.remove(&session).is_some() {
                    self.presence.leave(session, departure, Instant::now());
                    self.presence_changed();
                    self.note_emptiness();
                }
            }
            Message::Events { rows, noticed_at } => self.events(&rows, noticed_at).await,
            Message::RightsChanged => self.look_at_rights().await,
            Message::Restart { epoch, head } => self.restart(epoch, head).await,
            Message::Presence { session, shown } => {
                self.presence.show(session, shown);
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
        if self.is_deleted {
            return JoinOutcome::Refused;
        }
        if epoch != self.epoch {
            return JoinOutcome::OtherLife;
        }
        // Rights were looked at since the join looked: it looks again.
        if self.rights_looks() != rights_looks {
            return JoinOutcome::Behind;
        }
        let user = member.peer.user.id;
        // The member may be ahead of this room, whose reader is a moment behind the snapshot; it then skips events.
        let missed = self.tail.after(position);
        if position < self.position && missed.first().is_none_or(|e| e.seq != position.next()) {
            return JoinOutcome::Behind;
        }
        let frames: Vec<Frame> = missed.iter().map(|e| e.render(member.generation, user, member.peer.client)).collect();
        let outbound = &member.peer.outbound;
        outbound.push(&frames, Lane::Durable, self.seat.project);
        let seq = position.max(self.position);
        let synced = Synced { channel: self.channel(), generation: member.generation, seq };
        if member.is_new {
            self.push(outbound, ServerMessage::Synced(synced));
        }

        let session = member.peer.session;
        self.presence.join(session, public_user(&member.peer.user), member.peer.client);
        let dropped_latest = outbound.dropped_latest();
        send_presence_state(&self.presence, self.seat.project, &member);
        self.members.insert(session, Seated { member, position: seq, dropped_latest });
        self.presence_changed();
        self.note_emptiness();
        JoinOutcome::Live
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

    /// Ends the subscriptions of some users, with what is queued for them.
    fn dismiss(&mut self, sessions: Vec<SessionId>, reason: UnsubscribedReason) {
        for session in sessions {
            let Some(seated) = self.members.remove(&session) else { continue };
            seated.outbound().purge(self.seat.project);
            let message = Unsubscribed { channel: self.channel(), reason: Some(reason) };
            seated.outbound().message(ServerMessage::Unsubscribed(message), None);
            seated.member.peer.lose(self.seat.project, reason);
            self.presence.leave(session, Departure::Clean, Instant::now());
        }
        self.presence_changed();
        self.note_emptiness();
    }

    fn dismiss_all(&mut self) {
        let everybody = self.members.keys().copied().collect();
        self.dismiss(everybody, UnsubscribedReason::Deleted);
    }

    // Events ----------------------------------------------------------------------------------------------------

    async fn events(&mut self, rows: &[LogRow], noticed_at: Instant) {
        let mut events = Vec::new();
        for row in rows {
            match Event::split(self.seat.project, row) {
                Ok(split) => events.extend(split.into_iter().map(Arc::new)),
                Err(error) => {
                    error!(project.id = %self.seat.project, seq = %row.seq, %error, "a row of the log cannot be read");
                    return self.restart(self.epoch, row.seq).await;
                }
            }
        }
        // What changes rights is sent to nobody before the rights were looked at: the event commits the loss.
        let is_over = events.iter().any(|e| e.kind == Kind::ProjectDeleted);
        if !is_over && events.iter().any(|e| e.kind == Kind::Rights) {
            self.look_at_rights().await;
        }
        let bytes: usize = events.iter().map(|e| e.size()).sum();
        if bytes > QUEUED_AT_ONCE_MAX {
            self.let_read_on();
        }
        self.send_events(&events);
        crate::metrics::commit_to_send(noticed_at.elapsed());
        for event in events {
            self.is_deleted |= event.kind == Kind::ProjectDeleted;
            self.position = event.seq;
            self.tail.push(event);
        }
        self.publish_tail_start();
        if self.is_deleted {
            self.dismiss_all();
        }
    }

    /// A large transaction would overflow the queues: the members read it from the log, each at its own pace.
    fn let_read_on(&mut self) {
        let now = Instant::now();
        for (session, seated) in self.members.drain() {
            seated.member.peer.read_on(self.seat.project, seated.position);
            self.presence.leave(session, Departure::Lost, now);
        }
        self.note_emptiness();
    }

    fn send_events(&mut self, events: &[Arc<Event>]) {
        let mut shared: HashMap<u32, Vec<Frame>> = HashMap::new();
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        let mut sent = 0;
        for seated in self.members.values_mut() {
            let Member { peer, generation, .. } = &seated.member;
            let after = seated.position;
            let public = shared
                .entry(*generation)
                .or_insert_with(|| events.iter().map(|e| e.render_public(*generation)).collect());
            let is_special = after >= first.seq || events.iter().any(|e| e.concerns(peer.user.id));
            if is_special {
                let own: Vec<Frame> = events
                    .iter()
                    .zip(public.iter())
                    .filter(|(e, _)| e.seq > after)
                    .map(|(e, frame)| match e.concerns(peer.user.id) {
                        true => e.render(*generation, peer.user.id, peer.client),
                        false => frame.clone(),
                    })
                    .collect();
                sent += own.len();
                peer.outbound.push(&own, Lane::Durable, self.seat.project);
            } else {
                sent += public.len();
                peer.outbound.push(public, Lane::Durable, self.seat.project);
            }
            seated.position = after.max(last.seq);
        }
        self.sent_at = Instant::now();
        crate::metrics::events_sent(sent);
    }

    fn publish_tail_start(&self) {
        if let Some(room) = self.room.upgrade() {
            let start = self.tail.start().unwrap_or(self.position);
            room.tail_start.store(start.0, Ordering::Release);
        }
    }

    /// The log has another life, or a stretch of it is lost: everybody takes the whole state anew.
    async fn restart(&mut self, epoch: Epoch, head: Seq) {
        warn!(project.id = %self.seat.project, members = self.members.len(), "the room starts over");
        self.epoch = epoch;
        self.position = head;
        self.tail = Tail::default();
        self.publish_tail_start();
        if let Some(room) = self.room.upgrade() {
            room.snapshots.forget().await;
        }
        let now = Instant::now();
        for (session, seated) in self.members.drain() {
            seated.outbound().purge(self.seat.project);
            seated.member.peer.restart(self.seat.project);
            // Back in a moment, unless its connection ends just now.
            self.presence.leave(session, Departure::Lost, now);
        }
        self.note_emptiness();
    }

    // Rights ----------------------------------------------------------------------------------------------------

    fn rights_looks(&self) -> u64 {
        self.room.upgrade().map_or(0, |room| room.rights_looks())
    }

    async fn look_at_rights(&mut self) {
        if let Some(room) = self.room.upgrade() {
            room.rights_looks.fetch_add(1, Ordering::AcqRel);
        }
        let users: HashSet<UserId> = self.members.values().map(|s| s.member.peer.user.id).collect();
        if users.is_empty() {
            return;
        }
        let Some(allowed) = who_may_read(&self.surroundings.database, &self.seat, users).await else {
            return self.restart(self.epoch, self.position).await;
        };
        let lost: Vec<SessionId> = self
            .members
            .values()
            .filter(|s| !allowed.contains(&s.member.peer.user.id))
            .map(|s| s.member.peer.session)
            .collect();
        if !lost.is_empty() {
            // Nobody may see a project that is gone.
            let found = members::locate_project(&self.surroundings.database, self.seat.project).await;
            let reason = match found {
                Ok(None) => UnsubscribedReason::Deleted,
                Ok(Some(_)) | Err(_) => UnsubscribedReason::Revoked,
            };
            debug!(project.id = %self.seat.project, sessions = lost.len(), ?reason, "access ended");
            self.dismiss(lost, reason);
        }
    }

    // Presence --------------------------------------------------------------------------------------------------

    /// Tells the other instances everybody who is here.
    fn introduce(&self) {
        self.surroundings.relay.tell(self.seat.project, &self.presence.everybody_here());
    }

    fn presence_changed(&mut self) {
        if !self.presence.is_dirty() {
            return;
        }
        // The first change of a quiet period goes at once; those that follow wait for the tick.
        let now = Instant::now();
        self.next_presence.get_or_insert(now);
        self.next_relay.get_or_insert(now);
    }

    fn send_presence(&mut self, now: Instant) {
        if self.next_presence.is_some_and(|at| at <= now) {
            let diff = self.presence.take_for_members();
            self.next_presence = if diff.is_empty() { None } else { Some(now + PRESENCE_TICK) };
            if !diff.is_empty() {
                self.send_presence_diff(diff);
            }
        }
        if self.next_relay.is_some_and(|at| at <= now) {
            let diff = self.presence.take_for_instances();
            self.next_relay = if diff.is_empty() { None } else { Some(now + PRESENCE_RELAY_TICK) };
            if !diff.is_empty() {
                self.surroundings.relay.tell(self.seat.project, &diff);
            }
        }
    }

    fn send_presence_diff(&mut self, diff: super::presence::Diff) {
        let mut by_generation: HashMap<u32, Frame> = HashMap::new();
        for seated in self.members.values() {
            // Whoever missed something gets everything, with the next beat.
            if seated.outbound().dropped_latest() != seated.dropped_latest {
                continue;
            }
            let generation = seated.member.generation;
            let frame = by_generation.entry(generation).or_insert_with(|| {
                Frame::json(&ServerFrame::from(ServerMessage::PresenceDiff(PresenceDiff {
                    channel: Channel::Project(self.seat.project),
                    generation,
                    joins: diff.joins.clone(),
                    leaves: diff.leaves.clone(),
                    updates: diff.updates.clone(),
                })))
            });
            seated.outbound().push(std::slice::from_ref(frame), Lane::Latest, self.seat.project);
        }
        crate::metrics::presence_frames(self.members.len());
    }

    /// Sends everything to those who missed something because their queue was full; again, until it gets through.
    fn refresh_presence(&mut self) {
        for seated in self.members.values_mut() {
            let dropped = seated.outbound().dropped_latest();
            if dropped != seated.dropped_latest {
                seated.dropped_latest = dropped;
                send_presence_state(&self.presence, self.seat.project, &seated.member);
            }
        }
    }

    // The clock -------------------------------------------------------------------------------------------------

    fn beat(&mut self) {
        let now = Instant::now();
        // A session that was cut off while it wanted to leave.
        let ended: Vec<SessionId> =
            self.members.iter().filter(|(_, s)| s.member.peer.has_ended()).map(|(id, _)| *id).collect();
        for session in ended {
            self.members.remove(&session);
            self.presence.leave(session, Departure::Lost, now);
            self.note_emptiness();
        }
        if now.duration_since(self.roster_at) >= ROSTER_INTERVAL {
            self.roster_at = now;
            self.surroundings.relay.roster(self.seat.project, self.presence.sessions_here());
        }
        if self.presence.needs_expiry() {
            self.presence.expire(now, None);
            self.presence_changed();
        }
        self.refresh_presence();
        if let Some(room) = self.room.upgrade() {
            room.snapshots.forget_old();
        }
        if now.duration_since(self.sent_at) >= HEAD_BEAT - Duration::from_secs(1) {
            self.sent_at = now;
            for seated in self.members.values() {
                let head = Head {
                    channel: self.channel(),
                    generation: seated.member.generation,
                    epoch: self.epoch,
                    seq: seated.position,
                };
                self.push(seated.outbound(), ServerMessage::Head(head));
            }
        }
    }

    fn channel(&self) -> Channel {
        Channel::Project(self.seat.project)
    }

    fn push(&self, outbound: &Outbound, message: ServerMessage) {
        outbound.push(&[Frame::json(&ServerFrame::from(message))], Lane::Durable, self.seat.project);
    }
}

fn send_presence_state(presence: &Presence, project: ProjectId, member: &Member) {
    let message = ServerMessage::PresenceState(PresenceState {
        channel: Channel::Project(project),
        generation: member.generation,
        members: presence.everybody(),
    });
    let frame = Frame::json(&ServerFrame::from(message));
    member.peer.outbound.push(&[frame], Lane::Latest, project);
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
