//! The log reader: one task that reads the log for all rooms of the instance.
//!
//! It is woken by a commit of this instance, by a signal from another writer, and by a poll; all three only mean
//! "look". What it hands to a room is checked: each row begins where the last one ended. Streams are projects, the
//! organizations of open projects, whose events only say that rights may have changed, the executions whose trace somebody
//! looks at, and the users of open sessions, whose events go to their inboxes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::{Epoch, ExecutionId, OrgId, ProjectId, Seq, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::Message;
use super::inbox::{Inboxes, TrackUser};
use crate::config::POLL_INTERVAL;
use crate::store::events::{self, LogRow};
use crate::store::{Commits, Database, Failure};
use traces::Trace;
pub use traces::TrackTrace;

mod traces;
mod users;

/// How long to wait before looking again at a room whose mailbox was full.
const BUSY_ROOM_DELAY: Duration = Duration::from_millis(5);

/// How often the streams of users are looked at, whatever the signals said. There may be tens of thousands, and what they
/// carry is not what people wait for together.
const USER_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// What rooms ask of the reader.
pub enum Track {
    /// Their own stretch of the log.
    Project(TrackProject),
    /// The trace of one of their executions.
    Trace(TrackTrace),
}

/// Asks the reader to follow a project from its present head on.
pub struct TrackProject {
    /// The project.
    pub project: ProjectId,
    /// Its organization.
    pub org: OrgId,
    /// Where its rows go; when it is closed, the reader stops following.
    pub mailbox: mpsc::WeakSender<Message>,
    /// Told where the stretch begins.
    pub reply: oneshot::Sender<(Epoch, Seq)>,
}

struct Project {
    position: Seq,
    /// The room has to be told to look at rights before it gets another event.
    owes_rights: bool,
    mailbox: mpsc::WeakSender<Message>,
    org: OrgId,
}

/// Reads the log for all rooms until told to stop.
pub async fn run(
    database: Database,
    mut tracks: mpsc::Receiver<Track>,
    inboxes: Arc<Inboxes>,
    mut user_tracks: mpsc::Receiver<TrackUser>,
    stop: CancellationToken,
) {
    let (projects, orgs, users, traces) = (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
    let mut reader = Reader { database, projects, orgs, traces, users, inboxes, user_poll: None, epoch: None };
    let commits = Arc::clone(reader.database.commits());
    let mut poll = interval(POLL_INTERVAL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut user_poll = interval(USER_POLL_INTERVAL);
    user_poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_away = false;
    loop {
        let look = tokio::select! {
            () = stop.cancelled() => return,
            Some(track) = tracks.recv() => {
                let mut new = vec![track];
                while let Ok(more) = tracks.try_recv() {
                    new.push(more);
                }
                reader.follow(new).await
            }
            heads = commits.reader.take() => {
                let now = Instant::now();
                reader.look_at(heads, now).await
            }
            Some(track) = user_tracks.recv() => {
                let mut new = vec![track];
                while let Ok(more) = user_tracks.try_recv() {
                    new.push(more);
                }
                reader.follow_users(new).await
            }
            () = commits.asked_for_everything() => match reader.poll().await {
                Ok(()) => reader.poll_users().await,
                Err(error) => Err(error),
            },
            _ = poll.tick() => {
                crate::metrics::poll();
                reader.poll().await
            }
            _ = user_poll.tick() => reader.poll_users().await,
        };
        match look {
            Ok(()) if is_away => {
                info!("reading the log again");
                is_away = false;
            }
            Ok(()) => {}
            // The poll tries again; what was missed is still in the log.
            Err(error) if is_away => tracing::debug!(%error, "the log cannot be read"),
            Err(error) if Failure::of(&error) == Failure::Defect => error!(%error, "read the log"),
            Err(error) => {
                warn!(%error, "the log cannot be read, trying again");
                is_away = true;
            }
        }
    }
}

struct Reader {
    database: Database,
    projects: HashMap<ProjectId, Project>,
    orgs: HashMap<OrgId, Seq>,
    traces: HashMap<ExecutionId, Trace>,
    users: HashMap<UserId, Seq>,
    inboxes: Arc<Inboxes>,
    /// The question about all users' streams, while it is asked.
    user_poll: Option<JoinHandle<()>>,
    epoch: Option<Epoch>,
}

impl Reader {
    async fn follow(&mut self, tracks: Vec<Track>) -> sqlx::Result<()> {
        let (mut projects, mut traces) = (Vec::new(), Vec::new());
        for track in tracks {
            match track {
                Track::Project(track) => projects.push(track),
                Track::Trace(track) => traces.push(track),
            }
        }
        if !projects.is_empty() {
            self.follow_projects(projects).await?;
        }
        self.follow_traces(traces).await
    }

    async fn follow_projects(&mut self, tracks: Vec<TrackProject>) -> sqlx::Result<()> {
        let mut streams: Vec<Uuid> = tracks.iter().map(|t| t.project.0).collect();
        streams.extend(tracks.iter().map(|t| t.org.0));
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => *self.epoch.insert(events::epoch(&self.database).await?),
        };
        let heads = events::heads(&self.database, &streams).await?;
        let head_of = |stream: Uuid| heads.get(&stream).copied().unwrap_or_default();
        for track in tracks {
            let position = head_of(track.project.0);
            if track.reply.send((epoch, position)).is_ok() {
                self.orgs.entry(track.org).or_insert_with(|| head_of(track.org.0));
                let project = Project { position, owes_rights: false, mailbox: track.mailbox, org: track.org };
                self.projects.insert(track.project, project);
            }
        }
        Ok(())
    }

    /// Looks at everything, whatever the signals said.
    async fn poll(&mut self) -> sqlx::Result<()> {
        self.projects.retain(|_, p| p.mailbox.upgrade().is_some_and(|m| !m.is_closed()));
        let projects = &self.projects;
        self.orgs.retain(|org, _| projects.values().any(|p| p.org == *org));
        self.traces.retain(|_, trace| trace.is_wanted());
        events::drain_pending(&self.database).await?;
        if self.projects.is_empty() || self.has_new_life().await? {
            return Ok(());
        }
        let heads = self.heads().await?;
        self.look_at(heads, Instant::now()).await
    }

    /// Whether the logs have a new life since the last look; then everything starts over.
    async fn has_new_life(&mut self) -> sqlx::Result<bool> {
        let epoch = events::epoch(&self.database).await?;
        if *self.epoch.get_or_insert(epoch) == epoch {
            return Ok(false);
        }
        warn!(%epoch, "the logs have a new life, every client starts over");
        self.restart_all(epoch).await?;
        self.epoch = Some(epoch);
        Ok(true)
    }

    /// The heads of all streams that are followed.
    async fn heads(&self) -> sqlx::Result<HashMap<Uuid, Seq>> {
        let rooms = self.projects.keys().map(|p| p.0).chain(self.orgs.keys().map(|o| o.0));
        let streams: Vec<Uuid> = rooms.chain(self.traces.keys().map(|x| x.0)).collect();
        events::heads(&self.database, &streams).await
    }

    /// Reads what is new in streams whose heads are said to be further on.
    async fn look_at(&mut self, heads: HashMap<Uuid, Seq>, noticed_at: Instant) -> sqlx::Result<()> {
        self.pay_rights();
        let is_behind = |position: Seq, stream: Uuid| heads.get(&stream).is_some_and(|head| *head > position);
        let mut behind: Vec<(Uuid, Seq)> = self
            .projects
            .iter()
            .map(|(project, p)| (project.0, p.position))
            .chain(self.orgs.iter().map(|(org, position)| (org.0, *position)))
            .filter(|(stream, position)| is_behind(*position, *stream))
            .collect();
        // There are many users and few heads.
        behind.extend(heads.iter().filter_map(|(stream, head)| {
            let user = self.users.get(&UserId(*stream)).copied();
            let position = user.or_else(|| self.trace_at(*stream).map(|(position, _)| position))?;
            (*head > position).then_some((*stream, position))
        }));
        while !behind.is_empty() {
            // One look at a project, its traces and its organization: whoever sees an event sees the removals before it.
            let traced: HashSet<ProjectId> =
                behind.iter().filter_map(|(stream, _)| self.trace_at(*stream)).map(|(_, project)| project).collect();
            for project in traced {
                if let Some(p) = self.projects.get(&project)
                    && !behind.iter().any(|(stream, _)| *stream == project.0)
                {
                    behind.push((project.0, p.position));
                }
            }
            let orgs: HashSet<OrgId> =
                behind.iter().filter_map(|(stream, _)| self.projects.get(&ProjectId(*stream)).map(|p| p.org)).collect();
            for (org, position) in self.orgs.iter().filter(|(org, _)| orgs.contains(org)) {
                if !behind.iter().any(|(stream, _)| *stream == org.0) {
                    behind.push((org.0, *position));
                }
            }
            let rows = events::after(self.database.reader(), &behind).await?;
            let mut by_stream: HashMap<Uuid, Vec<LogRow>> = HashMap::new();
            for row in rows {
                by_stream.entry(row.stream).or_default().push(row);
            }
            behind = Vec::new();
            let (traces, others): (Vec<_>, Vec<_>) =
                by_stream.into_iter().partition(|(stream, _)| self.traces.contains_key(&ExecutionId(*stream)));
            let (orgs, projects): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|(stream, _)| self.orgs.contains_key(&OrgId(*stream)));
            // Projects of which the room has not everything yet that this look has found, or may have.
            let mut unsettled: HashSet<ProjectId> = HashSet::new();
            for (stream, rows) in orgs.into_iter().chain(projects) {
                let may_have_more = rows.len() >= usize::try_from(events::ROWS_MAX).unwrap_or(usize::MAX);
                match self.hand_over(stream, rows, noticed_at).await? {
                    Some(position) if may_have_more => {
                        behind.push((stream, position));
                        unsettled.insert(ProjectId(stream));
                    }
                    Some(_) => {}
                    None => drop(unsettled.insert(ProjectId(stream))),
                }
            }
            for (stream, rows) in traces {
                let Some((position, project)) = self.trace_at(stream) else { continue };
                if unsettled.contains(&project) {
                    match behind.iter().any(|(more, _)| *more == project.0) {
                        true => behind.push((stream, position)),
                        false => come_back_for(self.database.commits(), stream, position.next()),
                    }
                    continue;
                }
                let may_have_more = rows.len() >= usize::try_from(events::ROWS_MAX).unwrap_or(usize::MAX);
                if let Some(position) = self.hand_over_trace(stream, rows)
                    && may_have_more
                {
                    behind.push((stream, position));
                }
            }
        }
        Ok(())
    }

    /// Gives rows to those who follow the stream; returns the new position, if it moved.
    async fn hand_over(&mut self, stream: Uuid, rows: Vec<LogRow>, noticed_at: Instant) -> sqlx::Result<Option<Seq>> {
        let Some(last) = rows.last().map(|r| r.seq) else { return Ok(None) };
        if let Some(position) = self.orgs.get_mut(&OrgId(stream)) {
            *position = last;
            for project in self.projects.values_mut().filter(|p| p.org.0 == stream) {
                project.owes_rights = true;
            }
            self.pay_rights();
            return Ok(Some(last));
        }
        if let Some(position) = self.users.get_mut(&UserId(stream)) {
            // Where a stretch is missing the stream goes on behind it: its state is in a table and a request away.
            self.inboxes.deliver(UserId(stream), &rows);
            *position = last;
            return Ok(Some(last));
        }
        let Some(project) = self.projects.get_mut(&ProjectId(stream)) else { return Ok(None) };
        let Some(mailbox) = project.mailbox.upgrade() else { return Ok(None) };
        if !is_continuous(project.position, &rows) {
            // Numbers are dense in the log itself: a gap means that a stretch has been dropped or lost.
            error!(project.id = %stream, position = %project.position, next = ?rows.first().map(LogRow::start),
                "the log has a gap, the room starts over");
            let epoch = events::epoch(&self.database).await?;
            project.position = last;
            let _ = mailbox.send(Message::Restart { epoch, head: last }).await;
            return Ok(Some(last));
        }
        if project.owes_rights {
            come_back_for(self.database.commits(), stream, last);
            return Ok(None);
        }
        match mailbox.try_send(Message::Events { rows, noticed_at }) {
            Ok(()) => {
                project.position = last;
                Ok(Some(last))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(None),
            Err(mpsc::error::TrySendError::Full(_)) => {
                come_back_for(self.database.commits(), stream, last);
                Ok(None)
            }
        }
    }

    /// Tells rooms to look at rights, where that is owed and there is room in the mailbox.
    fn pay_rights(&mut self) {
        for (id, project) in self.projects.iter_mut().filter(|(_, p)| p.owes_rights) {
            let Some(mailbox) = project.mailbox.upgrade() else { continue };
            match mailbox.try_send(Message::RightsChanged) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => project.owes_rights = false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    come_back_for(self.database.commits(), id.0, project.position.next());
                }
            }
        }
    }

    async fn restart_all(&mut self, epoch: Epoch) -> sqlx::Result<()> {
        let heads = self.heads().await?;
        for (org, position) in &mut self.orgs {
            *position = heads.get(&org.0).copied().unwrap_or_default();
        }
        // Nobody starts over with a user's stream: it goes on from its new head.
        let users: Vec<Uuid> = self.users.keys().map(|user| user.0).collect();
        let user_heads = events::heads(&self.database, &users).await?;
        for (user, position) in &mut self.users {
            *position = user_heads.get(&user.0).copied().unwrap_or_default();
        }
        for (id, project) in &mut self.projects {
            project.position = heads.get(&id.0).copied().unwrap_or_default();
            if let Some(mailbox) = project.mailbox.upgrade() {
                let _ = mailbox.send(Message::Restart { epoch, head: project.position }).await;
            }
        }
        self.let_go_of_traces();
        Ok(())
    }
}

/// One busy room must not hold up the others: looks at it again in a moment.
fn come_back_for(commits: &Arc<Commits>, stream: Uuid, head: Seq) {
    let commits = Arc::clone(commits);
    tokio::spawn(async move {
        tokio::time::sleep(BUSY_ROOM_DELAY).await;
        commits.reader.note([(stream, head)]);
    });
}

/// Whether rows follow a position and each other without a gap.
fn is_continuous(position: Seq, rows: &[LogRow]) -> bool {
    let mut at = position;
    rows.iter().all(|row| {
        let follows = row.start() == at;
        at = row.seq;
        follows
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_between_rows_is_noticed() {
        let row =
            |seq, count| LogRow { stream: Uuid::nil(), seq: Seq(seq), count, body: String::new(), at: String::new() };
        assert!(is_continuous(Seq(4), &[row(5, 1), row(8, 3)]));
        assert!(!is_continuous(Seq(4), &[row(6, 1)]));
        assert!(!is_continuous(Seq(4), &[row(5, 1), row(8, 2)]));
        assert!(!is_continuous(Seq(5), &[row(5, 1)]), "a repeat is no continuation either");
    }
}
