//! Who is calling, and what they may do.
//!
//! [`token`] makes and checks the server's own tokens, [`cognito`] checks those of the user pool, [`worker_key`] the keys
//! of programs. [`sign_in`] finds or makes the user behind a token, [`callers`] remembers them for a moment. [`rights`]
//! is the one table of rights. Nothing here knows HTTP or WebSockets.

pub mod callers;
pub mod cognito;
pub mod rights;
pub mod sid;
pub mod sign_in;
pub mod token;
pub mod worker_key;

use std::collections::HashMap;

use glassbox_protocol::{OrgId, ProjectId, SessionId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::app::App;
use crate::config::Secrets;
use crate::store::tickets::Opening;
use crate::store::{self, Database, Origin, Tenant, Tx, members, tickets};
use rights::ProjectRole;
use sid::Sid;
use token::{DevClaims, TicketClaims};

/// Longest token that is looked at, bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// How long somebody without credentials may act as the development user before it counts as a new sign-in, s.
const DEV_USER_LIFE_S: i64 = token::DEV_LIFE_S;

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
    /// The sign-in that ends the socket when it ends.
    pub sid: Sid,
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
    /// The user pool's keys cannot be had at the moment.
    #[error("the keys to check the token with cannot be had")]
    KeysAway,
}

/// Who asks over REST. That they exist was true a moment ago ([`crate::config::Secrets::caller_life`]).
#[derive(Clone, Copy, Debug)]
pub struct Bearer {
    /// Who.
    pub user: UserId,
    /// A person or a program.
    pub kind: Kind,
    /// When their token ends, unix s.
    pub expires_at: i64,
    /// Their sign-in.
    pub sid: Sid,
}

/// What calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody who signed in.
    Person,
    /// A program with a worker key. It is a member of one organization; the database keeps it out of all others.
    Worker {
        /// The key.
        key: Uuid,
        /// Its organization.
        org: OrgId,
    },
}

impl Bearer {
    /// A person with a token.
    pub fn person(user: UserId, expires_at: i64, token: &str) -> Self {
        Self { user, kind: Kind::Person, expires_at, sid: Sid::of(token) }
    }

    /// Whether a person calls.
    pub fn is_person(&self) -> bool {
        self.kind == Kind::Person
    }
}

/// Says who asks over REST: the bearer of a dev token, of a token of the user pool, or of a worker key.
///
/// # Errors
/// As [`AuthError`] says.
pub async fn authenticate_bearer(app: &App, token: &str) -> Result<Bearer, AuthError> {
    if worker_key::is_worker_key(token) {
        return worker_key::authenticate(&app.database, token).await;
    }
    authenticate_person(app, token).await
}

/// Says which person a token is for: a dev token or one of the user pool. Whatever is neither is refused.
///
/// # Errors
/// As [`AuthError`] says.
pub async fn authenticate_person(app: &App, token: &str) -> Result<Bearer, AuthError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(AuthError::Invalid);
    }
    match DevClaims::verify(&app.secrets, token) {
        Ok(claims) => {
            app.callers.confirm(&app.database, claims.user_id).await?;
            Ok(Bearer::person(claims.user_id, claims.exp, token))
        }
        // Only a token that was ours is told that it is old.
        Err(AuthError::Expired) => Err(AuthError::Expired),
        Err(_) => authenticate_visitor(app, token).await,
    }
}

async fn authenticate_visitor(app: &App, token: &str) -> Result<Bearer, AuthError> {
    let cognito = app.callers.cognito.as_ref().ok_or(AuthError::Invalid)?;
    let visitor = cognito.verify(token).await?;
    let user = app.callers.visitor(&app.database, Sid::of(token), &visitor).await?;
    Ok(Bearer::person(user, visitor.expires_at, token))
}

/// Says as whom somebody without any credentials acts, where that is allowed.
///
/// # Errors
/// [`AuthError::Unavailable`].
pub async fn dev_user(app: &App) -> Result<Option<Bearer>, AuthError> {
    let Some(name) = app.secrets.dev_user.as_deref().filter(|_| app.secrets.is_development) else {
        return Ok(None);
    };
    let token = format!("development user {name}");
    let user = app.callers.dev_user(&app.database, Sid::of(&token), name).await?;
    Ok(Some(Bearer::person(user, now() + DEV_USER_LIFE_S, &token)))
}

/// Says who a `hello` comes from: the bearer of a dev token, of a token of the user pool, or of a ticket, which is
/// used up by it.
///
/// # Errors
/// As [`AuthError`] says.
pub async fn authenticate_socket(app: &App, token: &str) -> Result<Identity, AuthError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(AuthError::Invalid);
    }
    match TicketClaims::verify(&app.secrets, token) {
        Ok(claims) => redeem(app, &claims).await,
        // Only a token that was ours is told that it is old.
        Err(AuthError::Expired) => Err(AuthError::Expired),
        Err(_) => identity(app, authenticate_person(app, token).await?).await,
    }
}

/// Says who stands behind `?token=` at the upgrade: the bearer of a ticket, which is used up by it.
///
/// # Errors
/// As [`AuthError`] says.
pub async fn authenticate_ticket(app: &App, token: &str) -> Result<Identity, AuthError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(AuthError::Invalid);
    }
    redeem(app, &TicketClaims::verify(&app.secrets, token)?).await
}

async fn redeem(app: &App, claims: &TicketClaims) -> Result<Identity, AuthError> {
    let mut tx = app.database.begin(&Tenant::user(claims.sub)).await?;
    if !tickets::redeem(&mut tx, claims.jti, claims.sub).await? {
        return Err(AuthError::Invalid);
    }
    let person = store::users::by_id(&mut tx, claims.sub).await?.ok_or(AuthError::Invalid)?;
    tx.commit().await?;
    Ok(Identity {
        user: claims.sub,
        name: person.name,
        email: person.email,
        expires_at: claims.session_exp,
        sid: claims.sid,
    })
}

/// Who opens a socket of the older dialect, and what it goes on from.
#[derive(Clone, Debug)]
pub struct Page {
    /// Who.
    pub identity: Identity,
    /// The ticket that opens all connections of the page; names the page.
    pub ticket: Uuid,
    /// The session that it was used for.
    pub session: SessionId,
    /// Whether it was used before.
    pub opening: Opening,
    /// Until when some page of theirs heard their notifications.
    pub heard_at: Option<OffsetDateTime>,
}

/// Says who stands behind `?token=` in the older dialect: the bearer of a ticket, which is used by it for the first time,
/// or again while that is allowed.
///
/// # Errors
/// As [`AuthError`] says.
pub async fn authenticate_page(app: &App, token: &str, session: SessionId) -> Result<Page, AuthError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(AuthError::Invalid);
    }
    let claims = TicketClaims::verify_older(&app.secrets, token, now())?;
    let mut tx = app.database.begin(&Tenant::user(claims.sub)).await?;
    let window_s = i64::from(app.limits.ticket_resume_s);
    let opening = tickets::redeem_older(&mut tx, claims.jti, claims.sub, session, window_s).await?;
    let opening = opening.ok_or(AuthError::Invalid)?;
    let heard_at = tickets::heard_at(&mut tx, claims.sub).await?;
    let person = store::users::by_id(&mut tx, claims.sub).await?.ok_or(AuthError::Invalid)?;
    tx.commit().await?;
    let identity = Identity {
        user: claims.sub,
        name: person.name,
        email: person.email,
        expires_at: claims.session_exp,
        sid: claims.sid,
    };
    Ok(Page { identity, ticket: claims.jti, session, opening, heard_at })
}

async fn identity(app: &App, bearer: Bearer) -> Result<Identity, AuthError> {
    let Bearer { user, expires_at, sid, .. } = bearer;
    let mut tx = app.database.begin(&Tenant::user(user)).await?;
    let person = store::users::by_id(&mut tx, user).await?.ok_or(AuthError::Invalid)?;
    Ok(Identity { user, name: person.name, email: person.email, expires_at, sid })
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
    Ok(standings.into_iter().filter_map(|standing| Some((standing.user, standing.role()?))).collect())
}

/// The effective role of one user in a project.
///
/// # Errors
/// The database is away.
pub async fn project_role(tx: &mut Tx, project: ProjectId, user: UserId) -> sqlx::Result<Option<ProjectRole>> {
    Ok(project_roles(tx, project, &[user]).await?.remove(&user))
}

/// Ends a sign-in on every instance: its sockets, and its tickets that were not used yet.
///
/// # Errors
/// The database is away.
pub async fn sign_out(app: &App, bearer: Bearer, origin: &Origin) -> sqlx::Result<()> {
    let mut tx = app.database.begin(&Tenant::user(bearer.user)).await?;
    tx.set_origin(origin, &[]).await?;
    tickets::void(&mut tx, bearer.user, bearer.sid).await?;
    store::users::end_session(&mut tx, bearer.user, bearer.sid).await?;
    tx.commit().await?;
    app.sessions.end(bearer.user, bearer.sid);
    Ok(())
}

/// Gives a ticket for a WebSocket.
///
/// # Errors
/// [`AuthError::Invalid`] if the user is gone, [`AuthError::Expired`] in the last moments of a token's leeway.
pub async fn issue_ticket(
    database: &Database,
    secrets: &Secrets,
    bearer: Bearer,
) -> Result<(String, OffsetDateTime), AuthError> {
    let claims = TicketClaims::new(bearer.user, bearer.sid, bearer.expires_at, now());
    if claims.exp <= claims.iat {
        return Err(AuthError::Expired);
    }
    let expires_at = OffsetDateTime::from_unix_timestamp(claims.exp).map_err(|_| AuthError::Invalid)?;
    let mut tx = database.begin(&Tenant::user(bearer.user)).await?;
    if store::users::by_id(&mut tx, bearer.user).await?.is_none() {
        return Err(AuthError::Invalid);
    }
    tickets::create(&mut tx, claims.jti, bearer.user, bearer.sid, expires_at).await?;
    tx.commit().await?;
    Ok((claims.sign(secrets), expires_at))
}

/// The server's clock, unix s. Judges the life of signed tokens; leases and tickets' rows go by the database's.
pub fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}
