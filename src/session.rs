//! One WebSocket: who is calling, which rooms it is in, what it asks.
//!
//! A session is one task. It reads frames and writes queued ones at the same time; commands go to the room's writer,
//! answers and events come back through the session's queue. It ends when the client closes or is lost, when it breaks
//! the rules, when its token ends, when a newer session of the same client takes over, or when the instance drains.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use glassbox_protocol::server::{CloseCode, Moving, User};
use glassbox_protocol::{ClientId, ServerMessage, SessionId, UserId};
use rand::RngExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument as _, debug, info_span};

use crate::app::App;
use crate::auth::Identity;
use crate::auth::sid::Sid;
use crate::config::HELLO_DEADLINE;
use crate::room::inbox::Inboxes;
use crate::store::Via;

mod channels;
mod commands;
mod conversation;
pub mod decode;
mod heart;
mod hello;
pub mod outbound;
mod own;
pub mod peer;
pub mod socket;
pub mod subscription;
pub mod v1;

use conversation::Session;
use hello::{Farewell, greet};
use peer::Peer;
use socket::Reader;

/// How long a session may outlive its token, s.
const TOKEN_GRACE_S: i64 = 25;

/// How long a draining instance waits for the answers to what a client has asked.
const ANSWERS_DEADLINE: Duration = Duration::from_secs(3);

/// The sessions of this instance.
pub struct Sessions {
    open: DashMap<SessionId, Arc<Peer>>,
    by_client: DashMap<(UserId, ClientId), SessionId>,
    inboxes: Arc<Inboxes>,
    renderings: v1::renderings::Renderings,
}

/// What a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// `glassbox.v2`.
    V2,
    /// The older one.
    V1,
}

impl Dialect {
    fn name(self) -> &'static str {
        match self {
            Dialect::V2 => "v2",
            Dialect::V1 => "v1",
        }
    }
}

impl Sessions {
    /// No session yet; each that comes gets what is in its user's inbox.
    pub fn new(inboxes: Arc<Inboxes>) -> Self {
        Self { open: DashMap::new(), by_client: DashMap::new(), inboxes, renderings: Default::default() }
    }

    /// Closes the sockets that a user opened here with the sign-in `sid`.
    pub fn end(&self, user: UserId, sid: Sid) {
        self.inboxes.end(user, sid);
    }

    /// How many sessions are open.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// The open sessions' shared sides.
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        self.open.iter().map(|p| Arc::clone(&p)).collect()
    }

    /// The open session of a client.
    pub fn find(&self, user: UserId, client: ClientId) -> Option<Arc<Peer>> {
        let session = *self.by_client.get(&(user, client))?;
        self.open.get(&session).map(|peer| Arc::clone(&peer))
    }

    /// Tells every client to go elsewhere, each after a delay of its own within the drain time, and closes it then.
    pub async fn drain(&self, within: Duration) {
        let mut clients = JoinSet::new();
        let peers = self.peers();
        let share = within.checked_div(u32::try_from(peers.len()).unwrap_or(u32::MAX)).unwrap_or(within);
        for (n, peer) in (0..).zip(peers) {
            // One after the other, each somewhere in its own share of the time: no moment sees many go.
            let delay = share.saturating_mul(n) + share.mul_f64(rand::rng().random_range(0.0..1.0));
            let retry_after_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            peer.outbound.message(ServerMessage::Moving(Moving { retry_after_ms }), None);
            clients.spawn(async move {
                // A client that follows the hint is gone by then.
                tokio::time::sleep(Duration::from_millis(retry_after_ms)).await;
                let _ = timeout(ANSWERS_DEADLINE, peer.is_answered()).await;
                peer.outbound.close(CloseCode::ServiceRestart, "the instance restarts");
            });
        }
        clients.join_all().await;
    }

    fn enter(&self, peer: &Arc<Peer>, dialect: Dialect) {
        self.open.insert(peer.session, Arc::clone(peer));
        let former = self.by_client.insert((peer.user.id, peer.client), peer.session);
        if let Some(former) = former.and_then(|id| self.open.get(&id).map(|p| Arc::clone(&p))) {
            former.outbound.close(CloseCode::Replaced, "a newer session of this client took over");
        }
        crate::metrics::sessions(dialect.name(), 1);
    }

    fn leave(&self, peer: &Peer, dialect: Dialect) {
        self.open.remove(&peer.session);
        self.inboxes.leave(peer);
        self.by_client.remove_if(&(peer.user.id, peer.client), |_, id| *id == peer.session);
        crate::metrics::sessions(dialect.name(), -1);
    }
}

/// Serves one upgraded connection from `hello` to close. `guest` is whoever a ticket in the URL named.
///
/// `before_hello` is dropped once the client has said who it is, or failed to.
pub async fn serve<P>(
    app: Arc<App>,
    stream: TcpStream,
    leftover: Bytes,
    via: Arc<Via>,
    guest: Option<Identity>,
    before_hello: P,
) {
    let (read, mut write) = socket::split(stream);
    let mut reader = Reader::new(read, leftover, app.limits.frame_bytes).await;
    let session = SessionId::random();
    let span = info_span!("session", id = %session);
    async {
        // Boxed, as other short phases are: a session spends its life idle, and its task is as large as its largest
        // phase.
        let opened = match timeout(HELLO_DEADLINE, Box::pin(greet(&app, &mut reader, guest))).await {
            Ok(opened) => opened,
            Err(_) => Err(Farewell::new(CloseCode::HelloTimeout, "no hello in time")),
        };
        drop(before_hello);
        let ended = match opened {
            Err(farewell) => {
                if let Some(frame) = &farewell.frame {
                    let last = tokio::io::AsyncWriteExt::write_all(&mut write, frame.bytes());
                    let _ = timeout(Duration::from_secs(1), last).await;
                }
                farewell
            }
            Ok((identity, client)) => {
                let user = User { id: identity.user, name: identity.name.clone(), email: Some(identity.email.clone()) };
                let peer = Arc::new(Peer::new(session, client, user, via, identity.sid, app.limits.outbound_bytes));
                // What is in the inbox may follow at once, and nothing goes before the welcome.
                peer.outbound.message(hello::welcome(&app, &peer), None);
                app.sessions.enter(&peer, Dialect::V2);
                Box::pin(app.sessions.inboxes.enter(&peer)).await;
                if app.is_draining() {
                    peer.outbound.close(CloseCode::ServiceRestart, "the instance restarts");
                }
                let ended = Session::new(Arc::clone(&app), Arc::clone(&peer), identity).run(reader, &mut write).await;
                peer.end();
                app.sessions.leave(&peer, Dialect::V2);
                ended
            }
        };
        crate::metrics::closed(ended.code);
        debug!(code = ended.code, reason = %ended.reason, "session ended");
        socket::write_close(&mut write, ended.code, &ended.reason).await;
    }
    .instrument(span)
    .await;
}
