//! The manifest of a backup: what it is of, and every file with its hash. Written last, so that it stands for the whole.
//!
//! Lines of text, a name and a value each, so that a person can read it without this program; the last line is the hash
//! of the others.

use std::{fmt::Write as _, fs, io, path::Path};

use super::{ArchiveError, FORMAT, Since, damaged_file, io_at};
use crate::{Position, Timestamp};

/// Its name in the directory.
pub(super) const NAME: &str = "MANIFEST";
const TITLE: &str = "retold backup";
/// Longer ones are none: a file of 64 MiB takes a line of a hundred bytes.
const MAX_BYTES: u64 = 64 << 20;

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Groups they were committed in.
    pub groups: u64,
    /// Batches of output of runs.
    pub batches: u64,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name in the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its BLAKE3 hash.
    pub hash: [u8; 32],
}

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The version of the program that was backed up.
    pub program: String,
    /// The last event.
    pub position: Position,
    /// Hash over everything up to it.
    pub chain: [u8; 16],
    /// The number of times the data directory had been opened for writing.
    pub epoch: u32,
    /// When the last event happened.
    pub at: Timestamp,
    /// When the backup was made.
    pub made_at: Timestamp,
    /// What it holds.
    pub counts: Counts,
    /// Of the batches, those of runs that were open.
    pub open_batches: u64,
    /// Its files, in the order in which they are read.
    pub segments: Vec<Segment>,
}

impl Manifest {
    /// What a later backup into the same directory need not tell again.
    #[must_use]
    pub fn since(&self) -> Since {
        Since { position: self.position, chain: self.chain }
    }

    /// Bytes of all its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // Whoever made it may have written any numbers.
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.bytes))
    }

    /// Reads the manifest in `dir`; `None` when there is none.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, ArchiveError> {
        let path = dir.join(NAME);
        match fs::metadata(&path) {
            Ok(found) if found.len() > MAX_BYTES => {
                return Err(damaged_file(path, "it is too long"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_at(path)(error)),
        }
        let bytes = fs::read(&path).map_err(io_at(&path))?;
        let text = String::from_utf8(bytes).map_err(|error| damaged_file(&path, error))?;
        if let Some(found) = format_of(&text).filter(|&found| found > FORMAT) {
            return Err(ArchiveError::NewerFormat { path, found });
        }
        let read = checked(&text).ok_or("its hash does not match").and_then(parse);
        read.map(Some).map_err(|detail| damaged_file(path, detail))
    }

    /// The text of the file.
    pub(super) fn encode(&self) -> String {
        let Counts { events, groups, batches } = self.counts;
        let program: String = self.program.chars().filter(|c| !c.is_control()).collect();
        let mut text = format!(
            "{TITLE} {FORMAT}\nprogram {program}\nposition {}\nchain {}\nepoch {}\nat {}\nmade_at {}\n\
             events {events}\ngroups {groups}\nbatches {batches}\nopen_batches {}\n",
            self.position.0,
            hex(&self.chain),
            self.epoch,
            self.at.as_micros(),
            self.made_at.as_micros(),
            self.open_batches,
        );
        for Segment { name, bytes, hash } in &self.segments {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "segment {name} {bytes} {}", hex(hash));
        }
        let hash = hex(blake3::hash(text.as_bytes()).as_bytes());
        text + &format!("blake3 {hash}\n")
    }
}

fn format_of(text: &str) -> Option<u32> {
    text.lines().next()?.strip_prefix(TITLE)?.trim().parse().ok()
}

/// The lines before the hash, when it is theirs.
fn checked(text: &str) -> Option<&str> {
    let start = text.trim_end_matches('\n').rfind('\n')? + 1;
    let (lines, last) = text.split_at(start);
    let hash = last.strip_prefix("blake3 ")?.strip_suffix('\n')?;
    (hash == hex(blake3::hash(lines.as_bytes()).as_bytes())).then_some(lines)
}

fn parse(text: &str) -> Result<Manifest, &'static str> {
    let mut lines = text.lines();
    let mut value = |name: &'static str| -> Result<&str, &'static str> {
        let line = lines.next().ok_or(name)?;
        line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')).ok_or(name)
    };
    value(TITLE)?;
    let program = value("program")?.to_owned();
    let position = Position(number(value("position")?)?);
    let chain = unhex(value("chain")?).ok_or("chain")?;
    let epoch = number(value("epoch")?)?;
    let at = Timestamp::from_micros(number(value("at")?)?);
    let made_at = Timestamp::from_micros(number(value("made_at")?)?);
    let events = number(value("events")?)?;
    let groups = number(value("groups")?)?;
    let batches = number(value("batches")?)?;
    let open_batches = number(value("open_batches")?)?;
    let counts = Counts { events, groups, batches };
    let segments = lines.map(|line| segment(line).ok_or("segment")).collect::<Result<_, _>>()?;
    Ok(Manifest { program, position, chain, epoch, at, made_at, counts, open_batches, segments })
}

fn segment(line: &str) -> Option<Segment> {
    let mut fields = line.strip_prefix("segment ")?.split(' ');
    let name = fields.next().filter(|name| is_segment(name))?.to_owned();
    let bytes = fields.next()?.parse().ok()?;
    let hash = unhex(fields.next()?)?;
    fields.next().is_none().then_some(Segment { name, bytes, hash })
}

/// Whether a file of that name is one of ours: no other is ever removed or read.
pub(super) fn is_segment(name: &str) -> bool {
    name.split_once('.').is_some_and(|(number, kind)| {
        number.len() == 8
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && ["log", "open"].contains(&kind)
    })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "a number in it is none")
}

/// Bytes as text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text as bytes.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, index) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[index..index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Any bytes as a manifest, with their own hash and with one that is right. See [`super::fuzzing`].
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = format_of(text);
    let manifests = [checked(text).map(parse), Some(parse(text))];
    for manifest in manifests.into_iter().flatten().flatten() {
        let _ = (manifest.since(), manifest.bytes());
        let written = manifest.encode();
        let again = checked(&written).map(parse).expect("its hash is right");
        // What no terminal should show is left out.
        let program = manifest.program.chars().filter(|c| !c.is_control()).collect();
        assert_eq!(again, Ok(Manifest { program, ..manifest }), "it is what it was");
    }
}

#[cfg(test)]
fn sample() -> Manifest {
    Manifest {
        program: "0.1.0".to_owned(),
        position: Position(7),
        chain: [1; 16],
        epoch: 2,
        at: Timestamp::from_micros(-3),
        made_at: Timestamp::from_micros(4),
        counts: Counts { events: 7, groups: 3, batches: 5 },
        open_batches: 1,
        segments: ["00000001.log", "00000002.open"]
            .map(|name| Segment { name: name.to_owned(), bytes: 9, hash: [8; 32] })
            .to_vec(),
    }
}

/// Manifests, one of nothing and one of more than there can be among them, with their hash and without.
#[cfg(test)]
pub(super) fn samples() -> Vec<Vec<u8>> {
    let nothing = Manifest { segments: Vec::new(), program: String::new(), ..sample() };
    let mut endless = sample();
    endless.segments.iter_mut().for_each(|segment| segment.bytes = u64::MAX);
    let whole = [sample(), nothing, endless].map(|manifest| manifest.encode());
    let bare = whole.clone().map(|text| checked(&text).map(str::to_owned).unwrap_or_default());
    whole.into_iter().chain(bare).map(String::into_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_any_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), None);
        let text = sample().encode().into_bytes();
        let path = dir.path().join(NAME);
        fs::write(&path, &text).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), Some(sample()));
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            assert!(Manifest::read(dir.path()).is_err(), "{bit}");
        }
        for length in 0..text.len() {
            fs::write(&path, &text[..length]).unwrap();
            assert!(Manifest::read(dir.path()).is_err(), "{length}");
        }
    }

    #[test]
    fn a_newer_one_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "retold backup 2\nanything\n").unwrap();
        let error = Manifest::read(dir.path()).unwrap_err();
        assert!(matches!(error, ArchiveError::NewerFormat { found: 2, .. }), "{error}");
    }

    #[test]
    fn only_our_own_files_are_ours() {
        assert!(is_segment("00000001.log") && is_segment("12345678.open"));
        for name in
            ["1.log", "00000001.txt", "../00000001.log", "00000001.log.part", "0000000a.log"]
        {
            assert!(!is_segment(name), "{name}");
        }
    }
}
