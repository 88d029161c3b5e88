//! One client on one socket, from the handshake to the close.
//!
//! Everything it waits for is waited for at once, in one task: the socket, the request in hand, the runs it follows. So
//! nothing is shared, and when the client is gone all of it is dropped together. Requests are dealt with one after the
//! other, in their order; while one is in hand no further one is read.

use std::time::Duration;

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code},
};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_stream::{StreamExt as _, StreamMap};

use super::{
    commands::{self, Effect},
    feed::Feed,
    pipe::{Key, Out, Pipe, Turn},
};
use crate::{
    http::{App, paced::Pace},
    wire::ws::{ServerFrame, close_reason},
};

/// Runs and agents that one socket follows at most. Each costs up to a batch of output while the client does not read.
pub(super) const MOST_FOLLOWED: usize = 64;
/// How long a client may take for the last words that are said to it.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long the client's answer to a close is waited for.
const CLOSING: Duration = Duration::from_secs(1);
/// Bytes per second that count as a sign of life in the middle of a large frame.
const SLOWEST_RATE: u64 = 1024;

/// A client.
pub(super) struct Session {
    app: App,
    pipe: Pipe,
    pace: Pace,
    feeds: StreamMap<Key, Feed>,
    /// The request in hand.
    in_hand: Option<BoxFuture<'static, Vec<Effect>>>,
    /// When the client was asked for a sign of life that has not come, and the bytes that had come until then.
    asked: Option<(Instant, u64)>,
    leaving: bool,
}

/// Why a session ends.
#[derive(Debug)]
enum End {
    /// The client closed or vanished.
    Gone,
    /// It does not read.
    Stalled,
    /// It gives no sign of life.
    Silent,
    /// The server stops.
    Leaving,
    /// It sent what may not be sent.
    Refused { code: u16, reason: String },
}

impl Session {
    pub(super) fn new(app: App, socket: WebSocket, pace: Pace) -> Self {
        Self {
            app,
            pipe: Pipe::new(socket),
            pace,
            feeds: StreamMap::new(),
            in_hand: None,
            asked: None,
            leaving: false,
        }
    }

    /// Serves the client until one of the two ends it.
    pub(super) async fn run(mut self) {
        let end = self.serve().await;
        tracing::debug!(?end, "a socket ends");
        let cursors = self.pipe.cursors();
        // What is not read any more is not held any longer.
        self.feeds.clear();
        self.in_hand = None;
        let stalled = ServerFrame::Stalled { cursors: &cursors };
        let (last, code, reason) = match end {
            End::Gone => return,
            End::Stalled => (Some(Out::says(&stalled)), close_code::AGAIN, close_reason(&cursors)),
            End::Leaving if cursors.is_empty() => {
                (None, close_code::AWAY, "the server is stopping".to_owned())
            }
            End::Leaving => (None, close_code::AWAY, close_reason(&cursors)),
            End::Silent => (None, close_code::POLICY, "no pong came in time".to_owned()),
            End::Refused { code, reason } => (None, code, reason),
        };
        self.say_goodbye(last, CloseFrame { code, reason: reason.into() }).await;
    }

    async fn say_goodbye(&mut self, last: Option<Out>, frame: CloseFrame) {
        if !matches!(timeout(LAST_WORDS, self.pipe.close(last, frame)).await, Ok(Ok(()))) {
            return;
        }
        // Closing a socket at once would take back what the client has not read yet, if it is still sending.
        if self.pipe.is_deaf() {
            tokio::time::sleep(CLOSING).await;
        } else {
            let _ = timeout(CLOSING, self.pipe.closed()).await;
        }
    }

    async fn serve(&mut self) -> End {
        let pause = self.app.keepalive;
        let mut beat = interval_at(Instant::now() + pause, pause);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (pace, app) = (self.pace.clone(), self.app.clone());
        loop {
            let room = self.pipe.has_room();
            let listen = room && !self.leaving && self.in_hand.is_none();
            tokio::select! {
                turn = self.pipe.turn(listen) => match turn {
                    Turn::Heard(message) => {
                        if let Err(end) = self.hear(message) {
                            return end;
                        }
                    }
                    Turn::Sent => {
                        // Whatever the client takes is a sign of life, and its pong comes after what it reads first.
                        if let Some((since, _)) = &mut self.asked {
                            *since = Instant::now();
                        }
                    }
                    Turn::Closed => return End::Gone,
                    Turn::Failed(error) => return self.failed(error),
                },
                effects = finished(&mut self.in_hand) => {
                    self.in_hand = None;
                    for effect in effects {
                        self.take(effect);
                    }
                }
                frames = self.feeds.next(), if room && !self.feeds.is_empty() => {
                    // Nothing comes when the last of them has just ended.
                    for frame in frames.into_iter().flat_map(|(_, frames)| frames) {
                        self.pipe.push(frame);
                    }
                }
                () = pace.stalled() => return End::Stalled,
                _ = beat.tick() => {
                    if let Err(end) = self.ask_for_life() {
                        return end;
                    }
                }
                () = app.leaving.cancelled(), if !self.leaving => self.leaving = true,
            }
            let idle = self.in_hand.is_none() && self.feeds.is_empty() && self.pipe.is_empty();
            if self.leaving && idle {
                return End::Leaving;
            }
        }
    }

    fn hear(&mut self, message: Message) -> Result<(), End> {
        self.asked = None;
        match message {
            Message::Text(text) => self.begin(text),
            Message::Binary(_) => {
                let frame = ServerFrame::ServerError {
                    message: "frames are JSON texts, not binary",
                    code: "binary_frame",
                    hint: None,
                    cursor: None,
                    request_id: None,
                };
                self.pipe.push(Out::says(&frame));
            }
            // Answered by the protocol itself; after a close nothing comes but its end.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self, text: Utf8Bytes) {
        let room = self.feeds.len() < MOST_FOLLOWED;
        self.in_hand = Some(Box::pin(commands::perform(self.app.clone(), text, room)));
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Say(out) => self.pipe.push(out),
            Effect::Follow { key, after, feed } => {
                self.pipe.begin(key, after);
                self.feeds.insert(key, feed);
            }
            Effect::Forget { key, request_id } => {
                self.feeds.remove(&key);
                let frame = match self.pipe.forget(key) {
                    Some(seen) => ServerFrame::Unsubscribed {
                        cursor: key.cursor(seen),
                        request_id: request_id.as_deref(),
                    },
                    None => ServerFrame::ServerError {
                        message: "it is not followed on this socket, or not any more",
                        code: "not_followed",
                        hint: None,
                        cursor: None,
                        request_id: request_id.as_deref(),
                    },
                };
                self.pipe.push(Out::says(&frame));
            }
        }
    }

    /// Asks for a sign of life, once; ends what did not answer in time.
    fn ask_for_life(&mut self) -> Result<(), End> {
        let Some((since, came)) = self.asked else {
            // While something waits for the client it is the writing that tells whether it is there.
            if self.pipe.is_empty() {
                self.pipe.ping().map_err(|_| End::Gone)?;
                self.asked = Some((Instant::now(), self.pace.came()));
            }
            return Ok(());
        };
        let (waited, now_came) = (since.elapsed(), self.pace.came());
        if waited < self.app.stall_timeout {
            return Ok(());
        }
        // A pong cannot overtake a large frame that is still coming in, or a request that is in hand.
        let is_coming = now_came - came >= SLOWEST_RATE * waited.as_secs().max(1);
        if is_coming || self.in_hand.is_some() {
            self.asked = Some((Instant::now(), now_came));
            return Ok(());
        }
        Err(End::Silent)
    }

    /// How a session ends when its socket failed.
    fn failed(&self, error: Error) -> End {
        use tungstenite::Error as Fault;
        let most = self.app.body_limits.max_bytes;
        let refused = |code, reason: String| End::Refused { code, reason };
        let Ok(fault) = error.into_inner().downcast::<Fault>() else { return End::Gone };
        match *fault {
            Fault::Capacity(_) => refused(
                close_code::SIZE,
                format!("a frame is larger than {most} bytes (max_body_bytes)"),
            ),
            Fault::Utf8(_) => refused(close_code::INVALID, "a text frame is not UTF-8".to_owned()),
            // Among these is the end of a connection without a close.
            Fault::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
                End::Gone
            }
            Fault::Protocol(fault) => {
                let mut reason = fault.to_string();
                reason.truncate(reason.floor_char_boundary(120));
                refused(close_code::PROTOCOL, reason)
            }
            Fault::ConnectionClosed
            | Fault::AlreadyClosed
            | Fault::Io(_)
            | Fault::WriteBufferFull(_)
            | Fault::AttackAttempt
            | Fault::Url(_)
            | Fault::Http(_)
            | Fault::HttpFormat(_)
            | Fault::Tls(_) => End::Gone,
        }
    }
}

/// Waits for what is in hand; for ever when nothing is.
async fn finished(in_hand: &mut Option<BoxFuture<'static, Vec<Effect>>>) -> Vec<Effect> {
    match in_hand {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}
