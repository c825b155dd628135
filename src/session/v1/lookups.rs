//! What a session of the older dialect asks the database. It goes on meanwhile: only what was asked after it waits, and the
//! events that follow a state.

use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::event::ReleaseReason;
use glassbox_protocol::server::CloseCode;
use glassbox_protocol::v1::ServerMessage;
use glassbox_protocol::v1::server::{Error, LockReleased, NodeDeleted};
use glassbox_protocol::{Channel, ExecutionId, NodeId, OrgId, ProjectId, UserId};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::channels::{Asked, Pending, away, refusal, unauthorized};
use super::conversation::Session;
use super::locks::{Answered, Wished};
use super::render::Facts;
use super::runs::FOLLOWED_MAX;
use super::stamped;
use crate::app::App;
use crate::room::frame::Frame;
use crate::session::outbound::Lane;
use crate::session::subscription;
use crate::store::{Tenant, facts, members, tree};

/// How long the database may take for an answer.
pub(super) const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);
/// Nodes and channels that a connection remembers; beyond, what was told may be told again.
const REMEMBERED_MAX: usize = 10_000;

/// What the first `subscribe` to a channel is told, and the runs that are under way.
type State = (Vec<ServerMessage>, Vec<ExecutionId>);

/// Something that was done beside the conversation.
pub(super) enum Done {
    /// The place of what was asked last.
    Placed(Channel, Result<(OrgId, ProjectId), Error>),
    /// The state of a channel, for the subscription of that generation.
    Stated(Channel, u32, sqlx::Result<State>),
    /// Unread notifications.
    Backlog(sqlx::Result<Vec<Box<RawValue>>>),
    /// The place of the first wish about a lock.
    Located(Wished, Result<(OrgId, ProjectId), Error>),
    /// The answer to such a wish.
    Answered(Answered),
    /// That the session lives.
    Noted,
}

impl Session {
    /// Goes on with what waited for the database.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Placed(channel, place) => self.placed(channel, place),
            Done::Stated(channel, generation, state) => self.stated(channel, generation, state),
            Done::Backlog(found) => self.tell_backlog(found),
            Done::Located(wished, place) => self.located(wished, place),
            Done::Answered(answered) => self.answered(answered),
            Done::Noted => {}
        }
    }

    // Places ----------------------------------------------------------------------------------------------------

    /// Where a channel belongs, as far as that is known.
    pub(super) fn known_place(&self, channel: Channel) -> Option<(OrgId, ProjectId)> {
        match channel {
            Channel::Project(project) => self.rooms.get(&project).map(|seat| (seat.org, project)),
            Channel::Node(node) => self.places.get(&node).copied(),
            Channel::Execution(_) | Channel::User => None,
        }
    }

    /// Has something wait for where its channel belongs.
    pub(super) fn look_for(&mut self, channel: Channel, asked: Asked) {
        let (app, user) = (Arc::clone(&self.app), self.peer.user.id);
        self.tasks.spawn(async move {
            let place = timeout(LOOKUP_DEADLINE, place_of(&app, user, channel)).await;
            Done::Placed(channel, place.unwrap_or_else(|_| Err(away())))
        });
        self.pending = Some(Pending::Looking(asked));
    }

    fn placed(&mut self, channel: Channel, place: Result<(OrgId, ProjectId), Error>) {
        let Some(Pending::Looking(asked)) = self.pending.take_if(|pending| matches!(pending, Pending::Looking(_)))
        else {
            return;
        };
        match place {
            Ok((org, project)) => {
                if let Channel::Node(node) = channel {
                    if self.places.len() >= REMEMBERED_MAX {
                        self.places.clear();
                    }
                    self.places.insert(node, (org, project));
                }
                self.enter(org, project, asked);
            }
            Err(error) => self.refuse(error, asked),
        }
    }

    // State -----------------------------------------------------------------------------------------------------

    /// Answers a `subscribe`, and then has it told what locks there are, once for each channel; on a resumed ticket also
    /// what ended meanwhile. Events follow from a position that is not later.
    pub(super) fn tell_state(&mut self, project: ProjectId, channel: Channel, answer: Frame) {
        let is_told = self.stated.len() >= REMEMBERED_MAX || self.stated.contains(&channel);
        let Some(seat) = self.rooms.get(&project).filter(|_| !is_told) else { return self.out.send(answer) };
        self.stated.insert(channel);
        let (org, generation) = (seat.org, seat.generation);
        let node = match channel {
            Channel::Node(node) => Some(node),
            Channel::Project(_) | Channel::Execution(_) | Channel::User => None,
        };
        let (app, user, since) = (Arc::clone(&self.app), self.peer.user.id, self.since);
        self.tasks.spawn(async move {
            let state = timeout(LOOKUP_DEADLINE, state_of(&app, user, since, org, project, node)).await;
            Done::Stated(channel, generation, state.unwrap_or(Err(sqlx::Error::PoolTimedOut)))
        });
        self.pending = Some(Pending::Telling { project, channel, generation, answer });
    }

    fn stated(&mut self, wanted: Channel, of: u32, state: sqlx::Result<State>) {
        let (project, answer) = match self.pending.take() {
            Some(Pending::Telling { project, channel, generation, answer })
                if (channel, generation) == (wanted, of) =>
            {
                (project, answer)
            }
            other => {
                self.pending = other;
                return;
            }
        };
        match state {
            Ok((messages, runs)) => {
                self.out.push(&[answer], Lane::Durable, Channel::Project(project));
                for run in runs {
                    self.runs.note_running(project, run);
                }
                for message in messages {
                    self.out.push(&[stamped(message, None)], Lane::Durable, Channel::Project(project));
                }
                // It may be older than an answer that was given meanwhile: that one's event has the last word.
                self.own_requests.retain(|own| !own.is_answered_in(project));
                self.stated_at = Some(Instant::now());
                self.push_backlog();
            }
            Err(error) => {
                debug!(%error, "read the locks of a channel");
                self.peer.outbound.close(CloseCode::ServiceRestart, "the locks could not be read");
            }
        }
    }
}

/// Where a channel belongs whose project or node is there.
async fn place_of(app: &App, user: UserId, channel: Channel) -> Result<(OrgId, ProjectId), Error> {
    let node = match channel {
        Channel::Project(_) => return subscription::locate(app, channel).await.map_err(refusal),
        Channel::Node(node) => node,
        Channel::Execution(_) | Channel::User => return Err(unauthorized()),
    };
    let look = async {
        let Some((org, project)) = members::locate_node(&app.database, node).await? else { return Ok(None) };
        let mut tx = app.database.begin(&Tenant::member(org, user)).await?;
        Ok(tree::is_undeleted(&mut tx, node).await?.then_some((org, project)))
    };
    let found: sqlx::Result<_> = look.await;
    found.map_err(|error| refusal(subscription::unavailable(&error)))?.ok_or_else(unauthorized)
}

/// What the first `subscribe` to a channel is told: what ended while the page was away, then the present locks. With
/// the runs that are under way.
async fn state_of(
    app: &App,
    user: UserId,
    since: Option<OffsetDateTime>,
    org: OrgId,
    project: ProjectId,
    node: Option<NodeId>,
) -> sqlx::Result<State> {
    let mut tx = app.database.begin(&Tenant::member(org, user)).await?;
    let mut messages = Vec::new();
    if let Some(since) = since {
        let missed = facts::missed(&mut tx, project, node, since).await?;
        messages.extend(missed.unlocked.into_iter().map(|node_id| {
            ServerMessage::LockReleased(LockReleased {
                project_id: project,
                node_id,
                locked_by: None,
                locked_by_email: None,
                user_email: None,
                user_name: None,
                released_by: None,
                reason: ReleaseReason::Released,
            })
        }));
        messages.extend(missed.deleted.into_iter().map(|node_id| {
            let message = NodeDeleted { project_id: project, node_id, deleted_by: None, updated_by: None };
            ServerMessage::NodeDeleted(message)
        }));
    }
    let locks = facts::locks(&mut tx, project, node).await?;
    let runs = facts::active_runs(&mut tx, project, node, FOLLOWED_MAX).await?;
    drop(tx);
    let holders: Vec<UserId> = locks.iter().map(facts::Lock::holder).collect();
    let people = app.sessions.renderings.people(&app.database, org, &holders).await?;
    let facts = Facts { people, ..Facts::default() };
    messages.extend(locks.into_iter().map(|lock| {
        let (node, holder) = (lock.node(), lock.holder());
        ServerMessage::LockAcquired(facts.lock_acquired(project, node, holder, lock.locked_at, lock.expires_at))
    }));
    Ok((messages, runs))
}
