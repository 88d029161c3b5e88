//! What a scripted provider sends back: a list of steps, so that it can stop between any two bytes.

use std::time::Duration;

use bytes::Bytes;

/// One step of a scripted reply.
#[derive(Debug, Clone)]
pub enum Step {
    /// These bytes, as they are.
    Bytes(Bytes),
    /// A pause.
    Wait(Duration),
    /// These bytes again and again until the total is reached or the client hangs up.
    Flood {
        /// What is repeated.
        bytes: Bytes,
        /// How many bytes at most.
        total: u64,
    },
    /// Nothing more until the client hangs up.
    Hang,
    /// The server hangs up.
    Close,
}

/// A scripted reply to one request.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub(super) steps: Vec<Step>,
}

impl Reply {
    /// Bytes as they are, head included.
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::default().bytes(bytes)
    }

    /// A whole answer with a length.
    #[must_use]
    pub fn whole(status: u16, content_type: &str, body: &str) -> Self {
        Self::whole_with(status, content_type, &[], body)
    }

    /// A whole answer with a length and further headers.
    #[must_use]
    pub fn whole_with(
        status: u16,
        content_type: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Self {
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        Self::raw(format!(
            "HTTP/1.1 {status} Scripted\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
    }

    /// A whole JSON answer.
    #[must_use]
    pub fn json(status: u16, body: &str) -> Self {
        Self::whole(status, "application/json", body)
    }

    /// The head of an event stream; its body follows with [`Reply::chunk`], [`Reply::data`] and [`Reply::end`].
    #[must_use]
    pub fn events() -> Self {
        Self::raw(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
    }

    /// A whole event stream of one `data:` event for each of `data`, correctly ended.
    #[must_use]
    pub fn stream(data: &[&str]) -> Self {
        data.iter().fold(Self::events(), |reply, data| reply.data(data)).end()
    }

    /// One `data:` event, in an HTTP chunk of its own.
    #[must_use]
    pub fn data(self, data: &str) -> Self {
        self.chunk(format!("data: {data}\n\n"))
    }

    /// One HTTP chunk.
    #[must_use]
    pub fn chunk(self, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut chunk = format!("{:x}\r\n", body.len()).into_bytes();
        chunk.extend_from_slice(body);
        chunk.extend_from_slice(b"\r\n");
        self.bytes(chunk)
    }

    /// The end of a chunked body, written together with the last chunk as servers do; the connection stays open.
    #[must_use]
    pub fn end(mut self) -> Self {
        const END: &[u8] = b"0\r\n\r\n";
        match self.steps.last_mut() {
            Some(Step::Bytes(bytes)) => *bytes = [bytes, END].concat().into(),
            Some(Step::Wait(_) | Step::Flood { .. } | Step::Hang | Step::Close) | None => {
                return self.bytes(END);
            }
        }
        self
    }

    /// Further bytes as they are.
    #[must_use]
    pub fn bytes(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Bytes(bytes.into()))
    }

    /// A pause.
    #[must_use]
    pub fn wait(self, time: Duration) -> Self {
        self.step(Step::Wait(time))
    }

    /// Nothing more until the client hangs up.
    #[must_use]
    pub fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// The server hangs up.
    #[must_use]
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// `bytes` again and again, as HTTP chunks, until `total` bytes are sent or the client hangs up.
    #[must_use]
    pub fn flood(self, bytes: impl AsRef<[u8]>, total: u64) -> Self {
        let one = Self::default().chunk(bytes);
        match one.steps.into_iter().next() {
            Some(Step::Bytes(bytes)) => self.step(Step::Flood { bytes, total }),
            Some(Step::Wait(_) | Step::Flood { .. } | Step::Hang | Step::Close) | None => self,
        }
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}
