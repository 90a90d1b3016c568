"""Pairs whose right answer is known: synthetic and sampled ones, their bounds and measures.

The distance to the target shows whether a transfer moves towards what a musician would play, which
no measure without a target can show.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiostyle.audio.streams import ArraySource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import Initializer, StyleSamples
from audiostyle.core.synthesis import SpectrogramSegment, Synthesizer
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.evaluation.baselines import make_baselines
from audiostyle.evaluation.scores import PairEvaluator
from bench.quality import phrases, sampled, synthesizer, synthetic, timbres
from bench.quality.runs import Array, Method, Row, output_name, run_method
from bench.quality.target_metrics import TargetEvaluator, best_static_eq, has_2f, quality_2f

SAMPLE_RATE = 22_050
HALVES = ("tuning", "held-out")
IDENTITY, EQ_MATCH = "identity", "eq_match"
TRIVIAL = (IDENTITY, EQ_MATCH)
INVERSION_FIELDS = ("sr", "n_fft", "hop_length", "n_mels", "mel_scale", "top_db", "inversion")
CACHE = Path("build", "bench-audio")


def choose_known(kind: str, which: str) -> list[Any]:
    """List the pairs of a kind (``synthetic`` or ``sampled``) in a half, or in both (``all``)."""
    pairs: list[Any] = []
    for half in HALVES if which == "all" else (which,):
        pairs += (
            synthetic.choose_synthetic(half)
            if kind == "synthetic"
            else sampled.choose_sampled(half)
        )
    return sorted(pairs, key=lambda pair: pair.number)


def load_clips(pair: Any) -> dict[str, Array]:
    """Render the clips of a pair (content, style, target, take), or read them if this was done."""
    import soundfile as sf

    folder = CACHE / _version() / Path(output_name(pair)).with_suffix("")
    names = ("content", "style", "target", "take")
    if not (folder / f"{names[-1]}.wav").exists():
        folder.mkdir(parents=True, exist_ok=True)
        clips = pair.render(SAMPLE_RATE)
        for name in names:
            sf.write(folder / f"{name}.wav", clips[name], SAMPLE_RATE, subtype="FLOAT")
    return {name: sf.read(folder / f"{name}.wav", dtype="float32")[0] for name in names}


@functools.cache
def _version() -> str:
    """Return a digest of what determines the clips."""
    modules = (phrases, sampled, synthesizer, synthetic, timbres)
    text = "".join(inspect.getsource(module) for module in modules) + sampled.SOUNDFONT.name
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def invert_target(
    content: Array, style: Array, target: Array, sr: int, config: TransferConfig
) -> Array:
    """Invert the target's own mel spectrogram as a transfer does.

    The start is the content with the style's spectral envelope.
    """
    config = dataclasses.replace(config, init="envelope")
    content_stream, style_stream, target_stream = (
        NormalizedStream(ArraySource(y, sr, "clip"), config) for y in (content, style, target)
    )
    D, D_target = (
        stream.frame_reader(padded=True).stft(0, stream.n_frames + 2 * stream.pad_frames)
        for stream in (content_stream, target_stream)
    )
    S_target = spectrogram.mel_db(spectrogram.channel_power(D_target), config)
    unused = np.zeros((1, 0), np.float32)
    samples = StyleSamples(style_stream.mel_mean(), unused, unused)
    n = content_stream.n_resampled + 2 * content_stream.pad
    initializer = Initializer(samples, content_stream.mel_mean(), n, config)
    segment = SpectrogramSegment(
        S_target, initializer.stft(D, 0), spectrogram.channel_power(D), last=True
    )
    blocks = Synthesizer(content_stream, config).blocks(iter([segment]))
    return np.asarray(np.concatenate(list(blocks), axis=1)[0])


def evaluate_known(
    pair: Any, methods: Sequence[Method], folder: Path, scored: bool
) -> Iterator[Row]:
    """Measure baselines, bounds and all methods on one pair.

    The bounds use the target: the best static equaliser towards it, a second take of it, and the
    inversion of its spectrogram as by each configuration. With `scored`, the measures that need no
    target are added (`audiostyle.evaluate`).
    """
    sr, unknown = SAMPLE_RATE, float("nan")
    clips = load_clips(pair)
    content, style, target = clips["content"], clips["style"], clips["target"]
    target_evaluator = TargetEvaluator(target, sr)
    pair_evaluator = PairEvaluator(content, style, sr) if scored else None

    def measure(y: Array, *, seconds: float = unknown, use_2f: bool = False) -> dict[str, float]:
        quality = dict.fromkeys(("2f", "2f_loud"), unknown)
        if use_2f and has_2f():
            quality = quality_2f(y, target, sr)
        scores = pair_evaluator.evaluate(y) if pair_evaluator else {}
        return {**target_evaluator.evaluate(y), **quality, **scores, "seconds": seconds}

    baselines = make_baselines(content, style, sr)
    for name in TRIVIAL:
        yield Row(pair, name, measure(baselines[name]))
    yield Row(pair, "best_static_eq", measure(best_static_eq(content, target, sr)))
    yield Row(pair, "second_take", measure(clips["take"], use_2f=True))
    for name, config in inversions(methods).items():
        y = invert_target(content, style, target, sr, config)
        yield Row(pair, f"inversion as by {name}", measure(y, use_2f=True))
    for method in methods:
        y, seconds = run_method(method, pair, content, style, sr, folder)
        measures = measure(y, seconds=seconds)
        yield Row(pair, method.name, measures, method.strength, method.main)


def inversions(methods: Sequence[Method]) -> dict[str, TransferConfig]:
    """List the configurations that differ in their inversion, by the first method with each."""
    fields = [field.name for field in dataclasses.fields(TransferConfig)]
    names = [name for name in fields if name.startswith(INVERSION_FIELDS)]
    found: dict[tuple[Any, ...], tuple[str, TransferConfig]] = {}
    for method in methods:
        if method.config:
            key = tuple(getattr(method.config, name) for name in names)
            found.setdefault(key, (method.name, method.config))
    return dict(found.values())
