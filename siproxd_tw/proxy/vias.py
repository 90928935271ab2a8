# SPDX-License-Identifier: MIT
"""One Via outside: `single_via`, for providers that refuse requests with more than one.

`hide` takes the Vias of the inside out of the copy that goes outside, before ours is put on. The
request as it was received keeps them, and `restore` puts them into each response after ours was taken
out: byte for byte, with the `received` and `rport` that we had added, where the Via has been. Loops are
still detected, as it is our own Via that says where the request has been before.
"""

from __future__ import annotations

from siproxd_tw.sip.grammar import canonical_name
from siproxd_tw.sip.headers import Field
from siproxd_tw.sip.message import Request, Response

__all__ = ["hide", "restore"]

REASON = "one Via outside (single_via)"


def hide(copy: Request) -> None:
    """Take every Via out of `copy`, which is left without one until ours is put on."""
    for via in copy.all(b"via"):
        copy.remove(via, REASON)


def restore(response: Response, request: Request) -> None:
    """Put the Vias of `request`, as it was received, into `response`, which has lost ours."""
    after = _after_vias(response)
    for via in request.all(b"via"):
        line = via.raw.rstrip(b"\r\n")
        if after is None and response.fields:
            response.insert(line, REASON, after=response.fields[-1])
        else:
            response.insert(line, REASON, before=after)


def _after_vias(response: Response) -> Field | None:
    """Return the field that stood behind the Via which was taken out, None if that was the last one."""
    original = response.original
    for edit in response.edits():
        if canonical_name(original[edit.start : edit.end].partition(b":")[0].rstrip(b" \t")) == b"via":
            return next((field for field in response.fields if field.at >= edit.end), None)
    return response.fields[0] if response.fields else None
