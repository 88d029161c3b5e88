//! Reading the body of a request within bounds: of size, of silence, of patience altogether, and of what all bodies that
//! are arriving take together: a client with many connections could else fill the memory with halves of them.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_stream::StreamExt as _;

/// Bounds on the body of a request.
#[derive(Debug, Clone)]
pub(super) struct BodyLimits {
    /// Its size.
    pub(super) max_bytes: u64,
    /// How long the client may be silent in the middle of it.
    pub(super) idle_timeout: Duration,
    /// What large bodies take together.
    pub(super) memory: BodyMemory,
}

/// A body takes none of the shared memory up to this size, so that a small request gets through whatever others send. The
/// number of connections bounds what these take.
const OWN_BYTES: usize = 64 << 10;
/// Memory is given out in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// Memory for bodies that are arriving.
#[derive(Debug, Clone)]
pub(super) struct BodyMemory(Arc<Semaphore>);

impl BodyMemory {
    /// So many bytes, rounded up.
    pub(super) fn new(bytes: u64) -> Self {
        let pieces = usize::try_from(bytes.div_ceil(PIECE_BYTES as u64)).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(pieces.min(Semaphore::MAX_PERMITS))))
    }
}

/// What one body has of it, until it is dropped.
#[derive(Debug, Default)]
struct Share(Option<OwnedSemaphorePermit>);

impl Share {
    /// Makes sure of room for a body of `size` bytes, without waiting: what waits takes memory, too.
    fn grow(&mut self, memory: &BodyMemory, size: usize) -> Result<(), BodyFault> {
        let wanted = size.saturating_sub(OWN_BYTES).div_ceil(PIECE_BYTES);
        let has = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if wanted <= has {
            return Ok(());
        }
        let missing = u32::try_from(wanted - has).map_err(|_| BodyFault::NoRoom)?;
        let more = Arc::clone(&memory.0).try_acquire_many_owned(missing);
        let more = more.map_err(|_| BodyFault::NoRoom)?;
        match &mut self.0 {
            Some(share) => share.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// Bytes per second below which a body is not slow but an attack: one that drips a byte now and then is never silent. It
/// holds all the time: what came fast at first does not pay for hours of dripping.
const SLOWEST_RATE: f64 = 1024.0;

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyFault {
    /// It is larger than it may be.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(u64),
    /// Other large bodies have taken the memory there is for them.
    #[error("too many large request bodies are arriving at once; send it again in a moment")]
    NoRoom,
    /// It came too slowly.
    #[error("the request body did not arrive in time")]
    TooSlow,
    /// The connection broke, or what came is not a body.
    #[error("the request body could not be read: {0}")]
    Broken(String),
}

/// Reads a whole body.
pub(super) async fn read(body: Body, limits: &BodyLimits) -> Result<Bytes, BodyFault> {
    let too_large = |size: u64| size > limits.max_bytes;
    if too_large(body.size_hint().lower()) {
        return Err(BodyFault::TooLarge(limits.max_bytes));
    }
    let mut chunks = Chunks::of(body, limits);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut share = Share::default();
    loop {
        let size = first.len() + rest.len();
        let Some(chunk) = chunks.next().await? else { break };
        if too_large((size + chunk.len()) as u64) {
            return Err(BodyFault::TooLarge(limits.max_bytes));
        }
        share.grow(&limits.memory, size + chunk.len())?;
        // Most bodies are one chunk, which is then not copied.
        if size == 0 {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
    }
    if rest.is_empty() { Ok(first) } else { Ok([first, rest.freeze()].concat().into()) }
}

/// Reads a body that is refused all the same, and forgets it, as far as one may be long: a client that is still sending
/// when its connection is closed may never see why.
pub(super) async fn pass_over(body: Body, limits: &BodyLimits) {
    let mut chunks = Chunks::of(body, limits);
    let mut size = 0;
    while size <= limits.max_bytes
        && let Ok(Some(chunk)) = chunks.next().await
    {
        size += chunk.len() as u64;
    }
}

/// A body as it arrives, as long as it does not come too slowly.
struct Chunks {
    stream: BodyDataStream,
    /// How long the next chunk may take. Waiting uses it up, and bytes earn it back, up to `most`.
    patience: Duration,
    most: Duration,
}

impl Chunks {
    fn of(body: Body, limits: &BodyLimits) -> Self {
        let most = limits.idle_timeout;
        Self { stream: body.into_data_stream(), patience: most, most }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyFault> {
        let begun = Instant::now();
        let chunk = timeout(self.patience, self.stream.next()).await;
        let Some(chunk) = chunk.map_err(|_| BodyFault::TooSlow)? else { return Ok(None) };
        let chunk = chunk.map_err(|error| BodyFault::Broken(error.to_string()))?;
        let earned = Duration::from_secs_f64(chunk.len() as f64 / SLOWEST_RATE);
        self.patience = self.patience.saturating_sub(begun.elapsed()).saturating_add(earned);
        self.patience = self.patience.min(self.most);
        Ok(Some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio_stream::StreamExt as _;

    use super::*;

    fn limits() -> BodyLimits {
        let memory = BodyMemory::new(1 << 20);
        BodyLimits { max_bytes: 10_000, idle_timeout: Duration::from_secs(5), memory }
    }

    fn dripping(chunk: &'static [u8], pause: Duration) -> Body {
        let chunks = tokio_stream::iter(std::iter::repeat_n(Ok::<_, Infallible>(chunk), 100));
        Body::from_stream(chunks.throttle(pause))
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined() {
        let chunks = tokio_stream::iter(["one ", "two ", "three"].map(Ok::<_, Infallible>));
        assert_eq!(read(Body::from_stream(chunks), &limits()).await.unwrap(), "one two three");
        assert_eq!(read(Body::from("whole"), &limits()).await.unwrap(), "whole");
        assert_eq!(read(Body::empty(), &limits()).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_large_body_is_refused_with_and_without_a_stated_size() {
        let whole = Body::from(vec![0; 10_001]);
        assert_eq!(read(whole, &limits()).await, Err(BodyFault::TooLarge(10_000)));
        let pieces = dripping(&[0; 101], Duration::ZERO);
        assert_eq!(read(pieces, &limits()).await, Err(BodyFault::TooLarge(10_000)));
    }

    #[tokio::test]
    async fn large_bodies_that_are_arriving_share_what_there_is_and_small_ones_need_none() {
        let limits = BodyLimits { max_bytes: 1 << 30, ..limits() };
        let silent = |bytes: usize| {
            let begun = tokio_stream::once(Ok::<_, Infallible>(vec![0; bytes]));
            Body::from_stream(begun.chain(futures_util::stream::pending()))
        };
        let first = tokio::spawn({
            let limits = limits.clone();
            async move { read(silent(1 << 20), &limits).await }
        });
        while limits.memory.0.available_permits() > 1 {
            tokio::task::yield_now().await;
        }
        let large = Body::from(vec![0; OWN_BYTES + 2 * PIECE_BYTES]);
        assert_eq!(read(large, &limits).await, Err(BodyFault::NoRoom));
        assert_eq!(read(Body::from(vec![0; OWN_BYTES]), &limits).await.unwrap().len(), OWN_BYTES);
        first.abort();
        assert!(first.await.is_err());
        let large = Body::from(vec![0; 1 << 20]);
        assert_eq!(read(large, &limits).await.unwrap().len(), 1 << 20, "it is given back");
        assert_eq!(limits.memory.0.available_permits(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_is_cut_and_a_dripping_one_too() {
        for pause in [Duration::from_secs(6), Duration::from_secs(1)] {
            assert_eq!(
                read(dripping(b"x", pause), &limits()).await,
                Err(BodyFault::TooSlow),
                "{pause:?}"
            );
        }
        assert!(
            read(dripping(&[0; 100], Duration::from_millis(90)), &limits()).await.is_ok(),
            "slow but alive"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_fast_does_not_pay_for_dripping() {
        let limits = BodyLimits { max_bytes: 1 << 30, ..limits() };
        let fast = tokio_stream::once(Ok::<_, Infallible>(vec![0; 60_000]));
        let slow = tokio_stream::iter(std::iter::repeat_with(|| Ok(vec![0])));
        let body = Body::from_stream(fast.chain(slow.throttle(Duration::from_secs(1))));
        let begun = Instant::now();
        assert_eq!(read(body, &limits).await, Err(BodyFault::TooSlow));
        assert!(begun.elapsed() < 2 * limits.idle_timeout);
    }

    #[tokio::test]
    async fn a_body_that_is_passed_over_is_read_to_its_end_or_to_the_limit() {
        for (chunks, read) in [(50, 50), (1000, 101)] {
            let (sender, mut counted) = tokio::sync::mpsc::unbounded_channel();
            let body = std::iter::repeat_n(vec![0; 100], chunks).map(move |chunk| {
                sender.send(()).unwrap();
                Ok::<_, Infallible>(chunk)
            });
            pass_over(Body::from_stream(tokio_stream::iter(body)), &limits()).await;
            let mut taken = 0;
            while counted.recv().await.is_some() {
                taken += 1;
            }
            assert_eq!(taken, read);
        }
    }
}
