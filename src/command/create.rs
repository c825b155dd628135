//! `node_create`.

use glassbox_protocol::client::NodeCreate;
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{Error, NodeId};
use serde_json::json;

use super::inverse::Inverse;
use super::validate::clamp;
use super::{Applied, Done, Job, Place, author_type, people};
use crate::store::Tx;
use crate::store::nodes::{self, Content, NewNode};

pub(super) async fn apply(tx: &mut Tx, place: Place, job: &Job<'_>, create: &NodeCreate) -> sqlx::Result<Applied> {
    if let Some(parent) = create.parent_id {
        let found = nodes::lock(tx, place.project, &[parent]).await?;
        if found.get(&parent).is_none_or(|row| row.deleted_at.is_some()) {
            return Ok(Err(Error::validation("parentId", "must be a node of this project")));
        }
    }
    let kind = create.author_type.unwrap_or_default();
    let supervisor = match create.supervisor_user_id {
        Some(user) => match people::supervisor(tx, place, "supervisorUserId", user).await? {
            Some(error) => return Ok(Err(error)),
            None => Some(user),
        },
        // Somebody answers for an agent's work.
        None => (kind == glassbox_protocol::entity::AuthorType::Agent).then_some(job.user),
    };
    if let Some(metadata) = &create.metadata
        && let Some(error) = people::assignees(tx, place, "metadata", metadata, None).await?
    {
        return Ok(Err(error));
    }
    let status = match &create.status {
        Some(status) => {
            if let Some(states) = nodes::enforced_states(tx, place.project).await?
                && !states.contains(status)
            {
                return Ok(Err(Error::validation(
                    "status",
                    format!("must be one of the project's workflow states: {}", states.join(", ")),
                )));
            }
            status.clone()
        }
        None => nodes::default_status(tx, place.project).await?,
    };
    let wanted = create.position.unwrap_or_default();
    let position = clamp(wanted);
    let id = create.id.unwrap_or_else(NodeId::random);
    let node = NewNode {
        id,
        org: place.org,
        project: place.project,
        content: Content {
            title: create.title.clone(),
            description: create.description.clone(),
            status,
            parent: create.parent_id,
            supervisor,
            metadata: create.metadata.clone().unwrap_or_default(),
            position,
        },
        author_type: author_type(kind),
        author: job.user,
    };
    if nodes::insert(tx, &[node]).await?.is_empty() {
        return Ok(Err(Error::validation("id", "is in use")));
    }
    let outcome = if position == wanted { Outcome::Applied } else { Outcome::Adjusted };
    let mut result = json!({ "nodeId": id });
    if outcome == Outcome::Adjusted {
        result["position"] = json!(position);
    }
    let done = Done::new(outcome).with_version(1).with_result(result);
    Ok(Ok(match job.is_undoable() {
        true => done.with_inverse(Inverse::of_presence(tx, id, &[id], None).await?),
        false => done,
    }))
}
