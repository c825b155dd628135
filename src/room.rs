//! Rooms: projects that are open on this instance.
//!
//! A room has two tasks. The *fan-out* owns the members and sends them what the log reader brings; the *writer* takes
//! the commands that are ready and commits them together. There is no way from one to the other but through the log.
//! A room opens with its first subscription or command and closes when it has been empty for a while.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use glassbox_protocol::{Channel, Epoch, ExecutionId, OrgId, ProjectId, Seq};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::backplane::relay::Relay;
use crate::store::Database;
use crate::store::events::LogRow;

pub mod event;
pub mod fanout;
pub mod frame;
pub mod inbox;
pub mod presence;
pub mod reader;
pub mod rights;
pub mod snapshot;
mod tail;
pub mod writer;

pub use fanout::{JoinOutcome, Member};
pub use writer::{Answer, Request};

/// Messages that wait for a room's fan-out. When it is full, the log reader comes back later, presence is dropped, and
/// sessions wait.
const MAILBOX_MAX: usize = 512;

/// Commands that wait for a room's writer. When it is full, the command is answered `PROJECT_BUSY`.
const COMMANDS_MAX: usize = 4096;

/// How long an empty room stays open: a reload of the page finds it warm.
const LINGER: Duration = Duration::from_secs(30);

/// What a room needs of its instance.
pub struct Surroundings {
    /// This instance.
    pub instance: Uuid,
    /// The database.
    pub database: Database,
    /// Where rooms ask for their stretch of the log.
    pub reader: mpsc::Sender<reader::Track>,
    /// Presence to and from the other instances.
    pub relay: Arc<Relay>,
    /// Ends when the instance has drained.
    pub stop: CancellationToken,
    /// Owns the rooms' tasks.
    pub tasks: TaskTracker,
}

/// The rooms that are open on this instance.
#[derive(Default)]
pub struct Rooms {
    open: DashMap<ProjectId, Arc<Room>>,
    surroundings: OnceLock<Arc<Surroundings>>,
}

/// One open project.
pub struct Room {
    /// The project.
    pub project: ProjectId,
    /// The tenant.
    pub org: OrgId,
    mailbox: mpsc::Sender<Message>,
    commands: mpsc::Sender<Request>,
    /// The position from which the room can hand events to those who join, out of memory.
    tail_start: AtomicI64,
    /// How often rights were looked at again; a join that began before such a look is looked at once more.
    rights_looks: AtomicU64,
    snapshots: snapshot::Snapshots,
    reader: mpsc::Sender<reader::Track>,
}

/// What a room's fan-out is told.
pub enum Message {
    /// A session has caught up and wants to be live.
    Join {
        /// The session's side of the subscription.
        member: Member,
        /// The last event that it was sent,
        position: Seq,
        /// in this life of the log.
        epoch: Epoch,
        /// What [`Room::rights_looks`] said when its rights were checked.
        rights_looks: u64,
        /// Tells whether it is live now.
        reply: oneshot::Sender<JoinOutcome>,
    },
    /// A session goes.
    Leave {
        /// Which.
        session: glassbox_protocol::SessionId,
        /// From where.
        channel: Channel,
        /// How.
        departure: presence::Departure,
    },
    /// The next rows of the log.
    Events {
        /// In order, without gaps.
        rows: Vec<LogRow>,
        /// When this instance learnt of the newest of them.
        noticed_at: tokio::time::Instant,
    },
    /// The log reader follows the trace of an execution from a position on, as long as `wanted` is kept.
    TraceFollowed {
        /// Which.
        execution: ExecutionId,
        /// Its head.
        position: Seq,
        /// Dropped when nobody looks any more.
        wanted: Arc<()>,
    },
    /// The next rows of an execution's log.
    Trace {
        /// Which.
        execution: ExecutionId,
        /// In order.
        rows: Vec<LogRow>,
    },
    /// The organization's members changed: look at everybody's rights again.
    RightsChanged,
    /// The log has a new life, or lost a stretch: everybody starts over.
    Restart {
        /// The present epoch.
        epoch: Epoch,
        /// The present head.
        head: Seq,
    },
    /// A member shows something else.
    Presence {
        /// Which.
        session: glassbox_protocol::SessionId,
        /// What.
        shown: glassbox_protocol::client::PresenceFields,
    },
    /// A session is in one more place.
    Appear {
        /// Names the place; made by the session.
        entry: glassbox_protocol::SessionId,
        /// The session.
        peer: Arc<crate::session::peer::Peer>,
        /// What it shows there.
        shown: glassbox_protocol::client::PresenceFields,
    },
    /// A session has left such a place.
    Disappear {
        /// Which.
        entry: glassbox_protocol::SessionId,
        /// How long others still see it there.
        grace: Duration,
    },
    /// Another instance tells who is there.
    RemotePresence {
        /// Which.
        instance: Uuid,
        /// What changed there.
        diff: presence::Diff,
    },
    /// Another instance tells who sits there.
    Roster {
        /// Which.
        instance: Uuid,
        /// Everybody who is there.
        sessions: Vec<glassbox_protocol::SessionId>,
    },
    /// The agents that hold locks, and the nodes that they hold; `None` when the database did not tell.
    Agents(Option<Vec<(glassbox_protocol::NodeId, glassbox_protocol::server::User)>>),
    /// Another instance asks who is here.
    PresenceAsked,
    /// Another instance has come, or was not heard for a while: say who is here and ask who is there.
    Reintroduce,
    /// The instances that live.
    Living(Arc<[Uuid]>),
}

/// The room has closed since it was found; open it again.
#[derive(Debug)]
pub struct Closed;

impl Rooms {
    /// Gives the rooms what they need; once, at the start.
    pub fn start(&self, surroundings: Surroundings) {
        // A second call would be a defect of the start sequence and changes nothing.
        let _ = self.surroundings.set(Arc::new(surroundings));
    }

    /// The project's room, opened if it is not.
    ///
    /// # Errors
    /// The instance is starting.
    pub fn open(&self, project: ProjectId, org: OrgId) -> anyhow::Result<Arc<Room>> {
        if let Some(room) = self.open.get(&project)
            && !room.mailbox.is_closed()
        {
            return Ok(Arc::clone(&room));
        }
        let Some(surroundings) = self.surroundings.get() else { anyhow::bail!("the instance is starting") };
        let room = match self.open.entry(project) {
            Entry::Occupied(mut entry) if entry.get().mailbox.is_closed() => {
                let room = Room::start(project, org, surroundings);
                entry.insert(Arc::clone(&room));
                room
            }
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => Arc::clone(&entry.insert(Room::start(project, org, surroundings))),
        };
        crate::metrics::rooms(self.open.len());
        Ok(room)
    }

    /// The project's room, if it is open.
    pub fn find(&self, project: ProjectId) -> Option<Arc<Room>> {
        self.open.get(&project).filter(|room| !room.mailbox.is_closed()).map(|room| Arc::clone(&room))
    }

    /// Tells every open room something small; a room whose mailbox is full misses it.
    pub fn tell_all(&self, message: impl Fn() -> Message) {
        self.open.retain(|_, room| !room.mailbox.is_closed());
        for room in &self.open {
            let _ = room.mailbox.try_send(message());
        }
        crate::metrics::rooms(self.open.len());
    }
}

impl Room {
    fn start(project: ProjectId, org: OrgId, surroundings: &Arc<Surroundings>) -> Arc<Self> {
        let (mailbox, messages) = mpsc::channel(MAILBOX_MAX);
        let (commands, requests) = mpsc::channel(COMMANDS_MAX);
        let room = Arc::new(Self {
            project,
            org,
            mailbox,
            commands,
            tail_start: AtomicI64::new(i64::MAX),
            rights_looks: AtomicU64::new(0),
            snapshots: snapshot::Snapshots::default(),
            reader: surroundings.reader.clone(),
        });
        let tasks = &surroundings.tasks;
        tasks.spawn(fanout::run(Arc::downgrade(&room), room.seat(), messages, Arc::clone(surroundings)));
        tasks.spawn(writer::run(room.seat(), requests, Arc::clone(surroundings)));
        room
    }

    fn seat(&self) -> Seat {
        Seat { project: self.project, org: self.org, mailbox: self.mailbox.downgrade() }
    }

    /// The stream of the log that a channel of this room shows.
    pub fn stream(&self, channel: Channel) -> Uuid {
        match channel {
            Channel::Execution(execution) => execution.0,
            Channel::Project(_) | Channel::Node(_) | Channel::User => self.project.0,
        }
    }

    /// Has the log reader follow the trace of one of the project's executions; false if the room cannot be told of it now.
    pub async fn follow(&self, execution: ExecutionId) -> bool {
        let (reply, follows) = oneshot::channel();
        let track = reader::TrackTrace { execution, project: self.project, reply };
        match self.reader.send(reader::Track::Trace(track)).await {
            Ok(()) => follows.await.is_ok(),
            Err(_) => false,
        }
    }

    /// Hands a command to the writer.
    ///
    /// # Errors
    /// The request itself, when too many wait already.
    pub fn submit(&self, request: Request) -> Result<(), Box<Request>> {
        self.commands.try_send(request).map_err(|e| match e {
            mpsc::error::TrySendError::Full(request) | mpsc::error::TrySendError::Closed(request) => Box::new(request),
        })
    }

    /// Tells the fan-out something and waits for a place in its mailbox.
    ///
    /// # Errors
    /// The room has closed.
    pub async fn tell(&self, message: Message) -> Result<(), Closed> {
        self.mailbox.send(message).await.map_err(|_| Closed)
    }

    /// Tells the fan-out something that may be lost when it is busy.
    pub fn hint(&self, message: Message) {
        let _ = self.mailbox.try_send(message);
    }

    /// The position from which the room can hand over events out of memory.
    pub fn tail_start(&self) -> Seq {
        Seq(self.tail_start.load(Ordering::Acquire))
    }

    /// How often rights were looked at again.
    pub fn rights_looks(&self) -> u64 {
        self.rights_looks.load(Ordering::Acquire)
    }

    /// The whole state, read once for all who join at about the same time.
    pub fn snapshots(&self) -> &snapshot::Snapshots {
        &self.snapshots
    }
}

/// What a room's tasks know of it without keeping it open.
#[derive(Clone)]
pub struct Seat {
    /// The project.
    pub project: ProjectId,
    /// The tenant.
    pub org: OrgId,
    mailbox: mpsc::WeakSender<Message>,
}
