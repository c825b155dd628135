//! `glassbox-load`: drives a GlassBox server as many clients would and says what it can do.
//!
//! A workload opens sockets on a [`target`], checks every promise of the protocol on each of them, and hands back a
//! [`report::Report`] with its figures beside a baseline that was measured in the same run. Latency counts from the
//! moment at which a message was due, not from when it was sent. Every run ends by itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

mod baseline;
mod ledger;
mod machine;
mod process;
mod report;
mod socket;
mod target;
mod workload;

use report::Report;
use target::Target;
use workload::{cursors, drain, fan_out, hot_room, idle, psql, revocation, slow_readers, storm};

/// Drives a GlassBox server as many clients would and says what it can do.
///
/// Without --url it starts a server of its own (target/release/glassbox) on an embedded PostgreSQL of its own, and
/// stops both at the end. The summary goes to stdout as Markdown. Exit code 1: the server broke a promise (a gap or a
/// repetition in a log, an acknowledged command without its event), or the run could not be made.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    workload: Workload,
    #[command(flatten)]
    options: Options,
}

const EXAMPLES: &str = "\
Examples:
  cargo build --release && cargo run --release -p glassbox-load -- hot-room
  cargo run --release -p glassbox-load -- hot-room --instances 2 --out target/load
  cargo run --release -p glassbox-load -- idle --sockets 10000 --no-subscribe
  cargo run --release -p glassbox-load -- fan-out --durable --rate 1000
  cargo run --release -p glassbox-load -- psql --large --url http://127.0.0.1:8080 --server-pid 4711

Measure on a quiet machine: the summary names the load average and how busy everybody else kept the processors.";

#[derive(Subcommand)]
enum Workload {
    /// Commands per second in one project, and the echo's latency at half of that
    HotRoom(hot_room::HotRoom),
    /// What sockets cost that do nothing
    Idle(idle::Idle),
    /// How long until a client sees what psql has written
    Psql(psql::Psql),
    /// Deliveries per second in one room with many members
    FanOut(fan_out::FanOut),
    /// Edits with and without moving cursors in the same room
    Cursors(cursors::Cursors),
    /// Edits while some members never read
    SlowReaders(slow_readers::SlowReaders),
    /// Sockets that are cut at one moment and come back at once
    Storm(storm::Storm),
    /// One of two instances is asked to end
    Drain(drain::Drain),
    /// Memberships that end while events flow, on two instances
    Revocation(revocation::Revocation),
}

/// What every workload can be told.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// A running development server on this machine, instead of one of our own
    #[arg(long, global = true)]
    url: Option<String>,
    /// The superuser's URL of that server's database (`glassbox database-url`)
    #[arg(long, global = true, requires = "url")]
    database_url: Option<String>,
    /// The process of that server, for its CPU time and memory
    #[arg(long, global = true, requires = "url")]
    server_pid: Option<u32>,
    /// The server's program, where we start our own
    #[arg(long, global = true, env = "GLASSBOX_BIN", default_value = "target/release/glassbox")]
    bin: PathBuf,
    /// Where our own server's data goes; each run makes a directory in it and removes it
    #[arg(long, global = true, default_value = "target/load-data")]
    data_dir: PathBuf,
    /// Also write the summary and the figures as JSON into this directory
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    /// Threads of the load generator
    #[arg(long, global = true, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Longest time that the whole run may take, s
    #[arg(long, global = true, default_value_t = 300)]
    time_limit: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("glassbox-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<bool> {
    process::allow_many_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::from(cli.options.threads))
        .enable_all()
        .build()
        .context("start the runtime")?;
    let report = runtime.block_on(measure(cli))?;
    Ok(report.violations.is_empty())
}

async fn measure(cli: Cli) -> anyhow::Result<Report> {
    let Cli { workload, options } = cli;
    let (instances, settings) = match &workload {
        Workload::HotRoom(hot_room) => (hot_room.instances, hot_room.settings()),
        Workload::Idle(idle) => (1, idle.settings()),
        Workload::Psql(_) => (1, Vec::new()),
        Workload::FanOut(fan_out) => (1, fan_out.settings()),
        Workload::Cursors(_) | Workload::SlowReaders(_) => (1, Vec::new()),
        Workload::Storm(storm) => (1, storm.settings()),
        Workload::Drain(drain) => (2, drain.settings()),
        Workload::Revocation(_) => (2, Vec::new()),
    };
    let machine = machine::Machine::look();
    let target = Target::open(&options, instances, &settings).await?;
    let work = async {
        match &workload {
            Workload::HotRoom(hot_room) => hot_room.run(&target).await,
            Workload::Idle(idle) => idle.run(&target).await,
            Workload::Psql(psql) => psql.run(&target).await,
            Workload::FanOut(fan_out) => fan_out.run(&target).await,
            Workload::Cursors(cursors) => cursors.run(&target).await,
            Workload::SlowReaders(slow_readers) => slow_readers.run(&target).await,
            Workload::Storm(storm) => storm.run(&target).await,
            Workload::Drain(drain) => drain.run(&target).await,
            Workload::Revocation(revocation) => revocation.run(&target).await,
        }
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = tokio::time::sleep(Duration::from_secs(options.time_limit)) => {
            Err(anyhow::anyhow!("not over after {} s (--time-limit)", options.time_limit))
        }
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let closed = target.close().await;
    let mut report = outcome?;
    closed?;
    report.machine = Some(machine);
    println!("{}", report.markdown());
    if let Some(dir) = &options.out {
        report.write(dir)?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_options_are_well_formed() {
        Cli::command().debug_assert();
    }
}
