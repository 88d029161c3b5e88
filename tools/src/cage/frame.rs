//! How the server, the keeper of a call and the runner speak: a header with length and checksum, then JSON.
//!
//! What a tool prints goes elsewhere, and a frame counts only with the tag that its job carried; so neither an accident nor
//! a guess passes for an answer. The reader trusts nothing: it allocates what has arrived, never what is announced.

use std::fmt;

/// What every frame begins with.
const MAGIC: [u8; 4] = *b"RTLD";
/// Magic, tag, length and checksum.
const HEADER: usize = 20;

/// Which exchange a frame belongs to.
pub type Tag = [u8; 8];
/// The runner is there and waits for its job.
pub(crate) const READY: Tag = *b"ready\0\0\0";
/// The call is over without an answer; the payload says why.
pub(crate) const ENDED: Tag = *b"ended\0\0\0";

/// One message over a channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which exchange it belongs to.
    pub tag: Tag,
    /// JSON, or nothing.
    pub payload: Vec<u8>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The payload may hold secrets of a tool's environment.
        f.debug_struct("Frame").field("tag", &self.tag).field("bytes", &self.payload.len()).finish()
    }
}

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It does not begin as a frame does.
    #[error("what came over the result channel does not begin as a frame")]
    Magic,
    /// More was announced than is allowed.
    #[error("the result is {bytes} bytes long, more than the {limit} that are allowed")]
    TooLong {
        /// What was announced.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The checksum is that of other bytes.
    #[error("the result does not have the checksum that came with it")]
    Checksum,
    /// It ended within a frame.
    #[error("the result ended in the middle")]
    Cut,
}

/// The bytes of a frame. A payload has at most 4 GiB, which the limits of jobs and answers keep far away.
#[must_use]
pub fn encode(tag: Tag, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&tag);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum(&tag, payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn checksum(tag: &Tag, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(tag);
    hasher.update(payload);
    hasher.finalize()
}

/// Collects bytes until they are a frame.
#[derive(Debug)]
pub struct Decoder {
    held: Vec<u8>,
    limit: usize,
}

impl Decoder {
    /// A decoder for payloads of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { held: Vec::new(), limit }
    }

    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is there.
    ///
    /// # Errors
    /// [`FrameError`] when what was pushed cannot become a frame; the channel is of no use from then on.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let begun = self.held.len().min(MAGIC.len());
        if self.held[..begun] != MAGIC[..begun] {
            return Err(FrameError::Magic);
        }
        let Some((header, rest)) = self.held.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [_, _, _, _, tag @ .., l0, l1, l2, l3, c0, c1, c2, c3] = *header;
        let bytes = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if bytes > self.limit {
            return Err(FrameError::TooLong { bytes, limit: self.limit });
        }
        let Some(payload) = rest.get(..bytes) else { return Ok(None) };
        if checksum(&tag, payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(FrameError::Checksum);
        }
        let payload = payload.to_vec();
        self.held.drain(..HEADER + bytes);
        Ok(Some(Frame { tag, payload }))
    }

    /// Bytes that are held, used or not.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> usize {
        self.held.capacity()
    }

    /// What the end of the channel means now.
    ///
    /// # Errors
    /// [`FrameError::Cut`] when a frame had begun.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.held.is_empty() { Ok(()) } else { Err(FrameError::Cut) }
    }
}
