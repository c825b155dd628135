//! All SQL of the server, by table family, as functions that take a [`Tx`].
//!
//! A [`Tx`] is a transaction with a tenant context: [`Database::begin`] is the only place that makes one, so no query
//! runs without saying for whom, and [`Tx::commit`] is the only way to end one with a change, so no commit goes
//! unnoticed by the log reader and the doorbell.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use glassbox_protocol::{OrgId, RequestId, Seq, UserId};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Row as _, Transaction};
use tokio::time::timeout;
use uuid::Uuid;

pub mod audit;
pub mod canvas;
pub mod check;
pub mod commands;
pub mod commits;
pub mod context;
pub mod demo;
pub mod dependencies;
pub mod events;
pub mod facts;
pub mod feed;
pub mod instances;
pub mod locks;
pub mod members;
pub mod migrate;
mod moment;
pub mod nodes;
pub mod notifications;
pub mod org_members;
pub mod orgs;
mod origin;
pub mod parts;
pub mod project_members;
pub mod projects;
pub mod readable;
pub mod request_answers;
pub mod snapshot;
pub mod templates;
pub mod tickets;
pub mod traces;
pub mod tree;
pub mod undo;
pub mod users;
pub mod versions;
pub mod view;
pub mod worker_keys;

pub use commits::Commits;
pub use origin::{Audit, Origin, Via};

/// How long a request waits for a free connection before it is told to come back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer to a small question may take: the other end of the connection may be gone without a word.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// A connection that was idle for longer shows that it lives before it is used again,
const IDLE_UNCHECKED: Duration = Duration::from_secs(2);
/// within this time.
const CHECK_DEADLINE: Duration = Duration::from_millis(500);

/// How long a connection may take to show that it lives, when it goes back to its pool.
const RELEASE_DEADLINE: Duration = Duration::from_secs(2);

/// How long one statement may run, and how long it may wait for somebody else's lock. A paused instance loses its
/// transaction, and with it the heads that it holds, after the idle timeout.
/// Queries by thousands of ids look so costly to the planner that it would compile them, which takes longer than to run
/// them.
const SESSION_SETTINGS: [(&str, &str); 4] = [
    ("statement_timeout", "5s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("jit", "off"),
];

/// Connections of the log reader, which asks one question at a time; one to spare while a dead one is replaced.
const READER_CONNECTIONS: u32 = 2;

/// Connections of those who catch up.
const LOOKUP_CONNECTIONS: u32 = 4;

/// The database as the server uses it: never as owner or superuser.
#[derive(Clone)]
pub struct Database {
    app: PgPool,
    reader: PgPool,
    lookup: PgPool,
    /// For the connections that signals come and go on.
    signals: PgConnectOptions,
    commits: Arc<Commits>,
}

/// For whom a transaction runs; row-level security shows what this allows and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Tenant {
    /// The organization that the request is about.
    pub org: Option<OrgId>,
    /// Who asks.
    pub user: Option<UserId>,
    /// The `cognito_sub` of somebody who is just signing in.
    pub sign_in: Option<String>,
}

impl Tenant {
    /// The context of one organization, for work that no single user asked for.
    pub fn org(org: OrgId) -> Self {
        Self { org: Some(org), ..Self::default() }
    }

    /// The context of a user in an organization.
    pub fn member(org: OrgId, user: UserId) -> Self {
        Self { org: Some(org), user: Some(user), sign_in: None }
    }

    /// The context of a user outside any organization.
    pub fn user(user: UserId) -> Self {
        Self { user: Some(user), ..Self::default() }
    }

    /// The context of somebody whose token names this `cognito_sub`.
    pub fn signing_in(cognito_sub: &str) -> Self {
        Self { sign_in: Some(cognito_sub.to_owned()), ..Self::default() }
    }
}

/// What one transaction wrote to one stream's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// A project's or an organization's id.
    pub stream: Uuid,
    /// The stream's new head.
    pub head: Seq,
    /// For each of the transaction's events, oldest first, the command that made it. Events that were waiting for a
    /// number stand before them and are not listed.
    pub requests: Vec<Option<RequestId>>,
}

impl Sealed {
    /// The last event that a command made, if it made any.
    pub fn seq_of(&self, request: RequestId) -> Option<Seq> {
        let last = self.requests.iter().rposition(|r| *r == Some(request))?;
        let behind = i64::try_from(self.requests.len() - 1 - last).ok()?;
        Some(Seq(self.head.0 - behind))
    }
}

impl Database {
    /// Opens the pools; connections are made as they are needed.
    ///
    /// # Errors
    /// A malformed URL.
    pub fn connect(url: &str, pool_size: u32) -> anyhow::Result<Self> {
        let signals = connect_options(url, "glassbox_reader")?;
        let app = pool(connect_options(url, "glassbox_app")?, pool_size);
        let reader = pool(signals.clone(), READER_CONNECTIONS);
        let lookup = pool(signals.clone(), LOOKUP_CONNECTIONS);
        Ok(Self { app, reader, lookup, signals, commits: Arc::default() })
    }

    /// Tells what this instance has committed; for the log reader and the doorbell.
    pub fn commits(&self) -> &Arc<Commits> {
        &self.commits
    }

    /// Opens a transaction for a tenant.
    ///
    /// # Errors
    /// The database is away or all connections are in use.
    pub async fn begin(&self, tenant: &Tenant) -> sqlx::Result<Tx> {
        in_time(async { self.with_context(self.app.begin().await?, tenant).await }).await
    }

    /// Opens a transaction that sees one moment of the database and changes nothing.
    ///
    /// # Errors
    /// The database is away or all connections are in use.
    pub async fn begin_snapshot(&self, tenant: &Tenant) -> sqlx::Result<Tx> {
        let begin = self.app.begin_with("begin isolation level repeatable read read only");
        in_time(async { self.with_context(begin.await?, tenant).await }).await
    }

    async fn with_context(&self, mut inner: Transaction<'static, Postgres>, tenant: &Tenant) -> sqlx::Result<Tx> {
        let text = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        sqlx::query(
            "select
                set_config('app.current_org_id', $1, true),
                set_config('app.user_id', $2, true),
                set_config('app.sign_in', $3, true),
                set_config('realtime.doorbell', 'off', true)",
        )
        .bind(text(tenant.org.map(Uuid::from)))
        .bind(text(tenant.user.map(Uuid::from)))
        .bind(tenant.sign_in.as_deref().unwrap_or_default())
        .execute(&mut *inner)
        .await?;
        Ok(Tx { inner, commits: Arc::clone(&self.commits), statements: 0 })
    }

    /// A connection of the log reader, which sees every project's log and no tenant table.
    pub(crate) fn reader(&self) -> &PgPool {
        &self.reader
    }

    /// A connection for those who catch up and for finding where a node or project lives. Apart from the log reader's, so
    /// that many who come back at once do not hold up those who are live.
    pub(crate) fn lookup(&self) -> &PgPool {
        &self.lookup
    }

    /// A connection outside any tenant, for what belongs to none: instances, expired locks, the log's upkeep.
    pub(crate) fn untenanted(&self) -> &PgPool {
        &self.app
    }

    /// How to open a connection of one's own for signals, under a name that `pg_stat_activity` shows.
    pub(crate) fn signal_options(&self, name: &str) -> PgConnectOptions {
        self.signals.clone().application_name(name)
    }

    /// Closes the pools.
    pub async fn close(&self) {
        self.app.close().await;
        self.reader.close().await;
        self.lookup.close().await;
    }
}

fn connect_options(url: &str, role: &str) -> anyhow::Result<PgConnectOptions> {
    let options: PgConnectOptions = url.parse().context("DATABASE_URL: not a PostgreSQL URL")?;
    Ok(options
        .application_name("glassbox")
        .statement_cache_capacity(200)
        .options(SESSION_SETTINGS)
        .options([("role", role)]))
}

fn pool(options: PgConnectOptions, size: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                let is_fresh = meta.idle_for < IDLE_UNCHECKED;
                Ok(is_fresh || timeout(CHECK_DEADLINE, conn.ping()).await.is_ok_and(|lives| lives.is_ok()))
            })
        })
        // Whoever gave up waiting for a dead connection must not leave it, and its place, to the pool.
        .after_release(|conn, _| {
            Box::pin(async move {
                match timeout(RELEASE_DEADLINE, conn.ping()).await {
                    Ok(lives) => lives.map(|()| true),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
        .connect_lazy_with(options)
}

/// Waits for an answer of the database, but not for ever.
pub(crate) async fn in_time<T>(answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(ANSWER_DEADLINE, answer).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// A transaction with a tenant context. Dropped, it changes nothing.
pub struct Tx {
    inner: Transaction<'static, Postgres>,
    commits: Arc<Commits>,
    statements: u32,
}

impl Tx {
    /// The connection, for one statement.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        self.statements += 1;
        &mut self.inner
    }

    /// How many statements have run in it; what reads many things must not need one for each.
    pub fn statements(&self) -> u32 {
        self.statements
    }

    /// Says who stands behind the statements that follow: one origin for all rows, and others for single rows.
    ///
    /// # Errors
    /// The database is away.
    pub async fn set_origin(&mut self, all: &Origin, rows: &[(Uuid, Origin)]) -> sqlx::Result<()> {
        let setting = origin::setting(all, rows)?;
        sqlx::query("select set_config('app.origin', $1, true)").bind(setting).execute(self.conn()).await?;
        Ok(())
    }

    /// Numbers the transaction's events now and tells which seq each command got. What follows in this transaction
    /// must write no further events.
    ///
    /// # Errors
    /// The database is away, or the head is locked by somebody else for too long.
    pub async fn seal(&mut self) -> sqlx::Result<Vec<Sealed>> {
        let rows =
            sqlx::query("select stream_id, seq, requests from realtime.seal_now()").fetch_all(self.conn()).await?;
        rows.into_iter()
            .map(|row| {
                let requests: String = row.try_get("requests")?;
                Ok(Sealed {
                    stream: row.try_get("stream_id")?,
                    head: Seq(row.try_get("seq")?),
                    requests: requests.split(',').filter(|r| !r.is_empty()).map(|r| r.parse().ok()).collect(),
                })
            })
            .collect()
    }

    /// Commits, then wakes the log reader and rings the doorbell.
    ///
    /// # Errors
    /// The database is away. The outcome is then unknown: it may have committed.
    pub async fn commit(mut self) -> sqlx::Result<Vec<Sealed>> {
        let sealed = self.seal().await?;
        self.commit_sealed(&sealed).await?;
        Ok(sealed)
    }

    /// Commits a transaction that [`Tx::seal`] has sealed.
    ///
    /// # Errors
    /// As [`Tx::commit`].
    pub async fn commit_sealed(self, sealed: &[Sealed]) -> sqlx::Result<()> {
        self.inner.commit().await?;
        self.commits.note(sealed.iter().map(|s| (s.stream, s.head)));
        Ok(())
    }
}

/// What a database error means to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The database does not answer; the same call may succeed later.
    Unavailable,
    /// Somebody else holds what is needed for too long; the same call may succeed later.
    Busy,
    /// A uniqueness rule, a reference or a check refused it.
    Refused,
    /// A defect.
    Defect,
}

impl Failure {
    /// Sorts a database error by what the caller can do about it.
    pub fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Failure::Unavailable,
            sqlx::Error::Database(e) => match e.code().as_deref() {
                // lock_not_available, query_canceled (a timeout), deadlock_detected, serialization_failure
                Some("55P03" | "57014" | "40P01" | "40001") => Failure::Busy,
                // connection exceptions, insufficient resources, admin shutdown and crash, idle timeouts
                Some(code) if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") => {
                    Failure::Unavailable
                }
                Some("25P03") => Failure::Unavailable,
                // Integrity, and values that PostgreSQL cannot take.
                Some(code) if code.starts_with("23") || code.starts_with("22") => Failure::Refused,
                _ => Failure::Defect,
            },
            _ => Failure::Defect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_learns_the_seq_of_its_last_event() {
        let (a, b) = (RequestId::random(), RequestId::random());
        let sealed =
            Sealed { stream: Uuid::new_v4(), head: Seq(10), requests: vec![Some(a), None, Some(b), Some(a), Some(b)] };
        assert_eq!(sealed.seq_of(a), Some(Seq(9)));
        assert_eq!(sealed.seq_of(b), Some(Seq(10)));
        assert_eq!(sealed.seq_of(RequestId::random()), None);
    }
}
