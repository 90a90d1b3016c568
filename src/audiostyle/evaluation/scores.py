"""The ruler: how much of the style an output took, and how much of the content it kept.

Every measure is normalised by the two clips themselves, so that 0 and 1 mean the same for each
pair. Style: 0 is the content itself, 1 is as close to the style as two halves of the style are to
each other. Content: 0 is an unrelated clip (the style in the content's place), 1 is identical. The
network that judges style takes part in no loss.

References
----------
.. [1] O. Cífka, A. Ozerov, U. Şimşekli, G. Richard, "Self-supervised VQ-VAE for one-shot music
   style transfer", ICASSP 2021, arXiv:2102.05749: timbre and pitch against trivial outputs.
.. [2] J. Pons, X. Serra, "musicnn: pre-trained convolutional neural networks for music audio
   tagging", ISMIR late-breaking demo 2019, arXiv:1909.06654.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio import loudness
from audiostyle.evaluation import baselines as evaluation_baselines
from audiostyle.evaluation import content_metrics, style_metrics, tagger
from audiostyle.evaluation.baselines import make_baselines

__all__ = ["PairEvaluator", "make_baselines", "evaluate", "evaluate_many", "joint_score"]

Array = npt.NDArray[Any]

# A scale may not be shorter than these allow: a pair that hardly differs would turn rounding
# errors into scores.
LARGEST_FLOOR = 0.75  # distance between halves of the style, as a share of that to the content
LARGEST_CHANCE = 0.9

FULL_SCALE = 0.9999
BAND_ENERGY = 0.999  # of a clip lies below the upper edge of its band
BAND_FLOOR_DB = -90.0


class ClipAnalysis:
    """All that the measures need of one clip; each part is computed once, when it is asked for.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        Audio as from `audiostyle.evaluation.style_metrics.prepare`.
    """

    def __init__(self, y: Array) -> None:
        self.y = y

    @cached_property
    def _slow(self) -> Array:
        return style_metrics.to_timbre_rate(self.y)

    @cached_property
    def mfcc(self) -> tuple[Array, Array]:
        """Mean and covariance of the MFCC frames."""
        return style_metrics.mfcc_gaussian(self._slow)

    @cached_property
    def network(self) -> Array:
        """Embedding by the independent network [2]_."""
        return tagger.embed(self._slow)

    @cached_property
    def texture(self) -> dict[str, Array]:
        """Level-free texture statistics."""
        return style_metrics.texture_statistics(self.y)

    @cached_property
    def _constant_q(self) -> Array:
        return content_metrics.constant_q(self.y)

    @cached_property
    def pitch(self) -> Array:
        """Chroma of each frame."""
        return content_metrics.chroma(self._constant_q)

    @cached_property
    def notes(self) -> Array:
        """Notes of each frame."""
        return content_metrics.note_frames(self._constant_q)

    @cached_property
    def onsets(self) -> Array:
        """Times of the onsets in seconds."""
        return content_metrics.onset_times(self.y)

    @cached_property
    def envelope(self) -> Array:
        """Level of each frame in dB."""
        return style_metrics.log_envelope(self.y)


# Each compares an attribute of `Analysis`, and gives its name to a measure.
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
    """Normalise a distance to the style.

    Parameters
    ----------
    before : float >= 0
        Distance of the content to the style.
    after : float >= 0
        Distance of the output to the style.
    floor : float >= 0
        Distance between two halves of the style; at most `LARGEST_FLOOR` of `before` counts.

    Returns
    -------
    closed : float in [-1, 1]
        0 for the content itself, 1 for an output as close as the halves are.
    """
    if before <= 1e-9:
        return 0.0  # content and style are the same: there is no gap to close
    floor = min(floor, LARGEST_FLOOR * before)
    return float(np.clip((before - after) / (before - floor), -1.0, 1.0))


def content_kept(similarity: float, chance: float) -> float:
    """Normalise a similarity to the content.

    Parameters
    ----------
    similarity : float <= 1
        Of the output and the content.
    chance : float <= 1
        Of an unrelated clip and the content; at most `LARGEST_CHANCE` counts.

    Returns
    -------
    kept : float in [-1, 1]
        0 for chance, 1 for identity.
    """
    chance = min(chance, LARGEST_CHANCE)
    return float(np.clip((similarity - chance) / (1.0 - chance), -1.0, 1.0))


def joint_score(style: float, content: float, copying: float) -> float:
    """Combine three verdicts: the geometric mean of style and content, less what was copied.

    Parameters
    ----------
    style, content : float in [-1, 1]
    copying : float in [0, 1]

    Returns
    -------
    score : float in [0, 1]
        ``sqrt(max(0, style) max(0, content)) (1 - copying)``: 0 for the content itself, for a copy
        of the style, and for noise.
    """
    return float(np.sqrt(max(0.0, style) * max(0.0, content)) * (1.0 - copying))


class PairEvaluator:
    """Evaluates outputs of one pair; the pair itself is analysed only once.

    Parameters
    ----------
    content, style : np.ndarray [shape=(n,) or (channels, n)]
        The two clips, of any length and level. Channels are averaged.
    sr : float > 0
        Their sampling rate in Hz, and that of the outputs.

    Raises
    ------
    AudioFileError
        If a clip is silent, shorter than half a second or not finite.
    ConfigError
        If `sr` is not positive.
    """

    def __init__(self, content: Array, style: Array, sr: float) -> None:
        self._sr = sr
        self._raw = np.atleast_2d(content), np.atleast_2d(style)
        self._content = ClipAnalysis(style_metrics.prepare(content, sr, "content"))
        self._style = ClipAnalysis(style_metrics.prepare(style, sr, "style"))
        size, y = self._content.y.size, self._style.y
        # What an output that has nothing of the content would be.
        self._unrelated = self._style if y.size == size else ClipAnalysis(np.resize(y, size))
        halves = [ClipAnalysis(half) for half in np.array_split(y, 2)]
        self._style_scales = {
            name: (
                distance(getattr(self._content, name), getattr(self._style, name)),
                distance(*(getattr(half, name) for half in halves)),
            )
            for name, distance in STYLE_DISTANCES.items()
        }
        self._chances = {
            name: similarity(getattr(self._content, name), getattr(self._unrelated, name))
            for name, similarity in CONTENT_SIMILARITIES.items()
        }
        # An equaliser makes any waveform resemble the style's more, and copies nothing.
        equalised = evaluation_baselines.match_third_octaves(
            self._content.y, y, style_metrics.SAMPLE_RATE
        )
        self._chance_matches = np.fmax(
            content_metrics.waveform_match(self._content.y, y),
            content_metrics.waveform_match(equalised, y),
        )

    def evaluate(self, output: Array) -> dict[str, float]:
        """Evaluate one output.

        Parameters
        ----------
        output : np.ndarray [shape=(n,) or (channels, n)]
            At the rate of the pair; cut, or padded with silence, to the content's length.

        Returns
        -------
        measures : dict of str to float
            As from `evaluate`.

        Raises
        ------
        AudioFileError
            If the output is silent, shorter than half a second or not finite.
        """
        # Cut first: what comes after the content's end sets no level, and may not hide silence.
        output = np.atleast_1d(output)[..., : self._raw[0].shape[-1]]
        y = style_metrics.prepare(output, self._sr, "output")
        size = self._content.y.size
        result = ClipAnalysis(np.pad(y[:size], (0, max(0, size - y.size))))
        measures: dict[str, float] = {}
        for name, distance in STYLE_DISTANCES.items():
            before, floor = self._style_scales[name]
            after = distance(getattr(result, name), getattr(self._style, name))
            measures[f"style_{name}"] = style_gap_closed(before, after, floor)
        measures["style"] = float(np.mean(list(measures.values())))
        kept = {
            f"content_{name}": content_kept(
                similarity(getattr(self._content, name), getattr(result, name)),
                self._chances[name],
            )
            for name, similarity in CONTENT_SIMILARITIES.items()
        }
        measures |= {**kept, "content": float(np.mean(list(kept.values())))}
        measures |= self._copying(result)
        measures["score"] = joint_score(*(measures[n] for n in ("style", "content", "copying")))
        return {**measures, **sound_measures(output, *self._raw, self._sr)}

    def _copying(self, result: ClipAnalysis) -> dict[str, float]:
        match = content_metrics.waveform_match(result.y, self._style.y)
        waveform = content_metrics.waveform_copying(match, self._chance_matches)
        notes = content_metrics.note_copying(
            result.notes, self._content.notes, self._unrelated.notes
        )
        return {
            "copying_waveform": waveform,
            "copying_notes": notes,
            "copying": max(waveform, notes),
        }


def sound_measures(output: Array, content: Array, style: Array, sr: float) -> dict[str, float]:
    """Measure faults of the sound that have nothing to do with style.

    Parameters
    ----------
    output : np.ndarray [shape=(n,) or (channels, n)]
        At the level it would be played at.
    content, style : np.ndarray [shape=(n,) or (channels, n)]
    sr : float > 0
        Sampling rate in Hz.

    Returns
    -------
    measures : dict of str to float
        ``sound_clipping``, share of samples at full scale; ``sound_loudness``, K-weighted
        loudness relative to the content in dB, of the averaged channels where their numbers
        differ; ``sound_added_noise``, share of the output's energy above the band of both clips,
        in dB above the larger share of theirs.
    """
    clips = [evaluation_baselines.to_mono(y) for y in (output, content, style)]
    pair = [np.atleast_2d(y) for y in (output, content)]
    if len(pair[0]) != len(pair[1]):
        pair = [np.atleast_2d(y) for y in clips[:2]]
    # The loudness is a mean over time: compare the same time.
    n = min(y.shape[1] for y in pair)
    loud = [loudness.loudness(np.asarray(y[:, :n], np.float32), int(sr)) for y in pair]
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
    """Compute the share of samples at full scale.

    Parameters
    ----------
    y : np.ndarray [shape=(n,) or (channels, n)]
        Full scale is 1. Resampling moves clipped samples off full scale: pass what the file holds.

    Returns
    -------
    share : float in [0, 1]
    """
    return float(np.mean(np.abs(np.asarray(y)) >= FULL_SCALE))


def _cumulative_energy(y: Array) -> Array:
    """Share of a clip's energy up to each frequency of its spectrum."""
    energy = np.cumsum(np.abs(np.fft.rfft(y.astype(np.float64))) ** 2)
    return np.asarray(energy / energy[-1])


def evaluate_many(
    content: Array, style: Array, outputs: Mapping[str, Array], sr: float
) -> dict[str, dict[str, float]]:
    """Evaluate several outputs of one pair, analysing the pair once.

    Parameters
    ----------
    content, style : np.ndarray [shape=(n,) or (channels, n)]
    outputs : mapping of str to np.ndarray [shape=(n,) or (channels, n)]
    sr : float > 0
        Sampling rate of all of them in Hz.

    Returns
    -------
    measures : dict of str to dict of str to float
        Under the name of each output, what `evaluate` returns for it.
    """
    judge = PairEvaluator(content, style, sr)
    return {name: judge.evaluate(output) for name, output in outputs.items()}


def evaluate(content: Array, style: Array, output: Array, sr: float) -> dict[str, float]:
    """Evaluate a style transfer.

    Parameters
    ----------
    content, style, output : np.ndarray [shape=(n,) or (channels, n)]
        The two clips and what was made of them. Channels are averaged and levels matched; the
        output is cut, or padded with silence, to the content's length.
    sr : float > 0
        Sampling rate of all three in Hz.

    Returns
    -------
    measures : dict of str to float
        ``style_mfcc``, ``style_network``, ``style_texture`` and their mean ``style``;
        ``content_pitch``, ``content_notes``, ``content_onsets``, ``content_envelope`` and their
        mean ``content`` (all in [-1, 1]); ``copying_waveform``, ``copying_notes`` and the larger,
        ``copying`` (in [0, 1]); ``score`` (`joint_score`); and `sound_measures`.

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
