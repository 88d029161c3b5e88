//! A provider behind a real socket, hand-written so that it can misbehave.
//!
//! It speaks just enough HTTP/1.1 to be called, and can then do what a correct server cannot: stop in the middle of a
//! chunk, send for ever, send nothing, hang up. It notes when the client's side of each connection closes, which is
//! how a test measures what a cancel takes.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

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
    steps: Vec<Step>,
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
    pub fn whole_with(status: u16, content_type: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
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
        Self::raw("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
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

    /// The end of a chunked body; the connection stays open.
    #[must_use]
    pub fn end(self) -> Self {
        self.bytes("0\r\n\r\n")
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

/// A request as the upstream received it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which connection it came over, counted from 0.
    pub connection: usize,
    /// For instance `POST`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Bytes,
    /// When it was complete.
    pub at: Instant,
}

impl Request {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A scripted provider on a loopback port, until it is dropped.
#[derive(Debug)]
pub struct ScriptedUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    changed: watch::Receiver<u64>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    replies: VecDeque<Reply>,
    routes: HashMap<String, Reply>,
    requests: Vec<Request>,
    /// When the client closed each connection.
    closed: Vec<Option<Instant>>,
    sent: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changes.send_modify(|version| *version += 1);
        result
    }
}

impl ScriptedUpstream {
    /// Listens on a free loopback port and answers requests with `replies`, in the order they come; when none is left,
    /// with 500.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (changes, changed) = watch::channel(0);
        let state = State { replies: replies.into_iter().collect(), ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changes });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, changed, accepting })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a reply for one more request.
    pub fn push(&self, reply: Reply) {
        self.shared.state().replies.push_back(reply);
    }

    /// Answers every request to `path` with `reply`, past the queue.
    pub fn route(&self, path: &str, reply: Reply) {
        self.shared.state().routes.insert(path.to_owned(), reply);
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state().closed.len()
    }

    /// How many bytes of replies were written to sockets.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.state().sent
    }

    /// Waits until `count` requests have come.
    pub async fn received(&self, count: usize) {
        self.until(|state| (state.requests.len() >= count).then_some(())).await;
    }

    /// Waits until the client has closed connection `connection`, and gives the instant.
    pub async fn closed(&self, connection: usize) -> Instant {
        self.until(|state| state.closed.get(connection).copied().flatten()).await
    }

    async fn until<T>(&self, met: impl Fn(&State) -> Option<T>) -> T {
        let mut changed = self.changed.clone();
        loop {
            changed.mark_unchanged();
            if let Some(result) = met(&self.shared.state()) {
                return result;
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and its connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = shared.change(|state| {
            state.closed.push(None);
            state.closed.len() - 1
        });
        connections.spawn(serve(stream, number, Arc::clone(&shared)));
    }
}

/// Reads and writes at once, so that the end of the client's side is noticed while a reply hangs.
async fn serve(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let (reader, writer) = stream.into_split();
    let (requests, received) = mpsc::unbounded_channel();
    let reading = read(reader, number, Arc::clone(&shared), requests);
    let writing = write(writer, Arc::clone(&shared), received);
    // The reader ends when the client closes, and the writer is cut off then.
    tokio::pin!(reading);
    tokio::select! {
        () = &mut reading => {}
        () = writing => reading.await,
    }
    shared.change(|state| state.closed[number] = Some(Instant::now()));
}

async fn read(mut reader: OwnedReadHalf, number: usize, shared: Arc<Shared>, requests: mpsc::UnboundedSender<Reply>) {
    let mut buffer = Vec::new();
    loop {
        while let Some((request, used)) = parse(&buffer, number) {
            buffer.drain(..used);
            let reply = shared.change(|state| {
                let reply = state.routes.get(&request.path).cloned().or_else(|| state.replies.pop_front());
                state.requests.push(request);
                reply.unwrap_or_else(|| Reply::json(500, r#"{"error":"the script has no reply left"}"#))
            });
            // The writer is gone when the script has hung up.
            let _ = requests.send(reply);
        }
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn parse(buffer: &[u8], connection: usize) -> Option<(Request, usize)> {
    let head_end = buffer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&buffer[..head_end]);
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let body = buffer.get(head_end + 4..head_end + 4 + length)?;
    let body = Bytes::copy_from_slice(body);
    Some((Request { connection, method, path, headers, body, at: Instant::now() }, head_end + 4 + length))
}

async fn write(mut writer: OwnedWriteHalf, shared: Arc<Shared>, mut replies: mpsc::UnboundedReceiver<Reply>) {
    while let Some(reply) = replies.recv().await {
        for step in reply.steps {
            match step {
                Step::Bytes(bytes) => {
                    if writer.write_all(&bytes).await.is_err() {
                        return;
                    }
                    shared.state().sent += bytes.len() as u64;
                }
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Flood { bytes, total } => {
                    let mut sent = 0;
                    while sent < total {
                        if writer.write_all(&bytes).await.is_err() {
                            return;
                        }
                        sent += bytes.len() as u64;
                        shared.state().sent += bytes.len() as u64;
                    }
                }
                Step::Hang => std::future::pending().await,
                Step::Close => return, // dropping the half shuts it down
            }
        }
    }
}
