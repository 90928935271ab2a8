# SPDX-License-Identifier: MIT
"""Session descriptions as devices and other projects' tests have them."""

from __future__ import annotations

import pytest

from siproxd_tw.sdp import SDPError, SessionDescription
from tests.support.descriptions import check_relayed
from tests.support.vectors import Vector, captured

VECTORS = captured("sdp")
#: Bodies that the manifests call valid and that are fragments, or out of range: nothing to relay in them.
REFUSED_THOUGH_VALID = {
    "osip2/sdp4",  # a port above 65535
    "sdp-rfc/rfc8839-04.sdp",  # a template
    "sdp-files/sdp/spd_session_ex3.txt",
    "sdp-files/sdp/spd_session_ex_attributes.txt",
    "sdp-files/sdp/spd_session_ex_ip.txt",
    "sdp-files/sdp/spd_session_ex_keys.txt",
    "sdp-files/sdp/spd_session_ex_origin.txt",
    "sdp-files/sdp/spd_session_ex_repeat.txt",
    "sdp-files/sdp/spd_session_ex_timing.txt",
    "sdp-files/sdp/spd_session_ex_uri.txt",
    "sdp-files/sdp/spd_session_ex_zones.txt",
}


def body(vector: Vector) -> bytes:
    """Return the vector's bytes; rtpengine's expected outputs have a word where the port is."""
    if "rtpengine" in vector.name:
        return vector.data.replace(b" PORT", b" 30000").replace(b"a=rtcp:PORT", b"a=rtcp:30001")
    return vector.data


@pytest.mark.parametrize("corpus", sorted({vector.name.split("/")[0] for vector in VECTORS}))
def test_read_or_refused_with_a_place(corpus):
    """A valid description is read; another one is read or refused with a line that it has."""
    refused = set()
    for vector in VECTORS:
        if not vector.name.startswith(corpus + "/"):
            continue
        try:
            SessionDescription.parse(body(vector))
        except SDPError as error:
            assert 1 <= error.line <= body(vector).count(b"\n") + 1
            if vector.expected == "valid":
                refused.add(vector.name)
    assert refused == {name for name in REFUSED_THOUGH_VALID if name.startswith(corpus + "/")}


@pytest.mark.parametrize("host", ["203.0.113.1", "2001:db8::1"])
@pytest.mark.parametrize("corpus", sorted({vector.name.split("/")[0] for vector in VECTORS}))
def test_relayed(corpus, host):
    """Edited for the relay, only addresses and ports differ, and all of them are ours."""
    checked = 0
    for vector in VECTORS:
        if not vector.name.startswith(corpus + "/"):
            continue
        try:
            SessionDescription.parse(body(vector))
        except SDPError:
            continue
        check_relayed(body(vector), host)
        checked += 1
    assert checked
