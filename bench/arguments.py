"""What the command lines of the benches share: a parser, and numbers with bounds."""

from __future__ import annotations

import argparse
from collections.abc import Callable

MAX_SECONDS = 86_400.0  # a day: more is a mistake


def make_parser(about: str | None, program: str | None = None) -> argparse.ArgumentParser:
    """Make a parser that shows a module's docstring as it is.

    Parameters
    ----------
    about : str or None
    program : str, optional
        How it is called, if not by the name of its file.

    Returns
    -------
    argparse.ArgumentParser
    """
    return argparse.ArgumentParser(
        prog=program, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def whole(low: int = 1) -> Callable[[str], int]:
    """Make a type of argument: a whole number from `low` on.

    Parameters
    ----------
    low : int

    Returns
    -------
    callable
    """

    def convert(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{value} must be at least {low}")
        return value

    convert.__name__ = "whole number"  # argparse names the type so, where int() fails
    return convert


def number(low: float, high: float, unit: str) -> Callable[[str], float]:
    """Make a type of argument: a number from `low` to `high`.

    Parameters
    ----------
    low, high : float
    unit : str
        For the message.

    Returns
    -------
    callable
    """

    def convert(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value:g} must be from {low:g} to {high:g} {unit}")
        return value

    convert.__name__ = "number"
    return convert
