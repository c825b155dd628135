//! The log, as the log reader and resuming sessions read it.

use std::collections::HashMap;

use glassbox_protocol::{Channel, Epoch, ProjectId, Seq};
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use super::{Database, Tx, in_time};

/// What one transaction wrote to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// The stream.
    pub stream: Uuid,
    /// The number of the last event.
    pub seq: Seq,
    /// How many events there are.
    pub count: i64,
    /// One event per line: the public object and, behind a tab, what only its author may see.
    pub body: String,
    /// When it was written, RFC 3339.
    pub at: String,
}

impl LogRow {
    /// The position before the first event.
    pub fn start(&self) -> Seq {
        Seq(self.seq.0 - self.count)
    }
}

/// A line of the log: what everybody sees and, behind a tab, what only its author may see.
pub fn split_line(line: &str) -> (&str, Option<&str>) {
    match line.split_once('\t') {
        Some((public, private)) => (public, Some(private)),
        None => (line, None),
    }
}

/// The public object of a line with what only its row knows, left open for more fields; `None` if it is no object.
pub fn open_event(public: &str, channel: Channel, seq: Seq, at: &str, is_last: bool) -> Option<String> {
    let fields = public.strip_suffix('}')?;
    let tx_end = if is_last { r#","txEnd":true"# } else { "" };
    Some(format!(r#"{fields},"channel":"{channel}","seq":{seq},"at":"{at}"{tx_end}"#))
}

/// Most rows of one stream that are read at once; the caller comes back for more.
pub const ROWS_MAX: i64 = 256;

/// Reads what follows the given positions, for all these streams in one round trip; at most [`ROWS_MAX`] rows each,
/// in seq order within a stream.
///
/// # Errors
/// The database is away.
pub async fn after(connections: &PgPool, positions: &[(Uuid, Seq)]) -> sqlx::Result<Vec<LogRow>> {
    let rows = in_time(
        sqlx::query(
            "select e.stream_id, e.seq, e.n, e.body, realtime.time_text(e.at) as at
        from unnest($1::uuid[], $2::bigint[]) p (stream_id, seq)
        cross join lateral (
            select l.stream_id, l.seq, l.n, l.body, l.at
            from realtime.log l
            where l.stream_id = p.stream_id
                and l.seq > p.seq
            order by l.seq
            limit $3
        ) e",
        )
        .bind(positions.iter().map(|(stream, _)| *stream).collect::<Vec<_>>())
        .bind(positions.iter().map(|(_, seq)| seq.0).collect::<Vec<_>>())
        .bind(ROWS_MAX)
        .fetch_all(connections),
    )
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(LogRow {
                stream: row.try_get("stream_id")?,
                seq: Seq(row.try_get("seq")?),
                count: i64::from(row.try_get::<i32, _>("n")?),
                body: row.try_get("body")?,
                at: row.try_get("at")?,
            })
        })
        .collect()
}

/// The heads of streams; one that has no event yet is absent.
///
/// # Errors
/// The database is away.
pub async fn heads(db: &Database, streams: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Seq>> {
    let rows: Vec<(Uuid, i64)> = in_time(
        sqlx::query_as(
            "select stream_id, seq
        from realtime.heads
        where stream_id = any($1)",
        )
        .bind(streams)
        .fetch_all(db.reader()),
    )
    .await?;
    Ok(rows.into_iter().map(|(stream, seq)| (stream, Seq(seq))).collect())
}

/// Which of these streams have gone on, and how far; the others are left out. One question about many streams that are
/// mostly silent.
///
/// # Errors
/// The database is away.
pub async fn moved(db: &Database, positions: &[(Uuid, Seq)]) -> sqlx::Result<HashMap<Uuid, Seq>> {
    let rows: Vec<(Uuid, i64)> = in_time(
        sqlx::query_as(
            "select h.stream_id, h.seq
        from unnest($1::uuid[], $2::bigint[]) p (stream_id, seq)
        join realtime.heads h on h.stream_id = p.stream_id
        where h.seq > p.seq",
        )
        .bind(positions.iter().map(|(stream, _)| *stream).collect::<Vec<_>>())
        .bind(positions.iter().map(|(_, seq)| seq.0).collect::<Vec<_>>())
        .fetch_all(db.lookup()),
    )
    .await?;
    Ok(rows.into_iter().map(|(stream, seq)| (stream, Seq(seq))).collect())
}

/// Names the present life of all logs.
///
/// # Errors
/// The database is away.
pub async fn epoch(db: &Database) -> sqlx::Result<Epoch> {
    in_time(sqlx::query_scalar("select realtime.epoch()").fetch_one(db.reader())).await.map(Epoch)
}

/// Numbers the events of writers above READ COMMITTED; returns how many streams had some.
///
/// # Errors
/// The database is away.
pub async fn drain_pending(db: &Database) -> sqlx::Result<i32> {
    in_time(sqlx::query_scalar("select realtime.drain_pending()").fetch_one(db.untenanted())).await
}

/// How long one step of the upkeep may take: a busy day of those who keep their log for ever is copied in one.
const UPKEEP_TIMEOUT: &str = "10min";

/// The steps of the upkeep, each in a transaction of its own: none loses what the former ones did, and none waits for
/// the log's tables with heads in hand, which are what writers take first. Each tells whether it is to run again.
const UPKEEP: [&str; 9] = [
    "select false from realtime.make_partitions()",
    "select false from realtime.raise_floors()",
    "select realtime.drop_partition()",
    "select false from realtime.trim_log()",
    "select false from realtime.forget_streams()",
    "select false from realtime.sweep()",
    "select false from realtime.sweep_notifications()",
    "select false from realtime.sweep_request_answers()",
    "select false from realtime.sweep_undo_steps()",
];

/// Makes coming partitions of the log, drops old ones, and removes what nobody asks for any more. One instance at a
/// time; the others return at once.
///
/// # Errors
/// The database is away, or somebody holds what a step needs for too long; the steps before it stay done.
pub async fn maintain(db: &Database) -> sqlx::Result<()> {
    for step in UPKEEP {
        loop {
            let mut tx = db.untenanted().begin().await?;
            let is_ours: bool =
                sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtext('glassbox maintenance'))")
                    .fetch_one(&mut *tx)
                    .await?;
            if !is_ours {
                return Ok(());
            }
            sqlx::query("select set_config('statement_timeout', $1, true)")
                .bind(UPKEEP_TIMEOUT)
                .execute(&mut *tx)
                .await?;
            let is_to_repeat: bool = sqlx::query_scalar(step).fetch_one(&mut *tx).await?;
            tx.commit().await?;
            if !is_to_repeat {
                break;
            }
        }
    }
    Ok(())
}

/// A project's head, as the transaction sees it.
///
/// # Errors
/// The database is away.
pub async fn head(tx: &mut Tx, project: ProjectId) -> sqlx::Result<Seq> {
    let seq: Option<i64> = sqlx::query_scalar("select seq from realtime.heads where stream_id = $1")
        .bind(project.0)
        .fetch_optional(tx.conn())
        .await?;
    Ok(seq.map_or(Seq::ZERO, Seq))
}
