//! The client through which addresses of clients are called. It has no way to a request that was not judged.

use std::time::Duration;

use reqwest::{ClientBuilder, Method, RequestBuilder, redirect};

use super::{Egress, EgressError, Url};

/// How long a connection may take, resolving and TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many redirects are followed.
pub const MAX_REDIRECTS: usize = 5;

/// What becomes of an answer that points elsewhere. Each that is followed is judged like a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// It is the answer.
    Never,
    /// It is followed within the same scheme, host and port; else the request fails. For requests with secrets of their own
    /// in their headers: the HTTP library takes away only `Authorization` and cookies when it goes to another host.
    SameOrigin,
    /// It is followed, but not from https to http.
    Anywhere,
}

/// Calls what may be called. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    egress: Egress,
    inner: reqwest::Client,
}

impl Client {
    pub(super) fn new(
        egress: Egress,
        redirects: Redirects,
        configure: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, EgressError> {
        // `Err` means that somebody has installed a provider before, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            let plain = reqwest::Client::builder()
                .user_agent(concat!("retold/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT);
            kept_in(configure(plain), &egress, redirects)
        };
        let built = builder().build().or_else(|error| {
            // A slim container without a certificate store must still reach what it can over plain HTTP.
            tracing::warn!(%error, "no system certificates: https addresses will be refused");
            builder().tls_certs_only([]).build()
        });
        let inner = built.map_err(|error| EgressError::Client(error.to_string()))?;
        Ok(Self { egress, inner })
    }

    /// Judges an address without calling it, as [`Egress::check`] does.
    ///
    /// # Errors
    /// [`EgressError`] as of [`Egress::check`].
    pub fn check(&self, url: impl AsRef<str>) -> Result<Url, EgressError> {
        self.egress.check(url.as_ref())
    }

    /// A request to an address that may be called, as far as that is known before its name is resolved; what is found then
    /// is the error of sending it, see [`EgressError::within`].
    ///
    /// # Errors
    /// [`EgressError`] as of [`Egress::check`].
    pub fn request(
        &self,
        method: Method,
        url: impl AsRef<str>,
    ) -> Result<RequestBuilder, EgressError> {
        Ok(self.inner.request(method, self.check(url)?))
    }

    /// A GET. See [`Client::request`].
    ///
    /// # Errors
    /// [`EgressError`] as of [`Egress::check`].
    pub fn get(&self, url: impl AsRef<str>) -> Result<RequestBuilder, EgressError> {
        self.request(Method::GET, url)
    }

    /// A POST. See [`Client::request`].
    ///
    /// # Errors
    /// [`EgressError`] as of [`Egress::check`].
    pub fn post(&self, url: impl AsRef<str>) -> Result<RequestBuilder, EgressError> {
        self.request(Method::POST, url)
    }
}

/// Sets what must not be forgotten, over whatever was set before.
fn kept_in(builder: ClientBuilder, egress: &Egress, redirects: Redirects) -> ClientBuilder {
    let policy = match redirects {
        Redirects::Never => redirect::Policy::none(),
        Redirects::SameOrigin | Redirects::Anywhere => follow(egress.clone(), redirects),
    };
    // A proxy would resolve names on its own, and a referrer would tell where a request came from.
    builder.dns_resolver(egress.guard()).redirect(policy).no_proxy().referer(false)
}

fn follow(egress: Egress, redirects: Redirects) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        match hop(&egress, redirects, attempt.previous(), attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(error) => attempt.error(error),
        }
    })
}

/// Judges one redirect: `before` are the addresses called so far, the last of which sends to `next`.
fn hop(
    egress: &Egress,
    redirects: Redirects,
    before: &[Url],
    next: &Url,
) -> Result<(), EgressError> {
    if before.len() > MAX_REDIRECTS {
        return Err(EgressError::TooManyRedirects { most: MAX_REDIRECTS });
    }
    if let Some(last) = before.last() {
        if last.scheme() == "https" && next.scheme() == "http" {
            return Err(EgressError::Downgrade);
        }
        if redirects == Redirects::SameOrigin && last.origin() != next.origin() {
            return Err(EgressError::Elsewhere);
        }
    }
    egress.check_parsed(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(redirects: Redirects, from: &str, to: &str) -> Result<(), EgressError> {
        let url = |text: &str| Url::parse(text).unwrap();
        hop(&Egress::default(), redirects, &[url(from)], &url(to))
    }

    #[test]
    fn a_redirect_never_leaves_tls() {
        let anywhere = |from, to| judged(Redirects::Anywhere, from, to);
        for to in ["http://a.example/", "http://b.example/", "http://a.example:443/"] {
            assert_eq!(anywhere("https://a.example/", to), Err(EgressError::Downgrade), "{to}");
        }
        assert_eq!(anywhere("http://a.example/", "https://a.example/"), Ok(()));
        assert_eq!(anywhere("http://a.example/", "http://b.example/"), Ok(()));
    }

    #[test]
    fn another_scheme_host_or_port_is_another_origin() {
        let same = |from, to| judged(Redirects::SameOrigin, from, to);
        assert_eq!(same("https://a.example/x", "https://A.example:443/y"), Ok(()));
        for to in ["https://b.example/", "https://a.example:444/", "https://a.example.b/"] {
            assert_eq!(same("https://a.example/", to), Err(EgressError::Elsewhere), "{to}");
        }
        assert_eq!(same("http://a.example/", "https://a.example/"), Err(EgressError::Elsewhere));
    }

    #[test]
    fn what_the_caller_configures_cannot_undo_what_keeps_calls_in() {
        // Before a request is built, its address is judged, whatever the builder was told.
        let open = |builder: ClientBuilder| builder.redirect(redirect::Policy::limited(100));
        let client = Egress::default().client(Redirects::Never, open).unwrap();
        assert!(client.get("http://127.0.0.1/").is_err());
        assert!(client.request(Method::PUT, "http://127.0.0.1/").is_err());
        assert!(client.post(Url::parse("http://127.0.0.1/").unwrap()).is_err());
    }
}
