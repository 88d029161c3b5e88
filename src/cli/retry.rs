//! Following something on a server for as long as it takes: what breaks off is taken up again where it was.
//!
//! The pauses grow, so that a server that is being started again is not stormed by those who wait for it, and end at some
//! length, so that they notice soon that it is there.

use std::{fmt::Display, time::Duration};

use clap::Args;
use tokio::time::{Instant, sleep};

use super::say;

/// The first pause, and each is twice the one before.
const SHORTEST: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// How long to try.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct RetryArgs {
    /// How long to try to take it up again after the connection broke; 0 is not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    retry_for: u64,
}

/// The tries to take up again what broke off.
#[derive(Debug)]
pub(super) struct Retry {
    patience: Duration,
    /// Since when nothing comes.
    broken: Option<Instant>,
    pause: Duration,
}

impl Retry {
    /// Nothing broke yet.
    pub(super) fn new(args: RetryArgs) -> Self {
        Self { patience: Duration::from_secs(args.retry_for), broken: None, pause: SHORTEST }
    }

    /// Notes that something came.
    pub(super) fn works(&mut self) {
        if self.broken.take().is_some() {
            say("connected again");
        }
        self.pause = SHORTEST;
    }

    /// Waits before the next try. `false` when it has been tried for long enough.
    pub(super) async fn wait(&mut self, why: impl Display) -> bool {
        let since = *self.broken.get_or_insert_with(|| {
            if !self.patience.is_zero() {
                say(format_args!("{why}; trying again for {} s", self.patience.as_secs()));
            }
            Instant::now()
        });
        let left = self.patience.saturating_sub(since.elapsed());
        if left.is_zero() {
            return false;
        }
        sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(LONGEST);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_bound_and_end_with_the_patience() {
        let mut retry = Retry::new(RetryArgs { retry_for: 40 });
        let mut pauses = Vec::new();
        loop {
            let begun = Instant::now();
            if !retry.wait("gone").await {
                break;
            }
            pauses.push(begun.elapsed().as_millis());
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 4500]);
        retry.works();
        let begun = Instant::now();
        assert!(retry.wait("gone again").await);
        assert_eq!(begun.elapsed().as_millis(), 500, "what worked begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_no_tries_gets_none() {
        assert!(!Retry::new(RetryArgs { retry_for: 0 }).wait("gone").await);
    }
}
