//! What the operator has opened beyond what everybody can reach.
//!
//! An entry opens exactly what it says. A network or an address without a port is open at all ports, whether it is written
//! as such or a name resolves to it. An address with a port is open at that port where the address itself is written,
//! because a resolver is not told ports. A name is the operator's word that wherever it leads is meant; one with a port is
//! called at that port only, wherever it leads.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    sync::Arc,
};

use super::{
    EgressError,
    address::{Network, special, unmapped},
};

/// What may be called: what everybody can reach, and these. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy(Arc<[Entry]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Everything,
    Network(Network),
    Address(IpAddr, u16),
    Name(String, Option<u16>),
}

/// Why an entry opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It has none of the forms.
    #[error(
        "`{0}` is none of: a network such as 10.0.0.0/8 or fd00::/8, an address, a host such as mcp.example.com, \
         either with a port such as localhost:8080, or *"
    )]
    Form(String),
    /// The length of its prefix is no number, or beyond the address.
    #[error("the prefix length of the network `{0}` must be a number up to 32, or 128 for IPv6")]
    Length(String),
    /// It is an address with a length, but not a network.
    #[error(
        "`{entry}` is an address inside a network: write {network} for all of it, or the address alone"
    )]
    InsideNetwork {
        /// What was given.
        entry: String,
        /// The network the address is in.
        network: String,
    },
    /// It is an IPv4 address written in a way that may mean another than its writer thinks.
    #[error("`{entry}` would mean {address}: write the address in that form if it is meant")]
    Spelling {
        /// What was given.
        entry: String,
        /// What it would mean.
        address: Ipv4Addr,
    },
    /// It is IPv4 in the dress of IPv6.
    #[error("`{0}` is an IPv4 address written as IPv6: write it as IPv4")]
    Mapped(String),
    /// Its port is none.
    #[error("the port of `{0}` must be a number from 1 to 65535")]
    Port(String),
}

impl Policy {
    /// The policy that opens these; empty ones are passed over.
    ///
    /// # Errors
    /// [`PolicyError`] for the first that cannot be understood.
    pub fn opening<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, PolicyError> {
        let entries = entries.into_iter().map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// Its entries in their normal form.
    pub fn entries(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    /// Judges a host that is an address.
    pub(super) fn judge(&self, address: IpAddr, port: Option<u16>) -> Result<(), EgressError> {
        let what = special(address).filter(|_| !self.opens(address, port));
        what.map_or(Ok(()), |what| {
            Err(EgressError::Closed { host: address.to_string(), what, resolved: false })
        })
    }

    /// Judges a host that is a name as far as that goes before it is resolved.
    pub(super) fn judge_name(&self, name: &str, port: Option<u16>) -> Result<(), EgressError> {
        let plain = plain(name);
        if self.opens_name(&plain, port) {
            return Ok(());
        }
        if let Some(port) = port.filter(|_| self.trusts(&plain)) {
            return Err(EgressError::Port { host: plain, port });
        }
        // RFC 6761, section 6.3: these never mean anything else.
        let is_local = plain == "localhost" || plain.ends_with(".localhost");
        let local = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        if is_local && !local.iter().any(|address| self.opens(*address, None)) {
            let what = "the server's own machine";
            return Err(EgressError::Closed { host: plain, what, resolved: false });
        }
        Ok(())
    }

    /// What an address is that a name resolves to, unless it may be called.
    pub(super) fn closed(&self, address: IpAddr) -> Option<&'static str> {
        special(address).filter(|_| !self.opens(address, None))
    }

    /// Whether a name may lead anywhere, at least at one port. The port was judged with the URL.
    pub(super) fn trusts(&self, name: &str) -> bool {
        let plain = plain(name);
        self.0.iter().any(|entry| match entry {
            Entry::Everything => true,
            Entry::Name(open, _) => *open == plain,
            Entry::Network(_) | Entry::Address(..) => false,
        })
    }

    fn opens(&self, address: IpAddr, port: Option<u16>) -> bool {
        let address = unmapped(address);
        self.0.iter().any(|entry| match entry {
            Entry::Everything => true,
            Entry::Network(network) => network.contains(address),
            Entry::Address(open, at) => *open == address && Some(*at) == port,
            Entry::Name(..) => false,
        })
    }

    fn opens_name(&self, plain: &str, port: Option<u16>) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Everything => true,
            Entry::Name(open, at) => open == plain && (at.is_none() || *at == port),
            Entry::Network(_) | Entry::Address(..) => false,
        })
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    /// Reads entries separated by commas.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::opening(text.split(','))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Network(network) => network.fmt(f),
            Self::Address(address, port) => std::net::SocketAddr::new(*address, *port).fmt(f),
            Self::Name(name, None) => f.write_str(name),
            Self::Name(name, Some(port)) => write!(f, "{name}:{port}"),
        }
    }
}

/// A name as it is compared: without the dot that ends an absolute one.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn entry(text: &str) -> Result<Entry, PolicyError> {
    if text == "*" {
        return Ok(Entry::Everything);
    }
    if let Some((address, length)) = text.split_once('/') {
        return network(text, address, length).map(Entry::Network);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return not_mapped(text, address).map(|address| Entry::Network(Network::of(address)));
    }
    let wrong = || PolicyError::Form(text.to_owned());
    if text.contains(['*', '%', '@']) {
        return Err(wrong());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => {
            let port = port.parse().ok().filter(|port| *port > 0);
            (host, Some(port.ok_or_else(|| PolicyError::Port(text.to_owned()))?))
        }
        Some(_) | None => (text, None),
    };
    let of_address = |address: IpAddr| {
        let address = not_mapped(text, address)?;
        Ok(port.map_or(Entry::Network(Network::of(address)), |port| Entry::Address(address, port)))
    };
    match url::Host::parse(host).map_err(|_| wrong())? {
        url::Host::Domain(name) => {
            let name = plain(&name);
            // One that still ends with a dot, or is nothing but one, is the name of no host.
            let is_name = !name.is_empty() && !name.ends_with('.');
            is_name.then_some(Entry::Name(name, port)).ok_or_else(wrong)
        }
        url::Host::Ipv4(address) if host.parse() == Ok(address) => of_address(address.into()),
        url::Host::Ipv4(address) => Err(PolicyError::Spelling { entry: text.to_owned(), address }),
        url::Host::Ipv6(address) => of_address(address.into()),
    }
}

fn network(text: &str, address: &str, length: &str) -> Result<Network, PolicyError> {
    let address: IpAddr = address.parse().map_err(|_| PolicyError::Form(text.to_owned()))?;
    let address = not_mapped(text, address)?;
    let network = length.parse().ok().and_then(|length| Network::new(address, length));
    let network = network.ok_or_else(|| PolicyError::Length(text.to_owned()))?;
    if network.first() != address {
        let network = network.to_string();
        return Err(PolicyError::InsideNetwork { entry: text.to_owned(), network });
    }
    Ok(network)
}

/// Such an entry would never apply: the addresses are compared as IPv4.
fn not_mapped(text: &str, address: IpAddr) -> Result<IpAddr, PolicyError> {
    if unmapped(address) == address {
        return Ok(address);
    }
    Err(PolicyError::Mapped(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> Vec<String> {
        text.parse::<Policy>().unwrap().entries().collect()
    }

    #[test]
    fn entries_are_read_and_shown_in_their_normal_form() {
        assert_eq!(normal(""), Vec::<String>::new());
        assert_eq!(
            normal(" 10.0.0.0/8, fd00::/8 ,,0.0.0.0/0,::/0,"),
            ["10.0.0.0/8", "fd00::/8", "0.0.0.0/0", "::/0"]
        );
        assert_eq!(
            normal("127.0.0.1,127.0.0.1/32,127.0.0.1:80,::1,[::1],[::1]:80,::1/128"),
            ["127.0.0.1", "127.0.0.1", "127.0.0.1:80", "::1", "::1", "[::1]:80", "::1"]
        );
        assert_eq!(
            normal("MCP.Example.com.,localhost:8080,b\u{fc}cher.example,*"),
            ["mcp.example.com", "localhost:8080", "xn--bcher-kva.example", "*"]
        );
    }

    #[test]
    fn an_entry_that_opens_nothing_is_refused_with_what_to_write() {
        for (text, says) in [
            ("10.0.0.0/33", "a number up to 32"),
            ("10.0.0.0/", "a number up to 32"),
            ("::/129", "128 for IPv6"),
            ("10.0.0.5/8", "write 10.0.0.0/8 for all of it"),
            ("fd00::1/8", "write fd00::/8 for all of it"),
            ("10.1", "would mean 10.0.0.1"),
            ("0x7f000001:80", "would mean 127.0.0.1"),
            ("010.0.0.1", "would mean 8.0.0.1"),
            ("::ffff:10.0.0.1", "write it as IPv4"),
            ("::ffff:0:0/96", "write it as IPv4"),
            ("[::ffff:10.0.0.1]:80", "write it as IPv4"),
            ("localhost:", "from 1 to 65535"),
            ("localhost:0", "from 1 to 65535"),
            ("localhost:65536", "from 1 to 65535"),
            ("http://a.example", "a host such as"),
            ("a.example/path", "a host such as"),
            ("*.example.com", "a host such as"),
            ("a b", "a host such as"),
            (".", "a host such as"),
            ("a.example..", "a host such as"),
            ("..:80", "a host such as"),
            ("u@a.example", "a host such as"),
            ("fe80::1%eth0", "a host such as"),
            ("[::1", "a host such as"),
            ("[::1]x", "from 1 to 65535"),
        ] {
            let refusal = text.parse::<Policy>().unwrap_err().to_string();
            assert!(refusal.contains(says) && refusal.contains(text), "{text}: {refusal}");
        }
    }

    #[test]
    fn every_bit_of_a_prefix_counts() {
        for length in 0..=32_u8 {
            let first =
                Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0));
            let network = Network::new(first.into(), length).unwrap();
            assert!(network.contains(Ipv4Addr::BROADCAST.into()), "{network}");
            if length > 0 {
                let outside = first.to_bits() ^ (1 << (32 - u32::from(length)));
                assert!(!network.contains(Ipv4Addr::from_bits(outside).into()), "{network}");
            }
            assert!(!network.contains(std::net::Ipv6Addr::from_bits(u128::MAX).into()));
        }
    }
}
