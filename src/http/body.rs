//! Reading the body of a request within bounds: of size, of silence, and of patience altogether.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt as _;

/// Bounds on the body of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// Its size.
    pub(super) max_bytes: u64,
    /// How long the client may be silent in the middle of it.
    pub(super) idle_timeout: Duration,
}

/// Bytes per second below which a body is not slow but an attack: one that drips a byte now and then is never silent.
const SLOWEST_RATE: f64 = 1024.0;

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyFault {
    /// It is larger than it may be.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(u64),
    /// It came too slowly.
    #[error("the request body did not arrive in time")]
    TooSlow,
    /// The connection broke, or what came is not a body.
    #[error("the request body could not be read: {0}")]
    Broken(String),
}

/// Reads a whole body.
pub(super) async fn read(body: Body, limits: BodyLimits) -> Result<Bytes, BodyFault> {
    let too_large = |size: u64| size > limits.max_bytes;
    if too_large(body.size_hint().lower()) {
        return Err(BodyFault::TooLarge(limits.max_bytes));
    }
    let begun = Instant::now();
    let mut chunks = body.into_data_stream();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let size = first.len() + rest.len();
        let patience = limits.idle_timeout + Duration::from_secs_f64(size as f64 / SLOWEST_RATE);
        let deadline = (begun + patience).min(Instant::now() + limits.idle_timeout);
        let chunk = timeout_at(deadline, chunks.next()).await.map_err(|_| BodyFault::TooSlow)?;
        let chunk = match chunk {
            None => break,
            Some(chunk) => chunk.map_err(|error| BodyFault::Broken(error.to_string()))?,
        };
        if too_large((size + chunk.len()) as u64) {
            return Err(BodyFault::TooLarge(limits.max_bytes));
        }
        // Most bodies are one chunk, which is then not copied.
        if size == 0 {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
    }
    if rest.is_empty() { Ok(first) } else { Ok([first, rest.freeze()].concat().into()) }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio_stream::StreamExt as _;

    use super::*;

    const LIMITS: BodyLimits =
        BodyLimits { max_bytes: 10_000, idle_timeout: Duration::from_secs(5) };

    fn dripping(chunk: &'static [u8], pause: Duration) -> Body {
        let chunks = tokio_stream::iter(std::iter::repeat_n(Ok::<_, Infallible>(chunk), 100));
        Body::from_stream(chunks.throttle(pause))
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined() {
        let chunks = tokio_stream::iter(["one ", "two ", "three"].map(Ok::<_, Infallible>));
        assert_eq!(read(Body::from_stream(chunks), LIMITS).await.unwrap(), "one two three");
        assert_eq!(read(Body::from("whole"), LIMITS).await.unwrap(), "whole");
        assert_eq!(read(Body::empty(), LIMITS).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_large_body_is_refused_with_and_without_a_stated_size() {
        let whole = Body::from(vec![0; 10_001]);
        assert_eq!(read(whole, LIMITS).await, Err(BodyFault::TooLarge(10_000)));
        let pieces = dripping(&[0; 101], Duration::ZERO);
        assert_eq!(read(pieces, LIMITS).await, Err(BodyFault::TooLarge(10_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_is_cut_and_a_dripping_one_too() {
        for pause in [Duration::from_secs(6), Duration::from_secs(1)] {
            assert_eq!(
                read(dripping(b"x", pause), LIMITS).await,
                Err(BodyFault::TooSlow),
                "{pause:?}"
            );
        }
        assert!(
            read(dripping(&[0; 100], Duration::from_millis(90)), LIMITS).await.is_ok(),
            "slow but alive"
        );
    }
}
