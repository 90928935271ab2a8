# SPDX-License-Identifier: MIT
"""SIP over TLS between two transports of ours, on the loopback and in memory, with real certificates."""

from __future__ import annotations

import datetime
import gc
import ipaddress
import weakref
from contextlib import suppress

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from siproxd_tw.config.settings import TransportConfig
from siproxd_tw.interfaces import Address, Flow, Side
from siproxd_tw.transport import tls
from siproxd_tw.transport.connection import HANDSHAKE
from siproxd_tw.transport.ports import CannotListen
from siproxd_tw.transport.tls import TLS, TLSUnusable, identities_of
from tests.support.certificates import authorities, certificate, with_names
from tests.support.streambed import OK, OPTIONS, PHONE, Bed, loopback_bed, memory_bed

SERVER = Address("127.0.0.8", 0)


@pytest.fixture(params=["memory", "loopback"])
def bed(request):
    made = memory_bed() if request.param == "memory" else loopback_bed()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


@pytest.fixture
def memory():
    made = memory_bed()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


@pytest.fixture
def logged():
    """Every log event of the test."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def warnings(logged) -> list[str]:
    return [formatEvent(event) for event in logged if event["log_level"] is LogLevel.warn]


class Ends:
    """A server and a client, both with TLS; `told` are their reports."""

    def __init__(self, bed: Bed, folder, *names: str, by: str = "ours", **expired) -> None:
        self.bed = bed
        self.file = certificate(folder / "server.pem", *names, by=by, **expired)
        self.ca = authorities(folder / "ca.pem")

    def start_server(self, **config):
        settings = TransportConfig(certificate=self.file, ca=self.ca, **config)
        self.server = self.bed.start("TLS", SERVER, config=settings, tls=TLS(settings, self.bed.reactor))
        self.server_report, self.bed.report = self.bed.report, type(self.bed.report)()

    def start_client(self, **config):
        settings = TransportConfig(**{"ca": self.ca, "tcp_connect_timeout": 2, **config})
        self.client = self.bed.start("TLS", config=settings, tls=TLS(settings, self.bed.reactor))
        self.client_report = self.bed.report

    def start(self, **config):
        self.start_server()
        self.start_client(**config)
        return self

    def flow(self, name: str = "") -> Flow:
        return Flow(self.client, self.server.local, Side.INSIDE, name)

    async def refused(self, name: str, reason: str = "certificate refused"):
        """Send to the server as `name`, and wait until that has failed."""
        flow = self.flow(name)
        self.client.send(OPTIONS, flow)
        await self.bed.until(lambda: self.client_report.failed)
        assert self.client_report.failed == [(flow, reason)]
        self.client_report.failed.clear()
        assert self.server_report.data == []

    async def served(self, name: str = ""):
        """Send to the server as `name`, and wait until it has come."""
        before = len(self.server_report.data)
        self.client.send(OPTIONS, self.flow(name))
        await self.bed.until(lambda: len(self.server_report.data) == before + 1)


@pytest_twisted.ensureDeferred
async def test_there_and_back(bed: Bed, tmp_path):
    """A request over a verified connection, and its answer; several wait for one handshake."""
    ends = Ends(bed, tmp_path, "sip.provider.test").start()
    ends.server_report.react = lambda data, at, remote: at.send(OK, Flow(at, remote, Side.OUTSIDE))
    for _ in range(3):
        ends.client.send(OPTIONS, ends.flow("SIP.provider.test"))
    await bed.until(lambda: len(ends.client_report.data) == 3)
    assert ends.server_report.data == [OPTIONS] * 3
    assert ends.client_report.messages[0] == (OK, ends.client, ends.server.local)
    assert ends.client.status()["connections"] == 1
    assert (ends.client.name, ends.client.reliable) == ("TLS", True)


@pytest_twisted.ensureDeferred
async def test_a_client_without_a_certificate_only_connects(bed: Bed, tmp_path):
    """It listens on nothing, and can be used."""
    ends = Ends(bed, tmp_path, "sip.provider.test").start()
    assert ends.client.listening
    assert ends.client.local.port == 0
    await ends.served("sip.provider.test")


@pytest_twisted.ensureDeferred
async def test_another_domain(bed: Bed, tmp_path, logged):
    """The log says once which name was expected and which ones there are; nothing was sent."""
    ends = Ends(bed, tmp_path, "sip.other.test", "other.test").start()
    for _ in range(2):
        await ends.refused("sip.provider.test")
    assert warnings(logged) == [
        f"TLS {ends.client.local}: no connection with {ends.server.local}: expected sip.provider.test at "
        "127.0.0.8: its certificate is for other.test, sip.other.test"
    ]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("by", "expired", "why"),
    [
        ("theirs", False, "it is signed by an authority unknown here"),
        ("ours", True, "it has expired"),
    ],
)
async def test_a_certificate_that_is_worth_nothing(bed: Bed, tmp_path, logged, by, expired, why):
    """The reason is named, and which name was expected."""
    ends = Ends(bed, tmp_path, "sip.provider.test", by=by, expired=expired).start()
    await ends.refused("sip.provider.test")
    (told,) = warnings(logged)
    assert told.endswith(
        f"expected sip.provider.test at {ends.server.local.host}: its certificate is refused, {why}"
    )


@pytest_twisted.ensureDeferred
async def test_unverified(bed: Bed, tmp_path):
    """An administrator may switch that off."""
    ends = Ends(bed, tmp_path, "sip.other.test", by="theirs", expired=True).start(verify_servers=False)
    await ends.served("sip.provider.test")


@pytest_twisted.ensureDeferred
async def test_an_address_in_the_certificate(bed: Bed, tmp_path):
    """Without a domain the server must have its IP address there."""
    ends = Ends(bed, tmp_path, "127.0.0.8").start()
    await ends.served()


@pytest_twisted.ensureDeferred
async def test_an_address_that_is_not_in_the_certificate(bed: Bed, tmp_path):
    """A domain is not enough then, as long as there is no connection."""
    ends = Ends(bed, tmp_path, "sip.provider.test").start()
    await ends.refused("")
    await ends.served("sip.provider.test")
    await ends.served("")
    assert ends.client.status()["connections"] == 1


@pytest_twisted.ensureDeferred
async def test_two_domains_at_one_address(bed: Bed, tmp_path):
    """Each one has a connection of its own, verified for it."""
    ends = Ends(bed, tmp_path, "one.test", "two.test").start()
    for name in ("one.test", "two.test", "one.test"):
        await ends.served(name)
    assert ends.client.status()["connections"] == 2
    flow = ends.flow("three.test")
    ends.client.send(OPTIONS, flow)
    await bed.until(lambda: ends.client_report.failed == [(flow, "certificate refused")])


@pytest_twisted.ensureDeferred
async def test_a_request_from_the_server_is_answered_on_its_connection(bed: Bed, tmp_path):
    """Although it was found by the name of a domain, and the request names none."""
    ends = Ends(bed, tmp_path, "one.test", "two.test").start()
    back = []
    ends.server_report.react = lambda data, at, remote: back.append(Flow(at, remote, Side.OUTSIDE))
    ends.client_report.react = lambda data, at, remote: at.send(
        OK, Flow(at, remote, Side.OUTSIDE, "", Address("127.0.0.1", 9))
    )
    await ends.served("one.test")
    await ends.served("two.test")
    for flow in back:
        ends.server.send(OPTIONS, flow)
    await bed.until(lambda: ends.server_report.data.count(OK) == 2)
    assert ends.client_report.failed == []


@pytest_twisted.ensureDeferred
async def test_clients_must_have_a_certificate(bed: Bed, tmp_path):
    """One of a known authority; who has none gets nowhere, and neither side says more than it must."""
    ends = Ends(bed, tmp_path, "sip.provider.test")
    ends.start_server(verify_clients=True)
    ends.start_client()
    flow = ends.flow("sip.provider.test")
    ends.client.send(OPTIONS, flow)
    await bed.until(lambda: ends.client_report.failed)
    assert ends.client_report.failed[0][0] == flow
    assert ends.server_report.data == []
    await bed.until(lambda: ends.server.status()["ended"] == {"handshake failed": 1})


@pytest_twisted.ensureDeferred
async def test_an_alias_is_for_who_the_client_has_proven_to_be(bed: Bed, tmp_path):
    """RFC 5923 section 9: requests to the domain of its certificate go by its connection, no others."""
    ends = Ends(bed, tmp_path, "sip.provider.test")
    ends.start_server(verify_clients=True)
    ends.start_client(certificate=certificate(tmp_path / "client.pem", "Proxy.test"), verify_servers=False)
    await ends.served("sip.provider.test")
    client = ends.server_report.messages[0][2]
    advertised = Address(client.host, 9)
    ends.server.alias(client, advertised)
    assert not ends.server.reaches(advertised)  # its address is not in the certificate
    ends.server.send(OPTIONS, Flow(ends.server, advertised, Side.OUTSIDE, "proxy.test"))
    await bed.until(lambda: ends.client_report.data == [OPTIONS])
    ends.server.send(OPTIONS, Flow(ends.server, advertised, Side.OUTSIDE, "other.test"))
    await bed.until(lambda: ends.server_report.failed)
    assert ends.client_report.data == [OPTIONS]


@pytest_twisted.ensureDeferred
async def test_no_alias_without_a_verified_certificate(bed: Bed, tmp_path):
    """What a client says of itself is nothing."""
    ends = Ends(bed, tmp_path, "sip.provider.test").start(verify_servers=False)
    await ends.served("sip.provider.test")
    client = ends.server_report.messages[0][2]
    ends.server.alias(client, Address(client.host, 9))
    assert not ends.server.reaches(Address(client.host, 9))


@pytest_twisted.ensureDeferred
async def test_who_speaks_no_tls(bed: Bed, tmp_path, logged):
    """A scanner in the clear is disconnected, and the log stays quiet; so is a server without TLS."""
    ends = Ends(bed, tmp_path, "sip.provider.test").start()
    bed.transport = ends.server
    scanner = bed.network.connect(PHONE, to=ends.server.local)
    scanner.send(OPTIONS)
    await bed.until(lambda: scanner.lost)
    assert ends.server_report.messages == []
    await bed.until(lambda: ends.server.status()["ended"] == {"handshake failed": 1})
    plain = bed.network.listen(("127.0.0.7", 0))
    plain.accepted = lambda peer: peer.send(OK)
    bed.transport = ends.client
    flow = bed.flow(plain.address, "sip.provider.test")
    ends.client.send(OPTIONS, flow)
    await bed.until(lambda: ends.client_report.failed == [(flow, "handshake failed")])
    assert [event for event in logged if event["log_level"] > LogLevel.info] == []


def test_a_handshake_that_takes_too_long(memory: Bed, tmp_path):
    """From somebody who connects, and with somebody who accepts."""
    ends = Ends(memory, tmp_path, "sip.provider.test").start()
    memory.transport = ends.client
    silent, quiet = (
        memory.network.listen(("127.0.0.7", 5061)),
        memory.network.connect(PHONE, to=ends.server.local),
    )
    flow = memory.flow(silent.address, "sip.provider.test")
    ends.client.send(OPTIONS, flow)
    memory.advance(HANDSHAKE - 0.1)
    assert quiet.open and silent.peers[0].open
    memory.advance(0.2)
    assert quiet.lost and silent.peers[0].lost
    assert ends.client_report.failed == [(flow, "timed out")]


@pytest_twisted.ensureDeferred
async def test_stopped_in_the_middle_of_a_handshake(bed: Bed, tmp_path):
    """Nothing is left."""
    ends = Ends(bed, tmp_path, "sip.provider.test").start()
    bed.network.connect(PHONE, to=ends.server.local)
    await bed.until(lambda: ends.server.status()["connections"] == 1)
    stopped = ends.server.stop()
    await bed.until(lambda: stopped.called)


@pytest_twisted.ensureDeferred
async def test_connections_leave_no_garbage(tmp_path):
    """When one has ended all of it is free at once: the collector looks for circles seldom."""
    bed = loopback_bed()
    ends = Ends(bed, tmp_path, "sip.provider.test").start()
    await ends.served("sip.provider.test")
    both = weakref.WeakSet([*ends.client._connections, *ends.server._connections])
    assert len(both) == 2
    gc.disable()
    try:
        stopped = ends.client.stop()
        await bed.until(lambda: stopped.called and not ends.server.status()["connections"])
        await bed.until(lambda: not both)
    finally:
        gc.enable()
    await bed.close()


# Files


def test_renewed_files_serve_the_next_connection(memory: Bed, tmp_path, logged):
    """Without a restart; as long as they are of no use the former ones stay, and one error says so."""
    ends = Ends(memory, tmp_path, "old.test").start()

    def identity() -> frozenset[str]:
        settings = TransportConfig(ca=ends.ca)
        memory.start("TLS", config=settings, tls=TLS(settings, memory.reactor))
        memory.transport.send(OPTIONS, Flow(memory.transport, ends.server.local, Side.INSIDE, "nobody.test"))
        memory.settle()
        return warnings(logged)[-1].rpartition(" ")[2]

    assert identity() == "old.test"
    with open(ends.file, "w") as broken:
        broken.write("half a certi")
    for _ in range(3):
        memory.advance(1.1)
        memory.transport.send(OPTIONS, memory.flow(ends.server.local, "another.test"))
        memory.settle()
    assert warnings(logged)[-1].endswith("old.test")
    errors = [formatEvent(event) for event in logged if event["log_level"] is LogLevel.error]
    assert len(errors) == 1
    assert errors[0].startswith(f"TLS goes on with the former certificate: tls_certificate {ends.file}: ")
    certificate(tmp_path / "server.pem", "new.test")
    memory.advance(1.1)
    assert identity() == "new.test"


def test_files_are_looked_at_once_a_second(tmp_path, monkeypatch):
    """However many connections there are."""
    clock, looks = Clock(), []
    look = tls._stamp_of
    monkeypatch.setattr(tls, "_stamp_of", lambda path: (looks.append(path), look(path))[1])
    config = TransportConfig(certificate=certificate(tmp_path / "a.pem", "a.test"))
    contexts = TLS(config, clock)
    contexts.load()
    contexts.load()
    for _ in range(10):
        clock.advance(0.25)
        contexts.contexts()
    assert looks == [config.certificate, "", ""] * 3
    clock.rightNow -= 3600  # set back
    contexts.contexts()
    assert looks == [config.certificate, "", ""] * 4


def test_a_list_of_revoked_certificates_names_no_authority(tmp_path):
    """OpenSSL takes one for `tls_ca`, but clients cannot be told by it whose certificates they may show."""
    now = datetime.datetime(2026, 1, 1)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    builder = x509.CertificateRevocationListBuilder(name, now, now)
    revoked = tmp_path / "crl.pem"
    revoked.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    with pytest.raises(TLSUnusable, match=f"^tls_ca {revoked}: "):
        TLS(TransportConfig(ca=str(revoked), verify_clients=True), Clock()).load()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"certificate": "{}/none.pem"}, "tls_certificate {}/none.pem: No such file or directory"),
        ({"certificate": "{}/empty.pem"}, "tls_certificate {}/empty.pem: "),
        ({"certificate": "{}/ca.pem"}, "tls_key {}/ca.pem: "),
        ({"key": "{}/other.pem"}, "tls_key {}/other.pem: key values mismatch"),
        ({"key": "{}/none.pem"}, "tls_key {}/none.pem: No such file or directory"),
        ({"key": "{}/locked.pem"}, "tls_key {}/locked.pem: "),
        ({"ca": "{}/empty.pem"}, "tls_ca {}/empty.pem: "),
        ({"ca": "{}"}, "tls_ca {}: Is a directory"),
    ],
)
def test_files_that_cannot_be_used(memory: Bed, tmp_path, change, said):
    """One line says which file of which directive, and why; nobody is asked for a password."""
    locked = (
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAg=\n"
        "-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "locked.pem").write_text(locked)
    authorities(tmp_path / "ca.pem")
    certificate(tmp_path / "other.pem", "other.test")
    usual = {"certificate": certificate(tmp_path / "a.pem", "a.test")}
    changed = {key: value.format(tmp_path) for key, value in change.items()}
    settings = TransportConfig(**(usual | changed))
    with pytest.raises(CannotListen) as caught:
        memory.start("TLS", Address("127.0.0.1", 5061), config=settings, tls=TLS(settings, memory.reactor))
    expected = f"cannot listen on TLS 127.0.0.1:5061: {said.format(tmp_path)}"
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert not memory.network.stream_ports


def test_without_pyopenssl(monkeypatch):
    """One line says what to install."""
    monkeypatch.setattr(tls, "_missing", "No module named 'OpenSSL'")
    with pytest.raises(TLSUnusable, match=r"needs pyOpenSSL: pip install siproxd_tw\[tls\]"):
        TLS(TransportConfig(), Clock()).load()


# Whose a certificate is


SIP = x509.UniformResourceIdentifier("SIP:Provider.test")
USER = x509.UniformResourceIdentifier("sip:alice@user.test")
WEB = x509.UniformResourceIdentifier("https://web.test")
DNS, WILDCARD = x509.DNSName("Host.test"), x509.DNSName("*.wild.test")
IP, IP6 = (x509.IPAddress(ipaddress.ip_address(text)) for text in ("192.0.2.1", "2001:db8::1"))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([SIP, USER, WEB, DNS], {"provider.test"}),
        ([USER, WEB, DNS, WILDCARD], {"host.test"}),
        ([WILDCARD], set()),
        ([DNS, IP, IP6], {"host.test", "192.0.2.1", "2001:db8::1"}),
        ([], set()),
    ],
)
def test_identities(names, found):
    """RFC 5922 section 7.1: SIP URIs without a user, DNS names only if there are none, no wildcards."""
    assert identities_of(with_names(*names)) == found


def test_names_of_kinds_that_cannot_be_read():
    """An X.400 address among the names (RFC 5280 section 4.2.1.6): the certificate is nobody's."""
    names = x509.UnrecognizedExtension(
        x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3004a3023000")
    )
    nobody, now = x509.Name([]), datetime.datetime(2026, 1, 1)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(nobody, nobody, key.public_key(), 1, now, now)
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    assert identities_of(certificate) == frozenset()


# What is spoken


def handshake(client, server) -> str:
    """Let two ends talk until they agree, and return the version."""
    client.set_connect_state()
    server.set_accept_state()
    for _ in range(10):
        for one, other in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                one.do_handshake()
            with suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    return client.get_protocol_version_name()


@pytest.mark.parametrize(
    ("version", "works"),
    [(SSL.TLS1_1_VERSION, False), (SSL.TLS1_2_VERSION, True), (SSL.TLS1_3_VERSION, True)],
)
def test_tls_1_2_is_the_least(tmp_path, version, works):
    """Older versions are not spoken."""
    ours = TLS(TransportConfig(certificate=certificate(tmp_path / "a.pem", "a.test")), Clock())
    ours.load()
    old = SSL.Context(SSL.TLS_METHOD)
    old.set_min_proto_version(SSL.TLS1_VERSION)
    old.set_max_proto_version(version)
    old.set_cipher_list(b"ALL:@SECLEVEL=0")
    theirs, server = SSL.Connection(old, None), SSL.Connection(ours.contexts().server, None)
    if works:
        assert handshake(theirs, server).startswith("TLSv1.")
    else:
        with pytest.raises(SSL.Error, match="protocol"):
            handshake(theirs, server)
