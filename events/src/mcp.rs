//! What can happen to an MCP server that a user made known: somebody else's program, whose tools agents may call.
//!
//! Each event holds the whole server as it is afterwards, as those of tools do. What opens a door there (tokens, headers,
//! environment variables) is sealed: whoever reads the log learns names and no values.

use serde::{Deserialize, Serialize};

use crate::{Sealed, Secret};

/// A fact about an MCP server.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It was made known.
    Created(Created),
    /// Something about it changed.
    Updated(Updated),
    /// It is forgotten; its id is never used again, its name may be.
    Deleted(Deleted),
}

/// An MCP server was made known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// Everything about it.
    pub server: Server,
}

/// Something about an MCP server changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Updated {
    /// Everything about it, after the change.
    pub server: Server,
}

/// An MCP server is forgotten. Its tools have events of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deleted {}

/// Everything about an MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// What its client calls it. No two of them share a name; the tools of the server bear it.
    pub name: String,
    /// How it is reached.
    pub transport: Transport,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// As a program that is started here and spoken to over its standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// What it finds in its environment.
        env: Vec<Secret>,
    },
    /// Over HTTP, by one address that is posted to.
    StreamableHttp(Remote),
    /// Over HTTP, by an address whose events tell where to post: the way of older servers.
    Sse(Remote),
}

/// A server at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// Where it is. It holds no user and no password.
    pub url: String,
    /// The header that carries the token; `None` for `Authorization`.
    pub auth_header: Option<String>,
    /// The token, as its client gave it.
    pub auth_token: Option<Sealed>,
    /// Further headers.
    pub custom_headers: Vec<Secret>,
}
