//! An incremental parser of server-sent events, bounded.
//!
//! It takes bytes as the socket gives them, cut anywhere (inside a line end, inside a character), and gives whole
//! events. A line or an event past [`limits::SSE_EVENT_BYTES`](crate::limits::SSE_EVENT_BYTES) is an error as soon as
//! it is that long: what follows is never buffered. It knows the line format and nothing of any provider's JSON.
//!
//! Source: the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream".

use std::mem;

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The `event:` field; empty when there was none.
    pub(crate) name: String,
    /// The `data:` lines, joined by line feeds.
    pub(crate) data: String,
}

/// A line or event longer than the limit it holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line or event of the stream is longer than {0} bytes")]
pub(crate) struct TooLong(pub(crate) usize);

/// Turns bytes into events.
#[derive(Debug)]
pub(crate) struct Parser {
    limit: usize,
    /// The unfinished line.
    line: Vec<u8>,
    name: String,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return, so a line feed now belongs to it.
    after_cr: bool,
    /// No line has ended yet: a byte order mark may stand before the first.
    at_start: bool,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl Parser {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            name: String::new(),
            data: Vec::new(),
            has_data: false,
            after_cr: false,
            at_start: true,
        }
    }

    /// Takes the next bytes and hands every event they complete to `sink`.
    ///
    /// # Errors
    /// [`TooLong`] when a line or an event passes the limit; the parser is of no use afterwards.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Event),
    ) -> Result<(), TooLong> {
        if bytes.is_empty() {
            return Ok(());
        }
        if mem::take(&mut self.after_cr) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend_line(&bytes[..end])?;
            let was_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if was_cr {
                match bytes.first() {
                    Some(b'\n') => bytes = &bytes[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if let Some(event) = self.end_line()? {
                sink(event);
            }
        }
        self.extend_line(bytes)
    }

    /// Ends the stream: gives the last event when its blank line is missing.
    ///
    /// The standard drops such an event; providers that close right after their last line exist, and whether the
    /// answer is complete is for the JSON inside to say, so it is given here.
    ///
    /// # Errors
    /// [`TooLong`] as in [`Parser::push`].
    pub(crate) fn finish(&mut self) -> Result<Option<Event>, TooLong> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        Ok(self.dispatch())
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > self.limit {
            return Err(TooLong(self.limit));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Event>, TooLong> {
        let line = mem::take(&mut self.line);
        let mut content = line.as_slice();
        if mem::take(&mut self.at_start) {
            content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
        }
        let dispatched = if content.is_empty() {
            self.dispatch()
        } else {
            self.field(content)?;
            None
        };
        // The buffer is kept for the next line, unless one long line made it big.
        if line.capacity() <= 16 * 1024 {
            self.line = line;
            self.line.clear();
        }
        Ok(dispatched)
    }

    fn field(&mut self, line: &[u8]) -> Result<(), TooLong> {
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(0) => return Ok(()), // a comment, which keeps the connection alive
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.data.len() + value.len() + 1 > self.limit {
                    return Err(TooLong(self.limit));
                }
                if mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            // `id` and `retry` are for clients that reconnect, which a paid call never does.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self) -> Option<Event> {
        let name = mem::take(&mut self.name);
        let data = mem::take(&mut self.data);
        mem::take(&mut self.has_data).then(|| Event {
            name,
            data: String::from_utf8(data)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::new(1024);
        let mut events = Vec::new();
        for piece in pieces {
            parser.push(piece, |event| events.push(event)).unwrap();
        }
        events.extend(parser.finish().unwrap());
        events
    }

    fn data(text: &str) -> Event {
        Event { name: String::new(), data: text.to_owned() }
    }

    #[test]
    fn all_three_line_ends_end_a_line() {
        for stream in
            ["data: a\n\ndata: b\n\n", "data: a\r\rdata: b\r\r", "data: a\r\n\r\ndata: b\r\n\r\n"]
        {
            assert_eq!(parse(&[stream.as_bytes()]), [data("a"), data("b")], "{stream:?}");
        }
    }

    #[test]
    fn nothing_between_the_two_bytes_of_a_line_end_does_not_make_it_two() {
        let named = Event { name: "a".to_owned(), data: "b".to_owned() };
        assert_eq!(parse(&[b"event: a\r", b"", b"\ndata: b\r\n\r\n"]), [named]);
    }

    #[test]
    fn data_lines_of_one_event_are_joined_by_line_feeds() {
        assert_eq!(parse(&[b"data: a\ndata:\ndata: b\n\n"]), [data("a\n\nb")]);
    }

    #[test]
    fn comments_ids_retries_and_unknown_fields_are_passed_over() {
        assert_eq!(
            parse(&[b": keep-alive\n\nid: 3\nretry: 10\nfoo\ndata:x\n\n: bye\n\n"]),
            [data("x")]
        );
    }

    #[test]
    fn only_one_space_after_the_colon_is_framing() {
        assert_eq!(parse(&[b"data:  two\n\n"]), [data(" two")]);
    }

    #[test]
    fn the_name_belongs_to_one_event() {
        let events = parse(&[b"event: ping\ndata: {}\n\ndata: x\n\n"]);
        assert_eq!(events[0].name, "ping");
        assert_eq!(events[1].name, "");
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_once() {
        assert_eq!(parse(&[b"\xEF\xBB\xBFdata: x\n\n"]), [data("x")]);
        assert_eq!(parse(&[b"\xEF", b"\xBB", b"\xBFdata: x\n\n"]), [data("x")]);
    }

    #[test]
    fn a_character_may_be_cut_anywhere() {
        let stream = "data: héé 😀\n\n".as_bytes();
        for cut in 0..stream.len() {
            assert_eq!(parse(&[&stream[..cut], &stream[cut..]]), [data("héé 😀")], "cut at {cut}");
        }
    }

    #[test]
    fn the_last_event_needs_no_blank_line() {
        assert_eq!(parse(&[b"data: a\n\ndata: [DONE]"]), [data("a"), data("[DONE]")]);
    }

    #[test]
    fn a_line_past_the_limit_is_an_error_before_it_is_buffered() {
        let mut parser = Parser::new(1024);
        parser.push(&[b'x'; 1000], |_| {}).unwrap();
        assert_eq!(parser.push(&[b'x'; 100], |_| {}), Err(TooLong(1024)));
        assert!(parser.line.capacity() < 4096);
    }

    #[test]
    fn many_short_data_lines_cannot_make_an_event_past_the_limit() {
        let mut parser = Parser::new(1024);
        let result = (0..1000).try_for_each(|_| parser.push(b"data: 0123456789\n", |_| {}));
        assert_eq!(result, Err(TooLong(1024)));
    }

    #[test]
    fn empty_data_lines_count_towards_the_limit() {
        let mut parser = Parser::new(64);
        assert!((0..100).try_for_each(|_| parser.push(b"data\n", |_| {})).is_err());
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_events(
            lines in proptest::collection::vec("(data|event|id|)(:| |: )?[a-zé😀:]{0,6}", 0..20),
            ends in proptest::collection::vec(prop_oneof!["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n"], 20),
            cuts in proptest::collection::vec(0_usize..300, 0..12),
        ) {
            let stream: String = lines.iter().zip(&ends).flat_map(|(line, end)| [line.as_str(), end]).collect();
            let stream = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(parse(&pieces), parse(&[stream]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut parser = Parser::new(64);
            let _ = parser.push(&bytes, |_| {});
            let _ = parser.finish();
        }
    }
}
