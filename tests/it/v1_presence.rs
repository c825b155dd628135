//! Presence in the older dialect, and the rules that keep its client quiet.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::mirror::Start;
use crate::support::rest::Scene;
use crate::support::v1_client::{V1Client, ticket};
use crate::support::wait_until;
use crate::support::world::{Person, World};
use glassbox_protocol::client::{Presence, PresenceFields};
use glassbox_protocol::{Channel, ProjectId};

/// Who is on a list, with what they do.
fn seen(users: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("a text in {users}")).to_owned();
    let users = users.as_array().unwrap_or_else(|| panic!("a list: {users}"));
    for user in users {
        assert!(user["email"].is_string() && user["name"].is_string() && user["lastSeen"].is_string(), "{user}");
    }
    users.iter().map(|user| (text(&user["name"]), text(&user["action"]))).collect()
}

fn list(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(name, action)| ((*name).to_owned(), (*action).to_owned())).collect()
}

/// The newest list that a page was told.
fn newest(page: &V1Client) -> Option<Vec<(String, String)>> {
    page.frames_since(0).iter().rev().find(|f| f["payload"]["users"].is_array()).map(|f| seen(&f["payload"]["users"]))
}

async fn wait_list(page: &V1Client, entries: &[(&str, &str)]) {
    let wanted = list(entries);
    wait_until(&format!("{wanted:?}"), Duration::from_secs(20), async || newest(page) == Some(wanted.clone())).await;
}

/// A project with a node on two instances, and somebody beside its owner.
async fn scene(instances: usize) -> (World, Person, Person, ProjectId, String) {
    let world = World::with_instances(instances).await;
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let org = world.org(&ann).await;
    world.join(org, &bob, "member").await;
    let project = world.project(&ann).await;
    let path = format!("/api/v1/projects/{project}/nodes");
    let node = world.post(&path, Some(&ann), &json!({ "title": "A" })).await;
    let node = node["id"].as_str().expect("an id").to_owned();
    (world, ann, bob, project, node)
}

/// Waits until nothing was said for a while, and tells what was said in the time after that.
async fn steady(pages: &[&V1Client]) -> usize {
    const QUIET: Duration = Duration::from_secs(4);
    let traffic = || pages.iter().map(|page| page.traffic()).sum::<usize>();
    let (mut last, mut since) = (traffic(), Instant::now());
    wait_until("quiet", Duration::from_secs(40), async || {
        let now = traffic();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > QUIET
    })
    .await;
    // A window, not a wait: longer than the graces and the client's own second.
    tokio::time::sleep(Duration::from_secs(5)).await;
    traffic() - last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_browsers_on_two_instances_fall_silent_and_stay_so_over_a_reconnect() {
    let (world, ann, bob, project, node) = scene(2).await;
    let project = project.to_string();
    let tickets = (ticket(&world, &ann).await, ticket(&world, &bob).await);
    let here = V1Client::browser(world.address(0), &tickets.0, &project, &node).await;
    wait_list(&here, &[("ann", "viewing")]).await;
    let there = V1Client::browser(world.address(1), &tickets.1, &project, &node).await;
    for page in [&here, &there] {
        wait_list(page, &[("ann", "viewing"), ("bob", "viewing")]).await;
    }
    assert_eq!(steady(&[&here, &there]).await, 0, "frames in the steady state");

    // The network fails; the page comes back with its ticket, to the other instance.
    let since = here.position();
    there.cut();
    let back = V1Client::browser(world.address(0), &tickets.1, &project, &node).await;
    wait_list(&back, &[("ann", "viewing"), ("bob", "viewing")]).await;
    assert_eq!(steady(&[&here, &back]).await, 0, "frames in the steady state after a reconnect");
    assert_eq!(here.payloads(since, "presence_update"), Vec::<Value>::new(), "nobody left and nobody came");

    back.cut();
    wait_list(&here, &[("ann", "viewing")]).await;
    assert_eq!(steady(&[&here]).await, 0);
}

#[tokio::test]
async fn a_page_without_a_selection_is_told_no_presence() {
    let (world, ann, bob, project, node) = scene(1).await;
    let (page, other) = (V1Client::page(&world, 0, &ann).await, V1Client::page(&world, 0, &bob).await);
    let answer = page.subscribe(&format!("project:{project}")).await;
    assert_eq!(answer.get("users"), None);
    other.subscribe(&format!("node:{node}")).await;
    other.send("presence", json!({ "nodeId": node, "action": "editing" }));
    wait_list(&other, &[("bob", "editing")]).await;
    page.settled().await;
    assert_eq!(page.payloads(0, "presence_update"), Vec::<Value>::new());
}

#[tokio::test]
async fn a_list_is_told_once_and_again_only_when_it_differs() {
    let (world, ann, bob, _, node) = scene(1).await;
    let channel = format!("node:{node}");
    let page = V1Client::page(&world, 0, &ann).await;
    let first = page.subscribe(&channel).await;
    assert_eq!(seen(&first["users"]), list(&[("ann", "viewing")]), "always a list, even of the user alone");
    for _ in 0..100 {
        page.send("unsubscribe", json!({ "channel": channel }));
        page.send("subscribe", json!({ "channel": channel }));
    }
    let answers = |page: &V1Client| page.payloads(0, "subscribed").len();
    wait_until("all answers", Duration::from_secs(10), async || answers(&page) == 101).await;
    assert!(page.payloads(0, "subscribed")[1..].iter().all(|answer| answer.get("users").is_none()));
    assert_eq!(page.payloads(0, "unsubscribed").len(), 100);
    assert_eq!((page.payloads(0, "error").len(), page.payloads(0, "presence_update").len()), (0, 0));

    let other = V1Client::page(&world, 0, &bob).await;
    let answer = other.subscribe(&channel).await;
    assert_eq!(seen(&answer["users"]), list(&[("ann", "viewing"), ("bob", "viewing")]), "by arrival");
    let update = page.wait_type(0, "presence_update").await;
    assert_eq!(seen(&update["users"]), seen(&answer["users"]));
    assert_eq!(
        (&update["nodeId"], &update["userId"], &update["userEmail"], &update["action"]),
        (&json!(node), &json!(bob.id), &json!("bob@example.org"), &json!("viewing"))
    );
    assert_eq!(update["user"], json!({ "id": bob.id, "email": "bob@example.org", "name": "bob" }));

    let since = page.position();
    other.send("presence", json!({ "nodeId": node, "action": "editing", "cursorPosition": { "x": 1.0, "y": 2.0 } }));
    let update = page.wait_type(since, "presence_update").await;
    assert_eq!((&update["action"], &update["cursorPosition"]), (&json!("editing"), &json!({ "x": 1.0, "y": 2.0 })));
    // A channel that is opened again does not make an editor a viewer.
    other.send("unsubscribe", json!({ "channel": channel }));
    other.subscribe(&channel).await;
    let since = page.position();
    other.send("presence", json!({ "nodeId": node, "action": "idle" }));
    let update = page.wait_type(since, "presence_update").await;
    assert_eq!(seen(&update["users"]), list(&[("ann", "viewing"), ("bob", "idle")]), "nothing came between");
    let since = page.position();
    other.send("presence", json!({ "nodeId": node, "action": "left" }));
    let update = page.wait_type(since, "presence_update").await;
    assert_eq!((&update["action"], update["users"].as_array().map(Vec::len)), (&json!("left"), Some(1)));
}

#[tokio::test]
async fn two_tabs_are_one_user_who_leaves_with_the_last() {
    let (world, ann, bob, _, node) = scene(1).await;
    let channel = format!("node:{node}");
    let watcher = V1Client::page(&world, 0, &ann).await;
    watcher.subscribe(&channel).await;
    let (one, two) = (V1Client::page(&world, 0, &bob).await, V1Client::page(&world, 0, &bob).await);
    one.subscribe(&channel).await;
    two.subscribe(&channel).await;
    wait_list(&watcher, &[("ann", "viewing"), ("bob", "viewing")]).await;
    let since = watcher.position();
    one.send("presence", json!({ "nodeId": node, "action": "idle" }));
    one.settled().await;
    two.send("presence", json!({ "nodeId": node, "action": "editing" }));
    wait_list(&watcher, &[("ann", "viewing"), ("bob", "editing")]).await;
    assert_eq!(watcher.payloads(since, "presence_update").len(), 1, "the most active counts");
    two.send("unsubscribe", json!({ "channel": channel }));
    wait_list(&watcher, &[("ann", "viewing"), ("bob", "idle")]).await;
    let since = watcher.position();
    one.send("unsubscribe", json!({ "channel": channel }));
    let left = watcher.wait_type(since, "presence_update").await;
    assert_eq!((&left["action"], seen(&left["users"])), (&json!("left"), list(&[("ann", "viewing")])));
}

#[tokio::test]
async fn a_page_that_moves_to_another_node_leaves_the_first_in_a_moment() {
    let (world, ann, bob, project, first) = scene(1).await;
    let path = format!("/api/v1/projects/{project}/nodes");
    let second =
        world.post(&path, Some(&ann), &json!({ "title": "B" })).await["id"].as_str().expect("an id").to_owned();
    let watcher = V1Client::page(&world, 0, &ann).await;
    watcher.subscribe(&format!("node:{first}")).await;
    let page = V1Client::page(&world, 0, &bob).await;
    page.subscribe(&format!("node:{first}")).await;
    wait_list(&watcher, &[("ann", "viewing"), ("bob", "viewing")]).await;

    page.send("unsubscribe", json!({ "channel": format!("node:{first}") }));
    page.send("presence", json!({ "nodeId": second, "action": "viewing" }));
    let answer = page.subscribe(&format!("node:{second}")).await;
    assert_eq!(seen(&answer["users"]), list(&[("bob", "viewing")]));
    // For a moment it is on both.
    watcher.settled().await;
    assert_eq!(newest(&watcher), Some(list(&[("ann", "viewing"), ("bob", "viewing")])));
    wait_list(&watcher, &[("ann", "viewing")]).await;

    // What nothing but a word put somewhere ends with a word about another place.
    let since = watcher.position();
    page.send("presence", json!({ "nodeId": first, "action": "viewing" }));
    watcher.wait_type(since, "presence_update").await;
    let since = watcher.position();
    page.send("presence", json!({ "nodeId": second, "action": "editing" }));
    let left = watcher.wait_type(since, "presence_update").await;
    assert_eq!(left["action"], "left");
}

#[tokio::test]
async fn both_dialects_see_each_other() {
    let (world, ann, bob, project, node) = scene(1).await;
    let page = V1Client::page(&world, 0, &ann).await;
    page.subscribe(&format!("node:{node}")).await;
    let newer: Client = world.client(0, &bob).await;
    newer.subscribe(project, Start::Live).await.expect("subscribe");
    newer
        .wait("the page's place", |frame| {
            let members = frame["payload"]["members"].as_array()?;
            let place = members.iter().find(|m| m["nodeId"] == node.as_str())?;
            assert_eq!((&place["action"], &place["user"]["id"]), (&json!("viewing"), &json!(ann.id)));
            Some(())
        })
        .await;
    let state = PresenceFields {
        node_id: Some(Some(node.parse().expect("an id"))),
        action: Some(Some("editing".to_owned())),
        ..PresenceFields::default()
    };
    newer.present(Presence { channel: Channel::Project(project), state });
    wait_list(&page, &[("ann", "viewing"), ("bob", "editing")]).await;
    newer.close().await;
    wait_list(&page, &[("ann", "viewing")]).await;
}

#[tokio::test]
async fn presence_needs_a_node_that_may_be_read() {
    let scene = Scene::start().await;
    let node = scene.node("A").await;
    let eve = scene.world.user("eve").await;
    let page = V1Client::page(&scene.world, 0, &eve).await;
    for node in [node, uuid::Uuid::new_v4().to_string()] {
        let answer = page.answer("presence", json!({ "nodeId": node, "action": "viewing" })).await;
        assert_eq!(
            (&answer["type"], &answer["payload"]["code"]),
            (&json!("error"), &json!("UNAUTHORIZED")),
            "{answer}"
        );
    }
    let page = V1Client::page(&scene.world, 0, &scene.ada).await;
    let answer = page.answer("presence", json!({ "nodeId": "node-1", "action": "viewing" })).await;
    assert_eq!(answer["payload"]["code"], "BAD_MESSAGE");
}

#[tokio::test]
async fn two_tabs_on_two_instances_are_one_user_who_leaves_with_the_last() {
    let (world, ann, bob, _, node) = scene(2).await;
    let channel = format!("node:{node}");
    let watcher = V1Client::page(&world, 0, &ann).await;
    watcher.subscribe(&channel).await;
    let (one, two) = (V1Client::page(&world, 0, &bob).await, V1Client::page(&world, 1, &bob).await);
    one.subscribe(&channel).await;
    two.subscribe(&channel).await;
    two.send("presence", json!({ "nodeId": node, "action": "editing" }));
    wait_list(&watcher, &[("ann", "viewing"), ("bob", "editing")]).await;
    two.send("unsubscribe", json!({ "channel": channel }));
    wait_list(&watcher, &[("ann", "viewing"), ("bob", "viewing")]).await;
    one.send("unsubscribe", json!({ "channel": channel }));
    wait_list(&watcher, &[("ann", "viewing")]).await;
}

#[tokio::test]
async fn whoever_lost_the_right_to_read_is_on_no_list_any_more() {
    let (world, ann, bob, project, node) = scene(1).await;
    let channel = format!("node:{node}");
    let (page, gone) = (V1Client::page(&world, 0, &ann).await, V1Client::page(&world, 0, &bob).await);
    page.subscribe(&channel).await;
    gone.subscribe(&channel).await;
    wait_list(&page, &[("ann", "viewing"), ("bob", "viewing")]).await;
    world.sql(&format!("delete from org_members where user_id = '{}'", bob.id)).await;
    assert_eq!(gone.wait_type(0, "unsubscribed").await["reason"], "revoked");
    wait_list(&page, &[("ann", "viewing")]).await;
    let answer = page.subscribe(&format!("project:{project}")).await;
    assert_eq!(answer.get("users"), None);
}
