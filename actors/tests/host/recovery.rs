//! What a crash leaves: every open run is closed or resumed, and nothing that was seen is unsaid.
//!
//! The crash is a second host over the same store while the first one's model says nothing more.

use std::sync::Arc;

use retold_actors::Options;
use retold_events::{
    Role,
    output::Output,
    run::EndStatus,
    store::{EventStore, MemoryStore},
};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::row::RunStatus;

use crate::world::{World, text_of};

async fn crash(first: World, model: ScriptedModel) -> World {
    let store = Arc::clone(&first.store);
    // Its turn hangs for ever, so it writes nothing more.
    std::mem::forget(first);
    World::over(store, model, Options::default()).await
}

#[tokio::test]
async fn a_call_that_showed_nothing_is_made_once_more() {
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
    let first = World::over(store, ScriptedModel::new([vec![Say::Hang]]), Options::default()).await;
    let agent = first.agent().await;
    let run = first.stream(agent, "Hi").await;
    let queued = first.send(agent, "And?").await;
    first.model.called(1).await;
    let second =
        crash(first, ScriptedModel::new([Say::answer("Hello."), Say::answer("Well.")])).await;
    assert_eq!(
        second.host.run_end(run).await.unwrap().status,
        RunStatus::Ended(EndStatus::Completed)
    );
    assert_eq!(
        second.host.run_end(queued).await.unwrap().status,
        RunStatus::Ended(EndStatus::Completed)
    );
    let texts: Vec<String> = second.said(agent).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["Hi", "Hello.", "And?", "Well."]);
}

#[tokio::test]
async fn a_run_that_was_seen_ends_with_what_was_seen_of_it() {
    let script = vec![Say::text("Once upon "), Say::text("a time"), Say::Hang];
    let first = World::new(ScriptedModel::new([script])).await;
    let agent = first.agent().await;
    let run = first.stream(agent, "Tell").await;
    let mut follow = first.host.follow(run, 0);
    let mut seen = Vec::new();
    while text_of(&seen) != "Once upon a time" {
        seen.extend(follow.next().await.unwrap().unwrap().iter().cloned());
    }
    let second = crash(first, ScriptedModel::new([Say::answer("on")])).await;
    let items = second.items(run, 0).await;
    assert_eq!(items[..seen.len()], seen[..], "what was seen is a prefix of what is there");
    assert!(matches!(&items.last().unwrap().output, Output::End { status: EndStatus::Failed, .. }));
    let row = second.host.run(run).await.unwrap();
    assert!(row.interrupted);
    let said = second.said(agent).await;
    assert_eq!(
        said,
        [(Role::User, "Tell".to_owned()), (Role::Assistant, "Once upon a time".to_owned())]
    );
    let next = second.host.run_end(second.send(agent, "Go").await).await.unwrap();
    assert_eq!(next.status, RunStatus::Ended(EndStatus::Completed));
}

#[tokio::test]
async fn a_call_that_fails_to_show_anything_twice_is_not_made_for_ever() {
    let first = World::new(ScriptedModel::new([vec![Say::Hang]])).await;
    let agent = first.agent().await;
    let run = first.send(agent, "Hi").await;
    first.model.called(1).await;
    let second = crash(first, ScriptedModel::new([vec![Say::Hang]])).await;
    second.model.called(1).await;
    let third = crash(second, ScriptedModel::new([])).await;
    assert_eq!(third.host.run_end(run).await.unwrap().status, RunStatus::Ended(EndStatus::Failed));
    assert!(third.model.prompts().is_empty());
}
