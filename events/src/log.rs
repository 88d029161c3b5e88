//! The log as the rest of the program sees it: a committer thread that writes groups, and reads that never run ahead of it.
//!
//! Contract (to be implemented here):
//! - `Log::open(store: Arc<dyn EventStore>) -> Log`: starts the committer thread. `Log` is cheap to clone.
//! - `async fn reserve(&self) -> Permit`: waits for room in the bounded queue (4096 commits). Never fails; after a failure of the
//!   store it returns at once (submit then answers the error).
//! - `fn submit(&self, permit: Permit, commit: Commit, done: impl FnOnce(Result<Committed, AppendError>) + Send + 'static) -> Ticket`:
//!   queues in call order (also across threads: order of `submit` calls = commit order). `done` runs on the committer thread
//!   after the sync and must be quick.
//! - `async fn append(&self, commit) -> Result<Committed, AppendError>`.
//! - `Ticket(u64)` ordered; `fn is_durable(&self, Ticket) -> bool`; `async fn durable(&self, Ticket) -> Result<(), AppendError>`.
//! - `async fn read<T>(&self, f: impl FnOnce(&dyn EventStore) -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError>`:
//!   runs on a blocking thread and returns only once everything `f` may have seen is durable.
//! - `fn head(&self) -> Head`, `fn space(&self) -> Space` (cached up to 250 ms), `fn failure(&self) -> Option<Arc<StoreError>>`,
//!   `async fn failed(&self) -> Arc<StoreError>` (resolves when the store fails), `async fn close(&self)`.
