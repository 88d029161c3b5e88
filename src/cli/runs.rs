//! `retold runs`: the runs of a running server: listed, watched, cancelled.

mod watch;

use clap::{Args, Subcommand};
use reqwest::Method;
use retold_events::{AgentId, RunId};
use serde_json::{Value, json, value::RawValue};

use self::watch::{Watch, WatchArgs};
use super::{
    Exit, Process, block_on,
    events::{Fault, print_line},
    flags::ClientFlags,
    say, target,
    voice::Voice,
};
use crate::{
    chat::{Style, harmless},
    client::{Client, ClientError, nonsense},
    config::Config,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  retold runs ls --active
  retold runs ls --agent agent-... --limit 5 --json
  retold runs watch run-...      what it says, from its beginning; exits with 0 if it completes
  retold runs cancel run-...";

/// What is wanted of the runs.
#[derive(Debug, Subcommand)]
pub(super) enum RunsCommand {
    /// List runs, the newest first
    Ls(LsArgs),
    /// Print what a run says as it says it, until it ends
    Watch(WatchArgs),
    /// Cancel a run, and wait until it has ended
    Cancel(RunArgs),
}

impl RunsCommand {
    /// The flags of settings.
    pub(super) fn flags(&self) -> &ClientFlags {
        match self {
            Self::Ls(args) => &args.flags,
            Self::Watch(args) => &args.flags,
            Self::Cancel(args) => &args.flags,
        }
    }

    /// How it tells what went wrong.
    pub(super) fn voice(&self) -> Voice {
        let json = match self {
            Self::Ls(args) => args.json,
            Self::Watch(args) => args.json,
            Self::Cancel(args) => args.json,
        };
        Voice { json }
    }
}

/// Which runs to list.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// Only runs of this agent
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
    /// Only runs that have not ended
    #[arg(long)]
    active: bool,
    /// Runs at most
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Print JSON: one object a line, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: ClientFlags,
}

/// Which run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run: RunId,
    /// Print JSON: one object a line, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: ClientFlags,
}

/// Does what is asked of the runs.
pub(super) fn run(config: &Config, command: RunsCommand, process: &Process) -> Exit {
    let style = Style { color: process.may_color() };
    let voice = command.voice();
    block_on(async {
        let client = match target::client(config, process, voice).await {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let done = match command {
            RunsCommand::Ls(args) => list(&client, &args).await,
            RunsCommand::Watch(args) => Watch::new(client, args, style).run().await,
            RunsCommand::Cancel(args) => cancel(&client, &args).await,
        };
        done.unwrap_or_else(|fault| fault.exit(voice))
    })
}

async fn list(client: &Client, args: &LsArgs) -> Result<Exit, Fault> {
    let mut url = client.endpoint(&["runs", ""])?;
    url.query_pairs_mut().append_pair("limit", &args.limit.to_string());
    if let Some(agent) = args.agent {
        url.query_pairs_mut().append_pair("agent_id", &agent.to_string());
    }
    if args.active {
        url.query_pairs_mut().append_pair("active", "true");
    }
    let runs: Vec<Box<RawValue>> = client.get(client.request_of(Method::GET, url)).await?;
    if !args.json {
        print_line(&row(
            ["RUN", "STATUS", "STOP REASON", "SECONDS", "CREATED", "AGENT"].map(str::to_owned)
        ))?;
    }
    for run in &runs {
        if args.json {
            print_line(run.get())?;
        } else {
            print_line(&line(&serde_json::from_str(run.get()).map_err(nonsense)?))?;
        }
    }
    Ok(Exit::Done)
}

fn line(run: &Value) -> String {
    let text = |name: &str| harmless(run[name].as_str().unwrap_or("-"));
    let seconds = run["total_duration_ns"].as_f64();
    let seconds = seconds.map_or_else(|| "-".to_owned(), |nanos| format!("{:.2}", nanos / 1e9));
    row([
        text("id"),
        text("status"),
        text("stop_reason"),
        seconds,
        text("created_at"),
        text("agent_id"),
    ])
}

fn row([run, status, reason, seconds, created, agent]: [String; 6]) -> String {
    format!("{run:<40}  {status:<9}  {reason:<20}  {seconds:>8}  {created:<27}  {agent}")
}

async fn cancel(client: &Client, args: &RunArgs) -> Result<Exit, Fault> {
    let run = retrieve(client, args.run).await?;
    let was_open = run["completed_at"].is_null();
    if was_open {
        let agent = run["agent_id"].as_str().unwrap_or_default();
        let request = client.request(Method::POST, &["agents", agent, "messages", "cancel"])?;
        let body = json!({ "run_ids": [args.run.to_string()] });
        let _: Value = client.get(request.json(&body)).await?;
    }
    let run = retrieve(client, args.run).await?;
    let status = harmless(run["status"].as_str().unwrap_or_default());
    print_line(&if args.json { run.to_string() } else { format!("{}  {status}", args.run) })?;
    if was_open && status == "cancelled" {
        return Ok(Exit::Done);
    }
    say(format_args!("{} had ended before it could be cancelled", args.run));
    Ok(Exit::Failed)
}

async fn retrieve(client: &Client, run: RunId) -> Result<Value, ClientError> {
    let request = client.request(Method::GET, &["runs", &run.to_string()])?;
    client.get(request).await.map_err(|error| named(error, run))
}

/// A refusal that says what to do.
fn named(error: ClientError, run: RunId) -> ClientError {
    match error {
        // Not found is also a number that the run has not come to, of which the server says enough.
        ClientError::Refused { status: status @ 404, message } if !message.contains("Cursor") => {
            let message = format!("there is no run {run}; `retold runs ls` lists those there are");
            ClientError::Refused { status, message }
        }
        error @ (ClientError::Refused { .. }
        | ClientError::Unreachable { .. }
        | ClientError::Unauthorized { .. }
        | ClientError::Nonsense { .. }) => error,
    }
}
