//! From OpenMetrics, which the library writes, to the older text form, which every scraper and every person reads.
//!
//! The two differ in little: the older form has no end mark, and describes a counter under the name its sample has, with
//! `_total` at the end.

/// The same numbers in the older form.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 256);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            if !line.starts_with("# ") {
                push(&mut plain, &[line]);
            }
            continue;
        };
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let kind = lines.next_if(|line| line.starts_with("# TYPE "));
        let kind = kind.and_then(|line| line.rsplit(' ').next()).unwrap_or("untyped");
        let suffix = if kind == "counter" { "_total" } else { "" };
        push(&mut plain, &["# HELP ", name, suffix, " ", help]);
        push(&mut plain, &["# TYPE ", name, suffix, " ", kind]);
    }
    plain
}

fn push(text: &mut String, parts: &[&str]) {
    text.extend(parts.iter().copied());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use prometheus_client::{
        encoding::text::encode,
        metrics::{counter::Counter, gauge::Gauge},
        registry::Registry,
    };

    use super::*;

    #[test]
    fn counters_are_described_under_the_name_of_their_sample() {
        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        counter.inc();
        registry.register("things", "Things that were made", counter);
        registry.register("size_bytes", "How large it is", Gauge::<i64>::default());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert_eq!(
            from_open_metrics(&text),
            "# HELP things_total Things that were made.\n\
             # TYPE things_total counter\n\
             things_total 1\n\
             # HELP size_bytes How large it is.\n\
             # TYPE size_bytes gauge\n\
             size_bytes 0\n"
        );
    }
}
