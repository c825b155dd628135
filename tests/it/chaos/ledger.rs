//! What was asked and answered, over all clients, and how it has to agree with the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use glassbox_protocol::server::{Ack, Outcome};
use glassbox_protocol::{ClientId, Command, ErrorCode, Event, ProjectId, RequestId, Seq};

use crate::support::client::Answer;
use crate::support::mirror::{LogEntry, Mirror, State, event_hash};

/// Every command of a run.
#[derive(Default)]
pub struct Ledger {
    commands: Mutex<HashMap<RequestId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    client: ClientId,
    project: ProjectId,
    /// For the report of a failure.
    #[allow(dead_code, reason = "read by Debug alone")]
    command: Command,
    asked_at: Instant,
    acknowledged_at: Option<Instant>,
    answers: Vec<Answer>,
}

impl Ledger {
    /// A command is about to be sent for the first time.
    pub fn asked(&self, request: RequestId, client: ClientId, project: ProjectId, command: &Command) {
        let entry = Entry {
            client,
            project,
            command: command.clone(),
            asked_at: Instant::now(),
            acknowledged_at: None,
            answers: Vec::new(),
        };
        self.commands().insert(request, entry);
    }

    /// An answer came; panics when it contradicts an earlier one.
    pub fn answered(&self, request: RequestId, answer: &Answer) {
        let mut commands = self.commands();
        let entry = commands.get_mut(&request).expect("only what was asked is answered");
        let first = entry.answers.iter().find_map(|a| a.as_ref().ok()).cloned();
        entry.answers.push(answer.clone());
        match (first, answer) {
            (None, Ok(_)) => entry.acknowledged_at = Some(Instant::now()),
            (Some(first), Ok(ack)) => {
                assert_eq!(unmarked(&first), unmarked(ack), "{request} got two answers: {entry:#?}");
                let originals = entry.answers.iter().flatten().filter(|ack| !ack.duplicate).count();
                assert!(originals <= 1, "{request} took effect {originals} times: {entry:#?}");
            }
            (Some(_), Err(error)) => {
                assert!(error.temporary, "{request} was acknowledged and then refused: {entry:#?}");
            }
            (None, Err(error)) => assert!(
                !matches!(
                    error.code,
                    ErrorCode::Internal
                        | ErrorCode::BadMessage
                        | ErrorCode::UnknownType
                        | ErrorCode::Unauthenticated
                        | ErrorCode::Forbidden
                        | ErrorCode::IdempotencyConflict
                        | ErrorCode::TooLarge
                ),
                "{request} got an answer that nothing here calls for: {entry:#?}"
            ),
        }
    }

    /// How many commands were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.commands().values().filter(|entry| entry.acknowledged_at.is_some()).count()
    }

    /// Every acknowledged command is in the log exactly once, and no other is.
    pub fn check_against(&self, project: ProjectId, log: &[LogEntry]) {
        let commands = self.commands();
        let mut logged: HashMap<RequestId, Vec<&LogEntry>> = HashMap::new();
        for entry in log {
            if let Some(request) = entry.private.request {
                logged.entry(request).or_default().push(entry);
            }
        }
        // Rows of the log are transactions: the number of each one's last event names it.
        let mut transactions: BTreeSet<Seq> = BTreeSet::new();
        transactions.extend(log.iter().filter(|e| e.is_tx_end).map(|e| e.seq));
        let transaction_of = |seq: Seq| transactions.range(seq..).next().copied();

        for (request, entry) in commands.iter().filter(|(_, entry)| entry.project == project) {
            let events = logged.remove(request).unwrap_or_default();
            let ack = entry.answers.iter().find_map(|a| a.as_ref().ok());
            let Some(ack) = ack.filter(|ack| ack.outcome != Outcome::Unchanged) else {
                assert!(events.is_empty(), "{request} is in the log but was {entry:#?}: {events:#?}");
                continue;
            };
            let last = events.last().unwrap_or_else(|| panic!("{request} is acknowledged and lost: {entry:#?}"));
            assert_eq!(last.seq, ack.seq, "{request} stands elsewhere in the log: {entry:#?}: {events:#?}");
            assert!(
                events.iter().all(|e| e.private.client == Some(entry.client)),
                "{request} is in the log under another client: {entry:#?}: {events:#?}"
            );
            let places: BTreeSet<_> = events.iter().map(|e| transaction_of(e.seq)).collect();
            assert_eq!(places.len(), 1, "{request} took effect in several transactions: {entry:#?}: {events:#?}");
            let subjects: BTreeSet<String> = events.iter().map(|e| subject(&e.event)).collect();
            assert_eq!(subjects.len(), events.len(), "{request} took effect twice: {entry:#?}: {events:#?}");
        }
        assert!(logged.is_empty(), "the log of {project} holds commands that nobody sent: {logged:#?}");
        check_real_time(commands.values().filter(|entry| entry.project == project));
    }

    fn commands(&self) -> MutexGuard<'_, HashMap<RequestId, Entry>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client saw and what it made of it is what the log says.
pub fn check_view(mirror: &Mirror, log: &[LogEntry], folded: &State) {
    let project = mirror.project;
    let state = mirror.state().expect("a client that started with a snapshot");
    let difference = state.difference(folded);
    assert!(difference.is_empty(), "{project}: client against log:\n{difference}");
    for entry in log {
        if let Some(seen) = mirror.seen.get(&entry.seq) {
            assert_eq!(
                *seen,
                event_hash(&entry.event, entry.by.as_ref()),
                "{project}: the client was told something else than {entry:#?}"
            );
        }
    }
}

/// What was acknowledged before something else was asked comes before it.
fn check_real_time<'a>(entries: impl Iterator<Item = &'a Entry>) {
    enum Moment<'a> {
        Acknowledged(Seq),
        Asked(Seq, &'a Entry),
    }
    let mut moments = Vec::new();
    for entry in entries {
        let ack = entry.answers.iter().find_map(|a| a.as_ref().ok());
        if let (Some(ack), Some(acknowledged_at)) =
            (ack.filter(|a| a.outcome != Outcome::Unchanged), entry.acknowledged_at)
        {
            moments.push((entry.asked_at, Moment::Asked(ack.seq, entry)));
            moments.push((acknowledged_at, Moment::Acknowledged(ack.seq)));
        }
    }
    moments.sort_by_key(|(at, _)| *at);
    let mut newest = Seq::ZERO;
    for (_, moment) in moments {
        match moment {
            Moment::Acknowledged(seq) => newest = newest.max(seq),
            Moment::Asked(seq, entry) => {
                assert!(seq > newest, "{seq} was asked after {newest} had been acknowledged: {entry:#?}");
            }
        }
    }
}

/// What one command does at most once.
fn subject(event: &Event) -> String {
    let value = serde_json::to_value(event).expect("events are JSON");
    let id = ["nodeId", "dependencyId"].iter().find_map(|key| value["payload"].get(key).cloned());
    format!("{} {:?}", value["type"], id.or_else(|| value["payload"]["dependency"].get("id").cloned()))
}

fn unmarked(ack: &Ack) -> Ack {
    let mut ack = Ack { duplicate: false, ..ack.clone() };
    // How long a lease runs from now is another number at another time.
    if let Some(result) = ack.result.as_mut().and_then(|r| r.as_object_mut()) {
        result.remove("expiresInMs");
    }
    ack
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands = self.commands();
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        let mut repeats = 0;
        let mut waits: Vec<_> = Vec::new();
        for entry in commands.values() {
            repeats += entry.answers.iter().flatten().filter(|ack| ack.duplicate).count();
            waits.extend(entry.acknowledged_at.map(|at| at - entry.asked_at));
            let outcome = match entry.answers.first() {
                Some(Ok(ack)) => format!("{:?}", ack.outcome),
                Some(Err(error)) => format!("{:?}", error.code),
                None => "no answer".to_owned(),
            };
            *outcomes.entry(outcome).or_default() += 1;
        }
        waits.sort();
        let at = |share: usize| waits.get(waits.len() * share / 100).copied().unwrap_or_default();
        write!(
            f,
            "{} commands, {repeats} repeats answered as such, ack p50 {:?} p99 {:?}: {outcomes:?}",
            commands.len(),
            at(50),
            at(99)
        )
    }
}
