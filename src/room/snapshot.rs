//! The whole state of a room as frames, read once for all who join at about the same time.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::{Channel, ExecutionId, NodeId, OrgId, ProjectId, Seq};
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::frame::Frame;
use crate::store::snapshot::{self, ProjectSnapshot};
use crate::store::{Database, Tenant, traces};

/// About how large one part may become, bytes.
const PART_BYTES: usize = 48 * 1024;

/// How long a snapshot is handed out again.
const FRESH: Duration = Duration::from_secs(2);

/// The state of a project or a node at one moment, cut into parts.
pub struct Parts {
    /// The position that the state includes.
    pub seq: Seq,
    read_at: Instant,
    channel: Channel,
    bodies: Vec<String>,
}

/// The newest snapshot of a room. The mutex makes those who join together wait for one read.
#[derive(Default)]
pub struct Snapshots {
    newest: Mutex<Option<Arc<Parts>>>,
}

impl Snapshots {
    /// The state at a position not before `from`; read anew unless a fresh one is at hand.
    ///
    /// # Errors
    /// The database is away.
    pub async fn get(
        &self,
        database: &Database,
        org: OrgId,
        project: ProjectId,
        from: Seq,
    ) -> sqlx::Result<Arc<Parts>> {
        let mut newest = self.newest.lock().await;
        if let Some(parts) = newest.as_ref()
            && parts.seq >= from
            && parts.read_at.elapsed() < FRESH
        {
            return Ok(Arc::clone(parts));
        }
        let mut tx = database.begin_snapshot(&Tenant::org(org)).await?;
        let state = snapshot::read(&mut tx, project).await?;
        drop(tx);
        let parts = Arc::new(Parts::new(Channel::Project(project), &state));
        *newest = Some(Arc::clone(&parts));
        Ok(parts)
    }

    /// Lets go of a snapshot that is no longer fresh; called now and then.
    pub fn forget_old(&self) {
        if let Ok(mut newest) = self.newest.try_lock()
            && newest.as_ref().is_some_and(|p| p.read_at.elapsed() >= FRESH)
        {
            *newest = None;
        }
    }

    /// Lets go of the snapshot: the log it belongs to is over.
    pub async fn forget(&self) {
        *self.newest.lock().await = None;
    }
}

impl Parts {
    /// Reads the state of one node: it is small, and few ask for it at once.
    ///
    /// # Errors
    /// The database is away.
    pub async fn of_node(database: &Database, org: OrgId, project: ProjectId, node: NodeId) -> sqlx::Result<Self> {
        let mut tx = database.begin_snapshot(&Tenant::org(org)).await?;
        Ok(Self::new(Channel::Node(node), &snapshot::read_node(&mut tx, project, node).await?))
    }

    fn new(channel: Channel, state: &ProjectSnapshot) -> Self {
        let bodies = cut(&[
            ("nodes", &state.nodes),
            ("dependencies", &state.dependencies),
            ("locks", &state.locks),
            ("executions", &state.executions),
            ("members", &state.members),
        ]);
        Self { seq: state.head, read_at: Instant::now(), channel, bodies }
    }

    /// The parts as frames of one subscription.
    pub fn frames(&self, generation: u32) -> impl Iterator<Item = Frame> + '_ {
        let parts = self.bodies.len();
        self.bodies.iter().enumerate().map(move |(i, body)| {
            Frame::text(&format!(
                r#"{{"type":"snapshot","payload":{{"channel":"{}","generation":{generation},"part":{},"parts":{parts},"seq":{},{body}}}}}"#,
                self.channel,
                i + 1,
                self.seq,
            ))
        })
    }
}

/// What an execution has done so far, as one frame, and the position that it includes; `None` if it is gone.
///
/// # Errors
/// The database is away.
pub async fn trace(
    database: &Database,
    org: OrgId,
    execution: ExecutionId,
    generation: u32,
) -> sqlx::Result<Option<(Frame, Seq)>> {
    let mut tx = database.begin_snapshot(&Tenant::org(org)).await?;
    let state = match traces::read(&mut tx, execution).await {
        Ok(state) => state,
        Err(sqlx::Error::RowNotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let (channel, seq) = (Channel::Execution(execution), state.head);
    let mut events = String::new();
    for event in &state.events {
        if !events.is_empty() {
            events.push(',');
        }
        events.push_str(event.get());
    }
    let frame = Frame::text(&format!(
        r#"{{"type":"trace_state","payload":{{"channel":"{channel}","generation":{generation},"seq":{seq},"execution":{},"total":{},"events":[{events}]}}}}"#,
        state.execution, state.total,
    ));
    Ok(Some((frame, seq)))
}

/// Spreads lists over parts: each body is the lists of one part, as JSON members.
fn cut(lists: &[(&str, &[Box<RawValue>])]) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut at = vec![0; lists.len()];
    loop {
        let mut body = String::new();
        let mut size = 0;
        for (list, (name, items)) in lists.iter().enumerate() {
            if list > 0 {
                body.push(',');
            }
            let _ = write!(body, r#""{name}":["#);
            let first = at[list];
            while let Some(item) = items.get(at[list]) {
                if size > 0 && size + item.get().len() > PART_BYTES {
                    break;
                }
                if at[list] > first {
                    body.push(',');
                }
                body.push_str(item.get());
                size += item.get().len();
                at[list] += 1;
            }
            body.push(']');
        }
        bodies.push(body);
        if lists.iter().zip(&at).all(|((_, items), at)| *at == items.len()) {
            return bodies;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_bounded_and_hold_every_item_once() {
        let many: Vec<Box<RawValue>> = (1..=5)
            .map(|n| RawValue::from_string(format!(r#""{}{n}""#, "x".repeat(20_000))).expect("a string"))
            .collect();
        let bodies = cut(&[("nodes", &many), ("locks", &[])]);
        assert_eq!(bodies.len(), 3);
        let total: usize = bodies
            .iter()
            .map(|body| {
                let parsed: serde_json::Value = serde_json::from_str(&format!("{{{body}}}")).expect("a body is JSON");
                assert!(body.len() < PART_BYTES + 1000);
                parsed["nodes"].as_array().map_or(0, Vec::len)
            })
            .sum();
        assert_eq!(total, 5);
        assert_eq!(cut(&[("nodes", &[])]).len(), 1, "an empty project is one part");
    }
}
