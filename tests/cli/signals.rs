//! How a server ends: by one signal with everything in order, by a second at once.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Result;
use crate::api::{Api, spoken};
use crate::http;
use crate::program::{Home, PATIENCE, Server};
use crate::upstream::{HALF, MODEL, QUICK, Upstream, WHOLE};

/// What a server may need beyond its deadline.
const GRACE: Duration = Duration::from_secs(3);

async fn start(home: &Home, upstream: &Upstream, deadline: &str) -> Result<Server> {
    let mut command = home.serve();
    upstream.serves(command.args(["--drain-deadline", deadline]));
    Server::start(&mut command).await
}

#[tokio::test]
async fn an_idle_server_ends_at_once_by_either_signal() -> Result<()> {
    let home = Home::new()?;
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&mut home.serve()).await?;
        Api::of(&server)?.agent(signal, "retold/rehearsal").await?;
        let begun = Instant::now();
        server.signal(signal)?;
        assert_eq!(server.end(GRACE).await?, Some(0), "{signal}: {}", server.said());
        crate::say(&format!("idle, by {signal}: ended after {} ms", begun.elapsed().as_millis()));
        assert!(server.said().contains("retold: stopped"), "{}", server.said());
    }
    Ok(())
}

#[tokio::test]
async fn a_run_that_does_not_end_in_time_ends_as_interrupted_with_what_was_said() -> Result<()> {
    let home = Home::new()?;
    let mut upstream = Upstream::start().await?;
    let deadline = Duration::from_secs(2);
    let mut server = start(&home, &upstream, "2s").await?;
    let api = Api::of(&server)?;
    let agent = api.agent("Ada", MODEL).await?;
    let mut stream = api.stream(&agent, "Tell me something.").await?;
    stream.until(HALF).await?;
    let run = stream.run.clone();

    let begun = Instant::now();
    server.signal("TERM")?;
    server.says("stopping").await;
    let url = api.url(&format!("agents/{agent}/messages"));
    let refused = http::client()?.post(url).json(&json!({ "input": "And more." })).send().await?;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
    assert_eq!(api.status("ready").await?, 503);
    assert_eq!(api.status("health/").await?, 200);
    assert_eq!(api.get(&format!("runs/{run}")).await?["status"], "running");
    assert!(begun.elapsed() < deadline, "the machine is too slow for this test");

    let ending = stream.rest().await?;
    assert!(ending.whole && ending.done, "{ending:?}");
    assert_eq!(ending.errors.len(), 1, "{ending:?}");
    assert_eq!(spoken(&ending.heard), HALF);
    upstream.was_left().await?;
    assert_eq!(server.end(deadline + GRACE).await?, Some(0));
    let took = begun.elapsed();
    crate::say(&format!("with a silent run and 2 s: ended after {} ms", took.as_millis()));
    assert!(took > deadline && took < deadline + GRACE, "{took:?}: {}", server.said());

    let server = start(&home, &upstream, "2s").await?;
    let api = Api::of(&server)?;
    let ended = api.get(&format!("runs/{run}")).await?;
    assert_eq!((&ended["status"], &ended["stop_reason"]), (&json!("failed"), &json!("error")));
    assert_eq!(ended["metadata"]["error_type"], "interrupted", "{ended}");
    assert_eq!(api.spoken(&run).await?, [HALF]);
    let replay = http::replay(&api.http, &api.url, &run, 0).await?;
    assert_eq!(spoken(&replay), HALF, "{replay:?}");
    let (status, answer) = api.tell(&agent, "Be quick.").await?;
    assert_eq!((status, &answer["messages"][0]["content"]), (200, &json!(QUICK)), "{answer}");
    server.stop().await
}

#[tokio::test]
async fn a_run_that_ends_in_time_ends_well_and_so_does_the_server() -> Result<()> {
    let home = Home::new()?;
    let upstream = Upstream::start().await?;
    let mut server = start(&home, &upstream, "60s").await?;
    let api = Api::of(&server)?;
    let agent = api.agent("Ada", MODEL).await?;
    let mut stream = api.stream(&agent, "Tell me something.").await?;
    stream.until(HALF).await?;
    let run = stream.run.clone();
    server.signal("TERM")?;
    server.says("stopping").await;
    assert_eq!(api.get(&format!("runs/{run}")).await?["status"], "running");
    upstream.go_on();
    let ending = stream.rest().await?;
    assert!(ending.whole && ending.done && ending.errors.is_empty(), "{ending:?}");
    assert_eq!(spoken(&ending.heard), WHOLE);
    assert_eq!(server.end(GRACE).await?, Some(0), "it need not wait for its deadline");

    let server = start(&home, &upstream, "60s").await?;
    let api = Api::of(&server)?;
    assert_eq!(api.get(&format!("runs/{run}")).await?["status"], "completed");
    assert_eq!(api.spoken(&run).await?, [WHOLE]);
    server.stop().await
}

#[tokio::test]
async fn a_run_that_still_waits_starts_with_the_next_start() -> Result<()> {
    let home = Home::new()?;
    let upstream = Upstream::start().await?;
    let mut server = start(&home, &upstream, "100ms").await?;
    let api = Api::of(&server)?;
    let agent = api.agent("Ada", MODEL).await?;
    let mut stream = api.stream(&agent, "Tell me something.").await?;
    stream.until(HALF).await?;
    let waiting = api.background(&agent, "Be quick.").await?;
    server.signal("TERM")?;
    assert_eq!(server.end(GRACE).await?, Some(0));

    let server = start(&home, &upstream, "100ms").await?;
    let api = Api::of(&server)?;
    let ended = api.ended(&waiting).await?;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(api.spoken(&waiting).await?, [QUICK]);
    assert_eq!(api.ended(&stream.run).await?["status"], "failed");
    server.stop().await
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_the_run_is_recovered() -> Result<()> {
    for (first, second, code) in [("TERM", "TERM", 143), ("INT", "INT", 130), ("INT", "TERM", 143)]
    {
        let home = Home::new()?;
        let upstream = Upstream::start().await?;
        let mut server = start(&home, &upstream, "600s").await?;
        let api = Api::of(&server)?;
        let agent = api.agent("Ada", MODEL).await?;
        let mut stream = api.stream(&agent, "Tell me something.").await?;
        stream.until(HALF).await?;
        let run = stream.run.clone();
        server.signal(first)?;
        server.says("stopping").await;
        let begun = Instant::now();
        server.signal(second)?;
        assert_eq!(server.end(PATIENCE).await?, Some(code), "{first}, {second}");
        let took = begun.elapsed();
        crate::say(&format!("{first}, {second}: ended after {} ms", took.as_millis()));
        assert!(took < Duration::from_secs(1), "{first}, {second}: {took:?}");
        assert!(!stream.rest().await?.done, "nobody ended the run");

        let server = start(&home, &upstream, "600s").await?;
        let api = Api::of(&server)?;
        let ended = api.ended(&run).await?;
        assert_eq!(ended["status"], "failed", "{ended}");
        assert_eq!(api.spoken(&run).await?, [HALF]);
        let (status, answer) = api.tell(&agent, "Be quick.").await?;
        assert_eq!((status, &answer["messages"][0]["content"]), (200, &json!(QUICK)), "{answer}");
        server.stop().await?;
    }
    Ok(())
}
