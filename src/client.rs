//! An HTTP client of a V1 server, as the commands use it that talk to one.
//!
//! Answers are bounded in size and read for the fields that are needed and no others, so that a newer server will do. What
//! is asked of a server is said where it is needed: `chat` and the commands add their calls to [`Client`].

mod error;
pub(crate) mod sse;

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::error::ClientError;
use crate::config::Secret;

/// Largest answer that is not a stream. A page of events, the largest there is, has eight mebibytes and what its last
/// event has.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// How long the server may take to accept a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How long the server may be silent. Streams carry a ping every 20 s unless the server is configured otherwise.
const SILENCE: Duration = Duration::from_secs(300);

/// A V1 server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    password: Option<Secret>,
}

impl Client {
    /// A client of the server at `url`, with or without a trailing `/v1`. Nothing is sent.
    pub(crate) fn new(url: &str, password: Option<Secret>) -> Result<Self, ClientError> {
        let base = url.trim_end_matches('/');
        let base = base.strip_suffix("/v1").unwrap_or(base).to_owned();
        let http =
            http(&base).map_err(|source| ClientError::Unreachable { url: base.clone(), source })?;
        Ok(Self { http, base, password })
    }

    /// The server's address.
    pub(crate) fn url(&self) -> &str {
        &self.base
    }

    /// Whether a V1 server answers within `wait`.
    pub(crate) async fn is_healthy(&self, wait: Duration) -> bool {
        let asked = self.http.get(format!("{}/v1/health/", self.base)).timeout(wait).send().await;
        let Ok(answer) = asked else { return false };
        let Ok(Ok(health)) = tokio::time::timeout(wait, parsed::<Value>(answer)).await else {
            return false;
        };
        health["version"].is_string() && health["status"] == "ok"
    }

    /// The address of a path below `/v1`.
    pub(crate) fn endpoint(&self, path: &[&str]) -> Result<Url, ClientError> {
        let mut url = Url::parse(&self.base).map_err(nonsense)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        Ok(url)
    }

    /// A request of a path below `/v1`.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &[&str],
    ) -> Result<RequestBuilder, ClientError> {
        Ok(self.request_of(method, self.endpoint(path)?))
    }

    /// A request with the password.
    pub(crate) fn request_of(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.password {
            Some(password) => request.bearer_auth(password.expose()),
            None => request,
        }
    }

    /// Asks, and gives an answer that says yes.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let answer = request.send().await.map_err(|source| self.unreachable(source))?;
        match answer.status().as_u16() {
            200..=299 => Ok(answer),
            401 => Err(self.unauthorized(answer).await),
            status => Err(ClientError::Refused { status, message: refusal(answer).await }),
        }
    }

    /// Asks, and reads the answer.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        parsed(self.ask(request).await?).await
    }

    /// Asks for a stream of events.
    pub(crate) async fn listen(&self, request: RequestBuilder) -> Result<Events, ClientError> {
        let body = self.ask(request).await?.bytes_stream();
        let (client, parser, ready) =
            (self.clone(), sse::Parser::default(), Vec::new().into_iter());
        Ok(Events { client, body: Box::pin(body), parser, ready })
    }

    /// A 401 of the server itself, or of the model's provider, whose error has another shape.
    async fn unauthorized(&self, answer: Response) -> ClientError {
        match refusal(answer).await {
            message if message == "Unauthorized" => {
                ClientError::Unauthorized { url: self.base.clone() }
            }
            message => ClientError::Refused { status: 401, message },
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.base.clone(), source }
    }
}

/// A stream of events being read. Dropping it hangs up.
pub(crate) struct Events {
    client: Client,
    body: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    parser: sse::Parser,
    ready: std::vec::IntoIter<sse::Told>,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Result<sse::Event, ClientError>> {
        loop {
            match self.next_told().await? {
                Ok(sse::Told::Event(event)) => return Some(Ok(event)),
                Ok(sse::Told::Id(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next event or place in the stream; `None` at its end.
    pub(crate) async fn next_told(&mut self) -> Option<Result<sse::Told, ClientError>> {
        loop {
            if let Some(told) = self.ready.next() {
                return Some(Ok(told));
            }
            match self.body.next().await? {
                Ok(bytes) => match self.parser.push(&bytes) {
                    Ok(told) => self.ready = told.into_iter(),
                    Err(sse::TooLong) => {
                        return Some(Err(nonsense("an event of the stream is too long")));
                    }
                },
                Err(source) => return Some(Err(self.client.unreachable(source))),
            }
        }
    }
}

fn http(base: &str) -> Result<reqwest::Client, reqwest::Error> {
    // `Err` means that somebody has installed a provider before, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_WAIT)
        .read_timeout(SILENCE)
        // A redirect would carry the password to a place nobody named, and a proxy the conversation.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    // Plain HTTP, the usual case, needs no certificates, and reading the system's takes time.
    if base.starts_with("https:") { builder.build() } else { builder.tls_certs_only([]).build() }
}

pub(crate) fn nonsense(error: impl ToString) -> ClientError {
    ClientError::Nonsense { detail: error.to_string() }
}

async fn parsed<T: DeserializeOwned>(answer: Response) -> Result<T, ClientError> {
    serde_json::from_slice(&bounded(answer).await?).map_err(nonsense)
}

async fn bounded(answer: Response) -> Result<Vec<u8>, ClientError> {
    let mut body = answer.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(nonsense)?);
        if bytes.len() > ANSWER_BYTES {
            return Err(nonsense("it is too long"));
        }
    }
    Ok(bytes)
}

/// The server's words: `detail`, which may be an object, or those of a provider's error.
async fn refusal(answer: Response) -> String {
    let bytes = bounded(answer).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let said = [&body["detail"], &body["detail"]["message"], &body["error"]["message"]]
        .into_iter()
        .find_map(Value::as_str);
    said.map_or_else(|| String::from_utf8_lossy(&bytes).chars().take(200).collect(), str::to_owned)
}
