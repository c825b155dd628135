//! JSON Canvas documents in and out of a project.

use glassbox_protocol::ProjectId;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::world::{Person, World};

const FIXTURES: [&str; 2] = [include_str!("fixtures/plan.canvas"), include_str!("fixtures/odd-texts.canvas")];

async fn import(world: &World, ada: &Person, project: ProjectId, query: &str, body: &Value) -> (StatusCode, Value) {
    let url = world.url(0, &format!("/api/v1/projects/{project}/canvas{query}"));
    let response = world.http.post(url).bearer_auth(&ada.token).json(body).send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

async fn get(world: &World, ada: &Person, path: &str) -> Value {
    let response = world.http.get(world.url(0, path)).bearer_auth(&ada.token).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.json().await.expect("JSON")
}

/// The document without the edges that the answer's warnings name.
fn without_skipped(document: &Value, answer: &Value) -> Value {
    let warnings = answer["warnings"].as_array().expect("a list");
    let mut document = document.clone();
    document["edges"]
        .as_array_mut()
        .expect("a list")
        .retain(|edge| !warnings.iter().any(|warning| warning["edgeId"] == edge["id"]));
    document
}

#[tokio::test]
async fn an_imported_document_is_exported_as_it_was() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    for text in FIXTURES {
        let project = world.project(&ada).await;
        let document: Value = serde_json::from_str(text).expect("JSON");
        let (status, answer) = import(&world, &ada, project, "", &document).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let expected = without_skipped(&document, &answer);
        assert_eq!(answer["nodes"], expected["nodes"].as_array().map(Vec::len).expect("a list"));
        assert_eq!(answer["dependencies"], expected["edges"].as_array().map(Vec::len).expect("a list"));
        let exported = get(&world, &ada, &format!("/api/v1/projects/{project}/canvas")).await;
        assert_eq!(exported, expected);
    }
}

#[tokio::test]
async fn an_import_becomes_nodes_in_one_transaction() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let project = world.project(&ada).await;
    let document: Value = serde_json::from_str(FIXTURES[0]).expect("JSON");
    let (_, answer) = import(&world, &ada, project, "", &document).await;
    let snapshot = get(&world, &ada, &format!("/api/v1/projects/{project}/snapshot")).await;
    let node = |canvas_id: &str| {
        let nodes = snapshot["nodes"].as_array().expect("a list");
        nodes.iter().find(|node| node["id"] == answer["ids"][canvas_id]).expect("a node")
    };
    assert_eq!(
        (&node("sensor")["title"], &node("sensor")["parentId"]),
        (&json!("Pressure sensor"), &answer["ids"]["hardware"])
    );
    assert_eq!(node("hardware")["parentId"], answer["ids"]["season"]);
    assert!(node("notes")["parentId"].is_null());
    assert_eq!(node("datasheet")["title"], "sensor v2.pdf");
    assert_eq!(node("shop")["inputs"][0]["inputType"], "external_link");
    assert_eq!(node("shop")["inputs"][0]["externalUrl"], node("shop")["title"]);
    assert_eq!((&node("sensor")["status"], &node("sensor")["authorUserId"]), (&json!("draft"), &json!(ada.id)));

    let feed = get(&world, &ada, &format!("/api/v1/projects/{project}/events?since=1")).await;
    let events = feed["data"].as_array().expect("a list");
    assert_eq!(events.iter().filter(|event| event["txEnd"] == true).count(), 1);
    assert!(events.iter().all(|event| event["by"]["id"] == json!(ada.id)));
}

#[tokio::test]
async fn a_second_document_lies_on_top_and_where_it_is_put() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let project = world.project(&ada).await;
    let document =
        |id: &str| json!({"nodes": [{"id": id, "type": "text", "x": 1, "y": 2, "width": 3, "height": 4, "text": id}]});
    let (_, first) = import(&world, &ada, project, "", &document("a")).await;
    let parent = first["ids"]["a"].as_str().expect("an id");
    let query = format!("?parentId={parent}&dx=10.5&dy=-2");
    let (status, second) = import(&world, &ada, project, &query, &document("b")).await;
    assert_eq!(status, StatusCode::CREATED, "{second}");
    let exported = get(&world, &ada, &format!("/api/v1/projects/{project}/canvas")).await;
    let drawn: Vec<_> =
        exported["nodes"].as_array().expect("a list").iter().map(|n| (&n["id"], &n["x"], &n["y"])).collect();
    assert_eq!(drawn, [(&json!("a"), &json!(1), &json!(2)), (&json!("b"), &json!(12), &json!(0))]);
    let snapshot = get(&world, &ada, &format!("/api/v1/projects/{project}/snapshot")).await;
    let b = snapshot["nodes"].as_array().expect("a list").iter().find(|n| n["title"] == "b").expect("a node");
    assert_eq!((&b["parentId"], &b["position"]), (&json!(parent), &json!({"x": 11.5, "y": 0})));
}

#[tokio::test]
async fn a_dry_run_and_a_refused_document_change_nothing() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let project = world.project(&ada).await;
    let mut document: Value = serde_json::from_str(FIXTURES[0]).expect("JSON");
    let (status, answer) = import(&world, &ada, project, "?dryRun=true", &document).await;
    assert_eq!((status, &answer["nodes"], &answer["ids"]), (StatusCode::OK, &json!(6), &json!({})));

    document["nodes"][3]["type"] = "video".into();
    let (status, answer) = import(&world, &ada, project, "", &document).await;
    assert_eq!((status, &answer["details"]["field"]), (StatusCode::BAD_REQUEST, &json!("nodes[3].type")));
    document["nodes"][3]["type"] = "file".into();
    document["nodes"][3]["file"] = "a\0b".into();
    let (status, _) = import(&world, &ada, project, "", &document).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    document["nodes"][3]["file"] = "ab".into();
    let (status, answer) =
        import(&world, &ada, project, &format!("?parentId={}", uuid::Uuid::new_v4()), &document).await;
    assert_eq!((status, &answer["details"]["field"]), (StatusCode::BAD_REQUEST, &json!("parentId")));

    let snapshot = get(&world, &ada, &format!("/api/v1/projects/{project}/snapshot")).await;
    assert_eq!(snapshot["nodes"], json!([]));
}
