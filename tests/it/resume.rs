//! Coming back: a client says where it stopped and gets exactly what it missed, or is told to start over.

use glassbox_protocol::{Epoch, NodeId, Seq};

use crate::rooms::{create, retitle};
use crate::support::client::Client;
use crate::support::mirror::{Start, fold, read_log};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_was_away_gets_exactly_what_it_missed_on_any_instance() {
    let world = World::with_instances(2).await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let (writer, reader) = (world.client(0, &ann).await, world.client(0, &ann).await);
    for client in [&writer, &reader] {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let node = NodeId::random();
    writer.command(create(node, "0")).await.expect("create");
    reader.wait_mirror("the node", project, |m| m.node(node).map(|_| ())).await;
    reader.cut();
    for n in 1..=30 {
        writer.command(retitle(node, &n.to_string())).await.expect("update");
    }
    let back = Client::connect(world.address(1), &ann.token, reader.id).await;
    let mirror = reader.mirror(project);
    assert!(mirror.seq < Seq(31));
    back.subscribe(project, Start::Resume(Box::new(mirror))).await.expect("resume");
    writer.command(retitle(node, "live")).await.expect("update");
    back.wait_mirror("the newest title", project, |m| m.node(node).filter(|n| n.title == "live").map(|_| ())).await;
    let mirror = back.mirror(project);
    assert_eq!((mirror.resets, mirror.snapshots), (0, 1), "no second snapshot was needed");
    let log = read_log(&world.database.superuser(), project).await;
    assert_eq!(mirror.state().map(|s| s.difference(&fold(&log))), Some(String::new()));
    back.assert_sound();
}

#[tokio::test]
async fn a_position_that_the_log_cannot_continue_is_reset_and_never_partly_resumed() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    for n in 0..5 {
        client.command(create(NodeId::random(), &n.to_string())).await.expect("create");
    }
    let head = read_log(&world.database.superuser(), project).await.last().expect("events").seq;
    client.wait_mirror("all nodes", project, |m| (m.seq == head).then_some(())).await;
    let good = client.mirror(project);
    client.cut();
    let cases = [
        ("ahead of the head", "ahead_of_head", Seq(good.seq.0 + 1), good.epoch),
        ("another life of the log", "epoch_changed", good.seq, Some(Epoch::random())),
        ("below the floor", "below_floor", Seq(1), good.epoch),
        ("negative", "ahead_of_head", Seq(-1), good.epoch),
    ];
    for (name, reason, seq, epoch) in cases {
        if reason == "below_floor" {
            world.sql(&format!("update realtime.heads set floor = 3 where stream_id = '{project}'")).await;
        }
        let mut mirror = good.clone();
        (mirror.seq, mirror.epoch) = (seq, epoch);
        let back = world.client(0, &ann).await;
        back.subscribe(project, Start::Resume(Box::new(mirror))).await.expect(name);
        back.wait(name, |f| (f["type"] == "reset" && f["payload"]["reason"] == reason).then_some(())).await;
        let fresh = back.mirror(project);
        assert_eq!((fresh.resets, fresh.fingerprint()), (1, good.fingerprint()), "{name}");
        back.assert_sound();
    }
}

#[tokio::test]
async fn a_new_life_of_the_log_makes_everybody_start_over_while_connected() {
    let world = World::start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let node = NodeId::random();
    client.command(create(node, "before")).await.expect("create");
    world.sql("select realtime.renew_epoch()").await;
    client.wait_mirror("the reset", project, |m| (m.resets == 1 && m.is_synced).then_some(())).await;
    client.command(retitle(node, "after")).await.expect("update");
    client.wait_mirror("life goes on", project, |m| m.node(node).filter(|n| n.title == "after").map(|_| ())).await;
    client.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_join_while_others_write_miss_nothing_and_get_nothing_twice() {
    let world = World::with_instances(2).await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let writer = world.client(0, &ann).await;
    writer.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let node = NodeId::random();
    writer.command(create(node, "0")).await.expect("create");
    let writing = async {
        for n in 1..=150 {
            writer.command(retitle(node, &n.to_string())).await.expect("update");
        }
    };
    let joining = async {
        let mut joined = Vec::new();
        for n in 0..20 {
            let client = world.client(n % 2, &ann).await;
            let start = if n % 3 == 0 { Start::Live } else { Start::Snapshot };
            client.subscribe(project, start).await.expect("subscribe");
            joined.push(client);
        }
        joined
    };
    let ((), joined) = tokio::join!(writing, joining);
    let head = read_log(&world.database.superuser(), project).await.last().expect("events").seq;
    for client in joined {
        client.wait_mirror("the last event", project, |m| (m.seq == head).then_some(())).await;
        client.assert_sound();
        if let Some(state) = client.mirror(project).state() {
            assert_eq!(state.nodes[&node].title, "150");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_larger_than_any_queue_reaches_those_who_are_here_and_those_who_come_back() {
    let world = World::builder().instances(2).limits(|limits| limits.outbound_bytes = 300_000).start().await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let (here, away) = (world.client(0, &ann).await, world.client(1, &ann).await);
    for client in [&here, &away] {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    for n in 0..20 {
        here.command(create(NodeId::random(), &n.to_string())).await.expect("create");
    }
    away.wait_mirror("the nodes", project, |m| m.state().filter(|s| s.nodes.len() == 20).map(|_| ())).await;
    away.cut();
    // 20 events of 100 KB in one commit, several times what may wait for one client.
    world.sql(&format!("update nodes set description = repeat('x', 100000) where project_id = '{project}'")).await;
    let back = Client::connect(world.address(1), &ann.token, away.id).await;
    back.subscribe(project, Start::Resume(Box::new(away.mirror(project)))).await.expect("resume");
    let log = read_log(&world.database.superuser(), project).await;
    for client in [&here, &back] {
        client.wait_mirror("the end of the log", project, |m| (m.seq == log.last()?.seq).then_some(())).await;
        assert_eq!(client.mirror(project).state().map(|s| s.difference(&fold(&log))), Some(String::new()));
        assert!(!client.is_closed(), "nobody was closed as slow");
        client.assert_sound();
    }
}
