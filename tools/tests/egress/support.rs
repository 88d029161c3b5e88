//! Listeners, servers with prepared answers, and a resolver that says what it is told.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use retold_tools::egress::{Client, Egress, LookingUp, Lookup, Policy, Redirects};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Longest time a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on loopback that answers by path and keeps what it was asked.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

/// An answer without a body, whole.
pub(crate) fn answer(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} Such\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n")
}

/// An answer that sends elsewhere.
pub(crate) fn moved(status: u16, to: &str) -> String {
    answer(status, &format!("location: {to}\r\n"))
}

impl Server {
    /// One that answers 204 to all.
    pub(crate) async fn canary() -> Self {
        Self::at("127.0.0.1:0", |_| answer(204, "")).await
    }

    /// One that answers what `respond` makes of the path.
    pub(crate) async fn at(
        address: impl tokio::net::ToSocketAddrs,
        respond: impl Fn(&str) -> String + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port on loopback");
        let address = listener.local_addr().expect("it has an address");
        let (heard, connections) = (Arc::default(), Arc::default());
        let server =
            Self { address, heard: Arc::clone(&heard), connections: Arc::clone(&connections) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&heard), respond.clone()));
            }
        });
        server
    }

    /// The heads of the requests so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no test panics while it has this").clone()
    }

    /// How often it was connected to. Who is refused by the client has not connected, so this is final when the client
    /// has answered.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(
    mut stream: TcpStream,
    heard: Arc<Mutex<Vec<String>>>,
    respond: impl Fn(&str) -> String,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&piece[..read]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heard.lock().ok()?.push(head);
    stream.write_all(respond(&path).as_bytes()).await.ok()
}

/// A resolver with prepared answers: each call takes the next answer of its name, the last one stays.
#[derive(Default)]
pub(crate) struct Answers {
    of: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    asked: AtomicUsize,
}

impl Answers {
    pub(crate) fn new<'a>(
        names: impl IntoIterator<Item = (&'a str, Vec<Vec<&'a str>>)>,
    ) -> Arc<Self> {
        let address = |text: &str| text.parse().expect("an address of a test");
        let all = |list: Vec<&str>| list.into_iter().map(address).collect();
        let of = names
            .into_iter()
            .map(|(name, answers)| (name.to_owned(), answers.into_iter().map(all).collect()));
        Arc::new(Self { of: Mutex::new(of.collect()), asked: AtomicUsize::new(0) })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Lookup for Answers {
    fn addresses(&self, name: &str) -> LookingUp {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut of = self.of.lock().expect("no test panics while it has this");
        let found = of.get_mut(name.trim_end_matches('.')).and_then(|answers| {
            if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
        });
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such name");
        Box::pin(std::future::ready(found.ok_or_else(unknown)))
    }
}

pub(crate) fn policy(entries: &str) -> Policy {
    entries.parse().expect("a policy of a test")
}

pub(crate) fn client(egress: &Egress, redirects: Redirects) -> Client {
    egress.client(redirects, |builder| builder.timeout(PATIENCE)).expect("a client")
}
