//! What is sent to a program: whole lines, one after the other, and no more of them waiting than a bound.
//!
//! A pipe holds 64 KiB. A program that does not read would otherwise keep every message in memory that was ever meant for it.

use std::sync::Arc;
use std::time::Duration;

use rmcp::service::{RoleClient, TxJsonRpcMessage};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::{Mutex, Semaphore, watch};

/// How many messages wait at once.
const WAITING: usize = 64;

/// Why a message was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// Too many wait before it.
    Full,
    /// The input was closed here.
    Closed,
    /// Nobody reads it any more.
    Ended,
    /// A part of it was, or nobody took it in time.
    InPart,
}

/// The standard input of a program.
#[derive(Debug)]
pub(super) struct Input {
    pipe: Arc<Mutex<Option<ChildStdin>>>,
    places: Arc<Semaphore>,
    patience: Duration,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Something was written in part, or not in time.
    Broken,
    Closed,
}

impl Input {
    pub(super) fn new(pipe: ChildStdin, patience: Duration) -> Self {
        Self {
            pipe: Arc::new(Mutex::new(Some(pipe))),
            places: Arc::new(Semaphore::new(WAITING)),
            patience,
            state: watch::Sender::new(State::Open),
        }
    }

    /// Sends one message. The future writes all of it or breaks the input.
    pub(super) fn send(
        &self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), NotWritten>> + Send + 'static {
        let (pipe, patience, state) = (Arc::clone(&self.pipe), self.patience, self.state.clone());
        let place = Arc::clone(&self.places).try_acquire_owned();
        async move {
            let Ok(_place) = place else { return Err(NotWritten::Full) };
            let line = serde_json::to_vec(&message).map(|mut line| {
                line.push(b'\n');
                line
            });
            let line = line.map_err(|_| NotWritten::Closed)?;
            let mut closing = state.subscribe();
            tokio::select! {
                done = write(&pipe, &line, patience, &state) => done,
                _ = closing.wait_for(|state| *state != State::Open) => {
                    // Whoever closed it may have found it in use.
                    if let Ok(mut pipe) = pipe.try_lock() {
                        pipe.take();
                    }
                    Err(NotWritten::Closed)
                }
            }
        }
    }

    /// Ready when nothing can be sent any more though it should be.
    pub(super) async fn broken(&self) {
        let mut state = self.state.subscribe();
        // The sender is here, so it does not end before this does.
        let _ = state.wait_for(|state| *state == State::Broken).await;
    }

    /// Closes the pipe, which tells the program that there is nothing more to do.
    pub(super) fn close(&self) {
        self.state.send_replace(State::Closed);
        // Whoever holds it has just been told to let go of it and drops it.
        if let Ok(mut pipe) = self.pipe.try_lock() {
            pipe.take();
        }
    }
}

async fn write(
    pipe: &Mutex<Option<ChildStdin>>,
    line: &[u8],
    patience: Duration,
    state: &watch::Sender<State>,
) -> Result<(), NotWritten> {
    let mut pipe = pipe.lock().await;
    if *state.borrow() != State::Open {
        pipe.take();
    }
    let Some(open) = pipe.as_mut() else { return Err(NotWritten::Closed) };
    // Dropped in the middle of a line, it leaves a pipe that must not be written to again.
    let mut writing = Writing { state, done: false };
    let written = tokio::time::timeout(patience, write_all(open, line)).await;
    match written {
        Ok(Ok(())) => {
            writing.done = true;
            Ok(())
        }
        // The program is gone; its output says how it ended, so nothing is broken that it would not tell.
        Ok(Err(0)) => {
            writing.done = true;
            pipe.take();
            Err(NotWritten::Ended)
        }
        Ok(Err(_)) | Err(_) => {
            pipe.take();
            Err(NotWritten::InPart)
        }
    }
}

struct Writing<'a> {
    state: &'a watch::Sender<State>,
    done: bool,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.state.send_if_modified(|state| {
                let was_open = *state == State::Open;
                if was_open {
                    *state = State::Broken;
                }
                was_open
            });
        }
    }
}

/// Writes everything, or says how much was written.
async fn write_all(pipe: &mut ChildStdin, line: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < line.len() {
        match pipe.write(&line[written..]).await {
            Ok(0) | Err(_) => return Err(written),
            Ok(count) => written += count,
        }
    }
    Ok(())
}
