//! Samples and how they are printed.

use std::time::Duration;

use crate::machine;

/// Durations of one kind.
#[derive(Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that `share` of all samples do not pass; zero when there are none.
    pub(crate) fn quantile(&mut self, share: f64) -> Duration {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.0.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn spread(&mut self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99) = (self.quantile(0.5), self.quantile(0.99));
        format!("p50 {:.2} ms  p99 {:.2} ms", ms(p50), ms(p99))
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// Prints a line for samples.
pub(crate) fn spread(what: &str, samples: &mut Samples, note: &str) {
    let (spread, count) = (samples.spread(), samples.len());
    value(what, &spread, &format!("n {count}; {note}"));
}

/// Prints a line.
pub(crate) fn value(what: &str, value: &str, note: &str) {
    println!("{what:<50} {value:<30} {note} [load {}]", machine::load());
}
