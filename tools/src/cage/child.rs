//! The processes of a call, all of them this same program started anew: a keeper, and in the cage the one that locks itself in
//! and becomes the interpreter.
//!
//! What happens between `fork` and `exec` cannot be written safely in Rust; a program that does it to itself can. So the server
//! starts its own executable with a first argument that nobody types.

mod attendant;
mod bubblewrap;
mod filter;
mod inner;
mod keeper;
mod kin;
mod plan;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

pub(crate) use attendant::Attendance;
pub(super) use inner::signals_can_be_scoped;
pub(super) use plan::{Plan, Walls};

use super::frame;

/// The arguments after the helper's own that start a keeper.
pub(super) const KEEPER: &str = "keeper";
const INNER: &str = "inner";
/// Attends a program that is not in the cage.
const ATTENDANT: &str = "attendant";
/// What runs in the cage to see whether it holds.
pub(super) const PROBE: &str = "probe";

/// What the program does when it was started as a part of the cage: `arguments` are those after the hidden first one.
///
/// A program that serves a cage calls this before anything else: before threads, configuration or logging.
#[must_use]
pub fn child_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> =
        arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [KEEPER, plan] => read(plan).and_then(|plan| keeper::keep(&plan)),
        [INNER, plan] => read(plan).and_then(|plan| inner::enter(&plan)),
        [ATTENDANT, plan] => match read(plan).and_then(|plan| attendant::attend(&plan)) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => Err(error),
        },
        [PROBE, hidden] => probe(Path::new(hidden)),
        _ => Err(io::Error::other("this form of the program is started by the server only")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{SAYS}{error}");
            ExitCode::from(CANNOT)
        }
    }
}

/// How a part of the cage ends that could not do its work.
const CANNOT: u8 = 125;
/// How what it says then begins.
const SAYS: &str = "the cage: ";

/// What a part of the cage said that could not do its work, where it is that which speaks.
pub(crate) fn said(words: &str) -> Option<&str> {
    words.strip_prefix(SAYS)
}

fn read<T: serde::de::DeserializeOwned>(plan: &str) -> io::Result<T> {
    serde_json::from_str(plan).map_err(io::Error::other)
}

/// Says that it is there, if what must be shut is shut.
fn probe(hidden: &Path) -> io::Result<()> {
    if std::fs::read_dir(hidden).is_ok() {
        return Err(io::Error::other("the data directory can be read from inside"));
    }
    if std::net::UdpSocket::bind("127.0.0.1:0").is_ok() {
        return Err(io::Error::other("a socket can be made inside"));
    }
    std::fs::write("probe", "written").map_err(|error| {
        io::Error::new(error.kind(), format!("the working directory cannot be written: {error}"))
    })?;
    rustix::io::write(rustix::stdio::stdin(), &frame::encode(frame::READY, &[]))?;
    Ok(())
}
