//! What a writer may store. Takes structures in the one format; the paths of refusals are those of the body.

use std::collections::HashSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{DEPTH_MAX, FORMAT_VERSION, INPUT_TYPES, NODES_MAX, OUTPUT_TYPES, Refusal, is_web_address};
use crate::command::validate::{LABEL_MAX, STATUS_MAX, TITLE_MAX};

type Checked = Result<(), Refusal>;

/// Checks a structure, `formatVersion` to the last sub-node.
///
/// # Errors
/// The first thing that breaks a rule.
pub fn structure(structure: &Value) -> Checked {
    let path = "structure";
    let fields = structure.as_object().ok_or_else(|| Refusal::new(path, "expected an object"))?;
    if fields.get("formatVersion").and_then(Value::as_u64) != Some(FORMAT_VERSION) {
        return Err(Refusal::new("structure.formatVersion", format!("expected {FORMAT_VERSION}")));
    }
    let mut all = SubNodes::default();
    lists(fields, path)?;
    all.collect(fields, path, 1)?;
    for (key, at) in &all.depends_on {
        if !all.keys.contains(key) {
            return Err(Refusal::new(at, "is the key of no sub-node"));
        }
    }
    for (i, state) in list(fields, "suggestedWorkflowStates", path)?.iter().enumerate() {
        some_text(state, &format!("{path}.suggestedWorkflowStates[{i}]"), STATUS_MAX)?;
    }
    Ok(())
}

/// Checks an agent configuration; unknown keys are free.
///
/// # Errors
/// The first thing that breaks a rule.
pub fn agent_config(config: &Value) -> Checked {
    let fields = config.as_object().ok_or_else(|| Refusal::new("agentConfig", "expected an object"))?;
    let at = |key: &str| format!("agentConfig.{key}");
    for key in ["model", "systemPrompt"] {
        if given(fields, key).is_some_and(|value| !value.is_string()) {
            return Err(Refusal::new(at(key), "expected a text"));
        }
    }
    for key in ["maxTokens", "maxIterations"] {
        if given(fields, key).is_some_and(|value| value.as_u64().is_none_or(|number| number == 0)) {
            return Err(Refusal::new(at(key), "expected a whole number above 0"));
        }
    }
    if given(fields, "temperature").is_some_and(|value| value.as_f64().is_none_or(|number| number < 0.0)) {
        return Err(Refusal::new(at("temperature"), "expected a number, 0 or more"));
    }
    if given(fields, "tools").is_some_and(|value| !value.is_array()) {
        return Err(Refusal::new(at("tools"), "expected a list"));
    }
    Ok(())
}

/// The templates that a structure refers to, each with where it does.
pub fn references(structure: &Value) -> Vec<(Uuid, String)> {
    let mut found = Vec::new();
    references_below(structure, "structure", &mut found);
    found
}

fn references_below(parent: &Value, path: &str, found: &mut Vec<(Uuid, String)>) {
    for (i, node) in parent["subNodes"].as_array().into_iter().flatten().enumerate() {
        let at = format!("{path}.subNodes[{i}]");
        if let Some(id) = node["templateId"].as_str().and_then(|id| id.parse().ok()) {
            found.push((id, format!("{at}.templateId")));
        }
        references_below(node, &at, found);
    }
}

/// What sub-nodes say about each other.
#[derive(Default)]
struct SubNodes {
    count: usize,
    keys: HashSet<String>,
    depends_on: Vec<(String, String)>,
}

impl SubNodes {
    fn collect(&mut self, parent: &Map<String, Value>, path: &str, depth: usize) -> Checked {
        for (i, node) in list(parent, "subNodes", path)?.iter().enumerate() {
            let at = format!("{path}.subNodes[{i}]");
            let fields = node.as_object().ok_or_else(|| Refusal::new(&at, "expected an object"))?;
            self.count += 1;
            if depth > DEPTH_MAX {
                return Err(Refusal::new(at, format!("lies deeper than {DEPTH_MAX} levels")));
            }
            if self.count > NODES_MAX {
                return Err(Refusal::new(at, format!("is one of more than {NODES_MAX} sub-nodes")));
            }
            sub_node(fields, &at)?;
            let key = optional_text(fields, "key", &at, LABEL_MAX)?;
            if let Some(key) = key
                && !self.keys.insert(key.to_owned())
            {
                return Err(Refusal::new(format!("{at}.key"), "is the key of another sub-node"));
            }
            for (j, needed) in list(fields, "dependsOn", &at)?.iter().enumerate() {
                let place = format!("{at}.dependsOn[{j}]");
                let needed = some_text(needed, &place, LABEL_MAX)?;
                if Some(needed) == key {
                    return Err(Refusal::new(place, "is its own key"));
                }
                self.depends_on.push((needed.to_owned(), place));
            }
            self.collect(fields, &at, depth + 1)?;
        }
        Ok(())
    }
}

fn sub_node(fields: &Map<String, Value>, at: &str) -> Checked {
    required_text(fields, "title", at, TITLE_MAX)?;
    optional_text(fields, "description", at, usize::MAX)?;
    optional_text(fields, "status", at, STATUS_MAX)?;
    one_of(fields, "authorType", at, &["human", "agent"])?;
    if let Some(id) = given(fields, "templateId")
        && id.as_str().filter(|id| id.len() == 36).and_then(|id| id.parse::<Uuid>().ok()).is_none()
    {
        return Err(Refusal::new(format!("{at}.templateId"), "expected a UUID"));
    }
    if let Some(position) = given(fields, "position")
        && !["x", "y"].iter().all(|axis| position.get(axis).is_some_and(Value::is_number))
    {
        return Err(Refusal::new(format!("{at}.position"), "expected x and y"));
    }
    lists(fields, at)
}

/// Checks inputs and outputs.
fn lists(fields: &Map<String, Value>, path: &str) -> Checked {
    for (list_name, types) in [("inputs", &INPUT_TYPES), ("outputs", &OUTPUT_TYPES)] {
        let mut labels = HashSet::new();
        for (i, item) in list(fields, list_name, path)?.iter().enumerate() {
            let at = format!("{path}.{list_name}[{i}]");
            let item = item.as_object().ok_or_else(|| Refusal::new(&at, "expected an object"))?;
            if !labels.insert(required_text(item, "label", &at, LABEL_MAX)?) {
                return Err(Refusal::new(format!("{at}.label"), "stands there twice"));
            }
            one_of(item, "type", &at, types)?;
            for key in ["description", "textContent"] {
                optional_text(item, key, &at, usize::MAX)?;
            }
            if optional_text(item, "externalUrl", &at, usize::MAX)?.is_some_and(|url| !is_web_address(url)) {
                return Err(Refusal::new(format!("{at}.externalUrl"), "expected an http or https URL"));
            }
            if given(item, "required").is_some_and(|value| !value.is_boolean()) {
                return Err(Refusal::new(format!("{at}.required"), "expected true or false"));
            }
        }
    }
    Ok(())
}

/// A field that is there and not `null`.
fn given<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    fields.get(key).filter(|value| !value.is_null())
}

fn list<'a>(fields: &'a Map<String, Value>, key: &str, path: &str) -> Result<&'a [Value], Refusal> {
    match given(fields, key) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(Refusal::new(format!("{path}.{key}"), "expected a list")),
    }
}

fn some_text<'a>(value: &'a Value, at: &str, chars_max: usize) -> Result<&'a str, Refusal> {
    let text = value.as_str().ok_or_else(|| Refusal::new(at, "expected a text"))?;
    if text.is_empty() {
        return Err(Refusal::new(at, "is required"));
    }
    if text.chars().count() > chars_max {
        return Err(Refusal::new(at, format!("must have at most {chars_max} characters")));
    }
    Ok(text)
}

fn required_text<'a>(
    fields: &'a Map<String, Value>,
    key: &str,
    path: &str,
    chars_max: usize,
) -> Result<&'a str, Refusal> {
    let at = format!("{path}.{key}");
    let value = given(fields, key).ok_or_else(|| Refusal::new(&at, "is required"))?;
    some_text(value, &at, chars_max)
}

fn optional_text<'a>(
    fields: &'a Map<String, Value>,
    key: &str,
    path: &str,
    chars_max: usize,
) -> Result<Option<&'a str>, Refusal> {
    match given(fields, key) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(value) => some_text(value, &format!("{path}.{key}"), chars_max).map(Some),
    }
}

fn one_of(fields: &Map<String, Value>, key: &str, path: &str, known: &[&str]) -> Checked {
    let is_known = fields.get(key).and_then(Value::as_str).is_some_and(|text| known.contains(&text));
    if is_known { Ok(()) } else { Err(Refusal::new(format!("{path}.{key}"), format!("expected {}", known.join(", ")))) }
}
