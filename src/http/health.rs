//! Whether the instance lives, whether it should get work, and what it counts.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, SharedApp};
use crate::store::{Tenant, migrate};

/// How long the database may take to answer before it counts as away.
const DATABASE_DEADLINE: Duration = Duration::from_secs(3);

/// Whether the server and its database answer.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    service: &'static str,
    version: &'static str,
    /// `up` or `down`.
    database: &'static str,
}

/// Whether the instance should get work.
#[derive(Serialize, ToSchema)]
pub struct Readiness {
    /// The database answers.
    database: bool,
    /// Its schema is this build's.
    migrations: bool,
    /// Signals are heard.
    listener: bool,
    /// The instance goes away.
    draining: bool,
}

/// `GET /health`
#[utoipa::path(
    get,
    path = "/health",
    tag = "operation",
    responses((status = 200, body = Health), (status = 503, description = "The database does not answer.", body = Health)),
    extensions(("x-right" = json!("none"))),
)]
pub async fn health(State(app): State<SharedApp>) -> Response {
    let is_up = tokio::time::timeout(DATABASE_DEADLINE, app.database.begin(&Tenant::default()))
        .await
        .is_ok_and(|tx| tx.is_ok());
    let (status, word, database) =
        if is_up { (StatusCode::OK, "healthy", "up") } else { (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", "down") };
    let body = Health { status: word, service: "glassbox-api", version: env!("CARGO_PKG_VERSION"), database };
    (status, Json(body)).into_response()
}

/// `GET /livez`
#[utoipa::path(
    get,
    path = "/livez",
    tag = "operation",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain")),
    extensions(("x-right" = json!("none"))),
)]
pub async fn livez() -> &'static str {
    "ok"
}

/// `GET /readyz`
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses((status = 200, body = Readiness), (status = 503, description = "Give it no work.", body = Readiness)),
    extensions(("x-right" = json!("none"))),
)]
pub async fn readyz(State(app): State<SharedApp>) -> Response {
    let (has_database, is_migrated) =
        tokio::time::timeout(DATABASE_DEADLINE, database(&app)).await.unwrap_or((false, false));
    let is_listening = app.is_listening.load(Ordering::Relaxed);
    let is_draining = app.is_draining();
    let is_ready = has_database && is_migrated && is_listening && !is_draining;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body =
        Readiness { database: has_database, migrations: is_migrated, listener: is_listening, draining: is_draining };
    (status, Json(body)).into_response()
}

/// Whether the database answers, and whether its schema is this build's.
async fn database(app: &App) -> (bool, bool) {
    match app.database.begin(&Tenant::default()).await {
        Ok(mut tx) => (true, migrate::is_current(tx.conn()).await),
        Err(_) => (false, false),
    }
}

/// `GET /metrics`, on an address of its own.
pub async fn metrics(State(app): State<SharedApp>) -> Response {
    match &app.metrics {
        Some(handle) => {
            let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (text, handle.render()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `GET /`
#[utoipa::path(
    get,
    path = "/",
    tag = "operation",
    responses((status = 200, description = "A page.", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("none"))),
)]
pub async fn page() -> Response {
    let html = concat!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>GlassBox</title>\n",
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}</style>\n",
        "<h1>GlassBox ",
        env!("CARGO_PKG_VERSION"),
        "</h1>\n",
        "<p>The collaboration server is running. The canvas editor is not part of this server yet.</p>\n",
        "<ul>\n<li><a href=\"/health\">/health</a>: is the database there?</li>\n",
        "<li><a href=\"/readyz\">/readyz</a>: should this instance get work?</li>\n",
        "<li><code>/api/v1</code>: the REST API; <code>/ws</code>: the WebSocket, subprotocol ",
        "<code>glassbox.v2</code></li>\n",
        "<li>How to use them stands in <code>docs/</code> and <code>README.md</code> of the source.</li>\n</ul>\n</html>\n",
    );
    let headers = [(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'")];
    (headers, Html(html)).into_response()
}
