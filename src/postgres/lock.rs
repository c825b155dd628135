//! File locks between processes. The kernel frees them when their owner dies, so none is ever stale.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

const POLL: Duration = Duration::from_millis(50);

/// Waits for the exclusive lock on `path`, which lasts until the returned file is dropped.
pub(super) async fn exclusive(path: &Path, deadline: Duration) -> Result<File> {
    let file = open(path)?;
    let give_up = Instant::now() + deadline;
    while !taken(file.try_lock(), path)? {
        if Instant::now() >= give_up {
            bail!(
                "another process has held {} for {deadline:?}",
                path.display()
            );
        }
        sleep(POLL).await;
    }
    Ok(file)
}

/// Takes the shared lock on `path`, or returns `None` when someone holds it exclusively.
pub(super) fn try_shared(path: &Path) -> Result<Option<File>> {
    let file = open(path)?;
    Ok(taken(file.try_lock_shared(), path)?.then_some(file))
}

/// Takes the exclusive lock on `path`, or returns `None` when someone else holds it in any way.
pub(super) fn try_exclusive(path: &Path) -> Result<Option<File>> {
    let file = open(path)?;
    Ok(taken(file.try_lock(), path)?.then_some(file))
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
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("lock {}", path.display()))
        }
    }
}
