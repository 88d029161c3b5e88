//! Tools that users make: one of each name, whole after a crash, and in every agent that has them for as long as they are.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::future::join_all;
use retold_actors::{
    Options, Refusal, ToolView,
    agent::{Change, Patch},
    tool::{Compute, approval_patch, by_name},
};
use retold_events::{
    JsonText, NewEvent, Position, StreamId, ToolId,
    agent::{AgentType, ToolRuleKind},
    codec::Event as _,
    store::{Append, Commit, EventStore, Failure, MemoryStore, Moment},
    tool::{Event, Kind, Language, Tool, Updated},
};
use retold_models::testing::ScriptedModel;
use retold_snapshots::query::{self, ToolFilter};

use crate::{
    audit::audit,
    world::{Disk, World, in_time, new_agent},
};

fn tool(name: &str, source: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        description: Some(format!("Does {name}.")),
        kind: Kind::Custom { language: Language::Python },
        source: Some(source.to_owned()),
        schema: JsonText::new(r#"{"parameters":{"type":"object","properties":{}}}"#),
        args_schema: None,
        tags: Vec::new(),
        return_char_limit: 50_000,
        pip: None,
        npm: None,
        default_requires_approval: None,
        parallel: false,
        metadata: None,
        project_id: None,
    }
}

fn asking(name: &str) -> Tool {
    Tool { default_requires_approval: Some(true), ..tool(name, "ask") }
}

/// Makes of a tool, whatever it was, this one.
fn set(tool: Tool) -> Compute {
    Arc::new(move |_| Ok(Some(tool.clone())))
}

async fn upsert(world: &World, tool: Tool) -> Result<ToolId, Refusal> {
    let name = tool.name.clone();
    in_time(world.host.upsert_tool(name, set(tool))).await.map(|view| view.id())
}

fn row(view: ToolView) -> Tool {
    match view {
        ToolView::Made { row, .. } => row.tool.clone(),
        ToolView::Builtin(tool) => panic!("{} comes with the server", tool.name),
    }
}

async fn world() -> World {
    World::new(ScriptedModel::new([])).await
}

/// Ids of an agent's tools that users made.
fn made(tools: &[ToolView]) -> Vec<ToolId> {
    tools.iter().filter(|tool| matches!(tool, ToolView::Made { .. })).map(ToolView::id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_upserts_of_one_name_make_one_tool() {
    let world = world().await;
    let sources: Vec<String> = (0..40).map(|number| format!("return {number}")).collect();
    let upserts = sources.iter().map(|source| upsert(&world, tool("roll", source)));
    let ids: Vec<ToolId> = join_all(upserts).await.into_iter().map(Result::unwrap).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let all = query::all_tools(&*world.store, &ToolFilter::default()).unwrap();
    assert_eq!(all.len(), 1);
    let events =
        world.store.read_stream(StreamId::Tool(ids[0]), retold_events::Seq(1), 99).unwrap();
    assert_eq!(events.len(), 40, "each of them is in its history");
    let last = events.last().unwrap().decode::<Event>().unwrap().event;
    let now = row(world.host.tool(ids[0]).await.unwrap());
    assert_eq!(last, Event::Updated(Updated { tool: now }));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_tools_that_want_one_name_at_once_one_gets_it() {
    let world = world().await;
    let mut ids = Vec::new();
    for number in 0..8 {
        ids.push(upsert(&world, tool(&format!("tool_{number}"), "x")).await.unwrap());
    }
    let renames = ids.iter().map(|&id| world.host.update_tool(id, set(tool("wanted", "x"))));
    let answers = in_time(join_all(renames)).await;
    let (given, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((given.len(), refused.len()), (1, 7));
    for answer in refused {
        let refusal = answer.unwrap_err().to_string();
        assert!(
            refusal.starts_with("Tool with name 'wanted' already exists in your organization"),
            "{refusal}"
        );
    }
    let named = world.host.known_tool("wanted").unwrap();
    assert_eq!(Some(named.id), given.into_iter().next().map(|view| view.unwrap().id()));
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let world = world().await;
    let id = upsert(&world, tool("roll", "x")).await.unwrap();
    let head = world.host.log().head().position;
    assert_eq!(upsert(&world, tool("roll", "x")).await.unwrap(), id);
    in_time(world.host.update_tool(id, set(tool("roll", "x")))).await.unwrap();
    assert_eq!(world.host.log().head().position, head);
}

#[tokio::test]
async fn tools_of_the_server_cannot_be_made_changed_or_deleted() {
    let world = world().await;
    let builtin = by_name("memory_insert").unwrap().id;
    let refusals = [
        upsert(&world, tool("memory_insert", "x")).await.map(drop),
        world.host.update_tool(builtin, set(tool("other", "x"))).await.map(drop),
        world.host.delete_tool(builtin).await,
    ];
    for refused in refusals {
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
    }
    let renamed = upsert(&world, tool("mine", "x")).await.unwrap();
    let refused = world.host.update_tool(renamed, set(tool("send_message", "x"))).await;
    assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
    assert_eq!(world.store.stream_head(StreamId::Tool(builtin)).unwrap().0, 0);
}

#[tokio::test]
async fn there_are_only_so_many_tools_and_each_is_only_so_large() {
    let options = Options { max_tools: 2, max_tool_source_bytes: 10, ..Options::default() };
    let store = Arc::new(MemoryStore::new());
    let world = World::over(store, ScriptedModel::new([]), options).await;
    let first = upsert(&world, tool("one", "0123456789")).await.unwrap();
    upsert(&world, tool("two", "x")).await.unwrap();
    let large_schema =
        Tool { schema: JsonText::new(" ".repeat(200_000) + "{}"), ..tool("one", "x") };
    for (refused, says) in [
        (upsert(&world, tool("three", "x")).await, "2 tools"),
        (upsert(&world, tool("one", "01234567890")).await, "11 bytes"),
        (upsert(&world, large_schema).await, "beside its source"),
    ] {
        let Err(Refusal::Invalid(message)) = refused else { panic!("{says}: {refused:?}") };
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(upsert(&world, tool("one", "y")).await.unwrap(), first, "those there are change");
    world.host.delete_tool(first).await.unwrap();
    upsert(&world, tool("three", "x")).await.unwrap();
}

#[tokio::test]
async fn a_deleted_tool_is_gone_from_its_agents_and_its_name_is_free_for_another() {
    let world = world().await;
    let agent = world.agent().await;
    let id = upsert(&world, tool("roll", "x")).await.unwrap();
    let view = world.host.change_agent(agent, Change::AttachTool(id)).await.unwrap();
    assert_eq!(made(&view.tools), [id]);
    world.host.delete_tool(id).await.unwrap();
    assert!(matches!(world.host.delete_tool(id).await, Err(Refusal::NotFound { .. })));
    assert!(made(&world.host.agent(agent).await.unwrap().tools).is_empty());
    let again = upsert(&world, tool("roll", "x")).await.unwrap();
    assert_ne!(again, id, "no agent gets a tool that nobody gave it");
    assert!(made(&world.host.agent(agent).await.unwrap().tools).is_empty());
    let refused = world.host.change_agent(agent, Change::AttachTool(id)).await;
    assert!(refused.is_err() || made(&refused.unwrap().tools).is_empty());
    let view = world.host.change_agent(agent, Change::AttachTool(again)).await.unwrap();
    assert_eq!(made(&view.tools), [again]);
    assert!(!view.state.tools.contains(&id), "what is gone is let go of");
    let nobody = ToolId::from_uuid(uuid::Uuid::from_u128(7));
    let refused = world.host.change_agent(agent, Change::AttachTool(nobody)).await;
    assert!(matches!(refused, Err(Refusal::NotFound { what: "Tool", .. })), "{refused:?}");
}

#[tokio::test]
async fn a_tool_that_was_made_to_ask_asks_in_every_agent_it_is_given_to_from_then_on() {
    let world = world().await;
    let id = upsert(&world, asking("buy")).await.unwrap();
    let asks = |rules: &[retold_events::agent::ToolRule]| {
        rules
            .iter()
            .filter(|rule| rule.tool == "buy" && rule.kind == ToolRuleKind::RequiresApproval)
            .count()
    };
    let mut new = new_agent(AgentType::LettaV1);
    new.tools.push(id);
    let born = world.host.create_agent(new).await.unwrap();
    assert_eq!(asks(&born.state.config.tool_rules), 1);

    let agent = world.agent().await;
    for _ in 0..2 {
        let view = world.host.change_agent(agent, Change::AttachTool(id)).await.unwrap();
        assert_eq!(asks(&view.state.config.tool_rules), 1, "once is enough");
    }
    let never = Change::Configure(Box::new(|state| Ok(approval_patch(state, "buy", false))));
    let view = world.host.change_agent(agent, never).await.unwrap();
    assert_eq!(asks(&view.state.config.tool_rules), 0);
    let view = world.host.change_agent(agent, Change::AttachTool(id)).await.unwrap();
    assert_eq!(asks(&view.state.config.tool_rules), 0, "it has the tool, so nobody is asked anew");

    let other = world.agent().await;
    let tools = Change::Configure(Box::new(move |state| {
        let tools = state.tools.iter().copied().chain([id]).collect();
        Ok(Patch { tools: Some(tools), ..Patch::default() })
    }));
    let view = world.host.change_agent(other, tools).await.unwrap();
    assert_eq!(asks(&view.state.config.tool_rules), 1);
}

#[tokio::test]
async fn an_agent_of_the_past_has_the_tools_of_then() {
    let world = world().await;
    let agent = world.agent().await;
    let id = upsert(&world, tool("roll", "one")).await.unwrap();
    world.host.change_agent(agent, Change::AttachTool(id)).await.unwrap();
    let mut moments: Vec<(Position, Option<&str>)> = vec![(head(&world), Some("one"))];
    world.host.update_tool(id, set(tool("throw", "two"))).await.unwrap();
    moments.push((head(&world), Some("two")));
    world.host.delete_tool(id).await.unwrap();
    moments.push((head(&world), None));
    for (moment, source) in moments {
        let then = world.host.agent_at(agent, moment).await.unwrap();
        let of_agent = then.tools.into_iter().find(|tool| tool.id() == id).map(row);
        assert_eq!(of_agent.as_ref().and_then(|tool| tool.source.as_deref()), source);
        let alone = world.host.tool_at(id, moment).await.ok().map(row);
        assert_eq!(alone, of_agent);
    }
}

fn head(world: &World) -> Position {
    world.host.log().head().position
}

/// What a client did, and whether it was told that it was done.
async fn scenario(world: &World) -> (Vec<(&'static str, &'static str)>, Result<(), Refusal>) {
    let mut told = Vec::new();
    let done = async {
        let one = upsert(world, tool("one", "1")).await?;
        told.push(("one", "1"));
        upsert(world, tool("two", "2")).await?;
        told.push(("two", "2"));
        in_time(world.host.update_tool(one, set(tool("one", "11")))).await?;
        told.push(("one", "11"));
        upsert(world, tool("two", "22")).await?;
        told.push(("two", "22"));
        in_time(world.host.delete_tool(one)).await?;
        told.push(("one", ""));
        Ok(())
    }
    .await;
    (told, done)
}

#[tokio::test]
async fn after_a_crash_at_any_write_every_tool_is_whole_and_what_was_told_is_there() {
    for moment in [Moment::Before, Moment::After] {
        for append in 1.. {
            let disk = Disk::default();
            let (store, faults) = disk.open();
            let world = World::over(store, ScriptedModel::new([]), Options::default()).await;
            faults.fail_append(append, moment, Failure::Io);
            let (told, done) = scenario(&world).await;
            if done.is_ok() {
                assert!(append > 5);
                break;
            }
            drop(world);
            let (store, _) = disk.open();
            let world = World::over(store, ScriptedModel::new([]), Options::default()).await;
            audit(disk.contents());
            for name in ["one", "two"] {
                let last = told.iter().rev().find(|(of, _)| *of == name).map(|(_, source)| *source);
                let next = match (name, last) {
                    ("one", None) => Some("1"),
                    ("one", Some("1")) => Some("11"),
                    ("one", Some("11")) => Some(""),
                    ("two", None) => Some("2"),
                    ("two", Some("2")) => Some("22"),
                    _ => None,
                };
                let known = world.host.known_tool(name);
                let found = match &known {
                    Some(known) => row(world.host.tool(known.id).await.unwrap()).source,
                    None => None,
                };
                let found = found.unwrap_or_default();
                assert!(
                    found == last.unwrap_or("")
                        || (moment == Moment::After && Some(&*found) == next),
                    "{moment:?} append {append}: {name} is {found:?}, told was {last:?}"
                );
            }
            // It goes on.
            upsert(&world, tool("two", "3")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_commit_that_the_log_refuses_leaves_the_tool_as_it_is_written() {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::clone(&memory);
    let world = World::over(store, ScriptedModel::new([]), Options::default()).await;
    let id = upsert(&world, tool("roll", "one")).await.unwrap();
    // Somebody else writes to its stream while the edit is computed, which nobody may.
    let contents = Arc::clone(&memory);
    let once = AtomicBool::new(true);
    let meddling: Compute = Arc::new(move |_| {
        if once.swap(false, Ordering::SeqCst) {
            let event = Event::Updated(Updated { tool: tool("roll", "one") });
            let expected = contents.stream_head(StreamId::Tool(id)).unwrap();
            let new = NewEvent {
                id: ulid::Ulid(1),
                causation: ulid::Ulid::nil(),
                run: None,
                at: retold_events::Timestamp::from_micros(1),
                encoded: event.encode(),
            };
            let append = Append { stream: StreamId::Tool(id), expected, events: vec![new] };
            let commit = Commit { appends: vec![append], ..Commit::default() };
            contents.append(&[commit]).unwrap();
        }
        Ok(Some(tool("renamed", "two")))
    });
    let refused = in_time(world.host.update_tool(id, Arc::clone(&meddling))).await;
    assert!(matches!(refused, Err(Refusal::Storage(_))), "{refused:?}");
    in_time(async {
        // It is read again beside the answer.
        while world.host.known_tool("roll").is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(world.host.known_tool("renamed").is_none(), "what was refused is not there");
    assert_eq!(row(world.host.tool(id).await.unwrap()).source.as_deref(), Some("one"));
    in_time(world.host.update_tool(id, meddling)).await.unwrap();
    assert_eq!(world.host.known_tool("renamed").map(|known| known.id), Some(id));
    audit(&*memory);
}

#[tokio::test]
async fn a_source_is_read_when_it_is_to_be_run() {
    let world = world().await;
    let id = upsert(&world, tool("roll", "one")).await.unwrap();
    let source = world.host.tool_source(id).await.unwrap().unwrap();
    assert_eq!((source.language, &source.text[..]), (Language::Python, "one"));
    let builtin = by_name("memory_insert").unwrap().id;
    assert_eq!(world.host.tool_source(builtin).await.unwrap(), None);
}
