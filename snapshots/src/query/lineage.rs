//! Where the messages of an agent are: in its own rows, and for a fork also in those of the agents it comes from.
//!
//! A row holds the messages that were stored together, under the id of the first; rows of one agent never reach over one
//! another, so the row of a message is the last one whose key is not greater than its id. A fork has a row of its own
//! where a message it inherited reads differently for it: its system message. There the younger one counts.

use std::{iter::Peekable, vec};

use retold_events::{
    AgentId, Message, MessageId,
    store::{EventStore, Scan, Table},
};
use uuid::Uuid;

use super::{
    QueryError,
    scan::{self, Key, Rows, Window, directed},
};
use crate::{
    agent::Ancestor,
    row::{decode, pair_key},
};

/// Rows of a generation that are read at first where several are read at once: one may be all that is wanted of each.
const FIRST_ROWS: usize = 4;

/// An agent and those it comes from, the youngest first.
#[derive(Debug)]
pub(super) struct Lineage(Vec<Generation>);

/// The rows of one agent, and how far they count.
#[derive(Debug, Clone)]
enum Generation {
    /// All of them.
    Own(AgentId),
    /// Those that are inherited.
    Of(Ancestor),
}

/// Messages in the order of a window.
type Messages<'a> = Box<dyn Iterator<Item = Result<Message, QueryError>> + 'a>;

impl Lineage {
    pub(super) fn of(store: &dyn EventStore, agent: AgentId) -> Result<Self, QueryError> {
        let ancestors: Option<Vec<Ancestor>> =
            scan::get(store, Table::Ancestors, agent.as_bytes())?;
        let ancestors = ancestors.unwrap_or_default().into_iter().rev().map(Generation::Of);
        Ok(Self([Generation::Own(agent)].into_iter().chain(ancestors).collect()))
    }

    /// One message.
    pub(super) fn message(
        &self,
        store: &dyn EventStore,
        id: MessageId,
    ) -> Result<Option<Message>, QueryError> {
        for generation in self.0.iter().filter(|generation| generation.holds(id)) {
            let row = generation.row_at(store, id)?.map_or_else(Vec::new, |row| row.messages);
            if let Some(message) = row.into_iter().find(|message| message.id == id) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The messages within a window, read row by row from the end the window names.
    pub(super) fn read(
        self,
        store: &dyn EventStore,
        window: Window<MessageId>,
    ) -> impl Iterator<Item = Result<Message, QueryError>> {
        // Most rows hold two messages or more.
        let rows = (window.limit / 2).clamp(FIRST_ROWS, 64);
        let first_rows = if self.0.len() == 1 { rows } else { rows.min(FIRST_ROWS) };
        let waiting = self.0.into_iter();
        Merged { store, window, first_rows, waiting: waiting.peekable(), open: vec![], last: None }
    }
}

impl Generation {
    const fn agent(&self) -> AgentId {
        match self {
            Self::Own(agent) | Self::Of(Ancestor { agent, .. }) => *agent,
        }
    }

    fn holds(&self, id: MessageId) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Of(ancestor) => ancestor.holds(id),
        }
    }

    /// The greatest id that may be among its messages.
    const fn through(&self) -> Option<MessageId> {
        match self {
            Self::Own(_) => None,
            Self::Of(ancestor) => Some(ancestor.through),
        }
    }

    /// The last row that begins at or before `id`: the only one that can hold it, or reach over it.
    fn row_at(
        &self,
        store: &dyn EventStore,
        id: MessageId,
    ) -> Result<Option<StoredRow>, QueryError> {
        let agent = self.agent();
        let scan = Scan {
            prefix: agent.as_bytes().to_vec(),
            before: following(id).map(|next| pair_key(agent.as_bytes(), next.as_bytes())),
            descending: true,
            limit: 1,
            ..Scan::default()
        };
        let Some((key, value)) = store.rows(Table::Messages, &scan)?.into_iter().next() else {
            return Ok(None);
        };
        Ok(Some(StoredRow { key: key.to_vec(), messages: decode(&value)? }))
    }

    /// Its messages within a window.
    fn read(
        self,
        store: &dyn EventStore,
        window: Window<MessageId>,
        first_rows: usize,
    ) -> Result<Messages<'_>, QueryError> {
        let agent = self.agent();
        // The row at the low end begins before the window and may reach into it.
        let edge = match window.low {
            Some(low) => self.row_at(store, low)?,
            None => None,
        };
        let end = self.through().and_then(following);
        let high = window.high.into_iter().chain(end).min();
        let (edge_key, edge) = edge.map_or((None, None), |row| (Some(row.key), Some(row.messages)));
        let scan = Scan {
            prefix: agent.as_bytes().to_vec(),
            after: edge_key,
            before: high.map(|high| pair_key(agent.as_bytes(), high.as_bytes())),
            descending: window.descending,
            limit: first_rows,
        };
        let rows = Rows::new(store, Table::Messages, scan).map(|row| Ok(decode(&row?.1)?));
        let edge = edge.map(Ok);
        let (first, last) = if window.descending { (None, edge) } else { (edge, None) };
        let rows = first.into_iter().chain(rows).chain(last);
        let read = rows.flat_map(move |row| in_direction(row, window.descending));
        Ok(Box::new(read.filter(move |read| {
            read.as_ref().map_or(true, |message| window.holds(message.id) && self.holds(message.id))
        })))
    }
}

/// Messages that were stored together.
struct StoredRow {
    key: Vec<u8>,
    messages: Vec<Message>,
}

/// The messages of several generations as one sequence in the order of ids.
struct Merged<'a> {
    store: &'a dyn EventStore,
    window: Window<MessageId>,
    first_rows: usize,
    /// Generations that are not read yet, the youngest first.
    waiting: Peekable<vec::IntoIter<Generation>>,
    /// Those that are, the youngest first.
    open: Vec<Peekable<Messages<'a>>>,
    last: Option<MessageId>,
}

impl Merged<'_> {
    /// Opens every generation that may hold what comes next.
    fn open_due(&mut self) -> Result<(), QueryError> {
        while let Some(generation) = self.waiting.peek() {
            // An older generation ends where its child began: going back in time it is long before it is needed.
            let is_due = !self.window.descending
                || generation.through().is_none_or(|through| {
                    self.first_head().is_none_or(|head| head.is_none_or(|head| head <= through))
                });
            if !is_due {
                break;
            }
            if let Some(generation) = self.waiting.next() {
                let read = generation.read(self.store, self.window, self.first_rows)?;
                self.open.push(read.peekable());
            }
        }
        Ok(())
    }

    /// The id that comes first among those read; `Some(None)` where that is an error.
    fn first_head(&mut self) -> Option<Option<MessageId>> {
        let index = self.first_source()?;
        Some(self.open.get_mut(index)?.peek()?.as_ref().ok().map(|message| message.id))
    }

    /// The source whose next item comes first, of equals the youngest; an error comes before everything.
    fn first_source(&mut self) -> Option<usize> {
        let descending = self.window.descending;
        let heads = self.open.iter_mut().enumerate().filter_map(|(index, source)| {
            source.peek().map(|head| (index, head.as_ref().ok().map(|message| message.id)))
        });
        let first = heads.min_by(|(_, a), (_, b)| match (a, b) {
            (Some(a), Some(b)) => directed(a.cmp(b), descending),
            (a, b) => a.is_some().cmp(&b.is_some()),
        });
        first.map(|(index, _)| index)
    }
}

impl Iterator for Merged<'_> {
    type Item = Result<Message, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Err(error) = self.open_due() {
                return Some(Err(error));
            }
            let index = self.first_source()?;
            match self.open.get_mut(index)?.next()? {
                Ok(message) if self.last == Some(message.id) => {}
                Ok(message) => {
                    self.last = Some(message.id);
                    return Some(Ok(message));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn in_direction(
    row: Result<Vec<Message>, QueryError>,
    descending: bool,
) -> Vec<Result<Message, QueryError>> {
    match row {
        Ok(mut messages) => {
            if descending {
                messages.reverse();
            }
            messages.into_iter().map(Ok).collect()
        }
        Err(error) => vec![Err(error)],
    }
}

/// The least id greater than `id`.
pub(super) fn following<Id: Key>(id: Id) -> Option<Id> {
    let next = u128::from_be_bytes(*id.bytes()).checked_add(1)?;
    Some(Id::from_bytes(*Uuid::from_u128(next).as_bytes()))
}

/// The greatest id less than `id`.
pub(super) fn preceding<Id: Key>(id: Id) -> Option<Id> {
    let before = u128::from_be_bytes(*id.bytes()).checked_sub(1)?;
    Some(Id::from_bytes(*Uuid::from_u128(before).as_bytes()))
}
