"""The part of a checkup that is about packages: what is installed, and what would fit."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.metadata import metadata as read_metadata
from typing import Any

import audiostyle

PACKAGE = "audiostyle"
NOT_FOR_USERS = ("dev", "gpu-step")  # extras for work on audiostyle itself


@dataclass(frozen=True)
class CheckResult:
    """One row of a checkup.

    Attributes
    ----------
    section, name : str
    state : str
        ``ok``; ``note`` if something could be better; ``absent`` if it is not installed and need
        not be; ``fault`` if no transfer can be made.
    text : str
        What was found, in one line.
    remedy : str
        What to do about it, in one line; empty if nothing is to be done.
    """

    section: str
    name: str
    state: str
    text: str
    remedy: str = ""


def check_packages() -> Iterator[CheckResult]:
    """Compare what is installed with the ranges in the metadata of the package.

    Yields
    ------
    Finding
    """
    try:
        needed = requires(PACKAGE) or []
        python = str(read_metadata(PACKAGE)["Requires-Python"] or "")
    except PackageNotFoundError:
        needed, python = [], ""
    yield CheckResult("packages", PACKAGE, "ok", audiostyle.__version__)
    try:
        from packaging.requirements import Requirement
        from packaging.specifiers import SpecifierSet
    except ImportError:
        remedy = "pip install packaging"
        yield CheckResult("packages", "packaging", "fault", "not installed, so no range is", remedy)
        return
    if not needed:
        remedy = "pip install . in its folder"
        text = "audiostyle is run, not installed: ranges are not known"
        yield CheckResult("packages", "ranges", "note", text, remedy)
    here = platform.python_version()
    fits = SpecifierSet(python).contains(here, prereleases=True)
    remedy = "" if fits else "make an environment with a Python in that range"
    state = "ok" if fits else "fault"
    yield CheckResult("packages", "python", state, _text(here, python), remedy)
    for line in needed:
        requirement = Requirement(line)
        extra = _extra_of(requirement)
        if requirement.name == PACKAGE or extra in NOT_FOR_USERS:
            continue
        if extra is None and requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue  # for another Python or another system
        yield _check(requirement, extra)


def _extra_of(requirement: Any) -> str | None:
    """Name the extra that a requirement belongs to; None if it is always needed."""
    words = str(requirement.marker or "").replace("'", '"').split('extra == "')
    return words[1].partition('"')[0] if len(words) > 1 else None


def _check(requirement: Any, extra: str | None) -> CheckResult:
    name, ranges = requirement.name, str(requirement.specifier)
    shown = f"{name}[{','.join(sorted(requirement.extras))}]" if requirement.extras else name
    label = shown if extra is None else f"{shown} ({extra})"
    wanted = f"{name}{ranges}" if extra is None else f"{PACKAGE}[{extra}]"
    try:
        found = version(name)
    except PackageNotFoundError:
        if extra is not None:
            return CheckResult(
                "packages", label, "absent", f"for {extra}", f"pip install '{wanted}'"
            )
        return CheckResult("packages", label, "fault", "not installed", f"pip install '{wanted}'")
    if requirement.extras and extra is not None:
        # Whether the libraries of an extra of theirs are there, the devices say better.
        return CheckResult("packages", label, "ok", _text(found, ranges))
    if not requirement.specifier.contains(found, prereleases=True):
        # It may well work: nobody has tried.
        return CheckResult(
            "packages", label, "note", _text(found, ranges), f"pip install '{wanted}'"
        )
    return CheckResult("packages", label, "ok", _text(found, ranges))


def _text(found: str, ranges: str) -> str:
    return f"{found} ({ranges})" if ranges else found
