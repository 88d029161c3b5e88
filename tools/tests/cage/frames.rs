//! The channel of results: whatever bytes come, there is a frame, a clear error, or the wait for more.

use retold_tools::cage::frame::{Decoder, Frame, FrameError, encode};

const LIMIT: usize = 1 << 12;

/// A small generator of its own: the same seed gives the same bytes.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
    }
}

fn all_frames(bytes: &[u8], chance: &mut Chance) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::new(LIMIT);
    let mut frames = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at((1 + chance.below(40)).min(rest.len()));
        decoder.push(now);
        rest = later;
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    decoder.finish()?;
    Ok(frames)
}

#[test]
fn frames_come_through_in_pieces_of_any_size() {
    let mut chance = Chance(0x5eed);
    for _ in 0..2_000 {
        let sent: Vec<Frame> = (0..chance.below(4))
            .map(|_| Frame { tag: chance.next().to_le_bytes(), payload: chance.bytes(600) })
            .collect();
        let bytes: Vec<u8> =
            sent.iter().flat_map(|frame| encode(frame.tag, &frame.payload)).collect();
        assert_eq!(all_frames(&bytes, &mut chance), Ok(sent));
    }
}

#[test]
fn a_frame_that_is_cut_anywhere_is_no_frame() {
    let mut chance = Chance(7);
    let bytes = encode(*b"tag of 1", b"{\"status\":\"returned\"}");
    for end in 1..bytes.len() {
        assert_eq!(all_frames(&bytes[..end], &mut chance), Err(FrameError::Cut), "cut at {end}");
    }
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let mut chance = Chance(8);
    let bytes = encode(*b"tag of 1", b"{\"status\":\"returned\"}");
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            assert!(all_frames(&changed, &mut chance).is_err(), "bit {bit} of byte {place}");
        }
    }
}

#[test]
fn random_bytes_are_an_error_and_never_more_than_that() {
    let mut chance = Chance(0xbad);
    for round in 0..200_000 {
        let mut bytes = chance.bytes(80);
        // Half of them begin as frames do, and get further.
        if round % 2 == 0 {
            bytes.splice(0..0, *b"RTLD");
        }
        if !bytes.is_empty() {
            assert!(all_frames(&bytes, &mut chance).is_err(), "{bytes:?}");
        }
    }
}

#[test]
fn a_length_past_the_bound_is_refused_before_anything_is_held_for_it() {
    let mut decoder = Decoder::new(LIMIT);
    let mut header = b"RTLDtag of 1".to_vec();
    header.extend_from_slice(&u32::MAX.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    decoder.push(&header);
    let error = decoder.next_frame();
    assert_eq!(error, Err(FrameError::TooLong { bytes: u32::MAX as usize, limit: LIMIT }));
}
