//! Commands that cannot begin: told to the program that asked for JSON, too, and without a trace in the file system.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Result;
use crate::api::Api;
use crate::program::{Ended, Home, Server, run};
use crate::upstream::{MODEL, Upstream};

const RUN: &str = "run-123e4567-e89b-42d3-8456-426614174000";

/// The error of a command that was asked for JSON.
fn error_of(ended: &Ended, code: i32) -> Result<String> {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    let told: Value = serde_json::from_str(&ended.stdout)?;
    assert_eq!(told["exit_code"], code, "{told}");
    assert!(!ended.stderr.is_empty(), "people are told, too");
    Ok(told["error"].as_str().ok_or("an error is a text")?.to_owned())
}

fn entries(dir: &Path) -> Result<Vec<String>> {
    let names: std::io::Result<Vec<_>> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect();
    Ok(names?)
}

#[tokio::test]
async fn a_command_that_cannot_begin_says_why_in_json() -> Result<()> {
    let home = Home::new()?;
    home.write("file", "x")?;
    let nowhere = ["--url", "http://127.0.0.1:1"];
    for (arguments, code, says) in [
        (vec!["events", "tail"], 1, "cannot reach the server"),
        (vec!["events", "show", "7"], 1, "cannot reach the server"),
        (vec!["events", "replay", RUN], 1, "cannot reach the server"),
        (vec!["runs", "ls"], 1, "cannot reach the server"),
        (vec!["runs", "watch", RUN], 1, "cannot reach the server"),
        (vec!["runs", "cancel", RUN], 1, "cannot reach the server"),
        (vec!["backup", "copy"], 1, "cannot reach the server"),
    ] {
        let ended = run(home.retold(&arguments).arg("--json").args(nowhere)).await?;
        let error = error_of(&ended, code)?;
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    for (arguments, code, says) in [
        (vec!["events", "tail", "--port", "1"], 1, "no server answers at"),
        (vec!["backup", "copy", "--data-dir", "none"], 3, "there is nothing to back up"),
        (vec!["restore", "none", "--data-dir", "new"], 1, "none"),
        (vec!["verify", "none"], 3, "none"),
        (vec!["verify", "file"], 3, "file"),
        (vec!["events", "show", "abc"], 2, "a position is a whole number from 1 on"),
        (vec!["events", "show", "0"], 2, "a position is a whole number from 1 on"),
        (vec!["runs", "watch", "nonsense"], 2, "run-{uuid4}"),
        (vec!["events", "tail", "--port", "x"], 2, "port"),
        (vec!["config", "show", "--port", "x"], 2, "port"),
    ] {
        let ended = run(home.retold(&arguments).arg("--json")).await?;
        let error = error_of(&ended, code)?;
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    assert_eq!(entries(home.path())?, ["file"], "nothing is left behind");
    Ok(())
}

#[tokio::test]
async fn a_backup_that_fails_and_a_restore_that_is_refused_leave_nothing() -> Result<()> {
    let home = Home::new()?;
    let upstream = Upstream::start().await?;
    let server = Server::start(upstream.serves(&mut home.serve())).await?;
    Api::of(&server)?.agent("Ada", MODEL).await?;
    let made = run(home.retold(&["backup", "whole", "--url"]).arg(&server.url)).await?;
    assert_eq!(made.code, Some(0), "{made:?}");
    server.stop().await?;

    let nowhere = ["--url", "http://127.0.0.1:1"];
    let failed = run(home.retold(&["backup", "deep/below/copy"]).args(nowhere)).await?;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(!home.path().join("deep").exists());
    fs::create_dir(home.path().join("mounted"))?;
    let failed = run(home.retold(&["backup", "mounted"]).args(nowhere)).await?;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert_eq!(entries(&home.path().join("mounted"))?, [""; 0]);

    // Damage that shows only while it is being read.
    let log = entries(&home.path().join("whole"))?;
    let log = log.iter().find(|name| name.ends_with(".log")).ok_or("a backup has a log")?;
    let path = home.path().join("whole").join(log);
    let mut bytes = fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes)?;
    for data in ["new", "mounted"] {
        let refused = run(&mut home.retold(&["restore", "whole", "--data-dir", data])).await?;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("damaged"), "{refused:?}");
    }
    assert!(!home.path().join("new").exists());
    assert_eq!(entries(&home.path().join("mounted"))?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_backup_onto_a_damaged_one_says_what_to_do() -> Result<()> {
    let home = Home::new()?;
    let upstream = Upstream::start().await?;
    let server = Server::start(upstream.serves(&mut home.serve())).await?;
    Api::of(&server)?.agent("Ada", MODEL).await?;
    let backup = ["backup", "copy", "--url", server.url.as_str()];
    assert_eq!(run(&mut home.retold(&backup)).await?.code, Some(0));
    let dir = home.path().join("copy");
    let log = entries(&dir)?;
    let log = log.iter().find(|name| name.ends_with(".log")).ok_or("a backup has a log")?;
    let cut = fs::read(dir.join(log))?;
    fs::write(dir.join(log), &cut[..cut.len() - 1])?;
    let refused = run(&mut home.retold(&backup)).await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for part in ["is damaged", "in another directory", "retold verify copy"] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    assert_eq!(fs::read(dir.join(log))?.len(), cut.len() - 1, "it is left as it is");
    server.stop().await
}
