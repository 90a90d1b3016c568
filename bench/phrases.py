"""Compose short phrases by rule: what a synthetic pair plays.

A phrase is a list of notes and nothing of sound. A melody walks along a scale over a progression of
chords; a bass and broken or struck chords may go with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10))
PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (5, 3, 0, 4), (1, 4, 0, 5))
BARS = (  # durations of the melody's notes in beats, four beats each
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
LOWEST = 40  # a bass below is played an octave higher: E2, as on a guitar


@dataclass(frozen=True)
class Note:
    """One note.

    Attributes
    ----------
    start, duration : float
        In seconds.
    pitch : int
        MIDI number; 69 is 440 Hz.
    velocity : float in (0, 1]
    """

    start: float
    duration: float
    pitch: int
    velocity: float


def compose(seed: int, *, tonic: int, bpm: float, centre: int, voices: int) -> list[Note]:
    """Compose a phrase that ends after six to seven seconds.

    Parameters
    ----------
    seed : int >= 0
        The same arguments give the same phrase.
    tonic : int in [0, 12)
        Pitch class of the key.
    bpm : float > 0
        Beats a minute.
    centre : int
        MIDI pitch around which the melody moves.
    voices : {1, 2, 3}
        Melody; melody and bass; melody, bass and chords.

    Returns
    -------
    notes : list of Note
        By start.
    """
    rng = np.random.default_rng([2021, seed])
    scale = SCALES[rng.integers(len(SCALES))]
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    end = rng.uniform(6.0, 7.0)
    beat = 60.0 / bpm
    root = tonic + 12 * round((centre - tonic) / 12)  # the tonic that is nearest to the centre
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
    # The last note is held: the phrase ends where it shall.
    notes[-1] = replace(notes[-1], duration=end - notes[-1].start)
    return notes


Event = tuple[float, float, int, float]  # beat, length in beats, degree of the scale, velocity


def _semitones(scale: tuple[int, ...], degree: int) -> int:
    octave, step = divmod(degree, len(scale))
    return 12 * octave + scale[step]


def _melody(
    rng: np.random.Generator, degree: int, chord: int, detached: float
) -> tuple[int, list[Event]]:
    """Walk through one bar; its first note belongs to the chord."""
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
            strong = 1.0 if at in (0.0, 2.0) else 0.8
            events.append((at, beats * detached, degree, strong))
        at += beats
    return degree, events


def _bass(chord: int) -> list[Event]:
    """Root and fifth, one or two octaves below the melody's centre."""
    return [(0.0, 1.8, chord - 14, 0.8), (2.0, 1.8, chord + 4 - 14, 0.7)]


def _chords(chord: int, broken: bool) -> list[Event]:
    """Play a triad below the melody's centre, broken in eighths or struck twice."""
    triad = [step - 7 for step in (chord, chord + 2, chord + 4)]
    if broken:
        order = [0, 1, 2, 1] * 2
        return [(0.5 * i, 0.45, triad[tone], 0.45) for i, tone in enumerate(order)]
    return [(at, 1.4, tone, 0.4) for at in (0.0, 2.0) for tone in triad]
