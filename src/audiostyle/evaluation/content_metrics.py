"""Content metrics: notes, onsets and dynamics of a clip, and how much of it is a copy of another.

All functions take mono audio as from `audiostyle.evaluation.style_metrics.prepare`, and return
NumPy arrays or numbers. librosa and mir_eval are imported lazily.

References
----------
.. [1] A. Klapuri, "Multiple fundamental frequency estimation by summing harmonic amplitudes",
   ISMIR 2006: harmonic summation, then cancellation of the note found.
.. [2] C. Raffel et al., "mir_eval: a transparent implementation of common MIR metrics",
   ISMIR 2014.
.. [3] S. Barry, Y. Kim, "Style transfer for musical audio using multiple time-frequency
   representations", 2018: the largest cross-correlation with the source reveals copies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.errors import MissingPackageError
from audiostyle.evaluation.style_metrics import HOP_LENGTH, SAMPLE_RATE, moving_average
from audiostyle.utils.lazy_imports import load_librosa

BINS_PER_OCTAVE = 36
N_OCTAVES = 7
FMIN_HZ = 65.406  # C2
LEAST_CQT_S = 2.0
HARMONICS = (0, 12, 19, 24, 28)  # of a note, in semitones above it
N_NOTES = 12 * N_OCTAVES - HARMONICS[-1]
MAX_POLYPHONY = 6
STEADY_FRAMES = 7
LEAST_SALIENCE_DB = 30.0  # sum of the harmonics above their surroundings
LEAST_SHARE = 0.45  # of the salience of the strongest note of a frame
ONSET_WINDOW_S = 0.05
COPY_WINDOW_S = 0.5
COPY_BLOCK = 1 << 16  # samples of the source that are searched at once: they fit into a cache


def constant_q(y: Array) -> Array:
    """Compute the constant-Q magnitude [shape=(N_OCTAVES * BINS_PER_OCTAVE, t)] from C2 upwards.

    One frame per `HOP_LENGTH` samples of the audio [shape=(n,)].
    """
    librosa = load_librosa()
    # The longest filter is longer than a very short clip.
    padded = np.pad(y, (0, max(0, int(LEAST_CQT_S * SAMPLE_RATE) - y.size)))
    bins = {"n_bins": N_OCTAVES * BINS_PER_OCTAVE, "bins_per_octave": BINS_PER_OCTAVE}
    # No tuning: an estimate may differ between the clips to compare.
    transform = librosa.cqt(
        padded, sr=SAMPLE_RATE, hop_length=HOP_LENGTH, fmin=FMIN_HZ, tuning=0.0, **bins
    )
    return np.asarray(np.abs(transform[:, : 1 + y.size // HOP_LENGTH]))


def chroma(magnitude: Array) -> Array:
    """Fold a constant-Q magnitude into pitch classes [shape=(12, t)].

    Frames have unit Euclidean norm, or are zero where the clip is silent.
    """
    bins = {"n_octaves": N_OCTAVES, "bins_per_octave": BINS_PER_OCTAVE}
    return np.asarray(
        load_librosa().feature.chroma_cqt(C=magnitude, sr=SAMPLE_RATE, fmin=FMIN_HZ, norm=2, **bins)
    )


def note_frames(magnitude: Array) -> Array:
    """Estimate the notes [shape=(N_NOTES, t), dtype=bool] in each frame of `constant_q`.

    By harmonic summation and cancellation [1]_: semitones from C2 upwards, at most `MAX_POLYPHONY`
    per frame.
    """
    left = _partials(magnitude)
    templates = np.zeros((N_NOTES, len(left)))
    for harmonic, semitones in enumerate(HARMONICS):
        templates[np.arange(N_NOTES), np.arange(N_NOTES) + semitones] = 0.8**harmonic
    notes = np.zeros((N_NOTES, left.shape[1]), bool)
    frames = np.arange(left.shape[1])
    least = np.full(len(frames), LEAST_SALIENCE_DB)
    for _ in range(MAX_POLYPHONY):
        salience = templates @ left
        best = salience.argmax(axis=0)
        strength = salience[best, frames]
        found = strength > least
        notes[best[found], frames[found]] = True
        least = np.maximum(least, LEAST_SHARE * strength)  # the first note is the strongest
        left = left * (1.0 - 0.9 * (templates[best].T > 0))
    # A note lasts through most of the neighbouring frames.
    return np.asarray(moving_average(notes, STEADY_FRAMES) > 0.5)


def _partials(magnitude: Array) -> Array:
    """Compute semitones [shape=(12 * N_OCTAVES, t)] in dB above the surrounding octave."""
    spectrum = 10.0 * np.log10(np.mean(magnitude**2, axis=1) + 1e-20)
    envelope = moving_average(spectrum, BINS_PER_OCTAVE)
    # Whitening undoes an equaliser; the limit keeps the noise of empty bands low.
    envelope = np.maximum(envelope, envelope.max() - 40.0)
    white = magnitude / 10.0 ** (envelope[:, None] / 20.0)
    level = 20.0 * np.log10(np.maximum(white / (white.max() + 1e-20), 10.0**-2.5))
    raised = np.maximum(0.0, level - moving_average(level.T, BINS_PER_OCTAVE).T)
    # Bin 0 is C2: move it to the middle of its semitone's bins.
    per_note = BINS_PER_OCTAVE // 12
    centred = np.roll(raised, per_note // 2, axis=0)
    semitones = centred.reshape(-1, per_note, centred.shape[1]).max(axis=1)
    return moving_average(semitones, 3)


def note_f_measure(reference: Array, estimate: Array) -> float:
    """Compute the F-measure, in [0, 1], of notes [shape=(N_NOTES, t), bool]; 1 without any."""
    together = int(reference.sum() + estimate.sum())
    return 2.0 * int((reference & estimate).sum()) / together if together else 1.0


def chroma_similarity(reference: Array, estimate: Array) -> float:
    """Compute the mean cosine, in [0, 1], of chroma [shape=(12, t)]; 1 for a silent reference."""
    sounding = np.any(reference > 0, axis=0)
    if not sounding.any():
        return 1.0
    return float(np.mean(np.sum(reference * estimate, axis=0)[sounding]))


def onset_times(y: Array) -> Array:
    """Detect onsets; return their times [shape=(k,)] in seconds, ascending."""
    detect = load_librosa().onset.onset_detect
    times = detect(y=y, sr=SAMPLE_RATE, hop_length=HOP_LENGTH // 2, units="time")
    return np.asarray(times, np.float64)


def require_mir_eval() -> Any:
    """Import mir_eval, or raise a `MissingPackageError` that says how to install it."""
    try:
        import mir_eval
    except ImportError as error:
        raise MissingPackageError(
            "the evaluation needs mir_eval, which is not installed; "
            "run: pip install 'audiostyle[evaluate]'"
        ) from error
    return mir_eval


def onset_f_measure(reference: Array, estimate: Array) -> float:
    """Compute the F-measure [2]_, in [0, 1], of onset times [shape=(k,)]; 1 without any."""
    mir_eval = require_mir_eval()
    if not reference.size and not estimate.size:
        return 1.0  # mir_eval gives 0 for two empty lists
    if not reference.size or not estimate.size:
        return 0.0
    return float(mir_eval.onset.f_measure(reference, estimate, window=ONSET_WINDOW_S)[0])


def envelope_correlation(reference: Array, estimate: Array) -> float:
    """Compute Pearson's correlation between two level curves [shape=(t,), dB]; 0 if one is flat."""
    a, b = reference - reference.mean(), estimate - estimate.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 1e-9 else 0.0


def waveform_match(y: Array, source: Array) -> Array:
    """Compute how much of each half second of a clip [shape=(n,)] is a piece of a source [3]_.

    Returns, for windows of `COPY_WINDOW_S` that overlap by half, the share [shape=(windows,)] of
    energy that a scaled copy of the best-fitting piece explains, in [0, 1]; NaN in silence.
    """
    length = int(COPY_WINDOW_S * SAMPLE_RATE)
    source = np.pad(source.astype(np.float64), (0, max(0, length - source.size)))
    y = np.pad(y.astype(np.float64), (0, max(0, length - y.size)))
    power = np.concatenate([[0.0], np.cumsum(source**2)])
    quiet = 1e-4 * length  # 40 dB below the mean of the clip
    pieces = np.maximum(power[length:] - power[:-length], quiet * np.mean(source**2))
    # Circular correlation per block; only lags at which the window lies in the block are read.
    step = COPY_BLOCK - length + 1
    blocks = {
        at: np.fft.rfft(source[at : at + COPY_BLOCK], COPY_BLOCK)
        for at in range(0, pieces.size, step)
    }
    shares = []
    for start in range(0, y.size - length + 1, length // 2):
        window = y[start : start + length]
        energy = float(window @ window)
        if energy < quiet * np.mean(y**2):
            shares.append(np.nan)
            continue
        spectrum = np.conj(np.fft.rfft(window, COPY_BLOCK))
        best = 0.0
        for at, block in blocks.items():
            norms = pieces[at : at + step]
            correlation = np.fft.irfft(block * spectrum, COPY_BLOCK)[: norms.size]
            best = max(best, float(np.max(correlation**2 / norms)))
        shares.append(best / energy)
    return np.asarray(shares)


def waveform_copying(output: Array, content: Array) -> float:
    """Compute how much of an output was copied, in [0, 1], from `waveform_match` with the style.

    What the content has in common with the style is not a copy.
    """
    if not np.isfinite(output).any():
        return 0.0
    chance = float(np.nanmean(content)) if np.isfinite(content).any() else 0.0
    return float(np.clip((np.nanmean(output) - chance) / max(1.0 - chance, 0.05), 0.0, 1.0))


def note_copying(output: Array, content: Array, style: Array) -> float:
    """Compute how much of an output was copied, from notes [shape=(N_NOTES, t), dtype=bool].

    The style's notes are repeated to the length of the others. The measure, in [0, 1], is the share
    of the output's notes that the style has in the same frame and the content has not, less the
    share by coincidence (the style shifted in time), relative to that of a perfect copy.
    """

    def excess(notes: Array) -> float:
        new = notes & ~content
        shifts = np.linspace(0, style.shape[1], 9)[1:-1].astype(int)
        chance = np.mean([np.sum(new & np.roll(style, s, axis=1)) for s in shifts])
        return float(np.sum(new & style) - chance) / max(1, int(notes.sum()))

    most = excess(style)
    # A style whose notes never change, or are those of the content, cannot be recognised.
    return float(np.clip(excess(output) / most, 0.0, 1.0)) if most > 0.05 else 0.0
