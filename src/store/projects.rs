//! Projects: the rows of `projects`.

use glassbox_protocol::{OrgId, ProjectId, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use super::members::standing_columns;
use super::{Tx, members};
use crate::auth::rights::ProjectRole;

/// A time as the wire writes it, in UTC with microseconds; NULL and infinity, which have no text, are served as the
/// beginning of time. What `realtime.time_text` does, but PostgreSQL cannot inline that one: called for each row it
/// costs more than all the rest.
macro_rules! time_text {
    ($column:literal) => {
        concat!(
            "coalesce(to_char(",
            $column,
            " at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), '1970-01-01T00:00:00.000000Z')"
        )
    };
}
pub(super) use time_text;

macro_rules! columns {
    () => {
        concat!(
            "p.id, p.org_id, p.name, p.description, realtime.object_or_empty(p.settings) as settings,
            case when jsonb_typeof(p.workflow_states) = 'array' then p.workflow_states else '[]' end as workflow_states,",
            time_text!("p.created_at"),
            " as created_at, ",
            time_text!("p.updated_at"),
            " as updated_at"
        )
    };
}

/// A project as the wire shows it.
#[derive(Clone, Debug, FromRow, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    id: Uuid,
    org_id: Uuid,
    /// 1 to 255 characters.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<String>,
    #[schema(value_type = Object)]
    settings: Json<Box<RawValue>>,
    #[schema(value_type = Vec<String>)]
    workflow_states: Json<Box<RawValue>>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// The effective role of whoever asks.
    #[sqlx(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub role: Option<&'static str>,
}

impl Project {
    /// Its id.
    pub fn id(&self) -> ProjectId {
        ProjectId(self.id)
    }

    /// Adds the caller's role.
    #[must_use]
    pub fn seen_by(mut self, role: ProjectRole) -> Self {
        self.role = Some(role.as_str());
        self
    }
}

/// A project that is to be made.
#[derive(Clone, Debug)]
pub struct NewProject<'a> {
    /// 1 to 255 characters.
    pub name: &'a str,
    /// Markdown.
    pub description: Option<&'a str>,
    /// An object.
    pub settings: serde_json::Value,
    /// A list of texts.
    pub workflow_states: serde_json::Value,
}

/// Reads a project of the organization at hand.
///
/// # Errors
/// The database is away.
pub async fn by_id(tx: &mut Tx, project: ProjectId) -> sqlx::Result<Option<Project>> {
    sqlx::query_as(concat!("select ", columns!(), " from projects p where p.id = $1"))
        .bind(project.0)
        .fetch_optional(tx.conn())
        .await
}

/// The projects of an organization that a user may read, with the user's role, by name; at most `limit`.
///
/// # Errors
/// The database is away.
pub async fn readable(tx: &mut Tx, org: OrgId, user: UserId, limit: i64) -> sqlx::Result<Vec<Project>> {
    let rows: Vec<PgRow> = sqlx::query(concat!(
        "select ",
        columns!(),
        ",
            m.user_id,
            ",
        standing_columns!(),
        "
        from projects p
        join org_members m on m.org_id = p.org_id and m.user_id = $2
        left join project_members pm on pm.project_id = p.id and pm.user_id = m.user_id
        where p.org_id = $1
        order by p.name, p.id
        limit $3"
    ))
    .bind(org.0)
    .bind(user.0)
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    let mut projects = Vec::with_capacity(rows.len());
    for row in rows {
        let standing = members::standing(&row)?;
        let role = standing.role();
        if let Some(role) = role {
            projects.push(Project::from_row(&row)?.seen_by(role));
        }
    }
    Ok(projects)
}

/// Makes a project in the organization at hand, with its maker as project admin.
///
/// # Errors
/// The database is away, or the maker is gone.
pub async fn create(tx: &mut Tx, org: OrgId, maker: UserId, new: &NewProject<'_>) -> sqlx::Result<Project> {
    let id = Uuid::new_v4();
    sqlx::query(
        "insert into projects (id, org_id, name, description, settings, workflow_states)
        values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(org.0)
    .bind(new.name)
    .bind(new.description)
    .bind(&new.settings)
    .bind(&new.workflow_states)
    .execute(tx.conn())
    .await?;
    sqlx::query("insert into project_members (project_id, user_id, role) values ($1, $2, 'admin')")
        .bind(id)
        .bind(maker.0)
        .execute(tx.conn())
        .await?;
    let project = by_id(tx, ProjectId(id)).await?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(project.seen_by(ProjectRole::Admin))
}

/// The id of a project by its organization's slug and its own name, the oldest one first.
///
/// # Errors
/// The database is away.
pub async fn by_name(tx: &mut Tx, org: OrgId, name: &str) -> sqlx::Result<Option<ProjectId>> {
    let row = sqlx::query("select id from projects where org_id = $1 and name = $2 order by created_at, id limit 1")
        .bind(org.0)
        .bind(name)
        .fetch_optional(tx.conn())
        .await?;
    row.map(|row| Ok(ProjectId(row.try_get("id")?))).transpose()
}

/// What of a project is to change; absent fields stay.
#[derive(Clone, Debug, Default)]
pub struct ProjectChanges<'a> {
    /// 1 to 255 characters.
    pub name: Option<&'a str>,
    /// Markdown; `Some(None)` removes it.
    pub description: Option<Option<&'a str>>,
    /// The whole object.
    pub settings: Option<serde_json::Value>,
    /// A list of texts.
    pub workflow_states: Option<serde_json::Value>,
}

/// Changes a project; a row that would not differ is left alone. `None` if it is gone.
///
/// # Errors
/// The database is away.
pub async fn update(tx: &mut Tx, project: ProjectId, changes: &ProjectChanges<'_>) -> sqlx::Result<Option<Project>> {
    sqlx::query(
        "update projects
        set name = coalesce($2, name),
            description = case when $3 then $4 else description end,
            settings = coalesce($5, settings),
            workflow_states = coalesce($6, workflow_states)
        where id = $1
            and (name, description, settings, workflow_states) is distinct from (
                coalesce($2, name),
                case when $3 then $4 else description end,
                coalesce($5, settings),
                coalesce($6, workflow_states)
            )",
    )
    .bind(project.0)
    .bind(changes.name)
    .bind(changes.description.is_some())
    .bind(changes.description.flatten())
    .bind(&changes.settings)
    .bind(&changes.workflow_states)
    .execute(tx.conn())
    .await?;
    by_id(tx, project).await
}

/// Deletes a project with all that belongs to it.
///
/// # Errors
/// The database is away, or somebody else holds what belongs to it.
pub async fn delete(tx: &mut Tx, project: ProjectId) -> sqlx::Result<()> {
    super::orgs::allow_cascade(tx).await?;
    sqlx::query("delete from projects where id = $1").bind(project.0).execute(tx.conn()).await?;
    Ok(())
}
