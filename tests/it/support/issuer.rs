//! A user pool of our own: keys, tokens signed with them, and the address at which the server fetches the keys.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use glassbox::config::CognitoConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// The app client that the instances are.
pub const CLIENT_ID: &str = "our-client";
/// Where the pool lies on its server.
const POOL: &str = "/eu-west-1_pool";

/// Keys take a moment to make, so all tests share these.
static KEYS: LazyLock<[Key; 3]> = LazyLock::new(|| ["first", "second", "third"].map(Key::new));

/// A key of the pool.
pub struct Key {
    /// Its name in the tokens.
    pub kid: String,
    pair: KeyPair,
}

impl Key {
    fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: KeyPair::generate(KeySize::Rsa2048).expect("an RSA key") }
    }

    /// Key `index` of three.
    pub fn nth(index: usize) -> &'static Key {
        &KEYS[index]
    }

    /// Its public half as the pool shows it.
    pub fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        json!({
            "kid": self.kid,
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        })
    }

    /// Signs a token with any head and any claims; texts are taken as they are, so that they may be no JSON.
    pub fn sign(&self, head: &Value, claims: &Value) -> String {
        let part =
            |value: &Value| URL_SAFE_NO_PAD.encode(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let message = format!("{}.{}", part(head), part(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .expect("a signature");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The head of a token as Cognito writes it.
    pub fn head(&self) -> Value {
        json!({"kid": self.kid, "alg": "RS256"})
    }
}

/// How the pool's server behaves.
#[derive(Clone, Debug)]
pub enum Mood {
    /// It answers this.
    Answers(Value),
    /// It answers with an error.
    Fails,
    /// It never answers.
    Hangs,
    /// It sends callers elsewhere: to the keys.
    Redirects(Value),
}

/// A user pool.
pub struct Issuer {
    url: String,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
    server: AbortHandle,
}

impl Issuer {
    /// Starts one that shows the first key.
    pub async fn start() -> Self {
        let mood = Arc::new(Mutex::new(Mood::Answers(json!({"keys": [Key::nth(0).jwk()]}))));
        let asked = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}{POOL}", listener.local_addr().expect("an address"));
        let (its_mood, its_asked) = (Arc::clone(&mood), Arc::clone(&asked));
        let keys = move || {
            its_asked.fetch_add(1, Ordering::Relaxed);
            let mood = its_mood.lock().unwrap_or_else(PoisonError::into_inner).clone();
            async move { answer(mood).await }
        };
        let (elsewhere, path) = (Arc::clone(&mood), format!("{POOL}/.well-known/jwks.json"));
        let router = Router::new().route(&path, axum::routing::get(keys)).route(
            "/elsewhere",
            axum::routing::get(move || {
                let mood = elsewhere.lock().unwrap_or_else(PoisonError::into_inner).clone();
                async move {
                    match mood {
                        Mood::Redirects(keys) => axum::Json(keys).into_response(),
                        _ => StatusCode::NOT_FOUND.into_response(),
                    }
                }
            }),
        );
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        })
        .abort_handle();
        Self { url, mood, asked, server }
    }

    /// What makes an instance take its tokens.
    pub fn config(&self) -> CognitoConfig {
        CognitoConfig { issuer: self.url.clone(), client_id: CLIENT_ID.to_owned() }
    }

    /// Changes how it behaves.
    pub fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Shows these keys.
    pub fn shows(&self, keys: &[&Key]) {
        self.is(Mood::Answers(json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})));
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// The claims of an access token.
    pub fn access(&self, sub: &str) -> Value {
        let now = glassbox::auth::now();
        json!({
            "sub": sub,
            "iss": self.url,
            "client_id": CLIENT_ID,
            "token_use": "access",
            "scope": "aws.cognito.signin.user.admin",
            "username": sub,
            "auth_time": now,
            "iat": now,
            "exp": now + 3600,
        })
    }

    /// The claims of an id token.
    pub fn id(&self, sub: &str, email: &str) -> Value {
        let now = glassbox::auth::now();
        json!({
            "sub": sub,
            "iss": self.url,
            "aud": CLIENT_ID,
            "token_use": "id",
            "email": email,
            "email_verified": true,
            "auth_time": now,
            "iat": now,
            "exp": now + 3600,
        })
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(mood: Mood) -> Response {
    match mood {
        Mood::Answers(body) => axum::Json(body).into_response(),
        Mood::Fails => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Hangs => std::future::pending().await,
        Mood::Redirects(_) => Redirect::temporary("/elsewhere").into_response(),
    }
}
