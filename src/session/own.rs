//! What a session asks for its user rather than for a project: to go on with a new token, to have read notifications.

use glassbox_protocol::client::{NotificationsRead, TokenRefresh};
use glassbox_protocol::server::{Ack, CloseCode, Outcome, TokenRefreshed};
use glassbox_protocol::{Error, ErrorCode, RequestId, Seq, ServerMessage};
use serde_json::json;

use super::conversation::{Ended, Session};
use super::hello::refusal_of;
use super::subscription::unavailable;
use crate::auth;
use crate::store::{Origin, Tenant, events, notifications};

/// Most notifications that one command marks.
const READ_MAX: usize = 500;

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

    /// Marks notifications as read. A repeat finds nothing to mark and is answered `unchanged`.
    pub(super) async fn read_notifications(&mut self, read: NotificationsRead, request_id: Option<RequestId>) {
        let Some(request) = request_id else {
            return self.fail(Error::validation("requestId", "is required for commands"), None);
        };
        match self.mark_read(read, request).await {
            Ok(ack) => self.send(ServerMessage::Ack(ack), request_id),
            Err(error) => self.fail(error, request_id),
        }
    }

    async fn mark_read(&self, read: NotificationsRead, request: RequestId) -> Result<Ack, Error> {
        if let NotificationsRead::Some { ids } = &read
            && ids.len() > READ_MAX
        {
            return Err(Error::validation("ids", format!("at most {READ_MAX}")));
        }
        let user = self.peer.user.id;
        let origin = Origin {
            user: Some(user),
            client: Some(self.peer.client),
            request: Some(request),
            via: Some(self.peer.via.clone()),
            ..Origin::default()
        };
        let app = &self.app;
        let mut tx = app.database.begin(&Tenant::user(user)).await.map_err(|e| unavailable(&e))?;
        let marked = async {
            tx.set_origin(&origin, &[]).await?;
            let marked = match &read {
                NotificationsRead::Some { ids } => Some(notifications::mark_some(&mut tx, user, ids).await?),
                NotificationsRead::UpTo { up_to } => notifications::mark_up_to(&mut tx, user, *up_to).await?,
            };
            Ok::<_, sqlx::Error>((marked, notifications::counts(&mut tx, user).await?.unread))
        };
        let (marked, unread_count) = marked.await.map_err(|e| unavailable(&e))?;
        let Some(marked) = marked else {
            return Err(Error::validation("upTo", "refers to something that does not exist"));
        };
        let sealed = tx.commit().await.map_err(|e| unavailable(&e))?;
        let seq = match sealed.iter().find(|s| s.stream == user.0) {
            Some(sealed) => sealed.head,
            None => {
                let heads = events::heads(&app.database, &[user.0]).await.map_err(|e| unavailable(&e))?;
                heads.get(&user.0).copied().unwrap_or(Seq::ZERO)
            }
        };
        Ok(Ack {
            outcome: if marked > 0 { Outcome::Applied } else { Outcome::Unchanged },
            seq,
            version: None,
            result: Some(json!({ "unreadCount": unread_count })),
            details: None,
            duplicate: false,
        })
    }
}
