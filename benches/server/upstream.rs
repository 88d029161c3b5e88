//! A model provider that answers at once, in OpenAI's form, and notes when it was asked, had answered, and was left.
//!
//! It runs on a thread of its own. A call is known by the last mark in its prompt, so its time can be taken from the
//! server's.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use crate::wire::{Incoming, Length, length};

/// What stands before the number of a call in its prompt. Ten digits follow.
pub(crate) const MARK: &str = "call-";
/// The text of a token; it occurs nowhere else in what the server sends, so tokens can be counted as they arrive.
pub(crate) const TOKEN: &str = "§";
/// Tokens of an answer of `tokens`.
pub(crate) const TOKENS: usize = 2000;
/// Tokens of an answer of `trickle` after the first, and the pause before each: a fast model, as people see it.
const TRICKLED: usize = 36;
const TRICKLE_PAUSE: Duration = Duration::from_millis(25);

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const MODELS: &str = r#"{"object":"list","data":[{"id":"instant","object":"model","context_length":8000000},{"id":"tokens","object":"model","context_length":8000000},{"id":"trickle","object":"model","context_length":8000000},{"id":"silent","object":"model","context_length":8000000}]}"#;

/// When what happened to a call.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// Its last byte had come.
    pub(crate) asked: Instant,
    /// The first byte of its answer, or all of a short one, was handed to the system.
    pub(crate) answered: Instant,
    /// The server had closed the socket.
    pub(crate) closed: Option<Instant>,
}

/// The running upstream.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    calls: Calls,
}

type Calls = Arc<Mutex<HashMap<u64, Call>>>;

impl Upstream {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let calls = Calls::default();
        let noted = Arc::clone(&calls);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            if let Err(error) = runtime.block_on(serve(listener, &noted)) {
                eprintln!("the upstream ended: {error}");
            }
        };
        std::thread::Builder::new().name("upstream".to_owned()).spawn(serve)?;
        Ok(Self { address, calls })
    }

    /// What is known of a call, which is then forgotten.
    pub(crate) fn take(&self, call: u64) -> Option<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&call)
    }

    /// When the server closed the socket of a call, if it has.
    pub(crate) fn closed(&self, call: u64) -> Option<Instant> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).get(&call)?.closed
    }
}

async fn serve(listener: std::net::TcpListener, calls: &Calls) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let calls = Arc::clone(calls);
        // A connection that ends badly is the server's to complain of.
        tokio::spawn(async move { drop(connection(stream, &calls).await) });
    }
}

async fn connection(stream: TcpStream, calls: &Calls) -> io::Result<()> {
    let mut incoming = Incoming::new(stream)?;
    let (instant, tokens) = (answer(1), answer(TOKENS));
    let (first, rest) = (start(1), end(1));
    while let Some(head) = incoming.head().await? {
        let bytes = match length(&head) {
            Length::Known(bytes) => bytes,
            Length::Chunked => return Err(io::Error::other("a chunked request")),
        };
        let body = incoming.take(bytes).await?;
        if head.starts_with("GET") {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", MODELS.len());
            incoming.stream.write_all((head + MODELS).as_bytes()).await?;
            continue;
        }
        let asked = Instant::now();
        let (model, call) = (model(&body), number(&body));
        let note = |closed| {
            let known = Call { asked, answered: Instant::now(), closed };
            calls.lock().unwrap_or_else(PoisonError::into_inner).insert(call, known);
        };
        match model {
            "silent" => {
                incoming.stream.write_all(first.as_bytes()).await?;
                note(None);
                incoming.closed().await;
                let closed = Instant::now();
                let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(call) = calls.get_mut(&call) {
                    call.closed = Some(closed);
                }
                return Ok(());
            }
            "trickle" => {
                incoming.stream.write_all(first.as_bytes()).await?;
                note(None);
                for _ in 0..TRICKLED {
                    tokio::time::sleep(TRICKLE_PAUSE).await;
                    incoming.stream.write_all(chunk(&delta(TOKEN)).as_bytes()).await?;
                }
                incoming.stream.write_all(rest.as_bytes()).await?;
            }
            "tokens" => {
                incoming.stream.write_all(tokens.as_bytes()).await?;
                note(None);
            }
            _ => {
                incoming.stream.write_all(instant.as_bytes()).await?;
                note(None);
            }
        }
    }
    Ok(())
}

/// The model, the first member of a request.
fn model(body: &[u8]) -> &str {
    let start = &body[..body.len().min(64)];
    let start = std::str::from_utf8(start).unwrap_or_default();
    start.split('"').nth(3).unwrap_or_default()
}

/// The number after the last mark; 0 when there is none.
fn number(body: &[u8]) -> u64 {
    let at = body.windows(MARK.len()).rposition(|window| window == MARK.as_bytes());
    let digits = at.and_then(|at| body.get(at + MARK.len()..at + MARK.len() + 10));
    digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
}

/// A whole answer. Each event is a chunk of its own, as providers send them.
fn answer(tokens: usize) -> String {
    let mut all = start(tokens);
    for _ in 1..tokens {
        all += &chunk(&delta(TOKEN));
    }
    all + &end(tokens)
}

fn start(tokens: usize) -> String {
    // A short answer is one of words, so that a message has something in it.
    let first =
        if tokens == 1 { format!("Certainly, here it is {TOKEN}") } else { TOKEN.to_owned() };
    HEAD.to_owned() + &chunk(&delta(&first))
}

fn end(tokens: usize) -> String {
    let finish = r#"{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let usage = format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[],"usage":{{"prompt_tokens":100,"completion_tokens":{tokens},"total_tokens":{}}}}}"#,
        tokens + 100
    );
    chunk(finish) + &chunk(&usage) + &chunk("[DONE]") + "0\r\n\r\n"
}

fn delta(text: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[{{"index":0,"delta":{{"role":"assistant","content":"{text}"}},"finish_reason":null}}]}}"#
    )
}

fn chunk(data: &str) -> String {
    let event = format!("data: {data}\n\n");
    let mut chunk = String::with_capacity(event.len() + 8);
    // Writing to a string cannot fail.
    let _ = write!(chunk, "{:x}\r\n{event}\r\n", event.len());
    chunk
}
