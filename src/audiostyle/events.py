"""Events that the core reports while it works: plain data for progress bars, logs and plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

TERMS = ("content", "style", "texture", "music", "pitch", "onset", "rhythm", "envelope")
"""The built-in losses, in the order of the total; the weight of each is ``NAME_weight``."""


@dataclass(frozen=True)
class Stage:
    """The start of a stage.

    Attributes
    ----------
    name : str
        ``loading`` (of TensorFlow and the networks, before a first transfer), ``style``,
        ``features``, ``estimate``, ``optimization``, ``inversion`` or ``done``.
    detail : str
        Text for people: the clip, the estimated time, or the device.
    """

    name: str
    detail: str = ""


@dataclass(frozen=True)
class Iteration:
    """One step of the optimisation.

    Attributes
    ----------
    step, n_steps : int
        Steps done, and the most that will be done; step 0 is the initial spectrogram.
    total, content, style, texture, music, pitch, onset, rhythm, envelope : float
        Losses; all but the total before their weights are applied. A loss of weight 0 is 0.
    layers : dict of str to float
        Style loss of each layer, before its weight.
    seconds : float
        Time since the optimisation began.
    window, n_windows : int
        Window of the content that is optimised, counted from 1, and the number of windows. Windows
        that are optimised in one batch count as one.
    more : dict of str to float
        Registered losses that have a weight, before it.
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
    window: int = 1
    n_windows: int = 1
    more: dict[str, float] = field(default_factory=dict)

    @property
    def terms(self) -> dict[str, float]:
        """All losses of the total, before weights: `TERMS` in order, then `more`."""
        return {name: getattr(self, name) for name in TERMS} | self.more

    @property
    def done(self) -> float:
        """Share of all steps of all windows that are done."""
        of_window = self.step / self.n_steps if self.n_steps else 1.0
        return (self.window - 1 + of_window) / self.n_windows

    def with_spectrogram(self, fetch: Callable[[], Any]) -> Iteration:
        """Return a copy whose `spectrogram` calls `fetch`; no field changes."""
        copy = replace(self)
        object.__setattr__(copy, "_fetch", fetch)  # not a field: it is not part of a record
        return copy

    def spectrogram(self) -> Any:
        """Copy the spectrogram of this step; without a call, nothing is copied.

        Returns
        -------
        np.ndarray [shape=(batch, n_mels, t), dB] or None
            The windows that are optimised in one batch; None after the callback has returned.
        """
        fetch = getattr(self, "_fetch", None)
        return None if fetch is None else fetch()


def merge_histories(histories: Sequence[Sequence[Iteration]]) -> list[Iteration]:
    """Average the losses of several windows, step by step, and add up their seconds.

    A window that stopped early keeps its last losses. A single history is returned unchanged.
    """
    if len(histories) == 1:
        return list(histories[0])
    merged = []
    for step in range(max(len(history) for history in histories)):
        now = [history[min(step, len(history) - 1)] for history in histories]
        whole = replace(
            now[0], step=step, window=1, n_windows=1, seconds=sum(i.seconds for i in now)
        )
        merged.append(
            replace(
                whole,
                layers=_mean([i.layers for i in now]),
                more=_mean([i.more for i in now]),
                **_mean([{name: getattr(i, name) for name in ("total", *TERMS)} for i in now]),
            )
        )
    return merged


def _mean(losses: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: sum(each[name] for each in losses) / len(losses) for name in losses[0]}


Callback = Callable[["Stage | Iteration"], Any]
"""Gets every event; a true value returned for an `Iteration` stops the optimisation."""
