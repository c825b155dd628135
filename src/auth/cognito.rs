//! Tokens of the Cognito user pool: who they are for, and whether they are what they say.
//!
//! The algorithm is RS256 and the keys are the pool's, whatever a token says about itself; [`keys`] fetches and keeps
//! them.

mod keys;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::Deserialize;
use tokio_util::task::TaskTracker;

use super::{AuthError, now};
use crate::config::CognitoConfig;
use keys::Keys;

/// By how much the pool's clock and ours may differ, s.
const LEEWAY_S: i64 = 60;
/// The longest life of a token that we believe, s; Cognito's own limit is a day.
const LIFE_MAX_S: i64 = 366 * 24 * 60 * 60;
/// Longest `sub`, characters; Cognito's own are UUIDs.
const SUB_CHARS_MAX: usize = 128;
/// Longest email and name, characters: their columns'.
const TEXT_CHARS_MAX: usize = 255;

/// A user pool whose tokens are taken.
pub struct Cognito {
    config: CognitoConfig,
    keys: Keys,
}

/// Somebody whom a token of the user pool proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Whom the pool knows them as.
    pub sub: String,
    /// When they signed in, unix s, if the token says so.
    pub signed_in_at: Option<i64>,
    /// When the token ends, unix s.
    pub expires_at: i64,
    /// What an id token says about them.
    pub profile: Option<Profile>,
}

/// What an id token says about somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Where to write to them, unless the pool says that it is not theirs.
    pub email: Option<String>,
    /// Whether the pool has seen that the email is theirs.
    pub is_email_verified: bool,
    /// How to call them.
    pub name: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
    auth_time: Option<i64>,
    token_use: String,
    client_id: Option<String>,
    aud: Option<String>,
    email: Option<String>,
    email_verified: Option<Flag>,
    name: Option<String>,
}

/// Cognito writes this flag both ways.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Is(bool),
    Says(String),
}

impl Flag {
    fn is_true(&self) -> bool {
        match self {
            Flag::Is(is) => *is,
            Flag::Says(text) => text == "true",
        }
    }
}

impl Cognito {
    /// Prepares for a user pool; its keys are fetched when they are needed.
    ///
    /// # Errors
    /// There is no TLS on this machine.
    pub fn new(config: CognitoConfig, tasks: TaskTracker) -> anyhow::Result<Self> {
        let keys = Keys::new(format!("{}/.well-known/jwks.json", config.issuer), tasks)?;
        Ok(Self { config, keys })
    }

    /// Checks an access or id token.
    ///
    /// # Errors
    /// [`AuthError::Invalid`], [`AuthError::Expired`], and [`AuthError::KeysAway`] while the pool's keys cannot be had.
    pub async fn verify(&self, token: &str) -> Result<Visitor, AuthError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| AuthError::Invalid)?;
        let kid = plain_kid(&header).ok_or(AuthError::Invalid)?;
        let key = self.keys.find(kid).await?;

        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // An access token has none; `of` looks at an id token's.
        validation.validate_aud = false;
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_S.unsigned_abs();
        match jsonwebtoken::decode::<Claims>(token, &key, &validation) {
            Ok(data) => self.visitor(data.claims, now()),
            // Comes after the signature was found right.
            Err(e) if matches!(e.kind(), ErrorKind::ExpiredSignature) => Err(AuthError::Expired),
            Err(_) => Err(AuthError::Invalid),
        }
    }

    /// Reads claims whose signature is right. The times are looked at once more, as the whole numbers that they have
    /// to be.
    fn visitor(&self, claims: Claims, now: i64) -> Result<Visitor, AuthError> {
        if claims.iss != self.config.issuer || claims.exp > now + LIFE_MAX_S {
            return Err(AuthError::Invalid);
        }
        if claims.nbf.is_some_and(|nbf| nbf > now + LEEWAY_S) {
            return Err(AuthError::Invalid);
        }
        if claims.exp < now - LEEWAY_S {
            return Err(AuthError::Expired);
        }
        let profile = match claims.token_use.as_str() {
            "access" if claims.client_id.as_deref() == Some(&self.config.client_id) => None,
            "id" if claims.aud.as_deref() == Some(&self.config.client_id) => {
                let is_email_verified = claims.email_verified.as_ref().is_some_and(Flag::is_true);
                // An email that the pool knows to be unproved may be anybody's: people are invited by theirs.
                let is_email_denied = claims.email_verified.is_some() && !is_email_verified;
                let email = claims.email.filter(|email| !email.is_empty() && !is_email_denied);
                let name = claims.name.filter(|name| !name.trim().is_empty());
                Some(Profile { email, is_email_verified, name })
            }
            _ => return Err(AuthError::Invalid),
        };
        let texts = profile.iter().flat_map(|profile| [&profile.email, &profile.name]).flatten();
        if !is_plain_sub(&claims.sub) || texts.into_iter().any(|text| !is_storable(text)) {
            return Err(AuthError::Invalid);
        }
        Ok(Visitor { sub: claims.sub, signed_in_at: claims.auth_time.or(claims.iat), expires_at: claims.exp, profile })
    }
}

/// The key that a token names, if it brings no key, address of a key or demand of its own.
fn plain_kid(header: &Header) -> Option<&str> {
    let is_plain = header.alg == Algorithm::RS256
        && header.jku.is_none()
        && header.jwk.is_none()
        && header.x5u.is_none()
        && header.x5c.is_none()
        && header.crit.is_none();
    header.kid.as_deref().filter(|kid| is_plain && (1..=keys::KID_BYTES_MAX).contains(&kid.len()))
}

/// Two kinds of `cognito_sub` are the server's own.
fn is_plain_sub(sub: &str) -> bool {
    let is_ours = sub.starts_with("invited:") || sub.starts_with("worker:");
    !sub.is_empty() && !is_ours && !sub.contains('\0') && sub.chars().count() <= SUB_CHARS_MAX
}

fn is_storable(text: &str) -> bool {
    !text.contains('\0') && text.chars().count() <= TEXT_CHARS_MAX
}
