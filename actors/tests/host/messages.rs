//! Messages: answered in order, streamed with numbers, refused at a bound, forgotten by nobody.

use std::sync::Arc;

use retold_actors::{Options, Refusal};
use retold_events::{
    Role,
    agent::AgentType,
    output::Output,
    run::{EndStatus, StopReason},
    store::{Faults, FaultyStore, MemoryStore, Space},
};
use retold_models::{
    ModelErrorKind,
    testing::{Say, ScriptedModel},
};
use retold_snapshots::row::RunStatus;

use crate::world::{World, message, request, text_of};

#[tokio::test]
async fn a_message_is_answered_and_both_are_remembered() {
    let world = World::new(ScriptedModel::new([Say::answer("Hello there.")])).await;
    let agent = world.agent().await;
    let run = world.host.run_end(world.send(agent, "Hi").await).await.unwrap();
    assert_eq!(run.status, RunStatus::Ended(EndStatus::Completed));
    assert_eq!(run.stop_reason, Some(StopReason::EndTurn));
    assert_eq!((run.usage.prompt_tokens, run.usage.completion_tokens, run.steps), (10, 5, 1));
    let said = world.said(agent).await;
    assert_eq!(said, [(Role::User, "Hi".to_owned()), (Role::Assistant, "Hello there.".to_owned())]);
}

#[tokio::test]
async fn the_model_sees_memory_history_and_input() {
    let world = World::new(ScriptedModel::new([Say::answer("One."), Say::answer("Two.")])).await;
    let agent = world.agent().await;
    for text in ["first", "second"] {
        world.host.run_end(world.send(agent, text).await).await.unwrap();
    }
    let prompts = world.model.prompts();
    assert!(prompts[0].system.contains("<human>") && prompts[0].system.contains("Nothing yet."));
    let seen: Vec<_> =
        prompts[1].messages.iter().map(|message| (message.role, message.text.as_str())).collect();
    assert_eq!(seen, [("user", "first"), ("assistant", "One."), ("user", "second")]);
}

#[tokio::test]
async fn output_is_numbered_without_gap_and_ends_once_for_whoever_comes_when() {
    let world = World::new(ScriptedModel::new([Say::answer("one two three four five six")])).await;
    let agent = world.agent().await;
    let run = world.stream(agent, "count").await;
    let live = world.items(run, 0).await;
    let numbers: Vec<u64> = live.iter().map(|item| item.seq).collect();
    assert_eq!(numbers, (1..=live.len() as u64).collect::<Vec<_>>());
    assert_eq!(text_of(&live), "one two three four five six");
    assert!(matches!(
        live.last().unwrap().output,
        Output::End { status: EndStatus::Completed, .. }
    ));
    assert_eq!(live.iter().filter(|item| matches!(item.output, Output::End { .. })).count(), 1);
    assert_eq!(world.items(run, 0).await, live, "a late reader sees the same");
    for cursor in 1..live.len() {
        assert_eq!(world.items(run, cursor as u64).await, live[cursor..], "from item {cursor} on");
    }
    assert_eq!(world.items(run, 999).await.len(), 0);
}

#[tokio::test]
async fn messages_sent_at_once_are_answered_one_after_the_other_and_none_is_forgotten() {
    let world = World::new(ScriptedModel::from_fn(|prompt| {
        Say::answer(&format!("re: {}", prompt.last_text()))
    }))
    .await;
    let agent = world.agent().await;
    let mut runs = Vec::new();
    for number in 0..8 {
        runs.push(world.send(agent, &number.to_string()).await);
    }
    for run in runs {
        world.host.run_end(run).await.unwrap();
    }
    let texts: Vec<String> = world.said(agent).await.into_iter().map(|(_, text)| text).collect();
    let expected: Vec<String> =
        (0..8).flat_map(|number| [number.to_string(), format!("re: {number}")]).collect();
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn past_the_bound_of_its_queue_an_agent_refuses_and_says_when_to_come_back() {
    let options = Options { queue_bound: 2, ..Options::default() };
    let model = ScriptedModel::from_fn(|_| vec![Say::Hang]);
    let world = World::over(Arc::new(MemoryStore::new()), model, options).await;
    let agent = world.agent().await;
    world.send(agent, "one").await;
    world.send(agent, "two").await;
    let refusal = world.try_send(agent, "three", false).await.unwrap_err();
    assert!(matches!(refusal, Refusal::QueueFull { open: 2, .. }), "{refusal:?}");
    world.host.cancel(agent, None).await.unwrap();
    world.try_send(agent, "four", false).await.expect("there is room again");
}

#[tokio::test]
async fn a_failed_step_leaves_the_conversation_as_it_was() {
    let failure = Say::failure(ModelErrorKind::RateLimit, "too many requests");
    let world = World::new(ScriptedModel::new([failure, Say::answer("Now.")])).await;
    let agent = world.agent().await;
    let run = world.host.run_end(world.send(agent, "one").await).await.unwrap();
    assert_eq!(run.status, RunStatus::Ended(EndStatus::Failed));
    assert_eq!(run.stop_reason, Some(StopReason::LlmApiError));
    assert_eq!(run.error.unwrap().error_type, "llm_rate_limit");
    assert!(world.said(agent).await.is_empty());
    world.host.run_end(world.send(agent, "one").await).await.unwrap();
    assert_eq!(world.said(agent).await.len(), 2);
}

#[tokio::test]
async fn the_same_request_sent_again_while_it_runs_is_one_run() {
    let world = World::new(ScriptedModel::new([vec![Say::Hang]])).await;
    let agent = world.agent().await;
    let send = || {
        let mut request = request(false);
        request.fingerprint = Some([7; 16]);
        retold_actors::run::Send::new(vec![message("once")], request)
    };
    let first = world.host.send(agent, send()).await.unwrap();
    let second = world.host.send(agent, send()).await.unwrap();
    assert!(!first.attached && second.attached);
    assert_eq!(first.run.id, second.run.id);
    assert_eq!(world.host.cancel(agent, None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_model_that_panics_fails_its_own_run_only() {
    let world = World::new(ScriptedModel::from_fn(|prompt| {
        assert!(prompt.last_text() != "break", "asked to break");
        Say::answer("fine")
    }))
    .await;
    let (broken, other) = (world.agent().await, world.agent().await);
    let run = world.host.run_end(world.send(broken, "break").await).await.unwrap();
    assert_eq!(run.status, RunStatus::Ended(EndStatus::Failed));
    assert_eq!(run.error.unwrap().error_type, "internal_error");
    for agent in [broken, other] {
        let run = world.host.run_end(world.send(agent, "go on").await).await.unwrap();
        assert_eq!(run.status, RunStatus::Ended(EndStatus::Completed));
    }
}

#[tokio::test]
async fn older_agents_speak_through_a_tool_and_subscribers_see_the_text() {
    let call =
        Say::call("c1", "send_message", r#"{"message":"Hello \"you\"","request_heartbeat":false}"#);
    let world = World::new(ScriptedModel::new([call])).await;
    let agent = world.agent_of(AgentType::Memgpt).await.state.id;
    let run = world.stream(agent, "Hi").await;
    let items = world.items(run, 0).await;
    assert_eq!(text_of(&items), r#"Hello "you""#);
    assert_eq!(world.host.run(run).await.unwrap().stop_reason, Some(StopReason::ToolRule));
    assert_eq!(world.model.prompts()[0].tool_choice, "required");
}

#[tokio::test]
async fn steps_are_bounded() {
    let call = |_: &retold_models::testing::SeenPrompt| {
        Say::call("c", "conversation_search", r#"{"query":"x"}"#)
    };
    let world = World::new(ScriptedModel::from_fn(call)).await;
    let agent = world.agent().await;
    let mut request = request(false);
    request.max_steps = 3;
    let send = retold_actors::run::Send::new(vec![message("loop")], request);
    let run = world.host.send(agent, send).await.unwrap().run.id;
    let run = world.host.run_end(run).await.unwrap();
    assert_eq!((run.steps, run.stop_reason), (3, Some(StopReason::MaxSteps)));
}

#[tokio::test]
async fn a_history_that_does_not_fit_gives_way_to_a_summary_and_stays_readable() {
    let long = "word ".repeat(2500);
    let model = ScriptedModel::from_fn(move |prompt| {
        if prompt.tools.is_empty() {
            Say::answer("They counted words.")
        } else {
            Say::answer(&long)
        }
    });
    let world = World::new(model).await;
    let agent = world.agent().await;
    for number in 0..16 {
        let run = world
            .host
            .run_end(world.send(agent, &format!("message {number}")).await)
            .await
            .unwrap();
        assert_eq!(run.status, RunStatus::Ended(EndStatus::Completed), "{:?}", run.error);
    }
    let state = world.host.agent(agent).await.unwrap().state;
    assert!(state.thread().counted_tokens() < 32_000);
    assert!(state.thread().context.front().unwrap().text().contains("They counted words."));
    let history = world.said(agent).await;
    assert!(history.iter().any(|(_, text)| text == "message 0"), "originals are kept");
    let history = world.history(agent).await;
    let summary =
        history.iter().rposition(|message| message.text().contains("They counted words."));
    let after = &history[summary.expect("there is a summary") + 1];
    assert!(after.text().starts_with("message "), "what made it necessary comes after it");
    assert!(history.is_sorted_by_key(|message| message.created_at));
}

#[tokio::test]
async fn what_cannot_fit_ends_the_run_and_never_loops() {
    let world = World::new(ScriptedModel::from_fn(|_| {
        Say::failure(ModelErrorKind::ContextWindowExceeded, "maximum context length exceeded")
    }))
    .await;
    let agent = world.agent().await;
    let run = world.host.run_end(world.send(agent, "too much").await).await.unwrap();
    assert_eq!(run.status, RunStatus::Ended(EndStatus::Failed));
    assert!(world.model.prompts().len() <= 4, "{} calls", world.model.prompts().len());
}

#[tokio::test]
async fn a_full_disk_refuses_new_work_while_reads_and_cancels_go_on() {
    let faults = Faults::new();
    let store = Arc::new(FaultyStore::new(MemoryStore::new(), faults.clone()));
    faults.set_space(Some(Space { free: 1 << 30, reserve: 1 << 20 }));
    let world = World::over(store, ScriptedModel::new([vec![Say::Hang]]), Options::default()).await;
    let agent = world.agent().await;
    world.send(agent, "one").await;
    faults.set_space(Some(Space { free: 10, reserve: 1 << 20 }));
    // The room left is looked up at most every quarter of a second of the machine's own time.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let refused = world.try_send(agent, "two", false).await.unwrap_err();
    assert!(matches!(refused, Refusal::StorageFull { .. }), "{refused:?}");
    let refused = world.host.fork(agent, None, None).await.unwrap_err();
    assert!(matches!(refused, Refusal::StorageFull { .. }), "{refused:?}");
    world.host.agent(agent).await.expect("reads go on");
    assert!(!world.host.cancel(agent, None).await.expect("cancels go on").is_empty());
}
