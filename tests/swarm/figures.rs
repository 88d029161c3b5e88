//! What happened in a swarm, so that it can be seen that something did.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// The ways a run is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Get,
    Post,
    Socket,
}

#[derive(Debug, Default)]
pub(crate) struct Figures {
    connections: [AtomicU64; 3],
    kills: AtomicU64,
    stops: AtomicU64,
    sent_on: AtomicU64,
    completed: AtomicU64,
    cut: AtomicU64,
    cancelled: AtomicU64,
    shown: AtomicU64,
}

impl Figures {
    pub(crate) fn connected(&self, transport: Transport) {
        self.connections[transport as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn restarted(&self, gently: bool) {
        let restarts = if gently { &self.stops } else { &self.kills };
        restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// A run that goes on was told so when the server stopped.
    pub(crate) fn sent_on(&self) {
        self.sent_on.fetch_add(1, Ordering::Relaxed);
    }

    /// A run was compared with what the log holds of it.
    pub(crate) fn audited(&self, status: &str, shown: u64) {
        let runs = match status {
            "completed" => &self.completed,
            "cancelled" => &self.cancelled,
            _ => &self.cut,
        };
        runs.fetch_add(1, Ordering::Relaxed);
        self.shown.fetch_add(shown, Ordering::Relaxed);
    }

    /// A swarm in which nothing happens proves nothing.
    pub(crate) fn show_that_the_swarm_bites(&self, subscribers: u64) {
        let connections: Vec<u64> =
            self.connections.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        if subscribers < 100 {
            return;
        }
        assert!(connections.iter().all(|count| *count > subscribers / 10), "{self}");
        assert!(connections.iter().sum::<u64>() > subscribers * 2, "few came again: {self}");
        assert!(self.completed.load(Ordering::Relaxed) > 0, "no run came to its end: {self}");
        assert!(self.cut.load(Ordering::Relaxed) > 0, "no run was cut: {self}");
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [get, post, socket] = &self.connections;
        write!(
            f,
            "connections: {} by GET, {} by POST, {} sockets; {} kills, {} stops, {} runs sent on; \
             runs: {} completed, {} cut, {} cancelled; {} messages each read by many",
            of(get),
            of(post),
            of(socket),
            of(&self.kills),
            of(&self.stops),
            of(&self.sent_on),
            of(&self.completed),
            of(&self.cut),
            of(&self.cancelled),
            of(&self.shown),
        )
    }
}
