//! Finds or makes the user behind a sign-in.

use glassbox_protocol::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::now;
use super::token::DevClaims;
use crate::config::Secrets;
use crate::store::users::{self, Person};
use crate::store::{Database, Tenant};

/// A token and its end.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The user that it is for.
    pub user: UserId,
    /// The signed text.
    pub token: String,
    /// When it ends.
    pub expires_at: OffsetDateTime,
}

/// Gives a dev token to whoever asks: finds the user that `asked_for` means, or makes one.
///
/// # Errors
/// The database is away.
pub async fn dev_token(
    database: &Database,
    secrets: &Secrets,
    asked_for: &str,
    email: &str,
    name: Option<&str>,
) -> sqlx::Result<Issued> {
    let user = dev_user(database, asked_for, email, name).await?;
    let claims = DevClaims::new(user, asked_for, email, now());
    Ok(Issued {
        user,
        token: claims.sign(secrets),
        expires_at: OffsetDateTime::from_unix_timestamp(claims.exp).map_err(|e| sqlx::Error::Encode(e.into()))?,
    })
}

/// Finds the user that `asked_for` means: a UUID means the user with that id, any other text the user with that
/// `cognito_sub`, or with `dev-` before it.
/// Whoever is missing is made, from an invitation to the same email if there is one.
///
/// # Errors
/// The database is away.
pub async fn dev_user(database: &Database, asked_for: &str, email: &str, name: Option<&str>) -> sqlx::Result<UserId> {
    let id = asked_for.parse::<Uuid>().ok().map(UserId);
    if let Some(id) = id {
        let mut tx = database.begin(&Tenant::user(id)).await?;
        if let Some(person) = users::by_id(&mut tx, id).await? {
            return Ok(person.id());
        }
    }
    if let Some(person) = find(database, asked_for).await? {
        return Ok(person.id());
    }
    if id.is_none()
        && let Some(person) = find(database, &format!("dev-{asked_for}")).await?
    {
        return Ok(person.id());
    }
    if id.is_none()
        && let Some(invited) = find(database, &format!("invited:{email}")).await?
        && take_over(database, &invited, asked_for, email, name).await?
    {
        return Ok(invited.id());
    }
    let mut tx = database.begin(&Tenant::signing_in(asked_for)).await?;
    users::create(&mut tx, id.unwrap_or_else(UserId::random), asked_for, email, name).await?;
    // Read again: of two that sign in at once, one made the row.
    let person = users::by_sub(&mut tx, asked_for).await?.ok_or(sqlx::Error::RowNotFound)?;
    tx.commit().await?;
    Ok(person.id())
}

async fn find(database: &Database, cognito_sub: &str) -> sqlx::Result<Option<Person>> {
    let mut tx = database.begin(&Tenant::signing_in(cognito_sub)).await?;
    users::by_sub(&mut tx, cognito_sub).await
}

async fn take_over(
    database: &Database,
    invited: &Person,
    cognito_sub: &str,
    email: &str,
    name: Option<&str>,
) -> sqlx::Result<bool> {
    let tenant = Tenant { user: Some(invited.id()), ..Tenant::signing_in(&format!("invited:{email}")) };
    let mut tx = database.begin(&tenant).await?;
    let is_taken = users::take_over(&mut tx, invited.id(), cognito_sub, name).await?;
    tx.commit().await?;
    Ok(is_taken)
}
