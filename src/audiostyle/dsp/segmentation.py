"""Where the windows of a long recording lie. A short one is a single window."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

WINDOW_FRAMES = 1312  # 30.5 s by default: a clip of GTZAN is one window
OVERLAP_FRAMES = 96  # of neighbouring windows: a margin that is dropped, and a fade
MARGIN_FRAMES = 16  # at an inner end of a window, where the network sees padding instead of sound


def split_frames(n_frames: int, size: int = WINDOW_FRAMES) -> list[tuple[int, int]]:
    """Divide frames into as few parts as it takes for none to be larger than `size`.

    Parameters
    ----------
    n_frames : int > 0
    size : int > 0

    Returns
    -------
    list of (int, int)
        First and last (exclusive) frame of each part; their lengths differ by at most 1.
    """
    n_parts = -(-n_frames // size)
    return list(pairwise(i * n_frames // n_parts for i in range(n_parts + 1)))


@dataclass(frozen=True)
class Window:
    """A stretch of frames that is processed at once.

    Attributes
    ----------
    start, stop : int
        First and last (exclusive) frame.
    fade_start, fade_stop : int
        Frames over which it fades in from the window before; both equal `start` for the first.
    """

    start: int
    stop: int
    fade_start: int
    fade_stop: int


def plan_windows(
    n_frames: int, size: int = WINDOW_FRAMES, overlap: int = OVERLAP_FRAMES
) -> list[Window]:
    """Lay windows of one size over a recording, so that neighbours overlap.

    Parameters
    ----------
    n_frames : int > 0
    size : int >= 3 * overlap
        Of every window; of the only one at most. In smaller ones fades would meet.
    overlap : int
        Least overlap of neighbours.

    Returns
    -------
    list of Window
        As few as it takes, spread evenly. Of an overlap a margin is dropped at either end, and the
        middle is the fade; where margins leave nothing, it is a cut.
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


def fade_in(n: int) -> Array:
    """Weights of a linear fade, which with those of its fade out sum to 1.

    Parameters
    ----------
    n : int >= 0

    Returns
    -------
    np.ndarray [shape=(n,), float32]
        Strictly between 0 and 1, rising.
    """
    return ((np.arange(n) + 1) / (n + 1)).astype(np.float32)
