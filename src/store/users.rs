//! People and agents: the rows of `users`.

use glassbox_protocol::{OrgId, UserId};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Tx;
use super::projects::time_text;
use crate::auth::sid::Sid;

/// Who somebody is.
#[derive(Clone, Debug, FromRow)]
pub struct Person {
    id: Uuid,
    /// How to call them.
    pub name: Option<String>,
    /// Where to write to them.
    pub email: String,
}

impl Person {
    /// Their id.
    pub fn id(&self) -> UserId {
        UserId(self.id)
    }
}

/// Who has this id. The context must be this user's.
///
/// # Errors
/// The database is away.
pub async fn by_id(tx: &mut Tx, user: UserId) -> sqlx::Result<Option<Person>> {
    sqlx::query_as("select id, name, email from users where id = $1").bind(user.0).fetch_optional(tx.conn()).await
}

/// Who has this `cognito_sub`. The context must be that of its sign-in.
///
/// # Errors
/// The database is away.
pub async fn by_sub(tx: &mut Tx, cognito_sub: &str) -> sqlx::Result<Option<Person>> {
    sqlx::query_as("select id, name, email from users where cognito_sub = $1")
        .bind(cognito_sub)
        .fetch_optional(tx.conn())
        .await
}

/// Makes a user; false if the `cognito_sub` has one already.
///
/// # Errors
/// The database is away.
pub async fn create(tx: &mut Tx, id: UserId, cognito_sub: &str, email: &str, name: Option<&str>) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into users (id, cognito_sub, email, name)
        values ($1, $2, $3, $4)
        on conflict do nothing",
    )
    .bind(id.0)
    .bind(cognito_sub)
    .bind(email)
    .bind(name)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives an invited user's row to the person who signs in; false if somebody else took it first.
///
/// # Errors
/// The database is away, or the `cognito_sub` is taken.
pub async fn take_over(tx: &mut Tx, invited: UserId, cognito_sub: &str, name: Option<&str>) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update users
        set cognito_sub = $2, name = coalesce($3, name)
        where id = $1
            and cognito_sub like 'invited:%'",
    )
    .bind(invited.0)
    .bind(cognito_sub)
    .bind(name)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes what an id token says about a user: their email, and a name if they have none. The context must be theirs.
///
/// # Errors
/// The database is away.
pub async fn introduce(tx: &mut Tx, user: UserId, email: Option<&str>, name: Option<&str>) -> sqlx::Result<()> {
    sqlx::query(
        "update users
        set email = coalesce($2, email), name = coalesce(name, $3)
        where id = $1
            and (email <> $2 or (name is null and $3 is not null))",
    )
    .bind(user.0)
    .bind(email)
    .bind(name)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Gives a user what was given to an invited one with their email, whose row goes; false if there is none. The context
/// must be theirs.
///
/// # Errors
/// The database is away.
pub async fn claim_invitation(tx: &mut Tx, user: UserId, email: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select realtime.claim_invitation($1, $2)").bind(user.0).bind(email).fetch_one(tx.conn()).await
}

/// Whether the user with this `cognito_sub` was deleted after a moment, unix s; without a moment, whether they ever
/// were. The context must be that of its sign-in.
///
/// # Errors
/// The database is away.
pub async fn was_deleted(tx: &mut Tx, cognito_sub: &str, since: Option<i64>) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (
            select 1
            from realtime.deleted_users
            where cognito_sub = $1
                and ($2::bigint is null or extract(epoch from deleted_at) >= $2)
        )",
    )
    .bind(cognito_sub)
    .bind(since)
    .fetch_one(tx.conn())
    .await
}

/// Tells every instance that a sign-in was ended, through the stream of its user. The context must be theirs.
///
/// # Errors
/// The database is away.
pub async fn end_session(tx: &mut Tx, user: UserId, sid: Sid) -> sqlx::Result<()> {
    sqlx::query("select realtime.end_session($1, $2)").bind(user.0).bind(sid.to_string()).execute(tx.conn()).await?;
    Ok(())
}

/// A user as they see themselves.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    id: Uuid,
    cognito_sub: String,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    avatar_url: Option<String>,
    #[schema(value_type = Object)]
    settings: Json<Value>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

macro_rules! user_columns {
    () => {
        concat!(
            "id, cognito_sub, email, name, avatar_url, realtime.object_or_empty(settings) as settings, ",
            time_text!("created_at"),
            " as created_at, ",
            time_text!("updated_at"),
            " as updated_at"
        )
    };
}

/// All of a user's row. The context must be theirs.
///
/// # Errors
/// The database is away.
pub async fn whole(tx: &mut Tx, user: UserId) -> sqlx::Result<Option<User>> {
    sqlx::query_as(concat!("select ", user_columns!(), " from users where id = $1"))
        .bind(user.0)
        .fetch_optional(tx.conn())
        .await
}

/// What a user changes about themselves; what is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change<'a> {
    /// How to call them.
    pub name: Option<&'a str>,
    /// Their picture; `Some(None)` takes it away.
    pub avatar_url: Option<Option<&'a str>>,
    /// Replaces all settings.
    pub settings: Option<Value>,
}

/// Changes a user's row, if anything differs, and returns it. The context must be theirs.
///
/// # Errors
/// The database is away.
pub async fn change(tx: &mut Tx, user: UserId, change: &Change<'_>) -> sqlx::Result<Option<User>> {
    sqlx::query(
        "update users
        set name = coalesce($2, name),
            avatar_url = case when $3 then $4 else avatar_url end,
            settings = coalesce($5, settings)
        where id = $1
            and (
                name is distinct from coalesce($2, name)
                or ($3 and avatar_url is distinct from $4)
                or settings is distinct from coalesce($5, settings)
            )",
    )
    .bind(user.0)
    .bind(change.name)
    .bind(change.avatar_url.is_some())
    .bind(change.avatar_url.flatten())
    .bind(change.settings.as_ref().map(Json))
    .execute(tx.conn())
    .await?;
    whole(tx, user).await
}

/// The member of an organization who has this email, the first of several.
///
/// # Errors
/// The database is away.
pub async fn member_with_email(tx: &mut Tx, org: OrgId, email: &str) -> sqlx::Result<Option<UserId>> {
    let id: Option<Uuid> = sqlx::query_scalar(
        "select u.id
        from org_members m
        join users u on u.id = m.user_id
        where m.org_id = $1
            and lower(u.email) = lower($2)
        order by m.created_at, u.id
        limit 1",
    )
    .bind(org.0)
    .bind(email)
    .fetch_optional(tx.conn())
    .await?;
    Ok(id.map(UserId))
}

/// The owner of an organization who has been a member for longest.
///
/// # Errors
/// The database is away.
pub async fn first_owner(tx: &mut Tx, org: OrgId) -> sqlx::Result<Option<UserId>> {
    let id: Option<Uuid> = sqlx::query_scalar(
        "select m.user_id
        from org_members m
        where m.org_id = $1
            and m.role = 'owner'
        order by m.created_at, m.user_id
        limit 1",
    )
    .bind(org.0)
    .fetch_optional(tx.conn())
    .await?;
    Ok(id.map(UserId))
}

/// Whether a user of the organization at hand is an agent.
///
/// # Errors
/// The database is away.
pub async fn is_agent(tx: &mut Tx, user: UserId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select 1 from users where id = $1 and cognito_sub like 'worker:%')")
        .bind(user.0)
        .fetch_one(tx.conn())
        .await
}
