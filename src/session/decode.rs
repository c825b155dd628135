//! From the text of a frame to a message, with errors that name the field.

use std::borrow::Cow;

use glassbox_protocol::{ClientMessage, Command, Error, ErrorCode, RequestId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
}

/// A frame that is not a message.
#[derive(Debug)]
pub struct Malformed {
    /// The answer.
    pub error: Error,
    /// The frame that it answers, as far as it can be read.
    pub request_id: Option<RequestId>,
}

/// Reads a frame.
///
/// # Errors
/// `BAD_MESSAGE`, `UNKNOWN_TYPE`, `INVALID_CHANNEL` or `VALIDATION`.
pub fn frame(text: &str) -> Result<(ClientMessage, Option<RequestId>), Malformed> {
    let bad = |error| Malformed { error, request_id: None };
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|e| {
        bad(Error::new(ErrorCode::BadMessage, format!("expected an object with type, payload and requestId: {e}")))
    })?;
    let request_id = match envelope.request_id {
        None => None,
        Some(raw) => Some(
            serde_json::from_str::<RequestId>(raw.get())
                .map_err(|_| bad(Error::validation("requestId", "must be a UUID")))?,
        ),
    };
    let message = message(&envelope).map_err(|error| Malformed { error, request_id })?;
    Ok((message, request_id))
}

fn message(envelope: &Envelope<'_>) -> Result<ClientMessage, Error> {
    let payload = envelope.payload;
    Ok(match envelope.kind.as_ref() {
        "hello" => ClientMessage::Hello(parse(payload)?),
        "subscribe" => ClientMessage::Subscribe(parse(payload)?),
        "unsubscribe" => ClientMessage::Unsubscribe(parse(payload)?),
        "presence" => ClientMessage::Presence(parse(payload)?),
        "ping" => ClientMessage::Ping,
        "token_refresh" => ClientMessage::TokenRefresh(parse(payload)?),
        "notifications_read" => ClientMessage::NotificationsRead(parse(payload)?),
        "node_create" => ClientMessage::Command(Command::NodeCreate(parse(payload)?)),
        "node_update" => ClientMessage::Command(Command::NodeUpdate(parse(payload)?)),
        "node_move" => ClientMessage::Command(Command::NodeMove(parse(payload)?)),
        "node_delete" => ClientMessage::Command(Command::NodeDelete(parse(payload)?)),
        "node_restore" => ClientMessage::Command(Command::NodeRestore(parse(payload)?)),
        "node_rollback" => ClientMessage::Command(Command::NodeRollback(parse(payload)?)),
        "node_input_add" => ClientMessage::Command(Command::NodeInputAdd(parse(payload)?)),
        "node_input_remove" => ClientMessage::Command(Command::NodeInputRemove(parse(payload)?)),
        "node_output_add" => ClientMessage::Command(Command::NodeOutputAdd(parse(payload)?)),
        "node_output_remove" => ClientMessage::Command(Command::NodeOutputRemove(parse(payload)?)),
        "dependency_add" => ClientMessage::Command(Command::DependencyAdd(parse(payload)?)),
        "dependency_update" => ClientMessage::Command(Command::DependencyUpdate(parse(payload)?)),
        "dependency_remove" => ClientMessage::Command(Command::DependencyRemove(parse(payload)?)),
        "lock_acquire" => ClientMessage::Command(Command::LockAcquire(parse(payload)?)),
        "lock_renew" => ClientMessage::Command(Command::LockRenew(parse(payload)?)),
        "lock_release" => ClientMessage::Command(Command::LockRelease(parse(payload)?)),
        "lock_break" => ClientMessage::Command(Command::LockBreak(parse(payload)?)),
        "undo" => ClientMessage::Command(Command::Undo(parse(payload)?)),
        "redo" => ClientMessage::Command(Command::Redo(parse(payload)?)),
        other => {
            let shown: String = other.chars().take(50).collect();
            return Err(Error::new(ErrorCode::UnknownType, format!("unknown type {shown:?}")));
        }
    })
}

fn parse<T: DeserializeOwned>(payload: Option<&RawValue>) -> Result<T, Error> {
    let text = payload.map_or("{}", RawValue::get);
    let deserializer = &mut serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(deserializer).map_err(|e| {
        let field = match e.path().to_string() {
            path if path == "." => "payload".to_owned(),
            path => path,
        };
        let reason = e.inner().to_string();
        if field == "channel" && !reason.contains("missing") {
            return Error::new(ErrorCode::InvalidChannel, reason);
        }
        Error::validation(&field, reason)
    })
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::client::ClientFrame;

    use super::*;

    fn check(text: &str) -> (ErrorCode, String) {
        match frame(text) {
            Ok((message, _)) => panic!("decoded {message:?}"),
            Err(malformed) => (malformed.error.code, malformed.error.message),
        }
    }

    #[test]
    fn every_golden_frame_of_a_client_is_read_as_the_types_read_it() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/protocol/golden/client");
        for file in std::fs::read_dir(directory).expect("the golden files are there") {
            let path = file.expect("a directory entry").path();
            let text = std::fs::read_to_string(&path).expect("a readable golden file");
            let expected: ClientFrame = serde_json::from_str(&text).expect("a golden frame");
            match frame(&text) {
                Ok((message, request_id)) => {
                    assert_eq!(ClientFrame { message, request_id }, expected, "{}", path.display());
                }
                Err(malformed) => panic!("{}: {:?}", path.display(), malformed.error),
            }
        }
    }

    #[test]
    fn an_error_names_the_field_and_the_rule() {
        assert_eq!(check("nonsense").0, ErrorCode::BadMessage);
        assert_eq!(check("[1]").0, ErrorCode::BadMessage);
        assert_eq!(check(r#"{"type":"fly"}"#).0, ErrorCode::UnknownType);
        assert_eq!(check(r#"{"type":"ping","requestId":"x"}"#).0, ErrorCode::Validation);
        let (code, message) = check(r#"{"type":"node_move","payload":{"moves":[{"nodeId":"x"}]}}"#);
        assert_eq!(code, ErrorCode::Validation);
        assert!(message.starts_with("moves[0].nodeId: "), "{message}");
        let (code, _) = check(r#"{"type":"subscribe","payload":{"channel":"project:project-1"}}"#);
        assert_eq!(code, ErrorCode::InvalidChannel);
        let (open, close) = ("[".repeat(10_000), "]".repeat(10_000));
        let deep = format!(r#"{{"type":"node_create","payload":{{"title":"a","metadata":{{"a":{open}{close}}}}}}}"#);
        assert_eq!(check(&deep).0, ErrorCode::Validation);
    }
}
