//! The load: each client writes an answer into the ledger the moment it has it, and ends with the
//! connection that the kill breaks.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::Result;
use crate::http::{self, Frame, patch, post};
use crate::ledger::{Agent, Ledger};
use crate::random::Random;

/// What every client needs.
#[derive(Clone)]
struct Driver {
    http: reqwest::Client,
    url: String,
    ledger: Ledger,
    round: u64,
}

type Client = JoinHandle<Result<()>>;

pub(crate) fn start(url: &str, ledger: &Ledger, random: &mut Random, round: u64) -> Vec<Client> {
    let spawn = |client: u64, random: Random| {
        let (url, ledger) = (url.to_owned(), ledger.clone());
        tokio::spawn(async move {
            let driver = Driver { http: http::client()?, url, ledger, round };
            match client {
                0 => driver.create(random).await,
                1 => driver.edit(random).await,
                2 => driver.cancel(random).await,
                3 => driver.run_asynchronously(random).await,
                4 | 5 => driver.talk(random).await,
                _ => driver.stream(random, client).await,
            }
        })
    };
    (0..9).map(|client| spawn(client, random.fork())).collect()
}

/// Waits for the clients to notice that their server is gone.
pub(crate) async fn finish(load: Vec<Client>) -> Result<()> {
    for client in load {
        client.await??;
    }
    Ok(())
}

impl Driver {
    /// A sentence nobody said before. `client` keeps two that talk at once apart.
    fn sentence(&self, client: &str, number: u64, what: &str) -> String {
        format!("{what} {client}-{}-{number}.", self.round)
    }

    async fn make(&self, name: String, model: &str) -> Result<Option<String>> {
        let blocks = json!([
            { "label": "human", "value": "A test." },
            { "label": "ledger", "value": "0" },
        ]);
        let body = json!({ "name": name, "model": model, "memory_blocks": blocks });
        let Ok((status, agent)) = post(&self.http, format!("{}/v1/agents/", self.url), body).await
        else {
            return Ok(None);
        };
        assert!(status == 200, "creating an agent answered {status}: {agent}");
        let block = agent["blocks"].as_array().and_then(|blocks| {
            blocks.iter().find(|block| block["label"] == "ledger")?["id"].as_str()
        });
        let (Some(id), Some(block)) = (agent["id"].as_str(), block) else {
            panic!("an agent without its id or its block: {agent}");
        };
        let mut book = self.ledger.open();
        book.count.creates += 1;
        let made = Agent {
            name,
            block: block.to_owned(),
            value: "0".to_owned(),
            sent: None,
            messages: Vec::new(),
            said: Vec::new(),
            history: Vec::new(),
        };
        book.agents.insert(id.to_owned(), made);
        Ok(Some(id.to_owned()))
    }

    async fn create(self, mut random: Random) -> Result<()> {
        for number in 0.. {
            let name = format!("made-{}-{number}", self.round);
            if self.make(name, "retold/rehearsal").await?.is_none() {
                break;
            }
            pause(&mut random, 40).await;
        }
        Ok(())
    }

    /// One writer per agent, so that the order of the values is known.
    async fn edit(self, mut random: Random) -> Result<()> {
        let Some(id) = self.make(format!("edited-{}", self.round), "retold/rehearsal").await?
        else {
            return Ok(());
        };
        for number in 1_u64.. {
            let value = format!("{number} {}", "x".repeat(random.below(2000) as usize));
            if let Some(agent) = self.ledger.open().agents.get_mut(&id) {
                agent.sent = Some(value.clone());
            }
            let url = format!("{}/v1/agents/{id}/core-memory/blocks/ledger", self.url);
            let Ok((status, block)) = patch(&self.http, url, json!({ "value": value })).await
            else {
                break;
            };
            assert!(
                status == 200 && block["value"] == *value,
                "an edit answered {status}: {block}"
            );
            let mut book = self.ledger.open();
            book.count.edits += 1;
            if let Some(agent) = book.agents.get_mut(&id) {
                (agent.value, agent.sent) = (value, None);
            }
        }
        Ok(())
    }

    /// Blocking messages, some of which make the model use its memory tools.
    async fn talk(self, mut random: Random) -> Result<()> {
        let slow = random.one_in(2);
        let model = if slow { "openai/slow" } else { "retold/rehearsal" };
        let name = format!("talked-{}-{}", self.round, random.next());
        let Some(id) = self.make(name, model).await? else { return Ok(()) };
        for number in 0.. {
            let what = match random.below(3) {
                0 if slow => "Please note",
                0 => "My name is",
                1 => "Be quick with",
                _ => "Tell me about",
            };
            let text = self.sentence(&id[6..14], number, what);
            let body = json!({ "messages": [{ "role": "user", "content": text }] });
            let url = format!("{}/v1/agents/{id}/messages", self.url);
            let Ok((status, answer)) = post(&self.http, url, body).await else { break };
            assert!(status == 200, "a message answered {status}: {answer}");
            assert!(answer["stop_reason"]["stop_reason"] == "end_turn", "ended badly: {answer}");
            let messages = answer["messages"].as_array().cloned().unwrap_or_default();
            assert!(!messages.is_empty(), "an answer without messages: {answer}");
            let mut book = self.ledger.open();
            book.count.messages += 1;
            if let Some(agent) = book.agents.get_mut(&id) {
                agent.messages.extend(messages);
                agent.said.push(text);
            }
        }
        Ok(())
    }

    /// Token streams, in the foreground and in the background.
    async fn stream(self, mut random: Random, client: u64) -> Result<()> {
        let model = if client == 6 { "retold/rehearsal" } else { "openai/slow" };
        let name = format!("streamed-{}-{client}", self.round);
        let Some(id) = self.make(name, model).await? else { return Ok(()) };
        for number in 0.. {
            let what = if random.one_in(3) { "Please note" } else { "Tell me about" };
            let text = self.sentence(&id[6..14], number, what);
            if !self.read_a_stream(&id, &text, random.one_in(2)).await? {
                break;
            }
        }
        Ok(())
    }

    /// Answers whether the stream came to its end.
    async fn read_a_stream(&self, id: &str, text: &str, background: bool) -> Result<bool> {
        let messages = json!([{ "role": "user", "content": text }]);
        let body = json!({ "messages": messages, "stream_tokens": true, "background": background });
        let url = format!("{}/v1/agents/{id}/messages/stream", self.url);
        let Ok(response) = self.http.post(url).json(&body).send().await else { return Ok(false) };
        assert!(response.status() == 200, "a stream answered {}", response.status());
        let mut run = None;
        let whole = http::frames(response, |frame| {
            let mut book = self.ledger.open();
            match frame {
                Frame::Message(value) => {
                    let named = book.note_frame(id, text, &value);
                    run = run.take().or(named);
                }
                Frame::Error(error) => panic!("a stream failed: {error}"),
                Frame::Done => {
                    if let Some(run) = run.as_ref().and_then(|run| book.runs.get_mut(run)) {
                        run.done = true;
                    }
                }
            }
        })
        .await;
        if let (false, Some(run)) = (whole, &run) {
            let mut book = self.ledger.open();
            let cut = book.runs.get(run).is_some_and(|run| !run.seen.is_empty() && !run.done);
            book.count.cut += u64::from(cut);
        }
        Ok(whole)
    }

    async fn run_asynchronously(self, mut random: Random) -> Result<()> {
        let name = format!("async-{}", self.round);
        let Some(id) = self.make(name, "openai/slow").await? else { return Ok(()) };
        for number in 0.. {
            let text = self.sentence(&id[6..14], number, "Tell me about");
            let body = json!({ "messages": [{ "role": "user", "content": text }] });
            let url = format!("{}/v1/agents/{id}/messages/async", self.url);
            let Ok((status, run)) = post(&self.http, url, body).await else { break };
            if status == 429 {
                pause(&mut random, 100).await;
                continue;
            }
            assert!(status == 200, "an asynchronous message answered {status}: {run}");
            let frame = json!({ "run_id": run["id"] });
            self.ledger.open().note_frame(&id, &text, &frame);
            pause(&mut random, 200).await;
        }
        Ok(())
    }

    /// Starts a stream and cancels it while it is under way.
    async fn cancel(self, mut random: Random) -> Result<()> {
        let name = format!("cancelled-{}", self.round);
        let Some(id) = self.make(name, "openai/slow").await? else { return Ok(()) };
        for number in 0.. {
            let text = self.sentence(&id[6..14], number, "Tell me about");
            let (driver, agent, said) = (self.clone(), id.clone(), text.clone());
            let reader =
                tokio::spawn(async move { driver.read_a_stream(&agent, &said, false).await });
            pause(&mut random, 120).await;
            let url = format!("{}/v1/agents/{id}/messages/cancel", self.url);
            let answer = post(&self.http, url, json!({})).await;
            if let Ok((200, cancelled)) = &answer {
                self.note_cancelled(&id, &text, cancelled);
            }
            if !reader.await?? || answer.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Only runs that were under way are named when none was asked for by its id.
    fn note_cancelled(&self, id: &str, text: &str, cancelled: &Value) {
        let mut book = self.ledger.open();
        for (run, outcome) in cancelled.as_object().into_iter().flatten() {
            assert!(outcome == "cancelled", "the cancel of {run} answered {outcome}");
            book.note_frame(id, text, &json!({ "run_id": run }));
            if let Some(run) = book.runs.get_mut(run) {
                run.cancelled = true;
            }
            book.count.cancels += 1;
        }
    }
}

async fn pause(random: &mut Random, most_ms: u64) {
    tokio::time::sleep(std::time::Duration::from_millis(random.below(most_ms))).await;
}
