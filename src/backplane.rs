//! How a commit or a cursor on one instance is noticed on the others.
//!
//! Signals carry no truth: losing, repeating or reordering them changes latency only, because the log reader polls as
//! well and checks what it reads.

pub mod postgres;
pub mod relay;
