//! A small server without actors: it makes random events, as far as they are possible, and stores them with their rows.

use std::collections::{BTreeMap, HashMap};

use proptest::test_runner::TestCaseError;
use retold_events::{
    AgentId, BlockId, McpServerId, Message, MessageId, NewEvent, Part, RunId, Seq, StepId,
    StreamId, Timestamp, ToolId, agent, block,
    codec::Event as _,
    mcp, next_uuid,
    store::{Append, Commit, EventStore, MemoryStore, RowChange},
    tool,
};
use retold_snapshots::{
    agent as agent_state, block as block_state, load, mcp as mcp_state, tool as tool_state,
};
use ulid::Ulid;
use uuid::Uuid;

use crate::facts::{self, Choice};

pub(crate) type Outcome<T = ()> = Result<T, TestCaseError>;

/// One step of a random history: what kind, and a seed for everything else about it.
pub(crate) type Act = (u8, u64);

/// Any event with its place and time, as it was stored.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    Agent(AgentId, Timestamp, Box<agent::Event>),
    Block(BlockId, Timestamp, Box<block::Event>),
    Tool(ToolId, Timestamp, Box<tool::Event>),
    McpServer(McpServerId, Timestamp, Box<mcp::Event>),
}

/// What happened, and what a reader without rows and folds would remember of it.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) agents: Vec<agent_state::State>,
    pub(crate) blocks: Vec<block_state::State>,
    pub(crate) tools: Vec<tool_state::State>,
    pub(crate) servers: Vec<mcp_state::State>,
    /// Everything, by position.
    pub(crate) facts: Vec<Fact>,
    /// Messages ever stored, by agent.
    pub(crate) history: BTreeMap<AgentId, History>,
    /// Runs that ended and were not deleted.
    pub(crate) ended: Vec<(AgentId, RunId)>,
    /// Steps that ended.
    pub(crate) steps: Vec<(AgentId, RunId, StepId)>,
    seqs: HashMap<StreamId, Seq>,
    now: i64,
    last: Uuid,
}

impl World {
    /// The world after some acts.
    pub(crate) fn after(acts: &[Act]) -> Outcome<Self> {
        let mut world = Self { now: 1_700_000_000_000_000, ..Self::default() };
        for &(kind, seed) in acts {
            world.act(kind, Choice::new(seed))?;
        }
        Ok(world)
    }

    /// Goes on by a random time; now and then the clock runs backwards.
    pub(crate) fn tick(&mut self, choice: &mut Choice) -> Timestamp {
        self.now += if choice.once_in(9) { -700 } else { choice.below(1500) as i64 };
        Timestamp::from_micros(self.now)
    }

    pub(crate) fn uuid(&mut self, choice: &mut Choice) -> Uuid {
        self.last = next_uuid(self.last, Timestamp::from_micros(self.now), choice.number());
        self.last
    }

    pub(crate) fn message_id(&mut self, choice: &mut Choice) -> MessageId {
        MessageId::from_uuid(self.uuid(choice))
    }

    /// Index of a random agent that is still there.
    pub(crate) fn some_agent(&self, choice: &mut Choice) -> Option<usize> {
        let there: Vec<usize> =
            (0..self.agents.len()).filter(|&index| !self.agents[index].deleted).collect();
        choice.of(&there)
    }

    pub(crate) fn some_block(&self, choice: &mut Choice) -> Option<usize> {
        let there: Vec<usize> =
            (0..self.blocks.len()).filter(|&index| !self.blocks[index].deleted).collect();
        choice.of(&there)
    }

    pub(crate) fn create_agent(&mut self, choice: &mut Choice) -> Outcome {
        let at = self.tick(choice);
        let id = AgentId::from_uuid(self.uuid(choice));
        let there: Vec<BlockId> =
            self.blocks.iter().filter(|block| !block.deleted).map(|block| block.id).collect();
        let messages = (0..=choice.below(3))
            .map(|index| {
                let role = [retold_events::Role::System, retold_events::Role::User][index.min(1)];
                facts::message(self.message_id(choice), role, "first words", at)
            })
            .collect();
        let created = agent::Created {
            config: facts::config(choice),
            blocks: choice.some_of(&there),
            tools: Vec::new(),
            messages,
            compiled_from: Vec::new(),
        };
        self.agents.push(agent_state::State::created(id, at, &created));
        self.happen(self.agents.len() - 1, at, vec![agent::Event::Created(created)])
    }

    pub(crate) fn create_block(&mut self, choice: &mut Choice) -> Outcome {
        let at = self.tick(choice);
        let id = BlockId::from_uuid(self.uuid(choice));
        let block = facts::block(choice);
        let event = block::Created { block: block.clone(), author: block::Author::Client };
        let event = block::Event::Created(event);
        let rows = block_state::project(id, None, at, &event);
        self.blocks.push(block_state::State::created(id, at, block));
        self.facts.push(Fact::Block(id, at, Box::new(event.clone())));
        self.append(StreamId::Block(id), at, vec![event.encode()], rows)
    }

    /// Something happens to a block.
    pub(crate) fn happen_to_block(
        &mut self,
        index: usize,
        at: Timestamp,
        event: block::Event,
    ) -> Outcome {
        let state = &mut self.blocks[index];
        let rows = block_state::project(state.id, Some(state), at, &event);
        block_state::apply(state, at, &event);
        let id = state.id;
        self.facts.push(Fact::Block(id, at, Box::new(event.clone())));
        self.append(StreamId::Block(id), at, vec![event.encode()], rows)
    }

    /// Some things happen to an agent in one moment.
    pub(crate) fn happen(
        &mut self,
        index: usize,
        at: Timestamp,
        events: Vec<agent::Event>,
    ) -> Outcome {
        let id = self.agents[index].id;
        let mut rows = Vec::new();
        for event in &events {
            self.remember(index, event);
            rows.extend(agent_state::apply_and_project(&mut self.agents[index], at, event));
            self.facts.push(Fact::Agent(id, at, Box::new(event.clone())));
        }
        let encoded = events.iter().map(|event| event.encode()).collect();
        self.append(StreamId::Agent(id), at, encoded, rows)
    }

    pub(crate) fn append(
        &mut self,
        stream: StreamId,
        at: Timestamp,
        encoded: Vec<retold_events::Encoded>,
        rows: Vec<RowChange>,
    ) -> Outcome {
        let expected = self.seqs.entry(stream).or_default();
        let before = *expected;
        expected.0 += encoded.len() as u64;
        let new = |encoded| {
            let nil = Ulid::nil();
            NewEvent { id: nil, causation: nil, run: None, at, encoded }
        };
        let events = encoded.into_iter().map(new).collect();
        let appends = vec![Append { stream, expected: before, events }];
        let commit = Commit { appends, rows, ..Commit::default() };
        for answer in self.store.append(&[commit])? {
            answer?;
        }
        Ok(())
    }

    /// Saves the state of an agent beside its events.
    pub(crate) fn save(&mut self, index: usize) -> Outcome {
        let state = &self.agents[index];
        let seq = self.seqs.get(&StreamId::Agent(state.id)).copied().unwrap_or_default();
        let snapshots = vec![load::save(state, seq)];
        for answer in self.store.append(&[Commit { snapshots, ..Commit::default() }])? {
            answer?;
        }
        Ok(())
    }

    /// Keeps what happens with `event` in the plainest way.
    fn remember(&mut self, index: usize, event: &agent::Event) {
        let state = &self.agents[index];
        if let agent::Event::Forked(forked) = event
            && let Some((_, inherited)) = self.at(forked.parent, forked.position)
        {
            self.history.insert(state.id, inherited);
        }
        enter(self.history.entry(state.id).or_default(), state, event);
        if let agent::Event::StepEnded(ended) = event {
            self.steps.push((state.id, ended.run, ended.step));
        } else if let agent::Event::RunEnded(ended) = event {
            self.ended.push((state.id, ended.run));
        } else if let agent::Event::RunDeleted(deleted) = event {
            self.ended.retain(|(_, run)| *run != deleted.run);
        }
    }
}

/// Messages by id.
pub(crate) type History = BTreeMap<MessageId, Message>;

/// Puts the messages that enter the history with `event` into it. `state` is the agent's before it.
pub(crate) fn enter(history: &mut History, state: &agent_state::State, event: &agent::Event) {
    let mut enter = |messages: &[Message]| {
        history.extend(messages.iter().map(|message| (message.id, message.clone())));
    };
    match event {
        agent::Event::Created(created) => enter(&created.messages),
        agent::Event::ContextCompacted(compacted) => {
            enter(std::slice::from_ref(&compacted.summary));
        }
        agent::Event::ContextReplaced(replaced) => enter(&replaced.messages),
        agent::Event::StepEnded(ended) => {
            if ended.input_enters {
                enter(&state.open_runs[&ended.run].input_messages());
            }
            enter(&ended.messages);
        }
        agent::Event::RunEnded(ended) => enter(&ended.input),
        agent::Event::CallsResolved(resolved) => enter(std::slice::from_ref(&resolved.message)),
        agent::Event::SystemCompiled(compiled) => {
            if let Some(system) = history.get_mut(&state.thread().system.id) {
                system.content = vec![Part::Text { text: compiled.text.clone() }];
                system.tokens = compiled.tokens;
            }
        }
        agent::Event::Configured(_)
        | agent::Event::Forked(_)
        | agent::Event::BlockAttached(_)
        | agent::Event::BlockDetached(_)
        | agent::Event::ToolAttached(_)
        | agent::Event::ToolDetached(_)
        | agent::Event::SecretsSet(_)
        | agent::Event::Deleted(_)
        | agent::Event::RunAccepted(_)
        | agent::Event::RunStarted(_)
        | agent::Event::StepStarted(_)
        | agent::Event::ToolsCalled(_)
        | agent::Event::ToolReturned(_)
        | agent::Event::CancelRequested(_)
        | agent::Event::RunDeleted(_)
        | agent::Event::CallbackSent(_)
        | agent::Event::FeedbackGiven(_) => {}
    }
}
