//! The client of MCP servers: their tools, listed and called, whatever the servers do.
//!
//! What users of such clients complain of is that they hang. So everything here has a deadline, and every way in which a server can
//! fail is one of [`McpError`], said to the person who can do something about it: a server that hangs, floods, sends nonsense or dies
//! costs its callers their deadline at most, and the next callers less. One session per server is opened when it is first needed, and
//! shared; a call whose request may have arrived is never sent a second time.
//!
//! The protocol is rmcp's (the official library), the sockets and processes under it are ours, because their bounds are. It knows
//! neither agents nor the log: plain types come in, plain types go out.

mod connect;
mod error;
mod events;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod legacy;
mod options;
mod quiet;
mod server;
mod session;
mod slot;
mod stdio;
mod streamable;
mod tool;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub use error::{McpError, Stage};
pub use options::McpOptions;
pub use server::{Server, Transport};
pub use stdio::kept_environment;
pub use tool::{RemoteTool, Returned, ToolCall};

use connect::Connector;
use session::{Lost, Session};
use slot::{Got, Look, Opening, Slot};

/// How long the end of a session may take: what is told to its server is a courtesy.
const CLOSING: Duration = Duration::from_secs(5);

/// The client of MCP servers. Cheap to clone; clones share their sessions.
#[derive(Debug, Clone)]
pub struct McpClient(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    connector: Arc<Connector>,
    places: Arc<Semaphore>,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

impl McpClient {
    /// A client without sessions. Nothing is started before it is needed.
    #[must_use]
    pub fn new(options: McpOptions) -> Self {
        let places = Semaphore::new(options.sessions.clamp(1, Semaphore::MAX_PERMITS));
        Self(Arc::new(Inside {
            connector: Arc::new(Connector::new(options)),
            places: Arc::new(places),
            slots: Mutex::default(),
        }))
    }

    /// The tools of a server, all pages of them.
    ///
    /// # Errors
    /// [`McpError`], also when they are more than are taken.
    pub async fn list(&self, server: &Server) -> Result<Vec<RemoteTool>, McpError> {
        let timeout = self.options().list_timeout;
        let slot = self.slot(server);
        let session = self.session(server, &slot).await?;
        let lost = match self.used(&slot, &session, session.list(timeout).await) {
            Ok(tools) => return Ok(tools),
            Err(lost) => lost,
        };
        // Asking again does no harm, but it is no help against a server that does not answer.
        if !lost.gone || matches!(lost.error, McpError::TimedOut { .. }) {
            return Err(lost.error);
        }
        drop(session);
        let session = self.session(server, &slot).await?;
        let listed = session.list(timeout).await;
        self.used(&slot, &session, listed).map_err(|lost| lost.error)
    }

    /// Calls a tool. Dropping the future gives the call up and tells the server so.
    ///
    /// # Errors
    /// [`McpError`]. What the tool itself says is a [`Returned`], also when it says that it failed.
    pub async fn call(&self, server: &Server, call: ToolCall) -> Result<Returned, McpError> {
        let timeout = call.timeout.unwrap_or(self.options().call_timeout);
        let deadline = Instant::now() + timeout;
        let slot = self.slot(server);
        let mut again = true;
        loop {
            let session = tokio::time::timeout_at(deadline, self.session(server, &slot)).await;
            let late = |_| McpError::TimedOut { stage: Stage::Connecting, after: timeout };
            let session = session.map_err(late)??;
            let called = session.call(&call, deadline, timeout).await;
            match self.used(&slot, &session, called) {
                Ok(returned) => return Ok(returned),
                Err(lost) if lost.gone && lost.unsent && again => again = false,
                Err(lost) => return Err(lost.error),
            }
        }
    }

    /// The tools of a server as a session of its own has them, which is closed afterwards: whether its configuration works.
    ///
    /// # Errors
    /// As of [`McpClient::list`].
    pub async fn test(&self, server: &Server) -> Result<Vec<RemoteTool>, McpError> {
        let place = self.0.place()?;
        let session = self.0.connector.connect(server, place).await?;
        let listed = session.list(self.options().list_timeout).await;
        session.close(CLOSING).await;
        listed.map_err(|lost| lost.error)
    }

    /// Closes the session of a configuration that is no more, and forgets how often it failed. Calls under way in it are answered
    /// first.
    pub fn forget(&self, key: &str) {
        let slot = self.0.slots().remove(key);
        drop(slot.and_then(|slot| slot.take()));
    }

    /// Closes all sessions and waits, but not for ever, until their programs are gone. Calls under way are answered first, by others'
    /// waiting for them.
    pub async fn close(&self) {
        let slots: Vec<_> = self.0.slots().drain().map(|(_, slot)| slot).collect();
        let sessions = slots.iter().filter_map(|slot| slot.take());
        join_all(sessions.map(|session| session::close(session, CLOSING))).await;
    }

    /// How many servers have an open session.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.0.slots().values().filter(|slot| slot.is_open()).count()
    }

    fn options(&self) -> &McpOptions {
        &self.0.connector.options
    }

    fn slot(&self, server: &Server) -> Arc<Slot> {
        let mut slots = self.0.slots();
        if let Some(slot) = slots.get(&server.key) {
            return Arc::clone(slot);
        }
        // Who waits for a slot holds it.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || !slot.is_empty());
        let slot = Arc::new(Slot::new());
        slots.insert(server.key.clone(), Arc::clone(&slot));
        slot
    }

    async fn session(&self, server: &Server, slot: &Arc<Slot>) -> Result<Arc<Session>, McpError> {
        let got = match slot.get()? {
            Some(got) => got,
            None => slot.get_or(self.opening(server, slot)?)?,
        };
        match got {
            Got::Open(session) => Ok(session),
            Got::Opening(attempt) => attempt.await,
        }
    }

    /// What opens a session and puts it in its slot. It needs a place, whether or not somebody else is faster.
    fn opening(&self, server: &Server, slot: &Arc<Slot>) -> Result<Opening, McpError> {
        let place = self.0.place()?;
        let (connector, server) = (Arc::clone(&self.0.connector), server.clone());
        let (inside, slot) = (Arc::downgrade(&self.0), Arc::clone(slot));
        let opening = async move {
            let opened = connector.connect(&server, place).await.map(Arc::new);
            let options = &connector.options;
            if slot.took(&opened, options.failures, options.rest) {
                tokio::spawn(watch(Arc::downgrade(&slot), inside, server.key, options.idle));
            }
            opened
        };
        Ok(opening.boxed())
    }

    /// Takes in how a use of a session went.
    fn used<T>(
        &self,
        slot: &Slot,
        session: &Arc<Session>,
        done: Result<T, Lost>,
    ) -> Result<T, Lost> {
        slot.used();
        if done.as_ref().is_err_and(|lost| lost.gone) {
            slot.drop_session(session);
        }
        done
    }
}

impl Inside {
    fn slots(&self) -> MutexGuard<'_, HashMap<String, Arc<Slot>>> {
        // Nothing in here panics halfway.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a session: a free one, or that of the session that was idle longest.
    fn place(&self) -> Result<OwnedSemaphorePermit, McpError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let slots: Vec<_> = self.slots().values().cloned().collect();
        let idle = slots.iter().filter_map(|slot| Some((slot.idle_since()?, slot)));
        if let Some((since, slot)) = idle.min_by_key(|(since, _)| *since) {
            drop(slot.take_idle(since));
        }
        let sessions = self.connector.options.sessions;
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| McpError::Busy { sessions })
    }
}

/// Closes a session that nobody has used for so long, and removes its slot.
async fn watch(slot: Weak<Slot>, inside: Weak<Inside>, key: String, idle: Duration) {
    let mut due = Instant::now() + idle;
    loop {
        tokio::time::sleep_until(due).await;
        let Some(slot) = slot.upgrade() else { return };
        match slot.look(idle) {
            Look::At(later) => due = later,
            Look::Done(session) => {
                drop(session);
                break;
            }
        }
    }
    if let Some(inside) = inside.upgrade() {
        let mut slots = inside.slots();
        slots
            .retain(|other, slot| *other != key || Arc::strong_count(slot) > 1 || !slot.is_empty());
    }
}
