//! The way into a room: takes all commands that are ready and commits them in one transaction.
//!
//! Throughput comes from batching: while one batch is being committed the next one gathers. A command that breaks a
//! rule fails alone. When the database refuses the transaction for something that no rule of ours has caught, its
//! commands are tried one by one. When the reply to a COMMIT is lost, nobody is told anything before it is known what
//! became of it: the commands are claimed again, which waits for the first attempt and finds its answers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use glassbox_protocol::server::Ack;
use glassbox_protocol::{Command, Error, ErrorCode, ProjectId, Seq, ServerMessage, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, warn};
use uuid::Uuid;

use super::{Seat, Surroundings};
use crate::auth;
use crate::command::{self, AnswerWith, Applied, Job, Place};
use crate::session::peer::Peer;
use crate::store::commands::{self, Claim, CommandKey};
use crate::store::undo::{self, NewStep};
use crate::store::{Database, Failure, Sealed, Tenant, Tx, Via, events, members};

/// Most commands in one transaction. At about 0.15 ms each (load-tests/results/2026-11-22-core.md) it takes some 40 ms,
/// under the 100 ms in which an author expects the echo.
const BATCH_COMMANDS_MAX: usize = 256;

/// How long a command may wait for the database before it is told to come back.
const ANSWER_DEADLINE: Duration = Duration::from_secs(4);

/// First pause before the database is tried again; doubles up to half a second.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// A command on its way.
pub struct Request {
    /// Identifies it.
    pub key: CommandKey,
    /// What is asked.
    pub command: Command,
    /// Where the answer goes.
    pub reply: Reply,
    /// Where it came from.
    pub via: Arc<Via>,
    received_at: Instant,
    body_hash: [u8; 32],
}

/// Where an answer goes.
pub enum Reply {
    /// To the session that asked.
    Session(Arc<Peer>),
    /// To a caller inside the server.
    Caller(oneshot::Sender<Answer>),
}

/// The answer to a command.
pub type Answer = Result<Ack, Error>;

impl Request {
    /// Makes a request that was received just now.
    pub fn new(key: CommandKey, command: Command, via: Arc<Via>, reply: Reply) -> Self {
        let body = serde_json::to_vec(&command).unwrap_or_default();
        Self { key, command, reply, via, received_at: Instant::now(), body_hash: Sha256::digest(&body).into() }
    }

    /// Sends the answer.
    pub fn answer(self, answer: Answer) {
        crate::metrics::command(command::command_type(&self.command), outcome(&answer));
        match self.reply {
            Reply::Session(peer) => {
                let message = match answer {
                    Ok(ack) => ServerMessage::Ack(ack),
                    Err(error) => ServerMessage::Error(error),
                };
                peer.outbound.message(message, Some(self.key.request));
                peer.answered();
            }
            Reply::Caller(caller) => {
                let _ = caller.send(answer);
            }
        }
    }
}

/// An answer as it is kept for repeats.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kept {
    Ack(Ack),
    Error(Error),
}

/// Commits a room's commands until the room is let go.
pub async fn run(seat: Seat, mut requests: mpsc::Receiver<Request>, surroundings: Arc<Surroundings>) {
    let writer = Writer {
        database: surroundings.database.clone(),
        place: Place { org: seat.org, project: seat.project, instance: surroundings.instance },
    };
    let mut batch = Vec::with_capacity(BATCH_COMMANDS_MAX);
    loop {
        let received = tokio::select! {
            biased;
            received = requests.recv_many(&mut batch, BATCH_COMMANDS_MAX) => received,
            () = surroundings.stop.cancelled() => 0,
        };
        if received == 0 {
            return;
        }
        writer.process(std::mem::take(&mut batch), &surroundings).await;
    }
}

#[derive(Clone)]
struct Writer {
    database: Database,
    place: Place,
}

/// Why a batch was not committed.
enum Failed {
    /// Nothing was written.
    Before(sqlx::Error),
    /// The reply to COMMIT was lost: it may have been written.
    Commit(sqlx::Error),
}

impl Failed {
    /// A COMMIT that PostgreSQL answers with an error was rolled back; without an answer nobody knows.
    fn at_commit(error: sqlx::Error) -> Self {
        let is_answered = error.as_database_error().is_some() && Failure::of(&error) != Failure::Unavailable;
        if is_answered { Failed::Before(error) } else { Failed::Commit(error) }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Failed::Before(error)
    }
}

impl Writer {
    async fn process(&self, batch: Vec<Request>, surroundings: &Surroundings) {
        match self.commit_in_time(&batch).await {
            Ok(answers) => answer_all(batch, answers),
            Err(Failed::Commit(error)) => {
                warn!(project.id = %self.place.project, commands = batch.len(), %error, "the outcome of a commit is unknown");
                let writer = self.clone();
                let stop = surroundings.stop.clone();
                // The room goes on; these commands are answered when it is known what became of them.
                surroundings.tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = writer.resolve(batch) => {}
                    }
                });
            }
            Err(Failed::Before(error)) if batch.len() == 1 => {
                let refusal = self.explain(&error);
                answer_all(batch, vec![Err(refusal)]);
            }
            Err(Failed::Before(error)) if Failure::of(&error) == Failure::Unavailable => {
                let refusal = self.explain(&error);
                let answers = batch.iter().map(|_| Err(refusal.clone())).collect();
                answer_all(batch, answers);
            }
            Err(Failed::Before(error)) => {
                // One of them is to blame. Whoever holds what they need may hold it for each of them.
                let refusal = self.explain(&error);
                let give_up_at = Instant::now() + ANSWER_DEADLINE;
                for request in batch {
                    if Failure::of(&error) == Failure::Busy && Instant::now() > give_up_at {
                        request.answer(Err(refusal.clone()));
                    } else {
                        Box::pin(self.process(vec![request], surroundings)).await;
                    }
                }
            }
        }
    }

    /// Tries while the database is away or busy, as long as the oldest command may wait.
    async fn commit_in_time(&self, batch: &[Request]) -> Result<Vec<Answer>, Failed> {
        let oldest = batch.iter().map(|r| r.received_at).min().unwrap_or_else(Instant::now);
        let deadline = oldest + ANSWER_DEADLINE;
        let mut delay = RETRY_DELAY;
        loop {
            let is_committing = AtomicBool::new(false);
            let attempt = tokio::time::timeout(ANSWER_DEADLINE, self.commit(batch, &is_committing));
            let failed = match attempt.await {
                Ok(Ok(answers)) => return Ok(answers),
                Ok(Err(failed)) => failed,
                Err(_) if is_committing.load(Ordering::Relaxed) => Failed::Commit(sqlx::Error::PoolTimedOut),
                Err(_) => Failed::Before(sqlx::Error::PoolTimedOut),
            };
            let is_passing = match &failed {
                Failed::Commit(_) => return Err(failed),
                Failed::Before(error) => match Failure::of(error) {
                    Failure::Unavailable => true,
                    // Alone, a command that meets a deadlock is tried again; a lock timeout has waited long enough.
                    Failure::Busy => is_deadlock(error),
                    Failure::Refused | Failure::Defect => false,
                },
            };
            if !is_passing || Instant::now() + delay > deadline {
                return Err(failed);
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(Duration::from_millis(500));
        }
    }

    /// Commits a batch; `is_committing` is set once the COMMIT is on its way.
    async fn commit(&self, batch: &[Request], is_committing: &AtomicBool) -> Result<Vec<Answer>, Failed> {
        let firsts = first_of_each(batch);
        let unique: Vec<&Request> =
            firsts.iter().enumerate().filter(|(i, f)| i == *f).map(|(i, _)| &batch[i]).collect();

        let mut tx = self.database.begin(&Tenant::org(self.place.org)).await?;
        let keys: Vec<(CommandKey, [u8; 32])> = unique.iter().map(|r| (r.key, r.body_hash)).collect();
        let claims = commands::claim(&mut tx, self.place.org, &keys).await?;

        let mut answers: HashMap<CommandKey, Answer> = HashMap::with_capacity(unique.len());
        let mut new: Vec<&Request> = Vec::with_capacity(unique.len());
        for (request, claim) in unique.iter().zip(claims) {
            match claim {
                Claim::New => new.push(request),
                Claim::Answered { body_hash, answer } => {
                    answers.insert(request.key, repeated(request, &body_hash, answer));
                }
            }
        }
        if !new.is_empty() {
            let (applied, steps, sealed) = self.apply(&mut tx, &new).await?;
            let fallback = match sealed.iter().find(|s| s.stream == self.place.project.0) {
                Some(sealed) => sealed.head,
                None => events::head(&mut tx, self.place.project).await?,
            };
            let mut kept = Vec::with_capacity(new.len());
            let mut given_back = Vec::new();
            for (request, applied) in new.iter().zip(applied) {
                let answer = finish(request, applied, &sealed, self.place.project, fallback);
                match keep(&answer) {
                    Some(value) => kept.push((request.key, value)),
                    None => given_back.push(request.key),
                }
                answers.insert(request.key, answer);
            }
            undo::answer_and_push(&mut tx, self.place.org, self.place.project, &kept, &steps).await?;
            commands::unclaim(&mut tx, &given_back).await?;
            is_committing.store(true, Ordering::Relaxed);
            tx.commit_sealed(&sealed).await.map_err(Failed::at_commit)?;
        }
        Ok(batch
            .iter()
            .zip(&firsts)
            .enumerate()
            .map(|(i, (request, first))| {
                let answer = answers.get(&request.key).cloned();
                let answer =
                    answer.unwrap_or_else(|| Err(Error::new(ErrorCode::Internal, "the command got no answer")));
                match i == *first {
                    true => answer,
                    false if batch[*first].body_hash != request.body_hash => Err(id_reused()),
                    false => answer.map(|ack| Ack { duplicate: true, ..ack }),
                }
            })
            .collect())
    }

    async fn apply(
        &self,
        tx: &mut Tx,
        new: &[&Request],
    ) -> Result<(Vec<Applied>, Vec<NewStep>, Vec<Sealed>), sqlx::Error> {
        let mut users: Vec<UserId> = new.iter().map(|r| r.key.user).collect();
        users.sort_unstable();
        users.dedup();
        let takers: Vec<UserId> =
            new.iter().filter(|r| matches!(r.command, Command::LockAcquire(_))).map(|r| r.key.user).collect();
        if !takers.is_empty() {
            // Whoever takes a right away waits for us, and then finds the lock that goes with it.
            members::hold(tx, self.place.org, self.place.project, &takers).await?;
        }
        let roles = auth::project_roles(tx, self.place.project, &users).await?;
        let jobs: Vec<Job<'_>> = new
            .iter()
            .map(|r| Job {
                user: r.key.user,
                role: roles.get(&r.key.user).copied(),
                client: r.key.client,
                request: r.key.request,
                command: &r.command,
                via: &r.via,
                answer: match r.reply {
                    Reply::Session(_) => AnswerWith::News,
                    Reply::Caller(_) => AnswerWith::Entity,
                },
            })
            .collect();
        let (applied, steps) = command::apply(tx, self.place, &jobs).await?;
        let sealed = tx.seal().await?;
        Ok((applied, steps, sealed))
    }

    /// Finds out what became of commands whose COMMIT was not answered, however long that takes.
    async fn resolve(&self, batch: Vec<Request>) {
        let mut delay = RETRY_DELAY;
        let answers = loop {
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(Duration::from_millis(500));
            let Ok(attempt) = tokio::time::timeout(ANSWER_DEADLINE, self.commit(&batch, &AtomicBool::new(false))).await
            else {
                continue;
            };
            match attempt {
                Ok(answers) => break answers,
                Err(Failed::Commit(_)) => {}
                Err(Failed::Before(error)) if Failure::of(&error) == Failure::Unavailable => {}
                Err(Failed::Before(error)) if Failure::of(&error) == Failure::Busy => {}
                Err(Failed::Before(error)) => {
                    let refusal = self.explain(&error);
                    break batch.iter().map(|_| Err(refusal.clone())).collect();
                }
            }
        };
        answer_all(batch, answers);
    }

    fn explain(&self, error: &sqlx::Error) -> Error {
        let project = self.place.project;
        match Failure::of(error) {
            Failure::Unavailable => Error::new(ErrorCode::Unavailable, "the database does not answer; try again"),
            Failure::Busy => {
                warn!(project.id = %project, %error, "somebody else holds the project");
                Error::new(ErrorCode::ProjectBusy, "another transaction holds the project; try again")
            }
            // What the database refuses beyond our own rules: a cycle or a reference that came in at the same moment.
            Failure::Refused if is_parent_cycle(error) => {
                Error::new(ErrorCode::Cycle, "the new parent lies below the node itself")
                    .with_details(json!({ "path": cycle_path(error) }))
            }
            Failure::Refused => Error::validation("payload", "refers to something that does not exist or is in use"),
            Failure::Defect => {
                let id = Uuid::new_v4();
                error!(project.id = %project, error.id = %id, %error, "apply a command");
                Error::new(ErrorCode::Internal, format!("the command failed; the server's log knows it as {id}"))
            }
        }
    }
}

/// For each request the index of the first one in the batch with the same key.
fn first_of_each(batch: &[Request]) -> Vec<usize> {
    let mut seen = HashMap::with_capacity(batch.len());
    batch
        .iter()
        .enumerate()
        .map(|(i, request)| match seen.entry(request.key) {
            Entry::Occupied(first) => *first.get(),
            Entry::Vacant(slot) => *slot.insert(i),
        })
        .collect()
}

fn finish(request: &Request, applied: Applied, sealed: &[Sealed], project: ProjectId, fallback: Seq) -> Answer {
    let done = applied?;
    let own = sealed.iter().find(|s| s.stream == project.0).and_then(|s| s.seq_of(request.key.request));
    Ok(Ack {
        outcome: done.outcome,
        seq: own.unwrap_or(fallback),
        version: done.version,
        result: done.result,
        details: done.details,
        duplicate: false,
    })
}

/// What is kept for a repeat; a refusal that may pass is not, so that the same command can succeed later.
fn keep(answer: &Answer) -> Option<Value> {
    let kept = match answer {
        Ok(ack) => Kept::Ack(ack.clone()),
        Err(error) if !error.temporary => Kept::Error(error.clone()),
        Err(_) => return None,
    };
    serde_json::to_value(kept).ok()
}

fn repeated(request: &Request, body_hash: &[u8], answer: Value) -> Answer {
    if body_hash != request.body_hash {
        return Err(id_reused());
    }
    match serde_json::from_value(answer) {
        Ok(Kept::Ack(ack)) => Ok(Ack { duplicate: true, ..ack }),
        Ok(Kept::Error(error)) => Err(error),
        Err(_) => Err(Error::new(ErrorCode::Internal, "the first answer cannot be read")),
    }
}

fn id_reused() -> Error {
    Error::new(ErrorCode::IdempotencyConflict, "this requestId was used before with another body")
}

fn is_deadlock(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|e| e.code()).is_some_and(|code| matches!(code.as_ref(), "40P01" | "40001"))
}

/// Whether the trigger against cycles of parents has refused it.
fn is_parent_cycle(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| e.message() == "parent cycle")
}

/// The nodes of the cycle, which the trigger names in the detail of its error.
fn cycle_path(error: &sqlx::Error) -> Vec<String> {
    let detail = error
        .as_database_error()
        .and_then(|e| e.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
        .and_then(|e| e.detail());
    detail.map(|path| path.split(" -> ").map(str::to_owned).collect()).unwrap_or_default()
}

fn answer_all(batch: Vec<Request>, answers: Vec<Answer>) {
    for (request, answer) in batch.into_iter().zip(answers) {
        request.answer(answer);
    }
}

fn outcome(answer: &Answer) -> &'static str {
    match answer {
        Ok(Ack { duplicate: true, .. }) => "duplicate",
        Ok(_) => "committed",
        Err(error) if error.temporary => "deferred",
        Err(_) => "refused",
    }
}
