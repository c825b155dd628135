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

/// Which part of a list is asked for, where the list has a limit of its own.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Most items.
    pub limit: i64,
    /// Items to pass over.
    pub offset: i64,
}

impl Window {
    /// Reads `limit` and `offset`.
    pub fn from_query(query: &Query, limit_default: i64, limit_max: i64) -> ApiResult<Self> {
        let limit = query.integer("limit", 1..=limit_max)?.unwrap_or(limit_default);
        let offset = query.integer("offset", 0..=i64::from(i32::MAX))?.unwrap_or(0);
        Ok(Self { limit, offset })
    }

    /// Answers with the items of the window, of which there are `total` without it.
    pub fn of<T>(self, data: Vec<T>, total: i64) -> Counted<T> {
        let end = self.offset.saturating_add(i64::try_from(data.len()).unwrap_or(i64::MAX));
        Counted { data, total, limit: self.limit, offset: self.offset, has_more: end < total }
    }
}

impl<T> Counted<T> {
    /// Says whether there is more, where that does not follow from the offset.
    #[must_use]
    pub fn with_more(mut self, has_more: bool) -> Self {
        self.has_more = has_more;
        self
    }
}

/// A list that says how long it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counted<T> {
    data: Vec<T>,
    /// How many there are without limit and offset.
    total: i64,
    limit: i64,
    offset: i64,
    has_more: bool,
}
impl<T> List<T> {
    /// The items, and whether there is more.
    pub fn into_parts(self) -> (Vec<T>, bool) {
        (self.data, self.has_more)
    }
}
