//! What somebody may read beyond the project at hand: the nodes and files of the organization that inputs and outputs
//! refer to.

use std::collections::HashSet;

use glassbox_protocol::{NodeId, OrgId, ProjectId, UserId};
use sqlx::Row as _;
use uuid::Uuid;

use super::members::standing_columns;
use super::{Tx, members};
use crate::auth::rights::{OrgRight, OrgRole, ProjectRight};

/// Which of these projects a user may read.
///
/// # Errors
/// The database is away.
pub async fn projects(tx: &mut Tx, user: UserId, projects: &HashSet<ProjectId>) -> sqlx::Result<HashSet<ProjectId>> {
    let rows = sqlx::query(concat!(
        "select
            p.id as project_id,
            m.user_id,
            ",
        standing_columns!(),
        "
        from projects p
        join org_members m on m.org_id = p.org_id and m.user_id = $1
        left join project_members pm on pm.project_id = p.id and pm.user_id = m.user_id
        where p.id = any($2)"
    ))
    .bind(user.0)
    .bind(projects.iter().map(|p| p.0).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await?;
    let mut readable = HashSet::new();
    for row in &rows {
        let standing = members::standing(row)?;
        let role = standing.role();
        if role.is_some_and(|role| role.may(ProjectRight::Read)) {
            readable.insert(ProjectId(row.try_get("project_id")?));
        }
    }
    Ok(readable)
}

/// The version of a node that is not deleted, if the user may read it.
///
/// # Errors
/// The database is away.
pub async fn node_version(tx: &mut Tx, user: UserId, node: NodeId) -> sqlx::Result<Option<i32>> {
    let found: Option<(Uuid, i32)> = sqlx::query_as(
        "select n.project_id, coalesce(n.version, 1)
        from nodes n
        where n.id = $1
            and n.deleted_at is null",
    )
    .bind(node.0)
    .fetch_optional(tx.conn())
    .await?;
    let Some((project, version)) = found else { return Ok(None) };
    let project = ProjectId(project);
    Ok(projects(tx, user, &HashSet::from([project])).await?.contains(&project).then_some(version))
}

/// Whether a user may read a file of the organization: owners, admins and the uploader always, others through the
/// projects of the nodes that it is attached to; one that is attached to none is for members.
///
/// # Errors
/// The database is away.
pub async fn has_file(tx: &mut Tx, org: OrgId, user: UserId, file: Uuid) -> sqlx::Result<bool> {
    let uploader: Option<Option<Uuid>> =
        sqlx::query_scalar("select f.uploaded_by from files f where f.id = $1 and f.org_id = $2")
            .bind(file)
            .bind(org.0)
            .fetch_optional(tx.conn())
            .await?;
    let Some(uploader) = uploader else { return Ok(false) };
    match members::org_role(tx, org, user).await? {
        None => Ok(false),
        Some(OrgRole::Owner | OrgRole::Admin) => Ok(true),
        Some(_) if uploader == Some(user.0) => Ok(true),
        Some(role) => {
            let attached: Vec<Uuid> = sqlx::query_scalar(
                "select distinct n.project_id
                from (
                    select i.node_id from node_inputs i where i.file_id = $1
                    union
                    select o.node_id from node_outputs o where o.file_id = $1
                ) a
                join nodes n on n.id = a.node_id",
            )
            .bind(file)
            .fetch_all(tx.conn())
            .await?;
            if attached.is_empty() {
                return Ok(role.may(OrgRight::UploadFile));
            }
            let attached = attached.into_iter().map(ProjectId).collect();
            Ok(!projects(tx, user, &attached).await?.is_empty())
        }
    }
}
