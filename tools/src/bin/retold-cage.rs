//! The cage's part of a server as a program of its own, for the tests and benches of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    retold_tools::cage::child_main(std::env::args_os().skip(1))
}
