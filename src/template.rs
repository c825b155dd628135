//! Templates: what nodes can be made from. Pure: knows neither HTTP nor SQL.
//!
//! A template is a *structure*, which says what inputs and outputs a node has and which sub-nodes lie below it, and an
//! *agent configuration*. [`format`] reads older spellings as the one format that is written and served, [`check`]
//! refuses what a writer must not store, and [`plan`] turns a template into nodes, inputs and dependencies. Stored rows
//! may be older than the checks: reading and planning take what they can use of them.
//!
//! A sub-node with a `templateId` is the root of that template: its inputs and sub-nodes are added to what the
//! sub-node has itself. Keys, by which sub-nodes depend on each other, are known within one structure.

pub mod check;
pub mod format;
pub mod plan;

/// The format's only version.
pub const FORMAT_VERSION: u64 = 1;
/// Deepest level of sub-nodes below the root, with all templates in their places.
pub const DEPTH_MAX: usize = 5;
/// Most nodes that one application makes, and that a structure lists.
pub const NODES_MAX: usize = 1000;
/// The types of inputs, as in `node_inputs`.
pub const INPUT_TYPES: [&str; 4] = ["file", "node_reference", "external_link", "text"];
/// The types of outputs, as in `node_outputs`.
pub const OUTPUT_TYPES: [&str; 4] = ["file", "structured_data", "text", "external_link"];

/// Why a template is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where: the path in the body.
    pub field: String,
    /// Why.
    pub reason: String,
}

impl Refusal {
    fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// Whether a text is the address of something on the web. A browser opens it when somebody clicks it, so it must not be,
/// say, a script.
pub fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests;
