//! The committed schema documents are those of the types, and the golden frames are what they describe.
#![cfg(feature = "schema")]

use std::fs;
use std::path::{Path, PathBuf};

use glassbox_protocol::asyncapi::{self, Example, Examples};
use glassbox_protocol::schema::documents;
use serde_json::Value;

const REGENERATE: &str = "UPDATE_SCHEMA=1 cargo test -p glassbox-protocol --features schema";

#[test]
fn the_committed_documents_are_those_of_the_types() {
    let directory = beside_the_crate("schema");
    let is_update = std::env::var_os("UPDATE_SCHEMA").is_some();
    let described =
        asyncapi::document(&Examples { client: golden("client"), server: golden("server"), event: golden("event") });
    for (name, text) in documents().into_iter().chain([("asyncapi.json", described)]) {
        let path = directory.join(name);
        if is_update {
            fs::create_dir_all(&directory).expect("make the schema directory");
            fs::write(&path, &text).expect("write a schema document");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "{} is not what the types say. Run `{REGENERATE}` and commit the result",
            path.display()
        );
    }
}

#[test]
fn golden_frames_are_valid_and_broken_ones_are_not() {
    for (name, text) in documents() {
        let schema: Value = serde_json::from_str(&text).expect("a schema document is JSON");
        let validator = jsonschema::validator_for(&schema).expect("a schema document is a schema");
        for Example { name, mut frame } in golden(name.trim_end_matches(".json")) {
            let problems: Vec<String> =
                validator.iter_errors(&frame).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(problems.is_empty(), "{name}: {problems:#?}");

            frame["type"] = "surprise".into();
            assert!(!validator.is_valid(&frame), "{name} with another type");
        }
    }
}

#[test]
fn every_message_of_the_asyncapi_document_has_an_operation_and_valid_examples() {
    let document: Value = serde_json::from_str(glassbox_protocol::ASYNCAPI).expect("the document is JSON");
    let operations = document["operations"].to_string();
    for (direction, channel) in document["channels"].as_object().expect("channels") {
        for key in channel["messages"].as_object().expect("messages").keys() {
            let pointer = format!("\"#/channels/{direction}/messages/{key}\"");
            assert!(operations.contains(&pointer), "no operation has {pointer}");
        }
    }
    for (key, message) in document["components"]["messages"].as_object().expect("messages") {
        let mut schema = document["components"]["schemas"][key].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::draft7::new(&schema).unwrap_or_else(|e| panic!("{key}: {e}"));
        let examples = message["examples"].as_array().expect("examples");
        assert!(!examples.is_empty(), "{key} has no example");
        for example in examples {
            let problems: Vec<String> = validator.iter_errors(&example["payload"]).map(|e| e.to_string()).collect();
            assert!(problems.is_empty(), "{key}, {}: {problems:#?}", example["name"]);
        }
    }
}

/// The golden frames of one kind, in the order of their names.
fn golden(kind: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = fs::read_dir(beside_the_crate("golden").join(kind))
        .expect("there are golden files")
        .map(|entry| {
            let path = entry.expect("a directory entry").path();
            let text = fs::read_to_string(&path).expect("a readable golden file");
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a readable name").to_owned();
            Example { name, frame: serde_json::from_str(&text).expect("a golden file is JSON") }
        })
        .collect();
    examples.sort_by(|a, b| a.name.cmp(&b.name));
    examples
}

fn beside_the_crate(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)
}
