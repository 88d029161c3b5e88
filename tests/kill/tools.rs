//! `kill -9` while users' tools run in their cage, counted by another process: a call is made once
//! unless its tool may be called again, every attempt has the same key, and history tells the truth
//! of each. `RETOLD_TOOL_KILLS` sets the number of kills.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::Result;
use crate::counter::{Counter, Done};
use crate::http::{client, get, post};
use crate::random::{self, Random};
use crate::server::Server;
use crate::{number, say, upstream};

/// Enough rounds to hit calls before, in and after their tools, in about half a minute.
const KILLS: u64 = 10;
/// Agents that talk at a time.
const CLIENTS: usize = 3;
/// Runs that are under way again have ended within this.
const RESUMED: Duration = Duration::from_secs(20);
/// The first call of a server waits for its cage.
const WARM: Duration = Duration::from_secs(10);

/// The tools; those that may be called again have a tag that says so, and one waits for a person.
const TOOLS: [(&str, bool); 3] = [("once", false), ("again", true), ("asked", false)];

/// What the clients were told, kept where the kill does not reach it.
#[derive(Default)]
struct Book {
    /// What tools were asked to do, and told to have done.
    told: Vec<(String, String)>,
    answers: u64,
}

type Shared = Arc<Mutex<Book>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tool_is_called_twice_by_kill_9_that_must_not_be() -> Result<()> {
    let _alone = crate::ALONE.lock().await;
    let kills = number("RETOLD_TOOL_KILLS")?.unwrap_or(KILLS);
    let seed = number("RETOLD_SEED")?.unwrap_or_else(random::seed);
    say(&format!("tool kill loop: {kills} kills, RETOLD_SEED={seed}"));
    let mut random = Random::new(seed);
    let (upstream, counter) = (upstream::start().await?, Counter::start()?);
    let home = tempfile::tempdir()?;
    let book = Shared::default();
    let mut agents: Vec<String> = Vec::new();
    let begun = Instant::now();

    for round in 0..kills {
        let mut server = Server::spawn(home.path(), &upstream)?;
        server.ready().await?;
        if agents.is_empty() {
            agents = make_agents(&server.url, &counter).await?;
        }
        settled(&server.url, &agents, &counter, &book).await?;
        let load: Vec<JoinHandle<Result<()>>> = agents
            .iter()
            .enumerate()
            .map(|(at, agent)| {
                let client = Client {
                    url: server.url.clone(),
                    agent: agent.clone(),
                    book: Arc::clone(&book),
                    mark: format!("{round}-{at}"),
                    first: at + usize::try_from(round).unwrap_or_default(),
                };
                tokio::spawn(client.talk())
            })
            .collect();
        // Not a time, but how far the tools have come: how fast a cage begins is the machine's affair.
        let (until, loaded) = (counter.reports()? + 1 + random.below(10), Instant::now());
        while counter.reports()? < until && loaded.elapsed() < WARM {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        if random.one_in(2) {
            // In the middle of a tool.
            while counter.under_way()? == 0 && loaded.elapsed() < WARM {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        } else {
            tokio::time::sleep(Duration::from_millis(random.below(100))).await;
        }
        server.kill()?;
        counter.forget_what_is_under_way()?;
        for client in load {
            client.await??;
        }
    }
    let mut server = Server::spawn(home.path(), &upstream)?;
    server.ready().await?;
    settled(&server.url, &agents, &counter, &book).await?;
    // Undisturbed, everything that is asked for is made.
    for (at, agent) in agents.iter().enumerate() {
        let (url, mark) = (server.url.clone(), format!("end-{at}"));
        let last = Client { url, agent: agent.clone(), book: Arc::clone(&book), mark, first: 0 };
        assert!(last.ask(&client()?, 1).await?, "the server is gone");
    }
    let figures = settled(&server.url, &agents, &counter, &book).await?;
    server.kill()?;

    assert!(figures.approved >= CLIENTS as u64, "what was approved was not made: {figures:?}");
    let answers = book.lock().unwrap_or_else(PoisonError::into_inner).answers;
    say(&format!(
        "tool kill loop: {kills} kills in {:.0} s; {answers} answers; {figures:?}",
        begun.elapsed().as_secs_f64(),
    ));
    if kills >= KILLS {
        assert!(figures.cut >= 2 && figures.unknown >= 2, "no tool was hit: {figures:?}");
        assert!(figures.retried >= 1, "no tool was called again: {figures:?}");
    }
    Ok(())
}

async fn make_agents(url: &str, counter: &Counter) -> Result<Vec<String>> {
    let http = client()?;
    let mut tools = Vec::new();
    for (name, is_idempotent) in TOOLS {
        let tags = ["retold:network", "retold:idempotent"];
        let tags = &tags[..1 + usize::from(is_idempotent)];
        let body = json!({ "source_code": counter.source(name), "tags": tags });
        let (status, tool) = post(&http, format!("{url}/v1/tools/"), body).await?;
        assert_eq!(status, 200, "{tool}");
        tools.push(tool["id"].clone());
    }
    let mut agents = Vec::new();
    for at in 0..CLIENTS {
        let body = json!({
            "name": format!("caller-{at}"),
            "model": "openai/slow",
            "tool_ids": tools,
            "include_base_tools": false,
            "parallel_tool_calls": true,
            "tool_rules": [{ "type": "requires_approval", "tool_name": "asked" }],
        });
        let (status, agent) = post(&http, format!("{url}/v1/agents/"), body).await?;
        assert_eq!(status, 200, "{agent}");
        agents.push(agent["id"].as_str().ok_or("an agent without an id")?.to_owned());
    }
    Ok(agents)
}

/// Talks to one agent until the connection breaks.
struct Client {
    url: String,
    agent: String,
    book: Shared,
    mark: String,
    /// The number of the first thing that it says.
    first: usize,
}

impl Client {
    async fn talk(self) -> Result<()> {
        let http = client()?;
        for number in self.first.. {
            if !self.ask(&http, number).await? {
                break;
            }
        }
        Ok(())
    }

    /// Asks for some calls, and approves those that wait for it. Whether the server is still there.
    async fn ask(&self, http: &reqwest::Client, number: usize) -> Result<bool> {
        let tools = ["once,again", "again,asked", "once,again,once"][number % 3];
        let text = format!("Please, tools={tools} what={}-{number}.", self.mark);
        let said = json!({ "role": "user", "content": text });
        let Some(answer) = self.send(http, said).await? else { return Ok(false) };
        if answer["stop_reason"]["stop_reason"] != "requires_approval" {
            return Ok(true);
        }
        Ok(self.send(http, approval(&answer["messages"])).await?.is_some())
    }

    /// The answer to one message; `None` when the server is gone.
    async fn send(&self, http: &reqwest::Client, message: Value) -> Result<Option<Value>> {
        let url = format!("{}/v1/agents/{}/messages", self.url, self.agent);
        let sent = post(http, url, json!({ "messages": [message] })).await;
        let Ok((status, answer)) = sent else { return Ok(None) };
        assert_eq!(status, 200, "{}: {answer}", self.agent);
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.answers += 1;
        book.told.extend(successes(&answer["messages"]));
        Ok(Some(answer))
    }
}

/// The approval of what a list of messages asks for last.
fn approval(messages: &Value) -> Value {
    let mut asks = messages.as_array().into_iter().flatten();
    let asks = asks.rfind(|message| message["message_type"] == "approval_request_message");
    let calls = asks.map(|asks| asks["tool_calls"].clone()).unwrap_or_default();
    let approve = |call: &Value| json!({ "type": "approval", "tool_call_id": call["tool_call_id"], "approve": true });
    let approvals: Vec<Value> = calls.as_array().into_iter().flatten().map(approve).collect();
    json!({ "type": "approval", "approvals": approvals })
}

/// All calls of a history or an answer: their ids with the tool and what it was to do.
fn calls(messages: &Value) -> BTreeMap<String, (String, String)> {
    let calls = messages.as_array().into_iter().flatten().flat_map(|message| {
        message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default()
    });
    let call = |call: &Value| {
        let arguments: Value = serde_json::from_str(call["arguments"].as_str()?).ok()?;
        let asked = (text(&call["name"]), text(&arguments["what"]));
        Some((text(&call["tool_call_id"]), asked))
    };
    calls.filter_map(call).collect()
}

/// All returns of a history or an answer: ids of calls with the status and the text.
fn returns(messages: &Value) -> Vec<(String, bool, String)> {
    let returns = messages.as_array().into_iter().flatten().flat_map(|message| {
        message["tool_returns"].as_array().map(Vec::as_slice).unwrap_or_default()
    });
    let returned = |returned: &Value| {
        let is_success = returned["status"] == "success";
        (text(&returned["tool_call_id"]), is_success, text(&returned["tool_return"]))
    };
    returns.map(returned).collect()
}

/// What tools are told to have done, where the calls are told too.
fn successes(messages: &Value) -> Vec<(String, String)> {
    let calls = calls(messages);
    let returns = returns(messages).into_iter().filter(|(_, is_success, _)| *is_success);
    returns.filter_map(|(id, ..)| calls.get(&id).cloned()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// How often what was seen.
#[derive(Debug, Default)]
struct Figures {
    /// Calls whose tool a kill ended.
    cut: u64,
    /// Calls that were made again.
    retried: u64,
    /// Calls of which the model was told that nobody knows what came of them.
    unknown: u64,
    /// Calls that a person approved, and that did what was asked.
    approved: u64,
    calls: u64,
}

/// Waits until all runs have ended, approves what waits, and compares the histories with what the
/// tools did.
async fn settled(
    url: &str,
    agents: &[String],
    counter: &Counter,
    book: &Shared,
) -> Result<Figures> {
    let http = client()?;
    let mut figures = Figures::default();
    let mut known = BTreeSet::new();
    for agent in agents {
        all_ended(&http, url, agent).await?;
        let path = format!("{url}/v1/agents/{agent}/messages");
        let all = format!("{path}?limit=10000&order=asc");
        let history = get(&http, all.clone()).await?;
        let last = history.as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
        if last["message_type"] == "approval_request_message" {
            // Sent twice, as a client does whose connection broke.
            for _ in 0..2 {
                let body = json!({ "messages": [approval(&history)] });
                let (status, answer) = post(&http, path.clone(), body).await?;
                assert_eq!(status, 200, "{agent}: {answer}");
            }
        }
        let history = get(&http, all).await?;
        compare(agent, &history, &counter.done()?, &mut figures, &mut known);
    }
    for (thing, done) in counter.done()? {
        assert!(known.contains(&thing), "{thing:?} was done and no history tells of it: {done:?}");
    }
    for thing in &book.lock().unwrap_or_else(PoisonError::into_inner).told {
        assert!(known.contains(thing), "{thing:?} was told and no history tells of it");
    }
    Ok(figures)
}

async fn all_ended(http: &reqwest::Client, url: &str, agent: &str) -> Result<()> {
    let since = Instant::now();
    loop {
        let active = get(http, format!("{url}/v1/runs/?agent_id={agent}&active=true")).await?;
        if active.as_array().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        assert!(since.elapsed() < RESUMED, "{agent}: still under way: {active}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Each call of a history has one return, and that says of the call what the counter knows of it.
fn compare(
    agent: &str,
    history: &Value,
    done: &BTreeMap<(String, String), Done>,
    figures: &mut Figures,
    known: &mut BTreeSet<(String, String)>,
) {
    let mut open = calls(history);
    let mut times: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    for (id, is_success, said) in returns(history) {
        let Some(thing) = open.remove(&id) else {
            panic!("{agent}: a return of {id} without a call, or a second one: {history}");
        };
        let is_unknown = said.contains("it is not known whether it took effect");
        let never = said.contains("before this tool was run");
        assert!(is_success || is_unknown || never, "{agent}: {thing:?} returned {said}");
        figures.calls += 1;
        figures.unknown += u64::from(is_unknown);
        figures.approved += u64::from(is_success && thing.0 == "asked");
        let (least, most) = times.entry(thing).or_default();
        *least += usize::from(is_success);
        *most += usize::from(is_success || is_unknown);
    }
    assert!(open.is_empty(), "{agent}: {open:?} have no return: {history}");
    for (thing, (least, most)) in times {
        let done = done.get(&thing).cloned().unwrap_or_default();
        let keys: BTreeSet<&String> = done.begun.iter().collect();
        let began = done.begun.len();
        assert!(done.ended >= least, "{agent}: {thing:?} returned and was not made: {done:?}");
        assert!(keys.len() <= most, "{agent}: {thing:?} was made too often: {done:?}");
        let may_be_again = TOOLS.iter().any(|(name, again)| *again && thing.0 == *name);
        assert!(may_be_again || began == keys.len(), "{agent}: {thing:?} was made twice: {done:?}");
        figures.cut += (began - done.ended) as u64;
        figures.retried += (began - keys.len()) as u64;
        known.insert(thing);
    }
}
