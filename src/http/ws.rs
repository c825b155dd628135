//! The upgrade to a WebSocket: everything that can be refused is refused before it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use glassbox_protocol::{SUBPROTOCOL, SessionId};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::{debug, error};

use super::admission::Place;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::Query;
use super::{origin, scope};
use crate::app::SharedApp;
use crate::auth::{self, Identity, Page};
use crate::session;

/// How a connection opens.
enum Opening {
    /// With `hello`; or as whoever a ticket in the address named.
    Hello(Option<Identity>),
    /// In the older dialect.
    Older(Box<Page>),
}

/// Upgrades to `glassbox.v2`, or to the older dialect where that is not offered.
#[utoipa::path(
    get,
    path = "/ws",
    tag = "operation",
    params(("token" = Option<String>, Query, description = "A ticket; or say who you are in `hello` of `glassbox.v2`.")),
    responses(
        (status = 101, description = "A WebSocket."),
        (status = 400, description = "Not a handshake that the server speaks.", body = ErrorBody),
        (status = 401, description = "Not a ticket.", body = ErrorBody),
        (status = 403, description = "This Origin is not allowed.", body = ErrorBody),
        (status = 426, description = "Not a handshake.", body = ErrorBody),
        (status = 503, description = "The instance takes no more connections.", body = ErrorBody),
    ),
    extensions(("x-right" = json!("none"))),
)]
pub async fn upgrade(State(app): State<SharedApp>, query: Query, mut request: Request) -> ApiResult<Response> {
    let headers = request.headers();
    let key = accept_key(headers)?;
    // No cookie opens a socket, so where every page may call, every page may connect.
    if !app.allowed_origins.iter().any(|allowed| allowed.trim() == "*") {
        origin::refuse_strangers(&app, headers)?;
    }
    let is_older = !offers(headers, SUBPROTOCOL);
    if app.is_draining() || app.sessions.count() >= app.limits.sessions {
        return Err(ApiError::unavailable().with("reason", "this instance takes no more connections"));
    }
    // A ticket; no other secret may stand in an address.
    let opening = match (is_older, query.given("token")) {
        (true, None) => return Err(ApiError::invalid_token("a ticket is required")),
        (true, Some(ticket)) => {
            Opening::Older(Box::new(auth::authenticate_page(&app, ticket, SessionId::random()).await?))
        }
        (false, None) => Opening::Hello(None),
        (false, Some(ticket)) => Opening::Hello(Some(auth::authenticate_ticket(&app, ticket).await?)),
    };
    let place = request.extensions().get::<Place>().cloned();
    let upgrade = hyper::upgrade::on(&mut request);
    let via = scope::via();
    let sessions = app.tasks.clone();
    sessions.spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return debug!(%error, "the upgrade was not finished"),
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            return error!("an upgraded connection is not the TCP stream that we accepted");
        };
        let kill = app.kill.clone();
        let (stream, leftover) = (parts.io.into_inner(), parts.read_buf);
        let serving = async {
            match opening {
                Opening::Hello(guest) => session::serve(app, stream, leftover, via, guest, place).await,
                Opening::Older(page) => {
                    drop(place);
                    Box::pin(session::v1::serve(app, stream, leftover, via, *page)).await;
                }
            }
        };
        tokio::select! {
            () = kill.cancelled() => {}
            () = serving => {}
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let answer = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, key),
    ];
    response.headers_mut().extend(answer);
    if !is_older {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok(response)
}

/// RFC 6455, section 4.2.1: what a handshake must say.
fn accept_key(headers: &HeaderMap) -> ApiResult<HeaderValue> {
    let is_upgrade =
        has_token(headers, header::CONNECTION, "upgrade") && has_token(headers, header::UPGRADE, "websocket");
    if !is_upgrade {
        return Err(ApiError::upgrade_required());
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(ApiError::field("Sec-WebSocket-Version", "must be 13"));
    }
    headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok())
        .ok_or_else(|| ApiError::field("Sec-WebSocket-Key", "is required"))
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|v| v.trim().eq_ignore_ascii_case(token))
}

fn offers(headers: &HeaderMap, protocol: &str) -> bool {
    has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, protocol)
}
