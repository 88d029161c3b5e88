//! A server over HTTP that does what the test says, down to the bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::Failure;

/// What came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }
}

/// What goes back, after which the connection is closed.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status with headers and a body.
    Whole(u16, Vec<(&'static str, String)>, String),
    /// A part, and then a piece of it again and again, as fast as it is taken.
    Endless(String, String),
    /// A part, and then nothing.
    Part(String),
}

impl Reply {
    pub(crate) fn json(body: &Value) -> Self {
        Self::Whole(200, vec![("content-type", "application/json".into())], body.to_string())
    }

    pub(crate) fn status(status: u16, said: &str) -> Self {
        Self::Whole(status, Vec::new(), said.into())
    }

    /// The beginning of an event stream.
    pub(crate) fn events(events: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{events}")
    }

    /// Nothing at all.
    pub(crate) fn silence() -> Self {
        Self::Part(String::new())
    }
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server. It ends when it is dropped.
pub(crate) struct Web {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    _task: JoinSet<()>,
}

impl Web {
    pub(crate) async fn start(
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::new(answer), Arc::clone(&requests)));
        Ok(Self { port, requests, _task: task })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often this was asked.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.requests().iter().filter(|request| request.method() == method).count()
    }
}

async fn accept(listener: TcpListener, answer: Arc<Answer>, requests: Arc<Mutex<Vec<Request>>>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
        connections.spawn(async move {
            // A client that has gone away is no fault of the server's.
            let _ = serve(socket, &*answer, &requests).await;
        });
    }
}

async fn serve(
    mut socket: TcpStream,
    answer: &Answer,
    requests: &Mutex<Vec<Request>>,
) -> Result<(), Failure> {
    let request = read(&mut socket).await?;
    requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    match answer(&request) {
        Reply::Whole(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let whole = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            socket.write_all(whole.as_bytes()).await?;
            socket.shutdown().await?;
        }
        Reply::Part(part) => {
            socket.write_all(part.as_bytes()).await?;
            // Until the other side goes.
            while socket.read(&mut [0; 64]).await? > 0 {}
        }
        Reply::Endless(part, piece) => {
            socket.write_all(part.as_bytes()).await?;
            let pieces = piece.repeat(100);
            loop {
                socket.write_all(pieces.as_bytes()).await?;
            }
        }
    }
    Ok(())
}

async fn read(socket: &mut TcpStream) -> Result<Request, Failure> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err("it went away".into());
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec())?;
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    while bytes.len() < head + 4 + length {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err("it went away".into());
        }
    }
    let body = serde_json::from_slice(&bytes[head + 4..]).unwrap_or(Value::Null);
    Ok(Request { line, headers, body })
}

/// What a server answers that is as it should be.
pub(crate) fn proper(request: &Request) -> Reply {
    let result = match request.method() {
        "initialize" => {
            let result = json!({
                "protocolVersion": request.body["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "web", "version": "1"},
            });
            let body = json!({"jsonrpc": "2.0", "id": request.body["id"], "result": result});
            let headers = vec![
                ("content-type", "application/json; charset=utf-8".to_owned()),
                ("mcp-session-id", "session-1".to_owned()),
            ];
            return Reply::Whole(200, headers, body.to_string());
        }
        "tools/list" => json!({"tools": [{"name": "tool", "inputSchema": {"type": "object"}}]}),
        "tools/call" => json!({"content": [{"type": "text", "text": "done"}]}),
        _ => return Reply::status(202, ""),
    };
    Reply::json(&json!({"jsonrpc": "2.0", "id": request.body["id"], "result": result}))
}
