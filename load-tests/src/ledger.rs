//! What a client has asked for and what became of it: each command gets one answer and, if it changed something, one
//! event.

use glassbox_protocol::server::Outcome;
use tokio::time::Instant;
use uuid::Uuid;

/// One client's commands, in the order in which they were sent.
pub struct Ledger {
    /// Upper half of the request ids: the number of a request is its lower half.
    tag: u64,
    sent: Vec<Sent>,
    unfinished: usize,
    violations: Vec<String>,
}

/// A command that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When it was due.
    pub due: Instant,
    /// When and how it was answered.
    pub answer: Option<(Instant, Verdict)>,
    /// When its event came, and with which number.
    pub event: Option<(Instant, i64)>,
    seq: Option<i64>,
}

/// How a command was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It changed something: an event belongs to it.
    Changed,
    /// Nothing was to be changed.
    Unchanged,
    /// It was not applied.
    Refused,
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied | Outcome::Adjusted => Verdict::Changed,
            Outcome::Unchanged => Verdict::Unchanged,
        }
    }
}

impl Sent {
    /// Answer and event name the same number, whichever comes first.
    fn agree_on(&mut self, seq: i64) -> Result<(), &'static str> {
        match *self.seq.get_or_insert(seq) == seq {
            true => Ok(()),
            false => Err("an answer with another number than the event"),
        }
    }

    fn is_finished(&self) -> bool {
        match self.answer {
            Some((_, Verdict::Changed)) => self.event.is_some(),
            Some((_, Verdict::Unchanged | Verdict::Refused)) => true,
            None => false,
        }
    }
}

impl Ledger {
    /// Starts an empty ledger for a client with a number of its own.
    pub fn new(client: u32) -> Self {
        let (run, _) = Uuid::new_v4().as_u64_pair();
        Self { tag: run << 32 | u64::from(client), sent: Vec::new(), unfinished: 0, violations: Vec::new() }
    }

    /// Enters a command that is due now and gives it an id.
    pub fn send_now(&mut self) -> Uuid {
        self.send(Instant::now())
    }

    /// Enters a command and gives it an id.
    pub fn send(&mut self, due: Instant) -> Uuid {
        let id = Uuid::from_u64_pair(self.tag, self.sent.len() as u64);
        self.sent.push(Sent { due, answer: None, event: None, seq: None });
        self.unfinished += 1;
        id
    }

    /// Notes an answer and the number that it gives the command's event. Commands of others are not ours to judge.
    pub fn answered(&mut self, request: Uuid, verdict: Verdict, seq: i64) {
        self.change(request, |sent| {
            if sent.answer.is_some() {
                return Err("a second answer");
            }
            sent.answer = Some((Instant::now(), verdict));
            match verdict {
                Verdict::Changed => sent.agree_on(seq),
                Verdict::Unchanged | Verdict::Refused => Ok(()),
            }
        });
    }

    /// Notes a refusal.
    pub fn refused(&mut self, request: Uuid) {
        self.answered(request, Verdict::Refused, 0);
    }

    /// Notes an event.
    pub fn happened(&mut self, request: Uuid, seq: i64) {
        self.change(request, |sent| match sent.event {
            Some(_) => Err("a second event"),
            None => {
                sent.event = Some((Instant::now(), seq));
                sent.agree_on(seq)
            }
        });
    }

    fn change(&mut self, request: Uuid, change: impl FnOnce(&mut Sent) -> Result<(), &'static str>) {
        let (tag, number) = request.as_u64_pair();
        if tag != self.tag {
            return;
        }
        let Some(sent) = usize::try_from(number).ok().and_then(|n| self.sent.get_mut(n)) else { return };
        let was_finished = sent.is_finished();
        if let Err(what) = change(sent) {
            self.violations.push(format!("{what} of command {number} of client {:x}", self.tag & 0xffff_ffff));
        }
        if !was_finished && sent.is_finished() {
            self.unfinished -= 1;
        }
    }

    /// How many commands lack an answer or their event.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// How many commands were entered.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// The commands from one number on.
    pub fn since(&self, number: usize) -> &[Sent] {
        self.sent.get(number..).unwrap_or_default()
    }

    /// The promises that were broken, once no more is expected.
    pub fn verdict(mut self) -> Vec<String> {
        let count = |is_such: fn(&Sent) -> bool| self.sent.iter().filter(|s| is_such(s)).count();
        let lost = [
            (count(|s| s.answer.is_none()), "commands without an answer"),
            (
                count(|s| matches!(s.answer, Some((_, Verdict::Changed))) && s.event.is_none()),
                "acknowledged commands without an event",
            ),
            (
                count(|s| matches!(s.answer, Some((_, Verdict::Unchanged | Verdict::Refused))) && s.event.is_some()),
                "events of commands that were said to change nothing",
            ),
        ];
        let client = self.tag & 0xffff_ffff;
        for (count, what) in lost.into_iter().filter(|(count, _)| *count > 0) {
            self.violations.push(format!("{count} {what} (client {client:x})"));
        }
        self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_needs_one_answer_and_one_event() {
        let mut ledger = Ledger::new(7);
        let ids: Vec<Uuid> = (0..4).map(|_| ledger.send_now()).collect();
        ledger.happened(ids[0], 1);
        ledger.answered(ids[0], Verdict::Changed, 1);
        ledger.refused(ids[1]);
        assert_eq!(ledger.unfinished(), 2);
        ledger.answered(ids[2], Verdict::Changed, 2);
        assert_eq!(ledger.unfinished(), 2, "its event is missing");
        ledger.happened(ids[0], 2);
        ledger.happened(Uuid::new_v4(), 3);
        let violations = ledger.verdict();
        assert_eq!(violations.len(), 3, "a second event, a missing one and a missing answer: {violations:?}");
    }

    #[test]
    fn an_answer_names_the_number_of_its_event() {
        let mut ledger = Ledger::new(7);
        let id = ledger.send_now();
        ledger.answered(id, Verdict::Changed, 4);
        ledger.happened(id, 5);
        assert_eq!(ledger.verdict().len(), 1);
    }
}
