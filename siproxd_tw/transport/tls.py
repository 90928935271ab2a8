# SPDX-License-Identifier: MIT
"""TLS for SIP: certificates and whose they are (RFC 3261 section 26.3, RFC 5922).

- TLS 1.2 is the least; ciphers are those of the system's OpenSSL policy.
- A server must prove to be the domain that was asked for, SNI names it: by a SIP URI in its certificate
  or, if there is none, a DNS name. Both count as a whole, a wildcard is no name of anybody (RFC 5922
  section 7.2). Without a domain the IP address has to be in the certificate.
- Files that were renewed serve the next connection. As long as they cannot be used the former ones stay,
  and one error is logged.
- pyOpenSSL is needed when TLS is used only: ``pip install siproxd_tw[tls]``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from siproxd_tw.config.settings import TransportConfig

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from OpenSSL import SSL
    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
    from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

    _missing = ""
except ImportError as _error:  # pragma: no cover
    _missing = str(_error)

__all__ = ["TLS", "TLSUnusable", "explain", "identities_of"]

LOOK = 1.0
"""Seconds between two looks at the files."""

_VERDICTS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself",
    19: "it is signed by an authority unknown here",
    20: "it is signed by an authority unknown here",
    21: "it is signed by an authority unknown here",
    23: "it is revoked",
    26: "it is not meant for this purpose",
}
"""What OpenSSL says of a certificate (verify(1)), in words."""

Stamp = tuple[tuple[str, int, int, int] | None, ...]
"""By which a file is known to be another one: name, modification time, inode and size."""


class TLSUnusable(Exception):
    """TLS cannot be had; one line for the administrator that names the file and the reason."""


@dataclass(frozen=True, slots=True)
class _Contexts:
    server: Any
    client: Any


class TLS:
    """The certificates of `config`, for every transport that needs them; `clock` paces looks at the files."""

    _log = Logger()

    def __init__(self, config: TransportConfig, clock: IReactorTime) -> None:
        self.serves = bool(config.certificate)
        """Whether there is a certificate to serve with."""
        self._config = config
        self._clock = clock
        self._contexts: _Contexts | None = None
        self._stamp: Stamp = ()
        self._looked = 0.0

    def load(self) -> None:
        """Read the files, unless that has been done. Raises TLSUnusable."""
        if self._contexts is not None:
            return
        if _missing:
            raise TLSUnusable(f"TLS needs pyOpenSSL: pip install siproxd_tw[tls] ({_missing})")
        self._stamp = self._stamp_now()
        self._looked = self._clock.seconds()
        self._contexts = self._read()

    def accepting(self, protocol: IProtocol) -> IProtocol:
        """Return what speaks TLS as a server with the network, and in the clear with `protocol`."""
        return self._wrapped(protocol, _Server(self.contexts().server), client=False)

    def connecting(self, protocol: IProtocol, name: str) -> IProtocol:
        """The same as a client, that asks for the domain `name` unless it is empty."""
        return self._wrapped(protocol, _Client(self.contexts().client, name), client=True)

    def refusal(self, transport: Any, name: str, host: str) -> str:
        """Say what was wrong with the certificate of a peer whose handshake failed; empty: nothing was."""
        verdict = transport.verdict
        return f"{_expected(name, host)}: its certificate is refused, {verdict}" if verdict else ""

    def distrust(self, transport: Any, name: str, host: str) -> str:
        """Say why a server is not the one that was asked for, after its handshake; empty: it is.

        The domain that was asked for counts, not what the DNS made of it (RFC 3263 section 7, RFC 5923
        section 9.1).
        """
        if not self._config.verify_servers:
            return ""
        found = self.identities(transport)
        if (name.rstrip(".").lower() or host) in found:
            return ""
        named = ", ".join(sorted(found)[:5]) or "nobody"
        return f"{_expected(name, host)}: its certificate is for {named}"

    def identities(self, transport: Any) -> frozenset[str]:
        """Return the domains and IP addresses that the peer has proven to be; none without verification.

        Of a client as of a server (RFC 5923 section 9.2).
        """
        certificate = transport.getPeerCertificate()
        verified = transport.getHandle().get_verify_mode() & SSL.VERIFY_PEER
        try:
            return identities_of(certificate.to_cryptography()) if certificate and verified else frozenset()
        except ValueError:  # a certificate that cryptography cannot read
            return frozenset()

    def contexts(self) -> _Contexts:
        """Return the contexts for a new connection, from renewed files if there are."""
        contexts = self._contexts
        assert contexts is not None, "load first"
        # abs: a clock that was set back must not stop the looking
        if abs(self._clock.seconds() - self._looked) < LOOK:
            return contexts
        self._looked = self._clock.seconds()
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                contexts = self._contexts = self._read()
            except TLSUnusable as unusable:
                self._log.error("TLS goes on with the former certificate: {why}", why=str(unusable))
            else:
                self._log.info("TLS uses the renewed certificate {file}", file=self._config.certificate)
        return contexts

    def _wrapped(self, protocol: IProtocol, creator: Any, *, client: bool) -> IProtocol:
        factory = TLSMemoryBIOFactory(creator, client, Factory(), self._clock)
        return _Secured(factory, protocol)

    def _stamp_now(self) -> Stamp:
        config = self._config
        return tuple(_stamp_of(path) for path in (config.certificate, config.key, config.ca))

    def _read(self) -> _Contexts:
        config = self._config
        server = self._context(verify=config.verify_clients)
        if config.verify_clients and config.ca:
            _use("tls_ca", config.ca, lambda path: server.load_client_ca(os.fsencode(path)))
        return _Contexts(server, self._context(verify=config.verify_servers))

    def _context(self, *, verify: bool) -> Any:
        config = self._config
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_TICKET)
        context.set_options(SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(os.urandom(16))  # OpenSSL wants one where clients have certificates
        if config.certificate:
            _use("tls_certificate", config.certificate, context.use_certificate_chain_file)
            key = config.key or config.certificate
            _check_key(key)
            _use("tls_key", key, context.use_privatekey_file)
            _use("tls_key", key, lambda _: context.check_privatekey())
        if config.ca:
            _use("tls_ca", config.ca, context.load_verify_locations)
        else:
            context.set_default_verify_paths()
        mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT if verify else SSL.VERIFY_NONE
        context.set_verify(mode, _note_verdict)
        return context


def identities_of(certificate: Any) -> frozenset[str]:
    """Return whose `certificate` (of cryptography) is: domains in lower case, and IP addresses.

    The hosts of SIP URIs without a user, else the DNS names (RFC 5922 section 7.1), without wildcards.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,  # an X.400 address among the names
        ValueError,
    ):
        return frozenset()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    domains: Iterable[str] = [uri[4:] for uri in uris if uri[:4].lower() == "sip:" and "@" not in uri]
    domains = domains or [name for name in names.get_values_for_type(x509.DNSName) if "*" not in name]
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return frozenset([*(domain.lower() for domain in domains), *addresses])


def explain(reason: Failure) -> str:
    """Say in a few words why a TLS handshake failed."""
    return _words(reason.value) or reason.getErrorMessage()


def _words(error: Any) -> str:
    """Return what OpenSSL says at last: its exceptions hold (library, function, reason) by threes."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return str(queue[-1][-1]) if queue else ""


def _expected(name: str, host: str) -> str:
    return f"expected {name} at {host}" if name else f"expected {host}"


def _use(directive: str, path: str, use: Any) -> None:
    """Let OpenSSL use the file at `path`. Raises TLSUnusable."""
    try:
        with open(path, "rb"):  # for a clearer error than OpenSSL's
            pass
        use(path)
    except OSError as error:
        raise TLSUnusable(f"{directive} {path}: {error.strerror}") from None
    except SSL.Error as error:
        raise TLSUnusable(f"{directive} {path}: {_words(error) or 'OpenSSL cannot use it'}") from None


def _check_key(path: str) -> None:
    """Raise TLSUnusable for a key that OpenSSL would ask a password for, at the terminal."""
    try:
        with open(path, "rb") as file:
            found = _private_key(file.read())
        if found is None:
            raise TLSUnusable(f"tls_key {path}: there is no private key in it")
        load_pem_private_key(found[0], None)
    except OSError as error:
        raise TLSUnusable(f"tls_key {path}: {error.strerror}") from None
    except TypeError:
        raise TLSUnusable(f"tls_key {path}: the private key is protected by a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise TLSUnusable(f"tls_key {path}: the private key cannot be read") from None


_private_key = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL).search


def _stamp_of(path: str) -> tuple[str, int, int, int] | None:
    try:
        found = os.stat(path) if path else None
    except OSError:
        return None
    return None if found is None else (path, found.st_mtime_ns, found.st_ino, found.st_size)


def _note_verdict(connection: Any, certificate: Any, number: int, depth: int, ok: int) -> bool:
    """Keep what OpenSSL has to say against a certificate of the peer's chain, and agree with it."""
    if not ok:
        connection.get_app_data().verdict = _VERDICTS.get(number, f"OpenSSL's error {number}")
    return bool(ok)


if not _missing:

    class _Secured(TLSMemoryBIOProtocol):
        def __init__(self, factory: Any, protocol: IProtocol) -> None:
            TLSMemoryBIOProtocol.__init__(self, factory, protocol)
            self.verdict = ""
            """What OpenSSL has against the certificate of the peer."""

    @implementer(IOpenSSLServerConnectionCreator)
    class _Server:
        def __init__(self, context: Any) -> None:
            self._context = context

        def serverConnectionForTLS(self, tlsProtocol: Any) -> Any:
            connection = SSL.Connection(self._context, None)
            connection.set_app_data(tlsProtocol)
            return connection

    @implementer(IOpenSSLClientConnectionCreator)
    class _Client:
        def __init__(self, context: Any, name: str) -> None:
            self._context = context
            self._name = name

        def clientConnectionForTLS(self, tlsProtocol: Any) -> Any:
            connection = SSL.Connection(self._context, None)
            connection.set_app_data(tlsProtocol)
            if self._name:
                connection.set_tlsext_host_name(self._name.rstrip(".").encode("ascii", "replace"))
            return connection
