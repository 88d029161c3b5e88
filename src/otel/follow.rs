//! The one that goes along the log, makes traces of the runs that end, and sends them.
//!
//! It looks once a second, and looks only at what had happened by the time before: by then whoever began a run has noted
//! which trace it belongs to. How far it has come is kept in a small file. The file is written after the collector has
//! taken the spans, so a crash repeats some and loses none.

use std::{fs, io, path::Path, time::Duration};

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use retold_actors::{EventFollow, Fact, Host, Refusal, Scope};
use retold_events::{AgentId, Position, RunId, StreamId, agent::Event, store::Table};
use retold_snapshots::row::{AgentRow, decode};
use tokio_util::sync::CancellationToken;

use super::{
    Export,
    content::Content,
    parent::Parent,
    send::Sender,
    trace::{Agent, Trace},
};

/// Between two looks at the log. Traces are for people, who do not see a second.
const LOOK: Duration = Duration::from_secs(1);
/// Events read at a time.
const PAGE: usize = 256;
/// Spans sent at a time, or a few more: those of a run stay together.
const BATCH_SPANS: usize = 512;
/// Bytes sent at a time, or those of one run, if that is larger. Collectors take some megabytes.
const BATCH_BYTES: usize = 2 << 20;

/// Goes along the log.
#[derive(Debug)]
pub(super) struct Follower {
    host: Host,
    export: Export,
    sender: Sender,
}

/// Spans that are to be sent.
#[derive(Debug, Default)]
struct Batch {
    spans: Vec<Span>,
    bytes: usize,
}

impl Follower {
    pub(super) fn new(host: Host, export: Export, sender: Sender) -> Self {
        Self { host, export, sender }
    }

    /// Goes along the log until `stop`, and then to its end.
    pub(super) async fn run(self, stop: &CancellationToken) {
        let mut follow = match self.begin().await {
            Ok(follow) => follow,
            Err(error) => {
                tracing::error!(%error, "nothing is exported: the log cannot be followed");
                return;
            }
        };
        let mut until = follow.cursor();
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            if stopping {
                until = self.head();
            }
            if let Err(error) = self.export_until(&mut follow, until).await {
                // The log tells everybody when it failed; there is nothing more to come then.
                tracing::warn!(%error, "the log could not be read for the export");
            }
            if stopping {
                return;
            }
            until = self.head();
        }
    }

    /// Where the last export came to, else the end of the log: nobody asked for what was before.
    async fn begin(&self) -> Result<EventFollow, Refusal> {
        let kept = self.export.kept_in.as_deref().and_then(read_position);
        // A position beyond the end is of another log, which this one was restored in place of.
        let from = match kept.filter(|kept| *kept <= self.head()) {
            Some(kept) => kept,
            None => {
                let head = self.head();
                // At once: a collector that is never there must not let the next start begin later than this one.
                self.keep(head).await;
                head
            }
        };
        self.host.follow_events(Scope::All, from).await
    }

    fn head(&self) -> Position {
        self.host.log().head().position
    }

    /// Exports the runs that ended up to a position. Where it fails in between, the cursor stays at what was sent.
    async fn export_until(&self, follow: &mut EventFollow, until: Position) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        let mut moved = false;
        while follow.cursor() < until {
            let page = follow.past(PAGE).await?;
            if page.is_empty() {
                break;
            }
            moved = true;
            for event in &page {
                let (StreamId::Agent(agent), Fact::Agent(Event::RunEnded(ended))) =
                    (event.stream, &event.fact)
                else {
                    continue;
                };
                batch.add(self.spans(agent, ended.run).await);
                if batch.is_full() {
                    self.sender.send(batch.take()).await;
                }
            }
            let behind = self.head().0.saturating_sub(follow.cursor().0);
            self.export.meters.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        }
        if !batch.spans.is_empty() {
            self.sender.send(batch.take()).await;
        }
        if moved {
            self.keep(follow.cursor()).await;
        }
        Ok(())
    }

    /// The spans of a run; none for one that its caller does not record, or whose events cannot be read.
    async fn spans(&self, agent: AgentId, run: RunId) -> Vec<Span> {
        let parent = self.export.parents.take(run);
        if parent.as_ref().is_some_and(|parent| !parent.sampled) {
            return Vec::new();
        }
        match self.trace(agent, run, parent).await {
            Ok(trace) => trace.spans(),
            Err(error) => {
                tracing::warn!(%run, %error, "a run could not be read for the export");
                Vec::new()
            }
        }
    }

    async fn trace(
        &self,
        agent: AgentId,
        run: RunId,
        parent: Option<Parent>,
    ) -> Result<Trace, Refusal> {
        let name = self.name(agent).await?;
        let content = self.export.settings.content.then(Content::default);
        let mut trace = Trace::new(Agent { id: agent, name }, run, parent, content);
        let mut follow = self.host.follow_events(Scope::Run(run), Position(0)).await?;
        loop {
            let page = follow.past(PAGE).await?;
            if page.is_empty() {
                break;
            }
            for event in page {
                if let Fact::Agent(fact) = event.fact {
                    trace.add(event.position, event.at, &fact);
                }
            }
        }
        if let Some((position, conversation)) = trace.wants_instructions() {
            // An agent that is gone by now has none to tell.
            let then = self.host.agent_at(agent, position).await.ok();
            let thread = then.as_ref().and_then(|then| then.state.threads.get(&conversation));
            trace.instruct(thread.map(|thread| thread.system.text()));
        }
        Ok(trace)
    }

    /// The name of an agent as it is now; `None` for one that was deleted.
    async fn name(&self, agent: AgentId) -> Result<Option<String>, Refusal> {
        let log = self.host.log();
        let row = log.read_inline(|store| store.row(Table::Agents, agent.as_bytes())).await?;
        Ok(row.and_then(|row| decode::<AgentRow>(&row).ok()).map(|row| row.name))
    }

    /// Notes how far the export has come.
    async fn keep(&self, position: Position) {
        let Some(path) = self.export.kept_in.clone() else { return };
        let written = tokio::task::spawn_blocking(move || write_position(&path, position)).await;
        if let Ok(Err(error)) = written {
            // At the next start some traces are sent again, or none of those that ended while nothing ran.
            tracing::warn!(%error, "how far the export has come could not be noted");
        }
    }
}

impl Batch {
    fn add(&mut self, spans: Vec<Span>) {
        self.bytes += spans.iter().map(Span::encoded_len).sum::<usize>();
        self.spans.extend(spans);
    }

    fn is_full(&self) -> bool {
        self.spans.len() >= BATCH_SPANS || self.bytes >= BATCH_BYTES
    }

    fn take(&mut self) -> Vec<Span> {
        self.bytes = 0;
        std::mem::take(&mut self.spans)
    }
}

fn read_position(path: &Path) -> Option<Position> {
    fs::read_to_string(path).ok()?.trim().parse().ok().map(Position)
}

/// Written beside and renamed, so that there is a whole number or the one before.
fn write_position(path: &Path, position: Position) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, format!("{}\n", position.0))?;
    fs::rename(&fresh, path)
}
