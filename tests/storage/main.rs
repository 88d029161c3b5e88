//! What the storage promises, tried on real stores: power cuts, damaged files, full and dying disks, two servers on one
//! directory.
//!
//! A library between the program and its files (`shim.c`, built here with `cc`) writes down what is written and lets
//! calls fail. Whatever may break a process runs in one of its own, so that an abort, a hang or a flood of memory is a
//! finding and not the end of the tests. All choices come from a seed that is printed: `RETOLD_SEED` repeats them.
//! Sizes can be raised: `RETOLD_CUTS`, `RETOLD_CUT_COMMITS`, `RETOLD_DAMAGES`, `RETOLD_FAULTS`. With
//! `RETOLD_KEEP=directory` the directories that broke a promise are copied there.

#[path = "../cli/api.rs"]
#[expect(dead_code, reason = "what the tests of the command line call more than these do")]
mod api;
mod child;
mod compare;
mod damage;
mod disk;
mod dying;
mod fence;
mod full;
#[path = "../kill/http.rs"]
#[expect(dead_code, reason = "the kill loop reads streams, too")]
mod http;
mod power;
#[path = "../cli/program.rs"]
#[expect(dead_code, reason = "what the tests of the command line call more than these do")]
mod program;
#[path = "../kill/random.rs"]
#[expect(dead_code, reason = "the kill loop gives its tasks generators of their own")]
mod random;
mod rig;
mod script;
mod shim;
#[path = "../cli/small_disk.rs"]
#[expect(dead_code, reason = "what the tests of the command line call more than these do")]
mod small_disk;
mod trace;
mod trial;

use std::io::Write as _;

/// What a helper answers: a broken promise of the program panics, a broken rig is an error.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Prints past the test runner's capture, so that figures are seen when all is well too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
