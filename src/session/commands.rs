//! Commands on their way from the socket to the writer of their room.

use std::sync::Arc;

use glassbox_protocol::client::{Redo, Undo};
use glassbox_protocol::{Channel, Command, Error, ErrorCode, OrgId, ProjectId, RequestId};

use super::conversation::Session;
use super::subscription;
use crate::command::validate;
use crate::room::Room;
use crate::room::writer::{Reply, Request};
use crate::store::commands::CommandKey;
use crate::store::members;

impl Session {
    /// Hands a command to the writer of its room.
    pub(super) async fn command(&mut self, command: Command, request_id: Option<RequestId>) {
        let Some(request) = request_id else {
            return self.fail(Error::validation("requestId", "is required for commands"), None);
        };
        if let Err(error) = validate::command(&command) {
            return self.fail(error, request_id);
        }
        let room = match self.room_of(&command).await {
            Ok(room) => room,
            Err(error) => return self.fail(error, request_id),
        };
        self.has_waited |= matches!(&command, Command::LockAcquire(lock) if lock.wait == Some(true));
        let key = CommandKey { user: self.peer.user.id, client: Some(self.peer.client), request };
        let via = Arc::clone(&self.peer.via);
        let request = Request::new(key, command, via, Reply::Session(Arc::clone(&self.peer)));
        self.peer.asked();
        if let Err(request) = room.submit(request) {
            request.answer(Err(Error::new(ErrorCode::ProjectBusy, "too many commands wait; try again")));
        }
    }

    /// The room that a command is for: the one that is open, or wherever its node lives.
    async fn room_of(&self, command: &Command) -> Result<Arc<Room>, Error> {
        let named = match command {
            Command::NodeCreate(create) => create.project_id,
            Command::Undo(Undo { channel: Channel::Project(project) })
            | Command::Redo(Redo { channel: Channel::Project(project) }) => Some(*project),
            _ => None,
        };
        let mut rooms = self.open.values().map(|open| &open.room);
        let first = rooms.next();
        let only = first.filter(|first| rooms.all(|room| room.project == first.project));
        match (named, only) {
            (Some(project), _) => {
                if let Some(open) = self.open.values().find(|open| open.room.project == project) {
                    return Ok(Arc::clone(&open.room));
                }
                let (org, project) = subscription::locate(&self.app, Channel::Project(project)).await?;
                self.open_room(project, org)
            }
            (None, Some(only)) => Ok(Arc::clone(only)),
            (None, None) => {
                let node = crate::command::nodes_of(command).first().copied().ok_or_else(|| {
                    Error::validation("projectId", "is required unless the channels that are open are of one project")
                })?;
                let located = members::locate_node(&self.app.database, node).await;
                let (org, project) =
                    located.map_err(|e| subscription::unavailable(&e))?.ok_or_else(crate::command::not_found)?;
                self.open_room(project, org)
            }
        }
    }

    pub(super) fn open_room(&self, project: ProjectId, org: OrgId) -> Result<Arc<Room>, Error> {
        self.app
            .rooms
            .open(project, org)
            .map_err(|_| Error::new(ErrorCode::Unavailable, "the instance is starting; try again"))
    }
}
