//! How often updates of agents' runs are sent: a change of state at once, changes of numbers a few times a second.

use std::collections::HashMap;
use std::time::Duration;

use glassbox_protocol::ExecutionId;
use tokio::time::Instant;

/// Updates that only change numbers are this far apart: 5 a second for each run.
const INTERVAL: Duration = Duration::from_millis(200);
/// Runs that are remembered; beyond, the oldest are forgotten, which costs a frame more.
const RUNS_MAX: usize = 1024;

struct Run<T> {
    status: String,
    sent_at: Instant,
    held: Option<T>,
}

/// The runs that one connection hears of.
pub struct Pace<T> {
    runs: HashMap<ExecutionId, Run<T>>,
}

impl<T> Default for Pace<T> {
    fn default() -> Self {
        Self { runs: HashMap::new() }
    }
}

impl<T> Pace<T> {
    /// Takes an update; returns it if it is to be sent now, else keeps it until [`Pace::due`] gives it or a newer one
    /// takes its place.
    pub fn take(&mut self, id: ExecutionId, status: &str, update: T, now: Instant) -> Option<T> {
        if let Some(run) = self.runs.get_mut(&id)
            && run.status == status
            && now < run.sent_at + INTERVAL
        {
            run.held = Some(update);
            return None;
        }
        if self.runs.len() >= RUNS_MAX && !self.runs.contains_key(&id) {
            let idle = self.runs.iter().filter(|(_, run)| run.held.is_none()).min_by_key(|(_, run)| run.sent_at);
            if let Some(oldest) = idle.map(|(id, _)| *id) {
                self.runs.remove(&oldest);
            }
        }
        self.runs.insert(id, Run { status: status.to_owned(), sent_at: now, held: None });
        Some(update)
    }

    /// When the next update is due.
    pub fn next(&self) -> Option<Instant> {
        self.runs.values().filter(|run| run.held.is_some()).map(|run| run.sent_at + INTERVAL).min()
    }

    /// The updates whose time has come.
    pub fn due(&mut self, now: Instant) -> Vec<T> {
        let mut due = Vec::new();
        for run in self.runs.values_mut().filter(|run| now >= run.sent_at + INTERVAL) {
            if let Some(update) = run.held.take() {
                run.sent_at = now;
                due.push(update);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wait_and_a_new_state_does_not() {
        let (mut pace, id, start) = (Pace::default(), ExecutionId::random(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(pace.take(id, "running", 1, at(0)), Some(1));
        assert_eq!(pace.take(id, "running", 2, at(10)), None);
        assert_eq!(pace.take(id, "running", 3, at(20)), None);
        assert_eq!((pace.next(), pace.due(at(100))), (Some(at(200)), Vec::new()));
        assert_eq!(pace.due(at(200)), [3], "the newest");
        assert_eq!(pace.take(id, "running", 4, at(210)), None);
        assert_eq!(pace.take(id, "complete", 5, at(220)), Some(5));
        assert_eq!((pace.next(), pace.due(at(900))), (None, Vec::new()), "what is older than the state is let go");
        assert_eq!(pace.take(ExecutionId::random(), "running", 6, at(221)), Some(6), "each run for itself");
    }
}
