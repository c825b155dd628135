//! The committed schema documents are those of the types, and the golden frames are what they describe.
#![cfg(feature = "schema")]

use std::fs;
use std::path::{Path, PathBuf};

use glassbox_protocol::schema::documents;
use serde_json::Value;

const REGENERATE: &str = "UPDATE_SCHEMA=1 cargo test -p glassbox-protocol --features schema";

#[test]
fn the_committed_documents_are_those_of_the_types() {
    let directory = beside_the_crate("schema");
    let is_update = std::env::var_os("UPDATE_SCHEMA").is_some();
    for (name, text) in documents() {
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
        let directory = beside_the_crate("golden").join(name.trim_end_matches(".json"));
        for entry in fs::read_dir(&directory).expect("there are golden files") {
            let path = entry.expect("a directory entry").path();
            let text = fs::read_to_string(&path).expect("a readable golden file");
            let mut frame: Value = serde_json::from_str(&text).expect("a golden file is JSON");
            let problems: Vec<String> =
                validator.iter_errors(&frame).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(problems.is_empty(), "{}: {problems:#?}", path.display());

            frame["type"] = "surprise".into();
            assert!(!validator.is_valid(&frame), "{} with another type", path.display());
        }
    }
}

fn beside_the_crate(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)
}
