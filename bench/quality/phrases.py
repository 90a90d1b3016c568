"""Short phrases composed by rule: the notes of a synthetic pair, without any sound.

A melody walks along a scale over a chord progression. A bass and broken or struck chords may
accompany it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10))
PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (5, 3, 0, 4), (1, 4, 0, 5))
BARS = (  # durations of the melody's notes in beats, four beats per bar
    (1.0, 1.0, 1.0, 1.0),
    (1.5, 0.5, 1.0, 1.0),
    (0.5, 0.5, 1.0, 0.5, 0.5, 1.0),
    (2.0, 1.0, 1.0),
    (3.0, 1.0),
    (0.5, 0.5, 0.5, 0.5, 1.0, 1.0),
    (0.75, 0.75, 0.5, 2.0),
)
BEATS = 4
REST_PROBABILITY = 0.12
DETACHED = (0.55, 0.95)  # range of the share of its time that a note of the melody sounds
SHORTEST_S = 0.08
LEAD_S = 0.1  # before the first note
LOWEST = 40  # E2; lower notes of the bass are raised by octaves

Event = tuple[float, float, int, float]  # beat, length in beats, degree of the scale, velocity


@dataclass(frozen=True)
class Note:
    """A note: start and duration in seconds, MIDI pitch, velocity in (0, 1]."""

    start: float
    duration: float
    pitch: int
    velocity: float


def compose(seed: int, *, tonic: int, bpm: float, center: int, voices: int) -> list[Note]:
    """Compose a phrase that ends after six to seven seconds; return its notes by start.

    `tonic` is the pitch class of the key, `center` the MIDI pitch around which the melody moves.
    With one voice there is a melody, with two a bass is added, with three chords.
    """
    rng = np.random.default_rng([2021, seed])
    scale = SCALES[rng.integers(len(SCALES))]
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    end = rng.uniform(6.0, 7.0)
    beat = 60.0 / bpm
    root = tonic + 12 * round((center - tonic) / 12)  # the tonic closest to the center
    detached = rng.uniform(*DETACHED)
    degree, broken = 0, bool(rng.integers(2))
    notes: list[Note] = []
    for bar in range(int(np.ceil(end / (BEATS * beat)))):
        chord = progression[bar % len(progression)]
        degree, melody = _melody(rng, degree, chord, detached)
        parts = [melody]
        if voices > 1:
            parts.append(_bass(chord))
        if voices > 2:
            parts.append(_chords(chord, broken))
        for part in parts:
            for at, beats, step, velocity in part:
                start = LEAD_S + (bar * BEATS + at) * beat
                duration = min(beats * beat, end - start)
                if duration >= SHORTEST_S:
                    pitch = root + _semitones(scale, step)
                    pitch += 12 * max(0, -(-(LOWEST - pitch) // 12))
                    velocity *= rng.uniform(0.85, 1.0)
                    notes.append(Note(start, duration, pitch, velocity))
    notes.sort(key=lambda note: (note.start, note.pitch))
    notes[-1] = replace(notes[-1], duration=end - notes[-1].start)  # the phrase ends at `end`
    return notes


def _semitones(scale: tuple[int, ...], degree: int) -> int:
    octave, step = divmod(degree, len(scale))
    return 12 * octave + scale[step]


def _melody(
    rng: np.random.Generator, degree: int, chord: int, detached: float
) -> tuple[int, list[Event]]:
    """Walk through one bar, starting on a note of the chord."""
    events: list[Event] = []
    at = 0.0
    for beats in BARS[rng.integers(len(BARS))]:
        if at == 0.0:
            tones = np.array([chord + 7 * octave + third for octave in (-1, 0) for third in (0, 2)])
            degree = int(tones[np.abs(tones - degree).argmin()])
        else:
            degree += int(rng.choice((-2, -1, -1, 1, 1, 2, 3)))
        degree = int(np.clip(degree, -5, 7))
        if at == 0.0 or rng.random() >= REST_PROBABILITY:
            accent = 1.0 if at in (0.0, 2.0) else 0.8
            events.append((at, beats * detached, degree, accent))
        at += beats
    return degree, events


def _bass(chord: int) -> list[Event]:
    """Play root and fifth, one or two octaves below the melody's center."""
    return [(0.0, 1.8, chord - 14, 0.8), (2.0, 1.8, chord + 4 - 14, 0.7)]


def _chords(chord: int, broken: bool) -> list[Event]:
    """Play a triad below the melody's center, broken in eighths or struck twice."""
    triad = [step - 7 for step in (chord, chord + 2, chord + 4)]
    if broken:
        order = [0, 1, 2, 1] * 2
        return [(0.5 * i, 0.45, triad[tone], 0.45) for i, tone in enumerate(order)]
    return [(at, 1.4, tone, 0.4) for at in (0.0, 2.0) for tone in triad]
