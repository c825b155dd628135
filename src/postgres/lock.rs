//! File locks between processes. The kernel frees them when their owner dies, so none is ever stale.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::time::{Instant, sleep};

const POLL: Duration = Duration::from_millis(50);

/// Waits for the exclusive lock on `path`, which lasts until the returned file is dropped; `None` after the deadline.
pub(super) async fn exclusive_within(path: &Path, deadline: Duration) -> Result<Option<File>> {
    let file = open(path)?;
    let give_up = Instant::now() + deadline;
    while !taken(file.try_lock(), path)? {
        if Instant::now() >= give_up {
            return Ok(None);
        }
        sleep(POLL).await;
    }
    Ok(Some(file))
}

/// Waits for the exclusive lock on `path` as one that we cannot do without.
pub(super) async fn exclusive(path: &Path, deadline: Duration) -> Result<File> {
    exclusive_within(path, deadline)
        .await?
        .ok_or_else(|| anyhow!("another process has held {} for {deadline:?}", path.display()))
}

/// Takes the shared lock on `path`, or returns `None` when someone holds it exclusively.
pub(super) fn try_shared(path: &Path) -> Result<Option<File>> {
    let file = open(path)?;
    Ok(taken(file.try_lock_shared(), path)?.then_some(file))
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

fn taken(outcome: Result<(), TryLockError>, path: &Path) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}
