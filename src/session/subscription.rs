//! How a session gets into a room: rights, then state or missed events, then live.
//!
//! The room is open before anything is read, so whatever is committed meanwhile is in its tail. The join reads until
//! the tail reaches back to where it is, then asks the room to make it live. Everything goes through the session's
//! queue in order: `subscribed`, `snapshot` or events, `synced`.

use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::client::From;
use glassbox_protocol::server::{Reset, ResetReason, ServerFrame, Subscribed};
use glassbox_protocol::{Epoch, Error, ErrorCode, OrgId, ProjectId, Seq, ServerMessage};
use tokio::sync::oneshot;
use tracing::warn;

use super::outbound::Lane;
use super::peer::Peer;
use crate::app::App;
use crate::auth::{self, rights::ProjectRight};
use crate::room::event::Event;
use crate::room::frame::Frame;
use crate::room::{Closed, JoinOutcome, Member, Message, Room};
use crate::store::feed::{self, Extent};
use crate::store::{Failure, Tenant, events, members};

/// How long to wait for a room that has not learnt of a new life of the log yet.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
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

/// One text for a project that does not exist and one that the caller may not see.
pub fn not_found() -> Error {
    Error::new(ErrorCode::NotFound, "no such project")
}

/// What a database error means to a subscriber.
pub fn unavailable(error: &sqlx::Error) -> Error {
    if Failure::of(error) == Failure::Defect {
        tracing::error!(%error, "subscribe");
        return Error::new(ErrorCode::Internal, "the subscription failed");
    }
    Error::new(ErrorCode::Unavailable, "the database does not answer; try again")
}

/// Finds the project's organization.
///
/// # Errors
/// `NOT_FOUND`, `UNAVAILABLE`.
pub async fn locate(app: &App, project: ProjectId) -> Result<OrgId, Error> {
    members::locate_project(&app.database, project).await.map_err(|e| unavailable(&e))?.ok_or_else(not_found)
}

/// Brings a session into a room; returns the room, which is another one when the given one has closed meanwhile.
///
/// # Errors
/// `NOT_FOUND` when the caller may not see the project, `UNAVAILABLE` when the database is away.
pub async fn join(
    app: &App,
    mut room: Arc<Room>,
    peer: &Arc<Peer>,
    generation: u32,
    start: Start,
) -> Result<Arc<Room>, Error> {
    let mut member = Member { peer: Arc::clone(peer), generation, is_new: !matches!(start, Start::Continue(_)) };
    let mut rights_looks = room.rights_looks();
    let (role, Extent { mut epoch, head, floor }) = standing(app, &room, peer).await?;
    let subscribed = Subscribed { channel: room.channel(), role, epoch, head, generation };
    if matches!(start, Start::Live | Start::Snapshot | Start::Resume(..)) {
        push(peer, room.project, ServerMessage::Subscribed(subscribed));
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
        (Some(reason), _) => reset(app, &room, peer, generation, reason, epoch, head).await?,
        (None, Start::Resume(_, seq) | Start::Continue(seq)) => seq,
        (None, Start::Snapshot) => snapshot(app, &room, peer, generation).await?,
        (None, Start::Live | Start::Restart) => head,
    };
    loop {
        // What the room has in memory it hands over itself.
        if position < room.tail_start() {
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
                room = app
                    .rooms
                    .open(room.project, room.org)
                    .map_err(|_| Error::new(ErrorCode::Unavailable, "the instance is starting; try again"))?;
                rights_looks = room.rights_looks();
                standing(app, &room, peer).await?;
            }
            Some(JoinOutcome::Behind) => {
                rights_looks = room.rights_looks();
                standing(app, &room, peer).await?;
                position = catch_up(app, &room, &member, position, &mut rights_looks).await?;
            }
            Some(JoinOutcome::OtherLife) => {
                let (_, now) = standing(app, &room, peer).await?;
                if now.epoch == epoch {
                    // The room learns of it with its next look at the log.
                    tokio::time::sleep(LOOK_PAUSE).await;
                    continue;
                }
                epoch = now.epoch;
                member.is_new = true;
                room.snapshots().forget().await;
                position = reset(app, &room, peer, generation, ResetReason::EpochChanged, epoch, now.head).await?;
            }
            Some(JoinOutcome::Refused) => return Err(not_found()),
        }
    }
}

/// The caller's role and where the log stands, as of one moment.
async fn standing(app: &App, room: &Room, peer: &Peer) -> Result<(String, Extent), Error> {
    let user = peer.user.id;
    let look = async {
        let mut tx = app.database.begin(&Tenant::member(room.org, user)).await?;
        let roles = auth::project_roles(&mut tx, room.project, &[user]).await?;
        let extent = feed::extent(&mut tx, room.project).await?;
        Ok((roles.get(&user).copied(), extent))
    };
    let (role, extent) = look.await.map_err(|e| unavailable(&e))?;
    let role = role.filter(|r| r.may(ProjectRight::Read)).ok_or_else(not_found)?;
    Ok((role.as_str().to_owned(), extent))
}

async fn reset(
    app: &App,
    room: &Room,
    peer: &Peer,
    generation: u32,
    reason: ResetReason,
    epoch: Epoch,
    head: Seq,
) -> Result<Seq, Error> {
    let reset = Reset { channel: room.channel(), generation, reason, epoch, head };
    push(peer, room.project, ServerMessage::Reset(reset));
    snapshot(app, room, peer, generation).await
}

async fn snapshot(app: &App, room: &Room, peer: &Peer, generation: u32) -> Result<Seq, Error> {
    let parts = room
        .snapshots()
        .get(&app.database, room.org, room.project, room.tail_start())
        .await
        .map_err(|e| unavailable(&e))?;
    for frame in parts.frames(generation) {
        peer.outbound.has_room().await;
        peer.outbound.push(&[frame], Lane::Durable, room.project);
    }
    Ok(parts.seq)
}

/// Sends what follows a position until nothing is left; returns the new position. Rights that changed meanwhile are
/// looked at again before more is sent.
async fn catch_up(app: &App, room: &Room, member: &Member, from: Seq, rights_looks: &mut u64) -> Result<Seq, Error> {
    let peer = &member.peer;
    let mut position = from;
    loop {
        let rows = events::after(app.database.lookup(), &[(room.project.0, position)]).await;
        let rows = rows.map_err(|e| unavailable(&e))?;
        if rows.is_empty() {
            return Ok(position);
        }
        for row in rows {
            if row.start() > position {
                // Dropped from the log while we were reading it.
                return Err(Error::new(ErrorCode::Unavailable, "the log moved on; subscribe again"));
            }
            let events = Event::split(room.project, &row).map_err(|error| {
                warn!(project.id = %room.project, %error, "a row of the log cannot be read");
                Error::new(ErrorCode::Internal, "the log cannot be read")
            })?;
            let new: Vec<Event> = events.into_iter().filter(|e| e.seq > position).collect();
            let mut new = new.into_iter();
            while !new.as_slice().is_empty() {
                peer.outbound.has_room().await;
                if room.rights_looks() != *rights_looks {
                    *rights_looks = room.rights_looks();
                    standing(app, room, peer).await?;
                }
                let mut chunk: Vec<Frame> = Vec::new();
                while chunk.iter().map(Frame::size).sum::<usize>() < CHUNK_BYTES
                    && let Some(event) = new.next()
                {
                    chunk.push(event.render(member.generation, peer.user.id, peer.client));
                }
                peer.outbound.push(&chunk, Lane::Durable, room.project);
            }
            position = row.seq;
        }
    }
}

fn push(peer: &Peer, project: ProjectId, message: ServerMessage) {
    peer.outbound.push(&[Frame::json(&ServerFrame::from(message))], Lane::Durable, project);
}
