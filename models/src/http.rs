//! The one HTTP client, and what every call to a provider has in common: how long it waits and how it fails.
//!
//! It knows status codes and sockets, and nothing of any provider's JSON beyond its errors. Nothing is spawned here: a
//! call lives inside the stream that its caller holds, so dropping the stream drops the socket. (Where HTTP/2 was
//! negotiated it resets the stream, which ends the call as surely, and leaves the connection to the other calls.)

mod exchange;
mod failure;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use reqwest::{Client, Method, RequestBuilder, header::HeaderValue, redirect};

pub(crate) use exchange::{Call, Decoder, read_bounded};

use crate::{
    ModelError, ModelErrorKind,
    provider::{ProviderConfig, ProviderKind},
};

/// How long a call waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// For the head of the answer, connecting included. A local server that first loads a model needs most of it.
    pub first_byte: Duration,
    /// Between two pieces of the answer; comments that keep the connection alive count as pieces.
    pub silence: Duration,
    /// For the whole call, however lively.
    pub total: Duration,
}

impl Default for Timeouts {
    /// 10 s, 60 s, 600 s (both as in Letta's `LETTA_LLM_REQUEST_TIMEOUT_SECONDS` and
    /// `LETTA_LLM_STREAM_TIMEOUT_SECONDS`), and one hour.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            silence: Duration::from_secs(600),
            total: Duration::from_secs(3600),
        }
    }
}

/// The client that all providers share, so that connections are reused across agents.
#[derive(Clone)]
pub(crate) struct Http {
    timeouts: Timeouts,
    client: Arc<OnceLock<Result<Client, String>>>,
}

impl Http {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, client: Arc::default() }
    }

    /// The client, built on first use: reading the system's certificates takes milliseconds that a server without
    /// configured providers need not spend.
    fn client(&self) -> Result<&Client, &str> {
        self.client
            .get_or_init(|| build(self.timeouts.connect).map_err(|error| error.to_string()))
            .as_ref()
            .map_err(String::as_str)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

fn build(connect: Duration) -> Result<Client, reqwest::Error> {
    // `Err` means that somebody has installed a provider before, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        Client::builder()
            .user_agent(concat!("retold/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            // A redirect would carry prompts, and perhaps the key, to a place nobody configured.
            .redirect(redirect::Policy::none())
            // HTTP_PROXY and its kin are meant for other programs; a proxy is configured as a base URL.
            .no_proxy()
            .referer(false)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30))
            .pool_idle_timeout(Duration::from_secs(90))
            .pool_max_idle_per_host(64)
    };
    builder().build().or_else(|error| {
        // A slim container without a certificate store must still reach a local model over plain HTTP.
        tracing::warn!(%error, "no system certificates: https providers will be refused");
        builder().tls_certs_only([]).build()
    })
}

/// One provider as calls see it: where it is, how it is spoken to, and what it was found to refuse.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) config: ProviderConfig,
    pub(crate) http: Http,
    base: String,
    /// Set once the provider has refused `stream_options`, so that later calls do not try it again.
    pub(crate) stream_options_refused: AtomicBool,
}

impl Upstream {
    pub(crate) fn new(config: ProviderConfig, http: Http) -> Self {
        let base = config.api_base();
        Self { config, http, base, stream_options_refused: AtomicBool::new(false) }
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.http.timeouts
    }

    /// A request to `path` below the base, with the key in the header that this kind of provider reads.
    pub(crate) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ModelError> {
        self.request_to(method, &format!("{}{path}", self.base))
    }

    /// A request to `url`, which must be of this provider.
    pub(crate) fn request_to(
        &self,
        method: Method,
        url: &str,
    ) -> Result<RequestBuilder, ModelError> {
        let client = self.http.client().map_err(|error| {
            self.failure(
                ModelErrorKind::Connection,
                "cannot be called: the HTTP client does not start",
                Some(error),
            )
        })?;
        let mut request = client.request(method, url);
        if let Some(key) = self.config.api_key.as_ref().filter(|key| !key.expose().is_empty()) {
            let (name, value) = match self.config.kind {
                ProviderKind::Anthropic => ("x-api-key", key.expose().to_owned()),
                ProviderKind::OpenAi
                | ProviderKind::OpenRouter
                | ProviderKind::Vllm
                | ProviderKind::Ollama
                | ProviderKind::LmStudio => ("authorization", format!("Bearer {}", key.expose())),
            };
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                self.failure(
                    ModelErrorKind::Authentication,
                    "cannot be called: its key has illegal characters",
                    None,
                )
            })?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        if self.config.kind == ProviderKind::Anthropic {
            request = request.header("anthropic-version", "2023-06-01");
        }
        Ok(request)
    }
}
