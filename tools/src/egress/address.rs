//! Which addresses everybody can reach, and what the others are.
//!
//! Source: IANA's registries of special-purpose addresses for IPv4 and IPv6. Of IPv6 only what has been given out for
//! general use (2000::/3) counts as reachable, so that a range that is put to a special use later is refused already.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that share their first `length` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    first: IpAddr,
    length: u8,
}

impl Network {
    /// The network that an address of it and a length name. `None` when no address of that kind has so many bits.
    pub(super) fn new(address: IpAddr, length: u8) -> Option<Self> {
        let first = match address {
            IpAddr::V4(it) if length <= 32 => {
                IpAddr::V4(Ipv4Addr::from_bits(it.to_bits() & mask_v4(length)))
            }
            IpAddr::V6(it) if length <= 128 => {
                IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() & mask_v6(length)))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Self { first, length })
    }

    /// The network of one address.
    pub(super) fn of(address: IpAddr) -> Self {
        Self { first: address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    pub(super) fn first(&self) -> IpAddr {
        self.first
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.length).is_some_and(|network| network.first == self.first)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Self::of(self.first) {
            return self.first.fmt(f);
        }
        write!(f, "{}/{}", self.first, self.length)
    }
}

fn mask_v4(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask_v6(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

/// The address a connection really goes to: IPv4 written as IPv6 (`::ffff:a.b.c.d`) is IPv4 to the system.
pub(super) fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(it) => it.to_ipv4_mapped().map_or(address, IpAddr::V4),
    }
}

/// What an address is that not everybody can reach, with its article; `None` for one that everybody can.
pub(super) fn special(address: IpAddr) -> Option<&'static str> {
    match unmapped(address) {
        IpAddr::V4(it) => special_v4(it),
        IpAddr::V6(it) => special_v6(it),
    }
}

const RESERVED: &str = "a reserved address";
const LOOPBACK: &str = "a loopback address";
const PRIVATE: &str = "a private address";
const LINK_LOCAL: &str = "a link-local address";
const DOCUMENTATION: &str = "an address for documentation";
const BENCHMARKING: &str = "an address for benchmarks";
const MULTICAST: &str = "a multicast address";
const UNSPECIFIED: &str = "an unspecified address";

/// First address, length, what they are.
const SPECIAL_V4: &[([u8; 4], u8, &str)] = &[
    ([0, 0, 0, 0], 8, UNSPECIFIED),
    ([10, 0, 0, 0], 8, PRIVATE),
    ([100, 64, 0, 0], 10, "an address shared inside a provider's network"),
    ([127, 0, 0, 0], 8, LOOPBACK),
    // Azure's platform answers virtual machines here; the address is global in form only.
    ([168, 63, 129, 16], 32, "an address of a cloud's platform"),
    ([169, 254, 0, 0], 16, LINK_LOCAL),
    ([172, 16, 0, 0], 12, PRIVATE),
    ([192, 0, 0, 0], 24, RESERVED),
    ([192, 0, 2, 0], 24, DOCUMENTATION),
    ([192, 88, 99, 0], 24, RESERVED),
    ([192, 168, 0, 0], 16, PRIVATE),
    ([198, 18, 0, 0], 15, BENCHMARKING),
    ([198, 51, 100, 0], 24, DOCUMENTATION),
    ([203, 0, 113, 0], 24, DOCUMENTATION),
    ([224, 0, 0, 0], 4, MULTICAST),
    ([255, 255, 255, 255], 32, "the broadcast address"),
    ([240, 0, 0, 0], 4, RESERVED),
];

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    SPECIAL_V4
        .iter()
        .find(|(first, length, _)| {
            (address.to_bits() ^ u32::from_be_bytes(*first)) & mask_v4(*length) == 0
        })
        .map(|(_, _, what)| *what)
}

/// First address, length, what they are.
const SPECIAL_V6: &[(Ipv6Addr, u8, &str)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, UNSPECIFIED),
    (Ipv6Addr::LOCALHOST, 128, LOOPBACK),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "an address whose packets are discarded"),
    // All of IETF's own assignments: Teredo, benchmarking, ORCHID in both its forms.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, RESERVED),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, DOCUMENTATION),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, DOCUMENTATION),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, PRIVATE),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, LINK_LOCAL),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, PRIVATE),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, MULTICAST),
];

/// What has been given out for general use.
const GENERAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let within = |(first, length): (Ipv6Addr, u8)| {
        (address.to_bits() ^ first.to_bits()) & mask_v6(length) == 0
    };
    let known = SPECIAL_V6.iter().find(|(first, length, _)| within((*first, *length)));
    if let Some((_, _, what)) = known {
        return Some(what);
    }
    if let Some(inner) = embedded(address) {
        return special_v4(inner);
    }
    (!within(GENERAL_V6)).then_some(RESERVED)
}

/// The IPv4 address that a gateway would call for this one: that of NAT64 (64:ff9b::/96), of 6to4 (2002::/16), or of the
/// old compatible form (::/96).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        [0x64, 0xff9b, 0, 0, 0, 0] | [0, 0, 0, 0, 0, 0] => Some(of(g, h)),
        [0x2002, high, low, _, _, _] => Some(of(high, low)),
        [_, _, _, _, _, _] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_special_network_ends_where_its_registry_says() {
        // First and last address of each network, and what lies beside it and is open.
        for (first, last, before, after) in [
            ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
            ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0")),
            ("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0")),
            ("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0")),
            ("168.63.129.16", "168.63.129.16", Some("168.63.129.15"), Some("168.63.129.17")),
            ("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0")),
            ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0")),
            ("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0")),
            ("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0")),
            ("192.88.99.0", "192.88.99.255", Some("192.88.98.255"), Some("192.88.100.0")),
            ("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0")),
            ("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0")),
            ("198.51.100.0", "198.51.100.255", Some("198.51.99.255"), Some("198.51.101.0")),
            ("203.0.113.0", "203.0.113.255", Some("203.0.112.255"), Some("203.0.114.0")),
            ("224.0.0.0", "255.255.255.255", Some("223.255.255.255"), None),
            ("::", "::1", None, None),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", None, None),
            (
                "2001::",
                "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
                Some("2000:ffff::"),
                Some("2001:200::"),
            ),
            (
                "2001:db8::",
                "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                Some("2001:db7::"),
                Some("2001:db9::"),
            ),
            (
                "3fff::",
                "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
                Some("3ffe::"),
                Some("3fff:1000::"),
            ),
            ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("3fff:1000::"), None),
            (
                "2002:a00::",
                "2002:aff:ffff:ffff:ffff:ffff:ffff:ffff",
                Some("2002:9ff:ffff::"),
                Some("2002:b00::"),
            ),
            (
                "64:ff9b::10.0.0.0",
                "64:ff9b::10.255.255.255",
                Some("64:ff9b::9.255.255.255"),
                Some("64:ff9b::11.0.0.0"),
            ),
            (
                "::ffff:10.0.0.0",
                "::ffff:10.255.255.255",
                Some("::ffff:9.255.255.255"),
                Some("::ffff:11.0.0.0"),
            ),
            ("::10.0.0.0", "::10.255.255.255", Some("::9.255.255.255"), Some("::11.0.0.0")),
        ] {
            let of = |text: &str| special(text.parse().unwrap());
            assert!(of(first).is_some() && of(last).is_some(), "{first} to {last}");
            for open in [before, after].into_iter().flatten() {
                assert_eq!(of(open), None, "{open} beside {first} to {last}");
            }
        }
    }
}
