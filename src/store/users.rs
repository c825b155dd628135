//! People and agents: the rows of `users`.

use glassbox_protocol::{OrgId, UserId};
use sqlx::FromRow;
use uuid::Uuid;

use super::Tx;

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
