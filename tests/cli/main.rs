//! The binary as whoever runs it meets it: what it says, what it refuses, how it ends, and what it
//! leaves behind.
//!
//! Every test starts `retold` itself, with an environment it has chosen and a home of its own, and
//! knows nothing of it but its command line, its exit codes, its two outputs, HTTP and the files of
//! a data directory. Nothing here listens beyond loopback.

mod api;
mod backup;
mod chat;
mod config;
mod data_dir;
mod disk_full;
mod doctor;
mod events;
mod exposure;
mod failures;
mod help;
mod hostile;
#[path = "../kill/http.rs"]
mod http;
mod password;
mod program;
mod proxy;
mod reconnect;
mod replay;
mod secrets;
mod signals;
mod small_disk;
mod start;
mod storage;
mod upstream;

use std::io::Write as _;

/// What a helper answers: a broken promise of the program panics, a broken rig is an error.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Prints past the test runner's capture, so that figures are seen when all is well too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
