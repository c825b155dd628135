//! Events as the fan-out handles them: a line of the log, rendered once per channel, generation and audience.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::OnceLock;

use anyhow::Context as _;
use glassbox_protocol::{Channel, ClientId, NodeId, Seq, UserId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::frame::Frame;
use crate::store::events::{LogRow, open_event, split_line};

mod about;

/// One event of a log.
#[derive(Debug)]
pub struct Event {
    /// Its number.
    pub seq: Seq,
    /// What it means to the room itself.
    pub kind: Kind,
    at: String,
    /// Whether its transaction ends with it.
    is_last: bool,
    /// The object that everybody sees.
    public: String,
    private: Option<Private>,
    /// The nodes that it concerns, once somebody asked.
    nodes: OnceLock<Vec<NodeId>>,
}

/// What an event means to the room itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Other,
    /// It may concern several nodes, each with a part of its own.
    Moves,
    /// A lock came or went.
    Lock,
    /// Somebody's rights may be others now.
    Rights,
    /// The project is gone.
    ProjectDeleted,
}

#[derive(Debug)]
struct Private {
    user: UserId,
    client: Option<ClientId>,
    /// The command, for its author's sessions.
    request: Option<Uuid>,
    /// The object as the client that holds the lock sees it.
    holder: Option<String>,
}

#[derive(Deserialize)]
struct PublicPart<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    // Parsed so that a line which is not JSON never reaches a client.
    #[serde(rename = "payload")]
    _payload: IgnoredAny,
}

#[derive(Deserialize)]
struct PrivatePart {
    request: Option<Uuid>,
    client: Option<ClientId>,
    user: Option<UserId>,
    fence: Option<i64>,
}

impl Event {
    /// Splits a row of the log into its events.
    ///
    /// # Errors
    /// A line that is not what the triggers write: the log was changed by hand.
    pub fn split(row: &LogRow) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::with_capacity(usize::try_from(row.count).unwrap_or(0));
        let mut seq = row.start();
        for line in row.body.lines() {
            seq = seq.next();
            events.push(Event::parse(seq, &row.at, seq == row.seq, line)?);
        }
        anyhow::ensure!(seq == row.seq, "row {} holds {} events", row.seq, events.len());
        Ok(events)
    }

    fn parse(seq: Seq, at: &str, is_last: bool, line: &str) -> anyhow::Result<Event> {
        let (public, private) = split_line(line);
        let part: PublicPart<'_> = serde_json::from_str(public)?;
        let kind = match part.kind {
            "member_added" | "member_updated" | "member_removed" => Kind::Rights,
            "project_updated" => Kind::Rights,
            "project_deleted" => Kind::ProjectDeleted,
            "nodes_moved" => Kind::Moves,
            "lock_acquired" | "lock_released" => Kind::Lock,
            _ => Kind::Other,
        };
        anyhow::ensure!(public.ends_with('}'), "a line of the log is not an object");
        let private = match private {
            None => None,
            Some(text) => {
                let part: PrivatePart = serde_json::from_str(text).context("what only the author sees")?;
                part.user.map(|user| {
                    // The fence belongs into the payload, which stands last in the stored object.
                    let holder = part.fence.and_then(|fence| {
                        let stored = public.strip_suffix("}}")?;
                        Some(format!(r#"{stored}, "fence": {fence}}}}}"#))
                    });
                    Private { user, client: part.client, request: part.request, holder }
                })
            }
        };
        Ok(Event { seq, kind, at: at.to_owned(), is_last, public: public.to_owned(), private, nodes: OnceLock::new() })
    }

    /// The event as the channel of its own log shows it.
    pub fn whole(&self) -> Shown<'_> {
        Shown { event: self, object: Cow::Borrowed(&self.public), is_last: self.is_last }
    }

    /// Whether this user sees more of the event than others do.
    pub fn concerns(&self, user: UserId) -> bool {
        self.private.as_ref().is_some_and(|p| p.user == user)
    }

    /// About how much memory the event takes, bytes.
    pub fn size(&self) -> usize {
        let private = self.private.as_ref().map_or(0, |p| 64 + p.holder.as_ref().map_or(0, String::len));
        64 + self.public.len() + private
    }
}

/// An event as one channel shows it.
pub struct Shown<'a> {
    event: &'a Event,
    object: Cow<'a, str>,
    /// Whether it is the last one of its transaction on this channel.
    is_last: bool,
}

impl Shown<'_> {
    /// The event's number.
    pub fn seq(&self) -> Seq {
        self.event.seq
    }

    /// Whether this user sees more of the event than others do.
    pub fn concerns(&self, user: UserId) -> bool {
        self.event.concerns(user)
    }

    /// The frame for one member.
    pub fn render(&self, channel: Channel, generation: u32, user: UserId, client: ClientId) -> Frame {
        match &self.event.private {
            Some(private) if private.user == user => {
                let object = match &private.holder {
                    Some(holder) if private.client == Some(client) => holder,
                    _ => self.object.as_ref(),
                };
                self.frame(object, channel, generation, private.request)
            }
            _ => self.render_public(channel, generation),
        }
    }

    /// The frame for everybody who has no part in the event.
    pub fn render_public(&self, channel: Channel, generation: u32) -> Frame {
        self.frame(&self.object, channel, generation, None)
    }

    fn frame(&self, object: &str, channel: Channel, generation: u32, request: Option<Uuid>) -> Frame {
        let Event { seq, at, .. } = self.event;
        // Whatever was parsed is an object.
        let mut text = open_event(object, channel, *seq, at, self.is_last).unwrap_or_default();
        if let Some(request) = request {
            let _ = write!(text, r#","requestId":"{request}""#);
        }
        let _ = write!(text, r#","generation":{generation}}}"#);
        Frame::text(&text)
    }
}

/// What of consecutive events concerns one node. They end where a transaction ends, so the last of a transaction is known.
pub fn about_node<'a>(events: impl DoubleEndedIterator<Item = &'a Event>, node: NodeId) -> Vec<Shown<'a>> {
    let mut shown: Vec<Shown<'a>> = Vec::new();
    let mut is_last = true;
    for event in events.rev() {
        is_last |= event.is_last;
        if let Some(object) = event.about(node) {
            shown.push(Shown { event, object, is_last });
            is_last = false;
        }
    }
    shown.reverse();
    shown
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::{EventFrame, Fence, NodeId, ProjectId};

    use super::*;

    fn decode(frame: &Frame) -> EventFrame {
        let bytes = frame.bytes();
        let start = bytes.iter().position(|b| *b == b'{').expect("a frame holds an object");
        serde_json::from_slice(&bytes[start..]).expect("a frame decodes")
    }

    #[test]
    fn only_the_holder_sees_the_fence_and_only_the_author_the_request() {
        let (project, node) = (ProjectId::random(), NodeId::random());
        let channel = Channel::Project(project);
        let (user, client, request) = (UserId::random(), ClientId::random(), Uuid::new_v4());
        let body = format!(
            "{{\"by\": null, \"type\": \"node_deleted\", \"payload\": {{\"nodeId\": \"{node}\"}}}}\n\
             {{\"by\": {{\"id\": \"{user}\", \"kind\": \"user\"}}, \"type\": \"lock_acquired\", \"payload\": {{\"nodeId\": \"{node}\", \
             \"lockedBy\": \"{user}\", \"lockedAt\": \"t\", \"expiresAt\": \"t\", \"expiresInMs\": 5}}}}\t\
             {{\"user\": \"{user}\", \"client\": \"{client}\", \"request\": \"{request}\", \"fence\": 7}}"
        );
        let row = LogRow { stream: project.0, seq: Seq(9), count: 2, body, at: "2026-01-01T00:00:00.000000Z".into() };
        let events = Event::split(&row).expect("the row splits");
        assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [Seq(8), Seq(9)]);
        assert!(!decode(&events[0].whole().render_public(channel, 1)).tx_end);

        let fence = |frame: &EventFrame| match &frame.event {
            glassbox_protocol::Event::LockAcquired { fence, .. } => *fence,
            other => panic!("not a lock: {other:?}"),
        };
        let stranger = decode(&events[1].whole().render(channel, 3, UserId::random(), client));
        assert_eq!((fence(&stranger), stranger.request_id, stranger.generation), (None, None, Some(3)));
        assert!(stranger.tx_end);
        let author = decode(&events[1].whole().render(channel, 1, user, ClientId::random()));
        assert_eq!((fence(&author), author.request_id.map(|r| r.0)), (None, Some(request)));
        let holder = decode(&events[1].whole().render(channel, 1, user, client));
        assert_eq!((fence(&holder), holder.request_id.map(|r| r.0)), (Some(Fence(7)), Some(request)));
    }
}
