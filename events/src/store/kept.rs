//! Which saved states of a stream are kept: the newest two, and one per stretch of its history.
//!
//! The newest serve whoever wakes an aggregate; two of them, in case a reader finds the newest too new or unreadable.
//! The others bound what reading the past costs, whatever the age of the stream. Pure, so that every implementation of
//! the store keeps the same.

use std::collections::BTreeSet;

use crate::Seq;

/// How many of the newest are kept.
pub(super) const NEWEST: usize = 2;

/// Events of a stream per further saved state that is kept: the first one at or after each multiple. Folding so many
/// takes some tens of milliseconds.
pub const KEPT_STATE_EVENTS: u64 = 8192;

/// Which of the saved states at `seqs` are kept.
///
/// The answer for the newest ones is right as long as the stretch that holds the oldest of `seqs` is given whole.
pub(super) fn kept(seqs: &BTreeSet<Seq>) -> BTreeSet<Seq> {
    let mut kept: BTreeSet<Seq> = seqs.iter().rev().take(NEWEST).copied().collect();
    let mut last = 0;
    for seq in seqs {
        // Nothing is to be gained before the first multiple: folding from nothing costs no more.
        if stretch(*seq) > last {
            last = stretch(*seq);
            kept.insert(*seq);
        }
    }
    kept
}

/// The number of the stretch of history that holds `seq`.
pub(super) fn stretch(seq: Seq) -> u64 {
    seq.0 / KEPT_STATE_EVENTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_of<const N: usize>(seqs: [u64; N]) -> Vec<u64> {
        kept(&seqs.into_iter().map(Seq).collect()).into_iter().map(|seq| seq.0).collect()
    }

    #[test]
    fn the_newest_two_and_the_first_of_each_stretch_are_kept() {
        assert_eq!(kept_of([]), [0; 0]);
        assert_eq!(kept_of([7]), [7]);
        assert_eq!(kept_of([1, 2, 3]), [2, 3]);
        assert_eq!(kept_of([8000, 8191, 8192, 8700, 9200]), [8192, 8700, 9200]);
        assert_eq!(kept_of([8500, 9000, 9500, 10_000]), [8500, 9500, 10_000]);
        let far = kept_of([100, 8193, 9000, 30_000, 30_500, 31_000, 31_500]);
        assert_eq!(far, [8193, 30_000, 31_000, 31_500]);
    }
}
