//! What can go wrong in a conversation at the terminal. Each message says what to do next where there is something.

use std::io;

/// Why `retold chat` gave up.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// Nothing answers there.
    #[error("cannot reach the server at {url}: {}", root_cause(source))]
    Unreachable {
        /// The server.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server demands a password and got none, or another.
    #[error("the server at {url} demands a password: set RETOLD_PASSWORD, or give --password-file")]
    Unauthorized {
        /// The server.
        url: String,
    },
    /// The server said no.
    #[error("the server refused: {message} (status {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The server said something that is not the V1 API.
    #[error("the server's answer is not what the Letta V1 API says: {detail}")]
    Nonsense {
        /// What was wrong with it.
        detail: String,
    },
    /// There is no agent of that id. An id is never made up, so none is created.
    #[error("there is no agent {id}")]
    NoSuchAgent {
        /// The id that was asked for.
        id: String,
    },
    /// The server has no default model, so somebody must choose.
    #[error("the agent needs a model: give --model HANDLE{}", choices(models))]
    NeedsModel {
        /// Handles that the server knows.
        models: Vec<String>,
    },
    /// Standard input was empty.
    #[error("there is nothing to say: standard input is empty")]
    NothingToSay,
    /// Standard input was too long.
    #[error("the message on standard input is longer than {limit} bytes")]
    TooMuchToSay {
        /// The limit in bytes.
        limit: u64,
    },
    /// The terminal went away.
    #[error("cannot read or write the terminal")]
    Terminal(#[from] io::Error),
}

/// How many handles an error lists.
const CHOICES: usize = 8;

fn choices(models: &[String]) -> String {
    match models {
        [] => String::new(),
        few if few.len() <= CHOICES => format!("; the server has {}", few.join(", ")),
        many => format!(
            "; the server has {} and {} more",
            many[..CHOICES].join(", "),
            many.len() - CHOICES
        ),
    }
}

/// The innermost cause, because reqwest's own words leave it out.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
