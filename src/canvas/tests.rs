use std::collections::HashMap;

use glassbox_protocol::NodeId;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

fn imported(document: &Value) -> Import {
    import(object(document), &Placement::default()).expect("a document")
}

/// What the store would give back of an import that nobody has changed.
fn exported(import: &Import) -> Value {
    let nodes: Vec<Placed> = import
        .nodes
        .iter()
        .map(|node| Placed {
            id: node.id,
            title: node.title.clone(),
            description: node.description.clone(),
            x: node.position["x"].as_f64().expect("a number"),
            y: node.position["y"].as_f64().expect("a number"),
            canvas: node.metadata["canvas"].clone(),
        })
        .collect();
    let edges: Vec<Edge> = import.edges.iter().map(|e| Edge { id: e.id, source: e.source, target: e.target }).collect();
    export(&nodes, &edges)
}

fn text_node(id: &str, text: &str) -> Value {
    json!({"id": id, "type": "text", "x": 0, "y": 0, "width": 10, "height": 10, "text": text})
}

#[test]
fn a_text_becomes_title_and_description_and_the_same_text_again() {
    let long = "x".repeat(501);
    for (text, title, description) in [
        ("Hello", "Hello", None),
        ("# Hello\n\nWorld", "Hello", Some("World")),
        ("Hello\nWorld", "Hello", Some("World")),
        ("  ##  Hello  \n \n\n  World\n", "Hello", Some("  World\n")),
        ("Hello\r\nWorld", "Hello", Some("World")),
        ("", "Untitled", None),
        ("\n\nbody", "Untitled", Some("body")),
        ("###", "Untitled", None),
        ("### \nbody", "Untitled", Some("body")),
        ("#tag", "#tag", None),
        ("####### seven", "####### seven", None),
        ("Hello\n\n", "Hello", None),
        (long.as_str(), &long[..500], Some("x")),
    ] {
        let document = json!({"nodes": [text_node("a", text)], "edges": []});
        let import = imported(&document);
        assert_eq!(import.nodes[0].title, title, "{text:?}");
        assert_eq!(import.nodes[0].description.as_deref(), description, "{text:?}");
        assert_eq!(exported(&import), document, "{text:?}");
    }
}

#[test]
fn a_changed_title_or_description_is_exported() {
    let mut import = imported(&json!({"nodes": [text_node("a", "# Old\nbody"), text_node("b", "")]}));
    import.nodes[0].title = "New".to_owned();
    import.nodes[1].title = "Named".to_owned();
    import.nodes[1].description = Some("and told".to_owned());
    let document = exported(&import);
    assert_eq!(document["nodes"][0]["text"], "# New\nbody");
    assert_eq!(document["nodes"][1]["text"], "Named\n\nand told");
}

#[test]
fn every_type_has_its_title() {
    let node = |fields: Value| {
        let mut node = json!({"id": "a", "x": 0, "y": 0, "width": 1, "height": 1});
        node.as_object_mut().expect("an object").extend(object(&fields));
        let import = imported(&json!({"nodes": [node]}));
        (import.nodes[0].title.clone(), import.nodes[0].link.clone())
    };
    assert_eq!(node(json!({"type": "file", "file": "a/b/c.md"})), ("c.md".to_owned(), None));
    assert_eq!(
        node(json!({"type": "link", "url": "https://example.org"})),
        ("https://example.org".to_owned(), Some("https://example.org".to_owned()))
    );
    for odd in ["javascript:alert(1)", "data:text/html,x", "//example.org", ""] {
        assert_eq!(node(json!({"type": "link", "url": odd})).1, None, "{odd}");
    }
    assert_eq!(node(json!({"type": "group", "label": "Plan"})), ("Plan".to_owned(), None));
    assert_eq!(node(json!({"type": "group"})), ("Group".to_owned(), None));
}

#[test]
fn the_smallest_group_around_a_node_is_its_parent() {
    let area = |id: &str, kind: &str, x: i64, size: i64| json!({"id": id, "type": kind, "text": id, "x": x, "y": x, "width": size, "height": size});
    let parent = NodeId::random();
    let placement = Placement { parent: Some(parent), dx: 5.0, dy: -5.0, first_z: 7 };
    let document = json!({"nodes": [
        area("outer", "group", 0, 100), area("inner", "group", 10, 50), area("twin", "group", 10, 50),
        area("deep", "text", 20, 10), area("edge", "text", 90, 20), area("rim", "text", 0, 100),
    ]});
    let import = import(object(&document), &placement).expect("a document");
    let ids: HashMap<NodeId, &str> = import.nodes.iter().map(|n| (n.id, n.canvas_id.as_str())).collect();
    let parents: Vec<_> =
        import.nodes.iter().map(|node| node.parent.map(|id| ids.get(&id).copied().unwrap_or("given"))).collect();
    assert_eq!(parents, [Some("given"), Some("outer"), Some("inner"), Some("twin"), Some("given"), Some("outer")]);
    assert_eq!(import.nodes[0].position, json!({"x": 5, "y": -5}));
    assert_eq!(import.nodes[0].metadata["canvas"]["z"], 7);
}

#[test]
fn edges_that_are_none_are_skipped_with_a_warning() {
    let edge = |id: &str, from: &str, to: &str| json!({"id": id, "fromNode": from, "toNode": to, "color": "1"});
    let document = json!({
        "nodes": [text_node("a", "a"), text_node("b", "b")],
        "edges": [
            edge("1", "a", "b"), edge("2", "a", "a"), edge("3", "a", "b"), edge("4", "a", "z"), edge("5", "b", "a"), 7,
        ],
    });
    let import = imported(&document);
    let codes: Vec<_> = import.warnings.iter().map(|w| (w.code, w.edge_id.as_deref())).collect();
    assert_eq!(
        codes,
        [
            ("self_edge", Some("2")),
            ("parallel_edge", Some("3")),
            ("unknown_end", Some("4")),
            ("malformed_edge", None),
            ("cycle", None),
        ]
    );
    assert_eq!(exported(&import)["edges"], json!([edge("1", "a", "b"), edge("5", "b", "a")]));
}

#[test]
fn a_document_that_is_none_is_refused_as_a_whole() {
    let without = |key: &str| {
        let mut node = text_node("a", "a");
        node.as_object_mut().expect("an object").remove(key);
        json!({"nodes": [text_node("ok", "ok"), node]})
    };
    for key in ["id", "type", "x", "y", "width", "height"] {
        let refusal = import(object(&without(key)), &Placement::default()).expect_err("a refusal");
        assert_eq!(refusal.field, format!("nodes[1].{key}"));
    }
    for (document, field) in [
        (json!({"nodes": {}}), "nodes"),
        (json!({"edges": 1}), "edges"),
        (json!({"nodes": [1]}), "nodes[0]"),
        (json!({"nodes": vec![text_node("a", "a"); 5001]}), "nodes"),
        (json!({"edges": vec![1; 10001]}), "edges"),
        (json!({"nodes": [text_node("a", "a"), text_node("a", "b")]}), "nodes[1].id"),
    ] {
        let refusal = import(object(&document), &Placement::default()).expect_err("a refusal");
        assert_eq!(refusal.field, field);
    }
}

#[test]
fn a_node_that_came_from_no_document_is_drawn_as_text() {
    let id = NodeId::random();
    let node = Placed {
        id,
        title: "Title".to_owned(),
        description: Some("Words".to_owned()),
        x: 1.4,
        y: -1.6,
        canvas: Value::Null,
    };
    assert_eq!(
        export(&[node], &[])["nodes"],
        json!([{
            "id": id, "type": "text", "x": 1, "y": -2, "width": 250, "height": 120, "text": "Title\n\nWords"
        }])
    );
}

#[test]
fn nodes_with_one_canvas_id_go_under_their_own_ids() {
    let import = imported(&json!({"nodes": [text_node("a", "a")]}));
    let node = &import.nodes[0];
    let placed = |id| Placed {
        id,
        title: "a".to_owned(),
        description: None,
        x: 0.0,
        y: 0.0,
        canvas: node.metadata["canvas"].clone(),
    };
    let document = export(&[placed(node.id), placed(NodeId::random())], &[]);
    assert_eq!(document["nodes"][0]["id"], node.id.to_string());
    assert_ne!(document["nodes"][0]["id"], document["nodes"][1]["id"]);
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ #\\n\\ra-cé]{0,12}",
        "(#{1,7} ?)?[a-z ]{0,8}\\n{0,3}[a-z\\n ]{0,8}",
        "[a-z]{495,510}( [a-z]*\\n[a-z]*)?",
    ]
}

fn any_node(id: usize) -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        any_text().prop_map(|text| json!({"type": "text", "text": text})),
        ("[a-z/. ]{0,9}", proptest::option::of("#[a-z]{1,4}")).prop_map(|(file, subpath)| match subpath {
            Some(subpath) => json!({"type": "file", "file": file, "subpath": subpath}),
            None => json!({"type": "file", "file": file}),
        }),
        "[a-z:/]{0,9}".prop_map(|url| json!({"type": "link", "url": url})),
        proptest::option::of(prop_oneof![Just("Group".to_owned()), "[a-z ]{0,4}", "[a-z]{499,502}"]).prop_map(
            |label| match label {
                Some(label) => json!({"type": "group", "label": label, "background": "b.png"}),
                None => json!({"type": "group", "backgroundStyle": "cover"}),
            }
        ),
    ];
    let place = (-50..50_i64, -50..50_i64, 0..60_i64, 0..60_i64);
    let extra = proptest::option::of(("(z|edges|text|extra|label|color|madeUp|q)", any::<i32>()));
    (kind, place, extra).prop_map(move |(mut node, (x, y, width, height), extra)| {
        let fields = node.as_object_mut().expect("an object");
        if let Some((key, value)) = extra {
            fields.entry(key).or_insert(value.into());
        }
        fields.extend(object(&json!({"id": format!("n{id}"), "x": x, "y": y, "width": width, "height": height})));
        node
    })
}

fn any_document() -> impl Strategy<Value = Value> {
    (0..8_usize).prop_flat_map(|count| {
        let nodes: Vec<_> = (0..count).map(any_node).collect();
        let edge = (0..9_usize, 0..9_usize, proptest::option::of("[a-z]{0,3}"));
        (nodes, proptest::collection::vec(edge, 0..12)).prop_map(|(nodes, edges)| {
            let edges: Vec<Value> = edges
                .into_iter()
                .enumerate()
                .map(|(i, (from, to, label))| {
                    let mut edge = json!({
                        "id": format!("e{i}"), "fromNode": format!("n{from}"), "toNode": format!("n{to}"),
                        "fromSide": "left", "z": i,
                    });
                    if let Some(label) = label {
                        edge["label"] = label.into();
                    }
                    edge
                })
                .collect();
            json!({"nodes": nodes, "edges": edges})
        })
    })
}

proptest! {
    #[test]
    fn export_after_import_gives_the_same_document_but_for_skipped_edges(document in any_document()) {
        let import = imported(&document);
        let skipped: Vec<&str> = import
            .warnings
            .iter()
            .filter(|w| w.code != "cycle")
            .filter_map(|w| w.edge_id.as_deref())
            .collect();
        let mut expected = document.clone();
        expected["edges"]
            .as_array_mut()
            .expect("a list")
            .retain(|edge| !skipped.contains(&edge["id"].as_str().expect("an id")));
        prop_assert_eq!(exported(&import), expected);
        for node in &import.nodes {
            prop_assert!((1..=500).contains(&node.title.chars().count()));
        }
    }
}
