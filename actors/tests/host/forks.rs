//! Forks: an agent that goes on from a moment of another one, and leads a life of its own from there.

use std::sync::Arc;

use retold_actors::{AsOf, Host, Options, Refusal, agent::Change};
use retold_events::{
    AgentId, Message, Position, Role, StreamId,
    agent::Event,
    block::Author,
    store::{EventStore, MemoryStore},
};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::{
    agent::MAX_ANCESTORS,
    query::{self, BlockVersion, MessageFilter, Order, Page, VersionKind},
};

use crate::{
    audit::{audit, records},
    world::{Disk, World, in_time, open, set},
};

/// A model that says which message of the conversation it answers.
fn counting() -> ScriptedModel {
    ScriptedModel::from_fn(|prompt| Say::answer(&format!("answer {}", prompt.messages.len())))
}

async fn talk(world: &World, agent: AgentId, text: &str) {
    let ended = in_time(async { world.host.run_end(world.send(agent, text).await).await }).await;
    ended.expect("the run ends");
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().skip(1).map(Message::text).collect()
}

async fn fork(host: &Host, agent: AgentId) -> AgentId {
    host.fork(agent, None, None).await.expect("it can be forked").state.id
}

fn history(store: &dyn EventStore, agent: AgentId) -> Vec<Message> {
    let page = Page::first(1000, Order::Asc);
    query::messages(store, agent, &MessageFilter::default(), &page).expect("the rows are readable")
}

async fn versions(world: &World, block: retold_events::BlockId) -> Vec<BlockVersion> {
    let page = Page::first(100, Order::Asc);
    let read = world.host.read(move |store| Ok(query::block_history(store, block, &page))).await;
    let found = read.expect("the store is readable").expect("the events are readable");
    found.expect("there is such a block")
}

#[tokio::test]
async fn a_fork_remembers_what_its_parent_did_and_each_goes_its_own_way() {
    let world = World::new(counting()).await;
    let parent = world.agent().await;
    talk(&world, parent, "one").await;
    let view = world.host.fork(parent, None, None).await.unwrap();
    let child = view.state.id;
    assert_eq!(view.state.config.name, "Test - fork");
    assert_eq!(texts(&world.history(child).await), ["one", "answer 1"]);
    talk(&world, parent, "parent's").await;
    talk(&world, child, "child's").await;
    assert_eq!(texts(&world.history(parent).await), ["one", "answer 1", "parent's", "answer 3"]);
    assert_eq!(texts(&world.history(child).await), ["one", "answer 1", "child's", "answer 3"]);
    let prompts = world.model.prompts();
    let last = prompts.last().unwrap();
    assert_eq!(last.messages.len(), 3, "the model is told what was said before the fork");
    assert!(last.system.contains(&child.to_string()) && !last.system.contains(&parent.to_string()));
    audit(&*world.store);
}

#[tokio::test]
async fn a_fork_has_blocks_of_its_own_and_none_reaches_the_original() {
    let world = World::new(counting()).await;
    let (parent, other) = (world.agent().await, world.agent().await);
    let shared = world.host.agent(parent).await.unwrap().blocks[1].id;
    let own = world.host.agent(other).await.unwrap().blocks[1].id;
    world.host.change_agent(other, Change::DetachBlock(own)).await.unwrap();
    world.host.change_agent(other, Change::AttachBlock(shared)).await.unwrap();
    world.host.edit_block(shared, set("Before.")).await.unwrap();
    let child = fork(&world.host, parent).await;
    let copy = world.host.agent(child).await.unwrap().blocks[1].clone();
    assert_ne!(copy.id, shared);
    assert_eq!(copy.state.block.value, "Before.");
    world.host.edit_block(shared, set("The parents'.")).await.unwrap();
    assert_eq!(world.host.block(copy.id).await.unwrap().state.block.value, "Before.");
    world.host.edit_block(copy.id, set("The child's.")).await.unwrap();
    assert_eq!(world.host.block(shared).await.unwrap().state.block.value, "The parents'.");
    let system = |messages: Vec<Message>| messages[0].text();
    assert!(system(world.history(child).await).contains("The child's."));
    for agent in [parent, other] {
        let system = system(world.history(agent).await);
        assert!(system.contains("The parents'.") && !system.contains("The child's."), "{system}");
    }
    world.host.delete_block(shared).await.unwrap();
    assert_eq!(world.host.agent(child).await.unwrap().blocks.len(), 2);
    audit(&*world.store);
}

#[tokio::test]
async fn a_moment_of_the_past_is_forked_as_it_was_with_its_memory_and_settings() {
    let world = World::new(counting()).await;
    let parent = world.agent().await;
    let block = world.host.agent(parent).await.unwrap().blocks[0].id;
    world.host.edit_block(block, set("Ada")).await.unwrap();
    talk(&world, parent, "one").await;
    let moment = world.host.log().head().position;
    let tools = world.host.agent(parent).await.unwrap().state.tools.clone();
    talk(&world, parent, "two").await;
    world.host.edit_block(block, set("Grace")).await.unwrap();
    world.host.change_agent(parent, Change::DetachTool(tools[0])).await.unwrap();
    world.host.delete_agent(parent).await.unwrap();
    let refusal = world.host.fork(parent, None, None).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NotFound { .. }), "{refusal}");
    let name = Some("Then".to_owned());
    let view = world.host.fork(parent, Some(AsOf::Position(moment)), name).await.unwrap();
    assert_eq!(view.state.config.name, "Then");
    assert_eq!(view.state.tools, tools);
    assert_eq!(view.blocks[0].state.block.value, "Ada");
    let child = view.state.id;
    assert_eq!(texts(&world.history(child).await), ["one", "answer 1"]);
    talk(&world, child, "and?").await;
    assert_eq!(texts(&world.history(child).await), ["one", "answer 1", "and?", "answer 3"]);
    let before = AsOf::Position(Position(1));
    let refusal = world.host.fork(parent, Some(before), None).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NotFound { .. }), "its blocks came first: {refusal}");
    let later = AsOf::Position(Position(world.host.log().head().position.0 + 1));
    let refusal = world.host.fork(parent, Some(later), None).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal}");
    audit(&*world.store);
}

#[tokio::test]
async fn what_is_under_way_is_no_part_of_a_fork_neither_then_nor_later() {
    let slow = vec![Say::text("Once "), Say::Hang];
    let world =
        World::new(ScriptedModel::new([Say::answer("Hello."), slow, Say::answer("Me.")])).await;
    let parent = world.agent().await;
    talk(&world, parent, "Hi").await;
    let run = world.stream(parent, "Tell me").await;
    let queued = world.send(parent, "And then?").await;
    world.model.called(2).await;
    let child = in_time(fork(&world.host, parent)).await;
    let view = world.host.agent(child).await.unwrap();
    assert!(view.state.open_runs.is_empty());
    assert_eq!(texts(&world.history(child).await), ["Hi", "Hello."]);
    in_time(world.host.cancel(parent, Some(vec![queued, run]))).await.unwrap();
    let said = world.said(parent).await;
    assert!(said.contains(&(Role::User, "Tell me".to_owned())), "{said:?}");
    assert_eq!(texts(&world.history(child).await), ["Hi", "Hello."], "what came of it is not");
    talk(&world, child, "Who?").await;
    assert_eq!(texts(&world.history(child).await), ["Hi", "Hello.", "Who?", "Me."]);
    audit(&*world.store);
}

#[tokio::test]
async fn a_fork_is_there_after_a_restart_and_outlives_its_parent() {
    let disk = Disk::default();
    let (store, _) = disk.open();
    let first = World::over(store, counting(), Options::default()).await;
    let parent = first.agent().await;
    talk(&first, parent, "one").await;
    let child = fork(&first.host, parent).await;
    let grandchild = fork(&first.host, child).await;
    first.host.delete_agent(parent).await.unwrap();
    first.host.close().await;
    drop(first);
    let (store, _) = disk.open();
    let second = World::over(store, counting(), Options::default()).await;
    for agent in [child, grandchild] {
        talk(&second, agent, "two").await;
        assert_eq!(texts(&second.history(agent).await), ["one", "answer 1", "two", "answer 3"]);
    }
    assert!(second.host.agent(parent).await.is_err());
    audit(disk.contents());
}

/// Without a saved state it takes the events of the parent to fold the fork; with the one of its first commit it does not.
#[tokio::test]
async fn a_fork_wakes_from_its_own_first_commit() {
    let store = Arc::new(MemoryStore::new());
    let world = World::over(Arc::clone(&store) as _, counting(), Options::default()).await;
    let parent = world.agent().await;
    for _ in 0..5 {
        talk(&world, parent, "again").await;
    }
    let child = fork(&world.host, parent).await;
    let stream = StreamId::Agent(child);
    let saved = store.snapshot(stream, retold_events::Seq(u64::MAX)).unwrap().unwrap();
    assert_eq!(saved.seq, store.stream_head(stream).unwrap());
    let loaded = retold_snapshots::load::agent(&*store, child, None).unwrap().unwrap();
    assert_eq!(loaded.folded, 0);
    let first = records(&*store).into_iter().find(|record| record.stream == stream).unwrap();
    let event = first.decode::<Event>().unwrap().event;
    let Event::Forked(forked) = event else { panic!("{event:?}") };
    assert_eq!(forked.parent, parent);
    assert_eq!(forked.seq, store.stream_head(StreamId::Agent(parent)).unwrap());
}

#[tokio::test]
async fn forks_of_forks_are_refused_where_the_line_would_be_too_long() {
    let world = World::new(counting()).await;
    let mut agent = world.agent().await;
    talk(&world, agent, "one").await;
    for _ in 0..MAX_ANCESTORS {
        agent = fork(&world.host, agent).await;
    }
    let refusal = world.host.fork(agent, None, None).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unprocessable(_)), "{refusal}");
    assert_eq!(texts(&world.history(agent).await), ["one", "answer 1"]);
    talk(&world, agent, "two").await;
    assert_eq!(texts(&history(&*world.store, agent)).len(), 4);
}

#[tokio::test]
async fn the_history_of_a_block_names_its_authors_and_goes_on_into_what_it_was_forked_from() {
    let call = Say::call("c", "memory_insert", r#"{"label":"human","new_string":"Name: Ada"}"#);
    let world = World::new(ScriptedModel::new([call, Say::answer("Noted.")])).await;
    let parent = world.agent().await;
    let run = world.send(parent, "I am Ada").await;
    world.host.run_end(run).await.unwrap();
    let block = world.host.agent(parent).await.unwrap().blocks[0].id;
    let child = fork(&world.host, parent).await;
    let copy = world.host.agent(child).await.unwrap().blocks[0].id;
    world.host.edit_block(block, set("the parent's")).await.unwrap();
    world.host.edit_block(copy, set("the child's")).await.unwrap();
    let own = versions(&world, copy).await;
    let tool = Some("memory_insert".to_owned());
    let authors: Vec<Option<Author>> = own.iter().map(|version| version.author.clone()).collect();
    assert_eq!(
        authors,
        [
            Some(Author::Client),
            Some(Author::Agent { agent: parent, run, tool }),
            None,
            Some(Author::Client)
        ]
    );
    let numbers: Vec<u64> = own.iter().map(|version| version.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(own[2].kind, VersionKind::Forked(block));
    assert_eq!(versions(&world, block).await.len(), 3, "the original has nothing of its copy");
    let view = world.host.restore_block(copy, 1).await.unwrap();
    assert_eq!(view.state.block.value, "Nothing yet.");
    let restored = versions(&world, copy).await;
    assert_eq!(restored[..4], own[..], "history only grows");
    assert_eq!(restored[4].kind, VersionKind::Restored(1));
    assert!(world.history(child).await[0].text().contains("Nothing yet."));
    assert_eq!(world.host.block(block).await.unwrap().state.block.value, "the parent's");
    for unknown in [0, 6] {
        let refusal = world.host.restore_block(copy, unknown).await.unwrap_err();
        assert!(matches!(refusal, Refusal::NotFound { what: "Version", .. }), "{refusal}");
    }
    world.host.restore_block(copy, 5).await.unwrap();
    assert_eq!(versions(&world, copy).await.len(), 5, "what is so already is not written again");
    world.host.delete_block(copy).await.unwrap();
    let gone = versions(&world, copy).await;
    assert_eq!(gone[5].kind, VersionKind::Deleted);
    assert_eq!(gone[5].content.value, "Nothing yet.");
    assert!(world.host.restore_block(copy, 1).await.is_err());
    audit(&*world.store);
}

/// Two hosts over the same log: the second has nothing but what is written.
#[tokio::test]
async fn a_fork_that_was_acknowledged_is_durable() {
    let world = World::new(counting()).await;
    let parent = world.agent().await;
    let child = fork(&world.host, parent).await;
    let other = open(Arc::clone(&world.store), Arc::new(counting()), Options::default()).await;
    let view = other.agent(child).await.unwrap();
    assert_eq!(view.state, world.host.agent(child).await.unwrap().state);
}
