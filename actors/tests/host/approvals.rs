//! Calls that a person or the client decides: asked for, waited for, answered once, and never in the way for ever.

use std::{sync::Arc, time::Duration};

use retold_actors::{
    ManualClock, Options, Refusal,
    agent::{Change, Patch},
    run::{CancelOutcome, Send},
};
use retold_events::{
    AgentId, JsonText, ReturnStatus, Role, RunId, Timestamp, ToolReturn,
    agent::{ToolRule, ToolRuleKind},
    output::Output,
    run::{ClientTool, Decision, EndStatus, StopReason},
    store::MemoryStore,
};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::row::RunStatus;

use crate::{
    audit::audit,
    calls::{Bench, agent_with, returns, with},
    world::{World, in_time, message, request, settle},
};

pub(crate) async fn world(scripts: impl IntoIterator<Item = Vec<Say>>) -> (World, Arc<Bench>) {
    let bench = Arc::new(Bench::default());
    let store = Arc::new(MemoryStore::new());
    (World::over(store, ScriptedModel::new(scripts), with(&bench)).await, bench)
}

/// An agent that has `roll`, and must ask before it calls it.
pub(crate) async fn asking(world: &World, names: &[&str]) -> AgentId {
    let agent = agent_with(world, names).await;
    add_rule(world, agent, "roll", ToolRuleKind::RequiresApproval).await;
    agent
}

/// Adds a rule to those of an agent.
pub(crate) async fn add_rule(world: &World, agent: AgentId, tool: &str, kind: ToolRuleKind) {
    let rule = ToolRule { tool: tool.to_owned(), kind, prompt_template: None };
    let change = Change::Configure(Box::new(move |state| {
        let mut config = retold_events::agent::Config::clone(&state.config);
        config.tool_rules.push(rule.clone());
        Ok(Patch { config: Some(config), ..Patch::default() })
    }));
    in_time(world.host.change_agent(agent, change)).await.expect("the rule is sound");
}

pub(crate) fn decide(call_id: &str, approve: bool, reason: Option<&str>) -> Decision {
    Decision::Approval { call_id: call_id.to_owned(), approve, reason: reason.map(str::to_owned) }
}

pub(crate) async fn answer(
    world: &World,
    agent: AgentId,
    decisions: Vec<Decision>,
    text: Option<&str>,
) -> Result<RunId, Refusal> {
    let messages = text.map(message).into_iter().collect();
    let send = Send { decisions, ..Send::new(messages, request(false)) };
    in_time(world.host.send(agent, send)).await.map(|sent| sent.run.id)
}

pub(crate) async fn end(world: &World, run: RunId) -> (RunStatus, Option<StopReason>) {
    let run = in_time(world.host.run_end(run)).await.expect("the run is there");
    (run.status, run.stop_reason)
}

pub(crate) const COMPLETED: RunStatus = RunStatus::Ended(EndStatus::Completed);

async fn pending(world: &World, agent: AgentId) -> Option<Vec<String>> {
    let view = in_time(world.host.agent(agent)).await.expect("it is there");
    let asks = view.state.thread().pending()?;
    Some(asks.tool_calls.iter().map(|call| call.id.clone()).collect())
}

#[tokio::test]
async fn a_call_that_needs_a_person_waits_and_is_made_once_it_is_approved() {
    let calls = Say::calls(&[("a", "plain", "{}"), ("b", "roll", "{}")]);
    let (world, bench) = world([calls, Say::answer("four")]).await;
    let agent = asking(&world, &["plain", "roll"]).await;
    let run = world.send(agent, "roll!").await;
    assert_eq!(end(&world, run).await, (COMPLETED, Some(StopReason::RequiresApproval)));
    assert_eq!(bench.names(), [""; 0], "calls that need nobody wait for the others");
    assert_eq!(pending(&world, agent).await.unwrap(), ["b"]);
    let shown = world.items(run, 0).await;
    let roles: Vec<Role> = shown
        .iter()
        .filter_map(|item| match &item.output {
            Output::Message { message, .. } => Some(message.role),
            Output::Delta { .. } | Output::Compacted { .. } | Output::End { .. } => None,
        })
        .collect();
    assert_eq!(roles, [Role::Assistant, Role::Approval]);

    let run = answer(&world, agent, vec![decide("b", true, None)], None).await.unwrap();
    assert_eq!(end(&world, run).await, (COMPLETED, Some(StopReason::EndTurn)));
    assert_eq!(bench.names(), ["plain", "roll"]);
    assert_eq!(pending(&world, agent).await, None);
    let history = world.history(agent).await;
    assert_eq!(returns(&history), ["plain: plain done", "roll: roll done"]);
    let asked = history.iter().find(|it| it.role == Role::Approval).unwrap();
    let returned = history.iter().find(|it| it.role == Role::Tool).unwrap();
    assert_eq!(asked.step, returned.step, "the returns are of the step that asked");
    assert!(history.windows(2).all(|pair| pair[0].id < pair[1].id));
    let prompt = world.model.prompts().pop().unwrap();
    let roles: Vec<&str> = prompt.messages.iter().map(|it| it.role).collect();
    assert_eq!(roles[roles.len() - 4..], ["user", "assistant", "tool", "tool"]);
    audit(&*world.store);
}

#[tokio::test]
async fn a_denied_call_is_not_made_and_the_model_learns_why() {
    let (world, bench) = world([Say::call("c", "roll", "{}"), Say::answer("fine")]).await;
    let agent = asking(&world, &["roll"]).await;
    let run = world.send(agent, "roll!").await;
    end(&world, run).await;
    let no = vec![decide("c", false, Some("not on Sundays"))];
    let run = answer(&world, agent, no, Some("Do something else.")).await.unwrap();
    assert_eq!(end(&world, run).await.0, COMPLETED);
    assert_eq!(bench.names(), [""; 0]);
    let history = world.history(agent).await;
    assert_eq!(
        returns(&history),
        ["roll: Error: request to call tool denied. User reason: not on Sundays"]
    );
    let roles: Vec<Role> = history.iter().skip(2).map(|it| it.role).collect();
    assert_eq!(roles, [Role::Approval, Role::Tool, Role::User, Role::Assistant]);
    audit(&*world.store);
}

#[tokio::test]
async fn while_a_call_waits_messages_are_refused_and_answers_have_to_fit() {
    let (world, bench) = world([Say::call("c", "roll", "{}"), Say::answer("fine")]).await;
    let agent = asking(&world, &["roll"]).await;
    let none = answer(&world, agent, vec![decide("c", true, None)], None).await;
    assert!(
        matches!(none, Err(Refusal::Invalid(says)) if says.contains("No tool call is currently awaiting"))
    );
    let run = world.send(agent, "roll!").await;
    end(&world, run).await;
    let refused = world.try_send(agent, "hello?", false).await.unwrap_err();
    assert!(matches!(refused, Refusal::PendingApproval { .. }), "{refused}");
    assert_eq!(refused.to_string(), "Please approve or deny the pending request before continuing");
    for wrong in
        [vec![decide("x", true, None)], vec![decide("c", true, None), decide("x", true, None)]]
    {
        let refused = answer(&world, agent, wrong, None).await.unwrap_err().to_string();
        assert!(refused.starts_with("Invalid tool call IDs. Expected"), "{refused}");
    }
    assert_eq!(pending(&world, agent).await.unwrap(), ["c"], "nothing of it was lost");
    let asks = world.history(agent).await.pop().unwrap().id.to_string();
    let run = answer(&world, agent, vec![decide(&asks, true, None)], None).await.unwrap();
    assert_eq!(end(&world, run).await.0, COMPLETED);
    assert_eq!(bench.names(), ["roll"], "the message that asks names all of its calls");
    audit(&*world.store);
}

#[tokio::test]
async fn an_answer_that_comes_twice_makes_nothing_twice() {
    let scripts = [Say::call("c", "roll", "{}"), Say::answer("four"), Say::answer("as I said")];
    let (world, bench) = world(scripts).await;
    let agent = asking(&world, &["roll"]).await;
    let run = world.send(agent, "roll!").await;
    end(&world, run).await;
    for _ in 0..2 {
        let run = answer(&world, agent, vec![decide("c", true, None)], None).await.unwrap();
        assert_eq!(end(&world, run).await.0, COMPLETED);
    }
    assert_eq!(bench.names(), ["roll"]);
    audit(&*world.store);
}

#[tokio::test]
async fn a_cancel_of_what_waits_denies_it_and_frees_the_agent() {
    let (world, bench) = world([Say::call("c", "roll", "{}"), Say::answer("well")]).await;
    let agent = asking(&world, &["roll"]).await;
    let run = world.send(agent, "roll!").await;
    end(&world, run).await;
    let outcomes = in_time(world.host.cancel(agent, None)).await.unwrap();
    assert_eq!(outcomes, [(run, CancelOutcome::Cancelled)], "it is told what was cancelled");
    assert_eq!(pending(&world, agent).await, None);
    let run = world.send(agent, "never mind").await;
    assert_eq!(end(&world, run).await.0, COMPLETED);
    assert_eq!(bench.names(), [""; 0]);
    assert_eq!(
        returns(&world.history(agent).await),
        ["roll: Error: request to call tool denied. User reason: the request was cancelled"]
    );
    audit(&*world.store);
}

/// The run that approves the call `b`, once a call of it is being made.
async fn approved(world: &World, bench: &Bench, agent: AgentId) -> RunId {
    let run = answer(world, agent, vec![decide("b", true, None)], None)
        .await
        .expect("it fits what waits");
    while bench.names().is_empty() {
        settle().await;
    }
    run
}

#[tokio::test]
async fn a_cancel_while_an_approved_call_is_made_ends_it_and_closes_it() {
    let (world, bench) = world([Say::calls(&[("a", "hang", "{}"), ("b", "roll", "{}")])]).await;
    let agent = asking(&world, &["hang", "roll"]).await;
    let run = world.send(agent, "go").await;
    end(&world, run).await;
    let run = approved(&world, &bench, agent).await;
    in_time(world.host.cancel(agent, Some(vec![run]))).await.unwrap();
    assert_eq!(bench.names(), ["hang"]);
    assert_eq!(pending(&world, agent).await, None);
    assert_eq!(returns(&world.history(agent).await).len(), 2);
    audit(&*world.store);
}

#[tokio::test]
async fn a_cancel_that_names_the_run_which_asked_takes_nothing_from_the_one_that_answers() {
    let (world, bench) = world([Say::calls(&[("a", "hang", "{}"), ("b", "roll", "{}")])]).await;
    let agent = asking(&world, &["hang", "roll"]).await;
    let asker = world.send(agent, "go").await;
    end(&world, asker).await;
    let run = approved(&world, &bench, agent).await;
    in_time(world.host.cancel(agent, Some(vec![asker]))).await.unwrap();
    assert_eq!(pending(&world, agent).await.unwrap(), ["b"], "its calls are being made");
    in_time(world.host.cancel(agent, Some(vec![run]))).await.unwrap();
    let texts = returns(&world.history(agent).await);
    assert!(texts[0].contains("it may have taken effect"), "{texts:?}");
    audit(&*world.store);
}

#[tokio::test]
async fn a_message_that_is_cancelled_behind_an_answer_does_not_come_between_calls_and_returns() {
    let (world, bench) = world([Say::call("b", "hang", "{}")]).await;
    let agent = agent_with(&world, &["hang"]).await;
    add_rule(&world, agent, "hang", ToolRuleKind::RequiresApproval).await;
    end(&world, world.send(agent, "go").await).await;
    let run = approved(&world, &bench, agent).await;
    let waits = world.send(agent, "and then?").await;
    in_time(world.host.cancel(agent, Some(vec![waits]))).await.unwrap();
    in_time(world.host.cancel(agent, Some(vec![run]))).await.unwrap();
    assert_eq!(returns(&world.history(agent).await).len(), 1);
    audit(&*world.store);
}

#[tokio::test]
async fn what_nobody_answers_in_time_counts_as_denied() {
    let at = |seconds: i64| Timestamp::from_micros((1_764_000_000 + seconds) * 1_000_000);
    let clock = Arc::new(ManualClock::at(at(0)));
    let bench = Arc::new(Bench::default());
    let options = Options {
        clock: Arc::clone(&clock) as Arc<_>,
        approval_timeout: Duration::from_secs(60),
        ..with(&bench)
    };
    let scripts = [Say::call("c", "roll", "{}"), Say::answer("well")];
    let world =
        World::over(Arc::new(MemoryStore::new()), ScriptedModel::new(scripts), options).await;
    let agent = asking(&world, &["roll"]).await;
    let run = world.send(agent, "roll!").await;
    end(&world, run).await;
    clock.set(at(59));
    assert!(world.try_send(agent, "hello?", false).await.is_err());
    clock.set(at(60));
    let late = answer(&world, agent, vec![decide("c", true, None)], None).await;
    assert!(late.is_err(), "it is no longer awaited");
    let run = world.send(agent, "hello?").await;
    assert_eq!(end(&world, run).await.0, COMPLETED);
    assert_eq!(
        returns(&world.history(agent).await),
        ["roll: Error: request to call tool denied. User reason: nobody answered in time"]
    );
    audit(&*world.store);
}

#[tokio::test]
async fn what_waits_for_too_long_is_denied_though_nobody_comes_and_its_agent_sleeps() {
    let at = |seconds: i64| Timestamp::from_micros((1_764_000_000 + seconds) * 1_000_000);
    let clock = Arc::new(ManualClock::at(at(0)));
    let bench = Arc::new(Bench::default());
    let options = Options {
        clock: Arc::clone(&clock) as Arc<_>,
        approval_timeout: Duration::from_secs(60),
        awake_bytes: 0,
        ..with(&bench)
    };
    let model = ScriptedModel::new([Say::call("c", "roll", "{}")]);
    let world = World::over(Arc::new(MemoryStore::new()), model, options).await;
    let agent = asking(&world, &["roll"]).await;
    let run = world.send(agent, "roll!").await;
    end(&world, run).await;
    world.sleep(0).await;
    clock.set(at(59));
    half_a_minute().await;
    settle().await;
    assert!(pending(&world, agent).await.is_some(), "there is still time");
    world.sleep(0).await;
    clock.set(at(60));
    half_a_minute().await;
    while pending(&world, agent).await.is_some() {
        settle().await;
    }
    assert_eq!(
        returns(&world.history(agent).await),
        ["roll: Error: request to call tool denied. User reason: nobody answered in time"]
    );
    audit(&*world.store);
}

/// Time passes; what has to read the store for real does so.
async fn half_a_minute() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn what_waits_outlives_the_process() {
    let (first, _) = world([Say::call("c", "roll", "{}")]).await;
    let agent = asking(&first, &["roll"]).await;
    let run = first.send(agent, "roll!").await;
    end(&first, run).await;
    let store = Arc::clone(&first.store);
    std::mem::forget(first);
    let bench = Arc::new(Bench::default());
    let world = World::over(store, ScriptedModel::new([Say::answer("four")]), with(&bench)).await;
    assert_eq!(pending(&world, agent).await.unwrap(), ["c"]);
    let run = answer(&world, agent, vec![decide("c", true, None)], None).await.unwrap();
    assert_eq!(end(&world, run).await.0, COMPLETED);
    assert_eq!(bench.names(), ["roll"]);
    audit(&*world.store);
}

#[tokio::test]
async fn a_message_that_waited_behind_a_run_which_asks_fails_and_says_why() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let mut script = vec![Say::Until(Arc::clone(&gate))];
    script.extend(Say::call("c", "roll", "{}"));
    let (world, _) = world([script, Say::answer("four")]).await;
    let agent = asking(&world, &["roll"]).await;
    let run = world.send(agent, "roll!").await;
    let queued = world.send(agent, "and?").await;
    gate.notify_one();
    end(&world, run).await;
    let queued = in_time(world.host.run_end(queued)).await.unwrap();
    assert_eq!(queued.error.unwrap().error_type, "pending_approval");
    assert_eq!(pending(&world, agent).await.unwrap(), ["c"]);
    audit(&*world.store);
}

fn client_tool(name: &str) -> ClientTool {
    ClientTool {
        name: name.to_owned(),
        description: "Looks.".to_owned(),
        parameters: JsonText::new(r#"{"type":"object","properties":{}}"#),
    }
}

#[tokio::test]
async fn a_tool_of_the_client_hides_the_servers_and_is_made_by_the_client() {
    let (world, bench) = world([Say::call("c", "roll", "{}"), Say::answer("six")]).await;
    let agent = agent_with(&world, &["roll"]).await;
    let send = |messages, decisions| Send {
        decisions,
        client_tools: vec![client_tool("roll")],
        ..Send::new(messages, request(true))
    };
    let sent = in_time(world.host.send(agent, send(vec![message("roll!")], Vec::new()))).await;
    let run = sent.unwrap().run.id;
    assert_eq!(end(&world, run).await.1, Some(StopReason::RequiresApproval));
    let offered = &world.model.prompts()[0].tools;
    assert_eq!(offered.iter().filter(|name| *name == "roll").count(), 1);
    let returned = ToolReturn {
        call_id: "c".to_owned(),
        name: String::new(),
        status: ReturnStatus::Success,
        content: "6".to_owned(),
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    let sent =
        in_time(world.host.send(agent, send(vec![], vec![Decision::Returned(returned)]))).await;
    assert_eq!(end(&world, sent.unwrap().run.id).await.0, COMPLETED);
    assert_eq!(bench.names(), [""; 0]);
    assert_eq!(returns(&world.history(agent).await), ["roll: 6"]);
    audit(&*world.store);
}
