//! Starts and stops everything an instance does, and accepts its connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::app::{App, SharedApp};
use crate::auth::callers::Callers;
use crate::backplane::postgres as backplane;
use crate::backplane::relay::Relay;
use crate::config::{HEAD_DEADLINE, HEARTBEAT_INTERVAL, HttpConfig, LimitsConfig, Secrets};
use crate::http::admission::{Addresses, Place};
use crate::http::rate_limit::RateLimits;
use crate::room::inbox::Inboxes;
use crate::room::{self, Rooms, Surroundings};
use crate::session::Sessions;
use crate::store::{Database, events, instances};
use crate::{http, lock};

/// How often the log's partitions are looked after.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(600);

/// Rooms that may wait for the log reader at once.
const TRACKS_MAX: usize = 256;

/// What the kernel keeps of one connection on its way out, bytes; it doubles it. Left alone it keeps megabytes for a client
/// that does not read, where our own queue would have closed it, and what that client is shown is that old.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;

/// Connections that wait to be accepted; all clients may come back at once.
const BACKLOG: u32 = 4096;

/// How long the last tasks may take once everybody has left.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// What an instance is started with; the database is migrated and checked.
pub struct InstanceConfig {
    /// The server's own login.
    pub database_url: String,
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Port of `/metrics` on the loopback address; `None` serves none.
    pub metrics_port: Option<u16>,
    /// Origins whose pages may call.
    pub allowed_origins: Vec<String>,
    /// Database connections for requests and commands.
    pub pool: u32,
    /// How long a drain may take.
    pub drain: Duration,
    /// How requests are taken.
    pub http: HttpConfig,
    /// What sessions and rooms may use.
    pub limits: LimitsConfig,
    /// How callers are recognized.
    pub secrets: Secrets,
    /// Renders `/metrics`.
    pub metrics: Option<PrometheusHandle>,
}

/// A running instance.
pub struct Instance {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where `/metrics` is, if it is.
    pub metrics_address: Option<SocketAddr>,
    /// What its parts share.
    pub app: SharedApp,
    drain: Duration,
    /// Ends the accept loop.
    stop_accepting: CancellationToken,
    /// Ends everything else.
    stop: CancellationToken,
}

impl Instance {
    /// Starts an instance on a migrated database.
    ///
    /// # Errors
    /// The port is taken, or the URL is malformed.
    pub async fn start(config: InstanceConfig) -> anyhow::Result<Self> {
        let database = Database::connect(&config.database_url, config.pool)?;
        let (tracker, tracks) = mpsc::channel(TRACKS_MAX);
        let instance = Uuid::new_v4();
        let relay = Arc::new(Relay::new(instance));
        let (inboxes, user_tracks) = Inboxes::new();
        let tasks = TaskTracker::new();
        let app = Arc::new(App {
            instance,
            limits: config.limits,
            rate_limits: RateLimits::new(&config.http),
            http: config.http,
            allowed_origins: config.allowed_origins,
            callers: Callers::new(&config.secrets, tasks.clone())?,
            secrets: config.secrets,
            database: database.clone(),
            rooms: Rooms::default(),
            sessions: Sessions::new(Arc::clone(&inboxes)),
            relay: Arc::clone(&relay),
            tasks,
            kill: CancellationToken::new(),
            is_listening: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            metrics: config.metrics,
        });
        let (stop_accepting, stop) = (CancellationToken::new(), CancellationToken::new());
        let kill = app.kill.clone();
        app.rooms.start(Surroundings {
            instance: app.instance,
            database: database.clone(),
            reader: tracker,
            relay: Arc::clone(&relay),
            stop: stop.clone(),
            tasks: app.tasks.clone(),
        });

        let listener = listen(SocketAddr::new(config.bind, config.port))
            .with_context(|| format!("listen on {}:{}", config.bind, config.port))?;
        let address = listener.local_addr()?;

        // Alive before the first socket, so that a wait for a lock counts from the start.
        let living = timeout(STOP_DEADLINE, instances::heartbeat(&database, app.instance))
            .await
            .context("reach the database")?
            .context("reach the database")?;
        relay.set_has_others(living.len() > 1);

        let tasks = &app.tasks;
        tasks.spawn(room::reader::run(database.clone(), tracks, inboxes, user_tracks, stop.clone()));
        tasks.spawn(backplane::listen(Arc::clone(&app), stop.clone()));
        tasks.spawn(backplane::ring(Arc::clone(&app), stop.clone()));
        tasks.spawn(lock::sweep(Arc::clone(&app), stop.clone()));
        tasks.spawn(heartbeat(Arc::clone(&app), living, stop.clone()));
        tasks.spawn(maintain(Arc::clone(&app), stop.clone()));
        let router = http::router(Arc::clone(&app));
        let per_address_max = app.limits.unauthenticated_per_address;
        tasks.spawn(accept(listener, router, per_address_max, tasks.clone(), stop_accepting.clone(), kill.clone()));

        let metrics_address = match config.metrics_port {
            None => None,
            Some(port) => {
                let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port))
                    .await
                    .with_context(|| format!("listen on 127.0.0.1:{port} for metrics"))?;
                let at = listener.local_addr()?;
                let router = http::metrics_router(Arc::clone(&app));
                tasks.spawn(accept(listener, router, usize::MAX, tasks.clone(), stop.clone(), kill.clone()));
                Some(at)
            }
        };
        info!(instance = %app.instance, %address, "started");
        Ok(Self { address, metrics_address, app, drain: config.drain, stop_accepting, stop })
    }

    /// Stops in good order: not ready, no new sockets, every command that was received is answered, every client is
    /// told when to come back and where it is not lost, then everything ends.
    ///
    /// # Errors
    /// Some task did not end in time.
    pub async fn drain(self) -> anyhow::Result<()> {
        info!(sessions = self.app.sessions.count(), within = ?self.drain, "draining");
        self.app.is_draining.store(true, Ordering::Relaxed);
        self.stop_accepting.cancel();
        self.app.sessions.drain(self.drain).await;
        let gone = async {
            while self.app.sessions.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(STOP_DEADLINE, gone).await.is_err() {
            warn!(sessions = self.app.sessions.count(), "some sessions did not end in time");
        }
        self.stop.cancel();
        self.app.tasks.close();
        let ended = timeout(STOP_DEADLINE, self.app.tasks.wait()).await;
        self.app.kill.cancel();
        let _ = timeout(Duration::from_secs(1), instances::leave(&self.app.database, self.app.instance)).await;
        let _ = timeout(STOP_DEADLINE, self.app.database.close()).await;
        ended.context("some task did not end in time")?;
        info!("stopped");
        Ok(())
    }

    /// Drops every socket and stops every task at once, without a word to anybody: what a kill -9 looks like from
    /// outside. For tests.
    pub fn abort(self) {
        self.app.kill.cancel();
        self.stop_accepting.cancel();
        self.stop.cancel();
    }
}

/// Says that the instance lives, and tells the rooms who else does.
async fn heartbeat(app: SharedApp, mut known: Vec<Uuid>, stop: CancellationToken) {
    let mut beat = interval(HEARTBEAT_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beat.tick() => {}
        }
        match instances::heartbeat(&app.database, app.instance).await {
            Ok(living) => {
                app.relay.set_has_others(living.len() > 1);
                if living.iter().any(|id| !known.contains(id)) {
                    app.rooms.tell_all(|| room::Message::Reintroduce);
                }
                known.clone_from(&living);
                let living: Arc<[Uuid]> = living.into();
                app.rooms.tell_all(|| room::Message::Living(Arc::clone(&living)));
            }
            Err(error) => debug!(%error, "the heartbeat was not taken"),
        }
    }
}

/// Looks after the log's partitions and lets go of what nobody needs any more.
async fn maintain(app: SharedApp, stop: CancellationToken) {
    let mut tick = interval(MAINTENANCE_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        app.rate_limits.sweep();
        // A step may take minutes; what a stop interrupts is rolled back and done at the next start.
        let maintained = tokio::select! {
            () = stop.cancelled() => return,
            maintained = events::maintain(&app.database) => maintained,
        };
        if let Err(error) = maintained {
            warn!(%error, "look after the log's partitions");
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections and serves them, each with deadlines from its first byte on.
async fn accept(
    listener: TcpListener,
    router: Router,
    per_address_max: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
    kill: CancellationToken,
) {
    let addresses = Arc::new(Addresses::default());
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors: those that are open go on, new ones wait.
                    warn!(%error, "accept a connection");
                    tokio::time::sleep(accept_pause(&error)).await;
                    continue;
                }
            }
        };
        let Some(place) = Addresses::enter(&addresses, peer.ip(), per_address_max) else {
            debug!(%peer, "too many connections from one address");
            continue;
        };
        let router = router.clone();
        let (stop, kill) = (stop.clone(), kill.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = kill.cancelled() => {}
                () = serve(stream, peer, place, router, stop) => {}
            }
        });
    }
}

fn accept_pause(error: &io::Error) -> Duration {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => Duration::ZERO,
        _ => Duration::from_millis(100),
    }
}

/// Serves HTTP/1.1 on one connection until it is upgraded or over. The deadline counts from the moment at which a head
/// is due, so that a connection that sends nothing, or a byte now and then, does not stay.
async fn serve(stream: TcpStream, peer: SocketAddr, place: Place, router: Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(tower::service_fn(move |mut request: Request<Incoming>| {
        use tower::ServiceExt as _;
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        // An upgrade keeps the place until the socket has said who it is.
        request.extensions_mut().insert(place.clone());
        router.clone().oneshot(request.map(axum::body::Body::new))
    }));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "connection ended");
    }
}
