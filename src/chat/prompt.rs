//! The interactive conversation: a prompt, an answer, a prompt.

use std::io::{self, Write};

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use super::{
    ChatError, Conversation, Ending, Terminal,
    agent::{self, Chosen},
    client::Client,
    turn::{self, End},
    unless_interrupted,
};

const PROMPT: &str = "you> ";

/// Reads lines and answers them until the input ends or the user leaves.
pub(super) async fn run<I, O, E>(
    client: &Client,
    conversation: &Conversation,
    terminal: &mut Terminal<'_, I, O, E>,
) -> Result<Ending, ChatError>
where
    I: AsyncBufRead + Unpin,
    O: Write,
    E: Write,
{
    let choice = agent::choose(client, &conversation.agent, conversation.model.as_deref());
    let Some(chosen) = unless_interrupted(terminal.interrupts, choice).await else {
        return Ok(Ending::Interrupted);
    };
    let chosen = chosen?;
    greet(client, &chosen, &mut terminal.asides)?;
    loop {
        let message = match line(terminal).await? {
            Line::Said(message) if message.trim().is_empty() => continue,
            Line::Said(message) => message,
            Line::Ended => return Ok(Ending::Done),
            Line::Interrupted => return Ok(Ending::Interrupted),
        };
        if turn::take(client, &chosen.agent, message.trim(), terminal, false).await? == End::Left {
            return Ok(Ending::Interrupted);
        }
    }
}

fn greet(
    client: &Client,
    Chosen { agent, note }: &Chosen,
    asides: &mut impl Write,
) -> io::Result<()> {
    if let Some(note) = note {
        writeln!(asides, "{note}")?;
    }
    let model = agent.model.as_deref().unwrap_or("an unnamed model");
    writeln!(asides, "talking to {} ({model}) at {}", agent.name, client.url())?;
    writeln!(asides, "Ctrl-C cancels an answer, twice leaves; Ctrl-D leaves")
}

enum Line {
    Said(String),
    Ended,
    Interrupted,
}

/// Prompts for a line. A last line without its line feed counts.
async fn line<I, O, E>(terminal: &mut Terminal<'_, I, O, E>) -> io::Result<Line>
where
    I: AsyncBufRead + Unpin,
    E: Write,
{
    write!(terminal.asides, "{PROMPT}")?;
    terminal.asides.flush()?;
    let mut text = String::new();
    let line = tokio::select! {
        read = terminal.input.read_line(&mut text) => if read? == 0 { Line::Ended } else { Line::Said(text) },
        Some(()) = terminal.interrupts.recv() => Line::Interrupted,
    };
    if !matches!(line, Line::Said(_)) {
        writeln!(terminal.asides)?;
    }
    Ok(line)
}
