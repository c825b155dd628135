//! Templates: the rows of `templates`, and the nodes that are made from them.

use glassbox_protocol::{DependencyId, NodeId, OrgId, ProjectId, UserId};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::Tx;
use super::nodes::{self, Content, NewNode};
use super::projects::time_text;
use crate::template::format;
use crate::template::plan::{Plan, Source};

/// How long one statement may take: the triggers write a version and an event for each row.
const APPLY_TIMEOUT: &str = "14s";

/// A template as the wire shows it.
#[derive(Clone, Debug, FromRow, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    id: Uuid,
    /// Absent in one that comes with the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    org_id: Option<Uuid>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<String>,
    /// In the one format; see the body of `POST`.
    #[schema(value_type = Object)]
    structure: Json<Value>,
    #[schema(value_type = Object)]
    agent_config: Json<Value>,
    /// Whether every organization may read it.
    pub is_public: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    created_by: Option<Uuid>,
}

impl Template {
    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its organization; none for a template that comes with the server.
    pub fn org(&self) -> Option<OrgId> {
        self.org_id.map(OrgId)
    }

    /// Who made it.
    pub fn maker(&self) -> Option<UserId> {
        self.created_by.map(UserId)
    }

    fn in_one_format(mut self) -> Self {
        self.structure.0 = format::structure(self.structure.0.take());
        self.agent_config.0 = format::agent_config(self.agent_config.0.take());
        self
    }
}

impl From<Template> for Source {
    fn from(template: Template) -> Self {
        Self {
            id: template.id,
            name: template.name,
            description: template.description,
            structure: template.structure.0,
            agent_config: template.agent_config.0,
        }
    }
}

macro_rules! select_template {
    () => {
        concat!(
            "select
                t.id, t.org_id, t.name, t.description, t.structure,
                realtime.object_or_empty(t.agent_config) as agent_config,
                coalesce(t.is_public, false) as is_public,",
            time_text!("t.created_at"),
            " as created_at,",
            time_text!("t.updated_at"),
            " as updated_at,
                t.created_by
            from templates t "
        )
    };
}

/// Every template that the context may read, by name; at most `limit`: those of the server, public ones, and those of
/// the organization at hand, or of all of the user's where none is.
///
/// # Errors
/// The database is away.
pub async fn readable(tx: &mut Tx, limit: i64) -> sqlx::Result<Vec<Template>> {
    let found: Vec<Template> = sqlx::query_as(concat!(select_template!(), "order by t.name, t.id limit $1"))
        .bind(limit)
        .fetch_all(tx.conn())
        .await?;
    Ok(found.into_iter().map(Template::in_one_format).collect())
}

/// Those of the given templates that the context may read.
///
/// # Errors
/// The database is away.
pub async fn by_ids(tx: &mut Tx, ids: &[Uuid]) -> sqlx::Result<Vec<Template>> {
    let found: Vec<Template> =
        sqlx::query_as(concat!(select_template!(), "where t.id = any ($1)")).bind(ids).fetch_all(tx.conn()).await?;
    Ok(found.into_iter().map(Template::in_one_format).collect())
}

/// What a template is to be; in a change, absent fields stay.
#[derive(Clone, Debug, Default)]
pub struct TemplateFields<'a> {
    /// 1 to 255 characters.
    pub name: Option<&'a str>,
    /// `Some(None)` removes it.
    pub description: Option<Option<&'a str>>,
    /// In the one format.
    pub structure: Option<Value>,
    /// In its one spelling.
    pub agent_config: Option<Value>,
    /// Whether every organization may read it.
    pub is_public: Option<bool>,
}

/// Makes a template in the organization at hand; `None` if a required field is absent.
///
/// # Errors
/// The database is away.
pub async fn create(
    tx: &mut Tx,
    org: OrgId,
    maker: UserId,
    fields: &TemplateFields<'_>,
) -> sqlx::Result<Option<Template>> {
    let id = Uuid::new_v4();
    sqlx::query(
        "insert into templates (id, org_id, name, description, structure, agent_config, is_public, created_by)
        values ($1, $2, $3, $4, $5, coalesce($6, '{}'), coalesce($7, false), $8)",
    )
    .bind(id)
    .bind(org.0)
    .bind(fields.name)
    .bind(fields.description.flatten())
    .bind(&fields.structure)
    .bind(&fields.agent_config)
    .bind(fields.is_public)
    .bind(maker.0)
    .execute(tx.conn())
    .await?;
    Ok(by_ids(tx, &[id]).await?.pop())
}

/// Changes a template of the organization at hand; a row that would not differ is left alone. `None` if it is gone.
///
/// # Errors
/// The database is away.
pub async fn update(tx: &mut Tx, template: Uuid, fields: &TemplateFields<'_>) -> sqlx::Result<Option<Template>> {
    sqlx::query(
        "update templates
        set name = coalesce($2, name),
            description = case when $3 then $4 else description end,
            structure = coalesce($5, structure),
            agent_config = coalesce($6, agent_config),
            is_public = coalesce($7, is_public)
        where id = $1
            and (name, description, structure, agent_config, is_public) is distinct from (
                coalesce($2, name),
                case when $3 then $4 else description end,
                coalesce($5, structure),
                coalesce($6, agent_config),
                coalesce($7, is_public)
            )",
    )
    .bind(template)
    .bind(fields.name)
    .bind(fields.description.is_some())
    .bind(fields.description.flatten())
    .bind(&fields.structure)
    .bind(&fields.agent_config)
    .bind(fields.is_public)
    .execute(tx.conn())
    .await?;
    Ok(by_ids(tx, &[template]).await?.pop())
}

/// Deletes a template of the organization at hand; what was made from it stays.
///
/// # Errors
/// The database is away.
pub async fn delete(tx: &mut Tx, template: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from templates where id = $1").bind(template).execute(tx.conn()).await?;
    Ok(())
}

/// Makes what a plan says and returns the nodes as the wire shows them, in the plan's order. The origin must be set.
/// A status that the project's workflow does not know gives way to the project's default.
///
/// # Errors
/// The database is away.
pub async fn make(
    tx: &mut Tx,
    org: OrgId,
    project: ProjectId,
    author: UserId,
    plan: &Plan,
) -> sqlx::Result<Vec<Value>> {
    sqlx::query("select set_config('statement_timeout', $1, true)").bind(APPLY_TIMEOUT).execute(tx.conn()).await?;
    let usual = nodes::default_status(tx, project).await?;
    let enforced = nodes::enforced_states(tx, project).await?;
    let status = |wanted: &Option<String>| match wanted {
        Some(status) if enforced.as_ref().is_none_or(|states| states.contains(status)) => status.clone(),
        _ => usual.clone(),
    };
    let rows: Vec<NewNode> = plan
        .nodes
        .iter()
        .map(|node| NewNode {
            id: node.id,
            org,
            project,
            content: Content {
                title: node.title.clone(),
                description: node.description.clone(),
                status: status(&node.status),
                parent: node.parent,
                supervisor: node.is_agent.then_some(author),
                metadata: node.metadata.clone(),
                position: node.position,
            },
            author_type: if node.is_agent { "agent" } else { "human" },
            author,
        })
        .collect();
    nodes::insert(tx, &rows).await?;
    insert_inputs(tx, plan).await?;
    insert_edges(tx, &plan.edges).await?;
    let ids: Vec<Uuid> = plan.nodes.iter().map(|node| node.id.0).collect();
    sqlx::query_scalar(
        "select realtime.node_json(n) || realtime.node_lists(n.id)
        from unnest($1::uuid[]) with ordinality i (id, place)
        join nodes n on n.id = i.id
        order by i.place",
    )
    .bind(ids)
    .fetch_all(tx.conn())
    .await
}

async fn insert_inputs(tx: &mut Tx, plan: &Plan) -> sqlx::Result<()> {
    if plan.inputs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into node_inputs (node_id, input_type, label, text_content, external_url, metadata, sort_order)
        select i.node_id, i.input_type, nullif(i.label, ''), i.text, i.url, i.metadata, i.sort_order
        from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::integer[])
            with ordinality i (node_id, input_type, label, text, url, metadata, sort_order, place)
        order by i.place",
    )
    .bind(plan.inputs.iter().map(|i| i.node.0).collect::<Vec<_>>())
    .bind(plan.inputs.iter().map(|i| i.input_type).collect::<Vec<_>>())
    .bind(plan.inputs.iter().map(|i| i.label.as_str()).collect::<Vec<_>>())
    .bind(plan.inputs.iter().map(|i| i.text.as_deref()).collect::<Vec<_>>())
    .bind(plan.inputs.iter().map(|i| i.url.as_deref()).collect::<Vec<_>>())
    .bind(plan.inputs.iter().map(|i| Json(&i.metadata)).collect::<Vec<_>>())
    .bind(plan.inputs.iter().map(|i| i.sort_order).collect::<Vec<_>>())
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn insert_edges(tx: &mut Tx, edges: &[(NodeId, NodeId)]) -> sqlx::Result<()> {
    if edges.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into node_dependencies (id, source_node_id, target_node_id)
        select e.id, e.source, e.target
        from unnest($1::uuid[], $2::uuid[], $3::uuid[]) with ordinality e (id, source, target, place)
        order by e.place",
    )
    .bind(edges.iter().map(|_| DependencyId::random().0).collect::<Vec<_>>())
    .bind(edges.iter().map(|(source, _)| source.0).collect::<Vec<_>>())
    .bind(edges.iter().map(|(_, target)| target.0).collect::<Vec<_>>())
    .execute(tx.conn())
    .await?;
    Ok(())
}
