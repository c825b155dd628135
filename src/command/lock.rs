//! `lock_acquire`, `lock_renew`, `lock_release`, `lock_break`, and what a lock refuses.

use glassbox_protocol::client::{LockAcquire, LockBreak, LockRelease, LockRenew};
use glassbox_protocol::entity::LockGrant;
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{Error, ErrorCode, Fence, NodeId};
use serde_json::{Value, json};

use super::{AnswerWith, Applied, Done, Job, Place, gone, not_found};
use crate::auth::rights::ProjectRight;
use crate::config::LOCK_TTL_MS;
use crate::store::locks::{self, Held, Wait};
use crate::store::{Origin, Tx, nodes, notifications, users};

/// Takes the lock, renews the caller's own, or queues up.
pub(super) async fn acquire(tx: &mut Tx, place: Place, job: &Job<'_>, acquire: &LockAcquire) -> sqlx::Result<Applied> {
    if let Err(error) = lock_row(tx, place, acquire.node_id).await? {
        return Ok(Err(error));
    }
    let ttl_ms = acquire.ttl_ms.unwrap_or(LOCK_TTL_MS);
    // Whoever waits comes first.
    locks::grant(tx, acquire.node_id).await?;
    tx.set_origin(&job.origin(), &[]).await?;
    if let Some(held) = locks::held(tx, acquire.node_id).await? {
        if is_own(&held, job) {
            return extend(tx, job, &held, Some(ttl_ms), IsRenewed(true)).await;
        }
        // Only a client with a socket can be told that its turn has come.
        let Some(client) = job.client.filter(|_| acquire.wait == Some(true)) else {
            return Ok(Err(refuse(tx, job, &held).await?));
        };
        let wait = Wait {
            node: acquire.node_id,
            org: place.org,
            user: job.user,
            client,
            instance: place.instance,
            request: job.request,
            ttl_ms,
        };
        let ahead = locks::enqueue(tx, &wait).await?;
        return Ok(Ok(Done::new(Outcome::Adjusted).with_result(json!({
            "waiting": true,
            "place": ahead,
            "lockedBy": held.by,
            "lockExpiresAt": held.expires_at,
        }))));
    }
    Ok(match locks::acquire(tx, acquire.node_id, job.user, ttl_ms).await? {
        Some(fence) => Ok(granted(tx, job, acquire.node_id, fence, ttl_ms, IsRenewed(false)).await?),
        None => Err(Error::new(ErrorCode::LockHeld, "the node was locked a moment ago; try again")),
    })
}

/// Extends the caller's lease.
pub(super) async fn renew(tx: &mut Tx, place: Place, job: &Job<'_>, renew: &LockRenew) -> sqlx::Result<Applied> {
    if let Err(error) = lock_row(tx, place, renew.node_id).await? {
        return Ok(Err(error));
    }
    match locks::held(tx, renew.node_id).await? {
        Some(held) if held.by == job.user && proves(&held, renew.fence) => {
            extend(tx, job, &held, renew.ttl_ms, IsRenewed(true)).await
        }
        _ => Ok(Err(lost())),
    }
}

/// Gives the lock back to whoever waits first, or leaves the queue.
pub(super) async fn release(tx: &mut Tx, place: Place, job: &Job<'_>, release: &LockRelease) -> sqlx::Result<Applied> {
    let rows = nodes::lock(tx, place.project, &[release.node_id]).await?;
    if !rows.contains_key(&release.node_id) {
        return Ok(Err(not_found()));
    }
    let is_out_of_queue = match job.client {
        Some(client) => locks::leave_queue(tx, release.node_id, job.user, client).await?,
        None => false,
    };
    let held = locks::held(tx, release.node_id).await?;
    let mine = held.as_ref().filter(|held| held.by == job.user && proves(held, release.fence));
    if let Some(held) = mine
        && locks::release(tx, release.node_id, job.user, held.fence).await?
    {
        locks::grant(tx, release.node_id).await?;
        return Ok(Ok(Done::applied()));
    }
    Ok(match (held, release.fence, job.client) {
        (Some(_), Some(_), _) => Err(lost()),
        // Without a client there is no queue to leave: the caller meant the lock.
        (Some(held), None, None) => Err(refuse(tx, job, &held).await?),
        _ if is_out_of_queue => Ok(Done::applied()),
        _ => Ok(Done::unchanged()),
    })
}

/// Ends somebody's lock: an agent's for whoever may write, a person's for project admins.
pub(super) async fn break_lock(tx: &mut Tx, place: Place, job: &Job<'_>, wanted: &LockBreak) -> sqlx::Result<Applied> {
    if let Err(error) = lock_row(tx, place, wanted.node_id).await? {
        return Ok(Err(error));
    }
    if users::is_agent(tx, job.user).await? {
        return Ok(Err(Error::new(ErrorCode::Forbidden, "agents break no locks")));
    }
    let held = locks::held(tx, wanted.node_id).await?;
    let right = match &held {
        Some(held) if held.by != job.user && !held.is_agent => ProjectRight::BreakPersonLock,
        _ => ProjectRight::BreakAgentLock,
    };
    if !job.role.is_some_and(|role| role.may(right)) {
        return Ok(Err(Error::new(ErrorCode::Forbidden, "only project admins break the lock of a person")));
    }
    let Some(held) = held else { return Ok(Ok(Done::unchanged())) };
    let origin = Origin { reason: Some("broken"), summary: wanted.reason.clone(), ..job.origin() };
    tx.set_origin(&origin, &[]).await?;
    if !locks::end(tx, wanted.node_id).await? {
        return Ok(Ok(Done::unchanged()));
    }
    locks::grant(tx, wanted.node_id).await?;
    Ok(Ok(Done::applied().with_result(json!({ "brokenFrom": held.by }))))
}

/// Whether a lease was extended, not begun.
struct IsRenewed(bool);

/// Extends a lease that the caller holds.
async fn extend(
    tx: &mut Tx,
    job: &Job<'_>,
    held: &Held,
    ttl_ms: Option<i64>,
    is_renewed: IsRenewed,
) -> sqlx::Result<Applied> {
    Ok(match locks::renew(tx, held.node, job.user, held.fence, ttl_ms).await? {
        Some(expires_in_ms) => Ok(granted(tx, job, held.node, held.fence, expires_in_ms, is_renewed).await?),
        None => Err(lost()),
    })
}

/// Tells the holder of the lease; a caller who does not follow the log is told all of it.
async fn granted(
    tx: &mut Tx,
    job: &Job<'_>,
    node: NodeId,
    fence: Fence,
    expires_in_ms: i64,
    IsRenewed(renewed): IsRenewed,
) -> sqlx::Result<Done> {
    let mut result = json!(LockGrant { fence, expires_in_ms, renewed });
    if job.answer == AnswerWith::Entity
        && let Some(held) = locks::held(tx, node).await?
    {
        result["nodeId"] = json!(node);
        result["lockedAt"] = json!(held.locked_at);
        tell_holder(&held, &mut result);
    }
    Ok(Done::applied().with_result(result))
}

/// Whether a fence, or its absence, speaks for the holder: a lock that belongs to the user needs no proof.
fn proves(held: &Held, fence: Option<Fence>) -> bool {
    match fence {
        Some(fence) => held.fence == fence,
        None => held.client.is_none(),
    }
}

/// A lock that belongs to a user is each of their clients'; one that belongs to a client is that client's alone.
fn is_own(held: &Held, job: &Job<'_>) -> bool {
    held.by == job.user && (held.client.is_none() || held.client == job.client)
}

/// The fence of the lock that the caller's own client holds on a node, if it does.
pub(super) async fn own_fence(tx: &mut Tx, job: &Job<'_>, node: NodeId) -> sqlx::Result<Option<Fence>> {
    let held = locks::held(tx, node).await?;
    Ok(held.filter(|held| held.client.is_some() && is_own(held, job)).map(|held| held.fence))
}

async fn lock_row(tx: &mut Tx, place: Place, node: NodeId) -> sqlx::Result<Result<(), Error>> {
    let rows = nodes::lock(tx, place.project, &[node]).await?;
    Ok(match rows.get(&node) {
        None => Err(not_found()),
        Some(row) if row.deleted_at.is_some() => Err(gone(node)),
        Some(_) => Ok(()),
    })
}

/// Why the node's lock refuses a content change: it is somebody else's, or the given fence is not current.
pub(super) async fn refusal(
    tx: &mut Tx,
    job: &Job<'_>,
    node: NodeId,
    fence: Option<Fence>,
) -> sqlx::Result<Option<Error>> {
    let held = locks::held(tx, node).await?;
    Ok(match (held, fence) {
        (Some(held), fence) if held.by == job.user && proves(&held, fence) => None,
        (_, Some(_)) => Some(lost()),
        (None, None) => None,
        (Some(held), None) => Some(refuse(tx, job, &held).await?),
    })
}

/// `LOCK_HELD` for a node whose lock was just seen.
pub(super) async fn held_error(tx: &mut Tx, job: &Job<'_>, node: NodeId) -> sqlx::Result<Error> {
    Ok(match locks::held(tx, node).await? {
        Some(held) => refuse(tx, job, &held).await?,
        None => Error::new(ErrorCode::LockHeld, "a node was locked a moment ago; try again"),
    }
    .with_node(node))
}

trait WithNode {
    fn with_node(self, node: NodeId) -> Self;
}

impl WithNode for Error {
    fn with_node(mut self, node: NodeId) -> Self {
        let details = self.details.get_or_insert_with(|| json!({}));
        details["nodeId"] = json!(node);
        self
    }
}

/// Says who holds the lock, and notes who was refused: they are told when it ends.
async fn refuse(tx: &mut Tx, job: &Job<'_>, held: &Held) -> sqlx::Result<Error> {
    if held.by != job.user {
        notifications::note_refusal(tx, held.node, held.fence, job.user).await?;
    }
    let who = held.name.as_deref().or(held.email.as_deref()).unwrap_or("somebody else");
    let mut details = json!({ "expiresInMs": held.expires_in_ms });
    tell_holder(held, &mut details);
    Ok(Error::new(ErrorCode::LockHeld, format!("the node is locked by {who}")).with_details(details))
}

fn tell_holder(held: &Held, to: &mut Value) {
    to["lockedBy"] = json!(held.by);
    to["lockExpiresAt"] = json!(held.expires_at);
    if let Some(email) = &held.email {
        to["lockedByEmail"] = json!(email);
    }
    if let Some(name) = &held.name {
        to["lockedByName"] = json!(name);
    }
}

fn lost() -> Error {
    Error::new(ErrorCode::LockLost, "the fence is not current or its lease is over")
}
