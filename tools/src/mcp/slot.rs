//! What is kept for one server: its session, the one attempt to open it that all who want it share, and how often that failed.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::time::{Duration, Instant};

use super::error::McpError;
use super::session::Session;

/// What opens a session.
pub(super) type Opening = BoxFuture<'static, Result<Arc<Session>, McpError>>;
/// An attempt to open a session. It goes on as long as anybody waits for it.
pub(super) type Attempt = Shared<Opening>;

/// What is kept for one server.
#[derive(Debug)]
pub(super) struct Slot(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    open: Option<Arc<Session>>,
    opening: Option<WeakShared<Opening>>,
    used: Instant,
    /// Whether somebody waits for it to be idle.
    watched: bool,
    failures: u32,
    /// Until when it is left alone, and why.
    rest: Option<(Instant, String)>,
}

/// What comes of a look at a session.
pub(super) enum Look {
    /// It is to be looked at again.
    At(Instant),
    /// There is none, or none any more.
    Done(Option<Arc<Session>>),
}

/// What somebody gets who wants a session.
pub(super) enum Got {
    Open(Arc<Session>),
    Opening(Attempt),
}

impl Slot {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Kept {
            open: None,
            opening: None,
            used: Instant::now(),
            watched: false,
            failures: 0,
            rest: None,
        }))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Nothing in here panics halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, or the attempt to open it that is under way.
    ///
    /// # Errors
    /// [`McpError::Resting`] while it is left alone.
    pub(super) fn get(&self) -> Result<Option<Got>, McpError> {
        self.kept().get()
    }

    /// The same, with an attempt where there is neither.
    ///
    /// # Errors
    /// As of [`Slot::get`].
    pub(super) fn get_or(&self, attempt: Opening) -> Result<Got, McpError> {
        let mut kept = self.kept();
        if let Some(got) = kept.get()? {
            return Ok(got);
        }
        let attempt = attempt.shared();
        kept.opening = attempt.downgrade();
        Ok(Got::Opening(attempt))
    }

    /// Takes in how an attempt went. Gives whether somebody has to begin to watch it.
    pub(super) fn took(
        &self,
        outcome: &Result<Arc<Session>, McpError>,
        failures: u32,
        rest: Duration,
    ) -> bool {
        let mut kept = self.kept();
        match outcome {
            Ok(session) => {
                kept.open = Some(Arc::clone(session));
                kept.used = Instant::now();
                kept.failures = 0;
                kept.rest = None;
            }
            // Neither says anything about the server.
            Err(McpError::Busy { .. }) => {}
            Err(error) if error.is_of_configuration() => {}
            Err(error) => {
                kept.failures = kept.failures.saturating_add(1);
                if kept.failures >= failures {
                    kept.rest = Some((Instant::now() + rest, error.to_string()));
                }
            }
        }
        kept.open.is_some() && !std::mem::replace(&mut kept.watched, true)
    }

    /// What is to be done about a session that may be idle since long.
    pub(super) fn look(&self, idle: Duration) -> Look {
        let mut kept = self.kept();
        let now = Instant::now();
        let due = match &kept.open {
            None => return kept.unwatched(),
            Some(open) if is_used(open) => now + idle,
            Some(_) => kept.used + idle,
        };
        if due > now { Look::At(due) } else { kept.unwatched() }
    }

    /// Lets go of a session that is of no use any more, unless there is a newer one.
    pub(super) fn drop_session(&self, gone: &Arc<Session>) {
        let mut kept = self.kept();
        if kept.open.as_ref().is_some_and(|open| Arc::ptr_eq(open, gone)) {
            kept.open = None;
        }
    }

    /// Takes the session out.
    pub(super) fn take(&self) -> Option<Arc<Session>> {
        self.kept().open.take()
    }

    /// Takes the session out if nobody uses it and nobody has since `before`.
    pub(super) fn take_idle(&self, before: Instant) -> Option<Arc<Session>> {
        let mut kept = self.kept();
        let idle = kept.used <= before && kept.open.as_ref().is_some_and(|open| !is_used(open));
        if idle { kept.open.take() } else { None }
    }

    /// When it was last wanted, if it has a session that nobody uses now.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let kept = self.kept();
        kept.open.as_ref().filter(|open| !is_used(open)).map(|_| kept.used)
    }

    /// Notes the end of a use.
    pub(super) fn used(&self) {
        self.kept().used = Instant::now();
    }

    /// Whether there is nothing in it that would be missed.
    pub(super) fn is_empty(&self) -> bool {
        let kept = self.kept();
        let rests = kept.rest.as_ref().is_some_and(|(until, _)| *until > Instant::now());
        let opens = kept.opening.as_ref().and_then(WeakShared::upgrade).is_some();
        kept.open.is_none() && !opens && !rests
    }

    /// Whether there is a session.
    pub(super) fn is_open(&self) -> bool {
        self.kept().open.is_some()
    }
}

impl Kept {
    fn unwatched(&mut self) -> Look {
        self.watched = false;
        Look::Done(self.open.take())
    }

    fn get(&mut self) -> Result<Option<Got>, McpError> {
        self.used = Instant::now();
        if let Some(open) = self.open.as_ref().filter(|open| open.is_open()) {
            return Ok(Some(Got::Open(Arc::clone(open))));
        }
        self.open = None;
        let opening = self.opening.as_ref().and_then(WeakShared::upgrade);
        if let Some(opening) = opening.filter(|opening| opening.peek().is_none()) {
            return Ok(Some(Got::Opening(opening)));
        }
        if let Some((until, why)) = &self.rest {
            let retry_after = until.saturating_duration_since(Instant::now());
            if !retry_after.is_zero() {
                let (failures, why) = (self.failures, why.clone());
                return Err(McpError::Resting { failures, retry_after, why });
            }
        }
        Ok(None)
    }
}

/// Whoever uses a session holds it beside the slot.
fn is_used(session: &Arc<Session>) -> bool {
    Arc::strong_count(session) > 1
}
