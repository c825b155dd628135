//! Every documented route with every role, against the one table of rights; and the same table over a WebSocket.
//!
//! The routes come from the served document, what each needs from its `x-right`, who may from `auth::rights`. Each
//! request finds a fresh organization, so that none sees what another did.

use std::collections::BTreeMap;

use glassbox::auth::rights::{OrgRight, OrgRole, ProjectRight, ProjectRole, ProjectRow, Visibility, effective_role};
use glassbox_protocol::client::NodeCreate;
use glassbox_protocol::{Command, ErrorCode, ProjectId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::mirror::Start;
use crate::support::world::{Person, World};

/// How somebody stands to the organization and its project.
#[derive(Clone, Copy, Debug)]
struct Standing {
    name: &'static str,
    org: Option<OrgRole>,
    row: ProjectRow,
}

const STANDINGS: [Standing; 9] = [
    Standing { name: "owner", org: Some(OrgRole::Owner), row: ProjectRow::Absent },
    Standing { name: "admin", org: Some(OrgRole::Admin), row: ProjectRow::Absent },
    Standing { name: "member", org: Some(OrgRole::Member), row: ProjectRow::Absent },
    Standing { name: "member-admin", org: Some(OrgRole::Member), row: ProjectRow::Role(ProjectRole::Admin) },
    Standing { name: "member-viewer", org: Some(OrgRole::Member), row: ProjectRow::Role(ProjectRole::Viewer) },
    Standing { name: "guest", org: Some(OrgRole::Guest), row: ProjectRow::Absent },
    Standing { name: "guest-admin", org: Some(OrgRole::Guest), row: ProjectRow::Role(ProjectRole::Admin) },
    // Rows without a membership cannot be made any more, but the role must not follow from one either.
    Standing { name: "stranger", org: None, row: ProjectRow::Absent },
    Standing { name: "other-owner", org: None, row: ProjectRow::Absent },
];

/// What somebody should be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Forbidden,
    Unknown,
}

/// A tenant with one of everything.
struct Scene {
    ids: BTreeMap<&'static str, Uuid>,
}

impl Scene {
    async fn make(world: &World, people: &[(Standing, Person)], visibility: Visibility) -> Self {
        let names = [
            "orgId",
            "projectId",
            "nodeId",
            "childId",
            "inputId",
            "outputId",
            "dependencyId",
            "templateId",
            "keyId",
            "userId",
            "notificationId",
        ];
        let ids: BTreeMap<&'static str, Uuid> = names.into_iter().map(|name| (name, Uuid::new_v4())).collect();
        let id = |name: &str| ids[name];
        let (org, project, node, child) = (id("orgId"), id("projectId"), id("nodeId"), id("childId"));
        let settings = match visibility {
            Visibility::Org => "{}",
            Visibility::Private => r#"{"visibility": "private"}"#,
        };
        let mut sql = format!(
            "insert into organizations (id, name, slug) values ('{org}', 'Acme', '{org}');
            insert into projects (id, org_id, name, settings) values ('{project}', '{org}', 'P', '{settings}');
            insert into nodes (id, org_id, project_id, title, author_type) values
                ('{node}', '{org}', '{project}', 'N', 'human');
            insert into nodes (id, org_id, project_id, title, author_type) values
                ('{child}', '{org}', '{project}', 'C', 'human');
            insert into node_inputs (id, node_id, input_type, text_content) values ('{input}', '{node}', 'text', 'x');
            insert into node_outputs (id, node_id, output_type, text_content) values ('{output}', '{node}', 'text', 'x');
            insert into node_dependencies (id, source_node_id, target_node_id) values ('{edge}', '{node}', '{child}');
            insert into templates (id, org_id, name, structure) values ('{template}', '{org}', 'T', '{{}}');
            insert into users (id, cognito_sub, email) values ('{user}', '{user}', '{user}@example.org');
            insert into org_members (org_id, user_id, role) values ('{org}', '{user}', 'member');
            insert into project_members (project_id, user_id, role) values ('{project}', '{user}', 'member');
            insert into users (id, cognito_sub, email) values ('{key}', 'worker:{key}', '{key}@workers.invalid');
            insert into realtime.worker_keys (id, org_id, user_id, name, secret_hash)
                values ('{key}', '{org}', '{key}', 'K', sha256('x'));
            insert into org_members (org_id, user_id, role) values ('{org}', '{key}', 'member');",
            input = id("inputId"),
            output = id("outputId"),
            edge = id("dependencyId"),
            template = id("templateId"),
            user = id("userId"),
            key = id("keyId"),
        );
        for (standing, person) in people {
            let Some(role) = standing.org else { continue };
            let who = person.id;
            sql += &format!(
                "insert into org_members (org_id, user_id, role) values ('{org}', '{who}', '{}');",
                role.as_str()
            );
            if let ProjectRow::Role(role) = standing.row {
                let role = role.as_str();
                sql += &format!(
                    "insert into project_members (project_id, user_id, role) values ('{project}', '{who}', '{role}');"
                );
            }
        }
        world.sql(&sql).await;
        Self { ids }
    }

    /// The path with this scene's ids, or with ids that are nowhere.
    fn path(&self, template: &str, is_real: bool) -> String {
        let mut path = template.to_owned();
        while let Some((before, rest)) = path.split_once('{') {
            let (name, after) = rest.split_once('}').expect("a parameter");
            let value = match name {
                "version" => "1".to_owned(),
                _ if is_real => self.ids.get(name).unwrap_or_else(|| panic!("the scene has no {name}")).to_string(),
                _ => Uuid::new_v4().to_string(),
            };
            path = format!("{before}{value}{after}");
        }
        path
    }

    /// A body that the route takes.
    fn body(&self, method: &str, path: &str) -> Value {
        let id = |name: &str| self.ids[name];
        match (method, path.trim_start_matches("/api/v1")) {
            ("patch", "/orgs/{orgId}") => json!({ "name": "New" }),
            ("post", "/orgs/{orgId}/projects") => json!({ "name": "New" }),
            ("post", "/orgs/{orgId}/members") => json!({ "email": format!("{}@example.org", Uuid::new_v4()) }),
            ("patch", "/orgs/{orgId}/members/{userId}") => json!({ "role": "guest" }),
            ("post", "/orgs/{orgId}/worker-keys") => json!({ "name": "New" }),
            ("patch", "/projects/{projectId}") => json!({ "name": "New" }),
            ("post", "/projects/{projectId}/members") => json!({ "userId": id("keyId") }),
            ("patch", "/projects/{projectId}/members/{userId}") => json!({ "role": "viewer" }),
            ("post", "/projects/{projectId}/nodes") => json!({ "title": "New" }),
            ("post", "/projects/{projectId}/nodes/move") => {
                json!({ "moves": [{ "nodeId": id("nodeId"), "position": { "x": 1, "y": 2 } }] })
            }
            ("patch", "/nodes/{nodeId}") => json!({ "title": "New" }),
            ("post", "/nodes/{nodeId}/inputs") => json!({ "inputType": "text", "textContent": "x" }),
            ("post", "/nodes/{nodeId}/outputs") => json!({ "outputType": "text", "textContent": "x" }),
            ("post", "/nodes/{nodeId}/dependencies") => json!({ "sourceNodeId": id("childId") }),
            ("patch", "/templates/{templateId}") => json!({ "name": "New" }),
            ("post", "/templates/{templateId}/apply" | "/templates/{templateId}/instantiate") => {
                json!({ "projectId": id("projectId") })
            }
            ("post", "/templates") => json!({ "orgId": id("orgId"), "name": "New", "structure": {} }),
            _ => Value::Null,
        }
    }
}

fn verdict(right: &str, standing: Standing, visibility: Visibility) -> Option<Verdict> {
    if let Some(right) = OrgRight::ALL.into_iter().find(|r| r.as_str() == right) {
        return Some(match standing.org {
            None => Verdict::Unknown,
            Some(role) if role.may(right) => Verdict::Allowed,
            Some(_) => Verdict::Forbidden,
        });
    }
    let right = ProjectRight::ALL.into_iter().find(|r| r.as_str() == right)?;
    Some(match standing.org.and_then(|org| effective_role(org, standing.row, visibility)) {
        None => Verdict::Unknown,
        Some(role) if role.may(right) => Verdict::Allowed,
        Some(_) => Verdict::Forbidden,
    })
}

async fn ask(world: &World, who: &Person, method: &str, path: &str, body: &Value) -> (StatusCode, String) {
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
    let mut request =
        world.http.request(method, world.url(0, path)).bearer_auth(&who.token).header("x-request-id", "same");
    if !body.is_null() {
        request = request.json(body);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("a body"))
}

async fn people(world: &World) -> Vec<(Standing, Person)> {
    let mut people = Vec::new();
    for standing in STANDINGS {
        people.push((standing, world.user(standing.name).await));
    }
    world.org(&people.last().expect("somebody").1).await;
    people
}

#[tokio::test]
async fn every_route_lets_in_whom_the_table_of_rights_lets_in() {
    let world = World::start().await;
    let people = people(&world).await;
    let document: Value =
        world.http.get(world.url(0, "/openapi.json")).send().await.expect("an answer").json().await.expect("JSON");
    let mut wrong = Vec::new();
    let mut asked = 0;
    for visibility in [Visibility::Org, Visibility::Private] {
        for (template, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let right = operation["x-right"].as_str().expect("a right");
                for (standing, person) in &people {
                    let Some(expected) = verdict(right, *standing, visibility) else { continue };
                    let scene = Scene::make(&world, &people, visibility).await;
                    let query = match template.as_str() {
                        "/api/v1/templates" => format!("?orgId={}", scene.ids["orgId"]),
                        path if path.ends_with("/events") => "?since=0".to_owned(),
                        _ => String::new(),
                    };
                    let path = scene.path(template, true) + &query;
                    let body = scene.body(method, template);
                    let (status, text) = ask(&world, person, method, &path, &body).await;
                    asked += 1;
                    let actual = match told(status) {
                        Some(verdict) => verdict,
                        // Whoever may write may renew a lock, but nobody has taken one.
                        None if status == StatusCode::CONFLICT && text.contains("LOCK_LOST") => Verdict::Allowed,
                        None => {
                            wrong.push(format!("{method} {template} as {}: {status} {text}", standing.name));
                            continue;
                        }
                    };
                    if actual != expected {
                        wrong.push(format!("{method} {template} ({right}) as {} in {visibility:?}: {actual:?}, not {expected:?}: {text}", standing.name));
                    }
                    // What one may not know about and what is nowhere look the same, to the byte.
                    let nowhere = scene.path(template, false) + &query;
                    if expected == Verdict::Unknown && template.contains('{') {
                        let random = ask(&world, person, method, &nowhere, &body).await;
                        if (status, text.clone()) != random {
                            wrong.push(format!(
                                "{method} {template} as {}: {text} differs from {random:?}",
                                standing.name
                            ));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 300, "only {asked} requests");
}

fn told(status: StatusCode) -> Option<Verdict> {
    match status {
        StatusCode::NOT_FOUND => Some(Verdict::Unknown),
        StatusCode::FORBIDDEN => Some(Verdict::Forbidden),
        status => status.is_success().then_some(Verdict::Allowed),
    }
}

#[tokio::test]
async fn the_lock_of_a_person_is_broken_by_whom_the_table_lets_break_it() {
    let world = World::start().await;
    let people = people(&world).await;
    for visibility in [Visibility::Org, Visibility::Private] {
        for (standing, person) in &people {
            let scene = Scene::make(&world, &people, visibility).await;
            let (node, holder) = (scene.ids["nodeId"], scene.ids["userId"]);
            world
                .sql(&format!(
                    "update nodes
                    set locked_by = '{holder}', locked_at = now(), lock_expires_at = now() + interval '1 hour'
                    where id = '{node}'"
                ))
                .await;
            let path = format!("/api/v1/nodes/{node}/lock/break");
            let (status, text) = ask(&world, person, "post", &path, &Value::Null).await;
            let at = format!("{} in {visibility:?}: {status} {text}", standing.name);
            assert_eq!(told(status), verdict("lock.break.person", *standing, visibility), "{at}");
            assert_eq!(text.contains(&holder.to_string()), status.is_success(), "{at}");
        }
    }
}

#[tokio::test]
async fn a_template_is_changed_by_owners_and_admins_besides_its_maker() {
    let world = World::start().await;
    let people = people(&world).await;
    for method in ["patch", "delete"] {
        for (standing, person) in &people {
            let scene = Scene::make(&world, &people, Visibility::Org).await;
            let route = "/api/v1/templates/{templateId}";
            let body = scene.body(method, route);
            let (status, text) = ask(&world, person, method, &scene.path(route, true), &body).await;
            let expected = match standing.org {
                Some(OrgRole::Owner | OrgRole::Admin) => Verdict::Allowed,
                Some(OrgRole::Member | OrgRole::Guest) => Verdict::Forbidden,
                None => Verdict::Unknown,
            };
            assert_eq!(told(status), Some(expected), "{method} as {}: {status} {text}", standing.name);
        }
    }
}

#[tokio::test]
async fn a_socket_lets_in_whom_the_table_of_rights_lets_in() {
    let world = World::start().await;
    let people = people(&world).await;
    for visibility in [Visibility::Org, Visibility::Private] {
        let scene = Scene::make(&world, &people, visibility).await;
        let project = ProjectId(scene.ids["projectId"]);
        for (standing, person) in &people {
            let at = format!("{} in {visibility:?}", standing.name);
            let client = world.client(0, person).await;
            let subscribed = client.subscribe(project, Start::Live).await;
            match verdict("project.read", *standing, visibility) {
                Some(Verdict::Allowed) => assert_eq!(subscribed, Ok(()), "{at}"),
                _ => assert_eq!(subscribed.map_err(|e| e.code), Err(ErrorCode::NotFound), "{at}"),
            }
            let create = Command::NodeCreate(NodeCreate {
                project_id: Some(project),
                id: None,
                title: at.clone(),
                description: None,
                status: None,
                parent_id: None,
                position: None,
                metadata: None,
                author_type: None,
                supervisor_user_id: None,
            });
            let refusal = client.command(create).await.err().map(|e| e.code);
            let expected = match verdict("node.write", *standing, visibility) {
                Some(Verdict::Allowed) => None,
                Some(Verdict::Forbidden) => Some(ErrorCode::Forbidden),
                _ => Some(ErrorCode::NotFound),
            };
            assert_eq!(refusal, expected, "{at}");
        }
    }
}
