//! Organizations over REST: their settings and secrets, their end, and how long they keep their log.

use glassbox::store::{Database, events};
use glassbox_protocol::{NodeId, OrgId, ProjectId, Seq, UserId};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rooms::{create, retitle};
use crate::support::mirror::Start;
use crate::support::world::{Person, World};
use crate::support::{DEADLINE, wait_until};

/// Calls instance `index` and tells status and body; `Null` where there is no body.
pub async fn call_at(
    world: &World,
    index: usize,
    method: Method,
    path: &str,
    caller: &Person,
    body: &Value,
) -> (u16, Value) {
    let mut request = world.http.request(method, world.url(index, path)).bearer_auth(&caller.token);
    if !body.is_null() {
        request = request.json(body);
    }
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a text");
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Calls the first instance.
pub async fn call(world: &World, method: Method, path: &str, caller: &Person, body: &Value) -> (u16, Value) {
    call_at(world, 0, method, path, caller, body).await
}

pub async fn get(world: &World, path: &str, caller: &Person) -> (u16, Value) {
    call(world, Method::GET, path, caller, &Value::Null).await
}

pub async fn patch(world: &World, path: &str, caller: &Person, body: &Value) -> (u16, Value) {
    call(world, Method::PATCH, path, caller, body).await
}

pub async fn post(world: &World, path: &str, caller: &Person, body: &Value) -> (u16, Value) {
    call(world, Method::POST, path, caller, body).await
}

pub async fn delete(world: &World, path: &str, caller: &Person) -> (u16, Value) {
    call(world, Method::DELETE, path, caller, &Value::Null).await
}

/// Expects each call to be refused with 400 and its field.
pub async fn expect_fields(world: &World, method: Method, path: &str, caller: &Person, cases: &[(Value, &str)]) {
    for (body, field) in cases {
        let (status, answer) = call(world, method.clone(), path, caller, body).await;
        assert_eq!((status, answer["details"]["field"].as_str()), (400, Some(*field)), "{path} {body}: {answer}");
        assert!(answer["details"]["reason"].is_string(), "{answer}");
    }
}

/// Expects what a stranger is told about something to be what they are told about nothing.
pub async fn expect_same_as_nothing(world: &World, stranger: &Person, id: Uuid, calls: &[(Method, &str, Value)]) {
    for (method, path, body) in calls {
        let mut answers = Vec::new();
        for id in [id, Uuid::new_v4()] {
            let text = body.to_string().replace("ID", &id.to_string());
            let request = world.http.request(method.clone(), world.url(0, &path.replace("ID", &id.to_string())));
            let request = request.bearer_auth(&stranger.token).header("x-request-id", "same").body(text);
            let response = request.send().await.expect("an answer");
            answers.push((response.status().as_u16(), response.bytes().await.expect("a body")));
        }
        assert_eq!(answers[0], answers[1], "{method} {path}");
        assert_eq!(answers[0].0, 404, "{method} {path}");
    }
}

/// One value of the database.
pub async fn value<T>(world: &World, sql: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned()))
        .fetch_one(&world.database.superuser())
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// An organization with somebody in each role and a stranger.
pub struct Team {
    pub org: OrgId,
    pub owner: Person,
    pub admin: Person,
    pub member: Person,
    pub guest: Person,
    pub stranger: Person,
}

impl Team {
    pub async fn gather(world: &World) -> Self {
        let owner = world.user("owner").await;
        let org = world.org(&owner).await;
        let team = Self {
            org,
            owner,
            admin: world.user("admin").await,
            member: world.user("member").await,
            guest: world.user("guest").await,
            stranger: world.user("stranger").await,
        };
        world.join(org, &team.admin, "admin").await;
        world.join(org, &team.member, "member").await;
        world.join(org, &team.guest, "guest").await;
        team
    }

    /// Everybody from the owner to the stranger.
    pub fn everybody(&self) -> [&Person; 5] {
        [&self.owner, &self.admin, &self.member, &self.guest, &self.stranger]
    }
}

#[tokio::test]
async fn settings_are_replaced_and_secrets_stay_where_they_were() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let settings = json!({
        "models": [{"name": "a", "litellmModel": "x", "apiKey": "SECRET1"}, {"name": "b", "apiKey": "SECRET2"}],
        "selfHostedKey": "SECRET3", "old": 1
    });
    let (_, org) =
        post(&world, "/api/v1/orgs", &ada, &json!({"name": "A", "slug": "first", "settings": settings})).await;
    let path = format!("/api/v1/orgs/{}", org["id"].as_str().expect("an id"));
    post(&world, "/api/v1/orgs", &ada, &json!({"name": "B", "slug": "taken"})).await;

    let change = json!({
        "name": "New", "slug": "NEW-slug", "eventSourcingLevel": "audit", "unknown": true,
        "settings": {
            "models": [
                {"name": "b", "litellm_model": "y"}, {"name": "a", "apiKey": "********"},
                {"name": "c", "apiKey": "********"}, {"name": "d", "apiKey": "SECRET4"}
            ],
            "selfHostedKey": "********", "default_model": "a", "unknown": {"k": [1]}
        }
    });
    let (status, changed) = patch(&world, &path, &ada, &change).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(
        (&changed["name"], &changed["slug"], &changed["role"]),
        (&json!("New"), &json!("new-slug"), &json!("owner"))
    );
    assert_eq!(changed["eventSourcingLevel"], "audit");
    let shown = json!({
        "models": [
            {"name": "b", "litellm_model": "y", "apiKey": "********"}, {"name": "a", "apiKey": "********"},
            {"name": "c"}, {"name": "d", "apiKey": "********"}
        ],
        "selfHostedKey": "********", "default_model": "a", "unknown": {"k": [1]}
    });
    assert_eq!(changed["settings"], shown);
    assert_eq!(get(&world, &path, &ada).await, (200, changed.clone()));
    let stored: Value = value(&world, "select settings from organizations where slug = 'new-slug'").await;
    let keys: Vec<&Value> = stored["models"].as_array().expect("models").iter().map(|model| &model["apiKey"]).collect();
    assert_eq!(keys, [&json!("SECRET2"), &json!("SECRET1"), &Value::Null, &json!("SECRET4")]);
    assert_eq!((&stored["selfHostedKey"], stored.get("old")), (&json!("SECRET3"), None));

    // What was read is written back.
    let (_, same) = patch(&world, &path, &ada, &json!({"settings": changed["settings"]})).await;
    assert_eq!(same, changed, "nothing differs, nothing changes");
    let still: Value = value(&world, "select settings from organizations where slug = 'new-slug'").await;
    assert_eq!(still, stored);
    assert_eq!(patch(&world, &path, &ada, &json!({})).await, (200, changed.clone()));
    assert_eq!(patch(&world, &path, &ada, &json!({"name": "Last"})).await.1["settings"], shown);

    let (status, answer) = patch(&world, &path, &ada, &json!({"slug": "TAKEN"})).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("CONFLICT")));
    expect_fields(
        &world,
        Method::PATCH,
        &path,
        &ada,
        &[
            (json!({"name": ""}), "name"),
            (json!({"name": "x".repeat(256)}), "name"),
            (json!({"name": 1}), "name"),
            (json!({"name": null}), "name"),
            (json!({"settings": null}), "settings"),
            (json!({"slug": "a b"}), "slug"),
            (json!({"slug": "x".repeat(101)}), "slug"),
            (json!({"settings": []}), "settings"),
            (json!({"settings": {"k": "\u{0}"}}), "settings"),
            (json!({"settings": {"k": "x".repeat(65_536)}}), "settings"),
            (json!({"settings": {"models": {"a": {"apiKey": "s"}}}}), "settings.models"),
            (json!({"settings": {"models": [{"apiKey": "s"}]}}), "settings.models[0].name"),
            (json!({"eventSourcingLevel": "none"}), "eventSourcingLevel"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_secret_is_hidden_and_kept_at_any_depth() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let settings = json!({"vendors": [{"name": "x", "apiKey": "SECRET1"}], "local": {"selfHostedKey": "SECRET2"}});
    let body = json!({"name": "A", "slug": "deep", "settings": settings});
    let (_, org) = post(&world, "/api/v1/orgs", &ada, &body).await;
    assert!(!org.to_string().contains("SECRET"), "{org}");
    let path = format!("/api/v1/orgs/{}", org["id"].as_str().expect("an id"));
    let (status, same) = patch(&world, &path, &ada, &json!({"settings": org["settings"]})).await;
    assert_eq!((status, &same), (200, &org), "what was read is written back");
    assert_eq!(value::<Value>(&world, "select settings from organizations where slug = 'deep'").await, settings);
}

#[tokio::test]
async fn a_member_with_an_unknown_role_sees_no_organization() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    world.sql(&format!("update org_members set role = 'boss' where user_id = '{}'", team.member.id)).await;
    assert_eq!(get(&world, &format!("/api/v1/orgs/{}", team.org), &team.member).await.0, 404);
    assert_eq!(get(&world, "/api/v1/orgs", &team.member).await, (200, json!({"data": []})));
}

#[tokio::test]
async fn owners_and_admins_change_an_organization_and_owners_delete_it() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let path = format!("/api/v1/orgs/{}", team.org);
    for (person, may) in team.everybody().into_iter().zip([200, 200, 403, 403, 404]) {
        let (status, answer) = patch(&world, &path, person, &json!({"name": person.name})).await;
        assert_eq!(status, may, "{}: {answer}", person.name);
        // Who has no right is told so before anything is said about the body.
        let wrong = patch(&world, &path, person, &json!({"name": ""})).await.0;
        assert_eq!(wrong, if may == 200 { 400 } else { may }, "{}", person.name);
    }
    for (person, may) in team.everybody().into_iter().zip([204, 403, 403, 403, 404]).rev() {
        assert_eq!(delete(&world, &path, person).await.0, may, "{}", person.name);
    }
    for person in team.everybody() {
        assert_eq!(get(&world, &path, person).await.0, 404);
    }
    assert_eq!(get(&world, "/api/v1/orgs", &team.owner).await.1, json!({"data": []}));
}

#[tokio::test]
async fn a_foreign_organization_and_none_at_all_get_the_same_answers() {
    let world = World::start().await;
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    world.org(&eve).await;
    let org = world.org(&ada).await;
    let somebody = UserId(Uuid::new_v4());
    let member = format!("/api/v1/orgs/ID/members/{}", ada.id);
    let nobody = format!("/api/v1/orgs/ID/members/{somebody}");
    let myself = format!("/api/v1/orgs/ID/members/{}", eve.id);
    expect_same_as_nothing(
        &world,
        &eve,
        org.0,
        &[
            (Method::GET, "/api/v1/orgs/ID", json!({})),
            (Method::PATCH, "/api/v1/orgs/ID", json!({"name": "x"})),
            (Method::DELETE, "/api/v1/orgs/ID", json!({})),
            (Method::GET, "/api/v1/orgs/ID/members", json!({})),
            (Method::POST, "/api/v1/orgs/ID/members", json!({"userId": eve.id})),
            (Method::PATCH, &member, json!({"role": "guest"})),
            (Method::DELETE, &member, json!({})),
            (Method::DELETE, &nobody, json!({})),
            (Method::DELETE, &myself, json!({})),
            (Method::GET, "/api/v1/templates?orgId=ID", json!({})),
            (Method::POST, "/api/v1/templates", json!({"orgId": "ID", "name": "x", "structure": {}})),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_organization_closes_its_rooms_on_every_instance() {
    let world = World::with_instances(2).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (org, project) = (world.org(&ada).await, world.project(&ada).await);
    world.join(org, &bob, "member").await;
    let clients = [world.client(0, &ada).await, world.client(1, &bob).await];
    for client in &clients {
        client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    }
    let node = NodeId::random();
    clients[0].command(create(node, "node")).await.expect("create");
    world
        .sql(&format!(
            "insert into files (org_id, storage_key, storage_bucket, filename) values ('{org}', 'k', 'b', 'f');
             insert into node_inputs (node_id, input_type, file_id) select '{node}', 'file', id from files;
             insert into agent_executions (node_id) values ('{node}');
             insert into templates (org_id, name, structure) values ('{org}', 't', '{{}}');
             insert into notifications (org_id, user_id, type, title) values ('{org}', '{}', 'mention', 'x')",
            bob.id
        ))
        .await;
    assert_eq!(delete(&world, &format!("/api/v1/orgs/{org}"), &ada).await, (204, Value::Null));
    for client in &clients {
        assert_eq!(client.closed().await.code, Some(4504));
        assert!(
            client.frames_since(0).iter().any(|f| f["type"] == "unsubscribed" && f["payload"]["reason"] == "deleted")
        );
    }
    assert_eq!(get(&world, &format!("/api/v1/projects/{project}"), &ada).await.0, 404);
    assert_eq!(value::<i64>(&world, "select count(*) from nodes").await, 0);
}

/// A project whose whole log was written some time ago.
async fn aged_project(world: &World, owner: &Person, hours: u32) -> ProjectId {
    let org = world.org(owner).await;
    let (_, made) = post(world, &format!("/api/v1/orgs/{org}/projects"), owner, &json!({"name": "P"})).await;
    let project = made["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let client = world.client(0, owner).await;
    client.subscribe(project, Start::Live).await.expect("subscribe");
    let node = NodeId::random();
    client.command(create(node, "0")).await.expect("create");
    for i in 1..6 {
        client.command(retitle(node, &i.to_string())).await.expect("change");
    }
    world
        .sql(&format!(
            "update realtime.events set at = clock_timestamp() - interval '{hours} hours' where stream_id = '{project}'"
        ))
        .await;
    project
}

/// Writes to the stream of a person.
async fn tell(world: &World, person: &Person) {
    let (org, id) = (world.org(person).await, person.id);
    world
        .sql(&format!(
            "insert into notifications (org_id, user_id, type, title) values ('{org}', '{id}', 'mention', 'x')"
        ))
        .await;
}

/// Writes to the stream of a person, some time ago.
async fn tell_long_ago(world: &World, person: &Person, hours: u32) {
    tell(world, person).await;
    let id = person.id;
    world
        .sql(&format!(
            "update realtime.events set at = clock_timestamp() - interval '{hours} hours' where stream_id = '{id}'"
        ))
        .await;
}

/// Gives a day that is over its partition again, as it had when it was today.
async fn make_day(world: &World, hours: u32) {
    world
        .sql(&format!(
            "begin;
            set local role glassbox_owner;
            set local timezone = 'UTC';
            create temporary table old on commit drop as
            select * from realtime.events where at < now() - interval '72 hours';
            delete from realtime.events where at < now() - interval '72 hours';
            do $$
            declare day date := (now() - interval '{hours} hours')::date;
            begin
                execute format('create table realtime.%I partition of realtime.events for values from (%L) to (%L)',
                    'events_' || to_char(day, 'YYYYMMDD'), day::timestamptz, (day + 1)::timestamptz);
            end $$;
            insert into realtime.events select * from old;
            commit"
        ))
        .await;
}

/// The seqs that the feed gives from the beginning, or why it cannot.
async fn feed(world: &World, project: ProjectId, owner: &Person) -> Result<Vec<i64>, String> {
    let (status, answer) = get(world, &format!("/api/v1/projects/{project}/events?since=0"), owner).await;
    match status {
        200 => Ok(answer["data"].as_array().expect("events").iter().filter_map(|e| e["seq"].as_i64()).collect()),
        _ => Err(answer["details"]["reason"].as_str().unwrap_or_default().to_owned()),
    }
}

#[tokio::test]
async fn the_log_is_kept_as_long_as_the_organization_says() {
    let world = World::start().await;
    let mut projects = Vec::new();
    for level in ["full", "snapshot", "audit"] {
        let owner = world.user(level).await;
        let org = world.org(&owner).await;
        let (status, _) =
            patch(&world, &format!("/api/v1/orgs/{org}"), &owner, &json!({"eventSourcingLevel": level})).await;
        assert_eq!(status, 200);
        let mut aged = Vec::new();
        for hours in [100, 30, 20] {
            aged.push(aged_project(&world, &owner, hours).await);
        }
        projects.push((level, owner, aged));
    }
    let whole: Vec<i64> = (1..=7).collect();
    let gone = || Err("below_floor".to_owned());
    let mut newest = Vec::new();
    for (_, owner, aged) in &projects {
        for project in aged {
            assert_eq!(feed(&world, *project, owner).await, Ok(whole.clone()), "before");
            newest.push(*project);
        }
    }

    // With the usual number of events that stay, nothing goes, however old, but from the streams of people: one of a day
    // with a partition, one of a day without.
    let people = [&projects[0].1, &projects[1].1];
    for (person, hours) in people.into_iter().zip([100, 200]) {
        tell_long_ago(&world, person, hours).await;
        tell(&world, person).await;
    }
    make_day(&world, 100).await;
    world.sql("select realtime.keep_log()").await;
    for person in people {
        let kept = format!("select count(*) from realtime.log where stream_id = '{}'", person.id);
        assert_eq!(value::<i64>(&world, &kept).await, 1, "the newest alone is kept");
        let floor = format!("select seq - floor from realtime.heads where stream_id = '{}'", person.id);
        assert_eq!(value::<i64>(&world, &floor).await, 1);
    }
    for (level, owner, aged) in &projects {
        for project in aged {
            assert_eq!(feed(&world, *project, owner).await, Ok(whole.clone()), "{level}: the newest stay");
        }
    }
    world.sql("select realtime.keep_log('3 days', 2)").await;
    for (level, owner, aged) in &projects {
        let expected = match *level {
            "full" => [Ok(whole.clone()), Ok(whole.clone()), Ok(whole.clone())],
            "snapshot" => [gone(), Ok(whole.clone()), Ok(whole.clone())],
            _ => [gone(), gone(), Ok(whole.clone())],
        };
        for (project, expected) in aged.iter().zip(expected) {
            assert_eq!(feed(&world, *project, owner).await, expected, "{level}");
            let (_, newest) = get(&world, &format!("/api/v1/projects/{project}/events?since=5"), owner).await;
            assert_eq!(newest["data"].as_array().map(Vec::len), Some(2), "{level}: the newest two stay: {newest}");
        }
    }

    // A client comes back to what lies in the archive.
    let (_, owner, aged) = &projects[0];
    let in_archive: i64 = value(&world, "select count(*) from realtime.archive").await;
    assert_eq!(in_archive, 7);
    let client = world.client(0, owner).await;
    client.subscribe(aged[0], Start::Live).await.expect("subscribe");
    let mut mirror = client.mirror(aged[0]);
    mirror.seq = Seq::ZERO;
    let back = world.client(0, owner).await;
    back.subscribe(aged[0], Start::Resume(Box::new(mirror))).await.expect("resume from the beginning");
    let seqs: Vec<i64> = back.frames_since(0).iter().filter_map(|frame| frame["seq"].as_i64()).collect();
    assert_eq!(seqs[..7], whole);
    back.assert_sound();

    // Who keeps it no longer loses what is too old.
    let org = world.org(owner).await;
    patch(&world, &format!("/api/v1/orgs/{org}"), owner, &json!({"eventSourcingLevel": "snapshot"})).await;
    world.sql("select realtime.keep_log('3 days', 2)").await;
    assert_eq!(feed(&world, aged[0], owner).await, gone());
    assert_eq!(value::<i64>(&world, "select count(*) from realtime.archive").await, 2);
    assert_eq!(feed(&world, aged[1], owner).await, Ok(whole));
}

#[tokio::test]
async fn the_log_is_looked_after_step_by_step_in_its_own_time_and_behind_no_writer() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let org = world.org(&ada).await;
    patch(&world, &format!("/api/v1/orgs/{org}"), &ada, &json!({"eventSourcingLevel": "full"})).await;
    for hours in [100, 130] {
        aged_project(&world, &ada, hours).await;
    }
    tell_long_ago(&world, &bob, 100).await;
    for hours in [100, 130] {
        make_day(&world, hours).await;
    }
    // A busy day takes longer than a request may.
    world
        .sql(
            "create function realtime.check_time() returns trigger language plpgsql as $$
            begin
                if current_setting('statement_timeout') = '5s' then
                    raise exception 'not enough time';
                end if;
                return new;
            end $$;
            create trigger check_time before insert on realtime.archive
                for each row execute function realtime.check_time()",
        )
        .await;

    // A writer takes a head and then writes to the log.
    let mut writer = world.database.superuser().begin().await.expect("begin");
    sqlx::query("select from realtime.heads where stream_id = $1 for update")
        .bind(bob.id.0)
        .execute(&mut *writer)
        .await
        .expect("the head");
    let database = Database::connect(&world.database.server_url(), 2).expect("a database");
    let upkeep = tokio::spawn(async move { events::maintain(&database).await });
    let waits = "select exists (
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
    )";
    wait_until("the upkeep waits for the writer", DEADLINE, async || value::<bool>(&world, waits).await).await;
    sqlx::query("lock table realtime.events in row exclusive mode").execute(&mut *writer).await.expect("write");
    writer.commit().await.expect("commit");

    upkeep.await.expect("no panic").expect("looked after");
    assert_eq!(value::<i64>(&world, "select count(*) from realtime.old_partitions('3 days')").await, 0);
    assert_eq!(value::<i64>(&world, "select count(*) from realtime.archive").await, 14);
    let left = format!("select seq - floor from realtime.heads where stream_id = '{}'", bob.id);
    assert_eq!(value::<i64>(&world, &left).await, 0);
}
