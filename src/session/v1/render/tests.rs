//! The golden events in the words of the older dialect.

use serde_json::json;

use super::*;

const NODE: &str = "d4c7b8a9-1e2f-4a3b-8c5d-9f0e1a2b3c04";

/// What the golden event of a name becomes, with the node that it is about as it is in its golden event.
fn rendered(name: &str, change: impl FnOnce(&mut Node)) -> Vec<Value> {
    let golden = |name: &str| -> EventFrame {
        let path = format!("{}/protocol/golden/event/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).expect("a golden event")).expect("an event")
    };
    let Event::NodeRestored { mut node, .. } = golden("node_restored").event else { panic!("a node") };
    node.id = NODE.parse().expect("an id");
    change(&mut node);
    let frame = golden(name);
    let wanted = wanted(&frame);
    let nodes = wanted.nodes.into_iter().chain(wanted.outlines);
    let nodes = nodes.map(|id| (id, Node { id, ..(*node).clone() })).collect();
    let facts = Facts { nodes, ..Facts::default() };
    let rendered = event(ProjectId::random(), frame, &facts);
    rendered.into_iter().map(|r| serde_json::to_value(r.message).expect("JSON")).collect()
}

#[test]
fn a_file_shows_in_those_lists_of_nodes_that_use_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/protocol/golden/event/file_update.json");
    let text = std::fs::read_to_string(path).expect("a golden event");
    let file = serde_json::from_str::<Value>(&text).expect("JSON")["payload"]["fileId"].clone();
    let messages = rendered("file_update", |node| {
        node.inputs = vec![json!({ "fileId": file, "file": { "processingStatus": "complete" } })];
        node.outputs = vec![json!({ "textContent": "x" })];
    });
    assert!(!messages.is_empty());
    for message in messages {
        assert_eq!(message["type"], "node_updated");
        let changes = message["payload"]["changes"].as_object().expect("changes");
        assert_eq!(changes.keys().collect::<Vec<_>>(), ["inputs"]);
    }
}

#[test]
fn every_event_that_is_not_spoken_becomes_nothing_and_every_other_something() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/protocol/golden/event");
    for file in std::fs::read_dir(directory).expect("the golden files are there") {
        let path = file.expect("a directory entry").path();
        let text = std::fs::read_to_string(&path).expect("a readable golden file");
        let kind: Value = serde_json::from_str::<Value>(&text).expect("JSON")["type"].clone();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let messages = rendered(name, |_| {});
        assert_eq!(!messages.is_empty(), is_spoken(kind.as_str().expect("a type")), "{name}");
    }
}

#[test]
fn moves_become_an_update_each_without_the_node() {
    let messages = rendered("nodes_moved", |_| {});
    assert_eq!(messages.len(), 1);
    for message in messages {
        let payload = &message["payload"];
        assert!(payload["changes"]["position"]["x"].is_number() && payload.get("node").is_none(), "{payload}");
        assert!(payload["version"].is_number() && payload["title"].is_string());
    }
}
