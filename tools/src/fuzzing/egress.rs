//! Addresses of clients: what is let through leads where everybody can reach it, or where the operator has opened it.
//!
//! The addresses are judged here once more, by other means: with what the standard library knows of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::egress::{Egress, Policy, Url};

/// Any text as an address under the policy that opens nothing; and where it has two lines, the first of them as a policy for
/// the rest.
///
/// # Panics
/// When a promise is broken.
pub fn egress(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let closed = Egress::default();
    if let Some(url) = judged(&closed, &text) {
        host(&url, &[]);
    }
    let Some((policy, address)) = text.split_once('\n') else { return };
    match policy.parse::<Policy>() {
        Ok(policy) => opened(policy, address),
        Err(error) => {
            assert!(error.to_string().len() <= 16 * policy.len() + 1024, "a refusal is short");
        }
    }
}

fn opened(policy: Policy, address: &str) {
    let entries: Vec<String> = policy.entries().collect();
    let again = entries.join(",").parse::<Policy>();
    assert_eq!(again.as_ref(), Ok(&policy), "an entry is shown as it can be given: {entries:?}");
    if let Some(url) = judged(&Egress::new(policy), address) {
        host(&url, &entries);
    }
}

/// What is let through, in its normal form, which is judged alike.
fn judged(egress: &Egress, text: &str) -> Option<Url> {
    match egress.check(text) {
        Ok(url) => {
            assert_eq!(
                egress.check(url.as_str()).as_ref(),
                Ok(&url),
                "its normal form is let through"
            );
            Some(url)
        }
        Err(error) => {
            let most = 8 * text.len() + 1024;
            assert!(error.to_string().len() <= most, "a refusal is no larger than its cause");
            None
        }
    }
}

/// Checks where an address leads. `entries` are open.
fn host(url: &Url, entries: &[String]) {
    assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty(), "{url}");
    assert_eq!(url.password(), None);
    let host = url.host_str().expect("it has a host");
    let port = url.port_or_known_default().expect("it has a port");
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => {
            let is_open = entries.iter().any(|entry| opens(entry, address, port));
            assert!(is_open || is_global(address), "{url} leads to {address}");
        }
        Err(_) => name(host, entries),
    }
}

/// A host that is a name is one to everybody, and not that of the machine itself.
fn name(host: &str, entries: &[String]) {
    assert!(host.is_ascii() && !host.contains(['[', ']', ':', '%', '/', '@', '\\', ' ']), "{host}");
    let plain = host.strip_suffix('.').unwrap_or(host);
    let last = plain.rsplit('.').next().unwrap_or(plain);
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex = last.strip_prefix("0x").is_some_and(|rest| u32::from_str_radix(rest, 16).is_ok());
    assert!(!is_number && !is_hex, "some readers take {host} for an address");
    let is_local = plain == "localhost" || plain.ends_with(".localhost");
    assert!(!is_local || !entries.is_empty(), "{host} is this machine");
}

/// Whether an entry, in its normal form, opens an address at a port.
fn opens(entry: &str, address: IpAddr, port: u16) -> bool {
    let address = plain(address);
    if entry == "*" || entry.parse() == Ok(address) {
        return true;
    }
    if let Ok(open) = entry.parse::<std::net::SocketAddr>() {
        return (open.ip(), open.port()) == (address, port);
    }
    let Some((first, length)) = entry.split_once('/') else { return false };
    let (Ok(first), Ok(length)) = (first.parse::<IpAddr>(), length.parse::<usize>()) else {
        return false;
    };
    first.is_ipv4() == address.is_ipv4() && bits(first)[..length] == bits(address)[..length]
}

fn bits(address: IpAddr) -> Vec<bool> {
    let bytes = match address {
        IpAddr::V4(it) => it.octets().to_vec(),
        IpAddr::V6(it) => it.octets().to_vec(),
    };
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
}

fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn is_global(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(it) => is_global_v4(it),
        IpAddr::V6(it) => is_global_v6(it),
    }
}

fn is_global_v4(it: Ipv4Addr) -> bool {
    let [a, b, c, _] = it.octets();
    let is_known = it.is_unspecified()
        || it.is_loopback()
        || it.is_private()
        || it.is_link_local()
        || it.is_multicast()
        || it.is_broadcast()
        || it.is_documentation();
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_benchmark = a == 198 && b & 0xfe == 18;
    let is_protocol = [a, b, c] == [192, 0, 0] || [a, b, c] == [192, 88, 99];
    !(is_known || is_shared || is_benchmark || is_protocol || a == 0 || a >= 240)
}

fn is_global_v6(it: Ipv6Addr) -> bool {
    let [a, b, c, d, ..] = it.segments();
    let [.., w, x, y, z] = it.octets();
    // Through a gateway, an address leads where the one within it does.
    if (a, b, c, d) == (0x64, 0xff9b, 0, 0) && it.segments()[4..6] == [0, 0] {
        return is_global_v4(Ipv4Addr::new(w, x, y, z));
    }
    if it.segments()[..6] == [0; 6] {
        return !it.is_loopback() && is_global_v4(Ipv4Addr::new(w, x, y, z));
    }
    if a == 0x2002 {
        return is_global_v4(Ipv4Addr::from_bits(u32::from(b) << 16 | u32::from(c)));
    }
    let is_known = it.is_unspecified()
        || it.is_loopback()
        || it.is_multicast()
        || it.is_unique_local()
        || it.is_unicast_link_local();
    let is_documentation = (a, b) == (0x2001, 0xdb8) || (a == 0x3fff && b & 0xf000 == 0);
    let is_protocol = a == 0x2001 && b < 0x200;
    a & 0xe000 == 0x2000 && !(is_known || is_documentation || is_protocol)
}
