//! The audit trail of an organization, for those who may read it.

use axum::Json;
use axum::extract::State;
use glassbox_protocol::OrgId;
use uuid::Uuid;

use super::error::{ApiError, ApiResult};
use super::extract::{Caller, PathId, Query};
use super::orgs::permit;
use super::page::{Counted, Window};
use crate::app::SharedApp;
use crate::auth::rights::OrgRight;
use crate::store::Tenant;
use crate::store::audit::{self, Entry, Filter};

/// Entries in one answer, unless the caller says otherwise, and most of them.
const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 200;
/// Longest texts of the columns, characters.
const ACTION_CHARS_MAX: usize = 100;
const RESOURCE_TYPE_CHARS_MAX: usize = 50;

/// Who did what in an organization, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/orgs/{orgId}/audit",
    tag = "audit",
    params(
        ("action" = Option<String>, Query, max_length = 100, description = "An action, or several: `node.*`."),
        ("resourceType" = Option<String>, Query, max_length = 50, description = "What kind of thing was changed."),
        ("resourceId" = Option<Uuid>, Query, description = "Which."),
        ("userId" = Option<Uuid>, Query, description = "Who did it."),
        ("executionId" = Option<Uuid>, Query, description = "The agent's run that did it, or that it was done to."),
        ("from" = Option<String>, Query, format = DateTime, description = "Not before."),
        ("to" = Option<String>, Query, format = DateTime, description = "Before."),
        ("before" = Option<Uuid>, Query, description = "The last entry of the part before: goes on with the next older one."),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "Most entries; absent: 50."),
        ("offset" = Option<i64>, Query, minimum = 0, maximum = 2147483647, description = "Entries to pass over."),
    ),
    responses((status = 200, body = Counted<Entry>)),
    extensions(("x-right" = json!("audit.read"))),
)]
pub async fn list(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(org): PathId<OrgId>,
    query: Query,
) -> ApiResult<Json<Counted<Entry>>> {
    let window = Window::from_query(&query, LIMIT_DEFAULT, LIMIT_MAX)?;
    let before: Option<Uuid> = query.id("before")?;
    let filter = filter(&query)?;

    let mut tx = app.database.begin(&Tenant::member(org, caller.user)).await?;
    permit(&mut tx, org, caller.user, OrgRight::ReadAudit).await?;
    if let Some(before) = before
        && !audit::has(&mut tx, org, before).await?
    {
        return Err(ApiError::field("before", "refers to something that does not exist"));
    }
    // One more than asked for tells whether there are more; the total counts from the newest on.
    let mut entries = audit::list(&mut tx, org, &filter, before, window.limit + 1, window.offset).await?;
    let total = audit::count(&mut tx, org, &filter).await?;
    let has_more = i64::try_from(entries.len()).is_ok_and(|found| found > window.limit);
    entries.truncate(usize::try_from(window.limit).unwrap_or(usize::MAX));
    Ok(Json(window.of(entries, total).with_more(has_more)))
}

fn filter(query: &Query) -> ApiResult<Filter> {
    let action = query.text("action", ACTION_CHARS_MAX)?;
    if action.is_some_and(|action| action.strip_suffix(".*").unwrap_or(action).contains('*')) {
        return Err(ApiError::field("action", "may have * only at the end, after a dot"));
    }
    Ok(Filter {
        action: action.map(str::to_owned),
        resource_type: query.text("resourceType", RESOURCE_TYPE_CHARS_MAX)?.map(str::to_owned),
        resource: query.id("resourceId")?,
        user: query.id("userId")?,
        execution: query.id("executionId")?,
        from: query.time("from")?,
        to: query.time("to")?,
    })
}
