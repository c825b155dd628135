//! Locks in the older dialect: leases of five minutes that belong to the user, through the same writer as everybody's.

use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::client::{LockAcquire, LockRelease};
use glassbox_protocol::event::ReleaseReason;
use glassbox_protocol::v1::ServerMessage;
use glassbox_protocol::v1::server::{Error, ErrorCode, LockReleased};
use glassbox_protocol::{self as protocol, Channel, Command, Fence, NodeId, OrgId, ProjectId, RequestId, UserId};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::conversation::Session;
use super::lookups::Done;
use super::render::Facts;
use super::renderings::Ready;
use crate::room::frame::Frame;
use crate::room::writer::{Answer, Reply, Request};
use crate::session::outbound::Lane;
use crate::store::commands::CommandKey;
use crate::store::members;

/// How long a lock lasts, ms.
const TTL_MS: i64 = 300_000;
/// How long an answer may take: the client gives up after 5 s.
const ANSWER_DEADLINE: Duration = Duration::from_secs(4);
/// Own requests whose events may still come.
const REQUESTS_MAX: usize = 256;

/// What is asked about a node's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Take or renew it.
    Acquire,
    /// Give it back.
    Release,
}

/// What the writer tells of a lease.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lease {
    locked_by: UserId,
    locked_by_email: Option<String>,
    locked_by_name: Option<String>,
    locked_at: String,
    lock_expires_at: String,
    fence: Fence,
}

/// What the writer tells of somebody else's lock.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Holder {
    locked_by: Option<UserId>,
    locked_by_email: Option<String>,
    locked_by_name: Option<String>,
    lock_expires_at: Option<String>,
}

/// Something that is asked about a lock.
pub(super) struct Wished {
    wish: Wish,
    node: NodeId,
    request_id: Option<String>,
    deadline: Instant,
}

/// A request of this connection, until its event has come, if it has one.
pub(super) struct OwnRequest {
    request: RequestId,
    project: ProjectId,
    node: NodeId,
    is_answered: bool,
    /// Its event, which came before the answer,
    event: Option<Frame>,
    /// and the last one of the same lock after that.
    newer: Option<Frame>,
}

impl OwnRequest {
    /// Whether it is one of a project and has its answer.
    pub(super) fn is_answered_in(&self, project: ProjectId) -> bool {
        self.is_answered && self.project == project
    }
}

/// The answer to a request.
pub(super) struct Answered {
    request: RequestId,
    request_id: Option<String>,
    outcome: Result<ServerMessage, Error>,
}

impl Session {
    /// Hands the wish to the writer of the node's room, in the order in which wishes come; the answer comes later.
    pub(super) fn lock(&mut self, wish: Wish, node: NodeId, request_id: Option<String>) {
        self.wishes.push_back(Wished { wish, node, request_id, deadline: Instant::now() + ANSWER_DEADLINE });
        self.next_wishes();
    }

    fn next_wishes(&mut self) {
        while !self.is_locating
            && let Some(wished) = self.wishes.pop_front()
        {
            if let Some((org, project)) = self.places.get(&wished.node) {
                self.submit(wished, *org, *project);
                continue;
            }
            self.is_locating = true;
            let app = Arc::clone(&self.app);
            self.tasks.spawn(async move {
                let place = match timeout_at(wished.deadline, members::locate_node(&app.database, wished.node)).await {
                    Ok(Ok(place)) => place.ok_or_else(not_found),
                    Ok(Err(_)) | Err(_) => Err(away()),
                };
                Done::Located(wished, place)
            });
        }
    }

    /// The node of the first wish was looked up.
    pub(super) fn located(&mut self, wished: Wished, place: Result<(OrgId, ProjectId), Error>) {
        self.is_locating = false;
        match place {
            Ok((org, project)) => self.submit(wished, org, project),
            Err(error) => self.fail(error, wished.request_id),
        }
        self.next_wishes();
    }

    fn submit(&mut self, wished: Wished, org: OrgId, project: ProjectId) {
        let Wished { wish, node, request_id, deadline } = wished;
        let Ok(room) = self.app.rooms.open(project, org) else { return self.fail(away(), request_id) };
        let command = match wish {
            Wish::Acquire => Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: Some(TTL_MS), wait: None }),
            Wish::Release => Command::LockRelease(LockRelease { node_id: node, fence: None }),
        };
        let request = RequestId::random();
        let own = OwnRequest { request, project, node, is_answered: false, event: None, newer: None };
        self.own_requests.push_back(own);
        if self.own_requests.len() > REQUESTS_MAX {
            self.own_requests.pop_front();
        }
        let key = CommandKey { user: self.peer.user.id, client: None, request };
        let (reply, answer) = oneshot::channel();
        let command = Request::new(key, command, Arc::clone(&self.peer.via), Reply::Caller(reply));
        self.peer.asked();
        if let Err(refused) = room.submit(command) {
            refused.answer(Err(protocol::Error::new(protocol::ErrorCode::ProjectBusy, "too many commands wait")));
        }
        let user = self.peer.user.clone();
        self.tasks.spawn(async move {
            let outcome = match timeout_at(deadline, answer).await {
                Ok(Ok(answer)) => told(wish, project, node, &user, answer),
                Ok(Err(_)) | Err(_) => Err(away()),
            };
            Done::Answered(Answered { request, request_id, outcome })
        });
    }

    /// Tells the answer, and what makes it right if events of the same lock have come before it.
    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered { request, request_id, outcome } = answered;
        let at = self.own_requests.iter().position(|own| own.request == request);
        let is_done = outcome.is_ok();
        self.answer(outcome.unwrap_or_else(ServerMessage::Error), request_id);
        self.peer.answered();
        let Some(at) = at else { return };
        if is_done && self.own_requests[at].event.is_none() {
            self.own_requests[at].is_answered = true;
            return;
        }
        // What got no answer in time may have been done all the same, or be done later: then its event is news.
        let Some(own) = self.own_requests.remove(at) else { return };
        let late = own.event.filter(|_| !is_done).into_iter().chain(own.newer);
        for frame in late {
            self.out.push(&[frame], Lane::Durable, Channel::Project(own.project));
        }
    }

    /// Whether an event of a lock is what this connection has an answer for, or will have. Not if something else became
    /// of the lock between the answer and the event: told after the answer, it would have the last word.
    pub(super) fn is_answered_apart(&mut self, ready: &Ready, request: Option<RequestId>) -> bool {
        if let Some(at) = self.own_requests.iter().position(|own| Some(own.request) == request) {
            match self.own_requests[at].is_answered {
                true => drop(self.own_requests.remove(at)),
                false => self.own_requests[at].event = Some(ready.frame.clone()),
            }
            return true;
        }
        self.own_requests.retain(|own| own.node != ready.node || !own.is_answered);
        for own in self.own_requests.iter_mut().filter(|own| own.node == ready.node && own.event.is_some()) {
            own.newer = Some(ready.frame.clone());
        }
        false
    }
}

fn told(
    wish: Wish,
    project: ProjectId,
    node: NodeId,
    user: &protocol::server::User,
    answer: Answer,
) -> Result<ServerMessage, Error> {
    let ack = answer.map_err(refusal)?;
    Ok(match wish {
        Wish::Acquire => {
            let lease: Lease = serde_json::from_value(ack.result.unwrap_or_default()).map_err(|_| defect())?;
            let Lease { locked_by, locked_at, lock_expires_at, fence, .. } = lease;
            let mut message = Facts::default().lock_acquired(project, node, locked_by, locked_at, lock_expires_at);
            if let Some(email) = lease.locked_by_email {
                message.locked_by_email.clone_from(&email);
                message.user_email = email;
            }
            message.user_name = lease.locked_by_name;
            message.fence = Some(fence);
            ServerMessage::LockAcquired(message)
        }
        Wish::Release => ServerMessage::LockReleased(LockReleased {
            project_id: project,
            node_id: node,
            locked_by: Some(user.id),
            locked_by_email: user.email.clone(),
            user_email: user.email.clone(),
            user_name: user.name.clone(),
            released_by: Some(user.id),
            reason: ReleaseReason::Released,
        }),
    })
}

/// What the writer refuses, in the words of this dialect.
fn refusal(error: protocol::Error) -> Error {
    use protocol::ErrorCode as Code;
    match error.code {
        Code::NotFound | Code::Gone => not_found(),
        Code::Forbidden => Error::new(ErrorCode::Forbidden, error.message),
        Code::LockHeld => {
            let holder: Holder =
                error.details.and_then(|details| serde_json::from_value(details).ok()).unwrap_or_default();
            Error {
                locked_by: holder.locked_by,
                locked_by_email: holder.locked_by_email,
                locked_by_name: holder.locked_by_name,
                expires_at: holder.lock_expires_at,
                ..Error::new(ErrorCode::LockHeld, error.message)
            }
        }
        Code::Unavailable | Code::ProjectBusy => away(),
        Code::BadMessage
        | Code::UnknownType
        | Code::Unauthenticated
        | Code::InvalidChannel
        | Code::Validation
        | Code::VersionConflict
        | Code::LockLost
        | Code::Cycle
        | Code::IdempotencyConflict
        | Code::RateLimited
        | Code::TooLarge
        | Code::Internal => defect(),
    }
}

fn not_found() -> Error {
    Error::new(ErrorCode::NotFound, "no such node")
}

fn away() -> Error {
    Error::new(ErrorCode::InternalError, "the database did not answer in time: try again")
}

fn defect() -> Error {
    Error::new(ErrorCode::InternalError, "something went wrong on the server")
}
