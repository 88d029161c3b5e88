//! A block as its history left it.

use bytes::Bytes;
use retold_events::{
    BlockId, Timestamp,
    block::{Block, Event, Forked},
    store::{RowChange, Table},
};
use serde::{Deserialize, Serialize};

use crate::row::{BlockRow, TagOwner, encode, tag_key};

/// A block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its id.
    pub id: BlockId,
    /// Everything about it.
    pub block: Block,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Whether it is gone.
    pub deleted: bool,
    /// Versions its history has before the first event of its stream: 0 unless it was forked.
    pub inherited: u64,
}

impl State {
    /// The state after the first event of every block.
    #[must_use]
    pub fn created(id: BlockId, at: Timestamp, block: Block) -> Self {
        Self { id, block, created_at: at, updated_at: at, deleted: false, inherited: 0 }
    }

    /// The state after the first event of a block that was forked.
    #[must_use]
    pub fn forked(id: BlockId, at: Timestamp, event: &Forked) -> Self {
        Self { inherited: event.inherited, ..Self::created(id, at, event.block.clone()) }
    }

    /// The state that `event` begins; `None` when it is no beginning.
    #[must_use]
    pub fn begin(id: BlockId, at: Timestamp, event: &Event) -> Option<Self> {
        match event {
            Event::Created(created) => Some(Self::created(id, at, created.block.clone())),
            Event::Forked(forked) => Some(Self::forked(id, at, forked)),
            Event::Edited(_) | Event::Deleted(_) => None,
        }
    }
}

/// Folds one fact into the state. Total: it has no error to return.
pub fn apply(state: &mut State, at: Timestamp, event: &Event) {
    match event {
        Event::Created(created) => *state = State::created(state.id, at, created.block.clone()),
        Event::Forked(forked) => *state = State::forked(state.id, at, forked),
        Event::Edited(edited) => {
            state.block.clone_from(&edited.block);
            state.updated_at = at;
        }
        Event::Deleted(_) => state.deleted = true,
    }
}

/// The rows that change when `event` happens to `id`, whose state before it is `before`.
#[must_use]
pub fn project(
    id: BlockId,
    before: Option<&State>,
    at: Timestamp,
    event: &Event,
) -> Vec<RowChange> {
    let old_tags = before.map_or(&[][..], |state| &state.block.tags[..]);
    let (after, new_tags) = match event {
        Event::Created(created) => (Some((&created.block, at)), &created.block.tags[..]),
        Event::Forked(forked) => (Some((&forked.block, at)), &forked.block.tags[..]),
        Event::Edited(edited) => (
            Some((&edited.block, before.map_or(at, |state| state.created_at))),
            &edited.block.tags[..],
        ),
        Event::Deleted(_) => (None, &[][..]),
    };
    let row = after.map(|(block, created_at)| {
        encode(&BlockRow { block: block.clone(), created_at, updated_at: at })
    });
    let mut changes =
        vec![RowChange { table: Table::Blocks, key: id.as_bytes().to_vec(), value: row }];
    let owner = TagOwner::Block(id);
    let tag_change =
        |tag: &String, value| RowChange { table: Table::Tags, key: tag_key(tag, owner), value };
    changes.extend(
        old_tags.iter().filter(|tag| !new_tags.contains(tag)).map(|tag| tag_change(tag, None)),
    );
    changes.extend(
        new_tags
            .iter()
            .filter(|tag| !old_tags.contains(tag))
            .map(|tag| tag_change(tag, Some(Bytes::new()))),
    );
    changes
}
