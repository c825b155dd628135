//! The program `glassbox`; what it does lives in the library.

use std::process::ExitCode;

use clap::Parser as _;
use glassbox::cli::{self, Cli};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, however many the cause has.
            let text = format!("{error:#}");
            let words: Vec<&str> = text.split_whitespace().collect();
            eprintln!("glassbox: {}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}
