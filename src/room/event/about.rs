//! Which nodes an event concerns, and what of it: read from the line when somebody looks at single nodes.

use std::borrow::Cow;

use glassbox_protocol::NodeId;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Event, Kind};

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    by: &'a RawValue,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    payload: Payload<'a>,
}

/// The parts of all payloads that name nodes which the event is about. What else names a node, such as a parent or an
/// input's source, lies deeper.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    node_id: Option<NodeId>,
    #[serde(borrow)]
    moves: Option<Vec<&'a RawValue>>,
    source_node_id: Option<NodeId>,
    target_node_id: Option<NodeId>,
    dependency: Option<Ends>,
    node_ids: Option<Vec<NodeId>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ends {
    source_node_id: NodeId,
    target_node_id: NodeId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Move {
    node_id: NodeId,
}

impl Event {
    /// The nodes that the event concerns, as far as it names them.
    pub fn nodes(&self) -> &[NodeId] {
        self.nodes.get_or_init(|| {
            let Some(Line { payload, .. }) = self.line() else { return Vec::new() };
            let mut nodes = payload.node_ids.unwrap_or_default();
            nodes.extend(payload.moves.iter().flatten().filter_map(|m| moved_node(m)));
            nodes.extend(payload.dependency.iter().flat_map(|d| [d.source_node_id, d.target_node_id]));
            nodes.extend([payload.node_id, payload.source_node_id, payload.target_node_id].into_iter().flatten());
            nodes
        })
    }

    /// What of the event concerns a node: all of it, but of moves only the node's own.
    pub(super) fn about(&self, node: NodeId) -> Option<Cow<'_, str>> {
        // The end of the project is the end of its nodes.
        if self.kind == Kind::ProjectDeleted {
            return Some(Cow::Borrowed(&self.public));
        }
        if !self.nodes().contains(&node) {
            return None;
        }
        if self.kind != Kind::Moves {
            return Some(Cow::Borrowed(&self.public));
        }
        let Line { by, kind, payload } = self.line()?;
        let moves = payload.moves.unwrap_or_default();
        let own: Vec<&str> = moves.iter().filter(|m| moved_node(m) == Some(node)).map(|m| m.get()).collect();
        let own = own.join(", ");
        Some(Cow::Owned(format!(r#"{{"by": {by}, "type": "{kind}", "payload": {{"moves": [{own}]}}}}"#)))
    }

    fn line(&self) -> Option<Line<'_>> {
        serde_json::from_str(&self.public).ok()
    }
}

fn moved_node(one: &RawValue) -> Option<NodeId> {
    serde_json::from_str::<Move>(one.get()).ok().map(|m| m.node_id)
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::{Channel, EventFrame, Seq};
    use uuid::Uuid;

    use super::super::about_node;
    use super::*;
    use crate::store::events::LogRow;

    #[test]
    fn a_node_s_channel_has_its_own_part_of_each_event_and_the_ends_of_transactions() {
        let (node, other, edge) = (NodeId::random(), NodeId::random(), Uuid::new_v4());
        let place = |n| format!(r#"{{"nodeId": "{n}", "position": {{"x": 1, "y": 2}}}}"#);
        let lines = [
            format!(
                r#"{{"by": null, "type": "nodes_moved", "payload": {{"moves": [{}, {}]}}}}"#,
                place(other),
                place(node)
            ),
            format!(
                r#"{{"by": null, "type": "dependency_removed", "payload": {{"dependencyId": "{edge}", "sourceNodeId": "{node}", "targetNodeId": "{other}"}}}}"#
            ),
            format!(
                r#"{{"by": null, "type": "node_updated", "payload": {{"nodeId": "{other}", "version": 1, "changes": {{"parentId": "{node}"}}}}}}"#
            ),
        ];
        let row = |seq, lines: &[String]| LogRow {
            stream: Uuid::nil(),
            seq: Seq(seq),
            count: lines.len() as i64,
            body: lines.join("\n"),
            at: "2026-01-01T00:00:00Z".into(),
        };
        let mut events = Event::split(&row(3, &lines)).expect("a row");
        events.extend(Event::split(&row(4, &lines[..1])).expect("a row"));

        let frames: Vec<EventFrame> = about_node(events.iter(), node)
            .iter()
            .map(|shown| {
                let frame = shown.render_public(Channel::Node(node), 1);
                let bytes = frame.bytes();
                let start = bytes.iter().position(|b| *b == b'{').expect("an object");
                serde_json::from_slice(&bytes[start..]).expect("a frame of the protocol")
            })
            .collect();
        let ends: Vec<(i64, bool)> = frames.iter().map(|f| (f.seq.0, f.tx_end)).collect();
        assert_eq!(ends, [(1, false), (2, true), (4, true)]);
        for frame in &frames {
            if let glassbox_protocol::Event::NodesMoved { moves } = &frame.event {
                assert_eq!(moves.iter().map(|m| m.node_id).collect::<Vec<_>>(), [node]);
            }
        }
    }
}
