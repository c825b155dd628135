//! The streams of executions: followed while somebody on this instance looks at one, for the room of its project.

use std::sync::{Arc, Weak};

use glassbox_protocol::{ExecutionId, ProjectId, Seq};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Reader, come_back_for};
use crate::room::Message;
use crate::store::events::{self, LogRow};

/// Asks the reader to follow an execution from its present head on.
pub struct TrackTrace {
    /// The execution.
    pub execution: ExecutionId,
    /// The project whose room asks.
    pub project: ProjectId,
    /// Told once the reader follows and the room knows; dropped where the room cannot be told now.
    pub reply: oneshot::Sender<()>,
}

/// An execution that is followed.
pub(super) struct Trace {
    position: Seq,
    project: ProjectId,
    /// Gone when the room has let go of the stream.
    is_wanted: Weak<()>,
}

impl Trace {
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.strong_count() > 0
    }
}

impl Reader {
    pub(super) async fn follow_traces(&mut self, tracks: Vec<TrackTrace>) -> sqlx::Result<()> {
        if tracks.is_empty() {
            return Ok(());
        }
        let streams: Vec<Uuid> = tracks.iter().map(|t| t.execution.0).collect();
        let heads = events::heads(&self.database, &streams).await?;
        for TrackTrace { execution, project, reply } in tracks {
            if !self.traces.get(&execution).is_some_and(Trace::is_wanted) {
                let Some(mailbox) = self.projects.get(&project).and_then(|p| p.mailbox.upgrade()) else { continue };
                let position = heads.get(&execution.0).copied().unwrap_or_default();
                let wanted = Arc::new(());
                let is_wanted = Arc::downgrade(&wanted);
                if mailbox.try_send(Message::TraceFollowed { execution, position, wanted }).is_err() {
                    continue;
                }
                self.traces.insert(execution, Trace { position, project, is_wanted });
            }
            let _ = reply.send(());
        }
        Ok(())
    }

    /// Where the trace of an execution was left, if it is followed, and its project.
    pub(super) fn trace_at(&self, stream: Uuid) -> Option<(Seq, ProjectId)> {
        self.traces.get(&ExecutionId(stream)).map(|trace| (trace.position, trace.project))
    }

    /// Gives rows of a trace to the room of its project, whose own events came before; returns the new position, if it
    /// moved.
    pub(super) fn hand_over_trace(&mut self, stream: Uuid, rows: Vec<LogRow>) -> Option<Seq> {
        let last = rows.last()?.seq;
        let trace = self.traces.get_mut(&ExecutionId(stream))?;
        let project = self.projects.get(&trace.project)?;
        let mailbox = project.mailbox.upgrade()?;
        if project.owes_rights {
            come_back_for(self.database.commits(), stream, last);
            return None;
        }
        match mailbox.try_send(Message::Trace { execution: ExecutionId(stream), rows }) {
            Ok(()) => {
                trace.position = last;
                Some(last)
            }
            Err(mpsc::error::TrySendError::Closed(_)) => None,
            Err(mpsc::error::TrySendError::Full(_)) => {
                come_back_for(self.database.commits(), stream, last);
                None
            }
        }
    }

    /// The logs have a new life: rooms let go of all traces and those who look at them ask anew.
    pub(super) fn let_go_of_traces(&mut self) {
        self.traces.clear();
    }
}
