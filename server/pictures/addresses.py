"""Which IP addresses are on the public internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

_GLOBAL_UNICAST = ip_network("2000::/3")
# Public by number, but not hosts on the public internet: tunnels and translators that carry an IPv4
# address inside, protocol assignments, documentation.
_TRANSLATED = [
    ip_network(network)
    for network in ("192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
]


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether `address` can only be a host on the public internet.

    False for loopback, private, link-local (and with it cloud metadata), carrier-grade NAT,
    multicast, reserved and unspecified addresses, and for every IPv6 form that stands for an IPv4
    address: mapped, compatible, 6to4, Teredo, NAT64.
    """
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return False
    is_translated = any(
        address in network for network in _TRANSLATED if network.version == address.version
    )
    return address.is_global and not address.is_multicast and not is_translated
