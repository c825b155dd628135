//! What a session shows, field by field: absent is unchanged, empty is cleared.

use glassbox_protocol::client::PresenceFields;

/// What is cleared need not be told to somebody who never saw it.
pub(super) fn visible(state: &PresenceFields) -> PresenceFields {
    PresenceFields {
        cursor: state.cursor.filter(Option::is_some),
        selection: state.selection.clone().filter(Option::is_some),
        viewport: state.viewport.filter(Option::is_some),
        node_id: state.node_id.filter(Option::is_some),
        action: state.action.clone().filter(Option::is_some),
        drag: state.drag.clone().filter(Option::is_some),
    }
}

/// The fields of `new` that are named and differ.
pub(super) fn difference(old: &PresenceFields, new: &PresenceFields) -> PresenceFields {
    fn differs<T: PartialEq + Clone>(old: &Option<Option<T>>, new: &Option<Option<T>>) -> Option<Option<T>> {
        let is_same = old.clone().flatten() == new.clone().flatten();
        new.clone().filter(|_| !is_same)
    }
    PresenceFields {
        cursor: differs(&old.cursor, &new.cursor),
        selection: differs(&old.selection, &new.selection),
        viewport: differs(&old.viewport, &new.viewport),
        node_id: differs(&old.node_id, &new.node_id),
        action: differs(&old.action, &new.action),
        drag: differs(&old.drag, &new.drag),
    }
}

/// Takes over the fields that are named.
pub(super) fn merge(state: &mut PresenceFields, new: &PresenceFields) {
    fn take<T: Clone>(old: &mut Option<Option<T>>, new: &Option<Option<T>>) {
        if new.is_some() {
            old.clone_from(new);
        }
    }
    take(&mut state.cursor, &new.cursor);
    take(&mut state.selection, &new.selection);
    take(&mut state.viewport, &new.viewport);
    take(&mut state.node_id, &new.node_id);
    take(&mut state.action, &new.action);
    take(&mut state.drag, &new.drag);
}
