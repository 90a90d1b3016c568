"""Registration of networks and losses: names, entry points and provenance."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from audiostyle.errors import ConfigError


def check_name(what: str, name: str, taken: Collection[str]) -> None:
    """Raise a `ConfigError` unless a network or loss (`what`) can be registered as `name`."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ConfigError(f"{what} name {name!r} must be lower-case letters, digits and -")
    if name in taken:
        raise ConfigError(f"{what} {name!r} is registered already: choose another name")


def load_entry_point(group: str, what: str, name: str) -> None:
    """Import the installed package that has an entry point `name` in `group`, if there is one.

    No other package is imported: importing runs its code.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group=group, name=name):
        try:
            point.load()
        except Exception as error:  # third-party code may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(
                f"{what} {name!r}: {point.value} cannot be imported ({reason}); repair or "
                "uninstall its package"
            ) from None


def provenance(what: str, build: Any) -> dict[str, str]:
    """Return the ``source`` of a registered builder, and the ``sha256`` of its file if it has one.

    A changed file then counts as a change of parameters.
    """
    module = getattr(build, "__module__", "an unnamed module")
    try:
        file = inspect.getsourcefile(build) if build is not None else None
        source = b"" if file is None else Path(file).read_bytes()
    except (TypeError, OSError):  # defined at a prompt, or its file was deleted
        source = b""
    found = {"source": f"{what} registered by {module}"}
    return {**found, "sha256": hashlib.sha256(source).hexdigest()} if source else found
