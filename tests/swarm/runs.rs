//! The runs that are read: some token by token, some in whole messages, some with a tool, some that
//! wait for another, some that are cancelled.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};

use crate::{Result, client, random::Random};

/// Starts the runs of a round, and gives their ids.
pub(crate) async fn start(server: SocketAddr, random: &mut Random) -> Result<Vec<String>> {
    let starter = Starter { http: client(), url: format!("http://{server}") };
    let mut runs = Vec::new();
    for _ in 0..3 {
        let agent = starter.agent("openai/slow").await?;
        let words = 150 + random.below(350);
        runs.push(starter.run(&agent, &format!("Tell me words={words}"), true).await?);
        // This one waits for the other, often longer than the server lives.
        runs.push(
            starter.run(&agent, "Please note, then tell me words=60", random.one_in(2)).await?,
        );
    }
    let agent = starter.agent("openai/slow").await?;
    let cancelled = starter.run(&agent, "Tell me words=2000", true).await?;
    let patience = Duration::from_millis(random.below(800));
    runs.push(cancelled.clone());
    tokio::spawn(async move {
        tokio::time::sleep(patience).await;
        // The server may be gone by then, and the run with it.
        let url = format!("{}/v1/agents/{agent}/messages/cancel", starter.url);
        let _ = starter.http.post(url).json(&json!({ "run_ids": [cancelled] })).send().await;
    });
    Ok(runs)
}

struct Starter {
    http: reqwest::Client,
    url: String,
}

impl Starter {
    async fn agent(&self, model: &str) -> Result<String> {
        let body =
            json!({ "model": model, "memory_blocks": [{ "label": "human", "value": "A test." }] });
        let agent = self.http.post(format!("{}/v1/agents/", self.url)).json(&body).send().await?;
        let agent: Value = agent.error_for_status()?.json().await?;
        Ok(agent["id"].as_str().ok_or("an agent has an id")?.to_owned())
    }

    /// Starts a run without waiting for it.
    async fn run(&self, agent: &str, text: &str, tokens: bool) -> Result<String> {
        let body = json!({
            "messages": [{ "role": "user", "content": text }],
            "stream_tokens": tokens,
            "background": true,
        });
        let url = format!("{}/v1/agents/{agent}/messages/stream", self.url);
        let mut stream = self.http.post(url).json(&body).send().await?.error_for_status()?;
        let mut head = Vec::new();
        // The first event is a sign of life that names the run; after it the stream is left.
        while !head.ends_with(b"\n\n") {
            head.extend_from_slice(&stream.chunk().await?.ok_or("a stream begins with a ping")?);
            if let Some(end) = head.windows(2).position(|pair| pair == b"\n\n") {
                head.truncate(end + 2);
            }
        }
        let head = String::from_utf8(head)?;
        let ping: Value =
            serde_json::from_str(head.trim().strip_prefix("data: ").ok_or("an event has data")?)?;
        Ok(ping["run_id"].as_str().ok_or("a ping names its run")?.to_owned())
    }
}
