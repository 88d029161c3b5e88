//! Cancel: at any instant, once, at once, and nothing that was seen is lost.

use std::{sync::Arc, time::Duration};

use retold_actors::{Options, run::CancelOutcome};
use retold_events::{
    Role,
    output::Output,
    run::{EndStatus, StopReason},
    store::MemoryStore,
};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::row::RunStatus;

use crate::world::{World, text_of};

#[tokio::test]
async fn before_the_first_token_the_socket_is_dropped_and_the_input_kept() {
    let world = World::new(ScriptedModel::new([vec![Say::Hang], Say::answer("next")])).await;
    let agent = world.agent().await;
    let run = world.stream(agent, "Hi").await;
    world.model.called(1).await;
    assert_eq!(world.host.cancel(agent, None).await.unwrap(), [(run, CancelOutcome::Cancelled)]);
    world.model.cancelled(1).await;
    let row = world.host.run(run).await.unwrap();
    assert_eq!(
        (row.status, row.stop_reason),
        (RunStatus::Ended(EndStatus::Cancelled), Some(StopReason::Cancelled))
    );
    assert_eq!(world.said(agent).await, [(Role::User, "Hi".to_owned())]);
    let next = world.host.run_end(world.send(agent, "again").await).await.unwrap();
    assert_eq!(next.status, RunStatus::Ended(EndStatus::Completed));
}

#[tokio::test]
async fn in_mid_token_with_a_silent_provider_the_partial_text_is_kept_and_marked() {
    let script = vec![Say::text("The answer "), Say::text("is"), Say::Hang];
    let world = World::new(ScriptedModel::new([script, Say::answer("42")])).await;
    let agent = world.agent().await;
    let run = world.stream(agent, "What?").await;
    let mut follow = world.host.follow(run, 0);
    let mut seen = Vec::new();
    while text_of(&seen) != "The answer is" {
        seen.extend(follow.next().await.unwrap().unwrap().iter().cloned());
    }
    world.host.cancel(agent, Some(vec![run])).await.unwrap();
    world.model.cancelled(1).await;
    let rest = follow.next().await.unwrap().unwrap();
    assert!(matches!(&rest[0].output, Output::End { status: EndStatus::Cancelled, .. }));
    assert!(follow.next().await.unwrap().is_none(), "one end, and nothing after it");
    let history = world.history(agent).await;
    let partial = history.last().unwrap();
    assert_eq!((partial.text().as_str(), partial.interrupted), ("The answer is", true));
    world.host.run_end(world.send(agent, "again").await).await.unwrap();
    let prompt = world.model.prompts().pop().unwrap();
    let roles: Vec<_> = prompt.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
}

#[tokio::test]
async fn without_streaming_too_the_partial_text_is_kept() {
    let world = World::new(ScriptedModel::new([vec![Say::text("half"), Say::Hang]])).await;
    let agent = world.agent().await;
    let run = world.send(agent, "Hi").await;
    world.model.called(1).await;
    // The model has said "half" once the turn polls it again; give it that chance.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    world.host.cancel(agent, None).await.unwrap();
    let items = world.items(run, 0).await;
    assert!(matches!(
        items.last().unwrap().output,
        Output::End { status: EndStatus::Cancelled, .. }
    ));
    assert_eq!(world.history(agent).await.last().unwrap().text(), "half");
}

#[tokio::test]
async fn while_queued_the_run_never_starts() {
    let world = World::new(ScriptedModel::new([vec![Say::Hang]])).await;
    let agent = world.agent().await;
    let first = world.send(agent, "one").await;
    let second = world.send(agent, "two").await;
    let cancelled = world.host.cancel(agent, Some(vec![second])).await.unwrap();
    assert_eq!(cancelled, [(second, CancelOutcome::Cancelled)]);
    assert_eq!(world.host.run(first).await.unwrap().status, RunStatus::Running);
    assert_eq!(world.said(agent).await, [(Role::User, "two".to_owned())], "what was sent is kept");
    world.host.cancel(agent, None).await.unwrap();
    assert_eq!(world.model.prompts().len(), 1);
}

#[tokio::test]
async fn twice_is_once_and_after_the_end_it_says_how_it_ended() {
    let world = World::new(ScriptedModel::new([vec![Say::Hang], Say::answer("done")])).await;
    let agent = world.agent().await;
    let run = world.send(agent, "one").await;
    world.model.called(1).await;
    let (first, second) =
        tokio::join!(world.host.cancel(agent, None), world.host.cancel(agent, Some(vec![run])));
    assert_eq!(first.unwrap(), [(run, CancelOutcome::Cancelled)]);
    let second = second.unwrap();
    let again = CancelOutcome::AlreadyEnded(EndStatus::Cancelled);
    assert!(second == [(run, CancelOutcome::Cancelled)] || second == [(run, again)], "{second:?}");
    let items = world.items(run, 0).await;
    assert_eq!(items.iter().filter(|item| matches!(item.output, Output::End { .. })).count(), 1);
    let done = world.send(agent, "two").await;
    world.host.run_end(done).await.unwrap();
    let outcome = world.host.cancel(agent, Some(vec![done])).await.unwrap();
    assert_eq!(outcome, [(done, CancelOutcome::AlreadyEnded(EndStatus::Completed))]);
    assert!(world.host.cancel(agent, None).await.unwrap().is_empty(), "nothing is under way");
}

#[tokio::test]
async fn between_steps_no_tool_has_an_effect_after_the_answer() {
    let call = Say::call("c", "memory_insert", r#"{"label":"human","new_string":"Name: Ada"}"#);
    let world = World::new(ScriptedModel::new([call, vec![Say::Hang]])).await;
    let agent = world.agent().await;
    let run = world.send(agent, "I am Ada").await;
    world.model.called(2).await;
    world.host.cancel(agent, Some(vec![run])).await.unwrap();
    let view = world.host.agent(agent).await.unwrap();
    assert!(view.blocks[0].state.block.value.contains("Name: Ada"), "the step that ended stays");
    let history = world.history(agent).await;
    for (index, message) in
        history.iter().enumerate().filter(|(_, message)| !message.tool_calls.is_empty())
    {
        let returned = &history[index + 1].tool_returns;
        assert_eq!(returned.len(), message.tool_calls.len(), "each call has its return");
    }
}

#[tokio::test]
async fn a_drain_ends_what_does_not_end_by_itself_and_starts_nothing() {
    let options = Options { cancel_grace: Duration::from_millis(50), ..Options::default() };
    let model = ScriptedModel::new([vec![Say::text("so far"), Say::Hang]]);
    let store = Arc::new(MemoryStore::new());
    let world = World::over(Arc::clone(&store) as _, model, options).await;
    let agent = world.agent().await;
    let run = world.stream(agent, "one").await;
    let waiting = world.send(agent, "two").await;
    world.model.called(1).await;
    world.host.drain(Duration::from_millis(20)).await;
    let row = world.host.run(run).await.unwrap();
    assert!(row.interrupted);
    assert_eq!(row.status, RunStatus::Ended(EndStatus::Failed));
    assert_eq!(
        world.host.run(waiting).await.unwrap().status,
        RunStatus::Created,
        "it starts with the next start"
    );
    assert!(world.try_send(agent, "three", false).await.is_err());
}
