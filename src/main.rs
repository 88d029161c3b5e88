//! The `retold` program: takes the process as it is and hands it to the command line.
//!
//! The only place that reads the process's arguments, environment, terminals and clock of start-up.

use std::{
    env,
    io::{IsTerminal, stderr, stdin},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use retold::cli::{self, Process};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(&Process {
        started: Instant::now(),
        arguments: env::args_os().collect(),
        environment: env::vars_os().collect(),
        directory: env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        stdin_is_terminal: stdin().is_terminal(),
        stderr_is_terminal: stderr().is_terminal(),
        make_password,
    })
}

/// 122 bits of the operating system's chance.
#[expect(clippy::disallowed_methods, reason = "this is the edge where chance comes in")]
fn make_password() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
