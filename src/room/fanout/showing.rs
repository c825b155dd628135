//! Who is here, told to the members at the presence tick: everybody on the project's channel, those who look at a node on
//! the node's.

use std::collections::HashMap;

use glassbox_protocol::Channel;
use glassbox_protocol::ServerMessage;
use glassbox_protocol::server::{PresenceDiff, PresenceState, ServerFrame};
use tokio::time::Instant;

use super::State;
use super::members::{Seated, Seats};
use crate::config::{PRESENCE_RELAY_TICK, PRESENCE_TICK};
use crate::room::frame::Frame;
use crate::room::presence::{Diff, Presence};
use crate::session::outbound::Lane;

impl State {
    /// Tells the other instances everybody who is here.
    pub(super) fn introduce(&self) {
        self.surroundings.relay.tell(self.seat.project, &self.presence.everybody_here());
    }

    pub(super) fn presence_changed(&mut self) {
        if !self.presence.is_dirty() {
            return;
        }
        // The first change of a quiet period goes at once; those that follow wait for the tick.
        let now = Instant::now();
        self.next_presence.get_or_insert(now);
        self.next_relay.get_or_insert(now);
    }

    pub(super) fn send_presence(&mut self, now: Instant) {
        if self.going_since.is_some() {
            (self.next_presence, self.next_relay) = (None, None);
            return;
        }
        if self.next_presence.is_some_and(|at| at <= now) {
            let by_node = self.presence.take_for_nodes();
            for (node, diff) in by_node {
                if let Some(seats) = self.members.nodes.get(&node) {
                    send_diff(seats, Channel::Node(node), &diff);
                }
            }
            let diff = self.presence.take_for_members();
            self.next_presence = if diff.is_empty() { None } else { Some(now + PRESENCE_TICK) };
            if !diff.is_empty() {
                send_diff(&self.members.project, Channel::Project(self.seat.project), &diff);
            }
        }
        if self.next_relay.is_some_and(|at| at <= now) {
            let diff = self.presence.take_for_instances();
            self.next_relay = if diff.is_empty() { None } else { Some(now + PRESENCE_RELAY_TICK) };
            if !diff.is_empty() {
                self.surroundings.relay.tell(self.seat.project, &diff);
            }
        }
    }

    /// Sends everything to those who missed something because their queue was full; again, until it gets through.
    pub(super) fn refresh_presence(&mut self) {
        for (_, seats) in self.members.shown_seats_mut() {
            for seated in seats.by_session.values_mut() {
                let dropped = seated.outbound().dropped_latest();
                if dropped != seated.dropped_latest {
                    seated.dropped_latest = dropped;
                    send_state(&self.presence, seated);
                }
            }
        }
    }
}

fn send_diff(seats: &Seats, channel: Channel, diff: &Diff) {
    let mut by_generation: HashMap<u32, Frame> = HashMap::new();
    for seated in seats.by_session.values() {
        // Whoever missed something gets everything, with the next beat.
        if seated.outbound().dropped_latest() != seated.dropped_latest {
            continue;
        }
        let generation = seated.member.generation;
        let frame = by_generation.entry(generation).or_insert_with(|| {
            Frame::json(&ServerFrame::from(ServerMessage::PresenceDiff(PresenceDiff {
                channel,
                generation,
                joins: diff.joins.clone(),
                leaves: diff.leaves.clone(),
                updates: diff.updates.clone(),
            })))
        });
        seated.outbound().push(std::slice::from_ref(frame), Lane::Latest, channel);
    }
    crate::metrics::presence_frames(seats.by_session.len());
}

/// Tells a member who is here, as far as its channel shows that.
pub(super) fn send_state(presence: &Presence, seated: &Seated) {
    let channel = seated.member.channel;
    let members = match channel {
        Channel::Project(_) => presence.everybody(),
        Channel::Node(node) => presence.on_node(node),
        Channel::Execution(_) | Channel::User => return,
    };
    let state = PresenceState { channel, generation: seated.member.generation, members };
    let frame = Frame::json(&ServerFrame::from(ServerMessage::PresenceState(state)));
    seated.outbound().push(&[frame], Lane::Latest, channel);
}
