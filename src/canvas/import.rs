//! A document becomes nodes and dependencies.

use std::collections::{HashMap, HashSet};

use glassbox_protocol::{DependencyId, NodeId};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::text::{Split, title_of};
use super::{EDGES_MAX, GROUP, NODES_MAX, TITLE_CHARS_MAX, UNTITLED, has_nul};
use crate::template::is_web_address;

/// Largest `metadata` that a node may get, bytes of JSON; as everywhere in the API.
const METADATA_BYTES_MAX: usize = 64 * 1024;
/// Furthest place, canvas units: what a double holds exactly, with room for sums.
const PLACE_MAX: f64 = 1e12;

/// How many nodes of a cycle a warning names.
const CYCLE_SHOWN_MAX: usize = 10;

/// Where a document goes in the project.
#[derive(Clone, Copy, Debug, Default)]
pub struct Placement {
    /// The parent of all nodes that lie in no group.
    pub parent: Option<NodeId>,
    /// Moves everything to the right.
    pub dx: f64,
    /// Moves everything down.
    pub dy: f64,
    /// The place of the document's first node in the order of the project.
    pub first_z: i64,
}

/// What a document becomes.
#[derive(Debug, Default)]
pub struct Import {
    /// In the document's order.
    pub nodes: Vec<NewNode>,
    /// In the document's order.
    pub edges: Vec<NewEdge>,
    /// What was left out or looks odd.
    pub warnings: Vec<Warning>,
}

/// A node that is to be made.
#[derive(Debug)]
pub struct NewNode {
    /// Its id in the project.
    pub id: NodeId,
    /// Its id in the document.
    pub canvas_id: String,
    /// The group that it lies in.
    pub parent: Option<NodeId>,
    /// 1 to 500 characters.
    pub title: String,
    /// What the text says besides the title.
    pub description: Option<String>,
    /// Where it lies.
    pub position: Value,
    /// With `canvas`.
    pub metadata: Value,
    /// The URL of a link, for an input; none where it leads elsewhere than to the web.
    pub link: Option<String>,
}

/// A dependency that is to be made.
#[derive(Debug)]
pub struct NewEdge {
    /// Its id in the project.
    pub id: DependencyId,
    /// Where it begins.
    pub source: NodeId,
    /// Where it ends.
    pub target: NodeId,
}

/// Something about a document that its author should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// `self_edge`, `parallel_edge`, `unknown_end`, `malformed_edge`, `cycle`, `style_dropped` or `unknown_key`.
    pub code: &'static str,
    /// The edge that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge_id: Option<String>,
    /// For people.
    pub message: String,
}

/// Why a document is not imported, at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where in the document.
    pub field: String,
    /// What is wrong there.
    pub reason: String,
}

impl Refusal {
    fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// Makes nodes and dependencies of a document.
///
/// # Errors
/// The document is not one: nothing of it is imported then.
pub fn import(document: Map<String, Value>, placement: &Placement) -> Result<Import, Refusal> {
    if document.iter().any(|(key, value)| key.contains('\0') || has_nul(value)) {
        return Err(Refusal::new("document", "must not contain the character NUL"));
    }
    let mut result = Import::default();
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    for (key, value) in document {
        match key.as_str() {
            "nodes" => nodes = list("nodes", value, NODES_MAX)?,
            "edges" => edges = list("edges", value, EDGES_MAX)?,
            _ => result.warnings.push(Warning {
                code: "unknown_key",
                edge_id: None,
                message: format!("the document's key {key:?} is not kept"),
            }),
        }
    }

    let mut boxes = Vec::with_capacity(nodes.len());
    let mut by_canvas_id = HashMap::new();
    for (i, node) in nodes.into_iter().enumerate() {
        let (node, area) = read_node(i, node, placement)?;
        if by_canvas_id.insert(node.canvas_id.clone(), i).is_some() {
            return Err(Refusal::new(format!("nodes[{i}].id"), "another node has the same id"));
        }
        result.nodes.push(node);
        boxes.push(area);
    }
    for (i, parent) in parents(&boxes).into_iter().enumerate() {
        result.nodes[i].parent = parent.map_or(placement.parent, |parent| Some(result.nodes[parent].id));
    }
    add_edges(&mut result, edges, &by_canvas_id);
    for (i, node) in result.nodes.iter().enumerate() {
        if node.metadata.to_string().len() > METADATA_BYTES_MAX {
            return Err(Refusal::new(format!("nodes[{i}]"), "has more than 64 KiB besides its text"));
        }
    }
    Ok(result)
}

fn list(field: &str, value: Value, most: usize) -> Result<Vec<Value>, Refusal> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) if items.len() > most => Err(Refusal::new(field, format!("has more than {most} items"))),
        Value::Array(items) => Ok(items),
        _ => Err(Refusal::new(field, "expected a list")),
    }
}

/// The place that a node covers.
#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    is_group: bool,
}

impl Area {
    fn contains(&self, other: &Area) -> bool {
        self.x <= other.x
            && self.y <= other.y
            && other.x + other.width <= self.x + self.width
            && other.y + other.height <= self.y + self.height
    }

    fn size(&self) -> f64 {
        self.width * self.height
    }
}

/// For each node, the smallest group around it. Of two groups that cover the same place the earlier one is outside,
/// so that no group ends up in itself.
fn parents(boxes: &[Area]) -> Vec<Option<usize>> {
    let mut groups: Vec<usize> = (0..boxes.len()).filter(|i| boxes[*i].is_group).collect();
    // Smallest first; of equal ones the later first.
    groups.sort_by(|a, b| boxes[*a].size().total_cmp(&boxes[*b].size()).then(b.cmp(a)));
    let rank: HashMap<usize, usize> = groups.iter().enumerate().map(|(rank, group)| (*group, rank)).collect();
    boxes
        .iter()
        .enumerate()
        .map(|(i, area)| {
            // A group looks only among those behind it in the order.
            let first = rank.get(&i).map_or(0, |rank| rank + 1);
            groups[first..].iter().copied().find(|group| boxes[*group].contains(area))
        })
        .collect()
}

fn read_node(i: usize, node: Value, placement: &Placement) -> Result<(NewNode, Area), Refusal> {
    let at = |key: &str| format!("nodes[{i}].{key}");
    let Value::Object(mut fields) = node else {
        return Err(Refusal::new(format!("nodes[{i}]"), "expected an object"));
    };
    let canvas_id = text(&mut fields, "id", &at("id"))?;
    if canvas_id.is_empty() {
        return Err(Refusal::new(at("id"), "is required"));
    }
    let kind = text(&mut fields, "type", &at("type"))?;
    let x = number(fields.remove("x"), &at("x"))?;
    let y = number(fields.remove("y"), &at("y"))?;
    let (width, height) = (fields.remove("width"), fields.remove("height"));
    let mut canvas = Map::new();
    canvas.insert("id".to_owned(), canvas_id.clone().into());
    canvas.insert("type".to_owned(), kind.clone().into());
    canvas.insert("z".to_owned(), (placement.first_z + i64::try_from(i).unwrap_or(i64::MAX)).into());
    let area = Area {
        x,
        y,
        width: number(width.clone(), &at("width"))?,
        height: number(height.clone(), &at("height"))?,
        is_group: kind == "group",
    };
    canvas.extend([("width".to_owned(), width.into()), ("height".to_owned(), height.into())]);

    let mut new = NewNode {
        id: NodeId::random(),
        canvas_id,
        parent: None,
        title: String::new(),
        description: None,
        position: json!({ "x": place(x + placement.dx), "y": place(y + placement.dy) }),
        metadata: Value::Null,
        link: None,
    };
    let own_keys: &[&str] = match kind.as_str() {
        "text" => {
            let body = text(&mut fields, "text", &at("text"))?;
            let split = Split::of(&body);
            title_of(&split).clone_into(&mut new.title);
            new.description = (!split.description.is_empty()).then(|| split.description.to_owned());
            if !split.is_plain() {
                canvas.insert("text".to_owned(), json!({ "before": split.before, "gap": split.gap }));
            }
            if split.title.is_none() {
                canvas.insert("madeUp".to_owned(), UNTITLED.into());
            }
            &["color"]
        }
        "file" => {
            let path = text(&mut fields, "file", &at("file"))?;
            let name = path.rsplit('/').next().unwrap_or_default();
            new.title = short(if name.trim().is_empty() { UNTITLED } else { name });
            canvas.insert("file".to_owned(), path.into());
            &["color", "subpath"]
        }
        "link" => {
            let url = text(&mut fields, "url", &at("url"))?;
            new.title = short(if url.trim().is_empty() { UNTITLED } else { &url });
            canvas.insert("url".to_owned(), url.clone().into());
            new.link = Some(url).filter(|url| is_web_address(url));
            &["color"]
        }
        "group" => {
            let label = fields.get("label").and_then(Value::as_str).unwrap_or_default();
            new.title = short(if label.trim().is_empty() { GROUP } else { label });
            if fields.get("label").and_then(Value::as_str) == Some(&new.title) {
                fields.remove("label");
            } else {
                canvas.insert("madeUp".to_owned(), new.title.clone().into());
            }
            &["color", "label", "background", "backgroundStyle"]
        }
        _ => return Err(Refusal::new(at("type"), "expected text, file, link or group")),
    };
    for key in own_keys {
        if let Some(value) = fields.remove(*key) {
            canvas.insert((*key).to_owned(), value);
        }
    }
    if !fields.is_empty() {
        canvas.insert("extra".to_owned(), Value::Object(fields));
    }
    new.metadata = json!({ "canvas": canvas });
    Ok((new, area))
}

fn text(fields: &mut Map<String, Value>, key: &str, field: &str) -> Result<String, Refusal> {
    match fields.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Refusal::new(field, "expected a text")),
        None => Err(Refusal::new(field, "is required")),
    }
}

fn number(value: Option<Value>, field: &str) -> Result<f64, Refusal> {
    let Some(value) = value else { return Err(Refusal::new(field, "is required")) };
    value
        .as_f64()
        .filter(|number| number.abs() <= PLACE_MAX)
        .ok_or_else(|| Refusal::new(field, "expected a number within reason"))
}

/// A coordinate as JSON: whole where it is whole.
#[expect(clippy::cast_possible_truncation, reason = "whole and within PLACE_MAX")]
fn place(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= 2.0 * PLACE_MAX {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

/// Cuts a text to the length of a title.
fn short(text: &str) -> String {
    text.chars().take(TITLE_CHARS_MAX).collect()
}

fn add_edges(result: &mut Import, edges: Vec<Value>, by_canvas_id: &HashMap<String, usize>) {
    let mut seen = HashSet::new();
    let mut sizes: Vec<usize> = result.nodes.iter().map(|node| node.metadata.to_string().len()).collect();
    let mut targets: Vec<Vec<usize>> = vec![Vec::new(); result.nodes.len()];
    for (z, edge) in edges.into_iter().enumerate() {
        let edge_id = edge.get("id").and_then(Value::as_str).map(str::to_owned);
        let mut warn = |code, message: String| {
            result.warnings.push(Warning { code, edge_id: edge_id.clone(), message });
        };
        let Value::Object(mut fields) = edge else {
            warn("malformed_edge", format!("edges[{z}] is no object and was skipped"));
            continue;
        };
        let mut end = |key| match fields.remove(key) {
            Some(Value::String(id)) => by_canvas_id.get(&id).copied(),
            _ => None,
        };
        let (Some(source), Some(target)) = (end("fromNode"), end("toNode")) else {
            warn("unknown_end", format!("edges[{z}] begins or ends at no node of the document and was skipped"));
            continue;
        };
        if source == target {
            warn("self_edge", format!("edges[{z}] ends where it begins and was skipped"));
            continue;
        }
        if !seen.insert((source, target)) {
            warn("parallel_edge", format!("edges[{z}] has the ends of an earlier one and was skipped"));
            continue;
        }
        let id = DependencyId::random();
        let style = json!({ "z": z, "edge": fields });
        let size = style.to_string().len() + id.to_string().len() + 8;
        let has_room = |node: usize| sizes[node] + size < METADATA_BYTES_MAX;
        match [source, target].into_iter().find(|node| has_room(*node)) {
            Some(node) => {
                sizes[node] += size;
                result.nodes[node].metadata["canvas"]["edges"][id.to_string()] = style;
            }
            None => warn(
                "style_dropped",
                format!("edges[{z}] was imported without its id and style: its nodes have too many"),
            ),
        }
        targets[source].push(target);
        result.edges.push(NewEdge { id, source: result.nodes[source].id, target: result.nodes[target].id });
    }
    if let Some(cycle) = cycle(&targets) {
        let path: Vec<&str> = cycle.iter().take(CYCLE_SHOWN_MAX).map(|i| result.nodes[*i].canvas_id.as_str()).collect();
        let more = if cycle.len() > path.len() { " -> ..." } else { "" };
        let message = format!("the edges make a cycle: {}{more}", path.join(" -> "));
        result.warnings.push(Warning { code: "cycle", edge_id: None, message });
    }
}

/// Finds a cycle, if there is one: its nodes in order.
fn cycle(targets: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        OnPath,
        Done,
    }
    let mut state = vec![State::New; targets.len()];
    for root in 0..targets.len() {
        if state[root] != State::New {
            continue;
        }
        // The path from the root, with how many targets of each node have been followed.
        let mut path = vec![(root, 0)];
        state[root] = State::OnPath;
        while let Some((node, followed)) = path.last_mut() {
            let Some(target) = targets[*node].get(*followed).copied() else {
                state[*node] = State::Done;
                path.pop();
                continue;
            };
            *followed += 1;
            match state[target] {
                State::New => {
                    state[target] = State::OnPath;
                    path.push((target, 0));
                }
                State::OnPath => {
                    return Some(path.iter().map(|(node, _)| *node).skip_while(|node| *node != target).collect());
                }
                State::Done => {}
            }
        }
    }
    None
}
