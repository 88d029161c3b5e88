//! `retold events`: what happened on a running server, as lines.
//!
//! It reads the public API as any client does, and takes events as JSON rather than as types: a newer server may tell of
//! things that this program does not know.

mod line;
mod replay;
mod tail;

use std::{io, io::Write as _};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, value::RawValue};

use self::tail::{Tail, TailArgs};
use super::{Exit, Process, block_on, flags::ClientFlags, target, voice::Voice};
use crate::{
    client::{Client, ClientError, nonsense},
    config::Config,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  retold events tail                             the newest events, then each as it happens
  retold events tail --agent agent-... --type run.ended --type step.ended
  retold events tail --run run-...               all of a run, until it ends
  retold events tail --after 0 --no-follow --json > events.jsonl
  retold events show 42
  retold events replay run-...                   whether a run is what the log says of it";

/// What is wanted of the log.
#[derive(Debug, Subcommand)]
pub(super) enum EventsCommand {
    /// Print the newest events, then each as it happens
    Tail(TailArgs),
    /// Print one event with all its particulars
    Show(ShowArgs),
    /// Rebuild a run from the log alone and print what differs; exits with 1 if anything does
    Replay(replay::ReplayArgs),
}

impl EventsCommand {
    /// The flags of settings.
    pub(super) fn flags(&self) -> &ClientFlags {
        match self {
            Self::Tail(args) => &args.flags,
            Self::Show(args) => &args.flags,
            Self::Replay(args) => &args.flags,
        }
    }

    /// How it tells what went wrong.
    pub(super) fn voice(&self) -> Voice {
        let json = match self {
            Self::Tail(args) => args.json,
            Self::Show(args) => args.json,
            Self::Replay(args) => args.json,
        };
        Voice { json }
    }
}

/// Which event to print.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Its position among all events
    #[arg(value_name = "POSITION", value_parser = position)]
    position: u64,
    /// Print JSON: the object on one line, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: ClientFlags,
}

fn position(text: &str) -> Result<u64, String> {
    let position = text.parse().ok().filter(|position| *position > 0);
    position.ok_or_else(|| {
        "a position is a whole number from 1 on; `retold events tail` prints those there are"
            .to_owned()
    })
}

/// Does what is asked of the log.
pub(super) fn run(config: &Config, command: EventsCommand, process: &Process) -> Exit {
    let voice = command.voice();
    block_on(async {
        let client = match target::client(config, process, voice).await {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let done = match command {
            EventsCommand::Tail(args) => Tail::new(client, args, voice).run().await,
            EventsCommand::Show(args) => show(&client, &args, voice).await,
            EventsCommand::Replay(args) => replay::replay(&client, &args).await,
        };
        done.unwrap_or_else(|fault| fault.exit(voice))
    })
}

/// Why printing ends early.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server gives no answer that can be used.
    Server(ClientError),
    /// Nobody reads standard output any more.
    HungUp,
}

impl Fault {
    /// What to exit with. A reader that hung up, as `head` does, is no failure. What the server finds wrong with the form
    /// of a request was wrong on the command line.
    pub(super) fn exit(self, voice: Voice) -> Exit {
        match self {
            Self::Server(error @ ClientError::Refused { status: 422, .. }) => {
                voice.complain(&error, Exit::Usage)
            }
            Self::Server(error) => voice.complain(&error, Exit::Failed),
            Self::HungUp => Exit::Done,
        }
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        Self::Server(error)
    }
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::HungUp
    }
}

/// Prints a line to standard output, at once.
pub(super) fn print_line(line: &str) -> Result<(), Fault> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

fn parse(text: &str) -> Result<Value, ClientError> {
    serde_json::from_str(text).map_err(nonsense)
}

async fn show(client: &Client, args: &ShowArgs, voice: Voice) -> Result<Exit, Fault> {
    let mut url = client.endpoint(&["events"])?;
    let before = (args.position - 1).to_string();
    url.query_pairs_mut().extend_pairs([("after", before.as_str()), ("limit", "1")]);
    let found: Result<Vec<Box<RawValue>>, _> =
        client.get(client.request_of(Method::GET, url)).await;
    let found = match found {
        Err(ClientError::Refused { status: 404, .. }) => Vec::new(),
        found => found?,
    };
    let Some(text) = found.first().map(|event| event.get()) else {
        let why = format!("there is no event at position {}", args.position);
        return Ok(voice.refuse(why, Exit::Failed));
    };
    let event = parse(text)?;
    if event["position"].as_u64() != Some(args.position) {
        return Err(nonsense("it is another event").into());
    }
    print_line(&if args.json { text.to_owned() } else { line::whole(&event) })?;
    Ok(Exit::Done)
}
