//! `retold events tail` and `retold runs watch` over connections that break and servers that come back.

use std::process::Stdio;

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::Result;
use crate::api::Api;
use crate::events::{objects, until};
use crate::program::{Home, PATIENCE, Running, Server};
use crate::proxy::Proxy;
use crate::upstream::{HALF, MODEL, Upstream};

/// A server behind a connection that can be cut.
struct Rig {
    home: Home,
    upstream: Upstream,
    proxy: Proxy,
    server: Server,
    api: Api,
    agent: String,
}

/// A command that follows something, and what it prints.
struct Follower {
    running: Running,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
}

impl Follower {
    async fn ends(&mut self) -> Result<Option<i32>> {
        Ok(self.running.end(PATIENCE).await?.and_then(|status| status.code()))
    }

    fn said(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.stderr.path())?)
    }

    /// The objects it printed, but for signs of life.
    fn printed(&self) -> Result<Vec<Value>> {
        let mut printed = objects(&std::fs::read_to_string(self.stdout.path())?)?;
        printed.retain(|object| object["message_type"] != "ping");
        Ok(printed)
    }

    /// Waits until the event at a position was printed.
    async fn prints(&self, position: u64) -> Result<()> {
        let begun = std::time::Instant::now();
        while !std::fs::read_to_string(self.stdout.path())?
            .contains(&format!("\"position\":{position},"))
        {
            assert!(begun.elapsed() < 2 * PATIENCE, "{position} is not printed: {}", self.said()?);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits until something was said so often.
    async fn says(&self, text: &str, times: usize) -> Result<()> {
        loop {
            let said = until(&self.stderr, text).await?;
            if said.matches(text).count() >= times {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

impl Rig {
    async fn new() -> Result<Self> {
        let home = Home::new()?;
        let upstream = Upstream::start().await?;
        let server = Server::start(upstream.serves(&mut home.serve())).await?;
        let proxy = Proxy::start().await?;
        proxy.leads_to(&server.url)?;
        let api = Api::of(&server)?;
        let agent = api.agent("Ada", MODEL).await?;
        Ok(Self { home, upstream, proxy, server, api, agent })
    }

    fn follow(&self, arguments: &[&str]) -> Result<Follower> {
        let (stdout, stderr) = (NamedTempFile::new()?, NamedTempFile::new()?);
        let mut command = self.home.retold(arguments);
        command.args(["--url", &self.proxy.url]).stdin(Stdio::null());
        command.stdout(stdout.reopen()?).stderr(stderr.reopen()?);
        Ok(Follower { running: Running::spawn(&mut command)?, stdout, stderr })
    }

    /// Ends the server with a signal, and has the connection lead to its successor.
    async fn restart(&mut self, signal: &str) -> Result<()> {
        self.server.signal(signal)?;
        self.server.end(PATIENCE).await?;
        self.server = Server::start(self.upstream.serves(&mut self.home.serve())).await?;
        self.api = Api::of(&self.server)?;
        self.proxy.leads_to(&self.server.url)
    }

    async fn turn(&self) -> Result<()> {
        let (status, answer) = self.api.tell(&self.agent, "Be quick.").await?;
        assert_eq!(status, 200, "{answer}");
        Ok(())
    }

    /// Waits until the last event was printed, and gives its position.
    async fn all_printed(&self, follower: &Follower) -> Result<u64> {
        let newest = self.api.get("events?before=latest&limit=1").await?;
        let position = newest[0]["position"].as_u64().ok_or("an event has a position")?;
        follower.prints(position).await?;
        Ok(position)
    }
}

#[tokio::test]
async fn a_tail_goes_on_behind_what_it_printed_whatever_becomes_of_connection_and_server()
-> Result<()> {
    let mut rig = Rig::new().await?;
    let mut tail = rig.follow(&["events", "tail", "--after", "0", "--json"])?;
    rig.turn().await?;
    rig.all_printed(&tail).await?;
    rig.proxy.cut();
    rig.turn().await?;
    rig.all_printed(&tail).await?;
    tail.says("connected again", 1).await?;
    rig.restart("TERM").await?;
    rig.turn().await?;
    rig.all_printed(&tail).await?;
    rig.restart("KILL").await?;
    rig.turn().await?;
    let last = rig.all_printed(&tail).await?;
    tail.running.signal("INT")?;
    assert_eq!(tail.ends().await?, Some(130), "{}", tail.said()?);
    let said = tail.said()?;
    assert!(said.contains(&format!("stopped; go on with --after {last}")), "{said}");
    assert!(said.contains("trying again for 300 s"), "{said}");
    assert_eq!(Value::from(tail.printed()?), rig.api.get("events?limit=1000").await?);
    rig.server.stop().await
}

#[tokio::test]
async fn a_tail_that_prints_nothing_does_not_lose_its_place() -> Result<()> {
    let rig = Rig::new().await?;
    let filter = ["events", "tail", "--after", "latest", "--type", "run.ended", "--json"];
    let mut tail = rig.follow(&filter)?;
    let other = rig.follow(&["events", "tail", "--after", "0", "--json"])?;
    // Once it follows, it is told of each turn, of which it wants one event.
    let last = loop {
        rig.turn().await?;
        let last = rig.all_printed(&other).await?;
        if !tail.printed()?.is_empty() {
            break last;
        }
    };
    rig.proxy.cut();
    rig.turn().await?;
    let end = rig.all_printed(&other).await?;
    until(&tail.stdout, &format!("\"position\":{end},")).await?;
    let positions: Vec<u64> =
        tail.printed()?.iter().filter_map(|event| event["position"].as_u64()).collect();
    assert_eq!(positions.iter().filter(|position| **position == last).count(), 1);
    assert_eq!(positions.last(), Some(&end));
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    tail.running.signal("INT")?;
    assert_eq!(tail.ends().await?, Some(130));
    rig.server.stop().await
}

#[tokio::test]
async fn who_gives_up_says_where_to_go_on() -> Result<()> {
    let rig = Rig::new().await?;
    let tail = ["events", "tail", "--after", "0", "--json", "--retry-for", "1"];
    let mut tail = rig.follow(&tail)?;
    let last = rig.all_printed(&tail).await?;
    rig.server.stop().await?;
    assert_eq!(tail.ends().await?, Some(1));
    let says = format!("go on later with --after {last}");
    assert!(tail.said()?.contains(&says), "{}", tail.said()?);
    let printed = tail.printed()?;
    let told = printed.last().ok_or("it tells why")?;
    assert_eq!((told["after"].as_u64(), told["exit_code"].as_u64()), (Some(last), Some(1)));
    assert!(told["error"].as_str().is_some_and(|error| error.contains(&says)), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_watched_run_is_shown_once_whatever_becomes_of_the_connection() -> Result<()> {
    let rig = Rig::new().await?;
    let run = rig.api.background(&rig.agent, "Tell me something.").await?;
    let mut watch = rig.follow(&["runs", "watch", &run, "--json"])?;
    let mut plain = rig.follow(&["runs", "watch", &run])?;
    // The run shows whole messages, so nothing comes before its end but signs of life.
    until(&watch.stdout, "ping").await?;
    rig.api.has_followers(2).await?;
    rig.proxy.cut();
    watch.says("connected again", 1).await?;
    plain.says("connected again", 1).await?;
    rig.upstream.go_on();
    assert_eq!((watch.ends().await?, plain.ends().await?), (Some(0), Some(0)));
    let whole = rig.follow(&["runs", "watch", &run, "--json"])?;
    until(&whole.stdout, "usage_statistics").await?;
    assert_eq!(watch.printed()?, whole.printed()?);
    let shown = std::fs::read_to_string(plain.stdout.path())?;
    assert_eq!(shown, format!("{}\n", crate::upstream::WHOLE));
    rig.server.stop().await
}

#[tokio::test]
async fn a_run_that_is_watched_over_the_end_of_its_server_is_shown_once_and_to_its_end()
-> Result<()> {
    for signal in ["TERM", "KILL"] {
        let mut rig = Rig::new().await?;
        let mut talking = rig.api.stream(&rig.agent, "Tell me something.").await?;
        talking.until(HALF).await?;
        let run = talking.run.clone();
        let mut watch = rig.follow(&["runs", "watch", &run, "--json"])?;
        until(&watch.stdout, "assistant_message").await?;
        // A second signal, where the first one lets the run go on.
        rig.server.signal(signal)?;
        rig.restart(signal).await?;
        assert_eq!(watch.ends().await?, Some(1), "{}", watch.said()?);
        assert!(watch.said()?.contains(&format!("{run} is failed")), "{}", watch.said()?);
        let mut whole = rig.follow(&["runs", "watch", &run, "--json"])?;
        assert_eq!(whole.ends().await?, Some(1));
        assert_eq!(watch.printed()?, whole.printed()?);
        let last = watch.printed()?.last().map(|frame| frame["error_type"].clone());
        assert_eq!(last, Some("interrupted".into()), "{signal}");
        rig.server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_begins_after_a_number_and_says_which_when_it_is_stopped() -> Result<()> {
    let rig = Rig::new().await?;
    let mut talking = rig.api.stream(&rig.agent, "Tell me something.").await?;
    talking.until(HALF).await?;
    let run = talking.run.clone();
    let mut watch = rig.follow(&["runs", "watch", &run, "--json"])?;
    until(&watch.stdout, "assistant_message").await?;
    watch.running.signal("INT")?;
    assert_eq!(watch.ends().await?, Some(130));
    let seen = watch.printed()?;
    let last = seen.last().and_then(|frame| frame["seq_id"].as_u64()).ok_or("it has a number")?;
    assert!(watch.said()?.contains(&format!("go on with --after {last}")), "{}", watch.said()?);
    rig.upstream.go_on();
    rig.api.ended(&run).await?;
    let after = last.to_string();
    let mut rest = rig.follow(&["runs", "watch", &run, "--json", "--after", &after])?;
    let mut whole = rig.follow(&["runs", "watch", &run, "--json"])?;
    assert_eq!((rest.ends().await?, whole.ends().await?), (Some(0), Some(0)));
    assert_eq!([seen, rest.printed()?].concat(), whole.printed()?);
    let mut beyond = rig.follow(&["runs", "watch", &run, "--after", "9000"])?;
    assert_eq!(beyond.ends().await?, Some(1));
    assert!(beyond.said()?.contains("Cursor not found: 9000"), "{}", beyond.said()?);
    rig.server.stop().await
}
