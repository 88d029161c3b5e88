//! Random commands against a plain reference model: what a host does is what these few lists say.
//!
//! The model under the host is a puppet: the commands say what it says and when. After each command everything that
//! can go on has gone on, so the reference knows exactly what there is. A crash leaves what was durable.

mod puppet;
mod reference;

use std::sync::Arc;

use proptest::prelude::*;
use retold_actors::{
    Host, Options, Refusal,
    agent::{Change, Patch},
    run::{CancelOutcome, Send},
};
use retold_events::{
    AgentId, BlockId, Role, RunId,
    agent::{AgentType, Config},
    output::Item,
    run::EndStatus,
    store::Faults,
};
use retold_models::ModelErrorKind;
use retold_snapshots::{
    query::{self, MessageFilter, Order, Page},
    row::RunStatus,
};

use self::{
    puppet::Puppet,
    reference::{Line, Reference},
};
use crate::{
    audit::{audit, output},
    world::{Disk, block, crash, in_time, message, new_agent, open, request, set, text_of},
};

const AGENTS: usize = 2;
const SHARED: usize = 2;

/// One command. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Act {
    Send { agent: usize, stream: bool },
    Say { agent: usize },
    CallTool { agent: usize },
    Finish { agent: usize },
    Fail { agent: usize },
    CancelAll { agent: usize },
    Cancel { agent: usize, runs: Vec<prop::sample::Index> },
    Edit { block: usize },
    Attach { agent: usize, block: usize },
    Detach { agent: usize, block: usize },
    Rename { agent: usize },
    Reset { agent: usize },
    Recompile { agent: usize },
    Sleep,
    Crash,
    DeleteRun { run: prop::sample::Index },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let agent = || 0..AGENTS;
    let both = || (0..AGENTS, 0..SHARED);
    let act = prop_oneof![
        6 => (agent(), any::<bool>()).prop_map(|(agent, stream)| Act::Send { agent, stream }),
        4 => agent().prop_map(|agent| Act::Say { agent }),
        3 => agent().prop_map(|agent| Act::CallTool { agent }),
        4 => agent().prop_map(|agent| Act::Finish { agent }),
        1 => agent().prop_map(|agent| Act::Fail { agent }),
        1 => agent().prop_map(|agent| Act::CancelAll { agent }),
        2 => (agent(), prop::collection::vec(any::<prop::sample::Index>(), 1..3))
            .prop_map(|(agent, runs)| Act::Cancel { agent, runs }),
        1 => (0..SHARED).prop_map(|block| Act::Edit { block }),
        1 => both().prop_map(|(agent, block)| Act::Attach { agent, block }),
        1 => both().prop_map(|(agent, block)| Act::Detach { agent, block }),
        1 => agent().prop_map(|agent| Act::Rename { agent }),
        1 => agent().prop_map(|agent| Act::Reset { agent }),
        1 => agent().prop_map(|agent| Act::Recompile { agent }),
        1 => Just(Act::Sleep),
        2 => Just(Act::Crash),
        1 => any::<prop::sample::Index>().prop_map(|run| Act::DeleteRun { run }),
    ];
    prop::collection::vec(act, 1..50)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_host_does_what_the_reference_says(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut world = Life::begin().await;
            for (index, act) in acts.iter().enumerate() {
                world.act(act.clone()).await;
                world.settle().await;
                world.compare().await;
                if index % 8 == 0 {
                    world.audit().await;
                }
            }
            world.act(Act::Crash).await;
            world.settle().await;
            world.compare().await;
            world.audit().await;
        });
    }
}

/// A host, its puppet, and what the reference says of both.
struct Life {
    host: Host,
    puppet: Puppet,
    faults: Faults,
    disk: Disk,
    reference: Reference,
    agents: Vec<AgentId>,
    /// The agents' own blocks, then the shared ones: as the reference numbers them.
    blocks: Vec<BlockId>,
    runs: Vec<RunId>,
    /// Told apart by number, so that no two texts are the same.
    texts: usize,
}

impl Life {
    async fn begin() -> Self {
        let disk = Disk::default();
        let (host, puppet, faults) = start(&disk).await;
        let (mut agents, mut blocks) = (Vec::new(), Vec::new());
        for number in 0..AGENTS {
            let mut new = new_agent(AgentType::LettaV1);
            new.config.system = format!("You are agent {number}.");
            new.new_blocks.truncate(1);
            let view = host.create_agent(new).await.expect("the agent is sound");
            agents.push(view.state.id);
            blocks.push(view.blocks[0].id);
        }
        for number in 0..SHARED {
            let made = host.create_block(block(&format!("shared{number}"), "")).await;
            blocks.push(made.expect("the block is sound").id);
        }
        let reference = Reference::new(AGENTS, SHARED);
        Self { host, puppet, faults, disk, reference, agents, blocks, runs: Vec::new(), texts: 0 }
    }

    fn text(&mut self) -> String {
        self.texts += 1;
        format!("text {} ", self.texts)
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Send { agent, stream } => self.send(agent, stream).await,
            Act::Say { agent } => {
                let text = self.text();
                if self.reference.say(agent, &text) {
                    self.puppet.say(agent, &text);
                }
            }
            Act::CallTool { agent } => {
                let text = self.text();
                if self.reference.call_tool(agent, &text) {
                    self.puppet.call_memory_insert(agent, &text);
                }
            }
            Act::Finish { agent } => {
                if self.reference.finish(agent) {
                    self.puppet.finish(agent);
                }
            }
            Act::Fail { agent } => {
                if self.reference.fail(agent) {
                    self.puppet.fail(agent, ModelErrorKind::Server);
                }
            }
            Act::CancelAll { agent } => self.cancel(agent, None).await,
            Act::Cancel { agent, runs } => {
                if !self.runs.is_empty() {
                    let runs = runs.iter().map(|run| run.index(self.runs.len())).collect();
                    self.cancel(agent, Some(runs)).await;
                }
            }
            Act::Edit { block } => {
                let (text, block) = (self.text(), AGENTS + block);
                self.reference.blocks[block].clone_from(&text);
                let id = self.blocks[block];
                in_time(self.host.edit_block(id, set(&text))).await.expect("it may be edited");
            }
            Act::Attach { agent, block } => {
                self.reference.attach(agent, AGENTS + block);
                self.change(agent, Change::AttachBlock(self.blocks[AGENTS + block])).await;
            }
            Act::Detach { agent, block } => {
                self.reference.detach(agent, AGENTS + block);
                self.change(agent, Change::DetachBlock(self.blocks[AGENTS + block])).await;
            }
            Act::Rename { agent } => {
                let name = self.text();
                self.reference.agents[agent].name.clone_from(&name);
                let configure = move |state: &retold_snapshots::agent::State| {
                    let config = Config { name, ..Config::clone(&state.config) };
                    Ok(Patch { config: Some(config), ..Patch::default() })
                };
                self.change(agent, Change::Configure(Box::new(configure))).await;
            }
            Act::Reset { agent } => {
                self.reference.agents[agent].context.clear();
                let id = self.agents[agent];
                in_time(self.host.reset_messages(id, false)).await.expect("it may be reset");
            }
            Act::Recompile { agent } => {
                let id = self.agents[agent];
                in_time(self.host.recompile(id, true, false)).await.expect("it may be compiled");
            }
            Act::Sleep => drop(self.host.make_room()),
            Act::Crash => self.crash().await,
            Act::DeleteRun { run } => {
                if !self.runs.is_empty() {
                    self.delete_run(run.index(self.runs.len())).await;
                }
            }
        }
    }

    async fn send(&mut self, agent: usize, stream: bool) {
        let text = self.text();
        let send = Send::new(vec![message(&text)], request(stream));
        let sent = in_time(self.host.send(self.agents[agent], send)).await;
        if self.reference.agents[agent].open.len() >= Options::default().queue_bound {
            assert!(matches!(sent, Err(Refusal::QueueFull { .. })), "{sent:?}");
        } else {
            self.reference.send(agent, &text, stream);
            self.runs.push(sent.expect("there is room").run.id);
        }
    }

    async fn change(&self, agent: usize, change: Change) {
        in_time(self.host.change_agent(self.agents[agent], change)).await.expect("it may change");
    }

    async fn cancel(&mut self, agent: usize, runs: Option<Vec<usize>>) {
        let expected = self.reference.cancel(agent, runs.as_deref());
        let expected: Vec<(RunId, CancelOutcome)> =
            expected.into_iter().map(|(run, outcome)| (self.runs[run], outcome)).collect();
        let runs = runs.map(|runs| runs.into_iter().map(|run| self.runs[run]).collect());
        let outcome = in_time(self.host.cancel(self.agents[agent], runs)).await;
        assert_eq!(outcome.expect("it is answered"), expected);
    }

    async fn delete_run(&mut self, run: usize) {
        let deleted = in_time(self.host.delete_run(self.runs[run])).await;
        let known = &mut self.reference.runs[run];
        match known.status {
            _ if known.deleted => assert!(matches!(deleted, Err(Refusal::NotFound { .. }))),
            RunStatus::Ended(_) => {
                known.deleted = true;
                deleted.expect("it has ended");
            }
            RunStatus::Created | RunStatus::Running => {
                assert!(matches!(deleted, Err(Refusal::Conflict(_))), "{deleted:?}");
            }
        }
    }

    async fn crash(&mut self) {
        crash(self.host.clone(), &self.faults).await;
        self.reference.crash();
        (self.host, self.puppet, self.faults) = start(&self.disk).await;
    }

    /// Waits until everything went on as far as it can: the calls that are due were made, the runs that are over ended,
    /// and what was said is shown.
    async fn settle(&self) {
        in_time(self.puppet.called(self.reference.calls)).await;
        for (run, id) in self.reference.runs.iter().zip(&self.runs) {
            if matches!(run.status, RunStatus::Ended(_)) {
                if !run.deleted {
                    in_time(self.host.run_end(*id)).await.expect("the log is readable");
                }
            } else if run.stream && !run.said.is_empty() {
                let mut follow = self.host.follow(*id, 0);
                let mut seen: Vec<Item> = Vec::new();
                while !text_of(&seen).ends_with(&run.said) {
                    let more = in_time(follow.next()).await.expect("the log is readable");
                    seen.extend(more.expect("it is not over").iter().cloned());
                }
            }
        }
        // What a run that is not streamed was told is seen by nobody; its turn hears it all the same.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    async fn compare(&self) {
        assert_eq!(self.puppet.calls(), self.reference.calls, "model calls");
        for (agent, id) in self.agents.iter().enumerate() {
            self.compare_agent(agent, *id).await;
        }
        for (run, id) in self.reference.runs.iter().zip(&self.runs) {
            let row = self.host.run(*id).await;
            if run.deleted {
                assert!(matches!(row, Err(Refusal::NotFound { .. })), "{row:?}");
                continue;
            }
            let row = row.expect("what was acknowledged is there");
            assert_eq!((row.status, row.stop_reason), (run.status, run.stop_reason), "{run:?}");
            assert_eq!(row.interrupted, run.interrupted);
            let shown = text_of(&output(self.disk.contents(), *id));
            assert_eq!(shown, if run.stream { run.shown.as_str() } else { "" }, "{run:?}");
        }
    }

    async fn compare_agent(&self, agent: usize, id: AgentId) {
        let expected = &self.reference.agents[agent];
        let view = self.host.agent(id).await.expect("it is there");
        assert_eq!(view.state.config.name, expected.name);
        let blocks: Vec<(BlockId, &str)> =
            view.blocks.iter().map(|block| (block.id, block.state.block.value.as_str())).collect();
        let wanted: Vec<(BlockId, &str)> = expected
            .blocks
            .iter()
            .map(|&block| (self.blocks[block], self.reference.blocks[block].as_str()))
            .collect();
        assert_eq!(blocks, wanted, "blocks");
        let open: Vec<(RunId, bool)> =
            view.state.open_runs.values().map(|run| (run.id, run.started.is_some())).collect();
        let wanted: Vec<(RunId, bool)> = expected
            .open
            .iter()
            .map(|&run| (self.runs[run], self.reference.runs[run].status == RunStatus::Running))
            .collect();
        assert_eq!(open, wanted, "the queue");

        let page = Page::first(10_000, Order::Asc);
        let history = self
            .host
            .read(move |store| Ok(query::messages(store, id, &MessageFilter::default(), &page)))
            .await
            .expect("the store is readable")
            .expect("the rows are readable");
        for (_, value) in &blocks {
            assert!(history[0].text().contains(value), "the system message shows its memory");
        }
        let lines: Vec<Line> = history[1..]
            .iter()
            .map(|message| Line {
                role: message.role,
                text: message.text(),
                interrupted: message.interrupted,
            })
            .collect();
        assert_eq!(lines, expected.history(), "the history");
        let context: Vec<Line> = view
            .state
            .thread()
            .context
            .iter()
            .map(|message| {
                let index = history.iter().position(|stored| stored.id == message.id);
                let index = index.expect("what is in context is in the history");
                assert_eq!(**message, history[index], "and the same there");
                lines[index - 1].clone()
            })
            .collect();
        let wanted: Vec<Line> = expected.context.iter().map(|&at| expected.line(at)).collect();
        assert_eq!(context, wanted, "the context");
        if let Some(running) = expected.open.first().map(|&run| &self.reference.runs[run]) {
            assert_eq!(self.puppet.prompt(agent), running.prompt, "what the model was shown");
        }
    }

    /// The log itself, and that what is awake is what the log says.
    async fn audit(&self) {
        let states = audit(self.disk.contents());
        for id in &self.agents {
            let view = self.host.agent(*id).await.expect("it is there");
            assert_eq!(*view.state, states[id]);
        }
    }
}

async fn start(disk: &Disk) -> (Host, Puppet, Faults) {
    let (store, faults) = disk.open();
    let puppet = Puppet::new(AGENTS);
    let options = Options { awake_bytes: 0, ..Options::default() };
    let host = in_time(open(store, Arc::new(puppet.clone()), options)).await;
    (host, puppet, faults)
}

/// What a reference line says of a status that a run ended with.
fn ended(status: EndStatus) -> CancelOutcome {
    CancelOutcome::AlreadyEnded(status)
}

/// Roles as a prompt names them.
fn name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User | Role::Summary => "user",
        Role::Assistant | Role::Approval => "assistant",
        Role::Tool => "tool",
    }
}
