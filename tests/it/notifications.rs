//! Notifications: who is told what, once, on every open session, and nobody who should not be.

use std::collections::BTreeMap;

use glassbox::auth::rights::{OrgRole, ProjectRole, ProjectRow, Visibility, effective_role};
use glassbox::store::{Database, Tenant, notifications};
use glassbox_protocol::client::{LockAcquire, NodeChanges, NodeCreate};
use glassbox_protocol::{Command, Fence, NodeId, OrgId, ProjectId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rooms::{create, retitle, update};
use crate::support::client::Client;
use crate::support::mirror::Start;
use crate::support::world::{Person, World};
use crate::support::{DEADLINE, wait_until};

async fn call(world: &World, who: &Person, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let path = format!("/api/v1/users/me/notifications{path}");
    let request = world.http.request(method, world.url(0, &path)).bearer_auth(&who.token);
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

async fn listed(world: &World, who: &Person) -> Value {
    call(world, who, Method::GET, "?limit=200", Value::Null).await.1
}

/// What somebody was told so far, oldest first: type and body.
async fn told(world: &World, who: &Person) -> Vec<(String, Option<String>)> {
    let answer = listed(world, who).await;
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let rows = answer["data"].as_array().expect("data").iter().rev();
    rows.map(|n| (text(&n["type"]).expect("a type"), text(&n["body"]))).collect()
}

async fn types(world: &World, who: &Person) -> Vec<String> {
    told(world, who).await.into_iter().map(|(kind, _)| kind).collect()
}

/// Runs statements of the server on behalf of somebody.
async fn as_user(world: &World, who: &Person, statements: &str) {
    let origin = json!({ "*": { "user": who.id } });
    world.sql(&format!("begin; select set_config('app.origin', '{origin}', true); {statements}; commit")).await;
}

struct Scene {
    ada: Person,
    bob: Person,
    org: OrgId,
    project: ProjectId,
    node: NodeId,
}

/// Ada owns a project with a node, and Bob works there.
async fn scene(world: &World) -> Scene {
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (org, project) = (world.org(&ada).await, world.project(&ada).await);
    world.join(org, &bob, "member").await;
    let node = NodeId::random();
    world
        .sql(&format!(
            "insert into nodes (id, org_id, project_id, title, author_type) values ('{node}', '{org}', '{project}', 'The plan', 'human')"
        ))
        .await;
    Scene { ada, bob, org, project, node }
}

#[tokio::test]
async fn whoever_a_text_names_for_the_first_time_is_told_once() {
    let world = World::start().await;
    let Scene { ada, bob, org, project, node } = scene(&world).await;
    let eve = world.user("eve").await;
    let describe = async |text: &str| {
        as_user(&world, &ada, &format!("update nodes set description = $d${text}$d$ where id = '{node}'")).await;
    };
    describe("write to bob@example.org, or x@bob@example.org, or bob@example.org.au, or @bob@example.orgy").await;
    assert_eq!(types(&world, &bob).await, Vec::<String>::new(), "a mail address is no mention");
    describe("ask @BOB@example.org.").await;
    assert_eq!(types(&world, &bob).await, ["mention"]);
    describe("ask @bob@example.org, please").await;
    assert_eq!(types(&world, &bob).await, ["mention"], "the old text had it");
    describe("ask nobody").await;
    describe(&format!("ask @{{{}}} and @ada@example.org and @eve@example.org", bob.id.to_string().to_uppercase()))
        .await;
    assert_eq!(types(&world, &bob).await, ["mention"; 2], "another version");
    assert_eq!(types(&world, &ada).await, Vec::<String>::new(), "nobody tells themselves");
    assert_eq!(types(&world, &eve).await, Vec::<String>::new(), "she is no member");

    let created = Uuid::new_v4();
    as_user(
        &world,
        &ada,
        &format!(
            "insert into nodes (id, org_id, project_id, title, author_type) values ('{created}', '{org}', '{project}', '@bob@example.org look', 'human')"
        ),
    )
    .await;
    let answer = listed(&world, &bob).await;
    let newest = &answer["data"][0];
    assert_eq!(newest["type"], "mention");
    assert_eq!(newest["title"], "You were mentioned in “@bob@example.org look”");
    assert_eq!((&newest["resourceType"], &newest["resourceId"]), (&json!("node"), &json!(created)));
    assert_eq!(
        (&newest["nodeId"], &newest["projectId"], &newest["orgId"]),
        (&json!(created), &json!(project), &json!(org))
    );
    assert_eq!((&answer["total"], &answer["unreadCount"]), (&json!(3), &json!(3)));
    assert!(newest.get("readAt").is_none() && newest.get("body").is_none());
}

#[tokio::test]
async fn nobody_is_told_what_they_may_not_read_or_do_not_want_to_know() {
    let world = World::start().await;
    let Scene { ada, bob, org, project, node } = scene(&world).await;
    let mut version = 0;
    let mut is_told = async |setup: &str| {
        version += 1;
        world.sql(setup).await;
        let before = types(&world, &bob).await.len();
        for text in ["", "@bob@example.org"] {
            as_user(&world, &ada, &format!("update nodes set title = '{version}{text}' where id = '{node}'")).await;
        }
        as_user(&world, &ada, &format!("update nodes set title = '{version} @bob@example.org' where id = '{node}'"))
            .await;
        types(&world, &bob).await.len() > before
    };
    let settings = |json: &str| format!("update users set settings = '{json}' where id = '{}'", bob.id);
    assert!(is_told("select 1").await);
    assert!(!is_told(&settings(r#"{"notifications": false}"#)).await);
    assert!(!is_told(&settings(r#"{"notifications": {"email": true, "inApp": false}}"#)).await);
    assert!(is_told(&settings(r#"{"notifications": {"email": false, "inApp": true}}"#)).await);
    assert!(is_told(&settings(r#"{"notifications": true}"#)).await);
    assert!(is_told("update users set settings = null").await);
    assert!(
        !is_told(&format!("update projects set settings = '{{\"visibility\": \"private\"}}' where id = '{project}'"))
            .await
    );
    assert!(
        is_told(&format!(
            "insert into project_members (project_id, user_id, role) values ('{project}', '{}', 'viewer')",
            bob.id
        ))
        .await
    );
    assert!(
        !is_told(&format!("update users set cognito_sub = 'worker:1' where id = '{}'", bob.id)).await,
        "an agent reads nothing"
    );
    assert!(is_told(&format!("update users set cognito_sub = 'bob' where id = '{}'", bob.id)).await);
    assert!(!is_told(&format!("delete from org_members where user_id = '{}' and org_id = '{org}'", bob.id)).await);
}

#[tokio::test]
async fn whoever_answers_for_a_node_from_now_on_is_told() {
    let world = World::start().await;
    let Scene { ada, bob, org, project, node } = scene(&world).await;
    let set = async |who: &Person, set: String| {
        as_user(&world, who, &format!("update nodes set {set} where id = '{node}'")).await
    };
    set(&ada, format!("supervisor_user_id = '{}'", bob.id)).await;
    assert_eq!(types(&world, &bob).await, ["node_assigned"]);
    set(&ada, format!("supervisor_user_id = '{}', title = 'other'", bob.id)).await;
    set(&ada, format!("metadata = '{{\"assignees\": [\"{}\", 7, \"somebody\"]}}'", bob.id)).await;
    assert_eq!(types(&world, &bob).await, ["node_assigned"], "he answered for it already");
    set(&ada, "supervisor_user_id = null, metadata = '{\"assignees\": \"odd\"}'".to_owned()).await;
    set(&ada, format!("metadata = '{{\"assignees\": [\"{}\", \"{}\"]}}'", bob.id, ada.id)).await;
    assert_eq!(types(&world, &bob).await, ["node_assigned"; 2]);
    assert_eq!(types(&world, &ada).await, Vec::<String>::new(), "she did it herself");
    set(&bob, format!("supervisor_user_id = '{}'", ada.id)).await;
    assert_eq!(types(&world, &ada).await, Vec::<String>::new(), "she was one of the assignees");
    set(&ada, "supervisor_user_id = null, metadata = '{}'".to_owned()).await;
    set(&bob, format!("supervisor_user_id = '{}'", ada.id)).await;
    assert_eq!(types(&world, &ada).await, ["node_assigned"]);

    // By a command, with its author as the one who did it.
    let client = world.client(0, &ada).await;
    client.subscribe(project, Start::Live).await.expect("subscribe");
    let made = NodeCreate { supervisor_user_id: Some(bob.id), ..node_create("new") };
    client.command(Command::NodeCreate(made)).await.expect("create");
    let changes = NodeChanges { supervisor_user_id: Some(Some(bob.id)), ..NodeChanges::default() };
    client.command(update(node, changes)).await.expect("update");
    assert_eq!(types(&world, &bob).await, ["node_assigned"; 4]);
    let _ = org;
}

fn node_create(title: &str) -> NodeCreate {
    match create(NodeId::random(), title) {
        Command::NodeCreate(create) => create,
        other => panic!("not a create: {other:?}"),
    }
}

#[tokio::test]
async fn the_end_of_a_lock_is_told_to_those_whom_it_refused_and_a_break_to_its_holder() {
    let world = World::start().await;
    let Scene { ada, bob, org, project, node } = scene(&world).await;
    let cyd = world.user("cyd").await;
    world.join(org, &cyd, "member").await;
    let bobs = world.client(0, &bob).await;
    bobs.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let database = Database::connect(&world.database.server_url(), 2).expect("a database");
    let refuse = async |fence: Fence, who: &Person| {
        let mut tx = database.begin(&Tenant::member(org, who.id)).await.expect("begin");
        notifications::note_refusal(&mut tx, node, fence, who.id).await.expect("note");
        tx.commit().await.expect("commit");
    };
    let lock = async || {
        let acquire = Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: Some(30_000), wait: None });
        Fence(
            bobs.command(acquire).await.expect("the lock").result.expect("a fence")["fence"].as_i64().expect("a fence"),
        )
    };
    let fence = lock().await;
    refuse(fence, &cyd).await;
    refuse(fence, &cyd).await;
    refuse(fence, &bob).await;
    refuse(Fence(fence.0 + 1), &ada).await;
    world.post(&format!("/api/v1/nodes/{node}/lock/break"), Some(&ada), &json!({})).await;
    assert_eq!(types(&world, &cyd).await, ["lock_released"], "once");
    assert_eq!(listed(&world, &cyd).await["data"][0]["title"], "“The plan” is no longer locked");
    assert_eq!(types(&world, &bob).await, ["lock_released"], "once, though he was refused too");
    assert_eq!(listed(&world, &bob).await["data"][0]["title"], "Your lock on “The plan” was broken");
    assert_eq!(types(&world, &ada).await, Vec::<String>::new(), "she was refused because of no lock that there was");

    // Another lock that nobody was refused for, one that ends with its lease, and one that psql takes over.
    lock().await;
    let free =
        format!("update nodes set locked_by = null, locked_at = null, lock_expires_at = null where id = '{node}'");
    as_user(&world, &bob, &free).await;
    assert_eq!(types(&world, &cyd).await.len(), 1);
    let fence = lock().await;
    refuse(fence, &cyd).await;
    world.sql("update nodes set lock_expires_at = clock_timestamp() where locked_by is not null").await;
    bobs.wait("the end of the lease", |f| (f["payload"]["reason"] == "expired").then_some(())).await;
    assert_eq!(types(&world, &cyd).await.len(), 2);
    let fence = lock().await;
    refuse(fence, &cyd).await;
    world
        .sql(&format!(
            "update nodes set locked_by = '{}', locked_at = clock_timestamp(), lock_expires_at = clock_timestamp() + interval '1 min'
             where id = '{node}'",
            ada.id
        ))
        .await;
    assert_eq!((types(&world, &cyd).await.len(), types(&world, &bob).await.len()), (3, 2));
    let left: i64 = sqlx::query_scalar("select count(*) from realtime.lock_refusals")
        .fetch_one(&world.database.superuser())
        .await
        .expect("a count");
    assert_eq!(left, 0, "refusals go with their lock");
    database.close().await;
}

#[tokio::test]
async fn an_execution_tells_its_starter_the_supervisor_and_the_author_and_each_thing_once() {
    let world = World::start().await;
    let Scene { ada, bob, org, node, .. } = scene(&world).await;
    let cyd = world.user("cyd").await;
    world.join(org, &cyd, "member").await;
    as_user(
        &world,
        &ada,
        &format!("update nodes set supervisor_user_id = '{}', author_user_id = '{}'", ada.id, cyd.id),
    )
    .await;
    let x = Uuid::new_v4();
    as_user(&world, &bob, &format!("insert into agent_executions (id, node_id) values ('{x}', '{node}')")).await;
    let set = async |set: &str| world.sql(&format!("update agent_executions set {set} where id = '{x}'")).await;
    let ask =
        |prompt: &str| format!("langgraph_checkpoint = '{{\"humanInputRequest\": {{\"prompt\": \"{prompt}\"}}}}'");
    set("status = 'running'").await;
    set(&ask("Which?")).await;
    set("status = 'awaiting_input'").await;
    set("status = 'awaiting_input'").await;
    let question = |text: &str| ("human_input_needed".to_owned(), Some(text.to_owned()));
    for who in [&ada, &bob, &cyd] {
        assert_eq!(told(&world, who).await, [question("Which?")], "{}", who.name);
    }
    // Whoever answers is not told, and the next question is another one.
    as_user(&world, &bob, &format!("update agent_executions set status = 'running' where id = '{x}'")).await;
    set(&format!("status = 'awaiting_input', {}", ask("Really?"))).await;
    set("status = 'running'").await;
    set("status = 'failed', error_message = 'boo'").await;
    set("status = 'failed', error_message = 'boo again'").await;
    set("status = 'running', error_message = null").await;
    set("status = 'failed', error_message = 'bah'").await;
    set("status = 'running', error_message = null").await;
    set("status = 'complete'").await;
    set("status = 'running'").await;
    set("status = 'complete'").await;
    let failed = |text: &str| ("execution_failed".to_owned(), Some(text.to_owned()));
    let complete = ("execution_complete".to_owned(), None);
    let expected = [question("Which?"), question("Really?"), failed("boo"), failed("bah"), complete];
    for who in [&ada, &bob, &cyd] {
        assert_eq!(told(&world, who).await, expected, "{}", who.name);
    }
    let answer = listed(&world, &ada).await;
    assert_eq!((&answer["data"][0]["nodeId"], &answer["data"][0]["resourceType"]), (&json!(node), &json!("node")));
}

#[tokio::test]
async fn a_question_that_nobody_could_answer_goes_to_the_project_s_admins() {
    let world = World::start().await;
    let Scene { ada, bob, org, project, node } = scene(&world).await;
    let (vic, pia) = (world.user("vic").await, world.user("pia").await);
    for (who, role) in [(&vic, "viewer"), (&pia, "admin")] {
        world.join(org, who, "member").await;
        world
            .sql(&format!(
                "insert into project_members (project_id, user_id, role) values ('{project}', '{}', '{role}')",
                who.id
            ))
            .await;
    }
    // Its author is an agent and its supervisor reads only.
    world
        .sql(&format!(
            "insert into users (id, cognito_sub, email) values ('{0}', 'agent', 'w@example.org');
             insert into org_members (org_id, user_id) values ('{org}', '{0}');
             update users set cognito_sub = 'worker:7' where id = '{0}';
             update nodes set author_user_id = '{0}', supervisor_user_id = '{1}' where id = '{node}';
             insert into agent_executions (node_id, status) values ('{node}', 'running');
             update agent_executions set status = 'awaiting_input'",
            Uuid::new_v4(),
            vic.id
        ))
        .await;
    for (who, expected) in [(&ada, 1), (&pia, 1), (&bob, 0)] {
        let asked = types(&world, who).await.into_iter().filter(|kind| kind == "human_input_needed").count();
        assert_eq!(asked, expected, "{}", who.name);
    }
}

/// The next frame on the user's channel after `since`.
async fn own_frame(client: &Client, since: usize, kind: &str) -> Value {
    client.wait_since(since, kind, |f| (f["channel"] == "user" && f["type"] == kind).then(|| f.clone())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_reaches_all_sessions_of_its_reader_on_every_instance_and_so_does_its_reading() {
    let world = World::with_instances(2).await;
    let Scene { ada, bob, project, node, .. } = scene(&world).await;
    as_user(&world, &ada, &format!("update nodes set title = '@bob@example.org old' where id = '{node}'")).await;
    let bobs = [world.client(0, &bob).await, world.client(1, &bob).await, world.client(1, &bob).await];
    let adas = world.client(0, &ada).await;
    adas.subscribe(project, Start::Snapshot).await.expect("subscribe");

    adas.command(retitle(node, "nothing")).await.expect("update");
    adas.command(retitle(node, "@bob@example.org new")).await.expect("update");
    for client in &bobs {
        let frame = own_frame(client, 0, "notification").await;
        let notification = &frame["payload"]["notification"];
        assert_eq!(
            notification["title"], "You were mentioned in “@bob@example.org new”",
            "what was before is in the list"
        );
        assert_eq!((&notification["nodeId"], &notification["projectId"]), (&json!(node), &json!(project)));
        assert_eq!((&frame["payload"]["unreadCount"], &frame["by"]["id"]), (&json!(2), &json!(ada.id)));
        assert!(frame["seq"].is_i64() && frame["at"].is_string() && frame.get("requestId").is_none());
    }
    // Any writer's is live; one above READ COMMITTED too.
    world
        .sql(&format!(
            "begin isolation level repeatable read;
             insert into notifications (user_id, org_id, type, title) select '{}', org_id, 'custom', 'psql' from nodes limit 1;
             commit",
            bob.id
        ))
        .await;
    let mut id = Value::Null;
    for client in &bobs {
        let is_custom = |f: &Value| (f["payload"]["notification"]["type"] == "custom").then(|| f.clone());
        let frame = client.wait("the foreign one", is_custom).await;
        assert_eq!(frame["by"], Value::Null);
        id = frame["payload"]["notification"]["id"].clone();
    }
    let (status, answer) =
        call(&world, &bob, Method::POST, &format!("/{}/read", id.as_str().expect("an id")), Value::Null).await;
    assert_eq!((status, &answer["success"]), (StatusCode::OK, &json!(true)));
    for client in &bobs {
        let frame = own_frame(client, 0, "notifications_read").await;
        assert_eq!(frame["payload"], json!({ "ids": [id], "unreadCount": 2 }));
    }
    let since: Vec<usize> = bobs.iter().map(Client::position).collect();
    let (_, answer) = call(&world, &bob, Method::POST, "/read-all", json!({})).await;
    assert_eq!(answer, json!({ "success": true, "updated": 2, "unreadCount": 0 }));
    for (client, since) in bobs.iter().zip(since) {
        let frame = own_frame(client, since, "notifications_read").await;
        assert_eq!(
            (frame["payload"]["ids"].as_array().map(Vec::len), &frame["payload"]["unreadCount"]),
            (Some(2), &json!(0))
        );
        client.assert_sound();
    }
    assert!(!adas.frames_since(0).iter().any(|f| f["channel"] == "user"), "it is nobody else's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_signal_and_a_new_life_of_the_logs_cost_a_user_nothing_but_time() {
    let world = World::start().await;
    let Scene { ada, bob, node, .. } = scene(&world).await;
    let client = world.client(0, &bob).await;
    // Silent: only the poll finds it.
    world
        .sql(&format!(
            "begin; set local realtime.doorbell = 'off'; update nodes set title = '@bob@example.org' where id = '{node}'; commit"
        ))
        .await;
    own_frame(&client, 0, "notification").await;
    world.sql("select realtime.renew_epoch()").await;
    world
        .sql(&format!("update realtime.heads set seq = 0 where stream_id = '{}'; delete from realtime.events", bob.id))
        .await;
    // The reader takes the new heads with its next look; from then on the stream goes on.
    let again = world.client(0, &bob).await;
    let mut attempt = 0;
    wait_until("the stream goes on", DEADLINE, async || {
        attempt += 1;
        as_user(&world, &ada, &format!("update nodes set title = '{attempt}' where id = '{node}'")).await;
        as_user(&world, &ada, &format!("update nodes set title = '{attempt} @bob@example.org' where id = '{node}'"))
            .await;
        again.frames_since(0).iter().any(|f| f["type"] == "notification")
    })
    .await;
}

#[tokio::test]
async fn notifications_are_listed_newest_first_and_marked_by_their_reader_alone() {
    let world = World::start().await;
    let Scene { ada, bob, org, .. } = scene(&world).await;
    world
        .sql(&format!(
            "insert into notifications (id, user_id, org_id, type, title, created_at)
             select ('00000000-0000-4000-8000-' || lpad(g::text, 12, '0'))::uuid, '{}', '{org}', 'x', g::text, '2026-01-01T00:00:00Z'
             from generate_series(1, 60) g",
            bob.id
        ))
        .await;
    let id = |n: usize| format!("00000000-0000-4000-8000-{n:012}");
    let (_, answer) = call(&world, &bob, Method::GET, "", Value::Null).await;
    let titles = |answer: &Value| -> Vec<String> {
        answer["data"]
            .as_array()
            .expect("data")
            .iter()
            .map(|n| n["title"].as_str().expect("a title").to_owned())
            .collect()
    };
    assert_eq!((titles(&answer).len(), titles(&answer)[0].as_str()), (50, "60"));
    let page = ["total", "limit", "offset", "hasMore", "unreadCount"].map(|key| answer[key].clone());
    assert_eq!(page, [json!(60), json!(50), json!(0), json!(true), json!(60)]);
    let (_, answer) = call(&world, &bob, Method::GET, "?limit=200&offset=58", Value::Null).await;
    assert_eq!((titles(&answer), &answer["hasMore"]), (vec!["2".to_owned(), "1".to_owned()], &json!(false)));

    let (status, first) = call(&world, &bob, Method::POST, &format!("/{}/read", id(60)), Value::Null).await;
    assert_eq!((status, first["id"].as_str()), (StatusCode::OK, Some(id(60).as_str())));
    let (_, second) = call(&world, &bob, Method::POST, &format!("/{}/read", id(60)), Value::Null).await;
    assert_eq!(first, second, "the first reading counts");
    let (_, unread) = call(&world, &bob, Method::GET, "?unread=true&limit=1", Value::Null).await;
    assert_eq!(
        (titles(&unread), &unread["total"], &unread["unreadCount"]),
        (vec!["59".to_owned()], &json!(59), &json!(59))
    );

    let read_all = async |who: &Person, body: Value| call(&world, who, Method::POST, "/read-all", body).await;
    assert_eq!(read_all(&ada, json!({ "ids": [id(5)] })).await.1["updated"], 0, "they are Bob's");
    assert_eq!(read_all(&ada, json!({ "upTo": id(5) })).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(
        read_all(&bob, json!({ "ids": [id(60), id(59), Uuid::new_v4()] })).await.1,
        json!({ "success": true, "updated": 1, "unreadCount": 58 })
    );
    assert_eq!(
        read_all(&bob, json!({ "upTo": id(10) })).await.1,
        json!({ "success": true, "updated": 10, "unreadCount": 48 })
    );
    assert_eq!(read_all(&bob, Value::Null).await.1, json!({ "success": true, "updated": 48, "unreadCount": 0 }));
    assert_eq!(read_all(&bob, json!({})).await.1["updated"], 0);

    for (method, path, body, status) in [
        (Method::POST, format!("/{}/read", Uuid::new_v4()), Value::Null, StatusCode::NOT_FOUND),
        (Method::POST, "/notification-1/read".to_owned(), Value::Null, StatusCode::BAD_REQUEST),
        (Method::GET, "?unread=maybe".to_owned(), Value::Null, StatusCode::BAD_REQUEST),
        (Method::GET, "?limit=201".to_owned(), Value::Null, StatusCode::BAD_REQUEST),
        (Method::POST, "/read-all".to_owned(), json!({ "ids": "all" }), StatusCode::BAD_REQUEST),
        (Method::POST, "/read-all".to_owned(), json!({ "upTo": "yesterday" }), StatusCode::BAD_REQUEST),
    ] {
        let (got, answer) = call(&world, &bob, method, &path, body).await;
        assert_eq!(got, status, "{path}: {answer}");
    }
    let (foreign, answer) = call(&world, &ada, Method::POST, &format!("/{}/read", id(1)), Value::Null).await;
    assert_eq!((foreign, answer["code"].as_str()), (StatusCode::NOT_FOUND, Some("NOT_FOUND")));
}

#[tokio::test]
async fn a_large_reading_is_told_in_several_frames() {
    let world = World::start().await;
    let Scene { bob, org, .. } = scene(&world).await;
    let client = world.client(0, &bob).await;
    world
        .sql(&format!(
            "insert into notifications (user_id, org_id, type, title, read_at) select '{0}', '{org}', 'x', 'x', null from generate_series(1, 1100);
             update notifications set read_at = now()",
            bob.id
        ))
        .await;
    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    client
        .wait("three readings", |f| {
            let ids = f["payload"]["ids"].as_array().filter(|_| f["type"] == "notifications_read")?;
            *lengths.entry(ids.len()).or_default() += 1;
            (ids.len() == 100).then_some(())
        })
        .await;
    assert!(lengths.keys().all(|n| *n == 500 || *n == 100), "{lengths:?}");
    client.assert_sound();
}

/// The triggers ask SQL and the requests ask Rust who may read; both have to say the same.
#[tokio::test]
async fn the_database_and_the_server_agree_on_every_effective_role() {
    let world = World::start().await;
    let Scene { bob, org, project, .. } = scene(&world).await;
    let superuser = world.database.superuser();
    let org_roles =
        [None, Some("owner"), Some("admin"), Some("member"), Some("guest"), Some("superuser"), Some("null")];
    let rows = [None, Some("admin"), Some("member"), Some("viewer"), Some("Admin"), Some("null")];
    for org_role in org_roles {
        for row in rows {
            for visibility in
                ["{}", r#"{"visibility": "org"}"#, r#"{"visibility": "private"}"#, r#"{"visibility": 1}"#, "null", "[]"]
            {
                let mut statements = format!(
                    "delete from project_members where user_id = '{0}'; delete from org_members where user_id = '{0}';
                     update projects set settings = '{visibility}' where id = '{project}';
                     insert into org_members (org_id, user_id) values ('{org}', '{0}');",
                    bob.id
                );
                let quoted = |role: &str| if role == "null" { "null".to_owned() } else { format!("'{role}'") };
                if let Some(row) = row {
                    statements += &format!(
                        "insert into project_members (project_id, user_id, role) values ('{project}', '{}', {});",
                        bob.id,
                        quoted(row)
                    );
                }
                statements += &match org_role {
                    None => format!("delete from org_members where user_id = '{}';", bob.id),
                    Some(role) => {
                        format!("update org_members set role = {} where user_id = '{}';", quoted(role), bob.id)
                    }
                };
                world.sql(&statements).await;
                let found: Option<String> = sqlx::query_scalar("select realtime.project_role($1, $2)")
                    .bind(project.0)
                    .bind(bob.id.0)
                    .fetch_one(&superuser)
                    .await
                    .expect("a role");
                let stored = |role: &str| if role == "null" { "member".to_owned() } else { role.to_owned() };
                let project_row = match row {
                    None => ProjectRow::Absent,
                    Some(role) => ProjectRole::from_stored(&stored(role)).map_or(ProjectRow::Unknown, ProjectRow::Role),
                };
                let is_private = visibility.contains("private");
                let visible = if is_private { Visibility::Private } else { Visibility::Org };
                let expected = org_role
                    .and_then(|role| OrgRole::from_stored(&stored(role)))
                    .and_then(|role| effective_role(role, project_row, visible))
                    .map(|role| role.as_str().to_owned());
                assert_eq!(found, expected, "{org_role:?} {row:?} {visibility}");
            }
        }
    }
}
