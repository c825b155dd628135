//! Presence between instances: what changed in a room here, in small texts that a signal can carry.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use glassbox_protocol::{ProjectId, SessionId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::room::presence::Diff;

/// Most texts that wait to be sent. Presence is latest-value: when the backplane is slower, the oldest are let go.
const WAITING_MAX: usize = 1024;

/// Texts that are sent together; commits are signalled in between.
const TAKEN_MAX: usize = 32;

/// Largest text, bytes; NOTIFY carries 7 999.
const TEXT_BYTES_MAX: usize = 7_800;

/// One text on its way to the other instances.
#[derive(Debug, Serialize, Deserialize)]
pub struct Parcel {
    /// The instance that sends it.
    pub from: Uuid,
    /// The room.
    pub project: ProjectId,
    /// What it says.
    #[serde(flatten)]
    pub content: Content,
}

/// What a parcel says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// What changed about who is here.
    Diff(Diff),
    /// Everybody who sits there, so that nobody stays who has gone unnoticed.
    Roster(Vec<SessionId>),
    /// Who is there? Asked by a room that has just opened.
    Ask(()),
}

/// The way out for presence.
pub struct Relay {
    instance: Uuid,
    /// Nobody listens while this instance is the only one.
    has_others: AtomicBool,
    waiting: Mutex<VecDeque<String>>,
    news: Notify,
}

impl Relay {
    /// Makes the way out of an instance.
    pub fn new(instance: Uuid) -> Self {
        Self { instance, has_others: AtomicBool::new(false), waiting: Mutex::default(), news: Notify::new() }
    }

    /// Says whether other instances live.
    pub fn set_has_others(&self, has_others: bool) {
        self.has_others.store(has_others, Ordering::Relaxed);
    }

    /// Tells the other instances what changed in a room here.
    pub fn tell(&self, project: ProjectId, diff: &Diff) {
        if !diff.is_empty() {
            self.queue(project, Content::Diff(diff.clone()));
        }
    }

    /// Asks the other instances who is in a room there.
    pub fn ask(&self, project: ProjectId) {
        self.queue(project, Content::Ask(()));
    }

    /// Tells the other instances everybody who sits here. A room too large for one text does without.
    pub fn roster(&self, project: ProjectId, sessions: Vec<SessionId>) {
        self.queue(project, Content::Roster(sessions));
    }

    /// Waits for texts and takes some of them.
    pub async fn take(&self) -> Vec<String> {
        loop {
            let taken: Vec<String> = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let some = waiting.len().min(TAKEN_MAX);
                waiting.drain(..some).collect()
            };
            if !taken.is_empty() {
                return taken;
            }
            self.news.notified().await;
        }
    }

    fn queue(&self, project: ProjectId, content: Content) {
        if !self.has_others.load(Ordering::Relaxed) {
            return;
        }
        let mut texts = Vec::new();
        encode(Parcel { from: self.instance, project, content }, &mut texts);
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.extend(texts);
            while waiting.len() > WAITING_MAX {
                waiting.pop_front();
            }
        }
        self.news.notify_one();
    }
}

/// Writes a parcel as texts that fit; a diff that is too large is halved, a single entry that is too large is let go.
fn encode(parcel: Parcel, texts: &mut Vec<String>) {
    let Ok(text) = serde_json::to_string(&parcel) else { return };
    if text.len() <= TEXT_BYTES_MAX {
        texts.push(text);
        return;
    }
    let Parcel { from, project, content: Content::Diff(diff) } = parcel else { return };
    let (first, second) = halve(diff);
    if first.is_empty() || second.is_empty() {
        return;
    }
    for half in [first, second] {
        encode(Parcel { from, project, content: Content::Diff(half) }, texts);
    }
}

fn halve(mut diff: Diff) -> (Diff, Diff) {
    let total = diff.leaves.len() + diff.joins.len() + diff.updates.len();
    let mut left = total / 2;
    let mut cut = |length: usize| {
        let kept = length.min(left);
        left -= kept;
        kept
    };
    let leaves = diff.leaves.split_off(cut(diff.leaves.len()));
    let joins = diff.joins.split_off(cut(diff.joins.len()));
    let updates = diff.updates.split_off(cut(diff.updates.len()));
    (diff, Diff { joins, leaves, updates })
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::SessionId;

    use super::*;

    #[test]
    fn a_large_diff_is_sent_in_pieces_that_fit() {
        let relay = Relay::new(Uuid::new_v4());
        relay.set_has_others(true);
        let leaves: Vec<SessionId> = (0..1000).map(|_| SessionId::random()).collect();
        relay.tell(ProjectId::random(), &Diff { leaves: leaves.clone(), ..Diff::default() });
        let texts = relay.waiting.lock().expect("no panic").clone();
        let mut heard = Vec::new();
        for text in &texts {
            assert!(text.len() <= TEXT_BYTES_MAX);
            match serde_json::from_str::<Parcel>(text).expect("a parcel decodes").content {
                Content::Diff(diff) => heard.extend(diff.leaves),
                other => panic!("nobody said {other:?}"),
            }
        }
        assert_eq!(heard, leaves);
    }

    #[test]
    fn an_instance_alone_tells_nobody() {
        let relay = Relay::new(Uuid::new_v4());
        relay.ask(ProjectId::random());
        assert!(relay.waiting.lock().expect("no panic").is_empty());
    }
}
