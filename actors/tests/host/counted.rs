//! Hosts that crash at every append of a step with tools, and of the recoveries after it, while another process counts what
//! the tools did. What must not happen twice does not, and nothing happens that the log did not mean first.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{FutureExt as _, future::BoxFuture};
use retold_actors::{Job, Options, Ran, Runner, agent::Change, run::Send, tool::approval_patch};
use retold_events::{
    AgentId, RunId,
    agent::Event,
    run::{Decision, Intent},
    store::{Failure, Moment},
};
use retold_models::testing::{Say, ScriptedModel};

use crate::{
    audit::{self, audit, records},
    calls::{agent_with, returns},
    faults::quick,
    relapses::all_end,
    world::{Disk, World, in_time, message, request, settle},
};

/// Recoveries that are crashed one after the other.
const RELAPSES: usize = 2;

/// The process that counts.
struct Counter {
    process: Child,
    /// It ends when this does.
    _until: ChildStdin,
    port: u16,
    lives: AtomicU64,
}

impl Counter {
    fn start() -> Arc<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/counter.py");
        let mut process = Command::new("python3")
            .args(["-I", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let until = process.stdin.take().expect("it is piped");
        let mut line = String::new();
        let said = process.stdout.take().expect("it is piped");
        BufReader::new(said).read_line(&mut line).expect("it says its port");
        let port = line.trim().parse().expect("it is a port");
        Arc::new(Self { process, _until: until, port, lives: AtomicU64::new(0) })
    }

    fn ask(&self, line: &str) -> String {
        let mut peer = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        writeln!(peer, "{line}").expect("it reads");
        let mut answer = String::new();
        peer.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// What happened in these lives: for each tool, the keys of its executions.
    fn executed(&self, lives: &[u64]) -> BTreeMap<String, Vec<String>> {
        let mut executed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in self.ask("?").lines() {
            let [life, tool, key] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("not what was told: {line}");
            };
            if lives.contains(&life.parse().expect("it is a number")) {
                executed.entry(tool.to_owned()).or_default().push(key.to_owned());
            }
        }
        executed
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // One that has ended already is fine, too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs tools by telling the counter. Each host has one with a number of its own.
#[derive(Clone)]
struct Life {
    counter: Arc<Counter>,
    number: u64,
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "life {}", self.number)
    }
}

impl Life {
    fn begin(counter: &Arc<Counter>) -> Self {
        let number = counter.lives.fetch_add(1, Ordering::Relaxed);
        Self { counter: Arc::clone(counter), number }
    }

    fn options(&self) -> Options {
        Options { runner: Some(Arc::new(self.clone())), ..quick() }
    }
}

impl Runner for Life {
    fn run(&self, job: Job) -> BoxFuture<'static, Ran> {
        let life = self.clone();
        async move {
            let key: String = job.key.iter().map(|byte| format!("{byte:02x}")).collect();
            life.counter.ask(&format!("{} {} {key}", life.number, job.name));
            tokio::task::yield_now().await;
            let result = Ok(format!("{} done", job.name));
            Ran { result, stdout: Vec::new(), stderr: Vec::new() }
        }
        .boxed()
    }
}

/// The tools: those whose names begin with `again` may be made once more, those that end in `beside` beside others.
const TOOLS: [&str; 6] =
    ["once", "again", "once_beside", "again_beside", "once_later", "once_asked"];

/// What the model does: four calls, one more, one that a person decides beside one that waits for it, words.
fn model() -> ScriptedModel {
    ScriptedModel::from_fn(|prompt| {
        let answers = prompt.messages.iter().filter(|it| it.role == "assistant").count();
        match answers {
            0 => Say::calls(&[
                ("a", "once", "{}"),
                ("b", "once_beside", "{}"),
                ("c", "again_beside", "{}"),
                ("d", "again", "{}"),
            ]),
            1 => Say::call("e", "once_later", "{}"),
            2 => Say::calls(&[("f", "again", "{}"), ("g", "once_asked", "{}")]),
            _ => Say::answer("All is done."),
        }
    })
}

/// A store after some lives, of which the last one crashed.
struct Past {
    at: String,
    disk: Disk,
    agent: AgentId,
    /// The numbers of the lives it has seen.
    lives: Vec<u64>,
}

/// How often what was tried.
#[derive(Debug, Default)]
struct Tried {
    crashed: u64,
    deepest: usize,
    approved: u64,
    unknown: u64,
}

#[tokio::test]
async fn after_crashes_at_every_append_no_tool_is_made_twice_that_must_not_be_as_another_process_counts()
 {
    let counter = Counter::start();
    let mut tried = Tried::default();
    for moment in [Moment::Before, Moment::After] {
        for nth in 1.. {
            let (past, whole) = first_life(&counter, nth, moment).await;
            let mut pasts = vec![past];
            while let Some(past) = pasts.pop() {
                check(&counter, &past);
                tried.deepest = tried.deepest.max(past.lives.len() - 1);
                if past.lives.len() > RELAPSES || whole {
                    last_life(&counter, past, &mut tried).await;
                } else {
                    relapse(&counter, &past, &mut tried, &mut pasts).await;
                }
            }
            if whole {
                break;
            }
        }
    }
    eprintln!("{tried:?}");
    assert!(tried.crashed > 100 && tried.deepest == RELAPSES, "{tried:?}");
    assert!(tried.approved > 50 && tried.unknown > 20, "{tried:?}");
}

/// A life that crashes at an append, if it comes to that. Whether it did not.
async fn first_life(counter: &Arc<Counter>, nth: u64, moment: Moment) -> (Past, bool) {
    let (disk, life) = (Disk::default(), Life::begin(counter));
    let (store, faults) = disk.open();
    let world = World::over(store, model(), life.options()).await;
    let agent = agent_with(&world, &TOOLS).await;
    let asks = Change::Configure(Box::new(|state| Ok(approval_patch(state, "once_asked", true))));
    in_time(world.host.change_agent(agent, asks)).await.expect("the rule is sound");
    faults.fail_append(nth, moment, Failure::Io);
    let whole = talk(&world, agent, &disk).await;
    drop(world);
    settle().await;
    (Past { at: format!("{nth} {moment:?}"), disk, agent, lives: vec![life.number] }, whole)
}

/// Crashes the start over a past at each of its appends.
async fn relapse(counter: &Arc<Counter>, past: &Past, tried: &mut Tried, pasts: &mut Vec<Past>) {
    tried.crashed += 1;
    for append in 1.. {
        let (disk, life) = (past.disk.copy(), Life::begin(counter));
        let (store, faults) = disk.open();
        faults.fail_append(append, Moment::After, Failure::Io);
        let world = World::over(store, model(), life.options()).await;
        let whole = all_end(&world.host, &disk).await;
        drop(world);
        settle().await;
        let lives = past.lives.iter().copied().chain([life.number]).collect();
        let at = format!("{}, then {append}", past.at);
        let next = Past { at, disk, agent: past.agent, lives };
        if whole {
            check(counter, &next);
            return;
        }
        pasts.push(next);
    }
}

/// A life in which nothing fails: the client does once more all that it did, and in the end every call has its return.
async fn last_life(counter: &Arc<Counter>, past: Past, tried: &mut Tried) {
    let Past { at, disk, agent, mut lives } = past;
    let life = Life::begin(counter);
    lives.push(life.number);
    let (store, _) = disk.open();
    let world = World::over(store, model(), life.options()).await;
    assert!(all_end(&world.host, &disk).await, "{at}: nothing fails any more");
    assert!(talk(&world, agent, &disk).await, "{at}");
    let texts = returns(&world.history(agent).await);
    tried.unknown += texts.iter().filter(|text| text.contains("it is not known")).count() as u64;
    drop(world);
    audit(disk.contents());
    let past = Past { at, disk, agent, lives };
    check(counter, &past);
    tried.approved += u64::from(counter.executed(&past.lives).contains_key("once_asked"));
}

/// A client that speaks to the agent, approves what it asks, and says so twice. Whether nothing failed.
async fn talk(world: &World, agent: AgentId, disk: &Disk) -> bool {
    let spoken = Send::new(vec![message("go")], request(false));
    // Where calls wait already it is refused: the life before had come that far.
    if let Ok(sent) = in_time(world.host.send(agent, spoken)).await
        && !over(world, sent.run.id).await
    {
        return false;
    }
    let approve = || Decision::Approval { call_id: "g".to_owned(), approve: true, reason: None };
    for _ in 0..2 {
        let answer = Send { decisions: vec![approve()], ..Send::new(Vec::new(), request(false)) };
        // A run that failed had asked for nothing.
        if let Ok(sent) = in_time(world.host.send(agent, answer)).await
            && !over(world, sent.run.id).await
        {
            return false;
        }
    }
    all_end(&world.host, disk).await
}

/// Waits for the end of a run. Whether it came.
async fn over(world: &World, run: RunId) -> bool {
    let ended = in_time(world.host.run_end(run)).await.is_ok();
    if !ended {
        in_time(world.host.log().failed()).await;
    }
    ended
}

/// What the counter saw in all lives is what the log meant, and nothing of it is too much.
fn check(counter: &Counter, past: &Past) {
    let Past { at, disk, lives, .. } = past;
    audit::check(disk.contents());
    let meant = intents(disk);
    for (tool, keys) in counter.executed(lives) {
        let mut times: BTreeMap<&String, usize> = BTreeMap::new();
        for key in &keys {
            *times.entry(key).or_default() += 1;
        }
        for (key, times) in times {
            let intent = meant.get(key);
            let intent =
                intent.unwrap_or_else(|| panic!("{at}: {tool} was made before it was meant"));
            assert_eq!(intent.is_idempotent, tool.starts_with("again"), "{at}: {tool}");
            let bound = if intent.is_idempotent { lives.len() } else { 1 };
            assert!(times <= bound, "{at}: one call of {tool} was made {times} times");
        }
    }
}

/// The calls that the log means, by their keys.
fn intents(disk: &Disk) -> BTreeMap<String, Intent> {
    let mut meant = BTreeMap::new();
    for record in records(disk.contents()) {
        let called = record.decode::<Event>().map(|decoded| decoded.event);
        if let Ok(Event::ToolsCalled(called)) = called {
            for intent in called.intents {
                let key = intent.key.iter().map(|byte| format!("{byte:02x}")).collect();
                assert!(meant.insert(key, intent).is_none(), "a call is meant once");
            }
        }
    }
    meant
}
