//! The few calls of the V1 API that a conversation needs.
//!
//! Answers are bounded in size and read for the fields that are needed and no others, so that any V1 server will do.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    ChatError,
    frame::{self, Frame},
    sse,
};
use crate::config::Secret;

/// Largest answer that is not a stream. A long list of models is a mebibyte.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// How long the server may take to accept a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How long the server may be silent. Streams carry a ping every 20 s unless the server is configured otherwise.
const SILENCE: Duration = Duration::from_secs(300);

/// Frames that may wait for the terminal before the server is held up.
const FRAMES: usize = 256;

/// A V1 server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    password: Option<Secret>,
}

/// What is needed of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The handle of its model.
    #[serde(default)]
    pub(crate) model: Option<String>,
}

#[derive(Deserialize)]
struct Model {
    handle: Option<String>,
}

impl Client {
    /// A client of the server at `url`, with or without a trailing `/v1`. Nothing is sent.
    pub(crate) fn new(url: &str, password: Option<Secret>) -> Result<Self, ChatError> {
        let base = url.trim_end_matches('/');
        let base = base.strip_suffix("/v1").unwrap_or(base).to_owned();
        let http =
            http(&base).map_err(|source| ChatError::Unreachable { url: base.clone(), source })?;
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

    /// The agent of that id, if there is one.
    pub(crate) async fn agent(&self, id: &str) -> Result<Option<Agent>, ChatError> {
        match self.ask(self.request(Method::GET, &["agents", id])?).await {
            Err(ChatError::Refused { status: 404 | 422, .. }) => Ok(None),
            answer => Ok(Some(parsed(answer?).await?)),
        }
    }

    /// The agents of exactly that name, the newest first.
    pub(crate) async fn agents_named(&self, name: &str) -> Result<Vec<Agent>, ChatError> {
        let mut url = self.endpoint(&["agents", ""])?;
        url.query_pairs_mut().append_pair("name", name).append_pair("limit", "2");
        let agents: Vec<Agent> =
            parsed(self.ask(self.authorized(self.http.get(url))).await?).await?;
        // A server that ignored the filter must not make us talk to somebody else.
        Ok(agents.into_iter().filter(|agent| agent.name == name).collect())
    }

    /// Creates an agent with the two usual blocks; without a model it gets the server's default.
    pub(crate) async fn create_agent(
        &self,
        name: &str,
        model: Option<&str>,
    ) -> Result<Agent, ChatError> {
        let mut body = json!({
            "name": name,
            "memory_blocks": [
                { "label": "human", "value": "Nothing is known about this person yet." },
                { "label": "persona", "value": "I am a helpful assistant who remembers what I am told." },
            ],
        });
        if let Some(model) = model {
            body["model"] = json!(model);
        }
        parsed(self.ask(self.request(Method::POST, &["agents", ""])?.json(&body)).await?).await
    }

    /// Gives an agent another model.
    pub(crate) async fn set_model(&self, id: &str, model: &str) -> Result<Agent, ChatError> {
        let request =
            self.request(Method::PATCH, &["agents", id])?.json(&json!({ "model": model }));
        parsed(self.ask(request).await?).await
    }

    /// The handles of all models.
    pub(crate) async fn models(&self) -> Result<Vec<String>, ChatError> {
        let models: Vec<Model> =
            parsed(self.ask(self.request(Method::GET, &["models", ""])?).await?).await?;
        Ok(models.into_iter().filter_map(|model| model.handle).collect())
    }

    /// Cancels a run, or whatever the agent is doing.
    pub(crate) async fn cancel(&self, agent: &str, run: Option<&str>) -> Result<(), ChatError> {
        let body = run.map_or_else(|| json!({}), |run| json!({ "run_ids": [run] }));
        let request =
            self.request(Method::POST, &["agents", agent, "messages", "cancel"])?.json(&body);
        match self.ask(request).await {
            // There was nothing left to cancel.
            Ok(_) | Err(ChatError::Refused { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Says something to an agent. The answer arrives through what is returned; dropping that hangs up.
    pub(crate) fn say(&self, agent: &str, text: &str) -> Result<Answer, ChatError> {
        let body = json!({
            "messages": [{ "role": "user", "content": text }],
            "streaming": true,
            "stream_tokens": true,
            "include_pings": true,
        });
        let request =
            self.request(Method::POST, &["agents", agent, "messages", "stream"])?.json(&body);
        let (sender, frames) = mpsc::channel(FRAMES);
        let client = self.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = client.listen(request, &sender).await {
                // Nobody listening any more is no reason to complain.
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(Answer { frames, task })
    }

    /// Reads the stream to its end, or until nobody listens.
    async fn listen(
        &self,
        request: RequestBuilder,
        sender: &mpsc::Sender<Result<Frame, ChatError>>,
    ) -> Result<(), ChatError> {
        let mut body = self.ask(request).await?.bytes_stream();
        let mut parser = sse::Parser::default();
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|source| self.unreachable(source))?;
            let events = parser
                .push(&bytes)
                .map_err(|sse::TooLong| nonsense("an event of the stream is too long"))?;
            for event in events {
                for frame in frame::read(&event.data).map_err(nonsense)? {
                    if sender.send(Ok(frame)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn endpoint(&self, path: &[&str]) -> Result<Url, ChatError> {
        let mut url = Url::parse(&self.base).map_err(nonsense)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        Ok(url)
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, ChatError> {
        Ok(self.authorized(self.http.request(method, self.endpoint(path)?)))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.password {
            Some(password) => request.bearer_auth(password.expose()),
            None => request,
        }
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Response, ChatError> {
        let answer = request.send().await.map_err(|source| self.unreachable(source))?;
        match answer.status().as_u16() {
            200..=299 => Ok(answer),
            401 => Err(self.unauthorized(answer).await),
            status => Err(ChatError::Refused { status, message: refusal(answer).await }),
        }
    }

    /// A 401 of the server itself, or of the model's provider, whose error has another shape.
    async fn unauthorized(&self, answer: Response) -> ChatError {
        match refusal(answer).await {
            message if message == "Unauthorized" => {
                ChatError::Unauthorized { url: self.base.clone() }
            }
            message => ChatError::Refused { status: 401, message },
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> ChatError {
        ChatError::Unreachable { url: self.base.clone(), source }
    }
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Answer {
    frames: mpsc::Receiver<Result<Frame, ChatError>>,
    task: JoinHandle<()>,
}

impl Answer {
    /// The next frame; `None` at the end of the stream. Safe to drop while waiting.
    pub(crate) async fn next(&mut self) -> Option<Result<Frame, ChatError>> {
        self.frames.recv().await
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.task.abort();
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

fn nonsense(error: impl ToString) -> ChatError {
    ChatError::Nonsense { detail: error.to_string() }
}

async fn parsed<T: DeserializeOwned>(answer: Response) -> Result<T, ChatError> {
    serde_json::from_slice(&bounded(answer).await?).map_err(nonsense)
}

async fn bounded(answer: Response) -> Result<Vec<u8>, ChatError> {
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
