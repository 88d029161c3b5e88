//! `retold events` and `retold runs` against a running server.

use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::api::Api;
use crate::program::{Ended, Home, PATIENCE, Running, Server, run};
use crate::upstream::{HALF, MODEL, Upstream, WHOLE};

/// The events of a turn that calls no tool.
const TURN: [&str; 5] = ["run.accepted", "run.started", "step.started", "step.ended", "run.ended"];

/// A server with a model that can be held up, an agent, and a home for commands.
struct Rig {
    home: Home,
    upstream: Upstream,
    server: Server,
    api: Api,
    agent: String,
}

impl Rig {
    async fn new() -> Result<Self> {
        let home = Home::new()?;
        let upstream = Upstream::start().await?;
        let server = Server::start(upstream.serves(&mut home.serve())).await?;
        let api = Api::of(&server)?;
        let agent = api.agent("Ada", MODEL).await?;
        Ok(Self { home, upstream, server, api, agent })
    }

    async fn retold(&self, arguments: &[&str]) -> Result<Ended> {
        run(self.home.retold(arguments).args(["--url", &self.server.url])).await
    }

    /// What a command that must succeed prints.
    async fn prints(&self, arguments: &[&str]) -> Result<String> {
        let ended = self.retold(arguments).await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        Ok(ended.stdout)
    }

    /// A command that goes on, and the file it prints to.
    fn spawn(&self, arguments: &[&str]) -> Result<(Running, tempfile::NamedTempFile)> {
        let printed = tempfile::NamedTempFile::new()?;
        let mut command = self.home.retold(arguments);
        command.args(["--url", &self.server.url]).stdin(Stdio::null());
        command.stdout(printed.reopen()?).stderr(Stdio::null());
        Ok((Running::spawn(&mut command)?, printed))
    }

    /// A turn that is answered at once; its run.
    async fn turn(&self) -> Result<String> {
        let (status, answer) = self.api.tell(&self.agent, "Be quick.").await?;
        assert_eq!(status, 200, "{answer}");
        Ok(answer["messages"][0]["run_id"].as_str().unwrap_or_default().to_owned())
    }
}

/// Waits until a file holds a text, and gives all of it.
pub(crate) async fn until(file: &tempfile::NamedTempFile, text: &str) -> Result<String> {
    let begun = Instant::now();
    loop {
        let printed = std::fs::read_to_string(file.path())?;
        if printed.contains(text) {
            return Ok(printed);
        }
        assert!(begun.elapsed() < PATIENCE, "{text:?} was never printed: {printed}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The objects of a text that has one a line.
pub(crate) fn objects(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

#[tokio::test]
async fn the_log_is_printed_as_lines_or_as_json() -> Result<()> {
    let rig = Rig::new().await?;
    let run = rig.turn().await?;
    let lines = rig.prints(&["events", "tail", "--no-follow"]).await?;
    assert_eq!(lines.lines().count(), 7, "{lines}");
    for part in
        ["agent.created", "\"Ada\"", "block.created", "\"Be quick.\"", "completed (end_turn)", &run]
    {
        assert!(lines.contains(part), "{part} in {lines}");
    }
    let whole =
        objects(&rig.prints(&["events", "tail", "--after", "0", "--no-follow", "--json"]).await?)?;
    assert_eq!(Value::from(whole.clone()), rig.api.get("events").await?);
    let newest =
        objects(&rig.prints(&["events", "tail", "-n", "2", "--no-follow", "--json"]).await?)?;
    assert_eq!(types(&newest), TURN[3..]);
    let of_run = ["events", "tail", "--run", &run, "--json"];
    assert_eq!(types(&objects(&rig.prints(&of_run).await?)?), TURN, "it ends with the run");
    let agent =
        ["events", "tail", "--agent", &rig.agent, "--type", "run.ended", "--no-follow", "--json"];
    assert_eq!(types(&objects(&rig.prints(&agent).await?)?), ["run.ended"]);
    rig.server.stop().await
}

#[tokio::test]
async fn one_event_is_shown_in_full() -> Result<()> {
    let rig = Rig::new().await?;
    rig.turn().await?;
    let shown = rig.prints(&["events", "show", "2"]).await?;
    for part in ["type          agent.created", "\"name\": \"Ada\"", "sequence      1"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let json = objects(&rig.prints(&["events", "show", "2", "--json"]).await?)?;
    assert_eq!(json[0], rig.api.get("events?after=1&limit=1").await?[0]);
    for missing in ["8", "9000"] {
        let refused = rig.retold(&["events", "show", missing]).await?;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
        let says = format!("there is no event at position {missing}");
        assert!(refused.stderr.contains(&says), "{}", refused.stderr);
    }
    rig.server.stop().await
}

#[tokio::test]
async fn what_happens_is_printed_as_it_happens_until_the_server_stops() -> Result<()> {
    let rig = Rig::new().await?;
    let (mut tail, printed) = rig.spawn(&["events", "tail", "--json", "--retry-for", "0"])?;
    until(&printed, "agent.created").await?;
    rig.turn().await?;
    let all = until(&printed, "run.ended").await?;
    assert_eq!(types(&objects(&all)?), [&["block.created", "agent.created"], &TURN[..]].concat());
    rig.server.stop().await?;
    // It did not end by itself, so what was to come is missing.
    assert_eq!(tail.end(PATIENCE).await?.and_then(|status| status.code()), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_run_is_watched_to_its_end() -> Result<()> {
    let rig = Rig::new().await?;
    let run = rig.api.background(&rig.agent, "Tell me something.").await?;
    let (mut watch, printed) = rig.spawn(&["runs", "watch", &run])?;
    rig.upstream.go_on();
    assert_eq!(watch.end(PATIENCE).await?.and_then(|status| status.code()), Some(0));
    assert_eq!(until(&printed, WHOLE).await?, format!("{WHOLE}\n"));
    let json = objects(&rig.prints(&["runs", "watch", &run, "--json"]).await?)?;
    assert!(json.iter().any(|frame| frame["stop_reason"] == "end_turn"), "{json:?}");
    rig.server.stop().await
}

#[tokio::test]
async fn a_run_is_listed_while_it_is_under_way_and_cancelled() -> Result<()> {
    let mut rig = Rig::new().await?;
    let done = rig.turn().await?;
    let mut talking = rig.api.stream(&rig.agent, "Tell me something.").await?;
    talking.until(HALF).await?;
    let run = talking.run.clone();
    let (mut watch, printed) = rig.spawn(&["runs", "watch", &run])?;
    until(&printed, HALF).await?;
    let active = rig.prints(&["runs", "ls", "--active", "--json"]).await?;
    let active = objects(&active)?;
    assert_eq!((active.len(), active[0]["id"].as_str()), (1, Some(run.as_str())));
    let table = rig.prints(&["runs", "ls", "--agent", &rig.agent]).await?;
    let ids: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(ids, ["RUN", &run, &done], "the newest first");
    assert_eq!(rig.prints(&["runs", "cancel", &run]).await?, format!("{run}  cancelled\n"));
    rig.upstream.was_left().await?;
    assert_eq!(watch.end(PATIENCE).await?.and_then(|status| status.code()), Some(1));
    let again = rig.retold(&["runs", "cancel", &done]).await?;
    assert_eq!((again.code, again.stdout), (Some(1), format!("{done}  completed\n")));
    assert!(again.stderr.contains("had ended before"), "{}", again.stderr);
    rig.server.stop().await
}

#[tokio::test]
async fn what_cannot_be_is_said() -> Result<()> {
    let rig = Rig::new().await?;
    let nobody = "run-123e4567-e89b-42d3-8456-426614174000";
    for (arguments, code, says) in [
        (vec!["runs", "watch", nobody], 1, "there is no run"),
        (vec!["runs", "cancel", nobody], 1, "there is no run"),
        (vec!["runs", "watch", "nonsense"], 2, "run-{uuid4}"),
        (vec!["events", "tail", "--agent", "nonsense"], 2, "agent-{uuid4}"),
        (vec!["events", "tail", "--type", "nonsense", "--no-follow"], 2, "agent.created"),
        (vec!["events", "tail", "--type", "nonsense"], 2, "agent.created"),
        (vec!["events", "tail", "--after", "nonsense"], 2, "'latest'"),
        (vec!["events", "show", "0"], 2, "a position is a whole number from 1 on"),
        (vec!["events", "show", "abc"], 2, "a position is a whole number from 1 on"),
        (vec!["events", "tail", "--after", "9000"], 1, "Position not found: 9000"),
    ] {
        let refused = rig.retold(&arguments).await?;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(code), ""), "{arguments:?}");
        assert!(refused.stderr.contains(says), "{arguments:?}: {}", refused.stderr);
    }
    let alone = Home::new()?;
    let refused = run(&mut alone.retold(&["events", "tail", "--port", "1"])).await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(
        refused.stderr.contains("no server answers at http://127.0.0.1:1"),
        "{}",
        refused.stderr
    );
    assert_eq!(std::fs::read_dir(alone.path())?.count(), 0, "no server of its own instead");
    rig.server.stop().await
}

#[tokio::test]
async fn a_password_is_taken_from_where_the_server_takes_it() -> Result<()> {
    let home = Home::new()?;
    let server = Server::start(home.serve().env("RETOLD_PASSWORD", "swordfish")).await?;
    let arguments = ["runs", "ls", "--url", server.url.as_str()];
    let refused = run(&mut home.retold(&arguments)).await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.contains("RETOLD_PASSWORD"), "{}", refused.stderr);
    let mut file = File::create(home.path().join("password"))?;
    file.write_all(b"swordfish\n")?;
    let listed = run(home.retold(&arguments).args(["--password-file", "password"])).await?;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    server.stop().await
}
