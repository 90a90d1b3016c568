"""Additive synthesizer: plays the same notes in any of twelve timbres.

Every note is a sum of partials below the Nyquist frequency, each with its own amplitude envelope,
plus some noise. The resonances of a timbre are at fixed frequencies, as those of an instrument's
body or a vocal tract, so that its spectral envelope does not move with the pitch. All timbres share
a short reverberation and a faint hiss: without them, digital silence between the notes would
dominate a log-spectral distance.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from audiostyle.audio import level as audio_level
from bench.quality.phrases import Note
from bench.quality.runs import Array
from bench.quality.timbres import TIMBRES, Timbre

TAIL_S = 0.6  # after the end of the last note
MAX_PARTIALS = 80
MARGIN = 0.96  # share of the Nyquist frequency; leaves room for vibrato and detuning
VIBRATO_DELAY_S = 0.25
KNOCK_S = 0.012  # time constant of the noise of an attack
REVERB_S = 0.35  # RT60
REVERB_DB = -16.0  # energy relative to the direct sound
HISS_DB = -62.0  # relative to the clip


def synthesize(notes: Sequence[Note], timbre: str, sr: int, seed: int = 0) -> Array:
    """Play notes in a timbre.

    Parameters
    ----------
    notes : sequence of Note
        At least one.
    timbre : str
        A key of `TIMBRES`.
    sr : int, in Hz
    seed : int >= 0
        Seed of what differs between two takes: vibrato, tremolo and noise.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        `TAIL_S` longer than the notes, at an active level of
        `audiostyle.audio.level.ANALYSIS_LEVEL_DB`.
    """
    if not notes:
        raise ValueError("no notes to play: give at least one")
    instrument = TIMBRES[timbre]
    rng = np.random.default_rng([list(TIMBRES).index(timbre), seed])
    n = round((max(note.start + note.duration for note in notes) + TAIL_S) * sr)
    y = np.zeros(n)
    for note in notes:
        first = round(note.start * sr)
        tone = play(note, instrument, sr, rng)[: n - first]
        y[first : first + tone.size] += tone
    return finish(_add_reverb(y, sr), sr, rng, HISS_DB)


def finish(y: Array, sr: int, rng: np.random.Generator, hiss_db: float) -> Array:
    """Add hiss and a fade-out, and bring the clip to its level."""
    hiss = _colored_noise(y.size, sr, (), rng)
    y = y + hiss * np.sqrt(np.mean(y**2)) * 10.0 ** (hiss_db / 20)
    fade = np.hanning(2 * (sr // 50))[sr // 50 :]
    y[-fade.size :] *= fade
    gain = audio_level.ANALYSIS_LEVEL_DB - audio_level.active_level(y[None], sr)
    return np.asarray(y * 10.0 ** (gain / 20), np.float32)


def play(note: Note, timbre: Timbre, sr: int, rng: np.random.Generator) -> Array:
    """Play one note without reverberation.

    Returns
    -------
    np.ndarray [shape=(n,)]
        From the note's start to the end of its release; starts and ends at zero.
    """
    f0 = 440.0 * 2.0 ** ((note.pitch - 69) / 12)
    numbers, frequencies, gains = partials(f0, timbre, sr)
    n = round((note.duration + timbre.release) * sr)
    t = np.arange(n) / sr
    envelope = _envelope(t, note.duration, timbre)
    tremolo_phase = rng.uniform(0, 2 * np.pi)
    tremolo = np.sin(2 * np.pi * timbre.rate * t + tremolo_phase)
    level = note.velocity * 10.0 ** (timbre.tremolo_db * (tremolo - 1) / 40)
    # In nepers: a partial's log amplitude is linear in its brightening and in its damping.
    fall = np.log(10.0) / 20 * timbre.decay * (1 + timbre.damping * frequencies / 1000)
    growth = 1 + timbre.brightening * (numbers - 1)
    y = np.zeros(n)
    # Phases depend on the instrument, not on the take: the beating of partials in a unison or a
    # chord is part of what a transfer should match, and would otherwise separate two takes as much
    # as two timbres.
    own = np.random.default_rng([note.pitch, zlib.crc32(repr(timbre).encode())])
    for spread in np.linspace(-1, 1, timbre.players) if timbre.players > 1 else (0.0,):
        detuning = timbre.spread_cents * spread
        cycles = np.cumsum(_pitch_curve(t, timbre, rng) * 2.0 ** (detuning / 1200)) / sr
        phases = own.uniform(0, 2 * np.pi, len(numbers))
        swell = np.log(np.maximum(envelope * level, 1e-9))
        for f, gain, rate, power, phase in zip(
            frequencies, gains, fall, growth, phases, strict=True
        ):
            amplitude = gain * np.exp(power * swell - rate * t)
            y += amplitude * np.sin(2 * np.pi * f * cycles + phase)
    y /= np.sqrt(timbre.players)
    y += _note_noise(envelope * level, gains, f0, timbre, sr, rng)
    ramps = np.clip(np.minimum(t, t[-1] - t) / 1e-3, 0, 1)  # 1 ms at both ends, against clicks
    return np.asarray(y * ramps)


def partials(f0: float, timbre: Timbre, sr: int) -> tuple[Array, Array, Array]:
    """List the partials of a note with the fundamental `f0` in Hz.

    Returns
    -------
    numbers : np.ndarray [shape=(k,)]
        Nominal ratios to the fundamental.
    frequencies : np.ndarray [shape=(k,), Hz]
        All below `MARGIN` of the Nyquist frequency.
    gains : np.ndarray [shape=(k,)]
        Amplitudes, including resonances.
    """
    if timbre.ratios:
        numbers = np.array(timbre.ratios)
        gains_db = np.array(timbre.gains_db)
    else:
        numbers = np.arange(1.0, MAX_PARTIALS + 1)
        gains_db = timbre.slope_db * np.log2(numbers)
        gains_db = gains_db + np.where(numbers % 2 == 0, timbre.even_db, 0.0)
    if timbre.pluck:
        gains_db = gains_db + 20 * np.log10(np.abs(np.sin(np.pi * numbers * timbre.pluck)) + 0.02)
    frequencies = f0 * numbers * np.sqrt(1 + timbre.stretch * numbers**2)
    gains_db = gains_db + resonance_db(frequencies, timbre.resonances)
    kept = frequencies < MARGIN * sr / 2
    return numbers[kept], frequencies[kept], 10.0 ** (gains_db[kept] / 20)


def resonance_db(frequencies: Array, resonances: Sequence[tuple[float, float, float]]) -> Array:
    """Evaluate resonances (center in Hz, gain in dB, width in octaves) at `frequencies`.

    Each resonance is a bell on the logarithmic frequency axis.

    Returns
    -------
    np.ndarray [shape=(k,), dB]
    """
    octaves = np.log2(np.maximum(frequencies, 1.0))
    bells = [
        gain * np.exp(-0.5 * ((octaves - np.log2(center)) / width) ** 2)
        for center, gain, width in resonances
    ]
    return np.asarray(sum(bells, np.zeros(len(octaves))))


def _envelope(t: Array, duration: float, timbre: Timbre) -> Array:
    """Rise from 0 to 1 and fall back, each along half a cosine."""
    rise = 0.5 - 0.5 * np.cos(np.pi * np.clip(t / timbre.attack, 0, 1))
    fall = 0.5 + 0.5 * np.cos(np.pi * np.clip((t - duration) / timbre.release, 0, 1))
    return np.asarray(rise * fall)


def _pitch_curve(t: Array, timbre: Timbre, rng: np.random.Generator) -> Array:
    """Return the vibrato as a factor on the frequency; it sets in after the attack."""
    if not timbre.vibrato_cents:
        return np.ones(len(t))
    rate = timbre.rate * rng.uniform(0.95, 1.05)
    depth = timbre.vibrato_cents * np.clip(t / VIBRATO_DELAY_S, 0, 1)
    wave = np.sin(2 * np.pi * rate * t + rng.uniform(0, 2 * np.pi))
    return np.asarray(2.0 ** (depth * wave / 1200))


def _note_noise(
    envelope: Array, gains: Array, f0: float, timbre: Timbre, sr: int, rng: np.random.Generator
) -> Array:
    """Return breath or bow noise and the knock of the attack, colored by the resonances."""
    tone = np.sqrt(np.sum(gains**2) / 2)
    noise = _colored_noise(len(envelope), sr, ((2 * f0, 12.0, 0.8), *timbre.resonances), rng)
    t = np.arange(len(envelope)) / sr
    knock = np.exp(-t / KNOCK_S) * 10.0 ** (timbre.knock_db / 20)
    shape = envelope * 10.0 ** (timbre.breath_db / 20) + envelope.max() * knock
    return np.asarray(tone * shape * noise)


def _colored_noise(
    n: int, sr: int, resonances: Sequence[tuple[float, float, float]], rng: np.random.Generator
) -> Array:
    """Return noise of unit RMS that falls by 3 dB per octave, with resonances."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequencies = np.maximum(np.fft.rfftfreq(n, 1 / sr), 50.0)
    color = resonance_db(frequencies, resonances) - 3 * np.log2(frequencies / 1000)
    noise = np.fft.irfft(spectrum * 10.0 ** (color / 20), n)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def _add_reverb(y: Array, sr: int) -> Array:
    """Add the response of a small room, the same for every clip."""
    n = round(REVERB_S * sr)
    decay = 10.0 ** (-3 * np.arange(n) / n)
    response = np.random.default_rng(0).standard_normal(n) * decay
    response[: sr // 200] = 0.0  # the first reflection arrives after 5 ms
    response *= 10.0 ** (REVERB_DB / 20) / np.sqrt(np.sum(response**2))
    response[0] = 1.0
    size = 1 << (y.size + n - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(y, size) * np.fft.rfft(response, size), size)
    return np.asarray(wet[: y.size])
