//! The page behind a session of the older dialect: its ticket opens the next connection, and says when this one lived.

use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::server::CloseCode;
use tokio::time::Instant;
use tracing::warn;

use super::channels::Pending;
use super::conversation::Session;
use super::lookups::Done;
use crate::app::App;
use crate::auth::Page;
use crate::store::Tenant;
use crate::store::tickets::{self, Sign, Standing};

/// How long a session that ends waits for its end to be noted.
const END_DEADLINE: Duration = Duration::from_secs(2);

impl Session {
    /// Notes when the session ended, or rather when its client was last there.
    pub(super) async fn note_end(&self) {
        let seen = tokio::time::timeout(END_DEADLINE, note_seen(&self.app, &self.page, self.sign()));
        if let Ok(Err(error)) = seen.await {
            warn!(%error, "note when a session ended");
        }
    }

    fn sign(&self) -> Sign {
        // What was queued after the last sign of life may not have arrived.
        let has_come = |at: Option<Instant>| at.is_some_and(|at| at < self.alive_at);
        Sign {
            session: self.page.session,
            alive_at: self.alive_at,
            has_stated: has_come(self.stated_at) && !matches!(self.pending, Some(Pending::Telling { .. })),
            has_told: has_come(self.backlog_at),
        }
    }

    /// Notes that the session lives, and ends it if it should not: on another instance nobody else would.
    pub(super) fn look_at_ticket(&mut self) {
        self.seen_at = Instant::now();
        let (app, peer, page, sign) = (Arc::clone(&self.app), Arc::clone(&self.peer), self.page.clone(), self.sign());
        self.tasks.spawn(async move {
            match note_seen(&app, &page, sign).await {
                Ok(Standing::Newest) => {}
                Ok(Standing::Replaced) => peer.outbound.close(CloseCode::Replaced, "a newer connection took over"),
                Ok(Standing::Gone) => peer.outbound.close(CloseCode::AccessRevoked, "the user is gone"),
                Err(error) => warn!(%error, "note that a session lives"),
            }
            Done::Noted
        });
    }
}

async fn note_seen(app: &App, page: &Page, sign: Sign) -> sqlx::Result<Standing> {
    let user = page.identity.user;
    let mut tx = app.database.begin(&Tenant::user(user)).await?;
    let standing = tickets::note_seen(&mut tx, page.ticket, user, sign).await?;
    tx.commit().await?;
    Ok(standing)
}
