//! Calls of users' tools: meant before they are made, made once, and closed whatever happens.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use retold_actors::{Job, Options, Ran, Runner, agent::Change};
use retold_events::{
    AgentId, JsonText, Message, Record, ReturnStatus, Role, RunId, ToolId,
    agent::AgentType,
    output::Output,
    run::EndStatus,
    store::{Failure, MemoryStore, Moment},
    tool::{Kind, Language, Tool},
};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::{query, row::RunStatus};

use crate::{
    audit::{audit, records},
    world::{Disk, World, in_time, message, new_agent, request, settle},
};

/// Runs every tool as its name says, and notes what it was asked for. It is outside the host: a crash does not make it
/// forget.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    made: Mutex<Vec<Job>>,
    dropped: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    pub(crate) fn names(&self) -> Vec<String> {
        self.made
            .lock()
            .expect("nobody panics with it")
            .iter()
            .map(|job| job.name.clone())
            .collect()
    }

    fn keys(&self, name: &str) -> Vec<[u8; 16]> {
        let made = self.made.lock().expect("nobody panics with it");
        made.iter().filter(|job| job.name == name).map(|job| job.key).collect()
    }

    /// Names of calls that were ended before they returned.
    fn dropped(&self) -> Vec<String> {
        self.dropped.lock().expect("nobody panics with it").clone()
    }
}

struct Ended(String, Arc<Mutex<Vec<String>>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.1.lock().expect("nobody panics with it").push(std::mem::take(&mut self.0));
    }
}

impl Runner for Bench {
    fn run(&self, job: Job) -> BoxFuture<'static, Ran> {
        let name = job.name.clone();
        self.made.lock().expect("nobody panics with it").push(job);
        if name.starts_with("hang") {
            let ended = Ended(name, Arc::clone(&self.dropped));
            return async move {
                let _ended = ended;
                std::future::pending().await
            }
            .boxed();
        }
        let result = if name.starts_with("fail") {
            Err(format!("Error executing function {name}: ValueError: no"))
        } else {
            Ok(format!("{name} done"))
        };
        async move { Ran { result, stdout: vec!["out".to_owned()], stderr: Vec::new() } }.boxed()
    }
}

fn tool(name: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        description: Some(format!("Does {name}.")),
        kind: Kind::Custom { language: Language::Python },
        source: Some(format!("def {name}(): ...")),
        schema: JsonText::new(r#"{"parameters":{"type":"object","properties":{}}}"#),
        args_schema: None,
        tags: if name.starts_with("again") { vec!["retold:idempotent".to_owned()] } else { vec![] },
        return_char_limit: 50_000,
        pip: None,
        npm: None,
        default_requires_approval: None,
        parallel: name.ends_with("beside"),
        metadata: None,
        project_id: None,
    }
}

pub(crate) fn with(bench: &Arc<Bench>) -> Options {
    Options { runner: Some(Arc::clone(bench) as Arc<dyn Runner>), ..Options::default() }
}

/// Makes tools of these names and an agent that has them.
pub(crate) async fn agent_with(world: &World, names: &[&str]) -> AgentId {
    let mut agent = new_agent(AgentType::LettaV1);
    for name in names {
        agent.tools.push(made(world, name).await);
    }
    in_time(world.host.create_agent(agent)).await.expect("the agent is sound").state.id
}

async fn made(world: &World, name: &str) -> ToolId {
    let new = tool(name);
    let compute = Arc::new(move |_: Option<&Tool>| Ok(Some(new.clone())));
    in_time(world.host.upsert_tool(name.to_owned(), compute)).await.expect("it is made").id()
}

async fn world(scripts: impl IntoIterator<Item = Vec<Say>>) -> (World, Arc<Bench>) {
    let bench = Arc::new(Bench::default());
    let store = Arc::new(MemoryStore::new());
    (World::over(store, ScriptedModel::new(scripts), with(&bench)).await, bench)
}

/// Names of what happened in the agents' streams, in order.
pub(crate) fn happened(world: &World) -> Vec<&'static str> {
    let names = [
        (203, "step started"),
        (210, "tools called"),
        (211, "tool returned"),
        (204, "step ended"),
        (206, "run ended"),
    ];
    let name = |record: Record| {
        let number = record.encoded.event_type.0;
        names.iter().find(|(of, _)| *of == number).map(|(_, name)| *name)
    };
    let events = records(&*world.store).into_iter().filter_map(name);
    events.collect()
}

/// The returns in an agent's history, as `tool: text`.
pub(crate) fn returns(history: &[Message]) -> Vec<String> {
    let all = history.iter().flat_map(|message| &message.tool_returns);
    all.map(|returned| format!("{}: {}", returned.name, returned.content)).collect()
}

pub(crate) async fn ended(world: &World, run: RunId) -> RunStatus {
    in_time(world.host.run_end(run)).await.expect("the run is there").status
}

#[tokio::test]
async fn a_call_is_meant_before_it_is_made_and_its_return_enters_with_its_step() {
    let scripts = [Say::call("c", "roll", r#"{"n": 6}"#), Say::answer("four")];
    let (world, bench) = world(scripts).await;
    let agent = agent_with(&world, &["roll"]).await;
    let run = world.send(agent, "roll!").await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    assert_eq!(
        happened(&world),
        ["step started", "tools called", "step ended", "step started", "step ended", "run ended"]
    );
    let job = bench.made.lock().expect("nobody panics with it")[0].clone();
    assert_eq!((job.source.as_str(), job.arguments.as_str()), ("def roll(): ...", r#"{"n":6}"#));
    assert_eq!(job.agent, Some(agent));
    let history = world.history(agent).await;
    assert_eq!(returns(&history), ["roll: roll done"]);
    let returned = &history.iter().find(|it| it.role == Role::Tool).unwrap().tool_returns[0];
    assert_eq!((returned.status, returned.stdout.len()), (ReturnStatus::Success, 1));
    audit(&*world.store);
}

#[tokio::test]
async fn what_the_model_said_is_shown_before_its_tools_are_run() {
    let (world, bench) = world([Say::call("c", "hang", "{}")]).await;
    let agent = agent_with(&world, &["hang"]).await;
    let run = world.send(agent, "go").await;
    let mut follow = world.host.follow(run, 0);
    let shown = in_time(follow.next()).await.unwrap().expect("the run goes on");
    let Output::Message { message, .. } = &shown[0].output else { panic!("{shown:?}") };
    assert_eq!(message.tool_calls[0].name, "hang");
    while bench.names().is_empty() {
        settle().await;
    }
    in_time(world.host.cancel(agent, Some(vec![run]))).await.unwrap();
    assert_eq!(bench.dropped(), ["hang"], "a cancel ends the tool");
    let history = world.history(agent).await;
    assert_eq!(
        returns(&history),
        ["hang: the run was cancelled while this tool was running; it may have taken effect"]
    );
    assert_eq!(happened(&world), ["step started", "tools called", "step ended", "run ended"]);
    audit(&*world.store);
}

#[tokio::test]
async fn an_error_of_a_tool_is_text_for_the_model_and_the_run_goes_on() {
    let (world, _) = world([Say::call("c", "fail", "{}"), Say::answer("sorry")]).await;
    let agent = agent_with(&world, &["fail"]).await;
    let run = world.send(agent, "go").await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    let history = world.history(agent).await;
    assert_eq!(returns(&history), ["fail: Error executing function fail: ValueError: no"]);
}

#[tokio::test]
async fn a_tool_that_vanished_is_told_to_the_model() {
    let (world, bench) = world([Say::call("c", "gone", "{}"), Say::answer("oh")]).await;
    let agent = agent_with(&world, &["gone"]).await;
    let id = world.host.known_tool("gone").unwrap().id;
    in_time(world.host.delete_tool(id)).await.unwrap();
    let run = world.send(agent, "go").await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    assert_eq!(bench.names(), [""; 0]);
    let history = world.history(agent).await;
    assert!(returns(&history)[0].contains("Cannot call gone"), "{:?}", returns(&history));
    audit(&*world.store);
}

#[tokio::test]
async fn only_neighbours_that_may_be_made_side_by_side_are() {
    // The first hangs until both have begun: made one after the other they would never end.
    let calls =
        Say::calls(&[("a", "one_beside", "{}"), ("b", "two_beside", "{}"), ("c", "roll", "{}")]);
    let (world, bench) = world([calls, Say::answer("done")]).await;
    let agent = agent_with(&world, &["one_beside", "two_beside", "roll"]).await;
    let run = world.send(agent, "go").await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    let mut names = bench.names();
    names[..2].sort();
    assert_eq!(names, ["one_beside", "two_beside", "roll"]);
    let returned = happened(&world).into_iter().filter(|it| *it == "tool returned").count();
    assert_eq!(returned, 2, "the step's end tells what the last one returned");
    audit(&*world.store);
}

#[tokio::test]
async fn a_call_that_may_be_made_beside_others_does_not_wait_for_them() {
    let calls = Say::calls(&[("a", "hang_beside", "{}"), ("b", "two_beside", "{}")]);
    let (world, bench) = world([calls]).await;
    let agent = agent_with(&world, &["hang_beside", "two_beside"]).await;
    let run = world.send(agent, "go").await;
    while bench.names().len() < 2 {
        settle().await;
    }
    in_time(world.host.cancel(agent, Some(vec![run]))).await.unwrap();
    assert_eq!(bench.dropped(), ["hang_beside"]);
    audit(&*world.store);
}

/// What an agent does in the sweep: two tools in one answer, then words.
fn two_tools() -> ScriptedModel {
    ScriptedModel::from_fn(|prompt| match prompt.messages.last() {
        Some(last) if last.role == "tool" => Say::answer("Both are done."),
        _ => Say::calls(&[("a", "once", "{}"), ("b", "again", "{}")]),
    })
}

#[tokio::test]
async fn after_a_crash_at_any_write_of_a_step_with_tools_nothing_is_made_twice_that_must_not_be() {
    let mut crashes = 0;
    for moment in [Moment::Before, Moment::After] {
        for nth in 1.. {
            let (disk, bench) = (Disk::default(), Arc::new(Bench::default()));
            let quick = Options { cancel_grace: Duration::from_millis(10), ..with(&bench) };
            let (store, faults) = disk.open();
            let world = World::over(store, two_tools(), quick.clone()).await;
            let agent = agent_with(&world, &["once", "again"]).await;
            faults.fail_append(nth, moment, Failure::Io);
            let sent = world.try_send(agent, "go", nth % 2 == 0).await;
            let whole = match &sent {
                Ok(sent) => in_time(world.host.run_end(sent.run.id)).await.is_ok(),
                Err(_) => false,
            };
            drop(world);
            settle().await;
            let (store, _) = disk.open();
            let world = World::over(store, two_tools(), quick).await;
            // One that was accepted though nobody was told goes on all the same.
            let open = query::open_runs(disk.contents()).expect("the rows are readable");
            for (run, _) in open {
                ended(&world, run).await;
            }
            if let Ok(sent) = sent {
                let status = ended(&world, sent.run.id).await;
                let texts = returns(&world.history(agent).await);
                if status == RunStatus::Ended(EndStatus::Completed) {
                    assert_eq!(texts.len(), 2, "{texts:?}");
                    assert_eq!(texts[1], "again: again done", "it is retried until it returned");
                } else {
                    // What was shown of a step ended it: of the first, before its calls were meant, or of the last.
                    let made = bench.names().len();
                    assert!(texts.len() == 2 || made == 0, "{made} made, at {nth} {moment:?}");
                }
            }
            assert!(bench.keys("once").len() <= 1, "crash at {nth} {moment:?}");
            let mut keys = bench.keys("again");
            keys.dedup();
            assert!(keys.len() <= 1, "every attempt of a call has the same key");
            audit(disk.contents());
            if whole {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes >= 8, "{crashes} crashes swept the step");
}

#[tokio::test]
async fn a_call_of_which_nobody_knows_what_came_is_told_so_and_not_made_again() {
    let (disk, bench) = (Disk::default(), Arc::new(Bench::default()));
    let (store, faults) = disk.open();
    let model = ScriptedModel::new([Say::call("c", "hang", "{}")]);
    let world = World::over(store, model, with(&bench)).await;
    let agent = agent_with(&world, &["hang"]).await;
    let run = world.send(agent, "go").await;
    while bench.names().is_empty() {
        settle().await;
    }
    faults.fail_append(1, Moment::Before, Failure::Io);
    std::mem::forget(world);
    let (store, _) = disk.open();
    let world =
        World::over(store, ScriptedModel::new([Say::answer("I will look.")]), with(&bench)).await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    assert_eq!(bench.names(), ["hang"]);
    let text = returns(&world.history(agent).await).remove(0);
    assert!(text.contains("it is not known whether it took effect"), "{text}");
    audit(disk.contents());
}

#[tokio::test]
async fn without_a_runner_a_call_fails_and_says_why() {
    let scripts = [Say::call("c", "roll", "{}"), Say::answer("a pity")];
    let world = World::new(ScriptedModel::new(scripts)).await;
    let agent = agent_with(&world, &["roll"]).await;
    let run = world.send(agent, "go").await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    assert!(returns(&world.history(agent).await)[0].contains("runs no tools of users"));
}

#[tokio::test]
async fn a_return_is_cut_to_what_its_tool_may_return() {
    let (world, _) = world([Say::call("c", "roll", "{}"), Say::answer("four")]).await;
    let agent = agent_with(&world, &["roll"]).await;
    let short = Tool { return_char_limit: 4, ..tool("roll") };
    let compute = Arc::new(move |_: Option<&Tool>| Ok(Some(short.clone())));
    in_time(world.host.upsert_tool("roll".to_owned(), compute)).await.unwrap();
    let run = world.send(agent, "go").await;
    ended(&world, run).await;
    let text = returns(&world.history(agent).await).remove(0);
    assert!(
        text.starts_with("roll: roll") && text.contains("function output was truncated"),
        "{text}"
    );
}

#[tokio::test]
async fn a_detached_tool_is_not_called() {
    let (world, bench) = world([Say::call("c", "roll", "{}"), Say::answer("no")]).await;
    let agent = agent_with(&world, &["roll"]).await;
    let id = world.host.known_tool("roll").unwrap().id;
    in_time(world.host.change_agent(agent, Change::DetachTool(id))).await.unwrap();
    let sent =
        world.host.send(agent, retold_actors::run::Send::new(vec![message("x")], request(true)));
    let run = in_time(sent).await.unwrap().run.id;
    ended(&world, run).await;
    assert_eq!(bench.names(), [""; 0]);
}
