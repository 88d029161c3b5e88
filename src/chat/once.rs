//! One message from standard input, one answer to standard output.

use std::io::Write;

use tokio::io::{AsyncBufRead, AsyncReadExt};

use super::{
    ChatError, Conversation, Ending, Terminal, agent,
    client::Client,
    turn::{self, End},
    unless_interrupted,
};

/// Longest message read from standard input: half of what the server takes by default, which leaves room for JSON's
/// escapes.
const MESSAGE_BYTES: u64 = 8 * 1024 * 1024;

/// Reads all of the input, says it, prints the answer.
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
    let Terminal { input, interrupts, .. } = terminal;
    let prepared = unless_interrupted(interrupts, async {
        let message = whole_input(input).await?;
        let chosen =
            agent::choose(client, &conversation.agent, conversation.model.as_deref()).await?;
        Ok::<_, ChatError>((message, chosen))
    });
    let Some(prepared) = prepared.await else { return Ok(Ending::Interrupted) };
    let (message, chosen) = prepared?;
    Ok(match turn::take(client, &chosen.agent, &message, terminal, true).await? {
        End::Answered => Ending::Done,
        End::Failed => Ending::Failed,
        End::Cancelled | End::Left => Ending::Interrupted,
    })
}

async fn whole_input(input: &mut (impl AsyncBufRead + Unpin)) -> Result<String, ChatError> {
    let mut message = String::new();
    input.take(MESSAGE_BYTES + 1).read_to_string(&mut message).await?;
    if message.len() as u64 > MESSAGE_BYTES {
        return Err(ChatError::TooMuchToSay { limit: MESSAGE_BYTES });
    }
    match message.trim() {
        "" => Err(ChatError::NothingToSay),
        text => Ok(text.to_owned()),
    }
}
