//! The older dialect of the WebSocket: what its client is told of projects, nodes, locks, runs and notifications.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::rest::Scene;
use crate::support::v1_client::V1Client;
use crate::support::wait_until;
use crate::support::world::World;

/// A scene with a page of its owner that has the project's channel.
pub async fn page() -> (Scene, V1Client) {
    let scene = Scene::start().await;
    let page = V1Client::page(&scene.world, 0, &scene.ada).await;
    page.subscribe(&format!("project:{}", scene.project)).await;
    (scene, page)
}

/// The code of an error.
pub fn code(answer: &Value) -> &str {
    assert_eq!(answer["type"], "error", "{answer}");
    answer["payload"]["code"].as_str().expect("a code")
}

#[tokio::test]
async fn channels_open_for_those_who_may_read_and_answer_every_time() {
    let scene = Scene::start().await;
    let node = scene.node("A").await;
    let gone = scene.node("B").await;
    scene.ok(Method::DELETE, &format!("/nodes/{gone}"), Value::Null).await;
    let eve = scene.world.user("eve").await;
    let (page, stranger) =
        (V1Client::page(&scene.world, 0, &scene.ada).await, V1Client::page(&scene.world, 0, &eve).await);
    for channel in ["project:project-1", "node:node-1", "", "user", "room:1", &format!("execution:{node}")] {
        for kind in ["subscribe", "unsubscribe"] {
            assert_eq!(code(&page.answer(kind, json!({ "channel": channel })).await), "INVALID_CHANNEL", "{channel}");
        }
    }
    let mut texts = Vec::new();
    for (who, channel) in [
        (&stranger, format!("project:{}", scene.project)),
        (&stranger, format!("node:{node}")),
        (&page, format!("project:{}", uuid::Uuid::new_v4())),
        (&page, format!("node:{}", uuid::Uuid::new_v4())),
        (&page, format!("node:{gone}")),
    ] {
        let answer = who.answer("subscribe", json!({ "channel": channel })).await;
        assert_eq!(code(&answer), "UNAUTHORIZED", "{channel}");
        texts.push(answer["payload"]["message"].clone());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "one text for all: {texts:?}");
    for channel in [format!("project:{}", scene.project), format!("node:{node}")] {
        for kind in ["unsubscribe", "subscribe", "subscribe", "unsubscribe", "unsubscribe"] {
            let answer = page.answer(kind, json!({ "channel": channel })).await;
            assert_eq!((&answer["type"], &answer["payload"]["channel"]), (&json!(format!("{kind}d")), &json!(channel)));
            assert!(answer["timestamp"].is_string());
        }
    }
    assert_eq!(page.answer("ping", Value::Null).await["payload"], json!({}));
}

#[tokio::test]
async fn a_node_is_told_whole_to_whom_it_concerns_and_once() {
    let (scene, page) = page().await;
    let node = scene.node("A").await;
    let by = json!({ "id": scene.ada.id, "email": "ada@example.org", "name": "ada" });
    let created = page.wait_type(0, "node_created").await;
    assert_eq!((&created["nodeId"], &created["createdBy"], &created["version"]), (&json!(node), &by, &json!(1)));
    assert_eq!((&created["node"]["title"], &created["node"]["inputs"]), (&json!("A"), &json!([])));

    let only = V1Client::page(&scene.world, 0, &scene.ada).await;
    only.subscribe(&format!("node:{node}")).await;
    page.subscribe(&format!("node:{node}")).await;
    let other = scene.node("B").await;
    let at = (page.position(), only.position());
    scene.ok(Method::PATCH, &format!("/nodes/{other}"), json!({ "title": "C" })).await;
    scene.ok(Method::PATCH, &format!("/nodes/{node}"), json!({ "title": "D", "description": "x" })).await;
    scene.ok(Method::PATCH, &format!("/nodes/{node}"), json!({ "description": null })).await;
    scene.ok(Method::PATCH, &format!("/nodes/{node}"), json!({ "position": { "x": 1, "y": 2 } })).await;
    let input = json!({ "inputType": "text", "textContent": "read me" });
    scene.ok(Method::POST, &format!("/nodes/{node}/inputs"), input).await;
    let file = scene.file("a.txt").await;
    scene.ok(Method::POST, &format!("/nodes/{node}/inputs"), json!({ "inputType": "file", "fileId": file })).await;
    scene
        .world
        .sql(&format!(
            "insert into node_outputs (node_id, output_type, text_content) values ('{node}', 'text', 'done')"
        ))
        .await;
    scene.ok(Method::DELETE, &format!("/nodes/{node}"), Value::Null).await;
    only.wait_type(at.1, "node_deleted").await;
    page.wait_type(at.0, "node_deleted").await;
    let updates = only.payloads(at.1, "node_updated");
    assert!(updates.iter().all(|update| update["nodeId"] == node.as_str()), "only that node's");
    let all = page.payloads(at.0, "node_updated");
    assert_eq!((all[0]["nodeId"].clone(), &all[1..]), (json!(other), updates.as_slice()), "each once");

    let changes: Vec<Vec<String>> = updates
        .iter()
        .map(|update| update["changes"].as_object().expect("changes").keys().cloned().collect())
        .collect();
    let expected: [&[&str]; 6] =
        [&["description", "title"], &["description"], &["position"], &["inputs"], &["inputs"], &["outputs"]];
    assert_eq!(changes, expected);
    assert_eq!((&updates[0]["version"], &updates[1]["changes"]["description"]), (&json!(2), &Value::Null));
    assert_eq!((updates[2].get("node"), &updates[2]["version"]), (None, &json!(3)), "a move shows no node");
    for update in &updates {
        assert_eq!((&update["title"], &update["projectId"]), (&json!("D"), &json!(scene.project)));
        assert!(update["status"].is_string() && update["updatedAt"].is_string());
    }
    assert_eq!((&updates[0]["updatedBy"], updates[5].get("updatedBy")), (&by, None), "nobody knows who wrote SQL");
    let inputs = updates[4]["changes"]["inputs"].as_array().expect("a list");
    assert_eq!((inputs.len(), &updates[4]["node"]["inputs"]), (2, &updates[4]["changes"]["inputs"]));
    assert_eq!(updates[5]["changes"]["outputs"][0]["textContent"], "done");
    let read = inputs.iter().find(|input| input["fileId"] == json!(file)).expect("the file");
    assert_eq!(read["file"]["processingStatus"], "complete", "inputs come with their files");
    let deleted = &page.payloads(at.0, "node_deleted")[0];
    assert_eq!((&deleted["nodeId"], &deleted["deletedBy"], &deleted["updatedBy"]), (&json!(node), &by, &by));

    let since = page.position();
    scene.ok(Method::POST, &format!("/nodes/{node}/restore"), Value::Null).await;
    assert_eq!(page.wait_type(since, "node_created").await["node"]["title"], "D");
    only.settled().await;
    assert_eq!(only.payloads(0, "node_created"), Vec::<Value>::new());
}

#[tokio::test]
async fn a_channel_outlives_its_unsubscribe_for_a_moment_and_no_longer() {
    let (scene, page) = page().await;
    let channel = format!("project:{}", scene.project);
    page.send("unsubscribe", json!({ "channel": channel }));
    page.settled().await;
    scene.node("in between").await;
    page.subscribe(&channel).await;
    let created = page.wait_type(0, "node_created").await;
    assert_eq!(created["node"]["title"], "in between");
    page.send("unsubscribe", json!({ "channel": channel }));
    page.settled().await;
    let mut n = 0;
    wait_until("the end of the channel", Duration::from_secs(10), async || {
        n += 1;
        let since = page.position();
        scene.node(&format!("later {n}")).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        page.settled().await;
        page.payloads(since, "node_created").is_empty()
    })
    .await;
    page.subscribe(&channel).await;
    let since = page.position();
    scene.node("again").await;
    assert_eq!(page.wait_type(since, "node_created").await["node"]["title"], "again");
}

#[tokio::test]
async fn notifications_are_pushed_live_and_what_was_missed_with_the_next_page() {
    let (scene, page) = page().await;
    let node = scene.node("A").await;
    let insert = async |kind: &str, title: &str, body: &str| {
        let (org, user) = (scene.org, scene.ada.id);
        scene
            .world
            .sql(&format!(
                "insert into notifications (org_id, user_id, type, title, body, resource_type, resource_id)
                values ('{org}', '{user}', '{kind}', '{title}', {body}, 'node', '{node}')"
            ))
            .await;
    };
    for (kind, name) in [
        ("execution_complete", "execution_completed"),
        ("execution_failed", "execution_failed"),
        ("human_input_needed", "hitl_request"),
        ("mention", "mention"),
        ("comment", "comment"),
        ("node_assigned", "node_assigned"),
        ("lock_released", "lock_released"),
    ] {
        let since = page.position();
        insert(kind, name, "null").await;
        let told = page.wait_type(since, "notification").await;
        assert_eq!(
            (&told["notificationType"], &told["type"], &told["title"]),
            (&json!(name), &json!(kind), &json!(name))
        );
        assert_eq!((&told["message"], &told["read"]), (&json!(""), &json!(false)));
        assert_eq!((&told["projectId"], &told["nodeId"]), (&json!(scene.project), &json!(node)));
        assert_eq!((&told["userId"], &told["resourceId"]), (&json!(scene.ada.id), &json!(node)));
    }
    page.settled().await;
    page.cut();
    let sessions = || scene.world.instance(0).app.sessions.count();
    wait_until("the end of the session", Duration::from_secs(5), async || sessions() == 0).await;
    // What is noted at the end is noted before the session counts as over.
    insert("mention", "missed 0", "'text'").await;
    let back = V1Client::page(&scene.world, 0, &scene.ada).await;
    back.wait_type(0, "notification").await;
    back.settled().await;
    assert_eq!(back.payloads(0, "notification").len(), 1, "none that a page has heard");
    back.close();
    wait_until("the end of the session", Duration::from_secs(5), async || sessions() == 0).await;
    for n in 1..=55 {
        insert("mention", &format!("missed {n}"), "'text'").await;
    }
    let back = V1Client::page(&scene.world, 0, &scene.ada).await;
    let last = back.wait("the newest", |f| (f["payload"]["title"] == "missed 55").then(|| f["payload"].clone())).await;
    assert_eq!(last["message"], "text");
    let titles: Vec<Value> = back.payloads(0, "notification").iter().map(|n| n["title"].clone()).collect();
    let expected: Vec<Value> = (6..=55).map(|n| json!(format!("missed {n}"))).collect();
    assert_eq!(titles, expected, "the newest 50, oldest first, and none that a page has heard");
    let id = last["id"].as_str().expect("an id");
    scene.ok(Method::POST, &format!("/users/me/notifications/{id}/read"), Value::Null).await;
    back.subscribe(&format!("project:{}", scene.project)).await;
    back.settled().await;
    assert_eq!(back.payloads(0, "notification").len(), 50, "reading pushes nothing, and no second backlog");
}

#[tokio::test]
async fn lost_rights_end_the_channels_and_a_deleted_project_too() {
    let (scene, owner) = page().await;
    let node = scene.node("A").await;
    let bob = scene.person("bob", "member").await;
    let page = V1Client::page(&scene.world, 0, &bob).await;
    let channels = [format!("project:{}", scene.project), format!("node:{node}")];
    for channel in &channels {
        page.subscribe(channel).await;
    }
    scene.world.sql(&format!("delete from org_members where user_id = '{}'", bob.id)).await;
    let ended = async |page: &V1Client, channels: &[String], reason: &str| {
        wait_until("the end of the channels", Duration::from_secs(5), async || {
            let ended = page.payloads(0, "unsubscribed");
            channels.iter().all(|c| ended.contains(&json!({ "channel": c, "reason": reason })))
        })
        .await;
    };
    ended(&page, &channels, "revoked").await;
    let since = page.position();
    scene.ok(Method::PATCH, &format!("/nodes/{node}"), json!({ "title": "secret" })).await;
    owner.wait("the change", |f| (f["payload"]["title"] == "secret").then_some(())).await;
    for channel in &channels {
        assert_eq!(code(&page.answer("subscribe", json!({ "channel": channel })).await), "UNAUTHORIZED");
    }
    assert!(page.frames_since(since).iter().all(|f| f["type"] == "error"), "nothing else comes");
    scene.ok(Method::DELETE, &format!("/projects/{}", scene.project), Value::Null).await;
    ended(&owner, &channels[..1], "deleted").await;
}

#[tokio::test]
async fn a_deleted_organization_ends_the_channels_of_its_projects() {
    let (scene, page) = page().await;
    scene.ok(Method::DELETE, &format!("/orgs/{}", scene.org), Value::Null).await;
    let ended = page.wait_type(0, "unsubscribed").await;
    assert_eq!(ended["channel"], json!(format!("project:{}", scene.project)));
    assert!(["deleted", "revoked"].contains(&ended["reason"].as_str().expect("a reason")), "{ended}");
}

#[tokio::test]
async fn rules_that_are_broken_again_and_again_end_the_connection() {
    let scene = Scene::start().await;
    let node = scene.node("A").await;
    let page = V1Client::page(&scene.world, 0, &scene.ada).await;
    for text in ["nonsense", "[]", r#"{"type":"fly"}"#, r#"{"type":"subscribe","payload":{}}"#] {
        page.send_text(text);
    }
    wait_until("answers", Duration::from_secs(5), async || page.payloads(0, "error").len() == 4).await;
    assert!(page.payloads(0, "error").iter().all(|e| e["code"] == "BAD_MESSAGE" && e["message"].is_string()));
    page.settled().await;
    for _ in 0..100 {
        page.send_text("nonsense");
    }
    assert_eq!(page.closed().await, Some(4506));

    let page = V1Client::page(&scene.world, 0, &scene.ada).await;
    for _ in 0..100 {
        page.send("presence", json!({ "nodeId": node, "action": "viewing" }));
    }
    // What a page sends for each rendering counts apart.
    let answer = page.answer("subscribe", json!({ "channel": format!("node:{node}") })).await;
    assert!(answer["payload"]["users"].is_array(), "{answer}");
    let refused = page.payloads(0, "error");
    assert!((1..=40).contains(&refused.len()) && refused.iter().all(|e| e["code"] == "RATE_LIMITED"), "{refused:?}");
    let since = page.position();
    for _ in 0..100 {
        page.send("ping", Value::Null);
    }
    assert_eq!(page.wait_type(since, "error").await["code"], "RATE_LIMITED", "a ping is a frame");
    for _ in 0..400 {
        page.send("lock_release", json!({ "nodeId": node }));
    }
    assert_eq!(page.closed().await, Some(4029));

    let page = V1Client::page(&scene.world, 0, &scene.ada).await;
    for _ in 0..3000 {
        page.send("subscribe", json!({ "channel": "project:project-1" }));
    }
    assert_eq!(page.closed().await, Some(4029), "channels that do not exist count as any");

    let page = V1Client::page(&scene.world, 0, &scene.ada).await;
    page.send("ping", json!({ "pad": "x".repeat(8000) }));
    page.wait_type(0, "pong").await;
    page.send("ping", json!({ "pad": "x".repeat(8192) }));
    assert_eq!(page.closed().await, Some(1009));
}

#[tokio::test]
async fn a_drain_tells_pages_to_come_back() {
    let mut world = World::builder().drain(Duration::ZERO).start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let page = V1Client::page(&world, 0, &ann).await;
    page.subscribe(&format!("project:{project}")).await;
    world.drain(0).await;
    assert_eq!(page.closed().await, Some(1012));
}

#[tokio::test]
async fn a_page_that_does_not_read_is_closed_and_delays_nobody() {
    let world = World::builder().limits(|limits| limits.outbound_bytes = 64 * 1024).start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let slow = V1Client::silent(&world, &ann, &format!("project:{project}")).await;
    let page = V1Client::page(&world, 0, &ann).await;
    page.subscribe(&format!("project:{project}")).await;
    let sessions = || world.instance(0).app.sessions.count();
    assert_eq!(sessions(), 2);
    let path = format!("/api/v1/projects/{project}/nodes");
    let mut n = 0;
    wait_until("the end of the slow session", Duration::from_secs(60), async || {
        n += 1;
        world.post(&path, Some(&ann), &json!({ "title": format!("n{n}"), "description": "x".repeat(60_000) })).await;
        page.wait("the node", |f| (f["payload"]["node"]["title"] == format!("n{n}").as_str()).then_some(())).await;
        sessions() == 1
    })
    .await;
    drop(slow);
}

#[tokio::test]
async fn a_file_that_is_processed_changes_the_nodes_that_use_it() {
    let (scene, page) = page().await;
    let node = scene.node("A").await;
    let file = scene.file("a.txt").await;
    scene.ok(Method::POST, &format!("/nodes/{node}/inputs"), json!({ "inputType": "file", "fileId": file })).await;
    page.wait_type(0, "node_updated").await;
    let since = page.position();
    scene.world.sql(&format!("update files set processing_status = 'failed' where id = '{file}'")).await;
    let update = page.wait_type(since, "node_updated").await;
    assert_eq!((&update["nodeId"], update["changes"].as_object().map(|c| c.len())), (&json!(node), Some(1)));
    assert_eq!(update["changes"]["inputs"][0]["file"]["processingStatus"], "failed");
}
