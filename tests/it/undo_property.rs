//! Whatever a user does: undo n, then redo n leaves the document as it is, and undo n gives the one from before.

use std::sync::Arc;

use glassbox_protocol::client::{DependencyAdd, DependencyRemove, Move, NodeChanges, NodeMove, NodeRef, NodeRollback};
use glassbox_protocol::entity::Position;
use glassbox_protocol::server::Outcome;
use glassbox_protocol::{Command, NodeId, ProjectId};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, json};
use uuid::Uuid;

use crate::rooms::create;
use crate::support::client::Client;
use crate::support::mirror::{Start, fold, read_log, read_tables};
use crate::support::world::World;
use crate::undo::{delete, document, edge, input, output, redo, remove_input, remove_output, undo};

/// Most nodes of a run; each stands for one id.
const NODES: usize = 5;
/// Inputs and outputs of each node.
const PARTS: usize = 2;

/// What a user does; numbers say to which of the nodes.
#[derive(Clone, Debug)]
enum Act {
    Create { node: usize, parent: Option<usize> },
    Retitle { node: usize, title: u8 },
    Describe { node: usize, text: Option<u8> },
    Annotate { node: usize, value: u8 },
    Adopt { node: usize, parent: Option<usize> },
    Move { nodes: Vec<(usize, i16)> },
    Delete { node: usize },
    Restore { node: usize },
    Rollback { node: usize, version: i32 },
    AddInput { node: usize, part: usize, source: Option<usize> },
    RemoveInput { node: usize, part: usize },
    AddOutput { node: usize, part: usize },
    RemoveOutput { node: usize, part: usize },
    Link { source: usize, target: usize, from: Option<usize>, to: Option<usize> },
    Unlink { source: usize, target: usize },
}

fn acts() -> impl Strategy<Value = Act> {
    let node = || 0..NODES;
    let part = || 0..PARTS;
    prop_oneof![
        4 => (node(), proptest::option::of(node())).prop_map(|(node, parent)| Act::Create { node, parent }),
        2 => (node(), any::<u8>()).prop_map(|(node, title)| Act::Retitle { node, title }),
        1 => (node(), any::<Option<u8>>()).prop_map(|(node, text)| Act::Describe { node, text }),
        1 => (node(), any::<u8>()).prop_map(|(node, value)| Act::Annotate { node, value }),
        2 => (node(), proptest::option::of(node())).prop_map(|(node, parent)| Act::Adopt { node, parent }),
        3 => proptest::collection::vec((node(), any::<i16>()), 1..3).prop_map(|nodes| Act::Move { nodes }),
        3 => node().prop_map(|node| Act::Delete { node }),
        2 => node().prop_map(|node| Act::Restore { node }),
        1 => (node(), 1..4_i32).prop_map(|(node, version)| Act::Rollback { node, version }),
        2 => (node(), part(), proptest::option::of(node()))
            .prop_map(|(node, part, source)| Act::AddInput { node, part, source }),
        1 => (node(), part()).prop_map(|(node, part)| Act::RemoveInput { node, part }),
        2 => (node(), part()).prop_map(|(node, part)| Act::AddOutput { node, part }),
        1 => (node(), part()).prop_map(|(node, part)| Act::RemoveOutput { node, part }),
        2 => (node(), node(), proptest::option::of(part()), proptest::option::of(part()))
            .prop_map(|(source, target, from, to)| Act::Link { source, target, from, to }),
        1 => (node(), node()).prop_map(|(source, target)| Act::Unlink { source, target }),
    ]
}

/// The ids of one run.
struct Ids {
    nodes: Vec<NodeId>,
    inputs: Vec<Uuid>,
    outputs: Vec<Uuid>,
}

impl Ids {
    fn new() -> Self {
        let parts = || (0..NODES * PARTS).map(|_| Uuid::new_v4()).collect();
        Self { nodes: (0..NODES).map(|_| NodeId::random()).collect(), inputs: parts(), outputs: parts() }
    }

    fn command(&self, act: &Act) -> Command {
        let changed = |node: usize, changes| crate::rooms::update(self.nodes[node], changes);
        let input_of = |node: usize, part: usize| self.inputs[node * PARTS + part];
        let output_of = |node: usize, part: usize| self.outputs[node * PARTS + part];
        match *act {
            Act::Create { node, parent } => match create(self.nodes[node], "new") {
                Command::NodeCreate(mut create) => {
                    create.parent_id = parent.map(|parent| self.nodes[parent]);
                    Command::NodeCreate(create)
                }
                other => other,
            },
            Act::Retitle { node, title } => {
                changed(node, NodeChanges { title: Some(format!("title {title}")), ..NodeChanges::default() })
            }
            Act::Describe { node, text } => {
                let description = Some(text.map(|text| format!("text {text}")));
                changed(node, NodeChanges { description, status: Some("done".into()), ..NodeChanges::default() })
            }
            Act::Annotate { node, value } => {
                let metadata = Map::from_iter([("k".to_owned(), json!([value, f64::from(value) / 3.0]))]);
                changed(node, NodeChanges { metadata: Some(metadata), ..NodeChanges::default() })
            }
            Act::Adopt { node, parent } => {
                let parent_id = Some(parent.map(|parent| self.nodes[parent]));
                changed(node, NodeChanges { parent_id, ..NodeChanges::default() })
            }
            Act::Move { ref nodes } => {
                let mut moves: Vec<Move> = Vec::new();
                for (node, x) in nodes {
                    let node_id = self.nodes[*node];
                    if moves.iter().all(|m| m.node_id != node_id) {
                        moves.push(Move { node_id, position: Position { x: f64::from(*x) / 7.0, y: 1.0 } });
                    }
                }
                Command::NodeMove(NodeMove { moves })
            }
            Act::Delete { node } => delete(self.nodes[node]),
            Act::Restore { node } => Command::NodeRestore(NodeRef { node_id: self.nodes[node], fence: None }),
            Act::Rollback { node, version } => {
                Command::NodeRollback(NodeRollback { node_id: self.nodes[node], version, fence: None })
            }
            Act::AddInput { node, part, source } => {
                input(self.nodes[node], input_of(node, part), source.map(|source| self.nodes[source]))
            }
            Act::RemoveInput { node, part } => remove_input(self.nodes[node], input_of(node, part)),
            Act::AddOutput { node, part } => output(self.nodes[node], output_of(node, part)),
            Act::RemoveOutput { node, part } => remove_output(self.nodes[node], output_of(node, part)),
            Act::Link { source, target, from, to } => Command::DependencyAdd(DependencyAdd {
                source_output_id: from.map(|part| output_of(source, part)),
                target_input_id: to.map(|part| input_of(target, part)),
                ..edge(self.nodes[source], self.nodes[target])
            }),
            Act::Unlink { source, target } => {
                Command::DependencyRemove(DependencyRemove::ByEnds(edge(self.nodes[source], self.nodes[target])))
            }
        }
    }
}

/// What somebody else does meanwhile, in a node of their own.
async fn interfere(other: &Client, node: NodeId, round: usize) {
    let x = f64::from(u32::try_from(round).unwrap_or(0));
    other.command(crate::rooms::retitle(node, &format!("noise {round}"))).await.expect("noise");
    other.command(crate::rooms::place(node, x + 1.0)).await.expect("noise");
}

async fn check(world: &World, project: ProjectId, own: &Client, other: &Client, acts: &[Act]) -> Result<(), String> {
    let superuser = world.database.superuser();
    let (ids, noise) = (Ids::new(), NodeId::random());
    other.command(create(noise, "noise")).await.expect("noise");
    // Of the noise, only that it is there.
    let look = async || {
        let mut document = document(&superuser, project).await;
        let text = noise.to_string();
        document["nodes"].as_object_mut().expect("nodes").remove(&text);
        document
    };
    let mut documents = vec![look().await];
    // Without nodes to begin with, most of what follows would be refused.
    let first = [(0, None), (1, Some(0)), (2, Some(1))].map(|(node, parent)| Act::Create { node, parent });
    for (round, act) in first.iter().chain(acts).enumerate() {
        interfere(other, noise, round).await;
        // What breaks a rule, or changes nothing, leaves nothing to take back.
        if own.command(ids.command(act)).await.is_ok_and(|ack| ack.outcome != Outcome::Unchanged) {
            documents.push(look().await);
        }
    }
    for _ in 0..2 {
        for (at, document) in documents.iter().enumerate().rev().skip(1) {
            interfere(other, noise, at).await;
            let ack = own.command(undo(project)).await.map_err(|e| format!("undo to {at}: {e:?}"))?;
            let now = look().await;
            if now != *document || ack.outcome == Outcome::Unchanged {
                return Err(format!("undo to {at}: {ack:?}\nis     {now}\nshould {document}"));
            }
        }
        for (at, document) in documents.iter().enumerate().skip(1) {
            interfere(other, noise, at).await;
            let ack = own.command(redo(project)).await.map_err(|e| format!("redo to {at}: {e:?}"))?;
            let now = look().await;
            if now != *document || ack.outcome == Outcome::Unchanged {
                return Err(format!("redo to {at}: {ack:?}\nis     {now}\nshould {document}"));
            }
        }
    }
    if fold(&read_log(&superuser, project).await) != read_tables(&superuser, project).await {
        return Err("the events do not tell what the tables hold".to_owned());
    }
    Ok(())
}

#[test]
fn undo_n_then_redo_n_leaves_the_document_as_it_is() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (world, ann, bob) = runtime.block_on(async {
        let world = World::start().await;
        let (ann, bob) = (world.user("ann").await, world.user("bob").await);
        world.join(world.org(&ann).await, &bob, "member").await;
        (Arc::new(world), ann, bob)
    });
    let config = Config { cases: 20, max_shrink_iters: 40, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&proptest::collection::vec(acts(), 1..20), |acts| {
        runtime.block_on(async {
            let project = world.project(&ann).await;
            let (own, other) = (world.client(0, &ann).await, world.client(0, &bob).await);
            for client in [&own, &other] {
                client.subscribe(project, Start::Live).await.expect("subscribe");
            }
            check(&world, project, &own, &other, &acts).await.map_err(TestCaseError::fail)
        })
    });
    runtime.block_on(async { drop(world) });
    outcome.unwrap_or_else(|e| panic!("{e}"));
}
