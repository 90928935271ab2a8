# SPDX-License-Identifier: MIT
from __future__ import annotations

import math
import random
from array import array
from pathlib import Path

import pytest

from tests.network.tone import RATE, Recording, read_recording, share, write_tone


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    write_tone(path, 440, seconds=2)
    return path


def test_a_written_tone_is_heard_for_its_whole_length(tone: Path) -> None:
    """Writer and reader agree, and the frequency is the one asked for."""
    recording = read_recording(tone)
    assert recording.seconds == 2
    assert recording.heard(440) == 2
    assert recording.leaked(1000) == 0


def test_another_tone_is_not_taken_for_it(tone: Path) -> None:
    """A neighbour of the tone counts neither as heard nor as leaked."""
    assert read_recording(tone).heard(460) == 0
    assert read_recording(tone).leaked(460) == 0


def test_a_faint_own_tone_behind_the_other_is_leaked_but_not_heard() -> None:
    """An echo with a fifth of the other tone's energy is found."""
    both = mix((1000, 8000.0), (440, 4000.0))
    recording = Recording(both, RATE)
    assert recording.heard(1000) == 1
    assert recording.heard(440) == 0
    assert recording.leaked(440) == 1


def test_silence_and_noise_are_no_tone() -> None:
    """Neither an empty line nor loud noise passes for a tone."""
    noise = random.Random(1)
    assert Recording(array("h", [0] * RATE), RATE).leaked(440) == 0
    assert Recording(array("h", (noise.randint(-9000, 9000) for _ in range(RATE))), RATE).heard(440) == 0


def test_the_shares_of_a_mix_are_those_of_its_energies() -> None:
    """Amplitudes 3 to 1 are energies 9 to 1."""
    both = mix((440, 6000.0), (1000, 2000.0))
    assert share(both, RATE, 440) == pytest.approx(0.9, abs=0.01)
    assert share(both, RATE, 1000) == pytest.approx(0.1, abs=0.01)


def test_an_unfinished_file_is_read_to_its_end(tone: Path) -> None:
    """A program that is still recording has not written the lengths yet."""
    data = bytearray(tone.read_bytes())
    data[4:8] = data[40:44] = bytes(4)
    tone.write_bytes(data[: 44 + RATE * 2 + 1])
    assert read_recording(tone).seconds == 1
    assert read_recording(tone).heard(440) == 1


def test_a_part_begins_where_it_is_asked_to(tone: Path) -> None:
    """`since` leaves out what was before."""
    assert read_recording(tone).since(1.5).heard(440) == 0.5


def test_of_two_channels_the_first_is_judged(tmp_path: Path, tone: Path) -> None:
    """A stereo file does not double the frequency."""
    data = bytearray(tone.read_bytes())
    data[22] = 2
    stereo = tmp_path / "stereo.wav"
    left = array("h", data[44:])
    silent = array("h", bytes(2 * len(left)))
    woven = array("h", (sample for pair in zip(left, silent, strict=True) for sample in pair))
    stereo.write_bytes(bytes(data[:44]) + woven.tobytes())
    assert read_recording(stereo).heard(440) == 2


@pytest.mark.parametrize("data", [b"", b"RIFF....AVI ", b"OggS" * 8])
def test_what_is_not_a_recording_is_refused(tmp_path: Path, data: bytes) -> None:
    """A wrong file is an error that names it, not a recording without a tone."""
    path = tmp_path / "odd.wav"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"odd\.wav: not in WAV format"):
        read_recording(path)


def test_another_encoding_is_refused(tone: Path) -> None:
    """Compressed samples are not read as PCM."""
    data = bytearray(tone.read_bytes())
    data[20] = 7
    tone.write_bytes(data)
    with pytest.raises(ValueError, match="encoding 7 with 16 bits"):
        read_recording(tone)


def mix(*tones: tuple[int, float]) -> array[int]:
    """Return one second of the sum of sines (frequency, amplitude)."""
    return array(
        "h",
        (
            round(sum(loud * math.sin(2 * math.pi * hertz * n / RATE) for hertz, loud in tones))
            for n in range(RATE)
        ),
    )
