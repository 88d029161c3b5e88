//! After an answer to calls that waited: repeats of it, the rules, and the steps that are left.

use std::sync::Arc;

use retold_actors::run::Send;
use retold_events::{
    AgentId, RunId,
    agent::ToolRuleKind,
    run::{Request, StopReason},
};
use retold_models::testing::Say;
use tokio::sync::Notify;

use crate::{
    approvals::{COMPLETED, add_rule, answer, asking, decide, end, world},
    audit::audit,
    calls::returns,
    world::{World, in_time, request, settle},
};

/// A run that has asked to call `roll`.
async fn asked(world: &World, agent: AgentId) -> RunId {
    let run = world.send(agent, "roll!").await;
    assert_eq!(end(world, run).await, (COMPLETED, Some(StopReason::RequiresApproval)));
    run
}

#[tokio::test]
async fn an_answer_that_names_the_message_may_come_twice_too() {
    let scripts = [Say::call("c", "roll", "{}"), Say::answer("four"), Say::answer("as I said")];
    let (world, bench) = world(scripts).await;
    let agent = asking(&world, &["roll"]).await;
    asked(&world, agent).await;
    let asks = world.history(agent).await.pop().unwrap().id.to_string();
    for _ in 0..2 {
        let run = answer(&world, agent, vec![decide(&asks, true, None)], None).await.unwrap();
        assert_eq!(end(&world, run).await.0, COMPLETED);
    }
    assert_eq!(bench.names(), ["roll"]);
    audit(&*world.store);
}

#[tokio::test]
async fn an_answer_repeated_while_the_first_is_worked_on_gives_the_model_something_to_answer() {
    let gate = Arc::new(Notify::new());
    let mut held = vec![Say::Until(Arc::clone(&gate))];
    held.extend(Say::answer("four"));
    let (world, bench) =
        world([Say::call("c", "roll", "{}"), held, Say::answer("as I said")]).await;
    let agent = asking(&world, &["roll"]).await;
    asked(&world, agent).await;
    let yes = || vec![decide("c", true, None)];
    let first = answer(&world, agent, yes(), None).await.unwrap();
    let second = answer(&world, agent, yes(), None).await.unwrap();
    assert_ne!(first, second);
    gate.notify_one();
    for run in [first, second] {
        assert_eq!(end(&world, run).await.0, COMPLETED);
    }
    assert_eq!(bench.names(), ["roll"]);
    let prompt = world.model.prompts().pop().unwrap();
    assert_eq!(prompt.messages.last().unwrap().role, "user");
    audit(&*world.store);
}

#[tokio::test]
async fn a_call_that_was_approved_is_one_of_its_run_for_the_rules() {
    let scripts = [
        Say::call("c", "roll", "{}"),
        Say::call("d", "roll", "{}"),
        Say::answer("I have rolled it once."),
    ];
    let (world, bench) = world(scripts).await;
    let agent = asking(&world, &["roll"]).await;
    add_rule(&world, agent, "roll", ToolRuleKind::RequiredBeforeExit).await;
    add_rule(&world, agent, "roll", ToolRuleKind::MaxCount { limit: 1 }).await;
    asked(&world, agent).await;
    let run = answer(&world, agent, vec![decide("c", true, None)], None).await.unwrap();
    assert_eq!(end(&world, run).await, (COMPLETED, Some(StopReason::EndTurn)));
    assert_eq!(bench.names(), ["roll"]);
    audit(&*world.store);
}

#[tokio::test]
async fn a_call_that_was_denied_is_none_for_the_rules() {
    let scripts =
        [Say::call("c", "roll", "{}"), Say::answer("Then not."), Say::call("d", "roll", "{}")];
    let (world, _) = world(scripts).await;
    let agent = asking(&world, &["roll"]).await;
    add_rule(&world, agent, "roll", ToolRuleKind::RequiredBeforeExit).await;
    asked(&world, agent).await;
    let run = answer(&world, agent, vec![decide("c", false, None)], None).await.unwrap();
    assert_eq!(end(&world, run).await, (COMPLETED, Some(StopReason::RequiresApproval)));
    audit(&*world.store);
}

#[tokio::test]
async fn to_make_what_was_approved_takes_one_of_the_steps() {
    for (max_steps, stop, prompts) in [(1, StopReason::MaxSteps, 1), (2, StopReason::EndTurn, 2)] {
        let scripts = [Say::call("c", "roll", "{}"), Say::answer("four"), Say::answer("well")];
        let (world, bench) = world(scripts).await;
        let agent = asking(&world, &["roll"]).await;
        asked(&world, agent).await;
        let decisions = vec![decide("c", true, None)];
        let request = Request { max_steps, ..request(false) };
        let send = Send { decisions, ..Send::new(Vec::new(), request) };
        let run = in_time(world.host.send(agent, send)).await.unwrap().run.id;
        assert_eq!(end(&world, run).await, (COMPLETED, Some(stop)));
        assert_eq!((bench.names().len(), world.model.prompts().len()), (1, prompts));
        let next = world.send(agent, "well?").await;
        assert_eq!(end(&world, next).await.0, COMPLETED, "the agent goes on");
        audit(&*world.store);
    }
}

#[tokio::test]
async fn a_message_that_is_cancelled_behind_an_answer_takes_nothing_from_it() {
    let calls = Say::calls(&[("a", "hang", "{}"), ("b", "roll", "{}")]);
    let (world, bench) = world([calls, Say::answer("well")]).await;
    let agent = asking(&world, &["hang", "roll"]).await;
    asked(&world, agent).await;
    let run = answer(&world, agent, vec![decide("b", true, None)], None).await.unwrap();
    while bench.names().is_empty() {
        settle().await;
    }
    let queued = world.send(agent, "and another thing").await;
    in_time(world.host.cancel(agent, Some(vec![queued]))).await.unwrap();
    in_time(world.host.cancel(agent, Some(vec![run]))).await.unwrap();
    let texts = returns(&world.history(agent).await);
    assert_eq!(texts.len(), 2, "{texts:?}");
    let next = world.send(agent, "hello?").await;
    assert_eq!(end(&world, next).await.0, COMPLETED);
    audit(&*world.store);
}
