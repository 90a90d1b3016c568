"""Synthetic pairs with a known target: the content's notes, played in the style's timbre.

The content is a phrase in one timbre. The style is another phrase in another timbre, key and tempo.
The target is the content's phrase in the style's timbre. The log-spectral distance to the target
shows whether a transfer moves towards what a musician would play, which no measure without a target
can show.

References
----------
.. [1] O. Cífka, A. Ozerov, U. Şimşekli, G. Richard, "Self-supervised VQ-VAE for one-shot music
   style transfer", ICASSP 2021, arXiv:2102.05749: synthetic triples, and the distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from audiostyle.audio.level import split_blocks
from audiostyle.audio.loudness import loudness, match_loudness_stream
from audiostyle.audio.streams import ArraySource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import Initializer, StyleSamples
from audiostyle.core.synthesis import SpectrogramSegment, Synthesizer
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.evaluation import style_metrics
from audiostyle.evaluation.scores import PairEvaluator, make_baselines
from bench.quality.phrases import Note, compose
from bench.quality.runs import NO_TRANSFER, Array, Entry, Row, run_transfer
from bench.quality.synthesizer import synthesize
from bench.quality.timbres import TIMBRES

SAMPLE_RATE = 22_050
SHIFTS = {"tune": (1, 5), "held-out": (7, 10)}  # from the content's timbre to the style's
TOP_DB = 80.0  # floor below each clip's own maximum, as in [1]_
FRAME_FLOOR_DB = -60.0  # relative to the target's maximum
SECOND_TAKE = "second take of the target"
TARGET_INVERSION = "inversion of the target"


@dataclass(frozen=True)
class SyntheticPair:
    """Timbres of a content and a style; everything random is drawn from the number."""

    number: int  # even in the half for tuning, odd in the held-out half
    content: str
    style: str

    @property
    def name(self) -> str:
        """Name of the pair in the tables."""
        return f"{self.number:02d} {self.content}>{self.style}"

    def phrases(self) -> tuple[list[Note], list[Note]]:
        """Compose the phrases of content and style, in different keys and tempi."""
        rng = np.random.default_rng([7, self.number])
        tonic, bpm = int(rng.integers(12)), float(rng.uniform(80, 120))
        style_tonic = (tonic + int(rng.integers(1, 12))) % 12
        style_bpm = bpm * float(rng.uniform(1.15, 1.4)) ** int(rng.choice((-1, 1)))
        centers = [int(center) for center in rng.integers(60, 77, 2)]
        voices = 1 + self.number // 2 % 3
        style_voices = int(rng.integers(1, 4))
        number = 2 * self.number
        return (
            compose(number, tonic=tonic, bpm=bpm, center=centers[0], voices=voices),
            compose(
                number + 1,
                tonic=style_tonic,
                bpm=style_bpm,
                center=centers[1],
                voices=style_voices,
            ),
        )

    def clips(self, sr: int) -> tuple[Array, Array, Array]:
        """Play content, style and target; content and target have the same length."""
        content, style = self.phrases()
        seed = 4 * self.number
        return (
            synthesize(content, self.content, sr, seed),
            synthesize(style, self.style, sr, seed + 1),
            synthesize(content, self.style, sr, seed + 2),
        )

    def second_take(self, sr: int) -> Array:
        """Play the target again, with different vibrato and noise."""
        return synthesize(self.phrases()[0], self.style, sr, 4 * self.number + 3)


def choose_synthetic(which: str) -> list[SyntheticPair]:
    """List the 24 pairs of a half (``tune``, ``held-out``), or ``all``.

    Every timbre is equally often content and style, and no ordered pair of timbres is in both
    halves.
    """
    if which == "all":
        return sorted(
            choose_synthetic("tune") + choose_synthetic("held-out"), key=lambda pair: pair.number
        )
    names = list(TIMBRES)
    pairs: list[SyntheticPair] = []
    for i, content in enumerate(names):
        for shift in SHIFTS[which]:
            number = 2 * len(pairs) + (which == "held-out")
            pairs.append(SyntheticPair(number, content, names[(i + shift) % len(names)]))
    return pairs


def mel_power(y: Array, sr: float) -> Array:
    """Compute the mel spectrogram of [1]_, of a clip at a fixed RMS.

    Returns
    -------
    np.ndarray [shape=(128, t), power]
    """
    import librosa

    y = style_metrics.to_timbre_rate(style_metrics.prepare(y, sr))
    y = y * (style_metrics.RMS_LEVEL / np.sqrt(np.mean(np.square(y, dtype=np.float64))))
    return np.asarray(librosa.feature.melspectrogram(y=y, sr=style_metrics.TIMBRE_RATE))


def lsd(power: Array, target: Array) -> float:
    """Compute the log-spectral distance of [1]_ in dB: RMS over time, mean over bands.

    Each mel spectrogram [shape=(bands, t)] is floored at `TOP_DB` below its own maximum.
    """
    import librosa

    a, b = (librosa.power_to_db(x, top_db=TOP_DB) for x in (power, target))
    return float(np.mean(np.sqrt(np.mean(np.square(a - b, dtype=np.float64), axis=1))))


def lsd_frames(power: Array, target: Array) -> float:
    """Compute a frame-wise log-spectral distance in dB: RMS over bands, mean over frames.

    Both mel spectrograms [shape=(bands, t)] are floored at `FRAME_FLOOR_DB` relative to the
    target's maximum, so that silences of different depth do not count.
    """
    floor = target.max() * 10.0 ** (FRAME_FLOOR_DB / 10)
    a, b = (10 * np.log10(np.maximum(x, floor)) for x in (power, target))
    return float(np.mean(np.sqrt(np.mean(np.square(a - b, dtype=np.float64), axis=0))))


class TargetEvaluator:
    """Measures outputs of one pair against their target."""

    def __init__(self, content: Array, target: Array, sr: float) -> None:
        self._sr = sr
        self._target = mel_power(target, sr)
        before = mel_power(content, sr)
        self._before = lsd(before, self._target), lsd_frames(before, self._target)

    def evaluate(self, output: Array) -> dict[str, float]:
        """Measure one output, as long as the target and at any level.

        Returns ``lsd`` and ``lsd_frames``, the same for the content (``_before``), and the relative
        reduction (``_reduction``): 0 for the content, 1 for the target, negative if farther away.
        """
        power = mel_power(output, self._sr)
        measures: dict[str, float] = {}
        distances = {"lsd": lsd, "lsd_frames": lsd_frames}
        for (name, distance), before in zip(distances.items(), self._before, strict=True):
            after = distance(power, self._target)
            measures[f"{name}_reduction"] = 1.0 - after / before
            measures[name] = after
            measures[f"{name}_before"] = before
        return measures


def invert_target(
    content: Array, style: Array, target: Array, sr: int
) -> tuple[Array, dict[str, float]]:
    """Invert the target's own mel spectrogram as a transfer does: an upper bound for transfers.

    The start is the content with the style's spectral envelope.

    Returns
    -------
    y : np.ndarray [shape=(n,)]
    measures : dict of str to float
        As from `runs.run_transfer`.
    """
    config = TransferConfig(init="envelope", sr=sr)
    content_stream, style_stream, target_stream = (
        NormalizedStream(ArraySource(y, sr, "clip"), config) for y in (content, style, target)
    )
    D, D_target = (
        stream.frame_reader().stft(0, stream.n_frames) for stream in (content_stream, target_stream)
    )
    power, S_target = (
        spectrogram.channel_power(D),
        spectrogram.mel_db(spectrogram.channel_power(D_target), config),
    )
    unused = np.zeros((1, 0), np.float32)  # init="envelope" takes only the envelope
    samples = StyleSamples(style_stream.mel_mean(), unused, unused)
    initializer = Initializer(
        samples, content_stream.mel_mean(), content_stream.n_resampled, config
    )
    synthesizer = Synthesizer(content_stream, config)
    segments = iter([SpectrogramSegment(S_target, initializer.stft(D, 0), power, last=True)])
    y = np.concatenate(list(synthesizer.blocks(segments)), axis=1)
    peak = float(np.abs(y).max())
    matched = match_loudness_stream(
        lambda: split_blocks(y), sr, loudness(y, sr), peak, content_stream.loudness
    )
    y = np.concatenate(list(matched.blocks()), axis=1)
    return y[0], {**NO_TRANSFER, "convergence": synthesizer.convergence}


def evaluate_synthetic(
    pair: SyntheticPair, entries: Sequence[Entry], scored: bool
) -> Iterator[Row]:
    """Measure baselines, bounds and all configurations on one pair.

    The bounds use the target: a second take of it, and the inversion of its spectrogram. With
    `scored`, the measures that need no target are added (`audiostyle.evaluate`).
    """
    sr = SAMPLE_RATE
    content, style, target = pair.clips(sr)
    target_evaluator = TargetEvaluator(content, target, sr)
    pair_evaluator = PairEvaluator(content, style, sr) if scored else None

    def measure(y: Array, known: dict[str, float]) -> dict[str, float]:
        scores = pair_evaluator.evaluate(y) if pair_evaluator else {}
        return {**target_evaluator.evaluate(y), **scores, **known}

    for name, y in make_baselines(content, style, sr).items():
        yield Row(pair, name, measure(y, NO_TRANSFER))
    yield Row(pair, SECOND_TAKE, measure(pair.second_take(sr), NO_TRANSFER))
    yield Row(pair, TARGET_INVERSION, measure(*invert_target(content, style, target, sr)))
    for entry in entries:
        measures = measure(*run_transfer(content, style, sr, entry.config))
        yield Row(pair, entry.name, measures, entry.config.strength, entry.main)
