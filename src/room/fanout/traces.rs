//! The traces that somebody in the room looks at: each a log of its own, with a position and a tail.

use std::sync::Arc;

use glassbox_protocol::server::Head;
use glassbox_protocol::{Channel, ExecutionId, Seq, ServerMessage};
use tokio::time::Instant;
use tracing::{debug, error};

use super::State;
use super::delivery::{QUEUED_AT_ONCE_MAX, send};
use crate::config::HEAD_BEAT;
use crate::room::LINGER;
use crate::room::event::{Event, Shown};
use crate::room::presence::Departure;
use crate::room::tail::Tail;
use crate::session::peer::News;
use crate::store::events::LogRow;

/// The log of one execution, as far as the reader has brought it.
pub(super) struct Stream {
    pub(super) position: Seq,
    pub(super) tail: Tail,
    /// The reader follows as long as this lives.
    _wanted: Arc<()>,
    /// Since when nobody looks; kept for a while, since a join that is under way counts on it.
    idle_since: Option<Instant>,
}

impl State {
    pub(super) fn trace_followed(&mut self, execution: ExecutionId, position: Seq, wanted: Arc<()>) {
        let idle_since = Some(Instant::now());
        self.traces.insert(execution, Stream { position, tail: Tail::default(), _wanted: wanted, idle_since });
    }

    pub(super) fn trace(&mut self, execution: ExecutionId, rows: &[LogRow]) {
        if self.going_since.is_some() {
            return;
        }
        let Some(stream) = self.traces.get_mut(&execution) else { return };
        let mut events = Vec::new();
        let mut at = stream.position;
        for row in rows {
            match Event::split(row) {
                Ok(split) if row.start() == at => events.extend(split.into_iter().map(Arc::new)),
                Ok(_) => {
                    error!(%execution, position = %at, next = %row.start(), "the log has a gap, the trace starts over");
                    return self.trace_lost(execution);
                }
                Err(error) => {
                    error!(%execution, seq = %row.seq, %error, "a row of the log cannot be read");
                    return self.trace_lost(execution);
                }
            }
            at = row.seq;
        }
        let bytes: usize = events.iter().map(|e| e.size()).sum();
        if bytes > QUEUED_AT_ONCE_MAX {
            self.let_read_trace(execution);
        }
        let Some(stream) = self.traces.get_mut(&execution) else { return };
        stream.position = at;
        if let Some(seats) = self.members.executions.get_mut(&execution) {
            let whole: Vec<Shown<'_>> = events.iter().map(|e| e.whole()).collect();
            crate::metrics::events_sent(send(seats, Channel::Execution(execution), &whole));
        }
        for event in events {
            stream.tail.push(event);
        }
    }

    /// More came at once than may be queued: those who look read on by themselves.
    fn let_read_trace(&mut self, execution: ExecutionId) {
        let channel = Channel::Execution(execution);
        let at = self.traces.get(&execution).map(|stream| stream.position).unwrap_or_default();
        for (channel, session) in self.members.which(|seated| seated.member.channel == channel) {
            if let Some(seated) = self.part(channel, session, Departure::Lost) {
                seated.tell(News::Continue(seated.position.max(at)));
            }
        }
    }

    /// A stretch of the trace is missing: those who look take its state anew.
    fn trace_lost(&mut self, execution: ExecutionId) {
        self.traces.remove(&execution);
        let channel = Channel::Execution(execution);
        self.send_back(|seated| seated.member.channel == channel);
    }

    /// Tells those who look at a silent trace where it stands, and lets go of traces at which nobody looks.
    pub(super) fn beat_traces(&mut self, now: Instant) {
        for (execution, seats) in &mut self.members.executions {
            let Some(stream) = self.traces.get(execution) else { continue };
            if now.duration_since(seats.sent_at) < HEAD_BEAT - std::time::Duration::from_secs(1) {
                continue;
            }
            seats.sent_at = now;
            let (channel, epoch) = (Channel::Execution(*execution), self.epoch);
            for seated in seats.by_session.values() {
                let (generation, seq) = (seated.member.generation, seated.position.max(stream.position));
                seated.push(ServerMessage::Head(Head { channel, generation, epoch, seq }));
            }
        }
        let members = &self.members;
        self.traces.retain(|execution, stream| {
            if members.executions.contains_key(execution) {
                stream.idle_since = None;
                return true;
            }
            let since = *stream.idle_since.get_or_insert(now);
            let is_kept = now.duration_since(since) <= LINGER;
            if !is_kept {
                debug!(%execution, "nobody looks at the trace any more");
            }
            is_kept
        });
    }
}
