//! From the text of a frame to a message of the older dialect, or to what is wrong with it.

use glassbox_protocol::Channel;
use glassbox_protocol::v1::ClientMessage;
use glassbox_protocol::v1::client::{ChannelName, LockRequest, Presence};
use glassbox_protocol::v1::server::{Error, ErrorCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Longest `requestId` that is echoed, bytes.
const REQUEST_ID_BYTES_MAX: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
}

/// A frame that is not a message.
#[derive(Debug, PartialEq)]
pub struct Malformed {
    /// The answer.
    pub error: Error,
    /// What the frame called itself, as far as it can be read.
    pub request_id: Option<String>,
}

/// Reads a frame.
///
/// # Errors
/// `BAD_MESSAGE` or `INVALID_CHANNEL`.
pub fn frame(text: &str) -> Result<(ClientMessage, Option<String>), Box<Malformed>> {
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|e| {
        let error = bad(format!("expected an object with type, payload and requestId: {e}"));
        Box::new(Malformed { error, request_id: None })
    })?;
    let request_id = envelope
        .request_id
        .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
        .filter(|id| id.len() <= REQUEST_ID_BYTES_MAX);
    match message(&envelope) {
        Ok(message) => Ok((message, request_id)),
        Err(error) => Err(Box::new(Malformed { error, request_id })),
    }
}

fn message(envelope: &Envelope<'_>) -> Result<ClientMessage, Error> {
    let kind: String = envelope
        .kind
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .ok_or_else(|| bad("type: is required and must be a text"))?;
    let payload = envelope.payload;
    Ok(match kind.as_str() {
        "subscribe" => ClientMessage::Subscribe(channel(payload)?),
        "unsubscribe" => ClientMessage::Unsubscribe(channel(payload)?),
        "presence" => {
            let presence: Presence = parse(payload)?;
            let is_finite = presence.cursor_position.is_none_or(|at| at.x.is_finite() && at.y.is_finite());
            if !is_finite {
                return Err(bad("cursorPosition: must be finite"));
            }
            ClientMessage::Presence(presence)
        }
        "lock_acquire" => ClientMessage::LockAcquire(parse::<LockRequest>(payload)?),
        "lock_release" => ClientMessage::LockRelease(parse::<LockRequest>(payload)?),
        "ping" => ClientMessage::Ping,
        other => {
            let shown: String = other.chars().take(50).collect();
            return Err(bad(format!("unknown type {shown:?}")));
        }
    })
}

/// Only projects and nodes have channels here.
fn channel(payload: Option<&RawValue>) -> Result<ChannelName, Error> {
    #[derive(Deserialize)]
    struct Named {
        channel: serde_json::Value,
    }
    let named: Named = parse(payload)?;
    match named.channel.as_str().and_then(|text| text.parse().ok()) {
        Some(channel @ (Channel::Project(_) | Channel::Node(_))) => Ok(ChannelName { channel }),
        Some(Channel::Execution(_) | Channel::User) | None => {
            Err(Error::new(ErrorCode::InvalidChannel, "expected a channel: project:<uuid> or node:<uuid>"))
        }
    }
}

fn parse<T: DeserializeOwned>(payload: Option<&RawValue>) -> Result<T, Error> {
    let text = payload.map_or("{}", RawValue::get);
    let deserializer = &mut serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(deserializer).map_err(|e| {
        let path = e.path().to_string();
        let field = if path == "." { "payload" } else { &path };
        bad(format!("{field}: {}", e.inner()))
    })
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::BadMessage, message)
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::v1::ClientFrame;

    use super::*;

    #[test]
    fn every_golden_frame_of_a_client_is_read_as_the_types_read_it() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/protocol/golden/v1-client");
        for file in std::fs::read_dir(directory).expect("the golden files are there") {
            let path = file.expect("a directory entry").path();
            let text = std::fs::read_to_string(&path).expect("a readable golden file");
            let expected: ClientFrame = serde_json::from_str(&text).expect("a golden frame");
            let (message, request_id) = frame(&text).expect("a frame");
            assert_eq!(ClientFrame { message, request_id }, expected, "{}", path.display());
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_and_names_the_request() {
        let check = |text: &str| frame(text).expect_err("not a frame");
        for text in [
            "nonsense",
            "[1]",
            r#"{"payload":{}}"#,
            r#"{"type":"fly"}"#,
            r#"{"type":5}"#,
            r#"{"type":"subscribe"}"#,
            r#"{"type":"presence","payload":{"nodeId":"node-1","action":"viewing"}}"#,
            r#"{"type":"presence","payload":{"nodeId":"d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04","action":"sleeping"}}"#,
            r#"{"type":"lock_acquire","payload":{}}"#,
        ] {
            assert_eq!(check(text).error.code, ErrorCode::BadMessage, "{text}");
        }
        for channel in
            ["project:project-1", "node:node-1", "user", "execution:d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04", ""]
        {
            let text = format!(r#"{{"type":"subscribe","payload":{{"channel":"{channel}"}},"requestId":"r"}}"#);
            let malformed = check(&text);
            assert_eq!((malformed.error.code, malformed.request_id), (ErrorCode::InvalidChannel, Some("r".to_owned())));
        }
        assert_eq!(check(r#"{"type":"fly","requestId":"r"}"#).request_id, Some("r".to_owned()));
        assert!(frame(r#"{"type":"ping","payload":null,"requestId":7,"timestamp":1}"#).is_ok(), "further fields");
    }
}
