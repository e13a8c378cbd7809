//! How the service behaves.

use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How the service behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Wanted of every request to `/v1` and `/metrics`. Default `None`: nobody is asked for one.
    pub api_key: Option<ApiKey>,
    /// Largest body of a request, in bytes. Default 8 MiB.
    pub max_body: usize,
    /// How often one client may ask. Default 50 a second, 100 at once; `None`: as often as it likes.
    pub rate: Option<Rate>,
    /// Whether a proxy stands before the service, and the last address in `X-Forwarded-For` is the client's. Default `false`: it
    /// is whoever has connected.
    pub behind_proxy: bool,
    /// Requests that are worked on at once, 1 or more; others get 503. Default 128.
    pub concurrency: usize,
    /// Most embeddings, pictures or texts of a request. Default 64.
    pub probes: usize,
    /// Most items of a batch of the encoder, 1 or more. Default 32.
    pub batch: usize,
    /// How long the first item of a batch waits for others. Default 2 ms.
    pub batch_wait: Duration,
    /// Most items that wait for the encoder; above it requests get 503. Default 256.
    pub queue: usize,
    /// How long a request's body may take to arrive. Default 30 s.
    pub body_timeout: Duration,
    /// How long requests that are being worked on have to end when the server stops. Default 20 s.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_key: None,
            max_body: 8 << 20,
            rate: Some(Rate::per_second(50.0)),
            behind_proxy: false,
            concurrency: 128,
            probes: 64,
            batch: 32,
            batch_wait: Duration::from_millis(2),
            queue: 256,
            body_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(20),
        }
    }
}

/// How often a client may ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests per second, for ever.
    pub per_second: f64,
    /// Requests at once, after a pause.
    pub burst: f64,
}

impl Rate {
    /// So many requests per second, and twice as many at once.
    pub fn per_second(per_second: f64) -> Self {
        Self { per_second, burst: (2.0 * per_second).max(1.0) }
    }
}

/// Shortest key, in characters.
const SHORTEST: usize = 16;

/// A key that clients must show. Only its digest is kept, so no message or log can give it away.
#[derive(Clone)]
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// A key as clients send it: visible ASCII characters, 16 or more.
    ///
    /// # Errors
    /// When it is not; the message does not hold it.
    pub fn new(key: &str) -> Result<Self, KeyError> {
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        (visible && key.len() >= SHORTEST).then(|| Self(digest(key.as_bytes()))).ok_or(KeyError)
    }

    /// Whether `given` is the key; this takes as long whatever of it is wrong.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        self.0.ct_eq(&digest(given)).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

/// A key that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the API key is too short or holds spaces, control characters or others than ASCII: want {SHORTEST} or more visible characters, e.g. of `openssl rand -hex 32`"
)]
pub struct KeyError;

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
