//! A session as rooms see it: who it is, where its frames go, and what they have to tell it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use glassbox_protocol::server::{UnsubscribedReason, User};
use glassbox_protocol::{Channel, ClientId, Seq, SessionId};
use tokio::sync::Notify;

use super::outbound::Outbound;
use crate::auth::sid::Sid;
use crate::store::Via;

/// The shared side of a session.
pub struct Peer {
    /// Names the session.
    pub session: SessionId,
    /// The client behind it; kept over reconnects.
    pub client: ClientId,
    /// Who is calling,
    pub user: User,
    /// and from where.
    pub via: Arc<Via>,
    /// The sign-in that ends the session when it ends; another one after the token was refreshed.
    sid: Mutex<Sid>,
    /// What waits for the client.
    pub outbound: Outbound,
    /// Commands without an answer.
    unanswered: AtomicUsize,
    has_ended: AtomicBool,
    all_answered: Notify,
    notices: Mutex<Vec<Notice>>,
    has_notices: Notify,
}

/// What a room tells a session about its subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The subscription,
    pub channel: Channel,
    /// which may have been replaced since.
    pub generation: u32,
    /// What became of it.
    pub news: News,
}

/// What became of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is over.
    Lost(UnsubscribedReason),
    /// It has to take the whole state anew.
    Restart,
    /// It reads on from here by itself: more came at once than may be queued.
    Continue(Seq),
}

impl Peer {
    /// Makes the shared side of a session.
    pub fn new(
        session: SessionId,
        client: ClientId,
        user: User,
        via: Arc<Via>,
        sid: Sid,
        outbound_bytes_max: usize,
    ) -> Self {
        Self {
            session,
            client,
            user,
            via,
            sid: Mutex::new(sid),
            outbound: Outbound::new(outbound_bytes_max),
            unanswered: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
            all_answered: Notify::new(),
            notices: Mutex::default(),
            has_notices: Notify::new(),
        }
    }

    /// The sign-in that the session belongs to.
    pub fn sid(&self) -> Sid {
        *self.sid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session belongs to another sign-in of the same user from now on.
    pub fn set_sid(&self, sid: Sid) {
        *self.sid.lock().unwrap_or_else(PoisonError::into_inner) = sid;
    }

    /// The session is over; rooms that were not told let go of it by themselves.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// Whether the session is over.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// A command went to a writer.
    pub fn asked(&self) {
        self.unanswered.fetch_add(1, Ordering::AcqRel);
    }

    /// A command's answer is queued.
    pub fn answered(&self) {
        if self.unanswered.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all_answered.notify_waiters();
        }
    }

    /// Waits until every command has its answer.
    pub async fn is_answered(&self) {
        loop {
            let answered = self.all_answered.notified();
            if self.unanswered.load(Ordering::Acquire) == 0 {
                return;
            }
            answered.await;
        }
    }

    /// A room has something to say about a subscription.
    pub fn notice(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
        self.has_notices.notify_one();
    }

    /// Waits for notices and takes them. At most one per open channel and room waits at a time.
    pub async fn notices(&self) -> Vec<Notice> {
        loop {
            let taken = std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken;
            }
            self.has_notices.notified().await;
        }
    }
}
