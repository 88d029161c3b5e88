//! The few calls of the V1 API that a conversation needs.

use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    ChatError,
    frame::{self, Frame},
};
pub(crate) use crate::client::Client;
use crate::client::{ClientError, nonsense};

/// Frames that may wait for the terminal before the server is held up.
const FRAMES: usize = 256;

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
    /// The agent of that id, if there is one.
    pub(crate) async fn agent(&self, id: &str) -> Result<Option<Agent>, ClientError> {
        match self.get(self.request(Method::GET, &["agents", id])?).await {
            Err(ClientError::Refused { status: 404 | 422, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The agents of exactly that name, the newest first.
    pub(crate) async fn agents_named(&self, name: &str) -> Result<Vec<Agent>, ClientError> {
        let mut url = self.endpoint(&["agents", ""])?;
        url.query_pairs_mut().append_pair("name", name).append_pair("limit", "2");
        let agents: Vec<Agent> = self.get(self.request_of(Method::GET, url)).await?;
        // A server that ignored the filter must not make us talk to somebody else.
        Ok(agents.into_iter().filter(|agent| agent.name == name).collect())
    }

    /// Creates an agent with the two usual blocks; without a model it gets the server's default.
    pub(crate) async fn create_agent(
        &self,
        name: &str,
        model: Option<&str>,
    ) -> Result<Agent, ClientError> {
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
        self.get(self.request(Method::POST, &["agents", ""])?.json(&body)).await
    }

    /// Gives an agent another model.
    pub(crate) async fn set_model(&self, id: &str, model: &str) -> Result<Agent, ClientError> {
        let request =
            self.request(Method::PATCH, &["agents", id])?.json(&json!({ "model": model }));
        self.get(request).await
    }

    /// The handles of all models.
    pub(crate) async fn models(&self) -> Result<Vec<String>, ClientError> {
        let models: Vec<Model> = self.get(self.request(Method::GET, &["models", ""])?).await?;
        Ok(models.into_iter().filter_map(|model| model.handle).collect())
    }

    /// Cancels a run, or whatever the agent is doing.
    pub(crate) async fn cancel(&self, agent: &str, run: Option<&str>) -> Result<(), ClientError> {
        let body = run.map_or_else(|| json!({}), |run| json!({ "run_ids": [run] }));
        let request =
            self.request(Method::POST, &["agents", agent, "messages", "cancel"])?.json(&body);
        match self.ask(request).await {
            // There was nothing left to cancel.
            Ok(_) | Err(ClientError::Refused { status: 409, .. }) => Ok(()),
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
            if let Err(error) = listen(&client, request, &sender).await {
                // Nobody listening any more is no reason to complain.
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(Answer { frames, task })
    }
}

/// Reads the stream to its end, or until nobody listens.
async fn listen(
    client: &Client,
    request: RequestBuilder,
    sender: &mpsc::Sender<Result<Frame, ChatError>>,
) -> Result<(), ChatError> {
    let mut events = client.listen(request).await?;
    while let Some(event) = events.next().await {
        for frame in frame::read(&event?.data).map_err(nonsense)? {
            if sender.send(Ok(frame)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
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
