//! Somebody loses their membership: how soon nothing more reaches them, on the other instance too.

use std::cell::Cell;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use glassbox_protocol::ClientId;
use tokio::time::{Instant, timeout};

use super::Progress;
use super::writers::{Edit, Writers};
use crate::report::{Bound, Report, microseconds, note};
use crate::socket::{Inbound, Socket};
use crate::target::{Target, connect};

/// Events per second that the others make meanwhile.
const EDITS_PER_SECOND: f64 = 50.0;
/// How long somebody without a right may stay connected before the trial counts as broken.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// Memberships are deleted with psql's words while events flow.
#[derive(Args, Debug)]
pub struct Revocation {
    /// How often
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(2..=1000))]
    trials: u16,
}

impl Revocation {
    /// Runs it.
    ///
    /// # Errors
    /// The run could not be made; broken promises are in the report.
    pub async fn run(&self, target: &Target) -> anyhow::Result<Report> {
        let mut report = Report::new("revocation");
        let progress = Progress::start("preparing");
        let trials = usize::from(self.trials);
        // The writers are others than those who go.
        const WRITERS: usize = 5;
        let world = target.world(1, trials + WRITERS).await?;
        let project = world.projects[0];
        let mut writers = Writers::open(target, 0, &world, project, WRITERS, Edit::Move).await?;
        let database = connect(target.database_url()?).await?;
        let (mut last_event, mut closed) = (microseconds(), microseconds());

        let is_over = Cell::new(false);
        let trying = async {
            let mut violations = Vec::new();
            for n in 0..trials {
                progress.step(format!("{n} of {trials}"));
                let address = target.addresses[n % target.addresses.len()];
                let mut socket = Socket::connect(address, world.token(WRITERS + n), ClientId::random()).await?;
                socket.subscribe(project).await?;
                // Events are on their way when the right ends.
                let until = Instant::now() + Duration::from_millis(100);
                socket.read_until(until, |_| {}).await?;
                let user = socket.user();
                let revoke = async {
                    database
                        .execute("delete from org_members where org_id = $1 and user_id = $2", &[&world.org.0, &user])
                        .await
                        .context("revoke")?;
                    anyhow::Ok(Instant::now())
                };
                let watch = async {
                    let mut last = None;
                    loop {
                        match socket.next().await {
                            Ok(Inbound::Event { .. }) => last = Some(Instant::now()),
                            Ok(Inbound::Ack { .. } | Inbound::Refused { .. } | Inbound::Other { .. }) => {}
                            Err(error) => return (last, Instant::now(), format!("{error:#}")),
                        }
                    }
                };
                let (revoked, seen) = tokio::join!(revoke, timeout(CLOSE_DEADLINE, watch));
                let revoked = revoked?;
                match seen {
                    Ok((last, at, reason)) => {
                        note(&mut last_event, last.map_or(Duration::ZERO, |l| l.saturating_duration_since(revoked)));
                        note(&mut closed, at.saturating_duration_since(revoked));
                        if !reason.contains("4503") {
                            violations.push(format!("trial {n}: ended with {reason}"));
                        }
                    }
                    Err(_) => violations.push(format!("trial {n}: still connected after {CLOSE_DEADLINE:?}")),
                }
                violations.extend(socket.into_violations());
            }
            is_over.set(true);
            anyhow::Ok(violations)
        };
        let editing = async {
            while !is_over.get() {
                writers.edit(EDITS_PER_SECOND, Duration::from_secs(1)).await?;
            }
            anyhow::Ok(())
        };
        let (violations, ()) = tokio::try_join!(trying, editing)?;
        report.violations.extend(violations);
        report.violations.extend(writers.verdict().await?);
        report.figure("trials", trials as f64, "");
        report.figure("instances", target.addresses.len() as f64, "");
        report.latency("commit of the removal to the last event", &last_event);
        report.latency("commit of the removal to the close", &closed);
        let worst = last_event.max() as f64 / 1000.0;
        report.target("commit of the removal to the last event, worst", worst, Bound::AtMost(1000.0), "ms");
        Ok(report)
    }
}
