//! Finds or makes the user behind a sign-in.

use glassbox_protocol::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::cognito::{Profile, Visitor};
use super::token::DevClaims;
use super::{AuthError, now};
use crate::config::Secrets;
use crate::store::users::{self, Person};
use crate::store::{Database, Origin, Tenant};

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
        && let Some(invited) = take_over(database, asked_for, email, name).await?
    {
        return Ok(invited);
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

/// Takes over the row of somebody who was invited with this email, if there is one. Invitations are kept in lower
/// case; another writer's may stand as they were given.
async fn take_over(
    database: &Database,
    cognito_sub: &str,
    email: &str,
    name: Option<&str>,
) -> sqlx::Result<Option<UserId>> {
    for invitation in [format!("invited:{}", email.to_lowercase()), format!("invited:{email}")] {
        let Some(invited) = find(database, &invitation).await? else { continue };
        let tenant = Tenant { user: Some(invited.id()), ..Tenant::signing_in(&invitation) };
        let mut tx = database.begin(&tenant).await?;
        let is_taken = users::take_over(&mut tx, invited.id(), cognito_sub, name).await?;
        tx.commit().await?;
        if is_taken {
            return Ok(Some(invited.id()));
        }
    }
    Ok(None)
}

/// Finds the user whom a token of the user pool proves, or makes them: from an invitation if the pool has seen that the
/// email is theirs. An id token also brings what is not known yet about somebody who is there.
///
/// # Errors
/// [`AuthError::Invalid`] if they were deleted since they signed in, [`AuthError::Unavailable`].
pub async fn cognito_user(database: &Database, visitor: &Visitor) -> Result<UserId, AuthError> {
    if let Some(user) = known_visitor(database, visitor).await? {
        return Ok(user);
    }
    let sub = visitor.sub.as_str();
    let profile = visitor.profile.as_ref();
    let name = profile.and_then(|profile| profile.name.as_deref());
    if let Some(email) = profile.and_then(proved_email) {
        match take_over(database, sub, email, name).await {
            Ok(Some(user)) => return Ok(user),
            // Another request of theirs made them a row meanwhile.
            Err(e) if e.as_database_error().is_some_and(|e| e.is_unique_violation()) => {}
            Ok(None) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let placeholder = format!("{sub}@users.invalid");
    let email = profile.and_then(|profile| profile.email.as_deref()).unwrap_or(&placeholder);
    let mut tx = database.begin(&Tenant::signing_in(sub)).await?;
    let is_new = users::create(&mut tx, UserId::random(), sub, email, name).await?;
    let person = users::by_sub(&mut tx, sub).await?.ok_or(AuthError::Invalid)?;
    tx.commit().await?;
    if !is_new {
        // Of two that sign in at once, one may have said more than the other.
        known_visitor(database, visitor).await?;
    }
    Ok(person.id())
}

/// The user of a token, if they are there, brought up to date.
async fn known_visitor(database: &Database, visitor: &Visitor) -> Result<Option<UserId>, AuthError> {
    let mut tx = database.begin(&Tenant::signing_in(&visitor.sub)).await?;
    let Some(person) = users::by_sub(&mut tx, &visitor.sub).await? else {
        // A token outlives its user: it must not make them anew.
        let is_over = users::was_deleted(&mut tx, &visitor.sub, visitor.signed_in_at).await?;
        return if is_over { Err(AuthError::Invalid) } else { Ok(None) };
    };
    drop(tx);
    if let Some(profile) = &visitor.profile {
        let user = person.id();
        let mut tx = database.begin(&Tenant::user(user)).await?;
        tx.set_origin(&Origin::user(user), &[]).await?;
        users::introduce(&mut tx, user, profile.email.as_deref(), profile.name.as_deref()).await?;
        if let Some(email) = proved_email(profile) {
            users::claim_invitation(&mut tx, user, email).await?;
        }
        tx.commit().await?;
    }
    Ok(Some(person.id()))
}

fn proved_email(profile: &Profile) -> Option<&str> {
    profile.email.as_deref().filter(|_| profile.is_email_verified)
}
