"""What the core reports while it works: plain data, for a progress bar, a log, or a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

TERMS = ("content", "style", "texture", "music", "pitch", "onset", "rhythm", "envelope")
"""The losses that ship and make the total, in this order; each has a weight, ``NAME_weight``."""


@dataclass(frozen=True)
class Stage:
    """The beginning of a stage of the work.

    Attributes
    ----------
    name : str
        ``style``, ``features``, ``estimate``, ``descent``, ``inversion`` or ``done``.
    detail : str
        What exactly, for people: the clip, the time that it will take, the device.
    """

    name: str
    detail: str = ""


@dataclass(frozen=True)
class Iteration:
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
    window, n_windows : int
        Which stretch of the content descends, counted from 1, and how many there are. Windows that
        descend side by side are one stretch.
    more : dict of str to float
        Losses that were registered and have a weight, before it.
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
        """All that makes the total, before weights: `TERMS` in order, then `more`."""
        return {name: getattr(self, name) for name in TERMS} | self.more

    @property
    def done(self) -> float:
        """Share of all steps of all windows that are done."""
        of_window = self.step / self.n_steps if self.n_steps else 1.0
        return (self.window - 1 + of_window) / self.n_windows

    def showing(self, look: Callable[[], Any]) -> Iteration:
        """Return a copy that can be asked for its spectrogram; no field of it changes.

        Parameters
        ----------
        look : callable
            Gives the spectrogram, or None as soon as it is gone.

        Returns
        -------
        Iteration
        """
        copy = replace(self)
        object.__setattr__(copy, "_look", look)  # no field: it is no part of a record
        return copy

    def look(self) -> Any:
        """Fetch the spectrogram of this step, which costs a copy only if it is asked for.

        Returns
        -------
        np.ndarray [shape=(batch, n_mels, t), dB] or None
            The windows that descend side by side; None after the callback has returned.
        """
        look = getattr(self, "_look", None)
        return None if look is None else look()


def merge_histories(histories: Sequence[Sequence[Iteration]]) -> list[Iteration]:
    """Average the descents of several windows, step by step.

    Parameters
    ----------
    histories : sequence of sequence of Iteration
        A window that stopped early keeps its last losses.

    Returns
    -------
    list of Iteration
        Of one history, that itself; `seconds` are added up, and the whole counts as one window.
    """
    if len(histories) == 1:
        return list(histories[0])
    merged = []
    for step in range(max(len(history) for history in histories)):
        now = [history[min(step, len(history) - 1)] for history in histories]
        means = {
            name: sum(getattr(iterate, name) for iterate in now) / len(now)
            for name in ("total", *TERMS)
        }
        layers, more = (
            _mean([getattr(iterate, name) for iterate in now]) for name in ("layers", "more")
        )
        seconds = sum(iterate.seconds for iterate in now)
        whole = replace(now[0], step=step, seconds=seconds, window=1, n_windows=1)
        merged.append(replace(whole, layers=layers, more=more, **means))
    return merged


def _mean(losses: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(each[name] for each in losses) / len(losses) for name in losses[0]}


Callback = Callable[["Stage | Iteration"], Any]
"""Gets every event; a true value returned for an `Iteration` stops the descent there."""
