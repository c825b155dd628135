//! JSON Schema of every frame, generated from the Rust types so that the two cannot drift apart.
//!
//! `schema/` beside this crate's sources holds the generated documents; `tests/schema.rs` compares them.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

use crate::client::ClientFrame;
use crate::event::EventFrame;
use crate::server::ServerFrame;
use crate::v1;

/// Returns the schema documents: the name of each one's file, and its text as the file holds it.
#[must_use]
pub fn documents() -> [(&'static str, String); 5] {
    [
        ("client.json", text(&schema_of::<ClientFrame>())),
        ("event.json", text(&schema_of::<EventFrame>())),
        ("server.json", text(&schema_of::<ServerFrame>())),
        ("v1-client.json", text(&schema_of::<v1::ClientFrame>())),
        ("v1-server.json", text(&schema_of::<v1::ServerFrame>())),
    ]
}

fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

fn text(schema: &Schema) -> String {
    // The alternate form of a JSON value is its indented text.
    format!("{:#}\n", schema.as_value())
}
