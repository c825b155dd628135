//! Events of the log in the words of the older dialect: a pure function of the event and of what it does not say itself.

use std::collections::HashMap;
use std::sync::Arc;

use glassbox_protocol::entity::{Actor, Node};
use glassbox_protocol::v1::ServerMessage;
use glassbox_protocol::v1::server as v1;
use glassbox_protocol::{Event, EventFrame, ExecutionId, NodeId, ProjectId, UserId};
use serde_json::{Map, Value};

use crate::store::facts::{Outline, Person, Progress, Run};

mod wanted;

pub use wanted::{Wanted, wanted};

/// What an event does not say itself.
#[derive(Default)]
pub struct Facts {
    /// Who the people are that it names.
    pub people: HashMap<UserId, Arc<Person>>,
    /// The nodes that it is about, as they are now.
    pub nodes: HashMap<NodeId, Node>,
    /// Of those of which little is said, that.
    pub outlines: HashMap<NodeId, Outline>,
    /// How far the run is that it is about.
    pub progress: Option<Progress>,
    /// That run, for a step of it.
    pub run: Option<Run>,
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever has the project's channel.
    Project,
    /// Those, and whoever has the node's.
    ProjectAndNode,
}

/// What a message is about, where that matters for how it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Nothing special.
    Node,
    /// A node that is no longer there.
    Deletion,
    /// A lock: whoever asked for it has an answer of their own.
    Lock,
    /// A run; updates that only change numbers are sent now and then.
    Execution {
        /// Which.
        id: ExecutionId,
        /// Its state.
        status: String,
        /// Whether a step of it is told, which is never left out.
        has_trace: bool,
    },
}

/// A message that an event becomes.
#[derive(Debug)]
pub struct Rendered {
    /// The node that it is about.
    pub node: NodeId,
    /// Who gets it.
    pub audience: Audience,
    /// What it is about.
    pub about: About,
    /// What is said.
    pub message: ServerMessage,
}

/// Whether events of this type become anything here.
pub fn is_spoken(kind: &str) -> bool {
    !matches!(
        kind,
        "dependency_added"
            | "dependency_removed"
            | "lock_renewed"
            | "member_added"
            | "member_updated"
            | "member_removed"
            | "project_updated"
            | "project_deleted"
            | "execution_closed"
            | "trace_event"
            | "notification"
            | "notifications_read"
    )
}

/// Renders an event; most become one message, some become one for each node, some nothing.
pub fn event(project: ProjectId, frame: EventFrame, facts: &Facts) -> Vec<Rendered> {
    let by = facts.actor(frame.by);
    let at = frame.at;
    let renderer = Renderer { project, by: by.as_ref(), at: &at, facts };
    match frame.event {
        Event::NodeCreated { node_id, node } | Event::NodeRestored { node_id, node } => {
            let version = node.version;
            // The node as it was made; what its inputs refer to stands only in the newer one.
            let mut node = *node;
            if let Some(now) = facts.nodes.get(&node_id) {
                node.inputs.clone_from(&now.inputs);
                node.outputs.clone_from(&now.outputs);
            }
            let message = v1::NodeCreated { project_id: project, node_id, node, created_by: by.clone(), version };
            let message = ServerMessage::NodeCreated(Box::new(message));
            vec![Rendered { node: node_id, audience: Audience::Project, about: About::Node, message }]
        }
        Event::NodeUpdated { node_id, changes, version, .. } => {
            let changes = match serde_json::to_value(&changes) {
                Ok(Value::Object(changes)) => changes,
                Ok(_) | Err(_) => Map::new(),
            };
            vec![renderer.updated(node_id, changes, Some(version), Whole(true))].into_iter().flatten().collect()
        }
        Event::NodesMoved { moves } => moves
            .into_iter()
            .filter_map(|moved| {
                let changes = Map::from_iter([("position".to_owned(), serde_json::json!(moved.position))]);
                renderer.updated(moved.node_id, changes, None, Whole(false))
            })
            .collect(),
        Event::NodeInputAdded { node_id, .. } | Event::NodeInputRemoved { node_id, .. } => {
            renderer.parts(node_id, |node| Map::from_iter([("inputs".to_owned(), node.inputs.clone().into())]))
        }
        Event::NodeOutputAdded { node_id, .. } | Event::NodeOutputRemoved { node_id, .. } => {
            renderer.parts(node_id, |node| Map::from_iter([("outputs".to_owned(), node.outputs.clone().into())]))
        }
        Event::FileUpdate { file_id, node_ids, .. } => {
            let uses = |part: &Value| part["fileId"] == serde_json::json!(file_id);
            let changed = |node: &Node| {
                let mut changes = Map::new();
                if node.inputs.iter().any(uses) {
                    changes.insert("inputs".to_owned(), node.inputs.clone().into());
                }
                if node.outputs.iter().any(uses) {
                    changes.insert("outputs".to_owned(), node.outputs.clone().into());
                }
                changes
            };
            node_ids.into_iter().flat_map(|node| renderer.parts(node, changed)).collect()
        }
        Event::NodeDeleted { node_id } => {
            let message =
                v1::NodeDeleted { project_id: project, node_id, deleted_by: by.clone(), updated_by: by.clone() };
            let message = ServerMessage::NodeDeleted(message);
            vec![Rendered { about: About::Deletion, ..Rendered::of_node(node_id, message) }]
        }
        Event::LockAcquired { node_id, locked_by, locked_at, expires_at, .. } => {
            let message = facts.lock_acquired(project, node_id, locked_by, locked_at, expires_at);
            vec![Rendered { about: About::Lock, ..Rendered::of_node(node_id, ServerMessage::LockAcquired(message)) }]
        }
        Event::LockReleased { node_id, locked_by, reason } => {
            let email = facts.email(locked_by);
            let message = v1::LockReleased {
                project_id: project,
                node_id,
                locked_by: Some(locked_by),
                locked_by_email: Some(email.clone()),
                user_email: Some(email),
                user_name: facts.name(locked_by),
                released_by: by.as_ref().and_then(|by| by.id),
                reason,
            };
            vec![Rendered { about: About::Lock, ..Rendered::of_node(node_id, ServerMessage::LockReleased(message)) }]
        }
        Event::ExecutionUpdate { execution_id, node_id, status, total_tokens_in, total_tokens_out, error_message } => {
            let message = v1::ExecutionUpdate {
                error_message,
                ..facts.run(project, execution_id, node_id, status, (total_tokens_in, total_tokens_out))
            };
            vec![Rendered::of_run(message)]
        }
        Event::TraceEvent(trace) => {
            let Some(run) = &facts.run else { return Vec::new() };
            let totals = (run.total_tokens_in, run.total_tokens_out);
            let message = v1::ExecutionUpdate {
                trace_event: Some(v1::TraceEvent {
                    id: trace.id,
                    n: trace.n,
                    kind: trace.event_type,
                    model: trace.model,
                    tokens_in: trace.tokens_in,
                    tokens_out: trace.tokens_out,
                    duration_ms: trace.duration_ms,
                    timestamp: trace.timestamp,
                }),
                ..facts.run(project, trace.execution_id, run.node(), run.status.clone(), totals)
            };
            vec![Rendered::of_run(message)]
        }
        Event::DependencyAdded { .. }
        | Event::DependencyRemoved { .. }
        | Event::LockRenewed { .. }
        | Event::ExecutionClosed { .. }
        | Event::MemberAdded { .. }
        | Event::MemberUpdated { .. }
        | Event::MemberRemoved { .. }
        | Event::ProjectUpdated { .. }
        | Event::ProjectDeleted {}
        | Event::Notification { .. }
        | Event::NotificationsRead { .. } => Vec::new(),
    }
}

impl Rendered {
    fn of_node(node: NodeId, message: ServerMessage) -> Self {
        Self { node, audience: Audience::ProjectAndNode, about: About::Node, message }
    }

    fn of_run(message: v1::ExecutionUpdate) -> Self {
        let about = About::Execution {
            id: message.execution_id,
            status: message.status.clone(),
            has_trace: message.trace_event.is_some(),
        };
        Self { about, ..Self::of_node(message.node_id, ServerMessage::ExecutionUpdate(Box::new(message))) }
    }
}

/// Whether the whole node stands in a message.
struct Whole(bool);

struct Renderer<'a> {
    project: ProjectId,
    by: Option<&'a v1::Actor>,
    at: &'a str,
    facts: &'a Facts,
}

impl Renderer<'_> {
    fn updated(
        &self,
        node_id: NodeId,
        changes: Map<String, Value>,
        version: Option<i32>,
        Whole(is_whole): Whole,
    ) -> Option<Rendered> {
        let node = self.facts.nodes.get(&node_id);
        let (version_now, title, status) = match (node, self.facts.outlines.get(&node_id)) {
            (Some(node), _) => (Some(node.version), Some(&node.title), Some(&node.status)),
            (None, Some(now)) => (Some(now.version), Some(&now.title), Some(&now.status)),
            (None, None) => (None, None, None),
        };
        let text = |name: &str| changes.get(name).and_then(Value::as_str).map(str::to_owned);
        let message = v1::NodeUpdated {
            project_id: self.project,
            node_id,
            version: version.or(version_now)?,
            title: title.cloned().or_else(|| text("title")),
            status: status.cloned().or_else(|| text("status")),
            updated_by: self.by.cloned(),
            updated_at: self.at.to_owned(),
            node: node.filter(|_| is_whole).cloned(),
            changes,
        };
        Some(Rendered::of_node(node_id, ServerMessage::NodeUpdated(Box::new(message))))
    }

    /// What hangs on a node changed: whole lists of it, if the node is still there.
    fn parts(&self, node_id: NodeId, changes: impl Fn(&Node) -> Map<String, Value>) -> Vec<Rendered> {
        let Some(node) = self.facts.nodes.get(&node_id) else { return Vec::new() };
        self.updated(node_id, changes(node), None, Whole(true)).into_iter().collect()
    }
}

impl Facts {
    /// Where to write to somebody; never empty.
    pub fn email(&self, user: UserId) -> String {
        email_of(self.people.get(&user).map(Arc::as_ref), user)
    }

    fn name(&self, user: UserId) -> Option<String> {
        self.people.get(&user).and_then(|person| person.name.clone())
    }

    fn actor(&self, by: Option<Actor>) -> Option<v1::Actor> {
        by.map(|by| match by {
            Actor::User { id } => person(self.people.get(&id).map(Arc::as_ref), id),
            Actor::Execution { id } => {
                v1::Actor { name: Some("Agent".to_owned()), execution_id: Some(id), ..v1::Actor::default() }
            }
        })
    }

    fn run(
        &self,
        project_id: ProjectId,
        execution_id: ExecutionId,
        node_id: NodeId,
        status: String,
        (total_tokens_in, total_tokens_out): (i64, i64),
    ) -> v1::ExecutionUpdate {
        let progress = self.progress.clone().unwrap_or_default();
        let asked = progress.human_input_request.filter(|_| status == "awaiting_input");
        v1::ExecutionUpdate {
            execution_id,
            project_id,
            node_id,
            status,
            progress: v1::Progress {
                current_step: progress.current_step,
                steps_completed: progress.steps_completed,
                total_steps: None,
                tokens_used: total_tokens_in.saturating_add(total_tokens_out),
                estimated_cost: progress.estimated_cost,
            },
            trace_event: None,
            total_tokens_in,
            total_tokens_out,
            error_message: None,
            human_input_request: asked.map(|asked| asked.0),
        }
    }

    /// Tells who holds a lock.
    pub fn lock_acquired(
        &self,
        project_id: ProjectId,
        node_id: NodeId,
        locked_by: UserId,
        locked_at: String,
        expires_at: String,
    ) -> v1::LockAcquired {
        let email = self.email(locked_by);
        v1::LockAcquired {
            project_id,
            node_id,
            locked_by,
            locked_by_email: email.clone(),
            user_email: email,
            user_name: self.name(locked_by),
            locked_at,
            expires_at,
            fence: None,
        }
    }
}

/// Somebody who did something.
pub fn person(who: Option<&Person>, id: UserId) -> v1::Actor {
    v1::Actor {
        id: Some(id),
        email: Some(email_of(who, id)),
        name: who.and_then(|who| who.name.clone()),
        execution_id: None,
    }
}

/// An email for whoever has none that we may know: a page that gets none stops working.
pub fn email_of(who: Option<&Person>, id: UserId) -> String {
    who.map_or_else(|| format!("{id}@users.invalid"), |who| who.email.clone())
}

#[cfg(test)]
mod tests;
