//! Looking at the store while nothing is written.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Log;
use crate::store::{Commit, EventStore, StoreError};

impl Log {
    /// Looks at the store between two groups, on the committer thread: all `f` sees is of one moment, and durable. Nobody
    /// can write meanwhile, so `f` must be quick.
    ///
    /// # Errors
    /// What `f` gives, and [`StoreError::Closed`] when nothing can be written any more.
    pub async fn at_rest<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn EventStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.shared().store);
        let (sender, receiver) = oneshot::channel();
        let permit = self.reserve().await;
        self.submit(permit, Commit::default(), move |answer| {
            let seen = match answer {
                Ok(_) => f(&*store),
                Err(error) => Err(StoreError::Closed(error.to_string())),
            };
            // Who asked may have gone.
            let _ = sender.send(seen);
        });
        let gone = || Err(StoreError::Closed("looking at it failed".to_owned()));
        receiver.await.unwrap_or_else(|_| gone())
    }
}
