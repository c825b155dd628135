//! Requests that take effect once, however often they are sent.
//!
//! A command keeps its answer in the writer's transaction ([`super::submit`]). Any other POST that creates rows keeps
//! it here, in the transaction that creates them: of two equal requests at once the second waits for the first and
//! gets its answer.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use glassbox_protocol::{RequestId, UserId};
use serde::Serialize;
use serde_json::value::to_raw_value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::error::{ApiError, ApiResult};
use super::scope;
use crate::app::SharedApp;
use crate::store::Tx;
use crate::store::request_answers::{self, Claim};

/// Longest `Idempotency-Key`, characters.
const KEY_CHARS_MAX: usize = 128;
/// Where the key stands.
pub const HEADER: &str = "idempotency-key";

/// Names a request so that its repeat has no second effect: made of the `Idempotency-Key` and the path, or random
/// where there is no key.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    request: RequestId,
    is_given: bool,
}

impl FromRequestParts<SharedApp> for Once {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &SharedApp) -> Result<Self, ApiError> {
        let Some(key) = parts.headers.get(HEADER) else {
            return Ok(Self::random());
        };
        let key =
            key.to_str().ok().filter(|key| (1..=KEY_CHARS_MAX).contains(&key.len())).ok_or_else(|| {
                ApiError::field("Idempotency-Key", format!("must have 1 to {KEY_CHARS_MAX} characters"))
            })?;
        let text = format!("{} {}\n{key}", parts.method, parts.uri.path());
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(text)[..16]);
        Ok(Self { request: RequestId(Uuid::from_bytes(id)), is_given: true })
    }
}

impl Once {
    /// The name of a request that is never repeated.
    pub fn random() -> Self {
        Self { request: RequestId::random(), is_given: false }
    }

    /// The request's name, which no other user's has.
    pub fn request_of(self, user: UserId) -> RequestId {
        let mut hash = Sha256::new();
        hash.update(self.request.0);
        hash.update(user.0);
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        RequestId(Uuid::from_bytes(id))
    }
}

/// What is known of a request when its transaction begins.
pub enum Begun {
    /// It is new; finish it with [`Pending::finish`].
    New(Pending),
    /// It was answered before; this is the answer.
    Repeated(Response),
}

/// A request whose answer is to be kept.
#[must_use = "an answer that is not kept is not repeated"]
pub struct Pending {
    key: Option<(UserId, RequestId)>,
}

impl Once {
    /// Looks whether the request was answered before. The context of the transaction must be the user's.
    ///
    /// # Errors
    /// `IDEMPOTENCY_CONFLICT`, or the database is away.
    pub async fn begin(self, tx: &mut Tx, user: UserId) -> ApiResult<Begun> {
        if !self.is_given {
            return Ok(Begun::New(Pending { key: None }));
        }
        let body_hash = scope::body_hash();
        match request_answers::claim(tx, user, self.request, &body_hash).await? {
            Claim::New => Ok(Begun::New(Pending { key: Some((user, self.request)) })),
            Claim::Answered { body_hash: first, .. } if first != body_hash => Err(ApiError::idempotency_conflict()),
            Claim::Answered { status, answer, .. } => {
                let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
                Ok(Begun::Repeated((status.unwrap_or(StatusCode::OK), Json(answer)).into_response()))
            }
        }
    }
}

impl Pending {
    /// Keeps the answer, commits what was done, and answers.
    ///
    /// # Errors
    /// The database is away.
    pub async fn finish(self, tx: Tx, status: StatusCode, answer: &impl Serialize) -> ApiResult<Response> {
        self.finish_keeping(tx, status, answer, answer).await
    }

    /// As [`Pending::finish`], but keeps something else than it answers: what is shown once stays out of the table.
    ///
    /// # Errors
    /// The database is away.
    pub async fn finish_keeping(
        self,
        mut tx: Tx,
        status: StatusCode,
        answer: &impl Serialize,
        kept: &impl Serialize,
    ) -> ApiResult<Response> {
        let answer = to_raw_value(answer).map_err(defect)?;
        if let Some((user, request)) = self.key {
            let kept = to_raw_value(kept).map_err(defect)?;
            request_answers::keep(&mut tx, user, request, status.as_u16().into(), &kept).await?;
        }
        tx.commit().await?;
        Ok((status, Json(answer)).into_response())
    }
}

fn defect(error: serde_json::Error) -> ApiError {
    tracing::error!(request.id = %scope::id(), %error, "write an answer");
    ApiError::logged_defect()
}
