//! JSON Canvas documents in and out of a project.

use glassbox_protocol::ProjectId;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::orgs::{post, value};
use crate::support::world::{Person, World};
use crate::support::{DEADLINE, wait_until};

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
async fn a_link_that_leads_elsewhere_than_to_the_web_becomes_no_input() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let project = world.project(&ada).await;
    let link =
        |id: &str, url: &str| json!({"id": id, "type": "link", "x": 1, "y": 2, "width": 3, "height": 4, "url": url});
    let document =
        json!({"nodes": [link("bad", "javascript:alert(1)"), link("good", "https://example.org")], "edges": []});
    let (status, answer) = import(&world, &ada, project, "", &document).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let snapshot = get(&world, &ada, &format!("/api/v1/projects/{project}/snapshot")).await;
    let inputs = |canvas_id: &str| {
        let nodes = snapshot["nodes"].as_array().expect("a list");
        let node = nodes.iter().find(|node| node["id"] == answer["ids"][canvas_id]).expect("a node");
        node["inputs"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((inputs("bad"), inputs("good")), (0, 1));
    let exported = get(&world, &ada, &format!("/api/v1/projects/{project}/canvas")).await;
    assert_eq!(exported, document, "the document keeps its URL");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_made_below_a_parent_that_is_being_deleted() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let (org, project) = (world.org(&ada).await, world.project(&ada).await);
    let node = json!({"id": "a", "type": "text", "x": 1, "y": 2, "width": 3, "height": 4, "text": "a"});
    let document = json!({"nodes": [node], "edges": []});
    let structure = json!({"orgId": org, "name": "T", "structure": {}});
    let template = world.post("/api/v1/templates", Some(&ada), &structure).await;
    let canvas = format!("/api/v1/projects/{project}/canvas");
    let apply = format!("/api/v1/templates/{}/apply", template["id"].as_str().expect("an id"));
    for is_import in [true, false] {
        let (_, first) = import(&world, &ada, project, "", &document).await;
        let parent = first["ids"]["a"].as_str().expect("an id").to_owned();
        // A deletion that has begun: the request waits for its end.
        let superuser = world.database.superuser();
        let mut holder = superuser.begin().await.expect("begin");
        sqlx::query("update nodes set deleted_at = now() where id = $1::uuid")
            .bind(&parent)
            .execute(&mut *holder)
            .await
            .expect("delete the parent");
        let (path, body) = if is_import {
            (format!("{canvas}?parentId={parent}"), document.clone())
        } else {
            (apply.clone(), json!({"projectId": project, "parentId": parent}))
        };
        let ask = post(&world, &path, &ada, &body);
        let release = async {
            wait_until("the request waits", DEADLINE, async || {
                let waiting = "select count(*) from pg_stat_activity
                    where datname = current_database() and wait_event_type = 'Lock' and query like '%for update%'";
                value::<i64>(&world, waiting).await == 1
            })
            .await;
            holder.commit().await.expect("commit the deletion");
        };
        let ((status, answer), ()) = tokio::join!(ask, release);
        assert_eq!((status, &answer["details"]["field"]), (400, &json!("parentId")), "{path}: {answer}");
        let below = value::<i64>(&world, &format!("select count(*) from nodes where parent_id = '{parent}'")).await;
        assert_eq!(below, 0, "{path}");
    }
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
