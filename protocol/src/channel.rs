//! Channel names: what a frame belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{ExecutionId, NodeId, ProjectId};

/// A stream of frames, written `project:<uuid>`, `node:<uuid>`, `execution:<uuid>` or `user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// A project's log and the presence of its members.
    Project(ProjectId),
    /// What of a project's log and presence concerns one node. Its frames carry the project's seq, so numbers are left
    /// out where an event concerns other nodes.
    Node(NodeId),
    /// The trace of one execution, a log of its own.
    Execution(ExecutionId),
    /// What concerns the caller alone. Every session has it without a subscription.
    User,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Channel::Project(id) => write!(f, "project:{id}"),
            Channel::Node(id) => write!(f, "node:{id}"),
            Channel::Execution(id) => write!(f, "execution:{id}"),
            Channel::User => f.write_str("user"),
        }
    }
}

/// A text that is not the name of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidChannel;

impl fmt::Display for InvalidChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a channel: project:<uuid>, node:<uuid>, execution:<uuid> or user")
    }
}

impl std::error::Error for InvalidChannel {}

impl FromStr for Channel {
    type Err = InvalidChannel;

    fn from_str(text: &str) -> Result<Self, InvalidChannel> {
        if text == "user" {
            return Ok(Channel::User);
        }
        let (kind, id) = text.split_once(':').ok_or(InvalidChannel)?;
        match kind {
            "project" => id.parse().map(Channel::Project).map_err(|_| InvalidChannel),
            "node" => id.parse().map(Channel::Node).map_err(|_| InvalidChannel),
            "execution" => id.parse().map(Channel::Execution).map_err(|_| InvalidChannel),
            _ => Err(InvalidChannel),
        }
    }
}

impl Serialize for Channel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Channel {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Channel".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(user|(project|node|execution):[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_survives_a_round_trip() {
        let (project, node, execution) = (ProjectId::random(), NodeId::random(), ExecutionId::random());
        for channel in [Channel::Project(project), Channel::Node(node), Channel::Execution(execution), Channel::User] {
            assert_eq!(channel.to_string().parse(), Ok(channel));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "project", "project:", "project:project-1", "room:1", "project:{}", "node:1", "user:1"] {
            assert_eq!(text.parse::<Channel>(), Err(InvalidChannel), "{text}");
        }
    }
}
