//! The accept loop: who may connect, for how long, and how it all ends.
//!
//! `axum::serve` installs no timer, so a client that sends its headers byte by byte holds a connection for ever; this
//! loop drives hyper itself. Every wait on a client has a bound: the head of a request, the pause between requests, a
//! reader that stops reading (all in [`paced`](super::paced)), and the body of a request ([`body`](super::body)). It
//! knows nothing of routes.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt as _};

use super::paced::{Pace, Paced, PacedBody};

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

/// Serves `app` on `listener` until told to stop, and returns when the last connection has ended.
pub(crate) async fn serve<S>(listener: TcpListener, app: S, limits: Limits, stop: Stop)
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let slots = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    while let Some((stream, slot)) = accept(&listener, &slots, &stop).await {
        let task = connection(stream, app.clone(), limits.clone(), stop.clone(), slot);
        connections.spawn(task);
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
                Ok((stream, _)) => return Some((stream, slot)),
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

/// Serves one connection to its end.
async fn connection<S>(
    stream: TcpStream,
    app: S,
    limits: Limits,
    stop: Stop,
    slot: OwnedSemaphorePermit,
) where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    // Frames of a stream are small, and each is worth its packet.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its packets back");
    }
    let pace = Pace::new();
    let io = TokioIo::new(Paced::new(stream, pace.clone(), &limits));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = pace.answering();
        let response = app.clone().oneshot(request.map(Body::new));
        async move { response.await.map(|response| response.map(|body| PacedBody::new(body, answer))) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // Hyper's own timer does not tell a slow head from an idle connection; `Paced` does.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(io, service);
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
    drop(slot);
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
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
