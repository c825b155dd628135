//! Who of a room's members may see its project at the moment.

use std::collections::HashSet;
use std::time::Duration;

use glassbox_protocol::UserId;
use tokio::time::Instant;
use tracing::{error, warn};

use super::Seat;
use crate::auth;
use crate::store::{Database, Tenant};

/// How long rights may stay unknown.
const DEADLINE: Duration = Duration::from_millis(900);

/// Who among these users may see the project; `None` when the database does not tell in time.
pub async fn who_may_read(database: &Database, seat: &Seat, users: HashSet<UserId>) -> Option<HashSet<UserId>> {
    let users: Vec<UserId> = users.into_iter().collect();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let look = async {
            let mut tx = database.begin(&Tenant::org(seat.org)).await?;
            auth::project_roles(&mut tx, seat.project, &users).await
        };
        match tokio::time::timeout_at(deadline, look).await {
            Ok(Ok(roles)) => return Some(roles.into_keys().collect()),
            Ok(Err(error)) if Instant::now() < deadline => {
                warn!(project.id = %seat.project, %error, "rights cannot be looked at, trying again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(Err(_)) | Err(_) => {
                error!(project.id = %seat.project, "rights are unknown: everybody has to join anew");
                return None;
            }
        }
    }
}
