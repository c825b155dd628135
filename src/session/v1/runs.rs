//! The agents' runs whose steps a session of the older dialect is told: those of its channels that were under way at the
//! first `subscribe` or have begun since. Their steps are logs of their own, which it follows beside the projects'.

use std::collections::HashMap;
use std::sync::Arc;

use glassbox_protocol::{Channel, ExecutionId, ProjectId, Seq};
use tokio::task::{JoinError, JoinSet};
use tracing::debug;

use super::conversation::Session;
use crate::room::Message;
use crate::room::presence::Departure;
use crate::session::subscription::{self, Start};
use crate::store::events;

/// Most runs that a session follows; one that has ended makes place for a new one.
pub(super) const FOLLOWED_MAX: i64 = 64;

struct Followed {
    project: ProjectId,
    has_ended: bool,
}

/// The runs that a session follows.
#[derive(Default)]
pub(super) struct Runs {
    followed: HashMap<ExecutionId, Followed>,
    /// What is to be followed next: from its first step on, or from now.
    due: Vec<(ProjectId, ExecutionId, From)>,
    pub(super) joins: JoinSet<(ExecutionId, Result<(), glassbox_protocol::Error>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Start,
    Now,
}

impl Runs {
    /// A run is in a state.
    pub(super) fn note(&mut self, project: ProjectId, run: ExecutionId, status: &str) {
        let has_ended = matches!(status, "complete" | "failed" | "cancelled");
        match self.followed.get_mut(&run) {
            // Its last steps are still to come.
            Some(followed) => followed.has_ended = has_ended,
            None if has_ended => {}
            None => self.due.push((project, run, From::Start)),
        }
    }

    /// A run was under way when its channel was opened.
    pub(super) fn note_running(&mut self, project: ProjectId, run: ExecutionId) {
        if !self.followed.contains_key(&run) {
            self.due.push((project, run, From::Now));
        }
    }

    /// A run is not followed any more, until something new is heard of it.
    pub(super) fn forget(&mut self, run: ExecutionId) {
        self.followed.remove(&run);
    }
}

impl Session {
    /// Follows what is to be followed.
    pub(super) async fn follow_runs(&mut self) {
        for (project, run, from) in std::mem::take(&mut self.runs.due) {
            if self.runs.followed.contains_key(&run) || !self.rooms.contains_key(&project) {
                continue;
            }
            if self.runs.followed.len() >= FOLLOWED_MAX as usize {
                let Some(old) = self.runs.followed.iter().find(|(_, f)| f.has_ended).map(|(id, _)| *id) else {
                    continue;
                };
                self.leave_run(old, Departure::Clean).await;
            }
            self.runs.followed.insert(run, Followed { project, has_ended: false });
            match from {
                From::Now => self.follow(run, Start::Live),
                From::Start => self.follow_from_start(run),
            }
        }
    }

    fn follow_from_start(&mut self, run: ExecutionId) {
        let Some(join) = self.join_of(run) else { return };
        let database = self.app.database.clone();
        self.runs.joins.spawn(async move {
            let outcome = match events::epoch(&database).await {
                Ok(epoch) => join(Start::Resume(epoch, Seq::ZERO)).await,
                Err(error) => Err(subscription::unavailable(&error)),
            };
            (run, outcome)
        });
    }

    /// Joins the log of a run.
    pub(super) fn follow(&mut self, run: ExecutionId, start: Start) {
        let Some(join) = self.join_of(run) else { return };
        self.runs.joins.spawn(async move { (run, join(start).await) });
    }

    #[allow(clippy::type_complexity, reason = "called at once")]
    fn join_of(
        &self,
        run: ExecutionId,
    ) -> Option<
        impl FnOnce(Start) -> futures::future::BoxFuture<'static, Result<(), glassbox_protocol::Error>> + Send + use<>,
    > {
        let seat = self.rooms.get(&self.runs.followed.get(&run)?.project)?;
        let (app, room, peer) = (Arc::clone(&self.app), Arc::clone(&seat.room), Arc::clone(&self.peer));
        let generation = seat.generation;
        Some(move |start| {
            let join = async move {
                subscription::join(&app, room, &peer, Channel::Execution(run), generation, start).await.map(drop)
            };
            Box::pin(join) as futures::future::BoxFuture<'static, _>
        })
    }

    /// A run is followed now, or cannot be.
    pub(super) fn followed(&mut self, outcome: Result<(ExecutionId, Result<(), glassbox_protocol::Error>), JoinError>) {
        if let Ok((run, Err(error))) = outcome {
            debug!(execution.id = %run, code = ?error.code, "the steps of a run cannot be followed");
            self.runs.forget(run);
        }
    }

    async fn leave_run(&mut self, run: ExecutionId, departure: Departure) {
        let Some(followed) = self.runs.followed.remove(&run) else { return };
        let channel = Channel::Execution(run);
        if let Some(seat) = self.rooms.get(&followed.project) {
            let leave = Message::Leave { session: self.peer.session, channel, departure };
            let _ = seat.room.tell(leave).await;
        }
        self.peer.outbound.purge(channel);
    }

    /// Leaves the runs of a project, whose room is left after them.
    pub(super) async fn leave_runs(&mut self, project: ProjectId, departure: Departure) {
        for run in self.runs_of(project) {
            self.leave_run(run, departure).await;
        }
    }

    /// The runs of a project are over for this session; its room has let go of it.
    pub(super) fn lose_runs(&mut self, project: ProjectId) {
        for run in self.runs_of(project) {
            self.runs.followed.remove(&run);
            self.peer.outbound.purge(Channel::Execution(run));
        }
    }

    fn runs_of(&self, project: ProjectId) -> Vec<ExecutionId> {
        self.runs.followed.iter().filter(|(_, f)| f.project == project).map(|(id, _)| *id).collect()
    }
}
