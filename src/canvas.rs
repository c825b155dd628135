//! JSON Canvas 1.0 documents to nodes and dependencies, and back. Pure: knows neither HTTP nor SQL.
//!
//! What a document says beyond title, description, place, parent and edges is kept in `metadata.canvas` of the nodes,
//! so that a project that was imported and not changed is exported as the same document:
//!
//! | key of `metadata.canvas` | holds |
//! |---|---|
//! | `id`, `type`, `width`, `height`, `color` | as in the document |
//! | `file`, `subpath`; `url`; `label`, `background`, `backgroundStyle` | as in the document, by type |
//! | `z` | the place in the document's order |
//! | `text` | `before` and `gap`: the heading marks before the title and what separates it from the description |
//! | `madeUp` | the title that the document did not have |
//! | `extra` | every other key |
//! | `edges` | by dependency id: `z`, the place in the document's order, and `edge`, all keys but the two ends |
//!
//! Dependencies have no column for what an edge looks like, so it stands with the source node, or with the target
//! where the source's metadata would grow too large.
//!
//! Source: <https://jsoncanvas.org/spec/1.0/>

mod export;
mod import;
mod text;

pub use export::{Edge, Placed, export};
pub use import::{Import, NewEdge, NewNode, Placement, Refusal, Warning, import};

use serde_json::Value;

/// Most nodes of a document.
pub const NODES_MAX: usize = 5_000;
/// Most edges of a document.
pub const EDGES_MAX: usize = 10_000;

/// Longest title, characters.
const TITLE_CHARS_MAX: usize = 500;
/// The title of a text node without one.
const UNTITLED: &str = "Untitled";
/// The title of a group without a label.
const GROUP: &str = "Group";

/// Whether a text in it holds a NUL, which PostgreSQL cannot store.
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests;
