//! A client that costs little: one connection, kept open, no library between it and the socket.

use std::net::SocketAddr;

use bytes::BytesMut;
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    Outcome,
    wire::{Incoming, Length, find, length},
};

/// One connection to the server.
pub(crate) struct Connection {
    incoming: Incoming,
    left: Length,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        Ok(Self { incoming: Incoming::new(stream)?, left: Length::Known(0) })
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) async fn begin(&mut self, method: &str, path: &str, body: &str) -> Outcome<()> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.incoming.stream.write_all(request.as_bytes()).await?;
        let head = self.incoming.head().await?.ok_or("the server closed the connection")?;
        self.left = length(&head);
        if !head.starts_with("HTTP/1.1 200") {
            let said = self.rest().await.unwrap_or_default();
            let status = head.lines().next().unwrap_or_default();
            return Err(format!("{status}: {}", String::from_utf8_lossy(&said)).into());
        }
        Ok(())
    }

    /// The next piece of the answer; `None` after its end.
    pub(crate) async fn piece(&mut self) -> Outcome<Option<BytesMut>> {
        match self.left {
            Length::Chunked => Ok(self.incoming.chunk().await?),
            Length::Known(0) => Ok(None),
            Length::Known(bytes) => {
                self.left = Length::Known(0);
                Ok(Some(self.incoming.take(bytes).await?))
            }
        }
    }

    /// The rest of the answer.
    pub(crate) async fn rest(&mut self) -> Outcome<BytesMut> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            all.unsplit(piece);
        }
        Ok(all)
    }

    /// A whole exchange.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: &str) -> Outcome<BytesMut> {
        self.begin(method, path, body).await?;
        self.rest().await
    }

    /// A whole exchange whose answer is an object with an id.
    pub(crate) async fn call_for_id(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Outcome<String> {
        let answer: Value = serde_json::from_slice(&self.call(method, path, body).await?)?;
        let id = answer.get("id").and_then(Value::as_str).ok_or("an answer has no id")?;
        Ok(id.to_owned())
    }

    /// A turn whose answer comes when it has ended.
    pub(crate) async fn turn(&mut self, agent: &str, call: u64) -> Outcome<()> {
        let path = format!("/v1/agents/{agent}/messages");
        let answer = self.call("POST", &path, &message(call)).await?;
        match find(&answer, b"end_turn") {
            Some(_) => Ok(()),
            None => Err(format!("an odd answer: {}", String::from_utf8_lossy(&answer)).into()),
        }
    }
}

/// The body of a turn that the upstream will know by its number.
pub(crate) fn message(call: u64) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":"Please answer. {}"}}]}}"#, mark(call))
}

/// The body of a turn whose tokens are streamed.
pub(crate) fn streamed_message(call: u64) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":"Please answer. {}"}}],"streaming":true,"stream_tokens":true}}"#,
        mark(call)
    )
}

fn mark(call: u64) -> String {
    format!("{}{call:010}", crate::upstream::MARK)
}
