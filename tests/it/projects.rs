//! Projects over REST, and what their changes do to those who are there.

use glassbox_protocol::client::LockAcquire;
use glassbox_protocol::{Command, NodeId};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::orgs::{Team, delete, expect_fields, expect_same_as_nothing, get, patch, post, value};
use crate::rooms::create;
use crate::support::mirror::Start;
use crate::support::world::World;
use crate::support::{DEADLINE, wait_until};

#[tokio::test]
async fn a_project_is_changed_and_its_members_hear_of_it() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let project = world.project(&ada).await;
    let path = format!("/api/v1/projects/{project}");
    let client = world.client(0, &ada).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");

    let settings = json!({"visibility": "org", "defaultNodeStatus": "new", "enforceWorkflow": true, "x": [1]});
    let change = json!({"name": "N", "description": "D", "settings": settings, "workflowStates": ["new", "old"]});
    let (status, changed) = patch(&world, &path, &ada, &change).await;
    assert_eq!(status, 200, "{changed}");
    for key in ["name", "description", "settings", "workflowStates"] {
        assert_eq!(changed[key], change[key], "{key}");
    }
    assert_eq!(changed["role"], "admin");
    let event = client.wait("the change", |f| (f["type"] == "project_updated").then(|| f.clone())).await;
    assert_eq!(event["payload"]["changes"], change);
    assert_eq!(event["by"], json!({"kind": "user", "id": ada.id}));
    assert_eq!(get(&world, &path, &ada).await, (200, changed.clone()));

    assert_eq!(patch(&world, &path, &ada, &change).await, (200, changed.clone()), "nothing differs, nothing changes");
    assert_eq!(patch(&world, &path, &ada, &json!({})).await, (200, changed));
    let (_, cleared) = patch(&world, &path, &ada, &json!({"description": null, "settings": {}})).await;
    assert_eq!((cleared.get("description"), &cleared["settings"]), (None, &json!({})));
    let (_, feed) = get(&world, &format!("{path}/events?since=0"), &ada).await;
    let updates = feed["data"].as_array().expect("events").iter().filter(|e| e["type"] == "project_updated").count();
    assert_eq!(updates, 2, "{feed}");

    expect_fields(
        &world,
        Method::PATCH,
        &path,
        &ada,
        &[
            (json!({"name": ""}), "name"),
            (json!({"description": 1}), "description"),
            (json!({"description": "\u{0}"}), "description"),
            (json!({"settings": 1}), "settings"),
            (json!({"settings": {"k": "x".repeat(65_536)}}), "settings"),
            (json!({"settings": {"visibility": "all"}}), "settings.visibility"),
            (json!({"settings": {"defaultNodeStatus": "x".repeat(51)}}), "settings.defaultNodeStatus"),
            (json!({"settings": {"enforceWorkflow": "yes"}}), "settings.enforceWorkflow"),
            (json!({"workflowStates": []}), "workflowStates"),
            (json!({"workflowStates": null}), "workflowStates"),
            (json!({"workflowStates": ["a", "a"]}), "workflowStates[1]"),
            (json!({"workflowStates": ["a", ""]}), "workflowStates[1]"),
            (json!({"workflowStates": ["x".repeat(51)]}), "workflowStates[0]"),
            (json!({"workflowStates": [1]}), "workflowStates[0]"),
        ],
    )
    .await;
}

#[tokio::test]
async fn project_admins_change_and_delete_a_project() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let project = world.project(&team.owner).await;
    let path = format!("/api/v1/projects/{project}");
    let boss = world.user("boss").await;
    world.join(team.org, &boss, "member").await;
    let (status, _) =
        post(&world, &format!("{path}/members"), &team.owner, &json!({"userId": boss.id, "role": "admin"})).await;
    assert_eq!(status, 201);
    post(&world, &format!("{path}/members"), &team.owner, &json!({"userId": team.guest.id})).await;
    for (person, may) in team.everybody().into_iter().zip([200, 200, 403, 403, 404]).chain([(&boss, 200)]) {
        assert_eq!(patch(&world, &path, person, &json!({"name": "x"})).await.0, may, "{}", person.name);
        let wrong = patch(&world, &path, person, &json!({"name": ""})).await.0;
        assert_eq!(wrong, if may == 200 { 400 } else { may }, "{}", person.name);
    }
    expect_same_as_nothing(
        &world,
        &team.stranger,
        project.0,
        &[
            (Method::PATCH, "/api/v1/projects/ID", json!({"name": "x"})),
            (Method::DELETE, "/api/v1/projects/ID", json!({})),
            (Method::GET, "/api/v1/projects/ID/members", json!({})),
            (Method::POST, "/api/v1/projects/ID/members", json!({"userId": boss.id})),
            (Method::PATCH, &format!("/api/v1/projects/ID/members/{}", boss.id), json!({"role": "viewer"})),
            (Method::DELETE, &format!("/api/v1/projects/ID/members/{}", boss.id), json!({})),
            (Method::DELETE, &format!("/api/v1/projects/ID/members/{}", team.stranger.id), json!({})),
        ],
    )
    .await;
    for (person, may) in [(&team.stranger, 404), (&team.guest, 403), (&team.member, 403), (&boss, 204), (&boss, 404)] {
        assert_eq!(delete(&world, &path, person).await.0, may, "{}", person.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_becomes_private_is_lost_by_those_without_a_row() {
    let world = World::with_instances(2).await;
    let team = Team::gather(&world).await;
    let project = world.project(&team.owner).await;
    let path = format!("/api/v1/projects/{project}");
    let added = world.user("added").await;
    world.join(team.org, &added, "member").await;
    post(&world, &format!("{path}/members"), &team.owner, &json!({"userId": added.id})).await;

    let owners = world.client(0, &team.owner).await;
    let stays = world.client(1, &added).await;
    let loses = [world.client(0, &team.member).await, world.client(1, &team.member).await];
    for client in [&owners, &stays].into_iter().chain(&loses) {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let (held, waited) = (NodeId::random(), NodeId::random());
    for node in [held, waited] {
        owners.command(create(node, "node")).await.expect("create");
    }
    let lock = |node_id, wait| Command::LockAcquire(LockAcquire { node_id, ttl_ms: Some(600_000), wait });
    loses[1].command(lock(held, None)).await.expect("a lock");
    owners.command(lock(waited, None)).await.expect("a lock");
    loses[0].command(lock(waited, Some(true))).await.expect("a place in the queue");

    assert_eq!(patch(&world, &path, &team.owner, &json!({"settings": {"visibility": "private"}})).await.0, 200);
    for client in &loses {
        assert_eq!(client.closed().await.code, Some(4503));
        assert!(!client.frames_since(0).iter().any(|f| f["type"] == "project_updated"), "the loss comes first");
    }
    for client in [&owners, &stays] {
        let released = client.wait("the end of the lock", |f| (f["type"] == "lock_released").then(|| f.clone())).await;
        assert_eq!(
            released["payload"],
            json!({"nodeId": held, "lockedBy": team.member.id, "reason": "holder_removed"})
        );
        assert_eq!(released["by"]["id"], json!(team.owner.id));
        assert!(!client.is_closed());
    }
    let waits: i64 = crate::orgs::value(&world, "select count(*) from realtime.lock_waits").await;
    assert_eq!(waits, 0, "who may not write does not wait for a lock");
    assert_eq!(get(&world, &path, &team.member).await.0, 404);
}

#[tokio::test]
async fn a_project_that_is_deleted_over_rest_closes_its_room() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let project = world.project(&ada).await;
    let client = world.client(0, &ada).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let node = NodeId::random();
    client.command(create(node, "node")).await.expect("create");
    client
        .command(Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: None, wait: None }))
        .await
        .expect("a lock");
    assert_eq!(delete(&world, &format!("/api/v1/projects/{project}"), &ada).await, (204, Value::Null));
    assert_eq!(client.closed().await.code, Some(4504));
    assert!(client.frames_since(0).iter().any(|f| f["payload"]["reason"] == "deleted"));
    let row: String = crate::orgs::value(
        &world,
        &format!("select body from realtime.events where stream_id = '{project}' order by seq desc limit 1"),
    )
    .await;
    let last: Value = serde_json::from_str(row.lines().last().expect("an event")).expect("JSON");
    assert_eq!((&last["type"], &last["by"]["id"]), (&json!("project_deleted"), &json!(ada.id)));
    assert_eq!(get(&world, &format!("/api/v1/projects/{project}"), &ada).await.0, 404);
}

#[tokio::test]
async fn a_project_finds_its_new_member_by_email_in_the_organization_alone() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let project = world.project(&team.owner).await;
    let path = format!("/api/v1/projects/{project}/members");
    // Somebody elsewhere signs in with the email under which somebody else was invited here.
    world.user("dee").await;
    let (invited, robot) = (Uuid::new_v4(), Uuid::new_v4());
    world
        .sql(&format!(
            "insert into users (id, cognito_sub, email) values
                ('{invited}', 'invited:dee@example.org', 'dee@example.org'),
                ('{robot}', 'worker:{robot}', 'robot@workers.invalid');
             insert into realtime.worker_keys (id, org_id, user_id, name, secret_hash)
             values ('{robot}', '{org}', '{robot}', 'robot', sha256('x'));
             insert into org_members (org_id, user_id, role) values
                ('{org}', '{invited}', 'member'), ('{org}', '{robot}', 'member')",
            org = team.org
        ))
        .await;
    let (status, added) = post(&world, &path, &team.owner, &json!({"email": "DEE@example.org"})).await;
    assert_eq!((status, &added["userId"]), (201, &json!(invited)), "{added}");
    let (status, refusal) = post(&world, &path, &team.owner, &json!({"email": "robot@workers.invalid"})).await;
    assert_eq!((status, refusal["code"].as_str()), (409, Some("CONFLICT")), "{refusal}");
    assert_eq!(post(&world, &path, &team.owner, &json!({"userId": robot})).await.0, 201, "an agent is added by its id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_the_organization_while_a_project_adds_them_leaves_no_row() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let project = world.project(&team.owner).await;
    // The removal of a member, as it is made over REST, before its end.
    let superuser = world.database.superuser();
    let mut removal = superuser.begin().await.expect("begin");
    for statement in [
        format!("select 1 from organizations where id = '{}' for no key update", team.org),
        format!("delete from org_members where user_id = '{}'", team.member.id),
        format!("delete from project_members where user_id = '{}'", team.member.id),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *removal).await.expect("remove");
    }
    let body = json!({"userId": team.member.id});
    let path = format!("/api/v1/projects/{project}/members");
    let add = post(&world, &path, &team.owner, &body);
    let end = async {
        wait_until("the addition waits", DEADLINE, async || {
            let waiting = "select count(*) from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock' and query like '%for no key update%'";
            value::<i64>(&world, waiting).await == 1
        })
        .await;
        removal.commit().await.expect("commit the removal");
    };
    let ((status, answer), ()) = tokio::join!(add, end);
    assert_eq!((status, answer["code"].as_str()), (409, Some("CONFLICT")), "{answer}");
    let rows = format!("select count(*) from project_members where user_id = '{}'", team.member.id);
    assert_eq!(value::<i64>(&world, &rows).await, 0);
}
