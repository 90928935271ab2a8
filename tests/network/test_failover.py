# SPDX-License-Identifier: MIT
"""A provider with three servers behind one name, of which the preferred one is dead (RFC 3263).

    example.test   NAPTR, SRV, TTL 1 s    priority 10: .9 says nothing
                                          priority 20: .10 and .20, Kamailio both, each its own registrar

The name server gives the records in another order each time and the proxy chooses between .10 and .20 by
chance: so what belongs together only goes to one of them when the proxy remembers which one it was.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network import nameserver
from tests.network.bed import INSIDE, OUTSIDE
from tests.network.capture import Capture
from tests.network.endpoint import Call, Endpoint, State
from tests.network.gateway import Gateway
from tests.network.kamailio import DOMAIN, TCP_DOMAIN, Provider
from tests.network.namespaces import Host, Network

pytestmark = pytest.mark.network

IN_TIME = 4.0
"""Seconds from the first message to a dead server until another one has done what was asked for."""
NEXT_QUESTION = 1.2
"""Seconds: longer than the answers of the name server count."""
USERS = 6
UNRESOLVABLE = TCP_DOMAIN
"""A domain of the provider that the DNS does not know; its outbound proxy is EDGE."""
EDGE = "edge.test"

PREFERRED, ONE, TWO = f"{OUTSIDE}9", f"{OUTSIDE}10", f"{OUTSIDE}20"
ZONE = f"""\
{DOMAIN} 1 NAPTR 10 10 s SIP+D2U "" _sip._udp.{DOMAIN}
{EDGE} 1 NAPTR 10 10 s SIP+D2U "" _sip._udp.{DOMAIN}
_sip._udp.{DOMAIN} 1 SRV 10 0 5060 preferred.{DOMAIN}
_sip._udp.{DOMAIN} 1 SRV 20 50 5060 one.{DOMAIN}
_sip._udp.{DOMAIN} 1 SRV 20 50 5060 two.{DOMAIN}
preferred.{DOMAIN} 1 A {PREFERRED}
one.{DOMAIN} 1 A {ONE}
two.{DOMAIN} 1 A {TWO}
"""


class Bed:
    """The gateway between a phone inside, and three servers, a name server and a phone outside."""

    def __init__(self, network: Network, directory: Path) -> None:
        self._directory = directory
        inside, outside = network.segment("inside"), network.segment("outside")
        self._gateway = network.host("gateway")
        network.plug(self._gateway, "in0", inside, f"{INSIDE}1")
        network.plug(self._gateway, "out0", outside, f"{OUTSIDE}1")
        self.alice = self._plugged(network, "a", inside, f"{INSIDE}11")
        self.bob = self._plugged(network, "b", outside, f"{OUTSIDE}30")
        self.preferred = self._plugged(network, "dead", outside, PREFERRED)
        hosts = [self._plugged(network, address[-2:], outside, address) for address in (ONE, TWO)]
        self.servers = {
            host.address: Provider(host, directory / host.address, name=f"kamailio-{host.address}")
            for host in hosts
        }
        zone = directory / "zone"
        zone.write_text(ZONE)
        dns = self._plugged(network, "dns", outside, f"{OUTSIDE}53")
        self.nameserver, address = nameserver.start(dns, zone)
        directives = [("dns_server", address), ("outbound_domain_name", UNRESOLVABLE)]
        directives += [("outbound_domain_host", EDGE), ("outbound_domain_port", "0")]
        self.gateway = Gateway(
            self._gateway, ("in0", "out0"), f"{INSIDE}0/24", directory / "siproxd", directives
        )

    @staticmethod
    def _plugged(network: Network, name: str, segment: Host, address: str) -> Host:
        host = network.host(name)
        network.plug(host, "eth0", segment, address)
        return host

    def phone(self, user: str, number: int = 0, domain: str = DOMAIN) -> Endpoint:
        """Return a phone inside."""
        return Endpoint(user, self.alice, self._gateway.address, taking, port=5090 + number, domain=domain)

    def bob_outside(self) -> Endpoint:
        """Return a phone outside, which registers at the servers themselves."""
        return Endpoint("bob", self.bob, ONE, taking)

    def capture(self, name: str) -> Capture:
        return Capture(self._gateway, "out0", self._directory / f"{name}.pcap")

    def server_of(self, user: str) -> str:
        """Return the address of the one server that has a registration of `user`."""
        found = [address for address, server in self.servers.items() if user in server.contacts()]
        assert len(found) == 1, f"{user} is registered at {found}"
        return found[0]


class Silence(asyncio.DatagramProtocol):
    """A server that says nothing; `since` is when the first message came."""

    def __init__(self) -> None:
        self.since = 0.0

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.since = self.since or asyncio.get_running_loop().time()


@pytest.fixture(scope="module")
def bed(network: Network, directory: Path) -> Iterator[Bed]:
    """The bed, running; the proxy ends as it should."""
    bed = Bed(network, directory)
    yield bed
    bed.gateway.ends()


async def taking(call: Call) -> None:
    """Take each call."""
    call.ring()
    await call.take()


async def registered_at_both(bob: Endpoint) -> None:
    """Have bob found by either server."""
    assert [await bob.register(server) for server in (ONE, TWO)] == [200, 200]


async def converse(call: Call) -> None:
    """A whole call, with requests in it when what the name server said before is outdated."""
    assert await call.dial() == 200
    for method in ("INFO", "INVITE"):
        await asyncio.sleep(NEXT_QUESTION)
        assert (method, await call.ask(method)) == (method, 200)
    await asyncio.sleep(NEXT_QUESTION)
    assert await call.hang_up() == 200


def asked_of(capture: Capture) -> dict[str, list[tuple[str, str]]]:
    """Return what the gateway asked of whom: for each Call-ID the methods, with the address of the server."""
    found: dict[str, list[tuple[str, str]]] = {}
    for each in capture.messages():
        method = each.data.split(maxsplit=1)[0].decode()
        if each.source == f"{OUTSIDE}1" and method != "SIP/2.0":
            match = re.search(rb"(?im)^(?:call-id|i)[ \t]*:[ \t]*(\S+)", each.data)
            assert match
            found.setdefault(match[1].decode(), []).append((method, each.destination))
    return found


def test_a_phone_registers_although_the_preferred_server_is_silent(bed: Bed) -> None:
    """The next server has the registration in time; the challenge is answered to the one that sent it."""

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        with bed.preferred.udp_socket(5060) as opened:
            opened.setblocking(False)
            transport, silence = await loop.create_datagram_endpoint(Silence, sock=opened)
            async with bed.phone("alice") as alice:
                assert await alice.register() == 200
            took = loop.time() - silence.since
            assert silence.since, "the preferred server was asked first"
            transport.close()
            return took

    with bed.capture("first") as capture:
        took = asyncio.run(scenario())
    print(f"registered after {took:.2f} s")
    assert took < IN_TIME
    (asked,) = asked_of(capture).values()
    later = [(method, where) for method, where in asked if where != PREFERRED]
    # Without credentials and with them, each of them once.
    assert later == [("REGISTER", bed.server_of("alice"))] * 2
    assert asked[-2:] == later, "nothing more for the silent one"


def test_what_belongs_together_goes_to_one_server(bed: Bed) -> None:
    """The registration of each of several phones, and its call with all that happens in it."""
    questions = bed.nameserver.size()

    async def scenario() -> None:
        async with bed.bob_outside() as bob:
            await registered_at_both(bob)
            await asyncio.gather(*(one_phone(number) for number in range(USERS)))

    async def one_phone(number: int) -> None:
        async with bed.phone(f"user{number}", number) as phone:
            assert await phone.register() == 200
            await asyncio.sleep(NEXT_QUESTION)
            await converse(phone.call("bob", f"call-{phone.user}"))
            assert await phone.register() == 200

    with bed.capture("together") as capture:
        asyncio.run(scenario())
    asked = asked_of(capture)
    for user in (f"user{number}" for number in range(USERS)):
        server = bed.server_of(user)
        wanted = {"REGISTER", "INVITE", "ACK", "INFO", "BYE"}
        assert {each for name in asked if f"-{user}-" in name for each in asked[name]} == {
            (method, server) for method in wanted
        }
    assert len(re.findall("asked .* SRV", bed.nameserver.output(questions))) >= 2


def test_the_name_of_the_outbound_proxy_is_enough(bed: Bed) -> None:
    """The domain in the Request-URI is unknown to the DNS, and that keeps nobody from calling."""

    async def scenario() -> None:
        async with bed.bob_outside() as bob, bed.phone("carol", domain=UNRESOLVABLE) as carol:
            await registered_at_both(bob)
            assert await carol.register() == 200
            call = carol.call("bob")
            assert await call.dial() == 200
            assert await call.hang_up() == 200

    asyncio.run(scenario())
    assert f"asked {EDGE} NAPTR" in bed.nameserver.output()


def test_telephony_goes_on_while_the_name_server_is_silent(bed: Bed) -> None:
    """A call that runs goes on, who is registered registers again and calls, and somebody new can, too."""

    async def scenario() -> None:
        async with bed.bob_outside() as bob, bed.phone("alice") as alice, bed.phone("dora", 1) as dora:
            await registered_at_both(bob)
            assert await alice.register() == 200
            call = alice.call("bob")
            assert await call.dial() == 200
            bed.nameserver.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(NEXT_QUESTION)
                assert (await call.ask("INFO"), await call.hang_up()) == (200, 200)
                for phone in (alice, dora):
                    assert await phone.register() == 200
                    call = phone.call("bob")
                    assert (await call.dial(), await call.hang_up()) == (200, 200)
            finally:
                bed.nameserver.signal(signal.SIGCONT)

    asyncio.run(scenario())


def test_the_other_server_takes_over_when_one_dies(bed: Bed) -> None:
    """The next call goes to it in time, and so does the next REGISTER; then alice can be called again."""

    async def scenario() -> tuple[float, str]:
        loop = asyncio.get_running_loop()
        async with bed.bob_outside() as bob, bed.phone("emil") as emil:
            await registered_at_both(bob)
            assert await emil.register() == 200
            died = bed.server_of("emil")
            bed.servers.pop(died).host.kill()
            begun = loop.time()
            call = emil.call("bob", "after")
            assert await call.dial() == 200
            took = loop.time() - begun
            assert (await call.ask("INFO"), await call.hang_up()) == (200, 200)
            begun = loop.time()
            assert await emil.register() == 200
            assert loop.time() - begun < IN_TIME
            bob.proxy = (bed.server_of("emil"), 5060)
            call = bob.call("emil", "back")
            assert (await call.dial(), await call.hang_up()) == (200, 200)
            assert [call.state for call in emil.calls.values()] == [State.OVER, State.OVER]
            return took, died

    with bed.capture("died") as capture:
        took, died = asyncio.run(scenario())
    print(f"called after {took:.2f} s")
    assert took < IN_TIME
    (call,) = (asked for name, asked in asked_of(capture).items() if name.startswith("after"))
    before = [number for number, (_, where) in enumerate(call) if where == died]
    assert before == list(range(len(before))), "nothing goes to the dead server any more once it has failed"
