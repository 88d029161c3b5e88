//! What must hold after a restart. Every failure names the agent or the run that it is about.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::http::{client, get, is_numbered, number, post, replay};
use crate::ledger::{Ledger, Run, Settled};
use crate::random::Random;

/// Interrupted runs are closed or under way again this soon after readiness.
const RECOVERY: Duration = Duration::from_secs(1);
/// A run that is under way again ends within this.
const RESUMED: Duration = Duration::from_secs(10);
/// How many of the runs and agents that were checked before are looked at again each time.
const SAMPLE: usize = 4;

/// Checks all that the last round touched, and a sample of what earlier rounds did.
pub(crate) async fn after_restart(url: &str, ledger: &Ledger, random: &mut Random) -> Result<()> {
    let ready = Instant::now();
    let check = Check { http: client()?, url, ledger };
    let (open, settled): (Vec<_>, Vec<_>) = {
        let book = ledger.open();
        let (open, settled): (Vec<_>, Vec<_>) =
            book.runs.iter().partition(|(_, run)| run.settled.is_none());
        let ids = |runs: Vec<(&String, &Run)>| runs.into_iter().map(|(id, _)| id.clone()).collect();
        (ids(open), ids(settled))
    };
    check.recovery(&open, ready).await?;
    for run in &open {
        check.settle(run).await?;
    }
    for run in sample(&settled, random) {
        check.unchanged(&run).await?;
    }
    let agents: Vec<String> = ledger.open().agents.keys().cloned().collect();
    let (known, new): (Vec<_>, Vec<_>) = {
        let book = ledger.open();
        agents.into_iter().partition(|id| !book.agents[id].history.is_empty())
    };
    for agent in new.iter().chain(&sample(&known, random)) {
        check.agent(agent).await?;
    }
    for agent in sample(&new, random) {
        check.accepts_a_message(&agent).await?;
    }
    Ok(())
}

/// Checks every agent and every run there ever was.
pub(crate) async fn everything(url: &str, ledger: &Ledger) -> Result<()> {
    let check = Check { http: client()?, url, ledger };
    let (agents, runs): (Vec<String>, Vec<String>) = {
        let book = ledger.open();
        (book.agents.keys().cloned().collect(), book.runs.keys().cloned().collect())
    };
    for run in &runs {
        check.unchanged(run).await?;
    }
    for agent in &agents {
        check.agent(agent).await?;
    }
    check.lists(&agents).await
}

fn sample(all: &[String], random: &mut Random) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    (0..SAMPLE).map(|_| all[random.below(all.len() as u64) as usize].clone()).collect()
}

struct Check<'a> {
    http: reqwest::Client,
    url: &'a str,
    ledger: &'a Ledger,
}

impl Check<'_> {
    async fn run(&self, id: &str) -> Result<Value> {
        get(&self.http, format!("{}/v1/runs/{id}", self.url)).await
    }

    /// Every run is at its end, or under way again, within a second, without anybody asking.
    async fn recovery(&self, runs: &[String], ready: Instant) -> Result<()> {
        for id in runs {
            loop {
                let run = self.run(id).await?;
                if is_terminal(&run) {
                    break;
                }
                let waited = ready.elapsed();
                let status = &run["status"];
                assert!(
                    waited < RECOVERY || status == "running",
                    "{id} is {status} {waited:?} after readiness"
                );
                assert!(waited < RESUMED, "{id} is still under way after {waited:?}: {run}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    /// Reads how a run ended, compares it with all that clients saw of it, and notes it for ever.
    async fn settle(&self, id: &str) -> Result<()> {
        let ended = self.run(id).await?;
        let frames = replay(&self.http, self.url, id, 0).await?;
        let status = ended["status"].as_str().unwrap_or_default().to_owned();
        let settled =
            Settled { status, stop_reason: ended["stop_reason"].clone(), frames: frames.clone() };
        let (seen, done, cancelled, text) = {
            let book = self.ledger.open();
            let run = &book.runs[id];
            (run.seen.clone(), run.done, run.cancelled, run.text.clone())
        };
        let numbered: Vec<&Value> = frames.iter().filter(|frame| is_numbered(frame)).collect();
        assert!(
            numbered.len() >= seen.len() && numbered.iter().zip(&seen).all(|(a, b)| **a == *b),
            "{id}: what the client saw is no prefix of the replay\nseen: {seen:?}\nnow: {frames:?}"
        );
        let cursor = seen.last().map_or(0, number);
        let rest = replay(&self.http, self.url, id, cursor).await?;
        let rest: Vec<&Value> = rest.iter().filter(|frame| is_numbered(frame)).collect();
        assert_eq!(rest, numbered[seen.len()..], "{id}: resumed after {cursor}");
        let stops = frames.iter().filter(|frame| frame["message_type"] == "stop_reason").count();
        assert_eq!(stops, 1, "{id}: stop reasons in {frames:?}");
        if done {
            assert_eq!(rest.len(), 0, "{id}: frames after the end that the client saw");
            assert_ne!(settled.status, "failed", "{id} failed after its end was seen: {ended}");
        }
        if cancelled {
            assert_eq!(settled.status, "cancelled", "{id}: its cancel was answered: {ended}");
        }
        self.turn(id, &text, &settled).await?;
        self.told_by_the_log(id).await?;
        let mut book = self.ledger.open();
        let goes_on = rest.iter().any(|frame| frame["message_type"] != "error_message");
        book.count.continued += u64::from(!seen.is_empty() && goes_on);
        book.count.completed += u64::from(settled.status == "completed");
        book.count.failed += u64::from(settled.status == "failed");
        if let Some(run) = book.runs.get_mut(id) {
            run.settled = Some(settled);
        }
        Ok(())
    }

    /// The messages of a run are a whole turn or none, and hold the text that was streamed.
    async fn turn(&self, id: &str, text: &str, settled: &Settled) -> Result<()> {
        let url = format!("{}/v1/runs/{id}/messages?limit=1000", self.url);
        let messages = get(&self.http, url).await?;
        let messages = messages.as_array().map(Vec::as_slice).unwrap_or_default();
        if settled.status == "failed" && messages.is_empty() {
            return Ok(());
        }
        let first = messages.first().unwrap_or(&Value::Null);
        assert!(
            first["message_type"] == "user_message" && first["content"] == *text,
            "{id} ({}) does not begin with {text:?}: {messages:?}",
            settled.status
        );
        if settled.status == "completed" {
            let last = &messages[messages.len() - 1];
            assert_eq!(last["message_type"], "assistant_message", "{id}: {messages:?}");
        }
        for message in messages.iter().filter(|m| m["message_type"] == "assistant_message") {
            assert_eq!(
                message["content"].as_str().unwrap_or_default(),
                streamed(&settled.frames, &message["id"]),
                "{id} ({}): the stored text is not the streamed one",
                settled.status
            );
        }
        Ok(())
    }

    /// Folded once more from the log alone, the run is what it was, every prompt's hash included.
    async fn told_by_the_log(&self, id: &str) -> Result<()> {
        let replay = get(&self.http, format!("{}/v1/runs/{id}/replay", self.url)).await?;
        assert!(
            replay["status"] == "identical" && replay["divergence"].is_null(),
            "{id} does not replay as it was: {replay}"
        );
        Ok(())
    }

    async fn unchanged(&self, id: &str) -> Result<()> {
        let Some(before) = self.ledger.open().runs[id].settled.clone() else {
            return self.settle(id).await;
        };
        let run = self.run(id).await?;
        let now = Settled {
            status: run["status"].as_str().unwrap_or_default().to_owned(),
            stop_reason: run["stop_reason"].clone(),
            frames: replay(&self.http, self.url, id, 0).await?,
        };
        assert_eq!(now, before, "{id} had ended, and reads differently after a restart");
        Ok(())
    }

    /// An agent with its name, its block, its acknowledged messages, and a history without holes.
    async fn agent(&self, id: &str) -> Result<()> {
        let state = get(&self.http, format!("{}/v1/agents/{id}", self.url)).await?;
        let url = format!("{}/v1/agents/{id}/core-memory/blocks/ledger", self.url);
        let block = get(&self.http, url).await?;
        let url = format!("{}/v1/agents/{id}/messages?limit=10000&order=asc", self.url);
        let history = get(&self.http, url).await?;
        let history = history.as_array().cloned().unwrap_or_default();
        no_half_turn(id, &history);
        let mut book = self.ledger.open();
        let failed_and_gone: Vec<String> = book
            .runs
            .values()
            .filter(|run| run.agent == id && run.settled.is_some())
            .map(|run| run.text.clone())
            .collect();
        let Some(agent) = book.agents.get_mut(id) else { return Ok(()) };
        assert_eq!(state["name"], *agent.name, "{id}");
        assert_eq!(block["id"], *agent.block, "{id}");
        let value = block["value"].as_str().unwrap_or_default();
        let sent = agent.sent.take();
        assert!(
            value == agent.value || Some(value) == sent.as_deref(),
            "{id}: the block is neither as acknowledged nor as sent last: {block}"
        );
        agent.value = value.to_owned();
        for message in &agent.messages {
            assert!(
                history.iter().any(|stored| is_same(stored, message)),
                "{id} has lost {message}\nit has {history:?}"
            );
        }
        let times_said = |text: &String| {
            let said = |m: &&Value| m["message_type"] == "user_message" && m["content"] == **text;
            history.iter().filter(said).count()
        };
        for text in &agent.said {
            assert_eq!(times_said(text), 1, "{id}: how often {text:?} is in its history");
        }
        for text in &failed_and_gone {
            assert!(times_said(text) <= 1, "{id}: {text:?} is in its history more than once");
        }
        assert!(
            history.len() >= agent.history.len()
                && agent.history.iter().zip(&history).all(|(before, now)| is_same(now, before)),
            "{id}: its history was rewritten\nbefore: {:?}\nnow: {history:?}",
            agent.history
        );
        agent.history = history;
        Ok(())
    }

    async fn accepts_a_message(&self, id: &str) -> Result<()> {
        let asked = Instant::now();
        let text = format!("Be quick, {}.", self.ledger.open().count.messages);
        let body = json!({ "messages": [{ "role": "user", "content": text }] });
        let (status, answer) =
            post(&self.http, format!("{}/v1/agents/{id}/messages", self.url), body).await?;
        assert!(status == 200, "{id} does not accept a message: {status} {answer}");
        assert!(answer["stop_reason"]["stop_reason"] == "end_turn", "{id}: {answer}");
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(5), "{id} took {took:?} for a message");
        self.ledger.open().count.messages += 1;
        Ok(())
    }

    /// The list of agents, page by page, names every agent that was acknowledged, once.
    async fn lists(&self, agents: &[String]) -> Result<()> {
        let (mut listed, mut after) = (Vec::new(), String::new());
        loop {
            let url = format!("{}/v1/agents/?limit=100&order=asc{after}", self.url);
            let page = get(&self.http, url).await?;
            let page = page.as_array().map(Vec::as_slice).unwrap_or_default();
            let Some(last) = page.last() else { break };
            after = format!("&after={}", last["id"].as_str().unwrap_or_default());
            listed.extend(page.iter().filter_map(|agent| agent["id"].as_str().map(str::to_owned)));
        }
        let listings = listed.len();
        listed.sort();
        listed.dedup();
        assert_eq!(listings, listed.len(), "an agent is listed twice");
        for id in agents {
            assert!(listed.binary_search(id).is_ok(), "{id} is missing in the list");
        }
        Ok(())
    }
}

fn is_terminal(run: &Value) -> bool {
    ["completed", "failed", "cancelled"].iter().any(|status| run["status"] == **status)
}

/// The text of all assistant frames with this message id, put together.
fn streamed(frames: &[Value], id: &Value) -> String {
    frames
        .iter()
        .filter(|frame| frame["message_type"] == "assistant_message" && frame["id"] == *id)
        .filter_map(|frame| frame["content"].as_str())
        .collect()
}

/// Each call is followed by its return before anybody says anything else.
fn no_half_turn(id: &str, history: &[Value]) {
    let mut open: Vec<&Value> = Vec::new();
    for message in history {
        match message["message_type"].as_str() {
            Some("tool_call_message") => open.push(&message["tool_call"]["tool_call_id"]),
            Some("tool_return_message") => {
                let call = &message["tool_call_id"];
                assert!(open.contains(&call), "{id}: a return without a call: {history:?}");
                open.retain(|open| open != &call);
            }
            _ => assert!(open.is_empty(), "{id}: {open:?} has no return: {history:?}"),
        }
    }
    assert!(open.is_empty(), "{id}: {open:?} has no return: {history:?}");
}

/// Whether two readings of one message agree. The system message is rewritten in place.
fn is_same(one: &Value, other: &Value) -> bool {
    let fields = ["id", "message_type", "date", "otid", "reasoning", "tool_call", "tool_return"];
    fields.iter().all(|field| one[field] == other[field])
        && (one["message_type"] == "system_message" || one["content"] == other["content"])
}
