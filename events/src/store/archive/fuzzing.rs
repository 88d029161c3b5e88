//! Any bytes as an archive, as a frame of one, and as a manifest.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use bytes::Bytes;

use super::{frame, frame::Frame, manifest};
#[cfg(test)]
use crate::{Position, store::RawGroup};

/// Any bytes as a stream of frames that arrives in any pieces, as the body of a frame of each kind, and as a manifest.
///
/// # Panics
/// When a promise is broken.
pub fn archive(data: &[u8]) {
    frames(data);
    if let Some((kind, body)) = data.split_first() {
        frames(&frame::framed(kind % 6, body));
    }
    manifest::fuzz(data);
}

fn frames(data: &[u8]) {
    let whole = read(&mut &*data);
    for piece in [1, 7] {
        assert_eq!(read(&mut Pieces { data, piece }), whole, "in pieces of {piece}");
    }
    let (frames, _) = whole;
    let mut begins = 0;
    for (frame, bytes) in frames {
        assert!(data[begins..].starts_with(&bytes), "they stand one behind the other");
        begins += bytes.len();
        let written = frame.encode();
        let (again, _) = Frame::read(&mut &written[..])
            .expect("what is written is readable")
            .expect("it is a frame");
        assert_eq!(again, frame, "it is what it was");
        if let Frame::Group(group) = frame {
            assert_eq!(written, bytes, "a group is told byte for byte");
            // Whether or not it can be, whoever looks at it gets an answer.
            let _ = (group.last(), group.prove([0; 16]), group.follow(&mut BTreeMap::new()));
            assert_eq!(
                group.records().map(|records| records.len()).ok(),
                Some(group.envelopes.len())
            );
        }
    }
}

/// All frames up to the end or the first that is none, and what is said of that.
fn read(from: &mut impl Read) -> (Vec<(Frame, Bytes)>, Option<String>) {
    let mut frames = Vec::new();
    loop {
        match Frame::read(from) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error.to_string())),
        }
    }
}

/// Bytes that come a few at a time, with interruptions.
struct Pieces<'a> {
    data: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.min(into.len());
        (&self.data[..count.min(self.data.len())]).read(into).inspect(|&read| {
            self.data = &self.data[read..];
        })
    }
}

/// A whole archive of a small store, each of its frames' bodies, and manifests.
#[cfg(test)]
pub(crate) fn archive_seeds() -> Vec<Vec<u8>> {
    let whole = frame::samples();
    let mut seeds: Vec<Vec<u8>> = whole.iter().map(Frame::encode).collect();
    // Whoever made an archive may have begun it behind the last position there can be.
    let far = whole.iter().filter_map(|frame| match frame {
        Frame::Group(group) => {
            Some(Frame::Group(RawGroup { first: Position(u64::MAX), ..group.clone() }).encode())
        }
        Frame::Begin(_) | Frame::Output(_) | Frame::OpenOutput(_) | Frame::End(_) => None,
    });
    seeds.extend(far);
    // Without length and checksum: kind and body.
    seeds.extend(seeds.clone().iter().map(|it| [&it[..1], &it[5..it.len() - 4]].concat()));
    seeds.push(whole.iter().flat_map(Frame::encode).collect());
    seeds.extend(manifest::samples());
    seeds
}
