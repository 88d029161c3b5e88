//! A stream of events being read, with its ids and its comments.

use reqwest::RequestBuilder;
use serde_json::Value;

use crate::support::PATIENCE;

/// One frame of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Frame {
    pub(super) name: Option<String>,
    pub(super) id: Option<u64>,
    pub(super) comment: Option<String>,
    /// `Null` for a comment.
    pub(super) data: Value,
}

impl Frame {
    pub(super) fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap_or_default()
    }
}

pub(super) struct Tail {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Tail {
    pub(super) async fn open(request: RequestBuilder) -> Self {
        let request = request.header("accept", "text/event-stream");
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Self { response, buffer: Vec::new() }
    }

    /// The next frame, comments included; `None` at the end of the connection.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(parse(std::str::from_utf8(&frame).expect("streams are UTF-8")));
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk());
            match chunk.await.expect("something comes").expect("the stream is whole") {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    assert!(self.buffer.is_empty(), "the stream ends with half a frame");
                    return None;
                }
            }
        }
    }

    /// The next event, or the last frame.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if frame.comment.is_none() {
                return Some(frame);
            }
        }
    }

    /// Events up to and with the first of this type.
    pub(super) async fn until(&mut self, kind: &str) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("no {kind} came: {frames:?}"));
            assert_eq!(frame.name, None, "{frame:?} instead of {kind}");
            let found = frame.kind() == kind;
            frames.push(frame);
            if found {
                return frames;
            }
        }
    }

    /// All events, and the last frame.
    pub(super) async fn rest(&mut self) -> (Vec<Frame>, Frame) {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        let end = frames.pop().expect("a stream says why it ends");
        assert_eq!(end.name.as_deref(), Some("end"), "{end:?}");
        assert_eq!(end.id, end.data["after"].as_u64());
        (frames, end)
    }
}

fn parse(text: &str) -> Frame {
    let mut frame = Frame::default();
    for line in text.trim_end().lines() {
        match line.split_once(": ") {
            Some(("event", value)) => frame.name = Some(value.to_owned()),
            Some(("id", value)) => frame.id = Some(value.parse().expect("ids are positions")),
            Some(("data", value)) => {
                frame.data = serde_json::from_str(value).expect("data is JSON")
            }
            Some(("", value)) => frame.comment = Some(value.to_owned()),
            other => panic!("not a line of a stream: {line:?} ({other:?})"),
        }
    }
    frame
}
