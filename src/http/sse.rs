//! A run as an event stream.
//!
//! The body is pulled: a client that does not read costs its cursor and one batch, and is cut by the connection's own
//! deadline. Its going away ends nothing but the stream. Whatever happens, a stream ends with a terminal event.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use retold_actors::{Clock as _, SystemClock, hub::Follow};
use retold_events::{
    RunId,
    agent::AgentType,
    output::{Item, Output},
    run::{EndStatus, StopReason},
};
use retold_snapshots::row::RunRow;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{App, error::ApiError, trace::RequestId};
use crate::wire::{Frame, Frames, LettaStopReason};

/// Tells proxies not to hold frames back.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

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
    let mut follow = app.host.follow(run.id, reading.starting_after);
    let mut first = None;
    if reading.fail_early {
        first = follow.next().await?;
        fail_early(&run, first.as_deref())?;
    }
    // Every frame carries its number, not only those of background runs: any stream may be taken up again.
    run.request.background = true;
    let mut frames = Frames::new(&run, agent_type, reading.starting_after);
    let mut ready = BytesMut::new();
    if reading.pings {
        ready.extend_from_slice(&frames.ping(SystemClock.now()).sse());
    }
    let pause = reading.pings.then_some(app.keepalive);
    let leaving = app.leaving.clone();
    let mut subscription =
        Subscription { run: run.id, follow, frames, ready, pause, leaving, ended: false };
    if let Some(items) = first {
        subscription.add(&items);
    }
    Ok(response(subscription))
}

/// Refuses with the error of a run that failed before it showed anything.
fn fail_early(run: &RunRow, first: Option<&[Item]>) -> Result<(), ApiError> {
    let Some(
        [
            Item {
                output: Output::End { status: EndStatus::Failed, error: Some(error), .. }, ..
            },
        ],
    ) = first
    else {
        return Ok(());
    };
    Err(ApiError::RunFailed { run: run.id, error: error.clone(), kept: false })
}

fn response(subscription: Subscription) -> Response {
    let chunks = stream::unfold(subscription, |mut subscription| async move {
        subscription.next().await.map(|chunk| (Ok::<_, Infallible>(chunk), subscription))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (NO_BUFFERING, HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

/// One client reading one run.
struct Subscription {
    run: RunId,
    follow: Follow,
    frames: Frames,
    /// What is to be sent next.
    ready: BytesMut,
    /// Silence after which a ping is sent; `None` for no pings.
    pause: Option<Duration>,
    /// Tripped when the server closes its connections.
    leaving: CancellationToken,
    ended: bool,
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
                Heard::Items(items) => self.add(&items),
                Heard::Silence => {
                    self.ready.extend_from_slice(&self.frames.ping(SystemClock.now()).sse())
                }
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
            items = self.follow.next() => match items {
                Ok(Some(items)) => Heard::Items(items),
                Ok(None) => Heard::Broken,
                Err(error) => {
                    tracing::warn!(%error, trace_id = RequestId::current(), "a stream broke off");
                    Heard::Broken
                }
            },
            () = self.leaving.cancelled() => Heard::Broken,
            () = silence => Heard::Silence,
        }
    }

    fn add(&mut self, items: &[Item]) {
        let mut frames = Vec::with_capacity(items.len());
        for item in items {
            self.frames.encode(item, &mut frames);
        }
        for frame in frames {
            self.ready.extend_from_slice(&frame.sse());
        }
        self.ended = self.frames.is_done();
    }

    /// Ends a stream whose run has not ended: the server stops, or the log cannot be read any further.
    fn break_off(&mut self) {
        self.ended = true;
        let error = json!({
            "message_type": "error_message",
            "run_id": self.run.to_string(),
            "error_type": "stream_incomplete",
            "message": "The stream broke off. The run may still be under way: read it again from where you are.",
            "detail": null,
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
    Items(Arc<[Item]>),
    Silence,
    Broken,
}
