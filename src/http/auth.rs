//! Who may ask: the password, and the defences of a server that has none.
//!
//! A server without a password trusts whoever can open a socket to it. A browser can, on behalf of any page it shows: by
//! a name that resolves to this machine (so the `Host` header is checked), and by sending forms across origins (so the
//! `Origin` header is checked). What a page may do with a WebSocket it may do without reading a response, so the
//! handshake of one counts as a change. A page cannot set headers there: it puts the password among the protocols it
//! offers, as `bearer.<base64url of the password>`. Nothing here looks at what is asked for.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, Method, Uri, header},
};
use data_encoding::BASE64URL_NOPAD;
use retold_events::defect::Defect;
use subtle::ConstantTimeEq as _;

use super::error::ApiError;

/// The older way to send the password: `password <text>`.
const BARE_PASSWORD: HeaderName = HeaderName::from_static("x-bare-password");
/// The acting user of V1. There is one user here, but a malformed id is refused as V1 does.
const USER_ID: HeaderName = HeaderName::from_static("user_id");

/// Paths anybody may read: whether the server is there, and whether it is ready.
const OPEN_PATHS: [&str; 5] = ["/v1/health", "/v1/ready", "/livez", "/readyz", "/healthz"];

/// What is demanded of requests.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// Hash of the password; both sides are hashed so that comparing them tells nothing, not even their lengths.
    password: Option<blake3::Hash>,
    /// Names by which the server may be called; `None` for any.
    hosts: Option<Vec<String>>,
    /// Web origins that may change things.
    origins: Vec<String>,
}

impl Guard {
    /// The guard of a server at `address` with these settings.
    pub(super) fn new(address: SocketAddr, password: Option<&str>, origins: &[String]) -> Self {
        let any_origin = origins.iter().any(|origin| origin == "*");
        // A password protects from pages that use a name of their own for this machine; so does nobody being kept out.
        let names_matter = password.is_none() && address.ip().is_loopback() && !any_origin;
        Self {
            password: password.map(|password| blake3::hash(password.as_bytes())),
            hosts: names_matter.then(|| allowed_hosts(address.ip(), origins)),
            origins: origins.to_vec(),
        }
    }

    /// Lets a request pass or says why not. `path` is its canonical one.
    pub(super) fn check(&self, path: &str, request: &Request) -> Result<(), ApiError> {
        self.check_host(request.uri(), request.headers())?;
        if OPEN_PATHS.contains(&path) {
            return Ok(());
        }
        self.check_origin(request.method(), request.headers())?;
        self.check_password(request.headers())?;
        check_user(request.headers())
    }

    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(allowed) = &self.hosts else { return Ok(()) };
        let in_header =
            headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or("?"));
        let in_uri = uri.authority().map(|authority| authority.as_str());
        match in_header
            .chain(in_uri)
            .find(|host| !allowed.iter().any(|name| name == &host_name(host)))
        {
            Some(foreign) => Err(ApiError::ForeignHost(host_name(foreign))),
            None => Ok(()),
        }
    }

    fn check_origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("?");
        let is_own =
            headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| {
                origin.split_once("://").is_some_and(|(_, name)| name.eq_ignore_ascii_case(host))
            });
        let is_known =
            self.origins.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin));
        // Reading across origins is for the browser to prevent, which it does.
        let reads = method.is_safe() && !is_handshake(headers);
        if reads || is_own || is_known || Defect::AnyOrigin.is_on() {
            return Ok(());
        }
        Err(ApiError::ForeignOrigin(origin.to_owned()))
    }

    fn check_password(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(wanted) = &self.password else { return Ok(()) };
        let bearer = text(headers, &header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        let bearer = bearer
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let bare = text(headers, &BARE_PASSWORD)
            .and_then(|value| value.strip_prefix("password "))
            .map(str::trim);
        let matches = |given: &[u8]| {
            let given = blake3::hash(given);
            bool::from(given.as_bytes().ct_eq(wanted.as_bytes()))
        };
        let offered = offered_password(headers);
        let given = [bearer, bare].into_iter().flatten().map(str::as_bytes);
        if given.chain(offered.as_deref()).any(matches) || Defect::AnyPassword.is_on() {
            Ok(())
        } else {
            Err(ApiError::Unauthorized)
        }
    }
}

/// Whether a WebSocket is asked for.
pub(super) fn is_handshake(headers: &HeaderMap) -> bool {
    let asked = headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    asked
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("websocket"))
}

/// The password among the protocols that a WebSocket's handshake offers.
fn offered_password(headers: &HeaderMap) -> Option<Vec<u8>> {
    if !is_handshake(headers) {
        return None;
    }
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|name| name.trim().strip_prefix("bearer."))?;
    BASE64URL_NOPAD.decode(offered.trim_end_matches('=').as_bytes()).ok()
}

fn check_user(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(id) = headers.get(USER_ID) else { return Ok(()) };
    let id = id.to_str().unwrap_or("?");
    let uuid = id
        .strip_prefix("user-")
        .filter(|rest| rest.len() == 36)
        .and_then(|rest| uuid::Uuid::try_parse(rest).ok());
    let is_v4 = |uuid: &uuid::Uuid| {
        uuid.get_version_num() == 4 && uuid.get_variant() == uuid::Variant::RFC4122
    };
    if uuid.as_ref().is_some_and(is_v4) {
        return Ok(());
    }
    Err(ApiError::MalformedUser(id.chars().take(100).collect()))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn allowed_hosts(bound: IpAddr, origins: &[String]) -> Vec<String> {
    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let configured = origins
        .iter()
        .filter_map(|origin| origin.split_once("://").map(|(_, host)| host_name(host)));
    own.into_iter().chain([bound.to_string()]).chain(configured).collect()
}

/// The name in a `Host` header: without port and brackets, lower-case.
fn host_name(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn guard(address: &str, password: Option<&str>, origins: &[&str]) -> Guard {
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        Guard::new(address.parse().unwrap(), password, &origins)
    }

    fn asked(
        guard: &Guard,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), String> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.check(path, &request.body(Body::empty()).unwrap()).map_err(|error| error.code())
    }

    #[test]
    fn the_password_opens_in_both_forms() {
        let guard = guard("127.0.0.1:1", Some("secret"), &[]);
        for (name, value) in [
            ("authorization", "Bearer secret"),
            ("authorization", "bearer  secret"),
            ("x-bare-password", "password secret"),
        ] {
            assert_eq!(asked(&guard, "GET", "/v1/agents", &[(name, value)]), Ok(()), "{value}");
        }
        for (name, value) in [
            ("authorization", "Bearer secre"),
            ("authorization", "Bearer secrett"),
            ("authorization", "Basic secret"),
            ("authorization", "secret"),
            ("x-bare-password", "secret"),
            ("x-other", ""),
        ] {
            assert_eq!(
                asked(&guard, "GET", "/v1/agents", &[(name, value)]),
                Err("unauthorized".to_owned()),
                "{value}"
            );
        }
    }

    #[test]
    fn a_page_offers_the_password_among_its_protocols_and_only_in_a_handshake() {
        let guard = guard("127.0.0.1:1", Some("open sesame/1"), &[]);
        let ask = |upgrade: &str, protocol: &str| {
            let headers = [("upgrade", upgrade), ("sec-websocket-protocol", protocol)];
            asked(&guard, "GET", "/v1/ws", &headers)
        };
        assert_eq!(ask("websocket", "retold, bearer.b3BlbiBzZXNhbWUvMQ"), Ok(()));
        assert_eq!(ask("WebSocket", "bearer.b3BlbiBzZXNhbWUvMQ=="), Ok(()));
        for (upgrade, protocol) in [
            ("websocket", "retold"),
            ("websocket", "bearer."),
            ("websocket", "bearer.b3BlbiBzZXNhbWUvMg"),
            ("websocket", "bearer.open sesame/1"),
            ("websocket", "b3BlbiBzZXNhbWUvMQ"),
            ("h2c", "bearer.b3BlbiBzZXNhbWUvMQ"),
        ] {
            assert_eq!(ask(upgrade, protocol), Err("unauthorized".to_owned()), "{protocol}");
        }
    }

    #[test]
    fn a_handshake_of_a_foreign_page_is_refused_although_it_is_a_get() {
        let guard = guard("127.0.0.1:1", None, &["https://app.example"]);
        let ask = |origin: &str| {
            let headers = [("host", "localhost:1"), ("upgrade", "WebSocket"), ("origin", origin)];
            asked(&guard, "GET", "/v1/ws", &headers)
        };
        assert_eq!(ask("https://app.example"), Ok(()));
        assert_eq!(ask("http://localhost:1"), Ok(()));
        for origin in ["https://evil.example", "null", "http://localhost:2", "", "file://"] {
            assert_eq!(ask(origin), Err("foreign_origin".to_owned()), "{origin}");
        }
        let no_page = [("host", "localhost:1"), ("upgrade", "websocket")];
        assert_eq!(asked(&guard, "GET", "/v1/ws", &no_page), Ok(()));
    }

    #[test]
    fn health_is_open_to_all() {
        let guard = guard("0.0.0.0:1", Some("secret"), &[]);
        assert_eq!(asked(&guard, "GET", "/v1/health", &[]), Ok(()));
        assert_eq!(asked(&guard, "GET", "/v1/ready", &[]), Ok(()));
        assert_eq!(asked(&guard, "GET", "/v1/healthy", &[]), Err("unauthorized".to_owned()));
    }

    #[test]
    fn an_open_server_on_loopback_answers_to_local_names_only() {
        let guard = guard("127.0.0.2:1", None, &["https://app.example:8443"]);
        for host in [
            "localhost",
            "LOCALHOST:8283",
            "127.0.0.1:1",
            "[::1]:1",
            "127.0.0.2",
            "app.example:1",
            "localhost.",
        ] {
            assert_eq!(asked(&guard, "GET", "/v1/agents", &[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(asked(&guard, "GET", "/v1/agents", &[]), Ok(()));
        for host in ["evil.example", "evil.example:8283", "localhost.evil.example", "10.0.0.1", ""]
        {
            assert!(asked(&guard, "GET", "/v1/health", &[("host", host)]).is_err(), "{host}");
        }
        let closed = self::guard("127.0.0.1:1", Some("secret"), &[]);
        let password = ("authorization", "Bearer secret");
        assert_eq!(asked(&closed, "GET", "/v1/agents", &[("host", "my.proxy"), password]), Ok(()));
    }

    #[test]
    fn pages_of_other_origins_change_nothing_unless_named() {
        let guard = guard("127.0.0.1:1", None, &["https://app.example"]);
        let ask = |method, origin| {
            asked(&guard, method, "/v1/agents", &[("host", "localhost:1"), ("origin", origin)])
        };
        assert_eq!(ask("POST", "https://app.example"), Ok(()));
        assert_eq!(ask("POST", "http://localhost:1"), Ok(()));
        assert_eq!(ask("GET", "https://evil.example"), Ok(()));
        for origin in
            ["https://evil.example", "null", "http://localhost:2", "https://app.example.evil"]
        {
            assert_eq!(ask("POST", origin), Err("foreign_origin".to_owned()));
        }
    }

    #[test]
    fn a_malformed_user_is_refused() {
        let guard = guard("127.0.0.1:1", None, &[]);
        let ask = |id| asked(&guard, "GET", "/v1/agents", &[("user_id", id)]);
        assert_eq!(ask("user-00000000-0000-4000-8000-000000000000"), Ok(()));
        for id in [
            "user-1",
            "agent-00000000-0000-4000-8000-000000000000",
            "user-00000000-0000-1000-8000-000000000000",
        ] {
            assert_eq!(ask(id), Err("malformed_user_id".to_owned()));
        }
    }
}
