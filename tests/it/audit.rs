//! The audit trail: one row for each committed change, whoever makes it, for good.

use std::collections::BTreeSet;

use glassbox::store::audit::{self, Action, NewEntry};
use glassbox::store::{Database, Origin, Tenant};
use glassbox_protocol::client::{DependencyAdd, DependencyRemove, LockAcquire, LockRelease, NodeRef};
use glassbox_protocol::{Command, Fence, NodeId, OrgId, ProjectId, UserId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::rooms::{create, place, retitle};
use crate::support::mirror::Start;
use crate::support::world::{Person, World};

/// A row of the trail, as a test looks at it.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    action: String,
    resource_type: String,
    resource_id: Option<Uuid>,
    user_id: Option<Uuid>,
    agent_execution_id: Option<Uuid>,
    details: Value,
    ip: Option<String>,
    user_agent: Option<String>,
}

/// The trail of an organization since it was looked at last, oldest first.
struct Trail<'a> {
    world: &'a World,
    org: OrgId,
    seen: BTreeSet<Uuid>,
}

impl<'a> Trail<'a> {
    /// Begins with what comes from now on.
    async fn new(world: &'a World, org: OrgId) -> Self {
        let mut trail = Self { world, org, seen: BTreeSet::new() };
        trail.news().await;
        trail
    }

    async fn news(&mut self) -> Vec<Row> {
        let ids: Vec<Uuid> = sqlx::query_scalar("select id from audit_log where org_id = $1")
            .bind(self.org.0)
            .fetch_all(&self.world.database.superuser())
            .await
            .expect("the trail");
        let new: Vec<Uuid> = ids.into_iter().filter(|id| self.seen.insert(*id)).collect();
        sqlx::query_as(
            "select action, resource_type, resource_id, user_id, agent_execution_id, details, host(ip_address) as ip, user_agent
             from audit_log where id = any($1) order by created_at, id",
        )
        .bind(new)
        .fetch_all(&self.world.database.superuser())
        .await
        .expect("the trail")
    }

    async fn actions(&mut self) -> Vec<String> {
        self.news().await.into_iter().map(|row| row.action).collect()
    }

    /// Runs statements as a foreign writer and tells what the trail says of them.
    async fn of_sql(&mut self, statements: &str) -> Vec<String> {
        self.world.sql(statements).await;
        self.actions().await
    }

    /// Runs statements with an origin, as the server does.
    async fn of_origin(&mut self, origin: Value, statements: &str) -> Vec<Row> {
        let set = format!("select set_config('app.origin', '{origin}', true)");
        self.world.sql(&format!("begin; {set}; {statements}; commit")).await;
        self.news().await
    }
}

async fn get(world: &World, who: &Person, path: &str) -> (StatusCode, Value) {
    let response = world.http.get(world.url(0, path)).bearer_auth(&who.token).send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

/// An owner with a project, and one node in it.
async fn scene(world: &World) -> (Person, OrgId, ProjectId, NodeId) {
    let ada = world.user("ada").await;
    let (org, project) = (world.org(&ada).await, world.project(&ada).await);
    let node = NodeId::random();
    world.sql(&new_node(node, org, project, "a node")).await;
    (ada, org, project, node)
}

fn new_node(id: NodeId, org: OrgId, project: ProjectId, title: &str) -> String {
    format!(
        "insert into nodes (id, org_id, project_id, title, author_type) values ('{id}', '{org}', '{project}', '{title}', 'human');"
    )
}

#[tokio::test]
async fn commands_of_a_socket_leave_one_row_each_with_user_and_address() {
    let world = World::start().await;
    let (ada, org, project, _) = scene(&world).await;
    let client = world.client(0, &ada).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let mut trail = Trail::new(&world, org).await;
    let (one, other) = (NodeId::random(), NodeId::random());
    let edge =
        DependencyAdd { source_node_id: one, target_node_id: other, source_output_id: None, target_input_id: None };
    for (command, expected) in [
        (create(one, "one"), vec!["node.created"]),
        (create(other, "other"), vec!["node.created"]),
        (retitle(one, "uno"), vec!["node.updated"]),
        (retitle(one, "uno"), vec![]),
        (place(one, 7.0), vec![]),
        (Command::DependencyAdd(edge), vec!["dependency.added"]),
        (Command::DependencyRemove(DependencyRemove::ByEnds(edge)), vec!["dependency.removed"]),
        (Command::NodeDelete(NodeRef { node_id: one, fence: None }), vec!["node.deleted"]),
        (Command::NodeRestore(NodeRef { node_id: one, fence: None }), vec!["node.restored"]),
    ] {
        client.command(command.clone()).await.expect("an ack");
        let rows = trail.news().await;
        assert_eq!(rows.iter().map(|r| r.action.as_str()).collect::<Vec<_>>(), expected, "{command:?}");
        for row in rows {
            assert_eq!(row.user_id, Some(ada.id.0), "{row:?}");
            assert_eq!(row.ip.as_deref(), Some("127.0.0.1"), "{row:?}");
            assert_eq!(Some(row.resource_type.as_str()), row.action.split('.').next());
        }
    }
}

#[tokio::test]
async fn a_request_leaves_its_rows_with_user_address_and_user_agent() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let request = world.http.post(world.url(0, "/api/v1/orgs")).bearer_auth(&ada.token);
    let request = request.header("User-Agent", "Browser/1").json(&json!({ "name": "Acme", "slug": "acme" }));
    let org: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let org = OrgId(org["id"].as_str().expect("an id").parse().expect("an id"));
    let mut trail = Trail { world: &world, org, seen: BTreeSet::new() };
    let rows = trail.news().await;
    assert_eq!(rows.iter().map(|r| r.action.as_str()).collect::<Vec<_>>(), ["org.created", "org_member.added"]);
    for row in &rows {
        assert_eq!(row.user_id, Some(ada.id.0));
        assert_eq!((row.ip.as_deref(), row.user_agent.as_deref()), (Some("127.0.0.1"), Some("Browser/1")));
    }
    assert_eq!((rows[0].resource_type.as_str(), rows[0].resource_id), ("org", Some(org.0)));
    assert_eq!((rows[1].resource_type.as_str(), rows[1].resource_id), ("user", Some(ada.id.0)));

    world.post(&format!("/api/v1/orgs/{org}/projects"), Some(&ada), &json!({ "name": "P" })).await;
    assert_eq!(trail.actions().await, ["project.created", "project_member.added"]);
}

#[tokio::test]
async fn a_foreign_writer_is_audited_without_a_user_and_each_change_once() {
    let world = World::start().await;
    let (ada, org, project, node) = scene(&world).await;
    let bob = world.user("bob").await;
    let mut trail = Trail::new(&world, org).await;
    let second = NodeId::random();
    for (statement, expected) in [
        (new_node(second, org, project, "second"), vec!["node.created"]),
        (format!("update nodes set status = 'complete' where id = '{node}'"), vec!["node.updated"]),
        (format!("update nodes set status = 'complete' where id = '{node}'"), vec![]),
        (format!("update nodes set parent_id = '{node}' where id = '{second}'"), vec!["node.updated"]),
        (format!("update nodes set supervisor_user_id = '{}' where id = '{node}'", ada.id), vec!["node.updated"]),
        (format!("update nodes set position = '{{\"x\": 1, \"y\": 2}}', version = 9 where id = '{node}'"), vec![]),
        (format!("update nodes set deleted_at = now(), title = 'gone' where id = '{node}'"), vec!["node.deleted"]),
        (format!("update nodes set deleted_at = null where id = '{node}'"), vec!["node.restored"]),
        (
            format!(
                "insert into node_inputs (node_id, input_type, text_content) values ('{node}', 'text', 'x'), ('{node}', 'text', 'y')"
            ),
            vec!["node_input.added"; 2],
        ),
        ("update node_inputs set text_content = 'z' where text_content = 'x'".into(), vec!["node_input.added"]),
        ("update node_inputs set sort_order = 4".into(), vec![]),
        // What is added to JSON is a change as well.
        ("update node_inputs set metadata = '{\"k\": 1}' where text_content = 'z'".into(), vec!["node_input.added"]),
        ("delete from node_inputs where text_content = 'z'".into(), vec!["node_input.removed"]),
        (
            format!("insert into node_outputs (node_id, output_type) values ('{node}', 'text')"),
            vec!["node_output.added"],
        ),
        ("delete from node_outputs".into(), vec!["node_output.removed"]),
        (
            format!("insert into node_dependencies (source_node_id, target_node_id) values ('{node}', '{second}')"),
            vec!["dependency.added"],
        ),
        ("delete from node_dependencies".into(), vec!["dependency.removed"]),
        (
            format!("insert into node_dependencies (source_node_id, target_node_id) values ('{node}', '{second}')"),
            vec!["dependency.added"],
        ),
        // What hangs on the node goes with it, and its child becomes a root.
        (format!("delete from nodes where id = '{node}'"), vec!["node.deleted"]),
        (format!("insert into org_members (org_id, user_id) values ('{org}', '{}')", bob.id), vec!["org_member.added"]),
        (
            format!("insert into project_members (project_id, user_id) values ('{project}', '{}')", bob.id),
            vec!["project_member.added"],
        ),
        (
            format!("update project_members set role = 'viewer' where user_id = '{}'", bob.id),
            vec!["project_member.role_changed"],
        ),
        (
            format!("update org_members set role = 'guest' where user_id = '{}'", bob.id),
            vec!["org_member.role_changed"],
        ),
        (format!("update org_members set role = 'guest' where user_id = '{}'", bob.id), vec![]),
        (format!("delete from project_members where user_id = '{}'", bob.id), vec!["project_member.removed"]),
        (format!("delete from org_members where user_id = '{}'", bob.id), vec!["org_member.removed"]),
        (format!("update organizations set name = 'New' where id = '{org}'"), vec!["org.updated"]),
        (format!("update organizations set name = 'New' where id = '{org}'"), vec![]),
        (format!("update projects set description = 'D' where id = '{project}'"), vec!["project.updated"]),
        (
            format!(
                "insert into templates (org_id, name, structure) values ('{org}', 'T', '{{}}'), (null, 'S', '{{}}')"
            ),
            vec!["template.created"],
        ),
        ("update templates set name = name || '!'".into(), vec!["template.updated"]),
        ("delete from templates".into(), vec!["template.deleted"]),
    ] {
        assert_eq!(trail.of_sql(&statement).await, expected, "{statement}");
    }
    let users: i64 = sqlx::query_scalar(
        "select count(*) from audit_log where user_id is not null and action <> 'org.created'
        and action not like '%member.added' and action <> 'project.created'",
    )
    .fetch_one(&world.database.superuser())
    .await
    .expect("a count");
    assert_eq!(users, 0, "nobody is known to stand behind a foreign writer");
    world.sql("begin; update nodes set title = 'never'; rollback").await;
    assert_eq!(trail.actions().await, Vec::<String>::new(), "what is rolled back never was");
}

#[tokio::test]
async fn a_worker_key_is_audited_when_it_is_made_and_when_it_is_revoked() {
    let world = World::start().await;
    let (_, org, ..) = scene(&world).await;
    let mut trail = Trail::new(&world, org).await;
    let (key, user) = (Uuid::new_v4(), Uuid::new_v4());
    world
        .sql(&format!("insert into users (id, cognito_sub, email) values ('{user}', 'worker:{key}', 'w@example.org')"))
        .await;
    let make = format!(
        "insert into realtime.worker_keys (id, org_id, user_id, name, secret_hash) values ('{key}', '{org}', '{user}', 'K', decode(repeat('5e', 32), 'hex'))"
    );
    world.sql(&make).await;
    let rows = trail.news().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].action.as_str(), rows[0].resource_id), ("worker_key.created", Some(key)));
    assert_eq!(rows[0].details, json!({ "name": "K" }));
    for (set, expected) in [
        ("last_used_at = now()", vec![]),
        ("revoked_at = now()", vec!["worker_key.revoked"]),
        ("revoked_at = now() + interval '1 s'", vec![]),
    ] {
        assert_eq!(trail.of_sql(&format!("update realtime.worker_keys set {set}")).await, expected, "{set}");
    }
}

#[tokio::test]
async fn details_name_what_changed_and_hold_no_secrets_and_no_texts() {
    let world = World::start().await;
    let (_, org, project, node) = scene(&world).await;
    let mut trail = Trail::new(&world, org).await;
    world
        .sql(&format!(
            "update nodes set status = 'complete', description = 'long text' where id = '{node}';
             update organizations set settings = '{{\"selfHostedKey\": \"secret\"}}' where id = '{org}';
             update org_members set role = 'admin' where org_id = '{org}';"
        ))
        .await;
    let rows = trail.news().await;
    assert_eq!(rows[0].details["fields"], json!(["description", "status"]));
    assert_eq!(rows[0].details["status"], json!({ "from": "draft", "to": "complete" }));
    assert_eq!((&rows[0].details["title"], &rows[0].details["projectId"]), (&json!("a node"), &json!(project)));
    assert_eq!(rows[1].details["fields"], json!(["settings"]));
    assert_eq!(rows[2].details["role"], json!({ "from": "owner", "to": "admin" }));
    for row in rows {
        assert!(
            !row.details.to_string().contains("secret") && !row.details.to_string().contains("long text"),
            "{row:?}"
        );
    }
}

#[tokio::test]
async fn a_rollback_is_named_so_and_the_server_may_write_one_row_for_many() {
    let world = World::start().await;
    let (ada, org, project, node) = scene(&world).await;
    let mut trail = Trail::new(&world, org).await;
    let via = json!([{ "ip": "192.0.2.7", "agent": "A" }, { "ip": "2001:db8::1" }]);
    let origin = json!({
        "*": { "user": ada.id, "via": 0 },
        (node.to_string()): { "user": ada.id, "via": 1, "change": "rollback", "summary": "Rolled back to version 1" },
        "via": via,
    });
    let other = NodeId::random();
    let rows = trail
        .of_origin(origin, &format!("{} update nodes set title = 'back'", new_node(other, org, project, "other")))
        .await;
    let seen: BTreeSet<(&str, Option<Uuid>, Option<&str>)> =
        rows.iter().map(|r| (r.action.as_str(), r.resource_id, r.ip.as_deref())).collect();
    let expected = [
        ("node.created", Some(other.0), Some("192.0.2.7")),
        ("node.updated", Some(other.0), Some("192.0.2.7")),
        ("node.rolled_back", Some(node.0), Some("2001:db8::1")),
    ];
    assert_eq!(seen, BTreeSet::from(expected));

    let origin = json!({ "*": { "user": ada.id, "audit": "none" } });
    let rows = trail.of_origin(origin, &new_node(NodeId::random(), org, project, "imported")).await;
    assert!(rows.is_empty(), "{rows:?}");

    let database = Database::connect(&world.database.server_url(), 1).expect("a database");
    let mut tx = database.begin(&Tenant::member(org, ada.id)).await.expect("begin");
    for action in
        [Action::CanvasImported(project), Action::CanvasExported(project), Action::TemplateApplied(Uuid::nil())]
    {
        let details = json!({ "nodes": 3 });
        let entry = NewEntry { org, action, origin: &Origin::user(ada.id), details };
        audit::write(&mut tx, &entry).await.expect("write");
    }
    tx.commit().await.expect("commit");
    let rows = trail.news().await;
    let seen: Vec<_> = rows.iter().map(|r| (r.action.as_str(), r.resource_type.as_str(), r.user_id)).collect();
    let user = Some(ada.id.0);
    assert_eq!(
        seen,
        [
            ("canvas.imported", "project", user),
            ("canvas.exported", "project", user),
            ("template.applied", "template", user),
        ]
    );
    assert_eq!(rows[0].details, json!({ "nodes": 3 }));
    database.close().await;
}

#[tokio::test]
async fn a_lock_s_ordinary_life_is_not_audited_and_breaking_it_is() {
    let world = World::start().await;
    let (ada, org, project, node) = scene(&world).await;
    let bob = world.user("bob").await;
    world.join(org, &bob, "member").await;
    let bobs = world.client(0, &bob).await;
    bobs.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let mut trail = Trail::new(&world, org).await;
    let acquire = || Command::LockAcquire(LockAcquire { node_id: node, ttl_ms: Some(30_000), wait: None });
    let fence =
        |ack: glassbox_protocol::server::Ack| Fence(ack.result.expect("a fence")["fence"].as_i64().expect("a fence"));
    let held = fence(bobs.command(acquire()).await.expect("the lock"));
    bobs.command(acquire()).await.expect("renewed");
    bobs.command(Command::LockRelease(LockRelease { node_id: node, fence: Some(held) })).await.expect("released");
    bobs.command(acquire()).await.expect("the lock");
    world
        .sql("update nodes set lock_expires_at = clock_timestamp() - interval '1 s' where locked_by is not null")
        .await;
    bobs.wait("the end of the lease", |f| (f["payload"]["reason"] == "expired").then_some(())).await;
    assert_eq!(trail.actions().await, Vec::<String>::new());

    bobs.command(acquire()).await.expect("the lock");
    let path = format!("/api/v1/nodes/{node}/lock/break");
    world.post(&path, Some(&ada), &json!({ "reason": "lunch" })).await;
    let rows = trail.news().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!((row.action.as_str(), row.resource_type.as_str()), ("lock.broken", "node"));
    assert_eq!((row.user_id, row.resource_id), (Some(ada.id.0), Some(node.0)));
    assert_eq!((&row.details["brokenFrom"], &row.details["reason"]), (&json!(bob.id), &json!("lunch")));
}

#[tokio::test]
async fn an_execution_s_life_is_audited_and_what_it_makes_names_it() {
    let world = World::start().await;
    let (ada, org, project, node) = scene(&world).await;
    let mut trail = Trail::new(&world, org).await;
    let execution = Uuid::new_v4();
    let start =
        format!("insert into agent_executions (id, node_id, status) values ('{execution}', '{node}', 'pending')");
    let rows = trail.of_origin(json!({ "*": { "user": ada.id } }), &start).await;
    assert_eq!((rows[0].action.as_str(), rows[0].user_id), ("execution.started", Some(ada.id.0)));
    assert_eq!((rows[0].resource_id, rows[0].agent_execution_id), (Some(execution), Some(execution)));
    assert_eq!(rows[0].details["executionId"], json!(execution));
    for (status, expected) in [
        ("running", vec![]),
        ("running", vec![]),
        ("paused", vec!["execution.paused"]),
        ("running", vec!["execution.resumed"]),
        ("awaiting_input", vec![]),
        ("running", vec!["execution.input_provided"]),
        ("failed", vec!["execution.failed"]),
        ("running", vec!["execution.started"]),
        ("complete", vec!["execution.completed"]),
        ("cancelled", vec!["execution.cancelled"]),
        ("running", vec![]),
    ] {
        let update =
            format!("update agent_executions set status = '{status}', total_tokens_in = 1 where id = '{execution}'");
        assert_eq!(trail.of_sql(&update).await, expected, "{status}");
    }

    // What its worker makes, straight in SQL and without a word about itself.
    let worker = world.database.worker();
    for statement in [
        format!(
            "insert into nodes (org_id, project_id, parent_id, title, author_type) values ('{org}', '{project}', '{node}', 'sub', 'agent')"
        ),
        format!("insert into node_outputs (node_id, output_type) values ('{node}', 'text')"),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&worker).await.expect("a worker writes");
        let rows = trail.news().await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((rows[0].user_id, rows[0].agent_execution_id), (None, Some(execution)), "{rows:?}");
        assert_eq!(rows[0].details["executionId"], json!(execution));
    }
    // The trail outlives the execution, and still names it.
    world.sql("delete from agent_executions").await;
    let (_, answer) = get(&world, &ada, &format!("/api/v1/orgs/{org}/audit?executionId={execution}")).await;
    assert!(answer["total"].as_i64().is_some_and(|n| n >= 10), "{answer}");
}

#[tokio::test]
async fn a_statement_over_many_nodes_leaves_a_row_for_each_and_none_for_moves() {
    let world = World::start().await;
    let (_, org, project, _) = scene(&world).await;
    world
        .sql(&format!(
            "insert into nodes (org_id, project_id, title, author_type)
             select '{org}', '{project}', 'n', 'human' from generate_series(1, 255)"
        ))
        .await;
    let mut trail = Trail::new(&world, org).await;
    assert_eq!(trail.of_sql("update nodes set position = '{\"x\": 3, \"y\": 4}'").await.len(), 0);
    assert_eq!(
        trail.of_sql("update nodes set title = title || '!', position = '{\"x\": 5, \"y\": 4}'").await,
        ["node.updated"; 256]
    );
}

#[tokio::test]
async fn what_goes_with_its_project_or_organization_is_not_told_and_the_trail_stays() {
    let world = World::start().await;
    let (ada, org, project, node) = scene(&world).await;
    let fill = format!(
        "insert into node_inputs (node_id, input_type) values ('{node}', 'text');
         insert into agent_executions (node_id, status) values ('{node}', 'running');
         insert into templates (org_id, name, structure) values ('{org}', 'T', '{{}}');"
    );
    world.sql(&fill).await;
    let mut trail = Trail::new(&world, org).await;
    assert_eq!(trail.of_sql(&format!("delete from projects where id = '{project}'")).await, ["project.deleted"]);

    let project = world.project(&ada).await;
    world.sql(&new_node(NodeId::random(), org, project, "n")).await;
    trail.news().await;
    let kept = trail.seen.len();
    assert_eq!(trail.of_sql(&format!("delete from organizations where id = '{org}'")).await, Vec::<String>::new());
    let left: i64 = sqlx::query_scalar("select count(*) from audit_log where org_id = $1")
        .bind(org.0)
        .fetch_one(&world.database.superuser())
        .await
        .expect("a count");
    assert_eq!(left, i64::try_from(kept).expect("few"));
}

#[tokio::test]
async fn neither_the_server_nor_the_triggers_may_change_the_trail() {
    let world = World::start().await;
    let (ada, org, ..) = scene(&world).await;
    for role in ["glassbox_app", "glassbox_log", "glassbox_worker", "glassbox_reader"] {
        for statement in ["update audit_log set action = 'x'", "delete from audit_log", "truncate audit_log"] {
            let mut tx = world.database.superuser().begin().await.expect("begin");
            for setup in [
                format!("set local role {role}"),
                format!(
                    "select set_config('app.current_org_id', '{org}', true), set_config('app.user_id', '{}', true)",
                    ada.id
                ),
            ] {
                sqlx::query(AssertSqlSafe(setup)).execute(&mut *tx).await.expect("act as the role");
            }
            let error = sqlx::query(statement).execute(&mut *tx).await.expect_err(statement);
            let code = error.as_database_error().and_then(|e| e.code().map(|c| c.to_string()));
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {statement}");
        }
    }
}

#[tokio::test]
async fn the_trail_is_read_by_its_filters_and_page_by_page_without_gaps_or_repeats() {
    let world = World::start().await;
    let (ada, org, project, node) = scene(&world).await;
    let path = format!("/api/v1/orgs/{org}/audit");
    // Rows of one moment keep their order.
    world
        .sql(&format!(
            "insert into audit_log (org_id, action, resource_type, resource_id, created_at)
             select '{org}', 'node.created', 'node', '{node}', '2020-01-01T00:00:00Z' from generate_series(1, 30)"
        ))
        .await;
    let (status, whole) = get(&world, &ada, &format!("{path}?limit=200")).await;
    assert_eq!(status, StatusCode::OK);
    let ids = |answer: &Value| -> Vec<String> {
        answer["data"].as_array().expect("data").iter().map(|e| e["id"].as_str().expect("an id").to_owned()).collect()
    };
    let all = ids(&whole);
    assert_eq!(whole["hasMore"], false);
    assert_eq!(whole["total"], json!(all.len()));
    let mut paged: Vec<String> = Vec::new();
    loop {
        let before = paged.last().map(|id| format!("&before={id}")).unwrap_or_default();
        let (_, part) = get(&world, &ada, &format!("{path}?limit=7{before}")).await;
        paged.extend(ids(&part));
        if part["hasMore"] == false {
            break;
        }
    }
    assert_eq!(paged, all);
    assert_eq!(ids(&get(&world, &ada, &format!("{path}?limit=5&offset=3")).await.1), all[3..8]);

    for (query, expected) in [
        ("action=node.created&limit=200".to_owned(), 31),
        ("action=node.*&resourceType=node&to=2021-01-01T00:00:00Z".to_owned(), 30),
        ("from=2021-01-01T00:00:00Z&action=node.*".to_owned(), 1),
        (format!("resourceId={project}"), 1),
        (format!("userId={}&action=org.*", ada.id), 1),
        (format!("userId={}", UserId::random()), 0),
        ("action=nod.*".to_owned(), 0),
        ("action=org_member.added".to_owned(), 1),
        (format!("executionId={}", Uuid::new_v4()), 0),
    ] {
        let (status, answer) = get(&world, &ada, &format!("{path}?{query}")).await;
        assert_eq!((status, ids(&answer).len()), (StatusCode::OK, expected), "{query}: {answer}");
        assert_eq!(answer["total"], json!(expected), "{query}");
    }
    for query in [
        "action=*",
        "action=n*.x",
        "from=yesterday",
        "limit=0",
        "limit=201",
        "before=1",
        "userId=me",
        "to=0000-01-01T00:00:00Z",
    ] {
        let (status, answer) = get(&world, &ada, &format!("{path}?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {answer}");
        assert!(answer["details"]["field"].is_string(), "{query}");
    }
    let elsewhere = Uuid::new_v4();
    assert_eq!(get(&world, &ada, &format!("{path}?before={elsewhere}")).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn owners_and_admins_read_the_trail_and_nobody_else() {
    let world = World::start().await;
    let (ada, org, ..) = scene(&world).await;
    for (role, expected) in
        [("admin", StatusCode::OK), ("member", StatusCode::FORBIDDEN), ("guest", StatusCode::FORBIDDEN)]
    {
        let who = world.user(role).await;
        world.join(org, &who, role).await;
        assert_eq!(get(&world, &who, &format!("/api/v1/orgs/{org}/audit")).await.0, expected, "{role}");
    }
    let stranger = world.user("stranger").await;
    let (status, foreign) = get(&world, &stranger, &format!("/api/v1/orgs/{org}/audit")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, random) = get(&world, &ada, &format!("/api/v1/orgs/{}/audit", Uuid::new_v4())).await;
    assert_eq!((&foreign["error"], &foreign["code"]), (&random["error"], &random["code"]));
    let answer = world.http.request(Method::GET, world.url(0, &format!("/api/v1/orgs/{org}/audit"))).send().await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::UNAUTHORIZED);
}
