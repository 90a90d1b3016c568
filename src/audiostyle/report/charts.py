"""Axes and curves of a page, in percent of their box: the box scales, the text does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.utils.lazy_imports import load_librosa

FREQUENCIES = (100, 200, 500, 1000, 2000, 5000, 10000, 20000)
TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MAX_TIME_TICKS = 10
MIN_DISTANCE = 0.07  # between frequency labels, as a share of the height


class Tick(NamedTuple):
    """A label beside an axis."""

    at: float  # percent of the axis, from the left or from the top
    text: str


Curve = tuple[str, str, str]  # name, points of a polyline in a box of 100 x 100, and last value


@dataclass(frozen=True)
class Chart:
    """Curves over the iterations."""

    title: str
    curves: list[Curve]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def format_time(seconds: float, exact: bool = False) -> str:
    """Write a time as ``1:05`` or ``1:02:05``, with tenths if `exact`."""
    tenths = round(seconds * 10)
    whole = tenths // 10 if exact else int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"{text}.{tenths % 10}" if exact else text


def time_ticks(seconds: float) -> list[Tick]:
    """Label a time axis of `seconds` > 0."""
    step = next((s for s in TIME_STEPS if seconds / s <= MAX_TIME_TICKS), TIME_STEPS[-1])
    while seconds / step > MAX_TIME_TICKS:
        step *= 2
    count = int(seconds / step + 1e-9) + 1
    return [
        Tick(round(100 * i * step / seconds, 3), format_time(i * step, exact=step < 1))
        for i in range(count)
    ]


def frequency_ticks(config: TransferConfig) -> list[Tick]:
    """Label the bands of a mel spectrogram, low frequencies at the bottom, without overlaps."""
    centers = load_librosa().mel_frequencies(
        config.n_mels + 2, fmin=0.0, fmax=config.sr / 2, htk=config.mel_scale == "htk"
    )[1:-1]
    ticks: list[Tick] = []
    for hertz in (f for f in FREQUENCIES if centers[0] <= f <= centers[-1]):
        band = float(np.interp(hertz, centers, np.arange(config.n_mels)))
        at = 100 * (1 - (band + 0.5) / config.n_mels)
        if not ticks or ticks[-1].at - at >= 100 * MIN_DISTANCE:
            ticks.append(Tick(round(at, 3), f"{hertz // 1000}k" if hertz >= 1000 else str(hertz)))
    return ticks


def decibel_ticks(scale: tuple[float, float]) -> list[Tick]:
    """Label a color bar from low to high dB, high on top."""
    low, high = scale
    step = 20 if high - low > 50 else 10
    first = math.ceil(low / step) * step
    return [
        Tick(round(100 * (high - value) / (high - low), 3), f"{value:g}".replace("-", "\u2212"))
        for value in range(first, math.floor(high) + 1, step)
    ]


def wave_path(wave: Array, share: float) -> str:
    """Outline the extremes of `wave_extremes` as an SVG path in a box of 1000 x 2.

    `share` is the part of the time axis that they cover, from 0 to 1.
    """
    n = wave.shape[1]
    if not n:
        return ""
    peak = max(float(np.abs(wave).max()), 1e-6)
    x = (np.arange(n) + 0.5) * 1000 * share / n
    top = [f"{a:.1f} {1 - v:.3f}" for a, v in zip(x, wave[1] / peak, strict=True)]
    bottom = [f"{a:.1f} {1 - v:.3f}" for a, v in zip(x[::-1], wave[0, ::-1] / peak, strict=True)]
    return "M" + "L".join(top + bottom) + "Z"


def loss_chart(title: str, curves: Mapping[str, Sequence[float]]) -> Chart | None:
    """Draw losses over the iterations on a logarithmic scale; None if nothing is positive.

    Values that are not positive lie on the lower edge.
    """
    positive = [v for values in curves.values() for v in values if v > 0 and math.isfinite(v)]
    if not positive:
        return None
    low, high = (math.log10(value) for value in (min(positive), max(positive)))
    if high - low < 0.3:  # at least a factor of two, so that a flat curve looks flat
        low, high = low - 0.15, high + 0.15
    low, high = low - 0.03 * (high - low), high + 0.03 * (high - low)
    n = max(len(values) for values in curves.values())

    def y(value: float) -> float:
        is_positive = value > 0 and math.isfinite(value)
        return 100 * (high - math.log10(value)) / (high - low) if is_positive else 100.0

    def x(iteration: int) -> float:
        return 100 * iteration / max(n - 1, 1)

    return Chart(
        title,
        [
            (name, " ".join(f"{x(i):.2f},{y(v):.2f}" for i, v in enumerate(c)), f"{c[-1]:.3g}")
            for name, c in curves.items()
        ],
        _iteration_ticks(n),
        [Tick(round(y(v), 2), f"{v:g}") for v in _log_ticks(low, high)],
    )


def _iteration_ticks(n: int) -> list[Tick]:
    last = max(n - 1, 1)
    step = next(s * 10**power for power in range(9) for s in (1, 2, 5) if last <= 6 * s * 10**power)
    return [Tick(round(100 * i / last, 2), str(i)) for i in range(0, last + 1, step)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Choose round numbers between two powers of ten."""
    for sizes in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9)):
        powers = range(math.floor(low), math.ceil(high) + 1)
        values = [size * 10.0**power for power in powers for size in sizes]
        inside = [value for value in values if low <= math.log10(value) <= high]
        if len(inside) >= 3:
            break
    return inside[:: -(-len(inside) // 6)]
