//! One path per resource, whatever the client writes.
//!
//! Documents and clients disagree on the prefix and on trailing slashes. Every spelling is rewritten to one before
//! routing, because a redirect costs a round trip and makes some clients drop the body or the Authorization header.

use axum::http::{Uri, uri::PathAndQuery};

/// Which family of documents the client follows, told by the prefix it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `/v1` or `/latest`: the SDKs.
    V1,
    /// `/api` or `/api/v1`: the older documents, in which deletes answer 204.
    Api,
}

/// Other prefixes and what they stand for; the longer one first.
const ALIASES: [(&str, Dialect); 3] =
    [("/api/v1", Dialect::Api), ("/api", Dialect::Api), ("/latest", Dialect::V1)];

/// Where the retired server had its WebSocket, and where it is among the other paths.
const SOCKET: [&str; 2] = ["/ws", "/v1/ws"];

/// Rewrites a URI to its one spelling: prefix `/v1`, no empty segments, no slash at the end.
pub(super) fn canonical(uri: &Uri) -> (Uri, Dialect) {
    let collapsed = collapse(uri.path());
    let alias = ALIASES.iter().find_map(|&(prefix, dialect)| {
        let rest = collapsed.strip_prefix(prefix)?;
        rest.starts_with('/').then(|| (format!("/v1{rest}"), dialect))
    });
    let (mut path, dialect) = alias.unwrap_or((collapsed, Dialect::V1));
    if path == SOCKET[0] {
        SOCKET[1].clone_into(&mut path);
    }
    if path == uri.path() {
        return (uri.clone(), dialect);
    }
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    (with_path(uri, &path_and_query), dialect)
}

fn collapse(path: &str) -> String {
    let mut collapsed = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        collapsed.push('/');
        collapsed.push_str(segment);
    }
    if collapsed.is_empty() { "/".to_owned() } else { collapsed }
}

/// The URI with another path; as it was, should the path be none.
fn with_path(uri: &Uri, path_and_query: &str) -> Uri {
    let Ok(path_and_query) = path_and_query.parse::<PathAndQuery>() else { return uri.clone() };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_becomes_one() {
        for (given, wanted, dialect) in [
            ("/v1/agents", "/v1/agents", Dialect::V1),
            ("/v1/agents/?limit=1&after=a%2Fb", "/v1/agents?limit=1&after=a%2Fb", Dialect::V1),
            ("//v1///agents//", "/v1/agents", Dialect::V1),
            ("/latest/agents/", "/v1/agents", Dialect::V1),
            ("/api/agents", "/v1/agents", Dialect::Api),
            ("/api/v1/agents/", "/v1/agents", Dialect::Api),
            ("/apiary", "/apiary", Dialect::V1),
            ("/", "/", Dialect::V1),
            ("/v1/x/blocks/a%2Fb", "/v1/x/blocks/a%2Fb", Dialect::V1),
            ("/openapi.json", "/openapi.json", Dialect::V1),
            ("/ws", "/v1/ws", Dialect::V1),
            ("/ws/?x=1", "/v1/ws?x=1", Dialect::V1),
            ("/api/ws", "/v1/ws", Dialect::Api),
            ("/wsx", "/wsx", Dialect::V1),
        ] {
            let (uri, found) = canonical(&given.parse().unwrap());
            assert_eq!((uri.to_string().as_str(), found), (wanted, dialect), "{given}");
        }
    }
}
