//! Which server is meant and how it is reached, as it was configured.
//!
//! Headers and environments carry tokens: what is printed of them is their names.

use std::collections::BTreeMap;
use std::fmt;

/// One server, as one version of its configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The identity of its session: the same key means the same session, so a changed configuration needs another key.
    pub key: String,
    /// How it is reached.
    pub transport: Transport,
}

/// How a server is reached.
#[derive(Clone, PartialEq, Eq)]
pub enum Transport {
    /// A program that is started here and spoken to through its standard input and output.
    Stdio {
        /// The program, a path or a name that is looked up in `PATH`.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// What it finds in its environment beside `PATH`, `HOME`, `LANG` and `TMPDIR`.
        env: BTreeMap<String, String>,
    },
    /// One address that takes every message by POST.
    StreamableHttp {
        /// The address.
        url: String,
        /// Headers of every request.
        headers: Vec<(String, String)>,
    },
    /// The older form: an event stream that names the address to post to.
    Sse {
        /// The address of the event stream.
        url: String,
        /// Headers of every request.
        headers: Vec<(String, String)>,
    },
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio { command, args, env } => f
                .debug_struct("Stdio")
                .field("command", command)
                .field("args", &args.len())
                .field("env", &env.keys().collect::<Vec<_>>())
                .finish(),
            Self::StreamableHttp { url, headers } => show(f, "StreamableHttp", url, headers),
            Self::Sse { url, headers } => show(f, "Sse", url, headers),
        }
    }
}

fn show(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    url: &str,
    headers: &[(String, String)],
) -> fmt::Result {
    f.debug_struct(name)
        .field("url", &shown(url))
        .field("headers", &headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
        .finish()
}

/// An address as it may be shown: without user, password, query and fragment.
pub(super) fn shown(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else { return "an address that is none".into() };
    // Both fail only for addresses that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_a_server_holds_no_secret() {
        let stdio = Transport::Stdio {
            command: "server".into(),
            args: vec!["--token=hidden".into()],
            env: BTreeMap::from([("TOKEN".into(), "hidden".into())]),
        };
        let headers = vec![("Authorization".to_owned(), "Bearer hidden".to_owned())];
        let url = "https://hidden:hidden@example.com/mcp?key=hidden#hidden".to_owned();
        let http = Transport::StreamableHttp { url: url.clone(), headers: headers.clone() };
        let sse = Transport::Sse { url, headers };
        for transport in [stdio, http, sse] {
            let shown = format!("{:?}", Server { key: "k".into(), transport });
            assert!(!shown.contains("hidden"), "{shown}");
            assert!(shown.contains("TOKEN") || shown.contains("example.com/mcp"), "{shown}");
        }
    }
}
