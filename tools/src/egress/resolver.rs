//! Names: looked up once per connection, and judged before anybody connects.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    pin::Pin,
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::{EgressError, Policy};

/// Addresses of a name, later.
pub type LookingUp = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Knows what addresses names have.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of a name, in the order in which they should be tried.
    fn addresses(&self, name: &str) -> LookingUp;
}

/// Names looked up at a time, in the whole process. Each takes a thread of the runtime's pool for as long as the system's resolver likes, which
/// the rest of the server needs too; who waits longer than a connection may take gives up.
const LOOKUPS: usize = 32;

static TURNS: Semaphore = Semaphore::const_new(LOOKUPS);

/// The resolver of this machine.
#[derive(Debug)]
pub(super) struct System;

impl Lookup for System {
    fn addresses(&self, name: &str) -> LookingUp {
        let name = name.to_owned();
        Box::pin(async move {
            let turn = TURNS.acquire().await.map_err(io::Error::other)?;
            let looking = tokio::task::spawn_blocking(move || {
                // Kept until the system's resolver has ended, also when nobody waits any longer.
                let _turn = turn;
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok(found.map(|address| address.ip()).collect())
            });
            looking.await.map_err(io::Error::other)?
        })
    }
}

/// What the connector asks: gives only addresses that may be called.
pub(super) struct Guard {
    policy: Policy,
    lookup: Arc<dyn Lookup>,
}

impl Guard {
    pub(super) fn new(policy: Policy, lookup: Arc<dyn Lookup>) -> Self {
        Self { policy, lookup }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, looking) = (self.policy.clone(), self.lookup.addresses(name.as_str()));
        Box::pin(async move {
            let found = looking.await.unwrap_or_else(|error| {
                tracing::debug!(name = name.as_str(), %error, "a name cannot be resolved");
                Vec::new()
            });
            let open = judged(&policy, name.as_str(), found)?;
            // The connector puts in the URL's port.
            let open = open.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(open) as Addrs)
        })
    }
}

/// Those of the addresses that may be called; at least one.
fn judged(policy: &Policy, name: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, EgressError> {
    let Some(first) = found.first().copied() else {
        return Err(EgressError::Unresolved { name: name.to_owned() });
    };
    if policy.trusts(name) {
        return Ok(found);
    }
    let open: Vec<_> =
        found.into_iter().filter(|address| policy.closed(*address).is_none()).collect();
    match policy.closed(first) {
        Some(what) if open.is_empty() => {
            tracing::debug!(name, address = %first, "a name resolves to where nobody may call");
            Err(EgressError::Closed { host: name.to_owned(), what, resolved: true })
        }
        Some(_) | None => Ok(open),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_names_are_looked_up_at_a_time_than_there_are_turns() {
        let turns = TURNS.acquire_many(u32::try_from(LOOKUPS).unwrap()).await.unwrap();
        let mut looking = System.addresses("127.0.0.1");
        // The paused clock goes on only while nothing is looked up.
        let waited = tokio::time::timeout(Duration::from_secs(1), &mut looking).await;
        assert!(waited.is_err(), "{waited:?}");
        drop(turns);
        assert_eq!(looking.await.unwrap(), [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(TURNS.available_permits(), LOOKUPS);
    }
}
