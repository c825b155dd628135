//! The opening of a session: who is calling, in which version, or why not.

use glassbox_protocol::client::{Hello, ProtocolRange};
use glassbox_protocol::server::{CloseCode, Limits, ResumeWindow, ServerFrame, Welcome};
use glassbox_protocol::{ClientId, ClientMessage, Error, ErrorCode, PROTOCOL_VERSION, ServerMessage};
use rand::RngExt as _;
use serde_json::json;

use super::decode;
use super::peer::Peer;
use super::socket::{Inbound, Reader};
use crate::app::App;
use crate::auth::{self, AuthError, Identity};
use crate::config::{LimitsConfig, PING_INTERVAL};
use crate::room::frame::Frame;

/// When a client that cannot be served at the moment is asked to come back, ms.
const RETRY_AFTER_MS: std::ops::Range<u64> = 1_000..5_000;

/// How a session ends.
pub(super) struct Farewell {
    /// The close code.
    pub(super) code: u16,
    /// What stands in the close frame.
    pub(super) reason: String,
    /// A last frame before it.
    pub(super) frame: Option<Frame>,
}

impl Farewell {
    pub(super) fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code: code.code(), reason: reason.into(), frame: None }
    }

    fn with_error(mut self, error: Error) -> Self {
        let frame = ServerFrame::from(ServerMessage::Error(error));
        self.frame = Some(Frame::json(&frame));
        self
    }
}

/// Waits for `hello` and checks it.
pub(super) async fn greet(
    app: &App,
    reader: &mut Reader,
    guest: Option<Identity>,
) -> Result<(Identity, ClientId), Farewell> {
    let text = loop {
        match reader.next().await {
            Inbound::Text(text) => break text,
            Inbound::Ping(_) | Inbound::Pong => {}
            Inbound::Closed | Inbound::Lost => return Err(Farewell::new(CloseCode::GoingAway, "left before hello")),
            Inbound::Violation(code, reason) => return Err(Farewell::new(code, reason)),
        }
    };
    let hello: Hello = match decode::frame(&text) {
        Ok((ClientMessage::Hello(hello), _)) => hello,
        Ok(_) => {
            let error = Error::new(ErrorCode::Unauthenticated, "the first frame must be hello");
            return Err(Farewell::new(CloseCode::TokenInvalid, "no hello").with_error(error));
        }
        Err(malformed) => {
            return Err(Farewell::new(CloseCode::MalformedFrames, "no hello").with_error(malformed.error));
        }
    };
    if hello.client_id.0.is_nil() {
        let error = Error::validation("clientId", "must not be the nil UUID");
        return Err(Farewell::new(CloseCode::MalformedFrames, "no client id").with_error(error));
    }
    if !(hello.protocol.min..=hello.protocol.max).contains(&PROTOCOL_VERSION) {
        let error = Error::validation("protocol", format!("this server speaks version {PROTOCOL_VERSION}"));
        return Err(Farewell::new(CloseCode::VersionUnsupported, "no common version").with_error(error));
    }
    let identity = match guest {
        Some(identity) if hello.token.is_empty() => Ok(identity),
        _ => auth::authenticate_socket(app, &hello.token).await,
    };
    match identity {
        Ok(identity) => Ok((identity, hello.client_id)),
        Err(error) => Err(refuse_token(&error)),
    }
}

fn refuse_token(error: &AuthError) -> Farewell {
    let (code, error) = refusal_of(error);
    let reason = match code {
        // Everybody else asks again as well: each after a delay of its own.
        CloseCode::Overloaded => json!({ "retryAfterMs": rand::rng().random_range(RETRY_AFTER_MS) }).to_string(),
        _ => error.message.clone(),
    };
    Farewell::new(code, reason).with_error(error)
}

/// What somebody is told whose token is not taken, and how a socket ends that has no other.
pub(super) fn refusal_of(error: &AuthError) -> (CloseCode, Error) {
    let (close, code, text) = match error {
        AuthError::Unavailable(_) => {
            (CloseCode::Overloaded, ErrorCode::Unavailable, "the database does not answer; try again")
        }
        AuthError::KeysAway => {
            (CloseCode::Overloaded, ErrorCode::Unavailable, "the token cannot be checked now; try again")
        }
        AuthError::Expired => (CloseCode::TokenExpired, ErrorCode::Unauthenticated, "the token has expired"),
        AuthError::Invalid => (CloseCode::TokenInvalid, ErrorCode::Unauthenticated, "the token does not verify"),
    };
    (close, Error::new(code, text))
}

/// What answers `hello`.
pub(super) fn welcome(app: &App, peer: &Peer) -> ServerMessage {
    ServerMessage::Welcome(Welcome {
        session_id: peer.session,
        user: peer.user.clone(),
        protocol: ProtocolRange { min: PROTOCOL_VERSION, max: PROTOCOL_VERSION },
        limits: limits_of(&app.limits),
        heartbeat_ms: u64::try_from(PING_INTERVAL.as_millis()).unwrap_or(20_000),
        server_time: server_time(),
    })
}

fn limits_of(limits: &LimitsConfig) -> Limits {
    Limits {
        frame_bytes: limits.frame_bytes,
        channels: limits.channels,
        commands_per_second: limits.commands_per_second,
        commands_burst: limits.commands_burst,
        presence_per_second: limits.presence_per_second,
        outbound_bytes: limits.outbound_bytes,
        resume_window: ResumeWindow { hours: 24, events: 10_000 },
    }
}

/// The instance's clock, RFC 3339; nothing is decided by it.
pub(super) fn server_time() -> String {
    time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}
