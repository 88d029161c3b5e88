//! Reading a run for one client, whatever the transport.
//!
//! What came is turned into what is shown one item at a time, when the client has room for it: one that does not read
//! costs its cursor and the batch it is in. Server-sent events and WebSockets differ in the form of their frames and in
//! nothing else, because both read here.

use std::sync::Arc;

use retold_actors::{Clock as _, SystemClock, hub::Follow};
use retold_events::{RunId, output::Item};
use tokio_util::sync::CancellationToken;

use super::{App, error::ApiError, trace::RequestId};
use crate::wire::{Frame, Frames, Shown};

/// One client reading one run.
#[derive(Debug)]
pub(super) struct RunReader {
    follow: Follow,
    frames: Frames,
    /// What came last, and how much of it was shown.
    batch: Option<(Arc<[Item]>, usize)>,
    /// Tripped when the server closes its connections.
    leaving: CancellationToken,
}

/// Why a run cannot be read up to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The server stops, and the run goes on in the next one.
    Leaving,
    /// The log cannot be read any further.
    Log,
}

/// Refuses a number that a run has not come to: whoever says that it was the last one seen means another run, and would
/// be shown the end alone, or wait in silence and then miss what comes.
pub(super) async fn check_cursor(app: &App, run: RunId, after: u64) -> Result<(), ApiError> {
    match app.host.last_output_if_before(run, after).await? {
        None => Ok(()),
        Some(last) => {
            let id = format!("{after}; the last number of {run} is {last}");
            Err(ApiError::NotFound { what: "Cursor", id })
        }
    }
}

impl RunReader {
    /// A reader of `run`, from where `frames` are.
    pub(super) fn new(app: &App, run: RunId, frames: Frames) -> Self {
        let follow = app.host.follow(run, frames.cursor());
        Self { follow, frames, batch: None, leaving: app.leaving.clone() }
    }

    /// Waits for the first items, and gives them.
    pub(super) async fn first(&mut self) -> Result<&[Item], ApiError> {
        self.batch = self.follow.next().await?.map(|items| (items, 0));
        Ok(self.batch.as_ref().map_or(&[], |(items, _)| items))
    }

    /// Waits until there is something to show. Cancel-safe.
    pub(super) async fn listen(&mut self) -> Result<(), Broken> {
        if self.batch.is_some() {
            return Ok(());
        }
        tokio::select! {
            // What the log holds is shown even when the server is about to stop.
            biased;
            items = self.follow.next() => match items {
                Ok(Some(items)) => {
                    self.batch = Some((items, 0));
                    Ok(())
                }
                Ok(None) => Err(Broken::Log),
                Err(error) => {
                    tracing::warn!(%error, trace_id = RequestId::current(), "a stream broke off");
                    Err(Broken::Log)
                }
            },
            () = self.leaving.cancelled() => Err(Broken::Leaving),
        }
    }

    /// Shows the next item that is there. Gives whether there was one.
    pub(super) fn show_next(&mut self, each: impl FnMut(u64, Shown<'_>)) -> bool {
        let Some((items, shown)) = &mut self.batch else { return false };
        if let Some(item) = items.get(*shown) {
            self.frames.show(item, each);
            *shown += 1;
        }
        if *shown >= items.len() {
            self.batch = None;
        }
        true
    }

    /// A sign of life.
    pub(super) fn ping(&mut self) -> Frame {
        self.frames.ping(SystemClock.now())
    }

    /// The number to go on after.
    pub(super) fn cursor(&self) -> u64 {
        self.frames.cursor()
    }

    /// Whether the end was shown.
    pub(super) fn is_done(&self) -> bool {
        self.frames.is_done()
    }
}
