//! `retold events`: what happened on a running server, as lines.
//!
//! It reads the public API as any client does, and takes events as JSON rather than as types: a newer server may tell of
//! things that this program does not know.

mod line;
mod replay;

use std::{io, io::Write as _};

use clap::{Args, Subcommand};
use reqwest::{Method, RequestBuilder};
use retold_events::{AgentId, RunId};
use serde_json::{Value, value::RawValue};

use super::{Exit, Process, block_on, complain, flags::ClientFlags, say, target};
use crate::{
    client::{Client, ClientError, nonsense},
    config::Config,
    wire::Cursor,
};

/// Events of a page when all that is there is wanted.
const PAGE: &str = "1000";

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
}

/// Which events to print.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// Only events of this agent
    #[arg(long, value_name = "ID", conflicts_with = "run")]
    agent: Option<AgentId>,
    /// Only events of this run, from its beginning; following ends with the run
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
    /// Only events of this type, such as run.ended; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Begin after this position; 0 is the beginning, `latest` the end
    #[arg(long, value_name = "POSITION", value_parser = cursor)]
    after: Option<Cursor>,
    /// Begin with so many of the newest events, where no --after and no --run is given
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    lines: u16,
    /// Go on as events happen, which is the default
    #[arg(long, overrides_with = "no_follow")]
    follow: bool,
    /// Stop after what is there
    #[arg(long)]
    no_follow: bool,
    /// Print JSON: one object a line, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: ClientFlags,
}

/// Which event to print.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Its position among all events
    #[arg(value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    position: u64,
    /// Print JSON: the object on one line, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: ClientFlags,
}

fn cursor(text: &str) -> Result<Cursor, String> {
    Cursor::parse("after", text).map_err(|problem| problem.msg)
}

/// Does what is asked of the log.
pub(super) fn run(config: &Config, command: EventsCommand, process: &Process) -> Exit {
    block_on(async {
        let client = match target::client(config, process).await {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let done = match command {
            EventsCommand::Tail(args) => Tail { client, args }.run().await,
            EventsCommand::Show(args) => show(&client, &args).await,
            EventsCommand::Replay(args) => replay::replay(&client, &args).await,
        };
        done.unwrap_or_else(Fault::exit)
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
    /// What to exit with. A reader that hung up, as `head` does, is no failure.
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Server(error) => complain(&error, Exit::Failed),
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

struct Tail {
    client: Client,
    args: TailArgs,
}

impl Tail {
    async fn run(&self) -> Result<Exit, Fault> {
        let begin = match (self.args.after, self.args.run) {
            (Some(Cursor::At(after)), _) => after.to_string(),
            (Some(Cursor::Latest), _) => "latest".to_owned(),
            (None, Some(_)) => "0".to_owned(),
            (None, None) => {
                let lines = self.args.lines.to_string();
                let page = self.page(&[("before", "latest"), ("limit", &lines)]).await?;
                let last = self.print_page(&page)?.unwrap_or_default();
                if self.args.no_follow {
                    return Ok(Exit::Done);
                }
                last.to_string()
            }
        };
        if self.args.no_follow { self.past(begin).await } else { self.follow(&begin).await }
    }

    /// Prints what is there after a position.
    async fn past(&self, mut after: String) -> Result<Exit, Fault> {
        loop {
            let page = self.page(&[("after", &after), ("limit", PAGE)]).await?;
            match self.print_page(&page)? {
                Some(last) => after = last.to_string(),
                None => return Ok(Exit::Done),
            }
        }
    }

    /// Prints what comes after a position until the stream ends.
    async fn follow(&self, after: &str) -> Result<Exit, Fault> {
        let request = self.request(&[("after", after)])?;
        let mut events = self.client.listen(request.header("accept", "text/event-stream")).await?;
        while let Some(event) = events.next().await {
            let event = event?;
            if event.name.as_deref() == Some("end") {
                return Ok(ended(&event.data));
            }
            self.print(&event.data)?;
        }
        say("the server closed the stream without saying why");
        Ok(Exit::Failed)
    }

    async fn page(&self, query: &[(&str, &str)]) -> Result<Vec<Box<RawValue>>, Fault> {
        Ok(self.client.get(self.request(query)?).await?)
    }

    fn request(&self, query: &[(&str, &str)]) -> Result<RequestBuilder, ClientError> {
        let (agent, run) = (self.args.agent.map(|id| id.to_string()), self.args.run);
        let run = run.map(|id| id.to_string());
        let mut url = match (&run, &agent) {
            (Some(run), _) => self.client.endpoint(&["runs", run, "events"]),
            (None, Some(agent)) => self.client.endpoint(&["agents", agent, "events"]),
            (None, None) => self.client.endpoint(&["events"]),
        }?;
        let types = self.args.types.iter().map(|word| ("type", word.as_str()));
        url.query_pairs_mut().extend_pairs(query.iter().copied().chain(types));
        Ok(self.client.request_of(Method::GET, url))
    }

    /// Prints a page and gives the position of its last event.
    fn print_page(&self, page: &[Box<RawValue>]) -> Result<Option<u64>, Fault> {
        let mut last = None;
        for event in page {
            last = Some(self.print(event.get())?);
        }
        Ok(last)
    }

    /// Prints an event and gives its position.
    fn print(&self, text: &str) -> Result<u64, Fault> {
        let event = parse(text)?;
        let position =
            event["position"].as_u64().ok_or_else(|| nonsense("an event has no position"))?;
        if self.args.json {
            print_line(text)?;
        } else {
            print_line(&line::of(&event))?;
        }
        Ok(position)
    }
}

fn parse(text: &str) -> Result<Value, ClientError> {
    serde_json::from_str(text).map_err(nonsense)
}

/// Says why a stream ended, where that is not what was waited for.
fn ended(data: &str) -> Exit {
    let end: Value = serde_json::from_str(data).unwrap_or_default();
    let after = end["after"].as_u64().unwrap_or_default();
    match end["reason"].as_str().unwrap_or_default() {
        "run_ended" => Exit::Done,
        "shutting_down" => {
            say(format_args!("the server is shutting down; go on later with --after {after}"));
            Exit::Failed
        }
        _ => {
            say(format_args!("the server cannot read its log any further than {after}"));
            Exit::Failed
        }
    }
}

async fn show(client: &Client, args: &ShowArgs) -> Result<Exit, Fault> {
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
        say(format_args!("there is no event at position {}", args.position));
        return Ok(Exit::Failed);
    };
    let event = parse(text)?;
    if event["position"].as_u64() != Some(args.position) {
        return Err(nonsense("it is another event").into());
    }
    print_line(&if args.json { text.to_owned() } else { line::whole(&event) })?;
    Ok(Exit::Done)
}
