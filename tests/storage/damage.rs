//! Damaged files: flipped bits, pages that are zeros, another page's or an older one's, files cut short, gone, doubled or
//! taken from an older copy. Each is either harmless, and everything acknowledged reads as before, or it is named in an
//! error; never is anything silently missing or different, and never does the process break.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use crate::child::{Answer, Told, Worker};
use crate::random::Random;
use crate::rig::{copy, keep, number, quick_dir, renew_clean_mark, seed};
use crate::script::Size;
use crate::{Result, say};

const PAGE: u64 = 4096;
/// Errors that say what is damaged. Another one, such as of a call that failed, would leave a person in the dark.
const NAMED: [&str; 4] = ["Damaged", "NotTheLog", "NewerFormat", "Unusable"];

/// Stores as they were left, and as they were some time before.
struct Specimen {
    name: &'static str,
    size: Size,
    seed: u64,
    commits: u64,
    home: TempDir,
}

impl Specimen {
    /// Writes a store in some sessions; at the end it is closed, or copied while it is open.
    fn make(name: &'static str, size: Size, seed: u64, commits: u64, closes: bool) -> Result<Self> {
        let home = quick_dir()?;
        let specimen = Self { name, size, seed, commits, home };
        let ledger = specimen.home.path().join("ledger");
        File::create(&ledger)?;
        let dir = specimen.home.path().join("open");
        let told = Told { dir: &dir, seed, size };
        for (last, closes, left) in
            [(commits / 3, true, None), (commits / 2, true, Some("older")), (commits, closes, None)]
        {
            let mut writer = Worker::start(|_| Ok(()))?;
            let answer = writer.write(told, &ledger, last, closes)?;
            assert_eq!(answer, Answer::Holds(last), "the writer itself");
            if last == commits && !closes {
                copy(&dir, &specimen.whole())?;
            }
            writer.kill()?;
            if let Some(left) = left {
                copy(&dir, &specimen.home.path().join(left))?;
            }
        }
        if closes {
            copy(&dir, &specimen.whole())?;
        }
        Ok(specimen)
    }

    fn whole(&self) -> PathBuf {
        self.home.path().join("whole")
    }

    fn older(&self) -> PathBuf {
        self.home.path().join("older")
    }
}

/// Does one damage below `dir`, and says which.
fn harm(dir: &Path, older: &Path, random: &mut Random) -> Result<String> {
    let files = files_of(dir)?;
    let names: Vec<&PathBuf> = files.keys().collect();
    let any = |random: &mut Random| names[random.below(names.len() as u64) as usize].clone();
    // Most of all that counts is in a few files, so half of the damage is done to any of these.
    let full: Vec<&PathBuf> = files
        .iter()
        .filter(|(_, bytes)| bytes.len() as u64 > 2 * PAGE)
        .map(|(name, _)| name)
        .collect();
    let name = if random.one_in(3) || full.is_empty() {
        any(random)
    } else {
        full[random.below(full.len() as u64) as usize].clone()
    };
    let path = dir.join(&name);
    let bytes = &files[&name];
    let shown = name.display();
    let kind = random.below(if bytes.is_empty() { 2 } else { 9 });
    match kind {
        0 => {
            fs::remove_file(&path)?;
            return Ok(format!("{shown} is gone"));
        }
        1 => {
            let double = path.with_file_name(double_of(&name, random));
            fs::copy(&path, &double)?;
            return Ok(format!("{shown} is there again as {}", double.display()));
        }
        2 => {
            let keep = place(bytes, random);
            File::options().write(true).open(&path)?.set_len(keep)?;
            return Ok(format!("{shown} is cut to {keep} of {} bytes", bytes.len()));
        }
        3 if older.join(&name).exists() => {
            fs::copy(older.join(&name), &path)?;
            return Ok(format!("{shown} is an older one"));
        }
        _ => {}
    }
    let file = File::options().write(true).open(&path)?;
    let at = place(bytes, random);
    let page = at / PAGE * PAGE;
    let of = |page: u64| {
        let end = bytes.len().min((page + PAGE) as usize);
        &bytes[page as usize..end]
    };
    Ok(match kind {
        4 => {
            file.write_all_at(&vec![0; of(page).len()], page)?;
            format!("{shown} has zeros in its page at {page}")
        }
        5 => {
            let other = place(bytes, random) / PAGE * PAGE;
            file.write_all_at(of(other), page)?;
            file.write_all_at(of(page), other)?;
            file.set_len(bytes.len() as u64)?;
            format!("{shown} has its pages at {page} and {other} swapped")
        }
        6 => {
            let other = place(bytes, random) / PAGE * PAGE;
            file.write_all_at(of(other), page)?;
            file.set_len(bytes.len() as u64)?;
            format!("{shown} has at {page} its page of {other}")
        }
        7 => {
            let noise: Vec<u8> = (0..8).map(|_| random.next() as u8).collect();
            file.write_all_at(&noise, at)?;
            format!("{shown} has noise at {at}")
        }
        _ => {
            let bit = random.below(8);
            file.write_all_at(&[bytes[at as usize] ^ (1 << bit)], at)?;
            format!("{shown} has bit {bit} flipped at {at}")
        }
    })
}

/// A place in a file, nearly always one that is in use.
fn place(bytes: &[u8], random: &mut Random) -> u64 {
    let mut at = 0;
    for _ in 0..200 {
        at = random.below(bytes.len() as u64);
        let page = at / PAGE * PAGE;
        let end = bytes.len().min((page + PAGE) as usize);
        if bytes[page as usize..end].iter().any(|byte| *byte != 0) {
            break;
        }
    }
    at
}

/// Under which name a file may turn up a second time.
fn double_of(name: &Path, random: &mut Random) -> String {
    let own = name.file_name().unwrap_or_default().to_string_lossy();
    match own.strip_prefix("snap.") {
        // One that a reader would take for newer, or for older, or for half of one.
        Some(_) => match random.below(3) {
            0 => "snap.7FFFFFFFFFFFFFFF".to_owned(),
            1 => "snap.0000000000000001".to_owned(),
            _ => format!("{own}.generating"),
        },
        None if own == "0" => "1".to_owned(),
        None if own == "1" => "0".to_owned(),
        None => format!("{own}.copy"),
    }
}

/// Every file below `dir`, by its name from there on.
fn files_of(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    fn add(dir: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
        for entry in fs::read_dir(dir.join(below))? {
            let entry = entry?;
            let name = below.join(entry.file_name());
            if entry.metadata()?.is_dir() {
                add(dir, &name, files)?;
            } else {
                files.insert(name, fs::read(entry.path())?);
            }
        }
        Ok(())
    }
    let mut files = BTreeMap::new();
    add(dir, Path::new(""), &mut files)?;
    Ok(files)
}

/// What became of one case.
enum Outcome {
    Harmless,
    Named,
    Wrong(String),
}

struct Hand<'a> {
    specimens: &'a [Specimen],
    worker: Worker,
    place: TempDir,
}

impl Hand<'_> {
    fn try_one(&mut self, seed: u64) -> Result<Outcome> {
        let mut random = Random::new(seed);
        let specimen = &self.specimens[random.below(self.specimens.len() as u64) as usize];
        let dir = self.place.path().join("data");
        copy(&specimen.whole(), &dir)?;
        // Damage that comes later does not change what the file system notes of a file; other damage does.
        let is_late = random.one_in(2) && renew_clean_mark(&dir)?;
        let harm = harm(&dir, &specimen.older(), &mut random)?;
        if is_late {
            renew_clean_mark(&dir)?;
        }
        let before = files_of(&dir)?;
        let told = Told { dir: &dir, seed: specimen.seed, size: specimen.size };
        let answer = self.worker.check(told, specimen.commits)?;
        let after = files_of(&dir)?;
        fs::remove_dir_all(&dir)?;
        if matches!(answer, Answer::Died(_) | Answer::Hung) {
            self.worker = Worker::start(|_| Ok(()))?;
        }
        let what = match &answer {
            Answer::Holds(_) => return Ok(Outcome::Harmless),
            Answer::Refused(kind, words) if NAMED.contains(&kind.as_str()) => {
                let claims = words.contains("nothing was changed");
                match difference(&before, &after) {
                    Some(changed) if claims => format!("{words}, but {changed}"),
                    Some(_) | None => return Ok(Outcome::Named),
                }
            }
            Answer::Refused(..)
            | Answer::Broken(_)
            | Answer::Panicked(_)
            | Answer::Died(_)
            | Answer::Hung => format!("{answer:?}"),
        };
        for (name, bytes) in &before {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&dir))?;
            fs::write(path, bytes)?;
        }
        keep(&dir, &format!("damage-{}-{seed}", specimen.name))?;
        fs::remove_dir_all(&dir)?;
        let late = if is_late { ", after a clean close" } else { "" };
        Ok(Outcome::Wrong(format!("case {seed}, {}{late}: {harm}: {what}", specimen.name)))
    }
}

/// What changed between two looks at a directory, but for what says nothing of the log.
fn difference(
    before: &BTreeMap<PathBuf, Vec<u8>>,
    after: &BTreeMap<PathBuf, Vec<u8>>,
) -> Option<String> {
    let counts =
        |name: &Path| name.starts_with("log") || name.starts_with("journal") || name == "HEAD";
    let names = before.keys().chain(after.keys()).filter(|name| counts(name));
    let mut changed = names.filter(|name| before.get(*name) != after.get(*name));
    changed.next().map(|name| format!("{} is not as it was", name.display()))
}

#[test]
fn damage_is_named_or_harmless_and_never_silent() -> Result<()> {
    let seed = seed("damage")?;
    let cases = number("RETOLD_DAMAGES", 250)?;
    let begun = Instant::now();
    let specimens = [
        Specimen::make("small, closed", Size::Small, seed, 60, true)?,
        Specimen::make("small, open", Size::Small, seed, 60, false)?,
        Specimen::make("large values, closed", Size::Mixed, seed, 120, true)?,
        Specimen::make("large values, open", Size::Mixed, seed, 120, false)?,
    ];
    let turn = AtomicUsize::new(0);
    let found = Mutex::new((0, 0, Vec::new()));
    let try_some = || -> Result<()> {
        let mut hand =
            Hand { specimens: &specimens, worker: Worker::start(|_| Ok(()))?, place: quick_dir()? };
        loop {
            let case = turn.fetch_add(1, Ordering::Relaxed) as u64;
            if case >= cases {
                return Ok(());
            }
            // With one seed and one case, that case alone: `RETOLD_SEED=... RETOLD_CASE=...`.
            let outcome =
                hand.try_one(number("RETOLD_CASE", seed.wrapping_mul(1_000_003) ^ case)?)?;
            let mut found = found.lock().map_err(|_| "a thread panicked")?;
            match outcome {
                Outcome::Harmless => found.0 += 1,
                Outcome::Named => found.1 += 1,
                Outcome::Wrong(what) => {
                    say(&format!("damage: {what}"));
                    found.2.push(what);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let both = [scope.spawn(try_some), scope.spawn(try_some)];
        for one in both {
            one.join().map_err(|_| "a thread panicked")??;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    let (harmless, named, wrong) = found.into_inner()?;
    say(&format!(
        "damage: {cases} cases in {:.1} s: {harmless} harmless, {named} named, {} wrong",
        begun.elapsed().as_secs_f64(),
        wrong.len()
    ));
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
    if cases >= 100 {
        assert!(harmless >= cases / 20 && named >= cases / 12, "the damage does not bite");
    }
    Ok(())
}
