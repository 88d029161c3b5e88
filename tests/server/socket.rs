//! A WebSocket client, as far as the tests need one.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        http::{HeaderName, HeaderValue, Response},
        protocol::CloseFrame,
    },
};

use crate::support::{PATIENCE, World, text};

/// A socket to the server of a world.
pub(crate) struct Socket {
    pub(crate) inner: WebSocketStream<TcpStream>,
    /// The protocol the server chose.
    pub(crate) protocol: Option<String>,
    /// The close, once it came.
    pub(crate) closed: Option<CloseFrame>,
}

/// A handshake that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: Vec<(String, String)>,
}

/// A connection to the server; a buffer for what comes, when it is to be small.
pub(crate) async fn connect(address: SocketAddr, receive_buffer: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).expect("a small buffer");
    }
    socket.connect(address).await.expect("the server listens")
}

impl Socket {
    /// Opens a socket at `/ws`.
    pub(crate) async fn open(world: &World) -> Self {
        Self::open_with(world, "/ws", &[], None).await.expect("the server speaks WebSocket")
    }

    /// Opens a socket with headers of its own.
    pub(crate) async fn open_with(
        world: &World,
        path: &str,
        headers: &[(&str, &str)],
        receive_buffer: Option<u32>,
    ) -> Result<Self, Refused> {
        let address = world.server.address();
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            let value = HeaderValue::from_str(value).expect("a value");
            request.headers_mut().insert(name, value);
        }
        let stream = connect(address, receive_buffer).await;
        match timeout(PATIENCE, client_async(request, stream)).await.expect("an answer") {
            Ok((inner, answer)) => Ok(Self {
                inner,
                protocol: header(&answer, "sec-websocket-protocol"),
                closed: None,
            }),
            Err(Error::Http(answer)) => Err(refused(*answer)),
            Err(error) => panic!("the handshake breaks: {error}"),
        }
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        self.inner.send(Message::text(text)).await.expect("the server listens");
    }

    /// The next message of any kind; `None` once the connection has ended.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        let next = timeout(PATIENCE, self.inner.next()).await.expect("something comes")?;
        match next {
            Ok(Message::Close(frame)) => {
                self.closed = frame.clone();
                Some(Message::Close(frame))
            }
            Ok(message) => Some(message),
            // A reset is an end, too.
            Err(_) => None,
        }
    }

    /// The next text as it came; `None` once the connection has ended.
    pub(crate) async fn next_text(&mut self) -> Option<String> {
        loop {
            if let Message::Text(text) = self.message().await? {
                return Some(text.as_str().to_owned());
            }
        }
    }

    /// The next frame; `None` once the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let text = self.next_text().await?;
        Some(serde_json::from_str(&text).expect("frames are JSON"))
    }

    /// The next frame, which must come.
    pub(crate) async fn frame(&mut self) -> Value {
        self.next().await.unwrap_or_else(|| panic!("the socket ended: {:?}", self.closed))
    }

    /// Frames up to one of this type, which is the last.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await;
            let is_it = frame["type"] == kind;
            frames.push(frame);
            if is_it {
                return frames;
            }
        }
    }

    /// Frames up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// Code and reason of the close, which must have come.
    pub(crate) fn close(&self) -> (u16, &str) {
        let frame = self.closed.as_ref().expect("the server closed with a reason");
        (frame.code.into(), frame.reason.as_str())
    }

    /// Whether nothing comes for a moment.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.inner.next()).await.is_err()
    }
}

/// The types of frames, in order.
pub(crate) fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| text(&frame["type"])).collect()
}

fn header(answer: &Response<Option<Vec<u8>>>, name: &str) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn refused(answer: Response<Option<Vec<u8>>>) -> Refused {
    let headers = answer.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("?").to_owned()))
        .collect();
    let body = answer.body().as_deref().unwrap_or_default();
    Refused {
        status: answer.status().as_u16(),
        body: serde_json::from_slice(body).unwrap_or(Value::Null),
        headers,
    }
}
