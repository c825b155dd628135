//! Worker keys: the rows of `realtime.worker_keys`, and the users as whom they act.

use glassbox_protocol::{OrgId, UserId};
use serde::Serialize;
use sqlx::{FromRow, Row as _};
use utoipa::ToSchema;
use uuid::Uuid;

use super::projects::time_text;
use super::{Database, Origin, Tx, in_time, org_members, orgs};
use crate::auth::worker_key::{NewKey, user_names};

/// What decides whether a key opens anything.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The organization in which it acts.
    pub org: OrgId,
    /// As whom it acts.
    pub user: UserId,
    /// SHA-256 of its secret part.
    pub secret_hash: Vec<u8>,
    /// Whether its use was written down within the last minute.
    pub is_noted_as_used: bool,
}

/// A key that was not revoked; says nothing about whether the caller has its secret.
///
/// # Errors
/// The database is away.
pub async fn find(db: &Database, key: Uuid) -> sqlx::Result<Option<Stored>> {
    let found = sqlx::query(
        "select
            org_id,
            user_id,
            secret_hash,
            coalesce(last_used_at > clock_timestamp() - interval '1 minute', false) as is_noted_as_used
        from realtime.worker_keys
        where id = $1
            and revoked_at is null",
    )
    .bind(key)
    .fetch_optional(db.lookup());
    in_time(found)
        .await?
        .map(|row| {
            Ok(Stored {
                org: OrgId(row.try_get("org_id")?),
                user: UserId(row.try_get("user_id")?),
                secret_hash: row.try_get("secret_hash")?,
                is_noted_as_used: row.try_get("is_noted_as_used")?,
            })
        })
        .transpose()
}

/// Writes down that a key was used, once a minute. The context must be its organization's.
///
/// # Errors
/// The database is away.
pub async fn note_use(tx: &mut Tx, key: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "update realtime.worker_keys
        set last_used_at = clock_timestamp()
        where id = $1
            and coalesce(last_used_at, '-infinity') <= clock_timestamp() - interval '1 minute'",
    )
    .bind(key)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A key as the wire shows it: without its secret, which nobody has but its holder.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerKey {
    id: Uuid,
    name: String,
    user_id: Uuid,
    #[schema(format = DateTime)]
    created_at: String,
    /// To the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    last_used_at: Option<String>,
}

impl WorkerKey {
    /// The user as whom it acts.
    pub fn user(&self) -> UserId {
        UserId(self.user_id)
    }
}

macro_rules! key_columns {
    () => {
        concat!(
            "id, name, user_id, ",
            time_text!("created_at"),
            " as created_at, case when last_used_at is not null then ",
            time_text!("last_used_at"),
            " end as last_used_at"
        )
    };
}

/// The keys of an organization that were not revoked, oldest first; at most `limit`.
///
/// # Errors
/// The database is away.
pub async fn of_org(tx: &mut Tx, org: OrgId, limit: i64) -> sqlx::Result<Vec<WorkerKey>> {
    sqlx::query_as(concat!(
        "select ",
        key_columns!(),
        " from realtime.worker_keys
        where org_id = $1
            and revoked_at is null
        order by worker_keys.created_at, id
        limit $2"
    ))
    .bind(org.0)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
}

/// Keeps a new key and makes the user as whom it acts. The context must be its organization's.
///
/// # Errors
/// The database is away; the organization or the maker is gone.
pub async fn create(tx: &mut Tx, org: OrgId, maker: UserId, name: &str, key: &NewKey) -> sqlx::Result<WorkerKey> {
    let user = UserId::random();
    let (cognito_sub, email) = user_names(key.id);
    sqlx::query("insert into users (id, cognito_sub, email, name) values ($1, $2, $3, $4)")
        .bind(user.0)
        .bind(cognito_sub)
        .bind(email)
        .bind(name)
        .execute(tx.conn())
        .await?;
    sqlx::query(
        "insert into realtime.worker_keys (id, org_id, user_id, name, secret_hash, created_by)
        values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(key.id)
    .bind(org.0)
    .bind(user.0)
    .bind(name)
    .bind(key.secret_hash.as_slice())
    .bind(maker.0)
    .execute(tx.conn())
    .await?;
    sqlx::query("insert into org_members (org_id, user_id, role) values ($1, $2, 'member')")
        .bind(org.0)
        .bind(user.0)
        .execute(tx.conn())
        .await?;
    sqlx::query_as(concat!("select ", key_columns!(), " from realtime.worker_keys where id = $1"))
        .bind(key.id)
        .fetch_one(tx.conn())
        .await
}

/// Revokes a key: it opens nothing from now on, its user leaves the organization, and its locks end. False if there is
/// no such key, or it was revoked before. The context must be the organization's.
///
/// # Errors
/// The database is away, or somebody holds the organization or one of the nodes for too long.
pub async fn revoke(tx: &mut Tx, org: OrgId, key: Uuid, by: &Origin) -> sqlx::Result<bool> {
    tx.set_origin(by, &[]).await?;
    let user: Option<Uuid> = sqlx::query_scalar(
        "update realtime.worker_keys
        set revoked_at = clock_timestamp()
        where id = $1
            and org_id = $2
            and revoked_at is null
        returning user_id",
    )
    .bind(key)
    .bind(org.0)
    .fetch_optional(tx.conn())
    .await?;
    let Some(user) = user else { return Ok(false) };
    orgs::lock(tx, org).await?;
    org_members::remove(tx, org, UserId(user)).await?;
    Ok(true)
}
