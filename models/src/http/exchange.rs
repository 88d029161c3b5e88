//! One call: send, read, decode, end. Every wait and every buffer in it is bounded.
//!
//! The state machine lives inside the stream that the caller polls. Nothing is read ahead of the caller, so a slow
//! reader slows the provider and no queue grows; an error drops the response, and with it the socket, before the
//! caller hears of it.

use std::{collections::VecDeque, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::{Method, Response, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};

use super::Upstream;
use crate::{Chunk, ChunkStream, ModelError, ModelErrorKind::InvalidResponse, limits, sse};

/// Understands what one kind of provider streams.
pub(crate) trait Decoder: Send + 'static {
    /// Takes one event of the stream.
    fn event(&mut self, event: &sse::Event, out: &mut VecDeque<Chunk>) -> Result<(), ModelError>;

    /// Takes a whole answer, from a provider that was asked to stream and did not.
    fn whole(&mut self, body: &[u8], out: &mut VecDeque<Chunk>) -> Result<(), ModelError>;

    /// Whether the model has said why it ended.
    fn finished(&self) -> bool;

    /// Whether nothing more can come.
    fn complete(&self) -> bool;

    /// Gives what was held back, and [`Chunk::End`]. An answer that never finished is an error.
    fn end(&mut self, out: &mut VecDeque<Chunk>) -> Result<(), ModelError>;
}

/// One call, ready to be sent.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) upstream: Arc<Upstream>,
    /// Below the provider's base.
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
    /// The body to send when the provider refuses `stream_options`.
    pub(crate) without_stream_options: Option<Bytes>,
}

impl Call {
    /// The stream of this call. Nothing is sent until it is polled.
    pub(crate) fn stream(self, decoder: impl Decoder) -> ChunkStream {
        let exchange = Exchange {
            call: self,
            decoder,
            queue: VecDeque::new(),
            failure: None,
            phase: Phase::Unsent,
        };
        let chunks = stream::unfold(exchange, |mut exchange| async move {
            exchange.next().await.map(|item| (item, exchange))
        });
        Box::pin(chunks.fuse())
    }

    async fn send(&self, body: Bytes) -> Result<Response, ModelError> {
        let upstream = &self.upstream;
        let request = upstream
            .request(Method::POST, self.path)?
            .header("content-type", "application/json")
            .header("accept", "text/event-stream")
            .body(body);
        let wait = upstream.timeouts().first_byte;
        match timeout(wait, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(upstream.unreachable(error)),
            Err(_) => Err(upstream.timed_out("a first byte", wait)),
        }
    }
}

struct Exchange<D> {
    call: Call,
    decoder: D,
    queue: VecDeque<Chunk>,
    /// Told after the queue is empty, so that how bytes were cut never decides what is heard.
    failure: Option<ModelError>,
    phase: Phase,
}

enum Phase {
    Unsent,
    Reading(Box<Reading>),
    Over,
}

struct Reading {
    response: Response,
    form: Form,
    received: u64,
    deadline: Instant,
}

/// What the answer turned out to be. Told by the first byte, because content types lie: servers send event streams as
/// JSON and JSON as text.
enum Form {
    Unknown,
    Events(sse::Parser),
    Json(Vec<u8>),
}

impl<D: Decoder> Exchange<D> {
    async fn next(&mut self) -> Option<Result<Chunk, ModelError>> {
        loop {
            if let Some(chunk) = self.queue.pop_front() {
                return Some(Ok(chunk));
            }
            if let Some(failure) = self.failure.take() {
                return Some(Err(failure));
            }
            let step = match &mut self.phase {
                Phase::Over => return None,
                Phase::Unsent => self.send().await,
                Phase::Reading(reading) => {
                    match read(reading, &self.call.upstream, &mut self.decoder, &mut self.queue)
                        .await
                    {
                        Ok(true) => Ok(()),
                        Ok(false) => self.end(),
                        Err(error) => Err(error),
                    }
                }
            };
            if let Err(error) = step {
                self.phase = Phase::Over;
                self.failure = Some(error);
            }
        }
    }

    async fn send(&mut self) -> Result<(), ModelError> {
        let deadline = Instant::now() + self.call.upstream.timeouts().total;
        loop {
            let response = self.call.send(self.call.body.clone()).await?;
            if response.status().is_success() {
                self.call.body = Bytes::new(); // sent: the history need not stay in memory twice
                self.phase = Phase::Reading(Box::new(Reading {
                    response,
                    form: Form::Unknown,
                    received: 0,
                    deadline,
                }));
                return Ok(());
            }
            let (status, headers) = (response.status(), response.headers().clone());
            let body = error_body(response).await;
            let may_retry = status == StatusCode::BAD_REQUEST && body.contains("stream_options");
            match self.call.without_stream_options.take().filter(|_| may_retry) {
                Some(body) => {
                    self.call.upstream.stream_options_refused.store(true, Ordering::Relaxed);
                    self.call.body = body;
                }
                None => return Err(self.call.upstream.refused(status, &headers, &body)),
            }
        }
    }

    fn end(&mut self) -> Result<(), ModelError> {
        self.phase = Phase::Over;
        self.decoder.end(&mut self.queue)
    }
}

/// Reads one piece and decodes it. Gives whether more may come.
async fn read(
    reading: &mut Reading,
    upstream: &Upstream,
    decoder: &mut impl Decoder,
    out: &mut VecDeque<Chunk>,
) -> Result<bool, ModelError> {
    let silence = upstream.timeouts().silence;
    let wait = if decoder.finished() { limits::AFTER_FINISH_WAIT.min(silence) } else { silence };
    let until = reading.deadline.min(Instant::now() + wait);
    let piece = match timeout_at(until, reading.response.chunk()).await {
        // An answer that is finished is not spoilt by how its connection ends.
        Ok(Err(_)) | Err(_) if decoder.finished() => None,
        Ok(Ok(piece)) => piece,
        Ok(Err(error)) => return Err(upstream.unreachable(error)),
        Err(_) if until == reading.deadline => {
            return Err(upstream.timed_out("an end", upstream.timeouts().total));
        }
        Err(_) => return Err(upstream.timed_out("a word", silence)),
    };
    match piece {
        Some(piece) => {
            feed(reading, &piece, upstream, decoder, out)?;
            if decoder.complete() {
                drain(&mut reading.response).await;
                return Ok(false);
            }
            Ok(true)
        }
        None => {
            last(&mut reading.form, decoder, out)?;
            Ok(false)
        }
    }
}

/// Decodes what is left when the body has ended.
fn last(
    form: &mut Form,
    decoder: &mut impl Decoder,
    out: &mut VecDeque<Chunk>,
) -> Result<(), ModelError> {
    match form {
        Form::Unknown => Ok(()),
        Form::Json(body) => decoder.whole(body, out),
        Form::Events(parser) => match parser.finish() {
            // An event that was cut off is no nonsense of the provider: the decoder's end tells that it broke off.
            Ok(Some(event)) => decoder
                .event(&event, out)
                .or_else(|error| if error.kind == InvalidResponse { Ok(()) } else { Err(error) }),
            Ok(None) | Err(sse::TooLong(_)) => Ok(()),
        },
    }
}

fn feed(
    reading: &mut Reading,
    mut piece: &[u8],
    upstream: &Upstream,
    decoder: &mut impl Decoder,
    out: &mut VecDeque<Chunk>,
) -> Result<(), ModelError> {
    reading.received += piece.len() as u64;
    if reading.received > limits::RESPONSE_BYTES {
        let what = format!("it is longer than {} MiB", limits::RESPONSE_BYTES >> 20);
        return Err(upstream.invalid(&what, None));
    }
    if matches!(reading.form, Form::Unknown) {
        piece = piece.trim_ascii_start();
        reading.form = match piece.first() {
            None => return Ok(()),
            Some(b'{' | b'[') => Form::Json(Vec::new()),
            Some(b'<') => {
                let said = String::from_utf8_lossy(&piece[..piece.len().min(limits::DETAIL_BYTES)])
                    .into_owned();
                return Err(upstream
                    .invalid("a page in place of an answer; check its base URL", Some(&said)));
            }
            Some(_) => Form::Events(sse::Parser::new(limits::SSE_EVENT_BYTES)),
        };
    }
    match &mut reading.form {
        Form::Unknown => Ok(()),
        Form::Json(body) => {
            if body.len() + piece.len() > limits::WHOLE_ANSWER_BYTES {
                let what =
                    format!("a whole answer of more than {} MiB", limits::WHOLE_ANSWER_BYTES >> 20);
                return Err(upstream.invalid(&what, None));
            }
            body.extend_from_slice(piece);
            Ok(())
        }
        Form::Events(parser) => {
            let mut outcome = Ok(());
            let pushed = parser.push(piece, |event| {
                if outcome.is_ok() && !decoder.complete() {
                    outcome = decoder.event(&event, out);
                }
            });
            outcome?;
            // What comes after the end mark is nobody's concern.
            if decoder.complete() {
                Ok(())
            } else {
                pushed.map_err(|error| upstream.invalid(&error.to_string(), None))
            }
        }
    }
}

/// Reads on to the end of the body, so that the connection can be used again, but only as long as that costs nothing.
async fn drain(response: &mut Response) {
    let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
    let _ = timeout(limits::DRAIN_WAIT, rest).await;
}

async fn error_body(response: Response) -> String {
    let body = read_bounded(response, limits::ERROR_BODY_BYTES, limits::ERROR_BODY_WAIT).await;
    String::from_utf8_lossy(&body.bytes).into_owned()
}

/// What [`read_bounded`] got hold of.
pub(crate) struct Bounded {
    pub(crate) bytes: Vec<u8>,
    /// Whether that is the whole body.
    pub(crate) whole: bool,
}

/// Reads at most `limit` bytes of a body, for at most `wait`.
pub(crate) async fn read_bounded(mut response: Response, limit: usize, wait: Duration) -> Bounded {
    let mut read = Bounded { bytes: Vec::new(), whole: false };
    let reading = async {
        loop {
            match response.chunk().await {
                Ok(Some(piece)) => {
                    let room = limit - read.bytes.len();
                    read.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
                    if piece.len() > room {
                        return;
                    }
                }
                Ok(None) => {
                    read.whole = true;
                    return;
                }
                Err(_) => return,
            }
        }
    };
    let _ = timeout(wait, reading).await;
    read
}
