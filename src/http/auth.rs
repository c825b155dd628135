//! Signing in and out: tokens, tickets and the session cookie.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::cookie::Slot;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::{Body, Person, optional, required};
use super::rate_limit::Class;
use super::{origin, scope};
use crate::app::SharedApp;
use crate::auth::{self, sign_in};

/// What `dev-token` is asked.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevToken {
    /// A user's id, or any name.
    #[schema(required, nullable = false, min_length = 1, max_length = 255, example = "dev-user-1")]
    user_id: Option<String>,
    #[schema(required, nullable = false, min_length = 1, max_length = 255, example = "dev@example.org")]
    email: Option<String>,
    #[schema(max_length = 255, example = "Dev")]
    name: Option<String>,
}

/// A token and its end.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenAnswer {
    token: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// A ticket and its end, under both names that clients know.
#[derive(Serialize, ToSchema)]
pub struct TicketAnswer {
    token: String,
    #[serde(rename = "expiresAt")]
    #[schema(format = DateTime)]
    expires_at_camel: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// `POST /api/v1/auth/dev-token`, in development mode only.
#[utoipa::path(
    post,
    path = "/api/v1/auth/dev-token",
    tag = "auth",
    request_body = DevToken,
    responses((status = 200, body = TokenAnswer), (status = 404, description = "Not in development mode.", body = ErrorBody)),
    extensions(("x-right" = json!("none"))),
)]
pub async fn dev_token(
    State(app): State<SharedApp>,
    cookie: Slot,
    body: ApiResult<Body<DevToken>>,
) -> ApiResult<Json<TokenAnswer>> {
    if !app.secrets.is_development {
        return Err(ApiError::not_found());
    }
    app.rate_limits.check(Class::DevToken, &scope::via().ip.to_string())?;
    let Body(asked) = body?;
    let user_id = required("userId", asked.user_id.as_deref(), 255)?;
    let email = required("email", asked.email.as_deref(), 255)?;
    let name = optional("name", asked.name.as_deref(), 255)?.filter(|name| !name.is_empty());
    let issued = sign_in::dev_token(&app.database, &app.secrets, user_id, email, name).await?;
    cookie.offer(&issued.token, issued.expires_at.unix_timestamp());
    Ok(Json(TokenAnswer { token: issued.token, expires_at: rfc3339(issued.expires_at)? }))
}

/// `POST /api/v1/auth/ws-token`. For people: a program with a worker key calls over REST alone.
#[utoipa::path(
    post,
    path = "/api/v1/auth/ws-token",
    tag = "auth",
    responses((status = 200, body = TicketAnswer)),
    extensions(("x-right" = json!("signed in"))),
)]
pub async fn ws_token(State(app): State<SharedApp>, Person(bearer): Person) -> ApiResult<Json<TicketAnswer>> {
    let (token, expires_at) = auth::issue_ticket(&app.database, &app.secrets, bearer).await?;
    let expires_at = rfc3339(expires_at)?;
    Ok(Json(TicketAnswer { token, expires_at_camel: expires_at.clone(), expires_at }))
}

/// What a page signs in with.
#[derive(Deserialize, ToSchema)]
pub struct SignIn {
    /// A development token or one of the user pool.
    #[schema(required, nullable = false, min_length = 1, example = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl")]
    token: Option<String>,
}

/// `POST /api/v1/auth/session`: turns a token that a page holds into its session cookie. Only for pages that may call:
/// another one could sign somebody in as somebody else.
#[utoipa::path(
    post,
    path = "/api/v1/auth/session",
    tag = "auth",
    request_body = SignIn,
    responses(
        (status = 204, description = "The cookie is set."),
        (status = 401, description = "The token does not verify.", body = ErrorBody),
        (status = 403, description = "Not from a page that may call.", body = ErrorBody),
    ),
    extensions(("x-right" = json!("none"))),
)]
pub async fn sign_in(
    State(app): State<SharedApp>,
    cookie: Slot,
    headers: HeaderMap,
    body: ApiResult<Body<SignIn>>,
) -> ApiResult<StatusCode> {
    origin::refuse_others(&app, &headers)?;
    let Body(asked) = body?;
    let token = required("token", asked.token.as_deref(), usize::MAX)?;
    let bearer = auth::authenticate_person(&app, token).await?;
    scope::note_user(bearer.user);
    app.rate_limits.check(Class::Standard, &bearer.user.to_string())?;
    cookie.set(token, bearer.expires_at);
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/v1/auth/session`: clears the cookie and ends the sockets that were opened by the caller's token.
#[utoipa::path(
    delete,
    path = "/api/v1/auth/session",
    tag = "auth",
    responses((status = 204, description = "The cookie is cleared.")),
    extensions(("x-right" = json!("signed in"))),
)]
pub async fn sign_out(State(app): State<SharedApp>, Person(bearer): Person, cookie: Slot) -> ApiResult<StatusCode> {
    auth::sign_out(&app, bearer, &scope::origin(bearer.user)).await?;
    cookie.clear();
    Ok(StatusCode::NO_CONTENT)
}

fn rfc3339(time: OffsetDateTime) -> ApiResult<String> {
    time.format(&Rfc3339).map_err(|_| ApiError::internal())
}
