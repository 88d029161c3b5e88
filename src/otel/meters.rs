//! What the export counts of itself.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Numbers of an export. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExportMeters {
    /// Spans that the collector took.
    pub(super) exported: Counter,
    /// Spans that it refused, which are not sent again.
    pub(super) dropped: Counter,
    /// Requests to the collector that failed and are made again.
    pub(super) failed: Counter,
    /// Events that the export has yet to look at.
    pub(super) behind: Gauge,
}

impl ExportMeters {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "retold_otlp_spans_exported",
            "Spans that the collector took",
            self.exported.clone(),
        );
        registry.register(
            "retold_otlp_spans_dropped",
            "Spans that the collector refused for good",
            self.dropped.clone(),
        );
        registry.register(
            "retold_otlp_requests_failed",
            "Requests to the collector that failed and are made again",
            self.failed.clone(),
        );
        registry.register(
            "retold_otlp_waiting_events",
            "Events of the log that the export has not looked at yet",
            self.behind.clone(),
        );
    }
}
