//! What the committer measures of itself.
//!
//! Each log has its own numbers, so that several servers in one process do not mix theirs. Measuring is always on: it
//! costs a group some hundred nanoseconds beside a sync that takes a hundred microseconds, and a commit some tens. The
//! library keeps every histogram in buckets of fixed number, so nothing grows when nobody looks.

use prometheus_client::{
    metrics::{gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tokio::time::Instant;

use super::committer::size;
use crate::store::Commit;

/// Upper bounds for times, in seconds: from a sync on a fast disk to a disk that hangs.
const SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 10.0,
];
/// Upper bounds for numbers of things in a group; the last is the most there can be.
const COUNTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// Upper bounds for bytes in a group, up to the most there can be, but for one commit that is larger by itself.
const BYTES: [f64; 8] =
    [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 16_777_216.0];

/// The numbers of one log. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    waiting_commits: Gauge,
    waiting_events: Gauge,
    commit_seconds: Histogram,
    write_seconds: Histogram,
    group_commits: Histogram,
    group_events: Histogram,
    group_bytes: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            waiting_commits: Gauge::default(),
            waiting_events: Gauge::default(),
            commit_seconds: Histogram::new(SECONDS),
            write_seconds: Histogram::new(SECONDS),
            group_commits: Histogram::new(COUNTS),
            group_events: Histogram::new(COUNTS),
            group_bytes: Histogram::new(BYTES),
        }
    }
}

impl Metrics {
    /// Lets `registry` show these numbers.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "retold_log_waiting_commits",
            "Commits that are queued or being written",
            self.waiting_commits.clone(),
        );
        registry.register(
            "retold_log_waiting_events",
            "Events that are queued or being written: how far what is durable lags behind what was decided",
            self.waiting_events.clone(),
        );
        registry.register(
            "retold_log_commit_seconds",
            "From the queueing of a commit to its being durable",
            self.commit_seconds.clone(),
        );
        registry.register(
            "retold_log_write_seconds",
            "Writing one group of commits, its sync included",
            self.write_seconds.clone(),
        );
        registry.register(
            "retold_log_group_commits",
            "Commits per group",
            self.group_commits.clone(),
        );
        registry.register("retold_log_group_events", "Events per group", self.group_events.clone());
        registry.register(
            "retold_log_group_bytes",
            "Bytes per group: payloads of events, rows, output and saved states",
            self.group_bytes.clone(),
        );
    }

    /// Commits that are queued, or being written, or written and not all answered.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting_commits.get().unsigned_abs()
    }

    /// A commit of so many events was queued.
    pub(super) fn queued(&self, events: usize) {
        self.waiting_commits.inc();
        self.waiting_events.inc_by(signed(events));
    }

    /// A group was written and answered. `queued` says since when each of its commits waited, `began` when the writing
    /// began, `durable` when it was over.
    pub(super) fn wrote(
        &self,
        group: &[Commit],
        queued: &[Instant],
        began: Instant,
        durable: Instant,
    ) {
        let (events, bytes) = group
            .iter()
            .map(size)
            .fold((0, 0), |(events, bytes), more| (events + more.0, bytes + more.1));
        self.waiting_commits.dec_by(signed(group.len()));
        self.waiting_events.dec_by(signed(events));
        self.write_seconds.observe(durable.duration_since(began).as_secs_f64());
        self.group_commits.observe(group.len() as f64);
        self.group_events.observe(events as f64);
        self.group_bytes.observe(bytes as f64);
        for &since in queued {
            self.commit_seconds.observe(durable.duration_since(since).as_secs_f64());
        }
    }

    /// The store failed: nothing waits any more.
    pub(super) fn gave_up(&self) {
        self.waiting_commits.set(0);
        self.waiting_events.set(0);
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::{
        log::Log,
        store::{
            Failure, Faults, FaultyStore, MemoryStore, Moment,
            conformance::{agent, commit},
        },
    };

    fn log() -> (Log, Faults) {
        let faults = Faults::new();
        let store = FaultyStore::new(Arc::new(MemoryStore::new()), faults.clone());
        (Log::open(Arc::new(store)), faults)
    }

    fn has(metrics: &Metrics, line: &str) {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }

    #[test]
    fn what_waits_is_counted_until_it_is_durable() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (log, faults) = log();
            let hold = faults.hold(Moment::After);
            log.submit(log.reserve().await, commit(agent(1), 0, 3), |_| ());
            hold.reached().await;
            log.submit(log.reserve().await, commit(agent(2), 0, 2), |_| ());
            has(log.metrics(), "retold_log_waiting_commits 2");
            has(log.metrics(), "retold_log_waiting_events 5");
            drop(hold);
            log.close().await;
            has(log.metrics(), "retold_log_waiting_commits 0");
            has(log.metrics(), "retold_log_waiting_events 0");
            has(log.metrics(), "retold_log_commit_seconds_count 2");
            has(log.metrics(), "retold_log_write_seconds_count 2");
            has(log.metrics(), "retold_log_group_events_sum 5.0");
            has(log.metrics(), "retold_log_group_events_bucket{le=\"2.0\"} 1");
        });
    }

    #[test]
    fn after_a_failure_nothing_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (log, faults) = log();
            faults.fail_append(1, Moment::Before, Failure::Io);
            log.append(commit(agent(1), 0, 1)).await.unwrap_err();
            log.append(commit(agent(1), 0, 1)).await.unwrap_err();
            log.failed().await;
            has(log.metrics(), "retold_log_waiting_commits 0");
            has(log.metrics(), "retold_log_commit_seconds_count 0");
        });
    }
}
