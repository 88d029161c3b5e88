//! One line on the terminal that says how far a long job has come.

use std::{
    io::{Write as _, stderr},
    time::{Duration, Instant},
};

use retold_events::store::archive::Progress;

use super::Process;

/// Pause between two looks of the line.
const PAUSE: Duration = Duration::from_millis(100);

/// The line. Nothing is shown where standard error is no terminal.
#[derive(Debug)]
pub(super) struct Line {
    what: &'static str,
    is_shown: bool,
    shown_at: Option<Instant>,
}

impl Line {
    /// A line that begins with `what`.
    pub(super) fn new(what: &'static str, process: &Process) -> Self {
        Self { what, is_shown: process.stderr_is_terminal, shown_at: None }
    }

    /// Shows how far it has come, unless it was shown a moment ago.
    pub(super) fn tell(&mut self, progress: Progress) {
        let now = Instant::now();
        let is_fresh = self.shown_at.is_some_and(|at| now.duration_since(at) < PAUSE);
        if !self.is_shown || is_fresh {
            return;
        }
        self.shown_at = Some(now);
        // A terminal that has gone is no reason to stop.
        let _ = write!(stderr().lock(), "\r\x1b[K{}", text(self.what, progress));
        let _ = stderr().lock().flush();
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        if self.shown_at.is_some() {
            let _ = write!(stderr().lock(), "\r\x1b[K");
        }
    }
}

fn text(what: &str, Progress { done, of, bytes }: Progress) -> String {
    let percent = (done.min(of) * 100).checked_div(of).unwrap_or(100);
    format!("{what}: {percent} %, {done} of {} events, {}", of.max(done), size(bytes))
}

/// Bytes as a person reads them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_has_come() {
        let progress = Progress { done: 50, of: 200, bytes: 3 << 20 };
        assert_eq!(text("backup", progress), "backup: 25 %, 50 of 200 events, 3.0 MiB");
        assert_eq!(text("backup", Progress::default()), "backup: 100 %, 0 of 0 events, 0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
    }
}
