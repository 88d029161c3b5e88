//! What a session follows, as streams of frames: a run in either form, or the events of an agent.

use std::pin::Pin;

use futures_util::{Stream, stream};
use retold_events::{RunId, agent::AgentType};
use retold_snapshots::row::RunRow;

use super::pipe::{Key, Out};
use crate::{
    http::{
        App,
        run_reader::{Broken, RunReader},
    },
    meters::Following,
    wire::{
        Frame, Frames, Shown,
        ws::{Cursor, Format, ServerFrame, Simple, run_event},
    },
};

/// Bytes of frames made before they are handed on.
pub(super) const CHUNK_BYTES: usize = 16 << 10;

/// Frames of one thing that is followed, a few at a time; ends with its last one.
pub(super) type Feed = Pin<Box<dyn Stream<Item = Vec<Out>> + Send>>;

/// A run from number `after` on.
pub(super) fn of_run(
    app: &App,
    mut run: RunRow,
    agent_type: AgentType,
    after: u64,
    format: Format,
) -> Feed {
    let (frames, form) = match format {
        Format::Simple => (
            Frames::undressed(&run, agent_type),
            Form::Simple(Box::new(Simple::new(&run, agent_type, after))),
        ),
        Format::V1 => {
            // Every frame carries its number, as on the route that takes up a stream.
            run.request.background = true;
            (Frames::new(&run, agent_type, after), Form::V1)
        }
    };
    let feed = RunFeed {
        run: run.id,
        reader: RunReader::new(app, run.id, frames),
        after,
        form,
        ended: false,
        _following: app.meters.follower("ws"),
    };
    Box::pin(stream::unfold(feed, |mut feed| async move {
        feed.next().await.map(|frames| (frames, feed))
    }))
}

/// One run being followed.
struct RunFeed {
    run: RunId,
    reader: RunReader,
    /// The number after which it is shown.
    after: u64,
    form: Form,
    ended: bool,
    _following: Following,
}

/// How a run is shown.
enum Form {
    Simple(Box<Simple>),
    V1,
}

impl RunFeed {
    /// The next frames; `None` after the last.
    async fn next(&mut self) -> Option<Vec<Out>> {
        let mut frames = Vec::new();
        while frames.is_empty() {
            if self.ended {
                return None;
            }
            match self.reader.listen().await {
                Ok(()) => self.fill(&mut frames),
                Err(broken) => frames.push(self.broken(broken)),
            }
        }
        Some(frames)
    }

    fn fill(&mut self, frames: &mut Vec<Out>) {
        let Self { run, reader, form, .. } = self;
        let key = Key::Run(*run);
        let mut bytes = 0;
        while bytes < CHUNK_BYTES
            && reader.show_next(|seq, shown| {
                let is_last = matches!(shown, Shown::Done);
                form.show(*run, seq, shown, |cursor, text| {
                    bytes += text.len();
                    frames.push(Out { text: text.into(), shows: Some((key, cursor)), is_last });
                });
            })
        {}
        self.ended = reader.is_done();
    }

    /// The last frame of a run that cannot be followed to its end.
    fn broken(&mut self, broken: Broken) -> Out {
        self.ended = true;
        let seen = self.after.max(self.reader.cursor());
        let cursor = Key::Run(self.run).cursor(seen);
        let frame = match broken {
            Broken::Leaving => ServerFrame::GoingAway { cursor },
            Broken::Log => incomplete(cursor),
        };
        // Not the last one in the books: a client that is told to go on elsewhere is told so in the close, too.
        Out { shows: Some((Key::Run(self.run), seen)), ..Out::says(&frame) }
    }
}

impl Form {
    fn show(&mut self, run: RunId, seq: u64, shown: Shown<'_>, mut each: impl FnMut(u64, String)) {
        match self {
            Self::Simple(simple) => simple.add(seq, shown, each),
            Self::V1 => {
                let is_end = matches!(shown, Shown::Done);
                let cursor = match shown {
                    Shown::Message(_) | Shown::Done => seq,
                    // The end is shown as a whole or, to whoever takes the run up, again.
                    Shown::StopReason(_) | Shown::Error(_) | Shown::Usage(_) => {
                        seq.saturating_sub(1)
                    }
                };
                each(cursor, run_event(run, cursor, &Frame::of(shown, seq), is_end));
            }
        }
    }
}

/// Says that something cannot be followed any further.
pub(super) fn incomplete(cursor: Cursor) -> ServerFrame<'static> {
    ServerFrame::ServerError {
        message: "the stream broke off; take it up again where it was",
        code: "stream_incomplete",
        hint: None,
        cursor: Some(cursor),
        request_id: None,
    }
}
