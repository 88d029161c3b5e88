//! MCP servers: known once, their tools as they last said.

mod calls;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use retold_actors::{
    Options, Refusal, ToolView,
    mcp::{ComputeServer, McpCall, McpDoor, McpFailure, McpTarget, OfferedTool, Synced},
    tool::{Compute, Source},
};
use retold_events::{
    AgentId, JsonText, McpServerId, Position, RunId, StreamId, ToolId,
    agent::AgentType,
    mcp::{Remote, Server, Transport},
    run::EndStatus,
    store::{EventStore as _, Failure, MemoryStore, Moment},
    tool::{Kind, Language, Tool},
};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::{
    query::{self, ToolFilter},
    row::RunStatus,
};
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    audit::audit,
    calls::returns,
    world::{Disk, World, in_time, new_agent, settle},
};

type Listed = Result<Vec<OfferedTool>, McpFailure>;

/// The bounds of the options that hosts of these tests have.
const BOUND_OF_CALLS: Duration = Duration::from_secs(180);
const BOUND_OF_LISTS: Duration = Duration::from_secs(30);
/// What a door that keeps the same bound needs beyond it: it begins to count later.
const MOMENT: Duration = Duration::from_millis(5);

/// Servers as a test wants them. They are outside the host: a crash does not make them forget.
#[derive(Debug, Default)]
struct Servers {
    lists: Mutex<BTreeMap<String, Listed>>,
    /// Lists are told after this.
    told: Mutex<Option<Arc<Notify>>>,
    asked: Mutex<Vec<String>>,
    made: Mutex<Vec<McpCall>>,
    dropped: Arc<Mutex<usize>>,
    forgotten: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Ended(Arc<Mutex<usize>>);

impl Drop for Ended {
    fn drop(&mut self) {
        *lock(&self.0) += 1;
    }
}

impl Servers {
    fn say(&self, server: &str, listed: Listed) {
        lock(&self.lists).insert(server.to_owned(), listed);
    }

    fn offer(&self, server: &str, names: &[&str]) {
        self.say(server, Ok(names.iter().map(|name| offered(name)).collect()));
    }

    fn made(&self) -> Vec<String> {
        lock(&self.made).iter().map(|call| call.tool.clone()).collect()
    }

    fn keys(&self, tool: &str) -> Vec<[u8; 16]> {
        lock(&self.made).iter().filter(|call| call.tool == tool).map(|call| call.key).collect()
    }
}

impl McpDoor for Servers {
    fn list(&self, target: McpTarget) -> BoxFuture<'static, Listed> {
        lock(&self.asked).push(target.key.clone());
        let unreachable = || Err(McpFailure::Unreachable("connection refused".to_owned()));
        let listed =
            lock(&self.lists).get(&target.server.name).cloned().unwrap_or_else(unreachable);
        let told = lock(&self.told).clone();
        async move {
            if let Some(told) = told {
                told.notified().await;
            }
            if target.server.name == "late" {
                tokio::time::sleep(BOUND_OF_LISTS + MOMENT).await;
            }
            listed
        }
        .boxed()
    }

    fn call(&self, call: McpCall) -> BoxFuture<'static, Result<String, String>> {
        let tool = call.tool.clone();
        lock(&self.made).push(call);
        let ended = Ended(Arc::clone(&self.dropped));
        async move {
            let _ended = ended;
            if tool.starts_with("hang") {
                return std::future::pending().await;
            }
            if tool.starts_with("late") {
                tokio::time::sleep(BOUND_OF_CALLS + MOMENT).await;
            }
            if tool.starts_with("fail") {
                Err(format!("{tool} failed"))
            } else {
                Ok(format!("{tool} done"))
            }
        }
        .boxed()
    }

    fn forget(&self, target: &McpTarget) {
        lock(&self.forgotten).push(target.key.clone());
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

fn offered(name: &str) -> OfferedTool {
    let hint = |words: &str, hint: &str| name.contains(words).then(|| json!({hint: true}));
    OfferedTool {
        name: name.to_owned(),
        description: Some(format!("Does {name}.")),
        annotations: hint("look", "readOnlyHint").or_else(|| hint("again", "idempotentHint")),
        ..OfferedTool::default()
    }
}

fn server(name: &str) -> Server {
    at(name, "http://127.0.0.1:9/mcp")
}

fn at(name: &str, url: &str) -> Server {
    let remote = Remote {
        url: url.to_owned(),
        auth_header: None,
        auth_token: None,
        custom_headers: Vec::new(),
    };
    Server { name: name.to_owned(), transport: Transport::StreamableHttp(remote) }
}

fn becomes(server: Server) -> ComputeServer {
    Arc::new(move |_| Ok(Some(server.clone())))
}

fn with(servers: &Arc<Servers>) -> Options {
    Options { mcp: Some(Arc::clone(servers) as Arc<dyn McpDoor>), ..Options::default() }
}

async fn world(scripts: impl IntoIterator<Item = Vec<Say>>) -> (World, Arc<Servers>) {
    let servers = Arc::new(Servers::default());
    let store = Arc::new(MemoryStore::new());
    (World::over(store, ScriptedModel::new(scripts), with(&servers)).await, servers)
}

async fn create(world: &World, name: &str) -> Result<McpServerId, Refusal> {
    let id = world.host.next_mcp_server_id();
    in_time(world.host.create_mcp_server(id, server(name))).await.map(|known| known.id)
}

/// A server with these tools.
async fn known(world: &World, servers: &Servers, name: &str, tools: &[&str]) -> McpServerId {
    servers.offer(name, tools);
    create(world, name).await.expect("the name is free")
}

async fn refresh(world: &World, id: McpServerId) -> Result<Synced, Refusal> {
    in_time(world.host.refresh_mcp_server(id)).await
}

/// Names of a server's tools, sorted.
async fn names(world: &World, id: McpServerId) -> Vec<String> {
    let tools = in_time(world.host.mcp_tools(id)).await.expect("the server is there");
    let mut names: Vec<String> = tools.iter().map(|tool| tool.name().to_owned()).collect();
    names.sort();
    names
}

fn tool_id(world: &World, name: &str) -> ToolId {
    world.host.known_tool(name).expect("there is such a tool").id
}

async fn agent_with(world: &World, names: &[&str]) -> AgentId {
    let mut agent = new_agent(AgentType::LettaV1);
    agent.tools.extend(names.iter().map(|name| tool_id(world, name)));
    in_time(world.host.create_agent(agent)).await.expect("the agent is sound").state.id
}

async fn ended(world: &World, run: RunId) -> RunStatus {
    in_time(world.host.run_end(run)).await.expect("the run is there").status
}

const COMPLETED: RunStatus = RunStatus::Ended(EndStatus::Completed);

/// What agents call is there, and what is there is of a server that is there.
fn check(world: &World) {
    audit(&*world.store);
    let servers = query::all_mcp_servers(&*world.store).expect("the rows are readable");
    for (id, row) in query::all_tools(&*world.store, &ToolFilter::default()).expect("readable") {
        let Kind::ExternalMcp { server_name, .. } = &row.tool.kind else { continue };
        assert!(
            servers.iter().any(|(_, it)| it.server.name == *server_name),
            "{id}: {server_name}"
        );
        assert!(row.tool.tags.contains(&format!("mcp:{server_name}")));
    }
}

#[tokio::test]
async fn a_name_is_given_to_one_server_however_many_want_it() {
    let (world, servers) = world([]).await;
    servers.offer("files", &["read"]);
    let all = futures_util::future::join_all((0..8).map(|_| create(&world, "files"))).await;
    let (given, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!((given.len(), refused.len()), (1, 7));
    assert!(refused.iter().all(|it| matches!(it, Err(Refusal::Conflict(_)))));
    let other = known(&world, &servers, "notes", &["write"]).await;
    let renamed = in_time(world.host.update_mcp_server(other, becomes(server("files")))).await;
    assert!(matches!(renamed, Err(Refusal::Conflict(_))), "{renamed:?}");
    check(&world);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_known_all_the_same_and_a_refresh_says_why() {
    let (world, servers) = world([]).await;
    let id = create(&world, "files").await.unwrap();
    assert!(names(&world, id).await.is_empty());
    let refused = refresh(&world, id).await.unwrap_err();
    assert!(matches!(&refused, Refusal::McpUnreachable { server, .. } if server == "files"));
    assert!(refused.to_string().contains("connection refused"), "{refused}");
    servers.offer("files", &["read"]);
    assert_eq!(refresh(&world, id).await.unwrap().added, ["read"]);
    // Its tools stay while it is away.
    servers.say("files", Err(McpFailure::Refused("stdio is off".to_owned())));
    assert!(matches!(refresh(&world, id).await, Err(Refusal::Invalid(_))));
    assert_eq!(names(&world, id).await, ["read"]);
    check(&world);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_says_what_it_has_is_given_up() {
    let (world, servers) = world([]).await;
    servers.offer("files", &["read"]);
    *lock(&servers.told) = Some(Arc::default());
    let id = world.host.next_mcp_server_id();
    world.host.create_mcp_server(id, server("files")).await.unwrap();
    let refused = world.host.refresh_mcp_server(id).await.unwrap_err();
    assert!(matches!(refused, Refusal::McpTimeout { .. }), "{refused}");
}

#[tokio::test]
async fn tools_keep_their_ids_over_resyncs_and_what_changes_nothing_writes_nothing() {
    let (world, servers) = world([]).await;
    let id = known(&world, &servers, "files", &["read", "write"]).await;
    let (read, write) = (tool_id(&world, "read"), tool_id(&world, "write"));
    let head = world.host.log().head().position;
    assert_eq!(refresh(&world, id).await.unwrap(), Synced::default());
    assert_eq!(world.host.log().head().position, head);
    let better = OfferedTool { description: Some("Better.".to_owned()), ..offered("read") };
    servers.say("files", Ok(vec![better, offered("list")]));
    let synced = refresh(&world, id).await.unwrap();
    assert_eq!(
        (&synced.deleted[..], &synced.updated[..]),
        (&["write".to_owned()][..], &["read".to_owned()][..])
    );
    assert_eq!(
        (synced.added, names(&world, id).await),
        (vec!["list".to_owned()], vec!["list".to_owned(), "read".to_owned()])
    );
    assert_eq!(tool_id(&world, "read"), read);
    assert!(world.host.tool(write).await.is_err());
    let ToolView::Made { row, .. } = world.host.tool(read).await.unwrap() else { panic!("made") };
    assert_eq!(row.tool.description.as_deref(), Some("Better."));
    check(&world);
}

#[tokio::test]
async fn no_tool_of_a_server_takes_the_name_of_another_tool() {
    let (world, servers) = world([]).await;
    let custom = Tool {
        name: "read".to_owned(),
        description: None,
        kind: Kind::Custom { language: Language::Python },
        source: Some("def read(): ...".to_owned()),
        schema: JsonText::new("{}"),
        args_schema: None,
        tags: Vec::new(),
        return_char_limit: 9,
        pip: None,
        npm: None,
        default_requires_approval: None,
        parallel: false,
        metadata: None,
        project_id: None,
    };
    let made = custom.clone();
    let compute: Compute = Arc::new(move |_| Ok(Some(made.clone())));
    let mine = in_time(world.host.upsert_tool("read".to_owned(), compute)).await.unwrap().id();
    let files = known(&world, &servers, "files", &["read", "memory_insert", "write"]).await;
    let notes = known(&world, &servers, "notes", &["write"]).await;
    assert_eq!(names(&world, files).await, ["files_memory_insert", "files_read", "write"]);
    assert_eq!(names(&world, notes).await, ["notes_write"]);
    let Some(Source { text, .. }) = world.host.tool_source(mine).await.unwrap() else {
        panic!("its source")
    };
    assert_eq!(text, "def read(): ...");
    // The names stay when those that were in the way are gone.
    in_time(world.host.delete_tool(mine)).await.unwrap();
    in_time(world.host.delete_mcp_server(files)).await.unwrap();
    assert_eq!(refresh(&world, notes).await.unwrap(), Synced::default());
    assert_eq!(names(&world, notes).await, ["notes_write"]);
    check(&world);
}

#[tokio::test]
async fn a_server_takes_its_tools_with_it_in_one_commit() {
    let (world, servers) = world([]).await;
    let id = known(&world, &servers, "files", &["read", "write"]).await;
    let read = tool_id(&world, "read");
    let renamed = in_time(world.host.update_mcp_server(id, becomes(server("disk")))).await.unwrap();
    assert_eq!((renamed.name(), tool_id(&world, "read")), ("disk", read));
    assert!(lock(&servers.forgotten).is_empty(), "it is reached as it was");
    check(&world);
    let moved = at("disk", "http://127.0.0.1:10/mcp");
    let moved = in_time(world.host.update_mcp_server(id, becomes(moved))).await.unwrap();
    assert_eq!(lock(&servers.forgotten).len(), 1, "what was agreed with the old one is void");
    assert_ne!(lock(&servers.forgotten)[0], moved.target().key);
    in_time(world.host.delete_mcp_server(id)).await.unwrap();
    assert_eq!(lock(&servers.forgotten).len(), 2);
    assert!(world.host.known_tool("read").is_none() && world.host.mcp_server(id).is_none());
    let again = in_time(world.host.delete_mcp_server(id)).await;
    assert!(matches!(again, Err(Refusal::NotFound { .. })), "{again:?}");
    // At every moment between two commits, tools are of servers that are there.
    for position in 1..=world.host.log().head().position.0 {
        if is_inside_a_commit(&world, position) {
            continue;
        }
        let tool = world.host.tool_at(read, Position(position)).await;
        if let Ok(ToolView::Made { row, .. }) = tool {
            let server = world.host.mcp_server_at(id, Position(position)).await;
            let name = server.expect("its server is there").server.name;
            let Kind::ExternalMcp { server_name, .. } = &row.tool.kind else { panic!("of one") };
            assert_eq!(*server_name, name, "{position}");
        }
    }
    check(&world);
}

/// Whether the event after this position was written together with the one at it: those of tools follow in their commit.
fn is_inside_a_commit(world: &World, position: u64) -> bool {
    let records = world.store.read_all(Position(position), 2).expect("readable");
    records.get(1).is_some_and(|next| matches!(next.stream, StreamId::Tool(_)))
}

#[tokio::test]
async fn a_list_that_was_asked_of_another_form_of_a_server_is_not_taken() {
    let (world, servers) = world([]).await;
    let id = known(&world, &servers, "files", &["read"]).await;
    servers.offer("files", &["write"]);
    let told = Arc::<Notify>::default();
    *lock(&servers.told) = Some(Arc::clone(&told));
    let before = lock(&servers.asked).len();
    let host = world.host.clone();
    let asking = tokio::spawn(async move { host.refresh_mcp_server(id).await });
    while lock(&servers.asked).len() == before {
        settle().await;
    }
    *lock(&servers.told) = None;
    in_time(world.host.delete_mcp_server(id)).await.unwrap();
    told.notify_one();
    let refused = in_time(asking).await.unwrap().unwrap_err();
    assert!(matches!(refused, Refusal::NotFound { .. }), "{refused}");
    assert!(world.host.known_tool("write").is_none());
    check(&world);
}

#[tokio::test]
async fn after_a_crash_at_any_write_of_a_deletion_the_server_is_there_with_its_tools_or_gone_with_them()
 {
    let mut outcomes = BTreeMap::new();
    for moment in [Moment::Before, Moment::After] {
        let (disk, servers) = (Disk::default(), Arc::new(Servers::default()));
        let (store, faults) = disk.open();
        let world = World::over(store, ScriptedModel::new([]), with(&servers)).await;
        let id = known(&world, &servers, "files", &["read", "write"]).await;
        faults.fail_append(1, moment, Failure::Io);
        in_time(world.host.delete_mcp_server(id)).await.unwrap_err();
        drop(world);
        settle().await;
        let (store, _) = disk.open();
        let world = World::over(store, ScriptedModel::new([]), with(&servers)).await;
        let tools = ["read", "write"].map(|name| world.host.known_tool(name).is_some());
        let is_there = world.host.mcp_server(id).is_some();
        assert_eq!(tools, [is_there; 2]);
        outcomes.insert(is_there, ());
        check(&world);
    }
    assert_eq!(outcomes.len(), 2, "both were met");
}

#[tokio::test]
async fn servers_are_bounded_and_so_are_their_tools() {
    let servers = Arc::new(Servers::default());
    let options = Options { max_mcp_servers: 2, max_tools: 3, ..with(&servers) };
    let world = World::over(Arc::new(MemoryStore::new()), ScriptedModel::new([]), options).await;
    known(&world, &servers, "one", &["a", "b"]).await;
    let two = known(&world, &servers, "two", &["c", "d"]).await;
    assert!(names(&world, two).await.is_empty(), "all of them or none");
    let refused = refresh(&world, two).await.unwrap_err();
    assert!(refused.to_string().contains("4 tools, 3 are allowed"), "{refused}");
    let refused = create(&world, "three").await.unwrap_err();
    assert!(refused.to_string().contains("2 MCP servers"), "{refused}");
    check(&world);
}
