//! The shape of templates, for the OpenAPI document alone; the rules themselves are in [`crate::template::check`].
#![allow(dead_code, reason = "only the document reads the fields")]

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::schema::Position;

/// What a node gets when it is made from a template, in the one format; unknown keys are kept.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct TemplateStructure {
    /// 1.
    #[schema(required = false, minimum = 1, maximum = 1)]
    format_version: u64,
    #[schema(required = false)]
    inputs: Vec<TemplateInput>,
    #[schema(required = false)]
    outputs: Vec<TemplateOutput>,
    #[schema(required = false, no_recursion)]
    sub_nodes: Vec<TemplateSubNode>,
    #[schema(required = false)]
    suggested_workflow_states: Vec<String>,
}

/// An input that a node gets.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct TemplateInput {
    #[schema(min_length = 1, max_length = 255)]
    label: String,
    /// `file`, `node_reference`, `external_link` or `text`.
    #[schema(required = false, pattern = "^(file|node_reference|external_link|text)$")]
    r#type: String,
    #[schema(required = false)]
    required: bool,
    description: Option<String>,
    text_content: Option<String>,
    #[schema(pattern = "^https?://.+")]
    external_url: Option<String>,
}

/// An output that is expected of a node.
#[derive(ToSchema)]
pub struct TemplateOutput {
    #[schema(min_length = 1, max_length = 255)]
    label: String,
    /// `file`, `structured_data`, `text` or `external_link`.
    #[schema(required = false, pattern = "^(file|structured_data|text|external_link)$")]
    r#type: String,
    description: Option<String>,
}

/// A node below; at most five levels.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct TemplateSubNode {
    /// By which others depend on it.
    #[schema(max_length = 255)]
    key: Option<String>,
    #[schema(min_length = 1, max_length = 500)]
    title: String,
    description: Option<String>,
    /// `human` or `agent`.
    #[schema(required = false, pattern = "^(human|agent)$")]
    author_type: String,
    #[schema(max_length = 50)]
    status: Option<String>,
    /// The template whose root it is.
    template_id: Option<Uuid>,
    inputs: Option<Vec<TemplateInput>>,
    outputs: Option<Vec<TemplateOutput>>,
    #[schema(no_recursion)]
    sub_nodes: Option<Vec<TemplateSubNode>>,
    /// Keys of other sub-nodes.
    depends_on: Option<Vec<String>>,
    /// From the root of the structure.
    position: Option<Position>,
}

/// How an agent works on what is made from a template; unknown keys are kept.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct AgentConfig {
    model: Option<String>,
    #[schema(minimum = 1)]
    max_tokens: Option<u64>,
    #[schema(minimum = 1)]
    max_iterations: Option<u64>,
    #[schema(minimum = 0)]
    temperature: Option<f64>,
    system_prompt: Option<String>,
    tools: Option<Vec<Value>>,
}
