//! How a session gets into a room: rights, then state or missed events, then live.
//!
//! The room is open before anything is read, so whatever is committed meanwhile is in its tail. The join reads until
//! the tail reaches back to where it is, then asks the room to make it live. Everything goes through the session's
//! queue in order: `subscribed`, `snapshot` or events, `synced`.

use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::client::From;
use glassbox_protocol::server::{Reset, ResetReason, ServerFrame, Subscribed};
use glassbox_protocol::{Channel, Epoch, Error, ErrorCode, OrgId, ProjectId, Seq, ServerMessage};
use tokio::sync::oneshot;
use tracing::warn;

use super::outbound::Lane;
use super::peer::Peer;
use crate::app::App;
use crate::auth::{self, rights::ProjectRight};
use crate::room::event::{Event, Shown, about_node};
use crate::room::frame::Frame;
use crate::room::snapshot::{self, Parts};
use crate::room::{Closed, JoinOutcome, Member, Message, Room};
use crate::store::feed::{self, Extent};
use crate::store::{Failure, Tenant, events, members, tree};

/// How long to wait for a room that has not learnt of a new life of the log yet.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// How often a trace is asked for before its subscriber is told to try again.
const FOLLOW_ATTEMPTS: u32 = 100;
/// About how many bytes are queued at once during a catch-up, before there is a look at how much waits.
const CHUNK_BYTES: usize = 32 * 1024;

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Live from now.
    Live,
    /// With the whole state.
    Snapshot,
    /// After a position.
    Resume(Epoch, Seq),
    /// With the whole state, because the log has a new life under a running subscription.
    Restart,
    /// After a position, because more came at once than the room may queue.
    Continue(Seq),
}

impl Start {
    /// Reads the `from` of a `subscribe`.
    pub fn new(from: Option<From>) -> Self {
        match from {
            None => Start::Live,
            Some(From::Snapshot(_)) => Start::Snapshot,
            Some(From::Resume { epoch, seq }) => Start::Resume(epoch, seq),
        }
    }
}

/// One text for what does not exist and what the caller may not see.
pub fn not_found(channel: Channel) -> Error {
    let what = match channel {
        Channel::Project(_) => "project",
        Channel::Node(_) => "node",
        Channel::Execution(_) => "execution",
        Channel::User => "channel",
    };
    Error::new(ErrorCode::NotFound, format!("no such {what}"))
}

/// What a database error means to a subscriber.
pub fn unavailable(error: &sqlx::Error) -> Error {
    if Failure::of(error) == Failure::Defect {
        tracing::error!(%error, "subscribe");
        return Error::new(ErrorCode::Internal, "the subscription failed");
    }
    Error::new(ErrorCode::Unavailable, "the database does not answer; try again")
}

/// What a subscription to the caller's own channel is told.
pub fn needs_none() -> Error {
    Error::new(ErrorCode::InvalidChannel, "the channel user is always open and needs no subscription")
}

/// Finds the project whose room has a channel, and its organization.
///
/// # Errors
/// `NOT_FOUND`, `UNAVAILABLE`, `INVALID_CHANNEL`.
pub async fn locate(app: &App, channel: Channel) -> Result<(OrgId, ProjectId), Error> {
    let found = match channel {
        Channel::Project(project) => {
            members::locate_project(&app.database, project).await.map(|org| org.map(|org| (org, project)))
        }
        Channel::Node(node) => members::locate_node(&app.database, node).await,
        Channel::Execution(execution) => members::locate_execution(&app.database, execution).await,
        Channel::User => return Err(needs_none()),
    };
    found.map_err(|e| unavailable(&e))?.ok_or_else(|| not_found(channel))
}

/// Brings a session into a room; returns the room, which is another one when the given one has closed meanwhile.
///
/// # Errors
/// `NOT_FOUND` when the caller may not see the project, `UNAVAILABLE` when the database is away.
pub async fn join(
    app: &App,
    mut room: Arc<Room>,
    peer: &Arc<Peer>,
    channel: Channel,
    generation: u32,
    start: Start,
) -> Result<Arc<Room>, Error> {
    let is_new = !matches!(start, Start::Continue(_));
    let mut member = Member { peer: Arc::clone(peer), channel, generation, is_new };
    follow(app, &mut room, channel).await?;
    let mut rights_looks = room.rights_looks();
    let (role, Extent { mut epoch, head, floor }) = standing(app, &room, &member).await?;
    if matches!(start, Start::Live | Start::Snapshot | Start::Resume(..)) {
        be_there(app, &room, &member).await?;
        let subscribed = Subscribed { channel, role, epoch, head, generation };
        push(&member, ServerMessage::Subscribed(subscribed));
    }

    let refusal = match start {
        Start::Restart => Some(ResetReason::EpochChanged),
        Start::Resume(theirs, _) if theirs != epoch => Some(ResetReason::EpochChanged),
        Start::Resume(_, seq) if seq > head || seq < Seq::ZERO => Some(ResetReason::AheadOfHead),
        Start::Resume(_, seq) | Start::Continue(seq) if seq < floor => Some(ResetReason::BelowFloor),
        Start::Live | Start::Snapshot | Start::Resume(..) | Start::Continue(_) => None,
    };
    member.is_new |= refusal.is_some();
    let mut position = match (refusal, start) {
        (Some(reason), _) => reset(app, &room, &member, reason, epoch, head, &mut rights_looks).await?,
        (None, Start::Resume(_, seq) | Start::Continue(seq)) => seq,
        (None, Start::Snapshot) => snapshot(app, &room, &member, &mut rights_looks).await?,
        (None, Start::Live | Start::Restart) => head,
    };
    loop {
        // What the room has in memory it hands over itself.
        if is_trace(channel) || position < room.tail_start() {
            position = catch_up(app, &room, &member, position, &mut rights_looks).await?;
        }
        let (reply, outcome) = oneshot::channel();
        let ask = Message::Join { member: member.clone(), position, epoch, rights_looks, reply };
        let outcome = match room.tell(ask).await {
            Ok(()) => outcome.await.ok(),
            Err(Closed) => None,
        };
        match outcome {
            Some(JoinOutcome::Live) => return Ok(room),
            // It had been empty for a while and closed just now: go on in a new one.
            None => {
                room = app.rooms.open(room.project, room.org).map_err(|_| starting())?;
                follow(app, &mut room, channel).await?;
                rights_looks = room.rights_looks();
                standing(app, &room, &member).await?;
            }
            Some(JoinOutcome::Unfollowed) => follow(app, &mut room, channel).await?,
            Some(JoinOutcome::Behind) => {
                rights_looks = room.rights_looks();
                standing(app, &room, &member).await?;
                position = catch_up(app, &room, &member, position, &mut rights_looks).await?;
            }
            Some(JoinOutcome::OtherLife) => {
                let (_, now) = standing(app, &room, &member).await?;
                if now.epoch == epoch {
                    // The room learns of it with its next look at the log.
                    tokio::time::sleep(LOOK_PAUSE).await;
                    continue;
                }
                epoch = now.epoch;
                member.is_new = true;
                room.snapshots().forget().await;
                let reason = ResetReason::EpochChanged;
                position = reset(app, &room, &member, reason, epoch, now.head, &mut rights_looks).await?;
            }
            Some(JoinOutcome::Refused) => return Err(not_found(channel)),
        }
    }
}

fn is_trace(channel: Channel) -> bool {
    matches!(channel, Channel::Execution(_))
}

/// Has a trace followed before anything of it is read, so that what comes meanwhile is in the room's hands.
async fn follow(app: &App, room: &mut Arc<Room>, channel: Channel) -> Result<(), Error> {
    let Channel::Execution(execution) = channel else { return Ok(()) };
    for _ in 0..FOLLOW_ATTEMPTS {
        if room.follow(execution).await {
            return Ok(());
        }
        // The room opens or closes, or has much to do.
        tokio::time::sleep(LOOK_PAUSE).await;
        *room = app.rooms.open(room.project, room.org).map_err(|_| starting())?;
    }
    Err(Error::new(ErrorCode::Unavailable, "the log cannot be followed now; try again"))
}

fn starting() -> Error {
    Error::new(ErrorCode::Unavailable, "the instance is starting; try again")
}

/// The caller's role and where the log stands, as of one moment.
async fn standing(app: &App, room: &Room, member: &Member) -> Result<(String, Extent), Error> {
    let user = member.peer.user.id;
    let look = async {
        let mut tx = app.database.begin(&Tenant::member(room.org, user)).await?;
        let roles = auth::project_roles(&mut tx, room.project, &[user]).await?;
        let extent = feed::extent(&mut tx, room.stream(member.channel)).await?;
        Ok((roles.get(&user).copied(), extent))
    };
    let (role, extent) = look.await.map_err(|e| unavailable(&e))?;
    let role = role.filter(|r| r.may(ProjectRight::Read)).ok_or_else(|| not_found(member.channel))?;
    Ok((role.as_str().to_owned(), extent))
}

/// A subscription begins with what is there; one that runs outlives a delete, after which the node may come back.
async fn be_there(app: &App, room: &Room, member: &Member) -> Result<(), Error> {
    let Channel::Node(node) = member.channel else { return Ok(()) };
    let look = async {
        let mut tx = app.database.begin(&Tenant::member(room.org, member.peer.user.id)).await?;
        tree::is_undeleted(&mut tx, node).await
    };
    match look.await.map_err(|e| unavailable(&e))? {
        true => Ok(()),
        false => Err(not_found(member.channel)),
    }
}

async fn reset(
    app: &App,
    room: &Room,
    member: &Member,
    reason: ResetReason,
    epoch: Epoch,
    head: Seq,
    rights_looks: &mut u64,
) -> Result<Seq, Error> {
    let reset = Reset { channel: member.channel, generation: member.generation, reason, epoch, head };
    push(member, ServerMessage::Reset(reset));
    snapshot(app, room, member, rights_looks).await
}

async fn snapshot(app: &App, room: &Room, member: &Member, rights_looks: &mut u64) -> Result<Seq, Error> {
    let outbound = &member.peer.outbound;
    let parts = match member.channel {
        Channel::Execution(execution) => {
            outbound.has_room().await;
            let state = snapshot::trace(&app.database, room.org, execution, member.generation).await;
            let state = state.map_err(|e| unavailable(&e))?;
            let (frame, seq) = state.ok_or_else(|| not_found(member.channel))?;
            outbound.push(&[frame], Lane::Durable, member.channel);
            return Ok(seq);
        }
        Channel::Node(node) => Parts::of_node(&app.database, room.org, room.project, node).await.map(Arc::new),
        Channel::Project(_) | Channel::User => {
            room.snapshots().get(&app.database, room.org, room.project, room.tail_start()).await
        }
    }
    .map_err(|e| unavailable(&e))?;
    for frame in parts.frames(member.generation) {
        outbound.has_room().await;
        look_again(app, room, member, rights_looks).await?;
        outbound.push(&[frame], Lane::Durable, member.channel);
    }
    Ok(parts.seq)
}

/// Looks at the member's rights again if the room has done so since; what is not sent yet may be no longer theirs.
async fn look_again(app: &App, room: &Room, member: &Member, rights_looks: &mut u64) -> Result<(), Error> {
    if room.rights_looks() != *rights_looks {
        *rights_looks = room.rights_looks();
        standing(app, room, member).await?;
    }
    Ok(())
}

/// Sends what follows a position until nothing is left; returns the new position. Rights that changed meanwhile are
/// looked at again before more is sent.
async fn catch_up(app: &App, room: &Room, member: &Member, from: Seq, rights_looks: &mut u64) -> Result<Seq, Error> {
    let peer = &member.peer;
    let mut position = from;
    loop {
        let rows = events::after(app.database.lookup(), &[(room.stream(member.channel), position)]).await;
        let rows = rows.map_err(|e| unavailable(&e))?;
        if rows.is_empty() {
            return Ok(position);
        }
        for row in rows {
            if row.start() > position {
                // Dropped from the log while we were reading it.
                return Err(Error::new(ErrorCode::Unavailable, "the log moved on; subscribe again"));
            }
            let events = Event::split(&row).map_err(|error| {
                warn!(project.id = %room.project, %error, "a row of the log cannot be read");
                Error::new(ErrorCode::Internal, "the log cannot be read")
            })?;
            let mut shown: Vec<Shown<'_>> = match member.channel {
                Channel::Node(node) => about_node(events.iter(), node),
                Channel::Project(_) | Channel::Execution(_) | Channel::User => {
                    events.iter().map(Event::whole).collect()
                }
            };
            shown.retain(|e| e.seq() > position);
            let mut new = shown.into_iter();
            while !new.as_slice().is_empty() {
                peer.outbound.has_room().await;
                look_again(app, room, member, rights_looks).await?;
                let mut chunk: Vec<Frame> = Vec::new();
                while chunk.iter().map(Frame::size).sum::<usize>() < CHUNK_BYTES
                    && let Some(event) = new.next()
                {
                    chunk.push(event.render(member.channel, member.generation, peer.user.id, peer.client));
                }
                peer.outbound.push(&chunk, Lane::Durable, member.channel);
            }
            position = row.seq;
        }
    }
}

fn push(member: &Member, message: ServerMessage) {
    member.peer.outbound.push(&[Frame::json(&ServerFrame::from(message))], Lane::Durable, member.channel);
}
