//! One message and its answer: frames to the terminal, and Ctrl-C to the server.

use std::{io::Write, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    ChatError, Terminal,
    client::{Agent, Answer, Client},
    frame::Frame,
    render::{Piece, Renderer},
};

/// How long a cancelled run may take to say so. The server needs milliseconds; a dead one must not hold the terminal.
const CANCEL_WAIT: Duration = Duration::from_secs(10);

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The agent said all it wanted to say.
    Answered,
    /// The run failed, or the stream broke off; what is known was shown.
    Failed,
    /// The run was cancelled.
    Cancelled,
    /// The user pressed Ctrl-C again and wants to leave.
    Left,
}

/// Says `text` and shows the answer. With `quiet` only the answer and failures are shown.
pub(crate) async fn take<I, O: Write, E: Write>(
    client: &Client,
    agent: &Agent,
    text: &str,
    terminal: &mut Terminal<'_, I, O, E>,
    quiet: bool,
) -> Result<End, ChatError> {
    let mut turn = Turn {
        client,
        agent,
        answer: client.say(&agent.id, text)?,
        renderer: Renderer::new(terminal.style),
        run: None,
        cancelled_by: None,
        end: None,
        quiet,
    };
    loop {
        tokio::select! {
            frame = turn.answer.next() => match frame {
                Some(Ok(frame)) => turn.heard(&frame, terminal)?,
                Some(Err(error)) => return turn.broke_off(error, terminal),
                None => return turn.finished(terminal),
            },
            Some(()) = terminal.interrupts.recv() => {
                if turn.cancelled_by.is_some() {
                    turn.end_line(terminal)?;
                    return Ok(End::Left);
                }
                turn.ask_to_cancel();
            }
            () = too_late(turn.cancelled_by) => {
                turn.end_line(terminal)?;
                writeln!(terminal.asides, "the server has not confirmed the cancellation")?;
                return Ok(End::Failed);
            }
        }
    }
}

struct Turn<'a> {
    client: &'a Client,
    agent: &'a Agent,
    answer: Answer,
    renderer: Renderer,
    run: Option<String>,
    /// When a cancellation that was asked for must have taken effect.
    cancelled_by: Option<Instant>,
    end: Option<End>,
    quiet: bool,
}

/// Pends until the deadline of a cancellation; for ever if there is none.
async fn too_late(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Turn<'_> {
    fn heard<I, O: Write, E: Write>(
        &mut self,
        frame: &Frame,
        terminal: &mut Terminal<'_, I, O, E>,
    ) -> Result<(), ChatError> {
        match frame {
            Frame::Run(run) => self.run = Some(run.clone()),
            Frame::Failed { .. } => self.end = Some(End::Failed),
            Frame::Stopped(reason) => self.end = self.end.or(Some(end_of(reason))),
            Frame::Reasoning(_)
            | Frame::ToolCall(_)
            | Frame::ToolReturn { .. }
            | Frame::Summary
                if self.quiet =>
            {
                return Ok(());
            }
            Frame::Answer { .. }
            | Frame::Reasoning(_)
            | Frame::ToolCall(_)
            | Frame::ToolReturn { .. }
            | Frame::Summary
            | Frame::Done => {}
        }
        let pieces = self.renderer.show(frame);
        print(pieces, terminal)
    }

    /// Sends the cancellation without waiting for it: the stream itself says when it took effect.
    fn ask_to_cancel(&mut self) {
        let (client, agent, run) = (self.client.clone(), self.agent.id.clone(), self.run.clone());
        tokio::spawn(async move { client.cancel(&agent, run.as_deref()).await });
        self.cancelled_by = Some(Instant::now() + CANCEL_WAIT);
    }

    fn finished<I, O: Write, E: Write>(
        mut self,
        terminal: &mut Terminal<'_, I, O, E>,
    ) -> Result<End, ChatError> {
        self.end_line(terminal)?;
        let Some(end) = self.end else {
            writeln!(
                terminal.asides,
                "error: the server closed the stream before the answer was complete"
            )?;
            return Ok(End::Failed);
        };
        Ok(end)
    }

    /// Shows why there is no more to come. The conversation can go on, so this is no error of the whole program.
    fn broke_off<I, O: Write, E: Write>(
        mut self,
        error: ChatError,
        terminal: &mut Terminal<'_, I, O, E>,
    ) -> Result<End, ChatError> {
        self.end_line(terminal)?;
        writeln!(terminal.asides, "error: {error}")?;
        Ok(End::Failed)
    }

    fn end_line<I, O: Write, E: Write>(
        &mut self,
        terminal: &mut Terminal<'_, I, O, E>,
    ) -> Result<(), ChatError> {
        let pieces = self.renderer.end();
        print(pieces, terminal)
    }
}

fn print<I, O: Write, E: Write>(
    pieces: Vec<Piece>,
    terminal: &mut Terminal<'_, I, O, E>,
) -> Result<(), ChatError> {
    for piece in pieces {
        match piece {
            Piece::Answer(text) => {
                write!(terminal.answers, "{}", terminal.presentable(&text))?;
                terminal.answers.flush()?;
            }
            Piece::Aside(text) => {
                write!(terminal.asides, "{text}")?;
                terminal.asides.flush()?;
            }
        }
    }
    Ok(())
}

/// What a stop reason means for whoever asked: V1's mapping to the status of the run.
fn end_of(reason: &str) -> End {
    match reason {
        "end_turn" | "max_steps" | "tool_rule" | "requires_approval" => End::Answered,
        "cancelled" => End::Cancelled,
        _ => End::Failed,
    }
}
