//! Lists of the tools that users made.

use retold_events::{
    ToolId,
    store::{EventStore, Table},
    tool::Kind,
};

use super::{
    Page, QueryError, contains_lowered,
    scan::{self, Found, Window, check_cursors},
};
use crate::row::ToolRow;

/// V1's word for tools that run what a client wrote.
pub const CUSTOM: &str = "custom";
/// V1's word for tools of MCP servers.
pub const EXTERNAL_MCP: &str = "external_mcp";

/// Which tools. Empty lists are no condition; the default is all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolFilter {
    /// Its whole name is one of these.
    pub names: Vec<String>,
    /// It is one of these.
    pub ids: Option<Vec<ToolId>>,
    /// Part of its name, whatever the case.
    pub search: Option<String>,
    /// Its kind is one of these words.
    pub kinds: Vec<String>,
    /// Its kind is none of these words.
    pub other_kinds_than: Vec<String>,
}

impl ToolFilter {
    /// Whether a tool with this id, name and kind is wanted.
    #[must_use]
    pub fn matches(&self, id: ToolId, name: &str, kind: &str) -> bool {
        let among = |wanted: &[String], text: &str| wanted.iter().any(|it| it == text);
        (self.names.is_empty() || among(&self.names, name))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&id))
            && (self.kinds.is_empty() || among(&self.kinds, kind))
            && !among(&self.other_kinds_than, kind)
            && self.search.as_ref().is_none_or(|part| contains_lowered(name, &part.to_lowercase()))
    }
}

/// V1's word for the kind of a tool.
#[must_use]
pub fn kind_word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Custom { .. } => CUSTOM,
        Kind::ExternalMcp { .. } => EXTERNAL_MCP,
    }
}

/// A page of tools by creation, each with its source. `is_known` tells of ids that name a tool which no event made, and
/// may be cursors all the same.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when there never was such a tool.
pub fn tools(
    store: &dyn EventStore,
    filter: &ToolFilter,
    page: &Page<ToolId>,
    is_known: impl Fn(ToolId) -> bool,
) -> Result<Vec<(ToolId, ToolRow)>, QueryError> {
    check_cursors(page, |id| {
        let was_made = || store.stream_head(retold_events::StreamId::Tool(id));
        Ok(is_known(id) || was_made()?.0 > 0)
    })?;
    let window = Window::in_order(page)?;
    let mut found = window.fill(matching(store, filter, &window))?;
    for (id, row) in &mut found {
        row.tool.source = source(store, *id)?;
    }
    Ok(found)
}

/// How many tools there are.
///
/// # Errors
/// [`QueryError`].
pub fn count_tools(store: &dyn EventStore, filter: &ToolFilter) -> Result<usize, QueryError> {
    let mut count = 0;
    for tool in matching(store, filter, &Window::everything()) {
        tool?;
        count += 1;
    }
    Ok(count)
}

/// Every tool that matches, by creation, without its source.
///
/// # Errors
/// [`QueryError`].
pub fn all_tools(
    store: &dyn EventStore,
    filter: &ToolFilter,
) -> Result<Vec<(ToolId, ToolRow)>, QueryError> {
    let window = Window::everything();
    window.fill(matching(store, filter, &window))
}

/// One tool with its source.
///
/// # Errors
/// [`QueryError`].
pub fn tool(store: &dyn EventStore, id: ToolId) -> Result<Option<ToolRow>, QueryError> {
    let Some(mut row) = scan::get::<ToolRow>(store, Table::Tools, id.as_bytes())? else {
        return Ok(None);
    };
    row.tool.source = source(store, id)?;
    Ok(Some(row))
}

fn source(store: &dyn EventStore, id: ToolId) -> Result<Option<String>, QueryError> {
    scan::get(store, Table::ToolSources, id.as_bytes())
}

fn matching<'a>(
    store: &'a dyn EventStore,
    filter: &'a ToolFilter,
    window: &Window<ToolId>,
) -> Found<'a, ToolId, ToolRow> {
    let candidates: Found<'a, ToolId, ToolRow> = match &filter.ids {
        Some(ids) => scan::look_up(store, Table::Tools, window.sorted(ids)),
        None => scan::whole(store, Table::Tools, window),
    };
    Box::new(candidates.filter(move |found| match found {
        Ok((id, row)) => filter.matches(*id, &row.tool.name, kind_word(&row.tool.kind)),
        Err(_) => true,
    }))
}
