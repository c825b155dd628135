//! Who is calling, and what they may do.
//!
//! [`token`] makes and checks the server's own tokens, [`sign_in`] finds or makes the user behind one, [`rights`] is
//! the one table of rights. Nothing here knows HTTP or WebSockets.

pub mod rights;
pub mod sign_in;
pub mod token;

use std::collections::HashMap;

use glassbox_protocol::{ProjectId, UserId};
use time::OffsetDateTime;

use crate::app::App;
use crate::config::Secrets;
use crate::store::{self, Database, Tenant, Tx, members, tickets};
use rights::{ProjectRole, effective_role};
use token::{DevClaims, TicketClaims};

/// Who opened a socket, and until when they may keep it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Who.
    pub user: UserId,
    /// How to call them.
    pub name: Option<String>,
    /// Where to write to them.
    pub email: String,
    /// When their token ends, unix s.
    pub expires_at: i64,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Not a token of ours, not of the kind that is accepted here, used up, or its user is gone.
    #[error("the token is not valid")]
    Invalid,
    /// It was valid once.
    #[error("the token has expired")]
    Expired,
    /// The database could not be asked; [`store::Failure`] says what that means.
    #[error("the token could not be checked")]
    Unavailable(#[from] sqlx::Error),
}

/// Who asks over REST. Whether the user still exists shows when they ask for something: without a row there is no
/// membership, and so no right.
#[derive(Clone, Copy, Debug)]
pub struct Bearer {
    /// Who.
    pub user: UserId,
    /// When their token ends, unix s.
    pub expires_at: i64,
}

/// Says who asks over REST: the bearer of a dev token.
///
/// # Errors
/// [`AuthError::Invalid`] and [`AuthError::Expired`].
pub fn authenticate_bearer(app: &App, token: &str) -> Result<Bearer, AuthError> {
    let claims = DevClaims::verify(&app.secrets, token)?;
    Ok(Bearer { user: claims.user_id, expires_at: claims.exp })
}

/// Says who a `hello` comes from: the bearer of a dev token, or of a ticket, which is used up by it.
///
/// # Errors
/// As [`AuthError`] says.
pub async fn authenticate_socket(app: &App, token: &str) -> Result<Identity, AuthError> {
    match DevClaims::verify(&app.secrets, token) {
        Ok(claims) => identity(app, claims.user_id, claims.exp).await,
        // Only a token that was ours is told that it is old.
        Err(AuthError::Expired) => Err(AuthError::Expired),
        Err(_) => authenticate_ticket(app, token).await,
    }
}

/// Says who stands behind `?token=` at the upgrade: the bearer of a ticket, which is used up by it.
///
/// # Errors
/// As [`AuthError`] says.
pub async fn authenticate_ticket(app: &App, token: &str) -> Result<Identity, AuthError> {
    let claims = TicketClaims::verify(&app.secrets, token)?;
    let mut tx = app.database.begin(&Tenant::user(claims.sub)).await?;
    if !tickets::redeem(&mut tx, claims.jti, claims.sub).await? {
        return Err(AuthError::Invalid);
    }
    let person = store::users::by_id(&mut tx, claims.sub).await?.ok_or(AuthError::Invalid)?;
    tx.commit().await?;
    Ok(Identity { user: claims.sub, name: person.name, email: person.email, expires_at: claims.session_exp })
}

async fn identity(app: &App, user: UserId, expires_at: i64) -> Result<Identity, AuthError> {
    let mut tx = app.database.begin(&Tenant::user(user)).await?;
    let person = store::users::by_id(&mut tx, user).await?.ok_or(AuthError::Invalid)?;
    Ok(Identity { user, name: person.name, email: person.email, expires_at })
}

/// The effective roles of users in a project, in the caller's transaction; only those that have one.
///
/// # Errors
/// The database is away.
pub async fn project_roles(
    tx: &mut Tx,
    project: ProjectId,
    users: &[UserId],
) -> sqlx::Result<HashMap<UserId, ProjectRole>> {
    let standings = members::standings(tx, project, users).await?;
    Ok(standings
        .into_iter()
        .filter_map(|s| Some((s.user, effective_role(s.org_role?, s.row, s.visibility)?)))
        .collect())
}

/// The effective role of one user in a project.
///
/// # Errors
/// The database is away.
pub async fn project_role(tx: &mut Tx, project: ProjectId, user: UserId) -> sqlx::Result<Option<ProjectRole>> {
    Ok(project_roles(tx, project, &[user]).await?.remove(&user))
}

/// Gives a ticket for a WebSocket.
///
/// # Errors
/// [`AuthError::Invalid`] if the user is gone.
pub async fn issue_ticket(
    database: &Database,
    secrets: &Secrets,
    bearer: Bearer,
) -> Result<(String, OffsetDateTime), AuthError> {
    let claims = TicketClaims::new(bearer.user, bearer.expires_at, now());
    let expires_at = OffsetDateTime::from_unix_timestamp(claims.exp).map_err(|_| AuthError::Invalid)?;
    let mut tx = database.begin(&Tenant::user(bearer.user)).await?;
    if store::users::by_id(&mut tx, bearer.user).await?.is_none() {
        return Err(AuthError::Invalid);
    }
    tickets::create(&mut tx, claims.jti, bearer.user, expires_at).await?;
    tx.commit().await?;
    Ok((claims.sign(secrets), expires_at))
}

/// The server's clock, unix s. Judges the life of signed tokens; leases and tickets' rows go by the database's.
pub fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}
