//! Lists: `{"data": [...]}`, with `limit` and `offset`.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::ApiResult;
use super::extract::Query;

/// Most items of a list without a limit.
pub const ROWS_MAX: i64 = 10_000;

/// How a list's part is asked for, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only the document reads the fields")]
pub struct PageQuery {
    /// Most items.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<i64>,
    /// Items to pass over.
    #[param(minimum = 0, maximum = 2147483647)]
    offset: Option<i64>,
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    limit: usize,
    offset: usize,
}

impl Page {
    /// Reads `limit` and `offset`.
    pub fn from_query(query: &Query) -> ApiResult<Self> {
        let limit = query.integer("limit", 1..=ROWS_MAX)?.unwrap_or(ROWS_MAX);
        let offset = query.integer("offset", 0..=i64::from(i32::MAX))?.unwrap_or(0);
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            offset: usize::try_from(offset).unwrap_or(usize::MAX),
        })
    }

    /// Cuts the part out of the whole list.
    pub fn of<T>(self, all: Vec<T>) -> List<T> {
        let has_more = all.len() > self.offset.saturating_add(self.limit);
        List { data: all.into_iter().skip(self.offset).take(self.limit).collect(), has_more }
    }
}

/// A list as it is answered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    data: Vec<T>,
    /// Only said when it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_more: bool,
}
