//! What can go wrong in a conversation at the terminal. Each message says what to do next where there is something.

use std::io;

use crate::client::ClientError;

/// Why `retold chat` gave up.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The server gives no answer that can be used.
    #[error(transparent)]
    Server(#[from] ClientError),
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
