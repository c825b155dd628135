//! What this instance has committed and nobody was told yet.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use glassbox_protocol::Seq;
use tokio::sync::Notify;
use uuid::Uuid;

/// The newest heads of streams, for one listener. Coalesces: a stream stands in it once, so it is never larger than
/// the number of streams that this instance writes to.
#[derive(Default)]
pub struct Heads {
    pending: Mutex<HashMap<Uuid, Seq>>,
    news: Notify,
}

impl Heads {
    /// Notes new heads and wakes the listener.
    pub fn note(&self, heads: impl IntoIterator<Item = (Uuid, Seq)>) {
        let mut is_news = false;
        {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            for (stream, head) in heads {
                let newest = pending.entry(stream).or_insert(head);
                *newest = head.max(*newest);
                is_news = true;
            }
        }
        if is_news {
            self.news.notify_one();
        }
    }

    /// Waits for news and takes all of it.
    pub async fn take(&self) -> HashMap<Uuid, Seq> {
        loop {
            let taken = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken;
            }
            self.news.notified().await;
        }
    }
}

/// What this instance has committed: once for the log reader, once for the doorbell that tells the other instances.
#[derive(Default)]
pub struct Commits {
    everything: Notify,
    /// For the log reader of this instance; signals from others arrive here as well.
    pub reader: Heads,
    /// For the doorbell.
    pub doorbell: Heads,
}

impl Commits {
    /// Asks the log reader to look at every stream: signals may have been lost.
    pub fn look_at_everything(&self) {
        self.everything.notify_one();
    }

    /// Waits until the log reader is asked to look at every stream.
    pub async fn asked_for_everything(&self) {
        self.everything.notified().await;
    }

    /// Notes what a transaction of this instance has written.
    pub fn note(&self, heads: impl IntoIterator<Item = (Uuid, Seq)> + Clone) {
        self.reader.note(heads.clone());
        self.doorbell.note(heads);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heads_coalesce_to_the_newest() {
        let heads = Heads::default();
        let stream = Uuid::new_v4();
        heads.note([(stream, Seq(3))]);
        heads.note([(stream, Seq(2))]);
        assert_eq!(heads.take().await, HashMap::from([(stream, Seq(3))]));
    }
}
