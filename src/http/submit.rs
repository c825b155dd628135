//! The way of a REST request into a project: the same commands through the same room writer as a WebSocket's.

use glassbox_protocol::server::Ack;
use glassbox_protocol::{Command, NodeId, OrgId, ProjectId};
use tokio::sync::oneshot;

use super::error::{ApiError, ApiResult};
use super::once::Once;
use super::scope;
use crate::app::App;
use crate::auth::Bearer;
use crate::room::writer::{Reply, Request};
use crate::store::commands::CommandKey;
use crate::store::members;

/// Where a node lives.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The tenant.
    pub org: OrgId,
    /// The project.
    pub project: ProjectId,
}

impl Place {
    /// The place of a project; a foreign one is found as well, and refused by the writer.
    ///
    /// # Errors
    /// 404, or the database is away.
    pub async fn of_project(app: &App, project: ProjectId) -> ApiResult<Self> {
        let org = members::locate_project(&app.database, project).await?.ok_or_else(ApiError::not_found)?;
        Ok(Self { org, project })
    }

    /// The place of a node; a foreign one is found as well, and refused by the writer.
    ///
    /// # Errors
    /// 404, or the database is away.
    pub async fn of_node(app: &App, node: NodeId) -> ApiResult<Self> {
        let (org, project) = members::locate_node(&app.database, node).await?.ok_or_else(ApiError::not_found)?;
        Ok(Self { org, project })
    }
}

/// Hands a command to the writer of its project's room and waits for the answer, whose `result` is the whole entity.
/// The writer checks rights; the caller of this function checks the fields ([`crate::command::validate`]).
///
/// # Errors
/// What the writer answers, as [`ApiError`] says it.
pub async fn submit(app: &App, caller: Bearer, place: Place, once: Once, command: Command) -> ApiResult<Ack> {
    let room = app.rooms.open(place.project, place.org).map_err(|_| ApiError::unavailable())?;
    let key = CommandKey { user: caller.user, client: None, request: once.request_of(caller.user) };
    let (reply, answer) = oneshot::channel();
    let request = Request::new(key, command, scope::via(), Reply::Caller(reply));
    room.submit(request).map_err(|_| ApiError::project_busy("too many commands wait: try again"))?;
    match answer.await {
        Ok(answer) => Ok(answer?),
        // The instance ends: whether the command was taken shows at the next attempt.
        Err(_) => Err(ApiError::unavailable()),
    }
}
