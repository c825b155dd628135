//! The context of a node over REST.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::rest::{Scene, ids};

#[tokio::test]
async fn the_context_holds_texts_and_what_is_around_the_node() {
    let scene = Scene::start().await;
    let mut parent = scene.node("level 0").await;
    for level in 1..=12 {
        parent = scene.node_with(json!({ "title": format!("level {level}"), "parentId": parent })).await;
    }
    let body = json!({ "title": "work", "description": "D", "status": "review", "parentId": parent });
    let node = scene.node_with(body).await;
    let mut siblings = Vec::new();
    for i in 0..12 {
        siblings.push(scene.node_with(json!({ "title": format!("sibling {i}"), "parentId": parent })).await);
    }
    scene.ok(Method::DELETE, &format!("/nodes/{}", siblings[0]), Value::Null).await;
    let file = scene.file("plan.txt").await;
    for body in [
        json!({ "inputType": "text", "textContent": "T", "label": "L" }),
        json!({ "inputType": "file", "fileId": file }),
        json!({ "inputType": "external_link", "externalUrl": "https://example.org" }),
    ] {
        scene.ok(Method::POST, &format!("/nodes/{node}/inputs"), body).await;
    }
    let body = json!({ "outputType": "structured_data", "structuredData": { "a": 1 } });
    scene.ok(Method::POST, &format!("/nodes/{node}/outputs"), body).await;

    let context = scene.get(&format!("/nodes/{node}/context")).await;
    let expected =
        json!({ "id": node, "title": "work", "description": "D", "status": "review", "authorType": "human" });
    assert_eq!(context["node"], expected);
    let told = |item: &Value| {
        let mut item = item.clone();
        item.as_object_mut().expect("an object").remove("id");
        item
    };
    let inputs: Vec<Value> = context["inputs"].as_array().expect("a list").iter().map(told).collect();
    assert_eq!(
        json!(inputs),
        json!([
            { "type": "text", "label": "L", "textContent": "T", "content": "T" },
            { "type": "file", "filename": "plan.txt", "extractedText": "what it says", "content": "what it says" },
            { "type": "external_link", "externalUrl": "https://example.org", "content": "https://example.org" },
        ])
    );
    assert_eq!(told(&context["outputs"][0]), json!({ "type": "structured_data", "structuredData": { "a": 1 } }));
    let titles = |list: &Value| -> Vec<String> {
        list.as_array().expect("a list").iter().map(|n| n["title"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(titles(&context["parentChain"]), (3..=12).map(|i| format!("level {i}")).collect::<Vec<_>>());
    assert_eq!(ids(&json!({ "data": context["siblings"] })), siblings[1..=10]);

    let root = scene.node("alone").await;
    let alone = scene.get(&format!("/nodes/{root}/context")).await;
    assert_eq!([&alone["siblings"], &alone["parentChain"], &alone["inputs"]], [&json!([]), &json!([]), &json!([])]);
}
