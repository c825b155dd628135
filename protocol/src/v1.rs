//! The older dialect: what a connection without the subprotocol [`crate::SUBPROTOCOL`] speaks, for the canvas client that
//! was there first. The same rooms in other words: entities are those of [`crate::entity`].

pub mod client;
pub mod server;

pub use client::{ClientFrame, ClientMessage};
pub use server::{ServerFrame, ServerMessage};
