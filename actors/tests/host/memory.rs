//! Memory: edited by tools and clients, shared, and in every agent's system message.

use std::sync::Arc;

use retold_actors::{Options, agent::Change};
use retold_events::{ReturnStatus, store::MemoryStore};
use retold_models::testing::{Say, ScriptedModel};

use crate::world::{World, set};

#[tokio::test]
async fn a_memory_tool_edits_the_block_and_the_next_request_sees_it() {
    let call = Say::call("c", "memory_insert", r#"{"label":"human","new_string":"Name: Ada"}"#);
    let world =
        World::new(ScriptedModel::new([call, Say::answer("Noted."), Say::answer("Ada.")])).await;
    let agent = world.agent().await;
    world.host.run_end(world.send(agent, "I am Ada").await).await.unwrap();
    let view = world.host.agent(agent).await.unwrap();
    assert!(view.blocks[0].state.block.value.contains("Name: Ada"));
    world.host.run_end(world.send(agent, "Who am I?").await).await.unwrap();
    let prompts = world.model.prompts();
    assert!(
        !prompts[1].system.contains("Name: Ada"),
        "a running request keeps the system message it began with"
    );
    assert!(prompts[2].system.contains("Name: Ada"));
}

#[tokio::test]
async fn several_edits_in_one_step_follow_one_another() {
    let calls = Say::calls(&[
        ("a", "memory_insert", r#"{"label":"human","new_string":"one"}"#),
        ("b", "memory_insert", r#"{"label":"human","new_string":"two"}"#),
    ]);
    let world = World::new(ScriptedModel::new([calls, Say::answer("Done.")])).await;
    let agent = world.agent().await;
    world.host.run_end(world.send(agent, "go").await).await.unwrap();
    let value = world.host.agent(agent).await.unwrap().blocks[0].state.block.value.clone();
    assert!(value.contains("one") && value.contains("two"), "{value}");
}

#[tokio::test]
async fn an_edit_that_may_not_be_is_told_to_the_model_and_ends_nothing() {
    let call = Say::call(
        "c",
        "memory_replace",
        r#"{"label":"nowhere","old_string":"a","new_string":"b"}"#,
    );
    let world = World::new(ScriptedModel::new([call, Say::answer("I see.")])).await;
    let agent = world.agent().await;
    world.host.run_end(world.send(agent, "go").await).await.unwrap();
    let history = world.history(agent).await;
    let returned = history.iter().find_map(|message| message.tool_returns.first()).unwrap();
    assert_eq!(returned.status, ReturnStatus::Error);
    assert!(
        returned.content.contains("human"),
        "it names the labels there are: {}",
        returned.content
    );
}

#[tokio::test]
async fn a_shared_block_reaches_every_agent_that_has_it() {
    let world = World::new(ScriptedModel::new([])).await;
    let first = world.agent().await;
    let block = world.host.agent(first).await.unwrap().blocks[1].id;
    let second = world.agent().await;
    let own = world.host.agent(second).await.unwrap().blocks[1].id;
    world.host.change_agent(second, Change::DetachBlock(own)).await.unwrap();
    world.host.change_agent(second, Change::AttachBlock(block)).await.unwrap();
    world.host.edit_block(block, set("A pirate.")).await.unwrap();
    for agent in [first, second] {
        let system = world.history(agent).await[0].text();
        assert!(system.contains("A pirate."), "{system}");
    }
    world.host.delete_block(block).await.unwrap();
    for agent in [first, second] {
        assert_eq!(world.host.agent(agent).await.unwrap().blocks.len(), 1);
        assert!(!world.history(agent).await[0].text().contains("A pirate."));
    }
}

#[tokio::test]
async fn two_blocks_of_one_agent_never_share_a_label() {
    let world = World::new(ScriptedModel::new([])).await;
    let (first, second) = (world.agent().await, world.agent().await);
    let block = world.host.agent(first).await.unwrap().blocks[0].id;
    let refusal = world.host.change_agent(second, Change::AttachBlock(block)).await.unwrap_err();
    assert!(matches!(refusal, retold_actors::Refusal::Conflict(_)), "{refusal:?}");
}

#[tokio::test]
async fn an_agent_that_slept_is_the_same_agent() {
    let options = Options { awake_bytes: 0, ..Options::default() };
    let model = ScriptedModel::from_fn(|prompt| Say::answer(&format!("{}", prompt.messages.len())));
    let world = World::over(Arc::new(MemoryStore::new()), model, options).await;
    let agent = world.agent().await;
    for _ in 0..3 {
        world.host.run_end(world.send(agent, "again").await).await.unwrap();
        let before = world.host.agent(agent).await.unwrap();
        while world.host.count_awake() > 0 {
            world.host.make_room();
            tokio::task::yield_now().await;
        }
        let after = world.host.agent(agent).await.unwrap();
        assert_eq!(before.state, after.state);
    }
    let texts: Vec<String> = world.said(agent).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["again", "1", "again", "3", "again", "5"]);
}
