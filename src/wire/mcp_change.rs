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

use super::{
    McpServerType, Problem, SecretValues,
    mcp_header::{check_header, check_once, check_value},
};

#[cfg(test)]
mod tests;

/// The name that a token is sealed under.
pub const AUTH_TOKEN: &str = "auth_token";

/// Characters of a server's name.
const MOST_NAME: usize = 128;
/// Arguments of a program, variables, or headers.
const MOST_PARTS: usize = 100;
/// Bytes of a program's name, of an argument, of a header, of a token.
const MOST_PART_BYTES: usize = 32 << 10;
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
    /// `stdio`, `sse` or `streamable_http`; in the older paths also `type`. When absent, what the other
    /// members say: `sse` for an address that ends with `/sse`.
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
        let wanted = wanted.unwrap_or_else(|| self.likely_type());
        let old = old.map(|old| &old.transport);
        let transport = match wanted {
            McpServerType::Stdio => self.program(old, keeping)?,
            McpServerType::Sse => Transport::Sse(self.remote(old, keeping)?),
            McpServerType::StreamableHttp => Transport::StreamableHttp(self.remote(old, keeping)?),
        };
        Ok(Server { name, transport })
    }

    /// The type of a server whose client does not say: older servers have their event stream at `/sse`.
    fn likely_type(&self) -> McpServerType {
        match (&self.command, &self.server_url) {
            (Some(_), None) => McpServerType::Stdio,
            (None | Some(_), Some(url)) if url.trim_end_matches('/').ends_with("/sse") => {
                McpServerType::Sse
            }
            (None | Some(_), _) => McpServerType::StreamableHttp,
        }
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

fn needed(member: &str) -> Problem {
    Problem::Unprocessable(format!("{member} is needed"))
}

fn unprocessable(why: &str) -> Problem {
    Problem::Unprocessable(why.to_owned())
}
