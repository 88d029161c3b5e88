//! Events as a stream: past ones from a cursor on, then live ones.
//!
//! The body is pulled, so a client that does not read costs its cursor and one page. Frames carry no `event:` line, for a
//! browser's plain listener hears only those; but the last one does, which says why the stream ends and where to go on.
//! Signs of life are comments that carry the cursor too: so a client that wants few of many events does not fall behind.

use std::{convert::Infallible, time::Duration};

use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use retold_actors::{EventFollow, LogEvent, Refusal, Scope};
use retold_events::Position;
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{App, error::ApiError, sse, trace::RequestId};
use crate::{
    meters::Following,
    wire::{Event, EventName, EventsQuery},
};

/// Pages that are still read when the server stops: what its last runs left is in the first of them.
const LAST_PAGES: usize = 4;
/// Events of such a page.
const LAST_EVENTS: usize = 256;

/// The stream of what is wanted after `after`.
pub(super) async fn of(
    app: &App,
    scope: Scope,
    after: Position,
    asked: EventsQuery,
) -> Result<Response, ApiError> {
    let follow = app.host.follow_events(scope, after).await?;
    // Sent at once, so that the client and whatever is in between know that the stream is open.
    let ready = BytesMut::from(sign_of_life("open", after).as_bytes());
    let (pause, leaving) = (app.keepalive, app.leaving.clone());
    let _following = app.meters.follower("events");
    let subscription =
        Subscription { follow, asked, ready, pause, leaving, ended: false, _following };
    let chunks = stream::unfold(subscription, |mut subscription| async move {
        subscription.next().await.map(|chunk| (Ok::<_, Infallible>(chunk), subscription))
    });
    Ok(sse::response_of(chunks))
}

/// One client reading events.
struct Subscription {
    follow: EventFollow,
    asked: EventsQuery,
    /// What is to be sent next.
    ready: BytesMut,
    /// Silence after which a sign of life is sent.
    pause: Duration,
    /// Tripped when the server closes its connections.
    leaving: CancellationToken,
    ended: bool,
    _following: Following,
}

/// What a subscription learns.
enum Heard {
    Events(Vec<LogEvent>),
    RunEnded,
    Silence,
    Leaving,
    Failed(Refusal),
}

impl Subscription {
    /// The next bytes; `None` after the last frame.
    async fn next(&mut self) -> Option<Bytes> {
        // Silence is what the client hears: events that it does not want do not break it.
        let ping_at = Instant::now() + self.pause;
        while self.ready.is_empty() {
            if self.ended {
                return None;
            }
            match self.listen(ping_at).await {
                Heard::Events(events) => self.add(&events),
                Heard::RunEnded => self.end("run_ended"),
                Heard::Silence => self.write(&sign_of_life("ping", self.follow.cursor())),
                Heard::Leaving => self.leave().await,
                Heard::Failed(refusal) => self.fail(&refusal),
            }
        }
        Some(self.ready.split().freeze())
    }

    async fn listen(&mut self, ping_at: Instant) -> Heard {
        tokio::select! {
            biased;
            events = self.follow.next() => match events {
                Ok(Some(events)) => Heard::Events(events),
                Ok(None) => Heard::RunEnded,
                Err(refusal) => Heard::Failed(refusal),
            },
            () = self.leaving.cancelled() => Heard::Leaving,
            () = sleep_until(ping_at) => Heard::Silence,
        }
    }

    fn add(&mut self, events: &[LogEvent]) {
        for event in events.iter().filter(|event| self.asked.wants(EventName::of(&event.fact))) {
            let data = json!(Event::from(event));
            self.ready.extend_from_slice(
                format!("id: {}\ndata: {data}\n\n", event.position.0).as_bytes(),
            );
        }
    }

    /// Tells what there is and ends: the server stops.
    async fn leave(&mut self) {
        for _ in 0..LAST_PAGES {
            match self.follow.past(LAST_EVENTS).await {
                Ok(events) if events.is_empty() => break,
                Ok(events) => self.add(&events),
                Err(refusal) => return self.fail(&refusal),
            }
        }
        self.end("shutting_down");
    }

    fn fail(&mut self, refusal: &Refusal) {
        tracing::warn!(%refusal, trace_id = RequestId::current(), "a stream of events broke off");
        self.end("log_unreadable");
    }

    fn end(&mut self, reason: &str) {
        self.ended = true;
        let cursor = self.follow.cursor().0;
        let data = json!({ "reason": reason, "after": cursor });
        self.write(&format!("event: end\nid: {cursor}\ndata: {data}\n\n"));
    }

    fn write(&mut self, frame: &str) {
        self.ready.extend_from_slice(frame.as_bytes());
    }
}

/// A comment and the cursor: an event without data is none, but its id counts.
fn sign_of_life(word: &str, cursor: Position) -> String {
    format!(": {word}\nid: {}\n\n", cursor.0)
}
