"""Pairs with a known target, played by the samples of real instruments: MIDI through FluidSynth.

Needs the program ``fluidsynth`` and the soundfont TimGM6mb (the Debian packages ``fluidsynth`` and
``timgm6mb-soundfont``), or the General MIDI soundfont that ``BENCH_SOUNDFONT`` names.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.quality.phrases import Note, compose
from bench.quality.runs import Array
from bench.quality.synthesizer import TAIL_S, finish

SOUNDFONT = Path(os.environ.get("BENCH_SOUNDFONT", "/usr/share/sounds/sf2/TimGM6mb.sf2"))
RENDER_RATE = 44_100  # of the samples; FluidSynth's interpolation aliases at lower rates
TICKS_PER_S = 1920  # 960 ticks per quarter note, at 120 quarter notes per minute
MELODY_RANGE = (-9, 12)  # semitones that a melody moves around its center
HISS_DB = -80.0  # relative to the clip
TAKE_JITTER = (0.004, 0.06)  # standard deviations of start (s) and velocity (share) in a take


@dataclass(frozen=True)
class Instrument:
    """A General MIDI program (from 0), its range in MIDI pitches, and whether it plays chords."""

    program: int
    low: int
    high: int
    chords: bool


# Neighbours alternate between melody instruments and those that play chords, and differ in kind.
INSTRUMENTS = {
    "violin": Instrument(40, 55, 96, False),
    "piano": Instrument(0, 36, 100, True),
    "trumpet": Instrument(56, 55, 84, False),
    "choir": Instrument(52, 43, 81, True),
    "flute": Instrument(73, 60, 96, False),
    "guitar": Instrument(24, 40, 83, True),
    "cello": Instrument(42, 36, 76, False),
    "organ": Instrument(19, 36, 96, True),
    "oboe": Instrument(68, 58, 89, False),
    "harpsichord": Instrument(6, 36, 88, True),
    "alto sax": Instrument(65, 49, 81, False),
    "strings": Instrument(48, 36, 96, True),
    "pizzicato": Instrument(45, 40, 90, False),
    "brass": Instrument(61, 40, 84, True),
    "clarinet": Instrument(71, 50, 91, False),
    "electric piano": Instrument(4, 36, 96, True),
}
# From the content's place in the list to the style's: for four melodies in turn (among all), and
# for phrases with bass and with chords (among those that play chords).
MELODY_SHIFTS = {"tuning": (5, 5, 6, 8), "held-out": (7, 9, 10, 12)}
CHORD_SHIFTS = {"tuning": (1, 3), "held-out": (2, 5)}


@dataclass(frozen=True)
class SampledPair:
    """Instruments of a content and a style; everything random is drawn from the number."""

    number: int  # even in the half for tuning, odd in the held-out half
    content: str
    style: str
    voices: int  # of the content: melody, with bass, with bass and chords

    kind = "sampled"

    @property
    def name(self) -> str:
        """Name of the pair in the tables."""
        return f"{self.number:02d} {self.content}>{self.style}"

    def phrases(self) -> tuple[list[Note], list[Note]]:
        """Compose the phrases of content and style, in different keys, tempi and registers."""
        rng = np.random.default_rng([17, self.number])
        a, b = INSTRUMENTS[self.content], INSTRUMENTS[self.style]
        tonic, bpm = int(rng.integers(12)), float(rng.uniform(80, 120))
        style_tonic = (tonic + int(rng.integers(1, 12))) % 12
        style_bpm = bpm * float(rng.uniform(1.15, 1.4)) ** int(rng.choice((-1, 1)))
        center = _draw_center(rng, max(a.low, b.low), min(a.high, b.high))
        apart = int(rng.integers(5, 10))
        up = b.high - center >= center - b.low  # where the style's instrument has more room
        style_voices = int(rng.integers(1, 4)) if b.chords else 1
        number = 1000 + 2 * self.number
        return (
            compose(number, tonic=tonic, bpm=bpm, center=center, voices=self.voices),
            compose(
                number + 1,
                tonic=style_tonic,
                bpm=style_bpm,
                center=center + (apart if up else -apart),
                voices=style_voices,
            ),
        )

    def render(self, sr: int) -> dict[str, Array]:
        """Play content, style, target and the second take of the target."""
        content, style = self.phrases()
        end = max(note.start + note.duration for note in content) + TAIL_S
        seed = 4 * self.number
        return {
            "content": play(content, self.content, sr, seed),
            "style": play(style, self.style, sr, seed + 1),
            "target": play(content, self.style, sr, seed + 2),
            "take": play(self._vary(content), self.style, sr, seed + 3, seconds=end),
        }

    def _vary(self, notes: Sequence[Note]) -> list[Note]:
        """Move starts and velocities slightly, as another take would."""
        rng = np.random.default_rng([18, self.number])
        late, louder = (rng.normal(0, width, len(notes)) for width in TAKE_JITTER)
        return [
            replace(
                note,
                start=note.start + float(np.clip(t, -0.01, 0.01)),
                velocity=float(np.clip(note.velocity * (1 + v), 0.05, 1.0)),
            )
            for note, t, v in zip(notes, late, louder, strict=True)
        ]


def _draw_center(rng: np.random.Generator, low: int, high: int) -> int:
    """Draw the center of a melody that fits between two pitches, or nearly."""
    low, high = low - MELODY_RANGE[0], high - MELODY_RANGE[1]
    return int(rng.integers(low, high + 1)) if low < high else (low + high) // 2


def choose_sampled(which: str) -> list[SampledPair]:
    """List the 24 pairs of a half (``tuning``, ``held-out``): eight of each texture.

    No ordered pair of instruments is in both halves.
    """
    everyone = list(INSTRUMENTS)
    chordal = [name for name in everyone if INSTRUMENTS[name].chords]
    odd = which == "held-out"
    combinations = []
    for i in range(8):
        at = (3 * i + 8 * odd) % 16
        style = everyone[(at + MELODY_SHIFTS[which][i % 4]) % 16]
        combinations.append((everyone[at], style, 1))
        for voices, shift in zip((2, 3), CHORD_SHIFTS[which], strict=True):
            combinations.append((chordal[i], chordal[(i + shift) % 8], voices))
    return [SampledPair(2 * i + odd, *names) for i, names in enumerate(combinations)]


def missing_program() -> str | None:
    """Say what is missing to play samples; None if nothing is."""
    if shutil.which("fluidsynth") is None:
        return "no sampled pairs: fluidsynth is not installed"
    return None if SOUNDFONT.is_file() else f"no sampled pairs: {SOUNDFONT} does not exist"


def play(
    notes: Sequence[Note], instrument: str, sr: int, seed: int = 0, *, seconds: float | None = None
) -> Array:
    """Play notes by a key of `INSTRUMENTS`, without reverberation.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        `seconds` long (default: `TAIL_S` longer than the notes), at the active level of all clips.
    """
    import soundfile as sf
    import soxr

    seconds = seconds or max(note.start + note.duration for note in notes) + TAIL_S
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "notes.mid"), Path(folder, "notes.wav")
        midi.write_bytes(midi_file(notes, INSTRUMENTS[instrument].program, seconds))
        options = ["-ni", "-q", "-R", "0", "-C", "0", "-g", "0.4", "-r", str(RENDER_RATE)]
        subprocess.run(
            ["fluidsynth", *options, "-O", "float", "-F", wav, SOUNDFONT, midi],
            check=True,
            capture_output=True,
        )
        y, _ = sf.read(wav, dtype="float32", always_2d=True)
    y = soxr.resample(y.mean(axis=1), RENDER_RATE, sr)
    n = round(seconds * sr)
    return finish(np.pad(y, (0, max(0, n - y.size)))[:n], sr, np.random.default_rng(seed), HISS_DB)


def midi_file(notes: Sequence[Note], program: int, seconds: float) -> bytes:
    """Write notes as a Standard MIDI File of one track that lasts `seconds`."""
    events = [(0, bytes([0xC0, program]))]
    for note in notes:
        velocity = max(1, round(127 * note.velocity))
        start, end = (round(t * TICKS_PER_S) for t in (note.start, note.start + note.duration))
        events.append((start, bytes([0x90, note.pitch, velocity])))
        events.append((end, bytes([0x80, note.pitch, 0])))
    # At the same time, a note ends before the next one of its pitch starts.
    events.sort(key=lambda event: (event[0], event[1][0] != 0xC0, event[1][0] != 0x80))
    events.append((round(seconds * TICKS_PER_S), b"\xff\x2f\x00"))
    track, now = b"", 0
    for tick, message in events:
        track += _variable_length(tick - now) + message
        now = tick
    head = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, TICKS_PER_S // 2)
    return head + struct.pack(">4sI", b"MTrk", len(track)) + track


def _variable_length(value: int) -> bytes:
    """Write a number in groups of seven bits; all bytes but the last have the top bit set."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | value & 0x7F)
    return bytes(reversed(groups))
