"""What the runs of a benchmark measure, and its tables show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class AnyPair(Protocol):
    """What a row says of its pair."""

    @property
    def content(self) -> str:
        """What is heard."""

    @property
    def style(self) -> str:
        """What it shall sound like."""

    @property
    def name(self) -> str:
        """Both, for people."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes
    ----------
    pair : AnyPair
    config : str
        As it was given, or the name of a trivial output.
    measures : dict of str to float
        NaN where a measure does not apply.
    strength : float or None
        None for a trivial output.
    main : bool
        As in `Entry`.
    """

    pair: AnyPair
    config: str
    measures: dict[str, float]
    strength: float | None = None
    main: bool = True
