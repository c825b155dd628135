//! A project as a JSON Canvas document.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use glassbox_protocol::{NodeId, ProjectId};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Caller, PathId, Query};
use super::nodes::hold_parent;
use super::once::{Begun, Once};
use super::projects::{Access, open};
use super::scope;
use crate::app::SharedApp;
use crate::auth::rights::ProjectRight;
use crate::canvas::{self, Placement, Warning};
use crate::store::audit::{self, Action, NewEntry};
use crate::store::{self, Audit, Origin, Tenant, projects};

/// Furthest that a document may be moved, canvas units.
const MOVE_MAX: f64 = 1e9;

/// `GET /api/v1/projects/{projectId}/canvas`
#[utoipa::path(
    get,
    path = "/api/v1/projects/{projectId}/canvas",
    tag = "projects",
    responses((status = 200, description = "A JSON Canvas 1.0 document.", body = Object)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn export(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
) -> ApiResult<Response> {
    let mut opened = open(&app, caller, project, ProjectRight::Read, Access::Snapshot).await?;
    let name = projects::by_id(&mut opened.tx, project).await?.ok_or_else(ApiError::not_found)?.name;
    let (nodes, edges) = store::canvas::read(&mut opened.tx, project).await?;
    let entry = NewEntry {
        org: opened.org,
        action: Action::CanvasExported(project),
        origin: &scope::origin(caller.user),
        details: json!({ "nodes": nodes.len(), "dependencies": edges.len() }),
    };
    // What was read was read only; the trail gets its row in a transaction of its own.
    drop(opened.tx);
    let mut tx = app.database.begin(&Tenant::member(opened.org, caller.user)).await?;
    audit::write(&mut tx, &entry).await?;
    tx.commit().await?;
    let disposition = [(header::CONTENT_DISPOSITION, attachment(&name))];
    Ok((disposition, Json(canvas::export(&nodes, &edges))).into_response())
}

/// Names the file for browsers of every age. Source: RFC 6266.
fn attachment(project: &str) -> String {
    let plain: String =
        project.chars().map(|c| if c.is_ascii_alphanumeric() || " -_.".contains(c) { c } else { '_' }).collect();
    let encoded: String = project
        .bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect();
    format!("attachment; filename=\"{plain}.canvas\"; filename*=UTF-8''{encoded}.canvas")
}

/// What an import made, or would make.
#[derive(Serialize, ToSchema)]
pub struct Imported {
    nodes: usize,
    dependencies: usize,
    /// The new nodes, by their ids in the document.
    #[schema(value_type = BTreeMap<String, Uuid>)]
    ids: BTreeMap<String, NodeId>,
    #[schema(value_type = Vec<Object>)]
    warnings: Vec<Warning>,
}

/// `POST /api/v1/projects/{projectId}/canvas`
#[utoipa::path(
    post,
    path = "/api/v1/projects/{projectId}/canvas",
    tag = "projects",
    params(
        ("parentId" = Option<Uuid>, Query, description = "The node that contains what is imported."),
        ("dx" = Option<f64>, Query, minimum = -1e9, maximum = 1e9, description = "Moves everything to the right, canvas units."),
        ("dy" = Option<f64>, Query, minimum = -1e9, maximum = 1e9, description = "Moves everything down, canvas units."),
        ("dryRun" = Option<bool>, Query, description = "Checks and tells, but stores nothing."),
    ),
    request_body(content = Object, description = "A JSON Canvas 1.0 document."),
    responses((status = 200, description = "A dry run.", body = Imported), (status = 201, body = Imported)),
    extensions(("x-right" = json!("node.write")), ("x-idempotent" = json!(true))),
)]
pub async fn import(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
    query: Query,
    once: Once,
    Body(document): Body<Map<String, Value>>,
) -> ApiResult<Response> {
    let parent = query.id::<NodeId>("parentId")?;
    let (dx, dy) = (distance(&query, "dx")?, distance(&query, "dy")?);
    let is_dry_run = query.flag("dryRun")?;

    let mut opened = open(&app, caller, project, ProjectRight::NodeWrite, Access::Current).await?;
    if let Some(parent) = parent {
        hold_parent(&mut opened.tx, project, parent).await?;
    }
    let first_z = store::canvas::next_z(&mut opened.tx, project).await?;
    let import = canvas::import(document, &Placement { parent, dx, dy, first_z })
        .map_err(|refusal| ApiError::field(&refusal.field, refusal.reason))?;
    let answer = Imported {
        nodes: import.nodes.len(),
        dependencies: import.edges.len(),
        ids: if is_dry_run {
            BTreeMap::new()
        } else {
            import.nodes.iter().map(|node| (node.canvas_id.clone(), node.id)).collect()
        },
        warnings: import.warnings.clone(),
    };
    if is_dry_run {
        return Ok((StatusCode::OK, Json(answer)).into_response());
    }
    let pending = match once.begin(&mut opened.tx, caller.user).await? {
        Begun::New(pending) => pending,
        Begun::Repeated(answer) => return Ok(answer),
    };
    let origin = Origin { audit: Some(Audit::None), ..scope::origin(caller.user) };
    opened.tx.set_origin(&origin, &[]).await?;
    store::canvas::insert(&mut opened.tx, opened.org, project, caller.user, &import).await?;
    let entry = NewEntry {
        org: opened.org,
        action: Action::CanvasImported(project),
        origin: &origin,
        details: json!({ "nodes": answer.nodes, "dependencies": answer.dependencies }),
    };
    audit::write(&mut opened.tx, &entry).await?;
    pending.finish(opened.tx, StatusCode::CREATED, &answer).await
}

fn distance(query: &Query, name: &str) -> ApiResult<f64> {
    let distance = query.number(name)?.unwrap_or_default();
    if distance.abs() > MOVE_MAX {
        return Err(ApiError::field(name, "is too far"));
    }
    Ok(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_breaks_no_header() {
        assert_eq!(
            attachment("a \"b\"\r\né"),
            "attachment; filename=\"a _b____.canvas\"; filename*=UTF-8''a%20%22b%22%0D%0A%C3%A9.canvas"
        );
    }
}
