//! Data directories that cannot be used: refused with exit code 3, and left as they were.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::api::Api;
use crate::program::{Home, Server, run};

/// A hash of every file below a directory.
pub(crate) fn contents(dir: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.insert(path.clone(), "a directory".to_owned());
            found.append(&mut contents(&path)?);
        } else {
            found.insert(path.clone(), blake3::hash(&fs::read(&path)?).to_string());
        }
    }
    Ok(found)
}

/// A start that is refused for the sake of the directory, and what it said.
async fn refused(home: &Home, dir: &Path) -> Result<String> {
    let refused = run(&mut home.serve_on(dir)).await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(3), ""), "{}", refused.stderr);
    assert!(refused.stderr.contains(&dir.display().to_string()), "{}", refused.stderr);
    Ok(refused.stderr)
}

/// The same, with the proof that nothing in it has changed.
async fn refused_untouched(home: &Home, dir: &Path) -> Result<String> {
    let before = contents(dir)?;
    let said = refused(home, dir).await?;
    assert_eq!(contents(dir)?, before, "after: {said}");
    Ok(said)
}

/// A directory with one agent per name, made by one server each.
async fn made(home: &Home, names: &[&str]) -> Result<()> {
    for name in names {
        let server = Server::start(&mut home.serve()).await?;
        Api::of(&server)?.agent(name, "retold/rehearsal").await?;
        server.stop().await?;
    }
    Ok(())
}

/// Copies a directory of files, and the directories in it, to a new place.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_second_server_is_refused_and_the_first_goes_on() -> Result<()> {
    let home = Home::new()?;
    let first = Server::start(&mut home.serve()).await?;
    let api = Api::of(&first)?;
    api.agent("Ada", "retold/rehearsal").await?;
    let said = refused(&home, &home.data()).await?;
    assert!(said.contains("in use by another server"), "{said}");
    assert!(first.is_healthy().await?);
    api.agent("Grace", "retold/rehearsal").await?;
    assert_eq!(api.names().await?, ["Ada", "Grace"]);
    first.stop().await?;
    let again = Server::start(&mut home.serve()).await?;
    assert_eq!(Api::of(&again)?.names().await?, ["Ada", "Grace"]);
    again.stop().await
}

#[tokio::test]
async fn a_directory_is_free_as_soon_as_its_server_was_killed() -> Result<()> {
    let home = Home::new()?;
    let mut first = Server::start(&mut home.serve()).await?;
    Api::of(&first)?.agent("Ada", "retold/rehearsal").await?;
    first.signal("KILL")?;
    assert_eq!(first.end(crate::program::PATIENCE).await?, None);
    let second = Server::start(&mut home.serve()).await?;
    assert_eq!(Api::of(&second)?.names().await?, ["Ada"]);
    second.stop().await
}

#[tokio::test]
async fn a_file_is_no_directory_nor_is_anything_below_it() -> Result<()> {
    let home = Home::new()?;
    let file = home.write("file", "kept")?;
    for dir in [file.clone(), file.join("below")] {
        let said = refused(&home, &dir).await?;
        assert!(said.contains("cannot be used"), "{said}");
    }
    assert_eq!(fs::read_to_string(&file)?, "kept");
    Ok(())
}

#[tokio::test]
async fn a_newer_format_is_refused_untouched() -> Result<()> {
    let home = Home::new()?;
    made(&home, &["Ada"]).await?;
    let format = home.data().join("FORMAT");
    let ours = fs::read(&format)?;
    fs::write(&format, "999\n")?;
    let said = refused_untouched(&home, &home.data()).await?;
    assert!(said.contains("999") && said.contains("newer"), "{said}");
    fs::write(&format, "no number")?;
    let said = refused_untouched(&home, &home.data()).await?;
    assert!(said.contains("FORMAT"), "{said}");
    fs::write(&format, ours)?;
    let server = Server::start(&mut home.serve()).await?;
    assert_eq!(Api::of(&server)?.names().await?, ["Ada"]);
    server.stop().await
}

#[tokio::test]
async fn a_log_that_is_shorter_than_its_head_is_refused_untouched() -> Result<()> {
    let home = Home::new()?;
    let (log, older, whole) =
        (home.data().join("log"), home.path().join("older"), home.path().join("whole"));
    made(&home, &["Ada"]).await?;
    copy(&log, &older)?;
    made(&home, &["Grace"]).await?;
    copy(&log, &whole)?;

    // The journal would bring it up to date.
    fs::remove_dir_all(home.data().join("journal"))?;
    fs::remove_dir_all(&log)?;
    copy(&older, &log)?;
    let said = refused_untouched(&home, &home.data()).await?;
    assert!(said.contains("is not the one its head file describes"), "{said}");

    // Where the last thing that was acknowledged is written; what comes after may be room to grow.
    let bytes = fs::read(whole.join("db"))?;
    let grace = bytes.windows(5).position(|window| window == b"Grace").unwrap_or_default();
    assert!(grace > 0, "an agent's name is not in the log as it is");
    for keep in [grace + 2, grace, grace / 2, 1, 0] {
        let mut zeros = bytes.clone();
        zeros[keep..].fill(0);
        for damaged in [&bytes[..keep], &zeros] {
            fs::remove_dir_all(&log)?;
            copy(&whole, &log)?;
            fs::write(log.join("db"), damaged)?;
            refused_untouched(&home, &home.data()).await?;
        }
    }

    // The way out that the message names.
    fs::remove_dir_all(&log)?;
    copy(&whole, &log)?;
    let server = Server::start(&mut home.serve()).await?;
    assert_eq!(Api::of(&server)?.names().await?, ["Ada", "Grace"]);
    server.stop().await
}

#[tokio::test]
async fn the_log_of_another_directory_is_refused_untouched() -> Result<()> {
    let (home, other) = (Home::new()?, Home::new()?);
    made(&home, &["Ada"]).await?;
    made(&other, &["Ada", "Grace"]).await?;
    let log = home.data().join("log");
    fs::remove_dir_all(&log)?;
    copy(&other.data().join("log"), &log)?;
    let said = refused_untouched(&home, &home.data()).await?;
    assert!(said.contains("is not the one its head file describes"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_directory_without_its_log_is_refused() -> Result<()> {
    let home = Home::new()?;
    made(&home, &["Ada"]).await?;
    let (log, whole) = (home.data().join("log"), home.path().join("whole"));
    fs::rename(&log, &whole)?;
    for _ in 0..2 {
        let said = refused(&home, &home.data()).await?;
        assert!(said.contains("is not the one its head file describes"), "{said}");
    }
    assert!(!log.exists(), "nothing took its place");
    fs::rename(&whole, &log)?;
    let server = Server::start(&mut home.serve()).await?;
    assert_eq!(Api::of(&server)?.names().await?, ["Ada"]);
    server.stop().await
}

#[tokio::test]
async fn a_log_without_its_head_file_is_refused() -> Result<()> {
    let home = Home::new()?;
    made(&home, &["Ada"]).await?;
    let head = home.data().join("HEAD");
    let whole = fs::read(&head)?;
    fs::remove_file(&head)?;
    for _ in 0..2 {
        let said = refused(&home, &home.data()).await?;
        assert!(said.contains("head file is missing"), "{said}");
    }
    fs::write(&head, whole)?;
    let server = Server::start(&mut home.serve()).await?;
    assert_eq!(Api::of(&server)?.names().await?, ["Ada"]);
    server.stop().await
}
