//! Notifications in the older dialect: what is new as it comes, and what came while no page of the user was there.

use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::entity::Notification;
use glassbox_protocol::v1::ServerMessage;
use glassbox_protocol::v1::server as v1;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::conversation::Session;
use super::lookups::{Done, LOOKUP_DEADLINE};
use super::stamped;
use crate::store::{Tenant, notifications};

/// Most notifications that are pushed to a page that has just come.
const BACKLOG_MAX: i64 = 50;
/// How soon they are asked for again when the database was away.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

impl Session {
    /// Pushes a notification, unless the page has it.
    pub(super) fn notify(&mut self, notification: Notification) {
        // Only those that came about when the page did can come twice.
        if self.told.len() <= BACKLOG_MAX as usize * 2 && !self.told.insert(notification.id) {
            return;
        }
        let message = ServerMessage::Notification(Box::new(rendered(notification)));
        self.out.send(stamped(message, None));
    }

    /// Looks up what the user has not read and no page of theirs was there to hear.
    pub(super) fn push_backlog(&mut self) {
        if self.backlog_due.take().is_none() {
            return;
        }
        let (app, user, heard_at) = (Arc::clone(&self.app), self.peer.user.id, self.heard_at);
        let read = async move {
            let mut tx = app.database.begin(&Tenant::user(user)).await?;
            notifications::unread_since(&mut tx, user, heard_at, BACKLOG_MAX).await
        };
        self.tasks.spawn(async move {
            Done::Backlog(timeout(LOOKUP_DEADLINE, read).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)))
        });
    }

    /// Pushes what was found.
    pub(super) fn tell_backlog(&mut self, found: sqlx::Result<Vec<Box<RawValue>>>) {
        match found {
            Ok(rows) => {
                for row in rows {
                    match serde_json::from_str(row.get()) {
                        Ok(notification) => self.notify(notification),
                        Err(error) => warn!(%error, "a notification cannot be read"),
                    }
                }
                self.backlog_at = Some(Instant::now());
            }
            Err(error) => {
                warn!(%error, "read unread notifications, trying again");
                self.backlog_due = Some(Instant::now() + RETRY_INTERVAL);
            }
        }
    }
}

fn rendered(notification: Notification) -> v1::Notification {
    let Notification {
        id,
        user_id,
        org_id,
        kind,
        title,
        body,
        resource_type,
        resource_id,
        project_id,
        node_id,
        read_at,
        created_at,
    } = notification;
    let message = body.unwrap_or_default();
    v1::Notification {
        id,
        notification_type: name_of(&kind).to_owned(),
        title,
        body: message.clone(),
        message,
        created_at,
        read: read_at.is_some(),
        project_id,
        node_id,
        user_id,
        org_id,
        kind,
        resource_type,
        resource_id,
        read_at,
    }
}

/// What the older client calls a type; it knows icons for some.
fn name_of(kind: &str) -> &str {
    match kind {
        "execution_complete" => "execution_completed",
        "human_input_needed" => "hitl_request",
        other => other,
    }
}
