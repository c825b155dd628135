//! The history of nodes over REST.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::rest::Scene;

fn numbers(list: &Value) -> Vec<i64> {
    list["data"].as_array().expect("a list").iter().filter_map(|v| v["version"].as_i64()).collect()
}

#[tokio::test]
async fn every_change_of_content_is_a_version_whoever_makes_it() {
    let scene = Scene::start().await;
    let node = scene.node("one").await;
    let path = format!("/nodes/{node}");
    scene.ok(Method::PATCH, &path, json!({ "title": "two", "description": "D" })).await;
    scene.ok(Method::PATCH, &path, json!({ "position": { "x": 1, "y": 1 } })).await;
    scene.ok(Method::PATCH, &path, json!({ "status": "review", "title": "three" })).await;
    scene.world.sql(&format!("update nodes set metadata = '{{\"k\": 1}}' where id = '{node}'")).await;
    let list = scene.get(&format!("{path}/versions")).await;
    assert_eq!(list["data"], list["versions"]);
    let told: Vec<[&Value; 3]> = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|v| [&v["version"], &v["changeType"], &v["changeSummary"]])
        .collect();
    assert_eq!(
        json!(told),
        json!([
            [4, "updated", "Metadata updated"],
            [3, "status_change", "Status changed to review"],
            [2, "updated", "Title and description updated"],
            [1, "created", "Created"],
        ])
    );
    assert!(list["data"][0].get("changedBy").is_none(), "plain SQL says nothing about itself");
    assert_eq!(list["data"][1]["changedBy"], json!(scene.ada.id));
    let second = scene.get(&format!("{path}/versions/2")).await;
    assert_eq!(second, list["data"][2]);
    let snapshot = &second["snapshot"];
    assert_eq!(
        (&snapshot["title"], &snapshot["description"], &snapshot["version"]),
        (&json!("two"), &json!("D"), &json!(2))
    );
    for absent in ["inputs", "outputs", "lockedBy", "deletedAt"] {
        assert!(snapshot.get(absent).is_none(), "{absent}: {snapshot}");
    }
    let part = scene.get(&format!("{path}/versions?limit=2&offset=1")).await;
    assert_eq!((numbers(&part), &part["hasMore"]), (vec![3, 2], &json!(true)));

    scene.ok(Method::DELETE, &path, Value::Null).await;
    assert_eq!(numbers(&scene.get(&format!("{path}/versions")).await), [4, 3, 2, 1], "also of a deleted node");
    assert_eq!(scene.get(&format!("{path}/versions/1")).await["snapshot"]["title"], "one");
    for odd in ["0", "-1", "x", "1.0", "00", "+1"] {
        let refusal = scene.refusal(&scene.ada, Method::GET, &format!("{path}/versions/{odd}"), Value::Null).await;
        assert_eq!(refusal, (400, "BAD_REQUEST".to_owned(), "version".to_owned()), "{odd}");
    }
    for missing in ["5", "99999999999999999999"] {
        let refusal = scene.refusal(&scene.ada, Method::GET, &format!("{path}/versions/{missing}"), Value::Null).await;
        assert_eq!(refusal.0, 404, "{missing}");
    }
}

#[tokio::test]
async fn stored_history_may_lack_rows_and_keys() {
    let scene = Scene::start().await;
    let node = scene.node("now").await;
    let path = format!("/nodes/{node}");
    scene.ok(Method::PATCH, &path, json!({ "title": "later" })).await;
    scene
        .world
        .sql(&format!(
            "delete from node_versions where node_id = '{node}';
            insert into node_versions (node_id, version, snapshot, change_type) values ('{node}', 1, '{{\"title\": \"then\"}}', 'update')"
        ))
        .await;
    let list = scene.get(&format!("{path}/versions")).await;
    assert_eq!(numbers(&list), [2, 1]);
    assert_eq!(list["data"][0]["snapshot"]["title"], "later", "the present one is computed");
    assert_eq!(scene.get(&format!("{path}/versions")).await, list, "and always the same");
    assert_eq!(scene.get(&format!("{path}/versions/2")).await, list["data"][0]);
    assert_eq!(list["data"][1]["snapshot"], json!({ "title": "then" }));
    assert_eq!(list["data"][1]["changeType"], "updated");

    let back = scene.ok(Method::POST, &format!("{path}/rollback/1"), Value::Null).await;
    assert_eq!((&back["title"], &back["status"], &back["version"]), (&json!("then"), &json!("draft"), &json!(3)));
}

#[tokio::test]
async fn a_rollback_is_a_new_version_with_what_was() {
    let scene = Scene::start().await;
    let bob = scene.person("bob", "member").await;
    let (old, new) = (scene.node("old parent").await, scene.node("new parent").await);
    let first =
        json!({ "title": "first", "parentId": old, "supervisorUserId": bob.id, "position": { "x": 1, "y": 1 } });
    let node = scene.node_with(first).await;
    let path = format!("/nodes/{node}");
    let second = json!({
        "title": "second", "description": "D", "status": "review", "metadata": { "k": 1 },
        "parentId": new, "supervisorUserId": scene.ada.id, "position": { "x": 2, "y": 2 },
    });
    scene.ok(Method::PATCH, &path, second).await;
    scene.ok(Method::POST, &format!("{path}/inputs"), json!({ "inputType": "text", "textContent": "stays" })).await;

    let back = scene.ok(Method::POST, &format!("{path}/rollback/1"), Value::Null).await;
    assert_eq!((&back["title"], &back["status"], &back["metadata"]), (&json!("first"), &json!("draft"), &json!({})));
    assert!(back.get("description").is_none(), "there was none: {back}");
    assert_eq!((&back["parentId"], &back["supervisorUserId"]), (&json!(old), &json!(bob.id)));
    assert_eq!((&back["version"], &back["position"]["x"]), (&json!(3), &json!(2.0)), "the place stays");
    assert_eq!(back["inputs"][0]["textContent"], "stays");
    let version = scene.get(&format!("{path}/versions/3")).await;
    assert_eq!(
        [&version["changeType"], &version["changeSummary"], &version["changedBy"]],
        [&json!("rollback"), &json!("Rolled back to version 1"), &json!(scene.ada.id)]
    );
    let again = scene.ok(Method::POST, &format!("{path}/rollback/1"), json!({})).await;
    assert_eq!(again, back, "nothing to roll back: no version");

    // What is no longer there stays as it is.
    scene
        .ok(Method::PATCH, &path, json!({ "parentId": new, "supervisorUserId": scene.ada.id, "title": "third" }))
        .await;
    scene.ok(Method::DELETE, &format!("/nodes/{old}"), Value::Null).await;
    scene.world.sql(&format!("delete from org_members where user_id = '{}'", bob.id)).await;
    let back = scene.ok(Method::POST, &format!("{path}/rollback/1"), Value::Null).await;
    assert_eq!((&back["parentId"], &back["supervisorUserId"]), (&json!(new), &json!(scene.ada.id)));
    assert_eq!(back["title"], "first");

    for (version, status) in [("0", 400), ("x", 400), ("6", 404), ("2147483647", 404), ("99999999999", 404)] {
        let (got, answer) =
            scene.call(&scene.ada, Method::POST, &format!("{path}/rollback/{version}"), Value::Null).await;
        assert_eq!(got.as_u16(), status, "{version}: {answer}");
    }
}

#[tokio::test]
async fn a_rollback_closes_no_cycle_and_keeps_the_workflow() {
    let scene = Scene::start().await;
    let (a, b) = (scene.node("a").await, scene.node("b").await);
    scene.ok(Method::PATCH, &format!("/nodes/{a}"), json!({ "parentId": b })).await;
    scene.ok(Method::PATCH, &format!("/nodes/{a}"), json!({ "title": "a2" })).await;
    scene.ok(Method::PATCH, &format!("/nodes/{a}"), json!({ "parentId": null })).await;
    scene.ok(Method::PATCH, &format!("/nodes/{b}"), json!({ "parentId": a })).await;
    scene.ok(Method::PATCH, &format!("/nodes/{a}"), json!({ "title": "a3", "status": "complete" })).await;
    let back = scene.ok(Method::POST, &format!("/nodes/{a}/rollback/2"), Value::Null).await;
    assert_eq!((&back["title"], back.get("parentId")), (&json!("a2"), None), "b lies below a now");

    scene
        .world
        .sql(&format!(
            "update projects set settings = '{{\"enforceWorkflow\": true}}', workflow_states = '[\"draft\"]' where id = '{}'",
            scene.project
        ))
        .await;
    let refusal = scene.refusal(&scene.ada, Method::POST, &format!("/nodes/{a}/rollback/3"), Value::Null).await;
    assert_eq!(refusal, (400, "BAD_REQUEST".to_owned(), "version".to_owned()));
}

#[tokio::test]
async fn two_versions_are_compared() {
    let scene = Scene::start().await;
    let path = format!("/nodes/{}", scene.node("Find a supplier").await);
    scene.ok(Method::PATCH, &path, json!({ "title": "Find the supplier", "metadata": { "k": 1 } })).await;
    let compared = scene.get(&format!("{path}/versions/2?compareTo=1")).await;
    assert_eq!((&compared["version"], &compared["comparedTo"]), (&json!(2), &json!(1)));
    assert_eq!(
        compared["changes"],
        json!([
            { "field": "metadata", "from": {}, "to": { "k": 1 } },
            { "field": "title", "from": "Find a supplier", "to": "Find the supplier", "diff": [
                { "op": "equal", "text": "Find " },
                { "op": "delete", "text": "a" },
                { "op": "insert", "text": "the" },
                { "op": "equal", "text": " supplier" },
            ] },
        ])
    );
    assert!(scene.get(&format!("{path}/versions/2")).await.get("changes").is_none());
    assert_eq!(scene.get(&format!("{path}/versions/1?compareTo=1")).await["changes"], json!([]));
    for (other, status) in
        [("0", StatusCode::BAD_REQUEST), ("x", StatusCode::BAD_REQUEST), ("9", StatusCode::NOT_FOUND)]
    {
        let (got, _) =
            scene.call(&scene.ada, Method::GET, &format!("{path}/versions/1?compareTo={other}"), Value::Null).await;
        assert_eq!(got, status, "{other}");
    }
}
