//! The log as a request reads it: with the right to see the project, and without what only authors may see.

use glassbox_protocol::{Channel, Epoch, ProjectId, Seq};
use serde_json::value::RawValue;
use sqlx::Row as _;
use uuid::Uuid;

use super::Tx;
use super::events::{open_event, split_line};
use super::projects::time_text;

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The log's present life.
    pub epoch: Epoch,
    /// The newest event.
    pub head: Seq,
    /// Events up to this one are no longer kept.
    pub floor: Seq,
}

/// Where a project's log, or an execution's, begins and ends now.
///
/// # Errors
/// The database is away.
pub async fn extent(tx: &mut Tx, stream: impl Into<Uuid>) -> sqlx::Result<Extent> {
    let row = sqlx::query(
        "select
            realtime.epoch() as epoch,
            coalesce(max(h.seq), 0) as head,
            coalesce(max(h.floor), 0) as floor
        from realtime.heads h
        where h.stream_id = $1",
    )
    .bind(stream.into())
    .fetch_one(tx.conn())
    .await?;
    Ok(Extent {
        epoch: Epoch(row.try_get("epoch")?),
        head: Seq(row.try_get("head")?),
        floor: Seq(row.try_get("floor")?),
    })
}

/// The events after a position, in order and without gaps: at most `limit` and nothing behind `head`, each a finished
/// JSON object in the shape of `glassbox_protocol::EventFrame`.
///
/// # Errors
/// The database is away, or a row of the log is not what the triggers write.
pub async fn after(
    tx: &mut Tx,
    project: ProjectId,
    since: Seq,
    head: Seq,
    limit: i64,
) -> sqlx::Result<Vec<Box<RawValue>>> {
    // A row holds the events of one transaction: seq - n + 1 to seq. Each holds at least one, so `limit` rows suffice.
    let rows = sqlx::query(concat!(
        "select e.seq, e.n, e.body,",
        time_text!("e.at"),
        " as at
        from realtime.log e
        where e.stream_id = $1
            and e.seq > $2
            and e.seq - e.n < $3
        order by e.seq
        limit $4"
    ))
    .bind(project.0)
    .bind(since.0)
    .bind(head.0.min(since.0.saturating_add(limit)))
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;

    let mut events = Vec::new();
    let mut next = since.next();
    for row in rows {
        let last: i64 = row.try_get("seq")?;
        let count: i32 = row.try_get("n")?;
        let at: &str = row.try_get("at")?;
        let body: &str = row.try_get("body")?;
        for (seq, line) in (last - i64::from(count) + 1..).zip(body.split('\n')) {
            if seq < next.0 || i64::try_from(events.len()).is_ok_and(|taken| taken >= limit) {
                continue;
            }
            if seq != next.0 {
                return Err(sqlx::Error::Decode(
                    format!("the log of {project} goes from {} to {seq}", next.0 - 1).into(),
                ));
            }
            events.push(event(line, project, seq, at, seq == last)?);
            next = next.next();
        }
    }
    Ok(events)
}

/// Makes an event of one line of the log, without what is its author's alone.
fn event(line: &str, project: ProjectId, seq: i64, at: &str, is_last: bool) -> sqlx::Result<Box<RawValue>> {
    let (public, _) = split_line(line);
    let open = open_event(public, Channel::Project(project), Seq(seq), at, is_last)
        .ok_or_else(|| sqlx::Error::Decode(format!("event {seq} of {project} is no object").into()))?;
    RawValue::from_string(open + "}").map_err(|e| sqlx::Error::Decode(e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use glassbox_protocol::EventFrame;

    #[test]
    fn an_event_has_the_frame_s_shape_and_nothing_private() {
        let project = ProjectId::random();
        let line = concat!(
            r#"{"by": null, "type": "node_deleted", "payload": {"nodeId": "7f8de0f3-0a42-4a55-bd34-3c8bdaf9b3b0"}}"#,
            "\t",
            r#"{"fence": 7, "user": "x"}"#
        );
        let raw = event(line, project, 3, "2026-01-01T00:00:00.000000Z", true).expect("an event");
        let frame: EventFrame = serde_json::from_str(raw.get()).expect("a frame");
        assert_eq!((frame.seq, frame.tx_end, frame.channel), (Seq(3), true, Channel::Project(project)));
        assert!(!raw.get().contains("fence"));
    }
}
