//! Who stands behind a change, as the triggers read it from the setting `app.origin`.

use std::net::IpAddr;
use std::sync::Arc;

use glassbox_protocol::{ClientId, ExecutionId, RequestId, UserId};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Who stands behind a change, for the `by` of its events, for its versions and for the audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The acting user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The agent's run that acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionId>,
    /// The command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The client that sent the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// Orders the events of one statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// Why a lock ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The `change_type` of the version that the change makes, where it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<&'static str>,
    /// What the version says of the change, where it is not the usual text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Whether triggers leave the audit trail alone, because the server writes one row for the whole change.
    #[serde(rename = "audit", skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
    /// Where the request came from.
    #[serde(skip)]
    pub via: Option<Arc<Via>>,
}

/// What triggers do about the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Audit {
    /// Nothing: the server writes one row for all that the transaction does.
    None,
}

/// Where a request came from; stands in the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Via {
    /// The client's address.
    pub ip: IpAddr,
    /// What the client calls itself, cut to a bearable length.
    #[serde(rename = "agent", skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

impl Origin {
    /// A change that a user makes.
    pub fn user(user: UserId) -> Self {
        Self { user: Some(user), ..Self::default() }
    }
}

/// Writes the setting: an object with an origin for all rows under `*`, with others under the ids of single rows,
/// and with the list `via` that they refer into.
pub(super) fn setting(all: &Origin, rows: &[(Uuid, Origin)]) -> sqlx::Result<String> {
    let mut origins = Map::new();
    let mut places: Vec<Arc<Via>> = Vec::new();
    let entries =
        std::iter::once(("*".to_owned(), all)).chain(rows.iter().map(|(id, origin)| (id.to_string(), origin)));
    for (key, origin) in entries {
        let mut value = json(origin)?;
        if let Some(via) = &origin.via {
            let known = places.iter().position(|place| Arc::ptr_eq(place, via));
            let index = known.unwrap_or_else(|| {
                places.push(Arc::clone(via));
                places.len() - 1
            });
            value["via"] = index.into();
        }
        origins.insert(key, value);
    }
    if !places.is_empty() {
        let list = places.iter().map(|via| json(via.as_ref())).collect::<sqlx::Result<Vec<Value>>>()?;
        origins.insert("via".to_owned(), list.into());
    }
    Ok(Value::Object(origins).to_string())
}

fn json(value: &impl Serialize) -> sqlx::Result<Value> {
    serde_json::to_value(value).map_err(|e| sqlx::Error::Encode(e.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_of_one_place_name_it_once() {
        let via = |ip: &str| Arc::new(Via { ip: ip.parse().expect("an address"), user_agent: None });
        let (here, there) = (via("192.0.2.1"), via("192.0.2.2"));
        let origin = |via: &Arc<Via>| Origin { via: Some(Arc::clone(via)), ..Origin::default() };
        let (a, b, c) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        let rows = [(a, origin(&here)), (b, origin(&there)), (c, origin(&here))];
        let setting: Value = serde_json::from_str(&setting(&Origin::default(), &rows).expect("JSON")).expect("JSON");
        assert_eq!(setting["via"], json!([{ "ip": "192.0.2.1" }, { "ip": "192.0.2.2" }]));
        assert_eq!([a, b, c].map(|id| setting[id.to_string()]["via"].clone()), [json!(0), json!(1), json!(0)]);
        assert_eq!(setting["*"], json!({}));
    }
}
