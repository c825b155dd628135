//! Organizations: the rows of `organizations`.

use glassbox_protocol::{OrgId, UserId};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Tx;
use super::projects::time_text;
use crate::auth::rights::OrgRole;
use crate::org_settings::hide_secrets;

macro_rules! select_org {
    () => {
        concat!(
            "select
                o.id,
                o.name,
                o.slug,
                realtime.object_or_empty(o.settings) as settings,
                coalesce(o.event_sourcing_level, 'snapshot') as event_sourcing_level,",
            time_text!("o.created_at"),
            " as created_at,",
            time_text!("o.updated_at"),
            " as updated_at,
                coalesce(m.role, 'member') as role
            from org_members m
            join organizations o on o.id = m.org_id "
        )
    };
}

/// An organization as the wire shows it.
#[derive(Clone, Debug, FromRow, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Org {
    id: Uuid,
    name: String,
    /// URL-safe, unique.
    pub slug: String,
    #[schema(value_type = Object)]
    settings: Json<Value>,
    /// How long the log is kept: `full` for ever, `snapshot` for three days, `audit` for 24 hours, and always its newest
    /// 10 000 events.
    event_sourcing_level: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    role: String,
}

impl Org {
    /// Its id.
    pub fn id(&self) -> OrgId {
        OrgId(self.id)
    }

    /// Hides what its member must not see: secrets from everybody, all settings from guests, and all of it from somebody
    /// whose role is none that we know.
    fn for_member(mut self) -> Option<Self> {
        match OrgRole::from_stored(&self.role)? {
            OrgRole::Owner | OrgRole::Admin | OrgRole::Member => hide_secrets(&mut self.settings),
            OrgRole::Guest => self.settings.0 = Value::Object(serde_json::Map::new()),
        }
        Some(self)
    }
}

/// The organizations of a user, by name; at most `limit`. The context must be the user's.
///
/// # Errors
/// The database is away.
pub async fn of_user(tx: &mut Tx, user: UserId, limit: i64) -> sqlx::Result<Vec<Org>> {
    let orgs: Vec<Org> = sqlx::query_as(concat!(
        select_org!(),
        "where m.user_id = $1
        order by o.name, o.id
        limit $2"
    ))
    .bind(user.0)
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    Ok(orgs.into_iter().filter_map(Org::for_member).collect())
}

/// An organization, if the user has a role in it.
///
/// # Errors
/// The database is away.
pub async fn seen_by(tx: &mut Tx, org: OrgId, user: UserId) -> sqlx::Result<Option<Org>> {
    let found: Option<Org> = sqlx::query_as(concat!(select_org!(), "where m.org_id = $1 and m.user_id = $2"))
        .bind(org.0)
        .bind(user.0)
        .fetch_optional(tx.conn())
        .await?;
    Ok(found.and_then(Org::for_member))
}

/// The organization with a slug, for an operator's login, which stands above the tenants.
///
/// # Errors
/// The database is away.
pub async fn locate(conn: &mut PgConnection, slug: &str) -> sqlx::Result<Option<OrgId>> {
    let id: Option<Uuid> = sqlx::query_scalar("select id from organizations where slug = lower($1)")
        .bind(slug)
        .fetch_optional(conn)
        .await?;
    Ok(id.map(OrgId))
}

/// Whether an error says that the slug is taken.
pub fn is_taken_slug(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| e.constraint() == Some("organizations_slug_key"))
}

/// Makes an organization with its maker as owner. The context must be that of the new organization.
///
/// # Errors
/// The database is away; the slug is taken ([`is_taken_slug`]); the maker is gone.
pub async fn create(
    tx: &mut Tx,
    org: OrgId,
    maker: UserId,
    name: &str,
    slug: &str,
    settings: &Value,
) -> sqlx::Result<()> {
    sqlx::query("insert into organizations (id, name, slug, settings) values ($1, $2, $3, $4)")
        .bind(org.0)
        .bind(name)
        .bind(slug)
        .bind(settings)
        .execute(tx.conn())
        .await?;
    sqlx::query("insert into org_members (org_id, user_id, role) values ($1, $2, 'owner')")
        .bind(org.0)
        .bind(maker.0)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// How long one statement of a deletion may take: everything that hangs on the row goes with it.
const DELETE_TIMEOUT: &str = "14s";

/// Lets the statements that follow take as long as a deletion with all its cascades may.
///
/// # Errors
/// The database is away.
pub(super) async fn allow_cascade(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query("select set_config('statement_timeout', $1, true)").bind(DELETE_TIMEOUT).execute(tx.conn()).await?;
    Ok(())
}

/// Makes those who change an organization or its members take turns; to the end of the transaction.
///
/// # Errors
/// The database is away, or somebody else takes too long.
pub async fn lock(tx: &mut Tx, org: OrgId) -> sqlx::Result<()> {
    sqlx::query("select 1 from organizations where id = $1 for no key update").bind(org.0).execute(tx.conn()).await?;
    Ok(())
}

/// The settings with their secrets, as they are stored.
///
/// # Errors
/// The database is away, or there is no such organization.
pub async fn settings(tx: &mut Tx, org: OrgId) -> sqlx::Result<Value> {
    sqlx::query_scalar("select realtime.object_or_empty(settings) from organizations where id = $1")
        .bind(org.0)
        .fetch_one(tx.conn())
        .await
}

/// What of an organization is to change; absent fields stay.
#[derive(Clone, Debug, Default)]
pub struct OrgChanges<'a> {
    /// 1 to 255 characters.
    pub name: Option<&'a str>,
    /// 1 to 100 of `a-z0-9-`.
    pub slug: Option<&'a str>,
    /// The whole object.
    pub settings: Option<Value>,
    /// `full`, `snapshot` or `audit`.
    pub event_sourcing_level: Option<&'a str>,
}

/// Changes an organization; a row that would not differ is left alone.
///
/// # Errors
/// The database is away; the slug is taken ([`is_taken_slug`]).
pub async fn update(tx: &mut Tx, org: OrgId, changes: &OrgChanges<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "update organizations
        set name = coalesce($2, name),
            slug = coalesce($3, slug),
            settings = coalesce($4, settings),
            event_sourcing_level = coalesce($5, event_sourcing_level)
        where id = $1
            and (name, slug, settings, event_sourcing_level) is distinct from (
                coalesce($2, name), coalesce($3, slug), coalesce($4, settings), coalesce($5, event_sourcing_level)
            )",
    )
    .bind(org.0)
    .bind(changes.name)
    .bind(changes.slug)
    .bind(&changes.settings)
    .bind(changes.event_sourcing_level)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Deletes an organization with all that belongs to it.
///
/// # Errors
/// The database is away, or somebody else holds what belongs to it.
pub async fn delete(tx: &mut Tx, org: OrgId) -> sqlx::Result<()> {
    allow_cascade(tx).await?;
    sqlx::query("delete from organizations where id = $1").bind(org.0).execute(tx.conn()).await?;
    Ok(())
}
