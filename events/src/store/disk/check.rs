//! The proof that a log is whole: places and positions without gap, each envelope chained to the one before, each group
//! to the group before, and the last one to the head file.

use std::{ops::ControlFlow, path::Path};

use bytes::Bytes;

use super::{
    directory::Directory, feed::Group, head::SavedHead, journal, keys::Key, last_key, span, values,
};
use crate::{
    Position, Seq, StreamId,
    defect::Defect,
    envelope::{self, Envelope, Hash},
    store::{Head, StoreError, group::Tip, sled::Tree},
};

/// Memory sled gets for the trial: it reads each page once.
const TRIAL_CACHE_BYTES: u64 = 32 << 20;

/// Makes sure that opening will not harm the log.
///
/// sled repairs what it takes for a torn tail by overwriting it, also when it is a flipped bit that hides acknowledged
/// events behind it. So a log that was not closed in good order, or changed since, is opened as a copy first; only when
/// that one is what the head file says, the original is touched.
///
/// # Errors
/// [`StoreError::NotTheLog`] and [`StoreError::Damaged`], with the log untouched.
pub(super) fn before_opening(
    directory: &Directory,
    saved: Option<SavedHead>,
    journal: &[journal::Entry],
) -> Result<(), StoreError> {
    if !directory.has_log() {
        // Opening would make an empty one, and then nothing would tell that another is missing.
        return match saved {
            Some(saved) if saved.group > 0 => Err(StoreError::NotTheLog {
                dir: directory.path().display().to_string(),
                detail: "the log itself is missing; nothing was changed".to_owned(),
            }),
            Some(_) | None => Ok(()),
        };
    }
    // Without its head file a log may be any log, however cleanly it was closed.
    if directory.is_clean() && saved.is_some() {
        return Ok(());
    }
    let Some(trial) = directory.copy_for_trial()? else {
        tracing::warn!("no room to check a copy of the log first; opening it as it is");
        return Ok(());
    };
    let result = Tree::open(&trial, TRIAL_CACHE_BYTES).and_then(|tree| {
        journal::replay(&tree, directory.path(), journal)?;
        after_opening(&tree, directory.path(), saved)?;
        tree.close()
    });
    directory.remove_trial()?;
    result.map_err(|error| of_the_log(error, directory))
}

/// What is wrong with the copy is wrong with the log, and the copy is gone.
fn of_the_log(error: StoreError, directory: &Directory) -> StoreError {
    match error {
        StoreError::Damaged { place: _, detail } => StoreError::Damaged {
            place: format!("the log in {}", directory.path().display()),
            detail: format!("{detail}; nothing was changed, restore a backup"),
        },
        // Only here: a log that was opened without a trial may have been repaired before it was found out.
        StoreError::NotTheLog { dir, detail } => {
            StoreError::NotTheLog { dir, detail: format!("{detail}; nothing was changed") }
        }
        StoreError::InUse { .. }
        | StoreError::NewerFormat { .. }
        | StoreError::Unusable { .. }
        | StoreError::Full
        | StoreError::Io(_)
        | StoreError::Closed(_) => error,
    }
}

/// Compares an open log with its head file, and gives where the log ends. It may be longer: a crash can come between the
/// sync of the log and that of the head file.
///
/// # Errors
/// [`StoreError::NotTheLog`] when it is shorter or another one.
pub(super) fn after_opening(
    tree: &Tree,
    dir: &Path,
    saved: Option<SavedHead>,
) -> Result<SavedHead, StoreError> {
    let not_the_log =
        |detail: String| StoreError::NotTheLog { dir: dir.display().to_string(), detail };
    let known = saved.unwrap_or_default();
    let position = known.head.position;
    let mut now = SavedHead { group: 0, head: Head { epoch: known.head.epoch, ..Head::default() } };
    let mut found = position.0 == 0;
    // The group before gives the hash that the first group to be checked builds on.
    let from = first_of_group(tree, position)?.unwrap_or(Position(1));
    let chain = match first_of_group(tree, Position(from.0.saturating_sub(1)))? {
        Some(before) => group_at(tree, before)?.map_or(Hash::default(), |(_, group)| group.chain),
        None => Hash::default(),
    };
    let mut chain = chain;
    groups(tree, from, |group, envelopes| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&chain);
        for envelope in &envelopes {
            hasher.update(&envelope.hash);
        }
        chain = envelope::truncated(&hasher.finalize());
        if chain != group.chain {
            let last = group.last;
            return Err(not_the_log(format!(
                "the hash of the group that ends at {last:?} differs"
            )));
        }
        if group.last == position && group.chain == known.head.chain {
            found = true;
        }
        now.group = group.number;
        now.head.position = group.last;
        now.head.chain = group.chain;
        now.head.at = group.at;
        now.head.epoch = now.head.epoch.max(envelopes.last().map_or(0, |last| last.record.epoch));
        Ok(ControlFlow::Continue(()))
    })?;
    if saved.is_none() && now.head.position.0 > 0 {
        return Err(not_the_log("the head file is missing or unreadable".to_owned()));
    }
    if !found && !Defect::ShortLogAccepted.is_on() {
        let last = now.head.position;
        return Err(not_the_log(format!(
            "{position:?} is not in it as it was, it ends at {last:?}"
        )));
    }
    now.group = now.group.max(tail(tree)?);
    if now.group < known.group && !Defect::ShortLogAccepted.is_on() {
        let (last, expected) = (now.group, known.group);
        return Err(not_the_log(format!("its last group is number {last}, it was {expected}")));
    }
    Ok(now)
}

/// Visits groups and their events from the one that holds `from` on, each proven to be whole and in its place.
///
/// # Errors
/// [`StoreError::Damaged`], naming the place.
pub(super) fn groups(
    tree: &Tree,
    from: Position,
    mut visit: impl FnMut(Group, Vec<Envelope>) -> Result<ControlFlow<()>, StoreError>,
) -> Result<(), StoreError> {
    let start = first_of_group(tree, from)?.unwrap_or(Position(1));
    let mut expected = start;
    let rest = span(&Key::Feed(start.min(from)), &Key::Feed(Position(u64::MAX)));
    tree.scan(rest, false, |key, stored| {
        let (first, group) = group_of(tree, key, Bytes::copy_from_slice(stored))?;
        if first != expected {
            return Err(damaged_at(expected, format!("the next group begins at {first:?}")));
        }
        let mut envelopes = Vec::new();
        for (stream, seq, count) in &group.streams {
            let key = Key::Events(*stream, *seq).encode();
            let body = match tree.get(&key)? {
                Some(stored) => values::open(&key, stored, |key| tree.get(key))?,
                None => None,
            };
            let place = format!("{stream:?} from {seq:?}");
            let Some(body) = body else { return Err(damaged_at(place, "its events are missing")) };
            let events = events_of(*stream, *seq, body, None)?;
            if events.len() as u64 != u64::from(*count) {
                let detail = format!("{} events where there were {count}", events.len());
                return Err(damaged_at(place, detail));
            }
            envelopes.extend(events);
        }
        envelopes.sort_by_key(|envelope| envelope.record.position);
        for (envelope, position) in envelopes.iter().zip(first.0..) {
            if envelope.record.position.0 != position {
                return Err(damaged_at(Position(position), "another event is in its place"));
            }
        }
        let end = first.0 + envelopes.len() as u64;
        if end != group.last.0 + 1 {
            return Err(damaged_at(first, format!("its group does not end at {:?}", group.last)));
        }
        expected = Position(end);
        visit(group, envelopes)
    })
}

/// The events of one value, proven to be those of `stream` from `first` on, chained to `before`.
///
/// # Errors
/// [`StoreError::Damaged`], naming the place.
pub(super) fn events_of(
    stream: StreamId,
    first: Seq,
    mut body: Bytes,
    before: Option<Tip>,
) -> Result<Vec<Envelope>, StoreError> {
    let mut envelopes: Vec<Envelope> = Vec::new();
    let mut expected = first;
    let mut previous = before.map(|tip| tip.hash);
    while !body.is_empty() {
        let place = || format!("{stream:?} at {expected:?}");
        let envelope = envelope::read(&mut body).map_err(|error| damaged_at(place(), error))?;
        if envelope.record.stream != stream || envelope.record.seq != expected {
            let (stream, seq) = (envelope.record.stream, envelope.record.seq);
            return Err(damaged_at(place(), format!("{stream:?} at {seq:?} is in its place")));
        }
        if previous.is_some_and(|hash| hash != envelope.previous) {
            return Err(damaged_at(place(), "it does not follow from the event before"));
        }
        previous = Some(envelope.hash);
        expected = expected.next();
        envelopes.push(envelope);
    }
    Ok(envelopes)
}

/// Position of the first event of the group that holds `position`, or of the last group before.
fn first_of_group(tree: &Tree, position: Position) -> Result<Option<Position>, StoreError> {
    match last_key(tree, span(&Key::Feed(Position(0)), &Key::Feed(position)))? {
        Some(Key::Feed(first)) => Ok(Some(first)),
        _ => Ok(None),
    }
}

fn group_at(tree: &Tree, first: Position) -> Result<Option<(Position, Group)>, StoreError> {
    let key = Key::Feed(first).encode();
    tree.get(&key)?.map(|stored| group_of(tree, &key, stored)).transpose()
}

fn group_of(tree: &Tree, key: &[u8], stored: Bytes) -> Result<(Position, Group), StoreError> {
    let body = values::open(key, stored, |key| tree.get(key))?.unwrap_or_default();
    match (Key::decode(key), Group::decode(&body)) {
        (Some(Key::Feed(first)), Some(group)) => Ok((first, group)),
        (key, _) => Err(damaged_at(format!("{key:?}"), "not the record of a group")),
    }
}

/// Number of the last group in a tree.
pub(super) fn last_group(tree: &Tree) -> Result<u64, StoreError> {
    let last = first_of_group(tree, Position(u64::MAX))?;
    let last = last.map(|first| group_at(tree, first)).transpose()?.flatten();
    Ok(last.map_or(0, |(_, group)| group.number).max(tail(tree)?))
}

/// Number of the last group without events.
pub(super) fn tail(tree: &Tree) -> Result<u64, StoreError> {
    let key = Key::Tail.encode();
    let Some(stored) = tree.get(&key)? else { return Ok(0) };
    let body = values::open(&key, stored, |key| tree.get(key))?.unwrap_or_default();
    let number = body[..].try_into().map_err(|error| damaged_at("the tail", error))?;
    Ok(u64::from_be_bytes(number))
}

fn damaged_at(place: impl std::fmt::Debug, detail: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged { place: format!("{place:?}"), detail: detail.to_string() }
}
