//! Agents' runs in the older dialect: their state, their numbers now and then, and each of their steps once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::rest::Scene;
use crate::support::v1_client::V1Client;
use crate::support::wait_until;
use crate::v1::page;

#[tokio::test]
async fn runs_are_told_with_their_progress_and_numbers_only_now_and_then() {
    let (scene, page) = page().await;
    let node = scene.node("A").await;
    let id = uuid::Uuid::new_v4();
    let sql = async |text: &str| scene.world.sql(&text.replace("$id", &id.to_string())).await;
    sql(&format!("insert into agent_executions (id, node_id, status) values ('$id', '{node}', 'pending')")).await;
    sql("update agent_executions set status = 'running' where id = '$id'").await;
    for n in 1..=20 {
        sql(&format!("update agent_executions set total_tokens_in = {n}, total_tokens_out = 5 where id = '$id'")).await;
    }
    sql("insert into agent_trace_events (execution_id, event_type, event_data) values ('$id', 'llm_call', '{}')").await;
    let checkpoint = r#"{"iteration": 3, "humanInputRequest": {"requestType": "question", "prompt": "Which?"}}"#;
    sql(&format!("update agent_executions set langgraph_checkpoint = '{checkpoint}' where id = '$id'")).await;
    sql("update agent_executions set status = 'awaiting_input', estimated_cost_usd = 0.25 where id = '$id'").await;
    let asked =
        page.wait("the question", |f| (f["payload"]["status"] == "awaiting_input").then(|| f["payload"].clone())).await;
    assert_eq!((&asked["nodeId"], &asked["executionId"]), (&json!(node), &json!(id)));
    assert_eq!(
        asked["progress"],
        json!({ "currentStep": "llm_call", "stepsCompleted": 3, "tokensUsed": 25, "estimatedCost": 0.25 })
    );
    assert_eq!((&asked["totalTokensIn"], &asked["totalTokensOut"]), (&json!(20), &json!(5)));
    assert_eq!(asked["humanInputRequest"]["prompt"], "Which?");
    sql("update agent_executions set status = 'failed', error_message = 'no answer' where id = '$id'").await;
    let failed = page.wait("the end", |f| (f["payload"]["status"] == "failed").then(|| f["payload"].clone())).await;
    assert_eq!((&failed["errorMessage"], failed.get("humanInputRequest")), (&json!("no answer"), None));
    let updates = page.payloads(0, "execution_update");
    let statuses: Vec<&str> = updates.iter().filter_map(|u| u["status"].as_str()).collect();
    let mut distinct = statuses.clone();
    distinct.dedup();
    assert_eq!(distinct, ["pending", "running", "awaiting_input", "failed"]);
    assert!(statuses.iter().filter(|s| **s == "running").count() < 15, "{statuses:?}");
}

#[tokio::test]
async fn an_agents_node_names_its_run() {
    let (scene, page) = page().await;
    let parent = scene.node("A").await;
    let id = uuid::Uuid::new_v4();
    scene
        .world
        .sql(&format!(
            "insert into agent_executions (id, node_id, status) values ('{id}', '{parent}', 'running');
            insert into nodes (org_id, project_id, parent_id, title, author_type, status)
            values ('{}', '{}', '{parent}', 'of an agent', 'agent', 'draft')",
            scene.org, scene.project
        ))
        .await;
    let created =
        page.wait("the node", |f| (f["payload"]["node"]["title"] == "of an agent").then(|| f["payload"].clone())).await;
    assert_eq!(created["createdBy"], json!({ "name": "Agent", "executionId": id }));
}

#[tokio::test]
async fn steps_of_runs_are_told_each_once_whether_they_began_before_or_after_the_page() {
    let scene = Scene::start().await;
    let node = scene.node("A").await;
    let (before, after) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let begin = async |id: uuid::Uuid| {
        let sql = format!("insert into agent_executions (id, node_id, status) values ('{id}', '{node}', 'running')");
        scene.world.sql(&sql).await;
    };
    let step = async |id: uuid::Uuid, kind: &str| {
        let columns = "(execution_id, event_type, event_data, model, tokens_in)";
        let values = format!("('{id}', '{kind}', '{{\"content\": \"secret\"}}', 'm', 7)");
        scene.world.sql(&format!("insert into agent_trace_events {columns} values {values}")).await;
    };
    begin(before).await;
    let page = V1Client::page(&scene.world, 0, &scene.ada).await;
    page.subscribe(&format!("project:{}", scene.project)).await;
    let has = |id: uuid::Uuid, kind: &str| {
        let of = |f: &Value| f["payload"]["executionId"] == json!(id) && f["payload"]["traceEvent"]["type"] == kind;
        page.frames_since(0).iter().any(of)
    };
    // From when the page follows it, its steps come.
    wait_until("steps of a run that was under way", Duration::from_secs(10), async || {
        step(before, "tool_call").await;
        has(before, "tool_call")
    })
    .await;
    scene.world.sql(&format!("update agent_executions set status = 'complete' where id = '{before}'")).await;
    begin(after).await;
    for kind in ["execution_start", "llm_call"] {
        step(after, kind).await;
    }
    scene.world.sql(&format!("update agent_executions set status = 'complete' where id = '{after}'")).await;
    step(after, "execution_complete").await;
    wait_until("the last step", Duration::from_secs(10), async || has(after, "execution_complete")).await;
    let steps: Vec<Value> = page
        .payloads(0, "execution_update")
        .into_iter()
        .filter(|u| u["executionId"] == json!(after) && u["traceEvent"].is_object())
        .collect();
    let told: Vec<(&Value, &Value)> = steps.iter().map(|u| (&u["traceEvent"]["n"], &u["traceEvent"]["type"])).collect();
    assert_eq!(
        told,
        [
            (&json!(1), &json!("execution_start")),
            (&json!(2), &json!("llm_call")),
            (&json!(3), &json!("execution_complete"))
        ]
    );
    assert_eq!((&steps[0]["traceEvent"]["model"], &steps[0]["nodeId"]), (&json!("m"), &json!(node)));
    assert!(page.frames_since(0).iter().all(|f| !f.to_string().contains("secret")), "never their data");
}
