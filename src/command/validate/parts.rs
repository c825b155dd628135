//! The rules for inputs and outputs.

use glassbox_protocol::Error;
use glassbox_protocol::client::{NodeInputAdd, NodeOutputAdd};
use glassbox_protocol::entity::{InputType, OutputType};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{metadata, storable, storable_json, text};
use crate::template::is_web_address;

/// Longest label, characters.
pub const LABEL_MAX: usize = 255;

pub(super) fn input(add: &NodeInputAdd) -> Result<(), Error> {
    let (field, is_given) = match add.input_type {
        InputType::File => ("fileId", add.file_id.is_some()),
        InputType::NodeReference => ("sourceNodeId", add.source_node_id.is_some()),
        InputType::ExternalLink => ("externalUrl", is_text(add.external_url.as_deref())),
        InputType::Text => ("textContent", is_text(add.text_content.as_deref())),
    };
    if !is_given {
        return Err(Error::validation(field, "is required for this inputType"));
    }
    if add.source_node_id == Some(add.node_id) {
        return Err(Error::validation("sourceNodeId", "must differ from the node itself"));
    }
    if let Some(version) = add.source_node_version {
        if add.source_node_id.is_none() {
            return Err(Error::validation("sourceNodeVersion", "needs a sourceNodeId"));
        }
        if version < 1 {
            return Err(Error::validation("sourceNodeVersion", "must be 1 or more"));
        }
    }
    common(
        add.id,
        add.external_url.as_deref(),
        add.text_content.as_deref(),
        add.label.as_deref(),
        add.metadata.as_ref(),
    )
}

pub(super) fn output(add: &NodeOutputAdd) -> Result<(), Error> {
    let (field, is_given) = match add.output_type {
        OutputType::File => ("fileId", add.file_id.is_some()),
        OutputType::StructuredData => ("structuredData", add.structured_data.is_some()),
        OutputType::Text => ("textContent", is_text(add.text_content.as_deref())),
        OutputType::ExternalLink => ("externalUrl", is_text(add.external_url.as_deref())),
    };
    if !is_given {
        return Err(Error::validation(field, "is required for this outputType"));
    }
    for (key, value) in add.structured_data.iter().flatten() {
        storable("structuredData", key)?;
        storable_json("structuredData", value, 1)?;
    }
    common(
        add.id,
        add.external_url.as_deref(),
        add.text_content.as_deref(),
        add.label.as_deref(),
        add.metadata.as_ref(),
    )
}

fn is_text(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

fn common(
    id: Option<Uuid>,
    external_url: Option<&str>,
    text_content: Option<&str>,
    label: Option<&str>,
    given: Option<&Map<String, Value>>,
) -> Result<(), Error> {
    if id.is_some_and(|id| id.is_nil()) {
        return Err(Error::validation("id", "must not be the nil UUID"));
    }
    if let Some(address) = external_url {
        storable("externalUrl", address)?;
        if !is_web_address(address) {
            return Err(Error::validation("externalUrl", "must be an http or https address"));
        }
    }
    if let Some(content) = text_content {
        storable("textContent", content)?;
    }
    if let Some(label) = label {
        text("label", label, 0, LABEL_MAX)?;
    }
    given.map_or(Ok(()), |map| metadata("metadata", map))
}

#[cfg(test)]
mod tests {
    use glassbox_protocol::Command;

    const NODE: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
    const OTHER: &str = "7f9619ff-8b86-d011-b42d-00c04fc964ff";

    fn check(kind: &str, fields: &str) -> Result<(), String> {
        let frame = format!(r#"{{"type":"{kind}","payload":{{"nodeId":"{NODE}",{fields}}}}}"#);
        let command: Command = serde_json::from_str(&frame).map_err(|e| format!("not a command: {e}"))?;
        super::super::command(&command).map_err(|e| e.message)
    }

    #[test]
    fn an_input_has_what_its_type_needs() {
        let input = |fields: &str| check("node_input_add", fields);
        let refusal = |fields: &str| input(fields).expect_err("a refusal");
        assert_eq!(input(r#""inputType":"text","textContent":"a""#), Ok(()));
        assert_eq!(input(&format!(r#""inputType":"node_reference","sourceNodeId":"{OTHER}""#)), Ok(()));
        for (kind, field) in [
            ("file", "fileId"),
            ("node_reference", "sourceNodeId"),
            ("external_link", "externalUrl"),
            ("text", "textContent"),
        ] {
            let refusal = refusal(&format!(r#""inputType":"{kind}","textContent":"","externalUrl":"""#));
            assert_eq!(refusal, format!("{field}: is required for this inputType"));
        }
        let own = format!(r#""inputType":"node_reference","sourceNodeId":"{NODE}""#);
        assert_eq!(refusal(&own), "sourceNodeId: must differ from the node itself");
        let long = format!(r#""inputType":"text","textContent":"a","label":"{}""#, "é".repeat(256));
        assert_eq!(refusal(&long), "label: must have 0 to 255 characters");
        assert!(refusal(r#""inputType":"telepathy""#).starts_with("not a command"));
    }

    #[test]
    fn only_addresses_of_the_web_are_links() {
        let link = |address: &str| {
            check("node_output_add", &format!(r#""outputType":"external_link","externalUrl":"{address}""#))
        };
        assert_eq!(link("https://example.org/a?b#c"), Ok(()));
        assert_eq!(link("HTTP://example.org"), Ok(()));
        for odd in [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "//example.org",
            "example.org",
            "https://",
        ] {
            assert_eq!(link(odd), Err("externalUrl: must be an http or https address".to_owned()), "{odd}");
        }
    }

    #[test]
    fn structured_data_is_an_object_that_the_database_can_store() {
        let output = |data: &str| {
            check("node_output_add", &format!(r#""outputType":"structured_data","structuredData":{data}"#))
        };
        assert_eq!(output(r#"{"a":[1]}"#), Ok(()));
        assert!(output("[]").is_err());
        assert_eq!(output(r#"{"a":"\u0000"}"#), Err("structuredData: must not contain the NUL character".to_owned()));
    }
}
