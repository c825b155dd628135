//! Clients that work while sockets, instances and PostgreSQL are taken from them, and what must hold afterwards:
//! every client's state is what the log and the tables say, the log has no gaps, every acknowledged command is in it
//! exactly once, and a command that was sent again got its first answer.
//!
//! `GLASSBOX_SEED` replays the choices of a run, `GLASSBOX_CHAOS=full` makes it a long one.

mod actor;
mod ledger;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use glassbox_protocol::ProjectId;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::PgPool;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::database::OwnCluster;
use crate::support::mirror::{fold, read_log, read_tables};
use crate::support::proxy::Proxy;
use crate::support::world::{Builder, Person, World};
use crate::support::{DEADLINE, wait_until};
use actor::{Actor, Ending};
use ledger::Ledger;

/// The heavy tests of this file run one after the other: they measure waits.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// People who share the clients; tokens are limited per minute.
const PEOPLE: usize = 6;
/// The share of connections that the network cuts per second; clients drop as many themselves.
const CUTS_PER_S: f64 = 0.025;
/// How often the network is looked at.
const CUT_TICK: Duration = Duration::from_millis(200);
/// How often the listeners lose their connection.
const LISTENER_CUT_INTERVAL: Duration = Duration::from_secs(2);

/// How much is going on.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seed: u64,
    duration: Duration,
    clients: usize,
    projects: usize,
    cuts: Cuts,
}

/// Whether the network misbehaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cuts {
    /// Sockets are cut and listeners terminated.
    Yes,
    /// The test does something of its own.
    No,
}

impl Plan {
    fn from_env(cuts: Cuts) -> Self {
        let seed = match std::env::var("GLASSBOX_SEED") {
            Ok(text) => text.parse().expect("GLASSBOX_SEED: a number"),
            Err(_) => rand::rng().random(),
        };
        let is_full = std::env::var("GLASSBOX_CHAOS").is_ok_and(|v| v == "full");
        let (seconds, clients, projects) = if is_full { (60, 50, 10) } else { (10, 16, 4) };
        let plan = Self { seed, duration: Duration::from_secs(seconds), clients, projects, cuts };
        println!("GLASSBOX_SEED={seed} replays this: {plan:?}");
        plan
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_ends_where_the_log_ends_whatever_is_cut() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let plan = Plan::from_env(Cuts::Yes);
    let mut run = Run::start(plan, builder().start().await).await;
    sleep(plan.duration).await;
    let summary = run.finish().await;
    assert!(summary.listener_cuts > 0, "no listener was found to cut");
    assert!(summary.reconnects > 0, "no socket was cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_is_killed_and_its_clients_go_on_at_the_other() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let plan = Plan::from_env(Cuts::No);
    let mut run = Run::start(plan, builder().start().await).await;
    sleep(plan.duration / 3).await;
    run.world.kill(0);
    sleep(plan.duration / 3).await;
    // Back to an instance that remembers nothing: what they missed has to come from the log.
    run.world.restart(0).await;
    run.world.kill(1);
    sleep(plan.duration / 3).await;
    let summary = run.finish().await;
    assert!(summary.reconnects >= plan.clients, "hardly anybody was on an instance that was killed");
    assert_eq!(summary.resets, 0, "the log's life went on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_killed_and_nothing_acknowledged_is_lost() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let plan = Plan::from_env(Cuts::No);
    let (mut cluster, database) = OwnCluster::start().await;
    let mut run = Run::start(plan, builder().start_on(database).await).await;
    let epoch = run.epoch().await;
    for _ in 0..2 {
        sleep(plan.duration / 3).await;
        let acknowledged = run.ledger.acknowledged();
        cluster.kill();
        cluster.start_again().await;
        wait_until("commands are acknowledged again", DEADLINE, async || run.ledger.acknowledged() > acknowledged + 20)
            .await;
    }
    let summary = run.finish().await;
    assert_eq!(run.epoch().await, epoch, "a crash is not a new life of the log");
    assert_eq!(summary.resets, 0, "clients resume after a crash");
    drop(run);
    cluster.stop().await;
}

fn builder() -> Builder {
    World::builder().instances(2).limits(|limits| {
        limits.commands_per_second = 1_000;
        limits.commands_burst = 1_000;
    })
}

/// What a run was like.
#[derive(Debug, Default)]
struct Summary {
    reconnects: usize,
    resets: u32,
    snapshots: u32,
    listener_cuts: i64,
}

/// Clients at work on a world.
struct Run {
    world: World,
    plan: Plan,
    ledger: Arc<Ledger>,
    projects: Vec<ProjectId>,
    stop: watch::Sender<bool>,
    actors: JoinSet<Ending>,
    faults: JoinSet<i64>,
    /// The last sockets go through them until the checks are done.
    _proxies: Arc<[Proxy; 2]>,
}

impl Run {
    async fn start(plan: Plan, world: World) -> Self {
        let mut people: Vec<Person> = Vec::new();
        for i in 0..PEOPLE {
            people.push(world.user(&format!("chaos-{i}")).await);
        }
        let mut projects = Vec::new();
        for _ in 0..plan.projects {
            projects.push(world.project(&people[0]).await);
        }
        let org = world.org(&people[0]).await;
        for person in &people[1..] {
            world.join(org, person, "member").await;
        }

        let proxies = Arc::new([Proxy::start(world.address(0)).await, Proxy::start(world.address(1)).await]);
        let addresses: [SocketAddr; 2] = [proxies[0].address(), proxies[1].address()];
        let stop = watch::Sender::new(false);
        let ledger = Arc::new(Ledger::default());
        let mut actors = JoinSet::new();
        for i in 0..plan.clients {
            let actor = Actor::new(
                plan.seed.wrapping_add(i as u64),
                people[i % PEOPLE].token.clone(),
                vec![projects[i % plan.projects], projects[(i + 1) % plan.projects]],
                addresses,
                plan.cuts,
                Arc::clone(&ledger),
            );
            actors.spawn(actor.work(stop.subscribe()));
        }
        let mut faults = JoinSet::new();
        if plan.cuts == Cuts::Yes {
            let rng = StdRng::seed_from_u64(!plan.seed);
            faults.spawn(cut_sockets(Arc::clone(&proxies), rng, stop.subscribe()));
            faults.spawn(cut_listeners(world.database.superuser(), stop.subscribe()));
        }
        faults.spawn(write_as_a_stranger(world.database.superuser(), stop.subscribe()));
        Self { world, plan, ledger, projects, stop, actors, faults, _proxies: proxies }
    }

    async fn epoch(&self) -> uuid::Uuid {
        sqlx::query_scalar("select realtime.epoch()")
            .fetch_one(&self.world.database.superuser())
            .await
            .expect("read the epoch")
    }

    /// Lets everybody come to rest, then checks everything.
    async fn finish(&mut self) -> Summary {
        let mut summary = Summary::default();
        self.stop.send_replace(true);
        let mut endings = Vec::new();
        while let Some(ending) = self.actors.join_next().await {
            match ending {
                Ok(ending) => endings.push(ending),
                Err(e) => panic!("seed {}: a client failed: {e}", self.plan.seed),
            }
        }
        while let Some(count) = self.faults.join_next().await {
            summary.listener_cuts += count.unwrap_or_else(|e| panic!("a fault failed: {e}"));
        }

        let superuser = self.world.database.superuser();
        wait_until("leases that are over end", DEADLINE, async || {
            let locks: i64 = sqlx::query_scalar("select count(*) from nodes where locked_by is not null")
                .fetch_one(&superuser)
                .await
                .expect("count locks");
            locks == 0
        })
        .await;
        let mut logs = Vec::new();
        for &project in &self.projects {
            let log = read_log(&superuser, project).await;
            let folded = fold(&log);
            let tables = read_tables(&superuser, project).await;
            let difference = folded.difference(&tables);
            assert!(difference.is_empty(), "{}: {project}: log against tables:\n{difference}", self.plan.seed);
            logs.push((project, log, folded));
        }
        for ending in &endings {
            summary.reconnects += ending.reconnects;
            for (project, log, folded) in &logs {
                if !ending.projects.contains(project) {
                    continue;
                }
                let head = log.last().map_or(0, |entry| entry.seq.0);
                ending
                    .client
                    .wait_mirror(&format!("{project} reaches {head}"), *project, |m| (m.seq.0 == head).then_some(()))
                    .await;
                ending.client.assert_sound();
                let mirror = ending.client.mirror(*project);
                ledger::check_view(&mirror, log, folded);
                summary.resets += mirror.resets;
                summary.snapshots += mirror.snapshots;
            }
        }
        for (project, log, _) in &logs {
            self.ledger.check_against(*project, log);
        }
        check_versions(&superuser).await;
        println!("{}\n{summary:?}", self.ledger);
        summary
    }
}

async fn check_versions(superuser: &PgPool) {
    let holes: Vec<uuid::Uuid> = sqlx::query_scalar(
        "select n.id
         from nodes n
         left join node_versions v on v.node_id = n.id
         group by n.id, n.version
         having count(v.version) <> n.version
             or min(v.version) <> 1
             or max(v.version) <> n.version
         order by n.id",
    )
    .fetch_all(superuser)
    .await
    .expect("read versions");
    assert!(holes.is_empty(), "nodes whose versions are not 1 to the newest: {holes:?}");
}

async fn cut_sockets(proxies: Arc<[Proxy; 2]>, mut rng: StdRng, mut stop: watch::Receiver<bool>) -> i64 {
    let share = CUTS_PER_S * CUT_TICK.as_secs_f64();
    while !is_over(&mut stop, CUT_TICK).await {
        for proxy in proxies.iter() {
            for connection in proxy.connections() {
                if rng.random_bool(share) {
                    proxy.cut(connection);
                }
            }
        }
    }
    0
}

async fn cut_listeners(superuser: PgPool, mut stop: watch::Receiver<bool>) -> i64 {
    let mut count = 0;
    while !is_over(&mut stop, LISTENER_CUT_INTERVAL).await {
        let cut: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid))
             from pg_stat_activity
             where application_name = 'glassbox-listener'
               and datname = current_database()",
        )
        .fetch_one(&superuser)
        .await
        .expect("cut the listeners");
        count += cut;
    }
    count
}

/// Somebody with `psql` who knows nothing of the server; returns 0.
async fn write_as_a_stranger(superuser: PgPool, mut stop: watch::Receiver<bool>) -> i64 {
    while !is_over(&mut stop, Duration::from_millis(250)).await {
        // Both fail while PostgreSQL is away.
        let _ = sqlx::query(
            "update nodes
             set description = 'written by a stranger at ' || clock_timestamp()
             where id in (select id from nodes where deleted_at is null order by random() limit 2)",
        )
        .execute(&superuser)
        .await;
        let _ = sqlx::query(
            "update nodes
             set position = jsonb_build_object('x', random() * 100, 'y', 7)
             where id in (select id from nodes where deleted_at is null order by random() limit 1)",
        )
        .execute(&superuser)
        .await;
    }
    0
}

/// Waits for a while; true when the run is over.
async fn is_over(stop: &mut watch::Receiver<bool>, pause: Duration) -> bool {
    let deadline = Instant::now() + pause;
    tokio::time::timeout_at(deadline, stop.wait_for(|is_over| *is_over)).await.is_ok()
}
