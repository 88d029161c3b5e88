//! A server in this process, a client for it, and models that say what they are told.

use std::{path::Path, sync::Arc, time::Duration};

use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use retold::{caged::Caged, config::Config, server::Server};
use retold_events::store::{EventStore, MemoryStore, SledOptions, SledStore};
use retold_models::{
    Catalog, Timeouts,
    testing::{Say, ScriptedModel, SeenPrompt, model_info},
};
use serde_json::{Value, json};

/// Longest time a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server and what stays when it is started again.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) base: String,
    pub(crate) client: Client,
    pub(crate) config: Config,
    catalog: Arc<Catalog>,
    /// The store that survives a restart, when it is in memory; else it is on the disk.
    memory: Option<Arc<MemoryStore>>,
    /// Whether it was started as the program starts a server: with a key of secrets, and with a cage for tools.
    is_whole: bool,
}

/// An answer that is not a stream.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// The body, `Null` when it is no JSON.
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body of an answer that must be a success.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.body
    }
}

/// Settings that suit tests: loopback, any port, timeouts of the default.
pub(crate) fn config() -> Config {
    let mut config = Config::with_defaults("/nonexistent");
    config.port.value = 0;
    config
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    /// A world with settings of its own.
    pub(crate) async fn with(config: Config) -> Self {
        let memory = Arc::new(MemoryStore::new());
        let store: Arc<dyn EventStore> = Arc::clone(&memory) as Arc<dyn EventStore>;
        Self::start(store, Some(memory), Self::catalog(), config).await
    }

    /// A world on the disk.
    pub(crate) async fn on_disk(dir: &Path) -> Self {
        let mut config = config();
        config.data_dir.value = dir.to_owned();
        Self::start(open(dir), None, Self::catalog(), config).await
    }

    /// A world as the program starts it: on the disk, with a key of secrets beside its data, and with tools that run.
    pub(crate) async fn whole(dir: &Path) -> Self {
        let mut config = config();
        config.data_dir.value = dir.to_owned();
        // Where nothing keeps tools in they run all the same: these are the tests' own.
        config.tool_uncaged.value = true;
        Self::start_whole(config).await
    }

    async fn start_whole(config: Config) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tools = Caged::new(&config, env!("CARGO_BIN_EXE_retold").into());
        let server = Server::start(&config, Some(tools)).await.expect("the server starts");
        let catalog = Arc::clone(server.catalog());
        Self::enrol_echo(&catalog);
        Self::of(server, catalog, config, None, true)
    }

    /// A world over a store of the test's own, which does not survive a restart.
    pub(crate) async fn over(store: Arc<dyn EventStore>) -> Self {
        Self::start(store, None, Self::catalog(), config()).await
    }

    fn catalog() -> Arc<Catalog> {
        let catalog = Arc::new(Catalog::new(Vec::new(), Timeouts::default()));
        Self::enrol_echo(&catalog);
        catalog
    }

    fn enrol_echo(catalog: &Catalog) {
        let echo =
            ScriptedModel::from_fn(|prompt| Say::answer(&format!("echo: {}", last_text(prompt))));
        catalog.insert("test/echo", Arc::new(echo), model_info("test/echo"));
    }

    async fn start(
        store: Arc<dyn EventStore>,
        memory: Option<Arc<MemoryStore>>,
        catalog: Arc<Catalog>,
        config: Config,
    ) -> Self {
        // `Err` means that another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = Server::start_with(store, Arc::clone(&catalog), &config)
            .await
            .expect("the server starts");
        Self::of(server, catalog, config, memory, false)
    }

    fn of(
        server: Server,
        catalog: Arc<Catalog>,
        config: Config,
        memory: Option<Arc<MemoryStore>>,
        is_whole: bool,
    ) -> Self {
        let base = format!("http://{}", server.address());
        let client =
            Client::builder().no_proxy().timeout(PATIENCE).build().expect("a plain client");
        Self { server, base, client, config, catalog, memory, is_whole }
    }

    /// Stops the server as if by SIGTERM with this deadline, and starts it on what it left.
    pub(crate) async fn restart(self, deadline: Duration) -> Self {
        let Self { server, config, catalog, memory, is_whole, .. } = self;
        server.drain(deadline).await;
        server.stop().await;
        if is_whole {
            return Self::start_whole(config).await;
        }
        let store = match &memory {
            Some(memory) => {
                memory.reopen();
                Arc::clone(memory) as Arc<dyn EventStore>
            }
            None => open(&config.data_dir.value),
        };
        Self::start(store, memory, catalog, config).await
    }

    /// Registers a model that plays `scripts`, one per call.
    pub(crate) fn model(
        &self,
        name: &str,
        scripts: impl IntoIterator<Item = Vec<Say>>,
    ) -> ScriptedModel {
        let model = ScriptedModel::new(scripts);
        let handle = format!("test/{name}");
        self.catalog.insert(&handle, Arc::new(model.clone()), model_info(&handle));
        model
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        reply(self.ask(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        reply(self.ask(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        reply(with_body(self.ask(Method::POST, path), &body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        reply(with_body(self.ask(Method::PUT, path), &body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        reply(with_body(self.ask(Method::PATCH, path), &body)).await
    }

    /// Makes an agent that speaks with `test/{model}` and gives its id.
    pub(crate) async fn agent(&self, model: &str) -> String {
        self.agent_with(json!({ "model": format!("test/{model}") })).await
    }

    pub(crate) async fn agent_with(&self, request: Value) -> String {
        let agent = self.post("/v1/agents/", request).await.ok();
        agent["id"].as_str().expect("agents have ids").to_owned()
    }

    /// Sends one message and waits for the answer.
    pub(crate) async fn say(&self, agent: &str, text: &str) -> Reply {
        self.post(&format!("/v1/agents/{agent}/messages"), message(text)).await
    }

    /// Opens a stream with a POST.
    pub(crate) async fn stream(&self, path: &str, body: Value) -> Stream {
        let response = with_body(self.ask(Method::POST, path), &body)
            .send()
            .await
            .expect("the server answers");
        Stream::of(response)
    }

    /// Streams the answer to one message, token by token.
    pub(crate) async fn stream_tokens(&self, agent: &str, text: &str) -> Stream {
        let mut body = message(text);
        body["stream_tokens"] = true.into();
        self.stream(&format!("/v1/agents/{agent}/messages/stream"), body).await
    }

    /// Waits until this many clients that did not read were cut.
    pub(crate) async fn has_cut(&self, clients: u32) {
        let line = format!("\nretold_http_stalled_clients_total {clients}\n");
        let begun = std::time::Instant::now();
        while !self.get("/metrics").await.text.contains(&line) {
            assert!(begun.elapsed() < PATIENCE, "not cut, or more than {clients} were");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The run as it stands once it has ended.
    pub(crate) async fn ended(&self, run: &str) -> Value {
        let mut run = self.get(&format!("/v1/runs/{run}")).await.ok();
        let begun = std::time::Instant::now();
        while run["completed_at"].is_null() {
            assert!(begun.elapsed() < PATIENCE, "the run does not end: {run}");
            tokio::time::sleep(Duration::from_millis(5)).await;
            run = self.get(&format!("/v1/runs/{}", text(&run["id"]))).await.ok();
        }
        run
    }
}

fn open(dir: &Path) -> Arc<dyn EventStore> {
    Arc::new(SledStore::open(dir, SledOptions::default()).expect("the store opens"))
}

fn with_body(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

/// Sends a request and reads all of its answer.
pub(crate) async fn reply(request: RequestBuilder) -> Reply {
    let response = request.send().await.expect("the server answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("the answer is complete");
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Reply { status, headers, text, body }
}

/// A request with one message of a user.
pub(crate) fn message(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }] })
}

/// A JSON text.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// A JSON list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// What the messages of a list are, in order.
pub(crate) fn kinds(messages: &Value) -> Vec<&str> {
    list(messages).iter().map(|message| text(&message["message_type"])).collect()
}

/// The text of the last message that is not the system's.
pub(crate) fn last_text(prompt: &SeenPrompt) -> String {
    prompt.messages.last().map(|message| message.text.clone()).unwrap_or_default()
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: Option<String>,
    pub(crate) data: String,
    /// The data, `Null` when it is no JSON.
    pub(crate) json: Value,
}

impl Event {
    pub(crate) fn kind(&self) -> &str {
        self.json["message_type"].as_str().unwrap_or(&self.data)
    }
}

/// An event stream being read.
pub(crate) struct Stream {
    pub(crate) response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Stream {
    pub(crate) fn of(response: reqwest::Response) -> Self {
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: Vec::new() }
    }

    /// The next event; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(parse(
                    std::str::from_utf8(&event).expect("streams are UTF-8").trim_end(),
                ));
            }
            match tokio::time::timeout(PATIENCE, self.response.chunk())
                .await
                .expect("something comes")
            {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => {
                    assert!(self.buffer.is_empty(), "the stream ends with half an event");
                    return None;
                }
                Err(error) => panic!("the stream breaks: {error}"),
            }
        }
    }

    /// All events up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Reads until an event of this kind and gives it.
    pub(crate) async fn until(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("no {kind} came"));
            if event.kind() == kind {
                return event;
            }
        }
    }
}

fn parse(event: &str) -> Event {
    let mut name = None;
    let mut data = String::new();
    for line in event.lines() {
        match line.split_once(": ") {
            Some(("event", value)) => name = Some(value.to_owned()),
            Some(("data", value)) => data = value.to_owned(),
            other => panic!("not a line of a stream: {line:?} ({other:?})"),
        }
    }
    let json = serde_json::from_str(&data).unwrap_or(Value::Null);
    Event { name, data, json }
}

/// The kinds of events, without pings.
pub(crate) fn shown(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::kind).filter(|kind| *kind != "ping").collect()
}

/// The assistant's text in a stream.
pub(crate) fn spoken(events: &[Event]) -> String {
    let said = events.iter().filter(|event| event.kind() == "assistant_message");
    said.map(|event| event.json["content"].as_str().unwrap_or_default()).collect()
}
