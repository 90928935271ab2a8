# SPDX-License-Identifier: MIT
"""A phone: baresip without a sound card, which speaks a tone and records what it hears.

It is spoken to through its control port (module ctrl_tcp): netstrings with JSON in them,
commands in and responses and events out.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.network.kamailio import DOMAIN, PASSWORD
from tests.network.namespaces import Host
from tests.network.programs import until
from tests.network.tone import Recording, read_recording, write_tone

CONTROL_PORT = 5555
SPEECH = 90
"""Length of what it has to say, seconds: longer than any call of the tests."""

CONFIG = """\
poll_method        epoll
sip_listen         {address}:5060
{authority}
call_local_timeout 30
call_max_calls     4
# The player is a dummy with a clock, the recorder a filter in front of it.
audio_player       aubridge,sink
audio_source       aufile,{speech}
audio_alert        aubridge,sink
ausrc_srate        8000
auplay_srate       8000
ausrc_channels     1
auplay_channels    1
ausrc_format       s16
auplay_format      s16
auenc_format       s16
audec_format       s16
audio_level        no
rtcp_mux           no
jitter_buffer_delay 5-10
rtp_stats          yes
module_path        {modules}
module             g711.so
module             aufile.so
module             aubridge.so
module             sndfile.so
snd_path           {recordings}
statmode_default   off
module             uuid.so
module_tmp         account.so
module_app         menu.so
module_app         ctrl_tcp.so
ctrl_tcp_listen    127.0.0.1:{control}
"""

MODULES = "baresip/modules"
"""Where its modules are, below /usr/lib or the folder of the architecture in it."""

ACCOUNT = (
    "<sip:{user}@{domain};transport={transport}>;auth_user={user};auth_pass={password};regint=60;answermode=auto"
    ';outbound="sip:{proxy};transport={transport}";audio_codecs=PCMU/8000/1,PCMA/8000/1\n'
)


def modules() -> Path:
    """Return the folder of its modules."""
    library = Path("/usr/lib")
    found = [path for path in (library / MODULES, *library.glob(f"*/{MODULES}")) if path.is_dir()]
    assert found, f"no {MODULES} below {library}"
    return found[0]


def bracketed(host: str) -> str:
    """Return an address as it is written in URIs."""
    return f"[{host}]" if ":" in host else host


def netstrings(data: bytes) -> tuple[list[bytes], bytes]:
    """Split `data` into the netstrings that are complete, and the rest."""
    found = []
    while (colon := data.find(b":")) > 0:
        end = colon + 1 + int(data[:colon])
        if len(data) <= end:
            break
        found.append(data[colon + 1 : end])
        data = data[end + 1 :]
    return found, data


class Phone:
    """The phone of `user`, running on `host` and sending everything through `proxy` by `transport`.

    Its account is at `domain`. By TLS it wants to see a certificate of `authority`.
    """

    def __init__(
        self,
        user: str,
        host: Host,
        proxy: str,
        tone: int,
        directory: Path,
        *,
        transport: str = "udp",
        domain: str = DOMAIN,
        authority: Path | None = None,
    ) -> None:
        self.user = user
        self.uri = f"sip:{user}@{domain}"
        self._account = {"user": user, "domain": domain, "transport": transport, "password": PASSWORD}
        self._authority = f"sip_cafile {authority}" if authority else ""
        self.host = host
        self.tone = tone
        self._events: list[dict[str, Any]] = []
        self._responses: list[dict[str, Any]] = []
        self._rest = b""
        self._recordings = directory / "recordings"
        self._recordings.mkdir(parents=True)
        self._write_configuration(directory, proxy)
        self.program = host.start(user, "baresip", "-f", directory, "-v", "-s")
        until(self._listens, 5, f"the phone of {user} takes commands, see {self.program.log}")
        self._control = host.connect(CONTROL_PORT)
        self._control.setblocking(False)

    def _write_configuration(self, directory: Path, proxy: str) -> None:
        speech = directory / "speech.wav"
        write_tone(speech, self.tone, SPEECH)
        (directory / "config").write_text(
            CONFIG.format(
                address=bracketed(self.host.address),
                authority=self._authority,
                speech=speech,
                recordings=self._recordings,
                control=CONTROL_PORT,
                modules=modules(),
            )
        )
        (directory / "accounts").write_text(ACCOUNT.format(proxy=bracketed(proxy), **self._account))
        (directory / "contacts").touch()

    def _listens(self) -> bool:
        return bool(self.host.run("ss", "-Hltn", f"sport = :{CONTROL_PORT}"))

    def wait_registered(self, seconds: float = 10) -> None:
        """Wait until the registrar has accepted it."""
        self.program.wait_for(rf"{self.user}@.* 200 OK .*\[1 binding\]", seconds)

    def dial(self, uri: str) -> None:
        """Start a call."""
        self.command("dial", uri)

    def hang_up(self) -> None:
        """End its call."""
        self.command("hangup")

    def command(self, name: str, parameters: str = "") -> str:
        """Give it a command and return what it answers."""
        message = json.dumps({"command": name, "params": parameters, "token": name}).encode()
        self._responses.clear()
        self._control.sendall(b"%d:%s," % (len(message), message))
        response = until(self._response, 5, f"the phone of {self.user} answers to {name}")
        assert response.get("ok"), f"{self.user}: {name} {parameters}: {response}"
        return str(response.get("data", ""))

    def now(self) -> int:
        """Return how many events there have been: a position for `wait_event` and `seen`."""
        self._receive()
        return len(self._events)

    def wait_event(self, kind: str, since: int, seconds: float = 8) -> dict[str, Any]:
        """Wait for an event of this kind among those after the first `since`."""
        what = f"{self.user} has {kind}, see {self.program.log}"
        return until(lambda: next(self.seen(kind, since), None), seconds, what)

    def seen(self, kind: str, since: int) -> Iterator[dict[str, Any]]:
        """Find the events of this kind among those after the first `since`."""
        self._receive()
        return (event for event in self._events[since:] if event.get("type") == kind)

    def _response(self) -> dict[str, Any] | None:
        self._receive()
        return self._responses[0] if self._responses else None

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := self._control.recv(65536):
                found, self._rest = netstrings(self._rest + data)
                for each in map(json.loads, found):
                    (self._events if each.get("event") else self._responses).append(each)

    def recordings(self) -> set[Path]:
        """Return the files with what it has heard, one for each call since the last `put_away_recordings`."""
        return set(self._recordings.glob("*dec.wav"))

    def put_away_recordings(self) -> None:
        """Give them other names: it names them by the second, and another call would overwrite them."""
        for number, path in enumerate(sorted(self.recordings()), len(list(self._recordings.iterdir()))):
            path.rename(path.with_suffix(f".{number}"))


class Call:
    """A call from one phone to another, from dialling to both having hung up."""

    def __init__(self, caller: Phone, callee: Phone) -> None:
        self.caller = caller
        self.callee = callee
        self._begin = {phone: phone.now() for phone in self.phones}
        for phone in self.phones:
            phone.put_away_recordings()
        caller.dial(callee.uri)
        until(self._established, 10, f"{caller.user} and {callee.user} have a call, see {caller.program.log}")

    @property
    def phones(self) -> tuple[Phone, Phone]:
        """Caller and callee."""
        return self.caller, self.callee

    def peer(self, phone: Phone) -> Phone:
        """Return the other one."""
        return self.caller if phone is self.callee else self.callee

    def _established(self) -> bool:
        for phone in self.phones:
            for closed in phone.seen("CALL_CLOSED", self._begin[phone]):
                raise AssertionError(f"no call: {phone.user} says {closed.get('param')!r}")
        return all(any(phone.seen("CALL_ESTABLISHED", self._begin[phone])) for phone in self.phones)

    def recording(self, phone: Phone) -> Recording:
        """Return what `phone` has heard in this call so far."""
        new = phone.recordings()
        assert len(new) <= 1, f"{phone.user} has more than one call: {new}"
        path = next(iter(new), None)
        # The file is there before its header is.
        return read_recording(path) if path and path.stat().st_size > 44 else Recording.nothing()

    def talk(self, seconds: float = 3) -> None:
        """Let both talk until each has heard the other for `seconds` more; nobody hears themselves."""
        begun = {phone: self.recording(phone).seconds for phone in self.phones}
        for phone in self.phones:
            self._wait_heard(phone, begun[phone], seconds)
        for phone in self.phones:
            own = self.recording(phone).leaked(phone.tone)
            assert own == 0, f"{phone.user} hears their own {phone.tone} Hz for {own:g} s"

    def _wait_heard(self, phone: Phone, begun: float, seconds: float) -> None:
        tone = self.peer(phone).tone

        def heard() -> bool:
            return self.recording(phone).since(begun).heard(tone) >= seconds

        try:
            until(heard, seconds + 5, f"{phone.user} hears {tone} Hz for {seconds:g} s", pause=0.1)
        except AssertionError as failure:
            new = self.recording(phone).since(begun)
            raise AssertionError(
                f"{failure}; in {new.seconds:.1f} s of audio {new.heard(tone):.1f} s are {tone} Hz"
                f" and {new.heard(phone.tone):.1f} s their own {phone.tone} Hz"
            ) from None

    def hang_up(self, phone: Phone) -> None:
        """Let `phone` hang up: the call ends on both."""
        phone.hang_up()
        for each in self.phones:
            each.wait_event("CALL_CLOSED", self._begin[each], 5)

    def running(self) -> bool:
        """Return whether neither phone has ended it."""
        return not any(any(phone.seen("CALL_CLOSED", self._begin[phone])) for phone in self.phones)
