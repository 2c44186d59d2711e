//! Which addresses are public. Everything that is not plainly a public unicast address is refused,
//! and an address that carries another one inside (IPv4-mapped, NAT64) is judged by what it carries.
//! Source: the IANA special-purpose address registries (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The public internet.
    Global,
    /// Anywhere else; the text says what it is, to be read after "which is".
    Refused(&'static str),
}

/// An address in the form to compare and connect to: an IPv4-mapped IPv6 address becomes the IPv4
/// address that the kernel would use for it.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Says where an address leads.
pub fn scope(address: IpAddr) -> Scope {
    match canonical(address) {
        IpAddr::V4(address) => scope_v4(address),
        IpAddr::V6(address) => scope_v6(address),
    }
}

/// Blocks of IPv4 that are not the public internet, the narrower before the wider.
const REFUSED_V4: &[(Ipv4Addr, u8, &str)] = &[
    (Ipv4Addr::new(169, 254, 169, 254), 32, "the cloud metadata address"),
    (Ipv4Addr::new(169, 254, 170, 2), 32, "the container credentials address"),
    (Ipv4Addr::new(100, 100, 100, 200), 32, "a cloud metadata address"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's host service"),
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this host (0.0.0.0/8)"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address (10.0.0.0/8)"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "a carrier's shared address (100.64.0.0/10)"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address (172.16.0.0/12)"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "an address for protocol assignments (192.0.0.0/24)"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "a documentation address"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "an AS112 address"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "a multicast tunnel address"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay address"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address (192.168.0.0/16)"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "an AS112 address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "a benchmarking address"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "a documentation address"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "a documentation address"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved or broadcast address"),
];

fn scope_v4(address: Ipv4Addr) -> Scope {
    let bits = address.to_bits();
    let inside = |&&(base, length, _): &&(Ipv4Addr, u8, &str)| {
        let shift = 32 - u32::from(length);
        bits >> shift == base.to_bits() >> shift
    };
    match REFUSED_V4.iter().find(inside) {
        Some(&(_, _, what)) => Scope::Refused(what),
        None => Scope::Global,
    }
}

/// Blocks inside 2000::/3, the only global unicast space, that are not the public internet.
const REFUSED_V6: &[(Ipv6Addr, u8, &str)] = &[
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        "an address for protocol assignments (Teredo, ORCHID)",
    ),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "a documentation address"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "a 6to4 address, which hides an IPv4 address"),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, "an AS112 address"),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, "a retired test address (3ffe::/16)"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "a documentation address"),
];

fn scope_v6(address: Ipv6Addr) -> Scope {
    let bits = address.to_bits();
    let within = |base: Ipv6Addr, length: u8| {
        let shift = 128 - u32::from(length);
        bits >> shift == base.to_bits() >> shift
    };
    // NAT64: what is reached is the IPv4 address in the last 32 bits.
    if within(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96) {
        let [.., a, b, c, d] = address.octets();
        return match scope_v4(Ipv4Addr::new(a, b, c, d)) {
            Scope::Global => Scope::Global,
            Scope::Refused(_) => Scope::Refused("a NAT64 form of an address that is not public"),
        };
    }
    if !within(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3) {
        return Scope::Refused(outside_global_unicast(address));
    }
    let inside = |&&(base, length, _): &&(Ipv6Addr, u8, &str)| within(base, length);
    match REFUSED_V6.iter().find(inside) {
        Some(&(_, _, what)) => Scope::Refused(what),
        None => Scope::Global,
    }
}

fn outside_global_unicast(address: Ipv6Addr) -> &'static str {
    if address == (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)) {
        return "the cloud metadata address";
    }
    let first = address.segments()[0];
    match first {
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_unspecified() => "the unspecified address",
        0xfe80..=0xfebf => "a link-local address",
        0xfec0..=0xfeff => "a site-local address",
        0xfc00..=0xfdff => "a unique local address (fc00::/7)",
        0xff00..=0xffff => "a multicast address",
        0x64 => "a local-use NAT64 address (64:ff9b:1::/48)",
        0 => "an IPv4-compatible address",
        _ => "outside the global unicast space (2000::/3)",
    }
}
