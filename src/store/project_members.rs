//! The members of a project: the rows of `project_members`, and those who need none.

use glassbox_protocol::{ProjectId, UserId};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use super::members::standing_columns;
use super::org_members::{MemberUser, user_columns};
use super::projects::time_text;
use super::{Tx, members};
use crate::auth::rights::OrgRole;

/// A project member as the wire shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectMember {
    /// Of the row in the project, or of the membership of the organization where there is none.
    id: Uuid,
    project_id: Uuid,
    user_id: Uuid,
    /// What the row says; `admin` for those who inherit their role without one.
    role: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// Who it is.
    pub user: MemberUser,
    /// What they are in fact; absent where the row says nothing that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    effective_role: Option<&'static str>,
    /// Whether they are that as an owner or admin of the organization.
    inherited: bool,
}

macro_rules! select_member {
    () => {
        concat!(
            "select
                coalesce(pm.id, m.id) as id,
                p.id as project_id,
                case when pm.id is null then 'admin' else coalesce(pm.role, 'member') end as role,",
            "case when pm.id is null then ",
            time_text!("m.created_at"),
            " else ",
            time_text!("pm.created_at"),
            " end as created_at,",
            user_columns!(),
            ", ",
            standing_columns!(),
            "
            from projects p
            join org_members m on m.org_id = p.org_id
            join users u on u.id = m.user_id
            left join project_members pm on pm.project_id = p.id and pm.user_id = m.user_id "
        )
    };
}

impl FromRow<'_, PgRow> for ProjectMember {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let standing = members::standing(row)?;
        let effective = standing.role();
        Ok(Self {
            id: row.try_get("id")?,
            project_id: row.try_get("project_id")?,
            user_id: row.try_get("user_id")?,
            role: row.try_get("role")?,
            created_at: row.try_get("created_at")?,
            user: MemberUser::from_row(row)?,
            effective_role: effective.map(|role| role.as_str()),
            inherited: matches!(standing.org_role, Some(OrgRole::Owner | OrgRole::Admin)),
        })
    }
}

/// The members of a project, owners and admins of the organization among them, by name, then email; at most `limit`.
///
/// # Errors
/// The database is away.
pub async fn all(tx: &mut Tx, project: ProjectId, limit: i64) -> sqlx::Result<Vec<ProjectMember>> {
    sqlx::query_as(concat!(
        select_member!(),
        "where p.id = $1
            and (pm.id is not null or m.role in ('owner', 'admin'))
        order by u.name nulls last, u.email, u.id
        limit $2"
    ))
    .bind(project.0)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// One member with a row of their own.
///
/// # Errors
/// The database is away.
pub async fn one(tx: &mut Tx, project: ProjectId, user: UserId) -> sqlx::Result<Option<ProjectMember>> {
    sqlx::query_as(concat!(select_member!(), "where p.id = $1 and m.user_id = $2 and pm.id is not null"))
        .bind(project.0)
        .bind(user.0)
        .fetch_optional(tx.conn())
        .await
}

/// Gives a member of the organization a row in a project; false if they have one already.
///
/// # Errors
/// The database is away; they are not in the organization (a foreign key).
pub async fn add(tx: &mut Tx, project: ProjectId, user: UserId, role: &str) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into project_members (project_id, user_id, role)
        values ($1, $2, $3)
        on conflict (project_id, user_id) do nothing",
    )
    .bind(project.0)
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
pub async fn set_role(tx: &mut Tx, project: ProjectId, user: UserId, role: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update project_members
        set role = $3
        where project_id = $1
            and user_id = $2
            and role is distinct from $3",
    )
    .bind(project.0)
    .bind(user.0)
    .bind(role)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes a member's row; false if they have none. A trigger ends their locks.
///
/// # Errors
/// The database is away.
pub async fn remove(tx: &mut Tx, project: ProjectId, user: UserId) -> sqlx::Result<bool> {
    let done = sqlx::query("delete from project_members where project_id = $1 and user_id = $2")
        .bind(project.0)
        .bind(user.0)
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected() == 1)
}
