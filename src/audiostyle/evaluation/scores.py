"""Scores: how much of the style an output took on, and how much of the content it kept.

Every measure is normalised by the two clips themselves, so that 0 and 1 mean the same for each
pair. Style: 0 is the content itself, 1 is as close to the style as two halves of the style are to
each other. Content: 0 is an unrelated clip (the style in the content's place), 1 is identical. The
network that measures style takes part in no loss.

The design follows O. Cífka, A. Ozerov, U. Şimşekli, G. Richard, "Self-supervised VQ-VAE for
one-shot music style transfer", ICASSP 2021, arXiv:2102.05749: timbre and pitch against baselines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.level import to_mono
from audiostyle.audio.loudness import loudness
from audiostyle.evaluation import content_metrics, style_metrics, tagger
from audiostyle.evaluation.baselines import make_baselines, match_third_octaves

__all__ = ["PairEvaluator", "evaluate", "joint_score", "make_baselines"]


# Limits of the scales: a pair that hardly differs would turn rounding errors into scores.
LARGEST_FLOOR = 0.75  # distance between halves of the style, as a share of that to the content
LARGEST_CHANCE = 0.9  # similarity of an unrelated clip to the content

FULL_SCALE = 0.9999
BAND_ENERGY = 0.999  # of a clip lies below the upper edge of its band
BAND_FLOOR_DB = -90.0


def _style_features(y: Array) -> dict[str, Any]:
    resampled = style_metrics.to_timbre_rate(y)
    return {
        "mfcc": style_metrics.mfcc_gaussian(resampled),
        "network": tagger.embed(resampled),
        "texture": style_metrics.texture_statistics(y),
    }


def _content_features(y: Array) -> dict[str, Array]:
    magnitude = content_metrics.constant_q(y)
    return {
        "pitch": content_metrics.chroma(magnitude),
        "notes": content_metrics.note_frames(magnitude),
        "onsets": content_metrics.onset_times(y),
        "envelope": style_metrics.log_envelope(y),
    }


# Each compares the feature of this name of two clips.
STYLE_DISTANCES: dict[str, Callable[[Any, Any], float]] = {
    "mfcc": lambda a, b: style_metrics.bures_distance(*a, *b),
    "network": style_metrics.cosine_distance,
    "texture": style_metrics.texture_distance,
}
CONTENT_SIMILARITIES: dict[str, Callable[[Any, Any], float]] = {
    "pitch": content_metrics.chroma_similarity,
    "notes": content_metrics.note_f_measure,
    "onsets": content_metrics.onset_f_measure,
    "envelope": content_metrics.envelope_correlation,
}


def style_gap_closed(before: float, after: float, floor: float) -> float:
    """Normalise distances to the style, in [-1, 1]: 0 for the content, 1 for the style's halves.

    `before` is the content's distance, `after` the output's, `floor` that between two halves of
    the style, of which at most `LARGEST_FLOOR` of `before` counts.
    """
    if before <= 1e-9:
        return 0.0  # content and style are the same
    floor = min(floor, LARGEST_FLOOR * before)
    return float(np.clip((before - after) / (before - floor), -1.0, 1.0))


def content_kept(similarity: float, chance: float) -> float:
    """Normalise a similarity to the content, in [-1, 1]: 0 for chance, 1 for identity.

    `chance` is the similarity of an unrelated clip, of which at most `LARGEST_CHANCE` counts.
    """
    chance = min(chance, LARGEST_CHANCE)
    return float(np.clip((similarity - chance) / (1.0 - chance), -1.0, 1.0))


def joint_score(style: float, content: float, copying: float) -> float:
    """Return ``sqrt(max(0, style) max(0, content)) (1 - copying)``, in [0, 1].

    It is 0 for the content itself, for a copy of the style, and for noise.
    """
    return float(np.sqrt(max(0.0, style) * max(0.0, content)) * (1.0 - copying))


class PairEvaluator:
    """Evaluates outputs of one pair, which is analysed only once; see the function `evaluate`."""

    def __init__(self, content: Array, style: Array, sr: float) -> None:
        self._sr = sr
        self._raw = np.atleast_2d(content), np.atleast_2d(style)
        y = style_metrics.prepare(content, sr, "content")
        self._style_y = style_metrics.prepare(style, sr, "style")
        self._size = y.size
        self._style = _style_features(self._style_y)
        self._content = _content_features(y)
        self._unrelated = _content_features(np.resize(self._style_y, y.size))  # without content
        before = _style_features(y)
        halves = [_style_features(half) for half in np.array_split(self._style_y, 2)]
        self._style_scales = {
            name: (
                distance(before[name], self._style[name]),
                distance(*(half[name] for half in halves)),
            )
            for name, distance in STYLE_DISTANCES.items()
        }
        self._chances = {
            name: similarity(self._content[name], self._unrelated[name])
            for name, similarity in CONTENT_SIMILARITIES.items()
        }
        # An equaliser makes any waveform more like the style's, and copies nothing.
        equalized = match_third_octaves(y, self._style_y, style_metrics.SAMPLE_RATE)
        self._chance_matches = np.fmax(
            content_metrics.waveform_match(y, self._style_y),
            content_metrics.waveform_match(equalized, self._style_y),
        )

    def evaluate(self, output: Array) -> dict[str, float]:
        """Return the measures of an output [shape=(n,) or (channels, n)]."""
        # Cut first: sound after the content's end must not change the level, nor hide silence.
        output = np.atleast_1d(output)[..., : self._raw[0].shape[-1]]
        y = style_metrics.prepare(output, self._sr, "output")[: self._size]
        y = np.pad(y, (0, self._size - y.size))
        features = _style_features(y) | _content_features(y)
        measures: dict[str, float] = {}
        for name, distance in STYLE_DISTANCES.items():
            before, floor = self._style_scales[name]
            after = distance(features[name], self._style[name])
            measures[f"style_{name}"] = style_gap_closed(before, after, floor)
        measures["style"] = float(np.mean(list(measures.values())))
        kept = {
            f"content_{name}": content_kept(
                similarity(self._content[name], features[name]), self._chances[name]
            )
            for name, similarity in CONTENT_SIMILARITIES.items()
        }
        measures |= {**kept, "content": float(np.mean(list(kept.values())))}
        match = content_metrics.waveform_match(y, self._style_y)
        waveform = content_metrics.waveform_copying(match, self._chance_matches)
        notes = content_metrics.note_copying(
            features["notes"], self._content["notes"], self._unrelated["notes"]
        )
        copying = max(waveform, notes)
        score = joint_score(measures["style"], measures["content"], copying)
        measures |= {"copying_waveform": waveform, "copying_notes": notes, "copying": copying}
        return {**measures, "score": score, **sound_measures(output, *self._raw, self._sr)}


def sound_measures(output: Array, content: Array, style: Array, sr: float) -> dict[str, float]:
    """Measure faults of the sound that have nothing to do with style.

    Of clips [shape=(n,) or (channels, n)] at their own levels; see `evaluate`. The loudness is
    K-weighted, and that of the averaged channels if the clips differ in the number of channels.
    """
    clips = [to_mono(y) for y in (output, content, style)]
    pair = [np.atleast_2d(y) for y in (output, content)]
    if len(pair[0]) != len(pair[1]):
        pair = [np.atleast_2d(y) for y in clips[:2]]
    # Loudness is a mean over time: compare the same time.
    n = min(y.shape[1] for y in pair)
    loud = [loudness(np.asarray(y[:, :n], np.float32), int(sr)) for y in pair]
    energies = [_cumulative_energy(y) for y in clips]
    # Frequencies as shares of Nyquist: the clips differ in length.
    edge = max(np.searchsorted(energy, BAND_ENERGY) / energy.size for energy in energies[1:])
    above = [1.0 - energy[min(int(edge * energy.size), energy.size - 1)] for energy in energies]
    shares_db = [10.0 * np.log10(share + 10.0 ** (BAND_FLOOR_DB / 10.0)) for share in above]
    return {
        "sound_clipping": clipped_share(output),
        "sound_loudness": loud[0] - loud[1],
        "sound_added_noise": float(shares_db[0] - max(shares_db[1:])),
    }


def clipped_share(y: Array) -> float:
    """Compute the share of samples at full scale, which is 1, before any resampling."""
    return float(np.mean(np.abs(np.asarray(y)) >= FULL_SCALE))


def _cumulative_energy(y: Array) -> Array:
    """Share of a clip's energy up to each frequency of its spectrum."""
    energy = np.cumsum(np.abs(np.fft.rfft(y.astype(np.float64))) ** 2)
    return np.asarray(energy / energy[-1])


def evaluate(content: Array, style: Array, output: Array, sr: float) -> dict[str, float]:
    """Evaluate a style transfer.

    Parameters
    ----------
    content, style, output : np.ndarray [shape=(n,) or (channels, n)]
        The two clips and what was made of them. Channels are averaged and levels matched; the
        output is cut, or padded with silence, to the content's length.
    sr : float > 0, in Hz
        Sampling rate of all three.

    Returns
    -------
    measures : dict of str to float
        ``style_mfcc``, ``style_network``, ``style_texture`` and their mean ``style``;
        ``content_pitch``, ``content_notes``, ``content_onsets``, ``content_envelope`` and their
        mean ``content`` (all in [-1, 1]); ``copying_waveform``, ``copying_notes`` and the larger,
        ``copying`` (in [0, 1]); ``score``, the geometric mean of style and content, less what was
        copied; ``sound_clipping``, the share of samples at full scale; ``sound_loudness``, relative
        to the content in dB; ``sound_added_noise``, the energy above the band of both clips, in dB
        above theirs.

    Raises
    ------
    AudioFileError
        If a clip is silent, shorter than half a second or not finite.
    MissingPackageError
        An `ImportError`: mir_eval, from the extra ``evaluate``, is not installed.

    Examples
    --------
    >>> measures = evaluate(content, style, output, sr=22050)  # doctest: +SKIP
    >>> measures["score"]  # doctest: +SKIP
    0.75
    """
    return PairEvaluator(content, style, sr).evaluate(output)
