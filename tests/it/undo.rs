//! Undo and redo: a user's own commands, taken back and done again, but never over somebody else's changes.

use glassbox_protocol::client::{
    DependencyAdd, DependencyRemove, DependencyUpdate, LockAcquire, LockRelease, Move, NodeChanges, NodeInputAdd,
    NodeInputRemove, NodeMove, NodeOutputAdd, NodeOutputRemove, NodeRef, NodeRollback, Redo, Undo,
};
use glassbox_protocol::entity::{InputType, OutputType, Position};
use glassbox_protocol::server::{Ack, Outcome};
use glassbox_protocol::{Channel, ClientMessage, Command, Error, ErrorCode, Fence, NodeId, ProjectId, RequestId};
use reqwest::Method;
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::invariants::{behind_a_proxy, waits_at_commit};
use crate::rooms::{create, place, retitle, update};
use crate::support::client::Client;
use crate::support::mirror::{Start, fold, read_log, read_tables};
use crate::support::world::{Person, World};
use crate::support::{DEADLINE, wait_until};

pub fn undo(project: ProjectId) -> Command {
    Command::Undo(Undo { channel: Channel::Project(project) })
}

pub fn redo(project: ProjectId) -> Command {
    Command::Redo(Redo { channel: Channel::Project(project) })
}

pub fn delete(node_id: NodeId) -> Command {
    Command::NodeDelete(NodeRef { node_id, fence: None })
}

pub fn edge(source_node_id: NodeId, target_node_id: NodeId) -> DependencyAdd {
    DependencyAdd { source_node_id, target_node_id, source_output_id: None, target_input_id: None }
}

pub fn input(node_id: NodeId, id: Uuid, source: Option<NodeId>) -> Command {
    Command::NodeInputAdd(NodeInputAdd {
        node_id,
        id: Some(id),
        input_type: if source.is_some() { InputType::NodeReference } else { InputType::Text },
        file_id: None,
        source_node_id: source,
        source_node_version: None,
        external_url: None,
        text_content: source.is_none().then(|| "a text".to_owned()),
        label: Some("label".to_owned()),
        metadata: None,
        fence: None,
    })
}

pub fn output(node_id: NodeId, id: Uuid) -> Command {
    Command::NodeOutputAdd(NodeOutputAdd {
        node_id,
        id: Some(id),
        output_type: OutputType::StructuredData,
        file_id: None,
        structured_data: Some(Map::from_iter([("a".to_owned(), json!([1, 2.5, null]))])),
        text_content: None,
        external_url: None,
        label: None,
        metadata: None,
        fence: None,
    })
}

pub fn remove_input(node_id: NodeId, input_id: Uuid) -> Command {
    Command::NodeInputRemove(NodeInputRemove { node_id, input_id, fence: None })
}

pub fn remove_output(node_id: NodeId, output_id: Uuid) -> Command {
    Command::NodeOutputRemove(NodeOutputRemove { node_id, output_id, fence: None })
}

/// What is on the canvas, without what counts or times changes: an undo is a change.
pub async fn document(superuser: &PgPool, project: ProjectId) -> Value {
    let state = read_tables(superuser, project).await;
    let mut nodes = serde_json::to_value(&state.nodes).expect("JSON");
    for node in nodes.as_object_mut().into_iter().flat_map(|nodes| nodes.values_mut()) {
        for key in ["version", "updatedAt"] {
            node.as_object_mut().expect("a node").remove(key);
        }
    }
    json!({ "nodes": nodes, "dependencies": state.dependencies })
}

/// Ann and Bob in one project, on an instance each.
struct Two {
    world: World,
    project: ProjectId,
    ann: Person,
    anns: Client,
    bobs: Client,
}

impl Two {
    async fn start() -> Self {
        let world = World::with_instances(2).await;
        let (ann, bob) = (world.user("ann").await, world.user("bob").await);
        let project = world.project(&ann).await;
        world.join(world.org(&ann).await, &bob, "member").await;
        let (anns, bobs) = (world.client(0, &ann).await, world.client(1, &bob).await);
        for client in [&anns, &bobs] {
            client.subscribe(project, Start::Snapshot).await.expect("subscribe");
        }
        Self { world, project, ann, anns, bobs }
    }

    async fn node(&self, title: &str) -> NodeId {
        let node = NodeId::random();
        self.anns.command(create(node, title)).await.expect("create");
        node
    }

    async fn undo(&self) -> Result<Ack, Error> {
        self.anns.command(undo(self.project)).await
    }

    async fn redo(&self) -> Result<Ack, Error> {
        self.anns.command(redo(self.project)).await
    }

    async fn document(&self) -> Value {
        document(&self.world.database.superuser(), self.project).await
    }

    async fn title(&self, node: NodeId) -> Option<String> {
        let state = read_tables(&self.world.database.superuser(), self.project).await;
        state.nodes.get(&node).map(|n| n.title.clone())
    }

    /// The undo is refused because of a field of a node, changes nothing, and is not offered again.
    async fn conflicts(&self, node: NodeId, field: &str) -> Value {
        let before = self.document().await;
        let refused = self.undo().await.expect_err("a conflict");
        assert_eq!((refused.code, refused.temporary), (ErrorCode::VersionConflict, false), "{refused:?}");
        assert_eq!(self.document().await, before);
        let details = refused.details.expect("details");
        let conflict = &details["conflicts"][0];
        assert_eq!((&conflict["nodeId"], &conflict["fields"]), (&json!(node), &json!([field])), "{details}");
        details
    }
}

fn undone(ack: &Ack) -> (&str, usize) {
    let result = ack.result.as_ref().expect("a result");
    let command = result["undone"].as_str().or(result["redone"].as_str()).expect("the command");
    (command, result["nodeIds"].as_array().map_or(0, Vec::len))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_is_taken_back_and_done_again() {
    let two = Two::start().await;
    let (root, child, other) = (NodeId::random(), NodeId::random(), NodeId::random());
    let (first, second, out) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let with_parent = |id, parent| match create(id, "child") {
        Command::NodeCreate(mut create) => {
            create.parent_id = Some(parent);
            Command::NodeCreate(create)
        }
        other => other,
    };
    let everything = NodeChanges {
        title: Some("new".into()),
        description: Some(Some("text".into())),
        status: Some("done".into()),
        parent_id: Some(Some(root)),
        supervisor_user_id: Some(Some(two.ann.id)),
        metadata: Some(Map::from_iter([("k".to_owned(), json!({ "n": 1.5 }))])),
        position: Some(Position { x: 0.1, y: -2.0 }),
    };
    let moves = [(root, 1.25), (child, 7.0)].map(|(node_id, x)| Move { node_id, position: Position { x, y: 3.5 } });
    let of_parts = DependencyAdd { source_output_id: Some(out), target_input_id: Some(first), ..edge(root, other) };
    let commands = [
        ("node_create", create(root, "root")),
        ("node_create", with_parent(child, root)),
        ("node_create", create(other, "other")),
        ("node_update", update(other, everything)),
        ("node_move", Command::NodeMove(NodeMove { moves: moves.to_vec() })),
        ("node_update", retitle(root, "renamed")),
        ("node_rollback", Command::NodeRollback(NodeRollback { node_id: root, version: 1, fence: None })),
        ("node_input_add", input(other, first, None)),
        ("node_input_add", input(other, second, Some(child))),
        ("node_output_add", output(root, out)),
        ("dependency_add", Command::DependencyAdd(edge(root, other))),
        ("dependency_add", Command::DependencyAdd(of_parts)),
        ("node_input_remove", remove_input(other, first)),
        ("dependency_remove", Command::DependencyRemove(DependencyRemove::ByEnds(edge(root, other)))),
        ("node_output_remove", remove_output(root, out)),
        ("node_delete", delete(root)),
        ("node_restore", Command::NodeRestore(NodeRef { node_id: root, fence: None })),
    ];
    let mut documents = vec![two.document().await];
    for (name, command) in &commands {
        two.anns.command(command.clone()).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        documents.push(two.document().await);
    }
    for _ in 0..2 {
        for (at, (name, _)) in commands.iter().enumerate().rev() {
            let ack = two.undo().await.unwrap_or_else(|e| panic!("undo {name}: {e:?}"));
            assert_eq!(undone(&ack).0, *name);
            assert_eq!(two.document().await, documents[at], "{name} taken back");
        }
        assert_eq!(two.undo().await.expect("nothing left").outcome, Outcome::Unchanged);
        for (at, (name, _)) in commands.iter().enumerate() {
            let ack = two.redo().await.unwrap_or_else(|e| panic!("redo {name}: {e:?}"));
            assert_eq!(undone(&ack).0, *name);
            assert_eq!(two.document().await, documents[at + 1], "{name} done again");
        }
        assert_eq!(two.redo().await.expect("nothing left").outcome, Outcome::Unchanged);
    }
    let superuser = two.world.database.superuser();
    let log = read_log(&superuser, two.project).await;
    assert_eq!(fold(&log), read_tables(&superuser, two.project).await, "the events tell all of it");
    let head = log.last().expect("events").seq;
    two.bobs.wait_mirror("all of it", two.project, |m| (m.seq >= head).then_some(())).await;
    two.bobs.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependency_that_was_changed_means_again_what_it_meant() {
    let two = Two::start().await;
    let (a, b, out) = (two.node("a").await, two.node("b").await, Uuid::new_v4());
    two.anns.command(output(a, out)).await.expect("an output");
    let made = two.anns.command(Command::DependencyAdd(edge(a, b))).await.expect("an edge");
    let dependency_id =
        serde_json::from_value(made.result.expect("a result")["dependency"]["id"].clone()).expect("an id");
    let before = two.document().await;
    let change = DependencyUpdate { dependency_id, source_output_id: Some(Some(out)), target_input_id: None };
    two.anns.command(Command::DependencyUpdate(change)).await.expect("change");
    let after = two.document().await;
    assert_ne!(after, before);
    assert_eq!(undone(&two.undo().await.expect("undo")), ("dependency_update", 2));
    assert_eq!(two.document().await, before);
    two.redo().await.expect("redo");
    assert_eq!(two.document().await, after);

    two.bobs.command(Command::DependencyRemove(DependencyRemove::ById { dependency_id })).await.expect("remove");
    let refused = two.undo().await.expect_err("gone").details.expect("details");
    assert_eq!(refused["conflicts"][0]["dependencyId"], json!(dependency_id));
    let refused = two.undo().await.expect_err("its addition, too");
    assert_eq!(refused.details.expect("details")["conflicts"][0]["current"], Value::Null);
    assert_eq!(undone(&two.undo().await.expect("undo")).0, "node_output_add");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_somebody_else_changed_since_is_a_conflict_and_other_fields_are_not() {
    let two = Two::start().await;
    let node = two.node("first").await;
    two.anns.command(place(node, 5.0)).await.expect("move");
    two.anns.command(retitle(node, "second")).await.expect("update");
    let status = NodeChanges { status: Some("done".into()), ..NodeChanges::default() };
    two.bobs.command(update(node, status.clone())).await.expect("another field");
    assert_eq!(undone(&two.undo().await.expect("fields merge")), ("node_update", 1));
    assert_eq!(two.title(node).await.as_deref(), Some("first"));
    let again = two.redo().await.expect("redo");
    assert!(again.version > Some(3), "{again:?}");

    two.bobs.command(retitle(node, "bob's")).await.expect("the same field");
    let details = two.conflicts(node, "title").await;
    assert_eq!(details["conflicts"][0]["expected"], json!({ "title": "second" }));
    assert_eq!(details["conflicts"][0]["current"], json!({ "title": "bob's" }));
    assert_eq!(details["command"], "node_update");
    // The one before is reached, and the node is no longer as it was made.
    assert_eq!(undone(&two.undo().await.expect("the move")).0, "node_move");
    let refused = two.undo().await.expect_err("a node that somebody else changed");
    assert_eq!(refused.details.expect("details")["conflicts"][0]["fields"], json!(["title", "status"]));
    assert_eq!(two.undo().await.expect("nothing").outcome, Outcome::Unchanged);
    assert_eq!(two.title(node).await.as_deref(), Some("bob's"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_somebody_else_changed_to_and_fro_is_a_conflict() {
    let two = Two::start().await;
    let node = two.node("first").await;
    two.anns.command(retitle(node, "second")).await.expect("update");
    two.bobs.command(retitle(node, "third")).await.expect("to");
    two.bobs.command(retitle(node, "second")).await.expect("and fro");
    two.conflicts(node, "title").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_somebody_else_moved_since_stay_and_none_of_the_others_moves() {
    let two = Two::start().await;
    let (a, b) = (two.node("a").await, two.node("b").await);
    let moves = [a, b].map(|node_id| Move { node_id, position: Position { x: 9.0, y: 9.0 } }).to_vec();
    two.anns.command(Command::NodeMove(NodeMove { moves })).await.expect("move");
    two.bobs.command(place(b, 50.0)).await.expect("move");
    let details = two.conflicts(b, "position").await;
    assert_eq!(details["conflicts"][0]["current"]["position"]["x"], 50.0);
    assert_eq!(details["conflicts"].as_array().map(Vec::len), Some(1), "only what is in the way is named");

    // After an undo the same holds for the redo.
    two.anns.command(place(a, 20.0)).await.expect("move");
    two.undo().await.expect("undo");
    two.bobs.command(place(a, 21.0)).await.expect("move");
    assert_eq!(two.redo().await.expect_err("moved since").code, ErrorCode::VersionConflict);
    assert_eq!(two.redo().await.expect("dropped").outcome, Outcome::Unchanged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_somebody_else_hung_something_on_is_not_taken_back() {
    let two = Two::start().await;
    let bobs_node = NodeId::random();
    two.bobs.command(create(bobs_node, "bob's")).await.expect("create");
    let node = two.node("child").await;
    let parent = NodeChanges { parent_id: Some(Some(node)), ..NodeChanges::default() };
    two.bobs.command(update(bobs_node, parent)).await.expect("a child");
    let refused = two.undo().await.expect_err("a child").details.expect("details");
    assert_eq!(refused["conflicts"][0]["nodeId"], json!(bobs_node));
    let node = two.node("input").await;
    two.bobs.command(input(node, Uuid::new_v4(), None)).await.expect("an input");
    two.conflicts(node, "inputs").await;
    let node = two.node("output").await;
    two.bobs.command(output(node, Uuid::new_v4())).await.expect("an output");
    two.conflicts(node, "outputs").await;
    let node = two.node("edge").await;
    two.bobs.command(Command::DependencyAdd(edge(node, bobs_node))).await.expect("an edge");
    two.conflicts(node, "dependencies").await;
    let node = two.node("reference").await;
    two.bobs.command(input(bobs_node, Uuid::new_v4(), Some(node))).await.expect("a reference");
    two.conflicts(node, "references").await;
    let node = two.node("moved").await;
    two.bobs.command(place(node, 3.0)).await.expect("a move");
    two.conflicts(node, "position").await;
    let node = two.node("deleted").await;
    two.bobs.command(delete(node)).await.expect("delete");
    assert_eq!(two.undo().await.expect_err("gone").code, ErrorCode::Gone);
    assert_eq!(two.undo().await.expect("nothing").outcome, Outcome::Unchanged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_is_taken_back_only_while_its_nodes_are_gone_with_it() {
    let two = Two::start().await;
    let restore = |node_id| Command::NodeRestore(NodeRef { node_id, fence: None });
    let (parent, node) = (two.node("parent").await, two.node("node").await);
    two.anns.command(delete(node)).await.expect("delete");
    two.bobs.command(restore(node)).await.expect("restore");
    two.conflicts(node, "deletedAt").await;
    two.anns.command(delete(node)).await.expect("delete");
    two.bobs.command(restore(node)).await.expect("restore");
    two.bobs.command(delete(node)).await.expect("delete");
    two.conflicts(node, "deletedAt").await;

    two.bobs.command(restore(node)).await.expect("restore");
    let below = NodeChanges { parent_id: Some(Some(parent)), ..NodeChanges::default() };
    two.bobs.command(update(node, below)).await.expect("a child");
    two.anns.command(delete(node)).await.expect("delete");
    two.bobs.command(delete(parent)).await.expect("delete the parent");
    two.conflicts(node, "parentId").await;

    // The redo of a deletion spares what somebody else did meanwhile.
    two.bobs.command(restore(parent)).await.expect("restore");
    two.anns.command(delete(parent)).await.expect("delete");
    assert_eq!(undone(&two.undo().await.expect("undo")), ("node_delete", 1));
    two.bobs.command(retitle(parent, "kept")).await.expect("update");
    assert_eq!(two.redo().await.expect_err("changed since").code, ErrorCode::VersionConflict);
    assert_eq!(two.title(parent).await.as_deref(), Some("kept"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_that_is_gone_or_that_somebody_else_uses_is_a_conflict() {
    let two = Two::start().await;
    let (a, b) = (two.node("a").await, two.node("b").await);
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    two.anns.command(input(b, first, None)).await.expect("an input");
    let of_input = DependencyAdd { target_input_id: Some(first), ..edge(a, b) };
    two.bobs.command(Command::DependencyAdd(of_input)).await.expect("an edge");
    two.conflicts(b, "dependencies").await;
    two.anns.command(input(b, second, None)).await.expect("an input");
    two.bobs.command(remove_input(b, second)).await.expect("remove");
    let details = two.conflicts(b, "inputs").await;
    assert_eq!(details["conflicts"][0]["inputId"], json!(second));

    // What hangs on what was removed comes back with it, unless its own end is gone.
    two.anns.command(remove_input(b, first)).await.expect("remove");
    two.bobs.command(delete(b)).await.expect("delete");
    assert_eq!(two.undo().await.expect_err("the node is gone").code, ErrorCode::Gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_that_the_database_refuses_is_a_conflict_and_the_next_undo_goes_on() {
    let two = Two::start().await;
    let (a, b, out) = (two.node("a").await, two.node("b").await, Uuid::new_v4());
    let first = Uuid::new_v4();
    two.anns.command(output(a, out)).await.expect("an output");
    two.anns.command(input(b, first, None)).await.expect("an input");
    let of_parts = DependencyAdd { source_output_id: Some(out), target_input_id: Some(first), ..edge(a, b) };
    two.anns.command(Command::DependencyAdd(of_parts)).await.expect("an edge");
    two.anns.command(remove_input(b, first)).await.expect("remove");
    // The edge that went with the input names an output that is no more.
    two.bobs.command(remove_output(a, out)).await.expect("remove");
    assert_eq!(two.undo().await.expect_err("refused").code, ErrorCode::VersionConflict);
    assert_eq!(two.undo().await.expect_err("the edge").code, ErrorCode::VersionConflict);
    assert_eq!(two.undo().await.expect_err("the input").code, ErrorCode::VersionConflict);
    assert_eq!(two.undo().await.expect_err("the output").code, ErrorCode::VersionConflict);
    assert_eq!(undone(&two.undo().await.expect("undo")).0, "node_create");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_of_one_user_on_two_instances_share_what_can_be_taken_back() {
    let two = Two::start().await;
    let node = two.node("first").await;
    two.anns.command(retitle(node, "second")).await.expect("update");
    let tab = two.world.client(1, &two.ann).await;
    // The channel says which room is meant; the tab follows none.
    assert_eq!(undone(&tab.command(undo(two.project)).await.expect("undo")).0, "node_update");
    assert_eq!(two.title(node).await.as_deref(), Some("first"));
    assert_eq!(undone(&two.redo().await.expect("redo")).0, "node_update");
    assert_eq!(two.title(node).await.as_deref(), Some("second"));
    assert_eq!(two.bobs.command(undo(two.project)).await.expect("nothing of bob's").outcome, Outcome::Unchanged);

    // Both at once: each takes another one back.
    two.anns.command(retitle(node, "third")).await.expect("update");
    two.anns.command(retitle(node, "fourth")).await.expect("update");
    let (here, there) = tokio::join!(two.anns.command(undo(two.project)), tab.command(undo(two.project)));
    assert_eq!([here.expect("undo").outcome, there.expect("undo").outcome], [Outcome::Applied; 2]);
    assert_eq!(two.title(node).await.as_deref(), Some("second"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_command_ends_what_can_be_done_again_and_a_hundred_can_be_taken_back() {
    let two = Two::start().await;
    let node = two.node("0").await;
    two.anns.command(retitle(node, "first")).await.expect("update");
    two.undo().await.expect("undo");
    two.anns.command(retitle(node, "0")).await.expect("nothing changes");
    two.anns
        .command(Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: None, wait: None }))
        .await
        .expect("lock");
    assert_eq!(undone(&two.redo().await.expect("still there")).0, "node_update");
    two.undo().await.expect("undo");
    two.anns.command(place(node, 1.0)).await.expect("move");
    assert_eq!(two.redo().await.expect("the chance is over").outcome, Outcome::Unchanged);

    // One burst: more than one batch, and more than are kept.
    for i in 1..=150 {
        two.anns.send(ClientMessage::Command(place(node, f64::from(i) + 1.0)), Some(RequestId::random()));
    }
    let mut count = 0;
    while two.undo().await.unwrap_or_else(|e| panic!("{count}: {e:?}")).outcome != Outcome::Unchanged {
        count += 1;
    }
    assert!((100..=128).contains(&count), "{count}");
    let state = read_tables(&two.world.database.superuser(), two.project).await;
    assert_eq!(state.nodes[&node].position.x, 151.0 - f64::from(count));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_are_taken_back_as_far_as_two_mebibytes_go() {
    let two = Two::start().await;
    let node = two.node("0").await;
    let superuser = two.world.database.superuser();
    let text = |i: u32| format!("{i} {}", "long ".repeat(40_000));
    let described = |i: u32| {
        let description = Some(Some(text(i)));
        let metadata = Some(Map::from_iter([("k".to_owned(), json!([i, 1e16, "m".repeat(2000)]))]));
        update(node, NodeChanges { description, metadata, ..NodeChanges::default() })
    };
    for i in 1..=30 {
        two.anns.command(described(i)).await.expect("update");
        let rows: (i64, i64) =
            sqlx::query_as("select count(*), sum(octet_length(inverse::text)) from realtime.undo_steps")
                .fetch_one(&superuser)
                .await
                .expect("the stack");
        assert!(rows.1 < 5 * 512 * 1024, "{i}: {rows:?}");
    }
    let mut count = 0;
    while two.undo().await.unwrap_or_else(|e| panic!("{count}: {e:?}")).outcome != Outcome::Unchanged {
        count += 1;
    }
    assert!((9..=13).contains(&count), "{count}");
    let description = async || {
        let state = read_tables(&superuser, two.project).await;
        state.nodes[&node].description.clone()
    };
    assert_eq!(description().await, Some(text(30 - count)));
    for _ in 0..count {
        assert_eq!(two.redo().await.expect("redo").outcome, Outcome::Applied);
    }
    assert_eq!(description().await, Some(text(30)));

    let other = NodeChanges { description: Some(Some(text(99))), ..NodeChanges::default() };
    two.bobs.command(update(node, other)).await.expect("update");
    let details = two.conflicts(node, "description").await;
    assert_eq!(details["conflicts"][0]["expected"], json!({}), "of what is large, only a hash is kept");
    assert_eq!(details["conflicts"][0]["current"]["description"], json!(text(99)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_restored_alone_goes_back_to_its_parent_when_both_come_back() {
    let two = Two::start().await;
    let (parent, child) = (two.node("parent").await, two.node("child").await);
    let below = NodeChanges { parent_id: Some(Some(parent)), ..NodeChanges::default() };
    two.anns.command(update(child, below)).await.expect("a child");
    let before = two.document().await;
    two.anns.command(delete(parent)).await.expect("delete");
    two.anns.command(Command::NodeRestore(NodeRef { node_id: child, fence: None })).await.expect("restore");
    let alone = two.document().await;
    for _ in 0..2 {
        assert_eq!(undone(&two.undo().await.expect("the restore")), ("node_restore", 1));
        assert_eq!(undone(&two.undo().await.expect("the delete")), ("node_delete", 2));
        assert_eq!(two.document().await, before);
        two.redo().await.expect("the delete");
        two.redo().await.expect("the restore");
        assert_eq!(two.document().await, alone);
    }
    two.bobs.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_are_sent_at_once_are_taken_back_in_their_order() {
    let two = Two::start().await;
    let node = two.node("0").await;
    let mut last = RequestId::random();
    for command in [
        retitle(node, "1"),
        place(node, 7.0),
        retitle(node, "2"),
        undo(two.project),
        undo(two.project),
        redo(two.project),
        retitle(node, "3"),
        redo(two.project),
        undo(two.project),
    ] {
        last = RequestId::random();
        two.anns.send(ClientMessage::Command(command), Some(last));
    }
    wait_until("all answers", DEADLINE, async || !two.anns.answers(last).is_empty()).await;
    let state = read_tables(&two.world.database.superuser(), two.project).await;
    assert_eq!((state.nodes[&node].title.as_str(), state.nodes[&node].position.x), ("1", 7.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_refuses_an_undo_for_as_long_as_it_is_held_by_another() {
    let two = Two::start().await;
    let node = two.node("first").await;
    two.anns.command(retitle(node, "second")).await.expect("update");
    let acquire = || Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: None, wait: None });
    let fence = |ack: Ack| Fence(ack.result.expect("a result")["fence"].as_i64().expect("a fence"));
    let bobs = fence(two.bobs.command(acquire()).await.expect("lock"));
    for _ in 0..2 {
        let refused = two.undo().await.expect_err("locked");
        assert_eq!((refused.code, refused.temporary), (ErrorCode::LockHeld, true));
        assert_eq!(refused.details.expect("details")["command"], "node_update");
    }
    let release = Command::LockRelease(LockRelease { node_id: node, fence: Some(bobs) });
    two.bobs.command(release).await.expect("release");
    two.anns.command(acquire()).await.expect("lock");
    let tab = two.world.client(0, &two.ann).await;
    assert_eq!(tab.command(undo(two.project)).await.expect_err("another tab").code, ErrorCode::LockHeld);
    two.undo().await.expect("the holder has the fence");
    assert_eq!(two.title(node).await.as_deref(), Some("first"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_whoever_may_write_takes_back_and_only_in_a_project() {
    let two = Two::start().await;
    let node = two.node("first").await;
    for channel in [Channel::Node(node), Channel::User] {
        for command in [Command::Undo(Undo { channel }), Command::Redo(Redo { channel })] {
            assert_eq!(two.anns.command(command).await.expect_err("no project").code, ErrorCode::InvalidChannel);
        }
    }
    assert_eq!(two.anns.command(undo(ProjectId::random())).await.expect_err("unknown").code, ErrorCode::NotFound);

    two.bobs.command(retitle(node, "bob's")).await.expect("update");
    let demote = format!(
        "insert into project_members (project_id, user_id, role) select '{}', id, 'viewer' from users where email like 'bob@%'",
        two.project
    );
    two.world.sql(&demote).await;
    assert_eq!(two.bobs.command(undo(two.project)).await.expect_err("a viewer").code, ErrorCode::Forbidden);
    let mallory = two.world.user("mallory").await;
    let stranger = two.world.client(0, &mallory).await;
    assert_eq!(stranger.command(undo(two.project)).await.expect_err("a stranger").code, ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_over_rest_is_not_taken_back_but_spared() {
    let two = Two::start().await;
    let node = two.node("first").await;
    two.anns.command(retitle(node, "second")).await.expect("update");
    let url = two.world.url(0, &format!("/api/v1/nodes/{node}"));
    let patched = two.world.http.request(Method::PATCH, url).bearer_auth(&two.ann.token);
    let patched = patched.json(&json!({ "title": "by REST" })).send().await.expect("an answer");
    assert!(patched.status().is_success());
    two.conflicts(node, "title").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_undo_takes_back_one_command_and_gets_one_answer() {
    let two = Two::start().await;
    let node = two.node("first").await;
    for title in ["second", "third"] {
        two.anns.command(retitle(node, title)).await.expect("update");
    }
    let request = RequestId::random();
    let (first, second) = two.anns.send_twice(request, undo(two.project)).await.expect("answers");
    let (first, second) = (first.expect("undo"), second.expect("the same"));
    assert_eq!((first.duplicate, second.duplicate, first.seq), (false, true, second.seq));
    assert_eq!(two.title(node).await.as_deref(), Some("second"));
    let log = read_log(&two.world.database.superuser(), two.project).await;
    let own = log.iter().find(|entry| entry.seq == first.seq).expect("its event");
    assert_eq!(own.private.request, Some(request));

    // A conflict is one answer, too: a repeat does not reach the step before.
    two.bobs.command(retitle(node, "bob's")).await.expect("update");
    let request = RequestId::random();
    let (first, second) = two.anns.send_twice(request, undo(two.project)).await.expect("answers");
    assert_eq!(first.expect_err("a conflict"), second.expect_err("the same"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_whose_commit_was_not_answered_has_one_effect() {
    let (proxy, world) = behind_a_proxy(World::builder(), 0).await;
    world
        .sql(
            "create function at_commit() returns trigger language plpgsql security definer as $$
            begin
                perform pg_advisory_xact_lock(7);
                return null;
            end $$;
            create constraint trigger at_commit after update on nodes deferrable initially deferred
                for each row when (old.title = 'second' and new.title = 'held') execute function at_commit()",
        )
        .await;
    let ann = world.user("ann").await;
    let project = world.project(&ann).await;
    let client = world.client(0, &ann).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let node = NodeId::random();
    for command in [create(node, "zero"), retitle(node, "held"), retitle(node, "second")] {
        client.command(command).await.expect("committed");
    }
    let superuser = world.database.superuser();
    let mut holder = superuser.begin().await.expect("begin");
    sqlx::query("select pg_advisory_xact_lock(7)").execute(&mut *holder).await.expect("hold commits");
    let request = RequestId::random();
    client.send(ClientMessage::Command(undo(project)), Some(request));
    wait_until("a commit that is held", DEADLINE, async || waits_at_commit(&superuser).await).await;
    proxy.cut_all();
    holder.rollback().await.expect("let go");
    wait_until("the answer", DEADLINE, async || !client.answers(request).is_empty()).await;
    let ack = client.answers(request).remove(0).expect("committed");
    assert_eq!(undone(&ack).0, "node_update");
    let title = async || read_tables(&superuser, project).await.nodes[&node].title.clone();
    assert_eq!(title().await, "held");
    client.command(undo(project)).await.expect("the one before");
    assert_eq!(title().await, "zero");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_foreign_writer_changed_on_a_node_is_spared_and_how_it_spells_numbers_is_not_a_change() {
    let two = Two::start().await;
    let (node, out) = (two.node("node").await, Uuid::new_v4());
    two.anns.command(output(node, out)).await.expect("an output");
    two.anns.command(delete(node)).await.expect("delete");
    two.undo().await.expect("undo");
    let spelled = "position = '{\"x\": 0, \"y\": 0.00}', metadata = '{}'";
    two.world.sql(&format!("update nodes set {spelled} where id = '{node}'")).await;
    two.redo().await.expect("the same numbers");
    two.undo().await.expect("undo");
    two.world.sql(&format!("update node_outputs set label = 'by a worker' where id = '{out}'")).await;
    let refused = two.redo().await.expect_err("an output that somebody else changed").details.expect("details");
    assert_eq!(refused["conflicts"][0]["fields"], json!(["outputs"]));
    assert!(two.title(node).await.is_some());
}
