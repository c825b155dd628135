//! The GlassBox server.
