"""Notes of a clip as decisions per frame, and maps of where their partials lie in the spectrogram.

A transcription says which keys sound and when they begin. From these decisions and the spectrogram
follow, for every band and frame, features that explain its level: partials that sound, decay or
were released there, attacks, and how much plays at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram

N_KEYS, LOWEST_KEY = 88, 21  # of a piano; MIDI number of the lowest
NOTE_THRESHOLD, ONSET_THRESHOLD = 0.3, 0.6  # of the posteriors
VELOCITY_PARTIALS, VELOCITY_SECONDS = 3, 0.1  # whose power after the onset is the velocity
N_PARTIALS = 40
FIRST_UPPER = 6  # the lowest of the upper partials
DECAYS_SECONDS = (0.1, 0.4, 1.5)  # after the onset, while the note sounds
RELEASES_SECONDS = (0.1, 0.5)
ATTACKS_SECONDS = (0.03, 0.15)
N_FEATURES = 15  # of `note_features`
COMB_FLOOR = 1e-6  # of power, relative to a partial of a note of mean velocity
WIDE_BANDS = 6 / 256  # deviation of the Gaussian that smooths the comb, of the mel bands


@dataclass(frozen=True)
class NoteRoll:
    """Notes of a clip by key and frame, each array of shape (88, t).

    Attributes
    ----------
    power : np.ndarray [float32, non-negative]
        Power of the latest note of the key, relative to the mean over sounding notes.
    age : np.ndarray [float32, in s]
        Time since its onset; infinite before the first.
    released : np.ndarray [float32, in s]
        Time since it ended; 0 while it sounds.
    """

    power: Array
    age: Array
    released: Array


def make_roll(note: Array, onset: Array, S: Array, config: TransferConfig) -> NoteRoll:
    """Decide which notes sound.

    Parameters
    ----------
    note, onset : np.ndarray [shape=(88, t), in 0..1]
        Posteriors of a transcription at the frames of `S`.
    S : np.ndarray [shape=(n_mels, t), dB]

    Returns
    -------
    NoteRoll
    """
    from scipy.ndimage import maximum_filter1d

    seconds = config.hop_length / config.sr
    frames = np.arange(S.shape[1])
    active = note > NOTE_THRESHOLD
    peaks = (onset > ONSET_THRESHOLD) & (onset >= maximum_filter1d(onset, 5, axis=1))
    begun = active & ~np.pad(active, ((0, 0), (1, 0)))[:, :-1]
    starts = (peaks & active) | begun
    last_start = np.maximum.accumulate(np.where(starts, frames, -1), axis=1)
    last_active = np.maximum.accumulate(np.where(active, frames, -1), axis=1)
    sounded = last_start >= 0
    age = np.where(sounded, (frames - last_start) * seconds, np.inf)
    released = np.where(sounded, (frames - last_active) * seconds, np.inf)

    width = max(1, round(VELOCITY_SECONDS / seconds))
    powers = maximum_filter1d(
        _partial_power(S, config), width, axis=1, origin=-(width // 2), mode="nearest"
    )
    velocity = np.take_along_axis(powers, np.maximum(last_start, 0), axis=1)
    loud = velocity[active]
    mean = float(loud.mean()) if loud.size else 1.0
    power = np.where(sounded, velocity / max(mean, 1e-12), 0.0)
    return NoteRoll(*(np.asarray(x, np.float32) for x in (power, age, released)))


def note_features(roll: NoteRoll, config: TransferConfig) -> Array:
    """Features that explain the level of each band and frame.

    Returns
    -------
    np.ndarray [shape=(n_features, n_mels, t), float32]
        The first is 1; the others are in units of 10 dB.
    """
    combs = _combs(config.sr, config.n_fft, config.n_mels, config.mel_scale)
    sounding = roll.power * (roll.released == 0)
    after = roll.power * (roll.released > 0)
    decaying = [sounding * np.exp(-roll.age / tau) for tau in DECAYS_SECONDS]
    gone = [after * np.exp(-roll.released / tau) for tau in RELEASES_SECONDS]
    attacks = [(roll.power * np.exp(-roll.age / tau)).sum(axis=0) for tau in ATTACKS_SECONDS]
    shape = (config.n_mels, roll.power.shape[1])
    maps = [combs["all"] @ power for power in (sounding, *decaying, *gone)]
    maps += [combs[name] @ sounding for name in ("first", "odd", "steep", "upper", "wide")]
    maps += [np.broadcast_to(row, shape) for row in (*attacks, sounding.sum(axis=0))]
    features = [np.ones(shape), *(np.log10(COMB_FLOOR + x) + 3.0 for x in maps)]
    return np.asarray(features, np.float32)


def align_posteriors(posteriors: Array, n_frames: int, hop_seconds: float, frame: float) -> Array:
    """Resample posteriors [shape=(88, T)], `hop_seconds` apart, to frames `frame` seconds apart."""
    from scipy.ndimage import maximum_filter1d

    ratio = frame / hop_seconds
    width = max(1, 2 * round(ratio / 2) + 1)
    smooth = maximum_filter1d(posteriors, width, axis=1, mode="constant")
    index = np.round(np.arange(n_frames) * ratio).astype(int)
    padded = np.pad(smooth, ((0, 0), (0, 1)))
    return np.asarray(padded[:, np.minimum(index, posteriors.shape[1])])


def _partial_power(S: Array, config: TransferConfig) -> Array:
    """Power of the first partials of every key [shape=(88, t)]."""
    edges = spectrogram.band_centres(config)
    mel = spectrogram.db_to_power(S)
    total: Array = np.zeros((N_KEYS, S.shape[1]))
    for k in range(1, VELOCITY_PARTIALS + 1):
        frequency = k * key_frequencies()
        band = np.abs(edges[None] - frequency[:, None]).argmin(axis=1)
        total += np.where((frequency < config.sr / 2)[:, None], mel[band], 0.0)
    return total


def key_frequencies() -> Array:
    """Frequencies of the keys [shape=(88,), Hz]."""
    return np.asarray(440.0 * 2.0 ** ((np.arange(N_KEYS) + LOWEST_KEY - 69) / 12))


@lru_cache(maxsize=4)
def _combs(sr: int, n_fft: int, n_mels: int, mel_scale: str) -> dict[str, Array]:
    """Mel power of the partials of a note of every key [shape=(n_mels, 88)], by kind of comb.

    A partial of power 1 gives the band it lies in 1, whatever its width.
    """
    from scipy.ndimage import gaussian_filter1d

    filters = spectrogram._mel_filters(sr, n_fft, n_mels, mel_scale)
    bins = np.arange(n_fft // 2 + 1)
    f0 = key_frequencies() * n_fft / sr  # in bins
    ranks = np.arange(1, N_PARTIALS + 1)

    amplitudes = {
        "all": np.ones(N_PARTIALS),
        "first": (ranks == 1).astype(float),
        "odd": (ranks % 2 == 1).astype(float),
        "steep": 1.0 / ranks**4,
        "upper": (ranks >= FIRST_UPPER).astype(float),
    }
    lobes = {name: np.zeros((len(bins), N_KEYS)) for name in amplitudes}
    for i, rank in enumerate(ranks):
        at = rank * f0
        lobe = np.where(at < len(bins) - 1, _hann_lobe(bins[:, None] - at[None]), 0.0)
        for name, of_rank in amplitudes.items():
            lobes[name] += of_rank[i] * lobe
    relative = filters / filters.max(axis=1, keepdims=True)
    combs = {name: np.asarray(relative @ sum_ / LOBE_POWER) for name, sum_ in lobes.items()}
    wide = gaussian_filter1d(combs["all"], WIDE_BANDS * n_mels, axis=0, mode="nearest")
    return combs | {"wide": wide}


LOBE_POWER = 1.5  # sum of the power of a Hann window's main lobe over bins


def _hann_lobe(x: Array) -> Array:
    """Power of a Hann window's transform `x` bins from its centre, 1 at the centre."""
    power, inside = np.zeros(x.shape), np.abs(x) < 4
    x = x[inside]
    x = np.where(np.abs(np.abs(x) - 1) < 1e-6, x + 1e-5, x)
    power[inside] = (np.sinc(x) / (1 - x**2)) ** 2
    return power
