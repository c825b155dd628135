//! The one shape of an error answer, and the one place that turns errors into statuses.
//!
//! Nothing of a database error ever leaves this file but its sort: the rest goes to the log, under the request id
//! that the answer names.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use glassbox_protocol::ErrorCode;
use serde_json::{Map, Value};

use super::scope;
use crate::auth::AuthError;
use crate::store::Failure;

/// What a refused request is answered.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Map<String, Value>,
    /// Fields that stand beside `message` as well.
    top: Map<String, Value>,
    retry_after_s: Option<u32>,
}

/// The body of every refusal.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes what `into_response` writes")]
pub struct ErrorBody {
    /// For people.
    #[schema(example = "title: is required")]
    error: String,
    /// The same text.
    #[schema(example = "title: is required")]
    message: String,
    /// For programs.
    #[schema(example = "BAD_REQUEST")]
    code: String,
    /// More about it, by code; `requestId` names the line in the server's log.
    #[schema(value_type = Object, example = json!({ "field": "title", "reason": "is required", "requestId": "1f0c1f6e-54cf-4f1e-9d53-1d3b0e1b4c11" }))]
    details: Value,
}

/// The result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: Map::new(), top: Map::new(), retry_after_s: None }
    }

    /// A field that breaks a rule.
    pub fn field(field: &str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", format!("{field}: {reason}"))
            .with("field", field)
            .with("reason", reason)
    }

    /// A request that cannot be read.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    /// No credentials.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "sign in first")
    }

    /// Credentials that do not verify.
    pub fn invalid_token(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "INVALID_TOKEN", message)
    }

    /// The caller may see the thing but not do this.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", "you may not do this")
    }

    /// It does not exist, or the caller may not know that it does: the same words for both.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "not found")
    }

    /// The path knows other methods.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "this path does not know the method")
    }

    /// A body over the route's limit.
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", "the body is too large")
    }

    /// The path speaks WebSocket only.
    pub fn upgrade_required() -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, "BAD_REQUEST", "this path speaks WebSocket only")
    }

    /// Something like it is there already.
    pub fn conflict(message: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "CONFLICT", message)
    }

    /// The event feed cannot continue from the given position.
    pub fn reset_required(reason: &'static str) -> Self {
        Self::new(StatusCode::GONE, "RESET_REQUIRED", "the feed cannot continue from here: take a fresh snapshot")
            .with("reason", reason)
    }

    /// The key was used before with another body.
    pub fn idempotency_conflict() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "IDEMPOTENCY_CONFLICT",
            "this Idempotency-Key was used before with another body",
        )
    }

    /// Somebody else holds what is needed.
    pub fn project_busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "PROJECT_BUSY", message).after(1)
    }

    /// More requests than the caller's class allows.
    pub fn rate_limited(retry_after_s: u32) -> Self {
        let mut error =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "too many requests").after(retry_after_s);
        error.top.insert("retry_after".to_owned(), retry_after_s.into());
        error
    }

    /// The database is away or the instance drains.
    pub fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the server cannot answer now: try again").after(1)
    }

    /// A defect; where it was found goes to the log under the request id.
    #[track_caller]
    pub fn internal() -> Self {
        let at = std::panic::Location::caller();
        tracing::error!(request.id = %scope::id(), %at, "a request failed");
        Self::logged_defect()
    }

    /// A defect that stands in the log already.
    pub fn logged_defect() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "something went wrong on the server")
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    fn after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        self.details.insert("requestId".to_owned(), scope::id().into());
        let mut body = self.top;
        body.insert("error".to_owned(), self.message.clone().into());
        body.insert("message".to_owned(), self.message.into());
        body.insert("code".to_owned(), self.code.into());
        body.insert("details".to_owned(), self.details.into());
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        let request = scope::id();
        let sqlstate = error.as_database_error().and_then(|e| e.code()).map(|c| c.into_owned());
        match (Failure::of(&error), sqlstate.as_deref()) {
            (Failure::Unavailable, _) => {
                tracing::warn!(request.id = %request, ?error, "the database is away");
                Self::unavailable()
            }
            (Failure::Busy, _) => Self::project_busy("somebody else holds what is needed: try again"),
            (Failure::Refused, Some("23505")) => Self::conflict("it exists already"),
            (Failure::Refused, Some("23503")) => Self::bad_request("refers to something that does not exist"),
            // A value that PostgreSQL cannot take is bad input that no rule of ours caught.
            (Failure::Refused, Some(code)) if code.starts_with("22") => Self::bad_request("a value is out of range"),
            (Failure::Refused, _) => Self::bad_request("a value breaks a rule"),
            (Failure::Defect, _) => {
                tracing::error!(request.id = %request, ?error, "a request failed");
                Self::logged_defect()
            }
        }
    }
}

/// What the writer of a room answers to a command, in the words of REST.
impl From<glassbox_protocol::Error> for ApiError {
    fn from(error: glassbox_protocol::Error) -> Self {
        let message = error.message;
        let mut answer = match error.code {
            ErrorCode::NotFound | ErrorCode::Gone => Self::not_found(),
            ErrorCode::Forbidden => Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message),
            ErrorCode::VersionConflict => Self::new(StatusCode::CONFLICT, "VERSION_CONFLICT", message),
            ErrorCode::Cycle => Self::new(StatusCode::CONFLICT, "CYCLE", message),
            ErrorCode::LockHeld => Self::new(StatusCode::CONFLICT, "LOCK_HELD", message),
            ErrorCode::LockLost => Self::new(StatusCode::CONFLICT, "LOCK_LOST", message),
            ErrorCode::IdempotencyConflict => Self::idempotency_conflict(),
            ErrorCode::RateLimited => Self::rate_limited(1),
            ErrorCode::ProjectBusy => Self::project_busy(message),
            ErrorCode::Unavailable => Self::unavailable(),
            ErrorCode::Internal => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message),
            ErrorCode::Validation | ErrorCode::TooLarge => Self::bad_request(strip_changes(&message)),
            ErrorCode::BadMessage | ErrorCode::UnknownType | ErrorCode::Unauthenticated | ErrorCode::InvalidChannel => {
                Self::bad_request(message)
            }
        };
        if answer.status != StatusCode::NOT_FOUND
            && let Some(Value::Object(details)) = error.details
        {
            answer.details = details;
        }
        if let Some(Value::String(field)) = answer.details.get_mut("field") {
            *field = strip_changes(field).to_owned();
        }
        if error.code == ErrorCode::LockHeld {
            answer.top.clone_from(&answer.details);
        }
        answer
    }
}

/// A PATCH carries the fields themselves where a command has them in `changes`.
fn strip_changes(text: &str) -> &str {
    text.strip_prefix("changes.").unwrap_or(text)
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Invalid => Self::invalid_token("the token is not valid"),
            AuthError::Expired => Self::invalid_token("the token has expired"),
            AuthError::Unavailable(e) => e.into(),
            AuthError::KeysAway => Self::unavailable(),
        }
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::too_large()
        } else {
            Self::bad_request("the body cannot be read")
        }
    }
}
