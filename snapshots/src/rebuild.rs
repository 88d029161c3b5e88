//! All rows of the read models once more, from nothing but events: what makes them disposable.

mod refill;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use bytes::Bytes;
use retold_events::{
    AgentId, BlockId, JsonText, McpServerId, Position, Record, StreamId, Timestamp, ToolId,
    agent::Event,
    store::{EventStore, RowChange, Table},
};

use crate::{
    agent, block,
    load::{self, Aggregate, LoadError, understood},
    mcp, tool,
};

pub use self::refill::{Refill, Unreadable};

/// Events read from the store at a time.
const PAGE: usize = 1024;

/// Rows by table and key.
pub type Rows = BTreeMap<(Table, Vec<u8>), Bytes>;

/// Folds all events of the store in global order and gives the rows that follow from them.
///
/// Takes memory for every row and every aggregate's state at once.
///
/// # Errors
/// [`LoadError`].
pub fn rebuild(store: &dyn EventStore) -> Result<Rows, LoadError> {
    let mut projector = Projector::default();
    let mut rows = Rows::new();
    let mut from = Position(1);
    loop {
        let records = store.read_all(from, PAGE)?;
        let Some(last) = records.last() else { return Ok(rows) };
        from = Position(last.position.0 + 1);
        for record in &records {
            for RowChange { table, key, value } in projector.take(store, record)? {
                match value {
                    Some(value) => rows.insert((table, key), value),
                    None => rows.remove(&(table, key)),
                };
            }
        }
    }
}

/// Folds events in the order of the log and gives the rows that change with each.
#[derive(Debug, Default)]
pub(crate) struct Projector {
    agents: BTreeMap<AgentId, agent::State>,
    blocks: BTreeMap<BlockId, block::State>,
    tools: BTreeMap<ToolId, tool::State>,
    mcp_servers: BTreeMap<McpServerId, mcp::State>,
    light: bool,
}

impl Projector {
    /// One that remembers little of each agent, block and tool, for folding very many: every row is right but those of messages.
    pub(crate) fn light() -> Self {
        Self { light: true, ..Self::default() }
    }

    /// Folds the next event. `store` tells what a fork begins with.
    ///
    /// # Errors
    /// [`LoadError::Event`] when it cannot be read; then nothing has changed.
    pub(crate) fn take(
        &mut self,
        store: &dyn EventStore,
        record: &Record,
    ) -> Result<Vec<RowChange>, LoadError> {
        match record.stream {
            StreamId::Agent(id) => self.agent(store, id, record),
            StreamId::Block(id) => self.block(id, record),
            StreamId::Tool(id) => self.tool(id, record),
            StreamId::McpServer(id) => self.mcp_server(id, record),
        }
    }

    /// An agent as it stands after the events taken so far.
    pub(crate) fn state(&self, id: AgentId) -> Option<&agent::State> {
        self.agents.get(&id)
    }

    /// How many agents, blocks, tools and MCP servers it remembers.
    pub(crate) fn count(&self) -> usize {
        self.agents.len() + self.blocks.len() + self.tools.len() + self.mcp_servers.len()
    }

    fn agent(
        &mut self,
        store: &dyn EventStore,
        id: AgentId,
        record: &Record,
    ) -> Result<Vec<RowChange>, LoadError> {
        let event = understood::<agent::State>(record)?;
        let state = match self.agents.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => match begin(store, id, record.at, &event)? {
                Some(state) => new.insert(state),
                None => return Ok(Vec::new()),
            },
        };
        let changes = agent::apply_and_project(state, record.at, &event);
        if self.light {
            forget_words(state);
        }
        Ok(changes)
    }

    fn block(&mut self, id: BlockId, record: &Record) -> Result<Vec<RowChange>, LoadError> {
        let event = understood::<block::State>(record)?;
        let changes = block::project(id, self.blocks.get(&id), record.at, &event);
        match self.blocks.entry(id) {
            Entry::Occupied(mut known) => block::apply(known.get_mut(), record.at, &event),
            Entry::Vacant(new) => {
                if let Some(state) = block::State::begin(id, record.at, &event) {
                    new.insert(state);
                }
            }
        }
        if self.light
            && let Some(state) = self.blocks.get_mut(&id)
        {
            state.block.value.clear();
        }
        Ok(changes)
    }

    fn tool(&mut self, id: ToolId, record: &Record) -> Result<Vec<RowChange>, LoadError> {
        let event = understood::<tool::State>(record)?;
        let created_at = self.tools.get(&id).map(|state| state.created_at);
        let changes = tool::project(id, created_at, record.at, &event);
        match self.tools.entry(id) {
            Entry::Occupied(mut known) => tool::apply(known.get_mut(), record.at, &event),
            Entry::Vacant(new) => {
                if let Some(state) = tool::State::begin(id, record.at, &event) {
                    new.insert(state);
                }
            }
        }
        if self.light
            && let Some(state) = self.tools.get_mut(&id)
        {
            state.tool.source = None;
            state.tool.schema = JsonText::empty_object();
        }
        Ok(changes)
    }

    fn mcp_server(
        &mut self,
        id: McpServerId,
        record: &Record,
    ) -> Result<Vec<RowChange>, LoadError> {
        let event = understood::<mcp::State>(record)?;
        let created_at = self.mcp_servers.get(&id).map(|state| state.created_at);
        let changes = mcp::project(id, created_at, record.at, &event);
        match self.mcp_servers.entry(id) {
            Entry::Occupied(mut known) => mcp::apply(known.get_mut(), record.at, &event),
            Entry::Vacant(new) => {
                if let Some(state) = mcp::State::begin(id, record.at, &event) {
                    new.insert(state);
                }
            }
        }
        Ok(changes)
    }
}

/// The state that an agent's first event begins. A fork's parent may have gone on since: it is folded to the moment.
fn begin(
    store: &dyn EventStore,
    id: AgentId,
    at: Timestamp,
    event: &Event,
) -> Result<Option<agent::State>, LoadError> {
    let parent = match agent::State::origin(event) {
        Some((StreamId::Agent(parent), seq)) => load::agent_to(store, parent, seq)?,
        Some(_) | None => None,
    };
    let parent = parent.as_ref().map(|parent| &parent.state);
    Ok(Aggregate::begin(StreamId::Agent(id), at, event, parent))
}

/// Lets go of what fills the memory and what only rows of messages follow from.
fn forget_words(state: &mut agent::State) {
    for thread in state.threads.values_mut() {
        thread.context.clear();
        if !thread.system.content.is_empty() {
            Arc::make_mut(&mut thread.system).content.clear();
        }
    }
    if !state.config.system.is_empty() {
        Arc::make_mut(&mut state.config).system.clear();
    }
}
