//! Ids as types, so that a node's id can never stand where a project's belongs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a new random id.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

uuid_id!(
    /// An organization: the tenant.
    OrgId
);
uuid_id!(
    /// A project: the data whose open form is a room.
    ProjectId
);
uuid_id!(
    /// A node: a unit of work on the canvas.
    NodeId
);
uuid_id!(
    /// A dependency: an edge from one node to another.
    DependencyId
);
uuid_id!(
    /// One run of an agent on a node.
    ExecutionId
);
uuid_id!(
    /// A file.
    FileId
);
uuid_id!(
    /// A notification: something that a person reads.
    NotificationId
);
uuid_id!(
    /// A person or an agent with a row in `users`.
    UserId
);
uuid_id!(
    /// The server's side of one WebSocket.
    SessionId
);
uuid_id!(
    /// One browser tab or program; kept over reconnects.
    ClientId
);
uuid_id!(
    /// One command of one client; unique per client.
    RequestId
);
uuid_id!(
    /// One unbroken life of a project's log.
    Epoch
);

/// An event's number in its project: 1, 2, 3, ... without gaps. Stays below 2^53.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Seq(pub i64);

impl Seq {
    /// The position before the first event.
    pub const ZERO: Seq = Seq(0);

    /// The number of the event that follows this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A lock's token: grows with every acquisition and is checked by the write. Stays below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Fence(pub i64);
