//! The log: one line per thing that happened, to stderr, as text for people or as JSON for machines.

use std::io::IsTerminal as _;

use anyhow::bail;
use tracing_subscriber::EnvFilter;

/// What is logged unless `RUST_LOG` says otherwise. sqlx would warn of each slow statement, with its whole text.
const FILTER: &str = "info,sqlx=error";

/// Starts the log. `GLASSBOX_LOG_FORMAT` is `text` or `json`, `RUST_LOG` the filter.
///
/// # Errors
/// A setting that means nothing; one line names it.
pub fn start() -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => match EnvFilter::try_new(&text) {
            Ok(filter) => filter,
            Err(e) => bail!("RUST_LOG: {e}"),
        },
        _ => EnvFilter::new(FILTER),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let format = std::env::var("GLASSBOX_LOG_FORMAT").unwrap_or_default();
    let started = match format.as_str() {
        "" | "text" => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        "json" => log.json().flatten_event(true).try_init(),
        _ => bail!("GLASSBOX_LOG_FORMAT: expected text or json"),
    };
    started.map_err(|e| anyhow::anyhow!("start the log: {e}"))
}
