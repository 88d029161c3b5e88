//! The id of a request: given by the client or made up, echoed in `x-request-id`, and named in every error. With it goes
//! the span that the client says it asks from.
//!
//! Both are task-local for the time of a request, because an error is turned into an answer deep inside axum, where no
//! argument reaches.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use retold_actors::{Clock as _, IdSource, SystemClock};

use crate::otel::Parent;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The header that carries it, both ways.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id of a client that is repeated; a longer one is replaced.
const LONGEST: usize = 128;

/// The id of a request: visible ASCII without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestId {
    id: String,
    parent: Option<Parent>,
}

impl RequestId {
    /// The id that a request carries, or a new one.
    pub(super) fn of(headers: &HeaderMap, ids: &IdSource) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let id = match given.filter(|id| is_harmless(id)) {
            Some(id) => id.to_owned(),
            None => ids.next(SystemClock.now()).simple().to_string(),
        };
        Self { id, parent: Parent::of(headers) }
    }

    /// The id of the request this task answers; empty outside of one.
    pub(super) fn current() -> String {
        CURRENT.try_with(|current| current.id.clone()).unwrap_or_default()
    }

    /// The span that the request this task answers was made in.
    pub(super) fn parent() -> Option<Parent> {
        CURRENT.try_with(|current| current.parent.clone()).ok().flatten()
    }

    /// The request this task answers, for a task that goes on with it; `None` outside of one.
    pub(super) fn this() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Runs the answering of a request under its id.
    pub(super) async fn scope<T>(self, answering: impl Future<Output = T>) -> T {
        CURRENT.scope(self, answering).await
    }

    /// The id as a header.
    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.id).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

fn is_harmless(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte);
    !id.is_empty() && id.len() <= LONGEST && id.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &'static str) -> RequestId {
        let headers = HeaderMap::from_iter([(HEADER, HeaderValue::from_static(given))]);
        RequestId::of(&headers, &IdSource::seeded(1))
    }

    #[test]
    fn a_harmless_id_is_kept_and_any_other_replaced() {
        assert_eq!(of("req-1.A_b").id, "req-1.A_b");
        for bad in ["", "a b", "\"", "<script>"] {
            assert_eq!(of(bad).id.len(), 32, "{bad}");
        }
    }

    #[tokio::test]
    async fn the_current_id_is_known_inside_the_scope_only() {
        assert_eq!(RequestId::current(), "");
        assert_eq!(of("here").scope(async { RequestId::current() }).await, "here");
    }
}
