//! Two servers and one directory: the second does not start, whichever lock is taken away from it; and a server that was
//! stopped while its directory was replaced neither acknowledges anything afterwards nor touches what is there now.

use std::fs;

use serde_json::Value;

use crate::Result;
use crate::api::Api;
use crate::program::{Home, PATIENCE, Server, run};
use crate::rig::copy;

const MODEL: &str = "retold/rehearsal";

/// The words of a server whose directory is not the one it opened.
const REPLACED: &str = "it was moved or replaced while this server had it open";

/// Two servers, of which the first is stopped, and the second works on a copy that took the place of the first's files.
struct Stale {
    home: Home,
    first: Server,
    second: Server,
}

impl Stale {
    async fn make() -> Result<Self> {
        let home = Home::new()?;
        let first = Server::start(&mut home.serve()).await?;
        Api::of(&first)?.agent("Ada", MODEL).await?;
        first.signal("STOP")?;
        let (data, backup) = (home.data(), home.path().join("backup"));
        copy(&data, &backup)?;
        fs::rename(&data, home.path().join("moved"))?;
        fs::rename(&backup, &data)?;
        let second = Server::start(&mut home.serve()).await?;
        Api::of(&second)?.agent("Grace", MODEL).await?;
        Ok(Self { home, first, second })
    }

    /// Both have ended; what the place of the directory holds is the second's line and no more.
    async fn holds_the_second_line(self) -> Result<()> {
        let Self { home, first, second } = self;
        drop(first);
        assert!(second.is_healthy().await?, "{}", second.said());
        Api::of(&second)?.agent("Hedy", MODEL).await?;
        second.stop().await?;
        let again = Server::start(&mut home.serve()).await?;
        assert_eq!(Api::of(&again)?.names().await?, ["Ada", "Grace", "Hedy"]);
        again.stop().await
    }
}

#[tokio::test]
async fn a_server_whose_directory_was_replaced_acknowledges_nothing_more_and_ends() -> Result<()> {
    let mut stale = Stale::make().await?;
    let api = Api::of(&stale.first)?;
    stale.first.signal("CONT")?;
    // The connection may break instead of giving an answer; what it must not give is success.
    let answered = api.create("Stale", MODEL).await;
    if let Ok((status, answer)) = &answered {
        assert_eq!((*status, &answer["code"]), (503, &Value::from("storage_failed")), "{answer}");
    }
    assert_eq!(stale.first.end(PATIENCE).await?, Some(1), "{}", stale.first.said());
    assert!(stale.first.said().contains(REPLACED), "{}", stale.first.said());
    stale.holds_the_second_line().await
}

#[tokio::test]
async fn a_server_whose_directory_was_replaced_ends_though_nobody_asks_anything() -> Result<()> {
    let mut stale = Stale::make().await?;
    stale.first.signal("CONT")?;
    assert_eq!(stale.first.end(PATIENCE).await?, Some(1), "{}", stale.first.said());
    assert!(stale.first.said().contains(REPLACED), "{}", stale.first.said());
    stale.holds_the_second_line().await
}

#[tokio::test]
async fn a_server_whose_directory_was_replaced_leaves_no_mark_when_it_is_ended() -> Result<()> {
    let mut stale = Stale::make().await?;
    stale.first.signal("TERM")?;
    stale.first.signal("CONT")?;
    stale.first.end(PATIENCE).await?;
    let mark = stale.home.data().join("CLEAN");
    assert!(!mark.exists(), "the first marked the second's log as closed: {}", stale.first.said());
    stale.holds_the_second_line().await
}

#[tokio::test]
async fn a_server_whose_files_were_written_over_acknowledges_nothing_more() -> Result<()> {
    let home = Home::new()?;
    let mut first = Server::start(&mut home.serve()).await?;
    let api = Api::of(&first)?;
    api.agent("Ada", MODEL).await?;
    let backup = home.path().join("backup");
    copy(&home.data(), &backup)?;
    api.agent("Grace", MODEL).await?;
    first.signal("STOP")?;
    // Into the same files, as `cp` does it.
    copy(&backup, &home.data())?;
    first.signal("CONT")?;
    if let Ok((status, answer)) = api.create("Stale", MODEL).await {
        assert_eq!((status, &answer["code"]), (503, &Value::from("storage_failed")), "{answer}");
    }
    assert_eq!(first.end(PATIENCE).await?, Some(1), "{}", first.said());
    assert!(first.said().contains(REPLACED), "{}", first.said());
    // It wrote nothing into them, either: the backup is what it was.
    let again = Server::start(&mut home.serve()).await?;
    assert_eq!(Api::of(&again)?.names().await?, ["Ada"]);
    again.stop().await
}

#[tokio::test]
async fn a_second_server_does_not_start_though_the_lock_was_removed() -> Result<()> {
    let home = Home::new()?;
    let first = Server::start(&mut home.serve()).await?;
    let api = Api::of(&first)?;
    api.agent("Ada", MODEL).await?;
    for stopped in [false, true] {
        fs::remove_file(home.data().join("LOCK"))?;
        if stopped {
            first.signal("STOP")?;
        }
        let refused = run(&mut home.serve()).await?;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(3), ""), "{}", refused.stderr);
        assert!(refused.stderr.contains("is in use by another server"), "{}", refused.stderr);
        first.signal("CONT")?;
    }
    api.agent("Grace", MODEL).await?;
    first.stop().await?;
    let again = Server::start(&mut home.serve()).await?;
    assert_eq!(Api::of(&again)?.names().await?, ["Ada", "Grace"]);
    again.stop().await
}
