//! The commands that people type.
//!
//! Each one says in `--help` what it does, with examples. A failure is one line on stderr and exit code 1; wrong
//! usage is exit code 2.

mod canvas;
mod database;
mod demo;
mod serve;
mod token;

use clap::{Parser, Subcommand};

use crate::config::{DatabaseConfig, ServeConfig};
use crate::telemetry;

/// The real-time collaboration server for canvases on which people and AI agents work side by side.
///
/// Without DATABASE_URL every command uses an embedded PostgreSQL of its own, which it starts if it is not running.
#[derive(Debug, Parser)]
#[command(name = "glassbox", version, max_term_width = 100)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve REST and WebSockets until SIGTERM or SIGINT
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeConfig>),
    /// Bring the database's schema up to date
    ///
    /// `serve` does the same at its start. Run it beforehand where the server's own login may not change the schema.
    #[command(after_help = MIGRATE_EXAMPLES)]
    Migrate(DatabaseConfig),
    /// Put a JSON Canvas document into a project
    ///
    /// Works on the database itself: a running server shows the change to everybody at once.
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(canvas::ImportArgs),
    /// Write a project as a JSON Canvas document
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(canvas::ExportArgs),
    /// Print a token for a user, for one's own machine
    ///
    /// Development mode only. A user who is missing is made.
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(token::TokenArgs),
    /// Fill a demo project, if it is missing, and print its id
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DatabaseConfig),
    /// Print the database's URL, for psql
    ///
    /// Of the embedded PostgreSQL it is the superuser's, and it has to be running.
    #[command(after_help = DATABASE_URL_EXAMPLES)]
    DatabaseUrl(DatabaseConfig),
}

const SERVE_EXAMPLES: &str = "\
Examples:
  glassbox serve --demo
      on one's own machine: embedded PostgreSQL, development tokens, a project to look at
  DATABASE_URL=postgres://glassbox@db/glassbox JWT_SECRET=... glassbox serve --bind 0.0.0.0
      one of several instances on one database
  GLASSBOX_LOG_FORMAT=json RUST_LOG=info,glassbox=debug glassbox serve
      with a log for machines, one line per request";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  glassbox migrate
  DATABASE_URL=postgres://glassbox@db/glassbox GLASSBOX_MIGRATION_URL=postgres://owner@db/glassbox glassbox migrate
      as the owner, and let the login of DATABASE_URL act in the server's roles";

const IMPORT_EXAMPLES: &str = "\
Examples:
  glassbox import plan.canvas --project 7d6a1c1e-1f3b-4c55-9d1c-3a1c3d4b5e6f
  glassbox import plan.canvas --org demo --name 'Our plan' --as dev-user-1@example.org
      into a new project of the organization with the slug demo";

const EXPORT_EXAMPLES: &str = "\
Examples:
  glassbox export 7d6a1c1e-1f3b-4c55-9d1c-3a1c3d4b5e6f plan.canvas
  glassbox export 7d6a1c1e-1f3b-4c55-9d1c-3a1c3d4b5e6f | jq '.nodes | length'";

const TOKEN_EXAMPLES: &str = "\
Examples:
  curl -H \"Authorization: Bearer $(glassbox token dev-user-1)\" http://127.0.0.1:8080/api/v1/orgs
  glassbox token ada --email ada@example.org
  glassbox token dev-user-1 --ticket
      a ticket: opens one WebSocket within 5 minutes";

const DEMO_EXAMPLES: &str = "\
Examples:
  glassbox demo
  glassbox export $(glassbox demo) demo.canvas";

const DATABASE_URL_EXAMPLES: &str = "\
Examples:
  psql \"$(glassbox database-url)\" -c 'select count(*) from nodes'";

/// Does what was asked.
///
/// # Errors
/// One line that says what was attempted and why it failed.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    telemetry::start()?;
    match cli.command {
        Command::Serve(config) => serve::run(*config).await,
        Command::Migrate(config) => database::migrate(&config).await,
        Command::Import(args) => canvas::import(args).await,
        Command::Export(args) => canvas::export(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Demo(config) => demo::run(&config).await,
        Command::DatabaseUrl(config) => database::print_url(&config),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
