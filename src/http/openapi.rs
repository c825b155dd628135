//! The OpenAPI document of exactly the served routes, and the page that shows it.
//!
//! Handlers say what is theirs alone: path, query, body, success, conflicts, in `x-right` the right that they ask for,
//! and in `x-idempotent` that a POST takes an `Idempotency-Key`. What every route has in common is added here: the ids
//! in the path, the credentials, and the refusals that any request may meet.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::error::ErrorBody;

/// Where the document is served,
pub const DOCUMENT: &str = "/openapi.json";
/// and the page,
const PAGE: &str = "/docs";
/// and the document of the WebSocket.
pub const SOCKET_DOCUMENT: &str = "/asyncapi.json";

/// What the document says before any route is in it.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "GlassBox",
        description = "A canvas on which people and AI agents work side by side. Changes come back as events on `/ws`, \
            or from `/api/v1/projects/{projectId}/events`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(ErrorBody)),
    tags(
        (name = "auth", description = "Who is calling."),
        (name = "organizations", description = "The tenants."),
        (name = "projects", description = "What a canvas shows."),
        (name = "nodes", description = "The units of work."),
        (name = "locks", description = "The exclusive right to edit a node, a lease that ends by itself."),
        (name = "members", description = "Who belongs where."),
        (name = "templates", description = "What nodes can be made from."),
        (name = "users", description = "The caller, and what they should read."),
        (name = "audit", description = "Who did what."),
        (name = "operation", description = "How the server is."),
    )
)]
struct Head;

/// The document without routes.
pub fn head() -> OpenApi {
    Head::openapi()
}

/// Adds what all routes have in common.
pub fn complete(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "A development token, a Cognito token or a worker key." },
        "cookie": { "type": "apiKey", "in": "cookie", "name": "auth_token", "description": "The session that a bearer token opened; needs an allowed Origin to write." },
    });
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for (path, operations) in paths.into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            if let Some(operation) = operation.as_object_mut() {
                complete_operation(path, method, operation);
            }
        }
    }
    document
}

fn complete_operation(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let right = operation.get("x-right").and_then(Value::as_str).unwrap_or("none").to_owned();
    let is_open = right == "none";
    let is_api = path.starts_with("/api/");
    operation.insert("operationId".to_owned(), operation_id(path, method).into());
    add_path_parameters(path, operation);
    if !is_open {
        operation.insert("security".to_owned(), json!([{ "bearer": [] }, { "cookie": [] }]));
    }
    if operation.remove("x-idempotent").is_some() {
        let parameters = operation.entry("parameters").or_insert_with(|| json!([])).as_array_mut();
        parameters.into_iter().for_each(|list| {
            list.push(json!({
                "name": "Idempotency-Key",
                "in": "header",
                "required": false,
                "description": "The same key, path and body within 24 h gets the first answer again.",
                "schema": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" },
            }));
        });
    }
    let has_body = operation.contains_key("requestBody");
    let mut refusals = Vec::new();
    if is_api {
        refusals.push(("400", "The request breaks a rule; `details.field` and `details.reason` say which."));
        refusals.push(("429", "Too many requests; `Retry-After` says when to come back."));
        refusals.push(("503", "The database is away or busy, or the instance drains: try again."));
        if method != "get" {
            refusals.push(("409", "It conflicts with what is there; `code` says how."));
        }
    }
    if !is_open {
        refusals.push(("401", "No credentials, or credentials that do not verify."));
        refusals.push(("403", "The caller may see the thing but not do this."));
        if path.contains('{') {
            refusals.push(("404", "It does not exist, or the caller may not see it."));
        }
    }
    if has_body {
        refusals.push(("413", "The body is too large."));
    }
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    for (status, description) in refusals {
        let Some(responses) = responses.as_object_mut() else { return };
        responses.entry(status).or_insert_with(|| {
            json!({
                "description": description,
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } },
            })
        });
    }
}

/// Names an operation after its method and path: `getProjectsByProjectIdNodes`.
fn operation_id(path: &str, method: &str) -> String {
    let capitalized = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
    };
    let words = path.trim_start_matches("/api/v1").split(['/', '-']).filter(|word| !word.is_empty());
    let named = words.map(|word| match word.strip_prefix('{') {
        Some(parameter) => format!("By{}", capitalized(parameter.trim_end_matches('}'))),
        None => capitalized(word),
    });
    std::iter::once(method.to_owned()).chain(named).collect()
}

/// Every id in a path is a UUID unless its handler says otherwise.
fn add_path_parameters(path: &str, operation: &mut Map<String, Value>) {
    let Some(parameters) = operation.entry("parameters").or_insert_with(|| json!([])).as_array_mut() else { return };
    for name in path.split(['{', '}']).skip(1).step_by(2) {
        let is_said = parameters.iter().any(|p| p["in"] == "path" && p["name"] == name);
        if !is_said {
            parameters.push(json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": { "type": "string", "format": "uuid" },
            }));
        }
    }
}

/// Serves the document and a page that shows it without anything from elsewhere.
pub fn router(document: Value) -> Router {
    let config = Config::default().validator_url("none").try_it_out_enabled(true).persist_authorization(false);
    SwaggerUi::new(PAGE).config(config).external_url_unchecked(DOCUMENT, document).into()
}

/// Serves the AsyncAPI document of the WebSocket.
pub async fn socket() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], glassbox_protocol::ASYNCAPI)
}
