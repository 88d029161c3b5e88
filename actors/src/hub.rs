//! The hub: what a run shows, to any number of subscribers, live or from the log.
//!
//! A subscriber has a cursor and reads forward. While the run is live its newest batches are also in a small ring, so
//! that following it costs no read; whoever falls out of the ring reads the log again. Nobody is ever told that it
//! lagged, and a slow reader holds nothing but its cursor.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use retold_events::{
    RunId,
    codec::decode_items,
    defect::Defect,
    log::Log,
    output::{Item, Output},
    store::StoreError,
};
use tokio::sync::watch;

use crate::{Refusal, metrics::Metrics};

/// Bytes a run's ring may hold, as encoded. A burst of one model answer fits; a reader further behind reads the log.
const RING_BYTES: usize = 64 << 10;
/// Bytes read from the log at a time. What a reader has not taken yet it holds decoded, which is up to eight times as
/// much; so one that stopped reading costs at most a quarter of a mebibyte here.
const READ_BYTES: usize = 32 << 10;

/// Feeds of the runs that are live.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    log: Log,
    feeds: Arc<Mutex<HashMap<RunId, Arc<Feed>>>>,
    metrics: Arc<Metrics>,
}

/// The newest output of one live run.
#[derive(Debug)]
struct Feed {
    ring: Mutex<Ring>,
    /// How far it has come. Written after the ring.
    progress: watch::Sender<Progress>,
}

/// How far a live run's output has come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Number of the last durable item.
    last: u64,
    /// Whether that is the end.
    ended: bool,
    /// Why there will be no more although it did not end.
    broken: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Ring {
    batches: VecDeque<Batch>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Batch {
    first: u64,
    last: u64,
    bytes: usize,
    items: Arc<[Item]>,
}

impl Hub {
    pub(crate) fn new(log: Log, metrics: Arc<Metrics>) -> Self {
        Self { log, feeds: Arc::default(), metrics }
    }

    /// Begins the feed of a run whose last recorded item is `last`.
    pub(crate) fn open(&self, run: RunId, last: u64) {
        let feed = Feed {
            ring: Mutex::default(),
            progress: watch::Sender::new(Progress { last, ended: false, broken: None }),
        };
        self.feeds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(run)
            .or_insert_with(|| Arc::new(feed));
    }

    /// Shows durable items. Called on the committer thread, in their order.
    pub(crate) fn publish(&self, run: RunId, items: Vec<Item>, bytes: usize) {
        let Some((first, last)) =
            items.first().zip(items.last()).map(|(first, last)| (first.seq, last_seq(last)))
        else {
            return;
        };
        let ended = matches!(items.last(), Some(Item { output: Output::End { .. }, .. }));
        let feed = {
            let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
            if ended { feeds.remove(&run) } else { feeds.get(&run).cloned() }
        };
        if let Some(feed) = feed {
            feed.ring.lock().unwrap_or_else(PoisonError::into_inner).push(Batch {
                first,
                last,
                bytes,
                items: items.into(),
            });
            feed.progress.send_replace(Progress { last, ended, broken: None });
        }
    }

    /// Tells everybody who follows a run that the log failed: nothing more will come.
    pub(crate) fn fail(&self) {
        for feed in self.feeds.lock().unwrap_or_else(PoisonError::into_inner).values() {
            feed.break_off("the log failed");
        }
    }

    /// Ends the feed of a run that nobody can go on with before the next start, and tells those who follow it.
    pub(crate) fn abandon(&self, run: RunId) {
        let feed = self.feeds.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        if let Some(feed) = feed {
            feed.break_off("its agent is quarantined");
        }
    }

    /// Follows a run from item `after + 1` on.
    pub(crate) fn follow(&self, run: RunId, after: u64) -> Follow {
        let feed = self.feeds.lock().unwrap_or_else(PoisonError::into_inner).get(&run).cloned();
        let last = feed.as_ref().map(|feed| feed.progress.subscribe());
        if let Some(last) = &last {
            self.metrics.follows(last.borrow().last.saturating_sub(after));
        }
        let (log, metrics) = (self.log.clone(), Arc::clone(&self.metrics));
        Follow { log, metrics, run, cursor: after, live: feed.zip(last), ended: false }
    }
}

impl Hub {
    /// The number of the last item of a run, where `after` is greater; `None` where there is nothing to complain of.
    ///
    /// # Errors
    /// [`Refusal::Storage`] when the log cannot be read.
    pub(crate) async fn last_if_before(
        &self,
        run: RunId,
        after: u64,
    ) -> Result<Option<u64>, Refusal> {
        let live = self.feeds.lock().unwrap_or_else(PoisonError::into_inner).get(&run).cloned();
        if let Some(feed) = live {
            let last = feed.progress.borrow().last;
            return Ok((after > last).then_some(last));
        }
        let Some(before) = after.checked_sub(1) else { return Ok(None) };
        // Usually the number is there; only who names one that is not has all of the run looked through for its last.
        let mut last = self.last_read(run, before).await?.unwrap_or(0);
        if last >= after {
            return Ok(None);
        }
        while let Some(further) = self.last_read(run, last).await? {
            last = further;
        }
        Ok(Some(last))
    }

    /// The last number of the next items of a run after a number.
    async fn last_read(&self, run: RunId, after: u64) -> Result<Option<u64>, Refusal> {
        let items = read(&self.log, &self.metrics, run, after).await?;
        Ok(items.last().map(last_seq).filter(|last| *last > after))
    }
}

async fn read(log: &Log, metrics: &Metrics, run: RunId, after: u64) -> Result<Vec<Item>, Refusal> {
    metrics.read_log();
    let batches = log.read(move |store| store.outputs(run, after, READ_BYTES)).await?;
    let mut items = Vec::new();
    for batch in batches {
        items.extend(decode_items(&batch).map_err(|error| StoreError::Damaged {
            place: format!("output of {run}"),
            detail: error.to_string(),
        })?);
    }
    Ok(items)
}

impl Feed {
    fn break_off(&self, why: &'static str) {
        self.progress.send_modify(|progress| progress.broken = Some(why));
    }
}

/// Number of the last wire message of an item.
#[must_use]
pub fn last_seq(item: &Item) -> u64 {
    match &item.output {
        Output::Message { span, .. } => item.seq + u64::from(span.saturating_sub(1)),
        // The notice and the summary.
        Output::Compacted { .. } => item.seq + 1,
        Output::Delta { .. } | Output::End { .. } => item.seq,
    }
}

impl Ring {
    fn push(&mut self, batch: Batch) {
        self.bytes += batch.bytes;
        self.batches.push_back(batch);
        while self.bytes > RING_BYTES && self.batches.len() > 1 {
            if let Some(oldest) = self.batches.pop_front() {
                self.bytes -= oldest.bytes;
            }
        }
    }

    /// The batch that holds item `seq`; `None` when it is older than the ring, or newer.
    fn holding(&self, seq: u64) -> Option<Batch> {
        let index = self.batches.partition_point(|batch| batch.last < seq);
        self.batches.get(index).filter(|batch| batch.first <= seq).cloned()
    }
}

/// A subscriber of one run.
#[derive(Debug)]
pub struct Follow {
    log: Log,
    metrics: Arc<Metrics>,
    run: RunId,
    cursor: u64,
    live: Option<(Arc<Feed>, watch::Receiver<Progress>)>,
    ended: bool,
}

impl Follow {
    /// The next items, in order and without gap; waits for them while the run is live. `None` after the end.
    ///
    /// Cancel-safe: dropping the future loses nothing. The first batch may begin before the cursor; its readers skip
    /// what they have seen. Whoever begins at or after the end still gets the end.
    ///
    /// # Errors
    /// [`Refusal::Storage`] when the log cannot be read, or nothing more will come although the run has not ended.
    pub async fn next(&mut self) -> Result<Option<Arc<[Item]>>, Refusal> {
        loop {
            if self.ended {
                return Ok(None);
            }
            let progress = self.live.as_mut().map(|(_, progress)| *progress.borrow_and_update());
            if let Some(items) = self.read_ring() {
                return Ok(Some(self.advance(items)));
            }
            if progress.is_none_or(|progress| progress.last > self.cursor) {
                match self.read_log().await? {
                    Some(items) => return Ok(Some(self.advance(items))),
                    // Not live and nothing left: the log has no end for it, or the cursor is past the end.
                    None if progress.is_none() => return self.only_the_end().await,
                    None => {}
                }
            } else if progress.is_some_and(|progress| progress.ended) {
                return self.only_the_end().await;
            } else if let Some(why) = progress.and_then(|progress| progress.broken) {
                return Err(Refusal::Storage(format!("{why}; nothing more will come")));
            }
            let Some((_, last)) = &mut self.live else { continue };
            if last.changed().await.is_err() {
                // The feed is gone with all its senders: what is left is in the log.
                self.live = None;
            }
        }
    }

    fn read_ring(&self) -> Option<Arc<[Item]>> {
        let (feed, _) = self.live.as_ref()?;
        let ring = feed.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (self.cursor + 1).saturating_add(u64::from(Defect::RingCursorOff.is_on()));
        let items = ring.holding(next).map(|batch| batch.items)?;
        self.metrics.read_ring();
        Some(items)
    }

    async fn read_log(&self) -> Result<Option<Arc<[Item]>>, Refusal> {
        let items = self.read(self.cursor).await?;
        Ok((!items.is_empty()).then(|| items.into()))
    }

    /// Gives the last item of an ended run to a subscriber whose cursor is at or past it.
    async fn only_the_end(&mut self) -> Result<Option<Arc<[Item]>>, Refusal> {
        self.ended = true;
        let mut cursor = 0;
        loop {
            let items = self.read(cursor).await?;
            let Some(last) = items.last() else { return Ok(None) };
            if matches!(last.output, Output::End { .. }) {
                return Ok(Some(vec![last.clone()].into()));
            }
            cursor = last_seq(last);
        }
    }

    async fn read(&self, after: u64) -> Result<Vec<Item>, Refusal> {
        read(&self.log, &self.metrics, self.run, after).await
    }

    fn advance(&mut self, items: Arc<[Item]>) -> Arc<[Item]> {
        if let Some(last) = items.last() {
            self.cursor = self.cursor.max(last_seq(last));
            self.ended = matches!(last.output, Output::End { .. });
        }
        items
    }
}
