# SPDX-License-Identifier: MIT
"""Which of several final responses is given back: RFC 3261 section 16.7 steps 6 and 7.

For the responses from 300 to 699 of a request that was sent to several places. A 2xx is forwarded
at once and has no part in this; what cannot be told from the responses themselves, such as a time-out
or whether the caller has hung up, is the core's matter. Contacts of a 3xx go back as they are:
nothing is tried at them here.
"""

from __future__ import annotations

from collections.abc import Sequence

from siproxd_tw.sip.message import REASONS, Response

__all__ = ["aggregate", "best"]

#: Statuses that tell the caller how to ask again, and so are preferred within their class (16.7 step 6).
HELPFUL = frozenset({401, 407, 415, 420, 484})

#: What a phone says that knows nothing of the callee; another one that is busy or has declined says more.
IGNORANT = frozenset({404, 410, 430, 480, 481})

CHALLENGES = frozenset({401, 407})

_CHALLENGE_FIELDS = frozenset({b"www-authenticate", b"proxy-authenticate"})


def best(responses: Sequence[Response]) -> Response:
    """Choose the response to give back, of those equally good the first one (16.7 step 6).

    A 6xx wins, as nobody else is to be asked then; otherwise the lowest class does. If it comes to a
    503 of one of several places, it becomes a 500 and keeps its Retry-After: whoever
    gets a 503 takes it that we are out of service, and leaves us alone with all calls.
    """
    chosen = min(responses, key=_rank)
    if chosen.status == 503 and len(responses) > 1:
        chosen.set_status(500, REASONS[500], "503 of one place among others (16.7 step 6)")
    return chosen


def _rank(response: Response) -> tuple[int, int]:
    """Return the class and the place in it; the lowest wins."""
    status = response.status
    if status >= 600:
        return 0, 0
    if status == 487:  # the place was cancelled, by us: its answer says nothing of the callee
        return 9, 0
    if status < 400:
        return 3, 0
    if status >= 500:
        return 5, 1 if status == 503 else 0
    if status == 408:
        return 4, 3
    return 4, 0 if status in HELPFUL else 2 if status in IGNORANT else 1


def aggregate(chosen: Response, responses: Sequence[Response]) -> None:
    """Add the challenges of all other 401 and 407 to `chosen` if it is one, byte for byte (16.7 step 7).

    The caller can then answer all of them in its next request. One that is there already is not
    repeated.
    """
    if chosen.status not in CHALLENGES:
        return
    known = {(field.name, field.value) for field in chosen.fields if field.name in _CHALLENGE_FIELDS}
    for response in responses:
        if response is chosen or response.status not in CHALLENGES:
            continue
        for field in response.fields:
            if field.name in _CHALLENGE_FIELDS and (field.name, field.value) not in known:
                known.add((field.name, field.value))
                after = field.name if chosen.first(field.name) is not None else chosen.fields[-1]
                line = field.raw.rstrip(b"\r\n")
                chosen.insert(line, "challenge of another place (16.7 step 7)", after=after)
