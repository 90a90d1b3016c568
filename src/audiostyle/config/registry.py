"""What networks and losses of one's own share: names, packages that have them, their source."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Collection
from typing import Any

from audiostyle.errors import ConfigError


def check_name(what: str, name: str, taken: Collection[str]) -> None:
    """Make sure that something can be registered under a name.

    Parameters
    ----------
    what : str
        ``network`` or ``loss``.
    name : str
    taken : collection of str
        Names that are in use.

    Raises
    ------
    ConfigError
        If it is not of lower-case letters, digits and ``-``, or is taken.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ConfigError(f"{what} name {name!r} must be lower-case letters, digits and -")
    if name in taken:
        raise ConfigError(f"{what} {name!r} is registered already: choose another name")


def load_entry_point(group: str, what: str, name: str) -> None:
    """Import the installed package whose entry point of a group has this name, if there is one.

    Nothing is imported before its name is asked for: what a stranger's package does on import is
    no concern of a transfer that does not use it.

    Parameters
    ----------
    group : str
        Of entry points.
    what : str
        ``network`` or ``loss``.
    name : str

    Raises
    ------
    ConfigError
        If the package cannot be imported.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group=group, name=name):
        try:
            point.load()
        except Exception as error:  # whatever somebody else's code may raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(
                f"{what} {name!r}: {point.value} cannot be imported ({reason}); repair or "
                "uninstall its package"
            ) from None


def provenance(what: str, build: Any) -> dict[str, str]:
    """Say where something registered comes from, so that a change of it is noticed.

    Parameters
    ----------
    what : str
        ``network`` or ``loss``.
    build : callable or None
        What makes it.

    Returns
    -------
    dict of str to str
        ``source``, and ``sha256`` of the file it is defined in if there is one.
    """
    module = getattr(build, "__module__", "an unnamed module")
    try:
        file = inspect.getsourcefile(build) if build is not None else None
        source = b"" if file is None else _read(file)
    except (TypeError, OSError):  # typed at a prompt, or its file is gone
        source = b""
    found = {"source": f"{what} registered by {module}"}
    return {**found, "sha256": hashlib.sha256(source).hexdigest()} if source else found


def _read(file: str) -> bytes:
    with open(file, "rb") as opened:
        return opened.read()
