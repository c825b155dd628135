//! Every route of the server, and what all of them have in common.
//!
//! Handlers live in `http/`, one file per resource; they turn a request into calls of `store` and `auth` and the
//! result into an answer. [`frame`] is around every request, so that no answer, whoever gives it, lacks a request id,
//! CORS headers or a place in the metrics.

pub mod admission;
pub mod audit;
pub mod auth;
pub mod canvas;
pub mod context;
pub mod cookie;
pub mod dependencies;
pub mod error;
pub mod events;
pub mod extract;
pub mod health;
pub mod locks;
pub mod nodes;
pub mod notifications;
pub mod once;
pub mod openapi;
pub mod org_members;
pub mod orgs;
pub mod origin;
pub mod page;
pub mod parts;
pub mod project_members;
pub mod projects;
pub mod rate_limit;
pub mod schema;
pub mod scope;
pub mod submit;
pub mod template_schema;
pub mod templates;
pub mod users;
pub mod versions;
pub mod worker_keys;
pub mod ws;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::FutureExt as _;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use crate::app::SharedApp;
use crate::metrics;
use error::ApiError;
use scope::Scope;

/// Largest body, bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Largest document of a canvas import, bytes.
const CANVAS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long reading a request and answering it may take together.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// The one route that waits for news before it answers.
const EVENTS: &str = "/api/v1/projects/{projectId}/events";

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS");
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Origin, Content-Type, Accept, Authorization, X-Request-ID, Idempotency-Key, If-None-Match",
);
const EXPOSED_HEADERS: HeaderValue =
    HeaderValue::from_static("X-Request-ID, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset");
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Every route that clients may use. The path of each stands above its handler, where the document takes it from.
pub fn router(app: SharedApp) -> Router {
    let operation = OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(health::page))
        .routes(routes!(health::health))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(ws::upgrade));
    let tokens = OpenApiRouter::new().routes(routes!(auth::dev_token)).routes(routes!(auth::ws_token));
    let tokens = tokens.routes(routes!(auth::sign_in, auth::sign_out));
    let users = OpenApiRouter::new().routes(routes!(users::me, users::change));
    let orgs = OpenApiRouter::new()
        .routes(routes!(orgs::list, orgs::create))
        .routes(routes!(worker_keys::list, worker_keys::create))
        .routes(routes!(worker_keys::revoke))
        .routes(routes!(orgs::get, orgs::update, orgs::delete))
        .routes(routes!(org_members::list, org_members::add))
        .routes(routes!(org_members::update, org_members::remove))
        .routes(routes!(projects::list, projects::create));
    let projects = OpenApiRouter::new()
        .routes(routes!(projects::get, projects::update, projects::delete))
        .routes(routes!(project_members::list, project_members::add))
        .routes(routes!(project_members::update, project_members::remove))
        .routes(routes!(projects::snapshot))
        .routes(routes!(events::list))
        .routes(routes!(canvas::export, canvas::import).layer(DefaultBodyLimit::max(CANVAS_BYTES_MAX)));
    let locks = OpenApiRouter::new()
        .routes(routes!(locks::acquire, locks::release))
        .routes(routes!(locks::renew))
        .routes(routes!(locks::break_lock));
    let nodes = OpenApiRouter::new()
        .routes(routes!(nodes::list, nodes::write::create))
        .routes(routes!(nodes::write::move_all))
        .routes(routes!(nodes::get, nodes::write::update, nodes::write::delete))
        .routes(routes!(nodes::write::restore))
        .routes(routes!(nodes::children))
        .routes(routes!(versions::list))
        .routes(routes!(versions::get))
        .routes(routes!(versions::rollback))
        .routes(routes!(context::get));
    let links = OpenApiRouter::new()
        .routes(routes!(parts::add_input))
        .routes(routes!(parts::remove_input))
        .routes(routes!(parts::add_output))
        .routes(routes!(parts::remove_output))
        .routes(routes!(dependencies::list))
        .routes(routes!(dependencies::sources, dependencies::add))
        .routes(routes!(dependencies::targets))
        .routes(routes!(dependencies::get, dependencies::update, dependencies::remove));
    let trail = OpenApiRouter::new()
        .routes(routes!(audit::list))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::read_all))
        .routes(routes!(notifications::read));
    let templates = OpenApiRouter::new()
        .routes(routes!(templates::list, templates::create))
        .routes(routes!(templates::get, templates::update, templates::delete))
        .routes(routes!(templates::apply))
        .routes(routes!(templates::instantiate));
    let (routes, document) = operation
        .merge(tokens)
        .merge(users)
        .merge(orgs)
        .merge(projects)
        .merge(nodes)
        .merge(links)
        .merge(locks)
        .merge(trail)
        .merge(templates)
        .with_state(SharedApp::clone(&app))
        .split_for_parts();
    routes
        .merge(openapi::router(openapi::complete(&document)))
        .route(openapi::SOCKET_DOCUMENT, get(openapi::socket))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(SharedApp::clone(&app), cookie::keep))
        .layer(from_fn_with_state(app, frame))
}

/// What operators read, for an address of its own that no client reaches.
pub fn metrics_router(app: SharedApp) -> Router {
    Router::new().route("/metrics", get(health::metrics)).with_state(app)
}

/// What happens around every request.
async fn frame(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let scope = Scope::of(&request, app.http.trusted_proxies);
    let id = scope.id.clone();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |matched| matched.as_str().to_owned());
    let origin = request.headers().get(header::ORIGIN).cloned();

    let mut response = if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        scope.clone().run(answer(request, next, deadline(&route))).await
    };

    let headers = response.headers_mut();
    if let Some(allowance) = scope.allowance() {
        allowance.write(headers);
    }
    add_cors(headers, &app.allowed_origins, origin.as_ref(), method == Method::OPTIONS);
    if path == "/api/v1" || path.starts_with("/api/v1/") {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(X_REQUEST_ID, value);
    }

    let took = started.elapsed();
    let status = response.status().as_u16();
    metrics::http_request(&route, method_label(&method), status, took);
    // The path and nothing behind it: a query may carry a ticket.
    let user = scope.user().map(tracing::field::display);
    let ip = scope.via.ip;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        target: "glassbox::access",
        { request.id = %id, user.id = user, client.ip = %ip, %method, path, status, took_ms },
        "answered"
    );
    response
}

/// Answers within the deadline, and also when a handler panics.
async fn answer(request: Request, next: Next, deadline: Duration) -> Response {
    let handler = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(deadline, handler).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            tracing::error!(request.id = %scope::id(), panic = ?text, "a handler panicked");
            ApiError::logged_defect().into_response()
        }
        Err(_) => {
            tracing::warn!(request.id = %scope::id(), "a request took longer than {deadline:?}");
            ApiError::unavailable().into_response()
        }
    }
}

fn deadline(route: &str) -> Duration {
    if route == EVENTS { ANSWER_DEADLINE + Duration::from_secs(events::WAIT_MAX_S) } else { ANSWER_DEADLINE }
}

/// Tells browsers which pages may read the answer. Caches must keep the answers to different origins apart, also
/// when the origin is refused.
fn add_cors(headers: &mut HeaderMap, allowed: &[String], origin: Option<&HeaderValue>, is_preflight: bool) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if allowed.iter().any(|allowed| allowed.trim() == "*") {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else if let Some(origin) =
        origin.filter(|origin| allowed.iter().any(|allowed| allowed.trim().as_bytes() == origin.as_bytes()))
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    } else {
        return;
    }
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    if is_preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
    }
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listed_origin_may_read_the_answer() {
        let allowed = ["http://a.example".to_owned(), " http://b.example ".to_owned()];
        let answer = |origin: &'static str, allowed: &[String]| {
            let mut headers = HeaderMap::new();
            add_cors(&mut headers, allowed, Some(&HeaderValue::from_static(origin)), true);
            assert_eq!(headers.get(header::VARY), Some(&HeaderValue::from_static("Origin")));
            let text = |name| headers.get(name).map(|v: &HeaderValue| v.to_str().unwrap_or("").to_owned());
            (text(header::ACCESS_CONTROL_ALLOW_ORIGIN), text(header::ACCESS_CONTROL_ALLOW_CREDENTIALS))
        };
        let yes = Some("true".to_owned());
        assert_eq!(answer("http://b.example", &allowed), (Some("http://b.example".to_owned()), yes));
        assert_eq!(answer("http://a.example:80", &allowed), (None, None));
        assert_eq!(answer("http://a.example", &["*".to_owned()]), (Some("*".to_owned()), None));
    }
}
