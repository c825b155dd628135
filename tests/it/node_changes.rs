//! Nodes over REST: what changes them, and the rules of that.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::mirror::{Start, fold, read_log, read_tables};
use crate::support::rest::{Scene, id, ids};

#[tokio::test]
async fn anothers_lock_blocks_content_and_not_places() {
    let scene = Scene::start().await;
    let bob = scene.person("bob", "member").await;
    let node = scene.node("locked").await;
    let path = format!("/nodes/{node}");
    let lock = scene.ok(Method::POST, &format!("{path}/lock"), Value::Null).await;

    for (method, path, body) in [
        (Method::PATCH, path.clone(), json!({ "title": "x" })),
        (Method::PATCH, path.clone(), json!({ "title": "x", "position": { "x": 1, "y": 1 } })),
        (Method::PATCH, path.clone(), json!({ "parentId": null })),
        (Method::DELETE, path.clone(), Value::Null),
        (Method::POST, format!("{path}/inputs"), json!({ "inputType": "text", "textContent": "x" })),
        (Method::POST, format!("{path}/outputs"), json!({ "outputType": "text", "textContent": "x" })),
        (Method::POST, format!("{path}/rollback/1"), Value::Null),
    ] {
        let (status, answer) = scene.call(&bob, method.clone(), &path, body).await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (409, Some("LOCK_HELD")), "{method} {path}: {answer}");
        assert_eq!((&answer["lockedBy"], &answer["details"]["lockedByName"]), (&json!(scene.ada.id), &json!("ada")));
    }
    let (status, moved) = scene.call(&bob, Method::PATCH, &path, json!({ "position": { "x": 5, "y": -5.5 } })).await;
    assert_eq!((status, &moved["position"]), (StatusCode::OK, &json!({ "x": 5.0, "y": -5.5 })), "{moved}");
    assert_eq!((&moved["lockedBy"], &moved["version"]), (&json!(scene.ada.id), &json!(1)));

    let fence = lock["fence"].as_i64().expect("a fence");
    scene.ok(Method::PATCH, &path, json!({ "title": "by its holder" })).await;
    scene.ok(Method::PATCH, &path, json!({ "title": "with the fence", "fence": fence })).await;
    for body in
        [json!({ "title": "y", "fence": fence + 1 }), json!({ "position": { "x": 0, "y": 0 }, "fence": fence + 1 })]
    {
        let (status, answer) = scene.call(&scene.ada, Method::PATCH, &path, body).await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (409, Some("LOCK_LOST")), "{answer}");
    }
    let stale = format!("{path}?fence={}", fence + 1);
    assert_eq!(scene.refusal(&scene.ada, Method::DELETE, &stale, Value::Null).await.1, "LOCK_LOST");
    let (status, _) = scene.call(&scene.ada, Method::DELETE, &path, json!({ "fence": fence })).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn fields_merge_from_a_base_version_and_conflicts_show_the_node() {
    let scene = Scene::start().await;
    let bob = scene.person("bob", "member").await;
    let path = format!("/nodes/{}", scene.node("one").await);
    scene.ok(Method::PATCH, &path, json!({ "title": "ada's" })).await;
    let body = json!({ "status": "review", "baseVersion": 1 });
    let (status, merged) = scene.call(&bob, Method::PATCH, &path, body).await;
    assert_eq!((status, &merged["version"], &merged["title"]), (StatusCode::OK, &json!(3), &json!("ada's")));
    let (status, answer) = scene.call(&bob, Method::PATCH, &path, json!({ "title": "bob's", "baseVersion": 1 })).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (409, Some("VERSION_CONFLICT")), "{answer}");
    assert_eq!(
        (&answer["details"]["current"]["title"], &answer["details"]["current"]["inputs"]),
        (&json!("ada's"), &json!([]))
    );
    let last = scene.call(&bob, Method::PATCH, &path, json!({ "title": "bob's" })).await.1;
    assert_eq!(last["title"], "bob's", "without a base version the last write wins");
}

#[tokio::test]
async fn a_parent_cycle_is_refused_with_its_path() {
    let scene = Scene::start().await;
    let top = scene.node("top").await;
    let middle = scene.node_with(json!({ "title": "middle", "parentId": top })).await;
    let low = scene.node_with(json!({ "title": "low", "parentId": middle })).await;
    let (status, answer) =
        scene.call(&scene.ada, Method::PATCH, &format!("/nodes/{top}"), json!({ "parentId": low })).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (409, Some("CYCLE")));
    assert_eq!(answer["details"]["path"], json!([low, middle, top]));
    let own = json!({ "parentId": top });
    assert_eq!(scene.refusal(&scene.ada, Method::PATCH, &format!("/nodes/{top}"), own).await.1, "CYCLE");
    let root = scene.ok(Method::PATCH, &format!("/nodes/{low}"), json!({ "parentId": null })).await;
    assert!(root.get("parentId").is_none(), "{root}");
}

#[tokio::test]
async fn a_delete_takes_the_subtree_and_a_restore_brings_it_back() {
    let scene = Scene::start().await;
    let top = scene.node("top").await;
    let child = scene.node_with(json!({ "title": "child", "parentId": top })).await;
    let earlier = scene.node_with(json!({ "title": "gone before", "parentId": top })).await;
    let reader = scene.node("reader").await;
    let input = json!({ "inputType": "node_reference", "sourceNodeId": top });
    scene.ok(Method::POST, &format!("/nodes/{reader}/inputs"), input).await;
    scene.ok(Method::DELETE, &format!("/nodes/{earlier}"), Value::Null).await;
    let (status, body) = scene.call(&scene.ada, Method::DELETE, &format!("/nodes/{top}"), Value::Null).await;
    assert_eq!((status, body), (StatusCode::NO_CONTENT, Value::Null));

    for node in [&top, &child] {
        for (method, path, body) in [
            (Method::GET, "", Value::Null),
            (Method::PATCH, "", json!({ "title": "x" })),
            (Method::PATCH, "", json!({ "position": { "x": 1, "y": 1 } })),
            (Method::DELETE, "", Value::Null),
            (Method::GET, "/children", Value::Null),
            (Method::GET, "/dependencies", Value::Null),
            (Method::GET, "/dependents", Value::Null),
            (Method::GET, "/context", Value::Null),
            (Method::POST, "/rollback/1", Value::Null),
            (Method::POST, "/inputs", json!({ "inputType": "text", "textContent": "x" })),
            (Method::POST, "/outputs", json!({ "outputType": "text", "textContent": "x" })),
            (Method::POST, "/dependencies", json!({ "sourceNodeId": reader })),
        ] {
            let refusal = scene.refusal(&scene.ada, method.clone(), &format!("/nodes/{node}{path}"), body).await;
            assert_eq!((refusal.0, refusal.1.as_str()), (404, "NOT_FOUND"), "{method} {path}");
        }
        assert_eq!(ids(&scene.get(&format!("/nodes/{node}/versions")).await).len(), 1);
    }
    let with_gone_source = scene.get(&format!("/nodes/{reader}")).await;
    assert_eq!(with_gone_source["inputs"][0]["sourceNodeId"], top.as_str());
    assert!(with_gone_source["inputs"][0].get("sourceNode").is_none(), "{with_gone_source}");
    let refusal = scene
        .refusal(
            &scene.ada,
            Method::POST,
            &format!("/projects/{}/nodes", scene.project),
            json!({ "title": "x", "parentId": top }),
        )
        .await;
    assert_eq!(refusal, (400, "BAD_REQUEST".to_owned(), "parentId".to_owned()));

    let restored = scene.ok(Method::POST, &format!("/nodes/{child}/restore"), Value::Null).await;
    assert!(
        restored.get("parentId").is_none() && restored.get("deletedAt").is_none(),
        "its parent is still deleted: {restored}"
    );
    let restored = scene.ok(Method::POST, &format!("/nodes/{top}/restore"), Value::Null).await;
    assert_eq!((&restored["id"], &restored["version"]), (&json!(top), &json!(1)));
    assert_eq!(scene.ok(Method::POST, &format!("/nodes/{top}/restore"), Value::Null).await, restored);
    assert_eq!(ids(&scene.get(&format!("/projects/{}/nodes?deleted=true", scene.project)).await), [earlier]);
}

#[tokio::test]
async fn a_project_may_insist_on_its_workflow_and_name_a_first_status() {
    let scene = Scene::start().await;
    let nodes = format!("/projects/{}/nodes", scene.project);
    let node = scene.node_with(json!({ "title": "free", "status": "anything at all" })).await;
    scene
        .world
        .sql(&format!(
            "update projects
            set settings = '{{\"enforceWorkflow\": true, \"defaultNodeStatus\": \"todo\"}}',
                workflow_states = '[\"todo\", 7, \"done\"]'
            where id = '{}'",
            scene.project
        ))
        .await;
    let made = scene.ok(Method::POST, &nodes, json!({ "title": "x" })).await;
    assert_eq!(made["status"], "todo");
    let refused = (400, "BAD_REQUEST".to_owned(), "status".to_owned());
    assert_eq!(
        scene.refusal(&scene.ada, Method::POST, &nodes, json!({ "title": "x", "status": "draft" })).await,
        refused
    );
    let path = format!("/nodes/{node}");
    assert_eq!(scene.refusal(&scene.ada, Method::PATCH, &path, json!({ "status": "draft" })).await, refused);
    let kept = scene.ok(Method::PATCH, &path, json!({ "title": "y", "status": "anything at all" })).await;
    assert_eq!(kept["title"], "y", "a status that stays is no new one");
    assert_eq!(scene.ok(Method::PATCH, &path, json!({ "status": "done" })).await["status"], "done");

    // Without a default of its own, or with one that its workflow does not know, it begins at the beginning.
    for default in ["", ", \"defaultNodeStatus\": \"draft\""] {
        let settings = format!("{{\"enforceWorkflow\": true{default}}}");
        scene.world.sql(&format!("update projects set settings = '{settings}' where id = '{}'", scene.project)).await;
        assert_eq!(scene.ok(Method::POST, &nodes, json!({ "title": "x" })).await["status"], "todo", "{settings}");
    }
}

#[tokio::test]
async fn supervisors_and_assignees_belong_to_the_organization() {
    let scene = Scene::start().await;
    let bob = scene.person("bob", "member").await;
    let eve = scene.world.user("eve").await;
    let nodes = format!("/projects/{}/nodes", scene.project);
    let refusal = async |method: Method, path: &str, body: Value| {
        let (status, code, field) = scene.refusal(&scene.ada, method, path, body).await;
        assert_eq!((status, code.as_str()), (400, "BAD_REQUEST"));
        field
    };
    let node = scene
        .node_with(json!({ "title": "x", "metadata": { "assignees": [bob.id] }, "supervisorUserId": bob.id }))
        .await;
    let path = format!("/nodes/{node}");
    for (stranger, what) in [(json!(eve.id), "foreign"), (json!(Uuid::new_v4()), "nowhere")] {
        assert_eq!(
            refusal(Method::POST, &nodes, json!({ "title": "x", "supervisorUserId": stranger })).await,
            "supervisorUserId",
            "{what}"
        );
        assert_eq!(refusal(Method::PATCH, &path, json!({ "supervisorUserId": stranger })).await, "supervisorUserId");
        let body = json!({ "title": "x", "metadata": { "assignees": [bob.id, stranger] } });
        assert_eq!(refusal(Method::POST, &nodes, body).await, "metadata.assignees[1]");
        let body = json!({ "metadata": { "assignees": [stranger] } });
        assert_eq!(refusal(Method::PATCH, &path, body).await, "metadata.assignees[0]");
    }
    assert_eq!(
        refusal(Method::PATCH, &path, json!({ "metadata": { "assignees": "bob" } })).await,
        "metadata.assignees"
    );
    assert_eq!(
        refusal(Method::PATCH, &path, json!({ "metadata": { "assignees": [7] } })).await,
        "metadata.assignees[0]"
    );

    scene.world.sql(&format!("delete from org_members where user_id = '{}'", bob.id)).await;
    let kept = json!({ "metadata": { "assignees": [bob.id, scene.ada.id], "x": 1 }, "supervisorUserId": bob.id });
    let changed = scene.ok(Method::PATCH, &path, kept).await;
    assert_eq!(changed["metadata"]["x"], 1, "whoever is assigned already stays: {changed}");
    let cleared = scene.ok(Method::PATCH, &path, json!({ "supervisorUserId": null, "metadata": {} })).await;
    assert!(cleared.get("supervisorUserId").is_none());
}

#[tokio::test]
async fn nodes_move_together_and_those_that_are_gone_are_passed_over() {
    let scene = Scene::start().await;
    let (a, b, gone) = (scene.node("a").await, scene.node("b").await, scene.node("gone").await);
    scene.ok(Method::DELETE, &format!("/nodes/{gone}"), Value::Null).await;
    let path = format!("/projects/{}/nodes/move", scene.project);
    let to = |node: &str, x: f64| json!({ "nodeId": node, "position": { "x": x, "y": 1.0 } });
    let nowhere = Uuid::new_v4().to_string();
    let moves = json!({ "moves": [to(&a, 1.0), to(&gone, 2.0), to(&nowhere, 3.0), to(&b, 1e300)] });
    let moved = scene.ok(Method::POST, &path, moves).await;
    assert_eq!(moved["data"], json!([to(&a, 1.0), to(&b, 1e7)]), "{moved}");
    assert_eq!(
        moved["skipped"],
        json!([{ "nodeId": gone, "code": "GONE" }, { "nodeId": nowhere, "code": "NOT_FOUND" }])
    );
    let feed = scene.get(&format!("/projects/{}/events?since=0", scene.project)).await;
    let last = feed["data"].as_array().and_then(|events| events.last()).expect("an event").clone();
    assert_eq!((&last["type"], &last["seq"]), (&json!("nodes_moved"), &moved["seq"]));
    assert_eq!(last["payload"]["moves"].as_array().map(Vec::len), Some(2));
    let nothing = scene.ok(Method::POST, &path, json!({ "moves": [to(&gone, 2.0)] })).await;
    assert_eq!((&nothing["data"], &nothing["seq"]), (&json!([]), &moved["seq"]));
    for (body, field) in [
        (json!({}), "moves"),
        (json!({ "moves": [] }), "moves"),
        (json!({ "moves": [{ "position": { "x": 1, "y": 1 } }] }), "moves[0].nodeId"),
        (json!({ "moves": [to(&a, 1.0), to(&a, 2.0)] }), "moves[1].nodeId"),
        (json!({ "moves": [{ "nodeId": a }] }), "moves[0].position"),
        (json!({ "moves": [{ "nodeId": "node-1", "position": { "x": 1, "y": 1 } }] }), "moves[0].nodeId"),
        (json!({ "moves": vec![to(&a, 1.0); 501] }), "moves"),
    ] {
        let refusal = scene.refusal(&scene.ada, Method::POST, &path, body).await;
        assert_eq!(refusal, (400, "BAD_REQUEST".to_owned(), field.to_owned()));
    }
}

#[tokio::test]
async fn a_socket_sees_what_is_done_over_rest() {
    let scene = Scene::start().await;
    let client = scene.world.client(0, &scene.ada).await;
    client.subscribe(scene.project, Start::Snapshot).await.expect("a subscription");
    let (a, b) = (scene.node("a").await, scene.node("b").await);
    let path = format!("/nodes/{a}");
    scene.ok(Method::PATCH, &path, json!({ "title": "a2", "position": { "x": 1, "y": 2 } })).await;
    scene.ok(Method::PATCH, &path, json!({ "position": { "x": 3, "y": 4 } })).await;
    scene.ok(Method::PATCH, &path, json!({ "status": "review" })).await;
    scene.ok(Method::POST, &format!("{path}/rollback/1"), Value::Null).await;
    let input = scene
        .ok(Method::POST, &format!("{path}/inputs"), json!({ "inputType": "node_reference", "sourceNodeId": b }))
        .await;
    let output = scene
        .ok(Method::POST, &format!("/nodes/{b}/outputs"), json!({ "outputType": "text", "textContent": "o" }))
        .await;
    let edge = json!({ "sourceNodeId": b, "sourceOutputId": output["id"], "targetInputId": input["id"] });
    let edge = scene.ok(Method::POST, &format!("{path}/dependencies"), edge).await;
    scene.ok(Method::PATCH, &format!("/dependencies/{}", id(&edge)), json!({ "targetInputId": null })).await;
    scene.ok(Method::DELETE, &format!("{path}/inputs/{}", id(&input)), Value::Null).await;
    scene.ok(Method::DELETE, &format!("/nodes/{b}/outputs/{}", id(&output)), Value::Null).await;
    scene.ok(Method::DELETE, &path, Value::Null).await;
    scene.ok(Method::POST, &format!("{path}/restore"), Value::Null).await;

    let superuser = scene.world.database.superuser();
    let log = read_log(&superuser, scene.project).await;
    let feed = scene.get(&format!("/projects/{}/events?since=0", scene.project)).await;
    let events: Vec<&Value> =
        feed["data"].as_array().expect("events").iter().filter(|event| event["type"] != "member_added").collect();
    let mut kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    // Which of an output and its edge goes first is not said.
    kinds[12..14].sort_unstable();
    let expected = [
        "node_created",
        "node_created",
        "node_updated",
        "nodes_moved",
        "node_updated",
        "node_updated",
        "node_input_added",
        "node_output_added",
        "dependency_added",
        "dependency_removed",
        "dependency_added",
        "node_input_removed",
        "dependency_removed",
        "node_output_removed",
        "node_deleted",
        "node_restored",
    ];
    assert_eq!(kinds, expected);
    for event in events {
        assert_eq!(event["by"], json!({ "kind": "user", "id": scene.ada.id }), "{event}");
    }
    client.wait_mirror("the end of the log", scene.project, |m| (m.seq == log.last()?.seq).then_some(())).await;
    let difference = fold(&log).difference(&read_tables(&superuser, scene.project).await);
    assert_eq!(difference, "", "the log tells what the tables hold");
    let versions = scene.get(&format!("{path}/versions")).await;
    let versions: Vec<i64> =
        versions["data"].as_array().expect("a list").iter().filter_map(|v| v["version"].as_i64()).collect();
    assert_eq!(versions, [4, 3, 2, 1]);
    client.assert_sound();
}
