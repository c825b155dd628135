//! The AsyncAPI 3 document of the WebSocket, generated from the Rust types and the golden frames.
//!
//! Two channels, one for each direction of the one socket: a type such as `notifications_read` means something else each
//! way. Operations are named from the server's side: it *receives* what clients send.

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::client::ClientFrame;
use crate::event::EventFrame;
use crate::server::ServerFrame;
use crate::{PROTOCOL_VERSION, SUBPROTOCOL};

/// A frame to show: the name of its golden file, and what stands in it.
#[derive(Clone, Debug)]
pub struct Example {
    /// The name of the file without its ending.
    pub name: String,
    /// The whole frame.
    pub frame: Value,
}

/// The golden frames, by who sends them.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    /// From a client.
    pub client: Vec<Example>,
    /// From the server.
    pub server: Vec<Example>,
    /// From the server, out of a log.
    pub event: Vec<Example>,
}

/// What the server says without being asked, apart from events.
const ANNOUNCED: [&str; 11] = [
    "head",
    "presence_state",
    "presence_diff",
    "reset",
    "snapshot",
    "trace_state",
    "synced",
    "unsubscribed",
    "moving",
    "token_expiring",
    "error",
];

/// One type of frame.
struct Message {
    /// Its `type`.
    kind: String,
    /// Its name among the components.
    key: String,
    /// The whole frame.
    schema: Value,
}

/// Returns the document as its file holds it.
#[must_use]
pub fn document(examples: &Examples) -> String {
    let mut settings = SchemaSettings::draft07();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let names = [
        name_in::<ClientFrame>(&mut generator),
        name_in::<ServerFrame>(&mut generator),
        name_in::<EventFrame>(&mut generator),
    ];
    let mut schemas = generator.take_definitions(true);
    let [client, server, event] = names.map(|name| schemas.remove(&name).unwrap_or_default());
    let client = messages(&client, "Frame", &schemas);
    let server = messages(&server, "Frame", &schemas);
    let event = messages(&event, "Event", &schemas);
    // The commands are messages of their own.
    schemas.remove("Command");

    let mut components = Map::new();
    for (messages, examples) in [(&client, &examples.client), (&server, &examples.server), (&event, &examples.event)] {
        for message in messages {
            schemas.insert(message.key.clone(), message.schema.clone());
            components.insert(message.key.clone(), described(message, examples));
        }
    }
    let from_server: Vec<&Message> = server.iter().chain(&event).collect();
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "GlassBox over a WebSocket",
            "version": format!("{PROTOCOL_VERSION}.0.0"),
            "description": "Commands in, events of gap-free logs out, and presence beside them, on one socket: JSON text frames, one object each. The first frame is `hello`.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "instance": {
                "host": "127.0.0.1:8080",
                "protocol": "ws",
                "description": format!("An instance as it starts by default. The path is `/ws`, the subprotocol `{SUBPROTOCOL}`."),
                "tags": [{ "name": "development" }],
            },
        },
        "channels": {
            "fromClient": channel("What a client sends.", client.iter()),
            "fromServer": channel("What the server sends.", from_server.iter().copied()),
        },
        "operations": operations(&client, &event),
        "components": { "messages": components, "schemas": schemas },
    });
    format!("{document:#}\n")
}

/// Puts a type among the generator's definitions; returns its name there.
fn name_in<T: JsonSchema>(generator: &mut SchemaGenerator) -> String {
    generator.subschema_for::<T>();
    T::schema_name().into_owned()
}

/// One message for each type that a kind of frame can have.
fn messages(frame: &Value, suffix: &str, schemas: &Map<String, Value>) -> Vec<Message> {
    let mut found = Vec::new();
    for variant in ["oneOf", "anyOf"].iter().filter_map(|key| frame[*key].as_array()).flatten() {
        let nested = ["$ref", "allOf"].iter().find_map(|key| match &variant[*key] {
            Value::String(reference) => Some(reference),
            Value::Array(all) => all.first().and_then(|only| match &only["$ref"] {
                Value::String(reference) => Some(reference),
                _ => None,
            }),
            _ => None,
        });
        if let Some(name) = nested.and_then(|reference| reference.rsplit('/').next()) {
            let mut inner = frame.clone();
            inner["oneOf"] = schemas[name]["oneOf"].clone();
            inner["anyOf"] = Value::Null;
            inner["isCommand"] = true.into();
            found.extend(messages(&inner, suffix, schemas));
            continue;
        }
        let Some(kind) = variant["properties"]["type"]["const"].as_str() else { continue };
        let mut properties = variant["properties"].as_object().cloned().unwrap_or_default();
        properties.extend(frame["properties"].as_object().cloned().unwrap_or_default());
        let mut required: Vec<Value> = variant["required"].as_array().cloned().unwrap_or_default();
        required.extend(frame["required"].as_array().cloned().unwrap_or_default());
        if frame["isCommand"] == true {
            required.push("requestId".into());
        }
        found.push(Message {
            kind: kind.to_owned(),
            key: pascal(kind) + suffix,
            schema: json!({
                "type": "object",
                "description": variant["description"],
                "properties": properties,
                "required": required,
            }),
        });
    }
    found
}

fn described(message: &Message, examples: &[Example]) -> Value {
    let examples: Vec<Value> = examples
        .iter()
        .filter(|example| example.frame["type"] == message.kind.as_str())
        .map(|example| json!({ "name": example.name, "payload": example.frame }))
        .collect();
    let mut described = json!({
        "name": message.kind,
        "title": message.kind,
        "summary": message.schema["description"],
        "payload": { "$ref": format!("#/components/schemas/{}", message.key) },
        "examples": examples,
    });
    if message.schema["properties"].get("requestId").is_some() {
        described["correlationId"] = json!({
            "description": "The answer names the frame that it answers.",
            "location": "$message.payload#/requestId",
        });
    }
    described
}

fn channel<'a>(description: &str, messages: impl Iterator<Item = &'a Message>) -> Value {
    let messages: Map<String, Value> =
        messages.map(|m| (m.key.clone(), json!({ "$ref": format!("#/components/messages/{}", m.key) }))).collect();
    json!({
        "address": "/ws",
        "description": description,
        "messages": messages,
        "bindings": {
            "ws": {
                "method": "GET",
                "headers": {
                    "type": "object",
                    "properties": { "Sec-WebSocket-Protocol": { "type": "string", "const": SUBPROTOCOL } },
                    "required": ["Sec-WebSocket-Protocol"],
                },
                "bindingVersion": "0.1.0",
            },
        },
    })
}

fn operations(client: &[Message], event: &[Message]) -> Map<String, Value> {
    let mut operations = Map::new();
    for message in client {
        let mut operation = json!({
            "action": "receive",
            "channel": { "$ref": "#/channels/fromClient" },
            "summary": message.schema["description"],
            "messages": [{ "$ref": format!("#/channels/fromClient/messages/{}", message.key) }],
        });
        let answers = answers(&message.kind);
        if !answers.is_empty() {
            operation["reply"] = json!({
                "channel": { "$ref": "#/channels/fromServer" },
                "messages": references(answers.iter().map(|kind| pascal(kind) + "Frame")),
            });
        }
        operations.insert(message.kind.clone(), operation);
    }
    let sent = |summary: &str, keys: Vec<Value>| {
        json!({
            "action": "send",
            "channel": { "$ref": "#/channels/fromServer" },
            "summary": summary,
            "messages": keys,
        })
    };
    operations.insert(
        "announce".to_owned(),
        sent("What the server says unasked.", references(ANNOUNCED.iter().map(|kind| pascal(kind) + "Frame"))),
    );
    operations.insert(
        "log".to_owned(),
        sent(
            "Committed facts, in seq order: of a project, of an execution, of the user.",
            references(event.iter().map(|m| m.key.clone())),
        ),
    );
    operations
}

/// What answers a frame of a client, in the order in which it may come.
fn answers(kind: &str) -> &'static [&'static str] {
    match kind {
        "hello" => &["welcome", "error"],
        "subscribe" => &["subscribed", "reset", "snapshot", "trace_state", "synced", "error"],
        "unsubscribe" => &["unsubscribed", "error"],
        "ping" => &["pong"],
        "token_refresh" => &["token_refreshed", "error"],
        // The newest value wins, and nobody waits for it.
        "presence" => &[],
        _ => &["ack", "error"],
    }
}

fn references(keys: impl Iterator<Item = String>) -> Vec<Value> {
    keys.map(|key| json!({ "$ref": format!("#/channels/fromServer/messages/{key}") })).collect()
}

/// `node_created` becomes `NodeCreated`.
fn pascal(kind: &str) -> String {
    kind.split('_')
        .map(|word| {
            let mut chars = word.chars();
            chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
        })
        .collect()
}
