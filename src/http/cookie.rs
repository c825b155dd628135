//! The session cookie, for pages that cannot send a header: who gets it, and what it says.
//!
//! Extractors and handlers leave a wish in the request's [`Slot`]; [`keep`], which is around every request, grants it in
//! the answer.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::error::{ApiError, ApiResult};
use super::origin;
use crate::app::SharedApp;
use crate::auth;

/// The cookie's name.
const NAME: &str = "auth_token";

/// What shall become of the cookie.
#[derive(Clone, Debug)]
enum Wish {
    /// Set, unless the request carried it.
    Offer { token: String, expires_at: i64 },
    /// Set in any case.
    Set { token: String, expires_at: i64 },
    /// Cleared.
    Clear,
}

/// Where the wish for a cookie is left while a request is answered; the last one counts.
#[derive(Clone, Debug, Default)]
pub struct Slot(Arc<Mutex<Option<Wish>>>);

impl Slot {
    /// The slot of a request; one that nobody looks at where [`keep`] is not around it.
    pub fn of(parts: &Parts) -> Self {
        parts.extensions.get::<Slot>().cloned().unwrap_or_default()
    }

    /// Sets the cookie unless the request carried the same one. `expires_at` is when the token ends, unix s.
    pub fn offer(&self, token: &str, expires_at: i64) {
        self.wish(Wish::Offer { token: token.to_owned(), expires_at });
    }

    /// Sets the cookie. `expires_at` is when the token ends, unix s.
    pub fn set(&self, token: &str, expires_at: i64) {
        self.wish(Wish::Set { token: token.to_owned(), expires_at });
    }

    /// Clears the cookie.
    pub fn clear(&self) {
        self.wish(Wish::Clear);
    }

    fn wish(&self, wish: Wish) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(wish);
    }

    fn take(&self) -> Option<Wish> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl FromRequestParts<SharedApp> for Slot {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &SharedApp) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// Grants the wish that was left while the request was answered.
pub async fn keep(State(app): State<SharedApp>, mut request: Request, next: Next) -> Response {
    let slot = Slot::default();
    let carried: Vec<String> = values(request.headers()).map(str::to_owned).collect();
    let is_secure = app.secrets.has_secure_cookie || origin::is_https(request.headers());
    request.extensions_mut().insert(slot.clone());
    let mut response = next.run(request).await;
    // A token whose user turned out to be gone is no session.
    if response.status() == StatusCode::UNAUTHORIZED {
        return response;
    }
    let cookie = match slot.take() {
        None => None,
        Some(Wish::Offer { token, .. }) if carried == [token.as_str()] => None,
        Some(Wish::Offer { token, expires_at } | Wish::Set { token, expires_at }) => {
            let life_s = expires_at - auth::now();
            // In the leeway after its end: a cookie of no life would clear one that is there.
            (life_s > 0).then(|| cookie(&token, life_s, is_secure))
        }
        Some(Wish::Clear) => Some(cookie("", 0, is_secure)),
    };
    if let Some(value) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

fn cookie(token: &str, life_s: i64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{NAME}={token}; HttpOnly; SameSite=Lax; Path=/; Max-Age={life_s}{secure}")
}

/// The token in the session cookie, if there is one.
///
/// # Errors
/// Several that differ: a neighbour domain may have set one of them, and nobody can tell which.
pub fn session_token(headers: &HeaderMap) -> ApiResult<Option<String>> {
    let mut values = values(headers);
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(ApiError::invalid_token("more than one session cookie"));
    }
    Ok(Some(first.to_owned()))
}

/// The values of the session cookie; what cannot be read is no token, and an empty one is none.
fn values(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| name.trim() == NAME)
        .map(|(_, value)| value.trim().trim_matches('"'))
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(cookies: &[&'static str]) -> Option<Option<String>> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_static(cookie));
        }
        session_token(&headers).ok()
    }

    #[test]
    fn the_session_cookie_is_found_among_others() {
        let a = || Some(Some("a.b-c".to_owned()));
        assert_eq!(tokens(&["x=1; auth_token=a.b-c; y=auth_token=z"]), a());
        assert_eq!(tokens(&["x=1", "auth_token=\"a.b-c\""]), a());
        assert_eq!(tokens(&["auth_token=a.b-c; auth_token=a.b-c"]), a());
        assert_eq!(tokens(&["auth_token=a; auth_token=b"]), None);
        assert_eq!(tokens(&["auth_token=; xauth_token=a; AUTH_TOKEN=a; auth_token"]), Some(None));
        assert_eq!(tokens(&[]), Some(None));
    }
}
