//! The integration tests, in one binary: on a real PostgreSQL, with one database for each test.

mod audit;
mod auth;
mod canvas;
mod chaos;
mod cli;
mod cognito;
mod cookies;
mod context;
mod dependencies;
mod embedded;
mod feed_order;
mod http;
mod invariants;
mod isolation;
mod locks;
mod migrate;
mod node_changes;
mod node_refusals;
mod nodes;
mod notifications;
mod openapi;
mod parts;
mod presence;
mod rate_limits;
mod rest_locks;
mod resume;
mod rights_matrix;
mod rooms;
mod schema;
mod sockets;
#[allow(dead_code, reason = "what tests stand on is written for all of them")]
mod support;
mod users;
mod worker_keys;
mod versions;
