//! What takes a command back: the old values, and what the command left, which must still be there.
//!
//! A step holds values, not only versions: places, parents, inputs and edges have no version, and a value says by itself
//! whether somebody changed it. Content is judged by its version as well, so that a change to and fro by somebody else
//! is seen. Applying an inverse gives the inverse of that, which is how a redo comes about.

use std::collections::BTreeMap;

use glassbox_protocol::client::{DependencyAdd, NodeChanges};
use glassbox_protocol::entity::Position;
use glassbox_protocol::{DependencyId, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::nodes::Content;
use crate::store::parts::PartKind;
use crate::store::tree::Branch;
use crate::store::{Tx, undo};

/// What takes a command back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Inverse {
    /// Sets fields of a node.
    Fields(Box<FieldsBack>),
    /// Moves nodes.
    Places {
        /// Each with where it was and where the command left it.
        moves: Vec<PlaceBack>,
    },
    /// Deletes nodes that the command made or brought back.
    Delete {
        /// The root.
        node_id: NodeId,
        /// The root and what lies below it.
        nodes: Vec<Seen>,
        /// When they were deleted before, microseconds since 1970; absent where they are new.
        deleted_at_us: Option<i64>,
    },
    /// Brings back nodes that the command deleted.
    Restore(Deleted),
    /// Removes an input or output.
    RemovePart(AddedPart),
    /// Brings back an input or output.
    AddPart(RemovedPart),
    /// Removes an edge.
    RemoveEdge {
        /// The edge.
        dependency_id: DependencyId,
        /// What it is.
        edge: DependencyAdd,
    },
    /// Brings back an edge.
    AddEdge {
        /// What it is.
        edge: DependencyAdd,
        /// Its row.
        row: Value,
    },
    /// Changes what an edge means.
    Edge {
        /// The edge.
        dependency_id: DependencyId,
        /// What it was.
        set: DependencyAdd,
        /// What the command left.
        expected: DependencyAdd,
    },
}

/// A node's earlier content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldsBack {
    /// The node.
    pub node_id: NodeId,
    /// The version that the command left.
    pub version: i32,
    /// The values from before.
    pub set: NodeChanges,
    /// The values that the command left.
    pub expected: Expected,
}

/// What fields are expected to hold. Of what is large, a hash does: it is only compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// The small ones.
    pub values: NodeChanges,
    /// Hashes of the large ones, by the name of the field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hashes: BTreeMap<String, String>,
}

impl From<NodeChanges> for Expected {
    fn from(mut values: NodeChanges) -> Self {
        let mut hashes = BTreeMap::new();
        if let Some(Some(text)) = values.description.take_if(|text| text.as_ref().is_some_and(|t| is_large(t))) {
            hashes.insert("description".to_owned(), hash(&text));
        }
        if let Some(metadata) = values.metadata.take() {
            let text = canonical(&Value::Object(metadata.clone()));
            match is_large(&text) {
                true => _ = hashes.insert("metadata".to_owned(), hash(&text)),
                false => values.metadata = Some(metadata),
            }
        }
        Self { values, hashes }
    }
}

impl Expected {
    /// What the same fields hold now.
    pub(super) fn present(&self, now: &Content) -> NodeChanges {
        let named = |field: &str, is_small: bool| is_small || self.hashes.contains_key(field);
        let small = &self.values;
        NodeChanges {
            title: small.title.as_ref().map(|_| now.title.clone()),
            description: named("description", small.description.is_some()).then(|| now.description.clone()),
            status: small.status.as_ref().map(|_| now.status.clone()),
            parent_id: small.parent_id.map(|_| now.parent),
            supervisor_user_id: small.supervisor_user_id.map(|_| now.supervisor),
            metadata: named("metadata", small.metadata.is_some()).then(|| now.metadata.clone()),
            position: small.position.map(|_| now.position),
        }
    }
}

/// Most bytes of a value that a step keeps only to compare it.
const COMPARED_MAX: usize = 1024;

fn is_large(text: &str) -> bool {
    text.len() > COMPARED_MAX
}

fn hash(text: &str) -> String {
    Sha256::digest(text)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON as one text for one value: the database sorts keys and spells numbers in its own way.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let members =
                sorted.iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        // Without a minus before zero, which the database does not know.
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => (float + 0.0).to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Nodes that went together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    /// The root.
    pub node_id: NodeId,
    /// The root and what went with it.
    pub nodes: Vec<Lost>,
    /// When they went, microseconds since 1970.
    pub deleted_at_us: i64,
}

/// A node that went, and how it hung together with the others: one that is restored alone for a while loses its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// The node.
    pub node_id: NodeId,
    /// What contained it.
    pub parent_id: Option<NodeId>,
    /// 0 for the root.
    pub depth: i32,
}

impl From<Branch> for Lost {
    fn from(branch: Branch) -> Self {
        Self { node_id: branch.node, parent_id: branch.parent, depth: branch.depth }
    }
}

/// An input or output as the command left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddedPart {
    /// Which of them.
    pub part: PartKind,
    /// Its node.
    pub node_id: NodeId,
    /// The part.
    pub id: Uuid,
    /// A hash of all that it is.
    pub state: String,
    /// The edges that mean it.
    pub edges: Vec<Uuid>,
}

/// An input or output that was removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemovedPart {
    /// Which of them.
    pub part: PartKind,
    /// Its node.
    pub node_id: NodeId,
    /// Its row.
    pub row: Value,
    /// The rows of the edges that went with it.
    pub edges: Vec<Value>,
}

/// A node's way back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceBack {
    /// The node.
    pub node_id: NodeId,
    /// Where it was.
    pub set: Position,
    /// Where the command left it.
    pub expected: Position,
}

/// A node as the command left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The node.
    pub node_id: NodeId,
    /// Hashes, in the order of [`undo::STATE_FIELDS`].
    pub state: Vec<String>,
}

impl Inverse {
    /// What sets the fields back that differ.
    pub(super) fn of_content(node_id: NodeId, version: i32, before: &Content, after: &Content) -> Self {
        let (set, expected) = (differing(before, after), differing(after, before).into());
        Self::Fields(Box::new(FieldsBack { node_id, version, set, expected }))
    }

    /// What deletes nodes that are there now, unless they change.
    pub(super) async fn of_presence(
        tx: &mut Tx,
        node_id: NodeId,
        nodes: &[NodeId],
        deleted_at: Option<OffsetDateTime>,
    ) -> sqlx::Result<Self> {
        let mut states = undo::states(tx, nodes).await?;
        let nodes =
            nodes.iter().filter_map(|node| Some(Seen { node_id: *node, state: states.remove(node)? })).collect();
        Ok(Self::Delete { node_id, nodes, deleted_at_us: deleted_at.map(microseconds) })
    }

    /// The nodes that it concerns.
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Self::Fields(back) => vec![back.node_id],
            Self::RemovePart(part) => vec![part.node_id],
            Self::AddPart(part) => vec![part.node_id],
            Self::Places { moves } => moves.iter().map(|m| m.node_id).collect(),
            Self::Delete { nodes, .. } => nodes.iter().map(|seen| seen.node_id).collect(),
            Self::Restore(deleted) => deleted.nodes.iter().map(|lost| lost.node_id).collect(),
            Self::RemoveEdge { edge, .. } | Self::AddEdge { edge, .. } | Self::Edge { set: edge, .. } => {
                vec![edge.source_node_id, edge.target_node_id]
            }
        }
    }
}

/// A moment as a step keeps it: as fine as PostgreSQL tells moments apart.
pub(super) fn microseconds(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

/// The moment that a step has kept.
pub(super) fn moment(microseconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(microseconds) * 1000).ok()
}

/// The values of the fields that differ from another state.
fn differing(of: &Content, from: &Content) -> NodeChanges {
    NodeChanges {
        title: (of.title != from.title).then(|| of.title.clone()),
        description: (of.description != from.description).then(|| of.description.clone()),
        status: (of.status != from.status).then(|| of.status.clone()),
        parent_id: (of.parent != from.parent).then_some(of.parent),
        supervisor_user_id: (of.supervisor != from.supervisor).then_some(of.supervisor),
        metadata: (of.metadata != from.metadata).then(|| of.metadata.clone()),
        position: (of.position != from.position).then_some(of.position),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn fields_that_were_empty_are_emptied_again() {
        let before = Content {
            title: "a".into(),
            description: None,
            status: "draft".into(),
            parent: None,
            supervisor: None,
            metadata: Map::new(),
            position: Position::default(),
        };
        let after =
            Content { description: Some("text".into()), position: Position { x: 0.1, y: 2.0 }, ..before.clone() };
        let inverse = Inverse::of_content(NodeId::random(), 2, &before, &after);
        let stored = serde_json::to_value(&inverse).expect("JSON");
        assert_eq!(stored["set"], json!({ "description": null, "position": { "x": 0.0, "y": 0.0 } }));
        let expected = json!({ "values": { "description": "text", "position": { "x": 0.1, "y": 2.0 } } });
        assert_eq!(stored["expected"], expected);
        assert_eq!(serde_json::from_value::<Inverse>(stored).expect("an inverse"), inverse);
    }

    #[test]
    fn of_large_values_a_hash_is_expected_however_they_are_spelled() {
        let expected = |json: &str| {
            let metadata = Some(serde_json::from_str(json).expect("an object"));
            Expected::from(NodeChanges {
                description: Some(Some("d".repeat(5000))),
                metadata,
                ..NodeChanges::default()
            })
        };
        let text = "m".repeat(5000);
        let one = expected(&format!(r#"{{ "b": [1.0, 1e16, -0.0], "a": "{text}" }}"#));
        assert_eq!(one.values, NodeChanges::default());
        assert_eq!(one, expected(&format!(r#"{{ "a": "{text}", "b": [1.00, 10000000000000000, 0.0] }}"#)));
        assert_ne!(one, expected(&format!(r#"{{ "a": "{text}", "b": [1.0, 10000000000000001, 0.0] }}"#)));
        assert!(serde_json::to_string(&one).expect("JSON").len() < 200);
    }
}
