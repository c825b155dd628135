//! What waits for one client, and what happens when the client is slow.
//!
//! A queue in two lanes, bounded in bytes. Durable frames are never dropped: when they alone exceed the bound the
//! session is closed as slow and resumes later without loss. Latest-value frames give way first. Nobody ever waits for
//! a client here, so one that never reads delays nobody and costs at most its bound.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use glassbox_protocol::server::CloseCode;
use glassbox_protocol::{Channel, RequestId, ServerMessage};
use tokio::sync::Notify;

use crate::room::frame::Frame;

/// What kind of traffic a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Logged or an answer; must arrive or the session ends.
    Durable,
    /// Only the newest matters; may be dropped.
    Latest,
}

/// Why the server ends a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The close code.
    pub code: CloseCode,
    /// What stands in the close frame.
    pub reason: String,
}

struct Queued {
    frame: Frame,
    lane: Lane,
    channel: Option<Channel>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    /// Taken by the socket and not yet written.
    in_flight_bytes: usize,
    closing: Option<Closing>,
}

impl State {
    fn waiting_bytes(&self) -> usize {
        self.queued_bytes + self.in_flight_bytes
    }
}

/// The queue of one session.
pub struct Outbound {
    state: Mutex<State>,
    bytes_max: usize,
    /// There is something to write, or the session ends.
    news: Notify,
    /// Something was written.
    progress: Notify,
    dropped_latest: AtomicU64,
}

/// How long the last frames of a session that ends may take to leave.
const LAST_FRAMES_DEADLINE: Duration = Duration::from_secs(2);
/// Most frames that one write takes.
const WRITE_FRAMES_MAX: usize = 128;
/// About how many bytes one write takes.
const WRITE_BYTES_MAX: usize = 128 * 1024;

impl Outbound {
    /// Makes a queue that holds at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            bytes_max,
            news: Notify::new(),
            progress: Notify::new(),
            dropped_latest: AtomicU64::new(0),
        }
    }

    /// Queues frames of a channel.
    pub fn push(&self, frames: &[Frame], lane: Lane, channel: Channel) {
        self.enqueue(frames, lane, Some(channel));
    }

    /// Queues a frame that belongs to no channel, such as an answer.
    pub fn send(&self, frame: Frame) {
        self.enqueue(&[frame], Lane::Durable, None);
    }

    /// Queues a message of the server.
    pub fn message(&self, message: ServerMessage, request_id: Option<RequestId>) {
        self.send(Frame::json(&glassbox_protocol::server::ServerFrame { message, request_id }));
    }

    fn enqueue(&self, frames: &[Frame], lane: Lane, channel: Option<Channel>) {
        let mut state = self.lock();
        for frame in frames {
            if state.closing.is_some() {
                break;
            }
            let size = frame.size();
            let over = |state: &State, bytes_max: usize| state.waiting_bytes() + size > bytes_max;
            if lane == Lane::Latest && over(&state, self.bytes_max / 2) {
                self.dropped_latest.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if over(&state, self.bytes_max) {
                self.drop_latest(&mut state);
            }
            // A frame that is larger than the whole bound may stand alone.
            if over(&state, self.bytes_max) && state.waiting_bytes() > 0 {
                let reason = format!("over {} bytes waiting", self.bytes_max);
                close(&mut state, CloseCode::SlowReader, reason);
                self.progress.notify_waiters();
                break;
            }
            state.queued_bytes += size;
            state.queue.push_back(Queued { frame: frame.clone(), lane, channel });
        }
        drop(state);
        self.news.notify_one();
    }

    fn drop_latest(&self, state: &mut State) {
        let before = state.queue.len();
        state.queue.retain(|q| q.lane == Lane::Durable);
        state.queued_bytes = state.queue.iter().map(|q| q.frame.size()).sum();
        self.dropped_latest.fetch_add((before - state.queue.len()) as u64, Ordering::Relaxed);
    }

    /// How many latest-value frames this client has missed; when it grows, it needs the whole presence again.
    pub fn dropped_latest(&self) -> u64 {
        self.dropped_latest.load(Ordering::Relaxed)
    }

    /// Discards what is queued of a channel: its user may no longer see it. Tells whether that was more than latest values.
    pub fn purge(&self, channel: Channel) -> bool {
        let mut state = self.lock();
        let is_loss = state.queue.iter().any(|q| q.channel == Some(channel) && q.lane == Lane::Durable);
        state.queue.retain(|q| q.channel != Some(channel));
        state.queued_bytes = state.queue.iter().map(|q| q.frame.size()).sum();
        drop(state);
        self.progress.notify_waiters();
        is_loss
    }

    /// Ends the session; what is queued is still written, but for a slow reader. The first reason counts.
    pub fn close(&self, code: CloseCode, reason: impl Into<String>) {
        close(&mut self.lock(), code, reason.into());
        self.progress.notify_waiters();
        self.news.notify_one();
    }

    /// Why the session ends, if it does.
    pub fn closing(&self) -> Option<Closing> {
        self.lock().closing.clone()
    }

    /// Waits for something to write; `None` when everything is written and the session ends.
    pub async fn take(&self) -> Option<Vec<Frame>> {
        loop {
            {
                let mut state = self.lock();
                if !state.queue.is_empty() {
                    let mut frames = Vec::with_capacity(state.queue.len().min(WRITE_FRAMES_MAX));
                    let mut bytes = 0;
                    while frames.len() < WRITE_FRAMES_MAX && bytes < WRITE_BYTES_MAX {
                        let Some(queued) = state.queue.pop_front() else { break };
                        bytes += queued.frame.size();
                        frames.push(queued.frame);
                    }
                    if state.queue.is_empty() {
                        // An idle session keeps no buffer.
                        state.queue = VecDeque::new();
                    }
                    state.queued_bytes -= bytes;
                    state.in_flight_bytes = bytes;
                    return Some(frames);
                }
                if state.closing.is_some() {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }

    /// Notes that what was taken is written.
    pub fn written(&self) {
        self.lock().in_flight_bytes = 0;
        self.progress.notify_waiters();
    }

    /// Whether less than half of the bound is in use.
    pub fn is_relaxed(&self) -> bool {
        self.lock().waiting_bytes() < self.bytes_max / 2
    }

    /// Waits until less than half of the bound is in use, or the session ends. For those who send much at once.
    pub async fn has_room(&self) {
        loop {
            let progress = self.progress.notified();
            {
                let state = self.lock();
                if state.closing.is_some() || state.waiting_bytes() < self.bytes_max / 2 {
                    return;
                }
            }
            progress.await;
        }
    }

    /// Waits until the session has to end whatever is still queued: at once for a slow reader, else when what was queued
    /// had its time to leave.
    pub async fn is_over(&self) {
        let code = loop {
            let progress = self.progress.notified();
            if let Some(closing) = self.closing() {
                break closing.code;
            }
            progress.await;
        };
        if code != CloseCode::SlowReader {
            tokio::time::sleep(LAST_FRAMES_DEADLINE).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn close(state: &mut State, code: CloseCode, reason: String) {
    if state.closing.is_some() {
        return;
    }
    if code == CloseCode::SlowReader {
        state.queue.clear();
        state.queued_bytes = 0;
    }
    state.closing = Some(Closing { code, reason });
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::{NodeId, ProjectId};

    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame::text(&"x".repeat(bytes))
    }

    #[tokio::test]
    async fn latest_values_give_way_before_durable_frames() {
        let outbound = Outbound::new(1000);
        let room = Channel::Project(ProjectId::random());
        outbound.push(&[frame(300)], Lane::Latest, room);
        outbound.push(&[frame(300)], Lane::Latest, room);
        assert_eq!(outbound.dropped_latest(), 1, "latest values may take half of the bound");
        outbound.push(&[frame(400)], Lane::Durable, room);
        outbound.push(&[frame(400)], Lane::Durable, room);
        assert_eq!(outbound.dropped_latest(), 2);
        assert_eq!(outbound.closing(), None);
        assert_eq!(outbound.take().await.map(|f| f.len()), Some(2));
    }

    #[tokio::test]
    async fn durable_frames_over_the_bound_close_the_session_as_slow() {
        let outbound = Outbound::new(1000);
        let room = Channel::Project(ProjectId::random());
        for _ in 0..3 {
            outbound.push(&[frame(400)], Lane::Durable, room);
        }
        assert_eq!(outbound.closing().map(|c| c.code), Some(CloseCode::SlowReader));
        assert_eq!(outbound.take().await, None, "what waited is let go");
    }

    #[tokio::test]
    async fn a_purge_discards_what_is_queued_of_one_channel() {
        let outbound = Outbound::new(1000);
        let (room, other) = (Channel::Project(ProjectId::random()), Channel::Node(NodeId::random()));
        outbound.push(&[frame(10)], Lane::Durable, room);
        outbound.push(&[frame(20)], Lane::Durable, other);
        outbound.purge(room);
        assert_eq!(outbound.take().await, Some(vec![frame(20)]));
    }
}
