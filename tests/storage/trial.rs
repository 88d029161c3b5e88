//! A server that may end at any moment, and a scenario that notes what was acknowledged.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::api::Api;
use crate::program::{PATIENCE, READY, Running};
use crate::{Result, http};

pub(crate) const MODEL: &str = "retold/rehearsal";

/// What was answered with success, as it was shown.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) agents: Vec<Value>,
    /// Path, and the value it was given last.
    blocks: Vec<(String, String)>,
    /// Agent, and what was said to it.
    messages: Vec<(String, String)>,
}

/// How a server started.
pub(crate) enum Started {
    Ready(Box<Trial>),
    /// Exit code and words.
    Ended(Option<i32>, String),
}

pub(crate) struct Trial {
    running: Running,
    stderr: NamedTempFile,
    url: String,
}

impl Trial {
    /// Waits until it is ready or has ended.
    pub(crate) async fn start(command: &mut Command) -> Result<Started> {
        let stderr = NamedTempFile::new()?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr.reopen()?);
        let begun = Instant::now();
        let mut trial = Self { running: Running::spawn(command)?, stderr, url: String::new() };
        loop {
            if let Some(status) = trial.running.child().try_wait()? {
                return Ok(Started::Ended(status.code(), trial.said()));
            }
            let said = trial.said();
            if let Some(url) = said.lines().find_map(|line| line.strip_prefix(READY)) {
                url.clone_into(&mut trial.url);
                return Ok(Started::Ready(Box::new(trial)));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("neither ready nor ended: {said}").into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.stderr.path()).unwrap_or_default()).into_owned()
    }

    pub(crate) fn api(&self) -> Result<Api> {
        Ok(Api { http: http::client()?, url: self.url.clone() })
    }

    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        self.running.signal(name)
    }

    /// The code it ends with, by itself or because it is told to.
    pub(crate) async fn end(&mut self, told: bool) -> Result<Option<i32>> {
        if told {
            // It may have ended meanwhile.
            let _ = self.running.signal("TERM");
        }
        match self.running.end(PATIENCE).await? {
            Some(status) => Ok(status.code()),
            None => Err(format!("it does not end: {}", self.said()).into()),
        }
    }
}

/// How far a scenario went.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Played {
    Through,
    /// Status and body of the answer that was no success.
    Refused(u16, Value),
    /// There was no answer.
    Cut,
}

/// Plays the scenario as far as it goes.
pub(crate) async fn play(api: &Api, acknowledged: &mut Acknowledged) -> Played {
    for turn in 0..2 {
        let agent = match answered(api.create(&format!("agent {turn}"), MODEL).await) {
            Ok(agent) => agent,
            Err(refused) => return refused,
        };
        let id = agent["id"].as_str().unwrap_or_default().to_owned();
        acknowledged.agents.push(agent);
        let path = format!("agents/{id}/core-memory/blocks/human");
        let value = format!("edited in turn {turn}");
        match answered(api.patch(&path, json!({ "value": value })).await) {
            Ok(_) => acknowledged.blocks.push((path, value)),
            Err(refused) => return refused,
        }
        let said = format!("What do you know of turn {turn}?");
        match answered(api.tell(&id, &said).await) {
            Ok(_) => acknowledged.messages.push((id, said)),
            Err(refused) => return refused,
        }
    }
    Played::Through
}

/// The body of a success.
fn answered(answer: Result<(u16, Value)>) -> std::result::Result<Value, Played> {
    match answer {
        Ok((200, body)) => Ok(body),
        Ok((status, body)) => Err(Played::Refused(status, body)),
        Err(_) => Err(Played::Cut),
    }
}

/// Looks for all of it, and says what is missing.
pub(crate) async fn missing(api: &Api, acknowledged: &Acknowledged) -> Result<Option<String>> {
    for agent in &acknowledged.agents {
        let id = agent["id"].as_str().unwrap_or_default();
        let (status, kept) = get(api, &format!("agents/{id}")).await?;
        if status != 200 || kept["name"] != agent["name"] {
            return Ok(Some(format!("{agent}: {status} {kept}")));
        }
    }
    for (path, value) in &acknowledged.blocks {
        let (status, kept) = get(api, path).await?;
        if status != 200 || kept["value"] != value.as_str() {
            return Ok(Some(format!("{path}: {value:?}: {status} {kept}")));
        }
    }
    for (agent, text) in &acknowledged.messages {
        let (status, kept) = get(api, &format!("agents/{agent}/messages?limit=100")).await?;
        let kept = kept.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_said = kept
            .iter()
            .any(|it| it["message_type"] == "user_message" && it["content"] == text.as_str());
        let is_answered = kept.iter().any(|it| it["message_type"] == "assistant_message");
        if status != 200 || !is_said || !is_answered {
            return Ok(Some(format!("{agent}: {text:?}: {status} {kept:?}")));
        }
    }
    Ok(None)
}

async fn get(api: &Api, path: &str) -> Result<(u16, Value)> {
    let response = api.http.get(api.url(path)).send().await?;
    let status = response.status().as_u16();
    Ok((status, serde_json::from_slice(&response.bytes().await?).unwrap_or_default()))
}
