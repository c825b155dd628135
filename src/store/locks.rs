//! Locks: leases on nodes, judged by the database's clock, with fences that only grow.
//!
//! Every function expects that the caller has locked the node's row in the same transaction
//! ([`super::nodes::lock`]).

use glassbox_protocol::server::User;
use glassbox_protocol::{ClientId, Fence, NodeId, OrgId, ProjectId, RequestId, UserId};
use sqlx::Row as _;
use uuid::Uuid;

use super::{Database, Tx, in_time};

/// Most agents that are shown in a project; far more than work in one.
const AGENTS_MAX: i64 = 200;

/// A lock whose lease runs.
#[derive(Clone, Debug)]
pub struct Held {
    /// The node.
    pub node: NodeId,
    /// Who holds it.
    pub by: UserId,
    /// Which of their clients; absent when it belongs to the user.
    pub client: Option<ClientId>,
    /// Its token.
    pub fence: Fence,
    /// How to write to the holder.
    pub email: Option<String>,
    /// How to call the holder.
    pub name: Option<String>,
    /// Whether the holder is an agent.
    pub is_agent: bool,
    /// When it was taken, RFC 3339.
    pub locked_at: String,
    /// When it ends by itself, RFC 3339.
    pub expires_at: String,
    /// How long that is from now.
    pub expires_in_ms: i64,
}

/// The node's lock, if its lease runs.
///
/// # Errors
/// The database is away.
pub async fn held(tx: &mut Tx, node: NodeId) -> sqlx::Result<Option<Held>> {
    let row = sqlx::query(
        "select
            n.locked_by,
            l.client_id,
            coalesce(l.fence, 0) as fence,
            u.email,
            u.name,
            coalesce(u.cognito_sub like 'worker:%', false) as is_agent,
            realtime.time_text(n.locked_at) as locked_at,
            realtime.time_text(n.lock_expires_at) as expires_at,
            ceil(extract(epoch from n.lock_expires_at - clock_timestamp()) * 1000)::bigint as expires_in_ms
        from nodes n
        left join realtime.locks l on l.node_id = n.id
        left join users u on u.id = n.locked_by
        where n.id = $1
            and n.locked_by is not null
            and n.lock_expires_at > clock_timestamp()",
    )
    .bind(node.0)
    .fetch_optional(tx.conn())
    .await?;
    row.map(|row| {
        Ok(Held {
            node,
            by: UserId(row.try_get("locked_by")?),
            client: row.try_get::<Option<Uuid>, _>("client_id")?.map(ClientId),
            fence: Fence(row.try_get("fence")?),
            email: row.try_get("email")?,
            name: row.try_get("name")?,
            is_agent: row.try_get("is_agent")?,
            locked_at: row.try_get("locked_at")?,
            expires_at: row.try_get("expires_at")?,
            expires_in_ms: row.try_get("expires_in_ms")?,
        })
    })
    .transpose()
}

/// Which agents hold locks in a project: the nodes, and who they are.
///
/// # Errors
/// The database is away.
pub async fn held_by_agents(tx: &mut Tx, project: ProjectId) -> sqlx::Result<Vec<(NodeId, User)>> {
    let rows = sqlx::query(
        "select n.id, n.locked_by, u.name
        from nodes n
        join users u on u.id = n.locked_by
        where n.project_id = $1
            and n.locked_by is not null
            and n.deleted_at is null
            and n.lock_expires_at > clock_timestamp()
            and u.cognito_sub like 'worker:%'
        order by n.id
        limit $2",
    )
    .bind(project.0)
    .bind(AGENTS_MAX)
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|row| {
            let user = User { id: UserId(row.try_get("locked_by")?), name: row.try_get("name")?, email: None };
            Ok((NodeId(row.try_get("id")?), user))
        })
        .collect()
}

/// Takes a node's lock if nobody's lease runs; returns the new fence. The trigger raises it, for every writer.
///
/// # Errors
/// The database is away.
pub async fn acquire(tx: &mut Tx, node: NodeId, user: UserId, ttl_ms: i64) -> sqlx::Result<Option<Fence>> {
    let taken = sqlx::query(
        "update nodes
        set locked_by = $2,
            locked_at = t.moment,
            lock_expires_at = t.moment + make_interval(secs => $3::double precision / 1000)
        from (select clock_timestamp() as moment) t
        where id = $1
            and deleted_at is null
            and (locked_by is null or lock_expires_at <= clock_timestamp())",
    )
    .bind(node.0)
    .bind(user.0)
    .bind(ttl_ms)
    .execute(tx.conn())
    .await?;
    if taken.rows_affected() == 0 {
        return Ok(None);
    }
    let fence: i64 = sqlx::query_scalar("select fence from realtime.locks where node_id = $1")
        .bind(node.0)
        .fetch_one(tx.conn())
        .await?;
    Ok(Some(Fence(fence)))
}

/// Extends a lease that still runs; returns how long it lasts, ms. `None`: the fence is not current or the lease over.
///
/// # Errors
/// The database is away.
pub async fn renew(
    tx: &mut Tx,
    node: NodeId,
    user: UserId,
    fence: Fence,
    ttl_ms: Option<i64>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "update nodes n
        set lock_expires_at = clock_timestamp()
            + make_interval(secs => coalesce($4, l.ttl_ms, 30000)::double precision / 1000)
        from realtime.locks l
        where n.id = $1
            and l.node_id = n.id
            and n.locked_by = $2
            and n.lock_expires_at > clock_timestamp()
            and l.fence = $3
        returning ceil(extract(epoch from n.lock_expires_at - clock_timestamp()) * 1000)::bigint",
    )
    .bind(node.0)
    .bind(user.0)
    .bind(fence.0)
    .bind(ttl_ms)
    .fetch_optional(tx.conn())
    .await
}

/// Gives a lock back; false when the fence is not current or the lease over.
///
/// # Errors
/// The database is away.
pub async fn release(tx: &mut Tx, node: NodeId, user: UserId, fence: Fence) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update nodes n
        set locked_by = null, locked_at = null, lock_expires_at = null
        from realtime.locks l
        where n.id = $1
            and l.node_id = n.id
            and n.locked_by = $2
            and n.lock_expires_at > clock_timestamp()
            and l.fence = $3",
    )
    .bind(node.0)
    .bind(user.0)
    .bind(fence.0)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a running lease, whoever holds it; false if none runs.
///
/// # Errors
/// The database is away.
pub async fn end(tx: &mut Tx, node: NodeId) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update nodes
        set locked_by = null, locked_at = null, lock_expires_at = null
        where id = $1
            and locked_by is not null
            and lock_expires_at > clock_timestamp()",
    )
    .bind(node.0)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The first node among these whose running lock belongs to somebody else than this client.
///
/// # Errors
/// The database is away.
pub async fn foreign_lock(
    tx: &mut Tx,
    nodes: &[NodeId],
    user: UserId,
    client: Option<ClientId>,
) -> sqlx::Result<Option<NodeId>> {
    let found: Option<Uuid> = sqlx::query_scalar(
        "select n.id
        from nodes n
        left join realtime.locks l on l.node_id = n.id
        where n.id = any($1)
            and n.locked_by is not null
            and n.lock_expires_at > clock_timestamp()
            and not (n.locked_by = $2 and (l.client_id is null or l.client_id is not distinct from $3))
        order by n.id
        limit 1",
    )
    .bind(nodes.iter().map(|n| n.0).collect::<Vec<_>>())
    .bind(user.0)
    .bind(client.map(Uuid::from))
    .fetch_optional(tx.conn())
    .await?;
    Ok(found.map(NodeId))
}

/// A place in a lock's queue.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// The locked node.
    pub node: NodeId,
    /// The tenant.
    pub org: OrgId,
    /// Who waits.
    pub user: UserId,
    /// Which of their clients.
    pub client: ClientId,
    /// The instance that has its socket.
    pub instance: Uuid,
    /// The command that asked.
    pub request: RequestId,
    /// How long the lease shall last, ms.
    pub ttl_ms: i64,
}

/// Queues a client up, or leaves it where it already stands; returns its place, 1 being next.
///
/// # Errors
/// The database is away.
pub async fn enqueue(tx: &mut Tx, wait: &Wait) -> sqlx::Result<i64> {
    sqlx::query(
        "insert into realtime.lock_waits (node_id, org_id, user_id, client_id, instance_id, request_id, ttl_ms)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (node_id, user_id, client_id) do update
            set instance_id = excluded.instance_id,
                request_id = excluded.request_id,
                ttl_ms = excluded.ttl_ms",
    )
    .bind(wait.node.0)
    .bind(wait.org.0)
    .bind(wait.user.0)
    .bind(wait.client.0)
    .bind(wait.instance)
    .bind(wait.request.0)
    .bind(i32::try_from(wait.ttl_ms).unwrap_or(i32::MAX))
    .execute(tx.conn())
    .await?;
    sqlx::query_scalar(
        "select count(*)
        from realtime.lock_waits w
        join realtime.lock_waits mine on mine.node_id = w.node_id and w.id <= mine.id
        where mine.node_id = $1
            and mine.user_id = $2
            and mine.client_id = $3",
    )
    .bind(wait.node.0)
    .bind(wait.user.0)
    .bind(wait.client.0)
    .fetch_one(tx.conn())
    .await
}

/// Takes a client out of a lock's queue; false if it was not in it.
///
/// # Errors
/// The database is away.
pub async fn leave_queue(tx: &mut Tx, node: NodeId, user: UserId, client: ClientId) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "delete from realtime.lock_waits
        where node_id = $1
            and user_id = $2
            and client_id = $3",
    )
    .bind(node.0)
    .bind(user.0)
    .bind(client.0)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes a client out of all queues of an organization; its socket is gone.
///
/// # Errors
/// The database is away.
pub async fn leave_all_queues(tx: &mut Tx, user: UserId, client: ClientId) -> sqlx::Result<()> {
    sqlx::query("delete from realtime.lock_waits where user_id = $1 and client_id = $2")
        .bind(user.0)
        .bind(client.0)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Gives a free lock to the first who waits for it. Overwrites the transaction's origin.
///
/// # Errors
/// The database is away.
pub async fn grant(tx: &mut Tx, node: NodeId) -> sqlx::Result<()> {
    sqlx::query("select realtime.grant_lock($1)").bind(node.0).execute(tx.conn()).await?;
    Ok(())
}

/// Whoever waited for the lock of a node that was deleted.
#[derive(Clone, Copy, Debug)]
pub struct EndedWait {
    /// The node.
    pub node: NodeId,
    /// Who waited.
    pub user: UserId,
    /// With which of their clients.
    pub client: ClientId,
    /// The command that asked.
    pub request: RequestId,
}

/// Ends the waits of an instance's clients for locks of nodes that are deleted.
///
/// # Errors
/// The database is away.
pub async fn end_waits(db: &Database, instance: Uuid) -> sqlx::Result<Vec<EndedWait>> {
    let rows: Vec<(Uuid, Uuid, Uuid, Uuid)> = in_time(
        sqlx::query_as("select node_id, user_id, client_id, request_id from realtime.end_waits($1)")
            .bind(instance)
            .fetch_all(db.untenanted()),
    )
    .await?;
    let wait = |(node, user, client, request)| EndedWait {
        node: NodeId(node),
        user: UserId(user),
        client: ClientId(client),
        request: RequestId(request),
    };
    Ok(rows.into_iter().map(wait).collect())
}

/// Ends leases that are over and gives free locks to those who wait; returns the projects that changed.
///
/// # Errors
/// The database is away.
pub async fn sweep(db: &Database) -> sqlx::Result<Vec<ProjectId>> {
    // Without the server's doorbell setting the trigger signals by itself, to this instance as well.
    let projects: Vec<Uuid> = in_time(
        sqlx::query_scalar("select distinct project_id from realtime.sweep_locks()").fetch_all(db.untenanted()),
    )
    .await?;
    Ok(projects.into_iter().map(ProjectId).collect())
}
