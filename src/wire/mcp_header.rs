//! Headers that a client gives for an MCP server: which there may be, and how a token is sent.

use retold_events::{Secret, mcp::Remote};

use super::Problem;

/// Bytes of a header's value.
const MOST_VALUE_BYTES: usize = 32 << 10;
/// Headers that are of the connection or of the protocol: whoever sets one breaks either.
const NOT_HEADERS: [&str; 18] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The header that carries a token, and its value.
#[must_use]
pub fn auth_header(remote: &Remote, token: &str) -> (String, String) {
    let name = remote.auth_header.as_deref().unwrap_or("Authorization");
    let has_scheme = token.contains(' ');
    let value = if name.eq_ignore_ascii_case("authorization") && !has_scheme {
        format!("Bearer {token}")
    } else {
        token.to_owned()
    };
    (name.to_owned(), value)
}

/// A name that a header may have, other than those of the connection and the protocol.
pub(super) fn check_header(name: &str) -> Result<(), Problem> {
    let shown: String = name.chars().take(40).collect();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(fits) {
        return Err(Problem::Unprocessable(format!("{shown:?} is no name of a header")));
    }
    let lower = name.to_ascii_lowercase();
    if NOT_HEADERS.contains(&&*lower) {
        return Err(Problem::Unprocessable(format!(
            "the header {shown} belongs to the connection or to the protocol and cannot be set"
        )));
    }
    Ok(())
}

pub(super) fn check_value(value: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
    if !value.bytes().all(fits) || value.trim() != value {
        return Err(
            "a header holds no line breaks or other control characters, and no blanks around it",
        );
    }
    if value.len() > MOST_VALUE_BYTES {
        return Err("it is longer than a header may be");
    }
    Ok(())
}

/// No header is sent twice, whatever the case of its name.
pub(super) fn check_once(
    auth_header: Option<&str>,
    has_token: bool,
    custom: &[Secret],
) -> Result<(), Problem> {
    let token = has_token.then_some(auth_header.unwrap_or("Authorization"));
    let mut seen: Vec<String> = token.into_iter().map(str::to_ascii_lowercase).collect();
    for Secret { name, .. } in custom {
        let lower = name.to_ascii_lowercase();
        if seen.contains(&lower) {
            return Err(Problem::Unprocessable(format!(
                "the header {name} is given twice: by auth_token or by another custom header"
            )));
        }
        seen.push(lower);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_bearer_unless_its_header_or_it_says_otherwise() {
        let header = |name: Option<&str>, token| {
            let (url, auth_header) = (String::new(), name.map(str::to_owned));
            let remote = Remote { url, auth_header, auth_token: None, custom_headers: Vec::new() };
            super::auth_header(&remote, token)
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(header(None, "t"), pair("Authorization", "Bearer t"));
        assert_eq!(
            header(Some("authorization"), "Basic dQ=="),
            pair("authorization", "Basic dQ==")
        );
        assert_eq!(header(Some("X-Key"), "t"), pair("X-Key", "t"));
    }
}
