//! The event feed: the log for clients that poll.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use glassbox_protocol::{Epoch, ProjectId, Seq};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::{Caller, PathId, Query};
use super::projects::{Access, open};
use crate::app::SharedApp;
use crate::auth::rights::ProjectRight;
use crate::store::feed::{self, Extent};

/// Events in one answer, unless the caller says otherwise.
const LIMIT_DEFAULT: i64 = 500;
/// Most events in one answer.
const LIMIT_MAX: i64 = 1000;
/// Longest wait for news, s.
pub const WAIT_MAX_S: u64 = 30;
/// How often a waiting request looks for news.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Largest position: numbers stay below 2^53.
const SEQ_MAX: i64 = (1 << 53) - 1;

/// A part of the log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Feed {
    /// Events as a WebSocket sends them.
    #[schema(value_type = Vec<Object>)]
    data: Vec<Box<RawValue>>,
    #[schema(value_type = Uuid)]
    epoch: Epoch,
    #[schema(value_type = i64)]
    head: Seq,
    #[schema(value_type = i64)]
    floor: Seq,
    #[schema(value_type = i64)]
    next_since: Seq,
    has_more: bool,
}

/// `GET /api/v1/projects/{projectId}/events`
#[utoipa::path(
    get,
    path = "/api/v1/projects/{projectId}/events",
    tag = "projects",
    params(
        ("since" = i64, Query, minimum = 0, maximum = 9007199254740991i64, description = "The last seq that the caller has."),
        ("epoch" = Option<Uuid>, Query, description = "The life of the log that it belongs to."),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000),
        ("waitS" = Option<i64>, Query, minimum = 0, maximum = 30, description = "How long to wait for news, s."),
    ),
    responses((status = 200, body = Feed), (status = 410, description = "The feed cannot continue from here.", body = ErrorBody)),
    extensions(("x-right" = json!("project.read"))),
)]
pub async fn list(
    State(app): State<SharedApp>,
    Caller(caller): Caller,
    PathId(project): PathId<ProjectId>,
    query: Query,
) -> ApiResult<Json<Feed>> {
    let since = query.integer("since", 0..=SEQ_MAX)?.map(Seq).ok_or_else(|| ApiError::field("since", "is required"))?;
    let epoch: Option<Epoch> = query.id("epoch")?;
    let limit = query.integer("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let wait_s = query.integer("waitS", 0..=WAIT_MAX_S.cast_signed())?.unwrap_or(0);
    let deadline = Instant::now() + Duration::from_secs(wait_s.unsigned_abs());
    loop {
        // Anew each time: a right that is taken away meanwhile ends the wait, and no connection is held over it.
        // One moment, so that no partition of the log goes between the look at its floor and the read.
        let mut opened = open(&app, caller, project, ProjectRight::Read, Access::Snapshot).await?;
        let extent = feed::extent(&mut opened.tx, project).await?;
        if let Some(reason) = refusal(since, epoch, extent) {
            return Err(ApiError::reset_required(reason).with("epoch", extent.epoch.to_string()));
        }
        if extent.head > since || Instant::now() + LOOK_INTERVAL > deadline || app.is_draining() {
            let data = feed::after(&mut opened.tx, project, since, extent.head, limit).await?;
            let count = i64::try_from(data.len()).map_err(|_| ApiError::internal())?;
            let next_since = Seq(since.0 + count);
            return Ok(Json(Feed {
                data,
                epoch: extent.epoch,
                head: extent.head,
                floor: extent.floor,
                next_since,
                has_more: next_since < extent.head,
            }));
        }
        drop(opened);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Why the log cannot be continued from a position.
fn refusal(since: Seq, epoch: Option<Epoch>, extent: Extent) -> Option<&'static str> {
    if epoch.is_some_and(|epoch| epoch != extent.epoch) {
        Some("epoch_changed")
    } else if since > extent.head {
        Some("ahead_of_head")
    } else if since < extent.floor {
        Some("below_floor")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_continued_or_refused_with_the_reason() {
        let epoch = Epoch::random();
        let extent = Extent { epoch, head: Seq(10), floor: Seq(4) };
        for (since, given, expected) in [
            (4, None, None),
            (10, Some(epoch), None),
            (3, None, Some("below_floor")),
            (11, None, Some("ahead_of_head")),
            (5, Some(Epoch::random()), Some("epoch_changed")),
        ] {
            assert_eq!(refusal(Seq(since), given, extent), expected, "{since}");
        }
    }
}
