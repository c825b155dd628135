//! The wire types of GlassBox: every frame of the `glassbox.v2` WebSocket protocol and the entities it shares
//! with the REST API.
//!
//! This crate owns names and shapes only; it depends on serde and uuid and knows neither transport nor storage.
//! `golden/` beside it holds one example of each frame, `schema/` the JSON Schema generated from these types.

#[cfg(feature = "schema")]
pub mod asyncapi;
pub mod channel;
pub mod client;
pub mod entity;
pub mod error;
pub mod event;
pub mod id;
#[cfg(feature = "schema")]
pub mod schema;
pub mod server;
pub mod v1;

pub use channel::Channel;
pub use client::{ClientMessage, Command};
pub use error::{Error, ErrorCode};
pub use event::{Event, EventFrame};
pub use id::{
    ClientId, DependencyId, Epoch, ExecutionId, Fence, FileId, NodeId, NotificationId, OrgId, ProjectId, RequestId,
    Seq, SessionId, UserId,
};
pub use server::ServerMessage;

/// The WebSocket subprotocol that these types describe.
pub const SUBPROTOCOL: &str = "glassbox.v2";

/// The protocol version that this crate speaks, as `hello` and `welcome` name it.
pub const PROTOCOL_VERSION: u32 = 2;

/// The AsyncAPI 3 document of the protocol, JSON text; generated from these types and checked against them.
pub const ASYNCAPI: &str = include_str!("../schema/asyncapi.json");
