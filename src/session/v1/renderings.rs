//! What the sessions of the older dialect on this instance share: each event is looked up and rendered once for all of
//! them, and people are remembered for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::{Event, EventFrame, ExecutionId, NodeId, OrgId, ProjectId, Seq, UserId};
use moka::sync::Cache;
use tokio::sync::{Mutex, OnceCell};
use tracing::{debug, error};
use uuid::Uuid;

use super::render::{self, About, Audience, Facts, Rendered, Wanted};
use super::stamped;
use crate::room::frame::Frame;
use crate::store::facts::{self, Person};
use crate::store::view::{self, Viewer};
use crate::store::{Database, Tenant, members};

/// Most events that are remembered; the sessions of a room are seldom more than a few apart.
const EVENTS_MAX: u64 = 1024;
/// For how long.
const EVENT_LIFE: Duration = Duration::from_secs(10);
/// Most people that are remembered.
const PEOPLE_MAX: u64 = 10_000;
/// For how long: a new name shows after that.
const PERSON_LIFE: Duration = Duration::from_secs(60);

/// A message for those whom it concerns, finished.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The node that it is about.
    pub node: NodeId,
    /// Who gets it.
    pub audience: Audience,
    /// What it is about.
    pub about: About,
    /// The frame.
    pub frame: Frame,
}

/// Names an event by its stream and number; its time tells lives of the log apart.
type Key = (Uuid, Seq, String);
type Slot = Arc<OnceCell<Arc<[Ready]>>>;
/// An event as it is queued: its stream, number and time, and its text.
pub type Queued<'a> = (Uuid, Seq, &'a str, &'a [u8]);

/// What the sessions of an instance share.
pub struct Renderings {
    events: Cache<Key, Slot>,
    people: Cache<(OrgId, UserId), Arc<Person>>,
    runs: Cache<ExecutionId, (OrgId, ProjectId)>,
    /// Held while several events of a project are made at once.
    turns: Cache<ProjectId, Arc<Mutex<()>>>,
}

impl Default for Renderings {
    fn default() -> Self {
        Self {
            events: Cache::builder().max_capacity(EVENTS_MAX).time_to_live(EVENT_LIFE).build(),
            turns: Cache::builder().max_capacity(EVENTS_MAX).time_to_idle(PERSON_LIFE).build(),
            runs: Cache::builder().max_capacity(EVENTS_MAX).time_to_live(PERSON_LIFE).build(),
            people: Cache::builder().max_capacity(PEOPLE_MAX).time_to_live(PERSON_LIFE).build(),
        }
    }
}

impl Renderings {
    /// Makes what several events of a project become, with one look-up for all of them; the first session that asks does
    /// it for the others. What could not be made is made when [`Renderings::event`] asks for it.
    pub async fn prepare(&self, database: &Database, org: OrgId, project: ProjectId, events: &[Queued<'_>]) {
        let turn = self.turns.get_with(project, Arc::default);
        let _turn = turn.lock().await;
        let (mut slots, mut frames) = (Vec::new(), Vec::new());
        for (stream, seq, at, text) in events {
            let slot = self.events.get_with((*stream, *seq, (*at).to_owned()), Slot::default);
            // How far a run is, is asked for each.
            if let Ok(frame) = serde_json::from_slice::<EventFrame>(text)
                && !slot.initialized()
                && render::wanted(&frame).execution.is_none()
            {
                slots.push(slot);
                frames.push(frame);
            }
        }
        if frames.len() < 2 {
            return;
        }
        match self.facts(database, org, &frames).await {
            Ok(facts) => {
                for (slot, frame) in slots.into_iter().zip(frames) {
                    // Whoever asked for this one alone meanwhile has made the same.
                    let _ = slot.set(render::event(project, frame, &facts).into_iter().map(finish).collect());
                }
            }
            Err(error) => debug!(%error, "look up what several events do not say"),
        }
    }

    /// What an event becomes. Those who ask at the same time wait for one answer.
    ///
    /// # Errors
    /// The database is away.
    pub async fn event(
        &self,
        database: &Database,
        org: OrgId,
        project: ProjectId,
        (stream, seq, at): (Uuid, Seq, &str),
        text: &[u8],
    ) -> sqlx::Result<Arc<[Ready]>> {
        let slot = self.events.get_with((stream, seq, at.to_owned()), Slot::default);
        let ready = slot.get_or_try_init(|| self.render(database, org, project, text)).await?;
        Ok(Arc::clone(ready))
    }

    async fn render(
        &self,
        database: &Database,
        org: OrgId,
        project: ProjectId,
        text: &[u8],
    ) -> sqlx::Result<Arc<[Ready]>> {
        let frame: EventFrame = match serde_json::from_slice(text) {
            Ok(frame) => frame,
            Err(error) => {
                // Asking again would not help; the others go on.
                error!(project.id = %project, %error, "an event cannot be read");
                return Ok(Arc::from([]));
            }
        };
        let facts = self.facts(database, org, std::slice::from_ref(&frame)).await?;
        Ok(render::event(project, frame, &facts).into_iter().map(finish).collect())
    }

    /// What these events do not say; of a run only if there is no more than one.
    async fn facts(&self, database: &Database, org: OrgId, frames: &[EventFrame]) -> sqlx::Result<Facts> {
        let mut wanted = Wanted::default();
        for frame in frames {
            let also = render::wanted(frame);
            wanted.people.extend(also.people);
            wanted.nodes.extend(also.nodes);
            wanted.outlines.extend(also.outlines);
            wanted.execution = also.execution;
        }
        let mut facts = Facts { people: self.people(database, org, &wanted.people).await?, ..Facts::default() };
        if !wanted.nodes.is_empty() || !wanted.outlines.is_empty() || wanted.execution.is_some() {
            let mut tx = database.begin(&Tenant::org(org)).await?;
            if !wanted.nodes.is_empty() {
                for (id, node) in view::nodes(&mut tx, &wanted.nodes, Viewer::Readers).await? {
                    match serde_json::to_value(&node).and_then(serde_json::from_value) {
                        Ok(node) => drop(facts.nodes.insert(id, node)),
                        Err(error) => error!(node.id = %id, %error, "a node cannot be shown"),
                    }
                }
            }
            if !wanted.outlines.is_empty() {
                facts.outlines = facts::outlines(&mut tx, &wanted.outlines).await?;
            }
            if let Some(execution) = wanted.execution {
                facts.progress = facts::progress(&mut tx, execution).await?;
                if frames.iter().any(|frame| matches!(frame.event, Event::TraceEvent(_))) {
                    facts.run = facts::run(&mut tx, execution).await?;
                }
            }
        }
        Ok(facts)
    }

    /// Where a run is at work; `None` if it is gone.
    ///
    /// # Errors
    /// The database is away.
    pub async fn place_of(&self, database: &Database, run: ExecutionId) -> sqlx::Result<Option<(OrgId, ProjectId)>> {
        if let Some(place) = self.runs.get(&run) {
            return Ok(Some(place));
        }
        let place = members::locate_execution(database, run).await?;
        if let Some(place) = place {
            self.runs.insert(run, place);
        }
        Ok(place)
    }

    /// Who these people are, as far as they are of the organization.
    ///
    /// # Errors
    /// The database is away.
    pub async fn people(
        &self,
        database: &Database,
        org: OrgId,
        users: &[UserId],
    ) -> sqlx::Result<HashMap<UserId, Arc<Person>>> {
        let mut known = HashMap::new();
        let mut unknown = Vec::new();
        for user in users {
            match self.people.get(&(org, *user)) {
                Some(person) => drop(known.insert(*user, person)),
                None => unknown.push(*user),
            }
        }
        if !unknown.is_empty() {
            let mut tx = database.begin(&Tenant::org(org)).await?;
            for (user, person) in facts::people(&mut tx, &unknown).await? {
                let person = Arc::new(person);
                self.people.insert((org, user), Arc::clone(&person));
                known.insert(user, person);
            }
        }
        Ok(known)
    }
}

fn finish(rendered: Rendered) -> Ready {
    let Rendered { node, audience, about, message } = rendered;
    Ready { node, audience, about, frame: stamped(message, None) }
}
