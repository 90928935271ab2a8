# SPDX-License-Identifier: MIT
"""The contracts between the trades: their values, and that every provider keeps the form of its contract."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import pytest
from zope.interface import Interface, implementedBy
from zope.interface.interface import InterfaceClass
from zope.interface.verify import verifyClass

import siproxd_tw
from siproxd_tw import interfaces
from siproxd_tw.interfaces import Address, Exchange, Flow, Refused, Side
from tests.support import addresses, datagrams, lab, media, resolver, signalling, streambed

OWN = [
    value
    for value in vars(interfaces).values()
    if isinstance(value, InterfaceClass) and value is not Interface
]


def classes_of(module: Any) -> list[type]:
    return [
        each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__
    ]


def providers() -> list[tuple[type, Any]]:
    """Return every class of the program, and of the tests' stand-ins, with each interface that it names."""
    modules: list[Any] = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(siproxd_tw.__path__, "siproxd_tw.")
    ]
    modules += [addresses, datagrams, lab, media, resolver, signalling, streambed]
    return [
        (each, contract)
        for module in modules
        for each in classes_of(module)
        for contract in implementedBy(each)
        if contract in OWN or not hasattr(each, "__getattr__")  # Twisted's wrappers pass on what they lack
    ]


PROVIDERS = providers()


@pytest.mark.parametrize(
    ("provider", "contract"), PROVIDERS, ids=[f"{each.__name__}-{c.__name__}" for each, c in PROVIDERS]
)
def test_a_provider_keeps_the_form_of_its_contract(provider: type, contract: Any) -> None:
    """Every method is there with arguments that fit; attributes are looked at where objects are verified."""
    assert verifyClass(contract, provider)


def test_every_contract_has_a_provider_and_a_stand_in() -> None:
    """What nobody provides is no contract, and what tests cannot replace is none either."""
    assert OWN
    for contract in OWN:
        providing = [provider.__module__ for provider, provided in PROVIDERS if provided is contract]
        assert any(module.startswith("siproxd_tw.") for module in providing), contract
        if contract.__name__ not in ("IStatus", "ITransactionUser"):
            assert any(module.startswith("tests.") for module in providing), contract


def test_everything_public_is_listed() -> None:
    """`__all__` names what is defined here, sorted, and nothing else."""
    defined = {
        name
        for name, value in vars(interfaces).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == interfaces.__name__
    }
    assert set(interfaces.__all__) == defined
    assert list(interfaces.__all__) == sorted(interfaces.__all__)


def test_the_other_side() -> None:
    """Of two."""
    assert Side.INSIDE.other is Side.OUTSIDE
    assert Side.OUTSIDE.other is Side.INSIDE
    assert len(Side) == 2


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("10.0.0.1", 5060), "10.0.0.1:5060"),
        (Address("2001:db8::1", 5060), "[2001:db8::1]:5060"),
        (Address("::", 0), "[::]:0"),
    ],
)
def test_an_address_as_text(address: Address, text: str) -> None:
    """IPv6 in brackets; also where it is only formatted into a line."""
    assert str(address) == f"{address}" == text


def test_an_address_is_what_sockets_take() -> None:
    """A pair of host and port, equal by value, usable as a key."""
    assert Address("10.0.0.1", 5060) == ("10.0.0.1", 5060)
    assert {Flow(None, Address("10.0.0.1", 5060), Side.INSIDE): 1}[
        Flow(None, Address("10.0.0.1", 5060), Side.INSIDE)
    ]


def test_the_reply_of_an_exchange() -> None:
    """The other party's view: tags and sides change places, call and transaction stay; twice is nothing."""
    offer = Exchange(b"c1", b"a1", b"", Side.INSIDE, Side.OUTSIDE, b"z9hG4bKx")
    assert offer.reply == Exchange(b"c1", b"", b"a1", Side.OUTSIDE, Side.INSIDE, b"z9hG4bKx")
    assert offer.reply.reply == offer
    assert offer != offer.reply
    assert len({offer, offer.reply.reply, offer.reply}) == 2


def test_a_refusal_says_why() -> None:
    """To the log; what it answers is apart from that, and silence is an answer."""
    refusal = Refused(404, "no such phone", phrase="Nobody", headers=(b"X: 1",))
    assert str(refusal) == refusal.why == "no such phone"
    assert (refusal.status, refusal.phrase, list(refusal.headers)) == (404, "Nobody", [b"X: 1"])
    silent = Refused(None, "hosts_deny_sip")
    assert (silent.status, silent.phrase, list(silent.headers)) == (None, "", [])
