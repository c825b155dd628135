//! The server's own tokens: made and checked here, one key, issuer and audience per kind.
//!
//! A kind is what the caller asks for, never what the token says about itself: algorithm, key, issuer and audience
//! are fixed per kind, so that a token of one kind is noise to every other.

use glassbox_protocol::UserId;
use hmac::{Hmac, Mac as _};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use super::AuthError;
use super::sid::Sid;
use crate::config::Secrets;

/// How long a dev token lasts, s.
pub const DEV_LIFE_S: i64 = 24 * 60 * 60;
/// How long a ticket waits for its first use, s.
pub const TICKET_LIFE_S: i64 = 5 * 60;

/// A kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dev,
    Ticket,
}

impl Kind {
    fn issuer(self) -> &'static str {
        match self {
            Kind::Dev => "glassbox-dev",
            Kind::Ticket => "glassbox-ws",
        }
    }

    fn audience(self) -> &'static str {
        match self {
            Kind::Dev => "glassbox-api",
            Kind::Ticket => "glassbox-ws",
        }
    }

    /// Derives the kind's own key: HMAC-SHA256 of the kind's name under the server's secret.
    fn key(self, secrets: &Secrets) -> [u8; 32] {
        let name = match self {
            Kind::Dev => "glassbox token dev",
            Kind::Ticket => "glassbox token ticket",
        };
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secrets.secret.as_bytes()).expect("HMAC takes a key of any length");
        mac.update(name.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// What a dev token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DevClaims {
    /// The user that it is for.
    pub user_id: UserId,
    /// Their email, as it was given.
    pub email: String,
    /// `dev-` and the id that was asked for.
    pub sub: String,
    /// Always `glassbox-dev`.
    pub iss: String,
    /// Always `glassbox-api`.
    pub aud: String,
    /// When it was made, unix s.
    pub iat: i64,
    /// When it ends, unix s.
    pub exp: i64,
}

impl DevClaims {
    /// What a new dev token says.
    pub fn new(user: UserId, asked_for: &str, email: &str, now: i64) -> Self {
        Self {
            user_id: user,
            email: email.to_owned(),
            sub: format!("dev-{asked_for}"),
            iss: Kind::Dev.issuer().to_owned(),
            aud: Kind::Dev.audience().to_owned(),
            iat: now,
            exp: now + DEV_LIFE_S,
        }
    }

    /// Signs it.
    pub fn sign(&self, secrets: &Secrets) -> String {
        sign(Kind::Dev, secrets, self)
    }

    /// Checks a dev token; outside development mode none is valid.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] and [`AuthError::Expired`].
    pub fn verify(secrets: &Secrets, token: &str) -> Result<Self, AuthError> {
        if !secrets.is_development {
            return Err(AuthError::Invalid);
        }
        verify(Kind::Dev, secrets, token)
    }
}

/// What a ticket says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TicketClaims {
    /// The ticket's row.
    pub jti: Uuid,
    /// The user that it is for.
    pub sub: UserId,
    /// Always `glassbox-ws`.
    pub iss: String,
    /// Always `glassbox-ws`.
    pub aud: String,
    /// When it was made, unix s.
    pub iat: i64,
    /// Until when it can be used, unix s.
    pub exp: i64,
    /// When the token ends that asked for it, unix s: a socket that it opens lives no longer.
    pub session_exp: i64,
    /// The sign-in that asked for it, which ends the socket when it ends.
    pub sid: Sid,
}

impl TicketClaims {
    /// What a new ticket says; it ends with the token that asked for it.
    pub fn new(user: UserId, sid: Sid, session_exp: i64, now: i64) -> Self {
        Self {
            jti: Uuid::new_v4(),
            sub: user,
            iss: Kind::Ticket.issuer().to_owned(),
            aud: Kind::Ticket.audience().to_owned(),
            iat: now,
            exp: session_exp.min(now + TICKET_LIFE_S),
            session_exp,
            sid,
        }
    }

    /// Signs it. The text has no character that a URL would need to escape.
    pub fn sign(&self, secrets: &Secrets) -> String {
        sign(Kind::Ticket, secrets, self)
    }

    /// Checks a ticket's text; whether it was used stands in its row.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] and [`AuthError::Expired`].
    pub fn verify(secrets: &Secrets, token: &str) -> Result<Self, AuthError> {
        verify(Kind::Ticket, secrets, token)
    }

    /// Checks a ticket's text, but for the time of its first use: the older dialect may use it again, as its row says. The
    /// sign-in that asked for it must not be over.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] and [`AuthError::Expired`].
    pub fn verify_older(secrets: &Secrets, token: &str, now: i64) -> Result<Self, AuthError> {
        let claims: Self = verify_at(Kind::Ticket, secrets, token, Lifetime::Elsewhere)?;
        if claims.session_exp <= now { Err(AuthError::Expired) } else { Ok(claims) }
    }
}

fn sign(kind: Kind, secrets: &Secrets, claims: &impl Serialize) -> String {
    let key = EncodingKey::from_secret(&kind.key(secrets));
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
        .expect("claims of ours are JSON and HMAC takes any key")
}

/// Where the end of a token's life is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    /// By `exp`.
    Here,
    /// By whoever asks.
    Elsewhere,
}

fn verify<C: DeserializeOwned>(kind: Kind, secrets: &Secrets, token: &str) -> Result<C, AuthError> {
    verify_at(kind, secrets, token, Lifetime::Here)
}

fn verify_at<C: DeserializeOwned>(
    kind: Kind,
    secrets: &Secrets,
    token: &str,
    lifetime: Lifetime,
) -> Result<C, AuthError> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[kind.issuer()]);
    validation.set_audience(&[kind.audience()]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.validate_exp = lifetime == Lifetime::Here;
    // The clock is our own.
    validation.leeway = 0;
    let key = DecodingKey::from_secret(&kind.key(secrets));
    match jsonwebtoken::decode::<C>(token, &key, &validation) {
        Ok(data) => Ok(data.claims),
        // Comes after the signature was found right.
        Err(e) if matches!(e.kind(), ErrorKind::ExpiredSignature) => Err(AuthError::Expired),
        Err(_) => Err(AuthError::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(secret: &str, is_development: bool) -> Secrets {
        Secrets::new(secret, is_development)
    }

    fn now() -> i64 {
        time::OffsetDateTime::now_utc().unix_timestamp()
    }

    #[test]
    fn a_token_survives_a_round_trip() {
        let ours = secrets("a", true);
        let user = UserId::random();
        let token = DevClaims::new(user, "dev-user-1", "a@b.c", now()).sign(&ours);
        let claims = DevClaims::verify(&ours, &token).expect("a fresh token");
        assert_eq!((claims.user_id, claims.sub.as_str()), (user, "dev-dev-user-1"));
        let ticket = TicketClaims::new(user, Sid::of(&token), now() + 3600, now()).sign(&ours);
        assert_eq!(TicketClaims::verify(&ours, &ticket).expect("a fresh ticket").sub, user);
        assert!(ticket.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
    }

    #[test]
    fn a_token_of_one_kind_is_refused_as_any_other() {
        let ours = secrets("a", true);
        let dev = DevClaims::new(UserId::random(), "u", "a@b.c", now()).sign(&ours);
        let ticket = TicketClaims::new(UserId::random(), Sid::of(&dev), now() + 3600, now()).sign(&ours);
        assert!(matches!(TicketClaims::verify(&ours, &dev), Err(AuthError::Invalid)));
        assert!(matches!(DevClaims::verify(&ours, &ticket), Err(AuthError::Invalid)));
    }

    #[test]
    fn a_token_of_another_secret_or_mode_is_refused() {
        let token = DevClaims::new(UserId::random(), "u", "a@b.c", now()).sign(&secrets("a", true));
        assert!(matches!(DevClaims::verify(&secrets("b", true), &token), Err(AuthError::Invalid)));
        assert!(matches!(DevClaims::verify(&secrets("a", false), &token), Err(AuthError::Invalid)));
    }

    #[test]
    fn an_old_token_is_expired_and_a_forged_old_one_invalid() {
        let ours = secrets("a", true);
        let old = DevClaims::new(UserId::random(), "u", "a@b.c", now() - DEV_LIFE_S - 1);
        assert!(matches!(DevClaims::verify(&ours, &old.sign(&ours)), Err(AuthError::Expired)));
        let forged = old.sign(&secrets("b", true));
        assert!(matches!(DevClaims::verify(&ours, &forged), Err(AuthError::Invalid)));
    }

    #[test]
    fn the_token_does_not_choose_its_algorithm() {
        let ours = secrets("a", true);
        let claims = DevClaims::new(UserId::random(), "u", "a@b.c", now());
        let key = EncodingKey::from_secret(&Kind::Dev.key(&ours));
        let stronger = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims, &key).expect("signs");
        assert!(matches!(DevClaims::verify(&ours, &stronger), Err(AuthError::Invalid)));
        let signed = claims.sign(&ours);
        let body = signed.split('.').nth(1).expect("three parts");
        // {"alg":"none","typ":"JWT"}
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
        assert!(matches!(DevClaims::verify(&ours, &unsigned), Err(AuthError::Invalid)));
    }

    #[test]
    fn a_ticket_ends_with_the_token_that_asked_for_it() {
        let ticket = TicketClaims::new(UserId::random(), Sid::of("a"), 1_030, 1_000);
        assert_eq!(ticket.exp, 1_030);
        assert_eq!(TicketClaims::new(UserId::random(), Sid::of("a"), 9_999, 1_000).exp, 1_000 + TICKET_LIFE_S);
    }
}
