//! Notifications in the older dialect: what is new as it comes, and what came while no page of the user was there.

use glassbox_protocol::entity::Notification;
use glassbox_protocol::v1::ServerMessage;
use glassbox_protocol::v1::server as v1;
use tracing::warn;

use super::conversation::Session;
use super::stamped;
use crate::store::{Tenant, notifications};

/// Most notifications that are pushed to a page that has just come.
const BACKLOG_MAX: i64 = 50;

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

    /// Pushes what the user has not read and no page of theirs was there to hear.
    pub(super) async fn push_backlog(&mut self) {
        if self.has_backlog {
            return;
        }
        self.has_backlog = true;
        let user = self.peer.user.id;
        let read = async {
            let mut tx = self.app.database.begin(&Tenant::user(user)).await?;
            notifications::unread_since(&mut tx, user, self.heard_at, BACKLOG_MAX).await
        };
        match read.await {
            Ok(rows) => {
                for row in rows {
                    match serde_json::from_str(row.get()) {
                        Ok(notification) => self.notify(notification),
                        Err(error) => warn!(%error, "a notification cannot be read"),
                    }
                }
            }
            // They are in the list that REST serves.
            Err(error) => warn!(%error, "read unread notifications"),
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
