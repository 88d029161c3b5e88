//! Making MCP servers known and changing them: what a client gives, and what is kept of it.
//!
//! What a client does not say stays as it is. Values that open a door are read without a trace (no error and no `Debug`
//! holds one) and sealed on their way: only names pass this module in the clear.

use std::fmt;

use retold_actors::mcp::Opened;
use retold_events::{
    Sealed, Secret,
    mcp::{Remote, Server, Transport},
};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use utoipa::ToSchema;

use super::{McpServerType, Problem, SecretValues};

/// The name that a token is sealed under.
pub const AUTH_TOKEN: &str = "auth_token";

/// Characters of a server's name.
const MOST_NAME: usize = 128;
/// Arguments of a program, variables, or headers.
const MOST_PARTS: usize = 100;
/// Bytes of a program's name, of an argument, of a header, of a token.
const MOST_PART_BYTES: usize = 32 << 10;
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

/// An MCP server to be made known.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct CreateMcpServerRequest {
    /// What it is to be called. No two servers share a name.
    pub server_name: String,
    /// How it is reached.
    pub config: McpServerInput,
}

/// Changes of an MCP server. What is absent or `null` stays.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct UpdateMcpServerRequest {
    /// What it is to be called.
    pub server_name: Option<String>,
    /// How it is reached.
    #[serde(default)]
    pub config: Option<McpServerInput>,
}

/// An MCP server in the form of the older paths: to be made known, changed or tried.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct McpServerConfigInput {
    /// What it is to be called.
    pub server_name: Option<String>,
    /// How it is reached.
    #[serde(flatten)]
    pub config: McpServerInput,
}

/// How an MCP server is reached. A program needs `command`, a server at an address `server_url`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct McpServerInput {
    /// `stdio`, `sse` or `streamable_http`; in the older paths also `type`. Of an absent one: what the other members say.
    #[serde(alias = "type")]
    pub mcp_server_type: Option<McpServerType>,
    /// The program.
    pub command: Option<String>,
    /// Its arguments.
    pub args: Option<Vec<String>>,
    /// What it finds in its environment. An empty object leaves none.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    pub env: Option<SecretValues>,
    /// Where the server is.
    pub server_url: Option<String>,
    /// The header that carries the token; `Authorization` when absent, and an empty text makes it that again.
    pub auth_header: Option<String>,
    /// The token. In `Authorization`, one without a scheme is sent as `Bearer`. An empty text leaves none.
    #[schema(value_type = Option<String>)]
    pub auth_token: Option<HiddenText>,
    /// Further headers. An empty object leaves none.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    pub custom_headers: Option<SecretValues>,
}

/// A text that nothing but its reader gets to see.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenText(String);

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for HiddenText {
    /// Reads anything first: what serde says of a value that does not fit would repeat it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => Err(de::Error::custom("Input should be a valid string")),
        }
    }
}

/// What this server does with what a client gives: whether it calls an address, and how it seals a value.
pub trait Keeping {
    /// The address in its normal form.
    ///
    /// # Errors
    /// Why it is not called, and what to do.
    fn address(&self, url: &str) -> Result<String, Problem>;

    /// A value, sealed; `old` where that is of the same value.
    ///
    /// # Errors
    /// Why it cannot be sealed.
    fn seal(&self, name: &str, value: &str, old: Option<&Sealed>) -> Result<Sealed, Problem>;
}

impl CreateMcpServerRequest {
    /// The server as it is kept.
    ///
    /// # Errors
    /// [`Problem`].
    pub fn make(self, keeping: &dyn Keeping) -> Result<Server, Problem> {
        self.config.over(Some(self.server_name), None, keeping)
    }

    /// Its secrets, for a server that is not kept.
    #[must_use]
    pub fn opened(&self) -> Opened {
        let McpServerInput { env, custom_headers, auth_token, .. } = &self.config;
        let named = env.iter().chain(custom_headers).flat_map(SecretValues::iter);
        Opened {
            auth_token: auth_token.as_ref().map(|HiddenText(token)| token.clone()),
            named: named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    /// Whether anything of it has to be sealed.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.config.has_secrets()
    }
}

impl TryFrom<McpServerConfigInput> for CreateMcpServerRequest {
    type Error = Problem;

    fn try_from(input: McpServerConfigInput) -> Result<Self, Problem> {
        let McpServerConfigInput { server_name, config } = input;
        let server_name = server_name.ok_or_else(|| needed("server_name"))?;
        Ok(Self { server_name, config })
    }
}

impl From<McpServerConfigInput> for UpdateMcpServerRequest {
    fn from(input: McpServerConfigInput) -> Self {
        Self { server_name: input.server_name, config: Some(input.config) }
    }
}

impl UpdateMcpServerRequest {
    /// The server after the change.
    ///
    /// # Errors
    /// [`Problem`].
    pub fn over(&self, old: &Server, keeping: &dyn Keeping) -> Result<Server, Problem> {
        let config = self.config.clone().unwrap_or_default();
        config.over(self.server_name.clone(), Some(old), keeping)
    }

    /// Whether anything of it has to be sealed.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.config.as_ref().is_some_and(McpServerInput::has_secrets)
    }
}

impl McpServerInput {
    fn has_secrets(&self) -> bool {
        let has = |values: &Option<SecretValues>| {
            values.as_ref().is_some_and(|values| values.iter().next().is_some())
        };
        has(&self.env) || has(&self.custom_headers) || self.auth_token.is_some()
    }

    /// This over a server as it stands.
    fn over(
        self,
        name: Option<String>,
        old: Option<&Server>,
        keeping: &dyn Keeping,
    ) -> Result<Server, Problem> {
        let name = name.or_else(|| old.map(|old| old.name.clone()));
        let name = checked_name(name.ok_or_else(|| needed("server_name"))?)?;
        let wanted =
            self.mcp_server_type.or_else(|| old.map(|old| McpServerType::of(&old.transport)));
        let wanted = wanted.unwrap_or(match (&self.command, &self.server_url) {
            (Some(_), None) => McpServerType::Stdio,
            (None | Some(_), _) => McpServerType::StreamableHttp,
        });
        let old = old.map(|old| &old.transport);
        let transport = match wanted {
            McpServerType::Stdio => self.program(old, keeping)?,
            McpServerType::Sse => Transport::Sse(self.remote(old, keeping)?),
            McpServerType::StreamableHttp => Transport::StreamableHttp(self.remote(old, keeping)?),
        };
        Ok(Server { name, transport })
    }

    fn program(self, old: Option<&Transport>, keeping: &dyn Keeping) -> Result<Transport, Problem> {
        if self.server_url.is_some() {
            return Err(unprocessable("a server of the type stdio has no `server_url`"));
        }
        let (old_command, old_args, old_env) = match old {
            Some(Transport::Stdio { command, args, env }) => {
                (Some(command.clone()), Some(args.clone()), &env[..])
            }
            Some(Transport::Sse(_) | Transport::StreamableHttp(_)) | None => (None, None, &[][..]),
        };
        let command = self.command.or(old_command).ok_or_else(|| needed("command"))?;
        let args = self.args.or(old_args).unwrap_or_default();
        if command.trim().is_empty() {
            return Err(unprocessable("`command` may not be empty"));
        }
        check_count("args", args.len())?;
        for text in args.iter().chain([&command]) {
            if text.len() > MOST_PART_BYTES || text.contains('\0') {
                return Err(Problem::Unprocessable(format!(
                    "a command and its arguments have at most {MOST_PART_BYTES} bytes each and no NUL character"
                )));
            }
        }
        let env = sealed("env", self.env.as_ref(), old_env, keeping, |name, value| {
            let is_name = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
            is_name.then_some(()).ok_or("it is no environment variable: no `=` in its name, no NUL")
        })?;
        Ok(Transport::Stdio { command, args, env })
    }

    fn remote(self, old: Option<&Transport>, keeping: &dyn Keeping) -> Result<Remote, Problem> {
        if self.command.is_some() {
            return Err(unprocessable(
                "a server at an address has no `command`; use the type stdio",
            ));
        }
        let old = match old {
            Some(Transport::Sse(remote) | Transport::StreamableHttp(remote)) => Some(remote),
            Some(Transport::Stdio { .. }) | None => None,
        };
        let url = match (self.server_url, old) {
            (Some(url), _) => keeping.address(url.trim())?,
            (None, Some(old)) => old.url.clone(),
            (None, None) => return Err(needed("server_url")),
        };
        let auth_header = match self.auth_header.as_deref().map(str::trim) {
            None => old.and_then(|old| old.auth_header.clone()),
            Some("") => None,
            Some(name) => Some(check_header(name).map(|()| name.to_owned())?),
        };
        let old_token = old.and_then(|old| old.auth_token.as_ref());
        let auth_token = match &self.auth_token {
            None => old_token.cloned(),
            Some(HiddenText(token)) if token.is_empty() => None,
            Some(HiddenText(token)) => {
                check_value(token).map_err(|why| unprocessable(&format!("auth_token: {why}")))?;
                Some(keeping.seal(AUTH_TOKEN, token, old_token)?)
            }
        };
        let old_headers = old.map_or(&[][..], |old| &old.custom_headers);
        let given = self.custom_headers.as_ref();
        for (name, _) in given.iter().flat_map(|given| given.iter()) {
            check_header(name)?;
        }
        let custom_headers =
            sealed("custom_headers", given, old_headers, keeping, |_, value| check_value(value))?;
        check_once(auth_header.as_deref(), auth_token.is_some(), &custom_headers)?;
        Ok(Remote { url, auth_header, auth_token, custom_headers })
    }
}

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

/// Values under their names, sealed; what was not given stays.
fn sealed(
    member: &str,
    given: Option<&SecretValues>,
    old: &[Secret],
    keeping: &dyn Keeping,
    check: impl Fn(&str, &str) -> Result<(), &'static str>,
) -> Result<Vec<Secret>, Problem> {
    let Some(given) = given else { return Ok(old.to_vec()) };
    check_count(member, given.iter().count())?;
    let seal = |(name, value): (&str, &str)| {
        check(name, value).map_err(|why| {
            let name: String = name.chars().take(40).collect();
            unprocessable(&format!("{member}: {name:?}: {why}"))
        })?;
        if name.len() + value.len() > MOST_PART_BYTES {
            return Err(Problem::Unprocessable(format!(
                "{member}: {name:?} has more than {MOST_PART_BYTES} bytes"
            )));
        }
        let old = old.iter().find(|old| old.name == name).map(|old| &old.value);
        let value = keeping.seal(name, value, old)?;
        Ok(Secret { name: name.to_owned(), value })
    };
    given.iter().map(seal).collect()
}

fn checked_name(name: String) -> Result<String, Problem> {
    let fits = (1..=MOST_NAME).contains(&name.chars().count())
        && !name.trim().is_empty()
        && !name.contains(char::is_control);
    if fits {
        Ok(name)
    } else {
        Err(Problem::Unprocessable(format!(
            "server_name: 1 to {MOST_NAME} characters, not blanks alone, and none that control a terminal"
        )))
    }
}

fn check_count(member: &str, count: usize) -> Result<(), Problem> {
    if count > MOST_PARTS {
        return Err(Problem::Unprocessable(format!(
            "{member}: {count} are given, {MOST_PARTS} are allowed"
        )));
    }
    Ok(())
}

/// A name that a header may have, other than those of the connection and the protocol.
fn check_header(name: &str) -> Result<(), Problem> {
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

fn check_value(value: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
    if !value.bytes().all(fits) || value.trim() != value {
        return Err(
            "a header holds no line breaks or other control characters, and no blanks around it",
        );
    }
    if value.len() > MOST_PART_BYTES {
        return Err("it is longer than a header may be");
    }
    Ok(())
}

/// No header is sent twice, whatever the case of its name.
fn check_once(
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

fn needed(member: &str) -> Problem {
    Problem::Unprocessable(format!("{member} is needed"))
}

fn unprocessable(why: &str) -> Problem {
    Problem::Unprocessable(why.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Seals nothing, and calls loopback only.
    struct Plain;

    impl Keeping for Plain {
        fn address(&self, url: &str) -> Result<String, Problem> {
            let is_ours = url.starts_with("http://127.0.0.1");
            is_ours.then(|| url.to_owned()).ok_or_else(|| Problem::Invalid("not there".to_owned()))
        }

        fn seal(&self, _: &str, value: &str, old: Option<&Sealed>) -> Result<Sealed, Problem> {
            let new = Sealed { owner: [1; 16], bytes: value.as_bytes().to_vec() };
            Ok(old.filter(|old| old.bytes == new.bytes).cloned().unwrap_or(new))
        }
    }

    fn create(config: Value) -> Result<Server, Problem> {
        let body = json!({"server_name": "files", "config": config});
        serde_json::from_value::<CreateMcpServerRequest>(body).unwrap().make(&Plain)
    }

    fn update(old: &Server, body: Value) -> Result<Server, Problem> {
        serde_json::from_value::<UpdateMcpServerRequest>(body).unwrap().over(old, &Plain)
    }

    fn remote(server: &Server) -> &Remote {
        match &server.transport {
            Transport::Sse(remote) | Transport::StreamableHttp(remote) => remote,
            Transport::Stdio { .. } => panic!("{server:?}"),
        }
    }

    const URL: &str = "http://127.0.0.1/mcp";

    fn full() -> Server {
        create(json!({"mcp_server_type": "streamable_http", "server_url": URL, "auth_token": "t",
            "auth_header": "X-Key", "custom_headers": {"X-Team": "a"}}))
        .unwrap()
    }

    #[test]
    fn the_type_follows_from_what_is_given() {
        let program = create(json!({"command": "npx", "args": ["a"]})).unwrap();
        assert_eq!(McpServerType::of(&program.transport), McpServerType::Stdio);
        let address = create(json!({"server_url": URL})).unwrap();
        assert_eq!(McpServerType::of(&address.transport), McpServerType::StreamableHttp);
        let older = json!({"server_name": "files", "type": "sse", "server_url": URL});
        let older: McpServerConfigInput = serde_json::from_value(older).unwrap();
        let older = CreateMcpServerRequest::try_from(older).unwrap().make(&Plain).unwrap();
        assert_eq!(McpServerType::of(&older.transport), McpServerType::Sse);
    }

    #[test]
    fn what_a_change_does_not_say_stays_and_empty_leaves_nothing() {
        let nulls = json!({"server_name": null, "config": {"mcp_server_type": "streamable_http",
            "server_url": null, "auth_token": null, "auth_header": null, "custom_headers": null}});
        assert_eq!(update(&full(), nulls).unwrap(), full());
        assert_eq!(update(&full(), json!({"server_name": "files"})).unwrap(), full());
        let same = json!({"config": {"auth_token": "t", "custom_headers": {"X-Team": "a"}}});
        assert_eq!(update(&full(), same).unwrap(), full());
        let empty = json!({"config": {"auth_token": "", "auth_header": "", "custom_headers": {}}});
        let empty = update(&full(), empty).unwrap();
        let bare = Remote {
            url: URL.to_owned(),
            auth_header: None,
            auth_token: None,
            custom_headers: vec![],
        };
        assert_eq!(remote(&empty), &bare);
        // The other way to the same address, with everything it had.
        let sse = update(&full(), json!({"config": {"mcp_server_type": "sse"}})).unwrap();
        assert_eq!(
            (remote(&sse), McpServerType::of(&sse.transport)),
            (remote(&full()), McpServerType::Sse)
        );
    }

    #[test]
    fn what_is_missing_or_does_not_belong_is_named() {
        for (config, part) in [
            (json!({"mcp_server_type": "stdio"}), "command"),
            (json!({}), "server_url"),
            (json!({"mcp_server_type": "stdio", "command": "x", "server_url": URL}), "server_url"),
            (json!({"mcp_server_type": "sse", "server_url": URL, "command": "x"}), "command"),
            (json!({"command": " "}), "empty"),
            (json!({"command": "x", "env": {"A=B": "c"}}), "environment variable"),
            (json!({"server_url": URL, "custom_headers": {"Host": "a"}}), "Host"),
            (json!({"server_url": URL, "custom_headers": {"A B": "a"}}), "no name of a header"),
            (json!({"server_url": URL, "custom_headers": {"A": "secret\r\nB: c"}}), "line breaks"),
            (json!({"server_url": URL, "auth_token": "secret\n"}), "line breaks"),
            (json!({"server_url": URL, "auth_header": "Transfer-Encoding"}), "connection"),
            (
                json!({"server_url": URL, "auth_token": "t", "custom_headers": {"authorization": "a"}}),
                "twice",
            ),
            (json!({"server_url": URL, "custom_headers": {"A": "a", "a": "b"}}), "twice"),
        ] {
            let Err(Problem::Unprocessable(says)) = create(config.clone()) else {
                panic!("{config}")
            };
            assert!(says.contains(part) && !says.contains("secret"), "{config}: {says}");
        }
        assert_eq!(
            create(json!({"server_url": "ftp://x"})),
            Err(Problem::Invalid("not there".to_owned()))
        );
        for name in ["", " ", "a\u{1b}b", &"x".repeat(129)] {
            assert!(update(&full(), json!({"server_name": name})).is_err(), "{name:?}");
        }
    }

    #[test]
    fn no_value_is_told_by_an_error_or_a_debug() {
        for bad in [
            json!({"server_name": "a", "config": {"auth_token": {"secret": 1}}}),
            json!({"server_name": "a", "config": {"custom_headers": {"A": ["secret"]}}}),
            json!({"server_name": "a", "config": {"env": "secret"}}),
        ] {
            let says =
                serde_json::from_value::<CreateMcpServerRequest>(bad).unwrap_err().to_string();
            assert!(!says.contains("secret"), "{says}");
        }
        let good = json!({"server_name": "a", "config": {"auth_token": "secret", "custom_headers": {"A": "secret"},
            "env": {"B": "secret"}}});
        let good: CreateMcpServerRequest = serde_json::from_value(good).unwrap();
        assert!(!format!("{good:?}").contains("secret"));
    }

    #[test]
    fn a_token_is_a_bearer_unless_its_header_or_it_says_otherwise() {
        let header = |name: Option<&str>, token| {
            let remote = Remote { auth_header: name.map(str::to_owned), ..remote(&full()).clone() };
            auth_header(&remote, token)
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
