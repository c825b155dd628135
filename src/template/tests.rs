use std::collections::{BTreeMap, HashMap};

use glassbox_protocol::NodeId;
use glassbox_protocol::entity::Position;
use serde_json::{Value, json};
use uuid::Uuid;

use super::plan::{Application, Plan, Source, plan};
use super::{DEPTH_MAX, Refusal, check, format};

#[test]
fn older_spellings_are_read_as_the_one_format_and_unknown_keys_are_kept() {
    let old = json!({
        "default_inputs": [{"type": "file", "label": "Brief", "hint": 1}],
        "default_outputs": [{"type": "text", "label": "Report"}],
        "suggested_subnodes": [
            {"title": "Read", "author_type": "agent", "subnodes": [{"title": "Deep", "default_inputs": [{"label": "x"}]}]},
            {"title": "Write"}
        ],
        "color": "red"
    });
    let new = json!({
        "formatVersion": 1,
        "inputs": [{"type": "file", "label": "Brief", "hint": 1, "required": false}],
        "outputs": [{"type": "text", "label": "Report"}],
        "subNodes": [
            {"title": "Read", "authorType": "agent", "subNodes": [
                {"title": "Deep", "authorType": "human", "inputs": [{"label": "x", "type": "text", "required": false}]}
            ]},
            {"title": "Write", "authorType": "human"}
        ],
        "color": "red"
    });
    assert_eq!(format::structure(old), new);
    assert_eq!(format::structure(new.clone()), new, "the one format stays as it is");
    assert_eq!(check::structure(&new), Ok(()));
    let empty = json!({"formatVersion": 1, "inputs": [], "outputs": [], "subNodes": []});
    for nothing in [json!({}), json!(null), json!([]), json!({"inputs": null, "subnodes": []})] {
        assert_eq!(format::structure(nothing), empty);
    }
    assert_eq!(format::agent_config(json!({"max_iterations": 3, "x": 1})), json!({"maxIterations": 3, "x": 1}));
    assert_eq!(format::agent_config(json!({"max_iterations": 3, "maxIterations": 4})), json!({"maxIterations": 4}));
}

#[test]
fn what_breaks_a_rule_is_refused_with_its_path() {
    let mut deep = json!({"title": "t"});
    for _ in 0..DEPTH_MAX {
        deep = json!({"title": "t", "subNodes": [deep]});
    }
    let deepest = format!("structure{}", ".subNodes[0]".repeat(DEPTH_MAX + 1));
    for (structure, field) in [
        (json!({"formatVersion": 2}), "structure.formatVersion"),
        (json!({"inputs": {}}), "structure.inputs"),
        (json!({"inputs": ["x"]}), "structure.inputs[0]"),
        (json!({"inputs": [{}]}), "structure.inputs[0].label"),
        (json!({"inputs": [{"label": "a"}, {"label": "a"}]}), "structure.inputs[1].label"),
        (json!({"inputs": [{"label": "a", "type": "image"}]}), "structure.inputs[0].type"),
        (json!({"inputs": [{"label": "a", "externalUrl": "javascript:x"}]}), "structure.inputs[0].externalUrl"),
        (json!({"outputs": [{"label": "a", "type": "node_reference"}]}), "structure.outputs[0].type"),
        (json!({"subNodes": [{"title": ""}]}), "structure.subNodes[0].title"),
        (json!({"subNodes": [{"title": "x".repeat(501)}]}), "structure.subNodes[0].title"),
        (json!({"subNodes": [{"title": "t", "authorType": "robot"}]}), "structure.subNodes[0].authorType"),
        (json!({"subNodes": [{"title": "t", "templateId": "x"}]}), "structure.subNodes[0].templateId"),
        (json!({"subNodes": [{"title": "t", "position": {"x": 1}}]}), "structure.subNodes[0].position"),
        (json!({"subNodes": [{"title": "t", "key": "k"}, {"title": "t", "key": "k"}]}), "structure.subNodes[1].key"),
        (json!({"subNodes": [{"title": "t", "dependsOn": ["k"]}]}), "structure.subNodes[0].dependsOn[0]"),
        (json!({"subNodes": [{"title": "t", "key": "k", "dependsOn": ["k"]}]}), "structure.subNodes[0].dependsOn[0]"),
        (json!({"subNodes": [deep]}), &deepest),
        (json!({"suggestedWorkflowStates": [1]}), "structure.suggestedWorkflowStates[0]"),
    ] {
        let text = structure.to_string();
        let refused = check::structure(&format::structure(structure)).err().map(|refusal| refusal.field);
        assert_eq!(refused.as_deref(), Some(field), "{text}");
    }
    for (config, field) in [
        (json!({"model": 1}), "agentConfig.model"),
        (json!({"maxIterations": 0}), "agentConfig.maxIterations"),
        (json!({"temperature": "hot"}), "agentConfig.temperature"),
        (json!({"tools": {}}), "agentConfig.tools"),
    ] {
        assert_eq!(check::agent_config(&config).err().map(|refusal| refusal.field).as_deref(), Some(field));
    }
}

fn source(id: Uuid, structure: Value, agent_config: Value) -> (Uuid, Source) {
    let structure = format::structure(structure);
    (id, Source { id, name: format!("T{}", id.as_u128()), description: None, structure, agent_config })
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn titled<'p>(plan: &'p Plan, title: &str) -> &'p super::plan::PlannedNode {
    plan.nodes.iter().find(|node| node.title == title).unwrap_or_else(|| panic!("no node {title}"))
}

#[test]
fn a_template_becomes_a_tree_with_templates_in_their_places() {
    let templates = HashMap::from([
        source(
            id(1),
            json!({
                "inputs": [
                    {"label": "Q", "required": true}, {"label": "Given", "textContent": "g"},
                    {"label": "Link", "type": "external_link"}
                ],
                "outputs": [{"label": "A"}],
                "subNodes": [
                    {"key": "a", "title": "a", "templateId": id(2), "inputs": [{"label": "own"}, {"label": "both"}]},
                    {"key": "b", "title": "b", "authorType": "agent", "dependsOn": ["a", "a", "nowhere"], "status": "s",
                     "position": {"x": -10, "y": 5}},
                ],
            }),
            json!({"model": "m"}),
        ),
        source(
            id(2),
            json!({
                "inputs": [{"label": "both"}, {"label": "theirs"}],
                "subNodes": [{"key": "a", "title": "c"}, {"title": "d", "dependsOn": ["a"]}]
            }),
            json!({}),
        ),
    ]);
    let parent = NodeId::random();
    let application = Application {
        parent: Some(parent),
        title: None,
        position: Position { x: 100.0, y: 1000.0 },
        values: BTreeMap::from([("Q".to_owned(), "why?".to_owned()), ("Nothing".to_owned(), "x".to_owned())]),
    };
    let plan = plan(id(1), &templates, &application).expect("a plan");
    assert_eq!(plan.nodes.iter().map(|node| node.title.as_str()).collect::<Vec<_>>(), ["T1", "a", "c", "d", "b"]);
    let places: Vec<(f64, f64)> = plan.nodes.iter().map(|node| (node.position.x, node.position.y)).collect();
    assert_eq!(places, [(100.0, 1000.0), (100.0, 1150.0), (150.0, 1300.0), (150.0, 1450.0), (90.0, 1005.0)]);
    let (root, a, b) = (&plan.nodes[0], titled(&plan, "a"), titled(&plan, "b"));
    assert_eq!((root.parent, a.parent, titled(&plan, "c").parent), (Some(parent), Some(root.id), Some(a.id)));
    assert_eq!((root.is_agent, a.is_agent, b.is_agent, b.status.as_deref()), (true, false, true, Some("s")));
    assert_eq!(root.metadata["template"]["id"], json!(id(1)));
    assert_eq!(root.metadata["template"]["outputs"], json!([{"label": "A", "type": "text"}]));
    assert_eq!(root.metadata["template"]["agentConfig"], json!({"model": "m"}));
    assert_eq!(a.metadata["template"]["id"], json!(id(2)));

    let inputs = |node: NodeId| -> Vec<(&str, Option<&str>, Value, i32)> {
        let own = plan.inputs.iter().filter(|input| input.node == node);
        own.map(|i| (i.label.as_str(), i.text.as_deref(), i.metadata.clone(), i.sort_order)).collect()
    };
    assert_eq!(
        inputs(root.id),
        [
            ("Q", Some("why?"), json!({"required": true}), 0),
            ("Given", Some("g"), json!({"required": false}), 1),
            ("Link", None, json!({"required": false, "placeholder": true}), 2),
        ]
    );
    assert_eq!(inputs(a.id).iter().map(|input| input.0).collect::<Vec<_>>(), ["own", "both", "theirs"]);
    let edge = |from: &str, to: &str| (titled(&plan, from).id, titled(&plan, to).id);
    assert_eq!(plan.edges, [edge("c", "d"), edge("a", "b")]);
}

#[test]
fn loops_depth_and_size_are_bounded() {
    let refusal = |templates: &HashMap<Uuid, Source>| -> Refusal {
        plan(id(1), templates, &Application::default()).expect_err("a refusal")
    };
    let leads_to = |n: u128| json!({"subNodes": [{"title": "x", "templateId": id(n)}]});
    let itself = HashMap::from([source(id(1), leads_to(1), json!({}))]);
    assert_eq!(refusal(&itself), Refusal::new("structure.subNodes[0].templateId", "closes a loop of templates"));
    let ring = HashMap::from([source(id(1), leads_to(2), json!({})), source(id(2), leads_to(1), json!({}))]);
    assert_eq!(refusal(&ring).reason, "closes a loop of templates");
    let torn = HashMap::from([source(id(1), leads_to(2), json!({}))]);
    assert_eq!(refusal(&torn).reason, "refers to something that does not exist");
    let long = HashMap::from_iter((1..=7).map(|n| source(id(n), leads_to(n + 1), json!({}))));
    assert_eq!(refusal(&long).reason, "lies deeper than 5 levels");
    // Twice a hundred nodes of a hundred nodes each.
    let wide = |n: u128| json!({"subNodes": vec![json!({"title": "x", "templateId": id(n)}); 100]});
    let many = HashMap::from([
        source(id(1), wide(2), json!({})),
        source(id(2), wide(3), json!({})),
        source(id(3), json!({}), json!({})),
    ]);
    assert_eq!(refusal(&many).reason, "leads to more than 1000 nodes");
}

#[test]
fn a_row_from_before_the_checks_is_used_as_far_as_it_goes() {
    let odd = json!({"inputs": ["x", {"type": "image"}, 7, {"label": "l", "externalUrl": "javascript:x"}], "subNodes": [{}, "odd", {"title": 7, "inputs": {}, "dependsOn": [1]}]});
    let templates = HashMap::from([source(id(1), odd, json!({}))]);
    let plan = plan(id(1), &templates, &Application::default()).expect("a plan");
    assert_eq!(plan.nodes.len(), 4);
    assert!(plan.nodes.iter().skip(1).all(|node| node.title == "Untitled"));
    assert!(plan.inputs.iter().all(|input| input.input_type == "text"));
    let link = plan.inputs.iter().find(|input| input.label == "l").expect("an input");
    assert_eq!((link.url.as_deref(), &link.metadata["placeholder"]), (None, &json!(true)));
}
