//! Ids of everything that can be named, as 16 bytes in memory and `prefix-uuid` on the wire.
//!
//! Every id has the form of a version 4 UUID, because clients check that, but its first 60 free bits are the time it was
//! made. So the order of ids is the order of creation, a list "by creation" is a key range, and an id works as a cursor
//! without an index from ids to places.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Timestamp;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id of the form '{prefix}-{{uuid4}}'")]
pub struct MalformedId {
    /// The prefix that was wanted, without its dash.
    pub prefix: &'static str,
    /// The text that was given, cut to 100 characters.
    pub text: String,
}

/// Makes the next id after `last`, at `now`, with `entropy` in its free low bits.
///
/// The result is greater than `last` whatever the clock does: a clock that stands still or runs backwards costs
/// precision, never order.
#[must_use]
pub fn next_uuid(last: Uuid, now: Timestamp, entropy: u64) -> Uuid {
    // 60 bits of time: milliseconds, then the rest of the millisecond in 1/4096.
    let micros = now.as_micros().max(0).unsigned_abs();
    let ticks = ((micros / 1000) << 12) | ((micros % 1000) * 4096 / 1000);
    let ticks = ticks.max(time_ticks(last).saturating_add(1));
    let high = ((ticks >> 12) << 16) | 0x4000 | (ticks & 0xfff);
    let low = (entropy & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
    Uuid::from_u64_pair(high, low)
}

fn time_ticks(id: Uuid) -> u64 {
    let (high, _) = id.as_u64_pair();
    ((high >> 16) << 12) | (high & 0xfff)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix on the wire, without its dash.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a UUID that has the form of version 4.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID without its prefix.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The 16 bytes, big-endian: their order is the order of creation.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0.as_hyphenated())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                parse_uuid4($prefix, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.as_bytes().serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <[u8; 16]>::deserialize(deserializer).map(|bytes| Self(Uuid::from_bytes(bytes)))
            }
        }
    )*};
}

ids! {
    /// An agent.
    AgentId = "agent";
    /// A memory block.
    BlockId = "block";
    /// A stored message.
    MessageId = "message";
    /// A run: everything one request to an agent set off.
    RunId = "run";
    /// A step: one model call of a run and what followed from it.
    StepId = "step";
    /// A tool.
    ToolId = "tool";
    /// An MCP server.
    McpServerId = "mcp_server";
    /// A conversation: a further message thread of an agent.
    ConversationId = "conv";
}

/// Reads `prefix-uuid`, lower-case, hyphenated, version 4, RFC variant.
fn parse_uuid4(prefix: &'static str, text: &str) -> Result<Uuid, MalformedId> {
    let malformed = || MalformedId { prefix, text: text.chars().take(100).collect() };
    let rest =
        text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')).ok_or_else(malformed)?;
    if rest.len() != 36 || rest.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(malformed());
    }
    let uuid = Uuid::try_parse(rest).map_err(|_| malformed())?;
    let is_v4 = uuid.get_version_num() == 4 && uuid.get_variant() == uuid::Variant::RFC4122;
    if is_v4 { Ok(uuid) } else { Err(malformed()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_one_another_even_when_the_clock_stands_still() {
        let now = Timestamp::from_micros(1_700_000_000_123_456);
        let mut last = Uuid::nil();
        for entropy in [u64::MAX, 0, 7, 0] {
            let next = next_uuid(last, now, entropy);
            assert!(next > last);
            assert_eq!(next.get_version_num(), 4);
            assert_eq!(next.get_variant(), uuid::Variant::RFC4122);
            last = next;
        }
        assert!(
            next_uuid(last, Timestamp::from_micros(0), 0) > last,
            "the clock may run backwards"
        );
    }

    #[test]
    fn only_well_formed_ids_of_the_right_kind_parse() {
        let id = AgentId::from_uuid(next_uuid(Uuid::nil(), Timestamp::from_micros(1), 1));
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "agent-123",
            "block-123e4567-e89b-42d3-8456-426614174000",
            "agent-123E4567-e89b-42d3-8456-426614174000",
            "agent-123e4567-e89b-12d3-8456-426614174000",
            "agent-123e4567e89b42d38456426614174000xxxx",
            "",
        ] {
            assert!(bad.parse::<AgentId>().is_err(), "{bad}");
        }
    }
}
