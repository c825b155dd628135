//! Channels beside the project's own: what concerns one node, with the project's numbers, rights and presence.

use std::collections::BTreeSet;
use std::time::Duration;

use glassbox_protocol::client::{DependencyAdd, From, Move, NodeMove, NodeRef, Presence, PresenceFields, SnapshotWord};
use glassbox_protocol::entity::Position;
use glassbox_protocol::{Channel, Command, ErrorCode, Event, EventFrame, NodeId, ProjectId};
use serde_json::Value;

use crate::rooms::{create, place, retitle};
use crate::support::client::Client;
use crate::support::mirror::{Start, read_log};
use crate::support::wait_until;
use crate::support::world::{Person, World};

/// A project with some nodes, made by a client that follows it.
struct Place {
    ann: Person,
    project: ProjectId,
    nodes: Vec<NodeId>,
    writer: Client,
}

impl Place {
    async fn new(world: &World, count: usize) -> Self {
        let ann = world.user("ann").await;
        let project = world.project(&ann).await;
        let writer = world.client(0, &ann).await;
        writer.subscribe(project, Start::Snapshot).await.expect("subscribe");
        let nodes: Vec<NodeId> = (0..count).map(|_| NodeId::random()).collect();
        for node in &nodes {
            writer.command(create(*node, "node")).await.expect("create");
        }
        Self { ann, project, nodes, writer }
    }
}

pub fn snapshot() -> Option<From> {
    Some(From::Snapshot(SnapshotWord::Snapshot))
}

fn kinds(events: &[EventFrame]) -> Vec<String> {
    events
        .iter()
        .map(|frame| serde_json::to_value(&frame.event).expect("JSON")["type"].as_str().expect("a type").to_owned())
        .collect()
}

fn is_titled(frame: &EventFrame, title: &str) -> bool {
    matches!(&frame.event, Event::NodeUpdated { changes, .. } if changes.title.as_deref() == Some(title))
}

async fn wait_title(client: &Client, channel: Channel, title: &str) {
    client.wait_strand(title, channel, |s| s.events.iter().any(|f| is_titled(f, title)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_s_channel_carries_what_concerns_the_node_and_nothing_else_on_any_instance() {
    let world = World::with_instances(2).await;
    let Place { ann, project, nodes, writer } = Place::new(&world, 3).await;
    let (node, other, third) = (nodes[0], nodes[1], nodes[2]);
    let channel = Channel::Node(node);
    let viewer = world.client(1, &ann).await;
    viewer.subscribe(project, Start::Snapshot).await.expect("subscribe");
    viewer.open(channel, snapshot()).await.expect("open");

    let parts: Vec<Value> = viewer
        .frames_since(0)
        .into_iter()
        .filter(|f| f["type"] == "snapshot" && f["payload"]["channel"] == channel.to_string())
        .collect();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0]["payload"]["nodes"][0]["id"], node.to_string());
    assert_eq!(parts[0]["payload"]["nodes"].as_array().map(Vec::len), Some(1));

    writer.command(retitle(other, "elsewhere")).await.expect("update");
    let moves = [node, other].map(|node_id| Move { node_id, position: Position { x: 7.0, y: 0.0 } });
    writer.command(Command::NodeMove(NodeMove { moves: moves.to_vec() })).await.expect("move");
    let edge =
        DependencyAdd { source_node_id: other, target_node_id: node, source_output_id: None, target_input_id: None };
    writer.command(Command::DependencyAdd(edge)).await.expect("an edge");
    let elsewhere =
        DependencyAdd { source_node_id: other, target_node_id: third, source_output_id: None, target_input_id: None };
    writer.command(Command::DependencyAdd(elsewhere)).await.expect("an edge");
    // One transaction whose last event is another node's.
    world
        .sql(&format!(
            "begin; update nodes set title = 'mine' where id = '{node}'; update nodes set title = 'theirs' where id = '{other}'; commit"
        ))
        .await;
    writer.command(retitle(node, "last")).await.expect("update");

    wait_title(&viewer, channel, "last").await;
    let events = viewer.strand(channel).events;
    assert_eq!(kinds(&events), ["nodes_moved", "dependency_added", "node_updated", "node_updated"]);
    assert!(events.iter().all(|f| f.tx_end), "each is the last of its transaction here");
    let Event::NodesMoved { moves } = &events[0].event else { panic!("a move") };
    assert_eq!(moves.iter().map(|m| m.node_id).collect::<Vec<_>>(), [node]);

    // Both channels of the session have each of them once, under the same number.
    viewer.wait_mirror("the last title", project, |m| m.node(node).filter(|n| n.title == "last").map(|_| ())).await;
    let on = |channel: Channel| -> Vec<i64> {
        let channel = channel.to_string();
        let frames = viewer.frames_since(0).into_iter().filter(|f| f["channel"] == channel.as_str());
        frames.filter_map(|f| f["seq"].as_i64()).collect()
    };
    let (mine, all) = (on(channel), on(Channel::Project(project)));
    let distinct: BTreeSet<i64> = all.iter().copied().collect();
    assert_eq!(distinct.len(), all.len());
    assert!(mine.iter().all(|seq| distinct.contains(seq)));
    viewer.assert_sound();
    writer.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_to_a_node_gets_what_concerned_it_meanwhile_or_is_reset() {
    let world = World::with_instances(2).await;
    let Place { ann, project, nodes, writer } = Place::new(&world, 2).await;
    let (node, other) = (nodes[0], nodes[1]);
    let channel = Channel::Node(node);
    let viewer = world.client(0, &ann).await;
    viewer.open(channel, None).await.expect("open");
    writer.command(retitle(node, "seen")).await.expect("update");
    wait_title(&viewer, channel, "seen").await;
    viewer.cut();
    let strand = viewer.strand(channel);
    for n in 0..10 {
        writer.command(retitle(node, &format!("missed {n}"))).await.expect("update");
        writer.command(retitle(other, &format!("other {n}"))).await.expect("update");
    }
    let epoch = strand.epoch.expect("subscribed");
    // A room that is open, and one that has to read all of it from the log.
    for index in [0, 1] {
        let back = world.client(index, &ann).await;
        back.open(channel, Some(From::Resume { epoch, seq: strand.seq })).await.expect("resume");
        writer.command(retitle(node, &format!("live {index}"))).await.expect("update");
        wait_title(&back, channel, &format!("live {index}")).await;
        let events = back.strand(channel).events;
        assert_eq!(events.len(), 11 + index, "what was missed, once, and what is live");
        assert!((0..10).all(|n| is_titled(&events[n], &format!("missed {n}"))), "in order");
        back.assert_sound();
    }
    let ahead = world.client(0, &ann).await;
    let seq = glassbox_protocol::Seq(strand.seq.0 + 100_000);
    ahead.open(channel, Some(From::Resume { epoch, seq })).await.expect("reset");
    assert_eq!(ahead.strand(channel).resets, 1);
    // The position that a silent channel is told is the project's: it can be resumed from.
    writer.command(retitle(other, "not here")).await.expect("update");
    let head = writer.mirror(project).seq;
    ahead.wait_strand("a head beat", channel, |s| (s.seq >= head).then_some(())).await;
    ahead.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_unknown_deleted_or_not_readable_is_not_found_and_an_open_channel_outlives_a_delete() {
    let world = World::start().await;
    let Place { ann, nodes, writer, .. } = Place::new(&world, 2).await;
    let stranger = world.user("stranger").await;
    let (node, deleted) = (nodes[0], nodes[1]);
    let channel = Channel::Node(node);
    let (viewer, outsider) = (world.client(0, &ann).await, world.client(0, &stranger).await);
    viewer.open(channel, snapshot()).await.expect("open");
    for gone in [node, deleted] {
        writer.command(Command::NodeDelete(NodeRef { node_id: gone, fence: None })).await.expect("delete");
    }
    let unknown = viewer.open(Channel::Node(NodeId::random()), None).await.expect_err("unknown");
    assert_eq!(unknown.code, ErrorCode::NotFound);
    assert_eq!(viewer.open(Channel::Node(deleted), None).await.expect_err("deleted"), unknown);
    assert_eq!(outsider.open(channel, None).await.expect_err("not readable"), unknown);

    writer.command(Command::NodeRestore(NodeRef { node_id: node, fence: None })).await.expect("restore");
    let events = viewer.wait_strand("the node's return", channel, |s| (s.events.len() == 2).then(|| s.events.clone()));
    assert_eq!(kinds(&events.await), ["node_deleted", "node_restored"]);
    viewer.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_loses_the_node_s_channel_and_a_deleted_project_says_so_on_each_channel() {
    let world = World::with_instances(2).await;
    let Place { ann, project, nodes, writer } = Place::new(&world, 1).await;
    let channel = Channel::Node(nodes[0]);
    let bob = world.user("bob").await;
    world.join(world.org(&ann).await, &bob, "member").await;
    let bobs = world.client(1, &bob).await;
    bobs.open(channel, None).await.expect("open");
    world
        .sql(&format!(
            "begin; delete from org_members where user_id = '{}'; update nodes set title = 'secret'; commit",
            bob.id
        ))
        .await;
    assert_eq!(bobs.closed().await.code, Some(4503));
    assert!(!bobs.frames_since(0).iter().any(|f| f.to_string().contains("secret")));

    expect_end(&world, &ann, project, channel, &writer, &format!("delete from projects where id = '{project}'")).await;

    // With its organization go all memberships, which nobody may outlive by an event.
    let Place { ann, project, nodes, writer } = Place::new(&world, 1).await;
    let org = world.org(&ann).await;
    let channel = Channel::Node(nodes[0]);
    expect_end(&world, &ann, project, channel, &writer, &format!("delete from organizations where id = '{org}'")).await;
}

async fn expect_end(
    world: &World,
    ann: &Person,
    project: ProjectId,
    channel: Channel,
    writer: &Client,
    deletion: &str,
) {
    let anns = world.client(1, ann).await;
    anns.subscribe(project, Start::Snapshot).await.expect("subscribe");
    anns.open(channel, None).await.expect("open");
    world.sql(deletion).await;
    for client in [&anns, writer] {
        assert_eq!(client.closed().await.code, Some(4504), "{deletion}");
        client.assert_sound();
    }
    let told: Vec<(Value, Value)> = anns
        .frames_since(0)
        .into_iter()
        .filter(|f| f["type"] == "project_deleted" || f["type"] == "unsubscribed")
        .map(|f| {
            let channel = f.get("channel").unwrap_or(&f["payload"]["channel"]).clone();
            (channel, f["type"].clone())
        })
        .collect();
    for channel in [Channel::Project(project), channel] {
        let of_it: Vec<&str> =
            told.iter().filter(|(c, _)| *c == channel.to_string()).filter_map(|(_, kind)| kind.as_str()).collect();
        assert_eq!(of_it, ["project_deleted", "unsubscribed"], "{channel}: {deletion}");
    }
}

#[tokio::test]
async fn channels_of_all_kinds_count_and_leaving_one_that_is_not_open_is_confirmed() {
    let world = World::builder().limits(|limits| limits.channels = 2).start().await;
    let Place { ann, project, nodes, .. } = Place::new(&world, 2).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Live).await.expect("subscribe");
    client.open(Channel::Node(nodes[0]), None).await.expect("open");
    let refused = client.open(Channel::Node(nodes[1]), None).await.expect_err("a third one");
    assert_eq!(refused.code, ErrorCode::Validation);
    // Again on one that is open takes its place.
    client.open(Channel::Node(nodes[0]), None).await.expect("again");

    let since = client.position();
    let leave = |channel: String| format!(r#"{{"type":"unsubscribe","payload":{{"channel":"{channel}"}}}}"#);
    client.send_text(leave(Channel::Node(nodes[1]).to_string()));
    client.send_text(leave(Channel::Node(nodes[0]).to_string()));
    client
        .wait_since(since, "the second confirmation", |f| {
            let is_it = f["type"] == "unsubscribed" && f["payload"]["channel"] == Channel::Node(nodes[0]).to_string();
            is_it.then_some(())
        })
        .await;
    client.open(Channel::Node(nodes[1]), None).await.expect("there is room now");
    let own = client.open(Channel::User, None).await.expect_err("it is open");
    assert_eq!(own.code, ErrorCode::InvalidChannel);
    assert!(own.message.contains("no subscription"), "{}", own.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_open_a_node_while_others_write_miss_nothing_of_it_and_get_nothing_twice() {
    let world = World::builder().instances(2).limits(|limits| limits.outbound_bytes = 300_000).start().await;
    let Place { ann, project, nodes, writer } = Place::new(&world, 2).await;
    let (node, other) = (nodes[0], nodes[1]);
    let channel = Channel::Node(node);
    let writing = async {
        for n in 0..60 {
            writer.command(retitle(node, &format!("mine {n}"))).await.expect("update");
            writer.command(retitle(other, &format!("theirs {n}"))).await.expect("update");
        }
        // More in one commit than may wait for one client.
        let both = format!("update nodes set description = repeat('x', 100000) where id in ('{node}', '{other}');");
        world
            .sql(&format!("begin; {} commit", both.clone() + &both.replace("'x'", "'y'") + &both.replace("'x'", "'z'")))
            .await;
        writer.command(retitle(node, "last")).await.expect("update");
    };
    let joining = async {
        let mut joined = Vec::new();
        for n in 0..12 {
            let client = world.client(n % 2, &ann).await;
            client.open(channel, snapshot()).await.expect("open");
            joined.push(client);
        }
        joined
    };
    let ((), joined) = tokio::join!(writing, joining);
    let log = read_log(&world.database.superuser(), project).await;
    for client in joined {
        wait_title(&client, channel, "last").await;
        let state = client.wait("the state", |f| (f["type"] == "snapshot").then(|| f["payload"]["seq"].as_i64())).await;
        let start = state.expect("a position");
        let told: Vec<i64> = client.strand(channel).events.iter().map(|f| f.seq.0).collect();
        let is_its = |event: &Event| matches!(event, Event::NodeUpdated { node_id, .. } if *node_id == node);
        let expected: Vec<i64> = log.iter().filter(|e| e.seq.0 > start && is_its(&e.event)).map(|e| e.seq.0).collect();
        assert_eq!(told, expected);
        client.assert_sound();
    }
}

/// Who is shown on a channel, by session.
fn present(client: &Client, channel: Channel) -> BTreeSet<String> {
    let mut here = BTreeSet::new();
    for frame in client.frames_since(0).into_iter().filter(|f| f["payload"]["channel"] == channel.to_string()) {
        let ids = |name: &str| -> Vec<String> {
            let list = frame["payload"][name].as_array().cloned().unwrap_or_default();
            list.iter().filter_map(|e| e["sessionId"].as_str().or(e.as_str()).map(str::to_owned)).collect()
        };
        match frame["type"].as_str() {
            Some("presence_state") => here = ids("members").into_iter().collect(),
            Some("presence_diff") => {
                here.extend(ids("joins"));
                for gone in ids("leaves") {
                    here.remove(&gone);
                }
                assert!(ids("updates").iter().all(|id| here.contains(id)), "an update of somebody who is not here");
            }
            _ => {}
        }
    }
    here
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_s_channel_shows_who_looks_at_the_node_and_a_session_on_two_channels_is_there_once() {
    let world = World::start().await;
    let Place { ann, project, nodes, writer } = Place::new(&world, 2).await;
    let (channel, whole) = (Channel::Node(nodes[0]), Channel::Project(project));
    let (viewer, both) = (world.client(0, &ann).await, world.client(0, &ann).await);
    viewer.open(channel, None).await.expect("open");
    both.open(channel, None).await.expect("open");
    both.subscribe(project, Start::Live).await.expect("subscribe");
    let looks = |channel, node: Option<NodeId>| Presence {
        channel,
        state: PresenceFields { node_id: Some(node), ..PresenceFields::default() },
    };
    let id = both.welcome.session_id.to_string();
    let shows = async |client: &Client, channel: Channel, what: &str, wanted: &[&str]| {
        let wanted: BTreeSet<String> = wanted.iter().map(|id| (*id).to_owned()).collect();
        wait_until(what, Duration::from_secs(5), async || present(client, channel) == wanted).await;
    };
    shows(&viewer, channel, "nobody looks at the node", &[]).await;
    both.present(looks(channel, Some(nodes[0])));
    shows(&viewer, channel, "one has come to the node", &[&id]).await;
    both.present(looks(whole, Some(nodes[1])));
    shows(&viewer, channel, "and has gone to another", &[]).await;
    both.present(looks(whole, Some(nodes[0])));
    shows(&viewer, channel, "and is back", &[&id]).await;
    let late = world.client(0, &ann).await;
    late.open(channel, None).await.expect("open");
    shows(&late, channel, "who comes later is told", &[&id]).await;

    // It stays while one of its channels is open, and goes with the last.
    let writer_sees = present(&writer, whole);
    assert!(writer_sees.contains(&id));
    both.unsubscribe(project).await;
    writer.command(place(nodes[1], 9.0)).await.expect("move");
    assert!(present(&writer, whole).contains(&id), "its other channel is open");
    let leave = format!(r#"{{"type":"unsubscribe","payload":{{"channel":"{channel}"}}}}"#);
    both.send_text(leave);
    wait_until("its departure", Duration::from_secs(5), async || !present(&writer, whole).contains(&id)).await;
    shows(&viewer, channel, "and from the node", &[]).await;
    for client in [&viewer, &both, &late, &writer] {
        client.assert_sound();
    }
}
