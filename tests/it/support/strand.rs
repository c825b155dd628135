//! What a client checks of a channel that is no project's: a node's, whose numbers grow and skip, or an execution's, whose
//! numbers are dense.

use glassbox_protocol::server::ServerMessage;
use glassbox_protocol::{Channel, Epoch, Error, EventFrame, RequestId, Seq};

/// A subscription to a node or an execution, since it was last asked for.
#[derive(Clone, Debug)]
pub struct Strand {
    /// The `subscribe`.
    pub request: RequestId,
    /// The life of the log that `subscribed` or `reset` named.
    pub epoch: Option<Epoch>,
    /// The newest position that the client was told of: what a resume names.
    pub seq: Seq,
    /// Whether `synced` came.
    pub is_synced: bool,
    /// Why there is no subscription.
    pub refused: Option<Error>,
    /// The events that came, in order.
    pub events: Vec<EventFrame>,
    /// How many times the server said `reset`.
    pub resets: u32,
    generation: Option<u32>,
    /// Whether the position is known: not before the state or the first event of a resume.
    is_at: bool,
}

impl Strand {
    /// Begins where `from` says.
    pub fn new(request: RequestId, from: Option<Seq>) -> Self {
        Self {
            request,
            epoch: None,
            seq: from.unwrap_or_default(),
            is_synced: false,
            refused: None,
            events: Vec::new(),
            resets: 0,
            generation: None,
            is_at: from.is_some(),
        }
    }

    /// Takes an event.
    ///
    /// # Errors
    /// It is out of order.
    pub fn event(&mut self, frame: EventFrame) -> Result<(), String> {
        if frame.generation != self.generation {
            return Ok(());
        }
        let is_dense = matches!(frame.channel, Channel::Execution(_));
        let follows = if is_dense { frame.seq == self.seq.next() } else { frame.seq > self.seq };
        if self.is_at && !follows {
            return Err(format!("event {} of {} after {}", frame.seq, frame.channel, self.seq));
        }
        self.is_at = true;
        self.seq = frame.seq;
        self.events.push(frame);
        Ok(())
    }

    /// Takes what the server says of the subscription.
    ///
    /// # Errors
    /// It says it out of turn.
    pub fn message(&mut self, message: &ServerMessage) -> Result<(), String> {
        match message {
            ServerMessage::Subscribed(frame) => {
                (self.generation, self.epoch) = (Some(frame.generation), Some(frame.epoch));
            }
            ServerMessage::Snapshot(frame) if Some(frame.generation) == self.generation => self.is_at(frame.seq),
            ServerMessage::TraceState(frame) if Some(frame.generation) == self.generation => self.is_at(frame.seq),
            ServerMessage::Reset(frame) if Some(frame.generation) == self.generation => {
                self.epoch = Some(frame.epoch);
                self.resets += 1;
                (self.is_at, self.is_synced) = (false, false);
                self.events.clear();
            }
            ServerMessage::Synced(frame) if Some(frame.generation) == self.generation => {
                if self.is_synced || (self.is_at && frame.seq < self.seq) {
                    return Err(format!("synced at {} after {}", frame.seq, self.seq));
                }
                self.is_synced = true;
                self.is_at(frame.seq);
            }
            ServerMessage::Head(frame) if Some(frame.generation) == self.generation => {
                if frame.seq < self.seq {
                    return Err(format!("head says {} after {}", frame.seq, self.seq));
                }
                self.is_at(frame.seq);
            }
            _ => {}
        }
        Ok(())
    }

    fn is_at(&mut self, seq: Seq) {
        (self.seq, self.is_at) = (seq, true);
    }
}
