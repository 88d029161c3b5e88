//! Disks that are really full: of bytes, to every level, and of files.
//!
//! A small file system is filled behind the server's back. Whatever it acknowledged is there after every restart; with
//! the space that was put aside for it, it starts on a full disk and serves reads, time and again; and when even that
//! space is gone it says so and changes nothing.

use std::fs::{self, File};

use crate::program::Home;
use crate::small_disk::SmallDisk;
use crate::trial::{Acknowledged, MODEL, Played, Started, Trial, missing, play};
use crate::{Result, say};

/// A server on the disk; new work is refused below a little reserve or, with `None`, as usual.
async fn start(disk: &mut SmallDisk, home: &Home, reserve: Option<&str>) -> Result<Started> {
    let mut command = disk.serve(home);
    if let Some(reserve) = reserve {
        command.args(["--reserve-bytes", reserve]);
    }
    Trial::start(&mut command).await
}

async fn ready(disk: &mut SmallDisk, home: &Home, reserve: Option<&str>) -> Result<Box<Trial>> {
    match start(disk, home, reserve).await? {
        Started::Ready(trial) => Ok(trial),
        Started::Ended(code, said) => panic!("it does not start ({code:?}): {said}"),
    }
}

/// Ends it without a chance to say goodbye.
async fn kill(mut trial: Box<Trial>) -> Result<()> {
    trial.signal("KILL")?;
    assert_eq!(trial.end(false).await?, None);
    Ok(())
}

#[tokio::test]
async fn at_every_level_of_a_full_disk_it_starts_and_serves_what_was_acknowledged() -> Result<()> {
    for (left, clean) in [(0, false), (4 << 10, true), (60 << 10, false), (1 << 20, false)] {
        let home = Home::new()?;
        let Some(mut disk) = SmallDisk::mount(&home, 128)? else { return Ok(()) };
        let mut acknowledged = Acknowledged::default();
        let mut trial = ready(&mut disk, &home, Some("1MiB")).await?;
        assert_eq!(play(&trial.api()?, &mut acknowledged).await, Played::Through);
        if clean {
            assert_eq!(trial.end(true).await?, Some(0), "{}", trial.said());
        } else {
            kill(trial).await?;
        }

        disk.fill_up_to(left)?;
        for restart in 0..3 {
            let trial = ready(&mut disk, &home, Some("32MiB")).await?;
            let lost = missing(&trial.api()?, &acknowledged).await?;
            assert_eq!(lost, None, "with {left} bytes left, restart {restart}");
            let (status, answer) = trial.api()?.create("one more", MODEL).await?;
            assert_eq!((status, &answer["code"]), (507, &"storage_full".into()), "{answer}");
            kill(trial).await?;
        }

        // Others have taken what was put aside, too.
        disk.fill_up_to(left)?;
        match start(&mut disk, &home, Some("32MiB")).await? {
            Started::Ended(code, said) => {
                assert_eq!(code, Some(3), "{said}");
                assert!(said.contains("the disk is full"), "{said}");
            }
            Started::Ready(trial) => {
                assert_eq!(missing(&trial.api()?, &acknowledged).await?, None);
                kill(trial).await?;
            }
        }
        disk.clear()?;
        let mut trial = ready(&mut disk, &home, Some("1MiB")).await?;
        assert_eq!(missing(&trial.api()?, &acknowledged).await?, None, "with room again");
        assert_eq!(play(&trial.api()?, &mut acknowledged).await, Played::Through);
        assert_eq!(trial.end(true).await?, Some(0), "{}", trial.said());
    }
    Ok(())
}

/// Makes files until no more can be made, but for so many.
fn use_up_files(disk: &mut SmallDisk, left: usize) -> Result<()> {
    let dir = disk.seen().join("files");
    fs::create_dir_all(&dir)?;
    let mut made = Vec::new();
    while made.len() < 10_000 {
        let path = dir.join(made.len().to_string());
        if File::create(&path).is_err() {
            break;
        }
        made.push(path);
    }
    assert!(made.len() < 10_000, "the disk takes any number of files");
    for path in made.iter().rev().take(left) {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_disk_that_takes_no_more_files_costs_nothing_acknowledged() -> Result<()> {
    let mut refusals = 0;
    for (left, clean) in [(0, false), (0, true), (1, false), (2, false), (3, true), (5, false)] {
        let home = Home::new()?;
        let options = "size=128m,nr_inodes=60";
        let Some(mut disk) = SmallDisk::mount_with(&home, options)? else { return Ok(()) };
        let mut acknowledged = Acknowledged::default();
        let mut trial = ready(&mut disk, &home, Some("1MiB")).await?;
        assert_eq!(play(&trial.api()?, &mut acknowledged).await, Played::Through);
        use_up_files(&mut disk, 0)?;
        // It needs no new file for new work.
        assert_eq!(
            play(&trial.api()?, &mut acknowledged).await,
            Played::Through,
            "{}",
            trial.said()
        );
        fs::remove_dir_all(disk.seen().join("files"))?;
        if clean {
            assert_eq!(trial.end(true).await?, Some(0), "{}", trial.said());
        } else {
            kill(trial).await?;
        }
        use_up_files(&mut disk, left)?;
        match start(&mut disk, &home, Some("1MiB")).await? {
            Started::Ended(code, said) => {
                refusals += 1;
                assert_eq!(code, Some(3), "{said}");
                assert!(said.contains("the disk is full"), "{said}");
            }
            Started::Ready(mut trial) => {
                let lost = missing(&trial.api()?, &acknowledged).await?;
                assert_eq!(lost, None, "with {left} more files");
                trial.end(true).await?;
            }
        }
        fs::remove_dir_all(disk.seen().join("files"))?;
        let mut trial = ready(&mut disk, &home, Some("1MiB")).await?;
        assert_eq!(missing(&trial.api()?, &acknowledged).await?, None, "with room for files again");
        assert_eq!(trial.end(true).await?, Some(0), "{}", trial.said());
    }
    say(&format!("full disk: of 6 starts without room for files {refusals} were refused"));
    Ok(())
}
