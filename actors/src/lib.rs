//! What may happen next: commands and decisions, agents as actors, turns, streams and cancellation.
//!
//! Only this crate names ractor. It knows no HTTP and no wire types; whoever hosts agents holds a [`Host`] and never an
//! actor reference. Nothing here awaits a model inside an actor: a turn is a child task that reports by messages.

pub mod agent;
pub mod block;
mod bound;
mod callback;
mod clock;
mod directory;
mod host;
pub mod hub;
pub mod mcp;
pub mod metrics;
mod options;
mod pasts;
mod prompt;
mod refusal;
pub mod replay;
mod rules;
pub mod run;
mod runner;
mod spoken;
mod talk;
pub mod tool;
mod toolbox;
mod turn;

pub use callback::{CallbackResult, Callbacks};
pub use clock::{Clock, IdSource, ManualClock, SystemClock};
pub use host::{
    AgentView, AsOf, BlockView, EventFollow, Fact, Host, LogEvent, OpenError, Scope, ToolView,
};
pub use options::Options;
pub use pasts::Whose;
pub use refusal::Refusal;
pub use runner::{AgentSeen, Job, Ran, Runner};
