//! `node_rollback`: a new version with the content of an earlier one.

use std::collections::HashMap;

use glassbox_protocol::client::NodeRollback;
use glassbox_protocol::{Error, ErrorCode, NodeId, UserId};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::inverse::Inverse;
use super::validate::{STATUS_MAX, TITLE_MAX};
use super::{Applied, Done, Job, Place, gone, lock, not_found, people};
use crate::store::nodes::{self, Content, LockedRow, Write};
use crate::store::{Origin, Tx, tree, versions};

/// Keys that every snapshot of a whole node has. In one that has them all, a value that is absent was empty; other
/// writers may have stored snapshots with some keys only, which say nothing about the rest.
const WHOLE: [&str; 6] = ["id", "title", "status", "version", "metadata", "position"];

pub(super) async fn apply(tx: &mut Tx, place: Place, job: &Job<'_>, rollback: &NodeRollback) -> sqlx::Result<Applied> {
    let node = rollback.node_id;
    let rows: HashMap<NodeId, LockedRow> = nodes::lock(tx, place.project, &[node]).await?;
    let row = match rows.get(&node) {
        None => return Ok(Err(not_found())),
        Some(row) if row.deleted_at.is_some() => return Ok(Err(gone(node))),
        Some(row) => row,
    };
    if let Some(error) = lock::refusal(tx, job, node, rollback.fence).await? {
        return Ok(Err(error));
    }
    let Some(version) = versions::one(tx, node, rollback.version).await? else {
        return Ok(Err(Error::new(ErrorCode::NotFound, "no such version of this node")));
    };
    let snapshot: Map<String, Value> = serde_json::from_str(version.snapshot.0.get()).unwrap_or_default();
    let mut content = earlier(&row.content, &snapshot);
    if content.status != row.content.status
        && let Some(states) = nodes::enforced_states(tx, place.project).await?
        && !states.contains(&content.status)
    {
        return Ok(Err(Error::validation(
            "version",
            format!("its status must be one of the project's workflow states: {}", states.join(", ")),
        )));
    }
    if let Some(user) = content.supervisor
        && content.supervisor != row.content.supervisor
        && !nodes::is_org_member(tx, place.org, user).await?
    {
        content.supervisor = row.content.supervisor;
    }
    if let Some(parent) = content.parent
        && content.parent != row.content.parent
        && !can_be_parent(tx, place, node, parent).await?
    {
        content.parent = row.content.parent;
    }
    if people::assignees(tx, place, "metadata", &content.metadata, Some(&row.content.metadata)).await?.is_some() {
        // Some of those who were assigned then have left: who is assigned now stays.
        match row.content.metadata.get("assignees") {
            Some(now) => content.metadata.insert("assignees".to_owned(), now.clone()),
            None => content.metadata.remove("assignees"),
        };
    }
    if content == row.content {
        return Ok(Ok(Done::unchanged().with_version(row.version)));
    }

    let origin = Origin {
        change: Some("rollback"),
        summary: Some(format!("Rolled back to version {}", rollback.version)),
        ..job.origin()
    };
    tx.set_origin(&origin, &[]).await?;
    let write = Write { node, content, user: job.user, fence: rollback.fence };
    Ok(match nodes::write(tx, std::slice::from_ref(&write)).await?.get(&node) {
        Some(version) if job.is_undoable() => {
            let inverse = Inverse::of_content(node, *version, &row.content, &write.content);
            Ok(Done::applied().with_version(*version).with_inverse(inverse))
        }
        Some(version) => Ok(Done::applied().with_version(*version)),
        // The lease that the fence belongs to has just ended.
        None => Err(lock::refusal(tx, job, node, rollback.fence)
            .await?
            .unwrap_or_else(|| Error::new(ErrorCode::LockHeld, "the node was locked a moment ago; try again"))),
    })
}

/// What a node's content becomes: what the snapshot says, and what the node has where it says nothing or nonsense. The
/// place stays.
fn earlier(now: &Content, snapshot: &Map<String, Value>) -> Content {
    let is_whole = WHOLE.iter().all(|key| snapshot.contains_key(*key));
    let text = |key: &str, max: usize| {
        let text = snapshot.get(key).and_then(Value::as_str);
        text.filter(|text| (1..=max).contains(&text.chars().count())).map(str::to_owned)
    };
    let id = |key: &str| snapshot.get(key).and_then(Value::as_str).and_then(|text| text.parse::<Uuid>().ok());
    // A nullable field is empty where the snapshot says null, or nothing although it is whole.
    let is_empty = |key: &str| snapshot.get(key).map_or(is_whole, Value::is_null);
    let mut then = now.clone();
    if let Some(title) = text("title", TITLE_MAX) {
        then.title = title;
    }
    if let Some(status) = text("status", STATUS_MAX) {
        then.status = status;
    }
    match snapshot.get("description") {
        Some(Value::String(description)) => then.description = Some(description.clone()),
        _ if is_empty("description") => then.description = None,
        _ => {}
    }
    if let Some(Value::Object(metadata)) = snapshot.get("metadata") {
        then.metadata.clone_from(metadata);
    }
    match id("supervisorUserId") {
        Some(user) => then.supervisor = Some(UserId(user)),
        None if is_empty("supervisorUserId") => then.supervisor = None,
        None => {}
    }
    match id("parentId") {
        Some(parent) => then.parent = Some(NodeId(parent)),
        None if is_empty("parentId") => then.parent = None,
        None => {}
    }
    then
}

/// Whether the earlier parent is still there and would close no cycle.
async fn can_be_parent(tx: &mut Tx, place: Place, node: NodeId, parent: NodeId) -> sqlx::Result<bool> {
    let found = nodes::lock(tx, place.project, &[parent]).await?;
    if found.get(&parent).is_none_or(|row| row.deleted_at.is_some()) {
        return Ok(false);
    }
    Ok(tree::parent_cycle(tx, node, parent).await?.is_none())
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::entity::Position;
    use serde_json::json;

    use super::*;

    fn now() -> Content {
        Content {
            title: "now".into(),
            description: Some("text".into()),
            status: "draft".into(),
            parent: Some(NodeId::random()),
            supervisor: Some(UserId::random()),
            metadata: Map::from_iter([("a".to_owned(), json!(1))]),
            position: Position { x: 1.0, y: 2.0 },
        }
    }

    fn earlier_of(now: &Content, snapshot: Value) -> Content {
        let Value::Object(snapshot) = snapshot else { panic!("an object") };
        earlier(now, &snapshot)
    }

    #[test]
    fn what_a_partial_snapshot_lacks_stays() {
        let now = now();
        assert_eq!(earlier_of(&now, json!({})), now);
        assert_eq!(earlier_of(&now, json!({ "title": "then" })), Content { title: "then".into(), ..now.clone() });
        assert_eq!(earlier_of(&now, json!({ "description": null })), Content { description: None, ..now.clone() });
        let nonsense = json!({ "title": "", "status": 7, "metadata": [], "parentId": "x", "supervisorUserId": 1 });
        assert_eq!(earlier_of(&now, nonsense), now);
    }

    #[test]
    fn what_a_whole_snapshot_lacks_was_empty_and_the_place_stays() {
        let now = now();
        let whole = json!({
            "id": Uuid::new_v4(), "title": "then", "status": "done", "version": 1, "metadata": {},
            "position": { "x": 9, "y": 9 },
        });
        let then = Content {
            title: "then".into(),
            description: None,
            status: "done".into(),
            parent: None,
            supervisor: None,
            metadata: Map::new(),
            position: now.position,
        };
        assert_eq!(earlier_of(&now, whole), then);
    }
}
