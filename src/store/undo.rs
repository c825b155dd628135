//! What users can take back and do again: their stacks, and what a step expects to find.

use std::collections::HashMap;

use glassbox_protocol::{NodeId, OrgId, ProjectId, UserId};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::Tx;
use super::commands::{self, CommandKey};

/// A command that its user may take back.
#[derive(Clone, Debug)]
pub struct NewStep {
    /// Who sent it.
    pub user: UserId,
    /// Its type.
    pub command: &'static str,
    /// What takes it back.
    pub inverse: Value,
}

/// A command that is being taken back or done again; its row is locked.
#[derive(Clone, Debug)]
pub struct Step {
    id: i64,
    position: i64,
    /// The type of the command.
    pub command: String,
    /// What takes it back or does it again.
    pub inverse: Value,
}

/// Which end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The newest that was not taken back.
    Done,
    /// What was taken back last.
    Undone,
}

/// Most bytes of the steps on one side of a stack, but for the one that passes the limit.
const STACK_BYTES_MAX: i64 = 2 * 1024 * 1024;

/// Puts steps on the stacks of their users: what was taken back before cannot be done again, and at least 100 are kept,
/// unless they pass [`STACK_BYTES_MAX`] (`$6`). Each step knows where it ends among all bytes of its stack, so that
/// nothing is added up, and what is too much goes at every 28th step and every 256 KiB.
/// What was taken back stands above the rest, and the limits keep the planner from joining: so no more rows are looked at
/// than are to be removed, author by author. The rows of a whole project would take 10 ms.
macro_rules! push_steps {
    ($before:literal) => {
        concat!(
            "with ",
            $before,
            "added as (
                select v.user_id, v.command, v.inverse,
                    row_number() over (partition by v.user_id order by v.n) as n,
                    sum(pg_column_size(v.inverse)) over (partition by v.user_id order by v.n)::bigint as ends
                from unnest($3::uuid[], $4::text[], $5::jsonb[]) with ordinality v (user_id, command, inverse, n)
            ),
            authors as materialized (
                select
                    a.user_id,
                    a.steps,
                    a.bytes,
                    t.position as top,
                    t.ends,
                    (t.position + a.steps) / 28 > t.position / 28
                        or (t.ends + a.bytes) / 262144 > t.ends / 262144 as is_due
                from (
                    select user_id, count(*) as steps, max(ends) as bytes
                    from added
                    group by user_id
                ) a
                cross join lateral (
                    select coalesce(max(s.position), 0) as position, coalesce(max(s.ends), 0) as ends
                    from (
                        select s.position, s.ends
                        from realtime.undo_steps s
                        where s.project_id = $1
                            and s.user_id = a.user_id
                            and not s.is_undone
                        order by s.position desc
                        limit 1
                    ) s
                ) t
            ),
            cleared as (
                delete from realtime.undo_steps s
                where s.ctid = any(array(
                    select g.ctid
                    from authors a
                    cross join lateral (
                        select u.ctid
                        from realtime.undo_steps u
                        where u.project_id = $1
                            and u.user_id = a.user_id
                            and u.position > a.top
                            and u.is_undone
                        limit 1000
                    ) g
                    union
                    select g.ctid
                    from authors a
                    cross join lateral (
                        select u.ctid
                        from realtime.undo_steps u
                        where u.project_id = $1
                            and u.user_id = a.user_id
                            and u.position <= a.top
                            -- What is lower went with earlier commands, but its index entries may still be there.
                            and u.position > a.top - 150
                            and (u.position <= a.top + a.steps - 100 or u.ends <= a.ends + a.bytes - $6)
                        limit 1000
                    ) g
                    where a.is_due
                ))
            )
            insert into realtime.undo_steps (project_id, org_id, user_id, position, ends, command, inverse)
            select $1, $2, a.user_id, x.top + a.n, x.ends + a.ends, a.command, a.inverse
            from added a
            join authors x using (user_id)
            where a.n > x.steps - 100
                and a.ends > x.bytes - $6"
        )
    };
}

/// Puts steps on the stacks of their users, in order.
///
/// # Errors
/// The database is away.
pub async fn push(tx: &mut Tx, org: OrgId, project: ProjectId, steps: &[NewStep]) -> sqlx::Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    sqlx::query(push_steps!(""))
        .bind(project.0)
        .bind(org.0)
        .bind(steps.iter().map(|s| s.user.0).collect::<Vec<_>>())
        .bind(steps.iter().map(|s| s.command).collect::<Vec<_>>())
        .bind(steps.iter().map(|s| Json(&s.inverse)).collect::<Vec<_>>())
        .bind(STACK_BYTES_MAX)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Keeps the answers of claimed commands and puts steps on the stacks of their users, in one statement.
///
/// # Errors
/// The database is away.
pub async fn answer_and_push(
    tx: &mut Tx,
    org: OrgId,
    project: ProjectId,
    answers: &[(CommandKey, Value)],
    steps: &[NewStep],
) -> sqlx::Result<()> {
    if steps.is_empty() {
        return commands::answer(tx, answers).await;
    }
    let (users, clients, requests) = commands::columns(answers.iter().map(|(key, _)| key));
    sqlx::query(push_steps!(
        "kept as (
            update realtime.command_results r
            set answer = v.answer
            from unnest($7::uuid[], $8::uuid[], $9::uuid[], $10::jsonb[]) v (user_id, client_id, request_id, answer)
            where r.user_id = v.user_id
                and r.client_id = v.client_id
                and r.request_id = v.request_id
        ),
        "
    ))
    .bind(project.0)
    .bind(org.0)
    .bind(steps.iter().map(|s| s.user.0).collect::<Vec<_>>())
    .bind(steps.iter().map(|s| s.command).collect::<Vec<_>>())
    .bind(steps.iter().map(|s| Json(&s.inverse)).collect::<Vec<_>>())
    .bind(STACK_BYTES_MAX)
    .bind(users)
    .bind(clients)
    .bind(requests)
    .bind(answers.iter().map(|(_, answer)| Json(answer)).collect::<Vec<_>>())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Locks a user's stack and its step at one end, if there is one.
///
/// # Errors
/// The database is away, or another transaction works on the stack for too long.
pub async fn take(tx: &mut Tx, project: ProjectId, user: UserId, which: Which) -> sqlx::Result<Option<Step>> {
    // Whoever waited for a row would go without it afterwards, and not to the next one: the stack is what is waited for.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('undo ' || $1::text || $2::text, 0))")
        .bind(project.0)
        .bind(user.0)
        .execute(tx.conn())
        .await?;
    let query = match which {
        Which::Done => {
            "select s.id, s.position, s.command, s.inverse
            from realtime.undo_steps s
            where s.project_id = $1
                and s.user_id = $2
                and not s.is_undone
            order by s.position desc, s.id desc
            limit 1
            for update"
        }
        Which::Undone => {
            "select s.id, s.position, s.command, s.inverse
            from realtime.undo_steps s
            where s.project_id = $1
                and s.user_id = $2
                and s.is_undone
                -- A command that was sent meanwhile has ended the chance.
                and not exists (
                    select 1
                    from realtime.undo_steps d
                    where d.project_id = $1
                        and d.user_id = $2
                        and not d.is_undone
                        and d.position > s.position
                )
            order by s.position, s.id
            limit 1
            for update"
        }
    };
    let row: Option<(i64, i64, String, Json<Value>)> =
        sqlx::query_as(query).bind(project.0).bind(user.0).fetch_optional(tx.conn()).await?;
    Ok(row.map(|(id, position, command, Json(inverse))| Step { id, position, command, inverse }))
}

/// Moves a step to the other end, with what leads back, which may be larger. What is farthest from the one end, where it
/// goes to, makes room for it.
///
/// # Errors
/// The database is away.
pub async fn put_back(
    tx: &mut Tx,
    project: ProjectId,
    user: UserId,
    step: &Step,
    taken_from: Which,
    inverse: &Value,
) -> sqlx::Result<()> {
    sqlx::query(
        "with cleared as (
            delete from realtime.undo_steps s
            where s.ctid = any(array(
                select o.ctid
                from (
                    select u.ctid, sum(pg_column_size(u.inverse)) over (order by abs(u.position - $3), u.id) as bytes
                    from realtime.undo_steps u
                    where u.project_id = $1
                        and u.user_id = $2
                        and u.is_undone = $5
                        and u.id <> $4
                ) o
                where o.bytes + pg_column_size($6::jsonb) > $7
            ))
        )
        update realtime.undo_steps
        set is_undone = $5, inverse = $6
        where project_id = $1
            and user_id = $2
            and position = $3
            and id = $4",
    )
    .bind(project.0)
    .bind(user.0)
    .bind(step.position)
    .bind(step.id)
    .bind(taken_from == Which::Done)
    .bind(Json(inverse))
    .bind(STACK_BYTES_MAX)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes a step that nobody can take back any more.
///
/// # Errors
/// The database is away.
pub async fn drop_step(tx: &mut Tx, project: ProjectId, user: UserId, step: &Step) -> sqlx::Result<()> {
    sqlx::query(
        "delete from realtime.undo_steps
        where project_id = $1
            and user_id = $2
            and position = $3
            and id = $4",
    )
    .bind(project.0)
    .bind(user.0)
    .bind(step.position)
    .bind(step.id)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Begins what can be given up without the rest of the transaction.
///
/// # Errors
/// The database is away.
pub async fn begin_attempt(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query("savepoint undo").execute(tx.conn()).await.map(|_| ())
}

/// Ends an attempt that succeeded.
///
/// # Errors
/// The database is away.
pub async fn end_attempt(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query("release savepoint undo").execute(tx.conn()).await.map(|_| ())
}

/// Gives an attempt up: it leaves no trace.
///
/// # Errors
/// The database is away.
pub async fn give_up_attempt(tx: &mut Tx) -> sqlx::Result<()> {
    sqlx::query("rollback to savepoint undo").execute(tx.conn()).await.map(|_| ())
}

/// What [`states`] looks at, in its order.
pub const STATE_FIELDS: [&str; 12] = [
    "title",
    "description",
    "status",
    "parentId",
    "supervisorUserId",
    "metadata",
    "position",
    "inputs",
    "outputs",
    "dependencies",
    "references",
    "executions",
];

/// What nodes and all that hangs on them are like, one short hash for each of [`STATE_FIELDS`]. JSON is hashed by its
/// value: 0 and 0.0 are one number, however a writer spells it.
///
/// # Errors
/// The database is away.
pub async fn states(tx: &mut Tx, nodes: &[NodeId]) -> sqlx::Result<HashMap<NodeId, Vec<String>>> {
    let rows: Vec<(Uuid, Vec<String>)> = sqlx::query_as(
        "select n.id, array(
            select left(md5(coalesce(v.value, '')), 12)
            from unnest(array[
                n.title,
                n.description,
                n.status,
                n.parent_id::text,
                n.supervisor_user_id::text,
                jsonb_hash_extended(coalesce(n.metadata, 'null'), 0)::text,
                jsonb_hash_extended(realtime.position_json(n.position), 0)::text,
                (
                    select string_agg(jsonb_hash_extended(to_jsonb(i) - 'created_at', 0)::text, ' ' order by i.id)
                    from node_inputs i
                    where i.node_id = n.id
                ),
                (
                    select string_agg(jsonb_hash_extended(to_jsonb(o) - 'created_at', 0)::text, ' ' order by o.id)
                    from node_outputs o
                    where o.node_id = n.id
                ),
                (
                    select string_agg(jsonb_hash_extended(to_jsonb(d) - 'created_at', 0)::text, ' ' order by d.id)
                    from node_dependencies d
                    where d.source_node_id = n.id
                        or d.target_node_id = n.id
                ),
                (select string_agg(i.id::text, ' ' order by i.id) from node_inputs i where i.source_node_id = n.id),
                (
                    select string_agg(x.id::text, ' ' order by x.id)
                    from agent_executions x
                    where x.node_id = n.id
                        and x.status in ('pending', 'running', 'paused', 'awaiting_input')
                )
            ]) with ordinality v (value, n)
            order by v.n
        )
        from nodes n
        where n.id = any($1)",
    )
    .bind(nodes.iter().map(|n| n.0).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|(id, state)| (NodeId(id), state)).collect())
}
