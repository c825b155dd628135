//! One file for each frame in `golden/`: the Rust types read it and write the same JSON back.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use glassbox_protocol::client::{ClientFrame, DependencyRemove, From as Start, NotificationsRead, Subscribe};
use glassbox_protocol::entity::Actor;
use glassbox_protocol::event::ReleaseReason;
use glassbox_protocol::server::{Ack, Outcome, ResetReason, ServerFrame, UnsubscribedReason};
use glassbox_protocol::v1::client::Doing;
use glassbox_protocol::{Channel, ClientMessage, Command, Event, EventFrame, ServerMessage, v1};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Lists what must have a golden file. The match has no wildcard, so that a new variant does not compile before it
/// has a name here, and does not pass before it has a file.
macro_rules! kinds {
    ($list:ident, $name:ident, $of:ty, $($pattern:pat => $kind:literal,)+) => {
        const $list: &[&str] = &[$($kind),+];

        fn $name(value: &$of) -> &'static str {
            match value {
                $($pattern => $kind),+
            }
        }
    };
}

kinds!(CLIENT_KINDS, client_kind, ClientMessage,
    ClientMessage::Hello(_) => "hello",
    ClientMessage::Subscribe(Subscribe { from: None, .. }) => "subscribe live",
    ClientMessage::Subscribe(Subscribe { from: Some(Start::Snapshot(_)), .. }) => "subscribe snapshot",
    ClientMessage::Subscribe(Subscribe { from: Some(Start::Resume { .. }), .. }) => "subscribe resume",
    ClientMessage::Unsubscribe(_) => "unsubscribe",
    ClientMessage::Presence(_) => "presence",
    ClientMessage::Ping => "ping",
    ClientMessage::TokenRefresh(_) => "token_refresh",
    ClientMessage::NotificationsRead(NotificationsRead::Some { .. }) => "notifications_read ids",
    ClientMessage::NotificationsRead(NotificationsRead::UpTo { .. }) => "notifications_read upTo",
    ClientMessage::Command(Command::NodeCreate(_)) => "node_create",
    ClientMessage::Command(Command::NodeUpdate(_)) => "node_update",
    ClientMessage::Command(Command::NodeMove(_)) => "node_move",
    ClientMessage::Command(Command::NodeDelete(_)) => "node_delete",
    ClientMessage::Command(Command::NodeRestore(_)) => "node_restore",
    ClientMessage::Command(Command::NodeRollback(_)) => "node_rollback",
    ClientMessage::Command(Command::NodeInputAdd(_)) => "node_input_add",
    ClientMessage::Command(Command::NodeInputRemove(_)) => "node_input_remove",
    ClientMessage::Command(Command::NodeOutputAdd(_)) => "node_output_add",
    ClientMessage::Command(Command::NodeOutputRemove(_)) => "node_output_remove",
    ClientMessage::Command(Command::DependencyAdd(_)) => "dependency_add",
    ClientMessage::Command(Command::DependencyUpdate(_)) => "dependency_update",
    ClientMessage::Command(Command::DependencyRemove(DependencyRemove::ById { .. })) => "dependency_remove by id",
    ClientMessage::Command(Command::DependencyRemove(DependencyRemove::ByEnds(_))) => "dependency_remove by ends",
    ClientMessage::Command(Command::LockAcquire(_)) => "lock_acquire",
    ClientMessage::Command(Command::LockRenew(_)) => "lock_renew",
    ClientMessage::Command(Command::LockRelease(_)) => "lock_release",
    ClientMessage::Command(Command::LockBreak(_)) => "lock_break",
    ClientMessage::Command(Command::Undo(_)) => "undo",
    ClientMessage::Command(Command::Redo(_)) => "redo",
);

kinds!(SERVER_KINDS, server_kind, ServerMessage,
    ServerMessage::Welcome(_) => "welcome",
    ServerMessage::Subscribed(_) => "subscribed",
    ServerMessage::Snapshot(_) => "snapshot",
    ServerMessage::Reset(_) => "reset",
    ServerMessage::Synced(_) => "synced",
    ServerMessage::Unsubscribed(_) => "unsubscribed",
    ServerMessage::Head(_) => "head",
    ServerMessage::Ack(Ack { duplicate: true, .. }) => "ack duplicate",
    ServerMessage::Ack(Ack { duplicate: false, .. }) => "ack",
    ServerMessage::Error(_) => "error",
    ServerMessage::Pong(_) => "pong",
    ServerMessage::PresenceState(_) => "presence_state",
    ServerMessage::PresenceDiff(_) => "presence_diff",
    ServerMessage::Moving(_) => "moving",
    ServerMessage::TokenExpiring(_) => "token_expiring",
    ServerMessage::TokenRefreshed(_) => "token_refreshed",
    ServerMessage::TraceState(_) => "trace_state",
);

kinds!(EVENT_KINDS, event_kind, Event,
    Event::NodeCreated { .. } => "node_created",
    Event::NodeUpdated { .. } => "node_updated",
    Event::NodesMoved { .. } => "nodes_moved",
    Event::NodeDeleted { .. } => "node_deleted",
    Event::NodeRestored { .. } => "node_restored",
    Event::NodeInputAdded { .. } => "node_input_added",
    Event::NodeInputRemoved { .. } => "node_input_removed",
    Event::NodeOutputAdded { .. } => "node_output_added",
    Event::NodeOutputRemoved { .. } => "node_output_removed",
    Event::DependencyAdded { .. } => "dependency_added",
    Event::DependencyRemoved { .. } => "dependency_removed",
    Event::LockAcquired { .. } => "lock_acquired",
    Event::LockRenewed { .. } => "lock_renewed",
    Event::LockReleased { .. } => "lock_released",
    Event::ExecutionUpdate { .. } => "execution_update",
    Event::TraceEvent(_) => "trace_event",
    Event::ExecutionClosed { .. } => "execution_closed",
    Event::FileUpdate { .. } => "file_update",
    Event::MemberAdded { .. } => "member_added",
    Event::MemberUpdated { .. } => "member_updated",
    Event::MemberRemoved { .. } => "member_removed",
    Event::ProjectUpdated { .. } => "project_updated",
    Event::ProjectDeleted {} => "project_deleted",
    Event::Notification { .. } => "notification",
    Event::NotificationsRead { .. } => "notifications_read",
);

kinds!(OUTCOMES, outcome, Outcome,
    Outcome::Applied => "applied",
    Outcome::Unchanged => "unchanged",
    Outcome::Adjusted => "adjusted",
);

kinds!(RESET_REASONS, reset_reason, ResetReason,
    ResetReason::BelowFloor => "below_floor",
    ResetReason::AheadOfHead => "ahead_of_head",
    ResetReason::EpochChanged => "epoch_changed",
);

kinds!(UNSUBSCRIBED_REASONS, unsubscribed_reason, UnsubscribedReason,
    UnsubscribedReason::Revoked => "revoked",
    UnsubscribedReason::Deleted => "deleted",
);

kinds!(CHANNELS, channel_kind, Channel,
    Channel::Project(_) => "project",
    Channel::Node(_) => "node",
    Channel::Execution(_) => "execution",
    Channel::User => "user",
);

kinds!(ACTORS, actor, Option<Actor>,
    None => "null",
    Some(Actor::User { .. }) => "user",
    Some(Actor::Execution { .. }) => "execution",
);

kinds!(RELEASE_REASONS, release_reason, ReleaseReason,
    ReleaseReason::Released => "released",
    ReleaseReason::Expired => "expired",
    ReleaseReason::Broken => "broken",
    ReleaseReason::HolderRemoved => "holder_removed",
    ReleaseReason::Deleted => "deleted",
);

kinds!(V1_CLIENT_KINDS, v1_client_kind, v1::ClientMessage,
    v1::ClientMessage::Subscribe(_) => "subscribe",
    v1::ClientMessage::Unsubscribe(_) => "unsubscribe",
    v1::ClientMessage::Presence(v1::client::Presence { action: Doing::Viewing, .. }) => "presence viewing",
    v1::ClientMessage::Presence(v1::client::Presence { action: Doing::Editing, .. }) => "presence editing",
    v1::ClientMessage::Presence(v1::client::Presence { action: Doing::Idle, .. }) => "presence idle",
    v1::ClientMessage::Presence(v1::client::Presence { action: Doing::Left, .. }) => "presence left",
    v1::ClientMessage::LockAcquire(_) => "lock_acquire",
    v1::ClientMessage::LockRelease(_) => "lock_release",
    v1::ClientMessage::Ping => "ping",
);

kinds!(V1_SERVER_KINDS, v1_server_kind, v1::ServerMessage,
    v1::ServerMessage::Subscribed(v1::server::Subscribed { users: None, .. }) => "subscribed",
    v1::ServerMessage::Subscribed(v1::server::Subscribed { users: Some(_), .. }) => "subscribed with users",
    v1::ServerMessage::Unsubscribed(_) => "unsubscribed",
    v1::ServerMessage::NodeCreated(_) => "node_created",
    v1::ServerMessage::NodeUpdated(_) => "node_updated",
    v1::ServerMessage::NodeDeleted(_) => "node_deleted",
    v1::ServerMessage::PresenceUpdate(_) => "presence_update",
    v1::ServerMessage::LockAcquired(_) => "lock_acquired",
    v1::ServerMessage::LockReleased(_) => "lock_released",
    v1::ServerMessage::ExecutionUpdate(_) => "execution_update",
    v1::ServerMessage::Notification(_) => "notification",
    v1::ServerMessage::Error(_) => "error",
    v1::ServerMessage::Pong {} => "pong",
);

kinds!(V1_ERROR_CODES, v1_error_code, v1::server::ErrorCode,
    v1::server::ErrorCode::InvalidChannel => "INVALID_CHANNEL",
    v1::server::ErrorCode::Unauthorized => "UNAUTHORIZED",
    v1::server::ErrorCode::Forbidden => "FORBIDDEN",
    v1::server::ErrorCode::LockHeld => "LOCK_HELD",
    v1::server::ErrorCode::NotFound => "NOT_FOUND",
    v1::server::ErrorCode::BadMessage => "BAD_MESSAGE",
    v1::server::ErrorCode::RateLimited => "RATE_LIMITED",
    v1::server::ErrorCode::InternalError => "INTERNAL_ERROR",
);

#[test]
fn every_client_frame_of_the_older_dialect_survives_a_round_trip() {
    let frames = round_trips::<v1::ClientFrame>("v1-client");
    covers(V1_CLIENT_KINDS, frames.iter().map(|f| v1_client_kind(&f.message)));
}

#[test]
fn every_server_frame_of_the_older_dialect_survives_a_round_trip() {
    let frames = round_trips::<v1::ServerFrame>("v1-server");
    covers(V1_SERVER_KINDS, frames.iter().map(|f| v1_server_kind(&f.message)));
    covers(
        V1_ERROR_CODES,
        frames.iter().filter_map(|f| match &f.message {
            v1::ServerMessage::Error(error) => Some(v1_error_code(&error.code)),
            _ => None,
        }),
    );
    covers(
        RELEASE_REASONS,
        frames.iter().filter_map(|f| match &f.message {
            v1::ServerMessage::LockReleased(released) => Some(release_reason(&released.reason)),
            _ => None,
        }),
    );
    covers(
        UNSUBSCRIBED_REASONS,
        frames.iter().filter_map(|f| match &f.message {
            v1::ServerMessage::Unsubscribed(u) => u.reason.as_ref().map(unsubscribed_reason),
            _ => None,
        }),
    );
}

#[test]
fn every_client_frame_survives_a_round_trip() {
    let frames = round_trips::<ClientFrame>("client");
    covers(CLIENT_KINDS, frames.iter().map(|f| client_kind(&f.message)));
}

#[test]
fn every_server_frame_survives_a_round_trip() {
    let frames = round_trips::<ServerFrame>("server");
    covers(SERVER_KINDS, frames.iter().map(|f| server_kind(&f.message)));
    covers(
        OUTCOMES,
        frames.iter().filter_map(|f| match &f.message {
            ServerMessage::Ack(ack) => Some(outcome(&ack.outcome)),
            _ => None,
        }),
    );
    covers(
        RESET_REASONS,
        frames.iter().filter_map(|f| match &f.message {
            ServerMessage::Reset(reset) => Some(reset_reason(&reset.reason)),
            _ => None,
        }),
    );
    covers(
        UNSUBSCRIBED_REASONS,
        frames.iter().filter_map(|f| match &f.message {
            ServerMessage::Unsubscribed(u) => u.reason.as_ref().map(unsubscribed_reason),
            _ => None,
        }),
    );
}

#[test]
fn every_event_survives_a_round_trip() {
    let frames = round_trips::<EventFrame>("event");
    covers(EVENT_KINDS, frames.iter().map(|f| event_kind(&f.event)));
    covers(CHANNELS, frames.iter().map(|f| channel_kind(&f.channel)));
    covers(ACTORS, frames.iter().map(|f| actor(&f.by)));
    covers(
        RELEASE_REASONS,
        frames.iter().filter_map(|f| match &f.event {
            Event::LockReleased { reason, .. } => Some(release_reason(reason)),
            _ => None,
        }),
    );
    for (what, is_there) in [
        ("txEnd", frames.iter().any(|f| f.tx_end)),
        ("no txEnd", frames.iter().any(|f| !f.tx_end)),
        ("requestId", frames.iter().any(|f| f.request_id.is_some())),
        ("no requestId", frames.iter().any(|f| f.request_id.is_none())),
        ("no generation", frames.iter().any(|f| f.generation.is_none())),
    ] {
        assert!(is_there, "golden/event has no file with {what}");
    }
}

#[test]
fn unknown_fields_are_ignored_and_unknown_types_are_refused() {
    for (_, mut value) in files("client") {
        value["surprise"] = Value::Bool(true);
        if let Some(payload) = value.get_mut("payload") {
            payload["surprise"] = Value::Bool(true);
        }
        serde_json::from_value::<ClientFrame>(value.clone()).unwrap_or_else(|e| panic!("{value}: {e}"));
        value["type"] = "surprise".into();
        assert!(serde_json::from_value::<ClientFrame>(value).is_err());
    }
}

fn round_trips<T: DeserializeOwned + Serialize>(directory: &str) -> Vec<T> {
    files(directory)
        .into_iter()
        .map(|(name, value)| {
            // From text, as a socket does: the reader of text takes other ways through serde than that of values.
            let frame: T = serde_json::from_str(&value.to_string()).unwrap_or_else(|e| panic!("{name}: {e}"));
            let text = serde_json::to_string(&frame).unwrap_or_else(|e| panic!("{name}: {e}"));
            let written: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(written, value, "{name} is written back differently");
            frame
        })
        .collect()
}

fn covers(kinds: &[&str], found: impl Iterator<Item = &'static str>) {
    let found: BTreeSet<&str> = found.collect();
    let missing: Vec<&&str> = kinds.iter().filter(|kind| !found.contains(**kind)).collect();
    assert!(missing.is_empty(), "no golden file for {missing:?}");
}

fn files(directory: &str) -> Vec<(String, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(directory);
    let mut files: Vec<_> = fs::read_dir(&path)
        .expect("the golden files are beside the crate")
        .map(|entry| {
            let path = entry.expect("a directory entry").path();
            let text = fs::read_to_string(&path).expect("a readable golden file");
            let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path.display().to_string(), value)
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}
