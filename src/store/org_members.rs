//! The members of an organization: the rows of `org_members`, with who they are.

use glassbox_protocol::{OrgId, UserId};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::Tx;
use super::projects::time_text;
use super::users;

/// Who a member is.
#[derive(Clone, Debug, FromRow, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberUser {
    #[sqlx(rename = "user_id")]
    id: Uuid,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    avatar_url: Option<String>,
    /// `person` or `agent`.
    kind: String,
}

impl MemberUser {
    /// Whether a worker key stands behind it.
    pub fn is_agent(&self) -> bool {
        self.kind == "agent"
    }
}

/// The columns of [`MemberUser`], of the table `u`.
macro_rules! user_columns {
    () => {
        "u.id as user_id, u.email, u.name, u.avatar_url,
        case when u.cognito_sub like 'worker:%' then 'agent' else 'person' end as kind"
    };
}
pub(super) use user_columns;

/// A member as the wire shows it.
#[derive(Clone, Debug, FromRow, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrgMember {
    id: Uuid,
    org_id: Uuid,
    user_id: Uuid,
    /// `owner`, `admin`, `member` or `guest`.
    pub role: String,
    /// `active`, or `invited` until the first sign-in.
    status: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// Who it is.
    #[sqlx(flatten)]
    pub user: MemberUser,
}

macro_rules! select_member {
    () => {
        concat!(
            "select
                m.id,
                m.org_id,
                coalesce(m.role, 'member') as role,
                case when u.cognito_sub like 'invited:%' then 'invited' else 'active' end as status,",
            time_text!("m.created_at"),
            " as created_at,",
            user_columns!(),
            " from org_members m
            join users u on u.id = m.user_id "
        )
    };
}

/// The members of the organization at hand, by name, then email; at most `limit`.
///
/// # Errors
/// The database is away.
pub async fn all(tx: &mut Tx, org: OrgId, limit: i64) -> sqlx::Result<Vec<OrgMember>> {
    sqlx::query_as(concat!(
        select_member!(),
        "where m.org_id = $1
        order by u.name nulls last, u.email, u.id
        limit $2"
    ))
    .bind(org.0)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// One member.
///
/// # Errors
/// The database is away.
pub async fn one(tx: &mut Tx, org: OrgId, user: UserId) -> sqlx::Result<Option<OrgMember>> {
    sqlx::query_as(concat!(select_member!(), "where m.org_id = $1 and m.user_id = $2"))
        .bind(org.0)
        .bind(user.0)
        .fetch_optional(tx.conn())
        .await
}

/// How many owners an organization has besides this user, of those who can sign in: who was only invited may never come.
///
/// # Errors
/// The database is away.
pub async fn other_owners(tx: &mut Tx, org: OrgId, user: UserId) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*)
        from org_members m
        join users u on u.id = m.user_id
        where m.org_id = $1
            and m.user_id <> $2
            and m.role = 'owner'
            and u.cognito_sub not like 'invited:%'",
    )
    .bind(org.0)
    .bind(user.0)
    .fetch_one(tx.conn())
    .await
}

/// The person with an email, in any organization.
///
/// # Errors
/// The database is away.
pub async fn person_with_email(tx: &mut Tx, email: &str) -> sqlx::Result<Option<UserId>> {
    let id: Option<Uuid> =
        sqlx::query_scalar("select realtime.user_by_email($1)").bind(email).fetch_one(tx.conn()).await?;
    Ok(id.map(UserId))
}

/// Finds the person with an email or makes an invited one, whose row the first sign-in takes over.
///
/// # Errors
/// The database is away.
pub async fn invite(tx: &mut Tx, email: &str, name: Option<&str>) -> sqlx::Result<UserId> {
    if let Some(known) = person_with_email(tx, email).await? {
        return Ok(known);
    }
    let id = UserId::random();
    let cognito_sub = format!("invited:{}", email.to_lowercase());
    if users::create(tx, id, &cognito_sub, email, name).await? {
        return Ok(id);
    }
    // Somebody else has invited them just now.
    person_with_email(tx, email).await?.ok_or(sqlx::Error::RowNotFound)
}

/// Makes a user a member; false if they are one already.
///
/// # Errors
/// The database is away; there is no such user (a foreign key).
pub async fn add(tx: &mut Tx, org: OrgId, user: UserId, role: &str) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into org_members (org_id, user_id, role)
        values ($1, $2, $3)
        on conflict (org_id, user_id) do nothing",
    )
    .bind(org.0)
    .bind(user.0)
    .bind(role)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a member another role.
///
/// # Errors
/// The database is away.
pub async fn set_role(tx: &mut Tx, org: OrgId, user: UserId, role: &str) -> sqlx::Result<()> {
    sqlx::query("update org_members set role = $3 where org_id = $1 and user_id = $2 and role is distinct from $3")
        .bind(org.0)
        .bind(user.0)
        .bind(role)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Removes a member from the organization and its projects. A trigger ends their locks.
///
/// # Errors
/// The database is away.
pub async fn remove(tx: &mut Tx, org: OrgId, user: UserId) -> sqlx::Result<()> {
    // First of all: who has left is not said to leave each project as well.
    sqlx::query("delete from org_members where org_id = $1 and user_id = $2")
        .bind(org.0)
        .bind(user.0)
        .execute(tx.conn())
        .await?;
    sqlx::query(
        "delete from project_members pm
        using projects p
        where p.id = pm.project_id
            and p.org_id = $1
            and pm.user_id = $2",
    )
    .bind(org.0)
    .bind(user.0)
    .execute(tx.conn())
    .await?;
    Ok(())
}
