//! Which page a request comes from, for requests that a browser may have been talked into.
//!
//! A list of origins that says `*` lets every page read what needs no credentials; it trusts none of them with somebody's
//! session.

use axum::http::{HeaderMap, Method, header};

use super::error::{ApiError, ApiResult};
use crate::app::{App, SharedApp};

/// Lets a request with the session cookie change something only for a page that may call.
///
/// # Errors
/// 403.
pub fn refuse_forgery(app: &SharedApp, method: &Method, headers: &HeaderMap) -> ApiResult<()> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Ok(());
    }
    refuse_others(app, headers)
}

/// Lets through what says that it comes from a page that may call.
///
/// # Errors
/// 403.
pub fn refuse_others(app: &SharedApp, headers: &HeaderMap) -> ApiResult<()> {
    if is_trusted(app, headers) {
        return Ok(());
    }
    Err(ApiError::forbidden().with("reason", "needs an Origin that is allowed"))
}

/// Lets through what comes from a page that may call, or from no page.
///
/// # Errors
/// 403.
pub fn refuse_strangers(app: &SharedApp, headers: &HeaderMap) -> ApiResult<()> {
    if headers.contains_key(header::ORIGIN) { refuse_others(app, headers) } else { Ok(()) }
}

/// Whether the request came by HTTPS, as the proxy before us says.
pub fn is_https(headers: &HeaderMap) -> bool {
    headers
        .get("x-forwarded-proto")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(',').next())
        .is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

fn is_trusted(app: &App, headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next().and_then(|origin| origin.to_str().ok()), origins.next()) else {
        return false;
    };
    let is_listed = app.allowed_origins.iter().any(|allowed| allowed.trim() != "*" && allowed.trim() == origin);
    is_listed || is_own(origin, headers, app.secrets.has_secure_cookie || is_https(headers))
}

/// A page of the server's own. Behind HTTPS one that came by HTTP is anybody's on the same network.
fn is_own(origin: &str, headers: &HeaderMap, is_https: bool) -> bool {
    let host = match (origin.strip_prefix("https://"), origin.strip_prefix("http://")) {
        (Some(host), _) => host,
        (None, Some(host)) if !is_https => host,
        _ => return false,
    };
    headers.get(header::HOST).and_then(|own| own.to_str().ok()).is_some_and(|own| own.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_servers_own_pages_have_its_host_and_its_scheme() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("glass.example:8080"));
        for (origin, is_https, expected) in [
            ("http://glass.example:8080", false, true),
            ("https://glass.example:8080", false, true),
            ("https://glass.example:8080", true, true),
            ("http://glass.example:8080", true, false),
            ("http://glass.example", false, false),
            ("http://glass.example:8080.evil.example", false, false),
            ("ftp://glass.example:8080", false, false),
            ("null", false, false),
            ("", false, false),
        ] {
            assert_eq!(is_own(origin, &headers, is_https), expected, "{origin} {is_https}");
        }
    }

    #[test]
    fn the_proxy_says_whether_a_page_came_by_https() {
        for (value, expected) in [("https", true), ("HTTPS, http", true), ("http, https", false), ("", false)] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-proto", HeaderValue::from_static(value));
            assert_eq!(is_https(&headers), expected, "{value}");
        }
    }
}
