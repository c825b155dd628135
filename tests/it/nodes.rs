//! Nodes over REST: how they are made, listed and read.

use std::collections::BTreeSet;

use glassbox::store::view::{self, Filter, Parent};
use glassbox::store::{Database, Tenant};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::rest::{Scene, id, ids};

#[tokio::test]
async fn a_node_is_made_changed_and_read_back_whole() {
    let scene = Scene::start().await;
    let nodes = format!("/projects/{}/nodes", scene.project);
    let body = json!({ "title": "Ünïcode", "projectId": "ignored", "metadata": { "tags": ["a"], "odd": null } });
    let (status, made) = scene.call(&scene.ada, Method::POST, &nodes, body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let keys: BTreeSet<&str> = made.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = [
        "authorType",
        "authorUserId",
        "createdAt",
        "id",
        "inputs",
        "metadata",
        "orgId",
        "outputs",
        "position",
        "projectId",
        "status",
        "title",
        "updatedAt",
        "version",
    ];
    assert_eq!(keys, BTreeSet::from(expected));
    assert_eq!((&made["status"], &made["version"], &made["authorType"]), (&json!("draft"), &json!(1), &json!("human")));
    assert_eq!((&made["inputs"], &made["position"]), (&json!([]), &json!({ "x": 0.0, "y": 0.0 })));
    assert_eq!(made["metadata"], json!({ "tags": ["a"], "odd": null }));

    let path = format!("/nodes/{}", id(&made));
    let child = scene.node_with(json!({ "title": "child", "parentId": made["id"], "authorType": "agent" })).await;
    let read = scene.get(&path).await;
    assert_eq!(read["children"][0]["id"], child.as_str());
    assert!(read["children"][0].get("inputs").is_none(), "{read}");
    assert_eq!(read["author"], json!({ "id": scene.ada.id, "email": "ada@example.org", "name": "ada" }));
    let agent = scene.get(&format!("/nodes/{child}")).await;
    assert_eq!(agent["supervisor"]["id"], json!(scene.ada.id), "an agent's node is supervised by its maker: {agent}");

    let (status, changed) =
        scene.call(&scene.ada, Method::PATCH, &path, json!({ "title": "New", "description": "D" })).await;
    assert_eq!(status, StatusCode::OK);
    let expected: BTreeSet<&str> = keys.iter().copied().chain(["description"]).collect();
    assert_eq!(changed.as_object().expect("an object").keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    assert_eq!((&changed["title"], &changed["version"]), (&json!("New"), &json!(2)));
    let again = scene.ok(Method::PATCH, &path, json!({ "title": "New" })).await;
    assert_eq!(again, changed, "nothing differs: no version, no update");
    assert_eq!(scene.ok(Method::PATCH, &path, json!({})).await, changed);
    assert_eq!(scene.ok(Method::PATCH, &path, Value::Null).await, changed, "no body is no change");
    let cleared = scene.ok(Method::PATCH, &path, json!({ "description": null, "unknown": 1 })).await;
    assert!(cleared.get("description").is_none(), "{cleared}");
    assert_eq!(scene.get(&format!("{path}/children")).await["data"][0]["inputs"], json!([]));
}

#[tokio::test]
async fn the_list_without_a_query_holds_every_node_newest_first() {
    let scene = Scene::start().await;
    scene
        .world
        .sql(&format!(
            "insert into nodes (org_id, project_id, title, author_type, status, created_at)
            select '{}', '{}', 'n' || i, case when i % 2 = 0 then 'agent' else 'human' end,
                case when i % 3 = 0 then 'complete' end, timestamptz '2026-01-01' + make_interval(secs => i)
            from generate_series(1, 300) i",
            scene.org, scene.project
        ))
        .await;
    let nodes = format!("/projects/{}/nodes", scene.project);
    let all = scene.get(&nodes).await;
    let titles: Vec<&str> =
        all["data"].as_array().expect("a list").iter().filter_map(|n| n["title"].as_str()).collect();
    assert_eq!(titles, (1..=300).rev().map(|i| format!("n{i}")).collect::<Vec<_>>());
    let page = |list: &Value| ["total", "limit", "offset", "hasMore"].map(|key| list[key].clone());
    assert_eq!(page(&all), [json!(300), json!(300), json!(0), json!(false)]);
    let part = scene.get(&format!("{nodes}?limit=10&offset=20")).await;
    assert_eq!(
        (page(&part), ids(&part)),
        ([json!(300), json!(10), json!(20), json!(true)], ids(&all)[20..30].to_vec())
    );
    let beyond = scene.get(&format!("{nodes}?offset=1000")).await;
    assert_eq!((page(&beyond), ids(&beyond).len()), ([json!(300), json!(0), json!(1000), json!(false)], 0));

    let parent = ids(&all)[0].clone();
    let child = scene.node_with(json!({ "title": "child", "parentId": parent })).await;
    let gone = scene.node("gone").await;
    scene.ok(Method::DELETE, &format!("/nodes/{gone}"), Value::Null).await;
    for (query, total) in [
        ("status=complete", 100),
        ("status=draft", 201),
        ("status=", 301),
        ("status=it's", 0),
        ("authorType=agent", 150),
        ("authorType=agent&status=complete", 50),
        ("parentId=null", 300),
        (&format!("parentId={parent}"), 1),
        (&format!("parentId={}", Uuid::new_v4()), 0),
        ("deleted=true", 1),
        ("deleted=false", 301),
    ] {
        let list = scene.get(&format!("{nodes}?{query}")).await;
        assert_eq!((&list["total"], ids(&list).len()), (&json!(total), total), "{query}");
    }
    assert_eq!(ids(&scene.get(&format!("{nodes}?parentId={parent}")).await), [child]);
    let deleted = scene.get(&format!("{nodes}?deleted=true")).await;
    assert_eq!(ids(&deleted), [gone]);
    assert!(deleted["data"][0]["deletedAt"].is_string());
    for (query, field) in [
        ("parentId=x", "parentId"),
        ("parentId=", "parentId"),
        ("authorType=robot", "authorType"),
        ("status=%00", "status"),
        ("deleted=yes", "deleted"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("offset=-1", "offset"),
    ] {
        let refusal = scene.refusal(&scene.ada, Method::GET, &format!("{nodes}?{query}"), Value::Null).await;
        assert_eq!(refusal, (400, "BAD_REQUEST".to_owned(), field.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn a_repeated_request_makes_one_node() {
    let scene = Scene::start().await;
    let url = scene.world.url(0, &format!("/api/v1/projects/{}/nodes", scene.project));
    let post = async |body: Value| {
        let request =
            scene.world.http.post(&url).bearer_auth(&scene.ada.token).header("idempotency-key", "k").json(&body);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json::<Value>().await.expect("JSON"))
    };
    let first = post(json!({ "title": "once" })).await;
    assert_eq!(first.0, 201);
    scene.ok(Method::PATCH, &format!("/nodes/{}", id(&first.1)), json!({ "title": "changed" })).await;
    assert_eq!(post(json!({ "title": "once" })).await, first, "the same answer, word for word");
    let other = post(json!({ "title": "twice" })).await;
    assert_eq!((other.0, &other.1["code"]), (409, &json!("IDEMPOTENCY_CONFLICT")));
    assert_eq!(scene.get(&format!("/projects/{}/nodes", scene.project)).await["total"], 1);
}

#[tokio::test]
async fn a_list_takes_as_many_statements_for_many_nodes_as_for_one() {
    let scene = Scene::start().await;
    let file = scene.file("f").await;
    let database = Database::connect(&scene.world.database.server_url(), 2).expect("a database");
    let filter =
        Filter { project: scene.project, is_deleted: false, status: None, author_type: None, parent: Parent::Any };
    let mut counts = Vec::new();
    for many in [1, 50, 400] {
        scene
            .world
            .sql(&format!(
                "with made as (
                    insert into nodes (org_id, project_id, title, author_type)
                    select '{org}', '{project}', 'n', 'human' from generate_series(1, {many}) returning id
                ), inputs as (
                    insert into node_inputs (node_id, input_type, source_node_id, file_id)
                    select m.id, 'node_reference', (select id from nodes where project_id = '{project}' limit 1), '{file}'
                    from made m
                )
                insert into node_outputs (node_id, output_type, file_id) select id, 'file', '{file}' from made",
                org = scene.org,
                project = scene.project
            ))
            .await;
        let mut tx = database.begin_snapshot(&Tenant::member(scene.org, scene.ada.id)).await.expect("a transaction");
        let nodes = view::list(&mut tx, &filter, scene.ada.id, 10_000, 0).await.expect("nodes");
        counts.push(tx.statements());
        assert!(nodes.len() >= many);
        let shown = serde_json::to_value(&nodes[0]).expect("JSON");
        assert_eq!(shown["outputs"][0]["file"]["processingStatus"], "complete", "{shown}");
        assert!(shown["outputs"][0]["file"].get("extractedText").is_none());
    }
    assert_eq!(counts[1], counts[2], "{counts:?}");
    database.close().await;
}
