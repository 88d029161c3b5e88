//! From events to bytes and back, by type number and version.
//!
//! postcard is positional: bytes of one struct read as another give garbage without an error. So the type and the version
//! stand beside the payload, each pair names exactly one frozen struct, and the table below is the only place that gives
//! numbers out. A number is never used again, not even for a type that is gone.
//!
//! To change a stored struct: copy it as it is (`v1::Created`), change the newest, give `Payload` for the copy, write
//! `From<v1::Created> for Created`, and let the table say `v2 after v1::Created`. The golden bytes of version 1 stay.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Encoded, EventType, agent, block, mcp, output::Item, run, tool};

/// Version of the item format. Golden bytes hold it still.
const ITEMS_VERSION: u8 = 1;

/// An aggregate's event enum, as the codec sees it.
pub trait Event: Sized + Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The stored form, always of the newest version.
    fn encode(&self) -> Encoded;

    /// Reads any version ever written, lifting old ones step by step.
    ///
    /// # Errors
    /// [`DecodeError`] when the type or version is unknown here, or the bytes are not of it.
    fn decode(encoded: &Encoded) -> Result<Self, DecodeError>;
}

/// Bytes that are not an event this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A type number nobody gave out yet.
    #[error("unknown event type {0}; it was written by a newer version")]
    UnknownType(u16),
    /// A version this program does not know.
    #[error("event type {event_type} has version {version}, known up to {known}")]
    UnknownVersion {
        /// The type.
        event_type: u16,
        /// The version found.
        version: u16,
        /// The newest known.
        known: u16,
    },
    /// Not the bytes of that type.
    #[error("bytes are not of event type {event_type}: {detail}")]
    Malformed {
        /// The type.
        event_type: u16,
        /// What is wrong.
        detail: String,
    },
}

/// Gives an event enum its numbers: `<number> <variant>(<newest struct>) v<version> after <struct of the version before>`.
macro_rules! stored {
    ($event:ty { $($number:literal $variant:ident($payload:ty) v $version:literal after $older:ty;)* }) => {
        $(impl Payload for $payload {
            const VERSION: u16 = $version;
            type Older = $older;
        })*

        impl Event for $event {
            fn encode(&self) -> Encoded {
                match self {
                    $(Self::$variant(payload) => encode_payload(EventType($number), payload),)*
                }
            }

            fn decode(encoded: &Encoded) -> Result<Self, DecodeError> {
                match encoded.event_type.0 {
                    $($number => upcast(encoded, <$payload>::VERSION).map(Self::$variant),)*
                    unknown => Err(DecodeError::UnknownType(unknown)),
                }
            }
        }
    };
}

stored! {
    agent::Event {
        101 Created(agent::Created) v 1 after Nothing;
        102 Configured(agent::Configured) v 1 after Nothing;
        103 BlockAttached(agent::BlockAttached) v 1 after Nothing;
        104 BlockDetached(agent::BlockDetached) v 1 after Nothing;
        105 ToolAttached(agent::ToolAttached) v 1 after Nothing;
        106 ToolDetached(agent::ToolDetached) v 1 after Nothing;
        107 SystemCompiled(agent::SystemCompiled) v 1 after Nothing;
        108 ContextReplaced(agent::ContextReplaced) v 1 after Nothing;
        109 ContextCompacted(agent::ContextCompacted) v 1 after Nothing;
        110 Deleted(agent::Deleted) v 1 after Nothing;
        111 Forked(agent::Forked) v 1 after Nothing;
        112 SecretsSet(agent::SecretsSet) v 1 after Nothing;
        201 RunAccepted(run::Accepted) v 3 after run::v2::Accepted;
        202 RunStarted(run::Started) v 1 after Nothing;
        203 StepStarted(run::StepStarted) v 1 after Nothing;
        204 StepEnded(run::StepEnded) v 1 after Nothing;
        205 CancelRequested(run::CancelRequested) v 1 after Nothing;
        206 RunEnded(run::Ended) v 1 after Nothing;
        207 CallbackSent(run::CallbackSent) v 1 after Nothing;
        208 RunDeleted(run::Deleted) v 1 after Nothing;
        209 FeedbackGiven(run::FeedbackGiven) v 1 after Nothing;
        210 ToolsCalled(run::ToolsCalled) v 1 after Nothing;
        211 ToolReturned(run::ToolReturned) v 1 after Nothing;
        212 CallsResolved(run::CallsResolved) v 1 after Nothing;
    }
}

stored! {
    block::Event {
        301 Created(block::Created) v 2 after block::v1::Created;
        302 Edited(block::Edited) v 2 after block::v1::Edited;
        303 Deleted(block::Deleted) v 2 after block::v1::Deleted;
        304 Forked(block::Forked) v 1 after Nothing;
    }
}

stored! {
    tool::Event {
        401 Created(tool::Created) v 1 after Nothing;
        402 Updated(tool::Updated) v 1 after Nothing;
        403 Deleted(tool::Deleted) v 1 after Nothing;
    }
}

stored! {
    mcp::Event {
        501 Created(mcp::Created) v 1 after Nothing;
        502 Updated(mcp::Updated) v 1 after Nothing;
        503 Deleted(mcp::Deleted) v 1 after Nothing;
    }
}

/// Gives the structs of older versions their place in the chain.
macro_rules! older {
    ($($payload:ty = v $version:literal after $older:ty;)*) => {$(
        impl Payload for $payload {
            const VERSION: u16 = $version;
            type Older = $older;
        }
    )*};
}

older! {
    run::v1::Accepted = v 1 after Nothing;
    run::v2::Accepted = v 2 after run::v1::Accepted;
    block::v1::Created = v 1 after Nothing;
    block::v1::Edited = v 1 after Nothing;
    block::v1::Deleted = v 1 after Nothing;
}

/// One version of one event type: a frozen struct that knows the version before it.
///
/// Every step lifts by one version, so no pair of versions needs code of its own.
trait Payload: Serialize + DeserializeOwned {
    /// Its number, from 1.
    const VERSION: u16;
    /// The version before; [`Nothing`] for the first.
    type Older: Payload + Into<Self>;
}

/// The version before the first: there never was a value of it.
#[derive(Debug, Serialize, serde::Deserialize)]
enum Nothing {}

impl Payload for Nothing {
    const VERSION: u16 = 0;
    type Older = Self;
}

/// From no value at all to anything: what makes [`Nothing`] the end of every chain.
macro_rules! first_versions {
    ($($payload:ty),* $(,)?) => {$(
        impl From<Nothing> for $payload {
            fn from(nothing: Nothing) -> Self {
                match nothing {}
            }
        }
    )*};
}

first_versions! {
    agent::Created, agent::Configured, agent::BlockAttached, agent::BlockDetached, agent::ToolAttached,
    agent::ToolDetached, agent::SystemCompiled, agent::ContextReplaced, agent::ContextCompacted, agent::Deleted,
    agent::Forked, agent::SecretsSet,
    run::v1::Accepted, run::Started, run::StepStarted, run::StepEnded, run::CancelRequested, run::Ended,
    run::CallbackSent, run::Deleted, run::FeedbackGiven, run::ToolsCalled, run::ToolReturned, run::CallsResolved,
    block::v1::Created, block::v1::Edited, block::v1::Deleted, block::Forked,
    tool::Created, tool::Updated, tool::Deleted,
    mcp::Created, mcp::Updated, mcp::Deleted,
}

fn encode_payload<P: Payload>(event_type: EventType, payload: &P) -> Encoded {
    let bytes =
        postcard::to_stdvec(payload).expect("plain structs of text and numbers always encode");
    Encoded { event_type, version: P::VERSION, payload: Bytes::from(bytes) }
}

/// Decodes as the version that was written, then lifts the value one version at a time up to `P`.
fn upcast<P: Payload>(encoded: &Encoded, known: u16) -> Result<P, DecodeError> {
    let event_type = encoded.event_type.0;
    if encoded.version == 0 || encoded.version > P::VERSION {
        let version = encoded.version;
        return Err(DecodeError::UnknownVersion { event_type, version, known });
    }
    if encoded.version < P::VERSION {
        return upcast::<P::Older>(encoded, known).map(Into::into);
    }
    let malformed = |detail: String| DecodeError::Malformed { event_type, detail };
    match postcard::take_from_bytes::<P>(&encoded.payload) {
        Ok((payload, [])) => Ok(payload),
        Ok((_, rest)) => Err(malformed(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// Encodes output items for one [`crate::store::OutputBatch`].
#[must_use]
pub fn encode_items(items: &[Item]) -> Bytes {
    let mut bytes = vec![ITEMS_VERSION];
    bytes.extend(
        postcard::to_stdvec(items).expect("plain structs of text and numbers always encode"),
    );
    Bytes::from(bytes)
}

/// Decodes what [`encode_items`] wrote.
///
/// # Errors
/// [`DecodeError`] when the bytes are of a newer version or not items.
pub fn decode_items(bytes: &[u8]) -> Result<Vec<Item>, DecodeError> {
    let malformed = |detail: String| DecodeError::Malformed { event_type: 0, detail };
    match bytes.split_first() {
        Some((&ITEMS_VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((items, [])) => Ok(items),
            Ok((_, rest)) => Err(malformed(format!("{} bytes too many", rest.len()))),
            Err(error) => Err(malformed(error.to_string())),
        },
        Some((&version, _)) => Err(DecodeError::UnknownVersion {
            event_type: 0,
            version: version.into(),
            known: ITEMS_VERSION.into(),
        }),
        None => Err(malformed("no bytes".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// A type with a past: a number, then a text beside it, then the text as a list.
    #[derive(Debug, Clone, PartialEq)]
    enum Example {
        Noted(Noted),
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct NotedV1 {
        count: u32,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct NotedV2 {
        count: u32,
        text: String,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Noted {
        texts: Vec<String>,
        count: u32,
    }

    impl Payload for NotedV1 {
        const VERSION: u16 = 1;
        type Older = Nothing;
    }

    impl Payload for NotedV2 {
        const VERSION: u16 = 2;
        type Older = NotedV1;
    }

    first_versions! { NotedV1 }

    impl From<NotedV1> for NotedV2 {
        fn from(old: NotedV1) -> Self {
            Self { count: old.count, text: "unsaid".to_owned() }
        }
    }

    impl From<NotedV2> for Noted {
        fn from(old: NotedV2) -> Self {
            Self { texts: vec![old.text], count: old.count }
        }
    }

    stored! {
        Example {
            901 Noted(Noted) v 3 after NotedV2;
        }
    }

    #[test]
    fn every_older_version_is_lifted_step_by_step() {
        let first = encode_payload(EventType(901), &NotedV1 { count: 7 });
        let second = encode_payload(EventType(901), &NotedV2 { count: 8, text: "a".to_owned() });
        let newest = Example::Noted(Noted { texts: vec!["b".to_owned()], count: 9 });
        let noted = |text: &str, count| Noted { texts: vec![text.to_owned()], count };
        assert_eq!((first.version, second.version, newest.encode().version), (1, 2, 3));
        assert_eq!(Example::decode(&first), Ok(Example::Noted(noted("unsaid", 7))));
        assert_eq!(Example::decode(&second), Ok(Example::Noted(noted("a", 8))));
        assert_eq!(Example::decode(&newest.encode()), Ok(newest));
    }

    #[test]
    fn what_is_newer_than_this_program_is_refused_by_name() {
        let mut encoded = Example::Noted(Noted { texts: vec![], count: 1 }).encode();
        for version in [0, 4, u16::MAX] {
            encoded.version = version;
            let expected = DecodeError::UnknownVersion { event_type: 901, version, known: 3 };
            assert_eq!(Example::decode(&encoded), Err(expected));
        }
        encoded.event_type = EventType(902);
        assert_eq!(Example::decode(&encoded), Err(DecodeError::UnknownType(902)));
        assert_eq!(agent::Event::decode(&encoded), Err(DecodeError::UnknownType(902)));
    }

    #[test]
    fn bytes_that_are_too_short_or_too_long_are_refused() {
        let whole = Example::Noted(Noted { texts: vec!["abc".to_owned()], count: 1 }).encode();
        let mut long = whole.payload.to_vec();
        long.push(0);
        for payload in [whole.payload.slice(..3), Bytes::new(), Bytes::from(long)] {
            let result = Example::decode(&Encoded { payload, ..whole.clone() });
            assert!(matches!(result, Err(DecodeError::Malformed { event_type: 901, .. })));
        }
    }

    #[test]
    fn items_round_trip_and_newer_ones_are_refused() {
        assert_eq!(decode_items(&encode_items(&[])), Ok(vec![]));
        let newer = DecodeError::UnknownVersion { event_type: 0, version: 2, known: 1 };
        assert_eq!(decode_items(&[2, 0]), Err(newer));
        assert!(decode_items(&[]).is_err());
    }
}
