//! Whom this instance has seen: so that a request with a good token asks the database now and then, and not each time.

use glassbox_protocol::UserId;
use moka::sync::Cache;
use tokio_util::task::TaskTracker;

use super::cognito::{Cognito, Visitor};
use super::sid::Sid;
use super::{AuthError, sign_in};
use crate::config::Secrets;
use crate::store::{Database, Tenant, users};

/// Most users that are remembered.
const USERS_MAX: u64 = 100_000;
/// Most sign-ins that are remembered.
const SIGN_INS_MAX: u64 = 100_000;
/// Where mail to a development user goes: nowhere.
const DEV_EMAIL_DOMAIN: &str = "example.org";

/// Who was seen a moment ago. Whoever is deleted is let in for [`Secrets::caller_life`] at most.
pub struct Callers {
    /// The user pool, if there is one.
    pub cognito: Option<Cognito>,
    users: Cache<UserId, ()>,
    sign_ins: Cache<Sid, UserId>,
}

impl Callers {
    /// Remembers nobody.
    ///
    /// # Errors
    /// There is no TLS on this machine, and a user pool to ask.
    pub fn new(secrets: &Secrets, tasks: TaskTracker) -> anyhow::Result<Self> {
        let cognito = secrets.cognito.clone().map(|config| Cognito::new(config, tasks)).transpose()?;
        Ok(Self {
            cognito,
            users: Cache::builder().max_capacity(USERS_MAX).time_to_live(secrets.caller_life).build(),
            sign_ins: Cache::builder().max_capacity(SIGN_INS_MAX).time_to_live(secrets.caller_life).build(),
        })
    }

    /// Checks that a user exists.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] if they do not, [`AuthError::Unavailable`].
    pub(super) async fn confirm(&self, database: &Database, user: UserId) -> Result<(), AuthError> {
        if self.users.contains_key(&user) {
            return Ok(());
        }
        let mut tx = database.begin(&Tenant::user(user)).await?;
        users::by_id(&mut tx, user).await?.ok_or(AuthError::Invalid)?;
        self.users.insert(user, ());
        Ok(())
    }

    /// Finds or makes the user behind a token of the user pool.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] if they were deleted since they signed in, [`AuthError::Unavailable`].
    pub(super) async fn visitor(&self, database: &Database, sid: Sid, visitor: &Visitor) -> Result<UserId, AuthError> {
        if let Some(user) = self.sign_ins.get(&sid) {
            return Ok(user);
        }
        let user = sign_in::cognito_user(database, visitor).await?;
        self.sign_ins.insert(sid, user);
        Ok(user)
    }

    /// Finds or makes the user as whom everybody without credentials acts.
    ///
    /// # Errors
    /// [`AuthError::Unavailable`].
    pub(super) async fn dev_user(&self, database: &Database, sid: Sid, name: &str) -> Result<UserId, AuthError> {
        if let Some(user) = self.sign_ins.get(&sid) {
            return Ok(user);
        }
        let email = format!("{name}@{DEV_EMAIL_DOMAIN}");
        let user = sign_in::dev_user(database, name, &email, None).await?;
        self.sign_ins.insert(sid, user);
        Ok(user)
    }
}
