//! A connection with a sense of time: it fails when the client takes too long for what it is doing.
//!
//! Hyper has one timer for the head of a request, which runs while a connection is idle too. Here the socket itself
//! knows what is waited for, because the answering side tells it: [`Pace`] is what the two share. A connection that was
//! taken over by another protocol is not cut here: its new owner is told that the client stopped reading, and says a
//! last word in the form of that protocol.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::{Sleep, sleep},
};

use super::listen::Limits;

/// The head of a request is expected; it has to be there soon.
const HEAD: u8 = 0;
/// A request is being answered; how long that takes is our own affair.
const ANSWERING: u8 = 1;
/// The next request may come or not.
const IDLE: u8 = 2;
/// Another protocol is spoken now; it has clocks of its own.
const TAKEN_OVER: u8 = 3;

/// What a connection is waiting for.
#[derive(Debug, Clone)]
pub(super) struct Pace(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    /// The connection, which does not look at its socket again by itself when an answer is complete.
    waiting: AtomicWaker,
    /// Bytes that came since the connection was taken over.
    came: AtomicU64,
    /// Told when the client of a connection that was taken over stopped reading.
    stalled: Notify,
}

impl Pace {
    /// Of a fresh connection, from which a request is expected at once.
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared::default()))
    }

    /// Notes that a request is being answered, until the guard is dropped.
    pub(super) fn answering(&self) -> Answering {
        self.0.phase.store(ANSWERING, Ordering::Release);
        Answering(self.clone())
    }

    /// Notes that another protocol is spoken from now on, until the connection ends.
    pub(super) fn take_over(&self) {
        self.0.phase.store(TAKEN_OVER, Ordering::Release);
        self.0.waiting.wake();
    }

    /// Bytes that came since the connection was taken over.
    pub(super) fn came(&self) -> u64 {
        self.0.came.load(Ordering::Acquire)
    }

    /// Waits until the client of a connection that was taken over has not read for too long.
    pub(super) async fn stalled(&self) {
        self.0.stalled.notified().await;
    }

    fn get(&self) -> u8 {
        self.0.phase.load(Ordering::Acquire)
    }
}

/// Held while a request is being answered.
#[derive(Debug)]
pub(super) struct Answering(Pace);

impl Drop for Answering {
    fn drop(&mut self) {
        let Pace(shared) = &self.0;
        // An answer that hands the connection over is complete only after that.
        let phase = &shared.phase;
        let _ = phase.compare_exchange(ANSWERING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        shared.waiting.wake();
    }
}

/// A socket whose reads and writes fail when the client is too slow.
#[derive(Debug)]
pub(super) struct Paced {
    stream: TcpStream,
    pace: Pace,
    header_timeout: Duration,
    idle_timeout: Duration,
    stall_timeout: Duration,
    /// Counts clients that stop reading.
    stalled_clients: Counter,
    /// What the running read deadline is for, and the deadline.
    reading: Option<(u8, Pin<Box<Sleep>>)>,
    /// Runs while the client does not take what is there for it.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Whether the owner of a connection that was taken over was told of the stall.
    told: bool,
}

impl Paced {
    pub(super) fn new(stream: TcpStream, pace: Pace, limits: &Limits) -> Self {
        Self {
            stream,
            pace,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            stall_timeout: limits.stall_timeout,
            stalled_clients: limits.traffic.stalled.clone(),
            reading: None,
            stalled: None,
            told: false,
        }
    }

    /// Waits for the deadline of what is being waited for; pending for ever when there is none.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.pace.0.waiting.register(cx.waker());
        let pace = self.pace.get();
        let limit = match pace {
            HEAD => self.header_timeout,
            IDLE => self.idle_timeout,
            _ => {
                self.reading = None;
                return Poll::Pending;
            }
        };
        let deadline = match &mut self.reading {
            Some((of, deadline)) if *of == pace => deadline,
            other => &mut other.insert((pace, Box::pin(sleep(limit)))).1,
        };
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "no request came in time"))
    }

    /// Notes that bytes came: the first byte of a request starts the clock of its head.
    fn note_bytes(&mut self, count: usize) {
        if self.pace.get() == TAKEN_OVER {
            self.pace.0.came.fetch_add(count as u64, Ordering::AcqRel);
        }
        // Only the side that reads moves from idle to head, so nothing is overwritten.
        let phase = &self.pace.0.phase;
        if phase.compare_exchange(IDLE, HEAD, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.reading = None;
        }
    }

    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        if self.told {
            return Poll::Pending;
        }
        let limit = self.stall_timeout;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        self.stalled_clients.inc();
        if self.pace.get() == TAKEN_OVER {
            (self.told, self.stalled) = (true, None);
            self.pace.0.stalled.notify_one();
            return Poll::Pending;
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => self.poll_read_deadline(cx).map(Err),
            Poll::Ready(read) => {
                let came = buf.filled().len() - before;
                if came > 0 {
                    self.note_bytes(came);
                }
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The body of an answer; when it is dropped, the answer is complete.
#[derive(Debug)]
pub(super) struct PacedBody {
    body: Body,
    _answering: Answering,
}

impl PacedBody {
    pub(super) fn new(body: Body, answering: Answering) -> Self {
        Self { body, _answering: answering }
    }
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
