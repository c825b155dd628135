//! Members of organizations and projects: who may make whom what, and what those lose who are removed.

use std::collections::BTreeSet;

use glassbox_protocol::OrgId;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::orgs::{Team, call, delete, expect_fields, get, patch, post, value};
use crate::support::world::{Person, World};

fn of(org: OrgId) -> String {
    format!("/api/v1/orgs/{org}/members")
}

pub fn one(org: OrgId, person: &Person) -> String {
    format!("/api/v1/orgs/{org}/members/{}", person.id)
}

/// A user as a worker key has one.
async fn agent(world: &World, org: OrgId, name: &str) -> Uuid {
    let id = Uuid::new_v4();
    world
        .sql(&format!(
            "insert into users (id, cognito_sub, email, name) values ('{id}', 'worker:{id}', 'worker-{id}@workers.invalid', '{name}');
             insert into realtime.worker_keys (id, org_id, user_id, name, secret_hash)
             values ('{id}', '{org}', '{id}', '{name}', decode(repeat('00', 32), 'hex'));
             insert into org_members (org_id, user_id, role) values ('{org}', '{id}', 'member')"
        ))
        .await;
    id
}

#[tokio::test]
async fn members_are_listed_by_name_with_who_they_are() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let robot = agent(&world, team.org, "Robot").await;
    let (status, invited) = post(&world, &of(team.org), &team.admin, &json!({"email": "New.Person@Example.org"})).await;
    assert_eq!(status, 201, "{invited}");

    let (status, list) = get(&world, &of(team.org), &team.member).await;
    assert_eq!(status, 200);
    let list = list["data"].as_array().expect("a list");
    let emails: Vec<&str> = list.iter().map(|m| m["user"]["email"].as_str().expect("an email")).collect();
    let robots = format!("worker-{robot}@workers.invalid");
    let mut by_name = ["admin", "guest", "member", "owner"].map(|name| format!("{name}@example.org")).to_vec();
    by_name.insert(4, robots);
    by_name.push("New.Person@Example.org".to_owned());
    let as_stored: Vec<String> = {
        let sql =
            "select u.email from users u join org_members m on m.user_id = u.id order by u.name nulls last, u.email";
        sqlx::query_scalar(sql).fetch_all(&world.database.superuser()).await.expect("emails")
    };
    assert_eq!(emails, as_stored, "in the order of the database");
    assert_eq!(BTreeSet::from_iter(emails), by_name.iter().map(String::as_str).collect());
    let find = |email: &str| list.iter().find(|m| m["user"]["email"] == email).expect("a member").clone();
    let owner = find("owner@example.org");
    assert_eq!(
        (&owner["role"], &owner["status"], &owner["user"]["kind"]),
        (&json!("owner"), &json!("active"), &json!("person"))
    );
    assert_eq!(
        (&owner["orgId"], &owner["userId"], &owner["user"]["id"]),
        (&json!(team.org), &json!(team.owner.id), &json!(team.owner.id))
    );
    assert_eq!(find(&by_name[4])["user"]["kind"], "agent");
    assert_eq!(find("New.Person@Example.org"), invited);
    assert_eq!(
        (&invited["status"], &invited["role"], invited["user"].get("name")),
        (&json!("invited"), &json!("member"), None)
    );

    assert_eq!(get(&world, &of(team.org), &team.guest).await.0, 403);
    let (_, page) = get(&world, &format!("{}?limit=2&offset=1", of(team.org)), &team.owner).await;
    assert_eq!(page["data"], json!(list[1..3]));
}

#[tokio::test]
async fn somebody_is_added_by_id_or_email_and_invited_when_nobody_knows_them() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let path = of(team.org);
    let (bob, eve) = (world.user("bob").await, world.user("eve").await);
    let elsewhere = world.org(&eve).await;

    let (status, added) = post(&world, &path, &team.owner, &json!({"userId": bob.id, "role": "guest"})).await;
    assert_eq!((status, &added["role"], &added["user"]["name"]), (201, &json!("guest"), &json!("bob")));
    // An account of another organization is found by its email, in any spelling.
    let (status, added) =
        post(&world, &path, &team.owner, &json!({"email": "EVE@example.ORG", "name": "ignored"})).await;
    assert_eq!((status, &added["userId"], &added["user"]["name"]), (201, &json!(eve.id), &json!("eve")));
    for body in [json!({"email": "eve@example.org"}), json!({"userId": bob.id}), json!({"userId": team.owner.id})] {
        let (status, answer) = post(&world, &path, &team.owner, &body).await;
        assert_eq!((status, answer["code"].as_str()), (409, Some("CONFLICT")), "{body}");
    }

    // Two organizations invite the same stranger: one row, which the first sign-in takes over.
    let (_, first) =
        post(&world, &path, &team.owner, &json!({"email": "Cy@Example.org", "name": "Cyrus", "role": "admin"})).await;
    let (_, second) = post(&world, &of(elsewhere), &eve, &json!({"email": "cy@example.org"})).await;
    assert_eq!(first["userId"], second["userId"]);
    assert_eq!(
        (&first["status"], &first["user"]["name"], &first["user"]["email"]),
        (&json!("invited"), &json!("Cyrus"), &json!("Cy@Example.org"))
    );
    let sub: String = value(&world, "select cognito_sub from users where name = 'Cyrus'").await;
    assert_eq!(sub, "invited:cy@example.org");
    let token = json!({"userId": "cy", "email": "cy@example.org", "name": "Cy"});
    world.post("/api/v1/auth/dev-token", None, &token).await;
    let (_, list) = get(&world, &path, &team.owner).await;
    let taken = list["data"].as_array().expect("a list").iter().find(|m| m["userId"] == first["userId"]);
    assert_eq!(taken.map(|m| (&m["status"], &m["role"])), Some((&json!("active"), &json!("admin"))));

    // A real account goes before an invitation that stayed behind.
    let real = world.user("dee").await;
    world.sql("insert into users (cognito_sub, email, created_at) values ('invited:dee@example.org', 'dee@example.org', now() - interval '1 day')").await;
    let (_, found) = post(&world, &path, &team.owner, &json!({"email": "dee@example.org"})).await;
    assert_eq!(found["userId"], json!(real.id));

    // Nobody, and an agent of another organization, are told apart by nothing.
    let robot = agent(&world, elsewhere, "Robot").await;
    for id in [robot, Uuid::new_v4()] {
        let (status, answer) = post(&world, &path, &team.owner, &json!({"userId": id})).await;
        assert_eq!((status, answer["message"].as_str()), (400, Some("userId: refers to somebody who does not exist")));
    }
    let (status, _) =
        post(&world, &path, &team.owner, &json!({"email": format!("worker-{robot}@workers.invalid")})).await;
    assert_eq!(status, 201, "the email is a person's who was never here");
    expect_fields(
        &world,
        Method::POST,
        &path,
        &team.owner,
        &[
            (json!({}), "email"),
            (json!({"email": ""}), "email"),
            (json!({"email": "nobody"}), "email"),
            (json!({"email": "a b@example.org"}), "email"),
            (json!({"email": "a\u{0}@example.org"}), "email"),
            (json!({"email": format!("{}@example.org", "x".repeat(240))}), "email"),
            (json!({"email": "a@example.org", "userId": bob.id}), "email"),
            (json!({"userId": "x"}), "userId"),
            (json!({"email": "a@example.org", "role": "boss"}), "role"),
            (json!({"email": "a@example.org", "name": "x".repeat(256)}), "name"),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_admin_neither_makes_nor_touches_owners() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let path = of(team.org);
    for (body, may) in [
        (json!({"email": "x@example.org", "role": "owner"}), 403),
        (json!({"email": "x@example.org", "role": "admin"}), 201),
    ] {
        assert_eq!(post(&world, &path, &team.admin, &body).await.0, may, "{body}");
    }
    // The only owner: an admin is told of their right first, and not of the rule.
    assert_eq!(patch(&world, &one(team.org, &team.owner), &team.admin, &json!({"role": "member"})).await.0, 403);
    assert_eq!(delete(&world, &one(team.org, &team.owner), &team.admin).await.0, 403);
    // A second owner, so that no rule but this one stands in the way.
    let (status, promoted) = patch(&world, &one(team.org, &team.member), &team.owner, &json!({"role": "owner"})).await;
    assert_eq!((status, &promoted["role"]), (200, &json!("owner")));
    for (person, role) in
        [(&team.owner, "owner"), (&team.owner, "member"), (&team.guest, "owner"), (&team.admin, "owner")]
    {
        assert_eq!(
            patch(&world, &one(team.org, person), &team.admin, &json!({"role": role})).await.0,
            403,
            "{}",
            person.name
        );
    }
    assert_eq!(delete(&world, &one(team.org, &team.owner), &team.admin).await.0, 403);
    assert_eq!(patch(&world, &one(team.org, &team.guest), &team.admin, &json!({"role": "member"})).await.0, 200);
    assert_eq!(patch(&world, &one(team.org, &team.stranger), &team.admin, &json!({"role": "member"})).await.0, 404);
    assert_eq!(delete(&world, &one(team.org, &team.stranger), &team.admin).await.0, 404);
    for (body, field) in [(json!({}), "role"), (json!({"role": "boss"}), "role"), (json!({"role": 1}), "role")] {
        expect_fields(&world, Method::PATCH, &one(team.org, &team.guest), &team.admin, &[(body, field)]).await;
    }

    let robot = agent(&world, team.org, "Robot").await;
    for (method, body) in [
        (Method::PATCH, json!({"role": "admin"})),
        (Method::PATCH, json!({"role": "guest"})),
        (Method::DELETE, Value::Null),
    ] {
        let (status, answer) = call(&world, method, &format!("{path}/{robot}"), &team.owner, &body).await;
        assert_eq!((status, answer["code"].as_str()), (409, Some("CONFLICT")), "{answer}");
    }
}

#[tokio::test]
async fn members_are_managed_by_admins_and_everybody_may_leave() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let other = world.user("other").await;
    world.join(team.org, &other, "member").await;
    for (person, may) in [(&team.member, 403), (&team.guest, 403), (&team.stranger, 404)] {
        for target in [&other, &team.stranger, &team.owner] {
            let target = one(team.org, target);
            assert_eq!(patch(&world, &target, person, &json!({"role": "guest"})).await.0, may, "{}", person.name);
            if target != one(team.org, person) {
                assert_eq!(delete(&world, &target, person).await.0, may, "{}", person.name);
            }
        }
        assert_eq!(post(&world, &of(team.org), person, &json!({"userId": team.stranger.id})).await.0, may);
        assert_eq!(patch(&world, &one(team.org, person), person, &json!({"role": "owner"})).await.0, may);
    }
    let (status, answer) = delete(&world, &one(team.org, &team.owner), &team.owner).await;
    assert_eq!((status, answer["message"].as_str()), (409, Some("an organization needs an owner")));
    assert_eq!(patch(&world, &one(team.org, &team.owner), &team.owner, &json!({"role": "admin"})).await.0, 409);
    assert_eq!(patch(&world, &one(team.org, &team.owner), &team.owner, &json!({"role": "owner"})).await.0, 200);
    // Who was only invited may never come, and so is no owner to leave it to; but may go.
    let invite = json!({"email": "late@example.org", "role": "owner"});
    let (_, late) = post(&world, &of(team.org), &team.owner, &invite).await;
    assert_eq!(delete(&world, &one(team.org, &team.owner), &team.owner).await.0, 409);
    assert_eq!(patch(&world, &one(team.org, &team.owner), &team.owner, &json!({"role": "admin"})).await.0, 409);
    let late = format!("{}/{}", of(team.org), late["userId"].as_str().expect("an id"));
    assert_eq!(delete(&world, &late, &team.owner).await.0, 204);
    for person in [&team.guest, &team.member, &team.admin] {
        assert_eq!(delete(&world, &one(team.org, person), person).await, (204, Value::Null));
        assert_eq!(get(&world, &format!("/api/v1/orgs/{}", team.org), person).await.0, 404);
        assert_eq!(delete(&world, &one(team.org, person), person).await.0, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_owners_who_end_each_other_at_once_one_stays() {
    let world = World::with_instances(2).await;
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let org = world.org(&ann).await;
    let pairs = [
        [(Method::PATCH, &ann, &bob), (Method::PATCH, &bob, &ann)],
        [(Method::DELETE, &ann, &bob), (Method::DELETE, &bob, &ann)],
        [(Method::PATCH, &ann, &ann), (Method::PATCH, &bob, &bob)],
        [(Method::DELETE, &ann, &ann), (Method::DELETE, &bob, &bob)],
        [(Method::PATCH, &ann, &bob), (Method::DELETE, &bob, &ann)],
    ];
    for pair in pairs {
        world
            .sql(&format!(
                "delete from org_members where org_id = '{org}';
                 insert into org_members (org_id, user_id, role) values ('{org}', '{}', 'owner'), ('{org}', '{}', 'owner')",
                ann.id, bob.id
            ))
            .await;
        // Somebody holds the organization until both have had their rights looked at and wait for their turn.
        let superuser = world.database.superuser();
        let mut holder = superuser.begin().await.expect("begin");
        sqlx::query("select 1 from organizations where id = $1 for update")
            .bind(org.0)
            .execute(&mut *holder)
            .await
            .expect("hold the organization");
        let ask = async |index: usize| {
            let (method, caller, target) = &pair[index];
            let body = if *method == Method::PATCH { json!({"role": "admin"}) } else { Value::Null };
            crate::orgs::call_at(&world, index, method.clone(), &one(org, target), caller, &body).await
        };
        let release = async {
            crate::support::wait_until("both wait", crate::support::DEADLINE, async || {
                let waiting = "select count(*) from pg_stat_activity
                    where datname = current_database() and wait_event_type = 'Lock' and query like '%for no key update%'";
                value::<i64>(&world, waiting).await == 2
            })
            .await;
            holder.commit().await.expect("let go");
        };
        let (first, second, ()) = tokio::join!(ask(0), ask(1), release);
        let mut statuses = [first.0, second.0];
        statuses.sort_unstable();
        assert!(statuses[0] < 300 && statuses[1] == 409, "{pair:?}: {first:?} {second:?}");
        let owners: i64 =
            value(&world, &format!("select count(*) from org_members where org_id = '{org}' and role = 'owner'")).await;
        assert_eq!(owners, 1);
    }
}

#[tokio::test]
async fn a_project_lists_its_members_and_those_who_need_no_row() {
    let world = World::start().await;
    let team = Team::gather(&world).await;
    let project = world.project(&team.member).await;
    let org = world.org(&team.member).await;
    for person in [&team.owner, &team.guest, &team.admin] {
        let role = if person.id == team.admin.id {
            "admin"
        } else if person.id == team.guest.id {
            "guest"
        } else {
            "member"
        };
        world.join(org, person, role).await;
    }
    let path = format!("/api/v1/projects/{project}/members");
    let (status, added) =
        post(&world, &path, &team.admin, &json!({"email": "GUEST@example.org", "role": "member"})).await;
    assert_eq!(
        (status, &added["role"], &added["effectiveRole"], &added["inherited"]),
        (201, &json!("member"), &json!("viewer"), &json!(false))
    );
    assert_eq!(added["projectId"], json!(project));
    let (_, list) = get(&world, &path, &team.guest).await;
    let rows: Vec<_> = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|m| {
            (
                m["user"]["name"].as_str().expect("a name"),
                m["role"].as_str().expect("a role"),
                m["effectiveRole"].as_str(),
                m["inherited"] == true,
            )
        })
        .collect();
    // The owner made it and so has a row; a member without a row is not listed.
    assert_eq!(
        rows,
        [
            ("admin", "admin", Some("admin"), true),
            ("guest", "member", Some("viewer"), false),
            ("member", "admin", Some("admin"), true),
        ]
    );

    // Who is elsewhere and who is nowhere get the same answer.
    for body in [
        json!({"userId": team.stranger.id}),
        json!({"userId": Uuid::new_v4()}),
        json!({"email": "stranger@example.org"}),
        json!({"email": "nobody@example.org"}),
    ] {
        let (status, answer) = post(&world, &path, &team.admin, &body).await;
        assert_eq!(
            (status, answer["message"].as_str()),
            (409, Some("is not in the organization: invite there first")),
            "{body}"
        );
    }
    assert_eq!(post(&world, &path, &team.admin, &json!({"userId": team.guest.id})).await.0, 409);
    assert_eq!(
        post(&world, &path, &team.owner, &json!({"userId": team.owner.id, "role": "admin"})).await.0,
        403,
        "a member"
    );
    assert_eq!(post(&world, &path, &team.guest, &json!({"userId": team.owner.id})).await.0, 403);
    expect_fields(
        &world,
        Method::POST,
        &path,
        &team.admin,
        &[(json!({}), "email"), (json!({"userId": team.owner.id, "role": "owner"}), "role")],
    )
    .await;

    let robot = agent(&world, org, "Robot").await;
    assert_eq!(post(&world, &path, &team.admin, &json!({"userId": robot, "role": "admin"})).await.0, 409);
    assert_eq!(post(&world, &path, &team.admin, &json!({"userId": robot})).await.0, 201);
    assert_eq!(patch(&world, &format!("{path}/{robot}"), &team.admin, &json!({"role": "admin"})).await.0, 409);
    assert_eq!(patch(&world, &format!("{path}/{robot}"), &team.admin, &json!({"role": "viewer"})).await.0, 200);

    let guest = format!("{path}/{}", team.guest.id);
    assert_eq!(patch(&world, &guest, &team.owner, &json!({"role": "admin"})).await.0, 403);
    assert_eq!(
        patch(&world, &format!("{path}/{}", team.owner.id), &team.admin, &json!({"role": "admin"})).await.0,
        404
    );
    assert_eq!(delete(&world, &guest, &team.owner).await.0, 403);
    assert_eq!(delete(&world, &guest, &team.guest).await.0, 204, "anybody may leave");
    assert_eq!(get(&world, &path, &team.guest).await.0, 404);
    assert_eq!(delete(&world, &guest, &team.admin).await.0, 404);
    expect_fields(&world, Method::PATCH, &format!("{path}/x"), &team.admin, &[(json!({"role": "admin"}), "userId")])
        .await;
}
