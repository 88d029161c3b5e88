//! What fuzzers call of the store: see [`crate::fuzzing`].

pub use super::{archive::fuzzing::archive, disk::fuzz_journal as journal};

#[cfg(test)]
pub(crate) use super::{archive::fuzzing::archive_seeds, disk::journal_seeds};
