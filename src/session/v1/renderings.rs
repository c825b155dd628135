//! What the sessions of the older dialect on this instance share: each event is looked up and rendered once for all of
//! them, and people are remembered for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::{Event, EventFrame, ExecutionId, NodeId, OrgId, ProjectId, Seq, UserId};
use moka::sync::Cache;
use tokio::sync::OnceCell;
use tracing::error;
use uuid::Uuid;

use super::render::{self, About, Audience, Facts, Rendered};
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

/// What the sessions of an instance share.
pub struct Renderings {
    events: Cache<Key, Slot>,
    people: Cache<(OrgId, UserId), Arc<Person>>,
    runs: Cache<ExecutionId, (OrgId, ProjectId)>,
}

impl Default for Renderings {
    fn default() -> Self {
        Self {
            events: Cache::builder().max_capacity(EVENTS_MAX).time_to_live(EVENT_LIFE).build(),
            runs: Cache::builder().max_capacity(EVENTS_MAX).time_to_live(PERSON_LIFE).build(),
            people: Cache::builder().max_capacity(PEOPLE_MAX).time_to_live(PERSON_LIFE).build(),
        }
    }
}

impl Renderings {
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
        let facts = self.facts(database, org, &frame).await?;
        Ok(render::event(project, frame, &facts).into_iter().map(finish).collect())
    }

    async fn facts(&self, database: &Database, org: OrgId, frame: &EventFrame) -> sqlx::Result<Facts> {
        let wanted = render::wanted(frame);
        let mut facts = Facts { people: self.people(database, org, &wanted.people).await?, ..Facts::default() };
        if !wanted.nodes.is_empty() || wanted.execution.is_some() {
            let mut tx = database.begin(&Tenant::org(org)).await?;
            if !wanted.nodes.is_empty() {
                for (id, node) in view::nodes(&mut tx, &wanted.nodes, Viewer::Readers).await? {
                    match serde_json::to_value(&node).and_then(serde_json::from_value) {
                        Ok(node) => drop(facts.nodes.insert(id, node)),
                        Err(error) => error!(node.id = %id, %error, "a node cannot be shown"),
                    }
                }
            }
            if let Some(execution) = wanted.execution {
                facts.progress = facts::progress(&mut tx, execution).await?;
                if matches!(frame.event, Event::TraceEvent(_)) {
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
