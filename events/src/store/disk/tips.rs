//! Where streams stand, for those written lately: appending then reads nothing.

use std::collections::HashMap;

use crate::{StreamId, store::group::Tip};

/// Streams per generation. Two of them take some 8 MiB; a stream that is missing costs one read.
const GENERATION: usize = 1 << 15;

/// A bounded memory of streams: what was neither read nor written for a whole generation is forgotten.
#[derive(Debug, Default)]
pub(super) struct Tips {
    young: HashMap<StreamId, Tip>,
    old: HashMap<StreamId, Tip>,
}

impl Tips {
    /// Where a stream stands, if it is remembered.
    pub(super) fn get(&mut self, stream: StreamId) -> Option<Tip> {
        if let Some(tip) = self.young.get(&stream) {
            return Some(*tip);
        }
        let tip = self.old.remove(&stream)?;
        self.set(stream, tip);
        Some(tip)
    }

    /// Remembers where a stream stands.
    pub(super) fn set(&mut self, stream: StreamId, tip: Tip) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&stream) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(stream, tip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AgentId, Seq};

    fn stream(id: usize) -> StreamId {
        StreamId::Agent(AgentId::from_uuid(uuid::Uuid::from_u128(id as u128)))
    }

    #[test]
    fn it_forgets_what_is_old_and_never_tells_an_older_place() {
        let mut tips = Tips::default();
        let tip = |seq| Tip { seq: Seq(seq), hash: [0; 16] };
        tips.set(stream(0), tip(1));
        for id in 1..=GENERATION {
            tips.set(stream(id), tip(1));
        }
        tips.set(stream(0), tip(2));
        assert_eq!(tips.get(stream(0)), Some(tip(2)));
        for id in 1..5 * GENERATION {
            tips.set(stream(id), tip(3));
            assert!(tips.young.len() + tips.old.len() <= 2 * GENERATION);
            assert_ne!(tips.get(stream(0)), Some(tip(1)));
            if id > GENERATION * 3 {
                break;
            }
        }
        assert_eq!(tips.get(stream(GENERATION * 3)), Some(tip(3)));
    }
}
