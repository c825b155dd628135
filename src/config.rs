//! Every number and name that an operator may set, in one table: flags and environment variables are the same
//! settings. A wrong value is refused at the start with one line that names it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

mod auth;
mod database;

pub use auth::{AuthConfig, CognitoConfig, DEVELOPMENT_SECRET, Secrets};
pub use database::DatabaseConfig;

/// What `glassbox serve` can be told.
#[derive(Args, Clone, Debug)]
pub struct ServeConfig {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// Tokens.
    #[command(flatten)]
    pub auth: AuthConfig,
    /// TCP port of REST and WebSocket; 0 takes a free one
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// Address to listen on
    #[arg(long, env = "GLASSBOX_BIND", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// TCP port of `/metrics` on the loopback address; 0 takes a free one. By default 1000 above the port
    #[arg(long, env = "GLASSBOX_METRICS_PORT")]
    pub metrics_port: Option<u16>,
    /// Origins whose pages may call, comma-separated; `*` allows all without credentials
    #[arg(long, env = "ALLOWED_ORIGINS", value_delimiter = ',', default_value = "http://localhost:3000")]
    pub allowed_origins: Vec<String>,
    /// Database connections for requests and commands
    #[arg(long, env = "GLASSBOX_POOL", default_value_t = 16, value_parser = clap::value_parser!(u32).range(4..=200))]
    pub pool: u32,
    /// How long a drain may take after SIGTERM, s
    #[arg(long, env = "GLASSBOX_DRAIN_S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=300))]
    pub drain_s: u64,
    /// Fill a demo project if it is missing and print how to look at it
    #[arg(long)]
    pub demo: bool,
    /// Requests of the REST API
    #[command(flatten)]
    pub http: HttpConfig,
    /// What sessions and rooms may use
    #[command(flatten)]
    pub limits: LimitsConfig,
}

/// How requests of the REST API are taken.
#[derive(Args, Clone, Copy, Debug)]
pub struct HttpConfig {
    /// Requests per minute and user, where no route says otherwise
    #[arg(long, env = "RATE_LIMIT_PER_MINUTE", default_value_t = HttpConfig::DEFAULT.rate_limit_per_minute)]
    pub rate_limit_per_minute: NonZeroU32,
    /// Tickets for WebSockets per minute and user
    #[arg(long, env = "GLASSBOX_TICKETS_PER_MINUTE", default_value_t = HttpConfig::DEFAULT.tickets_per_minute)]
    pub tickets_per_minute: NonZeroU32,
    /// Development tokens per minute and address
    #[arg(long, env = "GLASSBOX_DEV_TOKENS_PER_MINUTE", default_value_t = HttpConfig::DEFAULT.dev_tokens_per_minute)]
    pub dev_tokens_per_minute: NonZeroU32,
    /// Proxies of one's own in front of the server; the client's address is what the outermost of them says
    #[arg(long, env = "GLASSBOX_TRUSTED_PROXIES", default_value_t = HttpConfig::DEFAULT.trusted_proxies)]
    pub trusted_proxies: usize,
}

impl HttpConfig {
    /// What holds where nothing else is said.
    const DEFAULT: Self = Self {
        rate_limit_per_minute: NonZeroU32::new(100).expect("100 is not 0"),
        tickets_per_minute: NonZeroU32::new(60).expect("60 is not 0"),
        dev_tokens_per_minute: NonZeroU32::new(30).expect("30 is not 0"),
        trusted_proxies: 0,
    };
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What sessions and rooms may use.
#[derive(Args, Clone, Debug)]
pub struct LimitsConfig {
    /// Largest inbound WebSocket frame, bytes
    #[arg(long, env = "GLASSBOX_FRAME_BYTES", default_value_t = LimitsConfig::DEFAULT.frame_bytes)]
    pub frame_bytes: usize,
    /// Bytes that may wait for one client before it is closed as slow
    #[arg(long, env = "GLASSBOX_OUTBOUND_BYTES", default_value_t = LimitsConfig::DEFAULT.outbound_bytes)]
    pub outbound_bytes: usize,
    /// Open channels per session
    #[arg(long, env = "GLASSBOX_CHANNELS", default_value_t = LimitsConfig::DEFAULT.channels)]
    pub channels: usize,
    /// Commands per second and session, sustained
    #[arg(long, env = "GLASSBOX_COMMANDS_PER_SECOND", default_value_t = LimitsConfig::DEFAULT.commands_per_second)]
    pub commands_per_second: u32,
    /// Commands of one session in a burst
    #[arg(long, env = "GLASSBOX_COMMANDS_BURST", default_value_t = LimitsConfig::DEFAULT.commands_burst)]
    pub commands_burst: u32,
    /// Presence frames per second and session
    #[arg(long, env = "GLASSBOX_PRESENCE_PER_SECOND", default_value_t = LimitsConfig::DEFAULT.presence_per_second)]
    pub presence_per_second: u32,
    /// WebSockets on this instance
    #[arg(long, env = "GLASSBOX_SESSIONS", default_value_t = LimitsConfig::DEFAULT.sessions)]
    pub sessions: usize,
    /// How long after its session a ticket of the older dialect opens the page's next connection, s; 0 makes it single-use
    #[arg(long, env = "GLASSBOX_TICKET_RESUME_S", default_value_t = LimitsConfig::DEFAULT.ticket_resume_s)]
    pub ticket_resume_s: u32,
    /// Connections of one address that have not said who they are
    #[arg(long, env = "GLASSBOX_UNAUTHENTICATED_PER_ADDRESS", default_value_t = LimitsConfig::DEFAULT.unauthenticated_per_address)]
    pub unauthenticated_per_address: usize,
}

impl LimitsConfig {
    /// What holds where nothing else is said.
    const DEFAULT: Self = Self {
        frame_bytes: 262_144,
        outbound_bytes: 1_048_576,
        channels: 64,
        commands_per_second: 50,
        commands_burst: 200,
        presence_per_second: 60,
        sessions: 20_000,
        ticket_resume_s: 43_200,
        unauthenticated_per_address: 2_500,
    };
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How often the server pings a socket.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long a pong may take.
pub const PONG_DEADLINE: Duration = Duration::from_secs(10);
/// How long a socket may stay silent before its `hello`.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(5);
/// How long one frame may take from its first byte to its last.
pub const FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// How long a request's head may take.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How often a silent channel hears the head.
pub const HEAD_BEAT: Duration = Duration::from_secs(5);
/// How long presence outlives a lost connection.
pub const PRESENCE_GRACE: Duration = Duration::from_secs(10);
/// How often a room sends presence at most: 30 frames a second.
pub const PRESENCE_TICK: Duration = Duration::from_millis(33);
/// How often presence goes to the other instances at most.
pub const PRESENCE_RELAY_TICK: Duration = Duration::from_millis(50);
/// How often the heads of open rooms are polled, whatever the signals say.
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How long commits are collected before the doorbell rings.
pub const DOORBELL_TICK: Duration = Duration::from_millis(5);
/// How often an instance says that it lives, and asks who else does. One that was silent for 15 s counts as dead, so its
/// ghosts are gone within 20 s.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(4);
/// Default lease of a lock taken over a WebSocket, ms.
pub const LOCK_TTL_MS: i64 = 30_000;
/// Shortest and longest lease that may be asked for, ms.
pub const LOCK_TTL_RANGE_MS: std::ops::RangeInclusive<i64> = 2_000..=600_000;

/// Installations set what they do not use to nothing.
fn given(setting: &Option<String>) -> Option<&str> {
    setting.as_deref().map(str::trim).filter(|text| !text.is_empty())
}
