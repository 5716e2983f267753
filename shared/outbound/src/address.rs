//! The IP addresses of the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Everything of IPv4 that is not the public internet.
const SPECIAL_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),        // this network
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carrier-grade NAT
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // Azure's host agent
    v4(169, 254, 0, 0, 16),   // link-local, with the clouds' metadata services
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(198, 18, 0, 0, 15),    // benchmarks
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved, broadcast
];

/// The part of IPv6 that is the public internet ...
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// ... less this.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments: Teredo, ORCHID, benchmarks
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4: leads to any IPv4 address
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];

/// NAT64: the way to an IPv4 host from a network that has IPv6 alone.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// Returns `true` if an address is on the public internet. An IPv4 address inside an IPv6 one counts as itself.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_public(inner.into()),
            None => {
                GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|net| net.contains(&address))
            }
        },
    }
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    address.to_ipv4_mapped().or_else(|| {
        let [.., a, b, c, d] = address.octets();
        NAT64.contains(&address).then(|| Ipv4Addr::new(a, b, c, d))
    })
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(
        Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]),
        prefix,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_pass() {
        for (description, address, expected) in [
            ("a public host", "93.184.215.14", true),
            ("a public host, IPv6", "2606:2800:21f:cb07::1", true),
            ("unspecified", "0.0.0.0", false),
            ("loopback beyond .1", "127.8.9.10", false),
            ("private 10", "10.1.2.3", false),
            ("private 172.16", "172.31.255.255", false),
            ("just past private 172.16", "172.32.0.0", true),
            ("private 192.168", "192.168.1.1", false),
            ("carrier-grade NAT", "100.100.100.200", false),
            ("cloud metadata", "169.254.169.254", false),
            ("documentation", "203.0.113.7", false),
            ("benchmark", "198.19.0.1", false),
            ("multicast", "239.1.1.1", false),
            ("broadcast", "255.255.255.255", false),
            ("loopback, IPv6", "::1", false),
            ("unspecified, IPv6", "::", false),
            ("IPv4-compatible loopback", "::127.0.0.1", false),
            ("IPv4-mapped loopback", "::ffff:127.0.0.1", false),
            ("IPv4-mapped public", "::ffff:93.184.215.14", true),
            ("NAT64 of metadata", "64:ff9b::a9fe:a9fe", false),
            ("NAT64 of a public host", "64:ff9b::5db8:d70e", true),
            ("local-use NAT64", "64:ff9b:1::a9fe:a9fe", false),
            ("6to4 of a private address", "2002:c0a8:101::1", false),
            ("Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2", false),
            ("unique local, with EC2's metadata", "fd00:ec2::254", false),
            ("link-local, IPv6", "fe80::1", false),
            ("multicast, IPv6", "ff02::1", false),
            ("documentation, IPv6", "2001:db8::1", false),
            ("site-local", "fec0::1", false),
        ] {
            assert_eq!(
                is_public(address.parse().unwrap()),
                expected,
                "{description}: {address}"
            );
        }
    }
}
