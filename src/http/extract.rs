//! What a handler takes from a request: the caller, ids, the query and the body, each with the one error shape.

use std::collections::HashMap;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::cookie::{self, Slot};
use super::error::{ApiError, ApiResult};
use super::rate_limit::Class;
use super::{once, origin, scope};
use crate::app::SharedApp;
use crate::auth::{self, Bearer, Kind};
use crate::canvas::has_nul;

/// Largest `metadata` and `settings`, bytes of JSON.
const OBJECT_BYTES_MAX: usize = 64 * 1024;

/// Who asks: the bearer of a token, else of the session cookie, else, on a developer's machine, the development user.
/// Without any of them the request ends here with 401.
pub struct Caller(pub Bearer);

impl FromRequestParts<SharedApp> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let bearer = recognize(parts, app).await?;
        scope::note_user(bearer.user);
        app.rate_limits.check(Class::of(parts), &bearer.user.to_string())?;
        Ok(Self(bearer))
    }
}

async fn recognize(parts: &Parts, app: &SharedApp) -> ApiResult<Bearer> {
    let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
    if let Some(header) = given.next() {
        if given.next().is_some() {
            return Err(ApiError::invalid_token("more than one Authorization header"));
        }
        let token = header
            .to_str()
            .ok()
            .and_then(|text| text.trim().split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| ApiError::invalid_token("expected: Authorization: Bearer <token>"))?;
        let bearer = auth::authenticate_bearer(app, token).await?;
        if bearer.is_person() {
            Slot::of(parts).offer(token, bearer.expires_at);
        }
        return Ok(bearer);
    }
    if let Some(token) = cookie::session_token(&parts.headers)? {
        let bearer = auth::authenticate_person(app, &token).await?;
        origin::refuse_forgery(app, &parts.method, &parts.headers)?;
        return Ok(bearer);
    }
    if app.secrets.dev_user.is_some() {
        origin::refuse_strangers(app, &parts.headers)?;
    }
    auth::dev_user(app).await?.ok_or_else(ApiError::unauthorized)
}

/// A caller who is a person. A worker key, which acts in its one organization, is answered 403.
pub struct Person(pub Bearer);

impl FromRequestParts<SharedApp> for Person {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let Caller(bearer) = Caller::from_request_parts(parts, app).await?;
        match bearer.kind {
            Kind::Person => Ok(Self(bearer)),
            Kind::Worker { .. } => Err(ApiError::forbidden().with("reason", "a worker key may not do this")),
        }
    }
}

/// The one id in the path.
pub struct PathId<T>(pub T);

impl<T: FromStr> FromRequestParts<SharedApp> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, app)
            .await
            .map_err(|_| ApiError::bad_request("the path is not UTF-8"))?;
        let (name, text) = params.iter().next().ok_or_else(ApiError::not_found)?;
        id(name, text).map(Self)
    }
}

/// The two ids in the path, in their order.
pub struct PathIds<A, B>(pub A, pub B);

impl<A: FromStr, B: FromStr> FromRequestParts<SharedApp> for PathIds<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, app)
            .await
            .map_err(|_| ApiError::bad_request("the path is not UTF-8"))?;
        let mut params = params.iter();
        let (first, second) = params.next().zip(params.next()).ok_or_else(ApiError::not_found)?;
        Ok(Self(id(first.0, first.1)?, id(second.0, second.1)?))
    }
}

/// The id in the path, and the version number behind it. A number that no version can have is [`i32::MAX`].
pub struct PathVersion<T>(pub T, pub i32);

impl<T: FromStr> FromRequestParts<SharedApp> for PathVersion<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, app)
            .await
            .map_err(|_| ApiError::bad_request("the path is not UTF-8"))?;
        let mut params = params.iter();
        let (first, (name, text)) = params.next().zip(params.next()).ok_or_else(ApiError::not_found)?;
        let is_positive = text.bytes().all(|b| b.is_ascii_digit()) && text.bytes().any(|b| b != b'0');
        if !is_positive {
            return Err(ApiError::field(name, "expected a whole number from 1"));
        }
        Ok(Self(id(first.0, first.1)?, text.parse().unwrap_or(i32::MAX)))
    }
}

/// Reads an id, in the form that the server itself writes.
pub(super) fn id<T: FromStr>(field: &str, text: &str) -> ApiResult<T> {
    if text.len() != 36 {
        return Err(ApiError::field(field, "expected a UUID"));
    }
    text.parse().map_err(|_| ApiError::field(field, "expected a UUID"))
}

/// The query string; the first of several equal names counts.
pub struct Query(HashMap<String, String>);

impl FromRequestParts<SharedApp> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &SharedApp) -> Result<Self, ApiError> {
        let mut values = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            values.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Ok(Self(values))
    }
}

impl Query {
    /// A whole number within bounds.
    pub fn integer(&self, name: &str, range: std::ops::RangeInclusive<i64>) -> ApiResult<Option<i64>> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                Err(ApiError::field(name, format!("expected a whole number from {} to {}", range.start(), range.end())))
            }
        }
    }

    /// A finite number.
    pub fn number(&self, name: &str) -> ApiResult<Option<f64>> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(ApiError::field(name, "expected a number")),
        }
    }

    /// `true` or `false`; absent means false.
    pub fn flag(&self, name: &str) -> ApiResult<bool> {
        match self.0.get(name).map(String::as_str) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::field(name, "expected true or false")),
        }
    }

    /// What stands there, whatever it is; the empty text as well.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A text; the empty one counts as absent.
    pub fn text(&self, name: &str, chars_max: usize) -> ApiResult<Option<&str>> {
        Ok(optional(name, self.0.get(name).map(String::as_str), chars_max)?.filter(|text| !text.is_empty()))
    }

    /// A moment, RFC 3339.
    pub fn time(&self, name: &str) -> ApiResult<Option<OffsetDateTime>> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        match OffsetDateTime::parse(text, &Rfc3339) {
            // Later years are beyond what the column holds.
            Ok(time) if (1..=9999).contains(&time.to_offset(UtcOffset::UTC).year()) => Ok(Some(time)),
            _ => Err(ApiError::field(name, "expected a time as RFC 3339 has it")),
        }
    }

    /// An id.
    pub fn id<T: FromStr>(&self, name: &str) -> ApiResult<Option<T>> {
        self.0.get(name).map(|text| id(name, text)).transpose()
    }
}

/// The body as JSON, whatever its content type says. An empty body is an object without fields.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<SharedApp> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, ApiError> {
        let is_kept = request.headers().contains_key(once::HEADER);
        let bytes = Bytes::from_request(request, app).await?;
        if is_kept {
            scope::note_body(&bytes);
        }
        let text = if bytes.trim_ascii().is_empty() { b"{}".as_slice() } else { bytes.as_ref() };
        // Serde would take a list for the fields in their order.
        if text.trim_ascii_start().starts_with(b"[") {
            return Err(ApiError::field("body", "expected a JSON object of the documented form"));
        }
        let mut json = serde_json::Deserializer::from_slice(text);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
            let path = e.path().to_string();
            let reason = e.inner();
            match reason.classify() {
                serde_json::error::Category::Data if path == "." => {
                    ApiError::field("body", "expected a JSON object of the documented form")
                }
                serde_json::error::Category::Data => ApiError::field(&path, "has the wrong type"),
                _ => ApiError::bad_request(format!(
                    "the body is not JSON (line {}, column {})",
                    reason.line(),
                    reason.column()
                ))
                .with("field", "body")
                .with("reason", "not JSON"),
            }
        })?;
        json.end().map_err(|_| {
            ApiError::bad_request("the body goes on after its JSON").with("field", "body").with("reason", "not JSON")
        })?;
        Ok(Self(value))
    }
}

/// Tells a field that is `null` from one that is absent; for `#[serde(default, deserialize_with = "present")]`.
pub fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A field of a PATCH that `null` cannot clear.
pub fn not_null<T>(field: &str, value: Option<Option<T>>) -> ApiResult<Option<T>> {
    match value {
        Some(None) => Err(ApiError::field(field, "must not be null")),
        value => Ok(value.flatten()),
    }
}

/// A required text; the empty one counts as missing.
pub fn required<'a>(field: &str, text: Option<&'a str>, chars_max: usize) -> ApiResult<&'a str> {
    optional(field, text, chars_max)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| ApiError::field(field, "is required"))
}

/// A text that may be absent.
pub fn optional<'a>(field: &str, text: Option<&'a str>, chars_max: usize) -> ApiResult<Option<&'a str>> {
    let Some(text) = text else { return Ok(None) };
    if text.contains('\0') {
        return Err(ApiError::field(field, "must not contain the character NUL"));
    }
    if text.chars().count() > chars_max {
        return Err(ApiError::field(field, format!("must have at most {chars_max} characters")));
    }
    Ok(Some(text))
}

/// An object of free form, at most 64 KiB.
pub fn object(field: &str, value: Option<Value>) -> ApiResult<Value> {
    let value = match value {
        None | Some(Value::Null) => Value::Object(serde_json::Map::new()),
        Some(value @ Value::Object(_)) => value,
        Some(_) => return Err(ApiError::field(field, "expected an object")),
    };
    if has_nul(&value) {
        return Err(ApiError::field(field, "must not contain the character NUL"));
    }
    if value.to_string().len() > OBJECT_BYTES_MAX {
        return Err(ApiError::field(field, "must have at most 64 KiB"));
    }
    Ok(value)
}
