//! What facts amount to: the state of each aggregate, how events fold into it, and the rows of read models that follow.
//!
//! Everything here is pure: `apply` and `project` read no clock, no disk and no randomness, so folding the same events
//! anywhere gives the same bytes. Only [`load`], [`rebuild`], [`query`] and the like read the store.

pub mod agent;
pub mod block;
pub mod load;
pub mod mcp;
pub mod past;
pub mod query;
pub mod rebuild;
pub mod restore;
pub mod row;
pub mod run;
mod saved;
pub mod secret;
mod thread;
pub mod tool;
pub mod verify;

pub use saved::{FOLD_VERSION, SavedStateError};
pub use thread::Thread;
