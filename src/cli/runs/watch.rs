//! `retold runs watch`: what a run says as it says it, until it ends.
//!
//! A stream that breaks off is taken up again behind the last frame that was shown. The frames of a run's end carry no
//! number and come again with every stream: they are shown once they are complete, and a stream whose end says that it
//! broke off shows none.

use std::io::{Write as _, stderr, stdout};

use clap::Args;
use reqwest::Method;
use retold_events::RunId;
use serde_json::{Value, json};

use super::{named, retrieve};
use crate::{
    chat::{Frame, Piece, Renderer, Style, harmless, read_frames},
    cli::{
        Exit,
        events::{Fault, print_line},
        flags::ClientFlags,
        retry::{Retry, RetryArgs},
        say,
        signals::{INTERRUPT, interrupt},
        voice::Voice,
        with_causes,
    },
    client::{Client, nonsense},
};

/// Which run to watch.
#[derive(Debug, Args)]
pub(in crate::cli) struct WatchArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run: RunId,
    /// Begin after this number of what it says, its `seq_id`
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    /// Print JSON: one object a line, as the API gives it
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    retry: RetryArgs,
    #[command(flatten)]
    pub(super) flags: ClientFlags,
}

/// The command.
pub(super) struct Watch {
    client: Client,
    args: WatchArgs,
    style: Style,
}

/// How far it has come.
struct Place {
    renderer: Renderer,
    /// Number of the last frame that was shown.
    after: u64,
    /// Whether anything came of a stream.
    begun: bool,
}

/// Why a stream ended.
enum End {
    /// With its run.
    Run,
    /// For this reason, which may pass.
    Broken(String),
}

impl Watch {
    pub(super) fn new(client: Client, args: WatchArgs, style: Style) -> Self {
        Self { client, args, style }
    }

    /// Shows the run until it ends, or Ctrl-C.
    pub(super) async fn run(&self) -> Result<Exit, Fault> {
        let after = self.args.after;
        let mut place = Place { renderer: Renderer::new(self.style), after, begun: false };
        let interrupted = match interrupt() {
            Ok(interrupted) => interrupted,
            Err(error) => return Ok(self.voice().complain(&error, Exit::Failed)),
        };
        tokio::select! {
            done = self.follow(&mut place) => return done,
            () = interrupted => {}
        }
        if place.begun {
            self.end_line(&mut place)?;
            say(format_args!("stopped; go on with --after {}", place.after));
        }
        Ok(Exit::Signal(INTERRUPT))
    }

    fn voice(&self) -> Voice {
        Voice { json: self.args.json }
    }

    async fn follow(&self, place: &mut Place) -> Result<Exit, Fault> {
        let mut retry = Retry::new(self.args.retry);
        loop {
            let why = match self.to_the_end(place, &mut retry).await {
                Ok(Ok(exit)) => return Ok(exit),
                Ok(Err(why)) => why,
                Err(Fault::Server(error)) if place.begun => {
                    let why = with_causes(&error);
                    if !error.may_pass() {
                        return self.give_up(place, &why);
                    }
                    why
                }
                Err(fault) => return Err(fault),
            };
            if !retry.wait(&why).await {
                return self.give_up(place, &why);
            }
        }
    }

    /// What to exit with once the run has ended, or why the stream broke off.
    async fn to_the_end(
        &self,
        place: &mut Place,
        retry: &mut Retry,
    ) -> Result<Result<Exit, String>, Fault> {
        if let End::Broken(why) = self.stream(place, retry).await? {
            return Ok(Err(why));
        }
        let run = retrieve(&self.client, self.args.run).await?;
        let status = run["status"].as_str().unwrap_or_default();
        if status != "completed" {
            say(format_args!("{} is {}", self.args.run, harmless(status)));
        }
        Ok(Ok(if status == "completed" { Exit::Done } else { Exit::Failed }))
    }

    fn give_up(&self, place: &mut Place, why: &str) -> Result<Exit, Fault> {
        self.end_line(place)?;
        let says = format!("{why}; go on later with --after {}", place.after);
        Ok(self.voice().refuse_with(says, Exit::Failed, json!({ "after": place.after })))
    }

    /// Shows one stream to its end.
    async fn stream(&self, place: &mut Place, retry: &mut Retry) -> Result<End, Fault> {
        let id = self.args.run.to_string();
        let mut url = self.client.endpoint(&["runs", &id, "stream"])?;
        let after = place.after.to_string();
        let query = [("starting_after", after.as_str()), ("include_pings", "true")];
        url.query_pairs_mut().extend_pairs(query);
        let request = self.client.request_of(Method::GET, url);
        let listening = self.client.listen(request).await;
        let mut events = listening.map_err(|error| named(error, self.args.run))?;
        let mut last_words: Vec<String> = Vec::new();
        while let Some(event) = events.next().await {
            let data = event?.data;
            place.begun = true;
            retry.works();
            if data == "[DONE]" {
                for words in &last_words {
                    self.show(place, words)?;
                }
                self.end_line(place)?;
                return Ok(End::Run);
            }
            let frame: Value = serde_json::from_str(&data).map_err(nonsense)?;
            if frame["error_type"] == "stream_incomplete" {
                return Ok(End::Broken("the server broke the stream off".to_owned()));
            }
            match frame["message_type"].as_str().unwrap_or_default() {
                "stop_reason" | "usage_statistics" | "error_message" => last_words.push(data),
                _ => {
                    self.show(place, &data)?;
                    place.after = place.after.max(frame["seq_id"].as_u64().unwrap_or_default());
                }
            }
        }
        Ok(End::Broken("the server closed the stream without saying why".to_owned()))
    }

    fn show(&self, place: &mut Place, data: &str) -> Result<(), Fault> {
        if self.args.json {
            return print_line(data);
        }
        for frame in read_frames(data).map_err(nonsense)? {
            show(&place.renderer.show(&frame))?;
        }
        Ok(())
    }

    /// Ends the line that what was shown last stands on.
    fn end_line(&self, place: &mut Place) -> Result<(), Fault> {
        if self.args.json { Ok(()) } else { show(&place.renderer.show(&Frame::Done)) }
    }
}

fn show(pieces: &[Piece]) -> Result<(), Fault> {
    for piece in pieces {
        match piece {
            Piece::Answer(text) => {
                let mut stdout = stdout().lock();
                stdout.write_all(harmless(text).as_bytes())?;
                stdout.flush()?;
            }
            // Nobody may be reading, which is no reason to stop.
            Piece::Aside(text) => drop(stderr().lock().write_all(text.as_bytes())),
        }
    }
    Ok(())
}
