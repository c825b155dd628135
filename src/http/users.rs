//! The caller's own account.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, object, optional, present, required};
use super::scope;
use crate::app::SharedApp;
use crate::store::Tenant;
use crate::store::users::{self, User};

/// Longest address of a picture, characters.
const URL_CHARS_MAX: usize = 2048;
/// Longest name of a theme, characters.
const THEME_CHARS_MAX: usize = 50;
/// The ways in which somebody may be told of a notification.
const NOTIFICATION_WAYS: [&str; 3] = ["email", "inApp", "slack"];

/// `GET /api/v1/users/me`
#[utoipa::path(
    get,
    path = "/api/v1/users/me",
    tag = "users",
    responses((status = 200, body = User)),
    extensions(("x-right" = json!("signed in"))),
)]
pub async fn me(State(app): State<SharedApp>, Caller(caller): Caller) -> ApiResult<Json<User>> {
    let mut tx = app.database.begin(&Tenant::user(caller.user)).await?;
    users::whole(&mut tx, caller.user).await?.map(Json).ok_or_else(gone)
}

/// What is changed; `null` is told apart from nothing.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserChange)]
pub struct Change {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 255, example = "Ada")]
    name: Option<Option<String>>,
    /// An http or https URL; `null` takes the picture away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 2048, example = "https://example.org/ada.png")]
    avatar_url: Option<Option<String>>,
    /// Replaces all settings; `theme` is text, `notifications` a boolean or an object of booleans.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>, nullable = false, example = json!({ "theme": "dark", "notifications": { "email": true } }))]
    settings: Option<Option<Value>>,
}

/// `PATCH /api/v1/users/me`
#[utoipa::path(
    patch,
    path = "/api/v1/users/me",
    tag = "users",
    request_body = Change,
    responses((status = 200, body = User)),
    extensions(("x-right" = json!("signed in"))),
)]
pub async fn change(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    Body(change): Body<Change>,
) -> ApiResult<Json<User>> {
    let name = match &change.name {
        None => None,
        Some(name) => Some(required("name", name.as_deref(), 255)?),
    };
    let avatar_url = match &change.avatar_url {
        None => None,
        Some(url) => Some(avatar_url(url.as_deref())?),
    };
    let settings = change.settings.map(settings).transpose()?;

    let mut tx = app.database.begin(&Tenant::user(caller.user)).await?;
    tx.set_origin(&scope::origin(caller.user), &[]).await?;
    let change = users::Change { name, avatar_url, settings };
    let user = users::change(&mut tx, caller.user, &change).await?.ok_or_else(gone)?;
    tx.commit().await?;
    Ok(Json(user))
}

/// Browsers show it, so it is a picture's address and no script; an empty one takes it away, as `null` does.
fn avatar_url(text: Option<&str>) -> ApiResult<Option<&str>> {
    let Some(text) = optional("avatarUrl", text, URL_CHARS_MAX)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match Url::parse(text) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) => Ok(Some(text)),
        _ => Err(ApiError::field("avatarUrl", "expected an http or https URL")),
    }
}

/// Settings of free form, but for those that the server itself acts on.
fn settings(settings: Option<Value>) -> ApiResult<Value> {
    let settings = settings.filter(|settings| !settings.is_null());
    let settings = settings.ok_or_else(|| ApiError::field("settings", "expected an object"))?;
    let settings = object("settings", Some(settings))?;
    match settings.get("theme") {
        None => {}
        Some(Value::String(theme)) => {
            required("settings.theme", Some(theme), THEME_CHARS_MAX)?;
        }
        Some(_) => return Err(ApiError::field("settings.theme", "expected text")),
    }
    match settings.get("notifications") {
        None | Some(Value::Bool(_)) => {}
        Some(Value::Object(ways)) => {
            for way in NOTIFICATION_WAYS {
                if ways.get(way).is_some_and(|value| !value.is_boolean()) {
                    return Err(ApiError::field(&format!("settings.notifications.{way}"), "expected true or false"));
                }
            }
        }
        Some(_) => {
            return Err(ApiError::field("settings.notifications", "expected true, false or an object"));
        }
    }
    Ok(settings)
}

/// The token is good and its user is gone.
fn gone() -> ApiError {
    ApiError::invalid_token("the token is not valid")
}
