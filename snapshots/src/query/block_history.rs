//! The history of a block: every version it had, who made it, and what it held then.
//!
//! It is read from the events themselves: they hold the whole content, so there is nothing to fold. Versions are counted
//! along the history, 1, 2, 3, ... without gap; that of a forked block begins with its original's, so a number says at
//! once in which stream its event is.

use retold_events::{
    BlockId, Position, Record, Seq, StreamId, Timestamp,
    block::{Author, Block, Event},
    codec::Event as _,
    store::EventStore,
};

use super::{Page, QueryError, scan::Window};

/// Events read at a time, at most: one may hold a hundred thousand characters.
const PAGE: u64 = 64;

/// One version of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockVersion {
    /// Its number, from 1.
    pub number: u64,
    /// The block whose event it is: the block itself, or one it was forked from.
    pub block: BlockId,
    /// The place of the event among all.
    pub position: Position,
    /// When it came to be.
    pub at: Timestamp,
    /// How it came to be.
    pub kind: VersionKind,
    /// Who made it; `None` of a fork, which is made of an agent and not of its blocks.
    pub author: Option<Author>,
    /// Everything about the block; of a deletion, what it was before.
    pub content: Block,
}

/// How a version came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind {
    /// The block was made.
    Created,
    /// Something about it changed.
    Edited,
    /// The content of this version came back.
    Restored(u64),
    /// The block was made as a copy of this one.
    Forked(BlockId),
    /// It was deleted.
    Deleted,
}

/// A page of the versions of a block, by their numbers. `None` when there never was such a block.
///
/// # Errors
/// [`QueryError`]; a cursor is unknown when there is no such version.
pub fn block_history(
    store: &dyn EventStore,
    id: BlockId,
    page: &Page<u64>,
) -> Result<Option<Vec<BlockVersion>>, QueryError> {
    let Some(lineage) = Lineage::of(store, id)? else { return Ok(None) };
    let last = lineage.last();
    let unknown = |cursor: &u64| !(1..=last).contains(cursor);
    if let Some(cursor) = [page.after, page.before].into_iter().flatten().find(unknown) {
        return Err(QueryError::UnknownCursor(cursor.to_string()));
    }
    let window = Window::in_order(page)?;
    let low = window.low.unwrap_or(0);
    let high = window.high.unwrap_or(last + 1).max(low + 1);
    let wanted = (high - low - 1).min(u64::try_from(page.limit).unwrap_or(u64::MAX));
    let (first, end) =
        if window.descending { (high - wanted, high) } else { (low + 1, low + 1 + wanted) };
    let mut versions = lineage.read(store, first, end)?;
    if window.descending != window.turned {
        versions.reverse();
    }
    Ok(Some(versions))
}

/// One version of a block. `None` when there is no such block or no such version.
///
/// # Errors
/// [`QueryError`].
pub fn block_version(
    store: &dyn EventStore,
    id: BlockId,
    number: u64,
) -> Result<Option<BlockVersion>, QueryError> {
    let Some(lineage) = Lineage::of(store, id)? else { return Ok(None) };
    if number == 0 || number > lineage.last() {
        return Ok(None);
    }
    Ok(lineage.read(store, number, number + 1)?.pop())
}

/// The streams a block's history is in, the oldest last.
struct Lineage(Vec<Part>);

/// The part of a history that is in one stream.
struct Part {
    block: BlockId,
    /// Versions before its first.
    inherited: u64,
    /// Its last event.
    last: Seq,
}

impl Lineage {
    fn of(store: &dyn EventStore, id: BlockId) -> Result<Option<Self>, QueryError> {
        let mut parts: Vec<Part> = Vec::new();
        let (mut block, mut last) = (id, store.stream_head(StreamId::Block(id))?);
        loop {
            let first = store.read_stream(StreamId::Block(block), Seq(1), 1)?.pop();
            let Some(first) = first.filter(|_| last.0 > 0) else { break };
            match Event::decode(&first.encoded)? {
                // Numbers go down with every step back, so this ends.
                Event::Forked(forked)
                    if parts.last().is_none_or(|part| forked.inherited < part.inherited) =>
                {
                    parts.push(Part { block, inherited: forked.inherited, last });
                    (block, last) = (forked.from, forked.version);
                }
                Event::Forked(_) | Event::Created(_) | Event::Edited(_) | Event::Deleted(_) => {
                    parts.push(Part { block, inherited: 0, last });
                    break;
                }
            }
        }
        Ok((!parts.is_empty()).then_some(Self(parts)))
    }

    /// The number of the newest version.
    fn last(&self) -> u64 {
        self.0.first().map_or(0, |part| part.inherited + part.last.0)
    }

    /// The versions from `first` to before `end`, oldest first.
    fn read(
        &self,
        store: &dyn EventStore,
        first: u64,
        end: u64,
    ) -> Result<Vec<BlockVersion>, QueryError> {
        let mut versions = Vec::new();
        for part in self.0.iter().rev() {
            let from = first.max(part.inherited + 1);
            let end = end.min(part.inherited + part.last.0 + 1);
            if from < end {
                part.read(store, from, end, &mut versions)?;
            }
        }
        Ok(versions)
    }
}

impl Part {
    fn read(
        &self,
        store: &dyn EventStore,
        first: u64,
        end: u64,
        versions: &mut Vec<BlockVersion>,
    ) -> Result<(), QueryError> {
        // A deletion says nothing of the content: the event before it does.
        let mut before: Option<Block> = None;
        let mut from = Seq((first - self.inherited).saturating_sub(1).max(1));
        let end = end - self.inherited;
        while from.0 < end {
            let wanted = usize::try_from((end - from.0).min(PAGE)).unwrap_or(1);
            let records = store.read_stream(StreamId::Block(self.block), from, wanted)?;
            if records.is_empty() {
                break;
            }
            for record in records {
                from = record.seq.next();
                let version = self.version(&record, before.take())?;
                before = version.as_ref().map(|version| version.content.clone());
                versions.extend(version.filter(|version| version.number >= first));
            }
        }
        Ok(())
    }

    /// The version that an event made; `None` for the deletion of a block of which nothing is known.
    fn version(
        &self,
        record: &Record,
        before: Option<Block>,
    ) -> Result<Option<BlockVersion>, QueryError> {
        let (kind, author, content) = match Event::decode(&record.encoded)? {
            Event::Created(created) => {
                (VersionKind::Created, Some(created.author), Some(created.block))
            }
            Event::Edited(edited) => {
                let kind = edited.restored.map_or(VersionKind::Edited, VersionKind::Restored);
                (kind, Some(edited.author), Some(edited.block))
            }
            Event::Forked(forked) => (VersionKind::Forked(forked.from), None, Some(forked.block)),
            Event::Deleted(deleted) => (VersionKind::Deleted, Some(deleted.author), before),
        };
        let number = self.inherited + record.seq.0;
        let (block, position, at) = (self.block, record.position, record.at);
        Ok(content.map(|content| BlockVersion {
            number,
            block,
            position,
            at,
            kind,
            author,
            content,
        }))
    }
}
