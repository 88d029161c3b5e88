//! Where the server may call on behalf of its clients: every address that a client can name goes through [`Egress`].
//!
//! A server is often inside a network that its clients are outside of, so an address a client names is a way in: to the
//! machine's own services, to the network's, to a cloud's metadata. So only addresses that everybody can reach are called,
//! and those that the operator has opened ([`Policy`]). An address is judged three times: when it is given
//! ([`Egress::check`], without I/O, so that its giver is told at once), before each request ([`Client::request`], because
//! literal addresses pass by the resolver), and when its name is resolved. A name is resolved once per connection, and the
//! connection goes to the very addresses that were judged, so a name that later means something else gains nothing.
//! Redirects are judged like requests.
//!
//! Of a name with several addresses those that may be called are called, and the others are as if they were not there:
//! `localhost` works where only 127.0.0.1 was opened, and no connection is ever made to an address that was not judged.
//!
//! The addresses of the operator (providers, the collector of traces) do not come this way: who configures the server
//! decides where it is.

mod address;
mod client;
mod error;
mod policy;
mod resolver;

use std::{fmt, sync::Arc};

pub use reqwest::Url;

use self::resolver::{Guard, System};
pub use self::{
    client::{CONNECT_TIMEOUT, Client, MAX_REDIRECTS, Redirects},
    error::EgressError,
    policy::{Policy, PolicyError},
    resolver::{LookingUp, Lookup},
};

/// Longest address that is looked at. RFC 9110, section 4.1, asks for at least 8000.
const LONGEST_URL: usize = 8192;

/// The one way out. Cheap to clone; the default opens nothing beyond what everybody can reach.
#[derive(Clone)]
pub struct Egress {
    policy: Policy,
    lookup: Arc<dyn Lookup>,
}

impl Egress {
    /// The way out under a policy, with the names of this machine's resolver.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::with_lookup(policy, Arc::new(System))
    }

    /// The same with names looked up elsewhere.
    #[must_use]
    pub fn with_lookup(policy: Policy, lookup: Arc<dyn Lookup>) -> Self {
        Self { policy, lookup }
    }

    /// What is open.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Judges an address as far as it can be without asking anybody: its scheme, its form, and its host where that is an
    /// address itself, however it is spelled. Gives it in its normal form. A name may still turn out to lead where this
    /// server does not call.
    ///
    /// # Errors
    /// [`EgressError`], which repeats neither a path nor a query nor anything secret.
    pub fn check(&self, url: &str) -> Result<Url, EgressError> {
        let short = |url: &str| match url.len() {
            ..=LONGEST_URL => Ok(()),
            _ => Err(EgressError::TooLong { longest: LONGEST_URL }),
        };
        short(url)?;
        let url = Url::parse(url).map_err(EgressError::NotAUrl)?;
        // The normal form is what is kept and judged again: it has three bytes for each that has to be escaped.
        short(url.as_str())?;
        self.check_parsed(&url)?;
        Ok(url)
    }

    /// The same for one that is parsed: a redirect.
    fn check_parsed(&self, url: &Url) -> Result<(), EgressError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EgressError::scheme(url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressError::Login);
        }
        let port = url.port_or_known_default();
        match url.host() {
            Some(url::Host::Domain(name)) => self.policy.judge_name(name, port),
            Some(url::Host::Ipv4(address)) => self.policy.judge(address.into(), port),
            Some(url::Host::Ipv6(address)) => self.policy.judge(address.into(), port),
            None => Err(EgressError::NotAUrl(url::ParseError::EmptyHost)),
        }
    }

    /// A client that calls nothing else. `configure` sets timeouts and the like; what keeps calls in is set after it.
    ///
    /// Reading the system's certificates takes milliseconds: keep the client.
    ///
    /// # Errors
    /// [`EgressError::Client`] when it cannot be built.
    pub fn client(
        &self,
        redirects: Redirects,
        configure: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Client, EgressError> {
        Client::new(self.clone(), redirects, configure)
    }

    fn guard(&self) -> Guard {
        Guard::new(self.policy.clone(), Arc::clone(&self.lookup))
    }
}

impl Default for Egress {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("policy", &self.policy).finish_non_exhaustive()
    }
}
