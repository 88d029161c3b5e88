//! Lists of blocks, and who shares them.

use retold_events::{
    AgentId, BlockId, StreamId,
    store::{EventStore, Table},
};

use super::{
    Page, QueryError, contains_lowered, has_tags,
    scan::{self, Found, Window, check_cursors},
};
use crate::row::{BlockRow, TagOwner};

/// Which blocks. The default is all that are not hidden.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockFilter {
    /// Its whole label.
    pub label: Option<String>,
    /// The whole name of its template.
    pub name: Option<String>,
    /// Whether only templates are listed.
    pub templates_only: bool,
    /// Its project.
    pub project_id: Option<String>,
    /// Tags it carries; none means any block.
    pub tags: Vec<String>,
    /// Whether it has to carry all of them rather than one.
    pub match_all_tags: bool,
    /// Part of its label, whatever the case.
    pub label_search: Option<String>,
    /// Part of its description, whatever the case.
    pub description_search: Option<String>,
    /// Part of its value, whatever the case.
    pub value_search: Option<String>,
    /// It belongs to more agents than this.
    pub connected_agents_gt: Option<i64>,
    /// It belongs to fewer agents than this.
    pub connected_agents_lt: Option<i64>,
    /// It belongs to one of these numbers of agents; none means any number.
    pub connected_agents_eq: Vec<i64>,
    /// Whether hidden ones are listed, too.
    pub show_hidden: bool,
}

/// A page of blocks, by creation.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when there never was such a block.
pub fn blocks(
    store: &dyn EventStore,
    filter: &BlockFilter,
    page: &Page<BlockId>,
) -> Result<Vec<(BlockId, BlockRow)>, QueryError> {
    check_cursors(page, |id| Ok(store.stream_head(StreamId::Block(id))?.0 > 0))?;
    let window = Window::in_order(page)?;
    window.fill(matching(store, filter, &window))
}

/// How many blocks there are.
///
/// # Errors
/// [`QueryError`].
pub fn count_blocks(store: &dyn EventStore, filter: &BlockFilter) -> Result<usize, QueryError> {
    let mut count = 0;
    for block in matching(store, filter, &Window::everything()) {
        block?;
        count += 1;
    }
    Ok(count)
}

/// One block.
///
/// # Errors
/// [`QueryError`].
pub fn block(store: &dyn EventStore, id: BlockId) -> Result<Option<BlockRow>, QueryError> {
    scan::get(store, Table::Blocks, id.as_bytes())
}

/// A page of the agents a block belongs to, by creation.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when there never was such an agent.
pub fn agents_of_block(
    store: &dyn EventStore,
    block: BlockId,
    page: &Page<AgentId>,
) -> Result<Vec<AgentId>, QueryError> {
    check_cursors(page, |id| Ok(store.stream_head(StreamId::Agent(id))?.0 > 0))?;
    let window = Window::in_order(page)?;
    let ids = window.ids(store, Table::BlockAgents, block.as_bytes());
    window.fill(ids.map(|id| Ok(id?)))
}

/// How many agents a block belongs to.
///
/// # Errors
/// [`QueryError`].
pub fn block_agent_count(store: &dyn EventStore, block: BlockId) -> Result<usize, QueryError> {
    let everyone = Window::<AgentId>::everything();
    let mut count = 0;
    for agent in everyone.ids(store, Table::BlockAgents, block.as_bytes()) {
        agent?;
        count += 1;
    }
    Ok(count)
}

fn matching<'a>(
    store: &'a dyn EventStore,
    filter: &'a BlockFilter,
    window: &Window<BlockId>,
) -> Found<'a, BlockId, BlockRow> {
    let wanted = Wanted::new(filter);
    let candidates = if filter.tags.is_empty() {
        scan::whole(store, Table::Blocks, window)
    } else {
        let (tags, all) = (&filter.tags, filter.match_all_tags);
        scan::look_up(store, Table::Blocks, scan::tagged(store, tags, all, TagOwner::Block, window))
    };
    Box::new(candidates.filter_map(move |found| {
        let (id, row) = match found {
            Ok(found) => found,
            Err(error) => return Some(Err(error)),
        };
        match wanted.matches(&row).then(|| wanted.matches_agents(store, id)) {
            Some(Ok(true)) => Some(Ok((id, row))),
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(false)) | None => None,
        }
    }))
}

/// A filter with its searched parts in lower case.
struct Wanted<'a> {
    filter: &'a BlockFilter,
    label: Option<String>,
    description: Option<String>,
    value: Option<String>,
}

impl<'a> Wanted<'a> {
    fn new(filter: &'a BlockFilter) -> Self {
        let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_lowercase());
        Self {
            filter,
            label: lower(&filter.label_search),
            description: lower(&filter.description_search),
            value: lower(&filter.value_search),
        }
    }

    fn matches(&self, row: &BlockRow) -> bool {
        let (filter, block) = (self.filter, &row.block);
        let holds = |text: Option<&str>, part: &Option<String>| {
            part.as_ref().is_none_or(|part| text.is_some_and(|text| contains_lowered(text, part)))
        };
        (filter.show_hidden || block.hidden != Some(true))
            && (!filter.templates_only || block.is_template)
            && (filter.label.is_none() || filter.label == block.label)
            && (filter.name.is_none() || filter.name == block.template_name)
            && (filter.project_id.is_none() || filter.project_id == block.project_id)
            && has_tags(&block.tags, &filter.tags, filter.match_all_tags)
            && holds(block.label.as_deref(), &self.label)
            && holds(block.description.as_deref(), &self.description)
            && holds(Some(&block.value), &self.value)
    }

    /// Counts the block's agents, but only where somebody asks for their number.
    fn matches_agents(&self, store: &dyn EventStore, block: BlockId) -> Result<bool, QueryError> {
        let BlockFilter {
            connected_agents_gt: more_than,
            connected_agents_lt: fewer_than,
            connected_agents_eq: exactly,
            ..
        } = self.filter;
        if more_than.is_none() && fewer_than.is_none() && exactly.is_empty() {
            return Ok(true);
        }
        let count = i64::try_from(block_agent_count(store, block)?).unwrap_or(i64::MAX);
        Ok(more_than.is_none_or(|bound| count > bound)
            && fewer_than.is_none_or(|bound| count < bound)
            && (exactly.is_empty() || exactly.contains(&count)))
    }
}
