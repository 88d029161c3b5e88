//! Event streams and bodies of HTTP answers, read within a bound.
//!
//! What is larger ends the reading as soon as that is known; nothing is held beyond it. Fields that are not known are passed over,
//! as the standard has it (WHATWG HTML, section 9.2.6).

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use reqwest::Response;
use rmcp::transport::streamable_http_client::SseError;
use sse_stream::Sse;

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("its answer has more than {0} bytes")]
    TooLarge(usize),
    #[error("the connection broke: {0}")]
    Cut(String),
}

/// The events of an answer.
pub(super) type Events = BoxStream<'static, Result<Sse, SseError>>;

/// Reads a whole body.
pub(super) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| cut(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(Broken::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads as much of a body as is worth showing.
pub(super) async fn beginning(mut response: Response, limit: usize) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]);
        if body.len() == limit {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// Reads events, none of them larger than `limit`.
pub(super) fn events(response: Response, limit: usize) -> Events {
    let parser = Parser { limit, ..Parser::default() };
    let state = (response, parser, VecDeque::new());
    let events = stream::try_unfold(state, |(mut response, mut parser, mut ready)| async move {
        loop {
            if let Some(event) = ready.pop_front() {
                return Ok(Some((event, (response, parser, ready))));
            }
            let chunk = response.chunk().await.map_err(|error| broken(cut(&error)))?;
            let Some(chunk) = chunk else { return Ok(None) };
            parser.push(&chunk, &mut ready).map_err(broken)?;
        }
    });
    events.boxed()
}

fn cut(error: &reqwest::Error) -> Broken {
    Broken::Cut(super::failure::innermost(error))
}

fn broken(error: Broken) -> SseError {
    SseError::Body(Box::new(error))
}

/// Turns bytes, cut anywhere, into events.
#[derive(Debug, Default)]
struct Parser {
    limit: usize,
    line: Vec<u8>,
    event: Sse,
    /// What the unfinished event holds so far.
    held: usize,
    /// The last byte was a carriage return, so a line feed now belongs to it.
    after_cr: bool,
    begun: bool,
}

impl Parser {
    fn push(&mut self, mut bytes: &[u8], ready: &mut VecDeque<Sse>) -> Result<(), Broken> {
        // A piece of nothing says nothing of what follows a carriage return.
        if !bytes.is_empty() && std::mem::take(&mut self.after_cr) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend(&bytes[..end])?;
            let after = &bytes[end + 1..];
            self.after_cr = bytes[end] == b'\r' && after.is_empty();
            let is_pair = bytes[end] == b'\r' && after.first() == Some(&b'\n');
            bytes = &after[usize::from(is_pair)..];
            self.end_line(ready);
        }
        self.extend(bytes)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if self.held + self.line.len() + bytes.len() > self.limit {
            return Err(Broken::TooLarge(self.limit));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, ready: &mut VecDeque<Sse>) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if std::mem::replace(&mut self.begun, true) {
            &line
        } else {
            line.strip_prefix('\u{feff}').unwrap_or(&line)
        };
        if line.is_empty() {
            self.held = 0;
            let event = std::mem::take(&mut self.event);
            if event != Sse::default() {
                ready.push_back(event);
            }
            return;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        // Comments and unknown fields are not kept, so they do not count.
        match name {
            "data" => match &mut self.event.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.event.data = Some(value.to_owned()),
            },
            "event" => self.event.event = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "retry" => self.event.retry = value.parse().ok(),
            _ => return,
        }
        self.held += line.len() + 1;
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(limit: usize, pieces: &[&[u8]]) -> Result<Vec<Sse>, Broken> {
        let mut parser = Parser { limit, ..Parser::default() };
        let mut ready = VecDeque::new();
        for piece in pieces {
            parser.push(piece, &mut ready)?;
        }
        Ok(ready.into())
    }

    const STREAM: &[u8] =
        b"\xEF\xBB\xBF: hello\r\nevent: endpoint\rdata: /m?x=1\n\nwhat: ever\nretry: 5\n\
        id: 7\ndata: {\r\ndata:\"\xC3\xA9\"}\r\n\r\ndata\n\nid: 8\n";

    #[test]
    fn events_are_what_the_standard_says() {
        let events = parse(1000, &[STREAM]).unwrap();
        let endpoint = Sse::default().event("endpoint").data("/m?x=1");
        let message = Sse::default().data("{\n\"é\"}").id("7").retry(5);
        assert_eq!(events, [endpoint, message, Sse::default().data("")]);
    }

    proptest! {
        #[test]
        fn it_is_the_same_wherever_it_is_cut(cuts in prop::collection::vec(0..STREAM.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &STREAM[pair[0]..pair[1]]).collect();
            prop_assert_eq!(parse(1000, &pieces).unwrap(), parse(1000, &[STREAM]).unwrap());
        }
    }

    #[test]
    fn a_piece_of_nothing_ends_no_line() {
        let whole = parse(1000, &[STREAM]).unwrap();
        let pieces: Vec<_> = STREAM.chunks(1).flat_map(|byte| [byte, &[]]).collect();
        assert_eq!(parse(1000, &pieces).unwrap(), whole);
    }

    #[test]
    fn what_is_too_large_is_noticed_before_it_is_whole() {
        let line = [b"data: ".as_slice(), &[b'x'; 100]].concat();
        assert!(matches!(parse(50, &[&line]), Err(Broken::TooLarge(50))));
        let many = b"data: 123456789\n".repeat(10);
        assert!(matches!(parse(50, &[&many]), Err(Broken::TooLarge(50))));
        let comments = b": 123456789\n".repeat(10);
        assert!(parse(50, &[&comments]).is_ok());
    }
}
