//! Interpreters that wait for a call, so that a call does not wait for an interpreter.
//!
//! Each is used once. Nothing is started before the first call of its kind, so a server without custom tools pays nothing; what
//! nobody asked for in a while is let go.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::worker::Worker;

/// Kinds of interpreters that are kept ready at once; the one unused for longest makes place.
const SHELVES: usize = 8;

/// How long a start ahead waits: for a short call to be over, which it would only slow down.
const AFTER: Duration = Duration::from_millis(20);

/// What interpreters have in common that can stand in for one another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) command: Vec<String>,
    pub(super) readable: Vec<std::path::PathBuf>,
    pub(super) network: bool,
    /// It reserves far more memory than it uses, so the kernel's bound on one process has to be far above.
    pub(super) reserves: bool,
}

/// Starts an interpreter of a kind.
pub(super) type Starter = Box<dyn Fn(&Kind) -> Starting + Send + Sync>;
/// A start under way.
pub(super) type Starting = Pin<Box<dyn Future<Output = Result<Worker, String>> + Send>>;

/// The interpreters that wait.
pub(super) struct Pool {
    shelves: Mutex<HashMap<Kind, Shelf>>,
    start: Starter,
    /// How many of a kind wait.
    warm: usize,
    idle: Duration,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("warm", &self.warm).finish_non_exhaustive()
    }
}

struct Shelf {
    ready: Vec<Worker>,
    /// Under way. Never fewer than those who wait.
    starting: usize,
    waiting: VecDeque<oneshot::Sender<Result<Worker, String>>>,
    used: Instant,
    /// Tells a start that waits to begin.
    hurry: Arc<Notify>,
}

impl Pool {
    pub(super) fn new(start: Starter, warm: usize, idle: Duration) -> Arc<Self> {
        Arc::new(Self { shelves: Mutex::default(), start, warm, idle })
    }

    fn shelves(&self) -> MutexGuard<'_, HashMap<Kind, Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An interpreter of a kind that nobody has used.
    ///
    /// # Errors
    /// Why none could be started.
    pub(super) async fn take(self: &Arc<Self>, kind: &Kind) -> Result<Worker, String> {
        let waiting = match self.ready_or_wait(kind) {
            Ok(worker) => return Ok(worker),
            Err(waiting) => waiting,
        };
        waiting.await.unwrap_or_else(|_| Err("it was let go before it was ready".into()))
    }

    fn ready_or_wait(
        self: &Arc<Self>,
        kind: &Kind,
    ) -> Result<Worker, oneshot::Receiver<Result<Worker, String>>> {
        let mut shelves = self.shelves();
        if shelves.is_empty() {
            self.clear_up_later();
        }
        make_place(&mut shelves, kind);
        let shelf = shelves.entry(kind.clone()).or_insert_with(|| Shelf {
            ready: Vec::new(),
            starting: 0,
            waiting: VecDeque::new(),
            used: Instant::now(),
            hurry: Arc::default(),
        });
        shelf.used = Instant::now();
        shelf.ready.retain_mut(Worker::is_alive);
        let got = shelf.ready.pop().ok_or_else(|| {
            let (sender, receiver) = oneshot::channel();
            shelf.waiting.push_back(sender);
            shelf.hurry.notify_one();
            receiver
        });
        self.top_up(kind, shelf);
        got
    }

    /// Starts as many as are waited for, and those that shall wait.
    fn top_up(self: &Arc<Self>, kind: &Kind, shelf: &mut Shelf) {
        let wanted = shelf.waiting.len() + self.warm.saturating_sub(shelf.ready.len());
        while shelf.starting < wanted {
            shelf.starting += 1;
            let starting = (self.start)(kind);
            let (pool, kind) = (Arc::downgrade(self), kind.clone());
            let hurry = (shelf.starting > shelf.waiting.len()).then(|| Arc::clone(&shelf.hurry));
            tokio::spawn(async move {
                if let Some(hurry) = hurry {
                    let _ = tokio::time::timeout(AFTER, hurry.notified()).await;
                }
                let started = starting.await;
                if let Some(pool) = Weak::upgrade(&pool) {
                    pool.started(&kind, started);
                }
            });
        }
    }

    /// Hands one over to whoever waits longest, or keeps it.
    fn started(&self, kind: &Kind, mut started: Result<Worker, String>) {
        let mut shelves = self.shelves();
        let Some(shelf) = shelves.get_mut(kind) else { return };
        shelf.starting -= 1;
        while let Some(waiting) = shelf.waiting.pop_front() {
            match waiting.send(started) {
                Ok(()) => return,
                // Cancelled in the meantime.
                Err(back) => started = back,
            }
        }
        match started {
            Ok(worker) if shelf.ready.len() < self.warm => shelf.ready.push(worker),
            Ok(_) => {}
            Err(why) => tracing::warn!(why, "an interpreter for tools could not be started ahead"),
        }
    }

    /// How many wait for a call.
    pub(super) fn ready(&self) -> usize {
        self.shelves().values().map(|shelf| shelf.ready.len()).sum()
    }

    fn clear_up_later(self: &Arc<Self>) {
        let (pool, idle) = (Arc::downgrade(self), self.idle);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(idle / 2).await;
                let Some(pool) = Weak::upgrade(&pool) else { return };
                let mut shelves = pool.shelves();
                shelves.retain(|_, shelf| shelf.starting > 0 || shelf.used.elapsed() < idle);
                if shelves.is_empty() {
                    return;
                }
            }
        });
    }
}

/// Lets the kind go that was unused for longest, when there are too many and this one is new.
fn make_place(shelves: &mut HashMap<Kind, Shelf>, kind: &Kind) {
    if shelves.contains_key(kind) || shelves.len() < SHELVES {
        return;
    }
    let oldest = shelves
        .iter()
        .filter(|(_, shelf)| shelf.starting == 0)
        .min_by_key(|(_, shelf)| shelf.used)
        .map(|(kind, _)| kind.clone());
    if let Some(oldest) = oldest {
        shelves.remove(&oldest);
    }
}
