//! What one call may use up.

use serde::{Deserialize, Serialize};

/// The bounds of one call. All of them hold for the whole call, with every process it starts, except where it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processor time of one process, in seconds. The wall clock bounds the sum.
    pub cpu_seconds: u64,
    /// Private memory in bytes: of one process by the kernel, of all of them by the keeper, who looks every 50 ms.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// One file, and all files together, in bytes.
    pub disk_bytes: u64,
    /// Files and folders.
    pub files: u64,
    /// Open descriptors of one process.
    pub descriptors: u64,
    /// What is kept of stdout, and of stderr, in bytes; what is more is read and thrown away.
    pub output_bytes: usize,
    /// What may be printed before the call is ended, in bytes.
    pub flood_bytes: u64,
    /// How many characters of a result are handed on. The cut that an agent sees is made by the caller.
    pub text_chars: usize,
    /// What a whole job (source, arguments, environment) may have, in bytes.
    pub job_bytes: usize,
}

impl Limits {
    /// What the answer of a runner may have: every character of the text as an escape of JSON.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.text_chars.saturating_mul(12).saturating_add(4096)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_seconds: 180,
            memory_bytes: 1 << 30,
            processes: 64,
            disk_bytes: 64 << 20,
            files: 20_000,
            descriptors: 256,
            output_bytes: 1 << 20,
            flood_bytes: 64 << 20,
            // The largest `return_char_limit` there is, and one more to tell that it was passed.
            text_chars: 1_000_001,
            job_bytes: 16 << 20,
        }
    }
}
