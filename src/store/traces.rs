//! Traces: what an execution has done so far, as of one position of its log.

use glassbox_protocol::{ExecutionId, Seq};
use serde_json::value::RawValue;

use super::Tx;
use super::snapshot::{self, Execution};

/// Most events of a trace's tail; the older ones are in the REST list.
const TAIL_EVENTS_MAX: i64 = 200;
/// Most bytes of a trace's tail, well under what may wait for one client.
const TAIL_BYTES_MAX: usize = 256 * 1024;

/// An execution at one moment. It holds finished JSON, in the shapes of `glassbox_protocol::entity`.
#[derive(Debug)]
pub struct TraceSnapshot {
    /// The newest event of the execution's log that the state contains.
    pub head: Seq,
    /// The execution.
    pub execution: Box<RawValue>,
    /// How many trace events it has.
    pub total: i64,
    /// The newest of them, in order.
    pub events: Vec<Box<RawValue>>,
}

/// Reads an execution. The transaction must come from [`super::Database::begin_snapshot`].
///
/// # Errors
/// The database is away; [`sqlx::Error::RowNotFound`] if there is no such execution in the organization at hand.
pub async fn read(tx: &mut Tx, execution: ExecutionId) -> sqlx::Result<TraceSnapshot> {
    let (_, head) = snapshot::position(tx, execution).await?;
    let found: Execution = sqlx::query_as(
        "select
            x.id,
            x.node_id,
            coalesce(x.status, 'pending') as status,
            coalesce(x.total_tokens_in, 0) as total_tokens_in,
            coalesce(x.total_tokens_out, 0) as total_tokens_out,
            x.model_id
        from agent_executions x
        where x.id = $1",
    )
    .bind(execution.0)
    .fetch_one(tx.conn())
    .await?;
    let total: Option<i64> = sqlx::query_scalar("select n from realtime.traces where execution_id = $1")
        .bind(execution.0)
        .fetch_optional(tx.conn())
        .await?;
    let newest_first: Vec<String> = sqlx::query_scalar(
        "select realtime.trace_json(e, t.n, t.is_late)::text
        from realtime.trace_events t
        join agent_trace_events e on e.id = t.trace_event_id
        where t.execution_id = $1
        order by t.n desc
        limit $2",
    )
    .bind(execution.0)
    .bind(TAIL_EVENTS_MAX)
    .fetch_all(tx.conn())
    .await?;
    let mut bytes = 0;
    let mut events = Vec::with_capacity(newest_first.len());
    for event in newest_first {
        bytes += event.len();
        if bytes > TAIL_BYTES_MAX {
            break;
        }
        events.push(RawValue::from_string(event).map_err(|e| sqlx::Error::Decode(e.into()))?);
    }
    events.reverse();
    Ok(TraceSnapshot { head, execution: snapshot::json(&found)?, total: total.unwrap_or(0), events })
}
