//! Two tenants that are alike in every table, and the small steps of acting as one of them.

use std::collections::BTreeSet;

use sqlx::postgres::{PgConnection, PgDatabaseError, PgPool};
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use uuid::Uuid;

use crate::support::database::TestDatabase;

pub struct Tenant {
    pub org: Uuid,
    pub user: Uuid,
    pub project: Uuid,
    /// The parent of `second_node`, and the target of the edge between an output of that node and an input of this one.
    pub node: Uuid,
    pub second_node: Uuid,
    /// The id of every row whose table has just one for the tenant.
    row: Uuid,
}

impl Tenant {
    /// The id of the tenant's row in a table; one of them where there are several.
    pub fn id(&self, table: &str) -> Uuid {
        match table {
            "organizations" => self.org,
            "users" => self.user,
            "projects" => self.project,
            "nodes" => self.node,
            _ => self.row,
        }
    }
}

pub async fn two_tenants(database: &TestDatabase) -> [Tenant; 2] {
    let superuser = database.superuser();
    // What comes with the server belongs to neither of them.
    run(&superuser, "delete from templates where org_id is null").await;
    [make_tenant(&superuser, "a").await, make_tenant(&superuser, "b").await]
}

async fn make_tenant(superuser: &PgPool, name: &str) -> Tenant {
    let [org, user, project, node, second_node, row] = std::array::from_fn(|_| Uuid::new_v4());
    run(
        superuser,
        &format!(
            "insert into organizations (id, name, slug) values ('{org}', '{name}', '{name}');
             insert into users (id, cognito_sub, email) values ('{user}', 'sub-{name}', '{name}@example.org');
             insert into org_members (id, org_id, user_id, role) values ('{row}', '{org}', '{user}', 'owner');
             insert into projects (id, org_id, name) values ('{project}', '{org}', '{name}');
             insert into project_members (id, project_id, user_id) values ('{row}', '{project}', '{user}');
             insert into nodes (id, org_id, project_id, parent_id, title, author_type, author_user_id)
             values ('{node}', '{org}', '{project}', null, '{name} 1', 'human', '{user}'),
                    ('{second_node}', '{org}', '{project}', '{node}', '{name} 2', 'human', '{user}');
             insert into node_versions (id, node_id, version, snapshot) values ('{row}', '{node}', 1000, '{{}}');
             insert into files (id, org_id, storage_key, storage_bucket, filename) values ('{row}', '{org}', 'k', 'b', '{name}');
             insert into node_inputs (id, node_id, input_type, file_id, source_node_id)
             values ('{row}', '{node}', 'file', '{row}', '{second_node}');
             insert into node_outputs (id, node_id, output_type, file_id) values ('{row}', '{second_node}', 'file', '{row}');
             insert into node_outputs (node_id, output_type, file_id) values ('{node}', 'file', '{row}');
             insert into node_dependencies (id, source_node_id, target_node_id, source_output_id, target_input_id)
             values ('{row}', '{second_node}', '{node}', '{row}', '{row}');
             insert into agent_executions (id, node_id) values ('{row}', '{node}');
             insert into agent_trace_events (id, execution_id, event_type, event_data) values ('{row}', '{row}', 'decision', '{{}}');
             insert into templates (id, org_id, name, structure) values ('{row}', '{org}', '{name}', '{{}}');
             insert into audit_log (id, org_id, user_id, agent_execution_id, action, resource_type)
             values ('{row}', '{org}', '{user}', '{row}', 'node.created', 'node');
             insert into notifications (id, org_id, user_id, type, title) values ('{row}', '{org}', '{user}', 'mention', '{name}');"
        ),
    )
    .await;
    Tenant { org, user, project, node, second_node, row }
}

/// Makes a system template and a public one of `owner`.
pub async fn make_shared_templates(database: &TestDatabase, owner: &Tenant) -> [Uuid; 2] {
    let [system, public] = [Uuid::new_v4(), Uuid::new_v4()];
    run(
        &database.superuser(),
        &format!(
            "insert into templates (id, org_id, name, structure, is_public)
             values ('{system}', null, 'system', '{{}}', false), ('{public}', '{}', 'public', '{{}}', true)",
            owner.org
        ),
    )
    .await;
    [system, public]
}

pub async fn begin_as(app: &PgPool, tenant: &Tenant) -> Transaction<'static, Postgres> {
    let mut transaction = app.begin().await.expect("begin");
    set(&mut transaction, "app.current_org_id", &tenant.org.to_string()).await;
    set(&mut transaction, "app.user_id", &tenant.user.to_string()).await;
    transaction
}

pub async fn set(connection: &mut PgConnection, name: &str, value: &str) {
    sqlx::query("select set_config($1, $2, true)")
        .bind(name)
        .bind(value)
        .execute(connection)
        .await
        .expect("set the context");
}

pub async fn run(pool: &PgPool, sql: &str) {
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await {
        panic!("{sql}: {error}");
    }
}

pub async fn execute(connection: &mut PgConnection, statement: &str) -> u64 {
    match sqlx::query(AssertSqlSafe(statement.to_owned())).execute(connection).await {
        Ok(done) => done.rows_affected(),
        Err(error) => panic!("{statement}: {error}"),
    }
}

pub async fn ids(connection: &mut PgConnection, table: &str) -> BTreeSet<Uuid> {
    let ids: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(format!("select id from {table}")))
        .fetch_all(connection)
        .await
        .unwrap_or_else(|error| panic!("{table}: {error}"));
    BTreeSet::from_iter(ids)
}

pub async fn count(pool: &PgPool, table: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
        .fetch_one(pool)
        .await
        .expect("count rows")
}

/// Runs a statement that must be refused. Checks that wait for the end of the transaction are made at once.
pub async fn refusal(connection: &mut PgConnection, statement: &str) -> Refusal {
    match sqlx::query(AssertSqlSafe(statement.to_owned())).execute(connection).await {
        Ok(_) => panic!("not refused: {statement}"),
        Err(error) => Refusal::of(error),
    }
}

/// All that a refused writer is told.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    hint: Option<String>,
    table: Option<String>,
    column: Option<String>,
    pub constraint: Option<String>,
    context: Option<String>,
}

impl Refusal {
    /// Takes an error apart; anything but an answer of the database fails the test.
    pub fn of(error: sqlx::Error) -> Refusal {
        let sqlx::Error::Database(error) = error else { panic!("not an answer of the database: {error}") };
        let error = error.downcast::<PgDatabaseError>();
        Refusal {
            code: error.code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            table: error.table().map(str::to_owned),
            column: error.column().map(str::to_owned),
            constraint: error.constraint().map(str::to_owned),
            context: error.r#where().map(str::to_owned),
        }
    }
}
