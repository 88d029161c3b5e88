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

use retold::{
    caged::HIDDEN_ARGUMENT,
    cli::{self, Process},
};
use retold_tools::cage::child_main;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // As a part of the cage it is another program, and nothing of this one may begin.
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == HIDDEN_ARGUMENT) {
        return child_main(arguments);
    }
    cli::run(&Process {
        started: Instant::now(),
        arguments: env::args_os().collect(),
        program: env::current_exe().unwrap_or_else(|_| PathBuf::from("retold")),
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
