//! `retold events tail`: the newest events as lines, then each as it happens, for as long as it takes.
//!
//! A stream that breaks off is taken up again behind the last event that was printed, so that each is printed once
//! whatever becomes of the connection; and whoever stops is told where that was.

use clap::Args;
use reqwest::{Method, RequestBuilder};
use retold_events::{AgentId, RunId};
use serde_json::{Value, json, value::RawValue};

use super::{Fault, line, parse, print_line};
use crate::{
    cli::{
        Exit,
        flags::ClientFlags,
        retry::{Retry, RetryArgs},
        say,
        signals::{INTERRUPT, interrupt},
        voice::Voice,
        with_causes,
    },
    client::{Client, ClientError, nonsense, sse::Told},
    wire::Cursor,
};

/// Events of a page when all that is there is wanted.
const PAGE: &str = "1000";

/// Which events to print.
#[derive(Debug, Args)]
pub(in crate::cli) struct TailArgs {
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
    pub(super) json: bool,
    #[command(flatten)]
    retry: RetryArgs,
    #[command(flatten)]
    pub(super) flags: ClientFlags,
}

fn cursor(text: &str) -> Result<Cursor, String> {
    Cursor::parse("after", text).map_err(|problem| problem.msg)
}

/// The command.
pub(super) struct Tail {
    client: Client,
    args: TailArgs,
    voice: Voice,
}

/// How far it has come.
struct Place {
    /// What the next stream begins after.
    after: String,
    /// Whether anything came of a stream.
    begun: bool,
}

/// Why a stream ended.
enum End {
    /// With its run.
    Run,
    /// The server cannot read its log.
    Unreadable,
    /// For this reason, which may pass.
    Broken(String),
}

impl Tail {
    pub(super) fn new(client: Client, args: TailArgs, voice: Voice) -> Self {
        Self { client, args, voice }
    }

    /// Prints until there is no more, or Ctrl-C.
    pub(super) async fn run(&self) -> Result<Exit, Fault> {
        let mut place = Place { after: "latest".to_owned(), begun: false };
        let interrupted = match interrupt() {
            Ok(interrupted) => interrupted,
            Err(error) => return Ok(self.voice.complain(&error, Exit::Failed)),
        };
        tokio::select! {
            done = self.print_all(&mut place) => return done,
            () = interrupted => {}
        }
        if place.begun {
            say(format_args!("stopped; go on with --after {}", place.after));
        }
        Ok(Exit::Signal(INTERRUPT))
    }

    async fn print_all(&self, place: &mut Place) -> Result<Exit, Fault> {
        place.after = match (self.args.after, self.args.run) {
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
        if self.args.no_follow { self.past(place).await } else { self.follow(place).await }
    }

    /// Prints what is there after a position.
    async fn past(&self, place: &mut Place) -> Result<Exit, Fault> {
        loop {
            let page = self.page(&[("after", &place.after), ("limit", PAGE)]).await?;
            match self.print_page(&page)? {
                Some(last) => place.after = last.to_string(),
                None => return Ok(Exit::Done),
            }
        }
    }

    /// Prints what comes after a position until the run ends, or the server cannot be reached any more.
    async fn follow(&self, place: &mut Place) -> Result<Exit, Fault> {
        let mut retry = Retry::new(self.args.retry);
        loop {
            let why = match self.stream(place, &mut retry).await {
                Ok(End::Run) => return Ok(Exit::Done),
                Ok(End::Unreadable) => {
                    return Ok(self.give_up(place, "the server cannot read its log any further"));
                }
                Ok(End::Broken(why)) => why,
                Err(Fault::Server(error)) if place.begun => {
                    let why = with_causes(&error);
                    if !error.may_pass() {
                        return Ok(self.give_up(place, &why));
                    }
                    why
                }
                Err(fault) => return Err(fault),
            };
            if !retry.wait(&why).await {
                return Ok(self.give_up(place, &why));
            }
        }
    }

    fn give_up(&self, place: &Place, why: &str) -> Exit {
        let says = format!("{why}; go on later with --after {}", place.after);
        let after: Option<u64> = place.after.parse().ok();
        self.voice.refuse_with(says, Exit::Failed, json!({ "after": after }))
    }

    /// Prints one stream to its end.
    async fn stream(&self, place: &mut Place, retry: &mut Retry) -> Result<End, Fault> {
        let request = self.request(&[("after", &place.after)])?;
        let mut stream = self.client.listen(request.header("accept", "text/event-stream")).await?;
        while let Some(told) = stream.next_told().await {
            let told = told?;
            place.begun = true;
            retry.works();
            match told {
                Told::Event(event) if event.name.as_deref() == Some("end") => {
                    return Ok(ended(&event.data));
                }
                Told::Event(event) => place.after = self.print(&event.data)?.to_string(),
                // Events that are not wanted move it on, too.
                Told::Id(id) => place.after = id,
            }
        }
        Ok(End::Broken("the server closed the stream without saying why".to_owned()))
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

fn ended(data: &str) -> End {
    let end: Value = serde_json::from_str(data).unwrap_or_default();
    match end["reason"].as_str().unwrap_or_default() {
        "run_ended" => End::Run,
        "shutting_down" => End::Broken("the server is shutting down".to_owned()),
        _ => End::Unreadable,
    }
}
