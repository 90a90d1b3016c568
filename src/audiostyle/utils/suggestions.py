"""Suggestions for names that are not known, and short forms of values for messages."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from audiostyle.errors import ConfigError

MAX_LENGTH = 200  # of a value in a message


def format_value(value: Any) -> str:
    """Write a value for a message, in at most about `MAX_LENGTH` characters."""
    if isinstance(value, (str, Path)):
        return repr(value) if len(str(value)) <= MAX_LENGTH else repr(str(value)[:MAX_LENGTH])
    try:
        return repr(value) if len(repr(value)) <= MAX_LENGTH else reprlib.repr(value)
    except (ValueError, RecursionError):  # for example, an integer of thousands of digits
        return f"a value of type {type(value).__name__}"


def check_choice(what: str, name: str, names: Collection[str], remedy: str = "") -> str:
    """Return `name` if it is in `names`; otherwise raise a `ConfigError` with the closest match.

    `what` says in the message what is named; `remedy` is added where no name is close.
    """
    by_lower = {other.lower(): other for other in names}
    if name in by_lower.values():
        return name
    text = name.lower() if isinstance(name, str) else ""
    close = difflib.get_close_matches(text[:100], by_lower, n=1, cutoff=0.5)
    if close:
        hint = f"did you mean {by_lower[close[0]]}?"
    else:
        listed = "choose from " + ", ".join(names) if names else ""
        hint = ", or ".join(filter(None, (listed, remedy)))
    raise ConfigError(f"{what} {format_value(name)} is not known: {hint}")
