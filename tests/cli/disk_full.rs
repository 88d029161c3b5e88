//! A disk without room: new work is refused, everything else goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::api::Api;
use crate::program::{Home, PATIENCE, Server, run};
use crate::small_disk::SmallDisk;
use crate::upstream::{HALF, MODEL, Upstream};

/// How old the server's knowledge of the free space may be, and some.
const STALE: Duration = Duration::from_secs(2);

/// More than any disk has.
const EVERYTHING: &str = "1000000GiB";

/// New work of every kind is refused as what cannot be stored.
async fn refuses_new_work(api: &Api, agent: &str) -> Result<()> {
    let block = format!("agents/{agent}/core-memory/blocks/human");
    let (status, answer) = api.patch(&block, json!({ "value": "more" })).await?;
    assert_eq!((status, &answer["code"]), (507, &json!("storage_full")), "{block}: {answer}");
    for (path, body) in [
        ("agents/".to_owned(), json!({ "name": "Eve", "model": "retold/rehearsal" })),
        ("blocks/".to_owned(), json!({ "label": "notes", "value": "x" })),
        (format!("agents/{agent}/messages"), json!({ "input": "hello" })),
        (format!("agents/{agent}/messages/stream"), json!({ "input": "hello" })),
        (format!("agents/{agent}/messages/async"), json!({ "input": "hello" })),
    ] {
        let (status, answer) = api.post(&path, body).await?;
        assert_eq!((status, &answer["code"]), (507, &json!("storage_full")), "{path}: {answer}");
    }
    Ok(())
}

/// What needs no room is answered.
async fn answers_readers(api: &Api, agent: &str) -> Result<()> {
    for path in [
        "health/".to_owned(),
        "agents/".to_owned(),
        format!("agents/{agent}"),
        format!("agents/{agent}/messages"),
        format!("agents/{agent}/core-memory/blocks/human"),
        "runs/".to_owned(),
        "models/".to_owned(),
    ] {
        assert_eq!(api.status(&path).await?, 200, "{path}");
    }
    Ok(())
}

async fn is_cancelled(api: &Api, agent: &str, run: &str) -> Result<()> {
    let path = format!("agents/{agent}/messages/cancel");
    let (status, told) = api.post(&path, json!({ "run_ids": [run] })).await?;
    assert_eq!((status, &told), (200, &json!({ run: "cancelled" })));
    assert_eq!(api.ended(run).await?["status"], "cancelled");
    Ok(())
}

#[tokio::test]
async fn below_the_reserve_new_work_is_507_while_reads_and_cancels_go_on() -> Result<()> {
    let home = Home::new()?;
    let mut upstream = Upstream::start().await?;
    let mut command = home.serve();
    upstream.serves(command.args(["--drain-deadline", "100ms"]));
    let mut server = Server::start(&mut command).await?;
    let api = Api::of(&server)?;
    let agent = api.agent("Ada", MODEL).await?;
    api.background(&agent, "Tell me something.").await?;
    let waiting = api.background(&agent, "Tell me more.").await?;
    server.signal("TERM")?;
    assert_eq!(server.end(PATIENCE).await?, Some(0));
    upstream.was_left().await?;

    // The run that waited starts now, with no room at all.
    home.write("retold.toml", &format!("reserve_bytes = '{EVERYTHING}'\n"))?;
    let server = Server::start(upstream.serves(&mut home.serve())).await?;
    let api = Api::of(&server)?;
    refuses_new_work(&api, &agent).await?;
    answers_readers(&api, &agent).await?;
    assert_eq!(api.get(&format!("runs/{waiting}")).await?["status"], "running");
    is_cancelled(&api, &agent, &waiting).await?;
    let deleted = api.http.delete(api.url(&format!("agents/{agent}"))).send().await?;
    assert_eq!(deleted.status(), 200, "deleting makes room");
    server.stop().await
}

#[tokio::test]
async fn a_disk_that_fills_up_refuses_new_work_until_there_is_room_again() -> Result<()> {
    let home = Home::new()?;
    let Some(mut disk) = SmallDisk::mount(&home, 64)? else { return Ok(()) };
    let upstream = Upstream::start().await?;
    let mut command = disk.serve(&home);
    let server = Server::start(upstream.serves(command.args(["--reserve-bytes", "8MiB"]))).await?;
    let api = Api::of(&server)?;
    let agent = api.agent("Ada", MODEL).await?;
    let mut stream = api.stream(&agent, "Tell me something.").await?;
    stream.until(HALF).await?;

    disk.fill_up_to(6 << 20)?;
    tokio::time::sleep(STALE).await;
    refuses_new_work(&api, &agent).await?;
    answers_readers(&api, &agent).await?;
    is_cancelled(&api, &agent, &stream.run).await?;
    assert_eq!(api.spoken(&stream.run).await?, [HALF], "there was room for this");

    disk.clear()?;
    let cleared = Instant::now();
    while api.create("Eve", "retold/rehearsal").await?.0 != 200 {
        assert!(cleared.elapsed() < STALE, "there is room again, but not for new work");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop().await
}

#[tokio::test]
async fn a_disk_that_is_full_to_the_last_byte_costs_nothing_acknowledged() -> Result<()> {
    let home = Home::new()?;
    let Some(mut disk) = SmallDisk::mount(&home, 64)? else { return Ok(()) };
    let mut command = disk.serve(&home);
    let mut server = Server::start(command.args(["--reserve-bytes", "1"])).await?;
    let api = Api::of(&server)?;
    let mut acknowledged = vec![api.agent("Ada", "retold/rehearsal").await?];
    disk.fill_up_to(64 << 10)?;
    let refused = loop {
        match api.create("one more", "retold/rehearsal").await? {
            (200, agent) => acknowledged.push(agent["id"].as_str().unwrap_or_default().to_owned()),
            refused => break refused,
        }
        assert!(acknowledged.len() < 10_000, "the disk is never full");
    };
    assert_eq!((refused.0, &refused.1["code"]), (503, &json!("storage_failed")), "{refused:?}");
    assert_eq!(server.end(PATIENCE).await?, Some(1), "{}", server.said());
    assert!(server.said().contains("the disk is full"), "{}", server.said());

    // It opens on the full disk: space was put aside for that.
    let mut command = disk.serve(&home);
    let server = Server::start(command.args(["--reserve-bytes", "32MiB"])).await?;
    let api = Api::of(&server)?;
    for agent in &acknowledged {
        let kept = api.get(&format!("agents/{agent}")).await?;
        assert_eq!(kept["id"], Value::from(agent.as_str()));
    }
    refuses_new_work(&api, &acknowledged[0]).await?;
    answers_readers(&api, &acknowledged[0]).await?;
    server.stop().await
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_refused() -> Result<()> {
    let home = Home::new()?;
    let Some(mut disk) = SmallDisk::mount(&home, 64)? else { return Ok(()) };
    Server::start(&mut disk.serve(&home)).await?.stop().await?;
    disk.make_read_only(&home)?;
    let refused = run(&mut disk.serve(&home)).await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(3), ""), "{}", refused.stderr);
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    Ok(())
}
