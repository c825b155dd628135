//! Nodes over REST: what is refused, and how.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::rest::{Scene, id};

#[tokio::test]
async fn what_is_foreign_and_what_is_nowhere_get_the_same_answer() {
    let scene = Scene::start().await;
    let eve = scene.world.user("eve").await;
    let (a, b) = (scene.node("a").await, scene.node("b").await);
    let input = id(&scene
        .ok(Method::POST, &format!("/nodes/{a}/inputs"), json!({ "inputType": "text", "textContent": "x" }))
        .await);
    let output = id(&scene
        .ok(Method::POST, &format!("/nodes/{a}/outputs"), json!({ "outputType": "text", "textContent": "x" }))
        .await);
    let edge = id(&scene.ok(Method::POST, &format!("/nodes/{a}/dependencies"), json!({ "sourceNodeId": b })).await);
    let project = scene.project.to_string();
    let answer = async |method: Method, path: String, body: &'static str| {
        let url = scene.world.url(0, &format!("/api/v1{path}"));
        let request =
            scene.world.http.request(method, url).bearer_auth(&eve.token).header("x-request-id", "same").body(body);
        let response = request.send().await.expect("an answer");
        (response.status(), response.bytes().await.expect("a body"))
    };
    for (method, path) in [
        (Method::GET, "/projects/PROJECT/nodes"),
        (Method::POST, "/projects/PROJECT/nodes"),
        (Method::POST, "/projects/PROJECT/nodes/move"),
        (Method::GET, "/projects/PROJECT/dependencies"),
        (Method::GET, "/nodes/NODE"),
        (Method::PATCH, "/nodes/NODE"),
        (Method::DELETE, "/nodes/NODE"),
        (Method::POST, "/nodes/NODE/restore"),
        (Method::GET, "/nodes/NODE/children"),
        (Method::GET, "/nodes/NODE/versions"),
        (Method::GET, "/nodes/NODE/versions/1"),
        (Method::POST, "/nodes/NODE/rollback/1"),
        (Method::POST, "/nodes/NODE/inputs"),
        (Method::DELETE, "/nodes/NODE/inputs/INPUT"),
        (Method::POST, "/nodes/NODE/outputs"),
        (Method::DELETE, "/nodes/NODE/outputs/OUTPUT"),
        (Method::GET, "/nodes/NODE/dependencies"),
        (Method::POST, "/nodes/NODE/dependencies"),
        (Method::GET, "/nodes/NODE/dependents"),
        (Method::GET, "/nodes/NODE/context"),
        (Method::GET, "/dependencies/EDGE"),
        (Method::PATCH, "/dependencies/EDGE"),
        (Method::DELETE, "/dependencies/EDGE"),
    ] {
        let names = [("PROJECT", &project), ("NODE", &a), ("INPUT", &input), ("OUTPUT", &output), ("EDGE", &edge)];
        for body in ["{}", "{\"title\": \"x\"}", "nonsense"] {
            let foreign = names.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id));
            let nowhere =
                names.iter().fold(path.to_owned(), |path, (name, _)| path.replace(name, &Uuid::new_v4().to_string()));
            let foreign = answer(method.clone(), foreign, body).await;
            assert_eq!(foreign, answer(method.clone(), nowhere, body).await, "{method} {path} {body}");
            assert_eq!(foreign.0, StatusCode::NOT_FOUND, "{method} {path} {body}");
        }
    }
    assert_eq!(scene.get(&format!("/nodes/{a}")).await["version"], 1);
}

#[tokio::test]
async fn a_viewer_reads_and_is_refused_before_their_body_is_looked_at() {
    let scene = Scene::start().await;
    let guest = scene.person("guest", "guest").await;
    scene
        .world
        .sql(&format!("insert into project_members (project_id, user_id) values ('{}', '{}')", scene.project, guest.id))
        .await;
    let node = scene.node("a").await;
    let path = format!("/nodes/{node}");
    for read in ["", "/children", "/versions", "/versions/1", "/dependencies", "/dependents", "/context"] {
        let (status, answer) = scene.call(&guest, Method::GET, &format!("{path}{read}"), Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{read}: {answer}");
    }
    for (method, path) in [
        (Method::POST, format!("/projects/{}/nodes", scene.project)),
        (Method::POST, format!("/projects/{}/nodes/move", scene.project)),
        (Method::PATCH, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/restore")),
        (Method::POST, format!("{path}/rollback/1")),
        (Method::POST, format!("{path}/inputs")),
        (Method::DELETE, format!("{path}/inputs/{}", Uuid::new_v4())),
        (Method::POST, format!("{path}/dependencies")),
    ] {
        let (status, answer) = scene.call_text(&guest, method.clone(), &path, "nonsense".to_owned()).await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (403, Some("FORBIDDEN")), "{method} {path}");
    }
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_its_field() {
    let scene = Scene::start().await;
    let nodes = format!("/projects/{}/nodes", scene.project);
    let one = format!("/nodes/{}", scene.node("a").await);
    let other = scene.world.project(&scene.ada).await;
    let elsewhere = id(&scene.ok(Method::POST, &format!("/projects/{other}/nodes"), json!({ "title": "x" })).await);
    let long = |n: usize| "é".repeat(n);
    let text = |value: Value| value.to_string();
    let title = |n: usize| text(json!({ "title": long(n) }));
    for (method, path, body, field) in [
        (Method::POST, &nodes, String::new(), "title"),
        (Method::POST, &nodes, "{\"title\": \"\"}".into(), "title"),
        (Method::POST, &nodes, "{\"title\": null}".into(), "title"),
        (Method::POST, &nodes, "{\"title\": 7}".into(), "title"),
        (Method::POST, &nodes, title(501), "title"),
        (Method::POST, &nodes, "{\"title\": \"a\\u0000\"}".into(), "title"),
        (Method::POST, &nodes, "{\"title\": \"\\ud800\"}".into(), "body"),
        (Method::POST, &nodes, "[]".into(), "body"),
        (Method::POST, &nodes, "{\"title\": \"a\", \"description\": \"\\u0000\"}".into(), "description"),
        (Method::POST, &nodes, "{\"title\": \"a\", \"status\": \"\"}".into(), "status"),
        (Method::POST, &nodes, text(json!({ "title": "a", "status": long(51) })), "status"),
        (Method::POST, &nodes, "{\"title\": \"a\", \"authorType\": \"robot\"}".into(), "authorType"),
        (Method::POST, &nodes, "{\"title\": \"a\", \"parentId\": \"node-1\"}".into(), "parentId"),
        (Method::POST, &nodes, text(json!({ "title": "a", "parentId": "x".repeat(10_000) })), "parentId"),
        (Method::POST, &nodes, text(json!({ "title": "a", "parentId": elsewhere })), "parentId"),
        (Method::POST, &nodes, text(json!({ "title": "a", "parentId": Uuid::new_v4() })), "parentId"),
        (Method::POST, &nodes, "{\"title\": \"a\", \"position\": {\"x\": 1e999, \"y\": 0}}".into(), "body"),
        (Method::POST, &nodes, "{\"title\": \"a\", \"position\": {\"x\": \"1\", \"y\": 0}}".into(), "position.x"),
        (Method::POST, &nodes, "{\"title\": \"a\", \"position\": {}}".into(), "position"),
        (Method::POST, &nodes, "{\"title\": \"a\", \"metadata\": []}".into(), "metadata"),
        (Method::POST, &nodes, text(json!({ "title": "a", "metadata": { "k": "x".repeat(65_536) } })), "metadata"),
        (Method::POST, &nodes, "{\"title\": \"a\", \"metadata\": {\"\\u0000\": 1}}".into(), "metadata"),
        (
            Method::POST,
            &nodes,
            format!("{{\"title\": \"a\", \"metadata\": {{\"a\": {}1{}}}}}", "[".repeat(100), "]".repeat(100)),
            "metadata",
        ),
        (
            Method::POST,
            &nodes,
            format!("{{\"title\": \"a\", \"metadata\": {{\"a\": {}1{}}}}}", "[".repeat(500), "]".repeat(500)),
            "body",
        ),
        (Method::PATCH, &one, "{\"title\": null}".into(), "title"),
        (Method::PATCH, &one, title(501), "title"),
        (Method::PATCH, &one, "{\"status\": null}".into(), "status"),
        (Method::PATCH, &one, "{\"metadata\": null}".into(), "metadata"),
        (Method::PATCH, &one, "{\"position\": null}".into(), "position"),
        (Method::PATCH, &one, "{\"position\": {\"x\": 1}}".into(), "position"),
        (Method::PATCH, &one, "{\"title\": \"a\", \"baseVersion\": 0}".into(), "baseVersion"),
        (Method::PATCH, &one, "{\"title\": \"a\", \"baseVersion\": 2147483648}".into(), "baseVersion"),
        (Method::PATCH, &one, "{\"title\": \"a\", \"fence\": 1.5}".into(), "fence"),
        (Method::PATCH, &one, text(json!({ "parentId": elsewhere })), "parentId"),
        (Method::PATCH, &one, text(json!({ "supervisorUserId": "me" })), "supervisorUserId"),
        (Method::DELETE, &format!("{one}?fence=x"), String::new(), "fence"),
        (Method::GET, &"/nodes/node-1".to_owned(), String::new(), "nodeId"),
        (Method::GET, &"/projects/project-1/nodes".to_owned(), String::new(), "projectId"),
    ] {
        let (status, answer) = scene.call_text(&scene.ada, method.clone(), path, body.clone()).await;
        let shown: String = body.chars().take(100).collect();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{method} {path} {shown}: {answer}");
        assert_eq!(
            (&answer["code"], &answer["details"]["field"]),
            (&json!("BAD_REQUEST"), &json!(field)),
            "{method} {path} {shown}: {answer}"
        );
    }
    assert_eq!(scene.call_text(&scene.ada, Method::POST, &nodes, title(500)).await.0, StatusCode::CREATED);
    assert_eq!(scene.get(&one).await["version"], 1);
}
