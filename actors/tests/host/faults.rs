//! Storage that fails, and storage that is slow: what is told is there, and what is not there is not told.

use std::{sync::Arc, time::Duration};

use retold_actors::{Options, Refusal, run::CancelOutcome};
use retold_events::{
    AgentId, BlockId, Message, Role, RunId,
    agent::AgentType,
    output::{Item, Output},
    run::EndStatus,
    store::{Failure, Faults, Moment},
};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::row::RunStatus;

use crate::{
    audit::{audit, check_calls, output},
    world::{Disk, World, in_time, new_agent, set, settle, text_of},
};

const INSERT: &str = r#"{"label":"human","new_string":"Name: Ada"}"#;

/// Notes a name with a tool, and answers whatever else is said, when it is not told to hang.
fn model() -> ScriptedModel {
    answering("")
}

/// The same, with an answer for who would hang in another life.
pub(crate) fn answering(after_all: &'static str) -> ScriptedModel {
    ScriptedModel::from_fn(move |prompt| match prompt.messages.last() {
        Some(last) if last.role == "tool" => Say::answer("I noted it"),
        Some(last) if last.text == "I am Ada" => Say::call("c", "memory_insert", INSERT),
        Some(last) if last.text == "hang" && after_all.is_empty() => {
            vec![Say::text("Once upon "), Say::Hang]
        }
        Some(last) if last.text == "hang" => Say::answer(after_all),
        _ => Say::answer("fine"),
    })
}

/// A turn that cannot end because the log failed is not waited for.
pub(crate) fn quick() -> Options {
    Options { cancel_grace: Duration::from_millis(10), ..Options::default() }
}

/// What a client was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) agent: Option<AgentId>,
    human: Option<BlockId>,
    persona: Option<(BlockId, &'static str)>,
    pub(crate) runs: Vec<RunId>,
    ended: Vec<(RunId, EndStatus)>,
    seen: Vec<(RunId, Vec<Item>)>,
}

impl Told {
    /// Follows a run, keeping what is seen, until it ends or shows `text`.
    async fn follow(&mut self, world: &World, run: RunId, text: &str) -> Result<(), Refusal> {
        let mut follow = world.host.follow(run, 0);
        self.seen.push((run, Vec::new()));
        while let Some(items) = in_time(follow.next()).await? {
            let (_, seen) = self.seen.last_mut().expect("it was pushed above");
            seen.extend(items.iter().cloned());
            if let Some(Output::End { status, .. }) = seen.last().map(|item| &item.output) {
                self.ended.push((run, *status));
            }
            if text_of(seen) == text {
                break;
            }
        }
        Ok(())
    }
}

/// Everything an agent does: made, edited, a step with a tool, tokens, a queue, a cancel.
async fn scenario(world: &World, told: &mut Told) -> Result<(), Refusal> {
    let host = &world.host;
    let view = in_time(host.create_agent(new_agent(AgentType::LettaV1))).await?;
    let (agent, persona) = (view.state.id, view.blocks[1].id);
    (told.agent, told.human) = (Some(agent), Some(view.blocks[0].id));
    in_time(host.edit_block(persona, set("A pirate."))).await?;
    told.persona = Some((persona, "A pirate."));
    let noted = in_time(world.try_send(agent, "I am Ada", true)).await?.run.id;
    told.runs.push(noted);
    told.follow(world, noted, "never said").await?;
    let hanging = in_time(world.try_send(agent, "hang", true)).await?.run.id;
    told.runs.push(hanging);
    told.follow(world, hanging, "Once upon ").await?;
    let waiting = in_time(world.try_send(agent, "hello", false)).await?.run.id;
    told.runs.push(waiting);
    for (run, outcome) in in_time(host.cancel(agent, Some(vec![hanging]))).await? {
        assert_eq!((run, outcome), (hanging, CancelOutcome::Cancelled));
        told.ended.push((run, EndStatus::Cancelled));
    }
    told.follow(world, waiting, "never said").await
}

/// Lets the scenario fail at every append of it, before and after the write, one after the other.
pub(crate) async fn at_every_append(then: impl AsyncFn(String, World, Faults, Disk, Told)) {
    for moment in [Moment::Before, Moment::After] {
        let mut survived = 0;
        for append in 1.. {
            let disk = Disk::default();
            let (store, faults) = disk.open();
            let world = World::over(store, model(), quick()).await;
            faults.fail_append(append, moment, Failure::Io);
            let mut told = Told::default();
            let result = scenario(&world, &mut told).await;
            if result.is_ok() && world.host.log().failure().is_none() {
                assert!(append > 8, "the scenario writes more than {append} times");
                survived += 1;
            } else {
                then(format!("{moment:?} append {append}"), world, faults, disk, told).await;
            }
            // How writes are grouped varies a little, so one that came through may have been lucky.
            if survived == 2 {
                break;
            }
        }
    }
}

/// All that was told is there.
pub(crate) async fn check_told(at: &str, world: &World, disk: &Disk, told: &Told) {
    let contents = disk.contents();
    for &run in &told.runs {
        world.host.run(run).await.unwrap_or_else(|error| panic!("{at}: lost {run}: {error}"));
    }
    for &(run, status) in &told.ended {
        let row = world.host.run(run).await.expect("checked above");
        assert_eq!(row.status, RunStatus::Ended(status), "{at}");
    }
    for (run, seen) in &told.seen {
        let there = output(contents, *run);
        assert_eq!(there[..seen.len()], seen[..], "{at}: what was seen of {run} is there");
    }
    let Some(agent) = told.agent else { return };
    let view = world.host.agent(agent).await.expect("the agent was told of");
    if let Some((id, value)) = told.persona {
        let block = view.blocks.iter().find(|block| block.id == id).expect("it has the block");
        assert_eq!(block.state.block.value, value, "{at}");
    }
}

#[tokio::test]
async fn nothing_is_told_that_a_failing_store_does_not_hold() {
    at_every_append(async |at, world, faults, disk, told| {
        let host = &world.host;
        in_time(host.log().failed()).await;
        let appends = faults.appends();
        // Whatever is asked from now on is refused, and nothing is written.
        assert!(in_time(host.create_agent(new_agent(AgentType::LettaV1))).await.is_err(), "{at}");
        if let Some((agent, block)) = told.agent.zip(told.human) {
            assert!(in_time(world.try_send(agent, "hello", false)).await.is_err(), "{at}");
            assert!(in_time(host.edit_block(block, set("anew"))).await.is_err(), "{at}");
            assert!(in_time(host.recompile(agent, true, false)).await.is_err(), "{at}");
            assert!(in_time(host.cancel(agent, None)).await.is_err(), "{at}");
            assert!(in_time(host.delete_agent(agent)).await.is_err(), "{at}");
        }
        assert_eq!(faults.appends(), appends, "{at}: the store is not written to again");
        let (store, _faults) = disk.open();
        let second = World::over(store, model(), Options::default()).await;
        check_told(&at, &second, &disk, &told).await;
    })
    .await;
}

#[tokio::test]
async fn whoever_follows_a_run_when_the_store_fails_is_told() {
    let disk = Disk::default();
    let (store, faults) = disk.open();
    let world = World::over(store, model(), Options::default()).await;
    let agent = world.agent().await;
    let run = world.stream(agent, "hang").await;
    let mut told = Told::default();
    told.follow(&world, run, "Once upon ").await.unwrap();
    let (mut live, host) = (world.host.follow(run, 1), world.host.clone());
    let ending = tokio::spawn(async move { host.run_end(run).await });
    settle().await;
    faults.fail_append(1, Moment::Before, Failure::Io);
    world.host.create_agent(new_agent(AgentType::LettaV1)).await.unwrap_err();
    let refusal = in_time(live.next()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Storage(_)), "{refusal:?}");
    assert!(in_time(ending).await.unwrap().is_err());
    let mut late = world.host.follow(run, 0);
    in_time(async { while late.next().await.is_ok() {} }).await;
}

#[tokio::test]
async fn after_a_crash_at_any_write_of_a_turn_its_history_is_whole_and_it_goes_on() {
    at_every_append(async |at, world, _faults, disk, told| {
        drop(world);
        let open: Vec<RunId> = audit(disk.contents())
            .values()
            .flat_map(|state| state.open_runs.keys().copied())
            .collect();
        let (store, _faults) = disk.open();
        let second = World::over(store, answering("the end"), Options::default()).await;
        for run in told.runs.iter().chain(&open) {
            let row = in_time(second.host.run_end(*run)).await.expect("it ends");
            assert!(matches!(row.status, RunStatus::Ended(_)), "{at}: {run} is {:?}", row.status);
        }
        check_told(&at, &second, &disk, &told).await;
        let Some(agent) = told.agent else { return };
        let history = second.history(agent).await;
        check_calls(&history.iter().collect::<Vec<_>>());
        for (run, _) in told.seen.iter().take(2) {
            let of_run = history.iter().filter(|message| message.run == Some(*run));
            let said: String = of_run
                .filter(|message| message.role == Role::Assistant)
                .map(Message::text)
                .collect();
            let shown = text_of(&output(disk.contents(), *run));
            assert_eq!(said, shown, "{at}: what was shown of {run} is what is kept");
        }
        // A tool's edit and its return are one: neither without the other, nor twice.
        let view = second.host.agent(agent).await.expect("it is there");
        let noted = view.blocks[0].state.block.value.matches("Ada").count();
        let returns = history.iter().flat_map(|message| &message.tool_returns).count();
        assert!(noted == returns && noted <= 1, "{at}: {noted} edits, {returns} returns");
        let next = second.send(agent, "hello").await;
        let row = in_time(second.host.run_end(next)).await.expect("it ends");
        assert_eq!(row.status, RunStatus::Ended(EndStatus::Completed), "{at}: {:?}", row.error);
        audit(disk.contents());
    })
    .await;
}

#[tokio::test]
async fn before_the_store_has_it_nobody_hears_of_it() {
    for moment in [Moment::Before, Moment::After] {
        let disk = Disk::default();
        let (store, faults) = disk.open();
        let world = Arc::new(World::over(store, model(), Options::default()).await);
        let agent = world.agent().await;
        let view = world.host.agent(agent).await.unwrap();
        let block = view.blocks[1].id;
        let done = world.send(agent, "hello").await;
        world.host.run_end(done).await.unwrap();

        let hold = faults.hold(moment);
        let mut waiting = Vec::new();
        let mut ask = |what: &'static str, asked: tokio::task::JoinHandle<()>| {
            waiting.push((what, asked));
        };
        let host = || world.host.clone();
        let sender = Arc::clone(&world);
        ask(
            "a send",
            tokio::spawn(async move {
                let _ = sender.send(agent, "hello").await;
            }),
        );
        in_time(hold.reached()).await;
        // All of these would show the run that is being written, or come after it.
        let asked = host();
        ask("the agent", tokio::spawn(async move { drop(asked.agent(agent).await.unwrap()) }));
        let asked = host();
        ask("a run", tokio::spawn(async move { drop(asked.run(done).await.unwrap()) }));
        let reader = Arc::clone(&world);
        ask("a list", tokio::spawn(async move { drop(reader.history(agent).await) }));
        let asked = host();
        ask(
            "an edit",
            tokio::spawn(async move { drop(asked.edit_block(block, set("x")).await.unwrap()) }),
        );
        let asked = host();
        ask(
            "a new agent",
            tokio::spawn(async move {
                drop(asked.create_agent(new_agent(AgentType::LettaV1)).await.unwrap());
            }),
        );
        settle().await;
        let asked = host();
        ask(
            "an edited block",
            tokio::spawn(async move { drop(asked.block(block).await.unwrap()) }),
        );
        let asked = host();
        ask(
            "a cancel",
            tokio::spawn(async move { drop(asked.cancel(agent, None).await.unwrap()) }),
        );
        settle().await;
        for (what, asked) in &waiting {
            assert!(!asked.is_finished(), "{moment:?}: {what} was answered too early");
        }
        assert_eq!(world.model.prompts().len(), 1, "no model hears of it either");
        drop(hold);
        for (_, asked) in waiting {
            in_time(asked).await.unwrap();
        }
        audit(disk.contents());
    }
}

#[tokio::test]
async fn before_the_store_has_it_no_subscriber_sees_it() {
    for moment in [Moment::Before, Moment::After] {
        let disk = Disk::default();
        let (store, faults) = disk.open();
        let gate = Arc::new(tokio::sync::Notify::new());
        let script =
            vec![Say::text("one "), Say::Until(Arc::clone(&gate)), Say::text("two"), Say::Hang];
        let world =
            Arc::new(World::over(store, ScriptedModel::new([script]), Options::default()).await);
        let agent = world.agent().await;
        let run = world.stream(agent, "count").await;
        let mut told = Told::default();
        told.follow(&world, run, "one ").await.unwrap();
        let hold = faults.hold(moment);
        gate.notify_one();
        in_time(hold.reached()).await;
        let next = |after| {
            let mut follow = world.host.follow(run, after);
            tokio::spawn(async move { follow.next().await.unwrap().unwrap() })
        };
        let (live, late) = (next(1), next(1));
        settle().await;
        assert!(!live.is_finished() && !late.is_finished(), "{moment:?}: seen too early");
        drop(hold);
        for seen in [live, late] {
            assert_eq!(text_of(&in_time(seen).await.unwrap()), "two");
        }
    }
}

#[tokio::test]
async fn after_closing_nothing_is_acknowledged() {
    let disk = Disk::default();
    let (store, _faults) = disk.open();
    let world = World::over(store, model(), Options::default()).await;
    let agent = world.agent().await;
    let block = world.host.agent(agent).await.unwrap().blocks[0].id;
    in_time(world.host.close()).await;
    assert!(in_time(world.try_send(agent, "hello", false)).await.is_err());
    assert!(in_time(world.host.edit_block(block, set("anew"))).await.is_err());
    assert!(in_time(world.host.create_agent(new_agent(AgentType::LettaV1))).await.is_err());
    assert!(in_time(world.host.recompile(agent, true, false)).await.is_err());
}
