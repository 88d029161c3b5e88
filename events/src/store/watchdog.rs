//! Looks after calls that may wait for ever, and has somebody else knock when one does.
//!
//! sled stores the error of a write that failed in its background and, in one place, wakes nobody who waits for it
//! (`Log::exit_reservation` of 0.34.7): a disk that is full would leave a server that neither works nor ends. Whoever
//! calls sled later sees the error and wakes all others. So when nothing has moved for a while, another thread makes such
//! a call; if the disk is only slow, it waits with the rest. It must not know what is called.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

/// Between two looks. A call that takes longer than this is a slow disk or a lost wake-up.
const PAUSE: Duration = Duration::from_secs(1);
/// Knocks that may wait at once: each is a thread that sleeps.
const KNOCKS: u64 = 64;

/// A thread that looks after calls until this is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    begun: AtomicU64,
    ended: AtomicU64,
    knocking: AtomicU64,
    closing: Mutex<bool>,
    changed: Condvar,
}

/// Counts the end of a call, also of one that panics.
struct Call<'a>(&'a Shared);

impl Watchdog {
    /// Begins to look. `knock` may wait as long as the calls do.
    pub(super) fn start(knock: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        Self::start_with(PAUSE, knock)
    }

    fn start_with(pause: Duration, knock: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let run = Arc::clone(&shared);
        let thread = Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || run.run(pause, &Arc::new(knock)))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Makes a call that is looked after.
    pub(super) fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        self.shared.begun.fetch_add(1, Ordering::SeqCst);
        let _call = Call(&self.shared);
        call()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.shared.closing.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It cannot panic but by a bug, which then was reported.
            let _ = thread.join();
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn run<K: Fn() + Send + Sync + 'static>(self: &Arc<Self>, pause: Duration, knock: &Arc<K>) {
        let mut seen = (0, 0);
        loop {
            let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(closing, pause, |closing| !*closing);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
            let now = (self.begun.load(Ordering::SeqCst), self.ended.load(Ordering::SeqCst));
            if is_stuck(seen, now) && self.knocking.load(Ordering::SeqCst) < KNOCKS {
                self.knock(knock);
            }
            seen = now;
        }
    }

    fn knock<K: Fn() + Send + Sync + 'static>(self: &Arc<Self>, knock: &Arc<K>) {
        let (shared, knock) = (Arc::clone(self), Arc::clone(knock));
        self.knocking.fetch_add(1, Ordering::SeqCst);
        let knocking = Builder::new().name("knock".to_owned()).spawn(move || {
            knock();
            shared.knocking.fetch_sub(1, Ordering::SeqCst);
        });
        if knocking.is_err() {
            // No thread now; there is another look.
            self.knocking.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Whether calls are waiting and none has begun or ended between two looks, each of the calls begun and ended by then.
fn is_stuck(before: (u64, u64), now: (u64, u64)) -> bool {
    let (begun, ended) = now;
    now == before && begun > ended
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_call_that_waits_for_a_knock_gets_one() {
        let (sender, knocks) = channel();
        let watchdog = Watchdog::start_with(Duration::from_millis(1), move || {
            // Later knocks find nobody.
            let _ = sender.send(());
        })
        .unwrap();
        watchdog.during(|| knocks.recv().unwrap());
    }

    #[test]
    fn only_where_calls_wait_and_none_moves_somebody_knocks() {
        assert!(is_stuck((3, 2), (3, 2)));
        assert!(!is_stuck((3, 2), (3, 3)), "it ended");
        assert!(!is_stuck((3, 2), (4, 3)), "another one waits");
        assert!(!is_stuck((3, 2), (4, 2)), "they still come");
        assert!(!is_stuck((3, 3), (3, 3)), "nobody calls");
    }
}
