//! Reading rows in key order, a chunk at a time, within the bounds a page sets.

use std::{cmp::Ordering, fmt::Display, iter::Peekable, vec};

use bytes::Bytes;
use retold_events::{
    AgentId, BlockId, McpServerId, MessageId, RunId, StepId, ToolId,
    defect::Defect,
    store::{EventStore, Scan, StoreError, Table},
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Order, Page, QueryError};
use crate::row::{TagOwner, decode, tag_key};

/// Rows read at once, at most. A page of the usual size costs one or two reads, a long scan few.
const LARGEST_CHUNK: usize = 256;

/// An id that is, or ends, the key of a row.
pub(super) trait Key: Copy + Ord + Display {
    /// Its bytes in keys.
    fn bytes(&self) -> &[u8; 16];
    /// Reads them.
    fn from_bytes(bytes: [u8; 16]) -> Self;

    /// The id that ends a key; `None` for a key that is too short.
    fn of_key(key: &[u8]) -> Option<Self> {
        key.last_chunk().copied().map(Self::from_bytes)
    }
}

macro_rules! keys {
    ($($id:ty),*) => {$(
        impl Key for $id {
            fn bytes(&self) -> &[u8; 16] {
                self.as_bytes()
            }

            fn from_bytes(bytes: [u8; 16]) -> Self {
                Self::from_uuid(Uuid::from_bytes(bytes))
            }
        }
    )*};
}

keys!(AgentId, BlockId, McpServerId, MessageId, RunId, StepId, ToolId);

/// The ids a page may hold, both ends left out, and the way to read them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<Id> {
    /// Only greater ones.
    pub(super) low: Option<Id>,
    /// Only lesser ones.
    pub(super) high: Option<Id>,
    /// Whether the limit counts from the high end.
    pub(super) descending: bool,
    /// Whether what was read has to be turned round for the answer.
    pub(super) turned: bool,
    /// At most so many.
    pub(super) limit: usize,
}

impl<Id: Copy + Ord + Display> Window<Id> {
    /// All there is, oldest first.
    pub(super) const fn everything() -> Self {
        Self { low: None, high: None, descending: false, turned: false, limit: usize::MAX }
    }

    /// Cursors in the requested order; the limit counts from `before` where that is given.
    pub(super) fn in_order(page: &Page<Id>) -> Result<Self, QueryError> {
        let (low, high) = match page.order {
            Order::Asc => (page.after, page.before),
            Order::Desc => (page.before, page.after),
        };
        let turned = page.before.is_some();
        let descending = (page.order == Order::Desc) != turned;
        Self { low, high, descending, turned, limit: page.limit }.checked(page)
    }

    /// Cursors in the order of time; the order says from which end the limit counts.
    pub(super) fn chronological(page: &Page<Id>) -> Result<Self, QueryError> {
        let (low, high) = (page.after, page.before);
        let descending = page.order == Order::Desc;
        Self { low, high, descending, turned: false, limit: page.limit }.checked(page)
    }

    fn checked(self, page: &Page<Id>) -> Result<Self, QueryError> {
        if let (Some(low), Some(high), Some(after), Some(before)) =
            (self.low, self.high, page.after, page.before)
            && low > high
        {
            let (after, before) = (after.to_string(), before.to_string());
            return Err(QueryError::ReversedWindow { after, before });
        }
        Ok(self)
    }

    /// Whether `id` lies within.
    pub(super) fn holds(&self, id: Id) -> bool {
        self.low.is_none_or(|low| id > low) && self.high.is_none_or(|high| id < high)
    }

    /// Those of `ids` that lie within, in the order of reading.
    pub(super) fn sorted<'a>(&self, ids: &[Id]) -> Ids<'a, Id>
    where
        Id: 'a,
    {
        let mut ids: Vec<Id> = ids.iter().copied().filter(|&id| self.holds(id)).collect();
        ids.sort_by(|a, b| directed(a.cmp(b), self.descending));
        ids.dedup();
        Box::new(ids.into_iter().map(Ok))
    }

    /// Takes a page from what was read in the order of [`Window::descending`].
    pub(super) fn fill<T>(
        &self,
        items: impl Iterator<Item = Result<T, QueryError>>,
    ) -> Result<Vec<T>, QueryError> {
        let mut page = items.take(self.limit).collect::<Result<Vec<_>, _>>()?;
        if self.turned {
            page.reverse();
        }
        Ok(page)
    }
}

impl<Id: Key> Window<Id> {
    /// The rows of `table` below `prefix` whose last id lies within.
    pub(super) fn rows<'a>(
        &self,
        store: &'a dyn EventStore,
        table: Table,
        prefix: &[u8],
    ) -> Rows<'a> {
        let key = |id: Id| {
            let mut key = [prefix, id.bytes()].concat();
            if Defect::ListCursorOff.is_on()
                && let Some(last) = key.last_mut()
            {
                *last = last.wrapping_sub(1);
            }
            key
        };
        let scan = Scan {
            prefix: prefix.to_vec(),
            after: self.low.map(key),
            before: self.high.map(key),
            descending: self.descending,
            limit: self.limit.clamp(8, LARGEST_CHUNK),
        };
        Rows::new(store, table, scan)
    }

    /// The ids that end the keys below `prefix`.
    pub(super) fn ids<'a>(
        &self,
        store: &'a dyn EventStore,
        table: Table,
        prefix: &[u8],
    ) -> Ids<'a, Id> {
        let rows = self.rows(store, table, prefix);
        Box::new(rows.filter_map(|row| row.map(|(key, _)| Id::of_key(&key)).transpose()))
    }
}

/// Ids in the order of a window.
pub(super) type Ids<'a, Id> = Box<dyn Iterator<Item = Result<Id, StoreError>> + 'a>;

/// Rows in key order or against it, read when they are asked for.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    store: &'a dyn EventStore,
    table: Table,
    scan: Scan,
    chunk: vec::IntoIter<(Bytes, Bytes)>,
    ended: bool,
}

impl<'a> Rows<'a> {
    /// All rows of `scan`; its limit is the size of the first chunk.
    pub(super) fn new(store: &'a dyn EventStore, table: Table, scan: Scan) -> Self {
        Self { store, table, scan, chunk: Vec::new().into_iter(), ended: false }
    }

    fn read_chunk(&mut self) -> Result<(), StoreError> {
        let chunk = self.store.rows(self.table, &self.scan)?;
        self.ended = chunk.len() < self.scan.limit;
        if let Some((key, _)) = chunk.last() {
            let bound =
                if self.scan.descending { &mut self.scan.before } else { &mut self.scan.after };
            *bound = Some(key.to_vec());
        }
        self.scan.limit = self.scan.limit.saturating_mul(2).min(LARGEST_CHUNK);
        self.chunk = chunk.into_iter();
        Ok(())
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.chunk.len() == 0
            && !self.ended
            && let Err(error) = self.read_chunk()
        {
            self.ended = true;
            return Some(Err(error));
        }
        self.chunk.next().map(Ok)
    }
}

/// Joins sorted ids to one sorted sequence without repetitions.
pub(super) fn merge<'a, Id: Key + 'a>(sources: Vec<Ids<'a, Id>>, descending: bool) -> Ids<'a, Id> {
    let sources = sources.into_iter().map(Iterator::peekable).collect();
    Box::new(Merge { sources, descending, last: None })
}

struct Merge<'a, Id> {
    sources: Vec<Peekable<Ids<'a, Id>>>,
    descending: bool,
    last: Option<Id>,
}

impl<Id: Key> Merge<'_, Id> {
    /// The source whose next item comes first; an error comes before everything.
    fn next_source(&mut self) -> Option<usize> {
        let descending = self.descending;
        let heads = self.sources.iter_mut().enumerate().filter_map(|(index, source)| {
            source.peek().map(|head| (index, head.as_ref().ok().copied()))
        });
        let first = heads.min_by(|(_, a), (_, b)| match (a, b) {
            (Some(a), Some(b)) => directed(a.cmp(b), descending),
            (a, b) => a.is_some().cmp(&b.is_some()),
        });
        first.map(|(index, _)| index)
    }
}

impl<Id: Key> Iterator for Merge<'_, Id> {
    type Item = Result<Id, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let index = self.next_source()?;
            match self.sources.get_mut(index)?.next()? {
                Ok(id) if self.last == Some(id) => {}
                Ok(id) => {
                    self.last = Some(id);
                    return Some(Ok(id));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// `ordering`, or its reverse.
pub(super) fn directed(ordering: Ordering, descending: bool) -> Ordering {
    if descending { ordering.reverse() } else { ordering }
}

/// The rows of `ids`. An id without a row is left out: its owner is gone.
pub(super) fn look_up<'a, Id: Key + 'a, Row: DeserializeOwned>(
    store: &'a dyn EventStore,
    table: Table,
    ids: Ids<'a, Id>,
) -> Found<'a, Id, Row> {
    Box::new(ids.filter_map(move |id| {
        let id = match id {
            Ok(id) => id,
            Err(error) => return Some(Err(error.into())),
        };
        get(store, table, id.bytes()).map(|row| row.map(|row| (id, row))).transpose()
    }))
}

/// Ids with their rows, in the order of a window.
pub(super) type Found<'a, Id, Row> = Box<dyn Iterator<Item = Result<(Id, Row), QueryError>> + 'a>;

/// One row.
pub(super) fn get<Row: DeserializeOwned>(
    store: &dyn EventStore,
    table: Table,
    key: &[u8],
) -> Result<Option<Row>, QueryError> {
    store.row(table, key)?.map(|bytes| decode(&bytes)).transpose().map_err(Into::into)
}

/// All rows of a table whose keys are ids, within a window.
pub(super) fn whole<'a, Id: Key + 'a, Row: DeserializeOwned>(
    store: &'a dyn EventStore,
    table: Table,
    window: &Window<Id>,
) -> Found<'a, Id, Row> {
    Box::new(window.rows(store, table, &[]).filter_map(|row| {
        let (key, value) = match row {
            Ok(row) => row,
            Err(error) => return Some(Err(error.into())),
        };
        Id::of_key(&key).map(|id| Ok((id, decode(&value)?)))
    }))
}

/// Those who carry one of `tags`; where all are asked for, those who may carry them all.
pub(super) fn tagged<'a, Id: Key + 'a>(
    store: &'a dyn EventStore,
    tags: &[String],
    all: bool,
    owner: fn(Id) -> TagOwner,
    window: &Window<Id>,
) -> Ids<'a, Id> {
    let needed = if all { 1 } else { tags.len() };
    let carriers = tags.iter().take(needed).map(|tag| {
        let mut prefix = tag_key(tag, owner(Id::from_bytes([0; 16])));
        prefix.truncate(prefix.len() - 16);
        window.ids(store, Table::Tags, &prefix)
    });
    merge(carriers.collect(), window.descending)
}

/// Refuses a cursor that names nothing. One that names what is gone still has its place in the order of creation:
/// a client that deletes what it lists must be able to go on.
pub(super) fn check_cursors<Id: Key>(
    page: &Page<Id>,
    exists: impl Fn(Id) -> Result<bool, QueryError>,
) -> Result<(), QueryError> {
    for cursor in [page.after, page.before].into_iter().flatten() {
        if !exists(cursor)? {
            return Err(QueryError::UnknownCursor(cursor.to_string()));
        }
    }
    Ok(())
}
