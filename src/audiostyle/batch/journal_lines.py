"""The lines of a journal: what each has to hold for the rest of the batch to rely on it."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

LATEST_TIME = 1e11  # in seconds since the epoch: what is later is no time
_SHARD = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})", re.ASCII)
_COUNT_LIMIT = 1 << 63


def _is_name(value: Any) -> bool:
    """Tell whether a string may be part of a path."""
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e300


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _COUNT_LIMIT


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


def _is_scores(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _is_shard(value: Any) -> bool:
    return value == "" or (isinstance(value, str) and _SHARD.fullmatch(value) is not None)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "path": _is_name,
    "pair": _is_name,
    "pairs": _is_list_of_names,
    "shard": _is_shard,
    "fingerprint": _is_text,
    "settings": _is_text,
    "kind": _is_text,
    "reason": _is_text,
    "sha256": _is_text,
    "size": _is_count,
    "mtime_ns": lambda value: isinstance(value, int),
    "seconds": _is_number,
    "content_seconds": _is_number,
    "scores": _is_scores,
    "facts": _is_mapping,
}
_PAIR = ("pair", "fingerprint")
_NEEDED: dict[str, tuple[str, ...]] = {
    "input": ("path", "size", "mtime_ns", "sha256", "facts"),
    "plan": ("pairs",),
    "started": _PAIR,
    "lost": _PAIR,
    "interrupted": _PAIR,
    "done": (*_PAIR, "size"),
    "failed": (*_PAIR, "kind", "reason"),
    "scored": ("pair", "scores"),
}


def parse(line: bytes) -> dict[str, Any]:
    """Read a line of a journal, and check all of it that others rely on.

    Parameters
    ----------
    line : bytes

    Returns
    -------
    dict
        With a known ``event`` or one of a later version, and a ``time`` that is a number.

    Raises
    ------
    ValueError
        If it was cut off, or damaged in whatever way.
    """
    try:
        event = json.loads(line, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not (isinstance(event, dict) and isinstance(event.get("event"), str)):
        raise ValueError("says no event")
    time = event.get("time")
    if time is None or not _is_number(time) or time > LATEST_TIME:
        raise ValueError("says no time")
    missing = set(_NEEDED.get(event["event"], ())) - set(event)
    wrong = [name for name, check in _CHECKS.items() if name in event and not check(event[name])]
    if event["event"] in _NEEDED and (missing or wrong):
        raise ValueError(f"lacks {sorted(missing)}, or has no sensible {wrong}")
    return event


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is too large")
    return number
