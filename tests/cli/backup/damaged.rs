//! Damage, of backups and of data directories: found, named, and never restored.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{back_up, done, restore, verify};
use crate::Result;
use crate::api::Api;
use crate::data_dir::contents;
use crate::program::{Home, Server, run};

/// A backup of a server that remembers something.
async fn made(home: &Home) -> Result<()> {
    let server = Server::start(&mut home.serve()).await?;
    let api = Api::of(&server)?;
    for name in ["Ada", "Grace"] {
        let agent = api.agent(name, "retold/rehearsal").await?;
        api.tell(&agent, "hello").await?;
    }
    done(&mut back_up(home, &server, &home.path().join("backup"))).await?;
    server.stop().await
}

/// What a check says that finds damage, having changed nothing.
async fn damaged(home: &Home, dir: &Path) -> Result<Value> {
    let before = contents(dir)?;
    let found = run(&mut verify(home, dir)).await?;
    assert_eq!(found.code, Some(1), "{}{}", found.stdout, found.stderr);
    assert_eq!(contents(dir)?, before, "{}", found.stdout);
    Ok(serde_json::from_str(&found.stdout)?)
}

fn flip(path: &Path, byte: usize) -> Result<()> {
    let mut bytes = fs::read(path)?;
    bytes[byte] ^= 1;
    Ok(fs::write(path, bytes)?)
}

#[tokio::test]
async fn a_damaged_backup_is_named_and_not_restored() -> Result<()> {
    let home = Home::new()?;
    made(&home).await?;
    let (backup, data) = (home.path().join("backup"), home.path().join("restored"));
    for name in ["00000001.log", "MANIFEST"] {
        let path = backup.join(name);
        let length = fs::read(&path)?.len();
        for byte in [0, length / 3, length / 2, length - 2] {
            flip(&path, byte)?;
            let found = damaged(&home, &backup).await?;
            assert_eq!(found["whole"], false);
            let key = found["findings"][0]["key"].as_str().unwrap_or_default();
            assert!(key.ends_with(name), "{found}");
            let refused = run(&mut restore(&home, &backup, &data)).await?;
            assert_eq!(refused.code, Some(1), "{}", refused.stderr);
            assert!(refused.stderr.contains(name), "{}", refused.stderr);
            assert!(!data.join("FORMAT").exists(), "no server takes it for a data directory");
            flip(&path, byte)?;
        }
    }
    done(&mut restore(&home, &backup, &data)).await?;
    done(&mut verify(&home, &data)).await.map(drop)
}

#[tokio::test]
async fn a_backup_that_lacks_a_file_is_no_backup() -> Result<()> {
    let home = Home::new()?;
    made(&home).await?;
    let (backup, data) = (home.path().join("backup"), home.path().join("restored"));
    let segment = fs::read(backup.join("00000001.log"))?;
    fs::remove_file(backup.join("00000001.log"))?;
    let found = damaged(&home, &backup).await?;
    assert!(
        found["findings"][0]["key"].as_str().is_some_and(|key| key.ends_with(".log")),
        "{found}"
    );
    fs::write(backup.join("00000001.log"), segment)?;
    fs::remove_file(backup.join("MANIFEST"))?;
    let refused = run(&mut verify(&home, &backup)).await?;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("was not finished"), "{}", refused.stderr);
    let refused = run(&mut restore(&home, &backup, &data)).await?;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("retold backup"), "{}", refused.stderr);
    assert!(!data.exists());
    Ok(())
}

#[tokio::test]
async fn a_restore_touches_no_directory_that_holds_something() -> Result<()> {
    let home = Home::new()?;
    made(&home).await?;
    let backup = home.path().join("backup");
    let other = home.path().join("other");
    fs::create_dir(&other)?;
    fs::write(other.join("letter.txt"), "dear")?;
    for dir in [home.data(), other] {
        let before = contents(&dir)?;
        let refused = run(&mut restore(&home, &backup, &dir)).await?;
        assert_eq!(refused.code, Some(3), "{}", refused.stderr);
        assert!(refused.stderr.contains("not empty"), "{}", refused.stderr);
        assert_eq!(contents(&dir)?, before);
    }
    // Nor does a backup.
    let server = Server::start(&mut home.serve()).await?;
    let refused = run(&mut back_up(&home, &server, &home.path().join("other"))).await?;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("other files"), "{}", refused.stderr);
    server.stop().await
}

#[tokio::test]
async fn a_damaged_data_directory_is_named_and_stays_as_it_is() -> Result<()> {
    let home = Home::new()?;
    made(&home).await?;
    let data = home.data();
    let before = contents(&data)?;
    let whole = done(&mut verify(&home, &data)).await?;
    assert_eq!((whole["whole"].as_bool(), whole["damage"].as_u64()), (Some(true), Some(0)));
    assert_eq!(contents(&data)?, before, "not a byte has changed");

    // The journal would repair a log that is merely short; without it the end is missing.
    fs::remove_dir_all(data.join("journal"))?;
    let db = data.join("log/db");
    let bytes = fs::read(&db)?;
    let grace = bytes.windows(5).rposition(|window| window == b"Grace").unwrap_or_default();
    assert!(grace > 0, "an agent's name is not in the log as it is");
    let mut short = bytes.clone();
    short[grace..].fill(0);
    fs::write(&db, short)?;
    let found = damaged(&home, &data).await?;
    assert!(found["damage"].as_u64() > Some(0), "{found}");
    fs::write(&db, bytes)?;

    fs::remove_file(data.join("HEAD"))?;
    let found = damaged(&home, &data).await?;
    assert_eq!(found["findings"][0]["key"], "HEAD", "{found}");
    let mut plain = home.retold(&["verify", "--data-dir"]);
    let said = run(plain.arg(&data)).await?;
    assert_eq!(said.code, Some(1));
    assert!(said.stdout.contains("is damaged") && said.stdout.contains("HEAD"), "{}", said.stdout);
    Ok(())
}

#[tokio::test]
async fn a_directory_in_use_is_not_looked_at() -> Result<()> {
    let home = Home::new()?;
    let mut server = Server::start(&mut home.serve()).await?;
    Api::of(&server)?.agent("Ada", "retold/rehearsal").await?;
    let refused = run(&mut verify(&home, &home.data())).await?;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("in use"), "{}", refused.stderr);
    // Killed in the middle, it is whole: what only the journal has counts.
    server.signal("KILL")?;
    server.end(crate::program::PATIENCE).await?;
    let before = contents(&home.data())?;
    let whole = done(&mut verify(&home, &home.data())).await?;
    assert!(whole["events"].as_u64() > Some(0), "{whole}");
    assert_eq!(contents(&home.data())?, before, "not a byte has changed");
    Ok(())
}
