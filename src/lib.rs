//! The GlassBox server: everything between a browser's socket and PostgreSQL and back.
//!
//! A change enters only through a commit and leaves only through the log. `ARCHITECTURE.md` says where each kind of
//! line lives.

pub mod app;
pub mod auth;
pub mod backplane;
pub mod canvas;
pub mod cli;
pub mod command;
pub mod config;
pub mod demo;
pub mod http;
pub mod lock;
pub mod metrics;
pub mod org_settings;
pub mod postgres;
pub mod room;
pub mod server;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod template;
