//! What there is at the moment somebody asks: agents, runs, space, the process.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use retold_actors::{Clock as _, Host, SystemClock, metrics::Now};

use super::process::Process;

/// Gauges that are set when somebody asks.
#[derive(Debug)]
pub(super) struct Gauges {
    /// Where the store is, when it is on a disk.
    dir: Option<PathBuf>,
    runs_open: Family<RunState, Gauge>,
    runs_open_limit: Gauge,
    agent_queue_longest: Gauge,
    agent_queue_limit: Gauge,
    agents_awake: Gauge,
    agents_awake_bytes: Gauge,
    agents_quarantined: Gauge,
    log_position: Gauge,
    log_failed: Gauge,
    store_bytes: Gauge,
    store_free_bytes: Gauge<u64, AtomicU64>,
    store_reserve_bytes: Gauge<u64, AtomicU64>,
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_bytes: Gauge<u64, AtomicU64>,
    open_fds: Gauge<u64, AtomicU64>,
    max_fds: Gauge<u64, AtomicU64>,
    start_seconds: Gauge<f64, AtomicU64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunState {
    state: &'static str,
}

impl Gauges {
    /// Gauges of a process that started just now.
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        let start_seconds = Gauge::<f64, AtomicU64>::default();
        start_seconds.set(SystemClock.now().as_micros() as f64 / 1e6);
        Self {
            dir,
            start_seconds,
            runs_open: Family::default(),
            runs_open_limit: Gauge::default(),
            agent_queue_longest: Gauge::default(),
            agent_queue_limit: Gauge::default(),
            agents_awake: Gauge::default(),
            agents_awake_bytes: Gauge::default(),
            agents_quarantined: Gauge::default(),
            log_position: Gauge::default(),
            log_failed: Gauge::default(),
            store_bytes: Gauge::default(),
            store_free_bytes: Gauge::default(),
            store_reserve_bytes: Gauge::default(),
            cpu_seconds: Counter::default(),
            resident_bytes: Gauge::default(),
            open_fds: Gauge::default(),
            max_fds: Gauge::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("retold_runs_open", "Runs that are open", self.runs_open.clone());
        for (name, help, gauge) in [
            (
                "retold_runs_open_limit",
                "Runs that may be open; more are answered with 503",
                &self.runs_open_limit,
            ),
            (
                "retold_agent_queue_longest",
                "Open runs of the agent that has most",
                &self.agent_queue_longest,
            ),
            (
                "retold_agent_queue_limit",
                "Runs of one agent that may be open; more are answered with 429",
                &self.agent_queue_limit,
            ),
            ("retold_agents_awake", "Agents in memory", &self.agents_awake),
            (
                "retold_agents_awake_bytes",
                "Memory of the agents that are awake, as estimated",
                &self.agents_awake_bytes,
            ),
            (
                "retold_agents_quarantined",
                "Agents that failed again and again, or whose history cannot be read",
                &self.agents_quarantined,
            ),
            ("retold_log_position", "The last durable event", &self.log_position),
            (
                "retold_log_failed",
                "1 after the storage failed: nothing is acknowledged any more",
                &self.log_failed,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        if self.dir.is_some() {
            registry.register(
                "retold_store_bytes",
                "Size of the data directory",
                self.store_bytes.clone(),
            );
        }
        registry.register(
            "retold_store_free_bytes",
            "Room on the disk of the data directory",
            self.store_free_bytes.clone(),
        );
        registry.register(
            "retold_store_reserve_bytes",
            "Room below which new work is answered with 507",
            self.store_reserve_bytes.clone(),
        );
        self.register_process(registry);
    }

    /// These have the names that every program gives them.
    fn register_process(&self, registry: &mut Registry) {
        registry.register(
            "process_start_time_seconds",
            "When the server started, in seconds since 1970",
            self.start_seconds.clone(),
        );
        registry.register(
            "process_cpu_seconds",
            "Processor time of the process",
            self.cpu_seconds.clone(),
        );
        let now = Process::now();
        for (name, help, gauge, value) in [
            (
                "process_resident_memory_bytes",
                "Memory of the process",
                &self.resident_bytes,
                now.resident_bytes,
            ),
            ("process_open_fds", "Files and sockets that are open", &self.open_fds, now.open_fds),
            ("process_max_fds", "Files and sockets that may be open", &self.max_fds, now.max_fds),
        ] {
            if value.is_some() {
                registry.register(name, help, gauge.clone());
            }
        }
    }

    /// Looks at everything again.
    pub(super) fn refresh(&self, host: &Host) {
        self.set_host(&host.now());
        let log = host.log();
        self.log_position.set(log.head().position.0.try_into().unwrap_or(i64::MAX));
        self.log_failed.set(log.failure().is_some().into());
        let space = log.space();
        self.store_free_bytes.set(space.free);
        self.store_reserve_bytes.set(space.reserve);
        if let Some(dir) = &self.dir {
            // A file that has just gone, or a directory that cannot be read, changes nothing.
            let bytes = bytes_in(dir).map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
            let _ = bytes.map(|bytes| self.store_bytes.set(bytes));
        }
        let process = Process::now();
        self.cpu_seconds.inner().store(process.cpu_seconds.to_bits(), Ordering::Relaxed);
        self.resident_bytes.set(process.resident_bytes.unwrap_or(0));
        self.open_fds.set(process.open_fds.unwrap_or(0));
        self.max_fds.set(process.max_fds.unwrap_or(0));
    }

    fn set_host(&self, now: &Now) {
        for (state, count) in
            [("waiting", now.waiting), ("running", now.running), ("cancelling", now.cancelling)]
        {
            self.runs_open.get_or_create_owned(&RunState { state }).set(signed(count));
        }
        self.runs_open_limit.set(signed(now.max_open_runs));
        self.agent_queue_longest.set(signed(now.longest_queue));
        self.agent_queue_limit.set(signed(now.queue_bound));
        self.agents_awake.set(signed(now.awake));
        self.agents_awake_bytes.set(signed(now.awake_bytes));
        self.agents_quarantined.set(signed(now.quarantined));
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Bytes of the files in a directory and below it. The store keeps few files, however much is in them.
fn bytes_in(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        bytes +=
            if metadata.is_dir() { bytes_in(&entry.path()).unwrap_or(0) } else { metadata.len() };
    }
    Ok(bytes)
}
