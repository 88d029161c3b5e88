//! A provider behind a real socket, hand-written so that it can misbehave.
//!
//! It speaks just enough HTTP/1.1 to be called, and can then do what a correct server cannot: stop in the middle of a
//! chunk, send for ever, send nothing, hang up. It notes when the client's side of each connection closes, which is
//! how a test measures what a cancel takes.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

use super::reply::{Reply, Step};

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
    // Small writes that wait for an acknowledgement would add 40 ms to what tests measure.
    let _ = stream.set_nodelay(true);
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

async fn read(
    mut reader: OwnedReadHalf,
    number: usize,
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Reply>,
) {
    let mut buffer = Vec::new();
    loop {
        while let Some((request, used)) = parse(&buffer, number) {
            buffer.drain(..used);
            let reply = shared.change(|state| {
                let reply =
                    state.routes.get(&request.path).cloned().or_else(|| state.replies.pop_front());
                state.requests.push(request);
                reply.unwrap_or_else(|| {
                    Reply::json(500, r#"{"error":"the script has no reply left"}"#)
                })
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
    let length: usize =
        headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let body = buffer.get(head_end + 4..head_end + 4 + length)?;
    let body = Bytes::copy_from_slice(body);
    Some((
        Request { connection, method, path, headers, body, at: Instant::now() },
        head_end + 4 + length,
    ))
}

async fn write(
    mut writer: OwnedWriteHalf,
    shared: Arc<Shared>,
    mut replies: mpsc::UnboundedReceiver<Reply>,
) {
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
