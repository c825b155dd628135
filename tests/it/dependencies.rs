//! Dependencies over REST.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::rest::{Scene, id, ids};

#[tokio::test]
async fn a_dependency_is_made_once_changed_and_removed() {
    let scene = Scene::start().await;
    let (source, target) = (scene.node("source").await, scene.node("target").await);
    let path = format!("/nodes/{target}/dependencies");
    let input = id(&scene
        .ok(Method::POST, &format!("/nodes/{target}/inputs"), json!({ "inputType": "text", "textContent": "i" }))
        .await);
    let output = id(&scene
        .ok(Method::POST, &format!("/nodes/{source}/outputs"), json!({ "outputType": "text", "textContent": "o" }))
        .await);

    let (status, edge) = scene.call(&scene.ada, Method::POST, &path, json!({ "sourceNodeId": source })).await;
    assert_eq!(status, StatusCode::CREATED, "{edge}");
    assert_eq!((&edge["sourceNodeId"], &edge["targetNodeId"]), (&json!(source), &json!(target)));
    assert!(edge.get("cycle").is_none() && edge.get("sourceOutputId").is_none(), "{edge}");
    let (status, again) = scene.call(&scene.ada, Method::POST, &path, json!({ "sourceNodeId": source })).await;
    assert_eq!((status, &again), (StatusCode::OK, &edge), "an equal one is there");
    let finer = json!({ "sourceNodeId": source, "sourceOutputId": output, "targetInputId": input });
    let (status, finer) = scene.call(&scene.ada, Method::POST, &path, finer).await;
    assert_eq!(status, StatusCode::CREATED, "{finer}");

    let list = format!("/projects/{}/dependencies", scene.project);
    assert_eq!(scene.get(&list).await, json!({ "data": [edge, finer] }));
    let one = format!("/dependencies/{}", id(&finer));
    assert_eq!(scene.get(&one).await, finer);
    let changed = scene.ok(Method::PATCH, &one, json!({ "sourceOutputId": null })).await;
    assert!(changed.get("sourceOutputId").is_none(), "{changed}");
    assert_eq!(changed["targetInputId"], json!(input), "absent leaves it");
    assert_eq!(scene.ok(Method::PATCH, &one, json!({})).await, changed);
    for (body, field) in [
        (json!({ "targetInputId": null }), "targetInputId"),
        (json!({ "targetInputId": Uuid::new_v4() }), "targetInputId"),
        (json!({ "sourceOutputId": input }), "sourceOutputId"),
        (json!({ "sourceOutputId": "x" }), "sourceOutputId"),
    ] {
        let refusal = scene.refusal(&scene.ada, Method::PATCH, &one, body.clone()).await;
        assert_eq!(refusal, (400, "BAD_REQUEST".to_owned(), field.to_owned()), "{body}");
    }
    let (status, _) = scene.call(&scene.ada, Method::DELETE, &one, Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(scene.refusal(&scene.ada, Method::DELETE, &one, Value::Null).await.0, 404);
    assert_eq!(scene.get(&list).await, json!({ "data": [edge] }));
}

#[tokio::test]
async fn a_ring_is_a_warning_and_a_bad_end_is_refused() {
    let scene = Scene::start().await;
    let (a, b, gone) = (scene.node("a").await, scene.node("b").await, scene.node("gone").await);
    scene.ok(Method::DELETE, &format!("/nodes/{gone}"), Value::Null).await;
    let other = scene.world.project(&scene.ada).await;
    let elsewhere = id(&scene.ok(Method::POST, &format!("/projects/{other}/nodes"), json!({ "title": "x" })).await);
    scene.ok(Method::POST, &format!("/nodes/{b}/dependencies"), json!({ "sourceNodeId": a })).await;
    let ring = scene.ok(Method::POST, &format!("/nodes/{a}/dependencies"), json!({ "sourceNodeId": b })).await;
    assert_eq!(ring["cycle"], json!([b, a, b]));
    for (body, field) in [
        (json!({}), "sourceNodeId"),
        (json!({ "sourceNodeId": "node-1" }), "sourceNodeId"),
        (json!({ "sourceNodeId": a }), "sourceNodeId"),
        (json!({ "sourceNodeId": gone }), "sourceNodeId"),
        (json!({ "sourceNodeId": elsewhere }), "sourceNodeId"),
        (json!({ "sourceNodeId": Uuid::new_v4() }), "sourceNodeId"),
        (json!({ "sourceNodeId": b, "sourceOutputId": Uuid::new_v4() }), "sourceOutputId"),
        (json!({ "sourceNodeId": b, "targetInputId": Uuid::new_v4() }), "targetInputId"),
    ] {
        let refusal = scene.refusal(&scene.ada, Method::POST, &format!("/nodes/{a}/dependencies"), body.clone()).await;
        assert_eq!(refusal, (400, "BAD_REQUEST".to_owned(), field.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn a_node_tells_what_it_depends_on_and_what_depends_on_it() {
    let scene = Scene::start().await;
    let bob = scene.person("bob", "member").await;
    let (node, by_input, by_edge, gone) =
        (scene.node("node").await, scene.node("by input").await, scene.node("by edge").await, scene.node("gone").await);
    let closed = scene.world.project(&scene.ada).await;
    scene
        .world
        .sql(&format!("update projects set settings = '{{\"visibility\": \"private\"}}' where id = '{closed}'"))
        .await;
    let secret = id(&scene.ok(Method::POST, &format!("/projects/{closed}/nodes"), json!({ "title": "secret" })).await);
    let inputs = format!("/nodes/{node}/inputs");
    let reference =
        |source: &str, label: &str| json!({ "inputType": "node_reference", "sourceNodeId": source, "label": label });
    let input = id(&scene.ok(Method::POST, &inputs, reference(&by_input, "L")).await);
    scene.ok(Method::POST, &inputs, reference(&secret, "S")).await;
    scene.ok(Method::POST, &inputs, reference(&gone, "G")).await;
    let edge = json!({ "sourceNodeId": by_edge, "targetInputId": input });
    let edge = id(&scene.ok(Method::POST, &format!("/nodes/{node}/dependencies"), edge).await);
    scene.ok(Method::POST, &format!("/nodes/{secret}/inputs"), reference(&node, "back")).await;
    scene.ok(Method::DELETE, &format!("/nodes/{gone}"), Value::Null).await;

    let path = format!("/nodes/{node}/dependencies");
    let all = scene.get(&path).await;
    assert_eq!(ids(&all), [by_input.clone(), secret.clone(), by_edge.clone()]);
    let (_, seen) = scene.call(&bob, Method::GET, &path, Value::Null).await;
    assert_eq!(ids(&seen), [by_input.clone(), by_edge.clone()], "what bob may not read is left out");
    let told = |item: &Value| {
        ["nodeId", "nodeTitle", "inputId", "inputLabel", "dependencyId", "via"].map(|key| item[key].clone())
    };
    let items = seen["data"].as_array().expect("a list");
    assert_eq!(
        told(&items[0]),
        [json!(by_input), json!("by input"), json!(input), json!("L"), Value::Null, json!("input")]
    );
    assert_eq!(
        told(&items[1]),
        [json!(by_edge), json!("by edge"), json!(input), json!("L"), json!(edge), json!("dependency")]
    );
    assert_eq!(items[0]["inputs"], json!([]));
    assert_eq!(ids(&scene.get(&format!("{path}?limit=1&offset=1")).await), vec![secret.clone()]);

    let mirror = scene.get(&format!("/nodes/{by_edge}/dependents")).await;
    assert_eq!((ids(&mirror), &mirror["data"][0]["via"]), (vec![node.clone()], &json!("dependency")));
    assert_eq!(ids(&scene.get(&format!("/nodes/{by_input}/dependents")).await), vec![node.clone()]);
    let path = format!("/nodes/{node}/dependents");
    assert_eq!(ids(&scene.get(&path).await), [secret]);
    assert_eq!(scene.call(&bob, Method::GET, &path, Value::Null).await.1, json!({ "data": [] }));
}
