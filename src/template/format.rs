//! The one format of structures, and the older spellings that are read as the same thing.

use serde_json::{Map, Value, json};

use super::FORMAT_VERSION;

/// The older spellings of lists: what a list is called, and what it was called.
const INPUTS: (&str, &[&str]) = ("inputs", &["default_inputs"]);
const OUTPUTS: (&str, &[&str]) = ("outputs", &["default_outputs"]);
const SUB_NODES: (&str, &[&str]) = ("subNodes", &["subnodes", "suggested_subnodes"]);

/// Brings a structure into the one format. Unknown keys are kept, and so is what has a wrong type.
pub fn structure(value: Value) -> Value {
    let mut fields = match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    respell_lists(&mut fields);
    for name in [INPUTS.0, OUTPUTS.0, SUB_NODES.0] {
        let list = fields.entry(name).or_insert_with(|| json!([]));
        if list.is_null() {
            *list = json!([]);
        }
    }
    if fields.get("formatVersion").is_none_or(Value::is_null) {
        fields.insert("formatVersion".to_owned(), FORMAT_VERSION.into());
    }
    Value::Object(fields)
}

/// Brings an agent configuration into its one spelling.
pub fn agent_config(value: Value) -> Value {
    let mut fields = match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    respell(&mut fields, "maxIterations", &["max_iterations"]);
    Value::Object(fields)
}

fn respell_lists(fields: &mut Map<String, Value>) {
    for (name, older) in [INPUTS, OUTPUTS, SUB_NODES] {
        respell(fields, name, older);
    }
    for input in objects(fields, INPUTS.0) {
        input.entry("type").or_insert_with(|| "text".into());
        input.entry("required").or_insert(Value::Bool(false));
    }
    for output in objects(fields, OUTPUTS.0) {
        output.entry("type").or_insert_with(|| "text".into());
    }
    for node in objects(fields, SUB_NODES.0) {
        respell(node, "authorType", &["author_type"]);
        node.entry("authorType").or_insert_with(|| "human".into());
        respell_lists(node);
    }
}

/// Gives a field its name; where it stands under both, the one name counts.
fn respell(fields: &mut Map<String, Value>, name: &str, older: &[&str]) {
    for old in older {
        if let Some(value) = fields.remove(*old) {
            fields.entry(name).or_insert(value);
        }
    }
}

fn objects<'a>(fields: &'a mut Map<String, Value>, list: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    fields.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}
