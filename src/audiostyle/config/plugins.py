"""Plugins: Python files that register networks or losses.

Loading a file runs its code, so only the command line and Python programs can name one;
configuration files, style files, journals and environment variables cannot.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from audiostyle.config.registry import LOSSES, NETWORKS, NetworkSpec
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioStyleError, ConfigError

PREFIX = "audiostyle_plugin_"
TABLES: tuple[dict[str, Any], ...] = (NETWORKS, LOSSES)


def load_plugin(path: str | Path) -> list[str]:
    """Run a Python file and return the names of the networks and losses that it registers.

    A second call for the same file does not run it again. A `ConfigError` is raised if the file
    cannot be read, fails, or registers nothing.
    """
    file = Path(path).resolve()
    # The digest tells two files of the same name apart.
    name = f"{PREFIX}{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return _registered_by(name)
    if not file.is_file():
        raise ConfigError(f"plugin {path} is not a file; name a Python file")
    before = [dict(table) for table in TABLES]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plugin {path} must be a Python file, with a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        registered = _registered_by(name)
        if not registered:
            raise ConfigError(
                "it registers no network and no loss: call audiostyle.register_network or "
                "audiostyle.register_loss in it"
            )
    except (Exception, SystemExit) as error:  # third-party code may raise anything
        del sys.modules[name]
        for table, known in zip(TABLES, before, strict=True):
            table.clear()
            table.update(known)
        kind = "" if isinstance(error, AudioStyleError) else f"{type(error).__name__}: "
        reason = " ".join(f"{kind}{error}".split())
        raise ConfigError(f"plugin {path} cannot be used: {reason}") from None
    return registered


def check_portable(config: TransferConfig) -> None:
    """Raise a `ConfigError` if a network or loss comes from a file that other machines lack."""
    used: list[tuple[str, str, Any]] = [("network", config.network, NETWORKS[config.network])]
    used += [("loss", name, LOSSES[name]) for name, weight in config.losses if weight > 0]
    for what, name, entry in used:
        if _module(entry).startswith(PREFIX):
            raise ConfigError(
                f"{what} {name!r} comes from a plugin file, which the workers of a cluster do not "
                "load: install it there as a package with an entry point (docs/contributing.md)"
            )


def _registered_by(module: str) -> list[str]:
    return [name for table in TABLES for name, entry in table.items() if _module(entry) == module]


def _module(entry: Any) -> str:
    """Return the module that registered an entry of a table: a builder or a `NetworkSpec`."""
    build = entry.build if isinstance(entry, NetworkSpec) else entry
    return str(getattr(build, "__module__", ""))
