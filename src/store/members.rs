//! Who belongs to an organization and to a project, and where a project or node lives.

use glassbox_protocol::{ExecutionId, NodeId, OrgId, ProjectId, UserId};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Database, Tx, in_time};
use crate::auth::rights::{OrgRole, ProjectRole, ProjectRow, Visibility, effective_role};

/// Which organization a project belongs to; says nothing about who may know it.
///
/// # Errors
/// The database is away.
pub async fn locate_project(db: &Database, project: ProjectId) -> sqlx::Result<Option<OrgId>> {
    let org: Option<Uuid> = in_time(
        sqlx::query_scalar("select org_id from projects where id = $1").bind(project.0).fetch_optional(db.lookup()),
    )
    .await?;
    Ok(org.map(OrgId))
}

/// Which organization and project a node belongs to; says nothing about who may know it.
///
/// # Errors
/// The database is away.
pub async fn locate_node(db: &Database, node: NodeId) -> sqlx::Result<Option<(OrgId, ProjectId)>> {
    let found: Option<(Uuid, Uuid)> = in_time(
        sqlx::query_as("select org_id, project_id from nodes where id = $1").bind(node.0).fetch_optional(db.lookup()),
    )
    .await?;
    Ok(found.map(|(org, project)| (OrgId(org), ProjectId(project))))
}

/// Which organization and project an execution belongs to; says nothing about who may know it.
///
/// # Errors
/// The database is away.
pub async fn locate_execution(db: &Database, execution: ExecutionId) -> sqlx::Result<Option<(OrgId, ProjectId)>> {
    let found: Option<(Uuid, Uuid)> = in_time(
        sqlx::query_as(
            "select n.org_id, n.project_id
        from agent_executions x
        join nodes n on n.id = x.node_id
        where x.id = $1",
        )
        .bind(execution.0)
        .fetch_optional(db.lookup()),
    )
    .await?;
    Ok(found.map(|(org, project)| (OrgId(org), ProjectId(project))))
}

/// What [`standing`] reads beside `user_id`, of projects `p`, org_members `m` and project_members `pm`.
macro_rules! standing_columns {
    () => {
        "coalesce(m.role, 'member') as org_role,
            pm.id is not null as has_row,
            coalesce(pm.role, 'member') as project_role,
            coalesce(p.settings ->> 'visibility', 'org') as visibility"
    };
}
pub(super) use standing_columns;

/// What decides about somebody's effective role in a project.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Who.
    pub user: UserId,
    /// Their role in the organization; `None` for one that we do not know.
    pub org_role: Option<OrgRole>,
    /// Their own row in the project.
    pub row: ProjectRow,
    /// Who sees the project without a row.
    pub visibility: Visibility,
}

impl Standing {
    /// What they are in the project, if anything.
    pub fn role(&self) -> Option<ProjectRole> {
        effective_role(self.org_role?, self.row, self.visibility)
    }
}

/// How the given users stand to a project; those outside its organization are left out.
///
/// # Errors
/// The database is away.
pub async fn standings(tx: &mut Tx, project: ProjectId, users: &[UserId]) -> sqlx::Result<Vec<Standing>> {
    let users: Vec<Uuid> = users.iter().map(|u| u.0).collect();
    sqlx::query(concat!(
        "select
            m.user_id,
            ",
        standing_columns!(),
        "
        from projects p
        join org_members m on m.org_id = p.org_id
        left join project_members pm on pm.project_id = p.id and pm.user_id = m.user_id
        where p.id = $1
            and m.user_id = any ($2)"
    ))
    .bind(project.0)
    .bind(users)
    .fetch_all(tx.conn())
    .await?
    .iter()
    .map(standing)
    .collect()
}

/// Keeps the memberships of users as they are until the transaction ends.
///
/// # Errors
/// The database is away, or somebody changes one of them for too long.
pub async fn hold(tx: &mut Tx, org: OrgId, project: ProjectId, users: &[UserId]) -> sqlx::Result<()> {
    let users: Vec<Uuid> = users.iter().map(|u| u.0).collect();
    sqlx::query("select from org_members where org_id = $1 and user_id = any($2) order by id for share")
        .bind(org.0)
        .bind(&users)
        .execute(tx.conn())
        .await?;
    sqlx::query("select from project_members where project_id = $1 and user_id = any($2) order by id for share")
        .bind(project.0)
        .bind(&users)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// The role that a user has in an organization, if any.
///
/// # Errors
/// The database is away.
pub async fn org_role(tx: &mut Tx, org: OrgId, user: UserId) -> sqlx::Result<Option<OrgRole>> {
    let role: Option<String> = sqlx::query_scalar(
        "select coalesce(role, 'member')
        from org_members
        where org_id = $1
            and user_id = $2",
    )
    .bind(org.0)
    .bind(user.0)
    .fetch_optional(tx.conn())
    .await?;
    Ok(role.as_deref().and_then(OrgRole::from_stored))
}

/// Reads a [`Standing`] from a row with `user_id` and the columns of [`standing_columns!`].
pub(super) fn standing(row: &PgRow) -> sqlx::Result<Standing> {
    let project_row = if row.try_get("has_row")? {
        ProjectRole::from_stored(row.try_get("project_role")?).map_or(ProjectRow::Unknown, ProjectRow::Role)
    } else {
        ProjectRow::Absent
    };
    let visibility = match row.try_get("visibility")? {
        "private" => Visibility::Private,
        _ => Visibility::Org,
    };
    Ok(Standing {
        user: UserId(row.try_get("user_id")?),
        org_role: OrgRole::from_stored(row.try_get("org_role")?),
        row: project_row,
        visibility,
    })
}
