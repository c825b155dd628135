//! The streams of users: followed while a user has an open session on this instance, for the user's inbox.

use std::collections::HashSet;
use std::sync::Arc;

use glassbox_protocol::{Seq, UserId};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::Reader;
use crate::room::inbox::TrackUser;
use crate::store::events;

impl Reader {
    /// Follows users' streams from their present heads on.
    pub(super) async fn follow_users(&mut self, tracks: Vec<TrackUser>) -> sqlx::Result<()> {
        self.find_heads(tracks.iter().map(|t| t.user).collect()).await?;
        for track in tracks {
            // Whoever has gone away meanwhile needs no answer.
            let _ = track.reply.send(());
        }
        Ok(())
    }

    /// Takes up the streams of those users that are not followed yet.
    async fn find_heads(&mut self, users: HashSet<UserId>) -> sqlx::Result<()> {
        let new: Vec<Uuid> = users.into_iter().filter(|user| !self.users.contains_key(user)).map(|u| u.0).collect();
        if new.is_empty() {
            return Ok(());
        }
        let heads = events::heads(&self.database, &new).await?;
        self.users.extend(new.into_iter().map(|user| (UserId(user), heads.get(&user).copied().unwrap_or_default())));
        Ok(())
    }

    /// Looks at all users' streams, whatever the signals said.
    pub(super) async fn poll_users(&mut self) -> sqlx::Result<()> {
        let inboxes = Arc::clone(&self.inboxes);
        self.users.retain(|user, _| inboxes.has(*user));
        // Somebody came while the database was away.
        self.find_heads(inboxes.users().into_iter().collect()).await?;
        if self.users.is_empty() || self.has_new_life().await? {
            return Ok(());
        }
        // About 100 ms for 20 000 users; rooms do not wait for that. What it finds is noted as a signal would be.
        if self.user_poll.as_ref().is_none_or(JoinHandle::is_finished) {
            let positions: Vec<(Uuid, Seq)> = self.users.iter().map(|(user, position)| (user.0, *position)).collect();
            let database = self.database.clone();
            self.user_poll = Some(tokio::spawn(async move {
                match events::moved(&database, &positions).await {
                    Ok(heads) => database.commits().reader.note(heads),
                    Err(error) => tracing::debug!(%error, "the streams of users cannot be looked at, trying again"),
                }
            }));
        }
        Ok(())
    }
}
