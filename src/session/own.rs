//! What a session asks for its user rather than for a project: to go on with a new token, to have read notifications.

use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::client::{NotificationsRead, TokenRefresh};
use glassbox_protocol::server::{Ack, CloseCode, Outcome, TokenRefreshed};
use glassbox_protocol::{Error, ErrorCode, RequestId, Seq, ServerMessage};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::conversation::{Ended, Session};
use super::hello::refusal_of;
use super::peer::Peer;
use super::subscription::unavailable;
use crate::app::App;
use crate::auth;
use crate::store::{Origin, Tenant, events, notifications};

/// Most notifications that one command marks.
const READ_MAX: usize = 500;
/// How long it is tried to mark them while the database is away.
const MARK_DEADLINE: Duration = Duration::from_secs(5);
/// How long between two tries.
const RETRY_DELAY: Duration = Duration::from_millis(100);

impl Session {
    /// Goes on with a new token. One that does not verify changes nothing: the session ends with the token it has. One of
    /// somebody else ends it at once.
    pub(super) async fn refresh_token(
        &mut self,
        refresh: TokenRefresh,
        request_id: Option<RequestId>,
    ) -> Option<Ended> {
        let identity = match auth::authenticate_socket(&self.app, &refresh.token).await {
            Ok(identity) => identity,
            Err(error) => {
                self.fail(refusal_of(&error).1, request_id);
                return None;
            }
        };
        if identity.user != self.peer.user.id {
            self.fail(Error::new(ErrorCode::Unauthenticated, "the token is somebody else's"), request_id);
            return Some(Ended::Violation(CloseCode::TokenInvalid, "the token is somebody else's"));
        }
        self.peer.set_sid(identity.sid);
        self.token_ends_at = identity.expires_at;
        self.is_token_end_told = false;
        let left_s = u64::try_from(identity.expires_at - auth::now()).unwrap_or(0);
        let refreshed = TokenRefreshed { expires_in_ms: left_s.saturating_mul(1000) };
        self.send(ServerMessage::TokenRefreshed(refreshed), request_id);
        None
    }

    /// Marks notifications as read, beside the session. A repeat finds nothing to mark and is answered `unchanged`.
    pub(super) fn read_notifications(&mut self, read: NotificationsRead, request_id: Option<RequestId>) {
        let Some(request) = request_id else {
            return self.fail(Error::validation("requestId", "is required for commands"), None);
        };
        if let NotificationsRead::Some { ids } = &read
            && ids.len() > READ_MAX
        {
            return self.fail(Error::validation("ids", format!("at most {READ_MAX}")), request_id);
        }
        let (app, peer) = (Arc::clone(&self.app), Arc::clone(&self.peer));
        peer.asked();
        self.app.tasks.spawn(async move {
            let message = match mark_until_known(&app, &peer, &read, request).await {
                Ok(ack) => ServerMessage::Ack(ack),
                Err(error) => ServerMessage::Error(error),
            };
            peer.outbound.message(message, request_id);
            peer.answered();
        });
    }
}

/// Marks, and marks again as long as it is not known whether it was committed: a second time changes nothing.
async fn mark_until_known(app: &App, peer: &Peer, read: &NotificationsRead, request: RequestId) -> Result<Ack, Error> {
    let deadline = Instant::now() + MARK_DEADLINE;
    loop {
        match mark_read(app, peer, read, request).await {
            Err(error) if error.temporary && Instant::now() < deadline => sleep(RETRY_DELAY).await,
            answer => return answer,
        }
    }
}

async fn mark_read(app: &App, peer: &Peer, read: &NotificationsRead, request: RequestId) -> Result<Ack, Error> {
    let user = peer.user.id;
    let origin = Origin {
        user: Some(user),
        client: Some(peer.client),
        request: Some(request),
        via: Some(Arc::clone(&peer.via)),
        ..Origin::default()
    };
    let mark = async {
        let mut tx = app.database.begin(&Tenant::user(user)).await?;
        tx.set_origin(&origin, &[]).await?;
        let marked = match read {
            NotificationsRead::Some { ids } => Some(notifications::mark_some(&mut tx, user, ids).await?),
            NotificationsRead::UpTo { up_to } => notifications::mark_up_to(&mut tx, user, *up_to).await?,
        };
        let unread_count = notifications::counts(&mut tx, user).await?.unread;
        let sealed = tx.commit().await?;
        let seq = match sealed.iter().find(|s| s.stream == user.0) {
            Some(sealed) => sealed.head,
            None => events::heads(&app.database, &[user.0]).await?.get(&user.0).copied().unwrap_or(Seq::ZERO),
        };
        Ok((marked, unread_count, seq))
    };
    let (marked, unread_count, seq) = mark.await.map_err(|e: sqlx::Error| unavailable(&e))?;
    let marked = marked.ok_or_else(|| Error::validation("upTo", "refers to something that does not exist"))?;
    Ok(Ack {
        outcome: if marked > 0 { Outcome::Applied } else { Outcome::Unchanged },
        seq,
        version: None,
        result: Some(json!({ "unreadCount": unread_count })),
        details: None,
        duplicate: false,
    })
}
