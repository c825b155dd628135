//! Events as the fan-out handles them: a line of the log, rendered once per audience.

use std::fmt::Write as _;

use anyhow::Context as _;
use glassbox_protocol::{Channel, ClientId, ProjectId, Seq, UserId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::frame::Frame;
use crate::store::events::{LogRow, open_event, split_line};

/// One event of a project's log.
#[derive(Debug)]
pub struct Event {
    /// Its number.
    pub seq: Seq,
    /// What it means to the room itself.
    pub kind: Kind,
    /// The frame as everybody sees it, up to the generation.
    public: String,
    private: Option<Private>,
}

/// What an event means to the room itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Other,
    /// Somebody's rights may be others now.
    Rights,
    /// The project is gone.
    ProjectDeleted,
}

#[derive(Debug)]
struct Private {
    user: UserId,
    client: Option<ClientId>,
    /// The frame as its author's sessions see it.
    author: String,
    /// The frame as the client that holds the lock sees it.
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
    pub fn split(project: ProjectId, row: &LogRow) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::with_capacity(usize::try_from(row.count).unwrap_or(0));
        let mut seq = row.start();
        for line in row.body.lines() {
            seq = seq.next();
            let is_last = seq == row.seq;
            events.push(Event::parse(project, seq, &row.at, is_last, line)?);
        }
        anyhow::ensure!(seq == row.seq, "row {} holds {} events", row.seq, events.len());
        Ok(events)
    }

    fn parse(project: ProjectId, seq: Seq, at: &str, is_last: bool, line: &str) -> anyhow::Result<Event> {
        let (public, private) = split_line(line);
        let part: PublicPart<'_> = serde_json::from_str(public)?;
        let kind = match part.kind {
            "member_added" | "member_updated" | "member_removed" => Kind::Rights,
            "project_updated" => Kind::Rights,
            "project_deleted" => Kind::ProjectDeleted,
            _ => Kind::Other,
        };
        let channel = Channel::Project(project);
        let open = open_event(public, channel, seq, at, is_last).context("a line of the log is not an object")?;
        let private = match private {
            None => None,
            Some(text) => {
                let part: PrivatePart = serde_json::from_str(text)?;
                part.user.map(|user| {
                    let mut author = open.clone();
                    if let Some(request) = part.request {
                        let _ = write!(author, r#","requestId":"{request}""#);
                    }
                    // The fence belongs into the payload, which stands last in the stored object.
                    let holder = part.fence.and_then(|fence| {
                        let stored = public.strip_suffix("}}")?;
                        let with_fence = format!(r#"{stored}, "fence": {fence}}}}}"#);
                        let mut holder = open_event(&with_fence, channel, seq, at, is_last)?;
                        if let Some(request) = part.request {
                            let _ = write!(holder, r#","requestId":"{request}""#);
                        }
                        Some(holder)
                    });
                    Private { user, client: part.client, author, holder }
                })
            }
        };
        Ok(Event { seq, kind, public: open, private })
    }

    /// Whether everybody sees the same frame.
    pub fn is_public(&self) -> bool {
        self.private.is_none()
    }

    /// The frame for one member.
    pub fn render(&self, generation: u32, user: UserId, client: ClientId) -> Frame {
        let open = match &self.private {
            Some(private) if private.user == user => match &private.holder {
                Some(holder) if private.client == Some(client) => holder,
                _ => &private.author,
            },
            _ => &self.public,
        };
        close_frame(open, generation)
    }

    /// The frame for everybody who has no part in the event.
    pub fn render_public(&self, generation: u32) -> Frame {
        close_frame(&self.public, generation)
    }

    /// Whether this user sees more of the event than others do.
    pub fn concerns(&self, user: UserId) -> bool {
        self.private.as_ref().is_some_and(|p| p.user == user)
    }

    /// About how much memory the event takes, bytes.
    pub fn size(&self) -> usize {
        self.public.len()
            + self.private.as_ref().map_or(0, |p| p.author.len() + p.holder.as_ref().map_or(0, String::len))
    }
}

fn close_frame(open: &str, generation: u32) -> Frame {
    Frame::text(&format!(r#"{open},"generation":{generation}}}"#))
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::{EventFrame, Fence, NodeId};

    use super::*;

    fn decode(frame: &Frame) -> EventFrame {
        let bytes = frame.bytes();
        let start = bytes.iter().position(|b| *b == b'{').expect("a frame holds an object");
        serde_json::from_slice(&bytes[start..]).expect("a frame decodes")
    }

    #[test]
    fn only_the_holder_sees_the_fence_and_only_the_author_the_request() {
        let (project, node) = (ProjectId::random(), NodeId::random());
        let (user, client, request) = (UserId::random(), ClientId::random(), Uuid::new_v4());
        let body = format!(
            "{{\"by\": null, \"type\": \"node_deleted\", \"payload\": {{\"nodeId\": \"{node}\"}}}}\n\
             {{\"by\": {{\"id\": \"{user}\", \"kind\": \"user\"}}, \"type\": \"lock_acquired\", \"payload\": {{\"nodeId\": \"{node}\", \
             \"lockedBy\": \"{user}\", \"lockedAt\": \"t\", \"expiresAt\": \"t\", \"expiresInMs\": 5}}}}\t\
             {{\"user\": \"{user}\", \"client\": \"{client}\", \"request\": \"{request}\", \"fence\": 7}}"
        );
        let row = LogRow { stream: project.0, seq: Seq(9), count: 2, body, at: "2026-01-01T00:00:00.000000Z".into() };
        let events = Event::split(project, &row).expect("the row splits");
        assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [Seq(8), Seq(9)]);
        assert!(!decode(&events[0].render_public(1)).tx_end);

        let fence = |frame: &EventFrame| match &frame.event {
            glassbox_protocol::Event::LockAcquired { fence, .. } => *fence,
            other => panic!("not a lock: {other:?}"),
        };
        let stranger = decode(&events[1].render(3, UserId::random(), client));
        assert_eq!((fence(&stranger), stranger.request_id, stranger.generation), (None, None, Some(3)));
        assert!(stranger.tx_end);
        let author = decode(&events[1].render(1, user, ClientId::random()));
        assert_eq!((fence(&author), author.request_id.map(|r| r.0)), (None, Some(request)));
        let holder = decode(&events[1].render(1, user, client));
        assert_eq!((fence(&holder), holder.request_id.map(|r| r.0)), (Some(Fence(7)), Some(request)));
    }
}
