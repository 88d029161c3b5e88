//! Pasts that were asked for: folded a few at a time, each once, and the newest kept for whoever turns the page.
//!
//! A past never changes, so it may be kept without ever being wrong; what bounds it is memory. A fold goes on when the
//! client that asked for it has left: the same client often comes back for what it did not wait for.

#[cfg(test)]
mod tests;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use retold_events::{AgentId, Position, StreamId, store::EventStore};
use retold_snapshots::{
    load::LoadError,
    past::{Bounds, Past, PastError, Tables},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::Instant,
};

use crate::{
    Refusal,
    bound::{Bound, Share},
};

/// Folds of the whole log at the same time. Each reads all of the disk and fills a processor.
const SERVER_FOLDS: usize = 2;
/// Folds of one agent at the same time: milliseconds each, a second for very long histories.
const AGENT_FOLDS: usize = 4;
/// Pasts that may be waited for at the same time, by however many clients each.
const ASKED_FOR: usize = 64;
/// How long a fold waits for its turn before whoever asked is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);
/// When to come back.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Bytes that the rows of one past may fill: those of some 100,000 runs, or 300,000 agents.
const LARGEST: usize = 128 << 20;
/// Bytes that the kept pasts may fill together.
const KEPT_BYTES: usize = 64 << 20;
/// How many pasts are kept.
const KEPT: usize = 16;
/// How long a past is kept after it was last read: whoever turns pages does so faster.
const KEPT_FOR: Duration = Duration::from_secs(120);

/// Whose rows a past holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    /// All rows of one agent, messages included.
    Agent(AgentId),
    /// Everybody's, of some read models.
    Server(Tables),
}

type Key = (Whose, Position);
type Folding = Shared<BoxFuture<'static, Result<Arc<Past>, Refusal>>>;

/// The pasts that were asked for.
#[derive(Debug)]
pub(crate) struct Pasts {
    folds: Arc<Folds>,
    asked_for: Arc<Bound>,
    kept: Arc<Mutex<Kept>>,
}

/// What folds need.
#[derive(Debug)]
struct Folds {
    store: Arc<dyn EventStore>,
    of_server: Arc<Semaphore>,
    of_agents: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
}

/// Pasts by key, the one read last at the end.
#[derive(Debug, Default)]
struct Kept(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    key: Key,
    folding: Folding,
    /// What it fills; `None` while it is being folded.
    bytes: Option<usize>,
    read: Instant,
}

impl Pasts {
    pub(crate) fn new(store: Arc<dyn EventStore>) -> Self {
        let folds = Folds {
            store,
            of_server: Arc::new(Semaphore::new(SERVER_FOLDS)),
            of_agents: Arc::new(Semaphore::new(AGENT_FOLDS)),
            stop: Arc::new(AtomicBool::new(false)),
        };
        Self { folds: Arc::new(folds), asked_for: Bound::new(ASKED_FOR), kept: Arc::default() }
    }

    /// The rows of `whose` as they stood at `position`, which is durable.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn get(&self, whose: Whose, position: Position) -> Result<Arc<Past>, Refusal> {
        self.folding((whose, position))?.await
    }

    /// The fold of a past, begun if it is not there.
    fn folding(&self, key: Key) -> Result<Folding, Refusal> {
        let mut kept = lock(&self.kept);
        if let Some(folding) = kept.find(key) {
            return Ok(folding);
        }
        let share = self.asked_for.try_take().ok_or_else(crowded)?;
        let folding = self.begin(key, share);
        kept.add(key, folding.clone());
        Ok(folding)
    }

    /// Begins a fold, which goes on whoever waits for it.
    fn begin(&self, key: Key, share: Share) -> Folding {
        // What is kept holds this future: it must not hold what is kept, or neither would ever go.
        let (folds, kept) = (Arc::clone(&self.folds), Arc::downgrade(&self.kept));
        let folding = async move {
            let folded = folds.fold(key).await;
            drop(share);
            if let Some(kept) = kept.upgrade() {
                lock(&kept).settle(key, folded.as_ref().ok().map(|past| past.bytes()));
            }
            folded
        };
        let folding: Folding = folding.boxed().shared();
        tokio::spawn(folding.clone());
        folding
    }

    /// Reads the store as it stood, on a blocking thread and in turn with the folds of agents: `read` folds some. A panic
    /// in it gives `None`.
    ///
    /// # Errors
    /// [`Refusal::Crowded`].
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn EventStore) -> T + Send + 'static,
    ) -> Result<Option<T>, Refusal> {
        let store = Arc::clone(&self.folds.store);
        in_turn(&self.folds.of_agents, move || read(&*store)).await
    }

    /// Lets go of what nobody has read for some time.
    pub(crate) fn forget_idle(&self) {
        lock(&self.kept).forget_idle();
    }

    /// Gives up the folds under way, and takes no more: the process is about to end.
    pub(crate) fn stop(&self) {
        self.folds.stop.store(true, Ordering::Relaxed);
        self.folds.of_server.close();
        self.folds.of_agents.close();
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    // Nothing panics while it is held.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Folds {
    async fn fold(&self, (whose, position): Key) -> Result<Arc<Past>, Refusal> {
        let folds = match whose {
            Whose::Agent(_) => &self.of_agents,
            Whose::Server(_) => &self.of_server,
        };
        let (store, stop) = (Arc::clone(&self.store), Arc::clone(&self.stop));
        let folded = in_turn(folds, move || {
            let bounds = Bounds { max_bytes: LARGEST, stop: &stop };
            match whose {
                Whose::Agent(agent) => Past::of_agent(store, agent, position, bounds),
                Whose::Server(tables) => Past::of_server(store, position, tables, bounds),
            }
        });
        let past = folded.await?.ok_or_else(|| unfoldable(whose))?.map_err(refusal)?;
        for history in past.unreadable() {
            tracing::error!(?position, history, "a history breaks off in the past");
        }
        Ok(Arc::new(past))
    }
}

impl Kept {
    fn find(&mut self, key: Key) -> Option<Folding> {
        let index = self.0.iter().position(|entry| entry.key == key)?;
        let mut entry = self.0.remove(index);
        entry.read = Instant::now();
        let folding = entry.folding.clone();
        self.0.push(entry);
        Some(folding)
    }

    fn forget_idle(&mut self) {
        self.0.retain(|entry| entry.bytes.is_none() || entry.read.elapsed() < KEPT_FOR);
    }

    fn add(&mut self, key: Key, folding: Folding) {
        self.0.push(Entry { key, folding, bytes: None, read: Instant::now() });
    }

    /// Notes what a folded past fills, `None` for one that failed, and lets go of those that were read longest ago.
    fn settle(&mut self, key: Key, bytes: Option<usize>) {
        match bytes {
            Some(_) => {
                for entry in self.0.iter_mut().filter(|entry| entry.key == key) {
                    entry.bytes = bytes;
                }
            }
            None => self.0.retain(|entry| entry.key != key),
        }
        while self.count() > KEPT || self.bytes() > KEPT_BYTES {
            let Some(oldest) = self.0.iter().position(|entry| entry.bytes.is_some()) else {
                return;
            };
            self.0.remove(oldest);
        }
    }

    fn count(&self) -> usize {
        self.0.iter().filter(|entry| entry.bytes.is_some()).count()
    }

    fn bytes(&self) -> usize {
        self.0.iter().filter_map(|entry| entry.bytes).sum()
    }
}

/// Runs `work` on a blocking thread once it is its turn. `None` when it panics: that is a damaged history, and must not
/// reach others.
async fn in_turn<T: Send + 'static>(
    folds: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, Refusal> {
    let turn = tokio::time::timeout(PATIENCE, Arc::clone(folds).acquire_owned());
    let turn: OwnedSemaphorePermit =
        turn.await.map_err(|_| crowded())?.map_err(|_| Refusal::Draining)?;
    let worked = spawn_blocking(move || {
        let worked = catch_unwind(AssertUnwindSafe(work)).ok();
        drop(turn);
        worked
    });
    worked.await.map_err(|_| Refusal::Draining)
}

fn crowded() -> Refusal {
    Refusal::Crowded { retry_after: RETRY_AFTER }
}

fn unfoldable(whose: Whose) -> Refusal {
    let reason = "its history could not be folded".to_owned();
    match whose {
        Whose::Agent(agent) => Refusal::Quarantined { agent, reason },
        Whose::Server(_) => Refusal::Storage("the log could not be folded".to_owned()),
    }
}

/// Why a past could not be folded, to whoever asked.
fn refusal(error: PastError) -> Refusal {
    match error {
        PastError::Load(error) => of_load(error),
        PastError::TooLarge { max_bytes } => Refusal::Unprocessable(format!(
            "there was more of it at that moment than fits into {} MiB; ask for one agent at a time",
            max_bytes >> 20
        )),
        PastError::Stopped => Refusal::Draining,
    }
}

/// Why an aggregate could not be folded, to whoever asked.
pub(crate) fn of_load(error: LoadError) -> Refusal {
    match error {
        LoadError::Store(error) => error.into(),
        LoadError::Event { stream: StreamId::Agent(agent), .. } => {
            Refusal::Quarantined { agent, reason: error.to_string() }
        }
        LoadError::Event {
            stream: StreamId::Block(_) | StreamId::Tool(_) | StreamId::McpServer(_),
            ..
        } => Refusal::Storage(error.to_string()),
    }
}
