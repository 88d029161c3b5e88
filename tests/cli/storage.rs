//! Storage that fails while the server runs: a limit on the size of its files stands for a disk
//! that takes no more writes (`EFBIG` in place of `EIO`).

use std::process::Command;

use serde_json::Value;

use crate::Result;
use crate::api::{Api, spoken};
use crate::http;
use crate::program::{Home, PATIENCE, Server};
use crate::upstream::{HALF, MODEL, Upstream};

/// The largest file, in the shell's units of 512 bytes: room for some agents and not for many.
const BLOCKS: u32 = 4096;

/// A server whose files may not grow for ever. The signal that would come first is ignored.
fn limited(home: &Home) -> Command {
    let script = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" \"$@\"");
    let mut command = home.program("sh", &["-c", &script, env!("CARGO_BIN_EXE_retold")]);
    command.args(["serve", "--port", "0", "--data-dir"]).arg(home.data());
    command
}

/// Creates agents until one is refused. Gives those that were acknowledged, and the refusal: a
/// status and a body, or the error of a broken connection.
async fn fill(api: &Api) -> Result<(Vec<Value>, Result<(u16, Value)>)> {
    let mut acknowledged = Vec::new();
    loop {
        match api.create(&format!("agent {}", acknowledged.len()), "retold/rehearsal").await {
            Ok((200, agent)) => acknowledged.push(agent),
            refused => return Ok((acknowledged, refused)),
        }
        assert!(acknowledged.len() < 10_000, "the limit does not bite");
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_and_the_process_ends() -> Result<()> {
    let home = Home::new()?;
    let mut server = Server::start(&mut limited(&home)).await?;
    let (acknowledged, refused) = fill(&Api::of(&server)?).await?;
    let (status, body) = refused.map_err(|error| format!("no answer but {error}"))?;
    assert_eq!((status, &body["code"]), (503, &Value::from("storage_failed")), "{body}");
    assert_eq!(server.end(PATIENCE).await?, Some(1), "{}", server.said());
    let said = server.said();
    assert!(said.contains("retold: the storage failed, so nothing more is acknowledged"), "{said}");
    assert!(!acknowledged.is_empty());

    let server = Server::start(&mut home.serve()).await?;
    let api = Api::of(&server)?;
    for agent in &acknowledged {
        let id = agent["id"].as_str().unwrap_or_default();
        let kept = api.get(&format!("agents/{id}")).await?;
        assert_eq!(kept["name"], agent["name"]);
        assert_eq!(kept["blocks"], agent["blocks"]);
    }
    let more = api.names().await?.len() - acknowledged.len();
    assert!(more <= 1, "{more} agents that nobody was told of");
    api.agent("one more", "retold/rehearsal").await?;
    server.stop().await
}

#[tokio::test]
async fn a_stream_shows_nothing_that_is_not_kept() -> Result<()> {
    let home = Home::new()?;
    let upstream = Upstream::start().await?;
    let mut server = Server::start(upstream.serves(&mut limited(&home))).await?;
    let api = Api::of(&server)?;
    let agent = api.agent("Ada", MODEL).await?;
    let mut stream = api.stream(&agent, "Tell me something.").await?;
    stream.until(HALF).await?;
    let run = stream.run.clone();
    drop(fill(&api).await?);
    upstream.go_on();
    let ending = stream.rest().await?;
    assert!(!ending.done || !ending.errors.is_empty(), "it claims to be whole: {ending:?}");
    assert_eq!(server.end(PATIENCE).await?, Some(1), "{}", server.said());

    let server = Server::start(upstream.serves(&mut home.serve())).await?;
    let api = Api::of(&server)?;
    let ended = api.ended(&run).await?;
    assert_eq!(ended["status"], "failed", "{ended}");
    let replay = http::replay(&api.http, &api.url, &run, 0).await?;
    let numbered = |frames: &[Value]| -> Vec<Value> {
        frames.iter().filter(|frame| http::is_numbered(frame)).cloned().collect()
    };
    let (heard, kept) = (numbered(&ending.heard), numbered(&replay));
    assert!(kept.starts_with(&heard), "heard: {heard:?}\nkept: {kept:?}");
    assert_eq!(spoken(&heard), HALF);
    server.stop().await
}
