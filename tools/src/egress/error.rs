//! Why an address is not called.
//!
//! The sentences are for whoever gave the address. They name at most its scheme, host and port, because the rest of an
//! address may be a secret; and they do not say what a name resolves to, because who asks may be outside of the network
//! that knows.

use std::error::Error;

/// How much of a scheme is repeated; the known ones are shorter.
const LONGEST_SCHEME: usize = 32;

/// Why an address is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// It is no address at all.
    #[error("this is not a URL that can be called: {0}")]
    NotAUrl(#[source] url::ParseError),
    /// It is longer than any address is.
    #[error("the URL is longer than {longest} bytes")]
    TooLong {
        /// What is allowed.
        longest: usize,
    },
    /// It is not of the web.
    #[error("the scheme of a URL must be http or https, not `{scheme}`")]
    Scheme {
        /// Its scheme.
        scheme: String,
    },
    /// It has a user name or a password in it.
    #[error("a URL must not have a user name or a password in it")]
    Login,
    /// It is, or its name resolves to nothing but, what not everybody can reach.
    #[error("{}", closed_text(.host, .what, *.resolved))]
    Closed {
        /// Its host, as it is written.
        host: String,
        /// What that is, with its article.
        what: &'static str,
        /// Whether that was found by resolving a name.
        resolved: bool,
    },
    /// Its host is open at other ports.
    #[error("`egress_allow` opens `{host}` only at ports other than {port}")]
    Port {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Its name means nothing.
    #[error("the name `{name}` cannot be resolved")]
    Unresolved {
        /// The name.
        name: String,
    },
    /// It redirects from https to http.
    #[error("it redirects from https to http, which is not followed")]
    Downgrade,
    /// It redirects to another scheme, host or port, where that is not wanted.
    #[error("it redirects to another scheme, host or port, which is not followed")]
    Elsewhere,
    /// It redirects without end.
    #[error("it redirects more than {most} times")]
    TooManyRedirects {
        /// What is followed.
        most: usize,
    },
    /// The client could not be set up.
    #[error("no client for outgoing calls can be set up: {0}")]
    Client(String),
}

impl EgressError {
    /// The one among the causes of an error, if it is there: of a request that failed.
    #[must_use]
    pub fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }

    pub(super) fn scheme(scheme: &str) -> Self {
        Self::Scheme { scheme: scheme.chars().take(LONGEST_SCHEME).collect() }
    }
}

fn closed_text(host: &str, what: &str, resolved: bool) -> String {
    let verb = if resolved { "resolves to" } else { "is" };
    format!(
        "`{host}` {verb} {what}, which this server does not call; \
         its operator can open it with the setting `egress_allow`"
    )
}
