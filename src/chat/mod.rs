//! `retold chat`: a conversation at the terminal with an agent of any V1 server.
//!
//! It speaks the public API and nothing else, so that it works with a server elsewhere and with one embedded in this
//! process alike; who starts the latter is not its business. Answers go to standard output and everything else to
//! standard error, so that a pipe gets the answer alone.

mod agent;
mod client;
mod error;
mod frame;
mod once;
mod prompt;
mod render;
#[cfg(test)]
mod tests;
mod turn;

use std::{borrow::Cow, fmt, io::Write, time::Duration};

use tokio::{io::AsyncBufRead, sync::mpsc};

use self::client::Client;
pub use self::{error::ChatError, render::Style};
pub(crate) use self::{
    frame::{Frame, read as read_frames},
    render::{Piece, Renderer, harmless, one_line},
};
use crate::config::Secret;

/// The agent that is talked to when none is named.
pub const DEFAULT_AGENT: &str = "default";

/// With whom to talk, and how.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The server.
    pub url: String,
    /// Its password, if it has one.
    pub password: Option<Secret>,
    /// Name or id of the agent.
    pub agent: String,
    /// The model the agent should use. `None`: the one it has, or the server's default.
    pub model: Option<String>,
}

/// Where the words come from and go to.
pub struct Terminal<'a, I, O, E> {
    /// What the user types.
    pub input: I,
    /// What the agent answers.
    pub answers: O,
    /// Everything else.
    pub asides: E,
    /// One item per Ctrl-C.
    pub interrupts: &'a mut mpsc::Receiver<()>,
    /// How asides may look.
    pub style: Style,
    /// Whether a person sits there. Otherwise the whole input is one message.
    pub interactive: bool,
}

impl<I, O, E> Terminal<'_, I, O, E> {
    /// The answer as it may be printed: a program gets it as it is, a terminal without what it would obey.
    fn presentable<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.interactive { Cow::Owned(render::harmless(text)) } else { Cow::Borrowed(text) }
    }
}

/// What `work` gives, or `None` if Ctrl-C comes first.
async fn unless_interrupted<T>(
    interrupts: &mut mpsc::Receiver<()>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        result = work => Some(result),
        Some(()) = interrupts.recv() => None,
    }
}

impl<I, O, E> fmt::Debug for Terminal<'_, I, O, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("style", &self.style)
            .field("interactive", &self.interactive)
            .finish()
    }
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Done,
    /// The only answer failed.
    Failed,
    /// Ctrl-C ended it.
    Interrupted,
}

/// Talks until there is no more to say.
///
/// # Errors
/// [`ChatError`] when the server cannot be used or the agent cannot be had. A failed answer is an [`Ending`] when it was
/// the only one, and otherwise shown and got over.
pub async fn talk<I, O, E>(
    conversation: &Conversation,
    terminal: &mut Terminal<'_, I, O, E>,
) -> Result<Ending, ChatError>
where
    I: AsyncBufRead + Unpin,
    O: Write,
    E: Write,
{
    let client = Client::new(&conversation.url, conversation.password.clone())?;
    if terminal.interactive {
        prompt::run(&client, conversation, terminal).await
    } else {
        once::run(&client, conversation, terminal).await
    }
}

/// Whether a V1 server answers at `url` within `wait`.
pub async fn is_server(url: &str, wait: Duration) -> bool {
    match Client::new(url, None) {
        Ok(client) => client.is_healthy(wait).await,
        Err(_) => false,
    }
}
