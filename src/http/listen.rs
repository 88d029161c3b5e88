//! The accept loop: who may connect, for how long, and how it all ends.
//!
//! `axum::serve` installs no timer, so a client that sends its headers byte by byte holds a connection for ever; this
//! loop drives hyper itself. Every wait on a client has a bound: the head of a request, the pause between requests, a
//! reader that stops reading (all in [`paced`](super::paced)), and the body of a request ([`body`](super::body)). A
//! connection that a request takes over for another protocol still counts and is waited for ([`Connection`]). It knows
//! nothing of routes.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, http::header, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tower::{Service, ServiceExt as _};

use super::paced::{Pace, Paced, PacedBody};
use crate::meters::{Following, Traffic};

/// Bounds on connections.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// How long the head of a request may take.
    pub(crate) header_timeout: Duration,
    /// How long a connection may stay open between requests.
    pub(crate) idle_timeout: Duration,
    /// How long a client may stop reading while there is something to read.
    pub(crate) stall_timeout: Duration,
    /// Connections at a time; further ones wait to be accepted.
    pub(crate) max_connections: usize,
    /// Where connections are counted.
    pub(crate) traffic: Traffic,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            // A reader that is alive empties its socket many times in half a minute.
            stall_timeout: Duration::from_secs(30),
            // A connection costs some 10 KB while it waits: 100 MB at most.
            max_connections: 10_000,
            traffic: Traffic::default(),
        }
    }
}

/// Largest head of a request, and most of an answer that is buffered for a slow reader.
const BUFFER_BYTES: usize = 64 * 1024;

/// Pause after the system refused to accept, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a listener is told to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Accept nothing more, and let requests under way end.
    pub(crate) gently: CancellationToken,
    /// Close what is still open.
    pub(crate) now: CancellationToken,
}

/// The connection of a request that may take it over, among the request's extensions. While one is held, the connection
/// counts as open, and the server waits for it when it stops.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// To be told when it is taken over.
    pub(super) pace: Pace,
    /// When to end.
    pub(super) stop: Stop,
    _slot: Arc<OwnedSemaphorePermit>,
    _counted: Arc<Following>,
    _waited_for: TaskTrackerToken,
}

/// Serves `app` on `listener` until told to stop, and returns when the last connection has ended.
pub(crate) async fn serve<S>(listener: TcpListener, app: S, limits: Limits, stop: Stop)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let slots = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    while let Some((stream, slot)) = accept(&listener, &slots, &stop).await {
        let pace = Pace::new();
        let connection = Connection {
            pace: pace.clone(),
            stop: stop.clone(),
            _slot: Arc::new(slot),
            _counted: Arc::new(limits.traffic.connected()),
            _waited_for: connections.token(),
        };
        let stream = Paced::new(stream, pace, &limits);
        connections.spawn(serve_one(stream, app.clone(), connection));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The next connection, once there is room for it; `None` when it is time to stop.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &Stop,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepting = async {
        let slot = Arc::clone(slots).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Frames of a stream are small, and each is worth its packet.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection keeps its packets back");
                    }
                    return Some((stream, slot));
                }
                // The client was gone before it was served.
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        accepted = accepting => accepted,
        () = stop.gently.cancelled() => None,
        () = stop.now.cancelled() => None,
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Serves one connection until it ends or is taken over.
async fn serve_one<S>(stream: Paced, app: S, connection: Connection)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let stop = connection.stop.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = connection.pace.answering();
        let mut request = request.map(Body::new);
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(connection.clone());
        }
        let response = app.clone().oneshot(request);
        async move { response.await.map(|response| response.map(|body| PacedBody::new(body, answer))) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // Hyper's own timer does not tell a slow head from an idle connection; `Paced` does.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let mut leaving = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended badly");
                }
                break;
            }
            () = stop.gently.cancelled(), if !leaving => {
                leaving = true;
                serving.as_mut().graceful_shutdown();
            }
            () = stop.now.cancelled() => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        task::JoinHandle,
        time::{Instant, timeout},
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(20);

    async fn start(limits: Limits) -> (std::net::SocketAddr, Stop) {
        let endless = || async {
            let chunk = bytes::Bytes::from(vec![b'x'; 1 << 16]);
            Body::from_stream(futures_util::stream::repeat_with(move || {
                Ok::<_, Infallible>(chunk.clone())
            }))
        };
        let app =
            Router::new().route("/", get(|| async { "hello" })).route("/endless", get(endless));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Stop::default();
        tokio::spawn(serve(listener, app, limits, stop.clone()));
        (address, stop)
    }

    async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        // A reset is an end too.
        let _ = timeout(LONG, stream.read_to_end(&mut all))
            .await
            .expect("the server ends the connection");
        all
    }

    #[tokio::test]
    async fn headers_that_drip_are_cut() {
        let (address, _stop) =
            start(Limits { header_timeout: SHORT, idle_timeout: LONG, ..Limits::default() }).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let begun = Instant::now();
        let (mut reading, mut writing) = stream.split();
        let dripping = async {
            for byte in b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaa"
                .iter()
                .cycle()
            {
                if writing.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(SHORT / 10).await;
            }
        };
        let mut all = Vec::new();
        tokio::select! {
            _ = reading.read_to_end(&mut all) => {}
            () = dripping => {}
        }
        assert!(all.is_empty() || all.starts_with(b"HTTP/1.1 4"), "nothing was served");
        assert!(begun.elapsed() < LONG, "cut in time");
    }

    #[tokio::test]
    async fn a_silent_connection_is_cut() {
        let (address, _stop) = start(Limits { header_timeout: SHORT, ..Limits::default() }).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(read_to_end(&mut stream).await.is_empty());
    }

    #[tokio::test]
    async fn an_idle_connection_outlives_the_header_timeout_but_not_its_own() {
        let (address, _stop) =
            start(Limits { header_timeout: SHORT, idle_timeout: SHORT * 5, ..Limits::default() })
                .await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let mut answer = [0; 512];
            let read = timeout(LONG, stream.read(&mut answer)).await.unwrap().unwrap();
            assert!(answer[..read].ends_with(b"hello"));
            tokio::time::sleep(SHORT * 2).await;
        }
        assert!(read_to_end(&mut stream).await.is_empty());
    }

    #[tokio::test]
    async fn a_reader_that_stops_reading_is_cut() {
        let (address, stop) = start(Limits { stall_timeout: SHORT, ..Limits::default() }).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        tokio::time::sleep(SHORT * 5).await;
        // What the sockets had buffered is still there; after it comes the end, not more of the endless body.
        stop.gently.cancel();
        assert!(read_to_end(&mut stream).await.len() < 64 << 20);
    }

    /// Serves connections that become echoes of bytes, and holds each until its client has gone.
    async fn start_echo(limits: Limits) -> (std::net::SocketAddr, Stop, JoinHandle<()>) {
        let echo = |mut request: Request| async move {
            let connection = request.extensions().get::<Connection>().cloned().unwrap();
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgraded.await.unwrap());
                connection.pace.take_over();
                let mut bytes = [0; 64];
                tokio::select! {
                    () = async {
                        while let Ok(read @ 1..) = io.read(&mut bytes).await {
                            io.write_all(&bytes[..read]).await.unwrap();
                        }
                    } => {}
                    () = connection.stop.now.cancelled() => {}
                }
                drop(connection);
            });
            let answer = Response::builder().status(101).header("connection", "upgrade");
            answer.header("upgrade", "echo").body(Body::empty()).unwrap()
        };
        let app = Router::new().route("/", get(echo));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Stop::default();
        let serving = tokio::spawn(serve(listener, app, limits, stop.clone()));
        (address, stop, serving)
    }

    async fn upgrade(address: std::net::SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask =
            b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        stream
    }

    async fn echoes(stream: &mut TcpStream) {
        stream.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        timeout(LONG, stream.read_exact(&mut back)).await.unwrap().unwrap();
        assert_eq!(&back, b"hello");
    }

    #[tokio::test]
    async fn a_connection_that_was_taken_over_has_no_clocks_of_requests_but_takes_a_place() {
        let (address, stop, serving) = start_echo(Limits {
            header_timeout: SHORT,
            idle_timeout: SHORT,
            max_connections: 1,
            ..Limits::default()
        })
        .await;
        let mut first = upgrade(address).await;
        tokio::time::sleep(SHORT * 3).await;
        echoes(&mut first).await;
        let second = tokio::spawn(upgrade(address));
        tokio::time::sleep(SHORT).await;
        assert!(!second.is_finished(), "it waits for the place");
        drop(first);
        let mut second = timeout(LONG, second).await.unwrap().unwrap();
        echoes(&mut second).await;
        stop.gently.cancel();
        drop(second);
        timeout(LONG, serving).await.expect("nothing is left").unwrap();
    }

    #[tokio::test]
    async fn a_server_that_stops_waits_for_connections_that_were_taken_over_until_it_cuts_them() {
        let (address, stop, mut serving) = start_echo(Limits::default()).await;
        let mut stream = upgrade(address).await;
        stop.gently.cancel();
        assert!(timeout(SHORT, &mut serving).await.is_err(), "it waits");
        echoes(&mut stream).await;
        stop.now.cancel();
        timeout(LONG, serving).await.expect("it cuts what is left").unwrap();
        assert!(read_to_end(&mut stream).await.is_empty());
    }

    #[tokio::test]
    async fn stopping_ends_idle_connections_and_lets_answers_finish() {
        let (address, stop) = start(Limits::default()).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut first = [0; 1];
        idle.read_exact(&mut first).await.unwrap();
        stop.gently.cancel();
        assert!(read_to_end(&mut idle).await.ends_with(b"hello"));
        let refused = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(SHORT / 10).await;
            }
        };
        timeout(LONG, refused).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_too_many_waits_until_another_ends() {
        let (address, _stop) = start(Limits { max_connections: 1, ..Limits::default() }).await;
        let first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        second
            .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut byte = [0; 1];
        assert!(timeout(SHORT, second.read(&mut byte)).await.is_err(), "it waits");
        drop(first);
        assert!(read_to_end(&mut second).await.ends_with(b"hello"));
    }
}
