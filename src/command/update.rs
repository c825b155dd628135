//! `node_update`: fields of a node, merged one by one.

use std::collections::HashMap;

use glassbox_protocol::client::{NodeChanges, NodeUpdate};
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{Command, Error, ErrorCode, NodeId, UserId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::inverse::Inverse;
use super::validate::clamp;
use super::{Applied, Done, Job, Place, gone, lock, not_found, people};
use crate::store::nodes::{self, Content, LockedRow, Write};
use crate::store::versions::{self, VersionRow};
use crate::store::view::{self, Viewer};
use crate::store::{Origin, Tx, tree};

/// Applies updates of nodes that all differ, as one statement.
pub(super) async fn apply(tx: &mut Tx, place: Place, jobs: &[Job<'_>]) -> sqlx::Result<Vec<Applied>> {
    let updates: Vec<(&Job<'_>, &NodeUpdate)> = jobs
        .iter()
        .filter_map(|job| match job.command {
            Command::NodeUpdate(update) => Some((job, update)),
            _ => None,
        })
        .collect();
    if updates.is_empty() {
        return Ok(Vec::new());
    }
    let touched: Vec<NodeId> = updates.iter().map(|(_, u)| u.node_id).collect();
    let rows = nodes::lock(tx, place.project, &touched).await?;

    let mut applied: Vec<Applied> = Vec::with_capacity(jobs.len());
    let mut writes: Vec<Write> = Vec::new();
    let mut origins: Vec<(Uuid, Origin)> = Vec::new();
    for (n, (job, update)) in updates.iter().enumerate() {
        let merged = match rows.get(&update.node_id) {
            None => Err(not_found()),
            Some(row) if row.deleted_at.is_some() => Err(gone(update.node_id)),
            Some(row) => merge(tx, place, job, update, row).await?,
        };
        applied.push(match merged {
            Err(error) => Err(error),
            Ok(Merged { content: None, version, .. }) => {
                // Even where nothing changes, a lock that is somebody else's or lost is told.
                match lock::refusal(tx, job, update.node_id, update.fence).await? {
                    Some(error) => Err(error),
                    None => Ok(Done::unchanged().with_version(version)),
                }
            }
            Ok(Merged { content: Some(content), is_adjusted, .. }) => {
                writes.push(Write { node: update.node_id, content, user: job.user, fence: update.fence });
                origins.push((update.node_id.0, Origin { n: Some(n), ..job.origin() }));
                let outcome = if is_adjusted { Outcome::Adjusted } else { Outcome::Applied };
                Ok(Done::new(outcome))
            }
        });
    }
    if writes.is_empty() {
        return Ok(applied);
    }
    tx.set_origin(&Origin::default(), &origins).await?;
    let versions = nodes::write(tx, &writes).await?;
    let written: HashMap<NodeId, &Write> = writes.iter().map(|w| (w.node, w)).collect();
    for ((job, update), answer) in updates.iter().zip(&mut applied) {
        let Ok(done) = answer else { continue };
        let Some(write) = written.get(&update.node_id) else { continue };
        match versions.get(&update.node_id) {
            Some(version) => {
                done.version = Some(*version);
                if let Some(row) = rows.get(&update.node_id).filter(|_| job.is_undoable()) {
                    let inverse = Inverse::of_content(update.node_id, *version, &row.content, &write.content);
                    done.inverse = Some(Box::new(inverse));
                }
                if done.outcome == Outcome::Adjusted {
                    done.result = Some(json!({ "changes": { "position": write.content.position } }));
                }
            }
            None => {
                *answer = Err(match lock::refusal(tx, job, update.node_id, update.fence).await? {
                    Some(error) => error,
                    // The lease that was in the way has just ended.
                    None => Error::new(ErrorCode::LockHeld, "the node was locked a moment ago; try again"),
                });
            }
        }
    }
    Ok(applied)
}

struct Merged {
    /// All fields as they shall be; `None` when nothing differs.
    content: Option<Content>,
    version: i32,
    is_adjusted: bool,
}

async fn merge(
    tx: &mut Tx,
    place: Place,
    job: &Job<'_>,
    update: &NodeUpdate,
    row: &LockedRow,
) -> sqlx::Result<Result<Merged, Error>> {
    let changes = &update.changes;
    if let Some(base) = update.base_version
        && base != row.version
    {
        let mut versions = versions::from(tx, update.node_id, base).await?;
        if versions.last().is_none_or(|newest| newest.version != row.version) {
            // So far back that not all versions since then were read: there is no telling.
            versions.clear();
        }
        let conflicts = conflicting_fields(changes, &row.content, base, &versions, job.user);
        if !conflicts.is_empty() {
            let current = view::node(tx, update.node_id, Viewer::User(job.user)).await?;
            return Ok(Err(Error::new(
                ErrorCode::VersionConflict,
                format!("changed since version {base} by somebody else: {}", conflicts.join(", ")),
            )
            .with_details(json!({ "fields": conflicts, "current": current }))));
        }
    }
    let mut content = row.content.clone();
    if let Some(title) = &changes.title {
        content.title.clone_from(title);
    }
    if let Some(description) = &changes.description {
        content.description.clone_from(description);
    }
    if let Some(status) = &changes.status {
        if let Some(states) = nodes::enforced_states(tx, place.project).await?
            && !states.contains(status)
            && *status != content.status
        {
            return Ok(Err(Error::validation(
                "changes.status",
                format!("must be one of the project's workflow states: {}", states.join(", ")),
            )));
        }
        content.status.clone_from(status);
    }
    if let Some(metadata) = &changes.metadata {
        let before = Some(&row.content.metadata);
        if let Some(error) = people::assignees(tx, place, "changes.metadata", metadata, before).await? {
            return Ok(Err(error));
        }
        content.metadata.clone_from(metadata);
    }
    let mut is_adjusted = false;
    if let Some(position) = changes.position {
        content.position = clamp(position);
        is_adjusted = content.position != position;
    }
    if let Some(supervisor) = changes.supervisor_user_id {
        if let Some(user) = supervisor
            && supervisor != content.supervisor
            && let Some(error) = people::supervisor(tx, place, "changes.supervisorUserId", user).await?
        {
            return Ok(Err(error));
        }
        content.supervisor = supervisor;
    }
    if let Some(parent) = changes.parent_id
        && parent != content.parent
    {
        if let Some(parent) = parent
            && let Err(error) = check_parent(tx, place, update.node_id, parent).await?
        {
            return Ok(Err(error));
        }
        content.parent = parent;
    }
    let is_changed = content != row.content;
    Ok(Ok(Merged { content: is_changed.then_some(content), version: row.version, is_adjusted }))
}

/// A parent is an undeleted node of the same project that does not lie below the node.
async fn check_parent(tx: &mut Tx, place: Place, node: NodeId, parent: NodeId) -> sqlx::Result<Result<(), Error>> {
    let found = nodes::lock(tx, place.project, &[parent]).await?;
    match found.get(&parent) {
        Some(row) if row.deleted_at.is_none() => {}
        _ => return Ok(Err(Error::validation("changes.parentId", "must be a node of this project"))),
    }
    Ok(match tree::parent_cycle(tx, node, parent).await? {
        None => Ok(()),
        Some(path) => Err(Error::new(ErrorCode::Cycle, "the new parent lies below the node itself")
            .with_details(json!({ "path": path }))),
    })
}

/// The changed fields that somebody else has changed since the base version to something else. Places, parents and
/// supervisors are not versioned: the newest write wins.
fn conflicting_fields(
    changes: &NodeChanges,
    current: &Content,
    base: i32,
    versions: &[VersionRow],
    user: UserId,
) -> Vec<&'static str> {
    let mut fields = Vec::new();
    let mut check = |name: &'static str, wanted: Option<Value>, now: Value| {
        let Some(wanted) = wanted else { return };
        if wanted != now && is_changed_by_others(name, base, versions, user) {
            fields.push(name);
        }
    };
    check("title", changes.title.as_ref().map(|t| json!(t)), json!(current.title));
    check("description", changes.description.as_ref().map(|d| json!(d)), json!(current.description));
    check("status", changes.status.as_ref().map(|s| json!(s)), json!(current.status));
    check("metadata", changes.metadata.as_ref().map(|m| json!(m)), json!(current.metadata));
    fields
}

fn is_changed_by_others(field: &str, base: i32, versions: &[VersionRow], user: UserId) -> bool {
    // Without the base itself there is no telling; better a conflict too many than a change lost.
    if versions.first().is_none_or(|v| v.version != base) {
        return true;
    }
    versions.windows(2).any(|pair| {
        let value = |row: &VersionRow| row.snapshot.get(field).cloned().unwrap_or(Value::Null);
        value(&pair[0]) != value(&pair[1]) && pair[1].changed_by != Some(user)
    })
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::entity::Position;

    use super::*;

    #[test]
    fn only_a_field_that_somebody_else_changed_conflicts() {
        let (me, other) = (UserId::random(), UserId::random());
        let version = |version, title: &str, status: &str, by| VersionRow {
            version,
            snapshot: json!({ "title": title, "status": status }),
            changed_by: Some(by),
        };
        let versions = [version(1, "a", "draft", me), version(2, "b", "draft", other), version(3, "b", "done", me)];
        let current = Content {
            title: "b".into(),
            description: None,
            status: "done".into(),
            parent: None,
            supervisor: None,
            metadata: serde_json::Map::new(),
            position: Position::default(),
        };
        let conflicts = |changes: NodeChanges, base| {
            conflicting_fields(&changes, &current, base, &versions[(base as usize - 1)..], me)
        };
        let title = |t: &str| NodeChanges { title: Some(t.into()), ..NodeChanges::default() };
        let status = |s: &str| NodeChanges { status: Some(s.into()), ..NodeChanges::default() };
        assert_eq!(conflicts(title("c"), 1), ["title"]);
        assert_eq!(conflicts(title("b"), 1), [] as [&str; 0], "the same value is no conflict");
        assert_eq!(conflicts(title("c"), 2), [] as [&str; 0], "changed before the base");
        assert_eq!(conflicts(status("x"), 1), [] as [&str; 0], "changed by the caller");
        assert_eq!(
            conflicting_fields(&title("c"), &current, 1, &versions[1..], me),
            ["title"],
            "the base version is not known"
        );
    }
}
