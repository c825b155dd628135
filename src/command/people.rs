//! The people that a node names, who must be members of the organization: its supervisor and its assignees.

use glassbox_protocol::{Error, UserId};
use serde_json::{Map, Value};

use super::Place;
use crate::store::{Tx, nodes};

/// Checks a supervisor; `field` is what the command calls it.
pub(super) async fn supervisor(tx: &mut Tx, place: Place, field: &str, user: UserId) -> sqlx::Result<Option<Error>> {
    Ok(match nodes::is_org_member(tx, place.org, user).await? {
        true => None,
        false => Some(Error::validation(field, "must be a member of the organization")),
    })
}

/// Checks the assignees in metadata, a list of user ids; `field` is what the command calls the metadata. Those who are
/// assigned already stay, whatever became of them.
pub(super) async fn assignees(
    tx: &mut Tx,
    place: Place,
    field: &str,
    metadata: &Map<String, Value>,
    before: Option<&Map<String, Value>>,
) -> sqlx::Result<Option<Error>> {
    let known = before.and_then(|before| before.get("assignees"));
    let list = match metadata.get("assignees") {
        None | Some(Value::Null) => return Ok(None),
        now if now == known => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(_) => return Ok(Some(Error::validation(&format!("{field}.assignees"), "must be a list of user ids"))),
    };
    let known: &[Value] = known.and_then(Value::as_array).map_or(&[], Vec::as_slice);
    let mut added: Vec<(usize, UserId)> = Vec::new();
    for (i, one) in list.iter().enumerate().filter(|(_, one)| !known.contains(one)) {
        match one.as_str().and_then(|text| text.parse().ok()) {
            Some(user) => added.push((i, user)),
            None => return Ok(Some(Error::validation(&format!("{field}.assignees[{i}]"), "must be a user id"))),
        }
    }
    if added.is_empty() {
        return Ok(None);
    }
    let users: Vec<UserId> = added.iter().map(|(_, user)| *user).collect();
    let members = nodes::org_members(tx, place.org, &users).await?;
    let stranger = added.iter().find(|(_, user)| !members.contains(user));
    Ok(stranger
        .map(|(i, _)| Error::validation(&format!("{field}.assignees[{i}]"), "must be a member of the organization")))
}
