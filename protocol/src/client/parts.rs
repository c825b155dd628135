//! The commands for what hangs on a node: its history, inputs, outputs and edges.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::present;
use crate::entity::{InputType, OutputType};
use crate::id::{DependencyId, Fence, NodeId};

/// Makes a new version with the content that a node had in an earlier one; the place stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeRollback {
    /// The node.
    pub node_id: NodeId,
    /// The version to go back to, 1 or more.
    pub version: i32,
    /// Proves the node's lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// Adds an input to a node, behind the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeInputAdd {
    /// The node.
    pub node_id: NodeId,
    /// A client-made id; absent: the server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<uuid::Uuid>,
    /// What it is; says which of the fields below is required.
    pub input_type: InputType,
    /// A file of the organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<uuid::Uuid>,
    /// Another node that the caller may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_node_id: Option<NodeId>,
    /// The version of that node which is meant; absent: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_node_version: Option<i32>,
    /// An `http` or `https` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_url: Option<String>,
    /// A text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_content: Option<String>,
    /// At most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Free-form, at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Proves the node's lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// Removes an input of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeInputRemove {
    /// The node.
    pub node_id: NodeId,
    /// The input.
    pub input_id: uuid::Uuid,
    /// Proves the node's lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// Adds an output to a node, behind the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeOutputAdd {
    /// The node.
    pub node_id: NodeId,
    /// A client-made id; absent: the server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<uuid::Uuid>,
    /// What it is; says which of the fields below is required.
    pub output_type: OutputType,
    /// A file of the organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<uuid::Uuid>,
    /// An object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_data: Option<Map<String, Value>>,
    /// A text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_content: Option<String>,
    /// An `http` or `https` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_url: Option<String>,
    /// At most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Free-form, at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Proves the node's lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// Removes an output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeOutputRemove {
    /// The node.
    pub node_id: NodeId,
    /// The output.
    pub output_id: uuid::Uuid,
    /// Proves the node's lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// Adds an edge; an equal one is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DependencyAdd {
    /// The node that provides.
    pub source_node_id: NodeId,
    /// The node that consumes.
    pub target_node_id: NodeId,
    /// The output that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_output_id: Option<uuid::Uuid>,
    /// The input that is fed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_input_id: Option<uuid::Uuid>,
}

/// Removes an edge, named by its id or by its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum DependencyRemove {
    /// By id.
    ById {
        /// The edge.
        dependency_id: DependencyId,
    },
    /// By its ends.
    ByEnds(DependencyAdd),
}

/// Changes an edge between the same two nodes: absent leaves a field, `null` clears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DependencyUpdate {
    /// The edge.
    pub dependency_id: DependencyId,
    /// The output that is meant.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub source_output_id: Option<Option<uuid::Uuid>>,
    /// The input that is fed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub target_input_id: Option<Option<uuid::Uuid>>,
}
