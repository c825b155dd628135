//! What the rooms of a session of the older dialect tell it, and what of that its client gets.

use glassbox_protocol::server::CloseCode;
use glassbox_protocol::{Channel, ProjectId, RequestId};
use tokio::time::Instant;

use super::channels::Seat;
use super::conversation::{Session, now_ms};
use super::inlet::Incoming;
use super::render::{About, Audience};
use super::renderings::Ready;
use crate::session::outbound::Lane;

impl Session {
    /// Goes on with something that concerns the session, looked up.
    pub(super) fn hear(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Notification(notification) => self.notify(*notification),
            Incoming::Synced { project, generation } => {
                if let Some(seat) = self.seat(project, generation) {
                    seat.is_synced = true;
                }
            }
            Incoming::Present { project, generation, change, people } => {
                let Some(seat) = self.seat(project, generation) else { return };
                seat.is_present = true;
                let is_news = seat.view.apply(change, now_ms());
                self.people.extend(people);
                self.is_list_due |= is_news;
            }
            Incoming::Reset { project, generation } => {
                if self.seat(project, generation).is_some() {
                    // The whole state has no words here: a client that comes again reads its list.
                    self.peer.outbound.close(CloseCode::ServiceRestart, "the log starts over");
                }
            }
            Incoming::Event { project, generation, request, ready } => {
                for gone in ready.iter().filter(|ready| ready.about == About::Deletion) {
                    self.places.remove(&gone.node);
                }
                if self.seat(project, generation).is_some() {
                    for ready in ready.iter() {
                        self.tell(project, ready, request);
                    }
                }
            }
        }
    }

    /// The room of a subscription, if it is still the same one.
    fn seat(&mut self, project: ProjectId, generation: u32) -> Option<&mut Seat> {
        self.rooms.get_mut(&project).filter(|seat| seat.generation == generation)
    }

    fn tell(&mut self, project: ProjectId, ready: &Ready, request: Option<RequestId>) {
        if !self.is_for_us(project, ready) {
            return;
        }
        match &ready.about {
            // Whoever asked has the answer.
            About::Lock if self.is_answered_apart(ready, request) => {}
            About::Execution { id, status, has_trace: false } => {
                self.runs.note(project, *id, status);
                let now = Instant::now();
                if let Some((project, ready)) = self.pace.take(*id, status, (project, ready.clone()), now) {
                    self.out.push(&[ready.frame], Lane::Durable, Channel::Project(project));
                }
            }
            About::Lock | About::Deletion | About::Node | About::Execution { .. } => {
                self.out.push(std::slice::from_ref(&ready.frame), Lane::Durable, Channel::Project(project));
            }
        }
    }

    pub(super) fn is_for_us(&self, project: ProjectId, ready: &Ready) -> bool {
        self.channels.contains_key(&Channel::Project(project))
            || (ready.audience == Audience::ProjectAndNode && self.channels.contains_key(&Channel::Node(ready.node)))
    }
}
