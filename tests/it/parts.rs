//! Inputs and outputs over REST.

use glassbox_protocol::server::Outcome;
use glassbox_protocol::{Command, ErrorCode, NodeId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::mirror::{Start, fold, read_log, read_tables};
use crate::support::rest::{Scene, id};

#[tokio::test]
async fn inputs_of_every_type_are_added_in_order_and_shown_with_what_they_refer_to() {
    let scene = Scene::start().await;
    let (node, source) = (scene.node("a").await, scene.node("source").await);
    let file = scene.file("plan.txt").await;
    let inputs = format!("/nodes/{node}/inputs");
    let mut made = Vec::new();
    for body in [
        json!({ "inputType": "text", "textContent": "T", "label": "L", "metadata": { "k": 1 } }),
        json!({ "inputType": "file", "fileId": file, "label": "", "externalUrl": "" }),
        json!({ "inputType": "node_reference", "sourceNodeId": source, "sourceNodeVersion": 1 }),
        json!({ "inputType": "external_link", "externalUrl": "https://example.org/a?b=c#d" }),
    ] {
        let (status, input) = scene.call(&scene.ada, Method::POST, &inputs, body).await;
        assert_eq!(status, StatusCode::CREATED, "{input}");
        made.push(input);
    }
    assert_eq!(made.iter().map(|input| &input["sortOrder"]).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!((&made[0]["label"], &made[0]["metadata"]), (&json!("L"), &json!({ "k": 1 })));
    assert!(made[0].get("file").is_none() && made[0].get("sourceNode").is_none() && made[1].get("label").is_none());
    let nested = &made[1]["file"];
    assert_eq!((&nested["filename"], &nested["processingStatus"]), (&json!("plan.txt"), &json!("complete")));
    assert!(nested.get("extractedText").is_none() && nested.get("embedding").is_none(), "{nested}");
    assert_eq!((&made[2]["sourceNode"]["title"], &made[2]["sourceNodeVersion"]), (&json!("source"), &json!(1)));
    assert!(made[2]["sourceNode"].get("inputs").is_none(), "{}", made[2]);

    let read = scene.get(&format!("/nodes/{node}")).await;
    assert_eq!((&read["inputs"], &read["version"]), (&json!(made), &json!(1)), "inputs make no version");
    let list = scene.get(&format!("/projects/{}/nodes", scene.project)).await;
    assert_eq!(list["data"][1]["inputs"], json!(made));
    let (status, _) = scene.call(&scene.ada, Method::DELETE, &format!("{inputs}/{}", id(&made[3])), Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let next = scene.ok(Method::POST, &inputs, json!({ "inputType": "text", "textContent": "n" })).await;
    assert_eq!(next["sortOrder"], 3, "the largest that is there + 1");
    scene.world.sql(&format!("update node_inputs set sort_order = 2147483647 where id = '{}'", id(&next))).await;
    let last = scene.ok(Method::POST, &inputs, json!({ "inputType": "text", "textContent": "n" })).await;
    assert_eq!(last["sortOrder"], 2_147_483_647_i64);
}

#[tokio::test]
async fn outputs_of_every_type_are_added_in_order() {
    let scene = Scene::start().await;
    let node = scene.node("a").await;
    let file = scene.file("result.pdf").await;
    let outputs = format!("/nodes/{node}/outputs");
    let mut made = Vec::new();
    for body in [
        json!({ "outputType": "structured_data", "structuredData": { "a": [1, null] } }),
        json!({ "outputType": "text", "textContent": "T", "label": "L" }),
        json!({ "outputType": "file", "fileId": file }),
        json!({ "outputType": "external_link", "externalUrl": "http://example.org" }),
    ] {
        made.push(scene.ok(Method::POST, &outputs, body).await);
    }
    assert_eq!(made.iter().map(|output| &output["sortOrder"]).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(made[0]["structuredData"], json!({ "a": [1, null] }));
    assert_eq!(made[2]["file"]["filename"], "result.pdf");
    assert_eq!(scene.get(&format!("/nodes/{node}")).await["outputs"], json!(made));
    scene.ok(Method::DELETE, &format!("{outputs}/{}", id(&made[0])), Value::Null).await;
    assert_eq!(scene.get(&format!("/nodes/{node}")).await["outputs"], json!(made[1..]));
}

#[tokio::test]
async fn references_stay_inside_the_organization_and_what_the_caller_may_read() {
    let scene = Scene::start().await;
    let (bob, eve) = (scene.person("bob", "member").await, scene.world.user("eve").await);
    let foreign_project = scene.world.project(&eve).await;
    let foreign_org = scene.world.org(&eve).await;
    let foreign_node = scene
        .world
        .post(&format!("/api/v1/projects/{foreign_project}/nodes"), Some(&eve), &json!({ "title": "f" }))
        .await;
    let foreign_file: Uuid = sqlx::query_scalar(
        "insert into files (org_id, storage_key, storage_bucket, filename) values ($1, 'k', 'b', 'f') returning id",
    )
    .bind(foreign_org.0)
    .fetch_one(&scene.world.database.superuser())
    .await
    .expect("a file");
    let closed = scene.world.project(&scene.ada).await;
    scene
        .world
        .sql(&format!("update projects set settings = '{{\"visibility\": \"private\"}}' where id = '{closed}'"))
        .await;
    let secret = id(&scene.ok(Method::POST, &format!("/projects/{closed}/nodes"), json!({ "title": "secret" })).await);
    let secret_file = scene.file("secret.txt").await;
    scene
        .ok(Method::POST, &format!("/nodes/{secret}/inputs"), json!({ "inputType": "file", "fileId": secret_file }))
        .await;
    let loose_file = scene.file("loose.txt").await;

    let node = scene.node("a").await;
    let (inputs, outputs) = (format!("/nodes/{node}/inputs"), format!("/nodes/{node}/outputs"));
    let answer = async |path: &str, body: Value| {
        let (status, mut answer) = scene.call(&bob, Method::POST, path, body).await;
        answer["details"]["requestId"].take();
        (status.as_u16(), answer)
    };
    for source in [id(&foreign_node), secret.clone()] {
        let refused = answer(&inputs, json!({ "inputType": "node_reference", "sourceNodeId": source })).await;
        let nowhere = answer(&inputs, json!({ "inputType": "node_reference", "sourceNodeId": Uuid::new_v4() })).await;
        assert_eq!((refused.0, &refused.1["details"]["field"]), (400, &json!("sourceNodeId")));
        assert_eq!(refused, nowhere);
    }
    for file in [foreign_file, secret_file] {
        let refused = answer(&inputs, json!({ "inputType": "file", "fileId": file })).await;
        let nowhere = answer(&inputs, json!({ "inputType": "file", "fileId": Uuid::new_v4() })).await;
        assert_eq!((refused.0, &refused.1["details"]["field"]), (400, &json!("fileId")));
        assert_eq!(refused, nowhere);
        assert_eq!(answer(&outputs, json!({ "outputType": "file", "fileId": file })).await.0, 400);
    }
    assert_eq!(
        answer(&inputs, json!({ "inputType": "file", "fileId": loose_file })).await.0,
        201,
        "attached to nothing: for members"
    );
    assert_eq!(
        answer(&inputs, json!({ "inputType": "file", "fileId": loose_file })).await.0,
        201,
        "attached where bob reads"
    );

    // Ada, who reads the closed project, refers to it; Bob sees that there is a source, but not the source.
    let body = json!({ "inputType": "node_reference", "sourceNodeId": secret });
    let input = scene.ok(Method::POST, &inputs, body).await;
    assert_eq!(input["sourceNode"]["title"], "secret");
    let seen = scene.call(&bob, Method::GET, &format!("/nodes/{node}"), Value::Null).await.1;
    let seen = seen["inputs"].as_array().and_then(|list| list.last()).expect("an input").clone();
    assert_eq!(seen["sourceNodeId"], secret.as_str());
    assert!(seen.get("sourceNode").is_none(), "{seen}");
}

#[tokio::test]
async fn a_part_that_breaks_a_rule_is_refused_with_its_field() {
    let scene = Scene::start().await;
    let (node, other) = (scene.node("a").await, scene.node("b").await);
    let (inputs, outputs) = (format!("/nodes/{node}/inputs"), format!("/nodes/{node}/outputs"));
    for (path, body, field) in [
        (&inputs, json!(null), "inputType"),
        (&inputs, json!({ "inputType": "" }), "inputType"),
        (&inputs, json!({ "inputType": "telepathy" }), "inputType"),
        (&inputs, json!({ "inputType": "text" }), "textContent"),
        (&inputs, json!({ "inputType": "text", "textContent": "" }), "textContent"),
        (&inputs, json!({ "inputType": "text", "textContent": "\u{0}" }), "textContent"),
        (&inputs, json!({ "inputType": "text", "textContent": 7 }), "textContent"),
        (&inputs, json!({ "inputType": "text", "textContent": "a", "label": "x".repeat(256) }), "label"),
        (&inputs, json!({ "inputType": "text", "textContent": "a", "metadata": 1 }), "metadata"),
        (&inputs, json!({ "inputType": "file" }), "fileId"),
        (&inputs, json!({ "inputType": "file", "fileId": "file-1" }), "fileId"),
        (&inputs, json!({ "inputType": "external_link", "externalUrl": "javascript:alert(1)" }), "externalUrl"),
        (&inputs, json!({ "inputType": "external_link", "externalUrl": "example.org" }), "externalUrl"),
        (&inputs, json!({ "inputType": "node_reference" }), "sourceNodeId"),
        (&inputs, json!({ "inputType": "node_reference", "sourceNodeId": node }), "sourceNodeId"),
        (
            &inputs,
            json!({ "inputType": "node_reference", "sourceNodeId": other, "sourceNodeVersion": 0 }),
            "sourceNodeVersion",
        ),
        (
            &inputs,
            json!({ "inputType": "node_reference", "sourceNodeId": other, "sourceNodeVersion": 2 }),
            "sourceNodeVersion",
        ),
        (&outputs, json!({}), "outputType"),
        (&outputs, json!({ "outputType": "node_reference" }), "outputType"),
        (&outputs, json!({ "outputType": "structured_data" }), "structuredData"),
        (&outputs, json!({ "outputType": "structured_data", "structuredData": [] }), "structuredData"),
        (&outputs, json!({ "outputType": "structured_data", "structuredData": { "a": "\u{0}" } }), "structuredData"),
    ] {
        let refusal = scene.refusal(&scene.ada, Method::POST, path, body.clone()).await;
        assert_eq!(refusal, (400, "BAD_REQUEST".to_owned(), field.to_owned()), "{path} {body}");
    }
    let input = id(&scene.ok(Method::POST, &inputs, json!({ "inputType": "text", "textContent": "a" })).await);
    for path in [
        format!("/nodes/{other}/inputs/{input}"),
        format!("/nodes/{node}/outputs/{input}"),
        format!("/nodes/{node}/inputs/{}", Uuid::new_v4()),
    ] {
        let refusal = scene.refusal(&scene.ada, Method::DELETE, &path, Value::Null).await;
        assert_eq!((refusal.0, refusal.1.as_str()), (404, "NOT_FOUND"), "{path}");
    }
    let refusal = scene.refusal(&scene.ada, Method::DELETE, &format!("{inputs}/input-1"), Value::Null).await;
    assert_eq!(refusal, (400, "BAD_REQUEST".to_owned(), "inputId".to_owned()));
}

#[tokio::test]
async fn a_repeated_request_adds_one_input() {
    let scene = Scene::start().await;
    let node = scene.node("a").await;
    let url = scene.world.url(0, &format!("/api/v1/nodes/{node}/inputs"));
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = scene.world.http.post(&url).bearer_auth(&scene.ada.token).header("idempotency-key", "k");
        let response =
            request.json(&json!({ "inputType": "text", "textContent": "a" })).send().await.expect("an answer");
        answers.push((response.status(), response.json::<Value>().await.expect("JSON")));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(scene.get(&format!("/nodes/{node}")).await["inputs"], json!([answers[0].1]));
}

#[tokio::test]
async fn a_socket_has_the_same_commands_with_the_fence_of_its_lock() {
    let scene = Scene::start().await;
    let bob = scene.person("bob", "member").await;
    let (a, b) = (scene.world.client(0, &scene.ada).await, scene.world.client(0, &bob).await);
    for client in [&a, &b] {
        client.subscribe(scene.project, Start::Snapshot).await.expect("a subscription");
    }
    let node: NodeId = scene.node("a").await.parse().expect("an id");
    let other: NodeId = scene.node("b").await.parse().expect("an id");
    let frame = |kind: &str, payload: Value| -> Command {
        serde_json::from_value(json!({ "type": kind, "payload": payload })).expect("a command")
    };
    let grant =
        a.command(frame("lock_acquire", json!({ "nodeId": node }))).await.expect("a lock").result.expect("a grant");
    let text = json!({ "nodeId": node, "inputType": "text", "textContent": "t" });
    let held = b.command(frame("node_input_add", text.clone())).await.expect_err("bob has no lock");
    assert_eq!(held.code, ErrorCode::LockHeld);
    assert_eq!(a.command(frame("node_input_add", text.clone())).await.expect_err("no fence").code, ErrorCode::LockHeld);

    let with = |mut payload: Value| {
        payload["fence"] = grant["fence"].clone();
        payload
    };
    let own_id = Uuid::new_v4();
    let mut mine = with(text.clone());
    mine["id"] = json!(own_id);
    let added = a.command(frame("node_input_add", mine.clone())).await.expect("an input").result.expect("a result");
    assert_eq!(added, json!({ "inputId": own_id, "sortOrder": 0 }));
    let twice = a.command(frame("node_input_add", mine)).await.expect_err("the id is in use");
    assert_eq!((twice.code, twice.message.as_str()), (ErrorCode::Validation, "id: is in use"));
    let output = with(json!({ "nodeId": node, "outputType": "text", "textContent": "t" }));
    let output = a.command(frame("node_output_add", output)).await.expect("an output").result.expect("a result");

    // Dependencies and moves do not ask for the lock.
    let edge = json!({ "sourceNodeId": node, "targetNodeId": other });
    let edge = b.command(frame("dependency_add", edge)).await.expect("an edge").result.expect("a result");
    let update = json!({ "dependencyId": edge["dependency"]["id"], "sourceOutputId": output["outputId"] });
    let updated = b.command(frame("dependency_update", update.clone())).await.expect("an edge");
    assert_eq!(updated.result.expect("a result")["dependency"]["sourceOutputId"], output["outputId"]);
    assert_eq!(b.command(frame("dependency_update", update)).await.expect("an ack").outcome, Outcome::Unchanged);

    let changes = with(json!({ "nodeId": node, "changes": { "title": "new" } }));
    a.command(frame("node_update", changes)).await.expect("an update");
    let back = |version: i32| json!({ "nodeId": node, "version": version });
    let refused = async |client: &Client, payload: Value| {
        client.command(frame("node_rollback", payload)).await.expect_err("a refusal").code
    };
    assert_eq!(refused(&b, back(1)).await, ErrorCode::LockHeld);
    assert_eq!(refused(&a, with(back(9))).await, ErrorCode::NotFound);
    assert_eq!(refused(&a, with(back(0))).await, ErrorCode::Validation);
    let rolled = a.command(frame("node_rollback", with(back(1)))).await.expect("a rollback");
    assert_eq!((rolled.outcome, rolled.version), (Outcome::Applied, Some(3)));
    let same = a.command(frame("node_rollback", with(back(1)))).await.expect("an ack");
    assert_eq!((same.outcome, same.version), (Outcome::Unchanged, Some(3)));

    let removal = with(json!({ "nodeId": node, "inputId": own_id }));
    a.command(frame("node_input_remove", removal.clone())).await.expect("a removal");
    assert_eq!(a.command(frame("node_input_remove", removal)).await.expect_err("it is gone").code, ErrorCode::NotFound);
    let removal = with(json!({ "nodeId": node, "outputId": output["outputId"] }));
    a.command(frame("node_output_remove", removal)).await.expect("a removal");

    let superuser = scene.world.database.superuser();
    let log = read_log(&superuser, scene.project).await;
    for client in [&a, &b] {
        client.wait_mirror("the end of the log", scene.project, |m| (m.seq == log.last()?.seq).then_some(())).await;
        client.assert_sound();
    }
    assert_eq!(fold(&log).difference(&read_tables(&superuser, scene.project).await), "");
}
