//! The user pool's public keys: fetched when a token names one that is not known, kept for when the pool is away.
//!
//! One fetch runs at a time, and tokens with made-up key ids cause at most one a minute. What comes is bounded in size,
//! time and number, and only RSA keys of 2048 bits and more are taken.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::AuthError;

/// Longest id of a key, bytes.
pub(super) const KID_BYTES_MAX: usize = 256;
/// How long a fetch may take.
const FETCH_DEADLINE: Duration = Duration::from_secs(3);
/// Largest answer, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Most keys in an answer; Cognito has two.
const KEYS_MAX: usize = 20;
/// Smallest modulus, bits.
const MODULUS_BITS_MIN: usize = 2048;
/// How long to wait before the keys are fetched again, when there are some.
const REFETCH_PAUSE: Duration = Duration::from_secs(60);
/// The same, when there are none: nobody can come in.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// After this time the keys are fetched again even if they still serve: the pool may have withdrawn one.
const KEYS_AGE_MAX: Duration = Duration::from_secs(3600);

pub(super) struct Keys {
    url: String,
    client: reqwest::Client,
    tasks: TaskTracker,
    known: Arc<RwLock<Option<KeySet>>>,
    /// Held while a fetch runs.
    attempts: Arc<Mutex<Attempts>>,
}

struct KeySet {
    by_id: HashMap<String, Arc<DecodingKey>>,
    fetched_at: Instant,
}

/// When the keys were asked for, and with what result.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    /// The last fetch but for the one that brought the first keys.
    last: Option<Instant>,
    has_failed: bool,
}

impl Attempts {
    fn may_fetch(self, now: Instant, has_keys: bool) -> bool {
        let pause = if has_keys { REFETCH_PAUSE } else { RETRY_PAUSE };
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= pause)
    }

    fn note(&mut self, began: Instant, had_keys: bool, has_failed: bool) {
        self.has_failed = has_failed;
        if had_keys || has_failed {
            self.last = Some(began);
        } else {
            self.last = None;
        }
    }
}

impl Keys {
    pub(super) fn new(url: String, tasks: TaskTracker) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(FETCH_DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("prepare for fetching the user pool's keys")?;
        Ok(Self { url, client, tasks, known: Arc::default(), attempts: Arc::default() })
    }

    /// The key with an id.
    pub(super) async fn find(&self, kid: &str) -> Result<Arc<DecodingKey>, AuthError> {
        let now = Instant::now();
        match self.known(kid) {
            Some((key, fetched_at)) if now.saturating_duration_since(fetched_at) < KEYS_AGE_MAX => return Ok(key),
            Some((key, _)) => {
                // It still serves: whoever finds the keys old asks for new ones, everybody else goes on.
                match Arc::clone(&self.attempts).try_lock_owned() {
                    Ok(attempts) if attempts.may_fetch(now, true) => self.fetch(attempts).await,
                    _ => return Ok(key),
                }
            }
            None => {
                let attempts = Arc::clone(&self.attempts).lock_owned().await;
                // Somebody else may have fetched it meanwhile.
                if self.known(kid).is_none() && attempts.may_fetch(Instant::now(), self.has_keys()) {
                    self.fetch(attempts).await;
                }
            }
        }
        if let Some((key, _)) = self.known(kid) {
            return Ok(key);
        }
        // The pool may have a new key that we cannot get.
        let is_in_doubt = !self.has_keys() || self.attempts.lock().await.has_failed;
        Err(if is_in_doubt { AuthError::KeysAway } else { AuthError::Invalid })
    }

    fn known(&self, kid: &str) -> Option<(Arc<DecodingKey>, Instant)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref()?;
        Some((Arc::clone(known.by_id.get(kid)?), known.fetched_at))
    }

    fn has_keys(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Fetches the keys. In a task of its own: a caller who hangs up must neither stop it nor start it anew.
    async fn fetch(&self, mut attempts: OwnedMutexGuard<Attempts>) {
        let (client, url, known) = (self.client.clone(), self.url.clone(), Arc::clone(&self.known));
        let had_keys = self.has_keys();
        let fetching = self.tasks.spawn(async move {
            let began = Instant::now();
            let fetched = fetch(&client, &url).await;
            attempts.note(began, had_keys, fetched.is_err());
            match fetched {
                Ok(by_id) => {
                    info!(keys = by_id.len(), "fetched the user pool's keys");
                    let keys = KeySet { by_id, fetched_at: Instant::now() };
                    *known.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
                }
                Err(error) => warn!(url, had_keys, "the user pool's keys cannot be had: {error:#}"),
            }
        });
        // It is neither aborted nor does it panic.
        let _ = fetching.await;
    }
}

async fn fetch(client: &reqwest::Client, url: &str) -> anyhow::Result<HashMap<String, Arc<DecodingKey>>> {
    let mut response = client.get(url).send().await.context("ask for them")?;
    ensure!(response.status() == reqwest::StatusCode::OK, "the answer is {}", response.status());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.context("read the answer")? {
        ensure!(body.len() + chunk.len() <= ANSWER_BYTES_MAX, "the answer is larger than {ANSWER_BYTES_MAX} bytes");
        body.extend_from_slice(&chunk);
    }
    usable_keys(&body)
}

#[derive(Deserialize)]
struct Answer {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    kty: String,
    n: String,
    e: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
}

/// Takes the keys that can check a token out of an answer; others may stand beside them.
fn usable_keys(body: &[u8]) -> anyhow::Result<HashMap<String, Arc<DecodingKey>>> {
    let answer: Answer = serde_json::from_slice(body).context("the answer is no key set")?;
    ensure!(answer.keys.len() <= KEYS_MAX, "the answer has more than {KEYS_MAX} keys");
    let mut by_id = HashMap::new();
    for key in answer.keys {
        let Ok(key) = Key::deserialize(key) else { continue };
        let is_for_tokens = key.kty == "RSA"
            && key.alg.as_deref().is_none_or(|alg| alg == "RS256")
            && key.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        if !is_for_tokens || key.kid.len() > KID_BYTES_MAX || modulus_bits(&key.n) < MODULUS_BITS_MIN {
            continue;
        }
        if let Ok(usable) = DecodingKey::from_rsa_components(&key.n, &key.e) {
            by_id.entry(key.kid).or_insert_with(|| Arc::new(usable));
        }
    }
    ensure!(!by_id.is_empty(), "the answer has no usable key");
    Ok(by_id)
}

/// The length of a number without its leading zeros; 0 for what is no number.
fn modulus_bits(n: &str) -> usize {
    let bytes = URL_SAFE_NO_PAD.decode(n).unwrap_or_default();
    let mut significant = bytes.iter().skip_while(|byte| **byte == 0);
    match significant.next() {
        Some(first) => significant.count() * 8 + (8 - first.leading_zeros() as usize),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn modulus(bits: usize) -> String {
        let mut bytes = vec![0xff; bits / 8];
        bytes[0] = 0x80;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn only_long_rsa_keys_for_signatures_are_taken() {
        let key = |kid: &str, bits: usize| json!({"kid": kid, "kty": "RSA", "n": modulus(bits), "e": "AQAB"});
        let with = |mut key: serde_json::Value, name: &str, value: &str| {
            key[name] = value.into();
            key
        };
        let padded = URL_SAFE_NO_PAD.encode([vec![0; 128], vec![0xff; 128]].concat());
        let answer = json!({"keys": [
            key("good", 2048),
            with(key("also good", 3072), "alg", "RS256"),
            key("short", 1024),
            with(key("padded", 2048), "n", &padded),
            with(key("for encryption", 2048), "use", "enc"),
            with(key("of another algorithm", 2048), "alg", "RS512"),
            with(key("symmetric", 2048), "kty", "oct"),
            with(key("no number", 2048), "n", "***"),
            {"kty": "EC", "kid": "elliptic"},
            key(&"k".repeat(KID_BYTES_MAX + 1), 2048),
            "no key",
        ]});
        let mut ids: Vec<String> = usable_keys(answer.to_string().as_bytes()).expect("keys").into_keys().collect();
        ids.sort();
        assert_eq!(ids, ["also good", "good"]);
        for useless in [json!({"keys": []}), json!({"keys": [key("short", 1024)]}), json!([]), json!({"keys": {}})] {
            assert!(usable_keys(useless.to_string().as_bytes()).is_err(), "{useless}");
        }
        let many: Vec<_> = (0..=KEYS_MAX).map(|i| key(&i.to_string(), 2048)).collect();
        assert!(usable_keys(json!({"keys": many}).to_string().as_bytes()).is_err());
    }

    #[test]
    fn unknown_keys_are_asked_for_once_a_minute_and_missing_ones_more_often() {
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        let mut attempts = Attempts::default();
        assert!(attempts.may_fetch(start, false));
        attempts.note(start, false, true);
        assert!(!attempts.may_fetch(after(1), false));
        assert!(attempts.may_fetch(after(2), false));
        // The first keys do not count: a token may name a key that is newer than they are.
        attempts.note(after(2), false, false);
        assert!(attempts.may_fetch(after(3), true));
        for has_failed in [false, true] {
            attempts.note(after(3), true, has_failed);
            assert!(!attempts.may_fetch(after(62), true));
            assert!(attempts.may_fetch(after(63), true));
        }
    }
}
