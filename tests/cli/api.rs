//! The few calls these tests make of a server.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Result;
use crate::http::{self, Frame};
use crate::program::{PATIENCE, Server};

/// A client of one server.
pub(crate) struct Api {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
}

impl Api {
    pub(crate) fn of(server: &Server) -> Result<Self> {
        Ok(Self { http: http::client()?, url: server.url.clone() })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.url)
    }

    /// The answer to a GET that must succeed.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        http::get(&self.http, self.url(path)).await
    }

    pub(crate) async fn status(&self, path: &str) -> Result<u16> {
        Ok(self.http.get(self.url(path)).send().await?.status().as_u16())
    }

    /// Waits until as many clients follow something.
    pub(crate) async fn has_followers(&self, count: usize) -> Result<()> {
        let begun = std::time::Instant::now();
        let line = format!("retold_stream_followers{{transport=\"sse\"}} {count}\n");
        loop {
            let metrics =
                self.http.get(format!("{}/metrics", self.url)).send().await?.text().await?;
            if metrics.contains(&line) {
                return Ok(());
            }
            assert!(begun.elapsed() < PATIENCE, "{line:?} is not among {metrics}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Status and body; an error is a connection that broke.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<(u16, Value)> {
        Ok(http::post(&self.http, self.url(path), body).await?)
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Result<(u16, Value)> {
        Ok(http::patch(&self.http, self.url(path), body).await?)
    }

    /// Asks for a new agent with something to remember.
    pub(crate) async fn create(&self, name: &str, model: &str) -> Result<(u16, Value)> {
        let block = json!({ "label": "human", "value": format!("This is about {name}.") });
        let body = json!({ "name": name, "model": model, "memory_blocks": [block] });
        self.post("agents/", body).await
    }

    /// The id of a new agent.
    pub(crate) async fn agent(&self, name: &str, model: &str) -> Result<String> {
        let (status, agent) = self.create(name, model).await?;
        assert_eq!(status, 200, "{agent}");
        Ok(agent["id"].as_str().unwrap_or_default().to_owned())
    }

    /// The names of all agents, sorted.
    pub(crate) async fn names(&self) -> Result<Vec<String>> {
        let agents = self.get("agents/?limit=1000").await?;
        let agents = agents.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut names: Vec<String> =
            agents.iter().filter_map(|agent| agent["name"].as_str()).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Says something and waits for the whole answer.
    pub(crate) async fn tell(&self, agent: &str, text: &str) -> Result<(u16, Value)> {
        self.post(&format!("agents/{agent}/messages"), message(text)).await
    }

    /// The id of a run that goes on by itself.
    pub(crate) async fn background(&self, agent: &str, text: &str) -> Result<String> {
        let path = format!("agents/{agent}/messages/async");
        let (status, run) = self.post(&path, message(text)).await?;
        assert_eq!(status, 200, "{run}");
        Ok(run["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Says something and listens.
    pub(crate) async fn stream(&self, agent: &str, text: &str) -> Result<Stream> {
        let mut body = message(text);
        body["stream_tokens"] = json!(true);
        self.listen(&format!("agents/{agent}/messages/stream"), body).await
    }

    /// Listens to a run from its beginning.
    pub(crate) async fn follow(&self, run: &str) -> Result<Stream> {
        self.listen(&format!("runs/{run}/stream"), json!({ "starting_after": 0 })).await
    }

    async fn listen(&self, path: &str, body: Value) -> Result<Stream> {
        let response = self.http.post(self.url(path)).json(&body).send().await?;
        assert_eq!(response.status(), 200);
        let (sender, frames) = mpsc::unbounded_channel();
        let task = tokio::spawn(http::frames(response, move |frame| {
            // A test that has seen enough does not listen any more.
            let _ = sender.send(frame);
        }));
        Ok(Stream { frames, task, run: String::new(), heard: Vec::new() })
    }

    /// Waits until a run is no longer under way, and gives it.
    pub(crate) async fn ended(&self, run: &str) -> Result<Value> {
        let ended = async {
            loop {
                let now = self.get(&format!("runs/{run}")).await?;
                if now["completed_at"].is_string() {
                    return Ok(now);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await?
    }

    /// The texts of the assistant in a run.
    pub(crate) async fn spoken(&self, run: &str) -> Result<Vec<String>> {
        let messages = self.get(&format!("runs/{run}/messages?limit=100")).await?;
        let messages = messages.as_array().map(Vec::as_slice).unwrap_or_default();
        let spoken = messages.iter().filter(|m| m["message_type"] == "assistant_message");
        Ok(spoken.filter_map(|m| m["content"].as_str()).map(str::to_owned).collect())
    }
}

pub(crate) fn message(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }] })
}

/// A stream that is being listened to.
pub(crate) struct Stream {
    frames: mpsc::UnboundedReceiver<Frame>,
    task: JoinHandle<bool>,
    /// The run it shows, once there was a frame.
    pub(crate) run: String,
    /// The frames so far.
    pub(crate) heard: Vec<Value>,
}

/// How a stream ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// All frames of messages, from the beginning.
    pub(crate) heard: Vec<Value>,
    pub(crate) errors: Vec<Value>,
    /// Whether it said `[DONE]`.
    pub(crate) done: bool,
    /// Whether it was ended rather than cut.
    pub(crate) whole: bool,
}

impl Stream {
    /// Waits until the assistant has said exactly this.
    pub(crate) async fn until(&mut self, text: &str) -> Result<()> {
        while spoken(&self.heard) != text {
            let frame = tokio::time::timeout(PATIENCE, self.frames.recv()).await?;
            let Some(Frame::Message(frame)) = frame else {
                panic!("{frame:?} instead of {text:?}, after {:?}", self.heard);
            };
            frame["run_id"].as_str().unwrap_or(&self.run).to_owned().clone_into(&mut self.run);
            self.heard.push(frame);
        }
        Ok(())
    }

    /// Listens to the end.
    pub(crate) async fn rest(mut self) -> Result<Ending> {
        let mut ending = Ending { heard: self.heard, errors: vec![], done: false, whole: false };
        while let Some(frame) = tokio::time::timeout(PATIENCE, self.frames.recv()).await? {
            match frame {
                Frame::Message(frame) => ending.heard.push(frame),
                Frame::Error(frame) => ending.errors.push(frame),
                Frame::Done => ending.done = true,
            }
        }
        ending.whole = self.task.await?;
        Ok(ending)
    }
}

/// The assistant's text in frames.
pub(crate) fn spoken(frames: &[Value]) -> String {
    let spoken = frames.iter().filter(|frame| frame["message_type"] == "assistant_message");
    spoken.filter_map(|frame| frame["content"].as_str()).collect()
}
