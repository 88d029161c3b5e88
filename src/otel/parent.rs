//! The trace a caller is in, as its `traceparent` header says.
//!
//! It is kept in memory until the run is exported: a run that a restart comes in between begins a trace of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{HeaderMap, HeaderName};
use retold_events::RunId;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest trace state that is passed on, as the recommendation has it.
const LONGEST_STATE: usize = 512;
/// Runs whose parents are kept. More than may be open at a time by default; beyond it the oldest are forgotten.
const KEPT: usize = 8192;

/// The span a run was asked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parent {
    /// The trace; never zero.
    pub(super) trace: [u8; 16],
    /// The span; never zero.
    pub(super) span: [u8; 8],
    /// Whether the caller records it. What it does not record is not exported.
    pub(super) sampled: bool,
    /// What systems on the way noted, passed on as it is.
    pub(super) state: String,
}

impl Parent {
    /// The parent that a request names; `None` when it names none, or not in the form it must have.
    ///
    /// Source: W3C Trace Context, level 1, section 3.2.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let text = given.next()?.to_str().ok()?;
        if given.next().is_some() {
            return None;
        }
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex::<1>(version)?;
        // A later version may have more to say; this one has not.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let (trace, span, [flags]) = (hex::<16>(trace)?, hex::<8>(span)?, hex::<1>(flags)?);
        if trace == [0; 16] || span == [0; 8] {
            return None;
        }
        let state = headers.get(TRACESTATE).and_then(|state| state.to_str().ok());
        let state = state.filter(|state| state.len() <= LONGEST_STATE).unwrap_or_default();
        Some(Self { trace, span, sampled: flags & 1 == 1, state: state.to_owned() })
    }
}

/// Bytes of lower-case hexadecimal text; `None` for anything else.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The parents of runs that were not exported yet. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parents(Arc<Mutex<BTreeMap<RunId, Parent>>>);

impl Parents {
    /// Notes the parent of a run.
    pub(crate) fn note(&self, run: RunId, parent: Parent) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(run, parent);
        if known.len() > KEPT {
            // Ids rise with time: the first is the oldest.
            known.pop_first();
        }
    }

    /// Takes the parent of a run out.
    pub(super) fn take(&self, run: RunId) -> Option<Parent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&run)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(text: &'static str) -> Option<Parent> {
        Parent::of(&HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(text))]))
    }

    #[test]
    fn a_parent_is_what_the_recommendation_says() {
        let parent = of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!((parent.trace[0], parent.span[7], parent.sampled), (0x0a, 0x31, true));
        assert!(!of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap().sampled);
        // A version to come may say more.
        assert!(of("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_oldest_parents_are_forgotten_beyond_the_bound() {
        let parents = Parents::default();
        let parent = of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let run = |number: usize| RunId::from_uuid(uuid::Uuid::from_u128(number as u128));
        for number in 0..=KEPT {
            parents.note(run(number), parent.clone());
        }
        assert_eq!(parents.take(run(0)), None);
        assert_eq!(parents.take(run(1)), Some(parent));
        assert_eq!(parents.take(run(1)), None, "it is taken once");
    }
}
