//! The audit trail: rows that are only ever added. Triggers write them for every writer
//! (`migrations/0008_audit.sql`); here are those that the server writes itself, and the reading of all.

use glassbox_protocol::{ExecutionId, OrgId, ProjectId, UserId};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::projects::time_text;
use super::{Origin, Tx};

/// What the server does as one thing, where triggers would see many or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A canvas came in as nodes.
    CanvasImported(ProjectId),
    /// A canvas went out.
    CanvasExported(ProjectId),
    /// A template became nodes.
    TemplateApplied(Uuid),
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Action::CanvasImported(_) => "canvas.imported",
            Action::CanvasExported(_) => "canvas.exported",
            Action::TemplateApplied(_) => "template.applied",
        }
    }

    fn resource(self) -> (&'static str, Uuid) {
        match self {
            Action::CanvasImported(project) | Action::CanvasExported(project) => ("project", project.0),
            Action::TemplateApplied(template) => ("template", template),
        }
    }
}

/// A row that the server writes.
#[derive(Clone, Debug)]
pub struct NewEntry<'a> {
    /// The tenant.
    pub org: OrgId,
    /// What was done.
    pub action: Action,
    /// Who did it, and from where.
    pub origin: &'a Origin,
    /// A small object that helps: names and numbers, no texts, no secrets.
    pub details: Value,
}

/// Writes a row of the trail. The context must be the organization.
///
/// # Errors
/// The database is away.
pub async fn write(tx: &mut Tx, entry: &NewEntry<'_>) -> sqlx::Result<()> {
    let (resource_type, resource) = entry.action.resource();
    let via = entry.origin.via.as_deref();
    let mut details = entry.details.clone();
    if let (Some(execution), Some(fields)) = (entry.origin.execution, details.as_object_mut()) {
        fields.insert("executionId".to_owned(), execution.to_string().into());
    }
    sqlx::query(
        "insert into audit_log
            (org_id, user_id, agent_execution_id, action, resource_type, resource_id, details, created_at, ip_address, user_agent)
        values ($1, $2, (select x.id from agent_executions x where x.id = $3), $4, $5, $6, $7, clock_timestamp(), $8::inet, $9)",
    )
    .bind(entry.org.0)
    .bind(entry.origin.user.map(|user| user.0))
    .bind(entry.origin.execution.map(|execution| execution.0))
    .bind(entry.action.name())
    .bind(resource_type)
    .bind(resource)
    .bind(details)
    .bind(via.map(|via| via.ip.to_string()))
    .bind(via.and_then(|via| via.user_agent.as_deref()))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Which rows of an organization's trail are asked for; what is absent restricts nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// An action, or all that begin as `node.*` says.
    pub action: Option<String>,
    /// What kind of thing was changed.
    pub resource_type: Option<String>,
    /// Which.
    pub resource: Option<Uuid>,
    /// Who did it.
    pub user: Option<UserId>,
    /// The agent's run that did it, or that it was done to.
    pub execution: Option<ExecutionId>,
    /// Not before this moment.
    pub from: Option<OffsetDateTime>,
    /// Before this moment.
    pub to: Option<OffsetDateTime>,
}

/// A row of the trail as the wire shows it.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct Entry {
    id: Uuid,
    org_id: Uuid,
    /// Absent for a writer that comes straight to the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    agent_execution_id: Option<Uuid>,
    #[schema(example = "node.updated")]
    action: String,
    resource_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    resource_id: Option<Uuid>,
    #[schema(value_type = Object)]
    details: Json<Box<RawValue>>,
    #[schema(format = DateTime)]
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ip_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user_agent: Option<String>,
}

/// What the filter binds, in this order.
macro_rules! filtered {
    ($query:expr, $org:expr, $filter:expr) => {{
        let filter: &Filter = $filter;
        let prefix = filter.action.as_deref().and_then(|action| action.strip_suffix('*'));
        let exact = filter.action.as_deref().filter(|_| prefix.is_none());
        $query
            .bind($org.0)
            .bind(exact.map(str::to_owned))
            .bind(prefix.map(str::to_owned))
            .bind(filter.resource_type.clone())
            .bind(filter.resource)
            .bind(filter.user.map(|user| user.0))
            .bind(filter.execution.map(|execution| execution.0))
            .bind(filter.from)
            .bind(filter.to)
    }};
}

macro_rules! condition {
    () => {
        " from audit_log a
        where a.org_id = $1
            and ($2::text is null or a.action = $2)
            and ($3::text is null or starts_with(a.action, $3))
            and ($4::text is null or a.resource_type = $4)
            and ($5::uuid is null or a.resource_id = $5)
            and ($6::uuid is null or a.user_id = $6)
            and (
                $7::uuid is null
                or a.agent_execution_id = $7
                -- The execution is gone; only its name is left.
                or a.agent_execution_id is null and a.details ->> 'executionId' = $7::text
            )
            and ($8::timestamptz is null or a.created_at >= $8)
            and ($9::timestamptz is null or a.created_at < $9)"
    };
}

/// Rows of an organization's trail, newest first: those older than `before`, if it is given, and of these `limit` after
/// the first `offset`. The context must be the organization.
///
/// # Errors
/// The database is away.
pub async fn list(
    tx: &mut Tx,
    org: OrgId,
    filter: &Filter,
    before: Option<Uuid>,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<Entry>> {
    let query = sqlx::query_as(concat!(
        "select a.id, a.org_id, a.user_id, a.agent_execution_id, a.action, a.resource_type, a.resource_id,
            realtime.object_or_empty(a.details) as details,",
        time_text!("a.created_at"),
        " as created_at, host(a.ip_address) as ip_address, a.user_agent",
        condition!(),
        "
            and (
                $10::uuid is null
                or (a.created_at, a.id) < (select b.created_at, b.id from audit_log b where b.id = $10)
            )
        order by a.created_at desc, a.id desc
        limit $11
        offset $12"
    ));
    filtered!(query, org, filter).bind(before).bind(limit).bind(offset).fetch_all(tx.conn()).await
}

/// How many rows of an organization's trail the filter lets through. The context must be the organization.
///
/// # Errors
/// The database is away.
pub async fn count(tx: &mut Tx, org: OrgId, filter: &Filter) -> sqlx::Result<i64> {
    let query = sqlx::query_scalar(concat!("select count(*)", condition!()));
    filtered!(query, org, filter).fetch_one(tx.conn()).await
}

/// Whether a row stands in an organization's trail. The context must be the organization.
///
/// # Errors
/// The database is away.
pub async fn has(tx: &mut Tx, org: OrgId, entry: Uuid) -> sqlx::Result<bool> {
    let found: Option<i32> = sqlx::query_scalar("select 1 from audit_log where id = $1 and org_id = $2")
        .bind(entry)
        .bind(org.0)
        .fetch_optional(tx.conn())
        .await?;
    Ok(found.is_some())
}
