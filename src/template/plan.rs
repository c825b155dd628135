//! A template becomes nodes, inputs and dependencies.

use std::collections::{BTreeMap, HashMap, HashSet};

use glassbox_protocol::NodeId;
use glassbox_protocol::entity::Position;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{DEPTH_MAX, INPUT_TYPES, NODES_MAX, Refusal, is_web_address};
use crate::command::validate::{LABEL_MAX, METADATA_BYTES_MAX, STATUS_MAX, TITLE_MAX, clamp};

/// How far apart nodes lie, downwards, canvas units.
const GAP: f64 = 150.0;
/// How far a level lies to the right of the one above, canvas units.
const INDENT: f64 = 50.0;
/// The title of a sub-node that has none.
const UNTITLED: &str = "Untitled";

/// A stored template.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// In the one format.
    pub structure: Value,
    /// In its one spelling.
    pub agent_config: Value,
}

/// How a template is applied.
#[derive(Clone, Debug, Default)]
pub struct Application {
    /// The node that contains the root.
    pub parent: Option<NodeId>,
    /// The root's title; else the template's name.
    pub title: Option<String>,
    /// Where the root lies.
    pub position: Position,
    /// The texts of the root's inputs, by label.
    pub values: BTreeMap<String, String>,
}

/// What an application makes: parents before children, the root first.
#[derive(Debug, Default)]
pub struct Plan {
    /// The nodes.
    pub nodes: Vec<PlannedNode>,
    /// Their inputs, in the order of each node.
    pub inputs: Vec<PlannedInput>,
    /// Dependencies: source and target.
    pub edges: Vec<(NodeId, NodeId)>,
}

/// A node that is to be made.
#[derive(Clone, Debug)]
pub struct PlannedNode {
    /// Its id.
    pub id: NodeId,
    /// The node that contains it.
    pub parent: Option<NodeId>,
    /// 1 to 500 characters.
    pub title: String,
    /// Markdown.
    pub description: Option<String>,
    /// Absent: the project's default.
    pub status: Option<String>,
    /// Whether an agent does the work.
    pub is_agent: bool,
    /// Where it lies.
    pub position: Position,
    /// With `template`: where it comes from and what is expected of it.
    pub metadata: Map<String, Value>,
}

/// An input that is to be made.
#[derive(Clone, Debug)]
pub struct PlannedInput {
    /// Whose.
    pub node: NodeId,
    /// As in `node_inputs`.
    pub input_type: &'static str,
    /// At most 255 characters.
    pub label: String,
    /// Its text, if it has one.
    pub text: Option<String>,
    /// Its address, if it has one.
    pub url: Option<String>,
    /// `required`, and while it is empty `placeholder`.
    pub metadata: Value,
    /// Its place, from 0.
    pub sort_order: i32,
}

/// Plans an application of the template `root`, with all templates that it leads to at hand.
///
/// # Errors
/// A template that is missing, a loop of templates, too many levels or nodes, a value that its input cannot take.
pub fn plan(root: Uuid, templates: &HashMap<Uuid, Source>, application: &Application) -> Result<Plan, Refusal> {
    let missing = || Refusal::new("templateId", "refers to something that does not exist");
    let source = templates.get(&root).ok_or_else(missing)?;
    let position = clamp(application.position);
    let mut planner = Planner { templates, root: position, slots: 0, plan: Plan::default() };
    let has_agent = source.agent_config.as_object().is_some_and(|config| !config.is_empty());
    let node = PlannedNode {
        id: NodeId::random(),
        parent: application.parent,
        title: application.title.clone().unwrap_or_else(|| cut(&source.name, TITLE_MAX)),
        description: source.description.clone(),
        status: None,
        is_agent: has_agent,
        position,
        metadata: metadata(json!({
            "id": source.id,
            "outputs": source.structure["outputs"],
            "agentConfig": source.agent_config,
        })),
    };
    let id = planner.add(node, "templateId")?;
    planner.inputs(id, [&source.structure], &application.values)?;
    planner.structure(source, id, position, 0, &[root])?;
    Ok(planner.plan)
}

struct Planner<'a> {
    templates: &'a HashMap<Uuid, Source>,
    root: Position,
    /// How many places below the root are taken.
    slots: u32,
    plan: Plan,
}

/// One structure in its place.
struct Scope<'p> {
    template: Uuid,
    /// What positions in it count from.
    origin: Position,
    /// The templates that it lies in, itself included.
    path: &'p [Uuid],
    keys: HashMap<String, NodeId>,
    waits: Vec<(String, NodeId)>,
}

impl<'a> Planner<'a> {
    fn add(&mut self, node: PlannedNode, field: &str) -> Result<NodeId, Refusal> {
        if self.plan.nodes.len() >= NODES_MAX {
            return Err(Refusal::new(field, format!("leads to more than {NODES_MAX} nodes")));
        }
        if serde_json::to_string(&node.metadata).map_or(usize::MAX, |text| text.len()) > METADATA_BYTES_MAX {
            return Err(Refusal::new(field, "has outputs and an agent configuration that are too large together"));
        }
        let id = node.id;
        self.plan.nodes.push(node);
        Ok(id)
    }

    /// Plans what lies below a node that is the root of a template.
    fn structure(
        &mut self,
        source: &Source,
        node: NodeId,
        origin: Position,
        depth: usize,
        path: &[Uuid],
    ) -> Result<(), Refusal> {
        let mut scope = Scope { template: source.id, origin, path, keys: HashMap::new(), waits: Vec::new() };
        self.sub_nodes(&source.structure, node, depth + 1, &mut scope, "structure")?;
        let mut seen = HashSet::new();
        for (key, target) in scope.waits {
            if let Some(source) = scope.keys.get(&key).filter(|source| **source != target)
                && seen.insert((*source, target))
            {
                self.plan.edges.push((*source, target));
            }
        }
        Ok(())
    }

    fn sub_nodes(
        &mut self,
        parent: &Value,
        parent_id: NodeId,
        depth: usize,
        scope: &mut Scope<'_>,
        path: &str,
    ) -> Result<(), Refusal> {
        for (i, item) in items(parent, "subNodes").enumerate() {
            let field = format!("{path}.subNodes[{i}]");
            if depth > DEPTH_MAX {
                return Err(Refusal::new(field, format!("lies deeper than {DEPTH_MAX} levels")));
            }
            let within = match text(item, "templateId").map(str::parse::<Uuid>) {
                None => None,
                Some(id) => Some(self.find(id.ok(), scope, &field)?),
            };
            let position = self.place(item, depth, scope.origin);
            let key = text(item, "key");
            let mut template = json!({ "id": within.map_or(scope.template, |source| source.id) });
            if let Some(key) = key {
                template["key"] = key.into();
            }
            let own_outputs = items(item, "outputs");
            let outputs: Vec<&Value> = match within {
                Some(source) => own_outputs.chain(items(&source.structure, "outputs")).collect(),
                None => own_outputs.collect(),
            };
            template["outputs"] = json!(outputs);
            if let Some(source) = within {
                template["agentConfig"] = source.agent_config.clone();
            }
            let node = PlannedNode {
                id: NodeId::random(),
                parent: Some(parent_id),
                title: cut(text(item, "title").unwrap_or(UNTITLED), TITLE_MAX),
                description: text(item, "description")
                    .map(str::to_owned)
                    .or_else(|| within.and_then(|source| source.description.clone())),
                status: text(item, "status").map(|status| cut(status, STATUS_MAX)),
                is_agent: text(item, "authorType") == Some("agent"),
                position,
                metadata: metadata(template),
            };
            let id = self.add(node, &field)?;
            let lists = std::iter::once(item).chain(within.map(|source| &source.structure));
            self.inputs(id, lists, &BTreeMap::new())?;
            if let Some(key) = key {
                scope.keys.entry(key.to_owned()).or_insert(id);
            }
            scope.waits.extend(items(item, "dependsOn").filter_map(Value::as_str).map(|key| (key.to_owned(), id)));
            if let Some(source) = within {
                let path: Vec<Uuid> = scope.path.iter().copied().chain([source.id]).collect();
                self.structure(source, id, position, depth, &path)?;
            }
            self.sub_nodes(item, id, depth + 1, scope, &field)?;
        }
        Ok(())
    }

    fn find(&self, id: Option<Uuid>, scope: &Scope<'_>, field: &str) -> Result<&'a Source, Refusal> {
        let field = format!("{field}.templateId");
        if id.is_some_and(|id| scope.path.contains(&id)) {
            return Err(Refusal::new(field, "closes a loop of templates"));
        }
        id.and_then(|id| self.templates.get(&id))
            .ok_or_else(|| Refusal::new(field, "refers to something that does not exist"))
    }

    /// Where a sub-node lies: where it says, from its structure's root, or in the next place below the whole.
    fn place(&mut self, item: &Value, depth: usize, origin: Position) -> Position {
        let axis = |name: &str| item["position"][name].as_f64();
        if let (Some(x), Some(y)) = (axis("x"), axis("y")) {
            return clamp(Position { x: origin.x + x, y: origin.y + y });
        }
        self.slots += 1;
        let level = u32::try_from(depth - 1).unwrap_or_default();
        clamp(Position { x: self.root.x + f64::from(level) * INDENT, y: self.root.y + f64::from(self.slots) * GAP })
    }

    /// Plans the inputs of a node from some lists; of equal labels the first one counts.
    fn inputs<'v>(
        &mut self,
        node: NodeId,
        lists: impl IntoIterator<Item = &'v Value>,
        values: &BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        let mut labels = HashSet::new();
        for item in lists.into_iter().flat_map(|list| items(list, "inputs")) {
            let label = cut(text(item, "label").unwrap_or_default(), LABEL_MAX);
            if !labels.insert(label.clone()) {
                continue;
            }
            let kind = INPUT_TYPES.into_iter().find(|kind| text(item, "type") == Some(kind)).unwrap_or("text");
            let mut content = text(item, "textContent").map(str::to_owned);
            // A stored row may be older than the check.
            let mut url = text(item, "externalUrl").filter(|url| is_web_address(url)).map(str::to_owned);
            if let Some(value) = values.get(&label).filter(|value| !value.is_empty()) {
                let field = format!("values.{label}");
                match kind {
                    "external_link" if is_web_address(value) => url = Some(value.clone()),
                    "external_link" => return Err(Refusal::new(field, "expected an http or https URL")),
                    "text" => content = Some(value.clone()),
                    _ => return Err(Refusal::new(field, "names an input that takes no text")),
                }
            }
            let mut metadata = json!({ "required": item["required"] == true });
            if content.is_none() && url.is_none() {
                metadata["placeholder"] = true.into();
            }
            if let Some(description) = text(item, "description") {
                metadata["description"] = description.into();
            }
            let sort_order = i32::try_from(labels.len()).unwrap_or(i32::MAX) - 1;
            self.plan.inputs.push(PlannedInput {
                node,
                input_type: kind,
                label,
                text: content,
                url,
                metadata,
                sort_order,
            });
        }
        Ok(())
    }
}

fn metadata(template: Value) -> Map<String, Value> {
    Map::from_iter([("template".to_owned(), template)])
}

/// The entries of a list that are objects or texts; nothing where there is no list.
fn items<'v>(fields: &'v Value, list: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    fields.get(list).and_then(Value::as_array).into_iter().flatten()
}

/// A text that is there and not empty.
fn text<'v>(fields: &'v Value, key: &str) -> Option<&'v str> {
    fields.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}
