//! Nodes and dependencies become a document.

use std::collections::HashMap;

use glassbox_protocol::{DependencyId, NodeId};
use serde_json::{Map, Value, json};

use super::text::join;

/// Size of a node that has none.
const WIDTH: i64 = 250;
const HEIGHT: i64 = 120;

/// A node as it is drawn.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its id.
    pub id: NodeId,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: Option<String>,
    /// Where it lies, to the right.
    pub x: f64,
    /// Where it lies, downwards.
    pub y: f64,
    /// What is kept of the document that it came from: `metadata.canvas`.
    pub canvas: Value,
}

/// A dependency as it is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// Its id.
    pub id: DependencyId,
    /// Where it begins.
    pub source: NodeId,
    /// Where it ends.
    pub target: NodeId,
}

/// Makes a document. Nodes come in the order in which they are drawn; edges in the order of the document that they
/// came from, others behind them as given. Edges between other nodes than these are left out.
pub fn export(nodes: &[Placed], edges: &[Edge]) -> Value {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for id in nodes.iter().filter_map(canvas_id) {
        *uses.entry(id).or_default() += 1;
    }
    let uuids: HashMap<String, NodeId> = nodes.iter().map(|node| (node.id.to_string(), node.id)).collect();
    let ids: HashMap<NodeId, String> = nodes
        .iter()
        .map(|node| {
            let own = canvas_id(node)
                .filter(|id| uses.get(id) == Some(&1))
                // Nor may it be the UUID under which another node goes.
                .filter(|id| uuids.get(*id).is_none_or(|owner| *owner == node.id));
            (node.id, own.map_or_else(|| node.id.to_string(), str::to_owned))
        })
        .collect();
    let drawn: Vec<Value> = nodes.iter().map(|node| draw(node, &ids[&node.id])).collect();
    json!({ "nodes": drawn, "edges": draw_edges(nodes, edges, &ids) })
}

fn canvas_id(node: &Placed) -> Option<&str> {
    node.canvas.get("id").and_then(Value::as_str).filter(|id| !id.is_empty())
}

fn draw(node: &Placed, id: &str) -> Value {
    let kept = |key: &str| node.canvas.get(key);
    let text = |key: &str| kept(key).and_then(Value::as_str);
    let mut fields = match kept("extra") {
        Some(Value::Object(extra)) => extra.clone(),
        _ => Map::new(),
    };
    let mut set = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    set("id", id.into());
    set("x", rounded(node.x));
    set("y", rounded(node.y));
    let size = |key, default: i64| match kept(key) {
        Some(Value::Number(number)) => Value::Number(number.clone()),
        _ => default.into(),
    };
    set("width", size("width", WIDTH));
    set("height", size("height", HEIGHT));
    let made_up = text("madeUp");
    let own_keys: &[&str] = match text("type") {
        Some("file") if text("file").is_some() => {
            set("type", "file".into());
            &["color", "file", "subpath"]
        }
        Some("link") if text("url").is_some() => {
            set("type", "link".into());
            &["color", "url"]
        }
        Some("group") => {
            set("type", "group".into());
            if made_up == Some(&node.title) {
                &["color", "label", "background", "backgroundStyle"]
            } else {
                set("label", node.title.clone().into());
                &["color", "background", "backgroundStyle"]
            }
        }
        _ => {
            set("type", "text".into());
            let noted = kept("text").and_then(|text| Some((text.get("before")?.as_str()?, text.get("gap")?.as_str()?)));
            let body = join(&node.title, node.description.as_deref().unwrap_or_default(), noted, made_up);
            set("text", body.into());
            &["color"]
        }
    };
    for key in own_keys {
        if let Some(value) = kept(key) {
            set(key, value.clone());
        }
    }
    Value::Object(fields)
}

/// A coordinate as the format wants it.
#[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and nothing is drawn out there")]
fn rounded(number: f64) -> Value {
    Value::from(number.round() as i64)
}

fn draw_edges(nodes: &[Placed], edges: &[Edge], ids: &HashMap<NodeId, String>) -> Vec<Value> {
    let styles: HashMap<&str, &Value> = nodes
        .iter()
        .filter_map(|node| node.canvas.get("edges")?.as_object())
        .flatten()
        .map(|(id, style)| (id.as_str(), style))
        .collect();
    let mut drawn: Vec<(u64, Map<String, Value>)> = Vec::with_capacity(edges.len());
    for edge in edges {
        let (Some(source), Some(target)) = (ids.get(&edge.source), ids.get(&edge.target)) else {
            continue;
        };
        let id = edge.id.to_string();
        let style = styles.get(id.as_str());
        let mut fields = style.and_then(|style| style.get("edge")?.as_object()).cloned().unwrap_or_default();
        fields.entry("id").or_insert_with(|| id.into());
        fields.insert("fromNode".to_owned(), source.as_str().into());
        fields.insert("toNode".to_owned(), target.as_str().into());
        let z = style.and_then(|style| style.get("z")?.as_u64()).unwrap_or(u64::MAX);
        drawn.push((z, fields));
    }
    // Stable: what came from no document stays in the given order.
    drawn.sort_by_key(|(z, _)| *z);
    drawn.into_iter().map(|(_, fields)| Value::Object(fields)).collect()
}
