//! What a run found: figures, targets and broken promises, for people and for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::machine::Machine;
use crate::process::Used;

/// Violations that a summary shows; the rest is counted.
const VIOLATIONS_SHOWN: usize = 20;

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The workload's name.
    pub workload: &'static str,
    /// Where and with what it ran.
    pub machine: Option<Machine>,
    /// What was measured, in the order of the run.
    pub figures: Vec<Figure>,
    /// What it should be.
    pub targets: Vec<Target>,
    /// Promises that the server broke; any of them fails the run.
    pub violations: Vec<String>,
}

/// One measured value.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

/// A measured value beside what it should be.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What it is.
    pub name: String,
    /// How much it is.
    pub measured: f64,
    /// How much it may be, or has to be.
    pub bound: Bound,
    /// Of what.
    pub unit: &'static str,
    /// Whether it is as it should be.
    pub is_met: bool,
}

/// A bound of a target.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

impl Report {
    /// Starts an empty report.
    pub fn new(workload: &'static str) -> Self {
        Self { workload, machine: None, figures: Vec::new(), targets: Vec::new(), violations: Vec::new() }
    }

    /// Adds a figure.
    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit });
    }

    /// Adds what a histogram of microseconds says, as ms.
    pub fn latency(&mut self, name: &str, histogram: &Histogram<u64>) {
        if histogram.is_empty() {
            return;
        }
        for (label, value) in [
            ("p50", histogram.value_at_quantile(0.5)),
            ("p99", histogram.value_at_quantile(0.99)),
            ("max", histogram.max()),
        ] {
            self.figure(format!("{name} {label}"), value as f64 / 1000.0, "ms");
        }
    }

    /// Adds how busy everybody was, in shares of one processor.
    pub fn cpu(&mut self, name: &str, used: Used, elapsed: Duration) {
        let share = |used: Duration| used.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
        self.figure(format!("{name}: CPU of the server"), share(used.server), "% of a core");
        self.figure(format!("{name}: CPU of PostgreSQL"), share(used.postgres), "% of a core");
        self.figure(format!("{name}: CPU of the load generator"), share(used.generator), "% of a core");
        self.figure(format!("{name}: CPU of everybody else"), share(used.others()), "% of a core");
    }

    /// Adds a target and whether it is met.
    pub fn target(&mut self, name: impl Into<String>, measured: f64, bound: Bound, unit: &'static str) {
        let is_met = match bound {
            Bound::AtLeast(least) => measured >= least,
            Bound::AtMost(most) => measured <= most,
        };
        self.targets.push(Target { name: name.into(), measured, bound, unit, is_met });
    }

    /// The summary for people.
    pub fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n", self.workload);
        if let Some(m) = &self.machine {
            let _ = writeln!(text, "`{}`  ", m.command);
            let _ = writeln!(text, "{}, commit {}, {} x {}, Linux {}  ", m.date, m.commit, m.cpus, m.cpu, m.kernel);
            let _ = writeln!(text, "load average before: {}\n", m.load_average);
        }
        text.push_str("| figure | value | |\n|---|---:|---|\n");
        for figure in &self.figures {
            let _ = writeln!(text, "| {} | {} | {} |", figure.name, number(figure.value), figure.unit);
        }
        if !self.targets.is_empty() {
            text.push_str("\n| target | measured | wanted | |\n|---|---:|---:|---|\n");
            for target in &self.targets {
                let (sign, bound) = match target.bound {
                    Bound::AtLeast(least) => ("≥", least),
                    Bound::AtMost(most) => ("≤", most),
                };
                let verdict = if target.is_met { "met" } else { "MISSED" };
                let measured = number(target.measured);
                let _ = writeln!(
                    text,
                    "| {} | {measured} {unit} | {sign} {} {unit} | {verdict} |",
                    target.name,
                    number(bound),
                    unit = target.unit,
                );
            }
        }
        match self.violations.len() {
            0 => text.push_str(
                "\nNo promise was broken: no gap, no repetition, every acknowledged command has its event.\n",
            ),
            count => {
                let _ = writeln!(text, "\n**{count} broken promises:**\n");
                for violation in self.violations.iter().take(VIOLATIONS_SHOWN) {
                    let _ = writeln!(text, "- {violation}");
                }
            }
        }
        text
    }

    /// Writes the summary and the figures.
    ///
    /// # Errors
    /// The directory cannot be made or written to.
    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let date = self.machine.as_ref().map_or("", |m| m.date.as_str()).replace(':', "");
        let json = serde_json::to_string_pretty(self).context("write the figures as JSON")?;
        for (extension, text) in [("md", self.markdown()), ("json", json)] {
            let path = dir.join(format!("{date}-{}.{extension}", self.workload));
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

/// An empty histogram of microseconds.
pub fn microseconds() -> Histogram<u64> {
    // Two digits keep it small where every socket has one; one digit is the fewest that the crate allows.
    Histogram::new(2).unwrap_or_else(|_| unreachable!("two significant digits are allowed"))
}

/// Notes a latency.
pub fn note(histogram: &mut Histogram<u64>, latency: Duration) {
    // It grows as it needs to: there is no value that it refuses.
    let _ = histogram.record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}

/// Three digits are what a measurement on a shared machine can tell.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
