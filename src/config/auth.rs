//! How callers are recognized.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use url::Url;

use super::given;

/// The secret of development mode; refused anywhere else.
pub const DEVELOPMENT_SECRET: &str = "glassbox-development-secret-do-not-use-elsewhere";

/// How tokens are made and checked.
#[derive(Args, Clone, Debug, Default)]
pub struct AuthConfig {
    /// Signs the server's own tokens; at least 32 characters. Development mode has one of its own
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<String>,
    /// Gives tokens without a password; for one's own machine. On by default with the embedded PostgreSQL
    #[arg(long, env = "GLASSBOX_DEVELOPMENT", num_args = 0..=1, default_missing_value = "true")]
    pub development: Option<bool>,
    /// The environment's name as existing installations set it; `development` switches development mode on
    #[arg(long, env = "GO_ENV", hide = true)]
    pub go_env: Option<String>,
    /// The Cognito user pool whose tokens are taken
    #[arg(long, env = "COGNITO_USER_POOL_ID")]
    pub cognito_user_pool_id: Option<String>,
    /// The app client that the tokens must be for
    #[arg(long, env = "COGNITO_CLIENT_ID")]
    pub cognito_client_id: Option<String>,
    /// The AWS region of the user pool
    #[arg(long, env = "COGNITO_REGION")]
    pub cognito_region: Option<String>,
    /// Stands in the place of Cognito's own URL, for tests and compatible issuers: the tokens' issuer, with its keys
    /// at /.well-known/jwks.json below it
    #[arg(long, env = "GLASSBOX_COGNITO_ISSUER", hide = true)]
    pub cognito_issuer: Option<String>,
    /// Who calls without any credentials, as in `glassbox token`; development mode only
    #[arg(long, env = "GLASSBOX_DEV_USER")]
    pub dev_user: Option<String>,
    /// Marks the session cookie Secure also where no proxy says that the page came by HTTPS
    #[arg(long, env = "GLASSBOX_COOKIE_SECURE", num_args = 0..=1, default_missing_value = "true")]
    pub cookie_secure: Option<bool>,
}

/// Whose Cognito tokens are taken.
#[derive(Clone, Debug)]
pub struct CognitoConfig {
    /// What stands in `iss`; the keys lie at `/.well-known/jwks.json` below it.
    pub issuer: String,
    /// What stands in `client_id` or `aud`.
    pub client_id: String,
}

/// How callers are recognized.
#[derive(Clone)]
pub struct Secrets {
    /// Keys of the server's own tokens are derived from it, one per kind.
    pub secret: String,
    /// Whether tokens are given without a password.
    pub is_development: bool,
    /// The user pool, if there is one.
    pub cognito: Option<CognitoConfig>,
    /// Who calls without any credentials, if anybody may.
    pub dev_user: Option<String>,
    /// Whether the session cookie is always Secure.
    pub has_secure_cookie: bool,
    /// How long an instance believes that a user whom it has seen still exists.
    pub caller_life: Duration,
}

impl Secrets {
    /// The server's own tokens and nothing else.
    pub fn new(secret: &str, is_development: bool) -> Self {
        Self {
            secret: secret.to_owned(),
            is_development,
            cognito: None,
            dev_user: None,
            has_secure_cookie: false,
            caller_life: CALLER_LIFE,
        }
    }
}

/// How long an instance believes that a user whom it has seen still exists.
const CALLER_LIFE: Duration = Duration::from_secs(30);

impl AuthConfig {
    /// Decides between development and production.
    ///
    /// # Errors
    /// A secret that is missing, short or well known outside development mode; development mode on an address
    /// that others can reach without a secret of its own; half a user pool; a development user outside development
    /// mode.
    pub fn secrets(&self, has_embedded_database: bool, bind: Option<IpAddr>) -> anyhow::Result<Secrets> {
        let is_development =
            self.development.unwrap_or(has_embedded_database || self.go_env.as_deref() == Some("development"));
        let is_public = bind.is_some_and(|address| !address.is_loopback());
        let secret = match self.jwt_secret.as_deref() {
            Some(secret) if secret != DEVELOPMENT_SECRET => {
                anyhow::ensure!(secret.chars().count() >= 32, "JWT_SECRET: must have at least 32 characters");
                secret
            }
            _ if !is_development => anyhow::bail!(
                "JWT_SECRET: must be set to a secret of at least 32 characters (or set GLASSBOX_DEVELOPMENT=true on your own machine)"
            ),
            _ if is_public => anyhow::bail!(
                "GLASSBOX_BIND: development mode on an address that others can reach needs a JWT_SECRET of its own"
            ),
            _ => DEVELOPMENT_SECRET,
        };
        let dev_user = given(&self.dev_user);
        anyhow::ensure!(
            dev_user.is_none() || is_development,
            "GLASSBOX_DEV_USER: lets everybody in without a token, so it needs development mode"
        );
        Ok(Secrets {
            cognito: self.cognito()?,
            dev_user: dev_user.map(str::to_owned),
            has_secure_cookie: self.cookie_secure.unwrap_or(false),
            ..Secrets::new(secret, is_development)
        })
    }

    fn cognito(&self) -> anyhow::Result<Option<CognitoConfig>> {
        let (pool, client) = (given(&self.cognito_user_pool_id), given(&self.cognito_client_id));
        let issuer = given(&self.cognito_issuer);
        if pool.is_none() && client.is_none() && issuer.is_none() {
            return Ok(None);
        }
        let client_id = client.context("COGNITO_CLIENT_ID: must be set where there is a user pool")?.to_owned();
        let issuer = match issuer {
            Some(issuer) => issuer.trim_end_matches('/').to_owned(),
            None => {
                let pool = pool.context("COGNITO_USER_POOL_ID: must be set where COGNITO_CLIENT_ID is")?;
                let region = given(&self.cognito_region).context("COGNITO_REGION: must be set for the user pool")?;
                format!("https://cognito-idp.{region}.amazonaws.com/{pool}")
            }
        };
        let url = Url::parse(&issuer).context("COGNITO_USER_POOL_ID, COGNITO_REGION: do not make a URL")?;
        anyhow::ensure!(["https", "http"].contains(&url.scheme()), "GLASSBOX_COGNITO_ISSUER: expected an HTTP URL");
        Ok(Some(CognitoConfig { issuer, client_id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(secret: Option<&str>, development: Option<bool>) -> AuthConfig {
        AuthConfig { jwt_secret: secret.map(str::to_owned), development, ..AuthConfig::default() }
    }

    #[test]
    fn production_needs_a_secret_of_its_own() {
        let message = |config: AuthConfig| config.secrets(false, None).err().map(|e| e.to_string());
        assert!(message(auth(None, None)).is_some_and(|m| m.starts_with("JWT_SECRET")));
        assert!(message(auth(Some("short"), None)).is_some_and(|m| m.starts_with("JWT_SECRET")));
        assert!(message(auth(Some(DEVELOPMENT_SECRET), None)).is_some_and(|m| m.starts_with("JWT_SECRET")));
        assert!(message(auth(Some("0123456789abcdef0123456789abcdef"), None)).is_none());
    }

    #[test]
    fn the_development_secret_stays_on_the_loopback_address() {
        let public = "0.0.0.0".parse().ok();
        assert!(auth(None, None).secrets(true, public).is_err());
        assert!(auth(None, None).secrets(true, "127.0.0.1".parse().ok()).is_ok());
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_user_pool_is_whole_or_absent() {
        let pool = AuthConfig {
            cognito_user_pool_id: some("eu-west-1_abc"),
            cognito_client_id: some("client"),
            cognito_region: some("eu-west-1"),
            ..auth(None, Some(true))
        };
        let cognito = pool.cognito().expect("a pool").expect("a pool");
        assert_eq!(cognito.issuer, "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc");
        assert!(AuthConfig { cognito_client_id: None, ..pool.clone() }.cognito().is_err());
        assert!(AuthConfig { cognito_region: some(""), ..pool.clone() }.cognito().is_err());
        assert!(auth(None, None).cognito().expect("no pool").is_none());
        let other = AuthConfig { cognito_issuer: some("http://127.0.0.1:1/pool/"), ..pool };
        assert_eq!(other.cognito().expect("a pool").expect("a pool").issuer, "http://127.0.0.1:1/pool");
    }

    #[test]
    fn nobody_comes_in_without_credentials_outside_development_mode() {
        let long = Some("0123456789abcdef0123456789abcdef");
        let config = AuthConfig { dev_user: some("dev-user-1"), ..auth(long, Some(false)) };
        assert!(config.secrets(false, None).is_err_and(|e| e.to_string().starts_with("GLASSBOX_DEV_USER")));
        let config = AuthConfig { dev_user: some("dev-user-1"), ..auth(None, Some(true)) };
        assert_eq!(config.secrets(false, None).expect("secrets").dev_user, some("dev-user-1"));
    }
}
