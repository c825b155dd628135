//! A foreign writer: how long until a client sees what somebody has committed with plain SQL.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use glassbox_protocol::{ClientId, NodeId};
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::{LISTEN_ON, Progress};
use crate::report::{Bound, Report, microseconds, note};
use crate::socket::{Inbound, Socket};
use crate::target::{self, Target};

/// How long the last events may take.
const LAST_EVENTS: Duration = Duration::from_secs(5);
/// Nodes that the writer changes in turn.
const NODES: usize = 32;
/// Writes that do not count: plans and caches are made.
const WARM_UP: usize = 20;
/// Bytes of a description with --large: more than NOTIFY can carry and than a row holds in place.
const LARGE_BYTES: usize = 20 * 1024;

/// How long until a client sees what psql has written.
///
/// One connection of the superuser commits one UPDATE at a time at even intervals; a client is subscribed to the
/// project. Between the writes a second connection makes the same UPDATE on a table without triggers: the bare commit.
#[derive(Args, Debug)]
pub struct Psql {
    /// Writes per second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// How long, s
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Also write a description of 20 KiB
    #[arg(long)]
    large: bool,
}

/// One write.
#[derive(Clone, Copy, Debug)]
struct Written {
    due: Instant,
    committed: Instant,
}

impl Psql {
    /// Runs it.
    ///
    /// # Errors
    /// The run could not be made; broken promises are in the report.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut report = Report::new("psql");
        let progress = Progress::start("preparing");
        let url = target.database_url()?;
        let world = target.world(1, 1).await?;
        let project = world.projects[0];
        let nodes: Vec<NodeId> = (0..NODES).map(|_| NodeId::random()).collect();
        target.make_nodes(&world, project, &nodes).await?;
        let nodes: Vec<Uuid> = nodes.into_iter().map(Uuid::from).collect();

        let mut client = Socket::connect(target.addresses[0], world.token(0), ClientId::random()).await?;
        client.subscribe(project).await?;
        let first_seq = client.position().context("a subscribed client knows its position")? + 1;

        let count = WARM_UP + usize::try_from(u64::from(self.rate) * self.seconds).context("count the writes")?;
        let interval = Duration::from_secs(1) / self.rate;
        let starts = Instant::now() + Duration::from_millis(200);
        let padding = if self.large { "x".repeat(LARGE_BYTES) } else { String::new() };
        let bare_table = format!("public.load_bare_{}", Uuid::new_v4().simple());
        let bare = make_bare_table(url, &bare_table, &nodes).await?;
        progress.step(format!("{} writes per s for {} s", self.rate, self.seconds));
        let before = target.watched.used();
        let written = tokio::spawn(write(
            target::connect(url).await?,
            "nodes".to_owned(),
            nodes.clone(),
            padding.clone(),
            Times { starts, interval, count },
        ));
        let bare_starts = starts + interval / 2;
        let bare_written = tokio::spawn(write(
            bare,
            bare_table.clone(),
            nodes,
            padding,
            Times { starts: bare_starts, interval, count },
        ));

        let mut seen: Vec<Instant> = Vec::with_capacity(count);
        let deadline = (starts - Instant::now()) + interval * u32::try_from(count)? + LAST_EVENTS;
        let reading = async {
            while seen.len() < count {
                if let Inbound::Event { seq, request, text } = client.next().await? {
                    let number = seen.len();
                    seen.push(Instant::now());
                    ensure!(seq == first_seq + i64::try_from(number)?, "event {seq} came as number {number}");
                    ensure!(request.is_none(), "an event of a foreign writer names a command");
                    ensure!(
                        text.contains(&format!("\"load write {number}\"")),
                        "event {seq} is not that of write {number}"
                    );
                }
            }
            Ok(())
        };
        let all_seen = timeout(deadline, reading).await;
        let elapsed = starts.elapsed();
        let used = target.watched.used().since(before);
        let written = written.await.context("the writer failed")??;
        let bare_written = bare_written.await.context("the bare writer failed")??;
        target::connect(url).await?.execute(&format!("drop table {bare_table}"), &[]).await.context("clean up")?;
        match all_seen {
            Ok(checked) => checked?,
            Err(_) => report.violations.push(format!("{} of {count} commits were not seen", count - seen.len())),
        }
        let mut late = 0;
        client
            .read_until(Instant::now() + LISTEN_ON, |inbound| {
                late += i32::from(matches!(inbound, Inbound::Event { .. }))
            })
            .await?;
        if late > 0 {
            report.violations.push(format!("{late} events too many"));
        }
        report.violations.extend(client.into_violations());

        let [mut from_due, mut from_commit, mut commit, mut bare_commit] =
            [microseconds(), microseconds(), microseconds(), microseconds()];
        for (write, seen) in written.iter().zip(&seen).skip(WARM_UP) {
            note(&mut from_due, *seen - write.due);
            note(&mut from_commit, seen.saturating_duration_since(write.committed));
            note(&mut commit, write.committed - write.due);
        }
        for write in bare_written.iter().skip(WARM_UP) {
            note(&mut bare_commit, write.committed - write.due);
        }
        report.figure("writes", (count - WARM_UP) as f64, "");
        report.figure("rate", f64::from(self.rate), "per s");
        report.figure("description", if self.large { LARGE_BYTES as f64 } else { 0.0 }, "bytes");
        report.latency("from sending the UPDATE to the client", &from_due);
        report.latency("from the commit's reply to the client", &from_commit);
        report.latency("the UPDATE with triggers and NOTIFY", &commit);
        report.latency("the bare UPDATE", &bare_commit);
        report.cpu("meanwhile", used, elapsed);
        let p99 = from_due.value_at_quantile(0.99) as f64 / 1000.0;
        report.target("psql to client, p99", p99, Bound::AtMost(100.0), "ms");
        let allowed = bare_commit.value_at_quantile(0.99) as f64 / 1000.0 * 3.0 + 5.0;
        report.target("psql to client, p99, over 3 bare commits + 5 ms", p99, Bound::AtMost(allowed), "ms");
        Ok(report)
    }
}

#[derive(Clone, Copy, Debug)]
struct Times {
    starts: Instant,
    interval: Duration,
    count: usize,
}

/// A table with the columns that are written, and no trigger.
async fn make_bare_table(url: &str, name: &str, ids: &[Uuid]) -> anyhow::Result<tokio_postgres::Client> {
    let client = target::connect(url).await?;
    client
        .batch_execute(&format!("create table {name} (id uuid primary key, title varchar(500), description text)"))
        .await
        .context("make a table without triggers")?;
    client
        .execute(&format!("insert into {name} (id, title) select unnest($1::uuid[]), 'load'"), &[&ids])
        .await
        .context("fill the table without triggers")?;
    Ok(client)
}

async fn write(
    client: tokio_postgres::Client,
    table: String,
    ids: Vec<Uuid>,
    padding: String,
    times: Times,
) -> anyhow::Result<Vec<Written>> {
    let set_description = if padding.is_empty() { "" } else { ", description = $3" };
    let sql = format!("update {table} set title = $2{set_description} where id = $1");
    let statement = client.prepare(&sql).await.context("prepare the write")?;
    let mut written = Vec::with_capacity(times.count);
    for n in 0..times.count {
        let due = times.starts + times.interval * u32::try_from(n)?;
        sleep_until(due).await;
        let id = ids[n % ids.len()];
        let title = format!("load write {n}");
        let changed = if padding.is_empty() {
            client.execute(&statement, &[&id, &title]).await
        } else {
            client.execute(&statement, &[&id, &title, &format!("{n} {padding}")]).await
        };
        ensure!(changed.context("write")? == 1, "the write changed nothing");
        written.push(Written { due, committed: Instant::now() });
    }
    Ok(written)
}
