//! A project that looks like real work, for people who want to see something move.
//!
//! All of it is made in one transaction, so that it is there whole or not at all; the second call finds the first
//! one's by the slug of its organization.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use glassbox_protocol::{NodeId, OrgId, ProjectId, UserId};
use serde_json::json;

use crate::auth::sign_in::dev_user;
use crate::auth::worker_key;
use crate::store::demo::{
    DemoNode, add_execution, add_member, add_node_input, add_project_member, add_text_input, add_text_output,
    add_trace, insert_dependencies, insert_nodes, revise,
};
use crate::store::projects::{self, NewProject};
use crate::store::{Database, Origin, Tenant, Tx, canvas, orgs, worker_keys};

/// The organization's slug, by which it is found again.
const SLUG: &str = "demo";
/// The project's name.
const NAME: &str = "River gauges: first field season";
/// What the agent is called.
const AGENT: &str = "Field agent";
/// The people: id for a dev token, name, role in the organization.
const PEOPLE: [(&str, &str, &str); 4] = [
    ("dev-user-1", "Ada Lind", "owner"),
    ("dev-user-2", "Ben Okafor", "admin"),
    ("dev-user-3", "Chiara Russo", "member"),
    ("dev-user-4", "Dev Patel", "guest"),
];
/// Most organizations that one person of the demo is looked for in.
const ORGS_MAX: i64 = 1000;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The organization.
    pub org: OrgId,
    /// The project.
    pub project: ProjectId,
    /// A node to play with.
    pub node: NodeId,
    /// The id for a dev token of the owner.
    pub user: &'static str,
}

/// Who made a node.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Person(usize),
    Agent,
}
use By::{Agent, Person};

/// An area of work: title, what it is about, and its nodes with status and author.
type Area = (&'static str, &'static str, &'static [(&'static str, &'static str, By)]);

const AREAS: [Area; 6] = [
    (
        "Sites and permits",
        "Twelve places along the river where a gauge may stay over the winter.",
        &[
            ("List candidate sites from the flood maps", "complete", Agent),
            ("Walk the upper reach", "complete", Person(2)),
            ("Walk the lower reach", "complete", Person(2)),
            ("Ask the landowners", "in_progress", Person(0)),
            ("Apply for the permit of the water authority", "in_progress", Person(0)),
            ("Check the sites for mobile coverage", "complete", Agent),
            ("Agree on six sites", "review", Person(1)),
            ("Insurance for the equipment", "draft", Person(1)),
            ("Photograph every site from both banks", "draft", Person(2)),
        ],
    ),
    (
        "Hardware",
        "A gauge that survives a flood: pressure sensor, solar panel, radio, and a box that stays dry.",
        &[
            ("Compare pressure sensors", "complete", Agent),
            ("Order eight sensors", "complete", Person(1)),
            ("Power budget for a dark December", "complete", Agent),
            ("Solder the first board", "complete", Person(2)),
            ("Leak test at two bar", "in_progress", Person(2)),
            ("Lightning protection", "blocked", Person(1)),
            ("Brackets for bridge piers", "in_progress", Person(2)),
            ("Bill of materials for ten units", "review", Agent),
            ("Label and box the units", "draft", Person(2)),
        ],
    ),
    (
        "Firmware",
        "Measure every five minutes, send every hour, never lose a value.",
        &[
            ("Ring buffer that survives a power loss", "complete", Person(1)),
            ("Driver for the pressure sensor", "complete", Person(1)),
            ("Send with acknowledgement and retry", "in_progress", Person(1)),
            ("Clock drift without a network", "in_progress", Agent),
            ("Update over the air", "blocked", Person(1)),
            ("Watchdog and brown-out tests", "draft", Person(2)),
            ("Battery level in every message", "complete", Person(1)),
            ("Review the message format with the data team", "review", Person(0)),
            ("Sleep current below 20 microamperes", "in_progress", Person(2)),
        ],
    ),
    (
        "Data pipeline",
        "From raw pressure to a water level that people may rely on.",
        &[
            ("Receive and store raw messages", "complete", Person(1)),
            ("Convert pressure to level", "complete", Agent),
            ("Compensate for air pressure", "in_progress", Agent),
            ("Mark implausible values", "in_progress", Person(0)),
            ("Rating curves for the six sites", "draft", Person(0)),
            ("Backfill from the loggers' cards", "draft", Agent),
            ("Alarm when a gauge falls silent", "review", Person(1)),
            ("Daily export for the authority", "draft", Person(1)),
            ("Compare with the old staff gauge", "draft", Person(2)),
        ],
    ),
    (
        "Public page",
        "Anybody at the river should see the level on a phone, in the rain, with one thumb.",
        &[
            ("Sketch the first page", "complete", Person(0)),
            ("Level of the last 48 hours as a curve", "in_progress", Person(1)),
            ("Words for the three warning levels", "review", Agent),
            ("Works without a network for an hour", "draft", Person(1)),
            ("Translate into three languages", "draft", Agent),
            ("Test with the canoe club", "draft", Person(2)),
            ("Contrast and font size outdoors", "in_progress", Person(0)),
            ("Imprint and privacy", "draft", Person(0)),
        ],
    ),
    (
        "Season report",
        "What we learned, for the people who pay and for those who build the next ones.",
        &[
            ("Outline", "complete", Person(0)),
            ("Collect the incidents of the season", "in_progress", Agent),
            ("Availability of every gauge", "draft", Agent),
            ("Costs against the plan", "draft", Person(0)),
            ("What to build differently", "draft", Person(2)),
            ("Review by the steering group", "draft", Person(0)),
        ],
    ),
];

/// Dependencies between areas: the second needs the first.
const EDGES: [(&str, &str); 14] = [
    ("List candidate sites from the flood maps", "Walk the upper reach"),
    ("List candidate sites from the flood maps", "Walk the lower reach"),
    ("Walk the upper reach", "Agree on six sites"),
    ("Walk the lower reach", "Agree on six sites"),
    ("Check the sites for mobile coverage", "Agree on six sites"),
    ("Agree on six sites", "Brackets for bridge piers"),
    ("Agree on six sites", "Rating curves for the six sites"),
    ("Compare pressure sensors", "Order eight sensors"),
    ("Order eight sensors", "Driver for the pressure sensor"),
    ("Power budget for a dark December", "Sleep current below 20 microamperes"),
    ("Driver for the pressure sensor", "Convert pressure to level"),
    ("Receive and store raw messages", "Convert pressure to level"),
    ("Convert pressure to level", "Level of the last 48 hours as a curve"),
    ("Collect the incidents of the season", "What to build differently"),
];

/// What the agent is at.
const AT_WORK: &str = "Compensate for air pressure";
/// What the hints suggest to change.
const TO_PLAY_WITH: &str = "Agree on six sites";

/// Finds the demo project, or makes it.
///
/// # Errors
/// The database is away, or somebody else has an organization with the slug `demo`.
pub async fn fill(database: &Database) -> anyhow::Result<Demo> {
    let mut people = Vec::with_capacity(PEOPLE.len());
    for (id, name, _) in PEOPLE {
        let email = format!("{id}@example.org");
        people.push(dev_user(database, id, &email, Some(name)).await.context("make the people")?);
    }
    if let Some(demo) = find(database, people[0]).await.context("look for the demo project")? {
        return Ok(demo);
    }

    let org = OrgId::random();
    let mut tx = database.begin(&Tenant::member(org, people[0])).await?;
    tx.set_origin(&Origin::user(people[0]), &[]).await?;
    if let Err(e) = orgs::create(&mut tx, org, people[0], "Demo", SLUG, &json!({})).await {
        if !orgs::is_taken_slug(&e) {
            return Err(e).context("make the organization");
        }
        // Another process was faster, or the slug is somebody else's.
        drop(tx);
        match find(database, people[0]).await? {
            Some(demo) => return Ok(demo),
            None => bail!("the slug {SLUG} belongs to an organization of somebody else"),
        }
    }
    let (project, node) = make(&mut tx, org, &people).await.context("make the demo project")?;
    tx.commit().await.context("commit the demo project")?;
    Ok(Demo { org, project, node, user: PEOPLE[0].0 })
}

async fn find(database: &Database, owner: UserId) -> anyhow::Result<Option<Demo>> {
    let mut tx = database.begin(&Tenant::user(owner)).await?;
    let list = orgs::of_user(&mut tx, owner, ORGS_MAX).await?;
    drop(tx);
    let Some(org) = list.iter().find(|org| org.slug == SLUG).map(|org| org.id()) else {
        return Ok(None);
    };
    let mut tx = database.begin(&Tenant::member(org, owner)).await?;
    let project = projects::by_name(&mut tx, org, NAME).await?;
    let Some(project) = project else {
        bail!("the organization {SLUG} is there without the project \"{NAME}\"; delete or rename it to start over");
    };
    let (nodes, _) = canvas::read(&mut tx, project).await?;
    let node = nodes.iter().find(|node| node.title == TO_PLAY_WITH).or(nodes.first());
    let node = node.context("the demo project has no nodes any more")?.id;
    Ok(Some(Demo { org, project, node, user: PEOPLE[0].0 }))
}

async fn make(tx: &mut Tx, org: OrgId, people: &[UserId]) -> anyhow::Result<(ProjectId, NodeId)> {
    // Nobody is told the secret: the agent's work is made here, and its key can be revoked like any other.
    let agent = worker_keys::create(tx, org, people[0], AGENT, &worker_key::generate()).await?.user();
    for (user, (_, _, role)) in people.iter().zip(PEOPLE) {
        add_member(tx, org, *user, role).await?;
    }
    let new = NewProject {
        name: NAME,
        description: Some("Six water gauges on one river, from the flood maps to the report."),
        settings: json!({ "defaultNodeStatus": "draft", "visibility": "org" }),
        workflow_states: json!(["draft", "in_progress", "blocked", "review", "complete"]),
    };
    let project = projects::create(tx, org, people[0], &new).await?.id();
    // A guest sees what somebody has let them see.
    add_project_member(tx, project, people[3], "viewer").await?;

    let nodes = nodes(people, agent);
    let ids: HashMap<&str, NodeId> = nodes.iter().map(|node| (node.title.as_str(), node.id)).collect();
    let id = |title: &str| ids.get(title).copied().with_context(|| format!("the demo has no node \"{title}\""));
    insert_nodes(tx, org, project, &nodes).await?;
    let edges = EDGES.iter().map(|(source, target)| Ok((id(source)?, id(target)?)));
    insert_dependencies(tx, &edges.collect::<anyhow::Result<Vec<_>>>()?).await?;
    let agree = id(TO_PLAY_WITH)?;
    revisions(tx, people, agree, id("Power budget for a dark December")?).await?;
    agent_at_work(tx, agent, id(AT_WORK)?, id("Convert pressure to level")?).await?;
    Ok((project, agree))
}

/// The nodes: one for each area in two rows, its work below it in three columns.
fn nodes(people: &[UserId], agent: UserId) -> Vec<DemoNode> {
    let mut nodes = Vec::new();
    let mut areas_x = [0, 0];
    for (a, (title, about, work)) in AREAS.into_iter().enumerate() {
        let row = a / 3;
        let left = areas_x[row];
        areas_x[row] += 1000;
        let top = i32::from(row == 1) * 900;
        let area = NodeId::random();
        nodes.push(DemoNode {
            id: area,
            parent: None,
            title: title.to_owned(),
            description: Some(about.to_owned()),
            status: "in_progress",
            author_type: "human",
            author: people[0],
            supervisor: None,
            position: json!({ "x": left + 300, "y": top }),
            metadata: json!({ "tags": ["area"], "priority": "high" }),
        });
        for ((title, status, by), i) in work.iter().zip(0_i32..) {
            let (author_type, author, supervisor) = match by {
                Person(who) => ("human", people[*who], None),
                Agent => ("agent", agent, Some(people[0])),
            };
            nodes.push(DemoNode {
                id: NodeId::random(),
                parent: Some(area),
                title: (*title).to_owned(),
                description: None,
                status,
                author_type,
                author,
                supervisor,
                position: json!({ "x": left + (i % 3) * 300, "y": top + 200 + (i / 3) * 180 }),
                metadata: json!({ "assignees": [supervisor.unwrap_or(author)] }),
            });
        }
    }
    nodes
}

/// What happened to nodes since they were made: each change is a version.
async fn revisions(tx: &mut Tx, people: &[UserId], agree: NodeId, budget: NodeId) -> anyhow::Result<()> {
    for (who, node, status, description) in [
        (1, agree, "in_progress", "Six of the twelve, with one reserve."),
        (2, agree, "in_progress", "Six of the twelve, with two reserves: the weir floods the lower bank."),
        (1, agree, "review", "Six of the twelve, with two reserves. Please look at sites 4 and 9 again."),
        (0, budget, "review", "31 days without sun at 0.4 W mean."),
        (0, budget, "complete", "21 days without sun at 0.3 W mean; the larger battery covers it."),
    ] {
        tx.set_origin(&Origin::user(people[who]), &[]).await?;
        revise(tx, node, status, description).await?;
    }
    add_text_input(tx, agree, "What matters", "Access in winter, mobile coverage, a pier or a tree to hold on to.")
        .await?;
    add_text_output(tx, budget, "Result", "Panel 10 W, battery 12 Ah: 21 dark days with a reserve of a third.").await?;
    Ok(())
}

async fn agent_at_work(tx: &mut Tx, agent: UserId, node: NodeId, source: NodeId) -> anyhow::Result<()> {
    tx.set_origin(&Origin::user(agent), &[]).await?;
    add_text_input(
        tx,
        node,
        "Task",
        "Use the station's barometer where there is one, the nearest airport's otherwise.",
    )
    .await?;
    add_node_input(tx, node, "Levels", source).await?;
    add_text_output(tx, source, "Formula", "h = (p - p_air) / (rho * g), rho by temperature").await?;
    let execution = add_execution(tx, node, "demo-model").await?;
    tx.set_origin(&Origin { execution: Some(execution), ..Origin::default() }, &[]).await?;
    for (event_type, data) in [
        ("execution_start", json!({ "model": "demo-model" })),
        ("llm_call", json!({ "model": "demo-model", "tokens_in": 2310, "tokens_out": 512 })),
        ("tool_call", json!({ "tool": "read_inputs", "arguments": {} })),
        ("llm_call", json!({ "model": "demo-model", "tokens_in": 2900, "tokens_out": 832 })),
        ("tool_call", json!({ "tool": "fit_curve", "arguments": { "stations": ["upper", "weir"] } })),
    ] {
        add_trace(tx, execution, event_type, &data).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_of_the_demo_has_two_ends() {
        let titles: Vec<&str> = AREAS.iter().flat_map(|(_, _, work)| work.iter().map(|(title, _, _)| *title)).collect();
        for title in EDGES.iter().flat_map(|(source, target)| [source, target]).chain([&AT_WORK, &TO_PLAY_WITH]) {
            assert!(titles.contains(title), "{title}");
        }
        assert!((50..=70).contains(&(titles.len() + AREAS.len())));
    }
}
