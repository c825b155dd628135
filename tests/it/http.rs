//! What every answer of the REST API has in common, organizations, projects, the snapshot and the feed.

use std::time::{Duration, Instant};

use glassbox_protocol::EventFrame;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::world::{ORIGIN, Person, World};
use crate::support::{DEADLINE, wait_until};

async fn call(world: &World, method: Method, path: &str, caller: Option<&Person>, body: Option<&str>) -> Response {
    let mut request = world.http.request(method, world.url(0, path));
    if let Some(caller) = caller {
        request = request.bearer_auth(&caller.token);
    }
    if let Some(body) = body {
        request = request.body(body.to_owned());
    }
    request.send().await.expect("an answer")
}

async fn get(world: &World, path: &str, caller: &Person) -> (StatusCode, Value) {
    json_of(call(world, Method::GET, path, Some(caller), None).await).await
}

async fn json_of(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (status, response.json().await.expect("JSON"))
}

#[tokio::test]
async fn an_organization_and_a_project_are_made_and_read_back() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let settings = json!({"models": [{"name": "m", "apiKey": "very secret"}], "selfHostedKey": "secret", "x": 1});
    let body = json!({"name": "Ünïcode", "slug": "Mixed-CASE", "settings": settings});
    let org = world.post("/api/v1/orgs", Some(&ada), &body).await;
    assert_eq!((org["slug"].as_str(), org["role"].as_str()), (Some("mixed-case"), Some("owner")));
    assert!(!org.to_string().contains("secret"), "{org}");
    assert_eq!(org["settings"]["x"], 1);

    let path = format!("/api/v1/orgs/{}", org["id"].as_str().expect("an id"));
    assert_eq!(get(&world, &path, &ada).await, (StatusCode::OK, org.clone()));
    assert_eq!(get(&world, "/api/v1/orgs", &ada).await.1, json!({"data": [org]}));

    let body = json!({"name": "P", "description": "D", "projectId": "ignored"});
    let project = world.post(&format!("{path}/projects"), Some(&ada), &body).await;
    assert_eq!(project["workflowStates"], json!(["draft", "in_progress", "complete"]));
    assert_eq!((&project["role"], &project["settings"]), (&json!("admin"), &json!({})));
    let one = format!("/api/v1/projects/{}", project["id"].as_str().expect("an id"));
    assert_eq!(get(&world, &one, &ada).await, (StatusCode::OK, project.clone()));
    assert_eq!(get(&world, &format!("{path}/projects"), &ada).await.1, json!({"data": [project]}));
    assert_eq!(get(&world, &format!("{path}/projects?offset=1"), &ada).await.1, json!({"data": []}));

    let taken = json!({"name": "Other", "slug": "mixed-case"}).to_string();
    let (status, answer) = json_of(call(&world, Method::POST, "/api/v1/orgs", Some(&ada), Some(&taken)).await).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::CONFLICT, Some("CONFLICT")));
}

#[tokio::test]
async fn a_foreign_project_and_one_that_is_nowhere_get_the_same_answer() {
    let world = World::start().await;
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    let (org, project) = (world.org(&ada).await, world.project(&ada).await);
    let answer = async |method: Method, path: String| {
        let request =
            world.http.request(method, world.url(0, &path)).bearer_auth(&eve.token).header("x-request-id", "same");
        let response = request.body(r#"{"name": "x"}"#).send().await.expect("an answer");
        (response.status(), response.bytes().await.expect("a body"))
    };
    for (method, path) in [
        (Method::GET, "/api/v1/projects/ID"),
        (Method::GET, "/api/v1/projects/ID/snapshot"),
        (Method::GET, "/api/v1/projects/ID/events?since=0"),
        (Method::GET, "/api/v1/projects/ID/canvas"),
        (Method::POST, "/api/v1/projects/ID/canvas"),
    ] {
        let foreign = answer(method.clone(), path.replace("ID", &project.to_string())).await;
        let nowhere = answer(method, path.replace("ID", &Uuid::new_v4().to_string())).await;
        assert_eq!(foreign, nowhere, "{path}");
        assert_eq!(foreign.0, StatusCode::NOT_FOUND, "{path}");
    }
    for (method, path) in [
        (Method::GET, "/api/v1/orgs/ID"),
        (Method::GET, "/api/v1/orgs/ID/projects"),
        (Method::POST, "/api/v1/orgs/ID/projects"),
    ] {
        let foreign = answer(method.clone(), path.replace("ID", &org.to_string())).await;
        let nowhere = answer(method, path.replace("ID", &Uuid::new_v4().to_string())).await;
        assert_eq!(foreign, nowhere, "{path}");
        assert_eq!(foreign.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_guest_reads_what_they_were_added_to_and_no_more() {
    let world = World::start().await;
    let (ada, guest) = (world.user("ada").await, world.user("guest").await);
    let (org, open, closed) = (world.org(&ada).await, world.project(&ada).await, world.project(&ada).await);
    world.join(org, &guest, "guest").await;
    world
        .sql(&format!(
            "insert into project_members (project_id, user_id, role) values ('{open}', '{}', 'admin')",
            guest.id
        ))
        .await;
    world.sql(&format!("update organizations set settings = '{{\"x\": 1}}' where id = '{org}'")).await;

    let (_, seen) = get(&world, &format!("/api/v1/orgs/{org}"), &guest).await;
    assert_eq!((&seen["role"], &seen["settings"]), (&json!("guest"), &json!({})));
    let (_, list) = get(&world, &format!("/api/v1/orgs/{org}/projects"), &guest).await;
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["role"]), (&json!(open), &json!("viewer")));
    assert_eq!(get(&world, &format!("/api/v1/projects/{closed}"), &guest).await.0, StatusCode::NOT_FOUND);
    let (status, answer) =
        json_of(call(&world, Method::POST, &format!("/api/v1/projects/{open}/canvas"), Some(&guest), Some("{}")).await)
            .await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::FORBIDDEN, Some("FORBIDDEN")));
    let path = format!("/api/v1/orgs/{org}/projects");
    let refused = call(&world, Method::POST, &path, Some(&guest), Some(r#"{"name": "x"}"#)).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_the_field() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let (org, project) = (world.org(&ada).await, world.project(&ada).await);
    let orgs = "/api/v1/orgs".to_owned();
    let projects = format!("/api/v1/orgs/{org}/projects");
    let events = format!("/api/v1/projects/{project}/events");
    let long = "x".repeat(256);
    let large = json!({"name": "x", "settings": {"k": "x".repeat(65_536)}}).to_string();
    let deep = format!(r#"{{"name": "x", "settings": {}1{}}}"#, "[".repeat(500), "]".repeat(500));
    for (method, path, body, field) in [
        (Method::GET, "/api/v1/orgs/org-demo-123".to_owned(), "", "orgId"),
        (Method::GET, "/api/v1/projects/project-1".to_owned(), "", "projectId"),
        (Method::GET, "/api/v1/projects/%F0%9F%8E%88/snapshot".to_owned(), "", "projectId"),
        (Method::GET, format!("{orgs}?limit=0"), "", "limit"),
        (Method::GET, events.clone(), "", "since"),
        (Method::GET, format!("{events}?since=-1"), "", "since"),
        (Method::GET, format!("{events}?since=99999999999999999999"), "", "since"),
        (Method::GET, format!("{events}?since=0&epoch=x"), "", "epoch"),
        (Method::GET, format!("{events}?since=0&limit=1001"), "", "limit"),
        (Method::GET, format!("{events}?since=0&waitS=31"), "", "waitS"),
        (Method::POST, orgs.clone(), "", "name"),
        (Method::POST, orgs.clone(), r#"{"name": "", "slug": "x"}"#, "name"),
        (Method::POST, orgs.clone(), r#"{"name": "x"}"#, "slug"),
        (Method::POST, orgs.clone(), r#"{"name": "x", "slug": "a b"}"#, "slug"),
        (Method::POST, orgs.clone(), r#"{"name": "x", "slug": "é"}"#, "slug"),
        (Method::POST, orgs.clone(), r#"{"name": 7, "slug": "x"}"#, "name"),
        (Method::POST, orgs.clone(), r#"{"name": "\u0000", "slug": "x"}"#, "name"),
        (Method::POST, orgs.clone(), r#"{"name": "\ud800", "slug": "x"}"#, "body"),
        (Method::POST, orgs.clone(), r#"{"name": "x", "slug": "x", "settings": []}"#, "settings"),
        (Method::POST, orgs.clone(), r#"{"name": "x", "slug": "x", "settings": {"\u0000": 1}}"#, "settings"),
        (Method::POST, orgs.clone(), "[]", "body"),
        (Method::POST, orgs.clone(), "{} {}", "body"),
        (Method::POST, orgs.clone(), "nonsense", "body"),
        (Method::POST, projects.clone(), &deep, "body"),
        (Method::POST, projects.clone(), &large, "settings"),
        (Method::POST, projects.clone(), &json!({"name": long}).to_string(), "name"),
        (Method::POST, projects.clone(), r#"{"name": "x", "workflowStates": []}"#, "workflowStates"),
        (Method::POST, projects.clone(), r#"{"name": "x", "workflowStates": ["a", ""]}"#, "workflowStates[1]"),
        (Method::POST, projects.clone(), r#"{"name": "x", "workflowStates": ["a", 1]}"#, "workflowStates[1]"),
        (Method::POST, projects.clone(), r#"{"name": "x", "settings": {"visibility": "no"}}"#, "settings.visibility"),
    ] {
        let (status, answer) = json_of(call(&world, method, &path, Some(&ada), Some(body)).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}: {answer}");
        assert_eq!(answer["code"], "BAD_REQUEST", "{path} {body}: {answer}");
        assert_eq!(answer["error"], answer["message"]);
        assert_eq!(answer["details"]["field"], field, "{path} {body}: {answer}");
        assert!(answer["details"]["reason"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn every_answer_has_an_id_and_the_one_error_shape() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let megabyte = " ".repeat(1024 * 1024 + 1);
    for (method, path, caller, body, status, code) in [
        (Method::GET, "/api/v1/nowhere", Some(&ada), None, 404, "NOT_FOUND"),
        (Method::GET, "/nowhere", None, None, 404, "NOT_FOUND"),
        (Method::PUT, "/api/v1/orgs", Some(&ada), None, 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/api/v1/orgs", Some(&ada), Some(megabyte.as_str()), 413, "TOO_LARGE"),
        (Method::GET, "/api/v1/orgs", None, None, 401, "UNAUTHORIZED"),
    ] {
        let response = call(&world, method, path, caller, body).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers().contains_key("allow"), status == 405, "{path}");
        let id = response.headers()["x-request-id"].to_str().expect("an id").to_owned();
        let cache = response.headers().get("cache-control").map(|v| v.to_str().expect("a text").to_owned());
        assert_eq!(cache.as_deref(), path.starts_with("/api/").then_some("no-store"), "{path}");
        let answer: Value = response.json().await.expect("JSON");
        assert_eq!((answer["code"].as_str(), answer["details"]["requestId"].as_str()), (Some(code), Some(id.as_str())));
    }
    let healthy = call(&world, Method::HEAD, "/health", None, None).await;
    assert_eq!(healthy.status(), StatusCode::OK);
    assert_eq!(call(&world, Method::GET, "/metrics", None, None).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_an_allowed_origin_may_read_answers() {
    let world = World::start().await;
    for (origin, is_allowed) in [(ORIGIN, true), ("http://localhost:3001", false), ("null", false)] {
        for method in [Method::OPTIONS, Method::GET] {
            let request = world.http.request(method.clone(), world.url(0, "/api/v1/orgs")).header("origin", origin);
            let response = request.send().await.expect("an answer");
            assert_eq!(response.status().as_u16(), if method == Method::OPTIONS { 204 } else { 401 });
            let allowed = response.headers().get("access-control-allow-origin");
            assert_eq!(allowed.is_some_and(|allowed| allowed == origin), is_allowed, "{origin}");
            let vary = response.headers().get_all("vary");
            assert!(vary.iter().any(|vary| vary == "Origin"), "{origin}");
        }
    }
}

/// Rows that any SQL writer may leave behind.
async fn odd_rows(world: &World, ada: &Person) -> (String, String) {
    let (org, project) = (world.org(ada).await, world.project(ada).await);
    world
        .sql(&format!(
            "insert into nodes (org_id, project_id, title, author_type, status, metadata, position, version, locked_by,
                locked_at, lock_expires_at, description, deleted_at)
            select '{org}', '{project}', title, 'agent', status, metadata, position, version, locked_by, now(), ends, description, gone
            from (values
                ('plain', 'draft', '{{\"a\": [1, null, {{\"b\": 1.50}}]}}'::jsonb, '{{\"x\": 1.50, \"y\": -2, \"z\": 9}}'::jsonb, 1, null::uuid, null::timestamptz, 'd', null::timestamptz),
                ('odd', null, '[1]', '{{\"x\": \"1\", \"y\": 2}}', null, null, null, '', null),
                ('null', 'x', null, null, 5, '{ada}', null, null, null),
                ('locked', 'x', '{{}}', '[]', 2, '{ada}', now() + interval '1 hour', null, null),
                ('for ever', 'x', '{{}}', '7', 2, '{ada}', 'infinity', null, null),
                ('expired', 'x', '\"text\"', '{{}}', 2, '{ada}', now() - interval '1 hour', null, null),
                ('gone', 'x', '{{}}', '{{}}', 2, null, null, null, now())
            ) v (title, status, metadata, position, version, locked_by, ends, description, gone);
            update nodes set parent_id = (select id from nodes where title = 'plain'), created_at = null where title = 'odd';
            insert into node_inputs (node_id, input_type, text_content, sort_order, metadata)
            select id, 'text', title || g, nullif(3 - g, 1), case g when 1 then '[]'::jsonb end from nodes, generate_series(1, 3) g;
            insert into node_outputs (node_id, output_type, structured_data, label)
            select id, 'structured_data', case title when 'odd' then 'null'::jsonb when 'null' then null else '{{\"n\": 1e2}}' end, 'l' from nodes;
            insert into node_dependencies (source_node_id, target_node_id)
            select s.id, t.id from nodes s join nodes t on s.title in ('plain', 'gone') and t.title in ('odd', 'null')",
            ada = ada.id
        ))
        .await;
    (org.to_string(), project.to_string())
}

/// The end of the lease that is over is the last thing that happens by itself.
async fn swept(world: &World) {
    wait_until("the end of the lease", DEADLINE, async || {
        let left = "select count(*) from nodes where title = 'expired' and locked_by is not null";
        sqlx::query_scalar::<_, i64>(left).fetch_one(&world.database.superuser()).await.is_ok_and(|left| left == 0)
    })
    .await;
}

#[tokio::test]
async fn the_snapshot_shows_rows_as_the_triggers_do() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let (_, project) = odd_rows(&world, &ada).await;
    swept(&world).await;
    let (status, snapshot) = get(&world, &format!("/api/v1/projects/{project}/snapshot"), &ada).await;
    assert_eq!(status, StatusCode::OK, "{snapshot}");

    let shown = async |sql: &str| -> Vec<Value> {
        let texts: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned()))
            .fetch_all(&world.database.superuser())
            .await
            .expect("rows");
        texts.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
    };
    let nodes = shown(
        "select (realtime.node_json(n) || realtime.node_lists(n.id))::text
        from nodes n where n.deleted_at is null order by n.created_at, n.id",
    )
    .await;
    assert_eq!(nodes.len(), 6);
    for (actual, expected) in snapshot["nodes"].as_array().expect("a list").iter().zip(&nodes) {
        assert_eq!(actual, expected);
    }
    let dependencies =
        shown("select realtime.dependency_json(d)::text from node_dependencies d order by d.created_at, d.id").await;
    assert_eq!(snapshot["dependencies"], json!(dependencies));
    assert_eq!(snapshot["locks"].as_array().map(Vec::len), Some(2), "{}", snapshot["locks"]);
    for lock in snapshot["locks"].as_array().expect("a list") {
        assert!(lock["expiresInMs"].as_i64().is_some_and(|ms| ms > 3_000_000), "{lock}");
    }
}

#[tokio::test]
async fn an_unchanged_snapshot_is_not_sent_again() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let (_, project) = odd_rows(&world, &ada).await;
    swept(&world).await;
    let url = world.url(0, &format!("/api/v1/projects/{project}/snapshot"));
    let first = world.http.get(&url).bearer_auth(&ada.token).send().await.expect("an answer");
    let etag = first.headers()["etag"].clone();
    let again = async |etag| {
        let request = world.http.get(&url).bearer_auth(&ada.token).header("if-none-match", etag);
        request.send().await.expect("an answer").status()
    };
    assert_eq!(again(etag.clone()).await, StatusCode::NOT_MODIFIED);
    world.sql("update nodes set title = 'new' where title = 'plain'").await;
    assert_eq!(again(etag).await, StatusCode::OK);
}

#[tokio::test]
async fn the_feed_continues_where_the_snapshot_ends() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let (_, project) = odd_rows(&world, &ada).await;
    let feed = format!("/api/v1/projects/{project}/events");
    let (_, snapshot) = get(&world, &format!("/api/v1/projects/{project}/snapshot"), &ada).await;
    let seq = snapshot["seq"].as_i64().expect("a seq");

    let mut seen = Vec::new();
    let mut since = 0;
    loop {
        let (_, part) = get(
            &world,
            &format!("{feed}?since={since}&limit=4&epoch={}", snapshot["epoch"].as_str().expect("an epoch")),
            &ada,
        )
        .await;
        let data = part["data"].as_array().expect("a list");
        assert!(data.len() <= 4);
        seen.extend(data.iter().map(|event| event["seq"].as_i64().expect("a seq")));
        since = part["nextSince"].as_i64().expect("a seq");
        if part["hasMore"] == false {
            break;
        }
    }
    // A lease that ends meanwhile is one more.
    assert!(since >= seq);
    assert_eq!(seen, (1..=since).collect::<Vec<_>>());

    let started = Instant::now();
    let wait = async {
        // Among what comes is the end of the lease that is over.
        loop {
            let (_, part) = get(&world, &format!("{feed}?since={since}&waitS=20"), &ada).await;
            since = part["nextSince"].as_i64().expect("a seq");
            for event in part["data"].as_array().expect("a list") {
                serde_json::from_value::<EventFrame>(event.clone()).expect("an event");
                if event["type"] == "node_updated" {
                    return event.clone();
                }
            }
        }
    };
    let (event, ()) = tokio::join!(wait, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.sql("update nodes set title = 'news' where title = 'plain'").await;
    });
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!((&event["by"], &event["txEnd"]), (&Value::Null, &json!(true)));
    assert_eq!(event["payload"]["changes"], json!({"title": "news"}));
}

#[tokio::test]
async fn a_feed_that_cannot_continue_says_why() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let (_, project) = odd_rows(&world, &ada).await;
    world.sql(&format!("update realtime.heads set floor = 3 where stream_id = '{project}'")).await;
    for (query, reason) in [
        ("since=2".to_owned(), "below_floor"),
        ("since=1000".to_owned(), "ahead_of_head"),
        (format!("since=3&epoch={}", Uuid::new_v4()), "epoch_changed"),
    ] {
        let (status, answer) = get(&world, &format!("/api/v1/projects/{project}/events?{query}"), &ada).await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::GONE, Some("RESET_REQUIRED")));
        assert_eq!(answer["details"]["reason"], reason);
    }
}
