//! Why a server could not be used, in words for whoever configured it or called it.
//!
//! The server is not named: the caller knows its name. What servers say is quoted shortened, and without the values of configured
//! headers and variables, wherever a server repeats them.

use std::time::Duration;

/// How much of what a server says is quoted, in characters.
const QUOTED: usize = 1_000;

/// Why a server could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum McpError {
    /// Programs are not started here.
    #[error(
        "servers that are started as programs are off on this installation; its operator can turn them on, or use the server over HTTP"
    )]
    StdioOff,
    /// The address is none, or none that may be used.
    #[error("the address {url} cannot be used: {why}")]
    Address {
        /// Without user, password, query and fragment.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A header cannot be sent.
    #[error("the header {name} cannot be sent: {why}")]
    Header {
        /// Which.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The program cannot be started, or ended before it had said who it is.
    #[error("its program could not be started: {why}")]
    Start {
        /// What the system or the program said.
        why: String,
    },
    /// There is no connection.
    #[error("it could not be connected to: {why}")]
    Connect {
        /// What failed.
        why: String,
    },
    /// It wants other credentials.
    #[error(
        "it refused access with HTTP {status}: check the token and the headers that are configured for it"
    )]
    Unauthorized {
        /// 401 or 403.
        status: u16,
    },
    /// It answered with a status that ends the matter.
    #[error("it answered with HTTP {status}: {why}")]
    Status {
        /// Which.
        status: u16,
        /// What it said, or what to do.
        why: String,
    },
    /// It answers something that is not MCP.
    #[error("it does not answer as MCP servers do: {why}")]
    Protocol {
        /// What was wrong.
        why: String,
    },
    /// It did not answer in time. Nothing was called.
    #[error("{stage} was not done after {}", seconds(*after))]
    TimedOut {
        /// What was not done.
        stage: Stage,
        /// The time it had.
        after: Duration,
    },
    /// It failed too often to be tried at once again.
    #[error("{failures} attempts to connect failed in a row, so it is left alone for {}; the last one: {why}", seconds(*retry_after))]
    Resting {
        /// How many.
        failures: u32,
        /// When it is tried again.
        retry_after: Duration,
        /// Why the last one failed.
        why: String,
    },
    /// All sessions are in use.
    #[error(
        "all {sessions} sessions with MCP servers are in use; try again later, or raise their bound"
    )]
    Busy {
        /// How many there are.
        sessions: usize,
    },
    /// Too many calls of it wait already.
    #[error("the calls before it left no time for this one within {}; it was not made", seconds(*after))]
    Crowded {
        /// The time it had.
        after: Duration,
    },
    /// It answered the request with an error.
    #[error("it answered with an error: {message} (code {code})")]
    Answered {
        /// The code of JSON-RPC.
        code: i32,
        /// What it said.
        message: String,
    },
    /// Its tools are more than are taken.
    #[error("its list of tools is too large: {limit} are taken")]
    TooLarge {
        /// What is taken, with its unit.
        limit: String,
    },
    /// The call was sent and no answer came. It is never sent again.
    #[error("the call was sent, but no answer came: {why}. Whether it was carried out is unknown")]
    Unknown {
        /// Why there is no answer.
        why: String,
    },
    /// The session was closed before the request was sent.
    #[error("its session was closed: {why}")]
    Closed {
        /// Why, as far as is known.
        why: String,
    },
}

impl McpError {
    /// Whether the call may have been carried out.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// Whether the configuration is at fault, so that trying again is of no use until it is changed.
    #[must_use]
    pub fn is_of_configuration(&self) -> bool {
        matches!(self, Self::StdioOff | Self::Address { .. } | Self::Header { .. })
    }
}

/// What a server was asked for when it did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// To be there and say who it is.
    Connecting,
    /// Its tools.
    Listing,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting to it",
            Self::Listing => "the list of its tools",
        })
    }
}

pub(super) fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        // Who is told to come back after so long must not come too early.
        format!("{} s", time.as_millis().div_ceil(1000))
    }
}

/// The values of a configuration that nobody is shown.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Takes whole values and their last words, since most credentials follow the name of a scheme.
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a String>) -> Self {
        let mut all: Vec<String> = values
            .flat_map(|value| [Some(value.as_str()), value.split_whitespace().next_back()])
            .flatten()
            // Shorter ones are no secrets, and would tear ordinary words apart.
            .filter(|value| value.len() >= 6)
            .map(str::to_owned)
            .collect();
        all.sort_by_key(|value| std::cmp::Reverse(value.len()));
        all.dedup();
        Self(all)
    }

    /// What a server said as it may be shown: without these values, on one screen.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret) {
                text = text.replace(secret, "***");
            }
        }
        let text = text.trim();
        match text.char_indices().nth(QUOTED) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_of_its_credentials_is_not_shown() {
        let values = ["Bearer hidden-token".to_owned(), "GET".to_owned()];
        let secrets = Secrets::new(values.iter());
        let shown = secrets.clean("GET with hidden-token refused (Bearer hidden-token)\n");
        assert_eq!(shown, "GET with *** refused (***)");
        assert_eq!(secrets.clean(&"é".repeat(5_000)).chars().count(), QUOTED + 1);
    }

    #[test]
    fn only_a_call_that_was_sent_may_have_run() {
        assert!(McpError::Unknown { why: "x".into() }.may_have_run());
        assert!(!McpError::Closed { why: "x".into() }.may_have_run());
    }

    #[test]
    fn nobody_is_told_to_come_back_too_early() {
        assert_eq!(seconds(Duration::from_millis(9_001)), "10 s");
        assert_eq!(seconds(Duration::from_millis(300)), "300 ms");
    }
}
