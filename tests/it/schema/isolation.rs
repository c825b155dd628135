//! Row-level security and grants: what the app and the workers see and may write.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::fixture::Schema;
use super::tenants::{Refusal, begin_as, count, execute, ids, make_shared_templates, refusal, run, set, two_tenants};
use crate::support::database::TestDatabase;

#[tokio::test]
async fn without_a_context_the_app_sees_no_row_of_any_table() {
    let database = TestDatabase::create().await;
    let tenants = two_tenants(&database).await;
    make_shared_templates(&database, &tenants[0]).await;

    for settings in [
        "",
        "select set_config('app.current_org_id', '', true), set_config('app.user_id', '', true), set_config('app.sign_in', '', true)",
    ] {
        let app = database.app();
        let mut transaction = app.begin().await.expect("begin");
        sqlx::raw_sql(settings).execute(&mut *transaction).await.expect("set an empty context");
        for table in Schema::read().tables {
            assert_eq!(ids(&mut transaction, &table.name).await, BTreeSet::new(), "{}", table.name);
        }
    }
}

#[tokio::test]
async fn a_tenant_sees_all_of_its_rows_and_no_others() {
    let database = TestDatabase::create().await;
    let [a, b] = two_tenants(&database).await;

    for (tenant, other) in [(&a, &b), (&b, &a)] {
        let app = database.app();
        let mut transaction = begin_as(&app, tenant).await;
        for table in Schema::read().tables {
            let seen = ids(&mut transaction, &table.name).await;
            let own = tenant.id(&table.name);
            assert!(seen.contains(&own), "{}: its own row is missing", table.name);
            assert!(!seen.contains(&other.id(&table.name)), "{}: the other's row is seen", table.name);
            let all: i64 = count(&database.superuser(), &table.name).await;
            assert_eq!(seen.len() as i64 * 2, all, "{}: each of two equal tenants sees half", table.name);
        }
    }
}

#[tokio::test]
async fn a_tenant_changes_no_row_of_another() {
    let database = TestDatabase::create().await;
    let [a, b] = two_tenants(&database).await;
    let app = database.app();

    for table in Schema::read().tables {
        for statement in [
            format!("update {0} set id = id where id = '{1}'", table.name, b.id(&table.name)),
            format!("delete from {0} where id = '{1}'", table.name, b.id(&table.name)),
        ] {
            let mut transaction = begin_as(&app, &a).await;
            match sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *transaction).await {
                Ok(done) => assert_eq!(done.rows_affected(), 0, "{statement}"),
                Err(error) => assert_eq!(Refusal::of(error).code, "42501", "{statement}"),
            }
        }
    }
}

#[tokio::test]
async fn a_tenant_adds_no_row_to_another() {
    let database = TestDatabase::create().await;
    let [a, b] = two_tenants(&database).await;
    let app = database.app();
    let (org, user, project, node, second) = (b.org, a.user, b.project, b.node, b.second_node);

    for (code, statement) in [
        ("42501", format!("insert into organizations (id, name, slug) values ('{}', 'x', 'x')", Uuid::new_v4())),
        ("42501", "insert into users (cognito_sub, email) values ('somebody', 'x@example.org')".to_owned()),
        ("42501", format!("insert into org_members (org_id, user_id) values ('{org}', '{user}')")),
        ("42501", format!("insert into projects (org_id, name) values ('{org}', 'x')")),
        ("23503", format!("insert into project_members (project_id, user_id) values ('{project}', '{user}')")),
        (
            "42501",
            format!(
                "insert into nodes (org_id, project_id, title, author_type) values ('{org}', '{project}', 'x', 'human')"
            ),
        ),
        ("42501", format!("insert into node_versions (node_id, version, snapshot) values ('{node}', 99, '{{}}')")),
        ("42501", format!("insert into node_inputs (node_id, input_type) values ('{node}', 'text')")),
        ("42501", format!("insert into node_outputs (node_id, output_type) values ('{node}', 'text')")),
        (
            "23503",
            format!("insert into node_dependencies (source_node_id, target_node_id) values ('{second}', '{node}')"),
        ),
        (
            "42501",
            format!(
                "insert into files (org_id, storage_key, storage_bucket, filename) values ('{org}', 'x', 'x', 'x')"
            ),
        ),
        ("42501", format!("insert into agent_executions (node_id) values ('{second}')")),
        (
            "42501",
            format!(
                "insert into agent_trace_events (execution_id, event_type, event_data) values ('{}', 'x', '{{}}')",
                b.id("agent_executions")
            ),
        ),
        ("42501", format!("insert into templates (org_id, name, structure) values ('{org}', 'x', '{{}}')")),
        ("42501", "insert into templates (org_id, name, structure) values (null, 'x', '{}')".to_owned()),
        ("42501", format!("insert into audit_log (org_id, action, resource_type) values ('{org}', 'x', 'x')")),
        (
            "42501",
            format!("insert into notifications (org_id, user_id, type, title) values ('{org}', '{user}', 'x', 'x')"),
        ),
        ("23514", format!("update projects set org_id = '{org}' where id = '{}'", a.project)),
        ("23514", format!("update nodes set org_id = '{org}', project_id = '{project}' where id = '{}'", a.node)),
        ("23514", format!("update files set org_id = '{org}' where id = '{}'", a.id("files"))),
        ("23514", format!("update node_inputs set node_id = '{node}' where id = '{}'", a.id("node_inputs"))),
        ("42501", format!("update templates set org_id = '{org}' where id = '{}'", a.id("templates"))),
        ("42501", format!("update agent_executions set node_id = '{node}' where id = '{}'", a.id("agent_executions"))),
    ] {
        let mut transaction = begin_as(&app, &a).await;
        assert_eq!(refusal(&mut transaction, &statement).await.code, code, "{statement}");
    }
}

#[tokio::test]
async fn a_user_sees_the_organizations_and_the_notifications_of_all_memberships() {
    let database = TestDatabase::create().await;
    let [a, b] = two_tenants(&database).await;
    run(
        &database.superuser(),
        &format!("insert into org_members (org_id, user_id) values ('{}', '{}')", b.org, a.user),
    )
    .await;

    let app = database.app();
    let mut transaction = app.begin().await.expect("begin");
    set(&mut transaction, "app.user_id", &a.user.to_string()).await;

    assert_eq!(ids(&mut transaction, "organizations").await, BTreeSet::from([a.org, b.org]));
    assert_eq!(ids(&mut transaction, "notifications").await, BTreeSet::from([a.id("notifications")]));
    assert_eq!(ids(&mut transaction, "users").await, BTreeSet::from([a.user]));
    assert_eq!(ids(&mut transaction, "nodes").await, BTreeSet::new());
}

#[tokio::test]
async fn a_sign_in_finds_makes_and_takes_over_its_own_user_only() {
    let database = TestDatabase::create().await;
    let [a, _] = two_tenants(&database).await;
    let app = database.app();
    let invited = Uuid::new_v4();

    let mut transaction = begin_as(&app, &a).await;
    execute(&mut transaction, &format!("insert into users (id, cognito_sub, email) values ('{invited}', 'invited:new@example.org', 'new@example.org')")).await;
    transaction.commit().await.expect("commit the invitation");

    let mut transaction = app.begin().await.expect("begin");
    set(&mut transaction, "app.sign_in", "invited:new@example.org").await;
    assert_eq!(ids(&mut transaction, "users").await, BTreeSet::from([invited]));
    set(&mut transaction, "app.user_id", &invited.to_string()).await;
    assert_eq!(execute(&mut transaction, "update users set cognito_sub = 'the-new-one'").await, 1);

    set(&mut transaction, "app.user_id", "").await;
    set(&mut transaction, "app.sign_in", "another").await;
    assert_eq!(
        execute(&mut transaction, "insert into users (cognito_sub, email) values ('another', 'x@example.org')").await,
        1
    );
    assert_eq!(ids(&mut transaction, "users").await.len(), 1);
    assert_eq!(refusal(&mut transaction, "delete from users").await.code, "42501");
}

#[tokio::test]
async fn system_and_public_templates_are_read_by_all_and_written_by_their_organization() {
    let database = TestDatabase::create().await;
    let [a, b] = two_tenants(&database).await;
    let [system, public] = make_shared_templates(&database, &a).await;

    let app = database.app();
    let mut transaction = begin_as(&app, &b).await;

    assert_eq!(ids(&mut transaction, "templates").await, BTreeSet::from([b.id("templates"), system, public]));
    assert_eq!(execute(&mut transaction, "update templates set name = 'mine'").await, 1);
    assert_eq!(execute(&mut transaction, "delete from templates").await, 1);
}

#[tokio::test]
async fn the_app_cannot_change_what_is_only_ever_added_to() {
    let database = TestDatabase::create().await;
    let [a, _] = two_tenants(&database).await;
    let app = database.app();

    for statement in [
        "update audit_log set action = 'nothing happened'",
        "delete from audit_log",
        "truncate audit_log",
        "update node_versions set snapshot = '{}'",
        "delete from node_versions",
        "truncate nodes cascade",
        "create table public.mine (id uuid)",
        "create table realtime.mine (id uuid)",
        "alter table nodes disable row level security",
    ] {
        let mut transaction = begin_as(&app, &a).await;
        assert_eq!(refusal(&mut transaction, statement).await.code, "42501", "{statement}");
    }
}

#[tokio::test]
async fn a_worker_does_its_whole_job_without_a_context() {
    let database = TestDatabase::create().await;
    let [a, b] = two_tenants(&database).await;
    let worker = database.worker();
    let (node, execution, file) = (a.node, a.id("agent_executions"), Uuid::new_v4());

    for statement in [
        format!(
            "update agent_executions set status = 'running', error_message = null, total_tokens_in = 1, total_tokens_out = 2, started_at = coalesce(started_at, now()) where id = '{execution}'"
        ),
        format!(
            "insert into agent_trace_events (id, execution_id, event_type, event_data, duration_ms, model, tokens_in, tokens_out) values ('{}', '{execution}', 'llm_call', '{{}}', 5, 'gpt-4', 1, 2)",
            Uuid::new_v4()
        ),
        format!(
            "insert into nodes (id, org_id, project_id, parent_id, title, description, author_type, status) select '{}', org_id, project_id, id, 'sub', null, 'agent', 'draft' from nodes where id = '{node}'",
            Uuid::new_v4()
        ),
        format!(
            "insert into files (id, org_id, storage_key, storage_bucket, filename, content_type, size_bytes, processing_status, metadata) values ('{file}', '{}', 'k', 'b', 'f', 'text/plain', 1, 'complete', '{{}}')",
            a.org
        ),
        format!(
            "insert into node_outputs (id, node_id, output_type, file_id, label, metadata) values ('{}', '{node}', 'text', '{file}', 'l', '{{}}')",
            Uuid::new_v4()
        ),
        format!("update files set processing_status = 'complete', extracted_text = 'x' where id = '{file}'"),
        format!(
            "update agent_executions set langgraph_checkpoint = '{{}}', total_tokens_in = 3 where id = '{execution}'"
        ),
        format!(
            "update agent_executions set status = 'complete', error_message = null, completed_at = now() where id = '{execution}'"
        ),
    ] {
        let done = sqlx::query(AssertSqlSafe(statement.clone())).execute(&worker).await;
        assert_eq!(done.unwrap_or_else(|error| panic!("{statement}: {error}")).rows_affected(), 1, "{statement}");
    }
    let mut transaction = worker.begin().await.expect("begin");
    for table in ["organizations", "projects", "users", "node_versions", "nodes", "files", "agent_executions"] {
        let seen = ids(&mut transaction, table).await;
        assert!(seen.contains(&a.id(table)) && seen.contains(&b.id(table)), "{table}");
    }
    drop(transaction);

    for statement in [
        "select * from audit_log",
        "select * from notifications",
        "select * from org_members",
        "update users set name = 'x'",
        "insert into node_versions (node_id, version, snapshot) select id, 99, '{}' from nodes",
        "truncate agent_trace_events",
        "create table realtime.mine (id uuid)",
    ] {
        let mut transaction = worker.begin().await.expect("begin");
        assert_eq!(refusal(&mut transaction, statement).await.code, "42501", "{statement}");
    }
}
