"""Times in a recording as text: seconds, or minutes and seconds as players show them."""

from __future__ import annotations

import re

_PARTS = re.compile(r"(?:(\d+):)?(\d+):(\d{2}(?:\.\d*)?)")


def parse_time(text: str) -> float:
    """Read ``75.5``, ``1:15.5`` or ``0:01:15.5`` as seconds; raise a `ValueError` for others."""
    match = _PARTS.fullmatch(text.strip())
    try:
        if match is None:
            return float(text)
        hours, minutes, seconds = match.groups("0")
        if float(seconds) < 60 and (match[1] is None or int(minutes) < 60):
            return 3600.0 * int(hours) + 60.0 * int(minutes) + float(seconds)
    except ValueError:
        pass
    raise ValueError(f"{text!r} is not a time: give seconds or M:SS, such as 75.5 or 1:15.5")


def parse_span(text: str) -> tuple[float, float]:
    """Read two times with a dash between them, such as ``1:02-1:18``."""
    start, dash, stop = text.strip().partition("-")
    if not (start and dash and stop):
        raise ValueError(f"{text!r} is not a stretch: give START-END, such as 1:02-1:18")
    return parse_time(start), parse_time(stop)


def format_time(seconds: float) -> str:
    """Write a time as M:SS or H:MM:SS, with up to three decimals."""
    minutes, millis = divmod(round(1000 * seconds), 60_000)
    rest = f"{millis / 1000:06.3f}".rstrip("0").rstrip(".")
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def format_span(span: tuple[float, float]) -> str:
    """Write a stretch as `parse_span` reads it."""
    return f"{format_time(span[0])}-{format_time(span[1])}"
