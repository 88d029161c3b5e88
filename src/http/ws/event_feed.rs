//! The events of an agent as a stream of frames.

use std::collections::VecDeque;

use futures_util::stream;
use retold_actors::{EventFollow, LogEvent, Refusal};
use retold_events::AgentId;
use tokio_util::sync::CancellationToken;

use super::{
    feed::{CHUNK_BYTES, Feed, incomplete},
    pipe::{Key, Out},
};
use crate::{
    http::{App, trace::RequestId},
    meters::Following,
    wire::{
        Event,
        ws::{ServerFrame, agent_event},
    },
};

/// Pages that are still read when the server stops: what its last runs left is in the first of them.
const LAST_PAGES: usize = 4;
/// Events of such a page.
const LAST_EVENTS: usize = 256;

/// What happens to an agent after the cursor of `follow`.
pub(super) fn of_agent(app: &App, agent: AgentId, follow: EventFollow) -> Feed {
    let shown = follow.cursor().0;
    let (page, leaving) = (VecDeque::new(), app.leaving.clone());
    let _following = app.meters.follower("ws");
    let feed = EventFeed {
        agent,
        follow,
        page,
        shown,
        leaving,
        pages_left: None,
        ended: false,
        _following,
    };
    Box::pin(stream::unfold(feed, |mut feed| async move {
        feed.next().await.map(|frames| (frames, feed))
    }))
}

/// One agent being followed.
struct EventFeed {
    agent: AgentId,
    follow: EventFollow,
    /// What was read and not shown.
    page: VecDeque<LogEvent>,
    /// Position of the last event that was shown.
    shown: u64,
    /// Tripped when the server closes its connections.
    leaving: CancellationToken,
    /// Pages that are still read; `None` until the server stops.
    pages_left: Option<usize>,
    ended: bool,
    _following: Following,
}

impl EventFeed {
    /// The next frames; `None` after the last.
    async fn next(&mut self) -> Option<Vec<Out>> {
        let mut frames = Vec::new();
        while frames.is_empty() {
            if self.ended {
                return None;
            }
            if self.page.is_empty()
                && let Err(last) = self.read().await
            {
                self.ended = true;
                frames.push(last);
            }
            self.fill(&mut frames);
        }
        Some(frames)
    }

    /// Reads the next page; the last frame where there is none.
    async fn read(&mut self) -> Result<(), Out> {
        if self.pages_left.is_none() {
            tokio::select! {
                biased;
                events = self.follow.next() => return self.turn_to(events.map(Option::unwrap_or_default)),
                () = self.leaving.cancelled() => self.pages_left = Some(LAST_PAGES),
            }
        }
        let left = self.pages_left.map_or(0, |left| left.saturating_sub(1));
        if self.pages_left.replace(left) == Some(0) {
            return Err(self.going_away());
        }
        let events = self.follow.past(LAST_EVENTS).await;
        if events.as_ref().is_ok_and(Vec::is_empty) {
            return Err(self.going_away());
        }
        self.turn_to(events)
    }

    fn turn_to(&mut self, events: Result<Vec<LogEvent>, Refusal>) -> Result<(), Out> {
        match events {
            Ok(events) => {
                self.page = events.into();
                Ok(())
            }
            Err(refusal) => {
                let trace_id = RequestId::current();
                tracing::warn!(%refusal, trace_id, "a stream of events broke off");
                Err(self.last(&incomplete(self.key().cursor(self.shown))))
            }
        }
    }

    fn fill(&mut self, frames: &mut Vec<Out>) {
        let mut bytes = 0;
        while bytes < CHUNK_BYTES
            && let Some(event) = self.page.pop_front()
        {
            self.shown = event.position.0;
            let text = agent_event(self.agent, self.shown, &Event::from(&event));
            bytes += text.len();
            let shows = Some((self.key(), self.shown));
            frames.push(Out { text: text.into(), shows, is_last: false });
        }
    }

    fn key(&self) -> Key {
        Key::Agent(self.agent)
    }

    fn going_away(&self) -> Out {
        let cursor = self.key().cursor(self.shown);
        self.last(&ServerFrame::GoingAway { cursor })
    }

    fn last(&self, frame: &ServerFrame<'_>) -> Out {
        Out { shows: Some((self.key(), self.shown)), ..Out::says(frame) }
    }
}
