"""What the core reports while it works: plain data, for a progress bar, a log, or a plot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TERMS = ("content", "style", "texture", "music", "pitch", "onset", "rhythm", "envelope")
"""The losses that make the total, in this order; each has a weight, ``NAME_weight``."""


@dataclass(frozen=True)
class Stage:
    """The beginning of a stage of the work.

    Attributes
    ----------
    name : str
        ``style``, ``features``, ``descent``, ``inversion`` or ``done``.
    detail : str
        What exactly, for people: the clip, the device.
    """

    name: str
    detail: str = ""


@dataclass(frozen=True)
class Iterate:
    """One step of the descent.

    Attributes
    ----------
    step, n_steps : int
        Steps done, and at most to do; step 0 is the start.
    total, content, style, texture, music, pitch, onset, rhythm, envelope : float
        Losses; all but the total before their weights are applied. One of weight 0 is 0.
    layers : dict of str to float
        The style loss of each layer, before its weight.
    seconds : float
        Since the descent began.
    """

    step: int
    n_steps: int
    total: float
    content: float
    style: float
    texture: float
    music: float
    pitch: float
    onset: float
    rhythm: float
    envelope: float
    layers: dict[str, float]
    seconds: float


Callback = Callable[["Stage | Iterate"], Any]
"""Gets every event; a true value returned for an `Iterate` stops the descent there."""
