//! Nodes as the wire shows them, with their inputs and outputs and what those refer to: for lists, single nodes, answers
//! to commands and snapshots.
//!
//! Rows become JSON here and not in PostgreSQL: the functions that give rows the shape of the wire
//! (`realtime.node_json` and its relatives) are made for one row of a trigger and cost about 150 µs each, 1.8 s for
//! 10 000 nodes with their inputs, where this takes a tenth. Both must show the same: a test compares them. How many
//! queries are run never depends on how many nodes there are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use glassbox_protocol::{NodeId, ProjectId, UserId};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use self::query::Owners;
use self::rows::{InputRow, NodeRow, OutputRow, PersonRow};
use super::{Tx, readable};

mod query;
mod rows;

/// Most nodes whose inputs and outputs are asked for by the nodes' ids, where the project can stand for them.
const NAMED_NODES_MAX: usize = 500;

/// A node with its inputs and outputs.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    #[serde(flatten)]
    row: NodeRow,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
}

/// What a node needs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    #[serde(flatten)]
    row: InputRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Arc<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_node: Option<Arc<RawValue>>,
}

/// What a node made.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    #[serde(flatten)]
    row: OutputRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Arc<RawValue>>,
}

/// A node with all that its own page shows.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    node: Node,
    children: Vec<NodeRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<PersonRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supervisor: Option<PersonRow>,
}

impl Node {
    /// Its id.
    pub fn id(&self) -> NodeId {
        NodeId(self.row.id)
    }

    /// Where it lives.
    pub fn project(&self) -> ProjectId {
        ProjectId(self.row.project_id)
    }

    /// Whether it is deleted.
    pub fn is_deleted(&self) -> bool {
        self.row.deleted_at.is_some()
    }

    /// Its title.
    pub fn title(&self) -> &str {
        &self.row.title
    }
}

/// Who looks: what inputs and outputs refer to is shown to somebody, and only what they may read.
#[derive(Clone, Copy, Debug)]
pub enum Viewer {
    /// The rows alone, the same for everybody, as events show them.
    Anybody,
    /// With nested files, which whoever reads a node may read: the same for all of them.
    Readers,
    /// With nested files and source nodes.
    User(UserId),
}

/// Which parent the nodes of a list have.
#[derive(Clone, Copy, Debug)]
pub enum Parent {
    /// Any or none.
    Any,
    /// None.
    Root,
    /// This one.
    Is(NodeId),
}

/// Which nodes of a project a list holds.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// The project.
    pub project: ProjectId,
    /// The deleted ones instead of the others.
    pub is_deleted: bool,
    /// With this status.
    pub status: Option<&'a str>,
    /// `human` or `agent`.
    pub author_type: Option<&'a str>,
    /// Below this node.
    pub parent: Parent,
}

/// The nodes of a project that pass a filter, newest first.
///
/// # Errors
/// The database is away.
pub async fn list(tx: &mut Tx, filter: &Filter<'_>, user: UserId, limit: i64, offset: i64) -> sqlx::Result<Vec<Node>> {
    let rows = query::filtered(tx, filter, limit, offset).await?;
    let all = Owners::Project { project: filter.project, is_deleted: filter.is_deleted };
    whole(tx, rows, Viewer::User(user), Some(all)).await
}

/// How many nodes pass a filter.
///
/// # Errors
/// The database is away.
pub async fn count(tx: &mut Tx, filter: &Filter<'_>) -> sqlx::Result<i64> {
    query::count(tx, filter).await
}

/// Every node of a project that is not deleted, oldest first, as events show nodes.
///
/// # Errors
/// The database is away.
pub async fn project(tx: &mut Tx, project: ProjectId) -> sqlx::Result<Vec<Node>> {
    let rows = query::of_project(tx, project).await?;
    whole(tx, rows, Viewer::Anybody, Some(Owners::Project { project, is_deleted: false })).await
}

/// One node, deleted or not.
///
/// # Errors
/// The database is away.
pub async fn node(tx: &mut Tx, node: NodeId, viewer: Viewer) -> sqlx::Result<Option<Node>> {
    let rows = query::by_ids(tx, &[node.0]).await?;
    Ok(whole(tx, rows, viewer, None).await?.pop())
}

/// Several nodes, deleted or not, by id.
///
/// # Errors
/// The database is away.
pub async fn nodes(tx: &mut Tx, nodes: &[NodeId], viewer: Viewer) -> sqlx::Result<HashMap<NodeId, Node>> {
    let ids: Vec<Uuid> = nodes.iter().map(|n| n.0).collect();
    let rows = query::by_ids(tx, &ids).await?;
    Ok(whole(tx, rows, viewer, None).await?.into_iter().map(|node| (node.id(), node)).collect())
}

/// One node that is not deleted, with its children and the people it names.
///
/// # Errors
/// The database is away.
pub async fn detail(tx: &mut Tx, id: NodeId, user: UserId) -> sqlx::Result<Option<Detail>> {
    let Some(node) = node(tx, id, Viewer::User(user)).await?.filter(|node| node.row.deleted_at.is_none()) else {
        return Ok(None);
    };
    let people: Vec<Uuid> = node.row.author_user_id.into_iter().chain(node.row.supervisor_user_id).collect();
    let people = if people.is_empty() { Vec::new() } else { query::people(tx, &people).await? };
    let person = |id: Option<Uuid>| id.and_then(|id| people.iter().find(|person| person.id == id).cloned());
    Ok(Some(Detail {
        author: person(node.row.author_user_id),
        supervisor: person(node.row.supervisor_user_id),
        children: query::children(tx, id).await?,
        node,
    }))
}

/// The children of a node that are not deleted, oldest first.
///
/// # Errors
/// The database is away.
pub async fn children(tx: &mut Tx, parent: NodeId, user: UserId) -> sqlx::Result<Vec<Node>> {
    let rows = query::children(tx, parent).await?;
    whole(tx, rows, Viewer::User(user), None).await
}

/// One input of a node.
///
/// # Errors
/// The database is away.
pub async fn input(tx: &mut Tx, node: NodeId, input: Uuid, user: UserId) -> sqlx::Result<Option<Input>> {
    let Some(row) = query::input(tx, node, input).await? else { return Ok(None) };
    let related = related(tx, std::slice::from_ref(&row), &[], Some(user)).await?;
    Ok(Some(related.input(row)))
}

/// One output of a node.
///
/// # Errors
/// The database is away.
pub async fn output(tx: &mut Tx, node: NodeId, output: Uuid, user: UserId) -> sqlx::Result<Option<Output>> {
    let Some(row) = query::output(tx, node, output).await? else { return Ok(None) };
    let related = related(tx, &[], std::slice::from_ref(&row), Some(user)).await?;
    Ok(Some(related.output(row)))
}

/// Adds inputs and outputs to nodes; `all` says where most of those that are not named come from as well.
async fn whole(tx: &mut Tx, rows: Vec<NodeRow>, viewer: Viewer, all: Option<Owners<'_>>) -> sqlx::Result<Vec<Node>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let owners = all.filter(|_| ids.len() > NAMED_NODES_MAX).unwrap_or(Owners::Nodes(&ids));
    let inputs = query::inputs(tx, owners).await?;
    let outputs = query::outputs(tx, owners).await?;
    let related = match viewer {
        Viewer::Anybody => Related::default(),
        Viewer::Readers => related(tx, &inputs, &outputs, None).await?,
        Viewer::User(user) => related(tx, &inputs, &outputs, Some(user)).await?,
    };
    let mut inputs_of: HashMap<Uuid, Vec<Input>> = HashMap::new();
    for row in inputs {
        inputs_of.entry(row.node_id).or_default().push(related.input(row));
    }
    let mut outputs_of: HashMap<Uuid, Vec<Output>> = HashMap::new();
    for row in outputs {
        outputs_of.entry(row.node_id).or_default().push(related.output(row));
    }
    let node = |row: NodeRow| Node {
        inputs: inputs_of.remove(&row.id).unwrap_or_default(),
        outputs: outputs_of.remove(&row.id).unwrap_or_default(),
        row,
    };
    Ok(rows.into_iter().map(node).collect())
}

/// What inputs and outputs refer to, rendered once: many of them may refer to the same.
#[derive(Default)]
struct Related {
    files: HashMap<Uuid, Arc<RawValue>>,
    nodes: HashMap<Uuid, Arc<RawValue>>,
}

impl Related {
    fn input(&self, row: InputRow) -> Input {
        Input {
            file: row.file_id.and_then(|id| self.files.get(&id).cloned()),
            source_node: row.source_node_id.and_then(|id| self.nodes.get(&id).cloned()),
            row,
        }
    }

    fn output(&self, row: OutputRow) -> Output {
        Output { file: row.file_id.and_then(|id| self.files.get(&id).cloned()), row }
    }
}

/// Whoever reads a node may read the files that are attached to it; a source node may lie in a project that they do not
/// know.
async fn related(
    tx: &mut Tx,
    inputs: &[InputRow],
    outputs: &[OutputRow],
    user: Option<UserId>,
) -> sqlx::Result<Related> {
    let files: HashSet<Uuid> =
        inputs.iter().filter_map(|i| i.file_id).chain(outputs.iter().filter_map(|o| o.file_id)).collect();
    let sources: HashSet<Uuid> = inputs.iter().filter_map(|i| i.source_node_id).collect();
    let mut related = Related::default();
    if !files.is_empty() {
        let ids: Vec<Uuid> = files.into_iter().collect();
        for file in query::files(tx, &ids).await? {
            related.files.insert(file.id, rendered(&file)?);
        }
    }
    if let Some(user) = user
        && !sources.is_empty()
    {
        let ids: Vec<Uuid> = sources.into_iter().collect();
        let mut rows = query::by_ids(tx, &ids).await?;
        rows.retain(|row| row.deleted_at.is_none());
        let projects: HashSet<ProjectId> = rows.iter().map(|row| ProjectId(row.project_id)).collect();
        let known = readable::projects(tx, user, &projects).await?;
        rows.retain(|row| known.contains(&ProjectId(row.project_id)));
        for row in &rows {
            related.nodes.insert(row.id, rendered(row)?);
        }
    }
    Ok(related)
}

fn rendered(value: &impl Serialize) -> sqlx::Result<Arc<RawValue>> {
    to_raw_value(value).map(Arc::from).map_err(|e| sqlx::Error::Encode(e.into()))
}
