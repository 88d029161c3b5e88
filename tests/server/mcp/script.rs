//! An MCP server over HTTP that has the tools a test gives it, and remembers what it was asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What came with a request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
}

#[derive(Debug, Default)]
struct State {
    tools: Vec<Value>,
    asked: Vec<Asked>,
}

/// The server. It ends when it is dropped.
pub(super) struct Script {
    port: u16,
    state: Arc<Mutex<State>>,
    _task: JoinSet<()>,
}

impl Script {
    /// A server with these tools.
    pub(super) async fn with(tools: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(Mutex::new(State { tools, asked: Vec::new() }));
        let mut task = JoinSet::new();
        let shared = Arc::clone(&state);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        Self { port, state, _task: task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// From now on it has these.
    pub(super) fn set(&self, tools: Vec<Value>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).tools = tools;
    }

    /// Requests of this method.
    pub(super) fn asked(&self, method: &str) -> Vec<Asked> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.iter().filter(|asked| asked.body["method"] == method).cloned().collect()
    }
}

/// A tool without arguments.
pub(super) fn tool(name: &str) -> Value {
    json!({"name": name, "description": format!("Does {name}."), "inputSchema": {"type": "object"}})
}

/// One request to a connection.
async fn serve(mut socket: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let (reader, mut writer) = socket.split();
    let mut reader = BufReader::new(reader);
    let mut first = String::new();
    reader.read_line(&mut first).await.ok()?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let tools = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.push(Asked { headers: headers.clone(), body: body.clone() });
        state.tools.clone()
    };
    let path = first.split(' ').nth(1).unwrap_or_default();
    let answer = answer(&body, &headers, path, &tools).await;
    let (status, content) = match &answer {
        _ if !first.starts_with("POST") => (405, String::new()),
        None => (202, String::new()),
        Some(result) => {
            (200, json!({"jsonrpc": "2.0", "id": body["id"], "result": result}).to_string())
        }
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    writer.write_all(head.as_bytes()).await.ok()?;
    writer.write_all(content.as_bytes()).await.ok()?;
    writer.shutdown().await.ok()
}

/// The result of a request; nothing for a notification.
async fn answer(
    body: &Value,
    headers: &BTreeMap<String, String>,
    path: &str,
    tools: &[Value],
) -> Option<Value> {
    let said = |text: String, is_error: bool| json!({"content": [{"type": "text", "text": text}], "isError": is_error});
    match body["method"].as_str()? {
        "initialize" => Some(json!({
            "protocolVersion": body["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "script", "version": "1"},
        })),
        "tools/list" => Some(json!({"tools": tools})),
        "tools/call" => match body["params"]["name"].as_str().unwrap_or_default() {
            "hang" => std::future::pending().await,
            "fail" => Some(said("the disk is gone".to_owned(), true)),
            "headers" => Some(said(format!("{headers:?}"), false)),
            // The last word of each header, and what the address asks for.
            "words" => {
                let words = headers.values().filter_map(|value| value.split(' ').next_back());
                let words: Vec<&str> = words.chain(path.split('=').skip(1)).collect();
                Some(said(words.join(" "), false))
            }
            name => Some(said(format!("{name} {}", body["params"]["arguments"]), false)),
        },
        _ => None,
    }
}
