//! The end of leases: time passing makes no event by itself, so every instance looks about once a second for locks
//! whose lease is over and for free locks that somebody waits for. Instances pass over each other's rows.

use std::time::Duration;

use glassbox_protocol::ServerMessage;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::app::SharedApp;
use crate::command;
use crate::store::{Failure, locks};

/// How often to look. With the lease it bounds how long a vanished holder keeps others waiting.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// Ends leases until told to stop.
pub async fn sweep(app: SharedApp, stop: CancellationToken) {
    let database = &app.database;
    let mut tick = interval(SWEEP_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        match end_waits(&app).await {
            Ok(()) => {}
            Err(error) => debug!(%error, "waits for locks cannot be looked at, trying again"),
        }
        match locks::sweep(database).await {
            Ok(projects) if projects.is_empty() => {}
            Ok(projects) => debug!(projects = projects.len(), "leases ended or were handed on"),
            Err(error) if Failure::of(&error) == Failure::Defect => error!(%error, "end leases"),
            Err(error) => debug!(%error, "leases cannot be looked at, trying again"),
        }
    }
}

/// Tells those whose wait is over because the node is deleted; whoever deleted it, and however.
async fn end_waits(app: &SharedApp) -> sqlx::Result<()> {
    for wait in locks::end_waits(&app.database, app.instance).await? {
        if let Some(peer) = app.sessions.find(wait.user, wait.client) {
            peer.outbound.message(ServerMessage::Error(command::gone(wait.node)), Some(wait.request));
        }
    }
    Ok(())
}
