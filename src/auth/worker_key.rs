//! Worker keys: how programs call, without a person's sign-in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tracing::warn;
use uuid::Uuid;

use super::sid::Sid;
use super::{AuthError, Bearer, Kind, now};
use crate::store::{Database, Tenant, worker_keys};

/// What every worker key begins with.
const PREFIX: &str = "gbw_";
/// Bytes of a secret before they are written as text.
const SECRET_BYTES: usize = 32;
/// How long a request that a key lets in may count on it, s. A key has no end of its own.
const REQUEST_LIFE_S: i64 = 60 * 60;

/// A new key.
pub struct NewKey {
    /// Its public part.
    pub id: Uuid,
    /// The whole text, which is shown once and kept nowhere.
    pub text: String,
    /// What is kept of the secret part.
    pub secret_hash: [u8; 32],
}

/// Makes a key.
pub fn generate() -> NewKey {
    let id = Uuid::new_v4();
    let secret = URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; SECRET_BYTES]>());
    NewKey { id, text: format!("{PREFIX}{}_{secret}", id.simple()), secret_hash: hash(&secret) }
}

/// Whether a bearer's text wants to be a worker key: no other kind of token begins like one.
pub fn is_worker_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Says which key calls. It is looked up each time, so that a revoked one opens nothing from that moment on.
///
/// # Errors
/// [`AuthError::Invalid`] and [`AuthError::Unavailable`].
pub async fn authenticate(database: &Database, text: &str) -> Result<Bearer, AuthError> {
    let (id, secret) = parse(text).ok_or(AuthError::Invalid)?;
    let stored = worker_keys::find(database, id).await?.ok_or(AuthError::Invalid)?;
    if !bool::from(stored.secret_hash.as_slice().ct_eq(&hash(secret))) {
        return Err(AuthError::Invalid);
    }
    if !stored.is_noted_as_used {
        let noted = async {
            let mut tx = database.begin(&Tenant::org(stored.org)).await?;
            worker_keys::note_use(&mut tx, id).await?;
            tx.commit().await
        };
        // Nobody is kept out because this could not be written down.
        if let Err(error) = noted.await {
            warn!(%error, worker_key = %id, "note the use of a worker key");
        }
    }
    Ok(Bearer {
        user: stored.user,
        kind: Kind::Worker { key: id, org: stored.org },
        expires_at: now() + REQUEST_LIFE_S,
        sid: Sid::of(text),
    })
}

/// The `cognito_sub` and the email of a key's user.
pub fn user_names(key: Uuid) -> (String, String) {
    (format!("worker:{key}"), format!("worker-{key}@workers.invalid"))
}

/// Reads a key in exactly the form in which it was given.
fn parse(text: &str) -> Option<(Uuid, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_secret = secret.len() == 43 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    (is_id && is_secret).then_some(())?;
    Some((Uuid::try_parse(id).ok()?, secret))
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made_and_in_no_other_form() {
        for _ in 0..100 {
            let new = generate();
            let (id, secret) = parse(&new.text).expect("a key of ours");
            assert_eq!((id, hash(secret)), (new.id, new.secret_hash));
        }
        let text = generate().text;
        let upper = text.replace("gbw_", "GBW_");
        let hyphens = text.replacen(&text[4..36], &Uuid::new_v4().to_string(), 1);
        for odd in ["gbw_", "gbw__", &text[..text.len() - 1], &format!("{text}A"), &upper, &hyphens, &text[4..]] {
            assert!(parse(odd).is_none(), "{odd}");
        }
    }
}
