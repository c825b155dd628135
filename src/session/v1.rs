//! The older dialect: what a connection without the subprotocol `glassbox.v2` speaks, a second rendering of the same rooms.
//!
//! A translation at the session's edge. The session is a session like any other: its rooms queue frames of
//! `glassbox.v2` for it, with rights, order, revocation and slow readers as everywhere. `inlet` takes those frames and looks up
//! what they do not say, once for all sessions of an instance (`renderings`); `conversation` decides what of it its client
//! gets and queues it for the socket. So there are two queues, each with half of what may wait for a client.
//!
//! The client renders for nearly everything that it is sent, and answers each rendering with `unsubscribe` and `subscribe`:
//! whatever it has been told already is not told again (`places`), and leaving takes effect after a while (`channels`).

use std::sync::Arc;

use bytes::Bytes;
use glassbox_protocol::ClientId;
use glassbox_protocol::server::{CloseCode, User};
use glassbox_protocol::v1::{ServerFrame, ServerMessage};
use tokio::net::TcpStream;
use tracing::{Instrument as _, debug, info_span};

use super::Dialect;
use super::hello::server_time;
use super::peer::Peer;
use super::socket::{self, Reader};
use crate::app::App;
use crate::auth::Page;
use crate::room::frame::Frame;
use crate::store::Via;

mod channels;
mod clock;
mod conversation;
mod decode;
mod hearing;
mod inlet;
mod locks;
mod lookups;
mod notifications;
mod pace;
mod page;
mod places;
mod presence;
mod render;
pub mod renderings;
mod runs;

use conversation::Session;

/// Largest frame of a client, bytes; its own largest is about 150.
const FRAME_BYTES_MAX: usize = 8192;

/// Serves one upgraded connection of the older dialect, whose ticket was used already, to its close.
pub async fn serve(app: Arc<App>, stream: TcpStream, leftover: Bytes, via: Arc<Via>, page: Page) {
    let (read, mut write) = socket::split(stream);
    let reader = Reader::new(read, leftover, FRAME_BYTES_MAX).await;
    let span = info_span!("session", id = %page.session, dialect = "v1");
    async {
        let identity = &page.identity;
        let user = User { id: identity.user, name: identity.name.clone(), email: Some(identity.email.clone()) };
        // The ticket is what all connections of a page have in common: a newer one takes over.
        let client = ClientId(page.ticket);
        let queued_max = app.limits.outbound_bytes / 2;
        let peer = Arc::new(Peer::new(page.session, client, user, via, identity.sid, queued_max));
        app.sessions.enter(&peer, Dialect::V1);
        Box::pin(app.sessions.inboxes.enter(&peer)).await;
        if app.is_draining() {
            peer.outbound.close(CloseCode::ServiceRestart, "the instance restarts");
        }
        let ended = Session::new(Arc::clone(&app), Arc::clone(&peer), page).run(reader, &mut write).await;
        peer.end();
        app.sessions.leave(&peer, Dialect::V1);
        crate::metrics::closed(ended.code);
        debug!(code = ended.code, reason = %ended.reason, "session ended");
        socket::write_close(&mut write, ended.code, &ended.reason).await;
    }
    .instrument(span)
    .await;
}

/// A message as it is sent, with the server's time.
fn stamped(message: ServerMessage, request_id: Option<String>) -> Frame {
    Frame::json(&ServerFrame { message, request_id, timestamp: server_time() })
}
