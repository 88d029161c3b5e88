//! Events of blocks as version 0.1.0 wrote them: without the name of the tool. Frozen; only read, never written.

use serde::{Deserialize, Serialize};

use super::{Author as Newest, Block};
use crate::{AgentId, RunId};

/// Version 1 of [`super::Created`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Created {
    block: Block,
    author: Author,
}

/// Version 1 of [`super::Edited`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Edited {
    block: Block,
    author: Author,
}

/// Version 1 of [`super::Deleted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deleted {
    author: Author,
}

/// Version 1 of [`super::Author`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Author {
    Client,
    Agent { agent: AgentId, run: RunId },
}

impl From<Author> for Newest {
    fn from(old: Author) -> Self {
        match old {
            Author::Client => Self::Client,
            Author::Agent { agent, run } => Self::Agent { agent, run, tool: None },
        }
    }
}

impl From<Created> for super::Created {
    fn from(old: Created) -> Self {
        Self { block: old.block, author: old.author.into() }
    }
}

impl From<Edited> for super::Edited {
    fn from(old: Edited) -> Self {
        Self { block: old.block, author: old.author.into(), restored: None }
    }
}

impl From<Deleted> for super::Deleted {
    fn from(old: Deleted) -> Self {
        Self { author: old.author.into() }
    }
}
