//! The log as the database alone makes it: whoever writes, and however many at once, its numbers are the order of
//! commits, without gaps, and it tells what the tables hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use glassbox_protocol::{Event, NodeId, ProjectId, Seq};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::support::database::TestDatabase;
use crate::support::mirror::{fold, read_log, read_tables};

const WRITERS: u64 = 6;
const TRANSACTIONS: usize = 60;
const NODES: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_once_make_one_log_without_gaps_that_tells_what_the_tables_hold() {
    let seed: u64 =
        std::env::var("GLASSBOX_SEED").map_or_else(|_| rand::rng().random(), |s| s.parse().expect("a number"));
    println!("GLASSBOX_SEED={seed} replays this");
    let database = TestDatabase::create().await;
    let superuser = database.superuser();
    let projects = [new_project(&superuser).await, new_project(&superuser).await];
    let mut nodes = Vec::new();
    for project in projects {
        for _ in 0..NODES {
            nodes.push((project, new_node(&superuser, project).await));
        }
    }
    // In one order for all writers, so that they wait for each other and do not deadlock.
    nodes.sort_by_key(|(_, node)| *node);

    let is_over = Arc::new(AtomicBool::new(false));
    let tails: Vec<_> = projects
        .map(|project| tokio::spawn(follow(superuser.clone(), project, Arc::clone(&is_over))))
        .into_iter()
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|i| {
            // Agent workers write without any context, as psql does.
            let pool = if i % 2 == 0 { database.superuser() } else { database.worker() };
            tokio::spawn(write(pool, StdRng::seed_from_u64(seed.wrapping_add(i)), nodes.clone()))
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    sqlx::query("select realtime.drain_pending()").execute(&superuser).await.expect("number what waits");
    is_over.store(true, Ordering::Relaxed);

    for (project, tail) in projects.into_iter().zip(tails) {
        let log = read_log(&superuser, project).await;
        assert!(log.len() > TRANSACTIONS, "{project}: only {} events", log.len());
        assert_eq!(tail.await.expect("a tail"), log.last().expect("events").seq, "{project}: a reader missed the end");
        let difference = fold(&log).difference(&read_tables(&superuser, project).await);
        assert!(difference.is_empty(), "seed {seed}: {project}: log against tables:\n{difference}");
    }
}

#[tokio::test]
async fn a_rolled_back_transaction_leaves_no_event_and_no_hole() {
    let database = TestDatabase::create().await;
    let superuser = database.superuser();
    let project = new_project(&superuser).await;
    let node = new_node(&superuser, project).await;
    for is_kept in [true, false, true] {
        let mut tx = superuser.begin().await.expect("begin");
        sqlx::query("update nodes set title = title || '.' where id = $1")
            .bind(node.0)
            .execute(&mut *tx)
            .await
            .expect("update");
        if is_kept {
            tx.commit().await.expect("commit");
        } else {
            // The seal has run when the transaction turns back: the number goes with it.
            sqlx::query("set constraints all immediate").execute(&mut *tx).await.expect("seal");
            tx.rollback().await.expect("roll back");
        }
    }

    let log = read_log(&superuser, project).await;
    let titles: Vec<String> = log
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::NodeUpdated { changes, .. } => changes.title.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(titles, ["A node.", "A node.."]);
}

#[tokio::test]
async fn who_commits_second_has_the_higher_number_even_when_it_wrote_first() {
    let database = TestDatabase::create().await;
    let superuser = database.superuser();
    let project = new_project(&superuser).await;
    let (early, late) = (new_node(&superuser, project).await, new_node(&superuser, project).await);

    let mut first_to_write = superuser.begin().await.expect("begin");
    let mut second_to_write = superuser.begin().await.expect("begin");
    for (tx, node) in [(&mut first_to_write, early), (&mut second_to_write, late)] {
        sqlx::query("set local lock_timeout = '2s'").execute(&mut **tx).await.expect("no endless wait");
        sqlx::query("update nodes set title = 'written' where id = $1")
            .bind(node.0)
            .execute(&mut **tx)
            .await
            .expect("neither waits for the other");
    }
    second_to_write.commit().await.expect("commit");
    first_to_write.commit().await.expect("commit");

    let updates: Vec<NodeId> = read_log(&superuser, project)
        .await
        .iter()
        .filter_map(|entry| match entry.event {
            Event::NodeUpdated { node_id, .. } => Some(node_id),
            _ => None,
        })
        .collect();
    assert_eq!(updates, [late, early]);
}

/// Reads the log as it grows, and fails at the first number that is not one more than the last.
async fn follow(superuser: PgPool, project: ProjectId, is_over: Arc<AtomicBool>) -> Seq {
    let mut position = 0;
    loop {
        let was_over = is_over.load(Ordering::Relaxed);
        let rows: Vec<(i64, i32)> =
            sqlx::query_as("select seq, n from realtime.events where stream_id = $1 and seq > $2 order by seq")
                .bind(project.0)
                .bind(position)
                .fetch_all(&superuser)
                .await
                .expect("read the log");
        for (last, count) in rows {
            assert_eq!(last - i64::from(count), position, "{project}: a row up to {last} became visible too early");
            position = last;
        }
        if was_over {
            return Seq(position);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn write(pool: PgPool, mut rng: StdRng, nodes: Vec<(ProjectId, NodeId)>) {
    for _ in 0..TRANSACTIONS {
        // One writer in five is above READ COMMITTED; its events get their numbers later.
        let begin = if rng.random_bool(0.2) { "begin isolation level repeatable read" } else { "begin" };
        let mut statements = Vec::new();
        for (project, node) in &nodes {
            if !rng.random_bool(0.15) {
                continue;
            }
            let n: u32 = rng.random_range(0..1000);
            statements.push(match rng.random_range(0..8) {
                0 => format!("update nodes set title = 'Title {n}' where id = '{node}'"),
                1 => format!("update nodes set title = 'Title {n}', position = '{{\"x\": {n}, \"y\": 1.5}}' where id = '{node}'"),
                2 => format!("update nodes set position = '{{\"x\": {n}, \"y\": 0}}' where id = '{node}'"),
                3 => format!("update nodes set metadata = '{{\"n\": {n}}}', description = null where id = '{node}'"),
                4 => format!("update nodes set deleted_at = now() where id = '{node}' and deleted_at is null"),
                5 => format!("update nodes set deleted_at = null where id = '{node}'"),
                6 => format!(
                    "insert into nodes (id, org_id, project_id, parent_id, title, description, author_type, status)
                     select '{}', org_id, project_id, id, 'Sub-node {n}', null, 'agent', 'draft' from nodes where id = '{node}'",
                    Uuid::new_v4()
                ),
                _ => format!("update nodes set status = 'status {n}' where project_id = '{project}' and id = '{node}'"),
            });
        }
        let is_kept = rng.random_bool(0.8);
        if transaction(&pool, begin, statements, is_kept).await.is_err_and(|e| !is_conflict(&e)) {
            panic!("a writer failed");
        }
    }
}

async fn transaction(pool: &PgPool, begin: &'static str, statements: Vec<String>, is_kept: bool) -> sqlx::Result<()> {
    let mut tx = pool.begin_with(begin).await?;
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *tx).await.inspect_err(|e| {
            if !is_conflict(e) {
                println!("{statement}: {e}");
            }
        })?;
    }
    if is_kept { tx.commit().await } else { tx.rollback().await }
}

/// A serialization failure or a deadlock: for the writer to repeat, and here to leave.
fn is_conflict(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| matches!(e.code().as_deref(), Some("40001" | "40P01")))
}

async fn new_project(superuser: &PgPool) -> ProjectId {
    let slug = Uuid::new_v4().to_string();
    let id: Uuid = sqlx::query_scalar(
        "with org as (insert into organizations (name, slug) values ('An organization', $1) returning id)
         insert into projects (org_id, name)
         select id, 'A project' from org
         returning id",
    )
    .bind(slug)
    .fetch_one(superuser)
    .await
    .expect("make a project");
    ProjectId(id)
}

async fn new_node(superuser: &PgPool, project: ProjectId) -> NodeId {
    let id: Uuid = sqlx::query_scalar(
        "insert into nodes (org_id, project_id, title, author_type)
         select org_id, id, 'A node', 'human' from projects where id = $1
         returning id",
    )
    .bind(project.0)
    .fetch_one(superuser)
    .await
    .expect("make a node");
    NodeId(id)
}
