//! `glassbox demo`.

use anyhow::Context as _;

use super::{database, serve::say};
use crate::config::DatabaseConfig;
use crate::demo;

/// Fills the demo project if it is missing and prints its id.
pub async fn run(config: &DatabaseConfig) -> anyhow::Result<()> {
    let demo = database::with(config, async |database, _| demo::fill(&database).await)
        .await
        .context("fill the demo project")?;
    say(&demo.project.to_string());
    Ok(())
}
