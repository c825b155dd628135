//! Locks: leases with fences, judged by the database's clock, that two can believe in but only one can write with.

use std::time::Duration;

use glassbox_protocol::client::{LockAcquire, LockRelease, LockRenew, NodeChanges, NodeRef, NodeUpdate};
use glassbox_protocol::server::{Ack, Outcome};
use glassbox_protocol::{Command, ErrorCode, Fence, NodeId, ProjectId};
use serde_json::json;

use crate::rooms::{create, place, retitle};
use crate::support::client::Client;
use crate::support::mirror::Start;
use crate::support::world::{Person, World};
use crate::support::{DEADLINE, wait_until};

fn acquire(node_id: NodeId, ttl_ms: i64) -> Command {
    Command::LockAcquire(LockAcquire { node_id, ttl_ms: Some(ttl_ms), wait: None })
}

fn wait_for(node_id: NodeId) -> Command {
    Command::LockAcquire(LockAcquire { node_id, ttl_ms: None, wait: Some(true) })
}

fn release(node_id: NodeId, fence: Fence) -> Command {
    Command::LockRelease(LockRelease { node_id, fence: Some(fence) })
}

fn renew(node_id: NodeId, fence: Fence) -> Command {
    Command::LockRenew(LockRenew { node_id, fence: Some(fence), ttl_ms: None })
}

fn write_with(node_id: NodeId, title: &str, fence: Fence) -> Command {
    let changes = NodeChanges { title: Some(title.to_owned()), ..NodeChanges::default() };
    Command::NodeUpdate(NodeUpdate { node_id, changes, base_version: None, fence: Some(fence) })
}

fn fence_of(ack: &Ack) -> Fence {
    let fence = ack.result.as_ref().and_then(|r| r["fence"].as_i64()).expect("a fence");
    Fence(fence)
}

/// Two people with a client each, on an instance each, and a node.
async fn two(world: &World) -> (Person, ProjectId, Client, Client, NodeId) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let project = world.project(&ann).await;
    world.join(world.org(&ann).await, &bob, "member").await;
    let (anns, bobs) = (world.client(0, &ann).await, world.client(1, &bob).await);
    for client in [&anns, &bobs] {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let node = NodeId::random();
    anns.command(create(node, "node")).await.expect("create");
    (ann, project, anns, bobs, node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_node_refuses_everybody_but_the_holder() {
    let world = World::with_instances(2).await;
    let (ann, project, anns, bobs, node) = two(&world).await;
    let fence = fence_of(&anns.command(acquire(node, 30_000)).await.expect("the lock"));

    let refused = bobs.command(retitle(node, "bob's")).await.expect_err("locked");
    assert_eq!((refused.code, refused.temporary), (ErrorCode::LockHeld, true));
    assert_eq!(refused.details.expect("details")["lockedBy"], json!(ann.id));
    assert_eq!(bobs.command(acquire(node, 5_000)).await.expect_err("locked").code, ErrorCode::LockHeld);
    let delete = Command::NodeDelete(NodeRef { node_id: node, fence: None });
    assert_eq!(bobs.command(delete).await.expect_err("locked").code, ErrorCode::LockHeld);
    assert_eq!(bobs.command(place(node, 3.0)).await.expect("moves are free").outcome, Outcome::Applied);

    // The holder's other tab has no proof.
    let other_tab = world.client(0, &ann).await;
    other_tab.subscribe(project, Start::Live).await.expect("subscribe");
    assert_eq!(other_tab.command(retitle(node, "tab")).await.expect_err("no proof").code, ErrorCode::LockHeld);
    assert_eq!(
        bobs.command(write_with(node, "stolen", Fence(fence.0 + 1))).await.expect_err("wrong").code,
        ErrorCode::LockLost
    );
    // Fences are small numbers: knowing one is no proof without being the holder.
    assert_eq!(bobs.command(write_with(node, "guessed", fence)).await.expect_err("guessed").code, ErrorCode::LockLost);
    let delete = Command::NodeDelete(NodeRef { node_id: node, fence: Some(fence) });
    assert_eq!(bobs.command(delete).await.expect_err("guessed").code, ErrorCode::LockLost);
    anns.command(write_with(node, "ann's", fence)).await.expect("the holder writes");

    let seen = bobs.wait("the lock", |f| (f["type"] == "lock_acquired").then(|| f.clone())).await;
    assert_eq!(seen["payload"].get("fence"), None, "others do not see the fence");
    let own = anns.wait("the lock", |f| (f["type"] == "lock_acquired").then(|| f.clone())).await;
    assert_eq!(own["payload"]["fence"], json!(fence));

    anns.command(release(node, fence)).await.expect("release");
    assert_eq!(anns.command(release(node, fence)).await.expect("again").outcome, Outcome::Unchanged);
    bobs.command(retitle(node, "free")).await.expect("nobody holds it");
    assert_eq!(anns.command(write_with(node, "late", fence)).await.expect_err("released").code, ErrorCode::LockLost);
    bobs.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_was_paused_past_its_lease_cannot_overwrite_its_successor() {
    let world = World::with_instances(2).await;
    let (_, _, anns, bobs, node) = two(&world).await;
    let mut stale = 0;
    for round in 0..3 {
        // Both writers are in the database at once: the successor's lock and the late write race for the row.
        let old = fence_of(&anns.command(acquire(node, 2_000)).await.expect("the lock"));
        let new = loop {
            match bobs.command(acquire(node, 2_000)).await {
                Ok(ack) => break fence_of(&ack),
                Err(error) => assert_eq!(error.code, ErrorCode::LockHeld),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(new > old, "fences only grow");
        let (late, current) = tokio::join!(
            anns.command(write_with(node, "late", old)),
            bobs.command(write_with(node, &format!("successor {round}"), new)),
        );
        current.expect("the successor writes");
        assert_eq!(late.expect_err("the late write is refused").code, ErrorCode::LockLost);
        assert_eq!(anns.command(renew(node, old)).await.expect_err("lost").code, ErrorCode::LockLost);
        stale += 1;
        bobs.command(release(node, new)).await.expect("release");
    }
    assert_eq!(stale, 3);
    let titles: Vec<String> = sqlx::query_scalar("select snapshot ->> 'title' from node_versions order by version")
        .fetch_all(&world.database.superuser())
        .await
        .expect("versions");
    assert!(!titles.contains(&"late".to_owned()), "{titles:?}");
}

/// The write that waited for the row must see the fence as it is when it gets the row, not as it was when it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_write_that_waits_for_the_row_is_judged_by_what_it_finds_there() {
    let world = World::with_instances(2).await;
    let (ann, _, anns, _, node) = two(&world).await;
    let fence = fence_of(&anns.command(acquire(node, 30_000)).await.expect("the lock"));
    let mut successor = world.database.superuser().begin().await.expect("begin");
    sqlx::query("update nodes set locked_by = null, locked_at = null, lock_expires_at = null where id = $1")
        .bind(node.0)
        .execute(&mut *successor)
        .await
        .expect("break the lock");
    sqlx::query(
        "update nodes set locked_by = $2, locked_at = clock_timestamp(), lock_expires_at = clock_timestamp() + interval '1 min'
         where id = $1",
    )
    .bind(node.0)
    .bind(ann.id.0)
    .execute(&mut *successor)
    .await
    .expect("take the lock anew, under the same name");
    let (late, ()) = tokio::join!(anns.command(write_with(node, "late", fence)), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        successor.commit().await.expect("commit");
    });
    assert_eq!(late.expect_err("the fence is not current").code, ErrorCode::LockLost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_goes_to_whoever_waits_first_when_it_is_released_or_expires() {
    let world = World::with_instances(2).await;
    let (ann, project, anns, bobs, node) = two(&world).await;
    let third = world.client(1, &ann).await;
    third.subscribe(project, Start::Live).await.expect("subscribe");

    let fence = fence_of(&anns.command(acquire(node, 30_000)).await.expect("the lock"));
    let queued = bobs.command(wait_for(node)).await.expect("a place in the queue");
    assert_eq!((queued.outcome, &queued.result.expect("a place")["place"]), (Outcome::Adjusted, &json!(1)));
    let second =
        third.command(Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: Some(2_000), wait: Some(true) }));
    assert_eq!(second.await.expect("a place").result.expect("a place")["place"], 2);

    anns.command(release(node, fence)).await.expect("release");
    let granted = bobs.wait("the lock", |f| f["payload"]["fence"].as_i64().map(Fence)).await;
    assert!(granted > fence);
    bobs.command(write_with(node, "bob's", granted)).await.expect("whoever got it writes");

    // The next one gets it when the lease ends by itself; nobody does anything.
    let ends = "update nodes set lock_expires_at = clock_timestamp() + interval '100 ms' where locked_by is not null";
    world.sql(ends).await;
    let granted = third.wait("the lock", |f| f["payload"]["fence"].as_i64().map(Fence)).await;
    third.command(write_with(node, "third", granted)).await.expect("whoever got it writes");
    let released = |frame: &serde_json::Value| {
        (frame["type"] == "lock_released" && frame["payload"]["reason"] == "expired").then_some(())
    };
    bobs.wait("the end of the lease", released).await;
    anns.assert_sound();
}

#[tokio::test]
async fn a_foreign_writer_that_ignores_a_lock_is_marked_and_deleting_ends_locks() {
    let world = World::with_instances(2).await;
    let (_, project, anns, bobs, node) = two(&world).await;
    anns.command(acquire(node, 30_000)).await.expect("the lock");
    world.sql(&format!("update nodes set title = 'psql' where id = '{node}'")).await;
    bobs.wait("the marked event", |f| f["payload"]["lockOverridden"].as_bool().filter(|o| *o)).await;
    world.sql(&format!("update nodes set deleted_at = now(), locked_by = null where id = '{node}'")).await;
    bobs.wait("the end of the lock", |f| (f["payload"]["reason"] == "deleted").then_some(())).await;
    bobs.wait_mirror("the deletion", project, |m| m.node(node).is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_a_lock_while_their_membership_goes() {
    let world = World::with_instances(2).await;
    let (_, _, _, _, node) = two(&world).await;
    let bob = world.user("bob").await;
    let pool = world.database.superuser();
    let mut removal = pool.begin().await.expect("a transaction");
    sqlx::query("delete from org_members where user_id = (select id from users where email = 'bob@example.org')")
        .execute(&mut *removal)
        .await
        .expect("remove Bob");
    let waits = "select exists (select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%org_members%for share%')";
    let lock = world.http.post(world.url(0, &format!("/api/v1/nodes/{node}/lock"))).bearer_auth(&bob.token);
    let (refused, ()) = tokio::join!(lock.send(), async {
        wait_until("the lock to wait for the removal", DEADLINE, async || {
            sqlx::query_scalar(waits).fetch_one(&pool).await.expect("look at the waiting")
        })
        .await;
        removal.commit().await.expect("commit the removal");
    });
    assert_eq!(refused.expect("an answer").status(), reqwest::StatusCode::NOT_FOUND);
    let held: i64 = sqlx::query_scalar("select count(*) from nodes where locked_by is not null")
        .fetch_one(&pool)
        .await
        .expect("count the locks");
    assert_eq!(held, 0);
}
