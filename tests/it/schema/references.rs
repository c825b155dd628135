//! References between rows: those that the database refuses for every writer, and what becomes of them on delete.

use std::time::Duration;

use sqlx::postgres::PgPool;
use uuid::Uuid;

use super::fixture::Schema;
use super::tenants::{begin_as, execute, ids, refusal, run, set, two_tenants};
use crate::support::database::TestDatabase;

#[tokio::test]
async fn a_missing_id_and_another_tenants_id_get_the_same_answer() {
    let database = TestDatabase::create().await;
    let [a, b] = two_tenants(&database).await;
    let (org, project, node, second) = (a.org, a.project, a.node, a.second_node);
    let new_input = "insert into node_inputs (node_id, input_type";
    let new_edge = "insert into node_dependencies (source_node_id, target_node_id";

    // The statement, with `?` for the id that is asked about; somebody else's id for it; the column that is named.
    let cases = [
        (format!("{new_input}, file_id) values ('{node}', 'file', ?)"), b.id("files"), "file_id"),
        (format!("{new_input}, source_node_id) values ('{node}', 'node_reference', ?)"), b.node, "source_node_id"),
        (format!("update node_inputs set file_id = ? where node_id = '{node}'"), b.id("files"), "file_id"),
        (format!("update node_inputs set source_node_id = ? where node_id = '{node}'"), b.node, "source_node_id"),
        (
            format!("insert into node_outputs (node_id, output_type, file_id) values ('{node}', 'file', ?)"),
            b.id("files"),
            "file_id",
        ),
        (format!("update node_outputs set file_id = ? where node_id = '{node}'"), b.id("files"), "file_id"),
        (format!("{new_edge}) values ('{second}', ?)"), b.node, "target_node_id"),
        (format!("{new_edge}) values (?, '{node}')"), b.node, "source_node_id"),
        (format!("{new_edge}) values (?, '{}')", b.second_node), b.node, "source_node_id"),
        (
            format!("{new_edge}, source_output_id) values ('{second}', '{node}', ?)"),
            b.id("node_outputs"),
            "source_output_id",
        ),
        (
            format!("{new_edge}, target_input_id) values ('{second}', '{node}', ?)"),
            b.id("node_inputs"),
            "target_input_id",
        ),
        (format!("insert into project_members (project_id, user_id) values ('{project}', ?)"), b.user, "user_id"),
        (format!("insert into project_members (project_id, user_id) values (?, '{}')", b.user), b.project, "user_id"),
        (format!("{new_input}) values (?, 'text')"), b.node, ""),
        (format!("{new_input}, file_id) values (?, 'file', '{}')", b.id("files")), b.node, "file_id"),
        (
            format!("insert into nodes (org_id, project_id, title, author_type) values ('{org}', ?, 'x', 'human')"),
            b.project,
            "",
        ),
        (
            format!(
                "insert into nodes (org_id, project_id, parent_id, title, author_type) values ('{org}', '{project}', ?, 'x', 'human')"
            ),
            b.node,
            "",
        ),
        (format!("update nodes set parent_id = ? where id = '{node}'"), b.node, ""),
        (
            format!(
                "insert into nodes (id, org_id, project_id, parent_id, title, author_type) values ('{}', '{org}', '{}', ?, 'x', 'human')",
                b.node, b.project
            ),
            b.second_node,
            "",
        ),
        ("insert into agent_executions (node_id) values (?)".to_owned(), b.second_node, ""),
    ];

    let app = database.app();
    for (statement, foreign, column) in &cases {
        let mut answers = Vec::new();
        for id in [*foreign, Uuid::new_v4()] {
            let mut transaction = begin_as(&app, &a).await;
            answers.push(refusal(&mut transaction, &statement.replace('?', &format!("'{id}'"))).await);
        }
        assert_eq!(answers[0], answers[1], "{statement}");
        if !column.is_empty() {
            assert_eq!(answers[0].code, "23503", "{statement}");
            assert_eq!(answers[0].message, format!("{column} refers to something that does not exist"), "{statement}");
        }
    }

    // A worker sees every tenant's rows and is refused all the same when it mixes them.
    let worker = database.worker();
    for (statement, foreign, column) in cases.iter().take(6) {
        let mut transaction = worker.begin().await.expect("begin");
        let refused = refusal(&mut transaction, &statement.replace('?', &format!("'{foreign}'"))).await;
        assert_eq!(refused.message, format!("{column} refers to something that does not exist"), "{statement}");
    }
}

#[tokio::test]
async fn an_edge_between_whole_nodes_is_there_once() {
    let database = TestDatabase::create().await;
    let [a, _] = two_tenants(&database).await;
    let app = database.app();
    let edge = format!(
        "insert into node_dependencies (source_node_id, target_node_id) values ('{}', '{}')",
        a.second_node, a.node
    );

    let mut transaction = begin_as(&app, &a).await;
    execute(&mut transaction, &edge).await;
    let refused = refusal(&mut transaction, &edge).await;

    assert_eq!((refused.code.as_str(), refused.constraint.as_deref()), ("23505", Some("node_dependencies_edge_key")));
}

#[tokio::test]
async fn an_organization_is_deleted_whatever_refers_to_it_and_its_trail_stays() {
    let database = TestDatabase::create().await;
    let [a, b] = two_tenants(&database).await;
    // All that may lie across organizations: people.
    run(
        &database.superuser(),
        &format!(
            "insert into org_members (org_id, user_id) values ('{org}', '{user}');
             insert into project_members (project_id, user_id) values ('{project}', '{user}');
             update nodes set author_user_id = '{user}', supervisor_user_id = '{user}', locked_by = '{user}' where org_id = '{org}';
             insert into notifications (org_id, user_id, type, title) values ('{org}', '{user}', 'mention', 'x');",
            org = b.org,
            project = b.project,
            user = a.user,
        ),
    )
    .await;
    let app = database.app();

    let mut transaction = begin_as(&app, &a).await;
    assert_eq!(execute(&mut transaction, &format!("delete from organizations where id = '{}'", a.org)).await, 1);
    transaction.commit().await.expect("commit the delete");

    let superuser = database.superuser();
    let mut rest = superuser.begin().await.expect("begin");
    for table in Schema::read().tables {
        let left = ids(&mut rest, &table.name).await;
        assert!(left.contains(&b.id(&table.name)), "{}: the other organization's row is gone", table.name);
        let stays = ["users", "audit_log"].contains(&table.name.as_str());
        assert_eq!(left.contains(&a.id(&table.name)), stays, "{}", table.name);
    }
}

#[tokio::test]
async fn a_cycle_of_parents_is_refused_for_every_writer() {
    let database = TestDatabase::create().await;
    let [a, _] = two_tenants(&database).await;
    let (root, child) = (a.node, a.second_node);
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let hang = format!("update nodes set parent_id = '{child}' where id = '{root}'");
    let itself = format!("update nodes set parent_id = id where id = '{root}'");
    let born_in_a_cycle = format!(
        "insert into nodes (id, org_id, project_id, parent_id, title, author_type)
         values ('{first}', '{org}', '{project}', '{second}', 'x', 'human'), ('{second}', '{org}', '{project}', '{first}', 'y', 'human')",
        org = a.org,
        project = a.project,
    );

    for pool in [database.app(), database.worker(), database.superuser()] {
        for (statement, path) in [
            (&hang, format!("{root} -> {child} -> {root}")),
            (&itself, format!("{root} -> {root}")),
            (&born_in_a_cycle, format!("{second} -> {first} -> {second}")),
        ] {
            let mut transaction = pool.begin().await.expect("begin");
            if pool.connect_options().get_username() == database.app().connect_options().get_username() {
                set(&mut transaction, "app.current_org_id", &a.org.to_string()).await;
            }
            let refused = refusal(&mut transaction, statement).await;
            assert_eq!((refused.code.as_str(), refused.message.as_str()), ("23514", "parent cycle"), "{statement}");
            assert_eq!(refused.detail, Some(path), "{statement}");
        }
    }
}

#[tokio::test]
async fn two_transactions_at_once_cannot_make_a_cycle_of_parents() {
    for (isolation, code) in [("read committed", "23514"), ("repeatable read", "40001"), ("serializable", "40001")] {
        let database = TestDatabase::create().await;
        let [a, _] = two_tenants(&database).await;
        let (one, other) = (a.node, a.second_node);
        run(&database.superuser(), "update nodes set parent_id = null").await;

        let superuser = database.superuser();
        let mut holder = superuser.begin().await.expect("begin");
        execute(&mut holder, &format!("update nodes set parent_id = '{one}' where id = '{other}'")).await;
        let waiter = tokio::spawn({
            let superuser = database.superuser();
            async move {
                let mut waiter = superuser.begin().await.expect("begin");
                execute(&mut waiter, &format!("set transaction isolation level {isolation}")).await;
                refusal(&mut waiter, &format!("update nodes set parent_id = '{other}' where id = '{one}'")).await
            }
        });
        somebody_waits_for_a_lock(&superuser).await;
        holder.commit().await.expect("commit the first parent");

        assert_eq!(waiter.await.expect("the second transaction ends").code, code, "{isolation}");
    }
}

#[tokio::test]
async fn content_counts_as_a_version_and_a_move_does_not() {
    let database = TestDatabase::create().await;
    let [a, _] = two_tenants(&database).await;
    let superuser = database.superuser();
    let mut seen = Vec::new();

    for change in [
        "position = '{\"x\":1,\"y\":2}'",
        "title = 'new'",
        "title = 'new'",
        "status = 'done'",
        "description = 'd'",
        "metadata = '{\"a\":1}'",
    ] {
        run(&superuser, &format!("update nodes set {change} where id = '{}'", a.node)).await;
        seen.push(
            sqlx::query_scalar::<_, i32>("select version from nodes where id = $1")
                .bind(a.node)
                .fetch_one(&superuser)
                .await
                .expect("read the version"),
        );
    }

    assert_eq!(seen, [1, 2, 2, 3, 4, 5]);
}

async fn somebody_waits_for_a_lock(superuser: &PgPool) {
    let waiting = async {
        loop {
            let waits: bool = sqlx::query_scalar(
                "select exists (
                   select
                   from pg_locks l
                   join pg_stat_activity a on a.pid = l.pid
                   where not l.granted
                     and a.datname = current_database()
                 )",
            )
            .fetch_one(superuser)
            .await
            .expect("read the locks");
            if waits {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the second transaction waits for the first");
}
