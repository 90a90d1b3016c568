"""Windows of a long recording, which overlap. A short recording is a single window."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from audiostyle.arrays import Array

WINDOW_FRAMES = 1312  # 30.5 s by default: a clip of GTZAN is one window
OVERLAP_FRAMES = 96  # of neighbouring windows: margins that are dropped, and a crossfade
MARGIN_FRAMES = 16  # at an inner end of a window, where the network sees padding instead of sound


def split_frames(n_frames: int, size: int = WINDOW_FRAMES) -> list[tuple[int, int]]:
    """Divide frames into as few parts as possible, none of them larger than `size`.

    Returns
    -------
    list of (int, int)
        First and last (exclusive) frame of each part; their lengths differ by at most 1.
    """
    n_parts = -(-n_frames // size)
    return list(pairwise(i * n_frames // n_parts for i in range(n_parts + 1)))


@dataclass(frozen=True)
class Window:
    """Frames that are optimised together, from `start` to `stop` (exclusive).

    The window fades in from the one before over `fade_start` to `fade_stop`; both equal `start` in
    the first window.
    """

    start: int
    stop: int
    fade_start: int
    fade_stop: int


def plan_windows(
    n_frames: int, size: int = WINDOW_FRAMES, overlap: int = OVERLAP_FRAMES
) -> list[Window]:
    """Lay windows of `size` frames evenly over a recording, as few as possible.

    Neighbours overlap by at least `overlap` frames. A margin is dropped at either end of an
    overlap, and its middle is a crossfade; where the margins leave nothing, it is a cut. A `size`
    below three times `overlap` would let fades meet.
    """
    if n_frames <= size:
        return [Window(0, n_frames, 0, 0)]
    n_windows = -(-(n_frames - overlap) // (size - overlap))
    starts = [round(i * (n_frames - size) / (n_windows - 1)) for i in range(n_windows)]
    windows = [Window(0, size, 0, 0)]
    for start in starts[1:]:
        low, high = start, windows[-1].stop
        margin = min(MARGIN_FRAMES, (high - low - 1) // 2)
        middle = (low + high) // 2
        half = max(0, min((high - low) // 2 - margin, (overlap - 2 * MARGIN_FRAMES) // 2))
        windows.append(Window(start, start + size, middle - half, middle + half))
    return windows


def segment_bounds(windows: list[Window]) -> list[tuple[int, int]]:
    """Return the frames that each window contributes: up to where the next one fades in."""
    starts = [window.fade_start for window in windows]
    return list(pairwise([*starts, windows[-1].stop]))


def fade_in(n: int) -> Array:
    """Weights of a linear fade-in, which sum to 1 with those of the fade-out.

    Returns
    -------
    np.ndarray [shape=(n,), float32]
        Strictly between 0 and 1, rising.
    """
    return ((np.arange(n) + 1) / (n + 1)).astype(np.float32)
