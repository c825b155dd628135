//! The integration tests, in one binary: on a real PostgreSQL, with one database for each test.

mod embedded;
mod feed_order;
mod rooms;
mod schema;
#[allow(dead_code, reason = "what tests stand on is written for all of them")]
mod support;
