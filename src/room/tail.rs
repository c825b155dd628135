//! The newest events of a room, kept in memory for those who join.

use std::collections::VecDeque;
use std::sync::Arc;

use glassbox_protocol::Seq;

use super::event::Event;

/// Most events that are kept.
const EVENTS_MAX: usize = 4096;
/// About how much memory they may take, bytes. All of it goes into the queue of somebody who joins, so it stays well
/// under what may wait there.
const BYTES_MAX: usize = 256 * 1024;

/// Consecutive events up to the room's position.
#[derive(Default)]
pub struct Tail {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl Tail {
    /// Adds the next event; the oldest ones go when there are too many.
    pub fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.size();
        self.events.push_back(event);
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(old) = self.events.pop_front() else { break };
            self.bytes -= old.size();
        }
    }

    /// The events after a position, as far as they are kept.
    pub fn after(&self, position: Seq) -> Vec<Arc<Event>> {
        self.events.iter().filter(|e| e.seq > position).cloned().collect()
    }

    /// The position before the first event that is kept.
    pub fn start(&self) -> Option<Seq> {
        self.events.front().map(|e| Seq(e.seq.0 - 1))
    }
}
