//! From the frames that rooms and the user's inbox queue for a session to what the older dialect makes of them. Looks up
//! what events do not say; the order is kept, and nothing is decided here about who is subscribed to what.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::entity::Notification;
use glassbox_protocol::server::{PresenceDiff, PresenceState, Reset, Synced};
use glassbox_protocol::{Channel, Event, EventFrame, OrgId, ProjectId, RequestId, Seq, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::presence::Change;
use super::render::is_spoken;
use super::renderings::{Queued, Ready};
use crate::app::App;
use crate::room::frame::Frame;
use crate::session::outbound::Outbound;
use crate::session::peer::Peer;
use crate::store::facts::Person;
use crate::store::members;

/// First pause before the database is asked again; doubles up to a second.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// How often it is asked; some ten seconds in all.
const TRIES_MAX: u32 = 14;

/// Something that concerns a session, looked up.
pub enum Incoming {
    /// A room is live for it from here on.
    Synced {
        /// Which.
        project: ProjectId,
        /// The subscription.
        generation: u32,
    },
    /// A room cannot go on from where it was.
    Reset {
        /// Which.
        project: ProjectId,
        /// The subscription.
        generation: u32,
    },
    /// An event of a room's log.
    Event {
        /// Which room.
        project: ProjectId,
        /// The subscription.
        generation: u32,
        /// The command behind it, if it is one of the user's.
        request: Option<RequestId>,
        /// What it becomes.
        ready: Arc<[Ready]>,
    },
    /// Who is in a room.
    Present {
        /// Which.
        project: ProjectId,
        /// The subscription.
        generation: u32,
        /// What is new.
        change: Change,
        /// Who they are.
        people: HashMap<UserId, Arc<Person>>,
    },
    /// Something new to read.
    Notification(Box<Notification>),
}

/// The outer fields of a frame.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    channel: Option<Channel>,
    seq: Option<Seq>,
    #[serde(borrow)]
    at: Option<Cow<'a, str>>,
    generation: Option<u32>,
    request_id: Option<RequestId>,
}

/// Takes what is queued for a session until that ends. A client that does not read is not worked for: what waits for it
/// then waits in the queue before this, which has a bound.
pub async fn run(app: &App, peer: &Peer, out: &Outbound, incoming: mpsc::Sender<Incoming>) -> anyhow::Result<()> {
    while let Some(frames) = peer.outbound.take().await {
        out.has_room().await;
        prepare(app, &frames).await;
        for frame in &frames {
            out.has_room().await;
            if let Some(understood) = understand(app, frame).await?
                && incoming.send(understood).await.is_err()
            {
                return Ok(());
            }
        }
        peer.outbound.written();
    }
    Ok(())
}

/// Has what several events of a room do not say looked up at once.
async fn prepare(app: &App, frames: &[Frame]) {
    if frames.len() < 2 {
        return;
    }
    let heads: Vec<(Head<'_>, &[u8])> = frames
        .iter()
        .filter_map(|frame| serde_json::from_slice(frame.payload()).ok().map(|head| (head, frame.payload())))
        .collect();
    let mut events: HashMap<ProjectId, Vec<Queued<'_>>> = HashMap::new();
    for (head, text) in &heads {
        if let (Some(Channel::Project(project)), Some(seq), Some(at)) = (head.channel, head.seq, &head.at)
            && is_spoken(&head.kind)
        {
            events.entry(project).or_default().push((project.0, seq, at, text));
        }
    }
    for (project, events) in events.into_iter().filter(|(_, events)| events.len() > 1) {
        if let Ok(Some(org)) = org_of(app, project).await {
            app.sessions.renderings.prepare(&app.database, org, project, &events).await;
        }
    }
}

async fn understand(app: &App, frame: &Frame) -> anyhow::Result<Option<Incoming>> {
    let text = frame.payload();
    let head: Head<'_> = serde_json::from_slice(text)?;
    let payload = head.payload.map_or("{}", RawValue::get);
    Ok(match (head.channel, head.seq, &head.at) {
        (Some(Channel::Project(project)), Some(seq), Some(at)) if is_spoken(&head.kind) => {
            let Some(org) = org_of(app, project).await? else { return Ok(None) };
            let ready =
                again(|| app.sessions.renderings.event(&app.database, org, project, (project.0, seq, at), text))
                    .await?;
            let generation = head.generation.unwrap_or_default();
            Some(Incoming::Event { project, generation, request: head.request_id, ready })
        }
        (Some(Channel::User), Some(_), Some(_)) if head.kind == "notification" => {
            let frame: EventFrame = serde_json::from_slice(text)?;
            match frame.event {
                Event::Notification { notification, .. } => Some(Incoming::Notification(notification)),
                _ => None,
            }
        }
        // Of a run's own log its steps; its state comes with the project's.
        (Some(Channel::Execution(run)), Some(seq), Some(at)) if head.kind == "trace_event" => {
            let place = again(|| app.sessions.renderings.place_of(&app.database, run)).await?;
            let Some((org, project)) = place else { return Ok(None) };
            let step = (run.0, seq, at.as_ref());
            let ready = again(|| app.sessions.renderings.event(&app.database, org, project, step, text)).await?;
            let generation = head.generation.unwrap_or_default();
            Some(Incoming::Event { project, generation, request: None, ready })
        }
        (Some(_), Some(_), Some(_)) => None,
        _ => match head.kind.as_ref() {
            "synced" => {
                let Synced { channel, generation, .. } = serde_json::from_str(payload)?;
                project_of(channel).map(|project| Incoming::Synced { project, generation })
            }
            "reset" => {
                let Reset { channel, generation, .. } = serde_json::from_str(payload)?;
                project_of(channel).map(|project| Incoming::Reset { project, generation })
            }
            "presence_state" => {
                let PresenceState { channel, generation, members } = serde_json::from_str(payload)?;
                let users = members.iter().map(|m| m.user.id).collect();
                present(app, channel, generation, users, Change::All(members)).await?
            }
            "presence_diff" => {
                let PresenceDiff { channel, generation, joins, leaves, updates } = serde_json::from_str(payload)?;
                let users = joins.iter().map(|m| m.user.id).collect();
                present(app, channel, generation, users, Change::Some { joins, leaves, updates }).await?
            }
            // Answers to what this dialect does not ask, and what it does not know.
            _ => None,
        },
    })
}

async fn present(
    app: &App,
    channel: Channel,
    generation: u32,
    users: HashSet<UserId>,
    change: Change,
) -> anyhow::Result<Option<Incoming>> {
    let Some(project) = project_of(channel) else { return Ok(None) };
    let mut people = HashMap::new();
    if !users.is_empty() {
        let Some(org) = org_of(app, project).await? else { return Ok(None) };
        let users: Vec<UserId> = users.into_iter().collect();
        people = again(|| app.sessions.renderings.people(&app.database, org, &users)).await?;
    }
    Ok(Some(Incoming::Present { project, generation, change, people }))
}

fn project_of(channel: Channel) -> Option<ProjectId> {
    match channel {
        Channel::Project(project) => Some(project),
        Channel::Node(_) | Channel::Execution(_) | Channel::User => None,
    }
}

async fn org_of(app: &App, project: ProjectId) -> anyhow::Result<Option<OrgId>> {
    match app.rooms.find(project) {
        Some(room) => Ok(Some(room.org)),
        None => Ok(again(|| members::locate_project(&app.database, project)).await?),
    }
}

/// Asks until the database answers: an event that is not rendered would be lost.
async fn again<T, F: Future<Output = sqlx::Result<T>>>(mut ask: impl FnMut() -> F) -> sqlx::Result<T> {
    let mut delay = RETRY_DELAY;
    for _ in 1..TRIES_MAX {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => debug!(%error, "look up what an event does not say, trying again"),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(Duration::from_secs(1));
    }
    ask().await.inspect_err(|error| warn!(%error, "look up what an event does not say"))
}
