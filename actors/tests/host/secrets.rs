//! Secrets of agents: sealed before the host hears of them, kept with the agent, handed to its tools and to nobody else.

use std::sync::{Arc, Mutex};

use futures_util::{FutureExt as _, future::BoxFuture};
use retold_actors::{
    Job, Options, Ran, Refusal, Runner,
    agent::{Change, NewAgent, Patch},
};
use retold_events::{
    AgentId, JsonText, Sealed, Secret, ToolId,
    agent::{AgentType, Event},
    run::EndStatus,
    store::MemoryStore,
    tool::{Kind, Language, Tool},
};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::row::RunStatus;

use crate::{
    approvals::{answer, decide},
    audit::{audit, records},
    world::{World, in_time, new_agent},
};

/// Keeps what it is asked to run.
#[derive(Debug, Default)]
struct Keeper(Mutex<Vec<Job>>);

impl Runner for Keeper {
    fn run(&self, job: Job) -> BoxFuture<'static, Ran> {
        self.0.lock().expect("nobody panics with it").push(job);
        async { Ran { result: Ok("done".to_owned()), stdout: vec![], stderr: vec![] } }.boxed()
    }
}

impl Keeper {
    fn last(&self) -> Job {
        self.0.lock().expect("nobody panics with it").last().expect("there was a call").clone()
    }
}

async fn world(scripts: impl IntoIterator<Item = Vec<Say>>) -> (World, Arc<Keeper>) {
    let keeper = Arc::new(Keeper::default());
    let runner = Some(Arc::clone(&keeper) as Arc<dyn Runner>);
    let options = Options { runner, ..Options::default() };
    let store = Arc::new(MemoryStore::new());
    (World::over(store, ScriptedModel::new(scripts), options).await, keeper)
}

/// A secret, sealed in a way that a test can read.
fn secret(owner: AgentId, name: &str, value: u8) -> Secret {
    let value = Sealed { owner: *owner.as_bytes(), bytes: vec![value] };
    Secret { name: name.to_owned(), value }
}

fn with_secrets(values: &'static [(&'static str, u8)]) -> NewAgent {
    let seal = move |agent| {
        Ok(values.iter().map(|&(name, value)| secret(agent, name, value)).collect::<Vec<_>>())
    };
    NewAgent { secrets: Some(Arc::new(seal)), ..new_agent(AgentType::LettaV1) }
}

async fn tool(world: &World, name: &str, source: &str) -> ToolId {
    let new = Tool {
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
        default_requires_approval: Some(name == "asked"),
        parallel: false,
        metadata: None,
        project_id: None,
    };
    let compute = Arc::new(move |_: Option<&Tool>| Ok(Some(new.clone())));
    in_time(world.host.upsert_tool(name.to_owned(), compute)).await.expect("it is made").id()
}

async fn set(world: &World, agent: AgentId, secrets: Vec<Secret>) -> Vec<Secret> {
    let compute = Change::Configure(Box::new(move |_| {
        Ok(Patch { secrets: Some(secrets), ..Patch::default() })
    }));
    world.host.change_agent(agent, compute).await.expect("it is changed");
    held(world, agent).await
}

async fn held(world: &World, agent: AgentId) -> Vec<Secret> {
    let view = world.host.agent(agent).await.expect("the agent is there");
    view.state.secrets.iter().map(|held| held.secret.clone()).collect()
}

/// How often secrets were set.
fn times_set(world: &World) -> usize {
    let events = records(&*world.store);
    let is_set = |record: &retold_events::Record| {
        record.encoded.event_type.0 == 112
            && matches!(record.decode::<Event>().map(|it| it.event), Ok(Event::SecretsSet(_)))
    };
    events.iter().filter(|record| is_set(record)).count()
}

#[tokio::test]
async fn secrets_are_sealed_for_the_agent_that_is_made_and_replaced_as_a_whole() {
    let (world, _) = world([]).await;
    let made = world.host.create_agent(with_secrets(&[("A", 1), ("B", 2)])).await.unwrap();
    let agent = made.state.id;
    assert_eq!(made.state.secrets.len(), 2, "the answer is the agent as it is");
    let (a, b) = (secret(agent, "A", 1), secret(agent, "B", 2));
    assert_eq!(held(&world, agent).await, [a.clone(), b.clone()]);

    let c = secret(agent, "C", 3);
    assert_eq!(set(&world, agent, vec![a.clone(), c.clone()]).await, [a.clone(), c.clone()]);
    assert_eq!(times_set(&world), 2);
    assert_eq!(set(&world, agent, vec![a.clone(), c]).await.len(), 2);
    assert_eq!(times_set(&world), 2, "what is set already is no event");
    assert_eq!(set(&world, agent, vec![]).await, []);
    assert_eq!((times_set(&world), set(&world, agent, vec![]).await.len()), (3, 0));
    audit(&*world.store);
}

#[tokio::test]
async fn an_agent_whose_secrets_cannot_be_sealed_is_not_made() {
    let (world, _) = world([]).await;
    let head = world.host.log().head().position;
    let seal = |_| Err(Refusal::Storage("no key".to_owned()));
    let new = NewAgent { secrets: Some(Arc::new(seal)), ..new_agent(AgentType::LettaV1) };
    assert!(matches!(world.host.create_agent(new).await, Err(Refusal::Storage(_))));
    assert_eq!(world.host.log().head().position, head);
    // Nothing is held up by it.
    in_time(world.agent()).await;
}

#[tokio::test]
async fn a_fork_keeps_the_secrets_of_its_parent_and_the_past_those_of_an_agent_that_is_gone() {
    let (world, _) = world([]).await;
    let parent = world.host.create_agent(with_secrets(&[("A", 1)])).await.unwrap().state.id;
    let child = world.host.fork(parent, None, None).await.unwrap().state.id;
    assert_eq!(held(&world, child).await, [secret(parent, "A", 1)]);
    set(&world, child, vec![secret(child, "A", 2)]).await;
    assert_eq!(held(&world, parent).await, [secret(parent, "A", 1)]);
    let before = world.host.log().head().position;
    world.host.delete_agent(child).await.unwrap();
    let past = world.host.agent_at(child, before).await.unwrap();
    assert_eq!(past.state.secrets[0].secret, secret(child, "A", 2));
    audit(&*world.store);
}

#[tokio::test]
async fn every_way_to_call_a_tool_hands_it_the_secrets_of_its_agent() {
    let scripts = [
        Say::call("a", "plain", "{}"),
        Say::answer("one"),
        Say::call("b", "asked", "{}"),
        Say::answer("two"),
    ];
    let (world, keeper) = world(scripts).await;
    let plain = tool(&world, "plain", "def plain(): ...").await;
    let asked = tool(&world, "asked", "def asked(): ...").await;
    let mut new = with_secrets(&[("A", 1)]);
    new.tools.extend([plain, asked]);
    new.config.project_id = Some("project-1".to_owned());
    let agent = world.host.create_agent(new).await.unwrap().state.id;
    let expected = |job: Job| {
        assert_eq!(job.secrets, [secret(agent, "A", 1)]);
        assert_eq!((job.project.as_deref(), job.agent), (Some("project-1"), Some(agent)));
        assert!(job.agent_state.is_none(), "it did not ask for it");
        job.name
    };

    let run = world.send(agent, "go").await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    assert_eq!(expected(keeper.last()), "plain");

    let run = world.send(agent, "go").await;
    ended(&world, run).await;
    let run = answer(&world, agent, vec![decide("b", true, None)], None).await.unwrap();
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    assert_eq!(expected(keeper.last()), "asked");

    in_time(world.host.run_tool(agent, "plain", "{}".to_owned())).await.unwrap();
    assert_eq!(expected(keeper.last()), "plain");
    audit(&*world.store);
}

#[tokio::test]
async fn a_tool_that_names_agent_state_sees_the_agent_as_it_is_when_it_is_called() {
    let calls = Say::call("m", "core_memory_append", r#"{"label":"human","content":"Ada"}"#);
    let scripts = [calls, Say::call("a", "look", "{}"), Say::answer("seen")];
    let (world, keeper) = world(scripts).await;
    let look = tool(&world, "look", "def look(agent_state): ...").await;
    let mut new = with_secrets(&[("A", 1)]);
    let append =
        retold_actors::tool::by_name("core_memory_append").expect("it comes with the server");
    new.tools.extend([append.id, look]);
    let agent = world.host.create_agent(new).await.unwrap().state.id;
    let run = world.send(agent, "go").await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    let job = keeper.last();
    let seen = job.agent_state.expect("it asked for it");
    assert_eq!((seen.id, seen.config.name.as_str()), (agent, "Test"));
    let human = seen.blocks.iter().find(|it| it.state.block.label.as_deref() == Some("human"));
    assert!(human.unwrap().state.block.value.ends_with("Ada"), "the edit of the step before");
    assert!(seen.tools.contains(&(look, "look".to_owned())));
    assert!(!format!("{seen:?}").contains("Sealed"), "no secret is in it");
}

async fn ended(world: &World, run: retold_events::RunId) -> RunStatus {
    in_time(world.host.run_end(run)).await.expect("the run is there").status
}
