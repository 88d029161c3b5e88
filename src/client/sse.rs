//! A small, bounded reader of server-sent events, for what a V1 server sends.
//!
//! The `models` crate has a parser for providers, private to it and tuned to their habits; this one reads our own wire
//! format, and that of other V1 servers, which end lines with CR LF.

/// Longest event. A tool's answer, the largest thing in a stream, is at most a million characters.
pub(crate) const EVENT_BYTES: usize = 8 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; `None` is a plain message.
    pub(crate) name: Option<String>,
    /// Its `data`, lines joined by line feeds.
    pub(crate) data: String,
}

/// What a stream tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// An event.
    Event(Event),
    /// Where to take the stream up again: all before it was told.
    Id(String),
}

/// An event is longer than any server should send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Turns bytes, cut anywhere, into what they tell.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
    name: Option<String>,
    id: Option<String>,
    has_data: bool,
}

impl Parser {
    /// Takes the next bytes and gives what they complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Told>, TooLong> {
        let mut told = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            self.end_line(&mut told);
        }
        self.keep(bytes)?;
        Ok(told)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + self.data.len() + bytes.len() > EVENT_BYTES {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, told: &mut Vec<Told>) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            let data = String::from_utf8_lossy(&data).into_owned();
            let name = self.name.take();
            if std::mem::take(&mut self.has_data) {
                told.push(Told::Event(Event { name, data }));
            }
            told.extend(self.id.take().map(Told::Id));
            return;
        }
        let text = |value: &[u8]| {
            String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value)).into_owned()
        };
        if let Some(value) = line.strip_prefix(b"event:") {
            self.name = Some(text(value));
        }
        if let Some(value) = line.strip_prefix(b"id:") {
            self.id = Some(text(value));
        }
        if let Some(value) = line.strip_prefix(b"data:") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.has_data = true;
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(name: Option<&str>, text: &str) -> Told {
        Told::Event(Event { name: name.map(str::to_owned), data: text.to_owned() })
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let stream =
            ": comment\nid: 7\n\nevent: error\ndata: {\"a\":\"é\"}\n\nid: 8\ndata: x\r\ndata: y\r\n\r\n"
                .as_bytes();
        for cut in 0..=stream.len() {
            let mut parser = Parser::default();
            let mut events = parser.push(&stream[..cut]).unwrap();
            events.extend(parser.push(&stream[cut..]).unwrap());
            let id = |text: &str| Told::Id(text.to_owned());
            let expected =
                [id("7"), data(Some("error"), "{\"a\":\"é\"}"), data(None, "x\ny"), id("8")];
            assert_eq!(events, expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let line = [b"data: ".as_slice(), &[b'x'; 1 << 20], b"\n"].concat();
        assert!((0..16).any(|_| parser.push(&line) == Err(TooLong)));
        assert_eq!(Parser::default().push(&vec![b'x'; EVENT_BYTES + 1]), Err(TooLong));
    }
}
