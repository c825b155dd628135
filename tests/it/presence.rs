//! Presence: who is here, on all instances, newest value first, stored nowhere.

use std::time::Duration;

use glassbox_protocol::client::{Presence, PresenceFields};
use glassbox_protocol::entity::Position;
use glassbox_protocol::{Channel, ClientId};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::mirror::Start;
use crate::support::world::World;
use crate::support::{DEADLINE, wait_until};

fn at(x: f64) -> PresenceFields {
    PresenceFields { cursor: Some(Some(Position { x, y: 0.0 })), ..PresenceFields::default() }
}

/// Folds presence frames: who is here and where their cursor is.
fn present(client: &Client) -> std::collections::BTreeMap<String, Value> {
    let mut here = std::collections::BTreeMap::new();
    for frame in client.frames_since(0) {
        let payload = &frame["payload"];
        let entries = |name: &str| payload[name].as_array().cloned().unwrap_or_default();
        let id = |entry: &Value| entry["sessionId"].as_str().unwrap_or_default().to_owned();
        match frame["type"].as_str() {
            Some("presence_state") => {
                here = entries("members").into_iter().map(|m| (id(&m), m["cursor"]["x"].clone())).collect();
            }
            Some("presence_diff") => {
                for join in entries("joins") {
                    here.insert(id(&join), join["cursor"]["x"].clone());
                }
                for leave in entries("leaves") {
                    here.remove(leave.as_str().unwrap_or_default());
                }
                for update in entries("updates") {
                    if let Some(cursor) = update.get("cursor") {
                        here.insert(id(&update), cursor["x"].clone());
                    }
                }
            }
            _ => {}
        }
    }
    here
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_are_seen_on_both_instances_and_end_with_their_session() {
    let world = World::with_instances(2).await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let here = world.client(0, &ann).await;
    let there = world.client(1, &ann).await;
    for client in [&here, &there] {
        client.subscribe(project, Start::Live).await.expect("subscribe");
    }
    let session = here.welcome.session_id.to_string();
    // An instance learns of the other one with its next heartbeat; until then nothing is relayed.
    let mut x = 0.0;
    wait_until("the cursor on the other instance", Duration::from_secs(20), async || {
        x += 1.0;
        here.present(Presence { channel: Channel::Project(project), state: at(x) });
        tokio::time::sleep(Duration::from_millis(100)).await;
        present(&there).get(&session).is_some_and(|v| *v != Value::Null)
    })
    .await;
    here.present(Presence { channel: Channel::Project(project), state: at(1000.0) });
    wait_until("the newest value", Duration::from_secs(5), async || {
        present(&there).get(&session) == Some(&json!(1000.0)) && present(&here).get(&session) == Some(&json!(1000.0))
    })
    .await;

    // Who comes later is told who is here, on both instances.
    let late = world.client(1, &ann).await;
    late.subscribe(project, Start::Live).await.expect("subscribe");
    wait_until("everybody who is here", Duration::from_secs(5), async || {
        let here = present(&late);
        here.get(&session) == Some(&json!(1000.0)) && here.len() == 3
    })
    .await;

    here.close().await;
    wait_until("the departure", Duration::from_secs(2), async || !present(&there).contains_key(&session)).await;
    for client in [&there, &late] {
        client.assert_sound();
    }
}

#[tokio::test]
async fn a_burst_of_cursor_moves_is_coalesced_and_touches_no_table() {
    let world = World::builder().limits(|limits| limits.presence_per_second = 10_000).start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let (mover, watcher) = (world.client(0, &ann).await, world.client(0, &ann).await);
    for client in [&mover, &watcher] {
        client.subscribe(project, Start::Live).await.expect("subscribe");
    }
    let before = newest_writes(&world).await;
    let since = watcher.position();
    for n in 1..=500 {
        mover.present(Presence { channel: Channel::Project(project), state: at(f64::from(n)) });
    }
    let session = mover.welcome.session_id.to_string();
    wait_until("the newest value", Duration::from_secs(5), async || {
        present(&watcher).get(&session) == Some(&json!(500.0))
    })
    .await;
    let frames = watcher.frames_since(since).iter().filter(|f| f["type"] == "presence_diff").count();
    assert!(frames < 50, "{frames} frames for 500 moves");
    assert_eq!(newest_writes(&world).await, before, "presence is written nowhere");
}

/// For each table how many rows it has and which transaction wrote the newest of them. Heartbeats are not presence.
async fn newest_writes(world: &World) -> Vec<(String, i64, Option<i64>)> {
    let superuser = world.database.superuser();
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables
         where schemaname in ('public', 'realtime') and tablename <> 'instances' order by 1",
    )
    .fetch_all(&superuser)
    .await
    .expect("tables");
    let mut newest = Vec::new();
    for table in tables {
        let query = format!("select '{table}', count(*), max(xmin::text::bigint) from {table}");
        newest.push(sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_one(&superuser).await.expect("a table"));
    }
    newest
}

#[tokio::test]
async fn an_agent_is_present_on_every_instance_while_it_holds_a_lock() {
    let world = World::with_instances(2).await;
    let ann = world.user("ann").await;
    let (org, project) = (world.org(&ann).await, world.project(&ann).await);
    let made = world.post(&format!("/api/v1/orgs/{org}/worker-keys"), Some(&ann), &json!({ "name": "writer" })).await;
    let (key, agent) = (made["key"].as_str().expect("a key"), made["userId"].as_str().expect("a user"));
    let node = world.post(&format!("/api/v1/projects/{project}/nodes"), Some(&ann), &json!({ "title": "a" })).await;
    let node = node["id"].as_str().expect("an id");
    let clients = [world.client(0, &ann).await, world.client(1, &ann).await];
    for client in &clients {
        client.subscribe(project, Start::Live).await.expect("subscribe");
    }
    let lock = world.url(0, &format!("/api/v1/nodes/{node}/lock"));
    let answer = world.http.post(&lock).bearer_auth(key).send().await.expect("an answer");
    assert!(answer.status().is_success());
    for client in &clients {
        let joined = client
            .wait("the agent", |frame| {
                let joins = frame["payload"]["joins"].as_array()?;
                joins.iter().find(|join| join["user"]["id"] == agent).cloned()
            })
            .await;
        assert_eq!((&joined["nodeId"], &joined["action"]), (&json!(node), &json!("editing")));
        assert_eq!(joined["user"]["name"], "writer");
    }
    let late = world.client(1, &ann).await;
    late.subscribe(project, Start::Live).await.expect("subscribe");
    let is_there = |frame: &Value| {
        let members = frame["payload"]["members"].as_array()?;
        members.iter().any(|m| m["user"]["id"] == agent).then_some(())
    };
    late.wait("the agent among those who are there", is_there).await;

    let answer = world.http.delete(&lock).bearer_auth(key).send().await.expect("an answer");
    assert!(answer.status().is_success());
    for client in &clients {
        let left = |frame: &Value| {
            let leaves = frame["payload"]["leaves"].as_array()?;
            leaves.iter().any(|id| id == node).then_some(())
        };
        client.wait("the agent's leave", left).await;
    }
}

#[tokio::test]
async fn whoever_is_cut_off_is_still_here_and_comes_back_as_they_were() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let tab = ClientId::random();
    let cut = Client::connect(world.address(0), &ann.token, tab).await;
    let other = world.client(0, &ann).await;
    for client in [&cut, &other] {
        client.subscribe(project, Start::Live).await.expect("subscribe");
    }
    cut.present(Presence { channel: Channel::Project(project), state: at(7.0) });
    let former = cut.welcome.session_id.to_string();
    wait_until("the cursor", DEADLINE, async || present(&other).get(&former) == Some(&json!(7.0))).await;
    cut.cut();
    let instance = world.instance(0);
    wait_until("the end of the session", DEADLINE, async || instance.app.sessions.count() == 1).await;
    assert!(present(&other).contains_key(&former), "a blip is not seen");

    let back = Client::connect(world.address(0), &ann.token, tab).await;
    back.subscribe(project, Start::Live).await.expect("subscribe");
    let now = back.welcome.session_id.to_string();
    wait_until("the one who came back", DEADLINE, async || {
        let here = present(&other);
        here.get(&now) == Some(&json!(7.0)) && !here.contains_key(&former)
    })
    .await;
}
