//! Telling the end of a run to the address its client gave.

use std::fmt::Debug;

use futures_util::future::BoxFuture;
use retold_snapshots::row::RunRow;

use crate::Host;

/// Tells the end of a run. Implemented by the server, which knows the wire form and the rules for outgoing addresses.
pub trait Callbacks: Send + Sync + Debug + 'static {
    /// Calls the address of `run`. Bounded in time by the implementation; its failure never fails the run.
    fn send(&self, host: Host, run: RunRow) -> BoxFuture<'static, CallbackResult>;
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackResult {
    /// The status the address answered.
    pub status_code: Option<u16>,
    /// Why it did not.
    pub error: Option<String>,
}
