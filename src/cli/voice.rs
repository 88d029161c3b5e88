//! How a command tells why it could not be done: to the person on standard error, and to the program that asked for JSON
//! on standard output, which would otherwise be empty.

use std::{error::Error, fmt::Display};

use serde_json::{Value, json};

use super::{Exit, print, say, with_causes};

/// The way in which a command tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Voice {
    /// Whether JSON was asked for.
    pub(super) json: bool,
}

impl Voice {
    /// For people alone.
    pub(super) const PLAIN: Self = Self { json: false };

    /// Tells an error and gives what to exit with.
    pub(super) fn complain(self, error: &dyn Error, exit: Exit) -> Exit {
        self.refuse(with_causes(error), exit)
    }

    /// Tells why not, and gives what to exit with.
    pub(super) fn refuse(self, why: impl Display, exit: Exit) -> Exit {
        self.refuse_with(why, exit, json!({}))
    }

    /// The same; in JSON, with these members beside the error.
    pub(super) fn refuse_with(self, why: impl Display, exit: Exit, members: Value) -> Exit {
        say(&why);
        self.object(why, exit, members);
        exit
    }

    /// Tells an error that the person has been told already.
    pub(super) fn object(self, why: impl Display, exit: Exit, members: Value) {
        if self.json {
            print(&object(&why.to_string(), exit, members));
        }
    }
}

fn object(why: &str, exit: Exit, mut members: Value) -> String {
    members["error"] = why.into();
    members["exit_code"] = exit.code().into();
    format!("{members}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_object_on_one_line() {
        let told = object("no\nserver \"there\"", Exit::DataDir, json!({ "after": 7 }));
        assert_eq!(told.lines().count(), 1, "{told}");
        let read: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(read, json!({ "error": "no\nserver \"there\"", "exit_code": 3, "after": 7 }));
    }
}
