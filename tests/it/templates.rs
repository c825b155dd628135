//! Templates over REST: who reads and writes them, and what is made from them.

use glassbox_protocol::NodeId;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::orgs::{Team, delete, expect_fields, expect_same_as_nothing, get, patch, post, value};
use crate::rooms::create;
use crate::support::mirror::{Start, fold, read_log, read_tables};
use crate::support::world::{Person, World};

const PATH: &str = "/api/v1/templates";

async fn make(world: &World, caller: &Person, body: Value) -> String {
    let (status, made) = post(world, PATH, caller, &body).await;
    assert_eq!(status, 201, "{made}");
    format!("{PATH}/{}", made["id"].as_str().expect("an id"))
}

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().expect("a list").iter().map(|t| t["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn a_template_is_written_in_any_spelling_and_served_in_one() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let org = world.org(&ada).await;
    let body = json!({
        "orgId": org, "name": "T", "description": "D",
        "structure": {
            "default_inputs": [{"type": "file", "label": "Brief"}],
            "suggested_subnodes": [{"title": "s", "author_type": "agent", "own": 1}],
            "kept": {"x": [1]}
        },
        "agentConfig": {"max_iterations": 3, "kept": 1}
    });
    let (status, made) = post(&world, PATH, &ada, &body).await;
    assert_eq!(status, 201, "{made}");
    let structure = json!({
        "formatVersion": 1,
        "inputs": [{"type": "file", "label": "Brief", "required": false}],
        "outputs": [],
        "subNodes": [{"title": "s", "authorType": "agent", "own": 1}],
        "kept": {"x": [1]}
    });
    assert_eq!((&made["structure"], &made["agentConfig"]), (&structure, &json!({"maxIterations": 3, "kept": 1})));
    assert_eq!((&made["orgId"], &made["createdBy"], &made["isPublic"]), (&json!(org), &json!(ada.id), &json!(false)));
    let path = format!("{PATH}/{}", made["id"].as_str().expect("an id"));
    assert_eq!(get(&world, &path, &ada).await, (200, made.clone()));
    assert_eq!(value::<Value>(&world, "select structure from templates where name = 'T'").await, structure);

    // A row from before.
    world.sql("update templates set structure = '{\"subnodes\": [{\"title\": \"x\"}]}', agent_config = null where name = 'T'").await;
    let (_, old) = get(&world, &path, &ada).await;
    assert_eq!(old["structure"]["subNodes"], json!([{"title": "x", "authorType": "human"}]));
    assert_eq!((&old["structure"]["inputs"], &old["agentConfig"]), (&json!([]), &json!({})));

    let change =
        json!({"name": "U", "description": null, "structure": {}, "agentConfig": {"model": "m"}, "isPublic": true});
    let (status, changed) = patch(&world, &path, &ada, &change).await;
    assert_eq!((status, &changed["name"], changed.get("description")), (200, &json!("U"), None), "{changed}");
    assert_eq!((&changed["agentConfig"], &changed["isPublic"]), (&json!({"model": "m"}), &json!(true)));
    assert_eq!(patch(&world, &path, &ada, &json!({})).await, (200, changed));
    expect_fields(
        &world,
        Method::PATCH,
        &path,
        &ada,
        &[
            (json!({"name": null}), "name"),
            (json!({"structure": null}), "structure"),
            (json!({"structure": {"inputs": [{"type": "file"}]}}), "structure.inputs[0].label"),
            (json!({"agentConfig": {"tools": 1}}), "agentConfig.tools"),
            (json!({"isPublic": null}), "isPublic"),
        ],
    )
    .await;
    assert_eq!(delete(&world, &path, &ada).await, (204, Value::Null));
    assert_eq!(get(&world, &path, &ada).await.0, 404);

    let with = |key: &str, value: Value| {
        let mut body = json!({"orgId": org, "name": "T", "structure": {}});
        body[key] = value;
        body
    };
    let cases = [
        (json!({"name": "T", "structure": {}}), "orgId"),
        (with("orgId", json!("x")), "orgId"),
        (with("name", json!("")), "name"),
        (with("structure", Value::Null), "structure"),
        (with("structure", json!([])), "structure"),
        (with("structure", json!({"x": "y".repeat(65_536)})), "structure"),
        (with("structure", json!({"x": "\u{0}"})), "structure"),
        (with("structure", json!({"default_inputs": [{}]})), "structure.inputs[0].label"),
        (
            with("structure", json!({"subNodes": [{"title": "t", "templateId": Uuid::new_v4()}]})),
            "structure.subNodes[0].templateId",
        ),
        (with("agentConfig", json!({"maxIterations": "x"})), "agentConfig.maxIterations"),
        (with("agentConfig", json!(1)), "agentConfig"),
        (with("isPublic", json!("x")), "isPublic"),
    ];
    expect_fields(&world, Method::POST, PATH, &ada, &cases).await;
}

#[tokio::test]
async fn templates_are_read_by_their_organization_and_written_by_their_makers_and_admins() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let elsewhere = world.org(&team.stranger).await;
    let body = |name: &str| json!({"orgId": team.org, "name": name, "structure": {}});
    for (person, may) in [(&team.guest, 403), (&team.stranger, 404)] {
        assert_eq!(post(&world, PATH, person, &body("no")).await.0, may);
    }
    let private = make(&world, &team.member, body("Private")).await;
    let mut public = body("Public");
    public["isPublic"] = json!(true);
    assert_eq!(post(&world, PATH, &team.member, &public).await.0, 403, "only owners and admins publish");
    let public = make(&world, &team.admin, public).await;
    let foreign = make(&world, &team.stranger, json!({"orgId": elsewhere, "name": "Foreign", "structure": {}})).await;

    let system = ["Decision", "Research question", "Summarize documents"];
    for person in [&team.owner, &team.admin, &team.member, &team.guest] {
        let (_, list) = get(&world, PATH, person).await;
        assert_eq!(list["data"], list["templates"]);
        assert_eq!(names(&list), ["Decision", "Private", "Public", "Research question", "Summarize documents"]);
        assert_eq!(get(&world, &format!("{PATH}?orgId={}", team.org), person).await.1, list);
        assert_eq!(get(&world, &format!("{PATH}?orgId={elsewhere}"), person).await.0, 404);
        assert_eq!(get(&world, &private, person).await.0, 200);
        assert_eq!(get(&world, &foreign, person).await.0, 404);
    }
    let (_, list) = get(&world, PATH, &team.stranger).await;
    assert_eq!(names(&list), ["Decision", "Foreign", "Public", "Research question", "Summarize documents"]);
    // A second organization of one's own adds its templates, but not where one organization is asked for.
    world.join(elsewhere, &team.guest, "guest").await;
    let (_, both) = get(&world, PATH, &team.guest).await;
    assert_eq!(names(&both).len(), 6);
    let (_, own) = get(&world, &format!("{PATH}?orgId={}&limit=2", team.org), &team.guest).await;
    assert_eq!((names(&own).as_slice(), &own["hasMore"]), (["Decision", "Private"].as_slice(), &json!(true)));
    assert_eq!(both.get("hasMore"), None);

    let private_id: Uuid = private.rsplit('/').next().and_then(|id| id.parse().ok()).expect("an id");
    expect_same_as_nothing(
        &world,
        &team.stranger,
        private_id,
        &[
            (Method::GET, "/api/v1/templates/ID", json!({})),
            (Method::PATCH, "/api/v1/templates/ID", json!({"name": "x"})),
            (Method::DELETE, "/api/v1/templates/ID", json!({})),
            (Method::POST, "/api/v1/templates/ID/apply", json!({"projectId": Uuid::nil()})),
            (Method::POST, "/api/v1/templates/ID/instantiate", json!({"projectId": Uuid::nil()})),
        ],
    )
    .await;

    // Everybody may see the public one and those of the server; few may write.
    let (_, all) = get(&world, PATH, &team.owner).await;
    let decision = format!("{PATH}/{}", all["data"][0]["id"].as_str().expect("an id"));
    assert_eq!(all["data"][0].get("orgId"), None);
    assert_eq!(system.len(), 3);
    for (path, person, may) in [
        (&public, &team.stranger, 403),
        (&public, &team.guest, 403),
        (&public, &team.member, 403),
        (&private, &team.guest, 403),
        (&private, &team.member, 200),
        (&private, &team.admin, 200),
        (&public, &team.owner, 200),
        (&decision, &team.owner, 403),
        (&decision, &team.stranger, 403),
    ] {
        assert_eq!(
            patch(&world, path, person, &json!({"description": person.name})).await.0,
            may,
            "{path} {}",
            person.name
        );
        if may != 200 {
            assert_eq!(delete(&world, path, person).await.0, may);
        }
    }
    assert_eq!(patch(&world, &private, &team.member, &json!({"isPublic": true})).await.0, 403);
    assert_eq!(patch(&world, &private, &team.member, &json!({"isPublic": false})).await.0, 200, "nothing changes");
    assert_eq!(patch(&world, &private, &team.admin, &json!({"isPublic": true})).await.0, 200);
    // A maker who is a guest by now has no right to templates any more.
    world.sql(&format!("update org_members set role = 'guest' where user_id = '{}'", team.member.id)).await;
    assert_eq!(patch(&world, &private, &team.member, &json!({"name": "x"})).await.0, 403);
}

#[tokio::test]
async fn a_template_becomes_a_tree_of_nodes_in_one_transaction() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let (org, project) = (world.org(&ada).await, world.project(&ada).await);
    let inner =
        make(&world, &ada, json!({"orgId": org, "name": "Inner", "structure": {"subNodes": [{"title": "deep"}]}}))
            .await;
    let inner: Uuid = inner.rsplit('/').next().and_then(|id| id.parse().ok()).expect("an id");
    let template = make(&world, &ada, json!({
        "orgId": org, "name": "Interview", "description": "About it",
        "structure": {
            "inputs": [
                {"label": "Who", "type": "text", "required": true},
                {"label": "Guide", "type": "text", "textContent": "ask"},
                {"label": "Page", "type": "external_link"}
            ],
            "outputs": [{"label": "Transcript", "type": "text"}],
            "subNodes": [
                {"key": "prepare", "title": "Prepare", "templateId": inner},
                {"key": "talk", "title": "Talk", "authorType": "agent", "status": "in_progress", "dependsOn": ["prepare"],
                 "inputs": [{"label": "Tape", "type": "file"}]}
            ]
        },
        "agentConfig": {"model": "m"}
    })).await;
    let client = world.client(0, &ada).await;
    client.subscribe(project, Start::Snapshot).await.expect("subscribe");
    let parent = NodeId::random();
    client.command(create(parent, "parent")).await.expect("create");

    let body = json!({
        "projectId": project, "parentId": parent, "title": "With Bob", "position": {"x": 10, "y": 20},
        "values": {"Who": "Bob", "Page": "https://example.org/bob", "Unknown": "x"}
    });
    let (status, made) = post(&world, &format!("{template}/apply"), &ada, &body).await;
    assert_eq!(status, 201, "{made}");
    let nodes = made["nodes"].as_array().expect("nodes");
    let titles: Vec<&str> = nodes.iter().map(|n| n["title"].as_str().expect("a title")).collect();
    assert_eq!(titles, ["With Bob", "Prepare", "deep", "Talk"]);
    let root = &nodes[0];
    assert_eq!(
        (&root["id"], &root["parentId"], &root["position"]),
        (&made["rootId"], &json!(parent), &json!({"x": 10.0, "y": 20.0}))
    );
    assert_eq!(
        (&root["authorType"], &root["authorUserId"], &root["supervisorUserId"]),
        (&json!("agent"), &json!(ada.id), &json!(ada.id))
    );
    assert_eq!(
        (&root["description"], &root["status"], &root["version"]),
        (&json!("About it"), &json!("draft"), &json!(1))
    );
    assert_eq!(root["metadata"]["template"]["agentConfig"], json!({"model": "m"}));
    assert_eq!(root["metadata"]["template"]["outputs"], json!([{"label": "Transcript", "type": "text"}]));
    assert!(template.ends_with(root["metadata"]["template"]["id"].as_str().expect("an id")));
    let inputs: Vec<Value> = root["inputs"]
        .as_array()
        .expect("inputs")
        .iter()
        .map(|i| json!([i["inputType"], i["label"], i["textContent"], i["externalUrl"], i["metadata"], i["sortOrder"]]))
        .collect();
    assert_eq!(
        inputs,
        [
            json!(["text", "Who", "Bob", null, {"required": true}, 0]),
            json!(["text", "Guide", "ask", null, {"required": false}, 1]),
            json!(["external_link", "Page", null, "https://example.org/bob", {"required": false}, 2]),
        ]
    );
    assert_eq!(root["outputs"], json!([]));
    let y: Vec<f64> = nodes.iter().map(|n| n["position"]["y"].as_f64().expect("y")).collect();
    assert_eq!(y, [20.0, 170.0, 320.0, 470.0]);
    assert_eq!(
        (&nodes[1]["parentId"], &nodes[2]["parentId"], &nodes[3]["parentId"]),
        (&root["id"], &nodes[1]["id"], &root["id"])
    );
    assert_eq!((&nodes[3]["status"], &nodes[3]["authorType"]), (&json!("in_progress"), &json!("agent")));
    assert_eq!(nodes[3]["inputs"][0]["metadata"], json!({"required": false, "placeholder": true}));
    let (_, snapshot) = get(&world, &format!("/api/v1/projects/{project}/snapshot"), &ada).await;
    let shown = snapshot["nodes"].as_array().expect("nodes");
    assert!(nodes.iter().all(|node| shown.contains(node)), "the answer has the shape of a snapshot's nodes");

    // One transaction, and the log says the same as the tables.
    client.wait("the dependency", |f| (f["type"] == "dependency_added").then_some(())).await;
    let edge =
        value::<Value>(&world, "select jsonb_build_array(source_node_id, target_node_id) from node_dependencies").await;
    assert_eq!(edge, json!([nodes[1]["id"], nodes[3]["id"]]));
    let log = read_log(&world.database.superuser(), project).await;
    assert_eq!(log.iter().filter(|e| e.is_tx_end).count(), 3, "the project's maker, the parent, and all of it at once");
    let difference = fold(&log).difference(&read_tables(&world.database.superuser(), project).await);
    assert_eq!(difference, "");
    client.assert_sound();

    let (status, plain) = post(&world, &format!("{template}/instantiate"), &ada, &json!({"projectId": project})).await;
    assert_eq!((status, &plain["nodes"][0]["title"]), (201, &json!("Interview")));
    assert_eq!(
        (plain["nodes"][0].get("parentId"), &plain["nodes"][0]["position"]),
        (None, &json!({"x": 0.0, "y": 0.0}))
    );
}

#[tokio::test]
async fn an_application_that_breaks_a_rule_makes_nothing() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let (ada, org) = (&team.owner, team.org);
    let project = world.project(ada).await;
    post(&world, &format!("/api/v1/projects/{project}/members"), ada, &json!({"userId": team.guest.id})).await;
    let foreign = world.project(&team.stranger).await;
    let template = make(
        &world,
        ada,
        json!({
            "orgId": org, "name": "T",
            "structure": {"inputs": [{"label": "File", "type": "file"}, {"label": "Link", "type": "external_link"}],
                          "subNodes": [{"title": "s", "status": "odd"}]}
        }),
    )
    .await;
    let apply = format!("{template}/apply");
    let stranger = NodeId::random();
    let theirs = world.client(0, &team.stranger).await;
    theirs.subscribe(foreign, Start::Live).await.expect("subscribe");
    theirs.command(create(stranger, "theirs")).await.expect("create");
    let with = |key: &str, value: Value| {
        let mut body = json!({"projectId": project});
        body[key] = value;
        body
    };
    let cases = [
        (json!({}), "projectId"),
        (with("projectId", json!("x")), "projectId"),
        (with("parentId", json!(stranger)), "parentId"),
        (with("parentId", json!(Uuid::new_v4())), "parentId"),
        (with("title", json!("")), "title"),
        (with("title", json!("x".repeat(501))), "title"),
        (with("position", json!({"x": 1})), "position.y"),
        (with("values", json!({"Link": "ftp://x"})), "values.Link"),
        (with("values", json!({"File": "x"})), "values.File"),
        (with("values", json!({"Any": "\u{0}"})), "values.Any"),
        (with("values", json!({"Any": 1})), "values.Any"),
    ];
    let field = |answer: &Value| answer["details"]["field"].as_str().unwrap_or_default().to_owned();
    for (body, expected) in cases {
        let (status, answer) = post(&world, &apply, ada, &body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(expected.starts_with(&field(&answer)), "{body}: {answer}");
    }
    let mut refusals = Vec::new();
    for project in [foreign.0, Uuid::new_v4()] {
        let (status, mut answer) = post(&world, &apply, ada, &json!({"projectId": project})).await;
        answer["details"] = Value::Null;
        refusals.push((status, answer));
    }
    assert_eq!((refusals[0].0, &refusals[0]), (404, &refusals[1]));
    assert_eq!(post(&world, &apply, &team.guest, &json!({"projectId": project})).await.0, 403);
    assert_eq!(post(&world, &apply, &team.member, &json!({"projectId": project})).await.0, 201);
    world.sql(&format!("delete from nodes where project_id = '{project}'")).await;

    // A status that the workflow does not know gives way.
    patch(&world, &format!("/api/v1/projects/{project}"), ada, &json!({"settings": {"enforceWorkflow": true}})).await;
    let (_, made) = post(&world, &apply, ada, &json!({"projectId": project})).await;
    assert_eq!(made["nodes"][1]["status"], "draft");

    // A loop that was closed after the first of the two was written, and a template that went away.
    let id = template.rsplit('/').next().expect("an id").to_owned();
    let second = make(
        &world,
        ada,
        json!({"orgId": org, "name": "S", "structure": {"subNodes": [{"title": "x", "templateId": id}]}}),
    )
    .await;
    let second_id = second.rsplit('/').next().expect("an id").to_owned();
    let (status, _) =
        patch(&world, &template, ada, &json!({"structure": {"subNodes": [{"title": "y", "templateId": second_id}]}}))
            .await;
    assert_eq!(status, 200);
    let before: i64 = value(&world, "select count(*) from nodes").await;
    let (status, answer) = post(&world, &apply, ada, &json!({"projectId": project})).await;
    assert_eq!((status, answer["details"]["reason"].as_str()), (400, Some("closes a loop of templates")), "{answer}");
    assert_eq!(delete(&world, &second, ada).await.0, 204);
    let (status, answer) = post(&world, &apply, ada, &json!({"projectId": project})).await;
    assert_eq!((status, field(&answer).as_str()), (400, "structure.subNodes[0].templateId"), "{answer}");
    assert_eq!(value::<i64>(&world, "select count(*) from nodes").await, before);
}

#[tokio::test]
async fn a_post_that_is_sent_twice_takes_effect_once() {
    let world = World::start().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (org, project) = (world.org(&ada).await, world.project(&ada).await);
    world.join(org, &bob, "member").await;
    let template = make(&world, &ada, json!({"orgId": org, "name": "T", "structure": {}})).await;
    let calls = [
        ("/api/v1/orgs".to_owned(), json!({"name": "O", "slug": "once"}), json!({"name": "O", "slug": "twice"})),
        (format!("/api/v1/orgs/{org}/projects"), json!({"name": "P"}), json!({"name": "Q"})),
        (format!("/api/v1/orgs/{org}/members"), json!({"email": "a@example.org"}), json!({"email": "b@example.org"})),
        (format!("/api/v1/projects/{project}/members"), json!({"userId": bob.id}), json!({"userId": ada.id})),
        (
            PATH.to_owned(),
            json!({"orgId": org, "name": "U", "structure": {}}),
            json!({"orgId": org, "name": "V", "structure": {}}),
        ),
        (format!("{template}/apply"), json!({"projectId": project}), json!({"projectId": project, "title": "x"})),
    ];
    for (path, body, other) in calls {
        let send = async |body: &Value| {
            let request = world.http.post(world.url(0, &path)).bearer_auth(&ada.token).header("Idempotency-Key", "k");
            let response = request.json(body).send().await.expect("an answer");
            let status = response.status().as_u16();
            (status, response.json::<Value>().await.expect("JSON"))
        };
        let first = send(&body).await;
        assert_eq!(first.0, 201, "{path}: {first:?}");
        assert_eq!(send(&body).await, first, "{path}");
        let (status, answer) = send(&other).await;
        assert_eq!((status, answer["code"].as_str()), (409, Some("IDEMPOTENCY_CONFLICT")), "{path}: {answer}");
    }
    let counts: Value = value(
        &world,
        "select jsonb_build_array(
            (select count(*) from organizations), (select count(*) from projects), (select count(*) from org_members),
            (select count(*) from project_members), (select count(*) from templates where org_id is not null),
            (select count(*) from nodes))",
    )
    .await;
    assert_eq!(counts, json!([2, 2, 4, 3, 2, 1]));
    let told: Vec<String> = {
        let sql = "select action from audit_log where action ~ 'node|applied'";
        sqlx::query_scalar(sql).fetch_all(&world.database.superuser()).await.expect("entries")
    };
    assert_eq!(told, ["template.applied"], "one change, one entry");
}

#[tokio::test]
async fn every_template_of_the_server_can_be_applied() {
    let world = World::start().await;
    let ada = world.user("ada").await;
    let project = world.project(&ada).await;
    let (_, list) = get(&world, PATH, &ada).await;
    for template in list["data"].as_array().expect("a list") {
        assert_eq!(template["structure"]["formatVersion"], 1);
        glassbox::template::check::structure(&template["structure"]).expect("a structure by the rules");
        glassbox::template::check::agent_config(&template["agentConfig"]).expect("a configuration by the rules");
        let path = format!("{PATH}/{}/apply", template["id"].as_str().expect("an id"));
        let (status, made) = post(&world, &path, &ada, &json!({"projectId": project})).await;
        assert_eq!(status, 201, "{made}");
        assert!(made["nodes"].as_array().is_some_and(|nodes| nodes.len() > 1), "{made}");
    }
}
