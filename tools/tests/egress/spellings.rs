//! How one address can be written, and where the addresses lead that are written so.

use std::net::Ipv4Addr;

/// A way to write an address as a host.
pub(crate) struct Spelling {
    pub(crate) name: &'static str,
    /// Whether a connection to it is one to the address itself, rather than to a gateway that would lead there.
    pub(crate) is_direct: bool,
    pub(crate) write: fn(Ipv4Addr) -> String,
}

const fn direct(name: &'static str, write: fn(Ipv4Addr) -> String) -> Spelling {
    Spelling { name, is_direct: true, write }
}

const fn gateway(name: &'static str, write: fn(Ipv4Addr) -> String) -> Spelling {
    Spelling { name, is_direct: false, write }
}

/// The digits and dots of the address, each replaced.
fn replaced(address: Ipv4Addr, replace: impl FnMut(char) -> String) -> String {
    address.to_string().chars().map(replace).collect()
}

/// The digits moved to another block of Unicode.
fn shifted(address: Ipv4Addr, zero: u32) -> String {
    replaced(address, |c| {
        let moved = c.to_digit(10).and_then(|digit| char::from_u32(zero + digit));
        moved.unwrap_or(c).to_string()
    })
}

fn joined(address: Ipv4Addr, write: impl FnMut(&u8) -> String) -> String {
    address.octets().iter().map(write).collect::<Vec<_>>().join(".")
}

/// The address as two groups of IPv6.
fn groups(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{:x}:{:x}", u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

pub(crate) const SPELLINGS: &[Spelling] = &[
    direct("plain", |it| it.to_string()),
    direct("with the dot of an absolute name", |it| format!("{it}.")),
    direct("one decimal number", |it| it.to_bits().to_string()),
    direct("one hexadecimal number", |it| format!("{:#x}", it.to_bits())),
    direct("one hexadecimal number in capitals", |it| format!("0X{:X}", it.to_bits())),
    direct("one hexadecimal number with zeros", |it| format!("0x0000{:08x}", it.to_bits())),
    direct("one octal number", |it| format!("0{:o}", it.to_bits())),
    direct("one octal number with zeros", |it| format!("000{:o}", it.to_bits())),
    direct("octal parts", |it| joined(it, |part| format!("0{part:o}"))),
    direct("octal parts with zeros", |it| joined(it, |part| format!("0000{part:o}"))),
    direct("hexadecimal parts", |it| joined(it, |part| format!("{part:#x}"))),
    direct("parts in all three systems", |it| {
        let [a, b, c, d] = it.octets();
        format!("{a}.{b:#x}.0{c:o}.{d}")
    }),
    direct("two parts", |it| format!("{}.{}", it.octets()[0], it.to_bits() & 0xff_ffff)),
    direct("three parts", |it| {
        let [a, b, _, _] = it.octets();
        format!("{a}.{b}.{}", it.to_bits() & 0xffff)
    }),
    direct("two parts, the last in hexadecimal", |it| {
        format!("{:#x}.{:#x}", it.octets()[0], it.to_bits() & 0xff_ffff)
    }),
    direct("percent-encoded", |it| replaced(it, |c| format!("%{:02x}", c as u32))),
    direct("percent-encoded dots", |it| it.to_string().replace('.', "%2E")),
    direct("wide digits", |it| shifted(it, 0xff10)),
    direct("bold digits", |it| shifted(it, 0x1d7ce)),
    direct("digits of one width", |it| shifted(it, 0x1d7f6)),
    direct("ideographic dots", |it| it.to_string().replace('.', "\u{3002}")),
    direct("wide dots", |it| it.to_string().replace('.', "\u{ff0e}")),
    direct("half-wide ideographic dots", |it| it.to_string().replace('.', "\u{ff61}")),
    direct("percent-encoded ideographic dots", |it| it.to_string().replace('.', "%E3%80%82")),
    direct("with soft hyphens", |it| it.to_string().replace('.', "\u{ad}.")),
    direct("with joiners of no width", |it| it.to_string().replace('.', ".\u{200b}")),
    direct("mapped to IPv6", |it| format!("[::ffff:{it}]")),
    direct("mapped to IPv6 in groups", |it| format!("[::ffff:{}]", groups(it))),
    direct("mapped to IPv6 in capitals and in full", |it| format!("[0:0:0:0:0:FFFF:{it}]")),
    gateway("compatible with IPv6", |it| format!("[::{it}]")),
    gateway("through NAT64", |it| format!("[64:ff9b::{it}]")),
    gateway("through NAT64 in groups", |it| format!("[0064:FF9B::{}]", groups(it))),
    gateway("through a NAT64 of the network's own", |it| format!("[64:ff9b:1::{it}]")),
    gateway("through 6to4", |it| format!("[2002:{}::]", groups(it))),
    gateway("through 6to4, a host", |it| format!("[2002:{}:1::1]", groups(it))),
    gateway("through Teredo", |it| {
        format!("[2001:0:4136:e378:8000:63bf:{}]", groups(Ipv4Addr::from_bits(!it.to_bits())))
    }),
];

/// One address of each kind that not everybody can reach.
pub(crate) const CLOSED_V4: &[[u8; 4]] = &[
    [127, 0, 0, 1],
    [0, 0, 0, 0],
    [10, 0, 0, 1],
    [100, 64, 0, 1],
    [100, 100, 100, 200],
    [169, 254, 169, 254],
    [172, 16, 0, 1],
    [172, 31, 255, 255],
    [192, 0, 0, 192],
    [192, 0, 2, 1],
    [192, 88, 99, 1],
    [192, 168, 1, 1],
    [198, 18, 0, 1],
    [198, 19, 255, 255],
    [198, 51, 100, 1],
    [203, 0, 113, 1],
    [168, 63, 129, 16],
    [224, 0, 0, 1],
    [239, 255, 255, 250],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
];

/// The same of IPv6.
pub(crate) const CLOSED_V6: &[&str] = &[
    "::1",
    "::",
    "0:0:0:0:0:0:0:1",
    "::0.0.0.1",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2001:DB8:ffff::1",
    "3fff::1",
    "3fff:0fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd12:3456:789a::1",
    "fe80::1",
    "FE80::A9FE:A9FE",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
];
