//! What every part of the server shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::auth::callers::Callers;
use crate::backplane::relay::Relay;
use crate::config::{HttpConfig, LimitsConfig, Secrets};
use crate::http::rate_limit::RateLimits;
use crate::room::Rooms;
use crate::session::Sessions;
use crate::store::Database;

/// One instance: its settings, its database, its open rooms and sessions.
pub struct App {
    /// Names this instance; new at every start.
    pub instance: Uuid,
    /// What sessions and rooms may use.
    pub limits: LimitsConfig,
    /// Origins whose pages may call.
    pub allowed_origins: Vec<String>,
    /// How requests are taken.
    pub http: HttpConfig,
    /// How often callers may ask.
    pub rate_limits: RateLimits,
    /// How callers are recognized.
    pub secrets: Secrets,
    /// Who was recognized a moment ago.
    pub callers: Callers,
    /// The database, as the server may use it.
    pub database: Database,
    /// The open rooms.
    pub rooms: Rooms,
    /// The open sessions.
    pub sessions: Sessions,
    /// Presence to and from the other instances.
    pub relay: Arc<Relay>,
    /// Owns every task of the instance.
    pub tasks: TaskTracker,
    /// Ends sockets without a word; see [`crate::server::Instance::abort`].
    pub kill: CancellationToken,
    /// Whether the backplane hears signals at the moment.
    pub is_listening: AtomicBool,
    /// Whether the instance drains: no new sockets, not ready.
    pub is_draining: AtomicBool,
    /// Renders `/metrics`; absent in tests that run several instances in one process.
    pub metrics: Option<PrometheusHandle>,
}

/// The shared form.
pub type SharedApp = Arc<App>;

impl App {
    /// Whether new work is refused because the instance goes away.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }
}
