"""Audio for timing: plucked chords and noise bursts, of any length and without repetition.

The time of a step does not depend on the audio, but the number of evaluations in a line search and
the moment an optimisation stops do: silence or plain noise would not be representative.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BEAT_S = 0.25
BLOCK_S = 10.0  # files are written in blocks, so that an hour of audio needs little memory
SCALE = (0, 3, 5, 7, 10)
PARTIALS = 8
DRONE_HZ = 82.4
LEVEL = 0.1  # RMS, -20 dBFS


def chords(seconds: float, sr: int, seed: int) -> Array:
    """Return broken chords on a plucked string [shape=(n,), float32]."""
    rng = np.random.default_rng([0, seed])
    y = np.zeros(round(seconds * sr))
    t = np.arange(round(4 * BEAT_S * sr)) / sr
    for first in range(0, y.size, round(BEAT_S * sr)):
        f0 = 110.0 * 2.0 ** ((rng.choice(SCALE) + 12 * rng.integers(0, 3)) / 12)
        for k in range(1, PARTIALS + 1):
            decay = np.exp(-(2.0 + k) * t)
            note = np.sin(2 * np.pi * k * f0 * t + rng.uniform(0, 2 * np.pi)) * decay / k
            y[first : first + t.size] += note[: y.size - first]
    return _normalize(y, rng)


def bursts(seconds: float, sr: int, seed: int) -> Array:
    """Return bursts of noise of changing color over a drone [shape=(n,), float32]."""
    rng = np.random.default_rng([1, seed])
    n = round(seconds * sr)
    t = np.arange(n) / sr
    y: Array = np.zeros(n)
    for k in range(1, PARTIALS + 1):
        y += 0.2 * np.sin(2 * np.pi * DRONE_HZ * k * t) / k**0.5
    size = round(0.7 * BEAT_S * sr)
    decay = np.exp(-6 * np.arange(size) / size)
    for first in range(0, n, round(0.75 * BEAT_S * sr)):
        spectrum = np.fft.rfft(rng.standard_normal(size))
        frequencies = np.fft.rfftfreq(size, 1 / sr)
        center = 300.0 * 2.0 ** rng.uniform(0, 4.5)
        color = 1 / (1 + ((frequencies - center) / (0.5 * center)) ** 2)
        burst = np.fft.irfft(spectrum * color, size) * decay
        y[first : first + size] += burst[: n - first]
    return _normalize(y, rng)


def _normalize(y: Array, rng: np.random.Generator) -> Array:
    """Add a faint hiss, as recordings have, and scale to `LEVEL`."""
    y = y / max(float(np.sqrt(np.mean(y**2))), 1e-9)
    y = y + 10.0 ** (-60 / 20) * rng.standard_normal(y.size)
    return np.asarray(np.clip(LEVEL * y, -0.99, 0.99), np.float32)


def write_pair(folder: Path, seconds: float, sr: int) -> tuple[Path, Path]:
    """Write a mono content and a style of the same length; return their paths."""
    import soundfile

    content, style = folder / f"content-{seconds:g}.wav", folder / f"style-{seconds:g}.wav"
    soundfile.write(content, chords(seconds, sr, 0), sr, subtype="PCM_16")
    soundfile.write(style, bursts(seconds, sr, 0), sr, subtype="PCM_16")
    return content, style


def write_long(path: Path, seconds: float, sr: int) -> None:
    """Write a stereo file of any length block by block."""
    import soundfile

    written, total = 0, round(seconds * sr)
    with soundfile.SoundFile(path, "w", sr, 2, subtype="PCM_16") as file:
        while written < total:
            n = min(round(BLOCK_S * sr), total - written)
            left = chords(n / sr, sr, written)
            right = 0.7 * left + 0.3 * bursts(n / sr, sr, written)
            file.write(np.stack([left, right], axis=1))
            written += n
