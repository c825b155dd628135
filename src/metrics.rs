//! What an operator can watch: the name of every number, and one small function per thing that is counted.
//!
//! Labels have few values: command types, outcomes, close codes, route patterns. Never an id.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const SESSIONS: &str = "glassbox_sessions";
const ROOMS: &str = "glassbox_rooms";
const COMMANDS: &str = "glassbox_commands_total";
const EVENTS_SENT: &str = "glassbox_events_sent_total";
const COMMIT_TO_SEND: &str = "glassbox_commit_to_send_seconds";
const PRESENCE_FRAMES: &str = "glassbox_presence_frames_total";
const DOORBELLS: &str = "glassbox_doorbells_total";
const SIGNALS: &str = "glassbox_signals_total";
const POLLS: &str = "glassbox_polls_total";
const LISTENER_RECONNECTS: &str = "glassbox_listener_reconnects_total";
const CLOSES: &str = "glassbox_closes_total";
const HTTP_REQUESTS: &str = "glassbox_http_requests_total";
const HTTP_DURATION: &str = "glassbox_http_request_duration_seconds";

/// Upper bounds of the latency histograms, s: fine where the targets lie (100 ms), coarse beyond.
pub const LATENCY_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Says what each number means; once, after the recorder is installed.
pub fn describe() {
    describe_gauge!(SESSIONS, "Open WebSockets, by dialect");
    describe_gauge!(ROOMS, "Projects that are open on this instance");
    describe_counter!(COMMANDS, "Commands, by type and outcome");
    describe_counter!(EVENTS_SENT, "Events handed to sessions");
    describe_histogram!(
        COMMIT_TO_SEND,
        Unit::Seconds,
        "From when the instance learnt of a commit to its events' place in the sessions' queues"
    );
    describe_counter!(PRESENCE_FRAMES, "Presence frames handed to sessions");
    describe_counter!(DOORBELLS, "Signals sent to the other instances");
    describe_counter!(SIGNALS, "Signals heard");
    describe_counter!(POLLS, "Rounds of the poll that backs the signals up");
    describe_counter!(LISTENER_RECONNECTS, "Times the listener lost its connection");
    describe_counter!(CLOSES, "Closed WebSockets, by close code");
    describe_counter!(HTTP_REQUESTS, "Answered requests, by route, method and status");
    describe_histogram!(HTTP_DURATION, Unit::Seconds, "From the head of a request to the head of its answer");
}

/// Counts a session that opened (`1`) or ended (`-1`).
pub fn sessions(dialect: &'static str, delta: i32) {
    gauge!(SESSIONS, "dialect" => dialect).increment(f64::from(delta));
}

/// Tells how many rooms are open.
pub fn rooms(count: usize) {
    gauge!(ROOMS).set(u32::try_from(count).map_or(f64::MAX, f64::from));
}

/// Counts a command and how it ended: `applied`, `unchanged`, or an error code.
pub fn command(command_type: &'static str, outcome: &'static str) {
    counter!(COMMANDS, "type" => command_type, "outcome" => outcome).increment(1);
}

/// Counts events handed to sessions.
pub fn events_sent(count: usize) {
    counter!(EVENTS_SENT).increment(count as u64);
}

/// Records how long it took from when the instance learnt of a commit until its events were queued for the sessions.
pub fn commit_to_send(took: Duration) {
    histogram!(COMMIT_TO_SEND).record(took);
}

/// Counts presence frames handed to sessions.
pub fn presence_frames(count: usize) {
    counter!(PRESENCE_FRAMES).increment(count as u64);
}

/// Counts a signal that was sent.
pub fn doorbell() {
    counter!(DOORBELLS).increment(1);
}

/// Counts a signal that was heard.
pub fn signal() {
    counter!(SIGNALS).increment(1);
}

/// Counts a round of the poll.
pub fn poll() {
    counter!(POLLS).increment(1);
}

/// Counts a lost listener.
pub fn listener_reconnect() {
    counter!(LISTENER_RECONNECTS).increment(1);
}

/// Counts a closed WebSocket.
pub fn closed(code: u16) {
    counter!(CLOSES, "code" => code.to_string()).increment(1);
}

/// Counts an answered request; `route` is the pattern, so that ids make no labels.
pub fn http_request(route: &str, method: &'static str, status: u16, took: Duration) {
    counter!(
        HTTP_REQUESTS,
        "route" => route.to_owned(),
        "method" => method,
        "status" => status.to_string()
    )
    .increment(1);
    histogram!(HTTP_DURATION, "route" => route.to_owned(), "method" => method).record(took);
}
