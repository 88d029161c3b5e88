//! As much of HTTP/1.1 as both ends of the driver need: heads, bodies of known length, chunks.

use std::io;

use bytes::{Buf as _, BytesMut};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// A socket and what was read ahead of it.
pub(crate) struct Incoming {
    pub(crate) stream: TcpStream,
    read: BytesMut,
}

/// How long a body is.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    Known(usize),
    Chunked,
}

impl Incoming {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: BytesMut::with_capacity(16 << 10) })
    }

    /// The next head, in small letters but for its first line; `None` when the other side is gone.
    pub(crate) async fn head(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                let head = self.read.split_to(end + 4);
                return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// A body of known length.
    pub(crate) async fn take(&mut self, bytes: usize) -> io::Result<BytesMut> {
        while self.read.len() < bytes {
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.read.split_to(bytes))
    }

    /// The next chunk of a chunked body; `None` after the last one.
    pub(crate) async fn chunk(&mut self) -> io::Result<Option<BytesMut>> {
        let end = loop {
            match find(&self.read, b"\r\n") {
                Some(end) => break end,
                None if self.more().await? => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        let size = std::str::from_utf8(&self.read[..end]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| io::Error::other("a chunk has no size"))?;
        self.read.advance(end + 2);
        let mut chunk = self.take(size + 2).await?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    /// Waits until the other side closes; what it sends until then is dropped.
    pub(crate) async fn closed(&mut self) {
        while matches!(self.more().await, Ok(true)) {
            self.read.clear();
        }
    }

    async fn more(&mut self) -> io::Result<bool> {
        self.read.reserve(16 << 10);
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }
}

/// The length that a head gives its body.
pub(crate) fn length(head: &str) -> Length {
    let value = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    match value("content-length").and_then(|length| length.parse().ok()) {
        Some(length) => Length::Known(length),
        None if value("transfer-encoding").is_some() => Length::Chunked,
        None => Length::Known(0),
    }
}

/// Where `needle` begins.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
