"""Synthesize the two clips of this folder, free of any rights and the same on every machine.

Run ``python examples/make_clips.py`` to write ``pluck.flac`` (the content: a plucked melody) and
``strings.flac`` (the style: a small string section that plays other chords).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf

Array = npt.NDArray[Any]

SR = 22050
BEAT = 0.25  # seconds
# MIDI notes: broken chords of A minor, F, C and G.
MELODY = [57, 64, 69, 72, 71, 69, 64, 60, 53, 60, 65, 69, 67, 65, 60, 57]
MELODY += [48, 55, 64, 67, 72, 67, 64, 55, 55, 62, 67, 71, 74, 71, 67, 62]
CHORDS = [(50, 57, 65, 69), (55, 58, 62, 70), (48, 55, 63, 67), (53, 60, 65, 68)]


def frequency(note: float) -> float:
    """Frequency in Hz of a MIDI note."""
    return float(440.0 * 2.0 ** ((note - 69) / 12))


def pluck(note: int, seconds: float, rng: np.random.Generator) -> Array:
    """Synthesize a plucked string: noise in a damped, averaging loop (Karplus & Strong 1983)."""
    period = round(SR / frequency(note))
    loop = rng.uniform(-1, 1, period)
    loop -= loop.mean()  # a constant offset is inaudible, but would not decay
    periods = []
    for _ in range(int(seconds * SR) // period + 1):
        periods.append(loop)
        loop = 0.996 * 0.5 * (loop + np.roll(loop, 1))
    return np.concatenate(periods)[: int(seconds * SR)]


def bow(note: int, seconds: float, rng: np.random.Generator) -> Array:
    """Synthesize a bowed string: partials with vibrato, a slow attack and some hiss."""
    t = np.arange(int(seconds * SR)) / SR
    rate = rng.uniform(5.0, 6.5)
    bend = 0.004 * np.sin(2 * np.pi * rate * t + rng.uniform(0, 6)) * np.minimum(t / 0.4, 1)
    phase = 2 * np.pi * frequency(note) * np.cumsum(1 + bend) / SR
    y = np.zeros_like(t)
    for k in range(1, int(SR / 2.2 / frequency(note))):
        body = 1 + 0.8 * np.cos(k * frequency(note) / 420.0)  # a few broad resonances
        y += body / k**1.1 * np.sin(k * phase + rng.uniform(0, 6))
    hiss = rng.standard_normal(len(t)) * 0.03
    attack = np.minimum(t / 0.12, 1) * np.minimum((seconds - t) / 0.15, 1)
    return np.asarray((y + hiss) * attack)


def content() -> Array:
    """Synthesize the plucked melody, 8.5 s."""
    rng = np.random.default_rng(1)
    y = np.zeros(int((len(MELODY) * BEAT + 0.5) * SR))
    for i, note in enumerate(MELODY):
        start = int(i * BEAT * SR)
        tone = pluck(note, min(1.2, len(y) / SR - i * BEAT), rng)
        y[start : start + len(tone)] += tone
    return np.asarray(0.5 * y / np.abs(y).max())


def style() -> Array:
    """Synthesize the string section, 8 s."""
    rng = np.random.default_rng(2)
    chords = []
    for chord in CHORDS * 2:
        chords.append(np.sum([bow(note, 1.0, rng) for note in (*chord, chord[-1])], axis=0))
    y = np.concatenate(chords)
    return np.asarray(0.5 * y / np.abs(y).max())


def main() -> None:
    """Write both clips to the folder of this script."""
    folder = Path(__file__).parent
    sf.write(folder / "pluck.flac", content(), SR, subtype="PCM_16")
    sf.write(folder / "strings.flac", style(), SR, subtype="PCM_16")


if __name__ == "__main__":
    main()
