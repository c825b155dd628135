//! `glassbox token`: tokens without a login service.

use anyhow::Context as _;
use clap::Args;

use super::{database, serve::say};
use crate::auth::{self, Bearer, sign_in};
use crate::config::{AuthConfig, DatabaseConfig};

/// What `glassbox token` can be told.
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// Whom it is for: any text, such as dev-user-1, or the UUID of a user
    user: String,
    /// The email of a user who is made; <USER>@example.org if it is not given
    #[arg(long)]
    email: Option<String>,
    /// The name of a user who is made
    #[arg(long)]
    name: Option<String>,
    /// Print a ticket for one WebSocket instead of a token
    #[arg(long)]
    ticket: bool,
    #[command(flatten)]
    auth: AuthConfig,
    #[command(flatten)]
    database: DatabaseConfig,
}

/// Prints a token.
pub async fn run(args: TokenArgs) -> anyhow::Result<()> {
    let secrets = args.auth.secrets(!args.database.is_given(), None)?;
    anyhow::ensure!(
        secrets.is_development,
        "tokens without a password are given in development mode only (GLASSBOX_DEVELOPMENT=true)"
    );
    let email = args.email.clone().unwrap_or_else(|| format!("{}@example.org", args.user));
    for (field, text) in
        [("USER", args.user.as_str()), ("--email", &email), ("--name", args.name.as_deref().unwrap_or("-"))]
    {
        anyhow::ensure!(!text.is_empty() && text.chars().count() <= 255, "{field}: expected 1 to 255 characters");
    }
    let token = database::with(&args.database, async |database, _| {
        let issued = sign_in::dev_token(&database, &secrets, &args.user, &email, args.name.as_deref())
            .await
            .context("make a token")?;
        if !args.ticket {
            return Ok(issued.token);
        }
        let bearer = Bearer::person(issued.user, issued.expires_at.unix_timestamp(), &issued.token);
        let (ticket, _) = auth::issue_ticket(&database, &secrets, bearer).await.context("make a ticket")?;
        Ok(ticket)
    })
    .await?;
    say(&token);
    Ok(())
}
