//! What commands were answered, so that a repeat has no second effect.

use glassbox_protocol::{ClientId, OrgId, RequestId, UserId};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::types::Json;
use uuid::Uuid;

use super::Tx;

/// Stands in the key where there is no client; a client may not call itself that.
const NO_CLIENT: Uuid = Uuid::nil();

/// Identifies a command for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandKey {
    /// Who sent it.
    pub user: UserId,
    /// The client that sent it; absent for a request of the REST API, which belongs to no client.
    pub client: Option<ClientId>,
    /// Its id.
    pub request: RequestId,
}

/// What is known of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// Nobody has applied it; it is this transaction's to apply.
    New,
    /// It was answered before; the hash of its body and the answer.
    Answered {
        /// SHA-256 of the command as it was first sent.
        body_hash: Vec<u8>,
        /// The answer.
        answer: Value,
    },
}

/// Claims commands for this transaction, in key order. Waits for a transaction that is applying one of them now.
///
/// # Errors
/// The database is away.
pub async fn claim(tx: &mut Tx, org: OrgId, commands: &[(CommandKey, [u8; 32])]) -> sqlx::Result<Vec<Claim>> {
    let mut sorted: Vec<&(CommandKey, [u8; 32])> = commands.iter().collect();
    sorted.sort_by_key(|(key, _)| *key);
    forget_old_keys(tx, &sorted).await?;
    let (users, clients, requests) = columns(sorted.iter().map(|(key, _)| key));
    let hashes: Vec<&[u8]> = sorted.iter().map(|(_, hash)| hash.as_slice()).collect();
    let new = sqlx::query(
        "insert into realtime.command_results (user_id, client_id, request_id, org_id, body_hash)
        select v.user_id, v.client_id, v.request_id, $4, v.body_hash
        from unnest($1::uuid[], $2::uuid[], $3::uuid[], $5::bytea[]) v (user_id, client_id, request_id, body_hash)
        on conflict do nothing
        returning user_id, client_id, request_id",
    )
    .bind(users)
    .bind(clients)
    .bind(requests)
    .bind(org.0)
    .bind(hashes)
    .fetch_all(tx.conn())
    .await?;
    let mut claimed = std::collections::HashSet::with_capacity(new.len());
    for row in &new {
        claimed.insert(key_of(row)?);
    }
    if claimed.len() == commands.len() {
        return Ok(vec![Claim::New; commands.len()]);
    }

    let (users, clients, requests) = columns(commands.iter().map(|(key, _)| key).filter(|key| !claimed.contains(key)));
    let rows = sqlx::query(
        "select r.user_id, r.client_id, r.request_id, r.body_hash, r.answer
        from unnest($1::uuid[], $2::uuid[], $3::uuid[]) v (user_id, client_id, request_id)
        join realtime.command_results r using (user_id, client_id, request_id)",
    )
    .bind(users)
    .bind(clients)
    .bind(requests)
    .fetch_all(tx.conn())
    .await?;
    let mut answered = std::collections::HashMap::with_capacity(rows.len());
    for row in &rows {
        let answer: Option<Json<Value>> = row.try_get("answer")?;
        answered.insert(
            key_of(row)?,
            Claim::Answered {
                body_hash: row.try_get("body_hash")?,
                answer: answer.map(|Json(a)| a).unwrap_or_default(),
            },
        );
    }
    Ok(commands
        .iter()
        .map(|(key, _)| match claimed.contains(key) {
            true => Claim::New,
            // A row that cannot be seen belongs to a command in another organization: it has another body.
            false => answered.remove(key).unwrap_or(Claim::Answered { body_hash: Vec::new(), answer: Value::Null }),
        })
        .collect())
}

/// An `Idempotency-Key` is free again after 24 hours; clients of a WebSocket never use an id twice.
async fn forget_old_keys(tx: &mut Tx, commands: &[&(CommandKey, [u8; 32])]) -> sqlx::Result<()> {
    let (users, _, requests) = columns(commands.iter().map(|(key, _)| key).filter(|key| key.client.is_none()));
    if requests.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "delete from realtime.command_results r
        using unnest($1::uuid[], $2::uuid[]) v (user_id, request_id)
        where r.user_id = v.user_id
            and r.client_id = $3
            and r.request_id = v.request_id
            and r.created_at < now() - interval '24 hours'",
    )
    .bind(users)
    .bind(requests)
    .bind(NO_CLIENT)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Keeps the answers of claimed commands.
///
/// # Errors
/// The database is away.
pub async fn answer(tx: &mut Tx, answers: &[(CommandKey, Value)]) -> sqlx::Result<()> {
    if answers.is_empty() {
        return Ok(());
    }
    let (users, clients, requests) = columns(answers.iter().map(|(key, _)| key));
    sqlx::query(
        "update realtime.command_results r
        set answer = v.answer
        from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::jsonb[]) v (user_id, client_id, request_id, answer)
        where r.user_id = v.user_id
            and r.client_id = v.client_id
            and r.request_id = v.request_id",
    )
    .bind(users)
    .bind(clients)
    .bind(requests)
    .bind(answers.iter().map(|(_, answer)| Json(answer)).collect::<Vec<_>>())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Gives claimed commands back: they were not applied and may be sent again.
///
/// # Errors
/// The database is away.
pub async fn unclaim(tx: &mut Tx, commands: &[CommandKey]) -> sqlx::Result<()> {
    if commands.is_empty() {
        return Ok(());
    }
    let (users, clients, requests) = columns(commands.iter());
    sqlx::query(
        "delete from realtime.command_results r
        using unnest($1::uuid[], $2::uuid[], $3::uuid[]) v (user_id, client_id, request_id)
        where r.user_id = v.user_id
            and r.client_id = v.client_id
            and r.request_id = v.request_id",
    )
    .bind(users)
    .bind(clients)
    .bind(requests)
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) fn columns<'a>(keys: impl Iterator<Item = &'a CommandKey>) -> (Vec<Uuid>, Vec<Uuid>, Vec<Uuid>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        columns.0.push(key.user.0);
        columns.1.push(key.client.map_or(NO_CLIENT, |client| client.0));
        columns.2.push(key.request.0);
    }
    columns
}

fn key_of(row: &sqlx::postgres::PgRow) -> sqlx::Result<CommandKey> {
    Ok(CommandKey {
        user: UserId(row.try_get("user_id")?),
        client: Some(row.try_get("client_id")?).filter(|id| *id != NO_CLIENT).map(ClientId),
        request: RequestId(row.try_get("request_id")?),
    })
}
