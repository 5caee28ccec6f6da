# SPDX-License-Identifier: MIT
"""An IPv4 address is judged in whatever IPv6 address it is embedded."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from hypothesis import given
from hypothesis import strategies as st

from heartfelt.monitor.webhooks.guard import check_address, check_url, embedded

SIXTEEN, THIRTY_TWO = (1 << 16) - 1, (1 << 32) - 1


def _in_prefix(prefix, length, number):
    """RFC 6052 2.2: bits 64 to 71 are zero."""
    bits = 128 - 8 - length - 32 if length < 96 else 0
    if length == 96:
        return int(IPv6Address(prefix)) | number
    joined = number << bits  # without the octet of zeros
    return int(IPv6Address(prefix)) | (joined >> 56 << 64) | (joined & (1 << 56) - 1)


FORMS = {
    "mapped": lambda v4: int(IPv6Address("::ffff:0:0")) | v4,
    "translated": lambda v4: int(IPv6Address("::ffff:0:0:0")) | v4,
    "NAT64": lambda v4: _in_prefix("64:ff9b::", 96, v4),
    "local NAT64": lambda v4: _in_prefix("64:ff9b:1::", 96, v4),
    "6to4": lambda v4: int(IPv6Address("2002::")) | v4 << 80 | 1,
}
REFUSED_ANYWAY = {
    "compatible": lambda v4: v4,
    "Teredo server": lambda v4: int(IPv6Address("2001::")) | v4 << 64 | (~0x01010101 & THIRTY_TWO),
    "Teredo client": lambda v4: int(IPv6Address("2001:0:101:101::")) | (~v4 & THIRTY_TWO),
}
HIDES_ONLY = {
    "ISATAP": lambda v4: int(IPv6Address("2606:4700::5efe:0:0")) | v4,
    "ISATAP, universal": lambda v4: int(IPv6Address("2606:4700::200:5efe:0:0")) | v4,
    **{
        f"local NAT64 /{n}": (lambda v4, n=n, prefix=prefix: _in_prefix(prefix, n, v4))
        for n, prefix in ((48, "64:ff9b:1::"), (56, "64:ff9b:1:100::"), (64, "64:ff9b:1:101::"))
    },
}
PRIVATE = [ipaddress.IPv4Network(one) for one in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                                  "100.64.0.0/10", "169.254.0.0/16")]  # fmt: skip
NEVER = [ipaddress.IPv4Network(one) for one in ("0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "240.0.0.0/4",
                                                "198.18.0.0/15", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",
                                                "169.254.169.254/32", "100.100.100.200/32", "192.0.0.192/32",
                                                )]  # fmt: skip
PUBLIC = [ipaddress.IPv4Network(one) for one in ("1.1.1.0/24", "93.184.216.0/24", "8.8.0.0/16")]


def within(networks):
    return st.sampled_from(networks).flatmap(lambda one: st.ip_addresses(v=4, network=one))


def judged(number, private):
    return check_address(str(IPv6Address(number)), allow_private=private)


@given(within(PRIVATE + NEVER), st.sampled_from(sorted(FORMS | REFUSED_ANYWAY | HIDES_ONLY)))
def test_an_address_inside_is_reached_by_no_form(address, form):
    number = (FORMS | REFUSED_ANYWAY | HIDES_ONLY)[form](int(address))
    if number > 1:
        assert address in embedded(IPv6Address(number))
    assert judged(number, private=False) is not None


@given(within(NEVER), st.sampled_from(sorted(FORMS | HIDES_ONLY)))
def test_what_is_never_called_is_not_called_if_private_networks_may_be(address, form):
    assert judged((FORMS | HIDES_ONLY)[form](int(address)), private=True) is not None


@given(st.one_of(within(PUBLIC), within(PRIVATE)), st.sampled_from(sorted(FORMS)))
def test_a_form_of_an_address_is_judged_as_the_address(address, form):
    for private in (False, True):
        plain = check_address(str(address), allow_private=private)
        found = judged(FORMS[form](int(address)), private)
        assert (found is None) == (plain is None), (plain, found)


@given(within(PUBLIC + PRIVATE), st.sampled_from(sorted(REFUSED_ANYWAY)))
def test_forms_that_nobody_uses_any_more_are_never_called(address, form):
    if form != "compatible" or int(address) > 1:
        assert judged(REFUSED_ANYWAY[form](int(address)), private=True) is not None


def test_public_addresses_that_only_look_like_one_of_the_forms():
    for text in ("2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "2620:fe::fe", "2606:4700::5efe:101:101"):
        assert check_address(text, allow_private=False) is None


@given(within(PRIVATE))
def test_other_spellings_of_an_address_are_refused_when_a_target_is_saved(address):
    number = int(address)
    a, b, c, d = address.packed
    for host in (
        str(number), hex(number), f"0{number:o}", f"{a}.{number & 0xFFFFFF}", f"{a}.{b}.{number & SIXTEEN}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}", f"0{a:o}.{b}.{c}.0{d:o}", f"{address}.", f"[::ffff:{address}]",
        f"[::ffff:0:{address}]", f"[64:ff9b::{address}]", f"[fe80::{address}%25eth0]",
    ):  # fmt: skip
        assert check_url(f"https://{host}/hook", allow_private=False) is not None, host
        assert IPv4Address(number) == address
