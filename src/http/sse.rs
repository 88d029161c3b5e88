//! A run as an event stream.
//!
//! The body is pulled: a client that does not read costs its cursor and one batch, and is cut by the connection's own
//! deadline. Its going away ends nothing but the stream. Whatever happens, a stream ends with a terminal event; where
//! the run has not ended, that event tells where to go on.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use retold_events::{
    RunId,
    agent::AgentType,
    output::{Item, Output},
    run::{EndStatus, StopReason},
};
use retold_snapshots::row::RunRow;
use serde_json::json;
use tokio::time::Instant;

use super::{App, error::ApiError, run_reader::RunReader};
use crate::{
    meters::Following,
    wire::{Frame, Frames, LettaStopReason},
};

/// Tells proxies not to hold frames back.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Bytes of frames made before they are handed to the connection: many small ones are one write, and a client that does
/// not read holds no more.
const CHUNK_BYTES: usize = 32 << 10;

/// How a client wants to read a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The last number it has seen.
    pub(super) starting_after: u64,
    /// Whether it wants signs of life: one at once and one after each silence.
    pub(super) pings: bool,
    /// Whether a failure before the first event is answered as an error rather than as a stream.
    pub(super) fail_early: bool,
}

/// The stream of a run.
pub(super) async fn of_run(
    app: &App,
    mut run: RunRow,
    agent_type: AgentType,
    reading: Reading,
) -> Result<Response, ApiError> {
    // Every frame carries its number, not only those of background runs: any stream may be taken up again.
    run.request.background = true;
    let mut reader =
        RunReader::new(app, run.id, Frames::new(&run, agent_type, reading.starting_after));
    if reading.fail_early {
        fail_early(&run, reader.first().await?)?;
    }
    let mut ready = BytesMut::new();
    if reading.pings {
        ready.extend_from_slice(&reader.ping().sse());
    }
    let pause = reading.pings.then_some(app.keepalive);
    let _following = app.meters.follower("sse");
    let mut subscription =
        Subscription { run: run.id, reader, ready, pause, ended: false, _following };
    subscription.fill();
    Ok(response(subscription))
}

/// Refuses with the error of a run that failed before it showed anything.
fn fail_early(run: &RunRow, first: &[Item]) -> Result<(), ApiError> {
    let [Item { output: Output::End { status: EndStatus::Failed, error: Some(error), .. }, .. }] =
        first
    else {
        return Ok(());
    };
    Err(ApiError::RunFailed { run: run.id, error: error.clone(), kept: false })
}

fn response(subscription: Subscription) -> Response {
    let chunks = stream::unfold(subscription, |mut subscription| async move {
        subscription.next().await.map(|chunk| (Ok::<_, Infallible>(chunk), subscription))
    });
    response_of(chunks)
}

/// An answer that is a stream of events, made of chunks that each are whole frames.
pub(super) fn response_of(
    chunks: impl stream::Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (NO_BUFFERING, HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

/// One client reading one run as events.
struct Subscription {
    run: RunId,
    reader: RunReader,
    /// What is to be sent next.
    ready: BytesMut,
    /// Silence after which a ping is sent; `None` for no pings.
    pause: Option<Duration>,
    ended: bool,
    _following: Following,
}

impl Subscription {
    /// The next bytes; `None` after the terminal event.
    async fn next(&mut self) -> Option<Bytes> {
        // Silence is what the client hears: items that it does not want to see do not break it.
        let ping_at = self.pause.map(|pause| Instant::now() + pause);
        while self.ready.is_empty() {
            if self.ended {
                return None;
            }
            match self.listen(ping_at).await {
                Heard::Items => self.fill(),
                Heard::Silence => self.ready.extend_from_slice(&self.reader.ping().sse()),
                Heard::Broken => self.break_off(),
            }
        }
        Some(self.ready.split().freeze())
    }

    async fn listen(&mut self, ping_at: Option<Instant>) -> Heard {
        let silence = async {
            match ping_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            items = self.reader.listen() => match items {
                Ok(()) => Heard::Items,
                Err(_) => Heard::Broken,
            },
            () = silence => Heard::Silence,
        }
    }

    /// Makes frames of what came, up to a chunk of them.
    fn fill(&mut self) {
        let ready = &mut self.ready;
        while ready.len() < CHUNK_BYTES
            && self
                .reader
                .show_next(|seq, shown| ready.extend_from_slice(&Frame::of(shown, seq).sse()))
        {
        }
        self.ended = self.reader.is_done();
    }

    /// Ends a stream whose run has not ended: the server stops, or the log cannot be read any further.
    fn break_off(&mut self) {
        self.ended = true;
        let cursor = self.reader.cursor();
        let error = json!({
            "message_type": "error_message",
            "run_id": self.run.to_string(),
            "error_type": "stream_incomplete",
            "message": format!(
                "The stream broke off. The run may still be under way: read it again with starting_after={cursor}."
            ),
            "detail": null,
            "seq_id": cursor,
            "starting_after": cursor,
        });
        let stop = json!(LettaStopReason::new(StopReason::Error));
        for (event, data) in [
            (None, stop.to_string()),
            (Some("error"), error.to_string()),
            (None, "[DONE]".to_owned()),
        ] {
            self.ready.extend_from_slice(&Frame { event, data: data.into(), seq: 0 }.sse());
        }
    }
}

/// What a subscription learns.
enum Heard {
    Items,
    Silence,
    Broken,
}
