//! Inboxes: the users who have open sessions on this instance, and what of their own streams they get.
//!
//! A user's stream is a log like a project's. The log reader follows it while a session of the user is open here and
//! brings its rows; an inbox renders each event once and queues it for all of the user's sessions. A session enters before
//! the reader looks where the stream stands, so nothing falls between the two.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use glassbox_protocol::server::CloseCode;
use glassbox_protocol::{Channel, UserId};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, error};

use super::frame::Frame;
use crate::auth::sid::Sid;
use crate::session::peer::Peer;
use crate::store::events::{LogRow, open_event, split_line};

/// Sessions that may wait for the log reader at once; the others wait for their turn.
const TRACKS_MAX: usize = 1024;

/// How long a session waits for the log reader before it opens all the same. The reader's next poll finds its user.
const TRACK_DEADLINE: Duration = Duration::from_secs(2);

/// Asks the reader to follow a user's stream from its present head on.
pub struct TrackUser {
    /// The user.
    pub user: UserId,
    /// Told once the reader follows.
    pub reply: oneshot::Sender<()>,
}

/// The users who have open sessions on this instance.
pub struct Inboxes {
    open: DashMap<UserId, Vec<Arc<Peer>>>,
    reader: mpsc::Sender<TrackUser>,
}

impl Inboxes {
    /// Makes the inboxes, and what the log reader hears of new ones through.
    pub fn new() -> (Arc<Self>, mpsc::Receiver<TrackUser>) {
        let (reader, tracks) = mpsc::channel(TRACKS_MAX);
        (Arc::new(Self { open: DashMap::new(), reader }), tracks)
    }

    /// Lets a session in: it gets what is committed from when this returns, at the latest.
    pub async fn enter(&self, peer: &Arc<Peer>) {
        self.open.entry(peer.user.id).or_default().push(Arc::clone(peer));
        let (reply, follows) = oneshot::channel();
        let track = TrackUser { user: peer.user.id, reply };
        let tracked = async {
            self.reader.send(track).await.ok()?;
            follows.await.ok()
        };
        if !timeout(TRACK_DEADLINE, tracked).await.is_ok_and(|done| done.is_some()) {
            debug!(user.id = %peer.user.id, "the user's stream is not followed yet");
        }
    }

    /// Lets go of a session.
    pub fn leave(&self, peer: &Peer) {
        let Entry::Occupied(mut peers) = self.open.entry(peer.user.id) else { return };
        peers.get_mut().retain(|p| p.session != peer.session);
        if peers.get().is_empty() {
            peers.remove();
        }
    }

    /// Whether a user has an open session here.
    pub fn has(&self, user: UserId) -> bool {
        self.open.contains_key(&user)
    }

    /// Everybody who has an open session here.
    pub fn users(&self) -> Vec<UserId> {
        self.open.iter().map(|entry| *entry.key()).collect()
    }

    /// Queues the events of a user's stream for all of the user's sessions.
    pub fn deliver(&self, user: UserId, rows: &[LogRow]) {
        for row in rows {
            let mut seq = row.start();
            for line in row.body.lines() {
                seq = seq.next();
                let (public, _) = split_line(line);
                match Event::parse(public) {
                    Ok(Event::SessionEnded { sid }) => self.end(user, sid),
                    Ok(Event::Other) => {
                        let Some(open) = open_event(public, Channel::User, seq, &row.at, seq == row.seq) else {
                            continue;
                        };
                        let frame = Frame::text(&(open + "}"));
                        for peer in self.peers(user) {
                            peer.outbound.send(frame.clone());
                        }
                    }
                    Err(error) => error!(user.id = %user, %seq, %error, "an event of a user cannot be read"),
                }
            }
        }
    }

    /// Closes the sockets that a user opened with the sign-in `sid`, which has ended.
    pub fn end(&self, user: UserId, sid: Sid) {
        for peer in self.peers(user).into_iter().filter(|peer| peer.sid() == sid) {
            peer.outbound.close(CloseCode::TokenInvalid, "signed out");
        }
    }

    fn peers(&self, user: UserId) -> Vec<Arc<Peer>> {
        self.open.get(&user).map(|peers| peers.clone()).unwrap_or_default()
    }
}

/// What an event of a user's stream means to the instance.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// A sign-in has ended; no client is told.
    SessionEnded { sid: Sid },
    /// It goes to the user's sessions as it is.
    Other,
}

impl Event {
    fn parse(public: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            payload: Payload,
        }
        #[derive(Deserialize)]
        struct Payload {
            sid: Option<Sid>,
        }
        let line: Line<'_> = serde_json::from_str(public)?;
        Ok(match (line.kind, line.payload.sid) {
            ("session_ended", Some(sid)) => Event::SessionEnded { sid },
            ("session_ended", None) => return Err(serde::de::Error::missing_field("sid")),
            _ => Event::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::server::User;
    use glassbox_protocol::{ClientId, EventFrame, Seq, SessionId};

    use super::*;
    use crate::store::Via;

    #[tokio::test]
    async fn every_session_of_the_user_gets_the_frame_and_nobody_hears_of_a_sign_out() {
        let (inboxes, mut tracks) = Inboxes::new();
        let reader = tokio::spawn(async move {
            while let Some(track) = tracks.recv().await {
                let _ = track.reply.send(());
            }
        });
        let (ann, bob) = (UserId::random(), UserId::random());
        let mut peers = Vec::new();
        for id in [ann, ann, bob] {
            let user = User { id, name: None, email: None };
            let via = Arc::new(Via { ip: std::net::Ipv4Addr::LOCALHOST.into(), user_agent: None });
            let peer = Arc::new(Peer::new(SessionId::random(), ClientId::random(), user, via, Sid::of("a"), 100_000));
            inboxes.enter(&peer).await;
            peers.push(peer);
        }
        let body = "{\"by\": null, \"type\": \"session_ended\", \"payload\": {\"sid\": \"ba7816bf8f01cfea414140de5dae2223\"}}\n\
            {\"by\": null, \"type\": \"notifications_read\", \"payload\": {\"ids\": [], \"unreadCount\": 2}}";
        let row = LogRow { stream: ann.0, seq: Seq(9), count: 2, body: body.into(), at: "2026-01-01T00:00:00Z".into() };
        inboxes.deliver(ann, std::slice::from_ref(&row));

        for peer in &peers[..2] {
            let frames = peer.outbound.take().await.expect("a frame");
            assert_eq!(frames.len(), 1);
            let bytes = frames[0].bytes();
            let start = bytes.iter().position(|b| *b == b'{').expect("a frame holds an object");
            let frame: EventFrame = serde_json::from_slice(&bytes[start..]).expect("a frame of the protocol");
            assert_eq!((frame.channel, frame.seq, frame.tx_end, frame.generation), (Channel::User, Seq(9), true, None));
        }
        for peer in &peers {
            inboxes.leave(peer);
            peer.outbound.close(CloseCode::GoingAway, "over");
            assert_eq!(peer.outbound.take().await, None, "nothing more");
        }
        assert!(!inboxes.has(ann) && inboxes.users().is_empty());
        reader.abort();
    }
}
