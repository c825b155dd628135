//! Tokens.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, optional, required};
use crate::app::SharedApp;
use crate::auth::{self, sign_in};

/// What `dev-token` is asked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DevToken {
    user_id: Option<String>,
    email: Option<String>,
    name: Option<String>,
}

/// `POST /api/v1/auth/dev-token`, in development mode only.
pub async fn dev_token(State(app): State<SharedApp>, body: ApiResult<Body<DevToken>>) -> ApiResult<Json<Value>> {
    if !app.secrets.is_development {
        return Err(ApiError::not_found());
    }
    let Body(asked) = body?;
    let user_id = required("userId", asked.user_id.as_deref(), 255)?;
    let email = required("email", asked.email.as_deref(), 255)?;
    let name = optional("name", asked.name.as_deref(), 255)?.filter(|name| !name.is_empty());
    let issued = sign_in::dev_token(&app.database, &app.secrets, user_id, email, name).await?;
    Ok(Json(json!({ "token": issued.token, "expiresAt": rfc3339(issued.expires_at)? })))
}

/// `POST /api/v1/auth/ws-token`
pub async fn ws_token(State(app): State<SharedApp>, Caller(bearer): Caller) -> ApiResult<Json<Value>> {
    let (token, expires_at) = auth::issue_ticket(&app.database, &app.secrets, bearer).await?;
    let expires_at = rfc3339(expires_at)?;
    Ok(Json(json!({ "token": token, "expiresAt": expires_at, "expires_at": expires_at })))
}

fn rfc3339(time: OffsetDateTime) -> ApiResult<String> {
    time.format(&Rfc3339).map_err(|_| ApiError::internal())
}
