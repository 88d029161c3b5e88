//! The values of the one tree: a checksum around each, and large ones cut into pieces.
//!
//! A value is `0, body, CRC-32 of key and all before`, or, when the body is larger than fits into 64 KiB,
//! `1, number of pieces, length, CRC-32 of the body, CRC-32 of key and all before` beside pieces under keys of their own,
//! each with a checksum. The key is part of the checksum, so a value that turns up under another key is noticed. Pieces
//! lie far from the small values: a page of these is rewritten often and must not drag large ones along.

use bytes::{Buf, BufMut, Bytes};

use super::keys::Key;
use crate::store::{StoreError, damaged, sled::Changes};

/// No stored value is longer. 16 of them make a page of half the size that sled still keeps in its synced log.
pub(super) const VALUE_BYTES: usize = 64 << 10;

const WHOLE: u8 = 0;
const CUT: u8 = 1;
const CRC_BYTES: usize = 4;
const PIECE_BYTES: usize = VALUE_BYTES - CRC_BYTES;
const CUT_BYTES: usize = 1 + 2 + 4 + 4 + CRC_BYTES;

/// Adds to `changes` what `body` under `key` takes.
pub(super) fn put(changes: &mut Changes, key: Vec<u8>, body: &[u8]) {
    let mut value = Vec::with_capacity(body.len().min(VALUE_BYTES) + 1 + CRC_BYTES);
    if !is_cut(body) {
        value.put_u8(WHOLE);
        value.put_slice(body);
    } else {
        let pieces = body.chunks(PIECE_BYTES);
        value.put_u8(CUT);
        value.put_u16(u16::try_from(pieces.len()).expect("values are capped far below 4 GiB"));
        value.put_u32(u32::try_from(body.len()).expect("values are capped far below 4 GiB"));
        value.put_u32(crc32fast::hash(body));
        for (index, piece) in (0..).zip(pieces) {
            let piece_key = Key::Chunk(key.clone(), index).encode();
            let mut stored = piece.to_vec();
            stored.put_u32(checksum(&piece_key, piece));
            changes.insert(piece_key, Some(stored));
        }
    }
    value.put_u32(checksum(&key, &value));
    changes.insert(key, Some(value));
}

/// Whether [`put`] cuts `body` into pieces.
pub(super) fn is_cut(body: &[u8]) -> bool {
    body.len() >= PIECE_BYTES
}

/// Adds to `changes` what `body` under `key` takes, or its removal, so that none of the `pieces` there now is left over.
pub(super) fn replace(changes: &mut Changes, key: Vec<u8>, pieces: u16, body: Option<&[u8]>) {
    for index in 0..pieces {
        changes.insert(Key::Chunk(key.clone(), index).encode(), None);
    }
    match body {
        Some(body) => put(changes, key, body),
        None => {
            changes.insert(key, None);
        }
    }
}

/// How many pieces a stored value has beside it.
pub(super) fn pieces_of(stored: &[u8]) -> u16 {
    match stored {
        [CUT, high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// Gives the body of `stored`, found under `key`; `get` reads further keys.
///
/// The pieces of a row may be overwritten between two calls of `get`. Then the value under `key` has changed too, and
/// the body is read again: only what is wrong while nothing changes is damage. `None` when the key was removed meanwhile.
///
/// # Errors
/// [`StoreError::Damaged`] when a checksum does not match, and what `get` gives.
pub(super) fn open(
    key: &[u8],
    stored: Bytes,
    get: impl Fn(&[u8]) -> Result<Option<Bytes>, StoreError>,
) -> Result<Option<Bytes>, StoreError> {
    let mut stored = stored;
    loop {
        let error = match open_once(key, &stored, &get)? {
            Ok(body) => return Ok(Some(body)),
            Err(error) => error,
        };
        match get(key)? {
            None => return Ok(None),
            Some(now) if now == stored => return Err(damaged(Place(key))(error)),
            Some(now) => stored = now,
        }
    }
}

type Opened = Result<Bytes, &'static str>;

fn open_once(
    key: &[u8],
    stored: &Bytes,
    get: impl Fn(&[u8]) -> Result<Option<Bytes>, StoreError>,
) -> Result<Opened, StoreError> {
    let Some(value) = checked(key, stored) else {
        return Ok(Err("a checksum does not match"));
    };
    match value.first() {
        Some(&WHOLE) => Ok(Ok(value.slice(1..))),
        Some(&CUT) if value.len() == CUT_BYTES - CRC_BYTES => {
            let mut fields = &value[1..];
            let (pieces, length, crc) = (fields.get_u16(), fields.get_u32(), fields.get_u32());
            let mut body = Vec::new();
            for index in 0..pieces {
                let piece_key = Key::Chunk(key.to_vec(), index).encode();
                let Some(piece) = get(&piece_key)? else { return Ok(Err("a piece is missing")) };
                let Some(piece) = checked(&piece_key, &piece) else {
                    return Ok(Err("the checksum of a piece does not match"));
                };
                body.extend_from_slice(&piece);
            }
            let is_whole = body.len() as u64 == u64::from(length) && crc32fast::hash(&body) == crc;
            Ok(if is_whole { Ok(body.into()) } else { Err("its pieces do not fit together") })
        }
        _ => Ok(Err("an unknown form of value; it was written by a newer version")),
    }
}

/// The bytes before the checksum, when it matches.
fn checked(key: &[u8], stored: &Bytes) -> Option<Bytes> {
    let length = stored.len().checked_sub(CRC_BYTES)?;
    let value = stored.slice(..length);
    let mut crc = &stored[length..];
    (crc.get_u32() == checksum(key, &value)).then_some(value)
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// A key as a person can make use of it.
struct Place<'a>(&'a [u8]);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Key::decode(self.0) {
            Some(key) => write!(f, "{key:?}"),
            None => write!(f, "an unknown key {:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::Position;

    fn key() -> Vec<u8> {
        Key::Feed(Position(7)).encode()
    }

    fn read(changes: &Changes) -> Result<Option<Bytes>, StoreError> {
        let get = |key: &[u8]| Ok(changes.get(key).cloned().flatten().map(Bytes::from));
        let stored = get(&key()).unwrap_or_default().unwrap_or_default();
        open(&key(), stored, get)
    }

    #[test]
    fn bodies_of_any_length_come_back_and_no_value_passes_the_cap() {
        for length in [0, 1, 65_000, 65_530, 65_531, 65_532, 65_533, 131_064, 131_065, 1 << 20] {
            let body: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let mut changes = Changes::new();
            put(&mut changes, key(), &body);
            assert!(changes.values().flatten().all(|value| value.len() <= VALUE_BYTES));
            assert_eq!(read(&changes).unwrap().unwrap(), body, "{length}");
            let stored = changes[&key()].clone().unwrap();
            let mut removals = Changes::new();
            replace(&mut removals, key(), pieces_of(&stored), None);
            assert_eq!(changes.keys().collect::<Vec<_>>(), removals.keys().collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_flipped_bit_of_any_piece_is_noticed_and_named() {
        let mut changes = Changes::new();
        put(&mut changes, key(), &vec![5; 70_000]);
        let keys: Vec<_> = changes.keys().cloned().collect();
        for at in keys {
            let length = changes[&at].as_ref().unwrap().len();
            for byte in (0..length).step_by(4999).chain([length - 1]) {
                changes.get_mut(&at).unwrap().as_mut().unwrap()[byte] ^= 4;
                let error = read(&changes).unwrap_err();
                assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
                assert!(error.to_string().contains("Feed(Position(7))"), "{error}");
                changes.get_mut(&at).unwrap().as_mut().unwrap()[byte] ^= 4;
            }
        }
        assert!(read(&changes).is_ok());
    }

    #[test]
    fn a_value_that_changes_while_it_is_read_is_read_again() {
        let (mut old, mut new) = (Changes::new(), Changes::new());
        put(&mut old, key(), &vec![1; 150_000]);
        put(&mut new, key(), &vec![2; 140_000]);
        let reads = RefCell::new(0);
        let get = |key: &[u8]| {
            *reads.borrow_mut() += 1;
            let now = if *reads.borrow() > 1 { &new } else { &old };
            Ok(now.get(key).cloned().flatten().map(Bytes::from))
        };
        let stored = Bytes::from(old[&key()].clone().unwrap());
        assert_eq!(open(&key(), stored, get).unwrap().unwrap(), vec![2; 140_000]);
    }
}
