//! Locks in the older dialect: leases of five minutes that belong to the user, through the same writer as everybody's.

use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::client::{LockAcquire, LockRelease};
use glassbox_protocol::event::ReleaseReason;
use glassbox_protocol::v1::ServerMessage;
use glassbox_protocol::v1::server::{Error, ErrorCode, LockReleased};
use glassbox_protocol::{self as protocol, Command, Fence, NodeId, ProjectId, RequestId, UserId};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::conversation::Session;
use super::render::Facts;
use super::stamped;
use crate::room::writer::{Answer, Reply, Request};
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

impl Session {
    /// Hands the wish to the writer of the node's room, in the order in which wishes come; the answer comes later.
    pub(super) async fn lock(&mut self, wish: Wish, node: NodeId, request_id: Option<String>) {
        let deadline = Instant::now() + ANSWER_DEADLINE;
        let located = match self.places.get(&node) {
            Some(place) => Ok(Some(*place)),
            None => match timeout_at(deadline, members::locate_node(&self.app.database, node)).await {
                Ok(located) => located.map_err(|_| away()),
                Err(_) => Err(away()),
            },
        };
        let (org, project) = match located {
            Ok(Some(place)) => place,
            Ok(None) => return self.fail(not_found(), request_id),
            Err(error) => return self.fail(error, request_id),
        };
        let Ok(room) = self.app.rooms.open(project, org) else { return self.fail(away(), request_id) };
        let command = match wish {
            Wish::Acquire => Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: Some(TTL_MS), wait: None }),
            Wish::Release => Command::LockRelease(LockRelease { node_id: node, fence: None }),
        };
        let request = RequestId::random();
        self.own_requests.push_back(request);
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
        let (peer, out) = (Arc::clone(&self.peer), Arc::clone(&self.out));
        self.answers.spawn(async move {
            let answer = match timeout_at(deadline, answer).await {
                Ok(Ok(answer)) => told(wish, project, node, &peer.user, answer),
                Ok(Err(_)) | Err(_) => Err(away()),
            };
            let message = answer.unwrap_or_else(ServerMessage::Error);
            out.send(stamped(message, request_id));
            peer.answered();
        });
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
