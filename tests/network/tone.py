# SPDX-License-Identifier: MIT
"""Tones to speak with, and whether a recording contains them.

A recording is judged in windows of 100 ms by the share of each window's energy that one
frequency has (Goertzel's algorithm). Frequencies are multiples of 10 Hz: a window then
holds whole periods, and the share of a pure tone is 1.
"""

from __future__ import annotations

import math
import struct
import wave
from array import array
from dataclasses import dataclass
from pathlib import Path

RATE = 8000
"""Samples per second of what the phones speak."""
WINDOWS = 10
"""Windows per second."""
QUIET = 200.0
"""A window below this amplitude (root mean square, of 32767) is silence."""
HEARD = 0.7
"""From this share of its energy on a window is the tone."""
LEAKED = 0.1
"""From this share on a window has the tone in it; quantisation by G.711 leaves some 0.001."""


def write_tone(path: Path, frequency: int, seconds: int) -> None:
    """Write a sine of `frequency` Hz, a multiple of 10, as 16-bit mono."""
    step = 2 * math.pi * frequency / RATE
    second = array("h", (round(8000 * math.sin(step * n)) for n in range(RATE)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(second.tobytes() * seconds)


def share(samples: array[int], rate: int, frequency: float) -> float:
    """Return the share, 0 to 1, of the energy of `samples` that is at `frequency`."""
    energy = sum(sample * sample for sample in samples)
    if not energy:
        return 0.0
    coefficient = 2 * math.cos(2 * math.pi * frequency / rate)
    last = before = 0.0
    for sample in samples:
        last, before = sample + coefficient * last - before, last
    power = last * last + before * before - coefficient * last * before
    return min(1.0, 2 * power / (len(samples) * energy))


@dataclass(frozen=True, slots=True)
class Recording:
    """What a phone heard."""

    samples: array[int]
    rate: int

    @classmethod
    def nothing(cls) -> Recording:
        """Return the recording of a phone that has heard nothing yet."""
        return cls(array("h"), RATE)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate

    def since(self, seconds: float) -> Recording:
        """Return the part that begins `seconds` after the start."""
        return Recording(self.samples[int(seconds * self.rate) :], self.rate)

    def heard(self, frequency: int) -> float:
        """Return for how many seconds, in all, the tone is what is heard."""
        return self._windows_with(frequency, HEARD)

    def leaked(self, frequency: int) -> float:
        """Return for how many seconds, in all, there is some of the tone in what is heard."""
        return self._windows_with(frequency, LEAKED)

    def _windows_with(self, frequency: int, least: float) -> float:
        length = self.rate // WINDOWS
        starts = range(0, len(self.samples) - length + 1, length)
        windows = (self.samples[start : start + length] for start in starts)
        loud = (window for window in windows if loudness(window) >= QUIET)
        return sum(share(window, self.rate, frequency) >= least for window in loud) / WINDOWS


def loudness(samples: array[int]) -> float:
    """Return the root mean square of the samples."""
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples))


def read_recording(path: Path) -> Recording:
    """Read a 16-bit PCM file in WAV format, also one that is still being written.

    Until it is closed the lengths in its header are zero or too small: the data
    chunk then goes to the end of the file.
    """
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError(f"{path}: not in WAV format")
    position, channels, rate = 12, 1, RATE
    while position + 8 <= len(data):
        name, length = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 8], "little"),
        )
        position += 8
        if name == b"data":
            return Recording(_first_channel(data[position:], channels), rate)
        if name == b"fmt ":
            encoding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, position)
            if (encoding, bits) != (1, 16):
                raise ValueError(f"{path}: encoding {encoding} with {bits} bits instead of 16-bit PCM")
        position += length + length % 2
    return Recording.nothing()


def _first_channel(data: bytes, channels: int) -> array[int]:
    samples = array("h")
    samples.frombytes(data[: len(data) // 2 * 2])
    return samples[::channels]
