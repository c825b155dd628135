//! The integration tests, in one binary: on a real PostgreSQL, with one database for each test.

mod embedded;
mod schema;
mod support;
