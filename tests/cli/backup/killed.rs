//! `kill -9` in the middle of a backup and of a restore, at many moments: what is left is whole or
//! known not to be, and doing it again makes it whole.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{back_up, done, restore, verify};
use crate::Result;
use crate::api::Api;
use crate::program::{Home, PATIENCE, Running, Server, run};

/// Moments at which the process is killed, over the time that it takes.
const MOMENTS: u32 = 20;

/// A server that remembers some mebibytes.
async fn filled(home: &Home) -> Result<Server> {
    let server = Server::start(&mut home.serve()).await?;
    let api = Api::of(&server)?;
    for number in 0..12 {
        let value = format!("{number} ").repeat(100_000);
        let body =
            json!({ "label": format!("large_{number}"), "value": value, "limit": 1_000_000 });
        let (status, answer) = api.post("blocks/", body).await?;
        assert_eq!(status, 200, "{answer}");
        let agent = api.agent(&format!("agent {number}"), "retold/rehearsal").await?;
        api.tell(&agent, "hello").await?;
    }
    Ok(server)
}

/// Lets a program run for a while and kills it. Gives whether it had ended by then.
async fn killed_after(command: &mut Command, pause: Duration) -> Result<bool> {
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut running = Running::spawn(command)?;
    tokio::time::sleep(pause).await;
    let had_ended = running.child().try_wait()?.is_some();
    if !had_ended {
        running.signal("KILL")?;
    }
    running.end(PATIENCE).await?;
    Ok(had_ended)
}

/// Whether a directory is whole; if not, it is known that it is none.
async fn is_whole(home: &Home, dir: &Path) -> Result<Option<Value>> {
    let checked = run(&mut verify(home, dir)).await?;
    match checked.code {
        Some(0) => Ok(Some(serde_json::from_str(&checked.stdout)?)),
        Some(3) => Ok(None),
        code => panic!("{code:?} for {}: {}{}", dir.display(), checked.stdout, checked.stderr),
    }
}

#[tokio::test]
async fn a_backup_killed_at_any_moment_is_the_last_finished_one_or_none() -> Result<()> {
    let home = Home::new()?;
    let server = filled(&home).await?;
    let begun = Instant::now();
    let told = done(&mut back_up(&home, &server, &home.path().join("first"))).await?;
    let takes = begun.elapsed();
    let dir = home.path().join("backup");
    let (mut cut, mut before) = (0, None);
    for moment in 0..MOMENTS {
        if !killed_after(&mut back_up(&home, &server, &dir), takes * moment / MOMENTS).await? {
            cut += 1;
        }
        let whole = is_whole(&home, &dir).await?;
        if let Some(whole) = &whole {
            assert_eq!(whole["chain"], told["chain"]);
        } else {
            assert!(before.is_none(), "a finished backup was lost");
            let refused = run(&mut restore(&home, &dir, &home.path().join("no"))).await?;
            assert_eq!(refused.code, Some(1), "{}", refused.stderr);
            assert!(refused.stderr.contains("MANIFEST"), "{}", refused.stderr);
            assert!(!home.path().join("no").exists());
        }
        before = whole.or(before);
    }
    assert!(cut >= MOMENTS / 3, "only {cut} of {MOMENTS} backups were cut off");
    // Increments, cut off as well: what was finished stays.
    done(&mut back_up(&home, &server, &dir)).await?;
    for moment in 0..MOMENTS {
        Api::of(&server)?.agent(&format!("more {moment}"), "retold/rehearsal").await?;
        killed_after(&mut back_up(&home, &server, &dir), takes * moment / MOMENTS).await?;
        assert!(is_whole(&home, &dir).await?.is_some(), "a finished backup was lost");
    }
    let told = done(&mut back_up(&home, &server, &dir)).await?;
    let whole = is_whole(&home, &dir).await?.unwrap_or_default();
    assert_eq!(whole["chain"], told["chain"]);
    server.stop().await
}

#[tokio::test]
async fn a_restore_killed_at_any_moment_is_whole_or_no_data_directory() -> Result<()> {
    let home = Home::new()?;
    let server = filled(&home).await?;
    let backup = home.path().join("backup");
    let told = done(&mut back_up(&home, &server, &backup)).await?;
    server.stop().await?;
    let begun = Instant::now();
    done(&mut restore(&home, &backup, &home.path().join("first"))).await?;
    let takes = begun.elapsed();
    let data = home.path().join("restored");
    let mut cut = 0;
    for moment in 0..MOMENTS {
        let ended =
            killed_after(&mut restore(&home, &backup, &data), takes * moment / MOMENTS).await?;
        match is_whole(&home, &data).await? {
            Some(whole) => {
                assert_eq!(whole["chain"], told["chain"]);
                std::fs::remove_dir_all(&data)?;
            }
            None => {
                assert!(!ended, "it said that it was done");
                cut += 1;
                if data.join("FORMAT").exists() {
                    let refused = run(&mut home.serve_on(&data)).await?;
                    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
                    assert!(refused.stderr.contains("retold restore"), "{}", refused.stderr);
                }
            }
        }
    }
    assert!(cut >= MOMENTS / 3, "only {cut} of {MOMENTS} restores were cut off");
    if is_whole(&home, &data).await?.is_none() {
        done(&mut restore(&home, &backup, &data)).await?;
    }
    let server = Server::start(&mut home.serve_on(&data)).await?;
    assert_eq!(Api::of(&server)?.names().await?.len(), 12);
    server.stop().await
}
