//! Who waits for new events: of one stream, or of all.
//!
//! A follower of one agent is woken by events of that agent and by nothing else: so thousands of followers of idle agents
//! cost nothing while another one is busy. For the committer that is one load while nobody follows, else one lock and one
//! look-up per stream of a group. Only numbers are told; what happened is read from the log, so a follower who does not
//! come back holds nothing up.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use super::{Log, Shared};
use crate::{
    StreamId,
    store::{Commit, StoreError},
};

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// How many they are. Raised before a follower reads, so a committer that still sees none has written before that.
    followers: AtomicUsize,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// Counts groups with events. Made with the first follower of all streams.
    all: Option<watch::Sender<u64>>,
    /// Counts groups with events of a stream.
    streams: HashMap<StreamId, watch::Sender<u64>>,
    /// Nothing more will be written.
    over: bool,
}

/// Tells when there is something new. Dropping it is all it takes to stop.
#[derive(Debug)]
pub struct Watch {
    /// `None` when nothing more will be written.
    groups: Option<watch::Receiver<u64>>,
    /// `None` for all streams.
    stream: Option<StreamId>,
    shared: Arc<Shared>,
}

impl Log {
    /// Watches a stream, or all of them, for events that become durable from now on. Whoever reads afterwards, and waits
    /// when there is nothing more to read, misses none.
    #[must_use]
    pub fn watch(&self, stream: Option<StreamId>) -> Watch {
        let shared = Arc::clone(self.shared());
        shared.watched.followers.fetch_add(1, Ordering::SeqCst);
        let groups = shared.watched.lock().subscribe(stream);
        Watch { groups, stream, shared }
    }
}

impl Watch {
    /// Waits until there is something new since the last time, or since the beginning. Cancel-safe.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when nothing more will be written.
    pub async fn changed(&mut self) -> Result<(), StoreError> {
        if let Some(groups) = &mut self.groups
            && groups.changed().await.is_ok()
        {
            return Ok(());
        }
        Err(StoreError::Closed(self.shared.error().to_string()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let watched = &self.shared.watched;
        let mut told = watched.lock();
        // Before the look at who is left.
        self.groups = None;
        if let Some(stream) = self.stream
            && told.streams.get(&stream).is_some_and(|groups| groups.receiver_count() == 0)
        {
            told.streams.remove(&stream);
        }
        watched.followers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Watched {
    /// Tells of a durable group. One of its commits may have been refused: then somebody wakes for nothing.
    pub(super) fn tell(&self, group: &[Commit]) {
        if self.followers.load(Ordering::SeqCst) == 0 {
            return;
        }
        let told = self.lock();
        let appends = group.iter().flat_map(|commit| &commit.appends);
        let mut any = false;
        for append in appends.filter(|append| !append.events.is_empty()) {
            any = true;
            if let Some(groups) = told.streams.get(&append.stream) {
                groups.send_modify(|count| *count += 1);
            }
        }
        if let Some(groups) = told.all.as_ref().filter(|_| any) {
            groups.send_modify(|count| *count += 1);
        }
    }

    /// Tells everybody, also who comes later, that nothing more will be written.
    pub(super) fn end(&self) {
        *self.lock() = Told { over: true, ..Told::default() };
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        // It is whole between any two statements that touch it.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn subscribe(&mut self, stream: Option<StreamId>) -> Option<watch::Receiver<u64>> {
        if self.over {
            return None;
        }
        let groups = match stream {
            Some(stream) => self.streams.entry(stream).or_default(),
            None => self.all.get_or_insert_default(),
        };
        Some(groups.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;
    use crate::store::{
        Failure, Faults, FaultyStore, MemoryStore, Moment,
        conformance::{agent, commit},
    };

    fn log() -> (Log, Faults) {
        let faults = Faults::new();
        let store = FaultyStore::new(Arc::new(MemoryStore::new()), faults.clone());
        (Log::open(Arc::new(store)), faults)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
    }

    /// Whether nothing was told since the last time.
    fn is_quiet(watch: &mut Watch) -> bool {
        pin!(watch.changed()).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[test]
    fn who_watches_a_stream_hears_of_it_and_of_no_other() {
        runtime().block_on(async {
            let (log, _) = log();
            let mut one = log.watch(Some(agent(1)));
            let mut other = log.watch(Some(agent(2)));
            let mut all = log.watch(None);
            log.append(commit(agent(1), 0, 2)).await.unwrap();
            one.changed().await.unwrap();
            all.changed().await.unwrap();
            assert!(is_quiet(&mut other));
            assert!(is_quiet(&mut one) && is_quiet(&mut all), "each group is told once");
            log.append(commit(agent(1), 2, 0)).await.unwrap();
            log.append(commit(agent(3), 0, 1)).await.unwrap();
            all.changed().await.unwrap();
            assert!(is_quiet(&mut one), "a group without events is no news");
        });
    }

    #[test]
    fn nothing_is_told_before_it_is_durable() {
        runtime().block_on(async {
            let (log, faults) = log();
            let mut watch = log.watch(Some(agent(1)));
            let hold = faults.hold(Moment::After);
            let ticket = log.submit(log.reserve().await, commit(agent(1), 0, 1), |_| ());
            hold.reached().await;
            assert!(is_quiet(&mut watch));
            drop(hold);
            watch.changed().await.unwrap();
            assert!(log.is_durable(ticket));
        });
    }

    #[test]
    fn of_who_watches_no_longer_nothing_is_kept() {
        let (log, _) = log();
        let watches: Vec<_> = (0..4).map(|number| log.watch(Some(agent(number % 2)))).collect();
        let all = log.watch(None);
        assert_eq!(log.shared().watched.lock().streams.len(), 2);
        drop((watches, all));
        assert!(log.shared().watched.lock().streams.is_empty());
        assert_eq!(log.shared().watched.followers.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn after_the_end_nobody_waits() {
        runtime().block_on(async {
            let (log, _) = log();
            let mut before = log.watch(Some(agent(1)));
            let mut all = log.watch(None);
            log.close().await;
            let mut after = log.watch(Some(agent(1)));
            for watch in [&mut before, &mut all, &mut after] {
                assert!(watch.changed().await.is_err());
            }
        });
    }

    #[test]
    fn a_failure_of_the_store_is_told() {
        runtime().block_on(async {
            let (log, faults) = log();
            let mut watch = log.watch(Some(agent(1)));
            faults.fail_append(1, Moment::Before, Failure::Io);
            log.append(commit(agent(2), 0, 1)).await.unwrap_err();
            assert!(watch.changed().await.is_err());
        });
    }
}
