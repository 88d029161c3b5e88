//! The socket of a session, with what waits to be sent on it.
//!
//! What waits has a bound: while it is reached, nothing more is read from any run. How far each thing was shown is noted
//! when its frame is handed to the socket, so that a client that is cut can be told where to go on.

use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    task::{Context, Poll, ready},
};

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket},
};
use futures_util::{SinkExt as _, StreamExt as _};

use crate::wire::{
    Id,
    ws::{Cursor, ServerFrame},
};
use retold_events::{AgentId, RunId};

/// Bytes that may wait here. With what the socket holds back, a frame more of each, and the batch a run is in, a client
/// that does not read costs less than 256 KiB.
const QUEUED_BYTES: usize = 64 << 10;
/// Bytes after which the socket is written to without being told.
pub(super) const WRITE_BYTES: usize = 32 << 10;
/// Pings of the client that may wait for their answers: it can send them without reading those.
const OPEN_PINGS: usize = 16;

/// Something that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    /// What a run shows.
    Run(RunId),
    /// The events of an agent.
    Agent(AgentId),
}

impl Key {
    /// The cursor of a client that was shown everything up to `seen`.
    pub(super) fn cursor(self, seen: u64) -> Cursor {
        match self {
            Self::Run(run) => Cursor::Run { run_id: Id(run), after_seq: seen },
            Self::Agent(agent) => Cursor::Agent { agent_id: Id(agent), after: seen },
        }
    }
}

/// A frame that waits.
#[derive(Debug)]
pub(super) struct Out {
    /// The frame.
    pub(super) text: Utf8Bytes,
    /// What it shows, and how far, when it belongs to something that is followed.
    pub(super) shows: Option<(Key, u64)>,
    /// Whether nothing of that follows.
    pub(super) is_last: bool,
}

impl Out {
    /// A frame that belongs to nothing.
    pub(super) fn says(frame: &ServerFrame<'_>) -> Self {
        Self { text: frame.text().into(), shows: None, is_last: false }
    }
}

/// What happened on the socket.
#[derive(Debug)]
pub(super) enum Turn {
    /// Something came.
    Heard(Message),
    /// Something went, so there may be room.
    Sent,
    /// The client closed, and was answered.
    Closed,
    /// The client sent what it may not, or the connection broke.
    Failed(Error),
}

/// A socket and what waits for it.
#[derive(Debug)]
pub(super) struct Pipe {
    socket: WebSocket,
    queue: VecDeque<Out>,
    queued_bytes: usize,
    /// Whether the socket may hold something back.
    dirty: bool,
    open_pings: usize,
    /// How far everything that is followed was shown.
    shown: BTreeMap<Key, u64>,
}

impl Pipe {
    pub(super) fn new(socket: WebSocket) -> Self {
        Self {
            socket,
            queue: VecDeque::new(),
            queued_bytes: 0,
            dirty: false,
            open_pings: 0,
            shown: BTreeMap::new(),
        }
    }

    /// Whether something more may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.queued_bytes < QUEUED_BYTES
    }

    /// Whether everything was handed to the system.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.dirty
    }

    /// Queues a frame.
    pub(super) fn push(&mut self, out: Out) {
        self.queued_bytes += out.text.len();
        self.queue.push_back(out);
    }

    /// Notes that something is followed from `after` on.
    pub(super) fn begin(&mut self, key: Key, after: u64) {
        self.forget(key);
        self.shown.insert(key, after);
    }

    /// Takes back what waits of something that is not followed any more. Gives how far it was shown, if it was followed.
    pub(super) fn forget(&mut self, key: Key) -> Option<u64> {
        self.queue.retain(|out| out.shows.is_none_or(|(shown, _)| shown != key));
        self.queued_bytes = self.queue.iter().map(|out| out.text.len()).sum();
        self.shown.remove(&key)
    }

    /// How far everything that is followed was shown.
    pub(super) fn cursors(&self) -> Vec<Cursor> {
        self.shown.iter().map(|(key, seen)| key.cursor(*seen)).collect()
    }

    /// Sends what waits and listens, if `listen`, until one of the two comes to something. Cancel-safe.
    pub(super) async fn turn(&mut self, listen: bool) -> Turn {
        poll_fn(|cx| {
            match self.poll_send(cx) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Turn::Sent),
                Poll::Ready(Err(error)) => return Poll::Ready(Turn::Failed(error)),
                Poll::Ready(Ok(false)) | Poll::Pending => {}
            }
            if !listen || self.open_pings >= OPEN_PINGS {
                return Poll::Pending;
            }
            Poll::Ready(match ready!(self.socket.poll_next_unpin(cx)) {
                Some(Ok(message)) => {
                    if let Message::Ping(_) = message {
                        self.open_pings += 1;
                        self.dirty = true;
                    }
                    Turn::Heard(message)
                }
                Some(Err(error)) => Turn::Failed(error),
                None => Turn::Closed,
            })
        })
        .await
    }

    /// Gives whether anything went; pending while the client does not take it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let was_full = !self.has_room();
        let sent = self.poll_send_all(cx)?;
        match sent {
            // Part of it went, and those who waited for room may go on.
            Poll::Pending if was_full && self.has_room() => Poll::Ready(Ok(true)),
            sent @ (Poll::Pending | Poll::Ready(_)) => sent.map(Ok),
        }
    }

    fn poll_send_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        while !self.queue.is_empty() {
            ready!(self.socket.poll_ready_unpin(cx))?;
            self.send_first()?;
        }
        if !self.dirty {
            return Poll::Ready(Ok(false));
        }
        ready!(self.socket.poll_flush_unpin(cx))?;
        self.dirty = false;
        self.open_pings = 0;
        Poll::Ready(Ok(true))
    }

    fn send_first(&mut self) -> Result<(), Error> {
        let Some(out) = self.queue.pop_front() else { return Ok(()) };
        self.queued_bytes -= out.text.len();
        self.dirty = true;
        self.socket.start_send_unpin(Message::Text(out.text))?;
        if let Some((key, seen)) = out.shows {
            if out.is_last {
                self.shown.remove(&key);
            } else if let Some(shown) = self.shown.get_mut(&key) {
                *shown = seen;
            }
        }
        Ok(())
    }

    /// Asks the client for a sign of life.
    pub(super) fn ping(&mut self) -> Result<(), Error> {
        self.dirty = true;
        self.socket.start_send_unpin(Message::Ping(Vec::new().into()))
    }

    /// Gives up what waits, says a last frame and closes; ends when the client has taken it and answered, or the
    /// connection broke.
    pub(super) async fn close(
        &mut self,
        last: Option<Out>,
        frame: CloseFrame,
    ) -> Result<(), Error> {
        self.queue.clear();
        if let Some(out) = last {
            self.socket.feed(Message::Text(out.text)).await?;
        }
        self.socket.send(Message::Close(Some(frame))).await
    }

    /// Waits for the client's end of the connection.
    pub(super) async fn closed(&mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Whether the client can no longer be understood, so that its end of the connection will not be heard.
    pub(super) fn is_deaf(&self) -> bool {
        use futures_util::stream::FusedStream as _;
        self.socket.is_terminated()
    }
}
