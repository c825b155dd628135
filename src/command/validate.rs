//! The rules that a command must keep before it goes near the database: lengths, ranges, and text that PostgreSQL can
//! store.

use glassbox_protocol::client::{
    LockAcquire, LockBreak, LockRenew, NodeChanges, NodeCreate, NodeMove, PresenceFields, Redo, Undo,
};
use glassbox_protocol::entity::Position;
use glassbox_protocol::{Channel, Command, Error, ErrorCode};
use serde_json::{Map, Value};

use crate::config::LOCK_TTL_RANGE_MS;

mod parts;

pub use parts::LABEL_MAX;

/// Longest title, characters.
pub const TITLE_MAX: usize = 500;
/// Longest status, characters.
pub const STATUS_MAX: usize = 50;
/// Largest metadata, bytes of JSON.
pub const METADATA_BYTES_MAX: usize = 65_536;
/// Longest reason for breaking a lock, characters.
const REASON_MAX: usize = 500;
/// Most nodes that one command moves.
pub const MOVES_MAX: usize = 500;
/// Deepest nesting of metadata.
const DEPTH_MAX: usize = 64;
/// Most selected or dragged nodes that presence shows.
const SHOWN_NODES_MAX: usize = 500;
/// How far out the canvas reaches, canvas units; places beyond are stored at the edge.
pub const COORDINATE_MAX: f64 = 10_000_000.0;

/// Checks a command; the error names the field and the rule.
///
/// # Errors
/// `VALIDATION`, `TOO_LARGE` or `INVALID_CHANNEL`.
pub fn command(command: &Command) -> Result<(), Error> {
    match command {
        Command::NodeCreate(create) => node_create(create),
        Command::NodeUpdate(update) => {
            if update.base_version.is_some_and(|v| v < 1) {
                return Err(Error::validation("baseVersion", "must be 1 or more"));
            }
            if update.changes == NodeChanges::default() {
                return Err(Error::validation("changes", "must name at least one field"));
            }
            changes(&update.changes)
        }
        Command::NodeMove(moves) => node_move(moves),
        Command::DependencyAdd(edge) if edge.source_node_id == edge.target_node_id => {
            Err(Error::validation("targetNodeId", "must differ from sourceNodeId"))
        }
        Command::LockAcquire(LockAcquire { ttl_ms, .. }) | Command::LockRenew(LockRenew { ttl_ms, .. }) => {
            lock_ttl(*ttl_ms)
        }
        Command::LockBreak(LockBreak { reason: Some(reason), .. }) => text("reason", reason, 0, REASON_MAX),
        Command::NodeRollback(rollback) if rollback.version < 1 => {
            Err(Error::validation("version", "must be 1 or more"))
        }
        Command::NodeInputAdd(add) => parts::input(add),
        Command::NodeOutputAdd(add) => parts::output(add),
        Command::NodeRollback(_)
        | Command::NodeInputRemove(_)
        | Command::NodeOutputRemove(_)
        | Command::DependencyAdd(_)
        | Command::DependencyUpdate(_)
        | Command::DependencyRemove(_)
        | Command::NodeDelete(_)
        | Command::NodeRestore(_)
        | Command::LockRelease(_)
        | Command::LockBreak(_) => Ok(()),
        Command::Undo(Undo { channel }) | Command::Redo(Redo { channel }) => match channel {
            Channel::Project(_) => Ok(()),
            Channel::Node(_) | Channel::Execution(_) | Channel::User => Err(super::wrong_channel()),
        },
    }
}

/// Checks what a client shows of itself.
///
/// # Errors
/// `VALIDATION`.
pub fn presence(state: &PresenceFields) -> Result<(), Error> {
    if let Some(Some(cursor)) = &state.cursor {
        position("cursor", *cursor)?;
    }
    if let Some(Some(selection)) = &state.selection
        && selection.len() > SHOWN_NODES_MAX
    {
        return Err(Error::validation("selection", format!("at most {SHOWN_NODES_MAX} nodes")));
    }
    if let Some(Some(drag)) = &state.drag {
        if drag.len() > SHOWN_NODES_MAX {
            return Err(Error::validation("drag", format!("at most {SHOWN_NODES_MAX} nodes")));
        }
        for one in drag {
            position("drag.position", one.position)?;
        }
    }
    if let Some(Some(view)) = &state.viewport
        && !(view.x.is_finite() && view.y.is_finite() && view.zoom.is_finite() && view.zoom > 0.0)
    {
        return Err(Error::validation("viewport", "must hold finite numbers and a zoom above 0"));
    }
    if let Some(Some(action)) = &state.action
        && !matches!(action.as_str(), "viewing" | "editing" | "idle")
    {
        return Err(Error::validation("action", "must be viewing, editing or idle"));
    }
    Ok(())
}

/// Brings a place inside the canvas.
pub fn clamp(place: Position) -> Position {
    Position { x: place.x.clamp(-COORDINATE_MAX, COORDINATE_MAX), y: place.y.clamp(-COORDINATE_MAX, COORDINATE_MAX) }
}

fn node_create(create: &NodeCreate) -> Result<(), Error> {
    text("title", &create.title, 1, TITLE_MAX)?;
    if let Some(description) = &create.description {
        storable("description", description)?;
    }
    if let Some(status) = &create.status {
        text("status", status, 1, STATUS_MAX)?;
    }
    if let Some(place) = create.position {
        position("position", place)?;
    }
    if create.id.is_some_and(|id| id.0.is_nil()) {
        return Err(Error::validation("id", "must not be the nil UUID"));
    }
    create.metadata.as_ref().map_or(Ok(()), |m| metadata("metadata", m))
}

/// Checks new values of a node's fields, of which there may be none.
///
/// # Errors
/// `VALIDATION` or `TOO_LARGE`.
pub fn changes(changes: &NodeChanges) -> Result<(), Error> {
    if let Some(title) = &changes.title {
        text("changes.title", title, 1, TITLE_MAX)?;
    }
    if let Some(Some(description)) = &changes.description {
        storable("changes.description", description)?;
    }
    if let Some(status) = &changes.status {
        text("changes.status", status, 1, STATUS_MAX)?;
    }
    if let Some(place) = changes.position {
        position("changes.position", place)?;
    }
    changes.metadata.as_ref().map_or(Ok(()), |m| metadata("changes.metadata", m))
}

fn node_move(moves: &NodeMove) -> Result<(), Error> {
    if !(1..=MOVES_MAX).contains(&moves.moves.len()) {
        return Err(Error::validation("moves", format!("must hold 1 to {MOVES_MAX} moves")));
    }
    let mut nodes = std::collections::HashSet::new();
    for (i, one) in moves.moves.iter().enumerate() {
        position(&format!("moves[{i}].position"), one.position)?;
        if !nodes.insert(one.node_id) {
            return Err(Error::validation(&format!("moves[{i}].nodeId"), "must stand only once in a command"));
        }
    }
    Ok(())
}

fn lock_ttl(ttl_ms: Option<i64>) -> Result<(), Error> {
    match ttl_ms {
        Some(ttl) if !LOCK_TTL_RANGE_MS.contains(&ttl) => Err(Error::validation(
            "ttlMs",
            format!("must be {} to {}", LOCK_TTL_RANGE_MS.start(), LOCK_TTL_RANGE_MS.end()),
        )),
        _ => Ok(()),
    }
}

fn text(field: &str, value: &str, min: usize, max: usize) -> Result<(), Error> {
    storable(field, value)?;
    if !(min..=max).contains(&value.chars().count()) {
        return Err(Error::validation(field, format!("must have {min} to {max} characters")));
    }
    Ok(())
}

/// PostgreSQL stores every Unicode text but the NUL character.
fn storable(field: &str, value: &str) -> Result<(), Error> {
    if value.contains('\0') {
        return Err(Error::validation(field, "must not contain the NUL character"));
    }
    Ok(())
}

fn position(field: &str, place: Position) -> Result<(), Error> {
    if !(place.x.is_finite() && place.y.is_finite()) {
        return Err(Error::validation(field, "must hold two finite numbers"));
    }
    Ok(())
}

fn metadata(field: &str, map: &Map<String, Value>) -> Result<(), Error> {
    for (key, value) in map {
        storable(field, key)?;
        storable_json(field, value, 1)?;
    }
    let size = serde_json::to_string(map).map_or(usize::MAX, |s| s.len());
    if size > METADATA_BYTES_MAX {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!("{field}: must have at most {METADATA_BYTES_MAX} bytes of JSON"),
        )
        .with_details(serde_json::json!({ "field": field, "reason": "too large" })));
    }
    Ok(())
}

fn storable_json(field: &str, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::validation(field, format!("must not nest deeper than {DEPTH_MAX} levels")));
    }
    match value {
        Value::String(s) => storable(field, s),
        Value::Array(items) => items.iter().try_for_each(|v| storable_json(field, v, depth + 1)),
        Value::Object(map) => map.iter().try_for_each(|(k, v)| {
            storable(field, k)?;
            storable_json(field, v, depth + 1)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &str) -> Result<(), String> {
        let parsed: Command = serde_json::from_str(payload).map_err(|e| e.to_string())?;
        command(&parsed).map_err(|e| e.message)
    }

    #[test]
    fn what_the_database_cannot_store_is_refused_with_its_field() {
        let id = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
        let update = |changes: &str| {
            check(&format!(r#"{{"type":"node_update","payload":{{"nodeId":"{id}","changes":{changes}}}}}"#))
        };
        assert_eq!(update(r#"{"title":"a"}"#), Ok(()));
        assert_eq!(update("{}"), Err("changes: must name at least one field".into()));
        assert_eq!(update(r#"{"title":""}"#), Err("changes.title: must have 1 to 500 characters".into()));
        assert_eq!(
            update(r#"{"description":"a\u0000b"}"#),
            Err("changes.description: must not contain the NUL character".into())
        );
        assert_eq!(
            update(r#"{"metadata":{"a":["\u0000"]}}"#),
            Err("changes.metadata: must not contain the NUL character".into())
        );
        assert!(update(r#"{"title":"\ud800"}"#).is_err());
        assert!(update(r#"{"position":{"x":1e999,"y":0}}"#).is_err());
        let deep = format!(r#"{{"metadata":{{"a":{}{}}}}}"#, "[".repeat(100), "]".repeat(100));
        assert!(update(&deep).is_err());
        let large = format!(r#"{{"metadata":{{"a":"{}"}}}}"#, "x".repeat(70_000));
        assert!(update(&large).is_err_and(|m| m.contains("65536 bytes")));
    }
}
