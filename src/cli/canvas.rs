//! `glassbox import` and `glassbox export`: JSON Canvas documents, straight from and to the database.

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use glassbox_protocol::{OrgId, ProjectId, UserId};
use serde_json::{Value, json};

use super::{database, serve::say};
use crate::auth::{self, rights::OrgRight, rights::ProjectRight};
use crate::canvas::{self, Import, Placement};
use crate::config::DatabaseConfig;
use crate::store::projects::{self, NewProject};
use crate::store::{self, Database, Origin, Tenant, Tx, members, migrate, orgs, users};

/// What `glassbox import` can be told.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The document
    file: PathBuf,
    /// The project that it goes into
    #[arg(long, value_name = "ID", conflicts_with_all = ["org", "name"], required_unless_present = "org")]
    project: Option<ProjectId>,
    /// The slug of the organization in which a project is made for it
    #[arg(long, value_name = "SLUG", requires = "name")]
    org: Option<String>,
    /// The name of the project that is made
    #[arg(long, requires = "org")]
    name: Option<String>,
    /// Who does it: a member of the organization; its first owner if nobody is named
    #[arg(long = "as", value_name = "EMAIL")]
    author: Option<String>,
    #[command(flatten)]
    database: DatabaseConfig,
}

/// What `glassbox export` can be told.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The project
    project: ProjectId,
    /// Where the document goes; stdout if it is not given
    file: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseConfig,
}

/// Writes a project as a document.
pub async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let document = database::with(&args.database, async |database, _| {
        let org = locate(&database, args.project).await?;
        let mut tx = database.begin_snapshot(&Tenant::org(org)).await?;
        let (nodes, edges) = store::canvas::read(&mut tx, args.project).await.context("read the project")?;
        Ok(canvas::export(&nodes, &edges))
    })
    .await?;
    let text = serde_json::to_string_pretty(&document).context("write the document")?;
    match args.file {
        Some(path) => std::fs::write(&path, text + "\n").with_context(|| format!("write {}", path.display())),
        None => {
            say(&text);
            Ok(())
        }
    }
}

/// Puts a document into a project.
pub async fn import(args: ImportArgs) -> anyhow::Result<()> {
    let name = args.file.display().to_string();
    let bytes = std::fs::read(&args.file).with_context(|| format!("read {name}"))?;
    let document: Value = serde_json::from_slice(&bytes).with_context(|| format!("read {name} as JSON"))?;
    let Value::Object(document) = document else { bail!("{name}: not a JSON Canvas document") };

    let (project, import) = database::with(&args.database, async |database, owner_url| {
        let org = match (&args.project, &args.org) {
            (Some(project), _) => locate(&database, *project).await?,
            (None, Some(slug)) => org_by_slug(owner_url, slug).await?,
            (None, None) => bail!("name a project or an organization"),
        };
        let author = author(&database, org, args.author.as_deref()).await?;
        let mut tx = database.begin(&Tenant::member(org, author)).await?;
        tx.set_origin(&Origin::user(author), &[]).await?;
        let project = match args.project {
            Some(project) => project,
            None => create(&mut tx, org, author, args.name.as_deref().unwrap_or_default()).await?,
        };
        let role = auth::project_role(&mut tx, project, author).await?;
        ensure!(role.is_some_and(|role| role.may(ProjectRight::NodeWrite)), "this user may not write in the project");
        let first_z = store::canvas::next_z(&mut tx, project).await?;
        let import = canvas::import(document, &Placement { first_z, ..Placement::default() })
            .map_err(|refusal| anyhow::anyhow!("{name}: {}: {}", refusal.field, refusal.reason))?;
        store::canvas::insert(&mut tx, org, project, author, &import).await.context("write the nodes")?;
        tx.commit().await.context("commit the import")?;
        Ok((project, import))
    })
    .await?;
    report(project, &import);
    Ok(())
}

fn report(project: ProjectId, import: &Import) {
    for warning in &import.warnings {
        eprintln!("warning: {}", warning.message);
    }
    eprintln!("Imported {} nodes and {} dependencies into project", import.nodes.len(), import.edges.len());
    say(&project.to_string());
}

async fn locate(database: &Database, project: ProjectId) -> anyhow::Result<OrgId> {
    members::locate_project(database, project)
        .await
        .context("look for the project")?
        .with_context(|| format!("there is no project {project}"))
}

/// Only the owner's login may look for an organization that nobody has chosen yet.
async fn org_by_slug(owner_url: &str, slug: &str) -> anyhow::Result<OrgId> {
    let mut conn = migrate::connect(owner_url).await?;
    orgs::locate(&mut conn, slug)
        .await
        .context("look for the organization")?
        .with_context(|| format!("no organization has the slug {slug}, or GLASSBOX_MIGRATION_URL may not see it"))
}

async fn author(database: &Database, org: OrgId, email: Option<&str>) -> anyhow::Result<UserId> {
    let mut tx = database.begin(&Tenant::org(org)).await?;
    let found = match email {
        Some(email) => users::member_with_email(&mut tx, org, email).await,
        None => users::first_owner(&mut tx, org).await,
    };
    found.context("look for the user")?.with_context(|| match email {
        Some(email) => format!("the organization has no member with the email {email}"),
        None => "the organization has no owner: say who does it with --as EMAIL".to_owned(),
    })
}

async fn create(tx: &mut Tx, org: OrgId, author: UserId, name: &str) -> anyhow::Result<ProjectId> {
    ensure!((1..=255).contains(&name.chars().count()), "--name: expected 1 to 255 characters");
    let role = members::org_role(tx, org, author).await?;
    ensure!(
        role.is_some_and(|role| role.may(OrgRight::CreateProject)),
        "this user may not make projects in the organization"
    );
    let new = NewProject {
        name,
        description: None,
        settings: json!({}),
        workflow_states: json!(["draft", "in_progress", "complete"]),
    };
    Ok(projects::create(tx, org, author, &new).await.context("make the project")?.id())
}
