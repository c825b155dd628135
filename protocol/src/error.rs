//! The error that answers a frame.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why a command or frame was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// Not JSON, or not the envelope of a frame.
    BadMessage,
    /// A type that this server does not know.
    UnknownType,
    /// No valid token.
    Unauthenticated,
    /// The caller may see the thing but not do this.
    Forbidden,
    /// It does not exist, or the caller may not know that it does.
    NotFound,
    /// Not the name of a channel.
    InvalidChannel,
    /// A field breaks a rule; `details.field` and `details.reason` say which.
    Validation,
    /// A field was changed since `baseVersion` by somebody else.
    VersionConflict,
    /// Somebody else holds the node's lock.
    LockHeld,
    /// The given fence is not the current one, or its lease is over.
    LockLost,
    /// The node is deleted.
    Gone,
    /// The new parent lies below the node itself.
    Cycle,
    /// The request id was used before with another body.
    IdempotencyConflict,
    /// More frames than the limits in `welcome` allow.
    RateLimited,
    /// The frame or a field is larger than allowed.
    TooLarge,
    /// A foreign transaction holds the project; try again.
    ProjectBusy,
    /// The database is away or the instance is draining; try again.
    Unavailable,
    /// A defect of the server; the request id in the message stands in its log.
    Internal,
}

impl ErrorCode {
    /// Whether the same command may succeed later without being changed.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        match self {
            ErrorCode::LockHeld
            | ErrorCode::RateLimited
            | ErrorCode::ProjectBusy
            | ErrorCode::Unavailable
            | ErrorCode::Internal => true,
            ErrorCode::BadMessage
            | ErrorCode::UnknownType
            | ErrorCode::Unauthenticated
            | ErrorCode::Forbidden
            | ErrorCode::NotFound
            | ErrorCode::InvalidChannel
            | ErrorCode::Validation
            | ErrorCode::VersionConflict
            | ErrorCode::LockLost
            | ErrorCode::Gone
            | ErrorCode::Cycle
            | ErrorCode::IdempotencyConflict
            | ErrorCode::TooLarge => false,
        }
    }
}

/// The payload of an `error` frame: the command was not applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Error {
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// What went wrong, for people.
    pub message: String,
    /// Whether the same command may succeed later.
    pub temporary: bool,
    /// More about it, by code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl Error {
    /// Makes an error without details; `temporary` follows from the code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), temporary: code.is_temporary(), details: None }
    }

    /// Makes a `VALIDATION` error that names the field and the rule it breaks.
    pub fn validation(field: &str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::new(ErrorCode::Validation, format!("{field}: {reason}"))
            .with_details(serde_json::json!({ "field": field, "reason": reason }))
    }

    /// Adds details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
