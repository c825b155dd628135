//! What a command is called, and which nodes it names.

use glassbox_protocol::client::DependencyRemove;
use glassbox_protocol::{Command, NodeId};

/// A command's name on the wire.
pub fn command_type(command: &Command) -> &'static str {
    match command {
        Command::NodeCreate(_) => "node_create",
        Command::NodeUpdate(_) => "node_update",
        Command::NodeMove(_) => "node_move",
        Command::NodeDelete(_) => "node_delete",
        Command::NodeRestore(_) => "node_restore",
        Command::NodeRollback(_) => "node_rollback",
        Command::NodeInputAdd(_) => "node_input_add",
        Command::NodeInputRemove(_) => "node_input_remove",
        Command::NodeOutputAdd(_) => "node_output_add",
        Command::NodeOutputRemove(_) => "node_output_remove",
        Command::DependencyAdd(_) => "dependency_add",
        Command::DependencyUpdate(_) => "dependency_update",
        Command::DependencyRemove(_) => "dependency_remove",
        Command::LockAcquire(_) => "lock_acquire",
        Command::LockRenew(_) => "lock_renew",
        Command::LockRelease(_) => "lock_release",
        Command::LockBreak(_) => "lock_break",
        Command::Undo(_) => "undo",
        Command::Redo(_) => "redo",
    }
}

/// The nodes that a command names.
pub fn nodes_of(command: &Command) -> Vec<NodeId> {
    match command {
        Command::NodeCreate(create) => create.parent_id.into_iter().collect(),
        Command::NodeUpdate(update) => vec![update.node_id],
        Command::NodeMove(moves) => moves.moves.iter().map(|m| m.node_id).collect(),
        Command::NodeDelete(node) | Command::NodeRestore(node) => vec![node.node_id],
        Command::DependencyAdd(edge) | Command::DependencyRemove(DependencyRemove::ByEnds(edge)) => {
            vec![edge.target_node_id, edge.source_node_id]
        }
        Command::NodeRollback(rollback) => vec![rollback.node_id],
        Command::NodeInputAdd(add) => vec![add.node_id],
        Command::NodeInputRemove(remove) => vec![remove.node_id],
        Command::NodeOutputAdd(add) => vec![add.node_id],
        Command::NodeOutputRemove(remove) => vec![remove.node_id],
        Command::DependencyUpdate(_)
        | Command::DependencyRemove(DependencyRemove::ById { .. })
        | Command::Undo(_)
        | Command::Redo(_) => Vec::new(),
        Command::LockAcquire(lock) => vec![lock.node_id],
        Command::LockRenew(lock) => vec![lock.node_id],
        Command::LockRelease(lock) => vec![lock.node_id],
        Command::LockBreak(lock) => vec![lock.node_id],
    }
}
