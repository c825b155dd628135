//! What is done to a server, one file per workload, and what they share.

use std::time::Duration;

use indicatif::ProgressBar;

pub mod cursors;
pub mod drain;
pub mod fan_out;
pub mod hot_room;
pub mod idle;
pub mod psql;
pub mod revocation;
pub mod slow_readers;
pub mod storm;
pub mod writers;

/// How long sockets go on reading after the last command is finished, so that a second event would be seen.
const LISTEN_ON: Duration = Duration::from_millis(500);

/// Tells a person what is going on; silent where nobody watches.
struct Progress(ProgressBar);

impl Progress {
    fn start(text: impl Into<String>) -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(200));
        let progress = Self(bar);
        progress.step(text);
        progress
    }

    fn step(&self, text: impl Into<String>) {
        self.0.set_message(text.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
