"""Pairs of which the right answer is known: the content's notes, played in the style's timbre.

The content is a phrase in one timbre, the style another phrase, in another key and tempo, in
another timbre, and the target the content's phrase in the style's timbre. The log-spectral distance
to the target says what no measure without a target can: whether a transfer moves towards what a
musician would play.

References
----------
.. [1] O. Cífka, A. Ozerov, U. Şimşekli, G. Richard, "Self-supervised VQ-VAE for one-shot music
   style transfer", ICASSP 2021, arXiv:2102.05749: synthetic triples, and the distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from phrases import Note, compose
from rows import Row
from runs import TRIVIAL, Entry, stylise
from synth import render
from timbres import TIMBRES

from audiostyle.audio.loudness import match_loudness
from audiostyle.audio.streams import ArraySource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import Initializer, StyleSamples
from audiostyle.core.synthesis import SpectrogramSegment, Synthesizer
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.evaluation import style_metrics
from audiostyle.evaluation.scores import PairEvaluator, make_baselines

Array = npt.NDArray[Any]

SAMPLE_RATE = 22_050
SHIFTS = {"tune": (1, 5), "held-out": (7, 10)}  # from the content's timbre to the style's
TOP_DB = 80.0  # of a clip's own loudest band, in [1]_
FRAME_FLOOR_DB = -60.0  # of the target's loudest band
SECOND_TAKE = "second take of the target"
ORACLE = "inversion of the target"


@dataclass(frozen=True)
class SyntheticPair:
    """A content, a style and their target.

    Attributes
    ----------
    number : int
        Even in the half for tuning, odd in the other; everything random is drawn from it.
    content, style : str
        Their timbres.
    """

    number: int
    content: str
    style: str

    @property
    def name(self) -> str:
        """Name of the pair in the tables."""
        return f"{self.number:02d} {self.content}>{self.style}"

    def scores(self) -> tuple[list[Note], list[Note]]:
        """Compose both phrases.

        Returns
        -------
        content, style : list of Note
            In different keys, and tempi that differ by at least 15 %.
        """
        rng = np.random.default_rng([7, self.number])
        tonic, bpm = int(rng.integers(12)), float(rng.uniform(80, 120))
        other_tonic = (tonic + int(rng.integers(1, 12))) % 12
        other_bpm = bpm * float(rng.uniform(1.15, 1.4)) ** int(rng.choice((-1, 1)))
        centres = rng.integers(60, 77, 2)
        content = compose(
            2 * self.number,
            tonic=tonic,
            bpm=bpm,
            centre=int(centres[0]),
            voices=1 + self.number // 2 % 3,
        )
        style = compose(
            2 * self.number + 1,
            tonic=other_tonic,
            bpm=other_bpm,
            centre=int(centres[1]),
            voices=int(rng.integers(1, 4)),
        )
        return content, style

    def clips(self, sr: int) -> tuple[Array, Array, Array]:
        """Play the pair.

        Parameters
        ----------
        sr : int > 0
            In Hz.

        Returns
        -------
        content, style, target : np.ndarray [shape=(n,) or (m,), dtype=float32]
            Content and target are of one length.
        """
        content, style = self.scores()
        seed = 4 * self.number
        return (
            render(content, self.content, sr, seed),
            render(style, self.style, sr, seed + 1),
            render(content, self.style, sr, seed + 2),
        )

    def second_take(self, sr: int) -> Array:
        """Play the target again, with other vibrato and noise.

        Parameters
        ----------
        sr : int > 0
            In Hz.

        Returns
        -------
        y : np.ndarray [shape=(n,), dtype=float32]
            Of the target's length.
        """
        return render(self.scores()[0], self.style, sr, 4 * self.number + 3)


def choose_synthetic(which: str) -> list[SyntheticPair]:
    """List the pairs of one half, or all: every timbre is as often content as it is style.

    Parameters
    ----------
    which : {"tune", "held-out", "all"}

    Returns
    -------
    pairs : list of SyntheticPair
        24 a half. No ordered pair of timbres is in both.
    """
    if which == "all":
        return sorted(
            choose_synthetic("tune") + choose_synthetic("held-out"), key=lambda pair: pair.number
        )
    names = list(TIMBRES)
    shifts = SHIFTS[which]
    pairs: list[SyntheticPair] = []
    for i, content in enumerate(names):
        for shift in shifts:
            number = 2 * len(pairs) + (which == "held-out")
            pairs.append(SyntheticPair(number, content, names[(i + shift) % len(names)]))
    return pairs


# --- distance to the target ----------------------------------------------------------------------


def mel_power(y: Array, sr: float) -> Array:
    """Compute the mel spectrogram of a clip as [1]_ do, at their rate and one level.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    sr : float > 0
        In Hz.

    Returns
    -------
    power : np.ndarray [shape=(128, t)]
    """
    import librosa

    slow = style_metrics.to_timbre_rate(style_metrics.prepare(y, sr))
    slow = slow * (style_metrics.RMS_LEVEL / np.sqrt(np.mean(np.square(slow, dtype=np.float64))))
    return np.asarray(librosa.feature.melspectrogram(y=slow, sr=style_metrics.TIMBRE_RATE))


def lsd(power: Array, target: Array) -> float:
    """Compute the log-spectral distance of [1]_.

    Parameters
    ----------
    power, target : np.ndarray [shape=(bands, t)]
        Mel spectrograms; each is floored at `TOP_DB` below its own maximum.

    Returns
    -------
    distance : float >= 0
        In dB: root of the mean square over time, mean over bands.
    """
    import librosa

    a, b = (librosa.power_to_db(x, top_db=TOP_DB) for x in (power, target))
    return float(np.mean(np.sqrt(np.mean(np.square(a - b, dtype=np.float64), axis=1))))


def lsd_frames(power: Array, target: Array) -> float:
    """Compute the log-spectral distance frame by frame, above what is nearly silent.

    Parameters
    ----------
    power, target : np.ndarray [shape=(bands, t)]
        Mel spectrograms; both are floored at `FRAME_FLOOR_DB` of the target's maximum, so that
        silences of different depth do not count.

    Returns
    -------
    distance : float >= 0
        In dB: root of the mean square over bands, mean over frames.
    """
    floor = target.max() * 10.0 ** (FRAME_FLOOR_DB / 10)
    a, b = (10 * np.log10(np.maximum(x, floor)) for x in (power, target))
    return float(np.mean(np.sqrt(np.mean(np.square(a - b, dtype=np.float64), axis=0))))


def reduction(before: float, after: float) -> float:
    """Say which share of a distance is gone.

    Parameters
    ----------
    before : float > 0
    after : float >= 0

    Returns
    -------
    share : float <= 1
        0 for no change, 1 for the target itself, negative for what moved away.
    """
    return 1.0 - after / before


class TargetJudge:
    """Measures outputs of one pair against their target.

    Parameters
    ----------
    content, target : np.ndarray [shape=(n,)]
    sr : float > 0
        In Hz.
    """

    def __init__(self, content: Array, target: Array, sr: float) -> None:
        self._sr = sr
        self._target = mel_power(target, sr)
        before = mel_power(content, sr)
        self._before = lsd(before, self._target), lsd_frames(before, self._target)

    def evaluate(self, output: Array) -> dict[str, float]:
        """Measure one output.

        Parameters
        ----------
        output : np.ndarray [shape=(n,)]
            As long as the target, at any level.

        Returns
        -------
        measures : dict of str to float
            ``lsd_reduction``, ``lsd`` and ``lsd_before`` (dB) by the definition of [1]_, and
            ``lsd_frames_reduction``, ``lsd_frames`` and ``lsd_frames_before`` by `lsd_frames`.
        """
        power = mel_power(output, self._sr)
        measures: dict[str, float] = {}
        distances = {"lsd": lsd, "lsd_frames": lsd_frames}
        for (name, distance), before in zip(distances.items(), self._before, strict=True):
            after = distance(power, self._target)
            measures[f"{name}_reduction"] = reduction(before, after)
            measures[name] = after
            measures[f"{name}_before"] = before
        return measures


def invert_target(
    content: Array, style: Array, target: Array, sr: int
) -> tuple[Array, dict[str, float]]:
    """Turn the target's own mel spectrogram into sound as a transfer does: all it could reach.

    Parameters
    ----------
    content, style, target : np.ndarray [shape=(n,)]
        The start is the content with the envelope of the style, as in a transfer.
    sr : int > 0
        In Hz.

    Returns
    -------
    y : np.ndarray [shape=(n,)]
    measures : dict of str to float
        As from `runs.stylise`.
    """
    config = TransferConfig(init="envelope", sr=sr)
    clip, model, wanted = (
        NormalizedStream(ArraySource(y, sr, "clip"), config) for y in (content, style, target)
    )
    D, D_target = (one.frame_reader().stft(0, one.n_frames) for one in (clip, wanted))
    power, S_target = spectrogram.channel_power(D), _mel_spectrogram(D_target, config)
    unused = np.zeros((1, 0), np.float32)  # this start takes nothing but the envelope
    sound = StyleSamples(model.mel_mean(), unused, unused)
    starter = Initializer(sound, clip.mel_mean(), clip.n_resampled, config)
    start = starter.make(D, _mel_spectrogram(D, config), 0)
    renderer = Synthesizer(clip, config)
    pieces = iter([SpectrogramSegment(S_target, start.D, power, last=True)])
    y = np.concatenate(list(renderer.blocks(pieces)), axis=1)
    matched, _, _ = match_loudness(y, sr, clip.loudness)
    return matched[0], {**TRIVIAL, "convergence": renderer.convergence}


def _mel_spectrogram(D: Array, config: TransferConfig) -> Array:
    mel = spectrogram.mel_filters(config) @ spectrogram.channel_power(D)
    return spectrogram.power_to_db(mel, config.top_db)


def run_synthetic(pair: SyntheticPair, entries: Sequence[Entry], judged: bool) -> Iterator[Row]:
    """Measure trivial outputs, bounds and all configurations on one pair.

    The bounds know the target: a second take of it says what no transfer can be asked to exceed,
    its own spectrogram through the inversion what the inversion loses.

    Parameters
    ----------
    pair : SyntheticPair
    entries : sequence of Entry
    judged : bool
        Whether to measure, too, what needs no target (`audiostyle.evaluate`).

    Yields
    ------
    row : Row
    """
    sr = SAMPLE_RATE
    content, style, target = pair.clips(sr)
    by_target = TargetJudge(content, target, sr)
    by_pair = PairEvaluator(content, style, sr) if judged else None

    def measure(y: Array, known: dict[str, float]) -> dict[str, float]:
        blind = by_pair.evaluate(y) if by_pair else {}
        return {**by_target.evaluate(y), **blind, **known}

    for name, y in make_baselines(content, style, sr).items():
        yield Row(pair, name, measure(y, TRIVIAL))
    yield Row(pair, SECOND_TAKE, measure(pair.second_take(sr), TRIVIAL))
    yield Row(pair, ORACLE, measure(*invert_target(content, style, target, sr)))
    for entry in entries:
        measures = measure(*stylise(content, style, sr, entry))
        yield Row(pair, entry.name, measures, entry.config.strength, entry.main)
