//! The channels of a session: opened by joins that run beside it, closed by the client, the room, or the end.

use std::collections::HashSet;
use std::sync::Arc;

use glassbox_protocol::client::Subscribe;
use glassbox_protocol::server::{CloseCode, Unsubscribed, UnsubscribedReason};
use glassbox_protocol::{Channel, ClientId, Error, ErrorCode, OrgId, RequestId, ServerMessage, UserId};
use tracing::debug;

use super::conversation::{Open, Session};
use super::peer::{News, Notice};
use super::subscription::{self, Start};
use crate::app::App;
use crate::room::presence::Departure;
use crate::room::{Message, Room};
use crate::store::{Tenant, locks};

impl Session {
    pub(super) async fn subscribe(&mut self, subscribe: Subscribe, request: Option<RequestId>) -> Result<(), Error> {
        let channel = subscribe.channel;
        if channel == Channel::User {
            return Err(subscription::needs_none());
        }
        self.unsubscribe(channel).await;
        if self.open.len() >= self.app.limits.channels {
            return Err(Error::validation("channel", format!("at most {} channels", self.app.limits.channels)));
        }
        let (org, project) = subscription::locate(&self.app, channel).await?;
        let room = self.open_room(project, org)?;
        self.open.insert(channel, Open { request, generation: self.generation, room, is_live: false, was_live: false });
        self.start_join(channel, Start::new(subscribe.from));
        Ok(())
    }

    fn start_join(&mut self, channel: Channel, start: Start) {
        let Some(open) = self.open.get(&channel) else { return };
        let (app, room, peer) = (Arc::clone(&self.app), Arc::clone(&open.room), Arc::clone(&self.peer));
        let generation = open.generation;
        let handle = self.joins.spawn(async move {
            let outcome = subscription::join(&app, room, &peer, channel, generation, start).await;
            (channel, generation, outcome)
        });
        self.join_handles.insert(channel, handle);
    }

    pub(super) fn joined(&mut self, channel: Channel, generation: u32, outcome: Result<Arc<Room>, Error>) {
        // The outcome of a subscription that has been left in the meantime is nobody's.
        let Some(open) = self.open.get_mut(&channel).filter(|o| o.generation == generation) else { return };
        self.join_handles.remove(&channel);
        match outcome {
            Ok(room) => {
                open.room = room;
                (open.is_live, open.was_live) = (true, true);
            }
            // It was live until it had to join again, and by then the right was gone.
            Err(error) if open.was_live && error.code == ErrorCode::NotFound => {
                self.peer.outbound.purge(channel);
                let reason = UnsubscribedReason::Revoked;
                self.send(ServerMessage::Unsubscribed(Unsubscribed { channel, reason: Some(reason) }), None);
                self.lose(channel, reason);
            }
            // Nobody waits for the answer to a subscribe any more: the client comes back and resumes.
            Err(error) if open.was_live => self.peer.outbound.close(CloseCode::InternalError, error.message),
            Err(error) => {
                let request = open.request;
                self.open.remove(&channel);
                self.generation += 1;
                self.peer.outbound.purge(channel);
                self.fail(error, request);
            }
        }
    }

    /// Leaves a channel; one that is not open stays so.
    pub(super) async fn unsubscribe(&mut self, channel: Channel) {
        let Some(open) = self.open.remove(&channel) else { return };
        if let Some(join) = self.join_handles.remove(&channel) {
            join.abort();
        }
        self.generation += 1;
        let leave = Message::Leave { session: self.peer.session, channel, departure: Departure::Clean };
        // A room that has closed has let go of its members.
        let _ = open.room.tell(leave).await;
        self.peer.outbound.purge(channel);
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        let Notice { channel, generation, news } = notice;
        // What became of a subscription that has been replaced in the meantime is nobody's.
        if self.open.get(&channel).is_none_or(|open| open.generation != generation) {
            return;
        }
        match news {
            News::Lost(reason) => self.lose(channel, reason),
            News::Restart => self.join_again(channel, Start::Restart),
            News::Continue(position) => self.join_again(channel, Start::Continue(position)),
        }
    }

    /// A subscription is over, and its client knows. Whoever has nothing left to look at is told to stay away.
    fn lose(&mut self, channel: Channel, reason: UnsubscribedReason) {
        self.open.remove(&channel);
        self.generation += 1;
        if self.open.is_empty() {
            let (code, text) = match reason {
                UnsubscribedReason::Revoked => (CloseCode::AccessRevoked, "access revoked"),
                UnsubscribedReason::Deleted => (CloseCode::Gone, "the project is gone"),
            };
            self.peer.outbound.close(code, text);
        }
    }

    fn join_again(&mut self, channel: Channel, start: Start) {
        if let Some(open) = self.open.get_mut(&channel) {
            open.is_live = false;
            self.start_join(channel, start);
        }
    }

    pub(super) async fn leave_all(&mut self, departure: Departure, is_farewell: bool) {
        self.joins.abort_all();
        // Aborted joins have let go of the room before the session says that it leaves.
        while self.joins.join_next().await.is_some() {}
        let mut orgs = HashSet::new();
        for (channel, open) in self.open.drain() {
            let leave = Message::Leave { session: self.peer.session, channel, departure };
            let _ = open.room.tell(leave).await;
            orgs.insert(open.room.org);
        }
        if self.has_waited && is_farewell {
            for org in orgs {
                self.app.leave_queues(org, self.peer.user.id, self.peer.client).await;
            }
        }
    }
}

impl App {
    /// Takes a client that has left out of the queues for locks; best effort: whoever is lost without a
    /// word gets the lock in turn, and its lease ends.
    async fn leave_queues(&self, org: OrgId, user: UserId, client: ClientId) {
        let leave = async {
            let mut tx = self.database.begin(&Tenant::member(org, user)).await?;
            locks::leave_all_queues(&mut tx, user, client).await?;
            tx.commit().await
        };
        if let Err(error) = leave.await {
            debug!(%error, "leave the queues for locks");
        }
    }
}
