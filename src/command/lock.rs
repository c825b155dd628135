//! `lock_acquire`, `lock_renew`, `lock_release`, and what a lock refuses.

use glassbox_protocol::client::{LockAcquire, LockRelease, LockRenew};
use glassbox_protocol::entity::LockGrant;
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{Error, ErrorCode, Fence, NodeId};
use serde_json::json;

use super::{Applied, Done, Job, Place, gone, not_found};
use crate::config::LOCK_TTL_MS;
use crate::store::locks::{self, Held, Wait};
use crate::store::{Tx, nodes};

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
            let expires_in_ms = locks::renew(tx, acquire.node_id, job.user, held.fence, Some(ttl_ms)).await?;
            return Ok(match expires_in_ms {
                Some(expires_in_ms) => {
                    Ok(Done::applied().with_result(json!(LockGrant { fence: held.fence, expires_in_ms })))
                }
                None => Err(lost()),
            });
        }
        // Only a client with a socket can be told that its turn has come.
        let Some(client) = job.client.filter(|_| acquire.wait == Some(true)) else {
            return Ok(Err(held_by(&held)));
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
        Some(fence) => Ok(Done::applied().with_result(json!(LockGrant { fence, expires_in_ms: ttl_ms }))),
        None => Err(Error::new(ErrorCode::LockHeld, "the node was locked a moment ago; try again")),
    })
}

/// Extends the caller's lease.
pub(super) async fn renew(tx: &mut Tx, place: Place, job: &Job<'_>, renew: &LockRenew) -> sqlx::Result<Applied> {
    if let Err(error) = lock_row(tx, place, renew.node_id).await? {
        return Ok(Err(error));
    }
    let renewed = locks::renew(tx, renew.node_id, job.user, renew.fence, renew.ttl_ms).await?;
    Ok(match renewed {
        Some(expires_in_ms) => Ok(Done::applied().with_result(json!(LockGrant { fence: renew.fence, expires_in_ms }))),
        None => Err(lost()),
    })
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
    let Some(fence) = release.fence else {
        return Ok(Ok(if is_out_of_queue { Done::applied() } else { Done::unchanged() }));
    };
    if locks::release(tx, release.node_id, job.user, fence).await? {
        locks::grant(tx, release.node_id).await?;
        return Ok(Ok(Done::applied()));
    }
    Ok(match locks::held(tx, release.node_id).await? {
        Some(_) => Err(lost()),
        None => Ok(Done::unchanged()),
    })
}

/// A lock that belongs to a user is each of their clients'; one that belongs to a client is that client's alone.
fn is_own(held: &Held, job: &Job<'_>) -> bool {
    held.by == job.user && (held.client.is_none() || held.client == job.client)
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
        (Some(held), Some(fence)) if held.fence == fence && held.by == job.user => None,
        (_, Some(_)) => Some(lost()),
        (None, None) => None,
        (Some(held), None) if held.by == job.user && held.client.is_none() => None,
        (Some(held), None) => Some(held_by(&held)),
    })
}

/// `LOCK_HELD` for a node whose lock was just seen.
pub(super) async fn held_error(tx: &mut Tx, node: NodeId) -> sqlx::Result<Error> {
    Ok(match locks::held(tx, node).await? {
        Some(held) => held_by(&held),
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

fn held_by(held: &Held) -> Error {
    let who = held.name.as_deref().or(held.email.as_deref()).unwrap_or("somebody else");
    Error::new(ErrorCode::LockHeld, format!("the node is locked by {who}")).with_details(json!({
        "lockedBy": held.by,
        "lockedByEmail": held.email,
        "lockedByName": held.name,
        "lockExpiresAt": held.expires_at,
        "expiresInMs": held.expires_in_ms,
    }))
}

fn lost() -> Error {
    Error::new(ErrorCode::LockLost, "the fence is not current or its lease is over")
}
